"""Forged shares, from the archive to the answer: whatever is forged in them, under whichever policy, nothing of it is served."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from ipvm_kernel.errors import IpvmError, Malformed, NotFound
from ipvm_kernel.ipld import CID, Block, decode, encode
from ipvm_kernel.trust import Key
from ipvm_kernel.trust.attestation import TAG
from ipvm_kernel.trust.envelope import seal
from ipvm_kernel.trust.keys import _L
from tests.sharing.forger import ENGINE, Forger, answer, named, word
from tests.sharing.people import Person, people

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipvm_kernel.handles import Handle

ALICE, CAROL, MALLORY = (Key(bytes([n]) * 32) for n in (1, 3, 0x66))
NOW: Final = time.time()
LIE: Final = 666
REVOKED: Final = ("ipvm 0 revoked",)


class Case(NamedTuple):
    """What a forger works with: a task, which gives 3, another one, which gives 7, and what comes with each forgery.

    Attributes:
        task: The task whose answer is forged.
        other: Another task.
        honest: What somebody listed says of the lie, who was deceived: it is one word, where two must agree.
    """

    task: Handle
    other: Handle
    honest: list[Key]

    def forged(self, receipt: Any = None, *statements: Block) -> Forger:
        """Return a share with a false answer."""
        made = answer(self.task.task, LIE) if receipt is None else receipt
        block = made if isinstance(made, Block) else made.block
        usual = block.cid.codec == "dag-cbor" and block.cid.hash == "sha3-256"  # of others no statement can be made
        listed = [word(key, block.cid, self.task.cid) for key in self.honest if usual]
        return Forger().task(self.task.task, block, *statements, *listed)

    def true(self) -> CID:
        """Return the CID of the true receipt."""
        return answer(self.task.task, 3).cid

    def about(self, key: Key = ALICE, **more: Any) -> Block:
        """Return what a key really signs of the lie."""
        return word(key, answer(self.task.task, LIE).cid, self.task.cid, **more)


def resigned(statement: Block, **fields: Any) -> Block:
    """Return a statement with other fields under the signature of the first."""
    value: Any = decode(statement.data)
    value[1][TAG] |= fields
    return named(encode(value), "dag-cbor", "sha2-256")


def by(block: Block, before: bytes, after: bytes) -> Block:
    """Return a block of other bytes, under the CID that these have."""
    assert before in block.data
    return named(block.data.replace(before, after), block.cid.codec, block.cid.hash)


def high_s(statement: Block) -> Block:
    """Return a statement with the other signature that lax readers take."""
    s = int.from_bytes(statement.data[35:67], "little") + _L
    return named(statement.data[:35] + s.to_bytes(32, "little") + statement.data[67:], "dag-cbor", "sha2-256")


def fields(case: Case, **more: Any) -> dict[str, Any]:
    """Return what a statement about the lie says."""
    said = {"receipt": answer(case.task.task, LIE).cid, "run": case.task.cid, "engine": ENGINE, "features": []}
    return said | {"iat": int(NOW)} | more


def another_invocation(case: Case) -> Forger:
    """Return a receipt of the other task, listed under this one, with its true invocation and statement."""
    receipt = answer(case.other.task, 7)
    statement = word(ALICE, receipt.cid, case.other.cid)
    return Forger().listed(case.task.cid, receipt.block, statement, invocation=case.other.task.invocation.block)


def another_ran(case: Case) -> Forger:
    """Return a receipt that says it ran the other task's invocation."""
    receipt = Block.of(answer(case.task.task, LIE).to_ipld() | {"ran": case.other.task.invocation.cid})
    return case.forged(receipt, word(ALICE, receipt.cid, case.task.cid)).having(case.other.task.invocation.block)


def ran_in(codec: str, hash_: str) -> Callable[[Case], Forger]:
    """Return a forgery whose `ran` has the invocation's bytes under another codec or hash."""

    def made(case: Case) -> Forger:
        invocation = named(case.task.task.invocation.block.data, codec, hash_)
        receipt = Block.of(answer(case.task.task, LIE).to_ipld() | {"ran": invocation.cid})
        return case.forged(receipt, word(ALICE, receipt.cid, case.task.cid)).having(invocation)

    return made


def receipt_in(codec: str, hash_: str) -> Callable[[Case], Forger]:
    """Return a forgery whose receipt has another codec or hash."""
    return lambda case: case.forged(named(answer(case.task.task, LIE).block.data, codec, hash_), case.about())


def absent(case: Case) -> Forger:
    """Return a manifest that names a receipt which does not come along, with a statement about it."""
    made = case.forged(None, case.about())
    del made.blocks[answer(case.task.task, LIE).cid]
    return made


def identity(case: Case) -> Forger:
    """Return a manifest that names a receipt which is its own CID."""
    made = case.forged(None, case.about())
    made.receipts[0][1] = CID.from_bytes(b"\x01\x71\x00\x01\xa0")
    return made


def two_answers(case: Case) -> Forger:
    """Return a share of the true receipt, signed, and of the lie, listed after it under the same task."""
    return case.forged().task(case.task.task, answer(case.task.task, 3), word(ALICE, case.true(), case.task.cid))


def ran_loosely(case: Case) -> Forger:
    """Return a receipt of an invocation in other bytes, which do have the CID that the receipt names."""
    invocation = by(case.task.task.invocation.block, b"\x64meta\xa0", b"\x64meta\xb8\x00")
    receipt = Block.of(answer(case.task.task, LIE).to_ipld() | {"ran": invocation.cid})
    return case.forged(receipt, word(ALICE, receipt.cid, case.task.cid)).having(invocation)


# Each with what a reader meets: an error that refuses the whole archive, or None where it comes in and counts for nothing.
FORGERIES: Final[dict[str, tuple[Callable[[Case], Forger], type[IpvmError] | None]]] = {
    "unsigned": (lambda case: case.forged(), None),
    "signed by another key": (lambda case: case.forged(None, case.about(MALLORY)), None),
    "ten keys of one actor": (
        lambda case: case.forged(None, *(case.about(Key(bytes([n]) * 32)) for n in range(100, 110))), None,
    ),
    "another's name under one's own signature": (
        lambda case: case.forged(None, resigned(case.about(MALLORY), iss=ALICE.did)), None,
    ),
    "another task's receipt": (another_invocation, Malformed),
    "an invocation of another task": (another_ran, Malformed),
    "a receipt listed under another task": (
        lambda case: Forger().listed(
            case.other.cid, answer(case.task.task, LIE).block, invocation=case.task.task.invocation.block
        ),
        Malformed,
    ),
    "swapped output": (lambda case: case.forged(None, word(ALICE, case.true(), case.task.cid)), None),
    "swapped output under the signature": (
        lambda case: case.forged(
            None, resigned(word(ALICE, case.true(), case.task.cid), receipt=answer(case.task.task, LIE).cid)
        ),
        None,
    ),
    "error turned ok": (
        lambda case: case.forged(
            None, word(ALICE, answer(case.task.task, {"kind": "trap", "message": ""}, "error").cid, case.task.cid)
        ),
        None,
    ),
    "ok by another word": (lambda case: case.forged(answer(case.task.task, LIE, "just")), None),
    "a statement about another receipt": (
        lambda case: case.forged(None, word(ALICE, answer(case.other.task, 7).cid, case.other.cid)), None,
    ),
    "a statement about another task": (
        lambda case: case.forged(None, word(ALICE, answer(case.task.task, LIE).cid, case.other.cid)), None,
    ),
    "the issuer in the receipt": (
        lambda case: case.forged(Block.of(answer(case.task.task, LIE).to_ipld() | {"iss": ALICE.did})), None,
    ),
    "a proof in the receipt": (
        lambda case: case.forged(
            Block.of(answer(case.task.task, LIE).to_ipld() | {"prf": [word(ALICE, case.true(), case.task.cid).cid]}),
            word(ALICE, case.true(), case.task.cid),
        ),
        None,
    ),
    "a second answer": (two_answers, Malformed),
    "a receipt that does not come along": (absent, NotFound),
    "a receipt in loose bytes": (
        lambda case: case.forged(by(answer(case.task.task, 5).block, b"\x62ok\x05", b"\x62ok\x18\x05"), case.about()),
        Malformed,
    ),
    "a receipt with a key twice": (
        lambda case: case.forged(
            named(b"\xa6" + answer(case.task.task, 3).block.data[1:] + b"\x63out\x82\x62ok\x19\x02\x9a"), case.about()
        ),
        Malformed,
    ),
    "a receipt with extra fields": (
        lambda case: case.forged(Block.of(answer(case.task.task, LIE).to_ipld() | {"fx": [case.other.cid]})), Malformed,
    ),
    "a receipt without a field": (
        lambda case: case.forged(Block.of({"ran": case.task.task.invocation.cid, "out": ["ok", LIE]})), Malformed,
    ),
    "an invocation in loose bytes": (ran_loosely, Malformed),
    "ran as raw bytes": (ran_in("raw", "sha3-256"), Malformed),
    "ran as dag-json": (ran_in("dag-json", "sha3-256"), Malformed),
    "ran by another hash": (ran_in("dag-cbor", "sha2-256"), Malformed),
    "a receipt as raw bytes": (receipt_in("raw", "sha3-256"), Malformed),
    "a receipt as dag-json": (receipt_in("dag-json", "sha3-256"), Malformed),
    "a receipt by another hash": (receipt_in("dag-cbor", "sha2-256"), None),
    "a receipt that is its own CID": (identity, Malformed),
    "expired": (lambda case: case.forged(None, case.about(ends=NOW - 3600)), None),
    "not yet": (lambda case: case.forged(None, case.about(begins=NOW + 3600)), None),
    "revoked": (lambda case: case.forged(None, case.about(engine=REVOKED[0], now=NOW)), None),
    "a truncated statement": (
        lambda case: case.forged(None, named(case.about().data[:-1], "dag-cbor", "sha2-256")), None,
    ),
    "a statement with a high S": (lambda case: case.forged(None, high_s(case.about())), None),
    "a statement with extra fields": (lambda case: case.forged(None, seal(ALICE, TAG, fields(case, admit=True))), None),
    "a statement that is a delegation": (lambda case: case.forged(None, seal(ALICE, "ucan/dlg@1.0.0", fields(case))), None),
    "a statement that is a receipt": (lambda case: case.forged(None, answer(case.other.task, 7).block), None),
}  # fmt: skip

POLICIES: Final = ["own", "listed", "quorum", "optimistic"]


def decide(bob: Person, policy: str, case: Case) -> None:
    """Let a reader have a policy, in which Mallory is nobody."""
    if policy != "own":
        bob.policy.trust_key(ALICE.did)
    if policy == "quorum":
        bob.policy.trust_key(CAROL.did)
        bob.policy.set_quorum(2)
    if policy == "optimistic":
        bob.policy.set_optimistic(True, 1.0)
    bob.policy.revoke(case.about(engine=REVOKED[0], now=NOW).cid)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_forgery_is_served(tmp_path: Path, forgery: str, policy: str) -> None:
    """
    A forged archive is refused whole, and leaves no trace; or it comes in, `why` gives a reason for which it is not used,
    and the task gives here what it gives. Where two keys must agree, one of them really signed the lie.
    """
    make, refused = FORGERIES[forgery]
    with people(tmp_path, "bob") as (bob,):
        numbers = bob.numbers()
        case = Case(numbers.add(1, 2), numbers.add(3, 4), [CAROL] if policy == "quorum" else [])
        decide(bob, policy, case)
        archive = make(case).archive(tmp_path / "forged.car")
        before = bob.held()
        if refused is not None:
            with pytest.raises(refused) as caught:
                bob.load(archive)
            assert "\n" not in caught.value.message
            assert bob.held() == before
        else:
            bob.load(archive)
            told = bob.session.why(case.task)
            assert told.verdict == "unverified"
            assert told.reasons[-1]
        bob.run(case.task)

        assert case.task.result() == 3
        assert case.other.result() == 7


def test_the_honest_share_is_served(tmp_path: Path) -> None:
    """
    The forgeries fail for what is forged: what they were made from is used.
    """
    for policy in ("listed", "quorum", "optimistic"):
        with people(tmp_path / policy, "bob") as (bob,):
            numbers = bob.numbers()
            case = Case(numbers.add(1, 2), numbers.add(3, 4), [CAROL])
            decide(bob, policy, case)
            bob.load(case.forged(None, case.about()).archive(tmp_path / policy / "x.car"))

            assert bob.session.why(case.task).verdict == "hit"
            assert case.task.result() == LIE


def test_there_are_enough_of_them() -> None:
    """
    Twenty kinds at least, under each of four policies.
    """
    assert len(FORGERIES) * len(POLICIES) >= 80
