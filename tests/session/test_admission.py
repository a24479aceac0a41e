"""Receipts of others are used as far as the reader's policy says, at each use; whoever lies is found out and put aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from ipvm_kernel.errors import GuestTrap
from ipvm_kernel.ipld import Block
from ipvm_kernel.session import shares
from ipvm_kernel.trust import Key
from ipvm_kernel.trust.judging import _drawn
from tests.sharing.forger import ENGINE, Forger, answer, lie, word

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.handles import Handle
    from ipvm_kernel.session import Module
    from tests.sharing.people import Person

MALLORY: Final = Key(b"\x66" * 32)
CAROL: Final = Key(b"\x03" * 32)
OTHER: Final = b'(module (func (export "triple") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3))))'


def study(numbers: Module) -> list[Handle]:
    """Return the tasks of a small study: a chain and a map, eight of them."""
    first = numbers.add(1, 2)
    second = numbers.add(first, 4)
    return [first, second, numbers.add(second, second), *numbers.add.map(range(5), first)]


def unused(bob: Person) -> str:
    """Return what the footer says of receipts that came along and were not used."""
    return bob.session.admission.divergences.told(bob.session.tally.compared)


def computed(bob: Person, handles: list[Handle]) -> dict[str, int]:
    """Run handles and leave what the footer will say."""
    bob.session.take_tally()
    for _ in bob.session.run(handles):
        pass
    return {str(state): count for state, count in bob.session.tally.counts.items()}


def why(bob: Person, handle: Handle) -> str:
    """Return what `why` says."""
    return "\n".join(bob.session.why(handle).reasons)


# --- Whose word is taken ---


def test_before_somebody_is_trusted_all_is_worked_out_again_and_compared(alice: Person, bob: Person) -> None:
    """
    A reader who trusts nobody gets their own results, and one line that says whether those that came along are equal, with
    the command that admits them.
    """
    bob.load(alice.share(alice.notebook(study(alice.numbers()))))

    assert computed(bob, study(bob.numbers())) == {"computed": 8}
    assert unused(bob) == (
        "8 receipts that came along not used, but worked out again: all equal. To use what its signer says: "
        f"%ipvm trust add {alice.key.did}"
    )
    assert bob.policy.quarantined == {}
    assert bob.session.take_notices() == []


def test_once_the_signer_is_trusted_nothing_is_run(alice: Person, bob: Person) -> None:
    """
    After `trust add` every task is a hit, also through a chain and a map, and `why` says on whose word.
    """
    bob.load(alice.share(alice.notebook(study(alice.numbers()))))
    bob.policy.trust_key(alice.key.did, name="Alice")
    tasks = study(bob.numbers())

    assert bob.session.why(tasks[1]).verdict == "hit"
    assert "signed by Alice" in why(bob, tasks[1])
    assert computed(bob, tasks) == {"replayed": 8}
    assert unused(bob) == ""
    assert bob.ran() == 0
    assert [task.result() for task in tasks] == [3, 7, 14, 3, 4, 5, 6, 7]


def test_a_task_of_ones_own_goes_on_from_what_came_along(alice: Person, bob: Person) -> None:
    """
    Only what is new is run.
    """
    bob.load(alice.share(alice.notebook(study(alice.numbers()))))
    bob.policy.trust_key(alice.key.did)
    numbers = bob.numbers()
    more = numbers.add(study(numbers)[2], 100)

    assert more.result() == 114
    assert bob.ran() == 1


def test_values_that_are_large_files_come_along(alice: Person, bob: Person, component: bytes) -> None:
    """
    A value of two megabytes is used as what it is, although it was never made here.
    """

    def large(module: Module) -> list[Handle]:
        filled = module.fill(2_000_000)
        return [filled, module["echo-bytes"](filled)]

    bob.load(alice.share(alice.notebook(large(alice.session.module(component, "typed")))))
    bob.policy.trust_key(alice.key.did)
    tasks = large(bob.session.module(component, "typed"))

    assert computed(bob, tasks) == {"replayed": 2}
    assert bytes(tasks[1].result()) == b"\x07" * 2_000_000
    assert bob.ran() == 0


def test_a_value_that_was_left_out_is_worked_out_again(alice: Person, bob: Person, component: bytes) -> None:
    """
    A receipt whose value did not come along is of no use, says so, and is met by working it out.
    """
    path = alice.notebook([alice.session.module(component, "typed").fill(2_000_000)])
    bob.load(alice.share(path, most=1_000_000))
    bob.policy.trust_key(alice.key.did)
    task = bob.session.module(component, "typed").fill(2_000_000)

    assert "did not come along" in why(bob, task)
    assert computed(bob, [task]) == {"computed": 1}
    assert bob.session.take_notices() == []


def test_trust_that_is_taken_away_ends_at_once(alice: Person, bob: Person) -> None:
    """
    In the same session, the same handles are run again as soon as their signer is trusted no longer.
    """
    bob.load(alice.share(alice.notebook(study(alice.numbers()))))
    bob.policy.trust_key(alice.key.did)
    tasks = study(bob.numbers())
    assert computed(bob, tasks) == {"replayed": 8}
    assert tasks[0].result() == 3
    bob.policy.distrust_key(alice.key.did)

    assert computed(bob, tasks) == {"computed": 8}
    assert unused(bob).startswith("8 receipts that came along not used, but worked out again: all equal.")


def test_a_statement_that_is_revoked_ends_at_once(alice: Person, bob: Person) -> None:
    """
    One statement is revoked: its task is run again in the same session, and the others are hits.
    """
    arrival = bob.load(alice.share(alice.notebook(study(alice.numbers()))))
    bob.policy.trust_key(alice.key.did)
    tasks = study(bob.numbers())
    computed(bob, tasks)
    receipt = next(one.receipt for one in arrival.receipts if one.instruction == tasks[1].cid)
    statement = arrival.signed[receipt][0].block.cid
    bob.policy.revoke(statement)

    assert f"the statement {statement} is revoked" in why(bob, tasks[1])
    assert computed(bob, tasks) == {"replayed": 7, "computed": 1}


def test_trust_holds_in_another_session_that_is_open(alice: Person, bob: Person) -> None:
    """
    What is decided in one kernel holds in the next at once.
    """
    from ipvm_kernel.session import Session

    bob.load(alice.share(alice.notebook(study(alice.numbers()))))
    tasks = study(bob.numbers())
    with Session(bob.folder / "home") as other:
        assert bob.session.count_known([task.cid for task in tasks]) == 0
        other.policy.trust_key(alice.key.did)
        assert bob.session.count_known([task.cid for task in tasks]) == 8
        other.policy.distrust_key(alice.key.did)

    assert bob.session.count_known([task.cid for task in tasks]) == 0


def test_a_key_for_one_module_is_taken_for_that_module_alone(alice: Person, bob: Person) -> None:
    """
    `trust add DID --for MODULE` admits nothing of another module.
    """
    two = [alice.numbers().add(1, 2), alice.session.module(OTHER, "other").triple(5)]
    bob.load(alice.share(alice.notebook(two)))
    module = bob.session.store.put_file(OTHER, "module")
    bob.policy.trust_key(alice.key.did, bob.session.module(OTHER, "other")._cid)
    tasks = [bob.numbers().add(1, 2), bob.session.module(OTHER, "other").triple(5)]

    assert module is not None
    assert bob.session.why(tasks[0]).verdict == "unverified"
    assert "listed for other modules" in why(bob, tasks[0])
    assert computed(bob, tasks) == {"computed": 1, "replayed": 1}


def test_two_keys_must_agree_where_the_policy_says_so(alice: Person, bob: Person, tmp_path: Path) -> None:
    """
    With a quorum of two the word of one is not enough, and that of a second, who says the same, is.
    """
    bob.load(alice.share(alice.notebook([alice.numbers().add(1, 2)])))
    bob.policy.trust_key(alice.key.did)
    bob.policy.trust_key(CAROL.did)
    bob.policy.set_quorum(2)
    task = bob.numbers().add(1, 2)
    assert "1 of the 2" in why(bob, task)
    bob.load(lie(task, 3, CAROL).archive(tmp_path / "carol.car"))

    assert bob.session.why(task).verdict == "hit"
    assert computed(bob, [task]) == {"replayed": 1}


def test_what_was_made_here_always_wins(bob: Person, tmp_path: Path) -> None:
    """
    A receipt of one's own is not replaced by what somebody trusted says.
    """
    task = bob.numbers().add(1, 2)
    assert task.result() == 3
    bob.policy.trust_key(MALLORY.did)
    bob.load(lie(task, 666, MALLORY).archive(tmp_path / "x.car"))
    bob.load(lie(task, 667, None).archive(tmp_path / "y.car"), trust=True)

    assert computed(bob, [bob.numbers().add(1, 2)]) == {"replayed": 1}
    assert bob.numbers().add(1, 2).result() == 3


def test_errors_of_others_are_never_used(alice: Person, bob: Person) -> None:
    """
    That a task failed elsewhere is no reason not to try it here, whoever signed.
    """
    failed = alice.numbers().divide(1, 0)
    with pytest.raises(GuestTrap):
        failed.result()
    bob.load(alice.share(failed.cid))
    bob.policy.trust_key(alice.key.did)
    task = bob.numbers().divide(1, 0)

    assert "errors of others are never used" in why(bob, task)
    assert computed(bob, [task]) == {"failed": 1}


def test_an_archive_may_be_trusted_as_it_is(alice: Person, bob: Person) -> None:
    """
    `load --trust` admits what one archive holds, signed or not, and nobody's key.
    """
    bob.load(alice.share(alice.notebook(study(alice.numbers())), signed=False), trust=True)

    assert computed(bob, study(bob.numbers())) == {"replayed": 8}
    assert bob.policy.keys == {}


def test_an_archive_that_is_trusted_later_is_used_then(alice: Person, bob: Person) -> None:
    """
    Loading an archive again with --trust admits what came unverified before.
    """
    archive = alice.share(alice.notebook(study(alice.numbers())), signed=False)
    bob.load(archive)
    assert bob.session.count_known([task.cid for task in study(bob.numbers())]) == 0
    bob.load(archive, trust=True)

    assert computed(bob, study(bob.numbers())) == {"replayed": 8}


def test_what_nobody_signed_is_told_with_the_way_to_use_it(alice: Person, bob: Person) -> None:
    """
    Of receipts without any statement the footer says that nobody signed them, and how an archive is used as it is.
    """
    bob.load(alice.share(alice.notebook(study(alice.numbers())), signed=False))
    computed(bob, study(bob.numbers()))

    assert "Nobody signed them" in unused(bob)
    assert "%ipvm load FILE --trust" in unused(bob)


def test_two_receipts_that_may_be_used_and_differ_are_both_left(bob: Person, tmp_path: Path) -> None:
    """
    Where two trusted people disagree neither is taken: the task is run here, and whoever is wrong is put aside.
    """
    task = bob.numbers().add(1, 2)
    for key, value in ((CAROL, 3), (MALLORY, 666)):
        bob.policy.trust_key(key.did)
        bob.load(lie(task, value, key).archive(tmp_path / f"{value}.car"))

    assert "differ" in why(bob, task)
    assert computed(bob, [task]) == {"computed": 1}
    assert task.result() == 3
    assert set(bob.policy.quarantined) == {MALLORY.did}


# --- Anybody's word, and a sample of it ---


def many(bob: Person) -> list[Handle]:
    """Return sixty tasks that give nought."""
    numbers = bob.numbers()
    return [numbers.add(n, -n) for n in range(60)]


def said(tasks: list[Handle], key: Key, value: int = 666) -> Forger:
    """Return a share of receipts that a key signed, all with one value."""
    forger = Forger()
    for task in tasks:
        receipt = answer(task.task, value)
        forger.task(task.task, receipt, word(key, receipt.cid, task.cid))
    return forger


def with_one_drawn(bob: Person, sample: float) -> list[Handle]:
    """Return tasks that give nought: one whose lie the policy will run again, and twenty others, before and after it."""
    numbers, secret = bob.numbers(), bob.policy.secret
    drawn: list[Handle] = []
    others: list[Handle] = []
    for n in range(10_000):
        task = numbers.add(n, -n)
        found = drawn if _drawn(task.cid, secret, sample) else others
        found.append(task)
        if drawn and len(others) + len(drawn[1:]) * (sample == 1.0) >= 20:
            break
    return [*others[:10], *drawn[:1], *others[10:20], *(drawn[1:21] if sample == 1.0 else [])]


def test_a_sample_of_what_anybody_says_is_run_again(bob: Person, tmp_path: Path) -> None:
    """
    With `optimistic` the word of a stranger counts, and as many receipts are run again as the policy's secret draws: the
    same ones whenever it is asked.
    """
    tasks = many(bob)
    arrival = bob.load(said(tasks, MALLORY, 0).archive(tmp_path / "x.car"))
    bob.policy.set_optimistic(True, 0.05)
    secret = bob.policy.secret
    drawn = {one.instruction for one in arrival.receipts if _drawn(one.instruction, secret, 0.05)}
    known = bob.session.count_known([task.cid for task in tasks])

    assert known == 60 - len(drawn)
    assert {t.cid for t in tasks if bob.session.why(t).verdict == "unverified"} == drawn
    assert computed(bob, tasks) == {"replayed": known, **({"computed": len(drawn)} if drawn else {})}
    assert bob.policy.quarantined == {}


def test_all_of_what_anybody_says_may_be_run_again(bob: Person, tmp_path: Path) -> None:
    """
    With a sample of everything nothing is served, and everything is compared.
    """
    tasks = many(bob)
    bob.load(said(tasks, MALLORY, 0).archive(tmp_path / "x.car"))
    bob.policy.set_optimistic(True, 1.0)

    assert computed(bob, tasks) == {"computed": 60}
    assert unused(bob).startswith("60 receipts that came along not used, but worked out again: all equal")


@pytest.mark.parametrize("sample", [0.05, 1.0])
def test_a_lie_that_the_sample_finds_ends_all_of_its_issuers_words(bob: Person, tmp_path: Path, sample: float) -> None:
    """
    One receipt that does not come out again: the report names engine, issuer and both receipts; from then on nothing of
    this issuer is used, neither what was served before nor what comes later, until the user says so.
    """
    bob.policy.set_optimistic(True, sample)
    tasks = with_one_drawn(bob, sample)
    bob.load(said(tasks, MALLORY).archive(tmp_path / "x.car"))
    first = computed(bob, tasks)
    report = bob.session.take_notices()

    assert first == ({"replayed": 20, "computed": 1} if sample < 1 else {"computed": 21})
    assert report[0].startswith("divergence: add (")
    assert ENGINE in report[0]
    assert MALLORY.did in report[0]
    assert "trust add" in report[0]
    assert "\n" not in report[0]
    assert set(bob.policy.quarantined) == {MALLORY.did}

    assert computed(bob, tasks) == ({"replayed": 1, "computed": 20} if sample < 1 else {"replayed": 21})
    assert {task.result() for task in tasks} == {0}

    more = bob.numbers().add(1, 1)
    bob.load(lie(more, 2, MALLORY).archive(tmp_path / "y.car"))
    assert "quarantine" in why(bob, more)
    bob.policy.release(MALLORY.did)
    bob.policy.trust_key(MALLORY.did)
    assert bob.session.why(more).verdict == "hit"


def test_a_trusted_issuer_who_lied_is_put_aside_too(bob: Person, tmp_path: Path) -> None:
    """
    Being listed does not help once a rerun has shown a lie.
    """
    bob.policy.trust_key(MALLORY.did, name="Mallory")
    first, second = bob.numbers().add(1, 2), bob.numbers().add(2, 2)
    bob.load(said([first, second], MALLORY).archive(tmp_path / "x.car"))
    bob.policy.distrust_key(MALLORY.did)
    computed(bob, [first])
    bob.policy.trust_key(MALLORY.did)

    assert set(bob.policy.quarantined) == {MALLORY.did}
    assert bob.session.why(second).verdict == "unverified"
    assert "DIFFERENT" in unused(bob)


def test_a_divergence_is_in_the_journal(bob: Person, tmp_path: Path) -> None:
    """
    Who asks later finds what differed, and who said so.
    """
    task = bob.numbers().add(1, 2)
    bob.load(lie(task, 666, MALLORY).archive(tmp_path / "x.car"))
    computed(bob, [task])
    told = [entry.error for entry in bob.session.store.journal(instruction=task.cid) if entry.error]

    assert len(told) == 1
    assert MALLORY.did in told[0]


# --- What came of a lie ---


@pytest.mark.parametrize("end", ["distrust", "revoke", "quarantine"])
def test_what_was_made_of_a_lie_ends_with_it(bob: Person, tmp_path: Path, end: str) -> None:
    """
    What was worked out here from the answer of somebody who is trusted no longer is worked out again from the right one.
    """
    first = bob.numbers().add(1, 2)
    second = bob.numbers().add(first, 10)
    bob.policy.trust_key(MALLORY.did)
    arrival = bob.load(lie(first, 666, MALLORY).archive(tmp_path / "x.car"))
    assert second.result() == 676
    match end:
        case "distrust":
            bob.policy.distrust_key(MALLORY.did)
        case "revoke":
            bob.policy.revoke(next(iter(arrival.signed.values()))[0].block.cid)
        case _:
            bob.policy.quarantine(MALLORY.did, "lied elsewhere")

    assert bob.numbers().add(bob.numbers().add(1, 2), 10).result() == 13


def test_a_lie_does_not_frame_the_honest(alice: Person, bob: Person, tmp_path: Path) -> None:
    """
    Who says what is true is not put aside because somebody else's lie led to another value here.
    """
    first = bob.numbers().add(1, 2)
    second = bob.numbers().add(first, 10)
    theirs = alice.numbers()
    bob.load(alice.share(alice.notebook([theirs.add(theirs.add(1, 2), 10)])))
    bob.session.forget([first.cid])
    bob.policy.trust_key(MALLORY.did)
    bob.load(lie(first, 666, MALLORY).archive(tmp_path / "x.car"))
    second.result()

    assert alice.key.did not in bob.policy.quarantined


def test_the_check_of_a_share_puts_nobody_aside_without_a_rerun(bob: Person, tmp_path: Path) -> None:
    """
    Looking at a share decides nothing.
    """
    task = bob.numbers().add(1, 2)
    checked = shares.check(bob.session, lie(task, 666, MALLORY).archive(tmp_path / "x.car"))

    assert not checked.failed
    assert bob.policy.quarantined == {}
    assert Block.of([]).cid not in bob.session.store.cids()
