"""RULES 3 and 4, sentence by sentence: what a promise comes to, and which tasks are one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadWorkflow, BrokenPromise, GuestError, GuestTrap, NotFound, Skipped, TaskFailed
from ipvm_kernel.ipld import CID, Block, encode
from ipvm_kernel.model import Instruction, Outcome, Promise, Receipt, Task, Workflow
from ipvm_kernel.testing import task
from tests.engine.test_graphs import Graph

if TYPE_CHECKING:
    from ipvm_kernel import Handle, Session
    from ipvm_kernel.session import Module

Answers = dict[str, tuple[str, Any]]


def answers(session: Session, **handles: Handle) -> Answers:
    """Run some handles as one workflow, and return how each ended and what its receipt says."""
    run = session.run(handles.values()).wait()
    found: Answers = {}
    for name, handle in handles.items():
        answer = run.answer(handle.cid)
        assert answer is not None
        found[name] = (answer.how, answer.receipt and answer.receipt.out.value)
    return found


# --- await/ok ---------------------------------------------------------------------------------------------------------


def test_ok_of_an_ok(session: Session, numbers: Module) -> None:
    """
    `await/ok` passes the value on.
    """
    assert answers(session, end=numbers.add_one(numbers.add_one(1))) == {"end": ("computed", 3)}


def test_ok_of_a_trap(session: Session, numbers: Module) -> None:
    """
    `await/ok` on an error: the dependant is an error that names the broken promise, and is not run; so are its own.
    """
    trap = numbers.trap(1)
    dependant = numbers.add_one(trap)
    end = numbers.add_one(dependant)

    found = answers(session, trap=trap, dependant=dependant, end=end)

    assert [how for how, _ in found.values()] == ["failed", "blocked", "blocked"]
    error = found["dependant"][1]
    assert error["kind"] == "broken-promise"
    assert error["detail"]["instruction"] == trap.cid
    assert f"trap ({trap.cid.short})" in error["message"]
    assert found["end"][1]["detail"]["instruction"] == dependant.cid
    with pytest.raises(BrokenPromise, match="which it awaits, failed") as caught:
        end.result()
    assert caught.value.instruction == end.cid


def test_unrelated_branches_go_on(session: Session, numbers: Module) -> None:
    """
    What does not await the failure is run to its end.
    """
    trap = numbers.trap(1)
    branches = [numbers.add_one(numbers.add_one(n)) for n in range(20)]

    run = session.run([numbers.add_one(trap), *branches]).wait()

    # The end of one branch does what the start of the next but one does: 21 outcomes answer 40 tasks.
    assert run.counts == {"failed": 1, "blocked": 1, "computed": 21, "replayed": 19}
    assert [branch.result() for branch in branches] == list(range(2, 22))


def test_ok_of_an_err(session: Session, typed: Module) -> None:
    """
    `await/ok` on the `err` of a function typed `result<T, E>` blocks the dependant, and names which promise it was.
    """
    good, bad = typed.div(6, 3), typed.div(1, 0)
    dependant = typed.total([good, bad])

    found = answers(session, bad=bad, dependant=dependant)

    assert found["bad"] == ("computed", [None, "division by zero"])
    assert found["dependant"][0] == "blocked"
    assert found["dependant"][1]["detail"] == {"instruction": bad.cid, "error": "division by zero"}
    with pytest.raises(GuestError, match="division by zero") as caught:
        bad.result()
    assert caught.value.value == "division by zero"


def test_ok_of_a_result_is_unwrapped(session: Session, typed: Module) -> None:
    """
    Where a value is expected, `await/ok` takes it out of the pair; wherever it stands in the argument.
    """
    three = typed.div(6, 2)

    assert typed.twice(three).result() == 6
    assert typed.total([1, three, three]).result() == 7
    assert typed.radius({"circle": three}).result() == 3
    assert typed.maybe(three).result() == 3
    assert session.store.on_file([three.cid])[three.cid].receipt.value == [3, None]  # type: ignore[union-attr]


def test_a_pair_passes_whole(typed: Module) -> None:
    """
    Where a result is expected, the pair passes whole, `err` included: nothing is blocked.
    """
    assert typed.settle(typed.div(6, 2)).result() == 3
    assert typed.settle(typed.div(6, 0)).result() == -1


# --- await/error, await/* ---------------------------------------------------------------------------------------------


def test_error_of_a_trap(session: Session, numbers: Module, typed: Module) -> None:
    """
    `await/error` gives a string parameter the error's message.
    """
    note = typed.explain(numbers.trap(1).error)

    assert note.result() == "because: the guest gave up: it reached an `unreachable` instruction"


def test_error_of_an_err(typed: Module) -> None:
    """
    `await/error` gives the payload of an `err` as it is.
    """
    assert typed.explain(typed.div(1, 0).error).result() == "because: division by zero"


def test_error_of_a_broken_promise(numbers: Module, typed: Module) -> None:
    """
    A task that was blocked has an error too, for whoever awaits it.
    """
    blocked = numbers.add_one(numbers.trap(1))

    assert typed.explain(blocked.error).result().startswith("because: not run: trap (")


def test_error_of_a_success(session: Session, numbers: Module, typed: Module) -> None:
    """
    On success the task that awaits the error is skipped: not run, not filed, no failure; and so are those after it.
    """
    good = typed.div(6, 3)
    note = typed.explain(good.error)
    after = typed.explain(note)
    whole = typed.settle(typed.div(1, 0))

    run = session.run([note, after, whole, typed.explain(numbers.add_one(1).error), typed.explain(note.outcome)]).wait()

    assert run.counts == {"computed": 4, "skipped": 4}
    assert run.failures == []
    run.raise_for_failures()
    assert run.answer(after.cid).receipt is None  # type: ignore[union-attr]
    assert session.store.on_file([note.cid, after.cid]) == {}
    for handle in (note, after):
        with pytest.raises(Skipped):
            handle.result()


def test_a_handler_that_is_not_needed(session: Session, numbers: Module, typed: Module) -> None:
    """
    What handles an error that did not happen is skipped, whatever its other inputs have come to.
    """
    session.ops._made["test/graph"] = Graph()
    good, trap = numbers.add_one(1), numbers.trap(1)
    awaited = [Promise("ok", trap.cid).to_ipld(), Promise("error", good.cid).to_ipld()]
    both = Task(run=Instruction(rsc="ipvm:test", op="test/graph", input=["sum", 1, *awaited]))

    run = session.run(Workflow(tasks=(good.task, trap.task, both))).wait()

    assert run.counts == {"computed": 1, "failed": 1, "skipped": 1}


def test_outcomes(session: Session, numbers: Module, typed: Module) -> None:
    """
    `await/*` passes `["ok", v]` or `["error", e]`: into a result, the value or the error's message.
    """
    assert typed.settle(numbers.add_one(4).outcome).result() == 5
    assert typed.settle(numbers.trap(4).outcome).result() == -1
    assert typed.settle(typed.div(8, 2).outcome).result() == 4
    assert typed.settle(typed.div(8, 0).outcome).result() == -1
    assert typed.settle(numbers.add_one(numbers.trap(4)).outcome).result() == -1


# --- what is on file, what is elsewhere -------------------------------------------------------------------------------


def test_an_await_of_what_is_on_file(session: Session, numbers: Module) -> None:
    """
    A promise of a task of another workflow is answered by its receipt.
    """
    before = numbers.add_one(1)
    before.result()
    (task_of_end,) = [numbers.add_one(before).task]

    run = session.run(Workflow(tasks=(task_of_end,))).wait()

    assert run.counts == {"replayed": 1, "computed": 1}
    assert run.answer(task_of_end.run.cid).receipt.value == 3  # type: ignore[union-attr]


def test_an_await_of_a_stored_instruction(session: Session, numbers: Module) -> None:
    """
    A promise whose receipt is not on file runs its stored instruction, and what that awaits.
    """
    first = numbers.add_one(1)
    second = numbers.add_one(first)
    for handle in (first, second):
        session.store.put(handle.instruction.block)
    end = numbers.add_one(second)

    run = session.run(Workflow(tasks=(end.task,))).wait()

    assert run.counts == {"computed": 3}
    assert run.answer(end.cid).receipt.value == 4  # type: ignore[union-attr]


def test_an_await_of_nothing(session: Session, numbers: Module) -> None:
    """
    A promise that nothing here answers is refused by name, before anything runs; so is one of what is no instruction.
    """
    unknown = Promise("ok", CID.of(b"nothing")).to_ipld()
    no_instruction = Promise("ok", session.store.put(Block.of([1]))).to_ipld()
    good = numbers.add_one(1)
    for promise, why in ((unknown, "not in the store"), (no_instruction, "no instruction")):
        strange = Task(
            run=Instruction(rsc=good.instruction.rsc, op="wasm/run", input={"func": "add_one", "args": [promise]})
        )
        with pytest.raises(BadWorkflow, match=rf"add_one \({strange.run.cid.short}\) awaits .*{why}"):
            _ = session.run(Workflow(tasks=(good.task, strange))).wait()
    assert session.store.on_file([good.cid]) == {}


def test_a_receipt_without_its_module(session: Session, numbers: Module) -> None:
    """
    A value that may be a result, of a function whose module is not here, is not guessed at.
    """
    elsewhere = task(1)
    for value, how in ((5, "computed"), ([5, None], "failed")):
        receipt = Receipt(ran=elsewhere.invocation.cid, out=Outcome("ok", value), meta={"op": "f"})
        session.admit(elsewhere, receipt)
        promise = Promise("ok", elsewhere.run.cid).to_ipld()
        rsc = numbers.add_one(1).instruction.rsc
        end = Task(run=Instruction(rsc=rsc, op="wasm/run", input={"func": "add_one", "args": [promise]}))

        run = session.run(Workflow(tasks=(end,))).wait()

        answer = run.answer(end.run.cid)
        assert answer is not None
        assert answer.how == how
        if how == "failed":
            assert answer.receipt.error["kind"] == "missing"  # type: ignore[union-attr, index, call-overload]
        session.forget([elsewhere.run.cid, end.run.cid])


def test_a_module_that_is_not_here(session: Session) -> None:
    """
    A task of a module that is nowhere ends in an error that names it; it is tried again next time.
    """
    lost = session.run(Workflow(tasks=(task(1),))).wait()

    answer = lost.answer(task(1).run.cid)
    assert answer is not None
    assert answer.receipt is not None
    assert answer.receipt.error["kind"] == "missing"  # type: ignore[index, call-overload]
    assert not answer.filed
    with pytest.raises(NotFound):
        session.module(f"ipfs://{task(1).run.module}")


# --- which tasks are one ----------------------------------------------------------------------------------------------


def test_equal_handles_are_one_task(session: Session, numbers: Module) -> None:
    """
    Two equal handles are one task, run once.
    """
    run = session.run([numbers.add_one(1), numbers.add_one(1), numbers.add(1, numbers.add_one(1))]).wait()

    assert run.counts == {"computed": 2}


def test_a_promise_and_its_value_share_an_outcome(session: Session, numbers: Module) -> None:
    """
    f(await g) and f(value) share one outcome: the second writes a receipt with its own `ran`, and the journal says where
    it is from.
    """
    awaited, literal = numbers.add_one(numbers.add_one(1)), numbers.add_one(2)
    awaited.result()

    run = session.run(literal).wait()

    assert run.counts == {"replayed": 1}
    one, other = awaited.receipt, literal.receipt
    assert one is not None
    assert other is not None
    assert one.out == other.out
    assert (one.ran, other.ran) == (awaited.task.invocation.cid, literal.task.invocation.cid)
    assert one.cid != other.cid
    (entry,) = session.store.journal(instruction=literal.cid)
    assert (entry.how, entry.source, entry.receipt) == ("shared", one.cid, other.cid)


def test_a_trap_is_shared_too(session: Session, numbers: Module) -> None:
    """
    A filed failure is an outcome like any other.
    """
    with pytest.raises(GuestTrap):
        numbers.divide(1, 0).result()

    run = session.run(numbers.divide(numbers.add_one(0), 0)).wait()

    assert run.counts == {"computed": 1, "replayed": 1}
    with pytest.raises(GuestTrap, match="divided an integer by zero"):
        numbers.divide(numbers.add_one(0), 0).result()


def test_a_literal_link_and_an_awaited_link(session: Session, typed: Module) -> None:
    """
    A literal link means its content, and an awaited value that is a link stays one: two tasks, two answers.
    """
    data = session.put(b"x" * 10)
    link_as_text = typed.explain(str(data.cid)[:40] + str(data.cid)[40:])

    literal = typed.explain(data)
    text = typed.explain(str(data.cid))

    assert literal.result() == "because: eHh4eHh4eHh4eA"  # base64 of ten x, as Homestar reads a link there
    assert text.result() == f"because: {data.cid}"
    assert link_as_text.cid == text.cid


def test_bytes_however_they_come(session: Session, typed: Module) -> None:
    """
    Bytes given directly, by a link and by a task are one outcome.
    """
    literal, linked = typed.echo_bytes(b"abc"), typed.echo_bytes(session.put(b"abc"))
    awaited = typed.echo_bytes(typed.echo_bytes(b"abc"))

    assert session.run([literal]).wait().counts == {"computed": 1}
    assert session.run([linked, awaited]).wait().counts == {"replayed": 3}
    assert literal.result() == linked.result() == awaited.result() == b"abc"


def test_a_strict_reading_is_not_bypassed(session: Session, numbers: Module) -> None:
    """
    An awaited 1.5 does not fit an s32, although a literal 1.5 of a Homestar file, which is cut to 1, has an outcome.
    """
    half = numbers.half(3.0)
    rsc = half.instruction.rsc
    cut = Task(run=Instruction(rsc=rsc, op="wasm/run", input={"func": "add_one", "args": [1.5]}))
    strict = Task(
        run=Instruction(rsc=rsc, op="wasm/run", input={"func": "add_one", "args": [Promise("ok", half.cid).to_ipld()]})
    )
    run = session.run(Workflow(tasks=(cut, half.task, strict))).wait()

    assert run.answer(cut.run.cid).receipt.value == 2  # type: ignore[union-attr]
    assert run.answer(strict.run.cid).receipt.error["kind"] == "conversion"  # type: ignore[union-attr, index, call-overload]
    assert session.store.on_file([strict.run.cid]) == {}


def test_a_nonce_makes_another_task(session: Session, numbers: Module) -> None:
    """
    With a nonce the same work is another task, and runs by itself.
    """
    plain = numbers.add_one(1)
    first, second = (numbers.add_one.with_options(nonce=bytes([n] * 12))(1) for n in range(2))

    assert session.run([plain, first, second]).wait().counts == {"computed": 3}


def test_limits_do_not_name_a_task(session: Session, numbers: Module) -> None:
    """
    Asking for other limits is the same instruction: its receipt answers, with the `ran` of the first.
    """
    plain, limited = numbers.add_one(1), numbers.add_one.with_options(time=5, fuel=1000, memory="1 MB")(1)
    plain.result()

    assert limited.cid == plain.cid
    assert limited.task.invocation.cid != plain.task.invocation.cid
    assert limited.task.meta == {"time": 5000, "fuel": 1000, "memory": 1_000_000}
    assert session.run(limited).wait().counts == {"replayed": 1}
    assert limited.receipt.ran == plain.task.invocation.cid  # type: ignore[union-attr]


def test_failures_are_told_by_kind(numbers: Module, typed: Module) -> None:
    """
    Each kind of failure is an exception of its own, under one roof.
    """
    kinds = {
        numbers.trap(1): GuestTrap,
        typed.div(1, 0): GuestError,
        numbers.add_one(numbers.trap(1)): BrokenPromise,
        typed.explain(numbers.add_one(1).error): Skipped,
    }
    for handle, kind in kinds.items():
        error = handle.exception()
        assert type(error) is kind
        assert isinstance(error, TaskFailed)
        assert error.instruction == handle.cid
    assert numbers.add_one(1).exception() is None
    assert encode(numbers.trap(1).receipt.error)  # type: ignore[union-attr]
