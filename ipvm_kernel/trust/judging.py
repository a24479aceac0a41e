"""Judging: whether a receipt may be used on the word of those who signed it, under the rules of this moment.

Signatures were checked when a statement was read; what can change since (time, revocation, quarantine, who is listed) is
looked at here, at each use. It costs a few microseconds.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ipvm_kernel.printable import plural, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.trust.attestation import Attestation
    from ipvm_kernel.trust.rules import Known

LEEWAY: Final = 60.0
"""Seconds by which the clocks of two machines may differ."""


class Verdict(NamedTuple):
    """What the policy says of a receipt.

    Attributes:
        kind: "admitted": it may be used. "sample": run the task again and compare, before it is used. "unverified": it is
            shown, and not used.
        reason: Why, for people; of what is unverified, what would admit it.
        issuers: The DIDs on whose word it is admitted or sampled, each once; of what is unverified, who spoke for it.
    """

    kind: Literal["admitted", "sample", "unverified"]
    reason: str
    issuers: tuple[str, ...]


def judged(
    known: Known,
    receipt: CID,
    statements: Sequence[Attestation],
    *,
    module: CID | None,
    pure: bool,
    secret: bytes,
    now: float,
    instruction: CID | None,
) -> Verdict:
    """Return what the rules say of a receipt that was not made here; see `Policy.judge`."""
    rules = known.rules
    listed: dict[str, None] = {}
    others: dict[str, None] = {}
    for said in statements:
        issuer = said.issuer
        if failing(known, said, receipt=receipt, instruction=instruction, now=now):
            continue
        if issuer in known.modules and ((only := known.modules[issuer]) is None or module in only):
            listed[issuer] = None
        else:
            others[issuer] = None
    if len(listed) >= rules.quorum:
        return Verdict("admitted", f"signed by {_named(known, listed)}, as your policy asks", tuple(listed))
    spoke = (*listed, *others)
    if spoke and pure and rules.optimistic:
        if _drawn(instruction or receipt, secret, rules.sample):
            return Verdict("sample", f"signed by {_named(known, spoke)}; one of those that are run again", spoke)
        return Verdict("admitted", f"signed by {_named(known, spoke)}, and not one of those that are run again", spoke)
    return Verdict("unverified", _lacking(known, receipt, statements, listed, others, pure=pure, now=now), spoke)


def failing(known: Known, said: Attestation, *, receipt: CID, instruction: CID | None, now: float) -> str:
    """Return why a statement does not hold at this moment, in a word or two, or "" if it does; whoever made it.

    Args:
        known: The rules.
        said: The statement, whose signature holds.
        receipt: The receipt that it should be about.
        instruction: The instruction that it should be about, if that is known.
        now: The time, in seconds since 1970.
    """
    if said.receipt != receipt or (instruction is not None and said.instruction != instruction):
        return "about another task"
    if said.begins is not None and now < said.begins - LEEWAY:
        return "not valid yet"
    if said.ends is not None and now > said.ends + LEEWAY:
        return "expired"
    if said.cid in known.revoked:
        return "revoked"
    return "in quarantine" if said.issuer in known.rules.quarantine else ""


def _drawn(task: CID, secret: bytes, share: float) -> bool:
    """Return whether a task is among those that are run again: the same answer whenever it is asked.

    It is drawn by what it is and not by its receipt: of that a liar could send as many as it takes until one is not drawn.
    """
    digest = hashlib.blake2b(task.bytes, key=secret[:64], digest_size=8, person=b"ipvm sample").digest()
    return int.from_bytes(digest, "big") < share * 2.0**64


def _named(known: Known, dids: Sequence[str] | dict[str, None]) -> str:
    """Return whose keys these are, by the user's own names for them."""
    keys = known.rules.keys
    first = [printable(keys[did].name if did in keys else "", limit=100) or did for did in list(dids)[:3]]
    more = len(dids) - len(first)
    return ", ".join(first) + (f" and {more:,} more" if more else "")


def _lacking(
    known: Known,
    receipt: CID,
    statements: Sequence[Attestation],
    listed: dict[str, None],
    others: dict[str, None],
    *,
    pure: bool,
    now: float,
) -> str:
    """Return why a receipt is not used, and what would admit it."""
    quorum = known.rules.quorum
    if listed:
        missing = quorum - len(listed)
        return (
            f"signed by {_named(known, listed)}, {len(listed)} of the {quorum} listed keys that your policy asks for: "
            f"it takes the word of {missing} more"
        )
    if others:
        somebody = next(iter(others))
        if somebody in known.modules:
            return (
                f"signed by {_named(known, others)}, listed for other modules: to take its word for all, "
                f"ipvm trust add {somebody}"
            )
        keys = plural(len(others), "key") + (" that is" if len(others) == 1 else " that are")
        return f"signed by {_named(known, others)}, {keys} not listed: to take its word, ipvm trust add {somebody}" + (
            "" if pure or not known.rules.optimistic else "; the task has effects, so it is not used on anybody's word"
        )
    about = [said for said in statements if said.receipt == receipt]
    if not about:
        return "nobody signed it: ask who made it for a signed copy, or run it again here"
    said = about[0]
    if said.issuer in known.rules.quarantine:
        why = printable(known.rules.quarantine[said.issuer].why, limit=200)
        return f"signed by {_named(known, [said.issuer])}, which is in quarantine ({why}): run it again here, or release the key"
    if said.cid in known.revoked:
        return f"the statement {said.cid} is revoked: ask who made it for another, or run it again here"
    if said.ends is not None and now > said.ends + LEEWAY:
        return f"the statement {said.cid} no longer holds: ask who made it for another, or run it again here"
    if said.begins is not None and now < said.begins - LEEWAY:
        return f"the statement {said.cid} does not hold yet: is this machine's clock right?"
    return f"the statement {said.cid} is about another task: run it again here"
