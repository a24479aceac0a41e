"""What a liar tries: to be believed in spite of the policy, to frame the honest, and to break the work of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from ipvm_kernel.homestar import capsules
from ipvm_kernel.model import Instruction, Receipt
from ipvm_kernel.model.receipt import Outcome, failure
from ipvm_kernel.session import bringing
from ipvm_kernel.trust import Key
from tests.sharing.forger import Forger, answer, lie, word
from tests.sharing.people import Person

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.handles import Handle

MALLORY: Final = Key(b"\x66" * 32)


def test_many_copies_of_a_lie_do_not_escape_the_sample(bob: Person, tmp_path: Path) -> None:
    """
    Which tasks are run again is drawn by task: eight receipts of one lie are run again no less than one.
    """
    bob.policy.set_optimistic(True, 0.5)
    tasks = [bob.numbers().add(n, -n) for n in range(40)]
    for copy in range(8):
        forger = Forger()
        for task in tasks:
            receipt = Receipt(ran=task.task.invocation.cid, out=Outcome("ok", 666), meta={"op": "add", "copy": copy})
            forger.task(task.task, receipt, word(MALLORY, receipt.cid, task.cid))
        bob.load(forger.archive(tmp_path / f"{copy}.car"))
    counts = bob.run(*tasks)

    assert 5 <= counts.get("computed", 0) <= 35
    assert set(bob.policy.quarantined) == {MALLORY.did}


def test_a_true_receipt_under_another_task_frames_nobody(alice: Person, bob: Person) -> None:
    """
    What a stranger files under another task than its own is no answer to that, and says nothing against its signer.
    """
    numbers = alice.numbers()
    bob.load(alice.share(alice.notebook([numbers.add(1, 2)])))
    true = alice.session.known(numbers.add(1, 2).cid)
    other = bob.numbers().add(5, 5)
    assert true is not None
    bringing.keep(bob.session.store, capsules.Stored(other.cid, true), engine="peer 12D3")

    assert other.result() == 10
    assert bob.session.take_notices() == []
    assert bob.policy.quarantined == {}


def test_an_error_in_other_words_frames_nobody(bob: Person, tmp_path: Path) -> None:
    """
    A trap that another version words in another way is the same trap.
    """
    task = bob.numbers().trap(1)
    receipt = Receipt(ran=task.task.invocation.cid, out=failure("trap", "reached the unreachable"), meta={"op": "trap"})
    bob.load(Forger().task(task.task, receipt, word(MALLORY, receipt.cid, task.cid)).archive(tmp_path / "x.car"))

    assert bob.run(task) == {"failed": 1}
    assert bob.policy.quarantined == {}


def test_an_error_where_there_is_a_value_is_told_and_frames_nobody(bob: Person, tmp_path: Path) -> None:
    """
    Whoever says that a task failed which gives a value here may have another engine: it is told, and no more.
    """
    task = bob.numbers().add(1, 2)
    receipt = Receipt(ran=task.task.invocation.cid, out=failure("trap", "unreachable"), meta={"op": "add"})
    bob.load(Forger().task(task.task, receipt, word(MALLORY, receipt.cid, task.cid)).archive(tmp_path / "x.car"))

    assert task.result() == 3
    assert "divergence" in bob.session.take_notices()[0]
    assert bob.policy.quarantined == {}


def test_homestars_third_word_for_ok_is_ok(bob: Person, tmp_path: Path) -> None:
    """
    `["just", 3]` says what `["ok", 3]` says.
    """
    task = bob.numbers().add(1, 2)
    receipt = answer(task.task, 3, "just")
    bob.load(Forger().task(task.task, receipt, word(MALLORY, receipt.cid, task.cid)).archive(tmp_path / "x.car"))

    assert task.result() == 3
    assert bob.session.take_notices() == []


@pytest.mark.parametrize("ended", ["expired", "revoked"])
def test_a_word_that_holds_no_more_is_not_held_against_anybody(bob: Person, tmp_path: Path, ended: str) -> None:
    """
    Somebody who took a false statement back, or let it end, is not put aside for it.
    """
    task = bob.numbers().add(1, 2)
    options = {"now": 1_000.0, "ends": 2_000.0} if ended == "expired" else {}
    arrival = bob.load(lie(task, 666, MALLORY, **options).archive(tmp_path / "x.car"))
    if ended == "revoked":
        bob.policy.revoke(next(iter(arrival.signed.values()))[0].block.cid)

    assert task.result() == 3
    assert bob.policy.quarantined == {}


def test_a_stranger_cannot_say_for_another_engine_that_it_is_ours(alice: Person, bob: Person, tmp_path: Path) -> None:
    """
    What a listed key signed for Homestar is examined as Homestar's, whatever a stranger's statement calls the engine.
    """
    task = bob.numbers().half(1.0)
    nonce = bob.numbers().add.with_options(nonce="0" * 20)(1, 2)
    receipt = answer(nonce.task, 3)
    words = [
        word(alice.key, receipt.cid, nonce.cid, engine="homestar 0.3.0"),
        word(MALLORY, receipt.cid, nonce.cid, engine="ipvm 9"),
    ]
    bob.load(Forger().task(nonce.task, receipt, *words).archive(tmp_path / "x.car"))
    bob.policy.trust_key(alice.key.did)
    asked: list[str] = []
    examiner = bob.session.admission._examiner
    doubts = examiner.doubts

    def asking(run: Instruction, made: Receipt) -> str:
        asked.append(run.func)
        return doubts(run, made)

    examiner.doubts = asking  # type: ignore[method-assign, assignment]

    assert nonce.result() == 3
    assert asked
    assert task.result() == 0.5


@pytest.mark.parametrize("value", ["three", 2**40, None, 3.5, [3]])
def test_a_value_that_the_function_cannot_give_is_not_used(bob: Person, tmp_path: Path, value: object) -> None:
    """
    Even of somebody who is trusted a value must be one that the function's type has; else the task is run.
    """
    task = bob.numbers().add(1, 2)
    bob.policy.trust_key(MALLORY.did)
    bob.load(lie(task, value, MALLORY).archive(tmp_path / "x.car"))

    assert bob.session.why(task).verdict == "unverified"
    assert task.result() == 3


def test_a_policy_that_cannot_be_read_admits_nothing_and_breaks_nothing(bob: Person, tmp_path: Path) -> None:
    """
    With a broken trust.json what others made is not used, one line says so, and one's own work goes on.
    """
    task = bob.numbers().add(1, 2)
    bob.load(lie(task, 666, MALLORY).archive(tmp_path / "x.car"))
    (bob.folder / "home" / "trust.json").write_text("{")
    shown = repr(task)

    assert "666" not in shown
    assert task.result() == 3
    assert bob.session.why(task).verdict == "hit"
    notices = bob.session.take_notices()
    assert any("trust.json" in line for line in notices)


def test_a_policy_that_cannot_be_written_breaks_nothing(bob: Person, tmp_path: Path) -> None:
    """
    A lie that cannot be noted is told all the same, and the user's own task has its result.
    """
    task = bob.numbers().add(1, 2)
    bob.load(lie(task, 666, MALLORY).archive(tmp_path / "x.car"))
    (bob.folder / "home" / "trust.json.lock").mkdir()

    assert task.result() == 3
    assert "divergence" in bob.session.take_notices()[0]


def test_a_thousand_keys_on_one_lie_cost_one_line(bob: Person, tmp_path: Path) -> None:
    """
    Keys cost nothing: however many signed a lie, it is one line, and the policy stays small.
    """
    task = bob.numbers().add(1, 2)
    receipt = answer(task.task, 666)
    for number in range(4):
        keys = [Key(bytes([number, n]) * 16) for n in range(14)]
        words = [word(key, receipt.cid, task.cid) for key in keys]
        bob.load(Forger().task(task.task, receipt, *words).archive(tmp_path / f"{number}.car"))

    assert task.result() == 3
    (line,) = bob.session.take_notices()
    assert len(line) < 1200
    assert 1 <= len(bob.policy.quarantined) <= 16
    assert len(json.loads((bob.folder / "home" / "trust.json").read_bytes())["quarantine"]) <= 16


# --- What was worked out from the answers of others ---


def test_what_was_made_of_a_trusted_answer_is_there_in_the_next_session(
    alice: Person, bob: Person, tmp_path: Path
) -> None:
    """
    A task that was worked out from somebody's answer is replayed later, and shown without running, while that counts.
    """
    numbers = alice.numbers()
    bob.load(alice.share(alice.notebook([numbers.add(1, 2)])))
    bob.policy.trust_key(alice.key.did)

    def chain(person: Person) -> list[Handle]:
        made = [person.numbers().add(1, 2)]
        for n in range(5):
            made.append(person.numbers().add(made[-1], n))
        return made

    assert bob.run(*chain(bob)) == {"replayed": 1, "computed": 5}
    bob.close()
    again = Person(tmp_path / "bob", code=tmp_path / "code")
    try:
        tasks = chain(again)
        assert tasks[-1].receipt is not None
        assert again.session.why(tasks[-1]).verdict == "hit"
        assert again.run(*tasks) == {"replayed": 6}
        again.policy.distrust_key(alice.key.did)
        assert chain(again)[-1].receipt is None
        assert again.run(*chain(again)) == {"computed": 1, "replayed": 5}  # equal values, equal outcomes
        assert again.run(*chain(again)) == {"replayed": 6}
        assert tasks[-1].result() == 13
    finally:
        again.close()


def test_a_wrong_answer_takes_all_that_came_of_it_along(bob: Person, tmp_path: Path) -> None:
    """
    A chain that was worked out from a lie is worked out again to its end when the lie counts no more.
    """
    first = bob.numbers().add(1, 2)
    bob.load(lie(first, 666, MALLORY).archive(tmp_path / "x.car"))
    bob.policy.trust_key(MALLORY.did)
    chain = [first]
    for n in range(5):
        chain.append(bob.numbers().add(chain[-1], n))
    assert chain[-1].result() == 676
    bob.policy.distrust_key(MALLORY.did)

    assert bob.run(*chain) == {"computed": 6}
    assert [task.result() for task in chain] == [3, 3, 4, 6, 9, 13]
    assert bob.run(*chain) == {"replayed": 6}
