"""WIT types: what a function takes and gives, as frozen values that outlive the engine that read them.

Source: the component model's `WIT.md`, section "Types". Records, variants and the rest are structural here: the names
that a WIT package gives to types are not part of a component's exported signature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

Value = Any
"""A despecialised value, whose Python type follows from its WIT type: bool, int, float or str; the little-endian bytes of
a list of scalars, any other list as a list; a tuple for a record or tuple; `(index, payload)` for a variant or result;
an index for an enum, bits for flags, `None` or `(payload,)` for an option. (CanonicalABI.md, "Despecialization".)

A large list of scalars may stand outside: as `FileBytes` where it is an argument, and in a result as what `Large` made of
it."""

Large = Callable[["AnyType", memoryview], Value]
"""Takes a list of scalars out of a guest's memory, which is there until it returns: its element type, and its bytes."""


class WitType(msgspec.Struct, frozen=True, tag=True):
    """Any WIT type. `str()` gives its WIT text."""


class Bool(WitType, frozen=True, tag="bool"):
    """`bool`."""

    def __str__(self) -> str:
        return "bool"


class Int(WitType, frozen=True, tag="int"):
    """`s8` to `s64` and `u8` to `u64`."""

    bits: int
    signed: bool

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}"

    @property
    def low(self) -> int:
        """The smallest value that fits."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The largest value that fits."""
        return (1 << (self.bits - self.signed)) - 1


class Float(WitType, frozen=True, tag="float"):
    """`f32` and `f64`."""

    bits: int

    def __str__(self) -> str:
        return f"f{self.bits}"


class Char(WitType, frozen=True, tag="char"):
    """`char`: one Unicode scalar value."""

    def __str__(self) -> str:
        return "char"


class String(WitType, frozen=True, tag="string"):
    """`string`."""

    def __str__(self) -> str:
        return "string"


class List(WitType, frozen=True, tag="list"):
    """`list<T>`."""

    element: AnyType

    def __str__(self) -> str:
        return f"list<{self.element}>"


class Field(msgspec.Struct, frozen=True):
    """A named member of a record, or a parameter of a function."""

    name: str
    type: AnyType

    def __str__(self) -> str:
        return f"{self.name}: {self.type}"


class Record(WitType, frozen=True, tag="record"):
    """`record { name: T, ... }`."""

    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return "record { " + ", ".join(map(str, self.fields)) + " }"


class Tuple(WitType, frozen=True, tag="tuple"):
    """`tuple<T, ...>`."""

    items: tuple[AnyType, ...]

    def __str__(self) -> str:
        return "tuple<" + ", ".join(map(str, self.items)) + ">"


class Case(msgspec.Struct, frozen=True):
    """One case of a variant, with or without a payload."""

    name: str
    payload: AnyType | None

    def __str__(self) -> str:
        return self.name if self.payload is None else f"{self.name}({self.payload})"


class Variant(WitType, frozen=True, tag="variant"):
    """`variant { name(T), ... }`."""

    cases: tuple[Case, ...]

    def __str__(self) -> str:
        return "variant { " + ", ".join(map(str, self.cases)) + " }"


class Enum(WitType, frozen=True, tag="enum"):
    """`enum { name, ... }`."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "enum { " + ", ".join(self.names) + " }"


class Flags(WitType, frozen=True, tag="flags"):
    """`flags { name, ... }`."""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "flags { " + ", ".join(self.names) + " }"


class Option(WitType, frozen=True, tag="option"):
    """`option<T>`."""

    payload: AnyType

    def __str__(self) -> str:
        return f"option<{self.payload}>"


class Result(WitType, frozen=True, tag="result"):
    """`result<T, E>`, either side of which may carry nothing."""

    ok: AnyType | None
    err: AnyType | None

    def __str__(self) -> str:
        if self.err is None:
            return "result" if self.ok is None else f"result<{self.ok}>"
        return f"result<{self.ok or '_'}, {self.err}>"


class Opaque(WitType, frozen=True, tag="opaque"):
    """A type that no content-addressed value can have: a resource, a stream, a future, an error context."""

    text: str

    def __str__(self) -> str:
        return self.text


AnyType = Bool | Int | Float | Char | String | List | Record | Tuple | Variant | Enum | Flags | Option | Result | Opaque

BOOL: Final = Bool()
CHAR: Final = Char()
STRING: Final = String()
U8, U16, U32, U64 = (Int(bits, signed=False) for bits in (8, 16, 32, 64))
S8, S16, S32, S64 = (Int(bits, signed=True) for bits in (8, 16, 32, 64))
F32, F64 = Float(32), Float(64)
BYTES: Final = List(U8)


class Signature(msgspec.Struct, frozen=True):
    """An exported function: its own name, its parameters in order and what it gives."""

    name: str
    params: tuple[Field, ...]
    result: AnyType | None

    def __str__(self) -> str:
        """Return the WIT text of the function's type."""
        gives = "" if self.result is None else f" -> {self.result}"
        return f"func({', '.join(map(str, self.params))}){gives}"

    @property
    def required(self) -> int:
        """How many arguments must be given: a trailing `option` may be left out (RULES 2)."""
        count = len(self.params)
        while count and isinstance(self.params[count - 1].type, Option):
            count -= 1
        return count

    @property
    def fallible(self) -> bool:
        """True if the function says by its type that it can fail: `result<T, E>`."""
        return isinstance(self.result, Result)


def scalar(kind: AnyType) -> int | None:
    """Return the width in bytes of a fixed-size scalar that a buffer can hold, or None for any other type."""
    match kind:
        case Int(bits=bits) | Float(bits=bits):
            return bits // 8
        case Bool():
            return 1
        case _:
            return None


def opaque_in(kind: AnyType | None) -> Opaque | None:
    """Return the first part of a type that no value can be made for, or None."""
    pending: list[AnyType | None] = [kind]
    while pending:
        match pending.pop():
            case Opaque() as found:
                return found
            case List(element=inner) | Option(payload=inner):
                pending.append(inner)
            case Record(fields=fields):
                pending.extend(field.type for field in fields)
            case Tuple(items=items):
                pending.extend(items)
            case Variant(cases=cases):
                pending.extend(case.payload for case in cases)
            case Result(ok=ok, err=err):
                pending.extend((ok, err))
    return None
