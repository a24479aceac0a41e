"""Numbers and text as a person gives them: checked against their WIT type, with what to do where they do not fit."""

from __future__ import annotations

import math
from typing import Any, Final

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.printable import printable
from ipvm_kernel.wasm import adapters
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.adapters import Buffer, Column, Table
from ipvm_kernel.wasm.scalars import f32, packed, shortest_f32
from ipvm_kernel.wasm.wire import placed, surrogate

NUMBERS: Final = frozenset({bool, int, float})
_OWN: Final[dict[type[wit.AnyType], type]] = {wit.Bool: bool, wit.Int: int, wit.Float: float}
_CODES: Final = {
    wit.BOOL: "?", wit.U8: "B", wit.S8: "b", wit.U16: "H", wit.S16: "h", wit.U32: "I", wit.S32: "i", wit.U64: "Q",
    wit.S64: "q", wit.F32: "f", wit.F64: "d",
}  # fmt: skip


def integer(kind: wit.Int, value: Any) -> int:
    """Return an integer that fits its type.

    Raises:
        BadArgument: It does not, or it is a float or a bool.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        if kind.low <= value <= kind.high:
            return int(value)
        raise BadArgument(f"expected {kind}, {kind.low} to {kind.high}, found {described(value)}")
    if isinstance(value, float):
        raise BadArgument(f"expected {kind}, found the float {value}: write int(...) or round(...)")
    raise misfit(kind, value)


def number(kind: wit.Float, value: Any) -> float:
    """Return a number as the float on the wire; an f32 takes the nearest there is.

    Raises:
        BadArgument: It is no number, not finite, too large, or an integer that the type cannot hold exactly.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise misfit(kind, value)
    try:
        wide = float(value)
        near = f32(wide) if kind.bits == 32 else wide
    except OverflowError:
        raise BadArgument(f"expected {kind}, found {described(value)}, which is beyond the largest {kind}") from None
    if not math.isfinite(wide):
        raise BadArgument(f"expected {kind}, found {wide}, which no CID can name; in a list of numbers it can be sent")
    if isinstance(value, int) and int(near) != value:
        raise BadArgument(f"expected {kind}, found {described(value)}, which no {kind} holds exactly")
    return shortest_f32(near) if kind.bits == 32 else wide


def text(kind: wit.AnyType, value: str) -> str:
    """Return a text that has UTF-8.

    Raises:
        BadArgument: It holds a lone surrogate; the message says where.
    """
    at = surrogate(value)
    if at is not None:
        raise BadArgument(f"expected {kind}, found text with a lone surrogate at {at}, which has no UTF-8")
    return value


def pack(element: wit.AnyType, items: list[Any]) -> bytes:
    """Return numbers as bytes, all at once if all are plainly of the type. NaN and infinity pass.

    Raises:
        BadArgument: One of them does not fit; the message says which.
    """
    if set(map(type, items)) <= {_OWN[type(element)]}:
        try:
            return packed(element, items)
        except OverflowError:
            pass  # below, the error names the place
    return packed(element, [_number(element, item, i) for i, item in enumerate(items)])


def _number(element: wit.AnyType, value: Any, index: int) -> Any:
    if isinstance(element, wit.Float) and isinstance(value, float) and not math.isfinite(value):
        return value
    try:
        match element:
            case wit.Int():
                return integer(element, value)
            case wit.Float():
                return number(element, value)
            case _:
                if type(value) is bool:
                    return value
                raise misfit(element, value)
    except BadArgument as error:
        raise placed(f"[{index}]", error) from None


def recast(kind: wit.List, element: wit.AnyType, buffer: Buffer) -> bytes | memoryview:
    """Return a buffer's numbers as the bytes of another scalar type. Only f64 into f32 changes them: to the nearest.

    Raises:
        BadArgument: They do not fit; bools are no numbers, and floats are not cut to integers.
    """
    if buffer.code == _CODES[element]:
        return buffer.data
    found = {"?": "bools", "f": "f32 numbers", "d": "f64 numbers"}.get(buffer.code, "integers")
    if found == "bools" or element == wit.BOOL or (buffer.code in "fd" and isinstance(element, wit.Int)):
        raise BadArgument(f"expected {kind}, found an array of {found}: convert it, with .astype(...) say")
    return pack(element, adapters.numbers(buffer))


_HINTS: Final[dict[tuple[str, str], str]] = {
    ("list<u8>", "str"): ": encode it with .encode(), or pass ipvm.file(path) for a file",
    ("string", "bytes"): ": decode it with .decode()",
    ("bool", "int"): ": write True or False",
}


def misfit(kind: wit.AnyType, value: object) -> BadArgument:
    """Return the error that says which type was expected and what was found."""
    hint = _HINTS.get((str(kind), type(value).__name__), "")
    if isinstance(kind, wit.Result):
        hint = ': write ("ok", value) or ("err", value)'
    return BadArgument(f"expected {kind}, found {described(value)}{hint}")


def described(value: object) -> str:
    """Return a value in a few words, for an error."""
    match value:
        case None:
            return "None"
        case int() if value.bit_length() > 200:  # Python refuses to write very long ones
            return f"an integer of {value.bit_length():,} bits"
        case str():
            return f"str {printable(repr(value[:60]), limit=60)}"
        case bool() | int() | float():
            return f"{type(value).__name__} {value!r}"
        case Column():
            return "a column with missing values"
        case Buffer():
            return "an array of numbers"
        case Table():
            return "a table"
        case bytes():
            return f"{len(value):,} bytes"
        case list() | tuple() | dict() | set() | frozenset():
            return f"a {type(value).__name__} of {len(value):,}"
        case _:
            return f"a {type(value).__module__}.{type(value).__qualname__}"
