"""The canonical ABI: what a WIT type becomes between a component and its core module.

A value crosses in one of two forms. *Flat*: a short row of core values, as parameters of a function. *Stored*: bytes in
memory, with an offset for each part. The component model's own text, CanonicalABI.md, is the reference; here are the
parts of it that the glue needs, for the types that the glue carries.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Final

from ipvm_kernel.toolchains.world import Enum, Function, ListOf, OptionOf, Record, ResultOf, Scalar, TupleOf, Type

MAX_FLAT_PARAMS: Final = 16
"""A function of more core parameters takes one pointer to all of them, stored."""

MAX_FLAT_RESULTS: Final = 1
"""A function of more core results returns one pointer to them, stored."""

_SCALARS: Final = {
    "bool": ("i32", 1),
    "s8": ("i32", 1),
    "u8": ("i32", 1),
    "s16": ("i32", 2),
    "u16": ("i32", 2),
    "s32": ("i32", 4),
    "u32": ("i32", 4),
    "s64": ("i64", 8),
    "u64": ("i64", 8),
    "f32": ("f32", 4),
    "f64": ("f64", 8),
    "char": ("i32", 4),
}


def flat(kind: Type | None) -> tuple[str, ...]:
    """Return the core values that a value of this type is, side by side.

    >>> flat(OptionOf(Scalar("f64"))), flat(ResultOf(Scalar("f32"), Scalar("string")))
    (('i32', 'f64'), ('i32', 'i32', 'i32'))
    """
    match kind:
        case None:
            return ()
        case Scalar(name="string") | ListOf():
            return ("i32", "i32")
        case Scalar(name=name):
            return (_SCALARS[name][0],)
        case Enum():
            return ("i32",)
        case OptionOf(some=some):
            return ("i32", *flat(some))
        case ResultOf(ok=ok, err=err):
            return ("i32", *(_joined(a, b) for a, b in zip_longest(flat(ok), flat(err))))
        case _:
            return tuple(core for part in parts(kind) for core in flat(part))


def parts(kind: Record | TupleOf) -> tuple[Type, ...]:
    """Return the types that a record or tuple is made of, in their order."""
    return kind.items if isinstance(kind, TupleOf) else tuple(field.type for field in kind.fields)


def _joined(a: str | None, b: str | None) -> str:
    """Return a core type that has room for either."""
    if a is None or b is None or a == b:
        return a or b or ""
    return "i32" if {a, b} == {"i32", "f32"} else "i64"


def alignment(kind: Type | None) -> int:
    """Return what the address of a stored value is a multiple of."""
    match kind:
        case None:
            return 1
        case Scalar(name="string") | ListOf():
            return 4
        case Scalar(name=name):
            return _SCALARS[name][1]
        case Enum(cases=cases):
            return tag_size(len(cases))
        case OptionOf(some=some):
            return alignment(some)
        case ResultOf(ok=ok, err=err):
            return max(alignment(ok), alignment(err))
        case _:
            return max(map(alignment, parts(kind)))


def size(kind: Type | None) -> int:
    """Return the bytes that a stored value takes, padding included.

    >>> size(OptionOf(Scalar("u32"))), size(TupleOf((Scalar("u8"), Scalar("f64"), Scalar("bool"))))
    (8, 24)
    """
    match kind:
        case None:
            return 0
        case Scalar(name="string") | ListOf():
            return 8
        case Scalar(name=name):
            return _SCALARS[name][1]
        case Enum(cases=cases):
            return tag_size(len(cases))
        case OptionOf(some=some):
            return _up(alignment(some) + size(some), alignment(kind))
        case ResultOf(ok=ok, err=err):
            return _up(alignment(kind) + max(size(ok), size(err)), alignment(kind))
        case _:
            end = 0
            for part in parts(kind):
                end = _up(end, alignment(part)) + size(part)
            return _up(end, alignment(kind))


def tag_size(cases: int) -> int:
    """Return the bytes of the number that tells this many cases apart."""
    return 1 if cases <= 1 << 8 else 2 if cases <= 1 << 16 else 4


def _up(offset: int, multiple: int) -> int:
    return -(-offset // multiple) * multiple


def core_params(function: Function) -> tuple[str, ...]:
    """Return the core parameters of an exported function."""
    cores = tuple(core for param in function.params for core in flat(param.type))
    return cores if len(cores) <= MAX_FLAT_PARAMS else ("i32",)


def core_result(function: Function) -> str | None:
    """Return the core result of an exported function, or None if it has none."""
    cores = flat(function.result)
    if not cores:
        return None
    return cores[0] if len(cores) <= MAX_FLAT_RESULTS else "i32"


def spilled(function: Function) -> bool:
    """Return whether the parameters come as one pointer."""
    return sum(len(flat(param.type)) for param in function.params) > MAX_FLAT_PARAMS


def allocates(function: Function) -> bool:
    """Return whether whoever calls needs memory of the guest to hand over the parameters."""
    return spilled(function) or any(_points(param.type) for param in function.params)


def _points(kind: Type | None) -> bool:
    match kind:
        case Scalar(name="string") | ListOf():
            return True
        case None | Scalar() | Enum():
            return False
        case OptionOf(some=some):
            return _points(some)
        case ResultOf(ok=ok, err=err):
            return _points(ok) or _points(err)
        case _:
            return any(map(_points, parts(kind)))


def snake(name: str) -> str:
    """Return a WIT name as Zig and C write it.

    >>> snake("resample-mean")
    'resample_mean'
    """
    return name.replace("-", "_")


def whole(function: Function) -> TupleOf:
    """Return all parameters as one value, which is how they come when they are too many."""
    return TupleOf(tuple(param.type for param in function.params))
