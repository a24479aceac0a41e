"""What a value is to `struct`: a row of items with a format.

The same value has two shapes: as it lies in memory, and as it stands in registers, each of which is 16 bytes wide here, as
the engine passes them. A number is one item; a list or a string is two, its place and its length; what follows a tag is
the payload's items if all cases agree on their format, and else one item of bytes. Registers that different cases share
need no conversion, since they are little-endian and zero beyond their width.

Source: component model `CanonicalABI.md`, sections "Loading", "Storing", "Flat Lifting" and "Flat Lowering".
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.abi.bound import RAW_BYTES
from ipvm_kernel.wasm.abi.guest import Broken
from ipvm_kernel.wasm.abi.layout import flags_size, tag_size, up

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipvm_kernel.wasm.abi.guest import Guest
    from ipvm_kernel.wasm.types import Value

    Row = tuple[Any, ...]
    Spread = Callable[[Value, list[Any], Guest], None]
    Gather = Callable[[Row, int, Guest], Value]
    Store = Callable[[Value, Guest], tuple[int, int]]
    Load = Callable[[int, int, Guest], Value]

_CODES: Final[dict[wit.AnyType, str]] = {
    wit.BOOL: "?", wit.U8: "B", wit.S8: "b", wit.U16: "H", wit.S16: "h", wit.U32: "I", wit.S32: "i",
    wit.U64: "Q", wit.S64: "q", wit.F32: "f", wit.F64: "d",
}  # fmt: skip
_BYTES: Final = {"?": 1, "B": 1, "b": 1, "H": 2, "h": 2, "I": 4, "i": 4, "Q": 8, "q": 8, "f": 4, "d": 8}
_UNSIGNED: Final = {1: "B", 2: "H", 4: "I"}


class Shape:
    """How values of a type lie in memory, or stand in registers.

    Attributes:
        form: The format of its items, of `size` bytes.
        size: Its bytes; of registers 16 each.
        align: What its place is a multiple of.
        slots: How many items it is.
        zeros: Items for where there is no value.
        plain: 1 if its one item is the value itself, 2 if the tuple of its items is; else 0.
        spread: Appends the items of a value, writing what they point to.
        gather: Makes the value from items, of which its own begin at a place.
    """

    __slots__ = ("align", "form", "gather", "plain", "size", "slots", "spread", "struct", "zeros")

    def __init__(self, form: str, align: int, spread: Spread, gather: Gather, *, zeros: Row, plain: int = 0) -> None:
        self.form = form
        self.struct = struct.Struct(f"<{form}")
        self.size = self.struct.size
        self.align = align
        self.spread = spread
        self.gather = gather
        self.zeros = zeros
        self.slots = len(zeros)
        self.plain = plain


# --- one item ---------------------------------------------------------------------------------------------------------


def _as_it_is(value: Value, out: list[Any], _guest: Guest) -> None:
    out.append(value)


def _item(items: Row, at: int, _guest: Guest) -> Value:
    return items[at]


def _single(code: str, spread: Spread, gather: Gather, *, flat: bool, plain: int = 0) -> Shape:
    if not flat:
        return Shape(code, _BYTES[code], spread, gather, zeros=(0,), plain=plain)
    return Shape(f"{code}{RAW_BYTES - _BYTES[code]}x", 1, spread, gather, zeros=(0,), plain=plain)


def number(kind: wit.Bool | wit.Int | wit.Float, *, flat: bool) -> Shape:
    """Return the shape of numbers and bools."""
    code = _CODES[kind]
    if not flat or _BYTES[code] >= 4:
        return _single(code, _as_it_is, _item, flat=flat, plain=1)
    match kind:  # a register is wider than the number: what is beyond counts for a bool, and for nothing else
        case wit.Int(bits=bits, signed=True):
            half, mask = 1 << (bits - 1), (1 << bits) - 1
            return _single("i", _as_it_is, lambda items, at, _: ((items[at] & mask) ^ half) - half, flat=True)
        case wit.Int(bits=bits):
            return _single("I", _as_it_is, _masked((1 << bits) - 1), flat=True)
        case _:
            return _single("I", _as_it_is, lambda items, at, _: items[at] != 0, flat=True)


def _masked(mask: int) -> Gather:
    return lambda items, at, _: items[at] & mask


def enum(names: int, *, flat: bool) -> Shape:
    """Return the shape of an enum of so many names: its index."""

    def gather(items: Row, at: int, _guest: Guest) -> Value:
        if items[at] >= names:
            raise Broken
        return items[at]

    return _single("I" if flat else _UNSIGNED[tag_size(names)], _as_it_is, gather, flat=flat)


def flags(names: int, *, flat: bool) -> Shape:
    """Return the shape of flags of so many names: their bits. What other bits there are says nothing."""
    code = "I" if flat else _UNSIGNED[flags_size(names)]
    return _single(code, _as_it_is, _masked((1 << names) - 1), flat=flat)


def char(*, flat: bool) -> Shape:
    """Return the shape of characters."""
    return _single("I", _spread_char, _gather_char, flat=flat)


def _spread_char(value: Value, out: list[Any], _guest: Guest) -> None:
    code = ord(value)
    if code >> 11 == 0x1B:
        raise ValueError(f"{code:#x} is no character")
    out.append(code)


def _gather_char(items: Row, at: int, _guest: Guest) -> Value:
    code = items[at]
    if code > 0x10FFFF or code >> 11 == 0x1B:
        raise Broken
    return chr(code)


# --- several items ----------------------------------------------------------------------------------------------------


def pointed(store: Store, load: Load, *, flat: bool) -> Shape:
    """Return the shape of what lies elsewhere: its place and its length."""

    def spread(value: Value, out: list[Any], guest: Guest) -> None:
        out += store(value, guest)

    def gather(items: Row, at: int, guest: Guest) -> Value:
        return load(items[at], items[at + 1], guest)

    form, align = (f"I{RAW_BYTES - 4}x" * 2, 1) if flat else ("II", 4)
    return Shape(form, align, spread, gather, zeros=(0, 0))


def row(parts: Sequence[Shape]) -> Shape:
    """Return the shape of values side by side, each aligned ("Element Size", `elem_size_record`)."""
    form, end = [], 0
    for part in parts:
        start = up(end, part.align)
        form.append(f"{start - end}x{part.form}")
        end = start + part.size
    align = max((part.align for part in parts), default=1)
    form.append(f"{up(end, align) - end}x")
    zeros = tuple(zero for part in parts for zero in part.zeros)
    count = len(parts)
    if all(part.plain == 1 for part in parts):
        return Shape(
            "".join(form), align, _spread_row(count), lambda items, at, _: items[at : at + count], zeros=zeros, plain=2
        )
    spreads = [None if part.plain == 1 else part.spread for part in parts]
    starts = itertools.accumulate((part.slots for part in parts), initial=0)
    gathers = [(None if part.plain == 1 else part.gather, start) for part, start in zip(parts, starts, strict=False)]

    def spread(value: Value, out: list[Any], guest: Guest) -> None:
        add = out.append
        for spread_part, part in zip(spreads, value, strict=True):
            if spread_part is None:
                add(part)
            else:
                spread_part(part, out, guest)

    def gather(items: Row, at: int, guest: Guest) -> Value:
        return tuple([items[at + start] if part is None else part(items, at + start, guest) for part, start in gathers])

    return Shape("".join(form), align, spread, gather, zeros=zeros)


def _spread_row(count: int) -> Spread:
    def spread(value: Value, out: list[Any], _guest: Guest) -> None:
        if len(value) != count:
            raise ValueError(f"expected {count} parts, found {len(value)}")
        out += value

    return spread


def tagged(cases: Sequence[Shape | None], *, flat: bool) -> Shape:
    """Return the shape of values of cases, each `(index, payload)` ("Element Size", `elem_size_variant`)."""
    held = [case for case in cases if case is not None]
    tag = "I" if flat else _UNSIGNED[tag_size(len(cases))]
    head = RAW_BYTES if flat else _BYTES[tag]
    align = max(1 if flat else head, *(case.align for case in held)) if held else 1 if flat else head
    start = up(head, max((case.align for case in held), default=1))
    room = max((case.size for case in held), default=0)
    same = len({case.form for case in held}) <= 1
    body = f"{room}s" if not same else held[0].form if held else ""
    nothing: Row = (b"",) if not same else held[0].zeros if held else ()
    form = f"{tag}{start - _BYTES[tag]}x{body}{up(start + room, align) - start - room}x"
    return Shape(form, align, _spread_cases(cases, nothing, same), _gather_cases(cases, same), zeros=(0, *nothing))


def _spread_cases(cases: Sequence[Shape | None], nothing: Row, same: bool) -> Spread:
    def spread(value: Value, out: list[Any], guest: Guest) -> None:
        index, payload = value
        case = cases[index]
        out.append(index)
        if case is None:
            out += nothing
        elif same:
            case.spread(payload, out, guest)
        else:
            items: list[Any] = []
            case.spread(payload, items, guest)
            out.append(case.struct.pack(*items))

    return spread


def _gather_cases(cases: Sequence[Shape | None], same: bool) -> Gather:
    count = len(cases)

    def gather(items: Row, at: int, guest: Guest) -> Value:
        index = items[at]
        if index >= count:
            raise Broken
        case = cases[index]
        if case is None:
            return index, None
        if same:
            return index, case.gather(items, at + 1, guest)
        return index, case.gather(case.struct.unpack_from(items[at + 1]), 0, guest)

    return gather


def optional(some: Shape, *, flat: bool) -> Shape:
    """Return the shape of options, each `None` or `(payload,)`."""
    base = tagged((None, some), flat=flat)
    inner_spread, inner_gather, nothing = some.spread, some.gather, base.zeros

    def spread(value: Value, out: list[Any], guest: Guest) -> None:
        if value is None:
            out += nothing
        else:
            out.append(1)
            inner_spread(value[0], out, guest)

    def gather(items: Row, at: int, guest: Guest) -> Value:
        tag = items[at]
        if tag == 1:
            return (inner_gather(items, at + 1, guest),)
        if tag:
            raise Broken
        return None

    return Shape(base.form, base.align, spread, gather, zeros=nothing)
