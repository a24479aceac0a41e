"""Strategies: any WIT type, nested three deep, and any value of it."""

from __future__ import annotations

import math
from typing import Any, Final

from hypothesis import strategies as st

from ipvm_kernel.ipld import CID
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.scalars import packed

LINK: Final = "bafyrmicfpks6ihdt7szlfjlx65eqbt3jvtieqo64mjlgyf3pcu3uz7fzue"
BLAKE3: Final = "bafkr4ickinozehpaz72vtgpbhhqpf6v2fi67rvr6uis52bwsesoss6vinq"
CIDV0: Final = "QmY6LjJ1HExi2TgHshc56ecPdVSNaWrzFbWq9sahHFrNoM"

INTS: Final = (wit.U8, wit.U16, wit.U32, wit.U64, wit.S8, wit.S16, wit.S32, wit.S64)
SCALARS: Final = (wit.BOOL, *INTS, wit.F32, wit.F64)
LEAVES: Final[tuple[wit.AnyType, ...]] = (*SCALARS, wit.CHAR, wit.STRING)

names = st.sampled_from(["a", "b", "c", "some", "none", "ok", "err", "null", "await", "foo-bar-baz", "x1"])


def _distinct(largest: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(names, min_size=1, max_size=largest, unique=True).map(tuple)


@st.composite
def kinds(draw: st.DrawFn, depth: int = 3) -> wit.AnyType:
    """Return a type whose parts go so deep."""
    inner = kinds(depth - 1)
    maybe = st.none() | inner
    if not depth or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(LEAVES))
    match draw(st.integers(0, 9)):
        case 0:
            return wit.List(draw(inner))
        case 1:
            return wit.Option(draw(inner))
        case 2:
            return wit.Result(draw(maybe), draw(maybe))
        case 3:
            return wit.Tuple(tuple(draw(st.lists(inner, min_size=1, max_size=3))))
        case 4:
            return wit.Record(tuple(wit.Field(name, draw(inner)) for name in draw(_distinct(3))))
        case 5:
            return wit.Variant(tuple(wit.Case(name, draw(maybe)) for name in draw(_distinct(3))))
        case 6:
            return wit.Enum(draw(_distinct(5)))
        case 7:
            return wit.Flags(draw(_distinct(5)))
        case 8:
            return wit.List(wit.Tuple((wit.STRING, draw(inner))))
        case _:
            return wit.Option(wit.Option(draw(inner)))


plain_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).filter(
    lambda text: text != "null" and CID.from_canonical(text) is None
)
texts = plain_texts | st.sampled_from(["null", LINK, LINK.upper(), CIDV0, "", "await/ok", "a", "some"])


def _number(kind: wit.AnyType) -> st.SearchStrategy[Any]:
    match kind:
        case wit.Int():
            return st.integers(kind.low, kind.high)
        case wit.Float(bits=bits):
            return st.floats(allow_nan=False, allow_infinity=False, width=32 if bits == 32 else 64)
        case _:
            return st.booleans()


def values(kind: wit.AnyType, texts: st.SearchStrategy[str] = texts) -> st.SearchStrategy[Any]:
    """Return despecialised values of a type."""
    match kind:
        case wit.Char():
            return st.characters(exclude_categories=["Cs"])
        case wit.String():
            return texts
        case wit.List(element=element) if wit.scalar(element):
            number = _number(element)
            if isinstance(element, wit.Float):
                number |= st.sampled_from([math.nan, math.inf, -math.inf, -0.0])
            return st.lists(number, max_size=6).map(lambda numbers: packed(element, numbers))
        case wit.List(element=element):
            return st.lists(values(element, texts), max_size=4)
        case wit.Option(payload=payload):
            return st.none() | st.tuples(values(payload, texts))
        case wit.Result(ok=ok, err=err):
            return _side(0, ok, texts) | _side(1, err, texts)
        case wit.Tuple(items=items):
            return st.tuples(*(values(item, texts) for item in items))
        case wit.Record(fields=fields):
            return st.tuples(*(values(field.type, texts) for field in fields))
        case wit.Variant(cases=cases):
            return st.one_of([_side(i, case.payload, texts) for i, case in enumerate(cases)])
        case wit.Enum(names=names):
            return st.integers(0, len(names) - 1)
        case wit.Flags(names=names):
            return st.integers(0, (1 << len(names)) - 1)
        case _:
            return _number(kind)


def _side(index: int, kind: wit.AnyType | None, texts: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(index), st.none() if kind is None else values(kind, texts))


@st.composite
def typed(draw: st.DrawFn, texts: st.SearchStrategy[str] = texts) -> tuple[wit.AnyType, Any]:
    """Return a type and a despecialised value of it."""
    kind = draw(kinds())
    return kind, draw(values(kind, texts))
