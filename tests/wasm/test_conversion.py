"""Values there and back: what a wire value means does not depend on who wrote it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.ipld import CID, decode, encode
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.author import author
from ipvm_kernel.wasm.lifting import lift
from ipvm_kernel.wasm.lowering import lower
from ipvm_kernel.wasm.plain import plain
from tests.wasm.generated import LINK, plain_texts, typed
from tests.wasm.guests import Files

Typed = tuple[wit.AnyType, Any]


@settings(max_examples=300)
@given(typed())
def test_nothing_is_lost_on_the_wire(given_value: Typed) -> None:
    """
    An answer that is filed, sent and read by its type again is the same answer, for any type.
    """
    (kind, value), files = given_value, Files()
    wire = decode(encode(lift(kind, value, files.keep)))

    assert repr(lower(kind, wire, files.load, awaited=True)) == repr(value)


@settings(max_examples=300)
@given(typed())
def test_a_person_loses_nothing(given_value: Typed) -> None:
    """
    A value that a person was shown, given to a function, is the value that the guest gave.
    """
    (kind, value), files = given_value, Files()
    shown = plain(kind, lift(kind, value, files.keep), files.load)
    wire = author(kind, shown, files)

    assert repr(lower(kind, wire, files.load)) == repr(value)
    assert encode(author(kind, plain(kind, wire, files.load), files)) == encode(wire)


@settings(max_examples=300)
@given(typed(plain_texts))
def test_one_value_one_form(given_value: Typed) -> None:
    """
    A person writes a value as a guest answers it, so that `f(await g)` and `f(value)` are one thing.
    """
    (kind, value), files = given_value, Files()
    wire = lift(kind, value, files.keep)

    assert encode(author(kind, plain(kind, wire, files.load), files)) == encode(wire)


@pytest.mark.torture
@settings(max_examples=20_000)
@given(typed())
def test_nothing_is_lost_however_long_one_looks(given_value: Typed) -> None:
    """
    As above, for many more types and values.
    """
    (kind, value), files = given_value, Files()
    wire = decode(encode(lift(kind, value, files.keep)))
    authored = author(kind, plain(kind, wire, files.load), files)

    assert repr(lower(kind, wire, files.load, awaited=True)) == repr(value)
    assert repr(lower(kind, authored, files.load)) == repr(value)


# --- plain ------------------------------------------------------------------------------------------------------------

PAIR = wit.Tuple((wit.S32, wit.STRING))
CASES = wit.Variant((wit.Case("a", wit.U32), wit.Case("b", None)))
POINT = wit.Record((wit.Field("x", wit.F32), wit.Field("name", wit.Option(wit.STRING))))


@pytest.mark.parametrize(
    ("kind", "wire", "shown"),
    [
        (None, {"any": [1]}, {"any": [1]}),
        (wit.STRING, None, "null"),
        (wit.STRING, CID.parse(LINK), LINK),
        (wit.F64, 5, 5.0),
        (wit.F32, 3883.2, 3883.2),
        (wit.S32, 5.0, 5),
        (wit.BYTES, [], b""),
        (wit.BYTES, b"hell0", b"hell0"),
        (wit.List(wit.F64), [1, 2.5], [1.0, 2.5]),
        (wit.List(wit.STRING), ["a", None], ["a", "null"]),
        (POINT, {"x": 1.5, "name": None}, {"x": 1.5, "name": None}),
        (PAIR, [1, "a"], (1, "a")),
        (wit.List(wit.Tuple((wit.STRING, wit.U8))), {"b": 2, "a": 1}, [("a", 1), ("b", 2)]),
        (CASES, {"b": None}, {"b": None}),
        (wit.Enum(("a", "b")), "b", "b"),
        (wit.Flags(("a", "b")), ["b", "a"], {"a", "b"}),
        (wit.Option(wit.U8), None, None),
        (wit.Option(wit.U8), 3, 3),
        (wit.Option(wit.Option(wit.U8)), {"some": None}, {"some": None}),
        (wit.Option(wit.Option(wit.U8)), 3, 3),
        (wit.List(wit.Result(wit.U8, wit.STRING)), [[3, None], [None, "e"]], [("ok", 3), ("err", "e")]),
        (wit.Result(None, None), [None, 1], ("err", None)),
    ],
    ids=str,
)
def test_plain(kind: wit.AnyType | None, wire: Any, shown: Any) -> None:
    """
    A person gets plain Python, whatever is installed.
    """
    assert repr(plain(kind, wire, Files().load)) == repr(shown)


@pytest.mark.parametrize(
    ("kind", "wire"),
    [
        (wit.S32, 1.5),
        (wit.S32, "x"),
        (wit.BOOL, 1),
        (wit.CHAR, "ab"),
        (wit.Enum(("a",)), "b"),
        (wit.Flags(("a",)), [["a"]]),
        (POINT, {"x": 1.0}),
        (POINT, {"x": 1.0, "name": None, "more": 1}),
        (POINT, [1.0]),
        (PAIR, [1]),
        (CASES, {"a": 1, "b": None}),
        (CASES, {"b": 1}),
        (CASES, {"c": 1}),
        (wit.List(PAIR), 5),
        (wit.Result(wit.U8, None), [None, None]),
        (wit.Opaque("own"), 1),
    ],
    ids=str,
)
def test_plain_refuses_what_is_not_of_the_type(kind: wit.AnyType, wire: Any) -> None:
    """
    A receipt from elsewhere whose value is not what the function gives is refused, not shown.
    """
    with pytest.raises(BadArgument, match="expected"):
        plain(kind, wire, Files().load)
