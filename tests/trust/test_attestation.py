from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, LimitExceeded, Malformed
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.trust import attest, read
from ipvm_kernel.trust.attestation import TAG
from ipvm_kernel.trust.envelope import seal
from tests.trust.samples import ALICE, FIELDS, INSTRUCTION, NOW, RECEIPT, said


def test_what_is_attested_is_read() -> None:
    """
    Whoever is given an attestation reads who signed it, of which receipt, and with what engine.
    """
    found = read(said(begins=NOW - 1.5, ends=NOW + 1.5))

    assert (found.issuer, found.receipt, found.instruction) == (ALICE.did, RECEIPT, INSTRUCTION)
    assert (found.engine, found.features) == ("wasmtime 50.0.1", ("bulk-memory", "simd"))
    assert (found.issued, found.begins, found.ends) == (NOW, NOW - 1, NOW + 2)
    assert (read(said()).begins, read(said()).ends) == (None, None)


def test_an_attestation_has_one_name() -> None:
    """
    The same statement in the same second is the same block, so nothing grows by saying it twice.
    """
    assert said() == said(features=["bulk-memory", "simd", "simd"], now=NOW + 0.9)
    assert str(said().cid) == "bafyreid7zpmriqclo2xvzlp6skky6if3j5li3ofq4qetvivjvwyudldj6u"


texts = st.text(min_size=1, max_size=64)


@given(
    engine=texts,
    features=st.lists(texts, max_size=6),
    now=st.floats(0, 2**52),
    ends=st.none() | st.floats(0, 2**52),
)
def test_any_attestation(engine: str, features: list[str], now: float, ends: float | None) -> None:
    """
    Whatever can be attested can be read.
    """
    block = attest(
        ALICE, receipt=RECEIPT, instruction=INSTRUCTION, engine=engine, features=features, now=now, ends=ends
    )
    found = read(block)

    assert (found.engine, set(found.features), found.issued) == (engine, set(features), math.floor(now))
    assert found.ends == (None if ends is None else math.ceil(ends))


SHA2 = CID.of(b"", "dag-cbor", "sha2-256")
WRONG: list[dict[str, Any]] = [
    {"aud": ALICE.did},
    {"fx": []},
    {"prf": []},
    {"receipt": SHA2},
    {"receipt": str(RECEIPT)},
    {"receipt": Block.raw(b"").cid},
    {"receipt": CID("bafkqabiaaebagba")},
    {"run": SHA2},
    {"run": None},
    {"engine": ""},
    {"engine": "x" * 129},
    {"engine": 50},
    {"features": "simd"},
    {"features": ["simd", "bulk-memory"]},
    {"features": ["simd", "simd"]},
    {"features": [""]},
    {"features": ["x" * 65]},
    {"features": [1]},
    {"features": [f"{n:02}" for n in range(33)]},
    {"iat": -1},
    {"iat": 1.5},
    {"iat": True},
    {"iat": 2**53},
    {"nbf": "1"},
    {"nbf": None},
    {"exp": None},
    {"exp": -1},
    {"nonce": "text"},
    {"nonce": bytes(65)},
]


@pytest.mark.parametrize("fields", WRONG, ids=str)
def test_what_is_no_attestation(fields: dict[str, Any]) -> None:
    """
    A field too many, or one that is not what it should be, is refused although the signature holds.
    """
    with pytest.raises(Malformed, match="Expected"):
        read(seal(ALICE, TAG, FIELDS | fields))


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_field_is_needed(name: str) -> None:
    """
    An attestation says all of it.
    """
    with pytest.raises(Malformed, match=name):
        read(seal(ALICE, TAG, {key: value for key, value in FIELDS.items() if key != name}))


def test_a_nonce_is_allowed() -> None:
    """
    Who wants two statements of one second to differ may add a nonce.
    """
    assert read(seal(ALICE, TAG, FIELDS | {"nonce": b"1"})).receipt == RECEIPT


def test_an_attestation_is_small() -> None:
    """
    A statement of megabytes is refused before it is read.
    """
    with pytest.raises(LimitExceeded, match="4,096"):
        read(seal(ALICE, TAG, FIELDS | {"nonce": bytes(5000)}))


@pytest.mark.parametrize(
    "fields",
    [
        {"receipt": SHA2},
        {"engine": ""},
        {"ends": float("inf")},
        {"ends": float("nan")},
        {"now": -5.0},
        {"features": ["x" * 65]},
    ],
    ids=str,
)
def test_nothing_is_signed_that_nobody_would_take(fields: dict[str, Any]) -> None:
    """
    What a reader would refuse is refused while it is made.
    """
    with pytest.raises(BadInput, match="cannot be made"):
        said(**fields)
