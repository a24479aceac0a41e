from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.browser.lab import Lab

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.browser.server import Server


def test_run_all_shows_every_output(lab: Lab, server: Server) -> None:
    """
    What "run all" printed and displayed is read back, cell by cell.
    """
    lab.open(server.write("all.ipynb", "print('one'); 2", "from IPython.display import HTML\nHTML('<b>three</b>')"))
    lab.run_all()

    assert lab.text(0).split() == ["one", "2"]
    assert "<b>three</b>" in lab.html(1)
    assert lab.errors == []


def test_an_interrupt_stops_a_cell(lab: Lab, server: Server) -> None:
    """
    The button with the square ends a cell that sleeps, and the kernel goes on.
    """
    lab.open(server.write("interrupt.ipynb", "import time; time.sleep(60)", "print('still here')"))
    lab.start_cell(0)
    lab.running(0)
    before = time.monotonic()
    lab.interrupt()
    lab.ended()

    assert time.monotonic() - before < 10
    assert "KeyboardInterrupt" in lab.text(0)

    lab.run_cell(1)

    assert lab.text(1) == "still here"


def test_a_restart_forgets_what_was_bound(lab: Lab, server: Server) -> None:
    """
    After a restart the kernel is new, and the page is ready for it.
    """
    lab.open(server.write("restart.ipynb", "x = 1", "print('x' in globals())"))
    lab.run_all()
    before = lab.text(1)
    lab.restart()
    lab.run_cell(1)

    assert (before, lab.text(1)) == ("True", "False")


def test_a_notebook_from_a_stranger_shows_its_static_outputs(lab: Lab, server: Server) -> None:
    """
    Saved, closed and opened again untrusted, a notebook shows its outputs without what a sanitiser takes away.
    """
    source = "from IPython.display import HTML\nHTML('<svg></svg><em style=\"color: red\">static</em><script>document.title = 1</script>')"
    name = server.write("stranger.ipynb", source)
    lab.open(name)
    lab.run_all()
    lab.save()
    lab.close()
    server.distrust(name)
    lab.open(name)

    assert lab.text(0) == "static"
    assert "<svg" not in lab.html(0)

    lab.close()
    server.trust(name)
    lab.open(name)

    assert "<svg" in lab.html(0)
    assert server.read(name)["cells"][0]["execution_count"] == 1


def test_themes_change_the_background(lab: Lab, server: Server, tmp_path: Path) -> None:
    """
    Light and dark differ, in the page and in the pictures of it.
    """
    lab.open(server.write("theme.ipynb", "1"))
    backgrounds = []
    for theme in ("Light", "Dark"):
        lab.theme(theme)
        lab.screenshot(tmp_path / theme)
        backgrounds.append(
            lab.page.evaluate("getComputedStyle(document.querySelector('.jp-Notebook')).backgroundColor")
        )
    lab.theme("Light")

    assert len(set(backgrounds)) == 2
    assert (tmp_path / "Light").read_bytes() != (tmp_path / "Dark").read_bytes()


def test_what_is_asked_of_another_machine_is_seen_and_refused(browser: Browser, server: Server) -> None:
    """
    A picture from elsewhere in an output is on the record, so that the other tests mean something.
    """
    with Lab.tab(browser, server) as lab:
        source = "from IPython.display import HTML\nHTML('<img src=\"https://example.org/spy.png\">')"
        lab.open(server.write("spy.ipynb", source))
        lab.run_all()

        assert lab.outside == ["https://example.org/spy.png"]


def test_only_this_environments_kernels_are_seen(lab: Lab, server: Server) -> None:
    """
    A kernel that is installed elsewhere on the machine is never the one that a test runs.
    """
    lab.open(server.write("kernels.ipynb", "import sys; print(sys.prefix)"))
    lab.run_all()
    seen = lab.page.evaluate("Object.keys(window.jupyterapp.serviceManager.kernelspecs.specs.kernelspecs)")

    assert set(seen) <= {"python3", "ipvm"}
