"""How large a value of a WIT type is, how it is aligned, and the core values that it is in registers.

Source: component model `CanonicalABI.md`, sections "Alignment", "Element Size" and "Flattening". Memories are of 32 bits.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Final, assert_never

from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.abi.core import FuncType

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAT_PARAMS: Final = 16
FLAT_RESULTS: Final = 1
"""More core values than these go through memory."""

REALLOC: Final = FuncType(("i32",) * 4, ("i32",))
"""The type of what a guest gives room by: an old place and its length, an alignment, and the new length."""


def up(at: int, align: int) -> int:
    """Return the next place that is aligned.

    >>> up(5, 4), up(8, 4)
    (8, 8)
    """
    return (at + align - 1) // align * align


def tag_size(cases: int) -> int:
    """Return the bytes of the number that tells so many cases apart ("Alignment", `discriminant_type`).

    >>> tag_size(1), tag_size(256), tag_size(257)
    (1, 1, 2)
    """
    return 1 if cases <= 1 << 8 else 2 if cases <= 1 << 16 else 4


def flags_size(names: int) -> int:
    """Return the bytes of a set of so many flags ("Alignment", `alignment_flags`)."""
    return 1 if names <= 8 else 2 if names <= 16 else 4


def payloads(kind: wit.Variant | wit.Option | wit.Result) -> tuple[wit.AnyType | None, ...]:
    """Return what each case of a type of cases holds, in the order of their numbers ("Despecialization")."""
    match kind:
        case wit.Variant(cases=cases):
            return tuple(case.payload for case in cases)
        case wit.Option(payload=payload):
            return None, payload
        case wit.Result(ok=ok, err=err):
            return ok, err
        case _:
            assert_never(kind)


def flatten(kind: wit.AnyType | None) -> tuple[str, ...]:
    """Return the core values that a value is in registers ("Flattening").

    >>> flatten(wit.Result(wit.F32, wit.STRING)), flatten(wit.Option(wit.F64))
    (('i32', 'i32', 'i32'), ('i32', 'f64'))
    """
    match kind:
        case None:
            return ()
        case wit.Int(bits=bits):
            return ("i64",) if bits == 64 else ("i32",)
        case wit.Float(bits=bits):
            return (f"f{bits}",)
        case wit.Bool() | wit.Char() | wit.Enum() | wit.Flags() | wit.Opaque():
            return ("i32",)
        case wit.String() | wit.List():
            return ("i32", "i32")
        case wit.Record(fields=fields):
            return tuple(core for field in fields for core in flatten(field.type))
        case wit.Tuple(items=items):
            return tuple(core for item in items for core in flatten(item))
        case wit.Variant() | wit.Option() | wit.Result():
            joined: tuple[str, ...] = ()
            for payload in payloads(kind):
                joined = tuple(_join(a, b) for a, b in zip_longest(joined, flatten(payload)))
            return ("i32", *joined)
        case _:
            assert_never(kind)


def _join(a: str | None, b: str | None) -> str:
    """Return a core type that has room for either ("Flattening", `join`)."""
    if a is None or b is None or a == b:
        return a or b or ""
    return "i32" if {a, b} == {"i32", "f32"} else "i64"


def depth(kind: wit.AnyType | None) -> int:
    """Return how deep a type's parts go, itself included."""
    match kind:
        case None:
            return 0
        case wit.List(element=element):
            return 1 + depth(element)
        case wit.Record(fields=fields):
            return 1 + max((depth(field.type) for field in fields), default=0)
        case wit.Tuple(items=items):
            return 1 + max(map(depth, items), default=0)
        case wit.Variant() | wit.Option() | wit.Result():
            return 1 + max(map(depth, payloads(kind)), default=0)
        case _:
            return 1


def lifted_type(params: Sequence[wit.Field], result: wit.AnyType | None) -> FuncType:
    """Return the type of the core function that a component's function is lifted from ("Flattening")."""
    takes, gives = _flat_params(params), flatten(result)
    if len(takes) > FLAT_PARAMS:
        takes = ("i32",)
    return FuncType(takes, gives if len(gives) <= FLAT_RESULTS else ("i32",))


def lowered_type(params: Sequence[wit.Field], result: wit.AnyType | None) -> FuncType:
    """Return the type of the core function that an imported function is lowered to ("Flattening")."""
    takes, gives = _flat_params(params), flatten(result)
    if len(takes) > FLAT_PARAMS:
        takes = ("i32",)
    return FuncType(takes, gives) if len(gives) <= FLAT_RESULTS else FuncType((*takes, "i32"), ())


def _flat_params(params: Sequence[wit.Field]) -> tuple[str, ...]:
    return tuple(core for param in params for core in flatten(param.type))


def spills(params: Sequence[wit.Field]) -> bool:
    """Return True if parameters are too many for registers and go through memory."""
    return len(_flat_params(params)) > FLAT_PARAMS


def points(kind: wit.AnyType | None) -> bool:
    """Return True if a value holds a list or a string, which lie elsewhere in memory ("`canonopt` Validation")."""
    match kind:
        case wit.String() | wit.List():
            return True
        case wit.Record(fields=fields):
            return any(points(field.type) for field in fields)
        case wit.Tuple(items=items):
            return any(map(points, items))
        case wit.Variant() | wit.Option() | wit.Result():
            return any(map(points, payloads(kind)))
        case _:
            return False
