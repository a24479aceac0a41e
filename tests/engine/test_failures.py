"""RULES 5, 6 and 8: what is filed and what is tried again, what was dropped, what a rerun must meet."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from ipvm_kernel import Session
from ipvm_kernel.engine.answers import ENDED, STATES
from ipvm_kernel.engine.ops import Performed, Prepared, Unprepared
from ipvm_kernel.errors import Divergence, GuestTrap, LimitHit, TaskFailed
from ipvm_kernel.ipld import Block, encode
from ipvm_kernel.model import Instruction, Outcome, Receipt, Task, Workflow, failure
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.testing import filing
from ipvm_kernel.wasm.limits import Limits, Report
from tests.guests import NUMBERS, ROOMY

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.session import Module
    from ipvm_kernel.wasm.stop import Stop


def kind_of(error: TaskFailed | None) -> str:
    assert error is not None
    return str(error.error["kind"])


# --- what is filed ----------------------------------------------------------------------------------------------------


def test_a_trap_of_the_guest_is_filed(session: Session, numbers: Module) -> None:
    """
    A trap in the guest's own steps is the same on every machine: it is filed, and replayed.
    """
    for trap in (numbers.trap(1), numbers.divide(1, 0)):
        assert isinstance(trap.exception(), GuestTrap)
        assert session.run(trap).wait().counts == {"replayed": 1}
        assert kind_of(trap.exception()) == "trap"
        assert session.run(trap).wait().failures[0].instruction == trap.cid


@pytest.mark.parametrize("limit", [{"fuel": 10_000}, {"time": 0.05}])
def test_a_limit_is_not_filed(session: Session, numbers: Module, limit: dict[str, Any]) -> None:
    """
    What a limit of fuel or time stopped is tried again, says what it needed, and is in the journal.
    """
    spin = numbers.spin.with_options(**limit)(1)

    with pytest.raises(LimitHit, match=r"ran out.*with_options"):
        spin.result()

    assert session.store.on_file([spin.cid]) == {}
    assert spin.receipt is not None
    assert not spin.receipt.ok
    assert session.run(spin).wait().counts == {"failed": 1}
    assert len(session.store.journal(instruction=spin.cid)) == 2
    assert session.store.journal(instruction=spin.cid)[0].error.startswith("limit: ")


def test_seven_under_one_mebibyte() -> None:
    """
    A memory limit can change an answer without a trap: the module that gives 7 where it is refused memory gives 42 to
    whoever asks without the limit, in the same session and in the next.
    """
    with Session() as session:
        roomy = session.module(ROOMY).roomy
        capped, free = roomy.with_options(memory="1 MiB")(), roomy()
        assert capped.cid == free.cid

        assert capped.result() == 7
        assert session.store.on_file([free.cid]) == {}
        assert free.receipt is None
        assert capped.receipt is not None
        assert free.result() == 42
        assert capped.result() == 42


def test_seven_is_not_awaited() -> None:
    """
    The same with `await`.
    """

    async def ask() -> tuple[int, int]:
        roomy = session.module(ROOMY).roomy
        return await roomy.with_options(memory="1 MiB")(), await roomy()

    with Session() as session:
        assert asyncio.run(ask()) == (7, 42)


def test_a_cap_of_the_session(numbers: Module) -> None:
    """
    The limits of a host act without being in any name, and narrow whatever a task asks for.
    """
    with Session(limits=Limits(memory=1 << 20, fuel=10_000)) as session:
        roomy = session.module(ROOMY).roomy
        assert roomy().task.meta == {}
        assert roomy().result() == 7
        assert roomy.with_options(memory="1 GiB")().result() == 7
        assert session.store.on_file([roomy().cid]) == {}
        assert isinstance(session.module(NUMBERS).spin.with_options(fuel=10**9)(1).exception(), LimitHit)
        run = session.run(session.module(NUMBERS).add_one(1), limits=Limits(fuel=1)).wait()
        assert run.counts == {"failed": 1}


def test_a_small_module_under_a_limit_is_filed(session: Session, numbers: Module) -> None:
    """
    Where no memory can be refused, a memory limit changes nothing, and the answer is filed.
    """
    limited = numbers.add_one.with_options(memory="1 MiB")(1)
    limited.result()

    assert limited.cid in session.store.on_file([limited.cid])


def test_nan_is_readable_in_this_session(session: Session, numbers: Module, typed: Module) -> None:
    """
    A NaN has no CID: the task is an error that names the path and is not filed, and the value can be had all the same.
    """
    for handle, place in ((numbers.nan(), "the result is nan"), (typed.middle(), "the result.y is nan")):
        error = handle.exception()

        assert kind_of(error) == "unencodable"
        assert place in str(error)
        assert error is not None
        assert math.isnan(error.value if handle.cid == numbers.nan().cid else error.value["y"])
        assert session.store.on_file([handle.cid]) == {}
        run = session.run(handle).wait()
        assert run.counts == {"failed": 1}
        assert run.answers[0].value is not None


def test_what_does_not_fit_is_tried_again(session: Session, numbers: Module) -> None:
    """
    A conversion that fails, a function or an operation that is not there: errors of their kinds, never filed.
    """
    rsc = numbers.add_one(1).instruction.rsc
    strange: dict[str, list[Any]] = {
        "conversion": [{"func": "add_one", "args": ["text"]}, {"func": "nowhere", "args": []}, {"func": "add_one"}, 5],
        "missing": [],
    }
    runs = [
        (kind, Instruction(rsc=rsc, op="wasm/run", input=given)) for kind, inputs in strange.items() for given in inputs
    ]
    runs.append(("missing", Instruction(rsc=rsc, op="no/op", input={})))
    runs.append(("missing", Instruction(rsc="https://example.com", op="wasm/run", input={"func": "f", "args": []})))

    run = session.run(Workflow(tasks=tuple(Task(run=one) for _, one in runs))).wait()

    for kind, one in runs:
        answer = run.answer(one.cid)
        assert answer is not None
        assert answer.receipt is not None
        assert answer.receipt.error["kind"] == kind, one  # type: ignore[index, call-overload]
        assert len(encode(answer.receipt.error)) < 4096
    assert session.store.on_file([one.cid for _, one in runs]) == {}


# --- operations that break --------------------------------------------------------------------------------------------


class Breaking:
    """An operation that breaks as it is told to."""

    name = "test/break"

    def fallible(self, instruction: Instruction) -> bool | None:
        return False

    def prepare(self, instruction: Instruction, tree: Any) -> Prepared:
        if tree == "unprepared":
            raise Unprepared(failure("conversion", "as it was told to"))
        if tree == "prepare":
            raise RuntimeError("bro\x1bken")
        return Prepared(instruction, tree, bytes([len(str(tree))] * 32))

    def perform(self, prepared: Prepared, limits: Limits, stop: Stop) -> Performed:
        if prepared.tree == "perform":
            raise OSError("no such device")
        return Performed(Outcome("ok", prepared.tree), filed=True, report=Report())


def told(what: Any) -> Task:
    return Task(run=Instruction(rsc="ipvm:test", op="test/break", input=what))


def test_an_operation_that_breaks() -> None:
    """
    What breaks an operation is an error of its task alone: it is named, escaped and not filed, and the others go on.
    """
    with Session() as session:
        session.ops._made["test/break"] = Breaking()
        tasks = [told(what) for what in ("prepare", "perform", "unprepared", "fine")]

        run = session.run(Workflow(tasks=tuple(tasks))).wait()
        again = session.run(Workflow(tasks=tuple(tasks))).wait()

        assert run.counts == {"failed": 3, "computed": 1}
        assert again.counts == {"failed": 3, "replayed": 1}
        messages = [run.answer(task.run.cid).receipt.error for task in tasks[:3]]  # type: ignore[union-attr]
        assert messages == [
            {"kind": "host", "message": "test/break broke: RuntimeError: bro\\x1bken"},
            {"kind": "host", "message": "test/break broke: OSError: no such device"},
            {"kind": "conversion", "message": "as it was told to"},
        ]


# --- what must be met -------------------------------------------------------------------------------------------------


def test_a_rerun_that_is_equal(session: Session, numbers: Module) -> None:
    """
    A rerun runs the task although its receipt is on file, and meets it.
    """
    end = numbers.add_one(numbers.add_one(1))
    end.result()
    before = end.receipt

    assert end.result(rerun=True) == 3
    assert end.receipt == before
    assert session.run(end, rerun=True).wait().counts == {"computed": 2}
    assert session.run(end, rerun=[end.cid]).wait().counts == {"replayed": 1, "computed": 1}
    assert len(session.store.receipts_of(end.cid)) == 1


def test_a_rerun_under_other_limits(session: Session, numbers: Module) -> None:
    """
    A rerun under other limits is another invocation of the same task: its answer is compared, and the first receipt stays.
    """
    plain, limited = numbers.add_one(1), numbers.add_one.with_options(time=60)(1)
    plain.result()

    assert limited.result(rerun=True) == 2
    assert [found.ran for found in session.store.receipts_of(plain.cid)] == [plain.task.invocation.cid]


def test_a_rerun_that_meets_a_limit(session: Session, numbers: Module) -> None:
    """
    A rerun that a limit stops says so; it is no divergence, and the receipt stays.
    """
    plain = numbers.add_one(1)
    plain.result()

    with pytest.raises(LimitHit):
        numbers.add_one.with_options(fuel=1)(1).result(rerun=True)
    assert plain.result() == 2


def test_a_divergence(session: Session, numbers: Module) -> None:
    """
    Equal tasks that give different answers are reported: nothing is chosen silently, and the journal keeps it.
    """
    handle = numbers.add_one(1)
    wrong = filing(handle.task, 3)
    session.store.file(wrong)
    assert handle.result() == 3

    with pytest.raises(Divergence, match=f"gave .* where {wrong.receipt.cid} is on file"):
        handle.result(rerun=True)

    assert handle.receipt == wrong.receipt
    assert session.store.journal(instruction=handle.cid)[0].error.startswith("divergence: ")
    assert numbers.add_one(2).result() == 3


def test_numbers_that_only_look_equal(session: Session, numbers: Module) -> None:
    """
    1, 1.0 and true are equal in Python and different answers.
    """
    for wrong in (2.0, True):
        handle = numbers.add_one.with_options(nonce=bytes([int(wrong)] * 12))(0 if wrong is True else 1)
        session.store.file(filing(handle.task, wrong))
        with pytest.raises(Divergence):
            handle.result(rerun=True)


def test_what_was_dropped_is_met_again(tmp_path: Path, component: bytes) -> None:
    """
    A value that was dropped to make room is worked out again when it is asked for, and its receipt is the same.
    """
    with Session(tmp_path / "store") as session:
        typed = session.module(component)
        fill = typed.fill(5000)
        fill.result()
        before = fill.receipt
        assert isinstance(session.store, SqliteStore)
        assert session.store.gc().count == 1

    with Session(tmp_path / "store") as session:
        fill = session.module(component).fill.with_options(time=60)(5000)  # another invocation
        assert session.plan(fill).runs == [fill.cid]
        assert fill.result() == b"\x07" * 5000
        assert fill.receipt == before
        assert session.run(fill).wait().counts == {"replayed": 1}
        (found,) = session.store.receipts_of(fill.cid)
        assert found.here


def test_a_dropped_file_is_met_again(tmp_path: Path, component: bytes) -> None:
    """
    The same for a value so large that its receipt has only a link to it; whoever awaits it gets it.
    """
    with Session(tmp_path / "store") as session:
        typed = session.module(component)
        fill = typed.fill(1_500_000)
        assert len(fill.result()) == 1_500_000
        assert isinstance(session.store, SqliteStore)
        session.store.gc()

    with Session(tmp_path / "store") as session:
        typed = session.module(component)
        fill = typed.fill(1_500_000)
        run = session.run(typed.echo_bytes(fill)).wait()
        assert run.counts == {"computed": 2}
        assert fill.result() == b"\x07" * 1_500_000


def test_what_was_dropped_is_not_met(tmp_path: Path, numbers: Module) -> None:
    """
    A recomputation that does not meet the receipt's CID is a divergence.
    """
    with Session(tmp_path / "store") as session:
        handle = session.module(NUMBERS).add_one(1)
        session.store.file(filing(handle.task, bytes(5000)))
        assert isinstance(session.store, SqliteStore)
        assert session.store.gc().count == 1

        with pytest.raises(Divergence):
            handle.result()


# --- admission --------------------------------------------------------------------------------------------------------


def test_what_is_not_admitted_is_not_used(session: Session, numbers: Module) -> None:
    """
    A receipt from elsewhere that nobody admitted is shown in the plan and never used: the task runs.
    """
    handle = numbers.add_one(1)
    session.store.file(filing(handle.task, 99, own=False, admitted=False, keyed=False))

    plan = session.plan(handle)
    assert (plan.runs, set(plan.unverified)) == ([handle.cid], {handle.cid})
    assert handle.receipt is None
    assert handle.result() == 2
    assert session.run(numbers.add_one(handle)).wait().counts == {"replayed": 1, "computed": 1}


def test_a_damaged_value_is_the_tasks_own_trouble(tmp_path: Path, component: bytes) -> None:
    """
    An input that is not what was written is an error of the task that needs it; the others go on.
    """
    with Session(tmp_path / "store") as session:
        data = session.put(b"x" * 1000)
        session.store.sync()
        connection = apsw.Connection(str(tmp_path / "store" / "store.db"))
        connection.execute("UPDATE block SET data = zeroblob(1000) WHERE cid = ?", (data.cid.bytes,))
        connection.close()
        typed = session.module(component)

        run = session.run([typed.echo_bytes(data), typed.twice(4)]).wait()

        assert run.counts == {"failed": 1, "computed": 1}
        assert "is not what was written" in str(typed.echo_bytes(data).exception())


# --- states -----------------------------------------------------------------------------------------------------------


def test_the_states() -> None:
    """
    There is one list of states, and seven of them are ends.
    """
    ends = ("computed", "replayed", "failed", "blocked", "skipped", "cancelled", "unverified")

    assert ("pending", "ready", "running", *ends) == STATES
    assert set(ends) == ENDED


def test_a_receipt_has_nothing_of_this_machine(session: Session, numbers: Module) -> None:
    """
    A receipt is what Homestar would write: function, outcome, invocation; durations and fuel are in the journal.
    """
    handle = numbers.add_one(1)
    handle.result()

    assert handle.receipt == Receipt(ran=handle.task.invocation.cid, out=Outcome("ok", 2), meta={"op": "add_one"})
    (entry,) = session.store.journal(instruction=handle.cid)
    assert entry.fuel > 0
    assert entry.seconds > 0
    assert entry.engine.startswith("wasmtime ")
    assert Block.of(handle.receipt.to_ipld()).cid == handle.receipt.cid
