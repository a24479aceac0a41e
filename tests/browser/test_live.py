"""The live graph in JupyterLab: looked at, clicked, searched, folded and stopped while a run goes on; saved and reopened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.lab import Lab
from tests.peers import needs
from tests.picture.inert import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

    from tests.browser.server import Server

SCREENS = os.environ.get("IPVM_SCREENS")
"""A folder for screenshots, to be looked at."""

SETUP = """\
%load_ext ipvm
import ipvm
from ipvm_kernel.session import Session, set_default
set_default(Session(None))
demo = ipvm.module(b'''(module
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "div") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
  (func (export "spin") (param i32) (result i32) (loop br 0) i32.const 0)
  (func (export "work") (param $value i32) (param $steps i32) (result i32)
    (loop (local.set $steps (i32.sub (local.get $steps) (i32.const 1))) (br_if 0 (i32.gt_s (local.get $steps) (i32.const 0))))
    local.get $value))''', "demo")
print("ready")
"""

RUN = """\
%%ipvm --keep-going nightly
first = demo.add(1, 2)
parts = [demo.add(first, n) for n in range(5)]
wrong = demo.div(first, 0)
after = demo.add(wrong, 1)
stuck = demo.spin(first)
last = demo.add(stuck, 1)
"""

SWEEP = """\
%%ipvm --keep-going sweep
base = demo.add(3, 4)
made = [demo.work(base, 1_000_000 + n) for n in range(400)]
pairs = [demo.add(a, b) for a, b in zip(made[::2], made[1::2])]
stuck = demo.spin(1)
"""


def live(lab: Lab, cell: int) -> Locator:
    """Return the live graph of a cell, once it is there."""
    found = lab.cell(cell).locator(".ipvm-live")
    found.locator(".box").first.wait_for()
    return found


def seen(lab: Lab, name: str, cell: int) -> None:
    """Keep a screenshot, if somebody wants to look."""
    if SCREENS:
        lab.page.wait_for_timeout(300)
        lab.screenshot(Path(SCREENS) / f"live-{name}.png", cell=cell)


def test_a_run_is_looked_at_and_stopped_while_it_goes_on(lab: Lab, server: Server) -> None:
    """
    While a run goes on, a click and a key select tasks whose values, inputs, CIDs and errors are shown; one task is cancelled
    alone, what awaits it is blocked and the rest is kept. Then the picture takes the place of the graph.
    """
    lab.open(server.write("live.ipynb", SETUP, RUN))
    lab.run_cell(0)
    lab.start_cell(1)
    graph = live(lab, 1)
    panel, tree = graph.locator(".panel"), graph.locator(".tree")
    graph.locator(".head .counts", has_text="1 running").wait_for()
    graph.locator(".box.task.s3").nth(2).click()
    panel.get_by_text("Result").wait_for()
    clicked = panel.inner_text()
    seen(lab, "click", 1)
    tree.locator("[tabindex='0']").focus()
    lab.page.keyboard.press("Home")
    lab.page.keyboard.press("d")
    lab.page.keyboard.press("Enter")
    panel.get_by_text("divided an integer by zero").wait_for()
    chosen = tree.locator("[aria-selected=true]").get_attribute("aria-label")
    lab.page.keyboard.press("s")
    lab.page.keyboard.press("Enter")
    panel.get_by_role("button", name="Cancel task").click()
    lab.ended()
    seen(lab, "end", 1)

    assert "add: func(p0: s32, p1: s32) -> s32" in clicked
    assert "steps" in clicked
    assert clicked.count("bafy") >= 4
    assert chosen is not None
    assert chosen.startswith("div ")
    assert "1 cancelled" in lab.text(1)
    assert "2 blocked" in lab.text(1)
    assert lab.cell(1).locator(".ipvm-live").count() == 0
    assert lab.outputs(1).locator("img[alt^='Graph of']").count() == 1
    assert lab.errors == []


def test_a_large_run_is_folded_searched_and_cancelled(lab: Lab, server: Server) -> None:
    """
    Of 602 tasks three boxes are seen at first; a function opens into its tasks and closes again, ancestors fold, a
    search by name and by CID finds, and the button stops the run at once with what is done kept.
    """
    lab.open(server.write("sweep.ipynb", SETUP, SWEEP))
    lab.run_cell(0)
    lab.start_cell(1)
    graph = live(lab, 1)
    boxes = graph.locator(".box")
    first = boxes.count()
    told = graph.locator(".box.pile", has_text="work").text_content() or ""
    graph.locator(".box.pile", has_text="work").locator(".open").click()
    graph.locator(".cell").nth(399).wait_for(state="attached")
    seen(lab, "tray", 1)
    graph.get_by_role("searchbox").fill("spin")
    lab.page.keyboard.press("Enter")
    graph.locator(".panel h3", has_text="spin").wait_for()
    rows = graph.locator(".tree [role=treeitem]").count()
    cid = graph.locator(".panel code").first.inner_text()
    graph.get_by_role("searchbox").fill(cid)
    by_cid = graph.locator(".hits").inner_text()
    graph.get_by_role("searchbox").fill("")
    graph.locator(".cell").nth(7).click()
    graph.get_by_role("button", name="Fold ancestors").click()
    graph.locator(".box.before").wait_for()
    seen(lab, "folded", 1)
    graph.get_by_role("button", name="Show ancestors").click()
    graph.locator(".box.tray .open").click()
    graph.locator(".cell").first.wait_for(state="detached")
    graph.get_by_role("button", name="Cancel", exact=True).click()
    lab.ended()

    assert first == 3
    assert "400 tasks" in told
    assert rows == 1
    assert by_cid == "1"
    assert "cancelled" in lab.text(1)
    assert lab.errors == []


def test_what_is_saved_of_a_live_run_is_its_picture(lab: Lab, server: Server) -> None:
    """
    A notebook saved after a live run shows the same to whoever trusts it and to whoever does not, with or without a
    kernel; no widget is in it. A page made of it by nbconvert asks nothing of anybody.
    """
    name = server.write(
        "saved.ipynb", SETUP, SWEEP.replace("stuck = demo.spin(1)\n", "").replace("1_000_000", "5_000_000")
    )
    lab.open(name)
    lab.run_cell(0)
    lab.start_cell(1)
    live(lab, 1)
    lab.ended(within=120)
    author = lab.text(1)
    lab.save()
    lab.close()
    outputs = server.read(name)["cells"][1]["outputs"]
    shown = []
    for trust in (server.trust, server.distrust):
        trust(name)
        lab.open(name)
        shown.append(lab.text(1))
        lab.close()
    gone = server.read(name)
    gone["metadata"]["kernelspec"] = {"name": "gone", "display_name": "gone", "language": "python"}
    (server.work / "gone.ipynb").write_text(json.dumps(gone))
    lab.page.goto(f"http://127.0.0.1:{server.port}/lab/workspaces/gone/tree/gone.ipynb?reset")
    lab.page.locator(".jp-Dialog", has_text="Select Kernel").wait_for()
    shown.append(lab.text(1))
    made = subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to", "html", "--stdout", str(server.work / name)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    (server.work / "saved.html").write_text(made)
    lab.outside.clear()
    lab.page.goto((server.work / "saved.html").as_uri())
    page = lab.page.inner_text("body")
    ours = [url for url in lab.outside if "ipvm" in url]
    lab.outside.clear()  # nbconvert's own template asks for its scripts

    assert [sorted(output["data"]) for output in outputs] == [["text/html", "text/plain"]]
    assert shown == [author, author, author]
    assert "601 tasks" in author
    assert "601 tasks" in page
    assert ours == []


HOSTILE_CELL = """\
import json
import ipvm.graphs
from ipvm import details
from ipvm_kernel.picture.blocks import blocks, error

said = json.load(open("bad.json"))
bad = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"

def rows(*given):
    room = details.Room()
    raw = [{"as": "line", "text": bad}, {"as": "image", "src": "javascript:alert(3)", "alt": bad},
           {"as": "image", "src": "https://example.org/x.png", "alt": bad}, {"as": "cid", "text": bad, "what": bad},
           {"as": "table", "heads": [bad], "rows": [[bad]], "numeric": [False]}]
    return [(bad, raw), *((bad, [error(one), *blocks(one, room), *blocks({one: [one]}, room)]) for one in said)]

details._result = rows
names = ipvm.graphs.Graph.names
ipvm.graphs.Graph.names = lambda self: {**names(self), "kinds": [[one, one] for one in said[: len(self.shape.kinds) - 1] + [bad]]}
run = ipvm.run([demo.add(1, 2), demo.div(1, 0)], name=bad)
run.wait()
run.explore()
"""


def test_words_of_strangers_do_nothing_in_the_live_graph(lab: Lab, server: Server) -> None:
    """
    Names, values and errors that hold markup are text in the graph, the list and the panel: no script runs, no request
    leaves, and no element is made of them but pictures that hold their own bytes.
    """
    said: list[str] = []
    lab.page.on("dialog", lambda dialog: said.append(dialog.message))
    (server.work / "bad.json").write_text(json.dumps(HOSTILE))
    lab.open(server.write("hostile.ipynb", SETUP, HOSTILE_CELL))
    lab.run_cell(0)
    lab.run_cell(1)
    graph = live(lab, 1)
    graph.locator(".box").last.click()
    graph.locator(".panel table").first.wait_for()
    text = graph.locator(".panel").inner_text()
    images = graph.locator("img").evaluate_all("nodes => nodes.map(node => node.src)")

    assert text.count("<img src=x") >= 6
    assert graph.locator(".panel .error").count() == len(HOSTILE)
    assert all(source.startswith("data:image/") for source in images)
    assert graph.locator("script, iframe, a, form, object, embed, [onclick], [onerror], [onload]").count() == 0
    assert said == []
    assert lab.errors == []


def test_explore_brings_the_graph_back_and_gives_it_away(lab: Lab, server: Server) -> None:
    """
    `run.explore()`, `workflow.explore()` and `receipt.explore()` show the graph of what is over; "Keep as picture" puts in
    its place what a saved notebook can show.
    """
    cells = ("nightly.explore()", "nightly.workflow.explore()", "last.receipt.explore()")
    lab.open(server.write("explore.ipynb", SETUP, RUN.replace("spin(first)", "work(first, 9)"), *cells))
    for cell in range(5):
        lab.run_cell(cell)
    titles = [live(lab, cell).locator("strong").inner_text() for cell in (2, 3, 4)]
    selected = live(lab, 4).locator(".panel h3").inner_text()
    seen(lab, "receipt", 4)
    live(lab, 2).get_by_role("button", name="Keep as picture").click()
    lab.outputs(2).locator("img[alt^='Graph of']").wait_for()
    lab.save()
    kept = server.read("explore.ipynb")["cells"][2]["outputs"][0]["data"]

    assert titles == ["nightly", "workflow", "receipt"]
    assert selected == "add"
    assert sorted(kept) == ["text/html", "text/plain"]
    assert lab.errors == []


@pytest.mark.peer("axe")
@pytest.mark.parametrize(("theme", "width"), [("Light", 1280), ("Dark", 1280), ("Light", 640)])
def test_nobody_is_kept_out(browser: Browser, server: Server, theme: Any, width: int) -> None:
    """
    axe-core finds nothing serious in the live graph, light, dark, and at 200 % of a window of 1280 pixels, with a panel open.
    """
    axe = needs("axe")
    with Lab.tab(browser, server, width=width) as lab:
        lab.open(server.write(f"axe-{theme}-{width}.ipynb", SETUP, RUN))
        lab.theme(theme)
        lab.run_cell(0)
        lab.start_cell(1)
        graph = live(lab, 1)
        graph.locator(".box.task.s5").first.click()
        graph.locator(".panel .error").wait_for()
        seen(lab, f"{theme}-{width}", 1)
        lab.page.add_script_tag(path=axe)
        found = lab.page.evaluate(
            "async () => (await axe.run('.ipvm-live')).violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html + n.failureSummary)])"
        )
        seen_tasks = graph.locator("[role=treeitem]").count()
        lab.interrupt()
        lab.page.wait_for_function("window.ended")
        lab.theme("Light")

        assert seen_tasks > 8
        assert [item for item in found if item[0] in {"serious", "critical"}] == []
        assert lab.outside == []
