"""From a guest onto the wire: every row of what `homestar-wasm/src/wasmtime/ipld.rs` writes, and what loses nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ipvm_kernel.errors import Unencodable
from ipvm_kernel.ipld import CID
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.lifting import lift
from ipvm_kernel.wasm.scalars import canonical_nan, packed, shortest_f32, unpacked
from ipvm_kernel.wasm.wire import INLINE_BYTES, INLINE_SCALARS
from tests.wasm.generated import BLAKE3, CIDV0, LINK
from tests.wasm.guests import Files

PAIRS = wit.List(wit.Tuple((wit.STRING, wit.U32)))
TEXT = wit.Option(wit.STRING)
NEST = wit.Option(wit.Option(wit.U32))
MORE = wit.Option(NEST)
SOME = wit.Option(wit.Option(wit.Record((wit.Field("some", wit.U32),))))
FALLIBLE = wit.Result(wit.Option(wit.U32), wit.Option(wit.U32))

HOMESTAR: list[tuple[wit.AnyType, Any, Any]] = [
    (wit.BOOL, True, True),
    (wit.U64, 2**64 - 1, 2**64 - 1),
    (wit.F64, 2.25, 2.25),
    (wit.F32, 3883.199951171875, 3883.2),
    (wit.CHAR, "!", "!"),
    (wit.STRING, "Hello!", "Hello!"),
    (wit.STRING, "null", None),
    (wit.STRING, LINK, CID.parse(LINK)),
    (wit.STRING, CIDV0, CID.parse(CIDV0)),
    (wit.STRING, BLAKE3, CID.parse(BLAKE3)),
    (wit.BYTES, b"hell0", b"hell0"),
    (wit.BYTES, b"", []),
    (wit.List(wit.S64), packed(wit.S64, [22, -32]), [22, -32]),
    (wit.List(wit.BOOL), b"\1\0", [True, False]),
    (wit.List(wit.F32), packed(wit.F32, [0.1, 2]), [0.1, 2.0]),
    (wit.List(wit.STRING), [], []),
    (wit.List(wit.STRING), ["a", "null"], ["a", None]),
    (PAIRS, [("a", 1), ("b", 2)], {"a": 1, "b": 2}),
    (PAIRS, [], {}),
    (wit.List(wit.Tuple((wit.U8, wit.U8))), [], {}),
    (wit.Tuple((wit.S32, wit.STRING)), (1, "a"), [1, "a"]),
    (wit.Record((wit.Field("a", wit.U32), wit.Field("b", TEXT))), (1, None), {"a": 1, "b": None}),
    (wit.Variant((wit.Case("a", wit.U32), wit.Case("b", None))), (0, 5), {"a": 5}),
    (wit.Variant((wit.Case("a", wit.U32), wit.Case("b", None))), (1, None), {"b": None}),
    (wit.Enum(("a", "b")), 1, "b"),
    (wit.Flags(("a", "b", "c")), 0b101, ["a", "c"]),
    (wit.Option(wit.U32), None, None),
    (wit.Option(wit.U32), (1,), 1),
    (wit.Result(wit.U32, wit.STRING), (0, 5), [5, None]),
    (wit.Result(wit.U32, wit.STRING), (1, "e"), [None, "e"]),
    (wit.Result(None, None), (0, None), [1, None]),
    (wit.Result(None, None), (1, None), [None, 1]),
    (wit.Result(None, wit.STRING), (0, None), [1, None]),
    (wit.Result(wit.U32, None), (1, None), [None, 1]),
]

# Where Homestar's form would be read back as something else.
LOSSLESS: list[tuple[wit.AnyType, Any, Any]] = [
    (wit.F32, 3.1415927410125732, 3.1415927),
    (wit.F32, 1.0000000031710769e-30, 1e-30),
    (wit.F32, -0.0, -0.0),
    (wit.F32, 1.0000000150474662e30, 1e30),
    (wit.F32, 3.4028234663852886e38, 3.4028235e38),
    (wit.F32, 1.401298464324817e-45, 1e-45),
    (wit.STRING, LINK.upper(), LINK.upper()),
    (wit.STRING, f"/ipfs/{LINK}", f"/ipfs/{LINK}"),
    (TEXT, ("null",), "null"),
    (wit.Option(TEXT), (("null",),), "null"),
    (NEST, None, None),
    (NEST, (None,), {"some": None}),
    (NEST, ((5,),), 5),
    (MORE, (None,), {"some": None}),
    (MORE, ((None,),), {"some": {"some": None}}),
    (SOME, (((5,),),), {"some": {"some": 5}}),  # a record that looks like a tag
    (FALLIBLE, (0, None), {"ok": None}),
    (FALLIBLE, (1, None), {"err": None}),
    (FALLIBLE, (0, (5,)), [5, None]),
    (wit.Result(wit.STRING, wit.STRING), (0, "null"), ["null", None]),
    (wit.Result(wit.STRING, wit.STRING), (1, "null"), [None, "null"]),
    (PAIRS, [("a", 1), ("a", 2)], [["a", 1], ["a", 2]]),
    (PAIRS, [("b", 1), ("a", 2)], [["b", 1], ["a", 2]]),
    (PAIRS, [("\ue000", 1), ("\U00010000", 2)], {"\ue000": 1, "\U00010000": 2}),  # UTF-8 orders them so, UTF-16 not
    (wit.List(wit.Tuple((wit.U8, wit.U8))), [(1, 2)], [[1, 2]]),  # Homestar has no form for it
]


@pytest.mark.parametrize(("kind", "value", "wire"), HOMESTAR)
def test_homestars_form(kind: wit.AnyType, value: Any, wire: Any) -> None:
    """
    An answer has the bytes, and so the receipt's CID, that a Homestar node gives it.
    """
    assert repr(lift(kind, value, Files().keep)) == repr(wire)


@pytest.mark.parametrize(("kind", "value", "wire"), LOSSLESS)
def test_lossless_form(kind: wit.AnyType, value: Any, wire: Any) -> None:
    """
    Where Homestar would lose something, the form that loses nothing is taken.
    """
    assert repr(lift(kind, value, Files().keep)) == repr(wire)


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_shortest_f32_agrees_with_numpy() -> None:
    """
    An f32 is written as the shortest decimal that reads back to it, at the ends, at all powers of two, and in between.
    """
    numpy = pytest.importorskip("numpy")
    some = numpy.random.default_rng(1).integers(0, 0x7F800000, 3000, dtype="uint32")
    powers = numpy.arange(-149, 128).astype("float64")
    numbers = [*(2.0**powers).tolist(), *some.view("float32").astype("float64").tolist(), 3.4028234663852886e38]

    wrong = [n for n in numbers if shortest_f32(n) != float(numpy.format_float_scientific(numpy.float32(n)))]

    assert wrong == []
    assert [shortest_f32(-n) for n in numbers] == [-shortest_f32(n) for n in numbers]


@pytest.mark.parametrize(("element", "width"), [(wit.F32, 4), (wit.F64, 8)])
def test_nan_has_one_form(element: wit.AnyType, width: int) -> None:
    """
    Whatever bits a NaN has in memory, it has one name; nothing else changes.
    """
    odd = {4: b"\x01\x00\xc0\xff", 8: b"\x01\x00\x00\x00\x00\x00\xf0\xff"}[width]
    one = {4: b"\x00\x00\xc0\x7f", 8: b"\x00\x00\x00\x00\x00\x00\xf8\x7f"}[width]
    rest = packed(element, [1.5, math.inf, -math.inf, -0.0])

    assert canonical_nan(element, rest + odd + rest) == rest + one + rest
    assert canonical_nan(element, rest) == rest
    assert math.isnan(unpacked(element, one)[0])


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_without_a_name(number: float) -> None:
    """
    A NaN that no CID can name is an error that says where it stands; inside a list of numbers it is bytes.
    """
    files = Files()
    record = wit.List(wit.Record((wit.Field("a", wit.Option(wit.F64)),)))

    with pytest.raises(Unencodable, match=r"the result\[1\]\.a\.some is"):
        lift(record, [((1.0,),), ((number,),)], files.keep)
    link = lift(wit.List(wit.F64), packed(wit.F64, [1.0, number]), files.keep)
    assert files.load(link) == packed(wit.F64, [1.0, number])


# --- what becomes a link ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("element", "inline"),
    [(wit.U8, INLINE_BYTES), (wit.S8, INLINE_SCALARS), (wit.BOOL, INLINE_SCALARS), (wit.U16, INLINE_SCALARS),
     (wit.S32, INLINE_SCALARS), (wit.F64, INLINE_SCALARS)],
    ids=str,
)  # fmt: skip
def test_large_lists_are_links(element: wit.AnyType, inline: int) -> None:
    """
    Bytes up to 1 MiB, and other numbers up to 64 KiB, stand in the receipt; one more and they are a link.
    """
    files, width = Files(), wit.scalar(element) or 0
    data = bytes(inline)

    assert not isinstance(lift(wit.List(element), data, files.keep), CID)
    link = lift(wit.List(element), data + bytes(width), files.keep)
    assert isinstance(link, CID)
    assert files.load(link) == data + bytes(width)


def test_a_large_list_of_floats_has_canonical_bytes() -> None:
    """
    Equal answers have equal names on every machine, NaN and all.
    """
    files = Files()
    odd = b"\x01\x00\x00\x00\x00\x00\xf0\xff"

    link = lift(wit.List(wit.F64), bytes(INLINE_SCALARS) + odd, files.keep)

    assert files.load(link)[-8:] == b"\x00\x00\x00\x00\x00\x00\xf8\x7f"
