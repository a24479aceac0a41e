from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import Forged, IpvmError, LimitExceeded, Malformed, Mismatch, NonCanonical
from ipvm_kernel.ipld import CID, Block, Limits, decode, encode
from ipvm_kernel.trust.envelope import VARSIG, opened, seal
from ipvm_kernel.trust.keys import verify
from tests.ipld.values import same, values
from tests.trust.samples import ALICE, BOB, content, named, signed

TAG = "example/tag@1.0.0"
SAMPLE = seal(ALICE, TAG, {"hello": "world"})


def test_the_form_of_an_envelope() -> None:
    """
    A statement has the bytes that UCAN 1.0 gives it, so that other implementations can check it.
    """
    value: Any = decode(SAMPLE.data)
    signature, body = value
    verify(ALICE.did, encode(body), signature)

    assert body == {"h": bytes.fromhex("3401ed01ed011371"), TAG: {"hello": "world", "iss": ALICE.did}}
    assert SAMPLE.data == encode(value)
    assert SAMPLE.cid == CID.of(SAMPLE.data, "dag-cbor", "sha2-256")
    assert opened(SAMPLE, {TAG}).payload == {"hello": "world", "iss": ALICE.did}


@given(payload=st.dictionaries(st.text(max_size=9), values, max_size=5))
def test_what_is_sealed_is_opened(payload: dict[str, Any]) -> None:
    """
    Whatever is signed comes out as it went in, with the name of who signed it.
    """
    block = seal(BOB, TAG, payload)
    found = opened(block, {TAG})

    assert same(found.payload, payload | {"iss": BOB.did})
    assert (found.cid, found.tag, found.issuer) == (block.cid, TAG, BOB.did)


def test_no_bit_can_be_changed() -> None:
    """
    Not one bit of a statement can be another, even under the CID that it then has.
    """
    kinds: set[str] = set()
    for at in range(len(SAMPLE.data)):
        for bit in range(8):
            changed = bytearray(SAMPLE.data)
            changed[at] ^= 1 << bit
            with pytest.raises(IpvmError) as raised:
                opened(named(bytes(changed)), {TAG})
            kinds.add(type(raised.value).__name__)

    assert {"Forged", "Malformed", "NonCanonical"} <= kinds


@given(at=st.integers(0, len(SAMPLE.data) - 1), data=st.binary(max_size=4))
def test_no_part_can_be_replaced(at: int, data: bytes) -> None:
    """
    A statement that was cut, or has other bytes somewhere, is refused.
    """
    changed = SAMPLE.data[:at] + data
    again = changed + SAMPLE.data[at + len(data) :]

    for given_ in {changed, again} - {SAMPLE.data}:
        with pytest.raises((Forged, Malformed, LimitExceeded)):
            opened(named(given_), {TAG})


BODY = {"iss": ALICE.did}


@pytest.mark.parametrize(
    ("block", "kind", "why"),
    [
        (Block(Block.raw(b"").cid, SAMPLE.data), Malformed, "named by sha2-256, found"),
        (Block(CID.of(SAMPLE.data), SAMPLE.data), Malformed, "found baf.* by sha3-256"),
        (Block(CID.of(b"", "dag-cbor", "sha2-256"), SAMPLE.data), Mismatch, "do not"),
        (named(b""), Malformed, "Expected"),
        (named(b"\xf6"), Malformed, "another shape"),
        (named(encode([])), Malformed, "another shape"),
        (named(encode({"h": VARSIG, TAG: BODY})), Malformed, "another shape"),
        (named(encode([b"x" * 64, {"h": VARSIG}])), Malformed, "another shape"),
        (named(encode([b"x" * 64, {TAG: BODY}])), Malformed, "another shape"),
        (named(encode([b"x" * 64, {"h": VARSIG, TAG: BODY}, None])), Malformed, "another shape"),
        (named(encode(["x" * 64, {"h": VARSIG, TAG: BODY}])), Malformed, "another shape"),
        (signed(ALICE, content(TAG, BODY, more=1)), Malformed, "another shape"),
        (signed(ALICE, encode({"h": "text", TAG: BODY})), Malformed, "another shape"),
        (signed(ALICE, content("example/tag@1.0.1", BODY)), Malformed, "kind example/tag@1.0.0"),
        (signed(ALICE, content(TAG + "\x1b[31m", BODY)), Malformed, r"found 'example/tag@1.0.0\\+x1b\[31m'"),
        (signed(ALICE, content(TAG, {})), Malformed, "iss"),
        (signed(ALICE, content(TAG, {"iss": 1})), Malformed, "iss"),
        (signed(ALICE, content(TAG, [BODY])), Malformed, "iss"),  # type: ignore[arg-type]
        (signed(ALICE, content(TAG, {"iss": "did:web:example.com"})), Malformed, "did:key"),
        (signed(ALICE, content(TAG, {"iss": BOB.did})), Forged, "did not sign. It was dropped"),
        # secp256k1, P-256, RSA and EdDSA over raw bytes, as varsig has them
        (signed(ALICE, content(TAG, BODY, bytes.fromhex("3401ec01e7011271"))), Forged, "varsig header 3401ec"),
        (signed(ALICE, content(TAG, BODY, bytes.fromhex("3401ec0180241271"))), Forged, "varsig header"),
        (signed(ALICE, content(TAG, BODY, bytes.fromhex("340185241280027100"))), Forged, "varsig header"),
        (signed(ALICE, content(TAG, BODY, bytes.fromhex("3401ed01ed01135f"))), Forged, "varsig header"),
        (signed(ALICE, content(TAG, BODY, VARSIG + b"\0")), Forged, "varsig header"),
        (signed(ALICE, content(TAG, BODY, b"")), Forged, "varsig header"),
        (named(encode([b"", {"h": VARSIG, TAG: BODY}])), Forged, "64 bytes in .* found 0"),
        (named(encode([b"x" * 63, {"h": VARSIG, TAG: BODY}])), Forged, "64 bytes in .* found 63"),
        (named(encode([b"x" * 128, {"h": VARSIG, TAG: BODY}])), Forged, "64 bytes in .* found 128"),
    ],
)
def test_what_is_no_statement(block: Block, kind: type[IpvmError], why: str) -> None:
    """
    Whatever is not an envelope of the kind that is expected, by the key that it names, is refused by name.
    """
    with pytest.raises(kind, match=why) as raised:
        opened(block, {TAG})

    assert "\x1b" not in raised.value.message
    assert len(raised.value.message) < 600


@pytest.mark.parametrize(
    "body",
    [
        b"\xa2\x61h\x48" + VARSIG + b"\x71" + TAG.encode() + b"\xa2" + 2 * (b"\x63iss\x78\x38" + ALICE.did.encode()),
        b"\xa2\x71" + TAG.encode() + b"\xa1\x63iss\x78\x38" + ALICE.did.encode() + b"\x61h\x48" + VARSIG,
        b"\xa2\x61h\x58\x08" + VARSIG + b"\x71" + TAG.encode() + b"\xa1\x63iss\x78\x38" + ALICE.did.encode(),
        b"\xbf\x61h\x48" + VARSIG + b"\x71" + TAG.encode() + b"\xa1\x63iss\x78\x38" + ALICE.did.encode() + b"\xff",
        content(TAG, BODY) + b"\0",
    ],
    ids=["a key twice", "keys out of order", "a long length", "no length", "a byte more"],
)
def test_one_form_only(body: bytes) -> None:
    """
    A statement that its signer wrote loosely is refused although the signature holds: it could have two CIDs.
    """
    with pytest.raises(NonCanonical):
        opened(signed(ALICE, body), {TAG})


def test_limits() -> None:
    """
    A statement that is larger than its reader expects is refused before it is read.
    """
    block = seal(ALICE, TAG, {"much": "x" * 1000})

    assert opened(block, {TAG}).payload["much"] == "x" * 1000
    with pytest.raises(LimitExceeded, match="at most 1,000 bytes"):
        opened(block, {TAG}, Limits(1000, 9, 9))
