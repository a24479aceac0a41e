"""From the wire into a guest: the despecialised value that a wire value stands for, by its WIT type."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, Final, assert_never

from ipvm_kernel.errors import BadArgument, BrokenPromise
from ipvm_kernel.ipld import CID, Ipld
from ipvm_kernel.model import Awaited
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.scalars import packed
from ipvm_kernel.wasm.wire import base64, message_of, misfit, sided, sides

if TYPE_CHECKING:
    from ipvm_kernel.wasm.types import Value
    from ipvm_kernel.wasm.wire import Load

_LARGEST_F32: Final = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]


def lower(kind: wit.AnyType, wire: Ipld, load: Load, *, awaited: bool = False) -> Value:
    """Return the despecialised value that a wire value stands for.

    A literal is read as Homestar reads it: 1.9 into an s32 is 1, null into a string is "null". An awaited value is read
    strictly, and a link among its parts stays a link unless raw bytes are asked for (RULES 1 and 2).

    Raises:
        BadArgument: The wire value does not fit the type; the message names the place.
        NotFound: A link leads to something that is not in the store.
    """
    try:
        return _lower(kind, wire, load, awaited)
    except OverflowError as error:
        raise misfit(kind, wire) from error


def unwrap(kind: wit.AnyType, promised: Awaited) -> Ipld:
    """Return the wire value that a parameter of type `kind` gets for a kept promise (RULES 4).

    Raises:
        BrokenPromise: The promise was of an ok value, and its function answered `err`.
    """
    value: Ipld = promised.value
    if promised.branch == "ok" and promised.fallible and not isinstance(kind, wit.Result):
        side, payload = sides(value)
        if side:
            raise BrokenPromise("a task that it awaits answered with an error", error=payload)
        return payload
    if promised.branch == "error" and isinstance(kind, wit.String):
        return message_of(value)
    if promised.branch == "*" and isinstance(kind, wit.Result):
        tag, payload = promised.value
        if tag == "error":
            payload = message_of(payload) if isinstance(kind.err, wit.String) else payload
            return [None, 1] if kind.err is None else sided(1, payload)
        return [1, None] if kind.ok is None else sided(0, payload)
    return value


def _lower(kind: wit.AnyType, wire: Any, load: Load, awaited: bool) -> Value:
    if type(wire) is Awaited:
        return _lower(kind, unwrap(kind, wire), load, awaited=True)
    if type(wire) is CID and not awaited and not isinstance(kind, wit.List):
        wire = _opened(kind, wire, load)
    match kind:
        case wit.List(element=element):
            return _lower_list(kind, element, wire, load, awaited)
        case wit.Option(payload=payload):
            if wire is None:
                return None
            if isinstance(payload, wit.Option) and type(wire) is dict and tuple(wire) == ("some",):
                wire = wire["some"]
            return (_within(".some", payload, wire, load, awaited),)
        case wit.Result():
            return _lower_result(kind, wire, load, awaited)
        case wit.Tuple(items=items):
            if type(wire) is not list or len(wire) < len(items) or (awaited and len(wire) > len(items)):
                raise misfit(kind, wire)
            return tuple(
                _within(f"[{i}]", item, part, load, awaited)
                for i, (item, part) in enumerate(zip(items, wire, strict=False))
            )
    if type(wire) is list and not awaited and not isinstance(kind, wit.Flags):
        wire = wire[0] if wire else False  # Homestar takes the first of a list where it expects none (1.8)
    match kind:
        case wit.Bool():
            if type(wire) is bool:
                return wire
        case wit.Int():
            return _lower_int(kind, wire, awaited)
        case wit.Float():
            return _lower_float(kind, wire, awaited)
        case wit.String():
            return lower_string(kind, wire)
        case wit.Char():
            if type(wire) is str and len(wire) == 1 and not "\ud800" <= wire <= "\udfff":
                return wire
        case wit.Enum(names=names):
            if type(wire) is str and wire in names:
                return names.index(wire)
        case wit.Flags(names=names):
            if type(wire) is list and all(type(name) is str and name in names for name in wire):
                return sum(1 << names.index(name) for name in set(wire))
        case wit.Record(fields=fields):
            if type(wire) is dict and all(field.name in wire for field in fields):
                return tuple(_within(f".{f.name}", f.type, wire[f.name], load, awaited) for f in fields)
        case wit.Variant(cases=cases):
            return _lower_variant(kind, cases, wire, load, awaited)
        case wit.Opaque():
            pass
        case _:
            assert_never(kind)
    raise misfit(kind, wire)


def _within(place: str, kind: wit.AnyType, wire: Ipld, load: Load, awaited: bool) -> Value:
    """Lower a part, and name its place in what goes wrong."""
    try:
        return _lower(kind, wire, load, awaited)
    except BadArgument as error:
        raise BadArgument(f"{place}{'' if error.message[:1] in '.[' else ': '}{error.message}") from None


def _opened(kind: wit.AnyType, link: CID, load: Load) -> Ipld:
    """Return what a literal link means: its content, and base64 of it where a string is expected (RULES 2)."""
    content = load(link)
    if isinstance(kind, wit.String) and type(content) is bytes:
        return base64(content)
    return content


def _lower_int(kind: wit.Int, wire: Ipld, awaited: bool) -> int:
    if type(wire) is int and kind.low <= wire <= kind.high:
        return wire
    if type(wire) is float and math.isfinite(wire):
        if awaited and not wire.is_integer():
            raise misfit(kind, wire)
        if awaited and kind.low <= wire <= kind.high:
            return int(wire)
        if not awaited and kind != wit.S64:
            return max(kind.low, min(kind.high, int(wire)))  # Homestar's cast truncates and saturates
    raise misfit(kind, wire)


def _lower_float(kind: wit.Float, wire: Ipld, awaited: bool) -> float:
    if type(wire) is int:
        value = float(wire)
        if awaited and int(value) != wire:
            raise misfit(kind, wire)
    elif type(wire) is float:
        value = wire
    else:
        raise misfit(kind, wire)
    if kind.bits == 32 and abs(value) > _LARGEST_F32:
        raise misfit(kind, wire)
    return value


def lower_string(kind: wit.String, wire: Ipld) -> str:
    """Return the text that a wire value is where a string is expected: Homestar's reading of null, bytes and links."""
    match wire:
        case str():
            return wire
        case None:
            return "null"
        case bytes():
            return base64(wire)
        case CID():
            return str(wire)
        case _:
            raise misfit(kind, wire)


def _lower_list(kind: wit.List, element: wit.AnyType, wire: Ipld, load: Load, awaited: bool) -> Value:
    width = wit.scalar(element)
    if type(wire) is CID and (width is not None or not awaited):
        wire = load(wire)
        if type(wire) is bytes and width is not None:
            return _buffer(kind, element, width, wire)
    match wire:
        case bytes() if kind == wit.BYTES:
            return wire
        case dict() if isinstance(element, wit.Tuple) and len(element.items) == 2 and element.items[0] == wit.STRING:
            pairs = sorted(wire.items(), key=lambda pair: pair[0].encode())
            return [_within(f".{k}", element, [k, v], load, awaited) for k, v in pairs]
        case list() if width is not None:
            numbers = [_within(f"[{i}]", element, item, load, awaited) for i, item in enumerate(wire)]
            return packed(element, numbers)
        case list():
            return [_within(f"[{i}]", element, item, load, awaited) for i, item in enumerate(wire)]
        case _:
            raise misfit(kind, wire)


def _buffer(kind: wit.AnyType, element: wit.AnyType, width: int, data: bytes) -> bytes:
    if len(data) % width:
        raise BadArgument(f"expected {kind}: {width} bytes an element, found {len(data):,} bytes")
    if element == wit.BOOL and data.translate(None, b"\0\1"):
        raise BadArgument(f"expected {kind}: bytes of 0 and 1, found others")
    return data


def _lower_result(kind: wit.Result, wire: Ipld, load: Load, awaited: bool) -> Value:
    try:
        side, payload = sides(wire)
    except BadArgument:
        raise misfit(kind, wire) from None
    inner = kind.err if side else kind.ok
    if inner is None:
        return side, None
    return side, _within(".err" if side else ".ok", inner, payload, load, awaited)


def _lower_variant(
    kind: wit.Variant,
    cases: tuple[wit.Case, ...],
    wire: Ipld,
    load: Load,
    awaited: bool,
) -> Value:
    if type(wire) is not dict or not wire or (awaited and len(wire) > 1):
        raise misfit(kind, wire)
    name = min(wire, key=str.encode)  # Homestar takes the first key of its sorted map
    for index, case in enumerate(cases):
        if case.name == name:
            if case.payload is None:
                return index, None
            return index, _within(f".{name}", case.payload, wire[name], load, awaited)
    raise misfit(kind, wire)
