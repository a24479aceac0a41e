"""Any graph of tasks, against what the rules say it comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from ipvm_kernel import Session
from ipvm_kernel.engine.executors import InlineExecutor, ThreadExecutor
from ipvm_kernel.engine.ops import Performed, Prepared, plain
from ipvm_kernel.engine.resolved import canonical, key_of
from ipvm_kernel.model import Instruction, Outcome, Promise, Task, Workflow, failure
from ipvm_kernel.wasm.limits import Limits, Report

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.wasm.stop import Stop

Kind = Literal["sum", "err", "trap", "host"]
Node = tuple[Kind, int, tuple[tuple[int, str], ...]]  # what it does, a number of its own, whom it awaits and how

SKIPPED: Final = "skipped"


class Graph:
    """An operation on `[kind, number, awaited...]`: it adds up, answers `err`, traps, or breaks; and counts."""

    name = "test/graph"

    def __init__(self) -> None:
        self.performed = 0

    def fallible(self, instruction: Instruction) -> bool | None:
        return True

    def prepare(self, instruction: Instruction, tree: Any) -> Prepared:
        values = plain(tree)
        return Prepared(instruction, values, key_of("", self.name, canonical(None, values), ""))

    def perform(self, prepared: Prepared, limits: Limits, stop: Stop) -> Performed:
        self.performed += 1
        outcome, filed = _does(prepared.tree)
        return Performed(outcome, filed=filed, report=Report())


def _does(tree: list[Any]) -> tuple[Outcome, bool]:
    kind, number, *given = tree
    match kind:
        case "sum":
            return Outcome("ok", [number + sum(map(_weight, given)), None]), True
        case "err":
            return Outcome("ok", [None, f"err {number}"]), True
        case "trap":
            return failure("trap", f"trap {number}"), True
        case _:
            return failure("host", f"host {number}"), False


def _weight(value: Any) -> int:
    """Return a number for anything that a promise gives."""
    match value:
        case int():
            return value
        case ["ok", int() as number]:
            return number + 1000
        case ["error", _]:
            return 7
        case _:
            return 3


def expected(nodes: list[Node]) -> list[tuple[str, Any]]:
    """Return the state of each node by the rules, and its value where it has one: `(state, ok)`."""
    ends: list[tuple[str, Any]] = []
    for kind, number, awaited in nodes:
        given: list[Any] = []
        skipped = blocked = False
        for other, branch in awaited:
            how, value = ends[other]
            skipped |= how == SKIPPED or (branch == "error" and how == "ok")
            blocked |= branch == "ok" and how != "ok"
            if branch == "ok":
                given.append(value)
            elif branch == "error":
                given.append("message")
            else:
                given.append(["ok", value] if how == "ok" else ["error", None])
        if skipped or blocked:  # a handler of what did not happen is not needed, whatever else is broken
            ends.append((SKIPPED if skipped else "blocked", None))
        elif kind == "sum":
            ends.append(("ok", number + sum(map(_weight, given))))
        else:
            ends.append(({"err": "err", "trap": "trap", "host": "host"}[kind], None))
    return ends


def workflow(nodes: list[Node]) -> Workflow:
    tasks: list[Task] = []
    for kind, number, awaited in nodes:
        promises: list[Ipld] = [Promise(branch, tasks[other].run.cid).to_ipld() for other, branch in awaited]  # type: ignore[arg-type]
        tasks.append(Task(run=Instruction(rsc="ipvm:test", op="test/graph", input=[kind, number, *promises])))
    return Workflow(tasks=tuple(tasks))


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    """Any graph of up to 25 tasks, each with a number of its own."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 25))):
        kind: Kind = draw(st.sampled_from(["sum", "sum", "sum", "err", "trap", "host"]))
        branches = st.sampled_from(["ok", "ok", "ok", "error", "*"])
        others = draw(st.lists(st.tuples(st.integers(0, number - 1), branches), max_size=3)) if number else []
        nodes.append((kind, number, tuple(others)))
    return nodes


def seen(session: Session, nodes: list[Node], rotated: int) -> list[tuple[str, Any]]:
    """Run a graph, its tasks in another order, and return how each ended."""
    made = workflow(nodes)
    shuffled = Workflow(tasks=made.tasks[rotated:] + made.tasks[:rotated])
    run = session.run(shuffled).wait()
    ends: list[tuple[str, Any]] = []
    for task in made.tasks:
        answer = run.answer(task.run.cid)
        assert answer is not None
        receipt = answer.receipt
        if answer.how in (SKIPPED, "blocked"):
            ends.append((answer.how, None))
        elif receipt is not None and receipt.ok:
            value: Any = receipt.value
            ends.append(("ok", value[0]) if value[0] is not None else ("err", None))
        else:
            assert receipt is not None
            error: Any = receipt.error
            ends.append((error["kind"], None))
    return ends


@given(graphs(), st.integers(0, 24), st.booleans())
@settings(max_examples=150)
def test_any_graph(nodes: list[Node], rotated: int, inline: bool) -> None:
    """
    Whatever the graph and in whichever order its tasks are written, each ends as the rules say; a second run performs only
    what is never filed.
    """
    graph = Graph()
    with Session(executor=InlineExecutor() if inline else ThreadExecutor(3)) as session:
        session.ops._made["test/graph"] = graph
        first = seen(session, nodes, rotated % len(nodes))
        performed, graph.performed = graph.performed, 0
        second = seen(session, nodes, (rotated + 1) % len(nodes))

    ends = expected(nodes)
    assert first == second == ends
    assert performed == sum(how in ("ok", "err", "trap", "host") for how, _ in ends)
    assert graph.performed == sum(how == "host" for how, _ in ends)
