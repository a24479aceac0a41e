"""The wire form of values: the rules that reading and writing it share (RULES 1)."""

from __future__ import annotations

import base64 as base64_
from collections.abc import Callable
from typing import Final

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.ipld import CID, Ipld
from ipvm_kernel.wasm import types as wit

Load = Callable[[CID], Ipld]
"""Opens a link: the bytes of a file or raw block, or the value of a dag-cbor block."""

Keep = Callable[[bytes], CID]
"""Keeps bytes as a file and returns its CID."""

INLINE_BYTES: Final = 1 << 20
"""A `list<u8>` of more bytes than this is a link in what ipvm authors and in results (RULES 1)."""

INLINE_SCALARS: Final = 65_536
"""Any other list of scalars of more bytes than this is a link (RULES 1)."""


def some(payload: wit.AnyType, wire: Ipld, value: object = None) -> Ipld:
    """Return the wire form of `some(...)`, which must differ from that of none.

    The text "null" stays text here; an option inside an option is tagged where it would be mistaken.
    """
    if wire is None and value == "null":
        return "null"
    if isinstance(payload, wit.Option) and (wire is None or (type(wire) is dict and tuple(wire) == ("some",))):
        return {"some": wire}
    return wire


def sided(side: int, wire: Ipld, value: object = None) -> Ipld:
    """Return the wire form of a result: `[ok, null]` or `[null, err]`, tagged where the payload itself is null."""
    if wire is None and value == "null":
        wire = "null"
    if wire is None:
        return {"err": None} if side else {"ok": None}
    return [None, wire] if side else [wire, None]


def sides(wire: Ipld) -> tuple[int, Ipld]:
    """Return which side of a result a wire value is, 0 for ok and 1 for err, and the wire form of its payload.

    Raises:
        BadArgument: The wire value is no result.
    """
    match wire:
        case [ok, None] if ok is not None:
            return 0, ok
        case [None, err] if err is not None:
            return 1, err
        case {"ok": ok, **rest} if not rest:
            return 0, ok
        case {"err": err, **rest} if not rest:
            return 1, err
        case _:
            raise BadArgument("expected a result, `[ok, null]` or `[null, err]`")


def message_of(payload: Ipld) -> Ipld:
    """Return the message of an error's payload, or a payload that is no such map as it is."""
    message = payload.get("message") if type(payload) is dict else None
    return message if type(message) is str else payload


def base64(data: bytes) -> str:
    """Return the base64 without padding that Homestar gives for bytes where text is expected (1.8)."""
    return base64_.b64encode(data).decode("ascii").rstrip("=")


_NAMES: Final = {bool: "a bool", int: "an integer", float: "a float", str: "text", bytes: "bytes", list: "a list",
                 dict: "a map", type(None): "null", CID: "a link"}  # fmt: skip


def misfit(kind: wit.AnyType, wire: Ipld) -> BadArgument:
    """Return the error that says which type was expected and what was found."""
    shown = repr(wire) if isinstance(wire, bool | int | float | str) else ""
    shown = f" {shown[:60]}{'…' if len(shown) > 60 else ''}" if shown else ""
    return BadArgument(f"expected {kind}, found {_NAMES.get(type(wire), type(wire).__name__)}{shown}")
