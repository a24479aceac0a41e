from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.engine.resolved import canonical, key_of
from ipvm_kernel.errors import BadArgument, BrokenPromise
from ipvm_kernel.ipld import encode
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Awaited
from ipvm_kernel.wasm import types as wit
from tests.ipld.values import LINK, values

POINT = wit.Record((wit.Field("x", wit.F64), wit.Field("y", wit.Option(wit.S32))))
SHAPE = wit.Variant((wit.Case("dot", None), wit.Case("circle", wit.S32)))
PAIR = wit.Result(wit.S32, wit.STRING)


def form(kind: wit.AnyType | None, value: Any) -> bytes:
    return encode(canonical(kind, value))


@pytest.mark.parametrize(
    ("kind", "literal", "promised"),
    [
        (wit.S32, 5, 5),
        (wit.F64, 5.0, 5),
        (wit.S32, 5, 5.0),
        (wit.F32, 0.5, 0.5),
        (wit.BOOL, True, True),
        (wit.STRING, "text", "text"),
        (wit.STRING, "null", None),
        (wit.STRING, str(LINK), LINK),
        (wit.BYTES, b"abc", b"abc"),
        (wit.BYTES, [], b""),
        (wit.BYTES, file_cid(b"abc"), b"abc"),
        (wit.List(wit.F64), [1.0, 2.5], [1, 2.5]),
        (wit.List(wit.S32), file_cid(b"\x01\0\0\0"), [1]),
        (wit.List(wit.S32), file_cid(b"\x01\0\0\0"), file_cid(b"\x01\0\0\0")),
        (wit.List(wit.STRING), ["a", "null"], ["a", None]),
        (wit.Option(wit.F64), 1.0, 1),
        (wit.Option(wit.F64), None, None),
        (POINT, {"x": 1.0, "y": None}, {"x": 1, "y": None}),
        (wit.Tuple((wit.F64, wit.STRING)), [1.0, "a"], [1, "a"]),
        (SHAPE, {"circle": 1}, {"circle": 1.0}),
        (PAIR, [1, None], [1.0, None]),
        (wit.List(wit.Tuple((wit.STRING, wit.F64))), {"a": 1.0}, {"a": 1}),
    ],
)
def test_a_promise_and_its_value_are_one(kind: wit.AnyType, literal: Any, promised: Any) -> None:
    """
    f(await g) and f(value) have one key where the guest gets the same.
    """
    assert form(kind, literal) == form(kind, Awaited(promised))


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (wit.S32, 1, 2),
        (wit.F64, 0.0, -0.0),
        (wit.STRING, "1", "2"),
        (wit.Option(wit.Option(wit.S32)), None, {"some": None}),
        (PAIR, [1, None], [None, "1"]),
        (wit.BYTES, b"a", b"b"),
        (wit.List(wit.STRING), ["ab"], ["a", "b"]),
        (None, [1], {"l": 1}),
        (None, ["c", LINK], LINK),
        (None, ["l", 1], [1]),
        (None, "x" * 70_000, b"x" * 70_000),
        (None, 1, True),
        (None, 1, 1.0),
        (wit.STRING, LINK, str(LINK)),
    ],
    ids=repr,
)
def test_different_work_has_different_keys(kind: wit.AnyType | None, one: Any, other: Any) -> None:
    """
    What the guest would see differently has another key; no value can pose as another.
    """
    assert form(kind, one) != form(kind, other)


def test_a_literal_link_and_an_awaited_link_differ() -> None:
    """
    A link that was written means its content; a value that happens to be a link is a link.
    """
    for kind in (None, wit.STRING, POINT):
        assert form(kind, LINK) != encode(canonical(None, Awaited(LINK)))
    assert form(wit.BYTES, LINK) == form(wit.BYTES, Awaited(LINK))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (wit.S32, 1.5),
        (wit.U8, 256),
        (wit.STRING, 5),
        (wit.List(wit.S32), [1, 2.5]),
        (wit.Tuple((wit.S32,)), [1, 2]),
        (POINT, {"x": 1.0, "y": None, "z": 0}),
        (wit.BOOL, []),
    ],
)
def test_an_awaited_value_must_fit(kind: wit.AnyType, value: Any) -> None:
    """
    An awaited value that does not fit its parameter is refused here, so that no laxer literal answers for it.
    """
    with pytest.raises(BadArgument):
        canonical(kind, Awaited(value))


def test_what_is_promised_to_fail() -> None:
    """
    An `err` where a value is needed breaks the promise, wherever it stands, and the error says whose it was.
    """
    err = Awaited([None, "no"], "ok", fallible=True, instruction=LINK)
    places: list[tuple[wit.AnyType, Any]] = [
        (wit.S32, err),
        (wit.Option(wit.S32), err),
        (POINT, {"x": 1.0, "y": err}),
        (wit.List(wit.S32), [1, err]),
        (SHAPE, {"circle": err}),
        (wit.Result(wit.S32, None), [err, None]),
    ]
    for kind, value in places:
        with pytest.raises(BrokenPromise) as caught:
            canonical(kind, value)
        assert caught.value.instruction == LINK
        assert caught.value.error == "no"
    assert form(PAIR, err) == form(PAIR, [None, "no"])
    assert form(wit.S32, Awaited([7, None], "ok", fallible=True)) == form(wit.S32, 7)


@given(values, values)
def test_keys_tell_values_apart(one: Any, other: Any) -> None:
    """
    Two values of unknown type have one form only if they are one value.
    """
    if encode(one) != encode(other):
        assert form(None, one) != form(None, other)
    assert form(None, one) == form(None, one)


@given(st.sampled_from(["rsc", "op", "input", "nnc"]))
def test_the_key_is_of_all_that_counts(field: str) -> None:
    """
    Resource, operation, input and nonce are each in the key; it is 32 bytes.
    """
    work: dict[str, Any] = {"rsc": "a", "op": "b", "input": [1], "nnc": ""}

    assert len(key_of(**work)) == 32
    assert key_of(**work) != key_of(**{**work, field: "other"})
    assert key_of(**{**work, "nnc": b"0" * 12}) != key_of(**{**work, "nnc": "0" * 12})


def test_large_values_by_digest() -> None:
    """
    However large a value is, its form is small.
    """
    large: list[tuple[wit.AnyType | None, Any]] = [
        (None, b"x" * 1_000_000),
        (wit.STRING, "x" * 1_000_000),
        (wit.BYTES, b"x" * 1_000_000),
        (wit.List(wit.F64), [0.5] * 8000),
    ]
    for kind, value in large:
        assert len(form(kind, value)) < 100
