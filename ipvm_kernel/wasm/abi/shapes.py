"""The shapes of WIT types: worked out once for a type, and used at every call."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, assert_never

from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.abi import items, lists
from ipvm_kernel.wasm.abi.texts import TEXTS

if TYPE_CHECKING:
    from ipvm_kernel.wasm.abi.items import Shape
    from ipvm_kernel.wasm.abi.wiring import Encoding


@functools.lru_cache(4096)
def shape(kind: wit.AnyType, encoding: Encoding, *, flat: bool) -> Shape:
    """Return the shape of a type's values, in registers or in memory.

    Raises:
        TypeError: No value has this type.
    """
    match kind:
        case wit.Bool() | wit.Int() | wit.Float():
            return items.number(kind, flat=flat)
        case wit.Char():
            return items.char(flat=flat)
        case wit.Enum(names=names):
            return items.enum(len(names), flat=flat)
        case wit.Flags(names=names):
            return items.flags(len(names), flat=flat)
        case wit.String():
            return items.pointed(*TEXTS[encoding], flat=flat)
        case wit.List(element=element):
            return items.pointed(*_list(element, encoding), flat=flat)
        case wit.Record(fields=fields):
            return items.row([shape(field.type, encoding, flat=flat) for field in fields])
        case wit.Tuple(items=parts):
            return items.row([shape(part, encoding, flat=flat) for part in parts])
        case wit.Option(payload=payload):
            return items.optional(shape(payload, encoding, flat=flat), flat=flat)
        case wit.Variant(cases=cases):
            return _tagged([case.payload for case in cases], encoding, flat=flat)
        case wit.Result(ok=ok, err=err):
            return _tagged([ok, err], encoding, flat=flat)
        case wit.Opaque():
            raise TypeError(f"no value has the type {kind}")
        case _:
            assert_never(kind)


def _tagged(payloads: list[wit.AnyType | None], encoding: Encoding, *, flat: bool) -> Shape:
    held = [None if payload is None else shape(payload, encoding, flat=flat) for payload in payloads]
    return items.tagged(held, flat=flat)


def _list(element: wit.AnyType, encoding: Encoding) -> lists.List:
    """Return how lists of an element are stored and loaded."""
    if wit.scalar(element) is not None:
        return lists.numbers(element)
    if isinstance(element, wit.Char):
        return lists.chars()
    inner = shape(element, encoding, flat=False)
    if isinstance(element, wit.String) and encoding == "utf8":
        return lists.texts(inner)
    if isinstance(element, wit.List) and (width := wit.scalar(element.element)) is not None:
        return lists.rows(inner, width)
    return lists.elements(inner)
