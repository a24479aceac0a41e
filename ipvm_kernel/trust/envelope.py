"""Envelopes: a payload, who signed it and the signature, as one block that has one CID.

The form is that of UCAN 1.0 (https://github.com/ucan-wg/spec, section "Envelope"): the DAG-CBOR of

    [signature, {"h": varsig header, "<tag>": payload}]

where the signature is over the DAG-CBOR of the second element, exactly as it stands in the block, and the payload's
`iss` is the DID of who signed. The tag says what kind of statement it is; since it is signed too, a statement of one
kind cannot be shown as one of another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipvm_kernel.errors import Forged, Malformed
from ipvm_kernel.ipld import CID, PEER, Block, Limits, decode, encode
from ipvm_kernel.printable import printable
from ipvm_kernel.trust.keys import verify

if TYPE_CHECKING:
    from collections.abc import Collection

    from ipvm_kernel.trust.keys import Key

VARSIG: Final = bytes.fromhex("3401ed01ed011371")
"""The header of varsig v1 for Ed25519 over DAG-CBOR: 0x34, version 1, EdDSA, edwards25519, sha2-512, dag-cbor."""

LATEST: Final = 2**53
"""Moments are before this, in seconds since 1970: UCAN's numbers are those that JavaScript can hold."""

_HEAD: Final = b"\x82\x58\x40"  # a list of two, and 64 bytes
_SIGNED_AT: Final = len(_HEAD) + 64


class Envelope(NamedTuple):
    """An envelope whose signature holds.

    Attributes:
        cid: Its name.
        tag: What kind of statement it is.
        issuer: The DID of who signed it.
        payload: What was signed. What the fields mean is for the kind to say.
    """

    cid: CID
    tag: str
    issuer: str
    payload: dict[str, Any]


def seal(key: Key, tag: str, payload: dict[str, Any]) -> Block:
    """Return a signed statement: `payload` with `iss` as the key's DID.

    Raises:
        Unencodable: The payload has no IPLD form.
    """
    content: dict[str, Any] = {"h": VARSIG, tag: payload | {"iss": key.did}}
    signed = encode(content)
    data = _HEAD + key.sign(signed) + signed
    return Block(CID.of(data, "dag-cbor", "sha2-256"), data)


def opened(block: Block, tags: Collection[str], limits: Limits = PEER) -> Envelope:
    """Return what a signed statement says, once it is certain who signed it.

    Args:
        block: The statement, from anywhere.
        tags: The kinds that are expected.
        limits: How large it may be.

    Raises:
        Mismatch: The block is not what its CID names.
        Malformed: It is no envelope of this kind, or not in its one form.
        LimitExceeded: It is larger than `limits`.
        Forged: The signature is not by its issuer, not of these bytes, or of another algorithm.
    """
    cid = block.cid
    if cid.codec != "dag-cbor" or cid.hash != "sha2-256":
        raise Malformed(
            f"Expected a signed statement in dag-cbor named by sha2-256, found {cid}, {cid.codec} by {cid.hash}."
        )
    if len(block.data) <= limits.block_bytes:  # else `decode` refuses it, and hashing it would be for nothing
        cid.check(block.data)
    value: Any = decode(block.data, limits)
    match value:
        case [bytes(), {"h": bytes()}] if len(value[1]) == 2:
            pass
        case _:
            raise Malformed(f"Expected a signed statement [signature, {{h, tag}}] in {cid}, found another shape.")
    signature: bytes = value[0]
    content: dict[str, Any] = value[1]
    header: bytes = content.pop("h")
    ((tag, payload),) = content.items()
    if tag not in tags:
        raise Malformed(
            f"Expected a statement of kind {' or '.join(sorted(tags))} in {cid}, found {printable(tag, limit=80)!r}."
        )
    if header != VARSIG:
        raise Forged(
            f"Expected Ed25519 over DAG-CBOR in {cid}, found the varsig header {header[:16].hex()}. It was dropped."
        )
    if type(payload) is not dict or type(issuer := payload.get("iss")) is not str:
        raise Malformed(f"Expected a payload with iss, the DID of who signed, in {cid}, found none.")
    if block.data[: len(_HEAD)] != _HEAD:
        raise Forged(f"Expected a signature of 64 bytes in {cid}, found {len(signature)}. It was dropped.")
    try:
        verify(issuer, block.data[_SIGNED_AT:], signature)
    except Forged as error:
        raise Forged(f"{error.message} It was dropped: {cid}") from None
    return Envelope(cid, tag, issuer, payload)
