"""Invocations: somebody asks for something to be done, and proves that they may.

It is UCAN 1.0's invocation (https://github.com/ucan-wg/invocation): the issuer asks the audience to carry out a command
on what belongs to the subject, and names the delegations that lead from the subject to the issuer, in order. Whoever
carries it out checks all of it at that moment: times, revocation, every link of the chain, and every policy in it.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from ipvm_kernel.errors import BadInput, Forged, LimitExceeded, Malformed, NotAllowed
from ipvm_kernel.ipld import CID, Block, Limits, decode, encode
from ipvm_kernel.printable import printable
from ipvm_kernel.trust.delegation import (
    LIMITS,
    NONCE_BYTES,
    Delegation,
    check_fields,
    covers,
    read_delegation,
    whole_seconds,
)
from ipvm_kernel.trust.envelope import opened, seal
from ipvm_kernel.trust.judging import LEEWAY
from ipvm_kernel.trust.keys import public_key
from ipvm_kernel.trust.predicates import unmet

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from ipvm_kernel.trust.keys import Key

TAG: Final = "ucan/inv@1.0.0"
"""What the envelope calls an invocation that is made here."""

TAGS: Final = frozenset({TAG, "ucan/inv@1.0.0-rc.1"})
"""What it may call one that is read."""

CHAIN: Final = 16
"""Delegations from the subject to who asks, at most."""

LIFETIME: Final = 300.0
"""Seconds for which an invocation holds, if nothing else is said."""

TOKEN_CHARS: Final = 49_152
"""Characters of a token, at most: it has to fit into the head of a request."""

_NEEDED: Final = frozenset({"iss", "sub", "cmd", "args", "prf", "nonce", "exp"})
_ALLOWED: Final = _NEEDED | {"aud", "meta", "iat", "cause"}
_TOKEN_LIMITS: Final = Limits(block_bytes=TOKEN_CHARS, depth=1, items=TOKEN_CHARS)


@final
class Invocation(msgspec.Struct, frozen=True):
    """An invocation whose signature holds; if `allowed` returned it, one that may be carried out.

    Attributes:
        cid: Its name. Whoever carries out what must not happen twice remembers it until it ends.
        issuer: The DID of who asks.
        subject: The DID of whom the things belong to.
        audience: The DID of who is to do it.
        command: What is to be done.
        args: With what.
        proofs: The delegations that lead from the subject to the issuer.
        nonce: Empty if to do it twice is to do it once.
        ends: It does not hold after; None if it always will.
        chain: The delegations themselves, once they are checked.
    """

    cid: CID
    issuer: str
    subject: str
    audience: str
    command: str
    args: dict[str, Any]
    proofs: tuple[CID, ...]
    nonce: bytes
    ends: int | None
    chain: tuple[Delegation, ...] = ()

    def check(self, args: Mapping[str, Any]) -> None:
        """Raise unless some arguments meet the policy of every delegation in the chain.

        Raises:
            NotAllowed: They do not, or it takes too long to find out.
        """
        for link in self.chain:
            try:
                failed = unmet(link.policy, args)
            except LimitExceeded as error:
                raise NotAllowed(f"{error.message} In the delegation {link.cid}.") from None
            if failed is not None:
                raise NotAllowed(
                    f"Expected arguments that meet the policy of the delegation {link.cid}, found that they do not meet "
                    f"its {printable(failed.op)!r}. Ask {link.issuer} for a wider one."
                )


def invoke(
    key: Key,
    subject: str,
    command: str,
    args: dict[str, Any],
    proofs: Sequence[CID],
    *,
    audience: str = "",
    now: float | None = None,
    lifetime: float | None = LIFETIME,
    nonce: bytes | None = None,
    meta: dict[str, Any] | None = None,
) -> Block:
    """Return an invocation: a block of dag-cbor, named by sha2-256.

    Args:
        key: Who asks.
        subject: The DID of whom the things belong to.
        command: What is to be done, such as "/ipvm/run".
        args: With what.
        proofs: The delegations that lead from the subject to the key, in that order; none if they are its own.
        audience: The DID of who is to do it; "" for the subject.
        now: The time; that of this machine if None.
        lifetime: For how many seconds it holds; None for ever.
        nonce: Tells it from others: b"" if to do it twice is to do it once; a random one if None.
        meta: What else is said; it lets nobody do anything.

    Raises:
        BadInput: Some part is what a reader would refuse.
    """
    moment = time.time() if now is None else now
    payload: dict[str, Any] = {
        "iss": key.did,
        "sub": subject,
        "cmd": command,
        "args": args,
        "prf": list(proofs),
        "nonce": secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce,
        "iat": int(moment),
        "exp": whole_seconds(None if lifetime is None else moment + lifetime),
    }
    if audience and audience != subject:
        payload["aud"] = audience
    if meta is not None:
        payload["meta"] = meta
    block = seal(key, TAG, payload)
    read_invocation(block)
    return block


def read_invocation(block: Block) -> Invocation:
    """Return what an invocation says, once it is certain who signed it. Whether it may be done is for `allowed` to say.

    Raises:
        Mismatch: The block is not what its CID names.
        Malformed: It is no invocation, or not in its one form.
        LimitExceeded: It is too large.
        Forged: It was not signed by its issuer.
    """
    cid, _, issuer, payload = opened(block, TAGS, LIMITS)
    try:
        check_fields(payload, _NEEDED, _ALLOWED)
        public_key(payload["sub"])
        public_key(payload.get("aud", payload["sub"]))
        if type(payload["args"]) is not dict:
            raise Malformed("Expected a map in args, found something else.")
        proofs = payload["prf"]
        if type(proofs) is not list or any(type(proof) is not CID for proof in proofs):
            raise Malformed("Expected a list of CIDs in prf, found something else.")
        if type(payload.get("cause", cid)) is not CID:
            raise Malformed("Expected a CID in cause, found something else.")
    except Malformed as error:
        raise Malformed(f"{error.message} In the invocation {cid}.") from None
    if len(proofs) > CHAIN:
        raise LimitExceeded(f"Expected at most {CHAIN} delegations in prf of {cid}, found {len(proofs):,}.")
    return Invocation(
        cid=cid,
        issuer=issuer,
        subject=payload["sub"],
        audience=payload.get("aud", payload["sub"]),
        command=payload["cmd"],
        args=payload["args"],
        proofs=tuple(proofs),
        nonce=payload["nonce"],
        ends=payload["exp"],
    )


def allowed(
    invocation: Block,
    proofs: Mapping[CID, Block],
    *,
    audience: str,
    now: float,
    revoked: Container[CID] = (),
    subject: str | None = None,
    each: Iterable[Mapping[str, Any]] | None = None,
) -> Invocation:
    """Return what an invocation asks for, if who asks may have it.

    That a chain is whole says only that its subject agreed. So what it asks to be used must belong to whoever is asked:
    otherwise anybody could allow themselves what is theirs, and be served.

    Args:
        invocation: The invocation, from anywhere.
        proofs: The delegations that it names, by CID; others are not looked at.
        audience: The DID of who is asked to do it, that is, of this node.
        now: The time, in seconds since 1970.
        revoked: The CIDs of what holds no longer (`Policy.revoked`).
        subject: Whose things may be used; those of `audience` if None.
        each: The arguments that the policies are held against, one after another, where one invocation asks for many
            tasks; those of the invocation if None.

    Raises:
        Mismatch: A block is not what its CID names.
        Malformed, LimitExceeded: A block is no invocation or delegation.
        Forged: Something was not signed by its issuer, is expired, does not hold yet, or is revoked.
        NotAllowed: The chain does not lead from the subject to who asks, or does not cover what they ask for.
    """
    asked = read_invocation(invocation)
    _holds(asked.cid, None, asked.ends, now, revoked)
    if asked.audience != audience:
        raise NotAllowed(f"Expected an invocation for {audience}, found {asked.cid}, which is for {asked.audience}.")
    if asked.subject != (audience if subject is None else subject):
        raise NotAllowed(
            f"Expected an invocation on what belongs to {subject or audience}, found {asked.cid} on what belongs to "
            f"{asked.subject}. Ask the former for a delegation."
        )
    chain = []
    for proof in asked.proofs:
        block = proofs.get(proof)
        if block is None:
            raise NotAllowed(f"Expected the delegation {proof} with {asked.cid}, which names it. Send it along.")
        if block.cid != proof:
            raise Forged(f"Expected the delegation {proof}, found {block.cid} in its place. It was dropped.")
        link = read_delegation(block)
        _holds(link.cid, link.begins, link.ends, now, revoked)
        chain.append(link)
    _aligned(asked, chain)
    done = msgspec.structs.replace(asked, chain=tuple(chain))
    for args in (asked.args,) if each is None else each:
        done.check(args)
    return done


def _holds(cid: CID, begins: int | None, ends: int | None, now: float, revoked: Container[CID]) -> None:
    """Raise unless a statement holds at this moment."""
    if cid in revoked:
        raise Forged(f"Expected statements that hold, found {cid}, which is revoked. It was dropped.")
    if ends is not None and now > ends + LEEWAY:
        raise Forged(
            f"Expected statements that hold, found {cid}, which ended {now - ends:,.0f} s ago. It was dropped."
        )
    if begins is not None and now < begins - LEEWAY:
        raise Forged(
            f"Expected statements that hold, found {cid}, which begins in {begins - now:,.0f} s. It was dropped."
        )


def _aligned(asked: Invocation, chain: Sequence[Delegation]) -> None:
    """Raise unless a chain leads from the subject to who asks, and each link of it covers the command.

    The links need not be narrower one after another: what may be done is what all of them let.
    """
    if chain and chain[0].subject is None:
        raise NotAllowed(
            f"Expected a chain that begins with what belongs to {asked.subject}, found {chain[0].cid}, which says of nothing "
            "whose it is."
        )
    holder = asked.subject
    for link in chain:
        if link.issuer != holder:
            raise NotAllowed(
                f"Expected a delegation by {holder} in the chain of {asked.cid}, found {link.cid} by {link.issuer}."
            )
        if link.subject not in (None, asked.subject):
            raise NotAllowed(
                f"Expected a delegation of what belongs to {asked.subject}, found {link.cid} of what belongs to "
                f"{link.subject}."
            )
        if not covers(link.command, asked.command):
            raise NotAllowed(
                f"Expected a delegation that covers {printable(asked.command)}, found {link.cid}, which covers "
                f"{printable(link.command)}. Ask {link.issuer} for a wider one."
            )
        holder = link.audience
    if holder != asked.issuer:
        raise NotAllowed(
            f"Expected an invocation by {holder}, to whom the chain leads, found {asked.cid} by {asked.issuer}. "
            f"Ask {asked.subject} for a delegation."
        )


# --- Tokens ---


def to_token(invocation: Block, proofs: Iterable[Block] = ()) -> str:
    """Return an invocation and its delegations as one word, for the head of a request.

    Raises:
        BadInput: They are too many, or too large for one.
    """
    blocks = [invocation.data, *(proof.data for proof in proofs)]
    text = base64.urlsafe_b64encode(encode(blocks)).rstrip(b"=").decode()
    if len(text) > TOKEN_CHARS or len(blocks) > CHAIN + 1:
        raise BadInput(
            f"Expected a token of at most {TOKEN_CHARS:,} characters and {CHAIN} delegations, found {len(text):,} and "
            f"{len(blocks) - 1:,}."
        )
    return text


def from_token(text: str) -> tuple[Block, dict[CID, Block]]:
    """Return the invocation and the delegations of a token. Nothing is known yet of what they say.

    Raises:
        Malformed: It is no token, or not in its one spelling.
        LimitExceeded: It is too long.
    """
    if len(text) > TOKEN_CHARS:
        raise LimitExceeded(f"Expected a token of at most {TOKEN_CHARS:,} characters, found {len(text):,}.")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
    except (ValueError, binascii.Error):
        data = b""
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise Malformed("Expected a token in base64url without padding, found something else. Copy all of it.")
    value = decode(data, _TOKEN_LIMITS)
    if type(value) is not list or not 1 <= len(value) <= CHAIN + 1:
        raise Malformed(f"Expected a token with an invocation and at most {CHAIN} delegations, found something else.")
    blocks = []
    for item in value:
        if type(item) is not bytes:
            raise Malformed("Expected a token of blocks, found something else in it.")
        blocks.append(Block(CID.of(item, "dag-cbor", "sha2-256"), item))
    return blocks[0], {block.cid: block for block in blocks[1:]}
