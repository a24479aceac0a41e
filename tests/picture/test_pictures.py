from __future__ import annotations

import base64
from typing import get_args

import pytest

from ipvm_kernel.engine.answers import State
from ipvm_kernel.picture import (
    Draft,
    FileView,
    FunctionView,
    HandleView,
    Link,
    ListView,
    ModuleView,
    ReceiptView,
    TaskView,
    compose,
    html,
    svg,
    text,
)
from ipvm_kernel.picture.states import MARKS
from tests.picture.inert import inert, inert_svg, pictures
from tests.picture.samples import one_of_each, pipeline, scene, task
from tests.picture.test_values import png


def test_every_state_has_a_look_of_its_own() -> None:
    """
    Each state of a task is told by its shape, its sign and its name, never by a colour alone.
    """
    assert tuple(MARKS) == get_args(State)
    assert len({mark.sign for mark in MARKS.values()}) == len(MARKS)
    assert len({mark.plain for mark in MARKS.values()}) == len(MARKS)
    assert len({(mark.body, mark.glyph) for mark in MARKS.values()}) == len(MARKS)


@pytest.mark.parametrize("state", MARKS)
def test_colours_can_be_read(state: str) -> None:
    """
    Lettering has a contrast of 4.5 with its box, icons one of 3 with a white and with a black page.
    """
    mark = MARKS[state]

    assert _contrast(mark.light[0], mark.light[1]) >= 4.5
    assert _contrast(mark.dark[0], mark.dark[1]) >= 4.5
    assert _contrast(mark.light[0], "#55606e") >= 4.5
    assert _contrast(mark.dark[0], "#a9b3bf") >= 4.5
    assert _contrast(mark.ink, "#ffffff") >= 3
    assert _contrast(mark.ink, "#111111") >= 3


def _contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_picture_shows_each_task_and_each_promise() -> None:
    """
    A box for each task with function, short CID and state; an arrow for each promise, dashed for errors and outcomes.
    """
    drawn = svg.draw(pipeline("crop"))
    said = inert_svg(drawn)

    assert said.count("crop") == 3 + 1  # and a state that is called so
    assert {"00000000", "00000001", "00000002", "computed", "failed", "error", "outcome"} <= set(said)
    assert drawn.count('class="e"') == 1
    assert drawn.count('class="e d"') == 2


def test_a_picture_brings_all_it_needs() -> None:
    """
    No font, image or style comes from elsewhere, and the size is one that a page can hold.
    """
    drawn = svg.draw(one_of_each())

    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")
    assert "prefers-color-scheme" in drawn
    assert len(drawn) < 20_000


def test_many_tasks_are_drawn_by_function() -> None:
    """
    Above sixty tasks there is one box a function, with how many of its tasks are in each state, and counted arrows.
    """
    drafts = [Draft("load", "m", "replayed")]
    drafts += [Draft("fit", "m", "failed" if n == 7 else "computed", ((0, "ok"),)) for n in range(100)]
    drafts += [Draft("merge", "m", "computed", ((n, "*"),)) for n in range(1, 101)]
    asked: list[int] = []

    def detail(n: int) -> TaskView:
        asked.append(n)
        return task(n, drafts[n].func, state=drafts[n].state)

    listed, groups, links = compose(drafts, detail)

    assert [(group.func, group.counts) for group in groups] == [
        ("load", {"replayed": 1}),
        ("fit", {"computed": 99, "failed": 1}),
        ("merge", {"computed": 100}),
    ]
    assert links == (Link(0, 1, "ok", 100), Link(1, 2, "*", 100))
    assert len(asked) == len(listed) == 24
    assert listed[0].state == "failed"

    said = inert_svg(svg.draw(scene(*listed, groups=groups, links=links, total=201)))
    assert {"fit", "100 tasks", "99", "1"} <= set(said)


def test_more_functions_than_fit_are_put_together() -> None:
    """
    A workflow of a thousand functions has a picture of sixty boxes, the last of which says how many are in it.
    """
    drafts = [Draft(f"f{n % 1000}", "m", "computed", ((n - 1, "ok"),) if n else ()) for n in range(3_000)]
    _, groups, links = compose(drafts, task)

    assert len(groups) == 60
    assert groups[-1].func == "941 other functions"
    assert sum(group.total for group in groups) == 3_000
    assert sum(link.count for link in links) == 2_999
    inert_svg(svg.draw(scene(groups=groups, links=links)))


def test_a_run_in_a_page() -> None:
    """
    A run is a line about it, its picture, a table of receipts, and full names, logs and errors for who asks.
    """
    shown = scene(
        task(0, "crop", value=png(8, 8), log="twice\nsaid"),
        task(1, "mean", state="replayed", saved=2.3, seconds=0.0),
        task(2, "sum", state="failed", error="trap: " + "long " * 40),
        links=(Link(0, 1), Link(1, 2)),
        title="run nightly",
        cid="bafyworkflow",
        saved=2.3,
    )
    reader = inert(html.run(shown))
    said = " ".join(reader.said)

    assert "run nightly 3 tasks 1 computed 1 replayed 1 failed 41 ms · saved 2.3 s" in said
    assert "State Function Result Time Task Receipt" in said
    assert "replayed mean 1 saved 2.3 s 00000001 r0000001" in said
    assert "errors in full" in said
    assert "logs of 1 task" in said
    assert "twice\nsaid" in said
    assert all(view.cid in said and view.receipt in said for view in shown.tasks)
    assert any(alt.startswith("Graph of 3 tasks") for alt in reader.alts)
    assert any(source.startswith("data:image/png") for source in reader.sources)


def test_rows_that_are_many_fold_and_failures_come_first() -> None:
    """
    Of a run of thirty tasks the first ten are seen, and one that failed is the first of them.
    """
    tasks = [task(n, f"f{n}", state="failed" if n == 25 else "computed") for n in range(30)]
    reader = inert(html.run(scene(*tasks)))
    said = reader.said

    assert said.index("f25") < said.index("f0")
    assert "20 more" in said


def test_images_of_a_run_have_a_bound() -> None:
    """
    Sixty large pictures in one run do not make a page of megabytes: the first are seen, the others told.
    """
    large = png(8, 8) + bytes(90_000)
    reader = inert(html.run(scene(*(task(n, value=large) for n in range(60)))))
    shown = [source for source in reader.sources if source.startswith("data:image/png")]

    assert 0 < len(shown) < 60
    assert "PNG image" in "".join(reader.said)


def test_a_page_is_never_too_large() -> None:
    """
    If everything is as bad as it can be, the page says so instead of holding it.
    """
    worst = '"' * 5_000
    tasks = [task(n, worst, module=worst, value=worst, error=worst, log=worst, state="failed") for n in range(60)]
    reader = inert(html.run(scene(*tasks, links=tuple(Link(n, n + 1) for n in range(59)))))

    assert reader.said


def test_a_handle_in_a_page() -> None:
    """
    A handle is its value, and beneath it what it is called and where it comes from.
    """
    done = inert(html.handle(HandleView(task=task(3, "mean", state="replayed", word="on file", value=2.5))))
    failed = inert(html.handle(HandleView(task=task(3, "mean", state="failed", error="trap: no"))))
    waiting = HandleView(
        task=task(3, "mean", receipt="", state="pending"), note="not run: 3 tasks, 1 on file", scene=pipeline("crop")
    )
    large = inert(html.handle(HandleView(task=task(3, "load", value=None), length=100_000_000)))

    assert " ".join(done.said).startswith("2.5 mean on file task 00000003 · receipt r0000003")
    assert " ".join(failed.said).startswith("trap: no mean failed")
    assert " ".join(inert(html.handle(waiting)).said).startswith("mean not run: 3 tasks, 1 on file")
    assert len(pictures(inert(html.handle(waiting)))) == 1
    assert "100 MB" in " ".join(large.said)


def test_a_receipt_in_a_page() -> None:
    """
    A receipt shows all its fields, and CIDs in full.
    """
    view = ReceiptView(
        cid="bafyreceipt", func="mean", ok=True, ran="bafyran", out=7, meta={"op": "mean"}, prf=("bafyprf",)
    )
    said = " ".join(inert(html.receipt(view)).said)

    assert said == 'mean ok receipt out 7 ran bafyran meta {op: "mean"} iss nobody prf bafyprf cid bafyreceipt'


def test_a_module_in_a_page() -> None:
    """
    A module is a table of its functions with their WIT types, and its CID.
    """
    functions = tuple(FunctionView(name=f"f{n}", signature="func(x: list<u8>) -> string") for n in range(70))
    view = ModuleView(
        name="imgops", cid="bafkmodule", about="component, 70 functions", size=12_000, functions=functions
    )
    said = " ".join(inert(html.module(view)).said)

    assert said.startswith("imgops component, 70 functions, 12 kB Function Type f0 func(x: list<u8>) -> string")
    assert "and 10 more" in said
    assert said.endswith("module  bafkmodule")


def test_a_file_that_is_a_picture_is_seen() -> None:
    """
    A link to a photograph shows the photograph; a link to a table does not guess.
    """
    photo = inert(html.file(FileView(name="photo.png", cid="bafkfile", size=99, value=png(4, 4))))
    table = inert(html.file(FileView(name="data.csv", cid="bafkfile", size=99, value=b"a,b\n1,2\n")))

    assert len(photo.sources) == 1
    assert table.sources == []
    assert " ".join(table.said) == "data.csv 99 B bafkfile"


RUN = """\
run nightly: 3 tasks: 1 computed, 1 replayed, 1 failed, 41 ms (saved 2.3 s)
              function  result    time         task      receipt
  ----------  --------  --------  -----------  --------  --------
  ✓ computed  crop      0         12 ms        00000000  r0000000
  ↻ replayed  mean      1         saved 2.3 s  00000001  r0000001
  ✗ failed    sum       trap: no  12 ms        00000002  r0000002
log of crop 00000000:
  radius 2"""


def test_a_run_in_a_terminal() -> None:
    """
    As text a run is a line and an aligned table.
    """
    shown = scene(
        task(0, "crop", log="radius 2\n"),
        task(1, "mean", state="replayed", saved=2.3, seconds=0.0),
        task(2, "sum", state="failed", error="trap: no"),
        title="run nightly",
        saved=2.3,
    )

    assert text.run(shown) == RUN


def test_a_terminal_with_ascii_only_gets_that() -> None:
    """
    Where signs cannot be written, plain ones stand for them.
    """
    shown = text.run(one_of_each(), ascii_only=True)

    assert shown.isascii()
    assert "+ computed" in shown
    assert "! failed" in shown


@pytest.mark.parametrize("width", [40, 60, 100, 200])
def test_lines_keep_to_the_width(width: int) -> None:
    """
    A table is as wide as the terminal at most; the widest column gives way, wide characters are counted as such.
    """
    tasks = [task(n, "漢字" * 30, value="x" * 500, state="failed", error="y" * 500) for n in range(3)]
    lines = text.run(scene(*tasks), max(width, 80)).splitlines()[1:]

    assert max(map(_columns, lines)) <= max(width, 80)


def _columns(line: str) -> int:
    from ipvm_kernel.picture.widths import columns

    return columns(line)


def test_a_handle_in_a_terminal() -> None:
    """
    As text a handle is its value beside its name, or what is still to be done.
    """
    waiting = HandleView(task=task(3, "mean", receipt="", state="pending"), note="not run: 1 task, 0 on file")

    assert text.handle(HandleView(task=task(3, "mean", value=2.5))) == "<mean 00000003: 2.5>"
    assert text.handle(HandleView(task=task(3, "mean", value="a\nb"))) == "mean 00000003:\na\nb"
    assert text.handle(waiting) == "<mean 00000003: not run: 1 task, 0 on file>"


def test_handles_in_a_page() -> None:
    """
    Handles made together are the values of the first, a plot if they are numbers, and how many more there are.
    """
    tasks = tuple(task(n, state="replayed", word="on file", value=float(n)) for n in range(20))
    view = ListView(
        note="200 handles of mean: 200 on file", tasks=tasks, total=200, values=[float(n) for n in range(200)]
    )
    reader = inert(html.handles(view))
    said = " ".join(reader.said)

    assert said.startswith("200 handles of mean: 200 on file 200 numbers · min 0 · mean 99.5 · max 199")
    assert "and 180 more" in said
    assert any(alt.startswith("Plot of 200 numbers") for alt in reader.alts)


def test_icons_are_small() -> None:
    """
    An icon in a table costs less than a kilobyte.
    """
    reader = inert(html.run(one_of_each()))

    assert all(len(source) < 1000 for source in reader.sources if len(base64.b64decode(source.split(",")[1])) < 600)
