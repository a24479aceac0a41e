"""People, what they sign, and envelopes as only somebody who cheats makes them."""

from __future__ import annotations

from typing import Any

from ipvm_kernel.ipld import CID, Block, encode
from ipvm_kernel.trust import Key, Policy, Verdict, attest, read
from ipvm_kernel.trust.envelope import VARSIG

NOW = 1_800_000_000.0
ALICE, BOB, CAROL, MALLORY = (Key(bytes([n]) * 32) for n in (1, 2, 3, 4))
PEER = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
SECRET = b"known to the reader only"


def node(value: object) -> CID:
    """Return the CID of some node of the model."""
    return Block.of(value).cid


RECEIPT, INSTRUCTION = node("a receipt"), node("an instruction")
MODULE, OTHER_MODULE = Block.raw(b"a module").cid, Block.raw(b"another").cid
FIELDS: dict[str, Any] = {
    "receipt": RECEIPT,
    "run": INSTRUCTION,
    "engine": "wasmtime 50.0.1",
    "features": ["bulk-memory", "simd"],
    "iat": int(NOW),
}


def said(key: Key = ALICE, **more: Any) -> Block:
    """Return an attestation, as `attest` makes it."""
    options: dict[str, Any] = {
        "receipt": RECEIPT,
        "instruction": INSTRUCTION,
        "engine": "wasmtime 50.0.1",
        "features": ["simd", "bulk-memory"],
        "now": NOW,
    }
    return attest(key, **options | more)


def named(data: bytes) -> Block:
    """Return a block under the name that these bytes have."""
    return Block(CID.of(data, "dag-cbor", "sha2-256"), data)


def signed(key: Key, content: bytes) -> Block:
    """Return an envelope around any bytes at all, which the key did sign."""
    return named(b"\x82\x58\x40" + key.sign(content) + content)


def content(tag: str, payload: dict[str, Any], header: bytes = VARSIG, **more: Any) -> bytes:
    """Return what an envelope's signature is over."""
    value: dict[str, Any] = {"h": header, tag: payload, **more}
    return encode(value)


def judge(policy: Policy, *statements: Block, **more: Any) -> Verdict:
    """Return what a policy says of the receipt, given these statements."""
    options: dict[str, Any] = {"module": MODULE, "pure": True, "secret": SECRET, "now": NOW, "instruction": INSTRUCTION}
    return policy.judge(RECEIPT, [read(block) for block in statements], **options | more)
