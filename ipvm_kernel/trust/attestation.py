"""Attestations: somebody's signed word that a receipt came of its task.

A receipt says what a task gave, and not who says so. An attestation says that, beside the receipt: the receipt's CID, the
instruction that it answers, the engine that ran it, and who signed. It is an envelope (`envelope`) of a kind of its own,
and no UCAN: it gives nobody any right.
"""

from __future__ import annotations

import math
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from ipvm_kernel.errors import BadInput, Malformed
from ipvm_kernel.ipld import CID, Limits
from ipvm_kernel.printable import printable
from ipvm_kernel.trust.envelope import LATEST, opened, seal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.ipld import Block
    from ipvm_kernel.trust.keys import Key

TAG: Final = "ipvm/att@1.0.0"
"""What the envelope calls an attestation."""

LIMITS: Final = Limits(block_bytes=4096, depth=128, items=4096)
"""How large an attestation may be."""

ENGINE_CHARS: Final = 128
FEATURES: Final = 32
FEATURE_CHARS: Final = 64
_NONCE_BYTES: Final = 64

_NEEDED: Final = frozenset({"iss", "receipt", "run", "engine", "features", "iat"})
_ALLOWED: Final = _NEEDED | {"nbf", "exp", "nonce"}


@final
class Attestation(msgspec.Struct, frozen=True):
    """An attestation whose signature holds. Whether it counts is for the policy to say, at each use.

    Attributes:
        cid: Its name.
        issuer: The DID of who signed it.
        receipt: The receipt that it is about.
        instruction: The instruction that the receipt answers.
        engine: What ran it, such as "wasmtime 50.0.1".
        features: What of the engine could matter to the answer, in order.
        issued: When it was signed, as its signer says, in seconds since 1970.
        begins: It does not hold before; None if it always did.
        ends: It does not hold after; None if it always will.
    """

    cid: CID
    issuer: str
    receipt: CID
    instruction: CID
    engine: str
    features: tuple[str, ...]
    issued: float
    begins: float | None
    ends: float | None


def attest(
    key: Key,
    *,
    receipt: CID,
    instruction: CID,
    engine: str,
    features: Sequence[str],
    now: float | None = None,
    begins: float | None = None,
    ends: float | None = None,
) -> Block:
    """Return a signed statement that a receipt came of its task: a block of dag-cbor, named by sha2-256.

    The times are whole seconds: a beginning and an end are rounded to the later second, so that what is said holds.

    Raises:
        BadInput: Some part is what `read` would refuse.
    """
    payload: dict[str, Any] = {
        "iss": key.did,
        "receipt": receipt,
        "run": instruction,
        "engine": engine,
        "features": sorted(set(features)),
        "iat": int(time.time() if now is None else now),
    }
    for name, moment in (("nbf", begins), ("exp", ends)):
        if moment is not None:
            payload[name] = math.ceil(moment) if math.isfinite(moment) else moment
    wrong = _wrong(payload)
    if wrong:
        raise BadInput(f"An attestation cannot be made: {wrong}")
    return seal(key, TAG, payload)


def read(block: Block) -> Attestation:
    """Return what an attestation says, once it is certain who signed it.

    Raises:
        Mismatch: The block is not what its CID names.
        Malformed: It is no attestation, or not in its one form.
        LimitExceeded: It is too large.
        Forged: It was not signed by its issuer.
    """
    cid, _, issuer, payload = opened(block, (TAG,), LIMITS)
    wrong = _wrong(payload)
    if wrong:
        raise Malformed(f"{wrong} In the attestation {cid}.")
    return Attestation(
        cid=cid,
        issuer=issuer,
        receipt=payload["receipt"],
        instruction=payload["run"],
        engine=payload["engine"],
        features=tuple(payload["features"]),
        issued=payload["iat"],
        begins=payload.get("nbf"),
        ends=payload.get("exp"),
    )


def _wrong(payload: dict[str, Any]) -> str:
    """Return what is wrong with a payload, or ""."""
    if not _NEEDED <= payload.keys() <= _ALLOWED:
        found = ", ".join(printable(name, limit=40) for name in sorted(payload))
        return f"Expected the fields {', '.join(sorted(_NEEDED))}, perhaps exp, nbf and nonce, found {found}."
    for name in ("receipt", "run"):
        link = payload[name]
        if type(link) is not CID or link.codec != "dag-cbor" or link.hash != "sha3-256":
            return f"Expected the CID (dag-cbor, sha3-256) of a node of the model in {name}, found something else."
    engine, features = payload["engine"], payload["features"]
    if type(engine) is not str or not 0 < len(engine) <= ENGINE_CHARS:
        return f"Expected a text of 1 to {ENGINE_CHARS} characters in engine, found something else."
    if type(features) is not list or len(features) > FEATURES:
        return f"Expected a list of at most {FEATURES} texts in features, found something else."
    if any(type(name) is not str or not 0 < len(name) <= FEATURE_CHARS for name in features):
        return f"Expected texts of 1 to {FEATURE_CHARS} characters in features, found something else."
    if any(one >= two for one, two in pairwise(features)):
        return "Expected features in order, each once, found them otherwise."
    for name in ("iat", "nbf", "exp"):
        moment = payload.get(name, 0)
        if type(moment) is not int or not 0 <= moment < LATEST:
            return f"Expected a whole number of seconds since 1970 in {name}, found something else."
    nonce = payload.get("nonce", b"")
    if type(nonce) is not bytes or len(nonce) > _NONCE_BYTES:
        return f"Expected at most {_NONCE_BYTES} bytes in nonce, found something else."
    return ""
