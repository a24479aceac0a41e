"""Out of a guest onto the wire: the IPLD form of a despecialised value, by its WIT type.

It is Homestar's form wherever reading that back by the type gives the same value, and a lossless form otherwise: see
ARCHITECTURE.md, "Wire form".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

from ipvm_kernel.errors import Unencodable
from ipvm_kernel.ipld import CID, Ipld
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.scalars import canonical_nan, shortest_f32, unpacked
from ipvm_kernel.wasm.wire import INLINE_BYTES, INLINE_SCALARS, keyed, sided, some

if TYPE_CHECKING:
    from ipvm_kernel.wasm.types import Value
    from ipvm_kernel.wasm.wire import Keep


def lift(kind: wit.AnyType, value: Value, keep: Keep) -> Ipld:
    """Return the wire form of a despecialised value.

    Args:
        kind: Its WIT type.
        value: The value.
        keep: Where large lists of scalars go.

    Raises:
        Unencodable: A NaN or infinity outside a list of scalars; the message names the place.
    """
    return _lift(kind, value, keep, "")


def _lift(kind: wit.AnyType, value: Value, keep: Keep, at: str) -> Ipld:
    wire: Ipld
    match kind:
        case wit.Bool() | wit.Int() | wit.Char():
            wire = value
            return wire
        case wit.Float(bits=bits):
            if not math.isfinite(value):
                raise Unencodable(
                    f"the result{at} is {value}, which no CID can name: return it in a list of numbers, or as an option"
                )
            return shortest_f32(value) if bits == 32 else value
        case wit.String():
            return _lift_string(value)
        case wit.List(element=element):
            return _lift_list(element, value, keep, at)
        case wit.Record(fields=fields):
            return {f.name: _lift(f.type, v, keep, f"{at}.{f.name}") for f, v in zip(fields, value, strict=True)}
        case wit.Tuple(items=items):
            return [_lift(t, v, keep, f"{at}[{i}]") for i, (t, v) in enumerate(zip(items, value, strict=True))]
        case wit.Variant(cases=cases):
            case = cases[value[0]]
            inner = None if case.payload is None else _lift(case.payload, value[1], keep, f"{at}.{case.name}")
            return {case.name: inner}
        case wit.Enum(names=names):
            return names[value]
        case wit.Flags(names=names):
            return [name for bit, name in enumerate(names) if value >> bit & 1]
        case wit.Option(payload=payload):
            if value is None:
                return None
            return some(payload, _lift(payload, value[0], keep, f"{at}.some"), value[0])
        case wit.Result():
            side, payload = value
            inner_kind = kind.err if side else kind.ok
            if inner_kind is None:
                return [None, 1] if side else [1, None]
            wire = _lift(inner_kind, payload, keep, f"{at}.{'err' if side else 'ok'}")
            return sided(side, wire, payload)
        case wit.Opaque():
            raise Unencodable(f"the result{at} has the type {kind}, which no CID can name")
        case _:
            assert_never(kind)


def _lift_string(value: str) -> Ipld:
    """Return Homestar's form of a string: "null" is null, and the canonical text of a CID is a link."""
    if value == "null":
        return None
    cid = CID.from_canonical(value)
    return value if cid is None else cid


def _lift_list(element: wit.AnyType, value: Value, keep: Keep, at: str) -> Ipld:
    if wit.scalar(element) is not None:
        return value if type(value) is CID else lift_scalars(element, value, keep)
    if isinstance(element, wit.Tuple) and keyed(element, [item[0] for item in value]):
        return {k: _lift(element.items[1], v, keep, f"{at}.{k}") for k, v in value}
    return [_lift(element, item, keep, f"{at}[{i}]") for i, item in enumerate(value)]


def inline_bytes(element: wit.AnyType) -> int:
    """Return how many bytes a list of scalars has at most that is not a link (RULES 1)."""
    return INLINE_BYTES if element == wit.U8 else INLINE_SCALARS


def lift_scalars(element: wit.AnyType, data: bytes | memoryview, keep: Keep) -> Ipld:
    """Return the wire form of the little-endian bytes of a list of scalars: inline, or a link to them (RULES 1)."""
    if element == wit.U8:
        return (bytes(data) or []) if len(data) <= INLINE_BYTES else keep(data)
    numbers = unpacked(element, data) if len(data) <= INLINE_SCALARS else None
    if numbers is None or (isinstance(element, wit.Float) and not all(map(math.isfinite, numbers))):
        return keep(canonical_nan(element, data))
    if element == wit.F32:
        return [shortest_f32(number) for number in numbers]
    return numbers
