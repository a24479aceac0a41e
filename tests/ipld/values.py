"""Strategies: any CID, any IPLD value."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ipvm_kernel.ipld import CID
from ipvm_kernel.ipld.bases import to_varint
from ipvm_kernel.ipld.cid import CODECS

LINK = CID("bafyrmicfpks6ihdt7szlfjlx65eqbt3jvtieqo64mjlgyf3pcu3uz7fzue")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)

integers = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.sampled_from([n + d for n in (0, 24, 2**8, 2**16, 2**32, 2**63) for d in (-1, 0, 1)]),
    st.sampled_from([-n + d for n in (1, 25, 2**8, 2**16, 2**32, 2**63) for d in (-1, 0, 1)]),
    st.sampled_from([2**64 - 1, -(2**64)]),
)

floats = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def strange_cids(draw: st.DrawFn) -> CID:
    """Return a CID of any codec and a hash function that nobody knows."""
    digest = draw(st.binary(max_size=128))
    codec, function = draw(st.integers(0, 2**63 - 1)), draw(st.integers(2**20, 2**63 - 1))
    return CID.from_bytes(b"\x01" + to_varint(codec) + to_varint(function) + to_varint(len(digest)) + digest)


cids = st.one_of(
    st.builds(
        CID.of,
        st.binary(max_size=8),
        st.sampled_from(sorted(CODECS)),
        st.sampled_from(["sha3-256", "sha2-256", "sha2-512", "blake2b-256"]),
    ),
    st.binary(min_size=32, max_size=32).map(lambda digest: CID.from_bytes(b"\x12\x20" + digest)),
    st.binary(max_size=128).map(lambda held: CID.from_bytes(b"\x01\x55\x00" + to_varint(len(held)) + held)),
    strange_cids(),
)

scalars = st.one_of(st.none(), st.booleans(), integers, floats, texts, st.binary(max_size=300), cids)

values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(texts, inner, max_size=6)),
    max_leaves=30,
)


def same(left: Any, right: Any) -> bool:
    """Return whether two values are the same on the wire, where 1, 1.0 and True differ, and 0.0 and -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return repr(left) == repr(right)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(item, right[key]) for key, item in left.items())
    return bool(left == right)
