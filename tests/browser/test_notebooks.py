"""The notebooks in JupyterLab, with the IPVM kernel: run, look, save, come back as a stranger."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ipvm import shared, shipped
from ipvm_kernel.session import Session, shares
from ipvm_kernel.store import EVERY
from tests.browser.lab import Lab
from tests.browser.server import Server
from tests.toolchains.prebuilt import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

NAMES = sorted(path.name for path in MODULES.parent.glob("*.ipynb"))
SCREENS = os.environ.get("IPVM_SCREENS")
"""A folder for screenshots, to be looked at."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """
    A server on the unpacked demo, with a home of its own.
    """
    folder = tmp_path_factory.mktemp("demo")
    home = folder / "home"
    with Session(home) as session:
        shipped.admit_builds(session)
    with Server.start(folder, env={"IPVM_HOME": str(home)}) as server:
        shipped.unpack(server.work)
        yield server


def seen(lab: Lab, name: str) -> None:
    """Keep a screenshot, if somebody wants to look."""
    if SCREENS:
        lab.screenshot(Path(SCREENS) / f"{name}.png")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_in_the_lab(browser: Browser, demo: Server, name: str) -> None:
    """
    A notebook runs in JupyterLab with the kernel that it asks for, shows its values in light and dark, replays after a
    restart, and shows the same to a stranger who did not run it and whom Lab does not trust with scripts.
    """
    with Lab.tab(browser, demo, height=2600) as lab:
        lab.open(name)
        lab.run_all(within=120)
        count = lab.page.locator(".jp-NotebookPanel:visible .jp-Notebook .jp-Cell").count()
        seen(lab, f"{name}-light")
        lab.theme("Dark")
        seen(lab, f"{name}-dark")
        lab.theme("Light")
        first = [lab.text(index) for index in range(count)]
        lab.restart()
        lab.run_all(within=120)
        second = [lab.text(index) for index in range(count)]
        lab.save()
        trusted = [(lab.text(index), lab.outputs(index).locator("img").count()) for index in range(count)]
        lab.close()
        demo.distrust(name)
        lab.open(name)
        stranger = [(lab.text(index), lab.outputs(index).locator("img").count()) for index in range(count)]
        seen(lab, f"{name}-untrusted")
        lab.close()

        assert any(" computed" in text for text in first)
        assert not any(" computed" in text for text in second)
        assert any(" replayed" in text for text in second)
        assert "Traceback" not in "".join(first + second)
        assert stranger == trusted
        assert lab.outside == []


def test_a_notebook_that_somebody_shared(browser: Browser, demo: Server) -> None:
    """
    Alice's notebook, as `ipvm open` wrote it: the reader sees her pictures though Lab does not trust it and nothing was run;
    run, what was not replayed already is worked out and equals hers.
    """
    home = demo.work.parent / "home"
    with Session(home) as session:
        root, _ = shares.arrive(session, demo.work / "data" / "alice.car")
        shares.write_notebook(session, root, demo.work / "alice", banner=shared.banner(root))
        before = len(session.store.journal(limit=EVERY))
    with Lab.tab(browser, demo, height=2300) as lab:
        lab.open("alice/roof.ipynb")
        pictures = lab.page.locator(".jp-NotebookPanel:visible .jp-Notebook img")
        drawn = pictures.evaluate_all("nodes => nodes.map(i => i.naturalWidth > 0)")
        seen(lab, "roof-untrusted-light")
        lab.theme("Dark")
        seen(lab, "roof-untrusted-dark")
        lab.theme("Light")
        with Session(home) as session:
            untouched = len(session.store.journal(limit=EVERY))
        lab.run_all()
        seen(lab, "roof-run-light")
        told = [lab.text(index) for index in range(8)]
        lab.close()

        assert len(drawn) > 6
        assert all(drawn)
        assert untouched == before
        assert "equal" in "".join(told)
        assert "DIFFERENT" not in "".join(told)
        assert "Traceback" not in "".join(told)
        assert lab.outside == []
