"""From the wire into a guest: the despecialised value that a wire value stands for, by its WIT type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, assert_never

from ipvm_kernel.errors import BadArgument, BrokenPromise
from ipvm_kernel.ipld import CID, FileBytes, Ipld
from ipvm_kernel.model import Awaited
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.scalars import f32, packed
from ipvm_kernel.wasm.wire import base64, message_of, misfit, placed, sided, sides, surrogate, tagged

if TYPE_CHECKING:
    from ipvm_kernel.wasm.types import Value
    from ipvm_kernel.wasm.wire import Load

_EXACT: Final[dict[type[wit.AnyType], type]] = {wit.Bool: bool, wit.Int: int, wit.Float: float}


def lower(kind: wit.AnyType, wire: Ipld | Awaited, load: Load, *, awaited: bool = False) -> Value:
    """Return the despecialised value that a wire value stands for.

    A literal is read as Homestar reads it: 1.9 into an s32 is 1, null into a string is "null", and of a list where none is
    expected the first. An awaited value is read strictly: nothing of it is cut or dropped, and a link among its parts
    stays a link unless raw bytes are asked for (RULES 1 and 2).

    Raises:
        BadArgument: The wire value does not fit the type; the message names the place.
        NotFound: A link leads to something that is not in the store.
    """
    return _lower(kind, wire, load, awaited)


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
    if type(wire) is CID and not awaited and not _opens(kind, wire):
        wire = _opened(kind, wire, load)
    match kind:
        case wit.List(element=element):
            return _lower_list(kind, element, wire, load, awaited)
        case wit.Option(payload=payload):
            if wire is None:
                return None
            return (_within(".some", payload, wire["some"] if tagged(payload, wire) else wire, load, awaited),)
        case wit.Result():
            return _lower_result(kind, wire, load, awaited)
        case wit.Tuple(items=items):
            if type(wire) is list and (len(wire) == len(items) or (len(wire) > len(items) and not awaited)):
                parts = enumerate(zip(items, wire, strict=False))
                return tuple(_within(f"[{i}]", item, part, load, awaited) for i, (item, part) in parts)
        case wit.Flags(names=names):
            if type(wire) is list and all(type(name) is str and name in names for name in wire):
                return sum(1 << names.index(name) for name in set(wire))
        case _ if type(wire) is list and not awaited:  # Homestar takes the first of a list where it expects none
            if wire:
                return _within("[0]", kind, wire[0], load, awaited)
            if kind == wit.BOOL:
                return False
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
        case wit.Record(fields=fields):
            if type(wire) is dict and not (awaited and len(wire) > len(fields)):
                lacking = next((field.name for field in fields if field.name not in wire), None)
                if lacking is not None:
                    raise BadArgument(f"expected {kind}, found a map without {lacking!r}")
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
        raise placed(place, error) from None


def _opens(kind: wit.AnyType, link: CID) -> bool:
    """Return True if it is a part of the type that opens a literal link: a list, or what an option holds."""
    return isinstance(kind, wit.List) or (isinstance(kind, wit.Option) and link.codec in {"raw", "dag-pb"})


def _opened(kind: wit.AnyType, link: CID, load: Load) -> Ipld:
    """Return what a literal link means: its content, and base64 of it where a string is expected (RULES 2)."""
    content = load(link)
    if isinstance(content, FileBytes):
        content = content.read()
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
    if type(wire) is not int and type(wire) is not float:
        raise misfit(kind, wire)
    try:
        value = f32(wire) if kind.bits == 32 else float(wire)
    except OverflowError:
        raise misfit(kind, wire) from None
    if awaited and type(wire) is int and int(value) != wire:
        raise misfit(kind, wire)
    return value


def lower_string(kind: wit.String, wire: Ipld) -> str:
    """Return the text that a wire value is where a string is expected: Homestar's reading of null, bytes and links."""
    match wire:
        case str() if surrogate(wire) is None:
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
        content = load(wire)
        if width is not None and isinstance(content, bytes | FileBytes):
            return _buffer(kind, element, width, content)
        if isinstance(content, FileBytes):
            raise misfit(kind, b"")
        wire = content
    match wire:
        case bytes() if kind == wit.BYTES:
            return wire
        case dict() if isinstance(element, wit.Tuple) and (not wire or _named(element)):
            pairs = sorted(wire.items(), key=lambda pair: pair[0].encode())
            return [_within(f".{k}", element, [k, v], load, awaited) for k, v in pairs]
        case list() if width is not None:
            if set(map(type, wire)) == {_EXACT[type(element)]}:
                try:
                    return packed(element, wire)
                except OverflowError:
                    pass  # below, the error names the place
            numbers = [_within(f"[{i}]", element, item, load, awaited) for i, item in enumerate(wire)]
            return packed(element, numbers)
        case list():
            return [_within(f"[{i}]", element, item, load, awaited) for i, item in enumerate(wire)]
        case _:
            raise misfit(kind, wire)


def _named(element: wit.Tuple) -> bool:
    """Return True for a tuple of a text and a value."""
    return len(element.items) == 2 and element.items[0] == wit.STRING


def _buffer(kind: wit.AnyType, element: wit.AnyType, width: int, data: bytes | FileBytes) -> bytes | FileBytes:
    """Return the bytes of a list of scalars, once it is sure that they are; those of a large file stay in it."""
    if len(data) % width:
        raise BadArgument(f"expected {kind}: {width} bytes an element, found {len(data):,} bytes")
    if element == wit.BOOL:
        data = data.read() if isinstance(data, FileBytes) else data
        if data.translate(None, b"\0\1"):
            raise BadArgument(f"expected {kind}: bytes of 0 and 1, found others")
    return data


def _lower_result(kind: wit.Result, wire: Ipld, load: Load, awaited: bool) -> Value:
    if wire == [None, None] and not awaited:
        side, payload = (1, None) if kind.ok is None and kind.err is not None else (0, None)  # as Homestar reads it
    else:
        try:
            side, payload = sides(wire)
        except BadArgument:
            raise misfit(kind, wire) from None
    inner = kind.err if side else kind.ok
    if inner is None and awaited and payload is not None and (type(payload) is not int or payload != 1):
        raise misfit(kind, wire)  # 1 stands for nothing here, and this is something
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
            if case.payload is not None:
                return index, _within(f".{name}", case.payload, wire[name], load, awaited)
            if wire[name] is None or not awaited:
                return index, None
            raise placed(f".{name}", BadArgument("expected null, for this case holds nothing"))
    raise misfit(kind, wire)
