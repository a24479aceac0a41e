from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel import Session, Workflow
from ipvm_kernel.errors import BadInput, BadWorkflow, TaskFailed
from ipvm_kernel.notebook import Cell, in_cell

if TYPE_CHECKING:
    from ipvm_kernel.engine.answers import Answer
    from ipvm_kernel.session import Module


def test_iterating(session: Session, numbers: Module) -> None:
    """
    A run gives each answer once, and all of them again to whoever iterates later.
    """
    run = session.run([numbers.add_one(n) for n in range(5)])

    first = [answer.instruction for answer in run]
    assert first == [answer.instruction for answer in run]
    assert {answer.receipt.value for answer in run if answer.receipt is not None} == {1, 2, 3, 4, 5}
    assert run.done()
    assert len(run.receipts) == 5
    assert run.receipt_cids == {answer.instruction: answer.receipt.cid for answer in run.answers}  # type: ignore[union-attr]


def test_a_run_runs_once(session: Session, numbers: Module) -> None:
    """
    However many wait for a run, in threads, with `await` and in loops, it runs once, and all see its end.
    """
    run = session.run([numbers.add_one(n) for n in range(50)])
    seen: list[int] = []

    async def look() -> None:
        seen.append(len((await run).answers))

    threads = [
        threading.Thread(target=lambda: seen.append(len(list(run)))),
        threading.Thread(target=lambda: seen.append(len(run.wait(30).answers))),
        threading.Thread(target=lambda: asyncio.run(look())),
        threading.Thread(target=run.start),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _ = run.wait()

    assert seen == [50, 50, 50]
    assert run.counts == {"computed": 50}
    assert len(session.store.journal(limit=1000)) == 50


def test_looking_at_a_run_inside_its_own_loop(session: Session, numbers: Module) -> None:
    """
    Inside the loop over a run the answers so far can be seen; waiting for its end there is refused, not endless.
    """
    run = session.run([numbers.add_one(n) for n in range(3)])
    seen = []
    for _ in run:
        seen.append(len(list(run)))
        with pytest.raises(BadInput, match="inside its own loop"):
            _ = run.wait()

    assert seen == [1, 2, 3]


def test_progress(session: Session, numbers: Module) -> None:
    """
    Progress holds the state of each task and when it ran, and a number that grows.
    """
    chain = numbers.add_one(numbers.add_one(1))
    run = session.run(chain)
    changes = [run.progress.changed]
    for answer in run:
        changes.append(run.progress.changed)
        assert run.progress.state(answer.instruction) == "computed"

    assert run.progress.total == run.progress.ended == 2
    assert changes == sorted(changes)
    assert run.progress.states == {task.run.cid: "computed" for task in chain.workflow.tasks}
    began, ended = run.progress.times[chain.cid]
    assert began <= ended
    assert run.progress.state(numbers.add_one(5).cid) is None


def test_one_line_about_a_run(session: Session, numbers: Module) -> None:
    """
    A run is summed up in a line.
    """
    handles = [numbers.add_one(1), numbers.add_one(2)]
    _ = session.run(handles[:1]).wait()
    run = session.run(handles, name="both").wait()

    assert run.summary().startswith("2 tasks: 1 computed, 1 replayed, ")
    assert repr(run).startswith("<Run 'both' 2 tasks: ")
    assert run.elapsed > 0


# --- failures ---------------------------------------------------------------------------------------------------------


def failing(session: Session, handles: Any) -> list[str]:
    run = session.run(handles).wait()
    names = {task.run.cid: task.run.func for task in run.workflow.tasks}
    found = [names[answer.instruction] for answer in run.failures]
    if not found:
        run.raise_for_failures()
        return found
    with pytest.raises(TaskFailed) as caught:
        run.raise_for_failures()
    assert caught.value.instruction == run.failures[0].instruction
    return [*found, str(caught.value)]


def test_failures_that_nobody_takes(session: Session, numbers: Module) -> None:
    """
    A task that failed, now or when its receipt was made, is a failure of the run; those that await it are counted.
    """
    trap = numbers.trap(1)
    for _ in range(2):
        name, message = failing(session, [numbers.add_one(trap), numbers.add_one(1)])
        assert name == "trap"
        assert message == (
            f"trap ({trap.cid.short}) failed: the guest gave up: it reached an `unreachable` instruction"
            "; 1 task that await it did not run"
        )
    *names, message = failing(session, [numbers.trap(1), numbers.trap(2)])
    assert names == ["trap", "trap"]
    assert message.endswith("; 1 other task failed too")


def test_failures_that_somebody_takes(session: Session, numbers: Module, typed: Module) -> None:
    """
    A failure whose error or outcome another task takes is none of the run.
    """
    assert failing(session, [typed.explain(numbers.trap(1).error)]) == []
    assert failing(session, [typed.settle(numbers.trap(2).outcome)]) == []


def test_an_err_is_a_failure_too(session: Session, typed: Module) -> None:
    """
    An `err` that nobody takes is a failure, and one that a task takes whole is not; a pair of another type is a value.
    """
    for _ in range(2):
        name, message = failing(session, [typed.div(1, 0)])
        assert name == "div"
        assert message.endswith("failed: division by zero")
        assert failing(session, [typed.settle(typed.div(1, 0))]) == []
        assert failing(session, [typed.explain(typed.div(1, 0).error)]) == []
        assert failing(session, [typed.twice(typed.div(1, 0))])[0] == "div"
    assert failing(session, [typed.div(4, 2), typed.echo_bytes(b"")]) == []


# --- what is run ------------------------------------------------------------------------------------------------------


def test_what_can_be_run(session: Session, numbers: Module) -> None:
    """
    A workflow, a handle and any number of handles can be run; a workflow with a task twice and anything else cannot.
    """
    handle = numbers.add_one(1)

    for what in (handle, [handle], iter([handle, handle]), handle.workflow):
        assert len(session.run(what).wait().answers) == 1
    assert session.run([]).wait().summary().startswith("0 tasks: nothing to do")
    with pytest.raises(BadInput, match="expected a workflow or handles, found int"):
        _ = session.run([5])  # type: ignore[list-item]
    with pytest.raises(BadWorkflow, match="duplicate"):
        _ = session.run(Workflow(tasks=(handle.task, handle.task)))


def test_streaming(session: Session, numbers: Module) -> None:
    """
    A session streams the answers of a workflow.
    """
    answers: list[Answer] = list(session.stream(numbers.add_one(numbers.add_one(1))))

    assert [answer.receipt.value for answer in answers if answer.receipt is not None] == [2, 3]
    assert all(answer.filed for answer in answers)


def test_the_journal_knows_the_cell(session: Session, numbers: Module) -> None:
    """
    A run is in the journal with its workflow, its name and the cell that asked for it, also if it was awaited.
    """

    async def ask(handle: Any) -> None:
        with in_cell(Cell.of("await it", ident="b", count=2)):
            _ = await session.run(handle, name="awaited")

    with in_cell(Cell.of("x = 1", ident="a", count=1, notebook="n.ipynb")):
        run = session.run(numbers.add_one(1), name="waited").wait()
    asyncio.run(ask(numbers.add_one(2)))

    second, first = session.store.runs()
    assert (first.cell, first.count, first.notebook, first.name) == ("a", 1, "n.ipynb", "waited")
    assert (second.cell, second.count, second.source, second.name) == ("b", 2, "await it", "awaited")
    assert first.workflow == run.workflow.cid
    assert session.store.get(run.workflow.cid).value() == run.workflow.to_ipld()
    assert [entry.run for entry in session.store.journal(run=first.ident)] == [first.ident]


def test_awaiting_a_run_that_fails_to_plan(session: Session) -> None:
    """
    What is wrong with a workflow is raised to everybody who waits for it.
    """
    from ipvm_kernel.model import Promise
    from ipvm_kernel.testing import task

    run = session.run(Workflow(tasks=(task(Promise("ok", task(1).run.cid).to_ipld()),)))

    async def ask() -> None:
        _ = await run

    with pytest.raises(BadWorkflow):
        asyncio.run(ask())
    with pytest.raises(BadWorkflow):
        _ = run.wait()
    with pytest.raises(BadWorkflow):
        list(run)
