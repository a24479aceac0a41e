"""Where Homestar and ipvm differ, on purpose: what the real one does, and what is done here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadWorkflow
from ipvm_kernel.exchange.settings import Settings
from ipvm_kernel.ipld import CID, dagjson
from ipvm_kernel.ipld.bases import to_base58
from ipvm_kernel.model import Instruction, Promise, Task, Workflow
from ipvm_kernel.session import Session
from tests.homestar.modules import typed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.session import Module
    from tests.daemons import Homestar, Kubo

pytestmark = pytest.mark.peer("homestar", "kubo", "zig", "wasm-tools")

SILENCE = 1.5  # seconds in which Homestar says nothing, since it never will


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(None) as made:
        yield made


@pytest.fixture
def module(session: Session, kubo: Kubo) -> Module:
    return typed(session, kubo)


class Both:
    """One workflow, there and here."""

    def __init__(self, session: Session, homestar: Homestar) -> None:
        self._session, self._homestar = session, homestar

    def run(self, *tasks: Task, timeout: float = 20) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what came of each task, by invocation: outcomes there, and outcomes or states here."""
        workflow = Workflow(tasks=tasks)
        wire = json.loads(dagjson.dumps(workflow.to_ipld()))
        there = {notice.ran: notice.out for notice in self._homestar.run(wire, timeout=timeout)}
        by = {task.run.cid: str(task.invocation.cid) for task in tasks}
        here = {
            by[answer.instruction]: answer.receipt.out.to_ipld() if answer.receipt is not None else answer.how
            for answer in self._session.run(workflow).wait()
        }
        return there, here

    def one(self, task: Task, timeout: float = 20) -> tuple[Any, Any]:
        """Return what came of a task, there and here; None there for nothing."""
        there, here = self.run(task, timeout=timeout)
        return there.get(str(task.invocation.cid)), here[str(task.invocation.cid)]


@pytest.fixture
def both(session: Session, homestar: Homestar) -> Both:
    return Both(session, homestar)


def call(module: Module, func: str, *args: Any, **other: Any) -> Task:
    return Task(
        run=Instruction(rsc=f"ipfs://{module._cid}", op="wasm/run", input={"func": func, "args": list(args)}, **other)
    )


def awaiting(task: Task, branch: Any = "ok") -> dict[str, Any]:
    return Promise(branch, task.run.cid).to_ipld()


# --- Values that are not the same on the wire (RULES 1) ---

SINGLES: list[tuple[float, float | None]] = [(3.1415927410125732, 3.141593), (1e-30, 0.0), (1e30, None)]


@pytest.mark.parametrize(("given", "theirs"), SINGLES)
def test_single_precision(both: Both, module: Module, given: float, theirs: float | None) -> None:
    """
    Homestar rounds an f32 to seven digits, makes 0 of a small one and gives no receipt for a large one. Here it is the
    shortest decimal that reads back to it.
    """
    import numpy as np

    there, here = both.one(call(module, "single", given), timeout=20 if theirs is not None else SILENCE)

    assert there == (None if theirs is None else ["ok", theirs])
    assert np.float32(here[1]) == np.float32(given)


def test_pairs(both: Both, module: Module) -> None:
    """
    Homestar makes a map of a list of pairs, without order and duplicates. Here the list stays one.
    """
    there, here = both.one(call(module, "pairs", ["b", "a", "b"]))

    assert there == ["ok", {"a": "a", "b": "b"}]
    assert here == ["ok", [["b", "b"], ["a", "a"], ["b", "b"]]]


def test_text_that_looks_like_a_cid(both: Both, module: Module) -> None:
    """
    Homestar makes a link of any text that parses as a CID, and its spelling is lost. Here only the canonical spelling is
    the link, and any other stays text.
    """
    other = "z" + to_base58(module._cid.bytes)
    there, here = both.one(call(module, "join", other[:20], other[20:]))

    assert there == ["ok", {"/": str(module._cid)}]
    assert here == ["ok", other]


def test_lists_that_look_like_outcomes(both: Both, module: Module) -> None:
    """
    Homestar unwraps an argument `["ok", x]`. Here data is data, and a list of a text and a list is no list of numbers.
    """
    there, here = both.one(call(module, "total", ["ok", [1, 2]]))

    assert there == ["ok", 3]
    assert here[0] == "error"
    assert here[1]["kind"] == "conversion"


# --- Promises ---


def test_nested_promises(both: Both, module: Module) -> None:
    """
    Homestar does not order tasks by promises inside lists, and loses what comes too early. Here every promise counts.
    """
    first = call(module, "add_one", 810_001)
    second = call(module, "total", [1, awaiting(first)])
    there, here = both.run(second, first, timeout=SILENCE)

    assert str(second.invocation.cid) not in there
    assert here[str(second.invocation.cid)] == ["ok", 810_003]


def test_an_error_that_did_not_happen(both: Both, module: Module) -> None:
    """
    Homestar passes the value on to who awaits the error. Here that task is skipped.
    """
    first = call(module, "add_one", 820_001)
    second = call(module, "add_one", awaiting(first, "error"))
    there, here = both.run(first, second)

    assert there[str(second.invocation.cid)] == ["ok", 820_003]
    assert here[str(second.invocation.cid)] == "skipped"


def test_either_branch(both: Both, module: Module) -> None:
    """
    Homestar passes the bare value on to who awaits either branch. Here the branch comes with it, and a number is none.
    """
    first = call(module, "add_one", 830_001)
    second = call(module, "add_one", awaiting(first, "*"))
    there, here = both.run(first, second)

    assert there[str(second.invocation.cid)] == ["ok", 830_003]
    assert here[str(second.invocation.cid)][1]["kind"] == "conversion"


# --- What Homestar hangs on, or loses (`homestar.md` 1.7, 1.10, 1.11) ---


def test_one_that_traps(both: Both, module: Module) -> None:
    """
    Of tasks side by side of which one traps, Homestar loses some without a word. Here each ends with a receipt, and the
    trap's says what it was.
    """
    good = [call(module, "add_one", 840_000 + n) for n in range(4)]
    bad = call(module, "divide", 840_000, 0)
    there, here = both.run(bad, *good, timeout=SILENCE)

    assert str(bad.invocation.cid) not in there
    assert [here[str(task.invocation.cid)] for task in good] == [["ok", 840_001 + n] for n in range(4)]
    assert here[str(bad.invocation.cid)][1]["kind"] == "trap"


def test_one_that_awaits_what_failed(both: Both, module: Module) -> None:
    """
    What awaits a failed task has a receipt that names the broken promise, and its neighbour runs. Homestar says nothing of
    the one, and may lose the other.
    """
    bad = call(module, "divide", 850_000, 0)
    after = call(module, "add_one", awaiting(bad))
    good = call(module, "add_one", 850_001)
    beside = call(module, "add_one", awaiting(good))
    there, here = both.run(bad, after, good, beside, timeout=SILENCE)

    assert str(after.invocation.cid) not in there
    assert here[str(after.invocation.cid)][1]["kind"] == "broken-promise"
    assert here[str(beside.invocation.cid)] == ["ok", 850_003]


CANNOT: dict[str, tuple[str, list[Any], str]] = {
    "no such function": ("absent", [860_001], "conversion"),
    "too few arguments": ("add", [860_002], "conversion"),
    "the wrong type": ("add_one", [True], "conversion"),
    "out of range": ("add_one", [2**40], "conversion"),
    "a link to nothing": ("size", [CID.of(b"nowhere", "raw", "sha2-256")], "missing"),
}


@pytest.mark.parametrize("name", CANNOT)
def test_one_that_cannot_run(session: Session, module: Module, name: str) -> None:
    """
    A task that cannot run ends at once, with a receipt that says why, and is not kept, since it may be put right. (Homestar
    says nothing, and calls the workflow completed, or leaves it pending.)
    """
    func, args, kind = CANNOT[name]
    good = call(module, "add_one", 1)
    bad = call(module, func, *args)
    answers = {answer.instruction: answer for answer in session.run(Workflow(tasks=(bad, good))).wait()}

    assert answers[good.run.cid].how == "computed"
    failed = answers[bad.run.cid]
    assert failed.receipt is not None
    assert isinstance(failed.receipt.error, dict)
    assert failed.receipt.error["kind"] == kind
    assert not failed.filed


def test_operations_that_nobody_knows(session: Session, module: Module) -> None:
    """
    A task with an operation that is not known ends with a receipt that lists those that are. (Homestar skips it, and calls
    the workflow completed.)
    """
    odd = Task(run=Instruction(rsc=f"ipfs://{module._cid}", op="WASM/RUN", input={"func": "add_one", "args": [1]}))
    (answer,) = session.run(Workflow(tasks=(odd,))).wait()

    assert answer.receipt is not None
    assert "wasm/run" in str(answer.receipt.error)


def test_a_place_that_is_no_content(session: Session) -> None:
    """
    A module by an address that cannot be reached ends its task with the reason. (Homestar's worker panics on any `https:`
    address, and the workflow is pending for ever.)
    """
    session.resources._settings = Settings(seconds=2)
    tasks = [
        Task(run=Instruction(rsc=rsc, op="wasm/run", input={"func": "f", "args": []}))
        for rsc in ("https://localhost/x.wasm", "data:application/wasm;base64,AA", "file:///absent.wasm", "nonsense")
    ]
    answers = list(session.run(Workflow(tasks=tuple(tasks))).wait())

    assert {answer.how for answer in answers} == {"failed"}
    assert all(
        answer.receipt is not None
        and isinstance(answer.receipt.error, dict)
        and answer.receipt.error["kind"] == "missing"
        for answer in answers
    )


def test_a_workflow_that_is_known_in_part(session: Session, homestar: Homestar, module: Module, kubo: Kubo) -> None:
    """
    A workflow of which one task is known and one, of another module, is new: Homestar says nothing for ever. Here the one
    is replayed and the other run.
    """
    wat = b'(module (func (export "two") (result i32) i32.const 2))'
    other = session.module(wat)
    known = call(module, "add_one", 870_001)
    new = Task(run=other.two().instruction)
    kubo.add_block(wat)
    both = Both(session, homestar)
    assert both.one(known) == (["ok", 870_002], ["ok", 870_002])
    wire = json.loads(dagjson.dumps(Workflow(tasks=(known, new)).to_ipld()))

    assert homestar.run(wire, timeout=SILENCE) == []
    assert sorted(answer.how for answer in session.run(Workflow(tasks=(known, new))).wait()) == ["computed", "replayed"]


def test_a_task_with_two_receipts(session: Session, module: Module) -> None:
    """
    A task that was run under two limits is replayed under either, and under a third. (On Homestar every workflow that has
    it hangs.)
    """
    bare = call(module, "add_one", 880_001)
    metas: list[dict[str, Any]] = [{}, {"time": 60_000}, {"memory": 1 << 30}]
    tasks = [Task(run=bare.run, meta=meta) for meta in metas]
    first = session.run(Workflow(tasks=(tasks[0],))).wait()
    again = session.run(Workflow(tasks=(tasks[1],)), rerun=True).wait()
    rest = [session.run(Workflow(tasks=(task,))).wait() for task in tasks]

    assert [answer.how for run in (first, again) for answer in run] == ["computed", "computed"]
    assert [answer.how for run in rest for answer in run] == ["replayed"] * 3


def test_what_is_awaited_from_elsewhere(session: Session, module: Module) -> None:
    """
    An await of a task of another workflow is answered by its receipt; one that nothing answers is refused before anything
    runs. (Homestar starts the rest, and calls the workflow completed.)
    """
    first = call(module, "add_one", 890_001)
    after = call(module, "add_one", awaiting(first))

    with pytest.raises(BadWorkflow, match="no task of this workflow"):
        list(session.run(Workflow(tasks=(after, call(module, "add_one", 1)))))
    assert session.known(call(module, "add_one", 1).run.cid) is None
    session.run(Workflow(tasks=(first,))).wait().raise_for_failures()
    answer = session.run(Workflow(tasks=(after,))).wait().answer(after.run.cid)
    assert answer is not None
    assert answer.receipt is not None
    assert answer.receipt.value == 890_003


def test_nothing_to_do(session: Session) -> None:
    """
    A workflow of no tasks ends at once, with nothing. (Homestar takes it, and never says a word.)
    """
    assert session.run(Workflow(tasks=())).wait().receipts == []
