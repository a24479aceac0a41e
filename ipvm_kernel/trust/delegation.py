"""Delegations: somebody lets somebody else do something with what is theirs, by a signed statement.

It is UCAN 1.0's delegation (https://github.com/ucan-wg/delegation): the issuer lets the audience use a command, and all
commands under it, on what belongs to the subject, where the arguments meet a policy, for a time. A delegation proves
nothing by itself; the chain of them that an invocation brings along does (`invocation`).
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from ipvm_kernel.errors import BadInput, Malformed
from ipvm_kernel.ipld import CID, Limits
from ipvm_kernel.printable import printable
from ipvm_kernel.trust.envelope import LATEST, opened, seal
from ipvm_kernel.trust.keys import public_key
from ipvm_kernel.trust.predicates import Statement, understood

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Block
    from ipvm_kernel.trust.keys import Key

TAG: Final = "ucan/dlg@1.0.0"
"""What the envelope calls a delegation that is made here."""

TAGS: Final = frozenset({TAG, "ucan/dlg@1.0.0-rc.1"})
"""What it may call one that is read."""

LIMITS: Final = Limits(block_bytes=65_536, depth=64, items=65_536)
"""How large a delegation or an invocation may be."""

COMMAND_CHARS: Final = 256
NONCE_BYTES: Final = 12
_NONCE_MOST: Final = 128

_NEEDED: Final = frozenset({"iss", "aud", "sub", "cmd", "pol", "nonce", "exp"})
_ALLOWED: Final = _NEEDED | {"meta", "nbf"}


@final
class Delegation(msgspec.Struct, frozen=True):
    """A delegation whose signature holds.

    Attributes:
        cid: Its name.
        issuer: The DID of who lets.
        audience: The DID of who is let.
        subject: The DID of whom the things belong to; None for whatever was delegated to the issuer before.
        command: What may be done, with all commands under it: "/ipvm" covers "/ipvm/run".
        policy: What the arguments must meet.
        begins: It does not hold before; None if it always did.
        ends: It does not hold after; None if it always will.
    """

    cid: CID
    issuer: str
    audience: str
    subject: str | None
    command: str
    policy: tuple[Statement, ...]
    begins: int | None
    ends: int | None


def delegate(
    key: Key,
    audience: str,
    command: str,
    policy: list[Any],
    ends: float | None,
    *,
    subject: str = "",
    powerline: bool = False,
    begins: float | None = None,
    nonce: bytes | None = None,
    meta: dict[str, Any] | None = None,
) -> Block:
    """Return a delegation: a block of dag-cbor, named by sha2-256.

    Args:
        key: Who lets.
        audience: The DID of who is let.
        command: What may be done, such as "/ipvm/run".
        policy: What the arguments must meet, as `predicates` has it; [] for nothing.
        ends: Until when, in seconds since 1970; None for ever.
        subject: Whose things these are, if they were delegated to the key by another; "" for the key's own.
        powerline: Let it be anything that was or will be delegated to the key, whoever it belongs to.
        begins: From when; None for always.
        nonce: Tells it from others; a random one if None.
        meta: What else is said; it lets nobody do anything.

    Raises:
        BadInput: Some part is what a reader would refuse.
    """
    payload: dict[str, Any] = {
        "iss": key.did,
        "aud": audience,
        "sub": None if powerline else subject or key.did,
        "cmd": command,
        "pol": policy,
        "nonce": secrets.token_bytes(NONCE_BYTES) if nonce is None else nonce,
        "exp": whole_seconds(ends),
    }
    if begins is not None:
        payload["nbf"] = whole_seconds(begins)
    if meta is not None:
        payload["meta"] = meta
    block = seal(key, TAG, payload)
    read_delegation(block)
    return block


def read_delegation(block: Block) -> Delegation:
    """Return what a delegation says, once it is certain who signed it.

    Raises:
        Mismatch: The block is not what its CID names.
        Malformed: It is no delegation, not in its one form, or its policy is not understood.
        LimitExceeded: It, or its policy, is too large.
        Forged: It was not signed by its issuer.
    """
    cid, _, issuer, payload = opened(block, TAGS, LIMITS)
    try:
        check_fields(payload, _NEEDED, _ALLOWED)
        public_key(payload["aud"])
        if payload["sub"] is not None:
            public_key(payload["sub"])
        policy = understood(payload["pol"])
    except Malformed as error:
        raise Malformed(f"{error.message} In the delegation {cid}.") from None
    return Delegation(
        cid=cid,
        issuer=issuer,
        audience=payload["aud"],
        subject=payload["sub"],
        command=payload["cmd"],
        policy=policy,
        begins=payload.get("nbf"),
        ends=payload["exp"],
    )


def covers(command: str, other: str) -> bool:
    """Return whether who may use a command may use another: the same, or one under it.

    >>> covers("/ipvm", "/ipvm/run"), covers("/", "/ipvm"), covers("/ipvm", "/ipvmx"), covers("/ipvm/run", "/ipvm")
    (True, True, False, False)
    """
    return command in ("/", other) or other.startswith(command + "/")


# --- What delegations and invocations share ---


def check_fields(payload: dict[str, Any], needed: frozenset[str], allowed: frozenset[str]) -> None:
    """Raise unless a payload has the fields of its kind, and those that both kinds have are what they should be.

    Raises:
        Malformed: A field is missing, unknown or of another type.
    """
    if not needed <= payload.keys() <= allowed:
        wrong = sorted(needed - payload.keys()) + sorted(payload.keys() - allowed)
        names = ", ".join(printable(name, limit=40) for name in wrong[:8])
        raise Malformed(f"Expected the fields of a UCAN, found {names} missing or unknown.")
    command = payload["cmd"]
    if (
        type(command) is not str
        or command[:1] != "/"
        or len(command) > COMMAND_CHARS
        or (command != "/" and ("" in command.split("/")[1:] or command != command.lower()))
    ):
        shown = printable(command, limit=80) if type(command) is str else type(command).__name__
        raise Malformed(f"Expected a command such as /ipvm/run, in lower case, found {shown!r}.")
    for name in ("exp", "nbf", "iat"):
        moment = payload.get(name)
        if moment is None and (name == "exp" or name not in payload):
            continue
        if type(moment) is not int or not 0 <= moment < LATEST:
            raise Malformed(f"Expected a whole number of seconds since 1970 in {name}, found something else.")
    nonce = payload["nonce"]
    if type(nonce) is not bytes or len(nonce) > _NONCE_MOST:
        raise Malformed(f"Expected at most {_NONCE_MOST} bytes in nonce, found something else.")
    if type(payload.get("meta", {})) is not dict:
        raise Malformed("Expected a map in meta, found something else.")


def whole_seconds(moment: float | None) -> int | None:
    """Return a moment as UCAN writes it, rounded to the later second.

    Raises:
        BadInput: It is no moment.
    """
    if moment is None:
        return None
    if not math.isfinite(moment):
        raise BadInput(f"Expected a moment in seconds since 1970, found {moment!r}. For ever is None.")
    return math.ceil(moment)
