"""Twenty ways to forge a receipt's attestation, under each policy: none is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import Block, decode, encode
from ipvm_kernel.trust import Key, Policy, read
from ipvm_kernel.trust.attestation import TAG
from ipvm_kernel.trust.envelope import VARSIG, seal
from ipvm_kernel.trust.keys import _L
from tests.trust.samples import (
    ALICE,
    BOB,
    FIELDS,
    INSTRUCTION,
    MALLORY,
    MODULE,
    NOW,
    OTHER_MODULE,
    RECEIPT,
    SECRET,
    content,
    named,
    node,
    said,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.trust import Attestation, Verdict

HONEST: Final = said(ALICE)
PAYLOAD: Final[dict[str, Any]] = FIELDS | {"iss": ALICE.did}


def altered(**fields: Any) -> list[Block]:
    """Return Alice's statement with other fields under her signature."""
    value: Any = decode(HONEST.data)
    value[1][TAG] |= fields
    return [named(encode(value))]


def high_s() -> list[Block]:
    """Return Alice's statement with the other signature that lax readers take."""
    s = int.from_bytes(HONEST.data[35:67], "little") + _L
    return [named(HONEST.data[:35] + s.to_bytes(32, "little") + HONEST.data[67:])]


def twice() -> list[Block]:
    """Return a statement that has two receipts, of which two readers may take two."""
    body = content(TAG, PAYLOAD)
    key = b"\x67receipt\xd8\x2a"
    at = body.index(key)
    end = at + len(key) + 39
    longer = body[:end] + key + encode(node("another"))[2:] + body[end:]
    return [signed(ALICE, longer.replace(b"\xa6", b"\xa7", 1))]


def loose() -> list[Block]:
    """Return a statement that Alice signed, with a number that is longer than it need be."""
    body = content(TAG, PAYLOAD)
    number = encode(int(NOW))
    return [signed(ALICE, body.replace(number, b"\x1b" + number[1:].rjust(8, b"\0")))]


# Each gives what comes with the receipt: what Mallory can make without the keys of Alice and Bob, but with all that they
# ever signed. The expired, the revoked and those of other tasks are really theirs.
FORGERIES: Final[dict[str, Callable[[], list[Block]]]] = {
    "no signature": list,
    "an empty signature": lambda: [named(encode([b"", {"h": VARSIG, TAG: PAYLOAD}]))],
    "the wrong key": lambda: [signed(MALLORY, content(TAG, PAYLOAD))],
    "another task's receipt": lambda: [said(ALICE, receipt=node("another"), instruction=node("another"))],
    "swapped output": lambda: altered(receipt=node("a receipt of another output")),
    "a later date": lambda: altered(iat=int(NOW) + 1),
    "expired": lambda: [said(ALICE, ends=NOW - 3600), said(BOB, ends=NOW - 3600)],
    "not yet": lambda: [said(ALICE, begins=NOW + 3600), said(BOB, begins=NOW + 3600)],
    "for another audience": lambda: [seal(ALICE, TAG, FIELDS | {"aud": MALLORY.did})],
    "a broken chain": lambda: [seal(MALLORY, TAG, FIELDS | {"prf": [HONEST.cid]})],
    "a delegation in its place": lambda: [seal(ALICE, "ucan/dlg@1.0.0", FIELDS)],
    "revoked": lambda: [said(ALICE, engine="revoked"), said(BOB, engine="revoked")],
    "not canonical": loose,
    "a high S": high_s,
    "another algorithm": lambda: [signed(ALICE, content(TAG, PAYLOAD, bytes.fromhex("3401ec01e7011271")))],
    "a key twice": twice,
    "extra fields": lambda: [seal(ALICE, TAG, FIELDS | {"admit": True})],
    "effects smuggled in": lambda: [seal(ALICE, TAG, FIELDS | {"fx": {"run": [INSTRUCTION]}})],
    "truncated": lambda: [named(HONEST.data[:-1])],
    "replayed under another invocation": lambda: [said(ALICE, instruction=node("another"))],
    "error flipped to ok": lambda: [said(ALICE, receipt=node({"out": ["error", 1]}))],
    "issuer swapped": lambda: altered(iss=BOB.did),
    "under another CID": lambda: [Block(node("x"), HONEST.data)],
}

# These hold, and say what they say: but not what the policy asks for.
WORDS_OF_STRANGERS: Final[dict[str, Callable[[], list[Block]]]] = {
    "one actor's ten keys": lambda: [said(Key(bytes([n]) * 32)) for n in range(100, 110)],
    "a stranger": lambda: [said(MALLORY)],
}


def policies() -> dict[str, Policy]:
    """Return one policy of each kind, in which Mallory is nobody."""
    made = {name: Policy() for name in ("own", "listed", "quorum", "optimistic")}
    for name in ("listed", "quorum", "optimistic"):
        made[name].trust_key(ALICE.did)
    made["quorum"].trust_key(BOB.did)
    made["quorum"].set_quorum(2)
    made["optimistic"].set_optimistic(True)
    for policy in made.values():
        for key in (ALICE, BOB):
            policy.revoke(said(key, engine="revoked").cid)
    return made


def readable(blocks: list[Block]) -> list[Attestation]:
    """Return the statements of those that hold."""
    found = []
    for block in blocks:
        try:
            found.append(read(block))
        except IpvmError as error:
            assert len(error.message) < 2048  # noqa: PT017 - whichever it is
    return found


def judge(policy: Policy, blocks: list[Block], **more: Any) -> Verdict:
    options: dict[str, Any] = {"module": MODULE, "pure": True, "secret": SECRET, "now": NOW, "instruction": INSTRUCTION}
    return policy.judge(RECEIPT, readable(blocks), **options | more)


@pytest.mark.parametrize("policy", ["own", "listed", "quorum", "optimistic"])
@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_forgery_is_used(forgery: str, policy: str) -> None:
    """
    A receipt with a forged statement stays unverified under every policy, and the reason says why. Where two keys must
    agree, the word of one that is not forged is there too.
    """
    honest = [said(BOB)] if policy == "quorum" else []
    verdict = judge(policies()[policy], FORGERIES[forgery]() + honest)

    assert verdict.kind == "unverified"
    assert verdict.reason


@pytest.mark.parametrize("policy", ["own", "listed", "quorum"])
@pytest.mark.parametrize("words", WORDS_OF_STRANGERS)
def test_strangers_are_no_quorum(words: str, policy: str) -> None:
    """
    Ten keys of somebody whom nobody listed weigh what one weighs: nothing.
    """
    verdict = judge(policies()[policy], WORDS_OF_STRANGERS[words]())

    assert verdict.kind == "unverified"
    assert "not listed" in verdict.reason


@pytest.mark.parametrize("words", WORDS_OF_STRANGERS)
def test_ten_strangers_are_run_again_as_often_as_one(words: str) -> None:
    """
    Who takes anybody's word looks at ten keys of one actor as often as at one, and never for tasks with effects.
    """
    policy = policies()["optimistic"]
    policy.set_optimistic(True, 1)

    assert judge(policy, WORDS_OF_STRANGERS[words]()).kind == "sample"
    assert judge(policy, WORDS_OF_STRANGERS[words](), pure=False).kind == "unverified"


@pytest.mark.parametrize("policy", ["listed", "quorum"])
def test_a_key_for_one_module_is_none_for_another(policy: str) -> None:
    """
    Whose word is taken for one module cannot use it for another: no capability grows.
    """
    made = policies()[policy]
    made.distrust_key(ALICE.did)
    made.trust_key(ALICE.did, OTHER_MODULE)

    assert judge(made, [said(ALICE), said(BOB)]).kind == "unverified"
    assert judge(made, [said(ALICE), said(BOB)], module=OTHER_MODULE).kind == "admitted"


def test_the_honest_statements_are_used() -> None:
    """
    The forgeries fail for what is forged: the statements that they were made from count.
    """
    made = policies()

    assert judge(made["own"], [HONEST]).kind == "unverified"
    assert judge(made["listed"], [HONEST]).kind == "admitted"
    assert judge(made["quorum"], [HONEST, said(BOB)]).kind == "admitted"
    assert judge(made["optimistic"], [said(MALLORY)]).kind in {"admitted", "sample"}
    assert len(FORGERIES) >= 20
