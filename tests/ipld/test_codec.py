from __future__ import annotations

import enum
import math
import struct
from typing import Any

import cbor2
import multiformats
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, LimitExceeded, Malformed, Unencodable
from ipvm_kernel.ipld import CID, Limits, codec, decode, decode_trusted, encode
from ipvm_kernel.ipld.scan import scan
from tests.ipld.values import LINK, integers, same, texts, values
from tests.peers import needs

READERS = ["cbor2", "cbrrr"]


class Colour(enum.IntEnum):
    """A number that is more than one."""

    RED = 1


class Loud(str):
    """A text that is more than one."""

    __slots__ = ()


class Ordered(dict[str, int]):
    """A map that is more than one."""


def use(patch: pytest.MonkeyPatch, name: str) -> None:
    if name == "cbrrr":
        needs("cbrrr")
    patch.setattr(codec, "_reader", getattr(codec, f"{name}_reader")())


def outcome(data: bytes) -> tuple[str, Any]:
    """Return what decoding gives, as a pair that can be compared."""
    try:
        return "ok", decode(data)
    except BadInput as error:
        return type(error).__name__, error.message


def nested(depth: int) -> Any:
    value: Any = 0
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


@pytest.mark.parametrize("name", READERS)
@given(value=values)
def test_what_is_kept_comes_back(name: str, value: Any) -> None:
    """
    A value that was encoded is decoded to the same value, types and signs of zero included.
    """
    with pytest.MonkeyPatch.context() as patch:
        use(patch, name)
        data = encode(value)

        assert same(decode(data), value)
        assert same(decode_trusted(data), value)
        scan(data, Limits(2**20, 128, 10_000))


@pytest.mark.parametrize("name", READERS)
@given(data=st.binary(max_size=60))
@example(bytes.fromhex("d82a4a00015500050001020304"))
def test_whatever_is_accepted_has_one_form(name: str, data: bytes) -> None:
    """
    No two blocks decode to the same value: what is accepted encodes to the bytes that were given.
    """
    with pytest.MonkeyPatch.context() as patch:
        use(patch, name)
        found, value = outcome(data)

        assert found != "ok" or encode(value) == data


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """Return a block with a few bytes changed, added or taken away: nearly right, as most bad ones are."""
    data = bytearray(encode(draw(values)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["set", "add", "cut"])):
            case "set" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "add":
                data[at:at] = draw(st.binary(min_size=1, max_size=3))
            case _:
                del data[at : at + draw(st.integers(1, 3))]
    return bytes(data)


@given(data=st.one_of(damaged(), st.binary(max_size=40)))
@example(bytes.fromhex("d81c81d81d00"))  # a list that contains itself
@example(bytes.fromhex("c4821b7fffffffffffffff01"))  # 1 followed by 2^63 zeros
@example(bytes.fromhex("d9010082616161d81900"))  # the same string twice, by reference
def test_the_readers_cannot_be_told_apart(data: bytes) -> None:
    """
    Installing cbrrr changes speed and nothing else: the same values, the same refusals, in the same words.
    """
    needs("cbrrr")
    outcomes = []
    for name in READERS:
        with pytest.MonkeyPatch.context() as patch:
            use(patch, name)
            outcomes.append(outcome(data))
    pure, fast = outcomes

    assert pure[0] == fast[0]
    assert same(pure[1], fast[1])


@given(data=st.one_of(damaged(), st.binary(max_size=40)))
def test_the_scan_finds_what_the_readers_refuse(data: bytes) -> None:
    """
    A refusal always says what is wrong and where; nothing good is refused by the scan of large blocks.
    """
    try:
        scan(data, Limits(2**20, 128, 10_000))
    except BadInput as error:
        expected = type(error).__name__, error.message
    else:
        expected = "ok", ""
    found = outcome(data)

    assert found[0] == expected[0]
    assert found[0] == "ok" or found[1] == expected[1]


def theirs(value: Any) -> Any:
    """Return a value with links as the dag-cbor library has them."""
    match value:
        case CID():
            return multiformats.CID.decode(value.bytes)
        case list():
            return [theirs(item) for item in value]
        case dict():
            return {key: theirs(item) for key, item in value.items()}
        case _:
            return value


plain_links = st.builds(CID.of, st.binary(max_size=8), st.sampled_from(["dag-cbor", "raw", "dag-pb", "dag-json"]))
usual_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), integers, st.floats(allow_nan=False, allow_infinity=False), texts, plain_links),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(texts, inner, max_size=5)),
    max_leaves=20,
)


@given(value=usual_values)
def test_others_write_the_same_bytes(value: Any) -> None:
    """
    The bytes, and so the CIDs, are those that other implementations of DAG-CBOR give.
    """
    dag_cbor = pytest.importorskip("dag_cbor")
    data = encode(value)

    assert data == dag_cbor.encode(theirs(value))
    assert theirs(decode(data)) == dag_cbor.decode(data)


@given(value=usual_values)
def test_cbor2_writes_the_same_bytes(value: Any) -> None:
    """
    Any CBOR library reads what is written here, and writes it again if it is given the keys in order.
    """

    def tagged(value: Any) -> Any:
        match value:
            case CID():
                return cbor2.CBORTag(42, b"\0" + value.bytes)
            case list():
                return [tagged(item) for item in value]
            case dict():
                return {key: tagged(value[key]) for key in sorted(value, key=lambda key: (len(key.encode()), key))}
            case _:
                return value

    data = encode(value)

    assert data == cbor2.dumps(tagged(value))


@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 65_535, 65_536])
def test_lengths_take_the_shortest_form(reader: str, size: int) -> None:
    """
    Text, bytes, lists and maps of any length round-trip, at every border between two forms of the length.
    """
    value = {
        "text": "x" * size,
        "bytes": b"x" * size,
        "list": [None] * size,
        "map": {f"{n}": None for n in range(size)},
        "k" * size: 0,
    }
    data = encode(value)

    assert same(decode(data), value)
    head = {0: "60", 1: "61", 23: "77", 24: "7818", 255: "78ff", 256: "790100", 65_535: "79ffff", 65_536: "7a00010000"}
    assert encode("x" * size).hex().startswith(head[size])


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (0.0, "fb0000000000000000"),
        (-0.0, "fb8000000000000000"),
        (1.5, "fb3ff8000000000000"),
        (5e-324, "fb0000000000000001"),
        (1.7976931348623157e308, "fb7fefffffffffffff"),
        (2**64 - 1, "1bffffffffffffffff"),
        (-(2**64), "3bffffffffffffffff"),
        ({"b": 1, "aa": 2, "a": 3}, "a3616103616201626161" + "02"),
        ({"é": 1, "zz": 2, "z": 3}, "a3617a03627a7a0262c3a901"),
        (LINK, "d82a58250001711620" + LINK.digest.hex()),
    ],
)
def test_forms(reader: str, value: Any, wire: str) -> None:
    """
    Floats always take 64 bits, keys go by length and then by bytes, the sign of zero stays.
    """
    assert encode(value).hex() == wire
    assert same(decode(bytes.fromhex(wire)), value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [0, 1, 2, math.nan]}, r"finite float at \$\.a\[3\], found nan"),
        ([math.inf], r"finite float at \$\[0\], found inf"),
        ([-math.inf], r"found -inf"),
        (2**64, r"integer from -2\^64 to 2\^64-1 at \$, found one of 65 bits"),
        ([-(2**64) - 1], r"at \$\[0\], found one of 65 bits"),
        pytest.param(10**10_000, r"found one of 33,220 bits", id="more digits than Python prints"),
        ((1, 2), r"at \$, found tuple. Give list\(x\)"),
        ({1, 2}, r"found set. Give sorted\(x\)"),
        (frozenset(), r"found frozenset"),
        (bytearray(b"x"), r"found bytearray. Give bytes\(x\)"),
        (memoryview(b"x"), r"found memoryview. Give bytes\(x\)"),
        (1j, r"found complex"),
        (Colour.RED, r"found .*Colour. Give int\(x\)"),
        (Loud("x"), r"found .*Loud. Give str\(x\)"),
        (Ordered(a=1), r"found .*Ordered. Give dict\(x\)"),
        ({1: 2}, r"keys of type str in the map at \$, found int"),
        ({"a": {None: 2}}, r"in the map at \$\.a, found NoneType"),
        ({Loud("ran"): 2}, r"keys of type str in the map at \$, found .*Loud"),
        ({"ran": 1, b"ran": 2}, r"found bytes"),
        (object, r"found type"),
        (object(), r"found object. Make one of them"),
        ("\ud800", r"UTF-8 can hold at \$, found half a surrogate pair at character 0"),
        (["ab\udfff"], r"at \$\[0\], found half a surrogate pair at character 2"),
        ({"\ud800": 1}, r"at a key of \$, found half a surrogate pair"),
        ({"a b": [{"c": ()}]}, r"at \$\['a b'\]\[0\]\.c, found tuple"),
        (multiformats.CID.decode(LINK.bytes), r"found multiformats.cid.CID"),
    ],
)
def test_what_has_no_form_is_refused_by_name(value: Any, words: str) -> None:
    """
    A value that cannot be kept is refused with the place inside it, its type and what to give instead.
    """
    encode({"ran": 1})  # the key is known from now on; a str subclass must still not pass for it
    with pytest.raises(Unencodable, match=words):
        encode(value)


@pytest.mark.parametrize("scalar", ["float64(1)", "int64(1)", "bool_(1)", "str_('x')", "float32(1)"])
def test_numpy_scalars_are_refused(scalar: str) -> None:
    """
    A numpy number would come back as another type, or as other digits; the refusal says how to get Python's.
    """
    numpy = pytest.importorskip("numpy")
    with pytest.raises(Unencodable, match=r"at \$\.a\[3\], found numpy\..*x\.item\(\)"):
        encode({"a": [1, 2, 3, eval(scalar, vars(numpy))]})


def test_depth_is_the_same_in_all_directions(reader: str) -> None:
    """
    What can be written can be read: 128 lists and maps inside each other, and a link in the innermost.
    """
    deep = [nested(127)]
    holds_link: Any = LINK
    for _ in range(128):
        holds_link = [holds_link]

    assert same(decode(encode(deep)), deep)
    assert same(decode(encode(holds_link)), holds_link)
    with pytest.raises(LimitExceeded, match="no deeper"):
        encode([deep])
    with pytest.raises(LimitExceeded, match=r"at most 128 deep, found one deeper at byte 128"):
        decode(b"\x81" * 129 + b"\x00")
    with pytest.raises(LimitExceeded, match=r"at most 2 deep"):
        decode(encode(nested(3)), Limits(100, 2, 100))
    assert same(decode(encode(nested(2)), Limits(100, 2, 100)), nested(2))


def test_a_value_that_contains_itself_is_refused() -> None:
    """
    A list that contains itself ends in one sentence, not in a crash or without memory.
    """
    loop: list[Any] = []
    loop.append({"again": loop})

    with pytest.raises(LimitExceeded, match="contain itself"):
        encode(loop)


@pytest.mark.parametrize("given", ["text", bytearray(b"\xf6"), memoryview(b"\xf6"), None, 7])
def test_only_bytes_are_decoded(reader: str, given: Any) -> None:
    """
    What is decoded cannot change while it is checked.
    """
    with pytest.raises(Malformed, match="Expected the bytes of a DAG-CBOR block"):
        decode(given)


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_a_store_that_lost_bytes_is_told_so(reader: str, cut: int) -> None:
    """
    Even on the trusting path a block that is cut off is an error, not half a value.
    """
    data = encode({"ran": LINK, "out": ["ok", "x" * 40]})

    with pytest.raises(Malformed, match="Expected a block of our own store"):
        decode_trusted(data[:-cut])


def test_bit_patterns_of_floats_stay(reader: str) -> None:
    """
    Every finite float keeps its bits, subnormal ones and negative zero too.
    """
    patterns = [0x8000000000000000, 1, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF]
    floats = [struct.unpack(">d", struct.pack(">Q", pattern))[0] for pattern in patterns]

    again = decode(encode(floats))

    assert isinstance(again, list)
    assert [struct.unpack(">Q", struct.pack(">d", item))[0] for item in again] == patterns
