from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from ipvm import exploring, widgets
from ipvm.details import details
from ipvm.graphs import Graph
from ipvm_kernel.errors import BadInput, NotFound
from ipvm_kernel.exploring import explore
from ipvm_kernel.picture.states import MARKS
from ipvm_kernel.session import Session
from tests.magics.conftest import WAT

if TYPE_CHECKING:
    from tests.magics.conftest import Notebook

STATES = list(MARKS)


def run_of(session: Session) -> Any:
    """A run with a value, a failure, and one that is blocked by it."""
    demo = session.module(WAT.encode(), "demo")
    first = demo.add(1, 2)
    wrong = demo.div(first, 0)
    return session.run([demo.add(first, 4), demo.add(wrong, 1)], name="nightly")


class Browser:
    """What a browser would be sent by a live graph."""

    def __init__(self, graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
        self.live = widgets.Live(graph)
        self.sent: list[dict[str, Any]] = []
        monkeypatch.setattr(self.live.widget, "send", self.sent.append)

    def say(self, **message: Any) -> dict[str, Any] | None:
        """Send a message, and return what comes back."""
        self.sent.clear()
        self.live._heard(None, message, [])
        return self.sent[-1] if self.sent else None


def test_the_module_is_small_and_puts_no_markup_in() -> None:
    """
    What a browser is sent is under 30 kB, asks nothing of another machine, and has no way to make elements of text.
    """
    module = widgets.module()
    addresses = set(re.findall(r"https?://[^\"'`]+", module + widgets.style()))

    assert len(module.encode()) < 30_000
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc", module)
    assert not re.search(r"^(import|export (?!default))", module, re.MULTILINE)
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_a_run_is_told_as_it_goes(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    States, counts and words of a run reach the browser, and nothing is told twice.
    """
    run = run_of(session)
    browser = Browser(Graph.of_run(run), monkeypatch)
    before = browser.live.widget.states
    run.wait()
    browser.live.update()
    widget = browser.live.widget

    assert before == "0000"
    assert sorted(STATES[int(code)] for code in widget.states) == ["blocked", "computed", "computed", "failed"]
    assert widget.progress["ended"] == 4
    assert widget.progress["done"] is True
    assert [name for name, _ in widget.names["kinds"]] == ["add", "div"]


def test_details_are_asked_for_one_task_at_a_time(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A task's panel has its value, inputs by name, the tasks that it awaits and that use it, time, fuel, and every CID.
    """
    run = run_of(session).wait()
    graph = Graph.of_run(run)
    browser = Browser(graph, monkeypatch)
    told = [browser.say(do="ask", task=task) for task in range(4)]
    texts = {graph.tasks[n].run.func + graph.state(graph.cids[n]): json.dumps(told[n]) for n in range(4)}
    first = told[0]
    assert first is not None
    titles = {section["title"] for section in first["sections"]}

    assert titles == {"Result", "Inputs", "Used by", "Time", "Function", "CIDs"}
    assert "divided an integer by zero" in texts["divfailed"]
    assert '"as": "task"' in texts["divfailed"]
    assert "not run: div" in texts["addblocked"]
    assert "steps" in texts["addcomputed"]
    for cid in (run.workflow.cid, graph.cids[0], run.receipt_cids[graph.cids[0]]):
        assert str(cid) in json.dumps(first)


def test_a_replay_says_where_it_comes_from(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Of a task that was replayed, the panel says when and in which session its receipt was made.
    """
    run_of(session).wait()
    graph = Graph.of_run(run_of(session).wait())
    shown = json.dumps(Browser(graph, monkeypatch).say(do="ask", task=0))

    assert graph.state(graph.cids[0]) == "replayed"
    assert "replayed from" in shown
    assert "session " in shown
    assert "then, nothing now" in shown


@pytest.mark.parametrize(
    "message",
    [
        {"do": "ask", "task": 99}, {"do": "ask", "task": -1}, {"do": "ask", "task": "0"}, {"do": "ask"}, {"do": "rm -rf"},
        {"do": "view", "opened": "all", "folds": 3}, {"do": "find", "text": 3}, {"do": "cancel", "task": "x"}, {}, {"do": "end"},
    ],
)  # fmt: skip
def test_what_is_no_question_is_passed_over(
    session: Session, monkeypatch: pytest.MonkeyPatch, message: dict[str, Any]
) -> None:
    """
    Messages that no browser of ours sends change nothing and break nothing.
    """
    browser = Browser(Graph.of_run(run_of(session).wait()), monkeypatch)

    assert browser.say(**message) is None


def test_functions_open_and_neighbours_fold_by_message(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What somebody opens or folds is drawn anew by the one layout; places that are not there are passed over.
    """
    browser = Browser(Graph.of_run(run_of(session).wait()), monkeypatch)
    browser.say(do="view", opened=[], folds=[])
    closed = [box[4] for box in browser.live.widget.view["boxes"]]
    browser.say(do="view", opened=[0, 77, "x"], folds=[[3, "before"], [99, "after"], "y"])

    assert closed == ["pile", "task"]
    assert browser.live.widget.view["folds"] == [[3, "before"]]


def test_a_receipt_finds_its_task(session: Session) -> None:
    """
    A search for the CID of a receipt, whole or in its short form, finds the task; one for something else finds nothing.
    """
    run = run_of(session).wait()
    graph = Graph.of_run(run)
    receipt = run.receipt_cids[graph.cids[0]]

    assert graph.find(str(receipt)) == [0]
    assert graph.find(receipt.short) == [0]
    assert graph.find("nothing-of-this-name") == []
    assert graph.find("") == []


def test_a_receipt_is_shown_with_all_that_led_to_it(session: Session) -> None:
    """
    The graph of a receipt has its task selected and what it awaited before it, from the store alone.
    """
    run = run_of(session).wait()
    last = next(
        answer.receipt for answer in run.answers if answer.receipt and answer.receipt.ok and answer.receipt.value == 7
    )
    graph = Graph.of_receipt(last, session)

    assert len(graph.tasks) == 2
    assert graph.select == 1
    assert graph.states() == str(STATES.index("replayed")) * 2
    with Session(None) as other, pytest.raises(NotFound, match="not in this session's store"):
        Graph.of_receipt(last, other)


def test_details_are_bounded(session: Session) -> None:
    """
    A task with a large value, a long argument and many that use it has a panel of under 100 kB.
    """
    demo = session.module(WAT.encode(), "demo")
    first = demo.add(1, 2)
    run = session.run([demo.add(first, n) for n in range(500)]).wait()
    graph = Graph.of_run(run)
    shown = json.dumps(details(graph, graph.where[first.cid]))

    assert len(shown) < 100_000
    assert "and 460 more" in shown


def test_without_a_notebook_a_line_and_a_picture_are_shown(notebook: Notebook) -> None:
    """
    Where no browser can be, a long run shows a line while it goes on and its picture at the end; `explore()` shows the picture.
    """
    told = notebook.run("%%ipvm --keep-going --time 0.6 slow\nstuck = demo.spin()\n")
    again = notebook.run("slow.explore()")

    assert not widgets.possible()
    assert any("1 running" in text for text in told.texts)
    assert all("widget" not in kind for output in told.shown + again.shown for kind in output.data)
    assert "<img" in again.shown[0].data["text/html"]


def test_explore_says_what_it_takes(notebook: Notebook) -> None:
    """
    Something that has no graph is refused in one line; so is `explore()` where nobody can show a graph.
    """
    told = notebook.run("ipvm.explore(3)")
    notebook.shell.run_line_magic("unload_ext", "ipvm")

    assert isinstance(told.error, BadInput)
    assert "expected a run, a workflow, a receipt or a handle, found int" in str(told.error)
    with pytest.raises(BadInput, match="%load_ext ipvm"):
        explore(3)
    notebook.run("%load_ext ipvm")


def test_a_workflow_shows_what_is_on_file(session: Session) -> None:
    """
    The graph of a workflow that was not run has its tasks on file, or not run, by those words.
    """
    demo = session.module(WAT.encode(), "demo")
    demo.add(1, 2).result()
    graph = exploring.graph_of(demo.add(demo.add(1, 2), 5))

    assert [STATES[int(code)] for code in graph.states()] == ["replayed", "pending"]
    assert graph.words == {"replayed": "on file", "pending": "not run"}
    assert graph.progress(graph.states())["said"] == "2 tasks"
