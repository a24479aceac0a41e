"""The wire form of values: the rules that reading and writing it share (RULES 1)."""

from __future__ import annotations

import base64 as base64_
import itertools
from collections.abc import Callable, Sequence
from typing import Final

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.ipld import CID, FileBytes, Ipld
from ipvm_kernel.printable import printable
from ipvm_kernel.wasm import types as wit

Load = Callable[[CID], Ipld | FileBytes]
"""Opens a link: the bytes of a file or raw block, which may stay in their file, or the value of a dag-cbor block."""

Keep = Callable[[bytes | memoryview], CID]
"""Keeps bytes as a file and returns its CID. A view is good until then."""

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
    if isinstance(payload, wit.Option) and (wire is None or tagged(payload, wire)):
        return {"some": wire}
    return wire


def tagged(payload: wit.AnyType, wire: Ipld) -> bool:
    """Return True if the wire form of an option says by a tag that there is something: `{"some": ...}`."""
    return isinstance(payload, wit.Option) and type(wire) is dict and tuple(wire) == ("some",)


def sided(side: int, wire: Ipld, value: object = None) -> Ipld:
    """Return the wire form of a result: `[ok, null]` or `[null, err]`, tagged where the payload itself is null.

    Homestar writes `[null, null]` for both ok(none) and err(none). That form means neither here.
    """
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


def keyed(element: wit.AnyType, keys: Sequence[object]) -> bool:
    """Return True if a list of tuples has the wire form of a map, in which it keeps its order and its duplicates.

    So it has if each tuple is a text and a value, and the texts rise strictly by their UTF-8 bytes. Homestar makes a map
    of any list of such pairs, and of an empty list of any tuples.
    """
    if not isinstance(element, wit.Tuple):
        return False
    if not keys:
        return True
    if len(element.items) != 2 or element.items[0] != wit.STRING:
        return False
    names = [key.encode() for key in keys if type(key) is str]
    return len(names) == len(keys) and all(a < b for a, b in itertools.pairwise(names))


def message_of(payload: Ipld) -> Ipld:
    """Return the message of an error's payload, or a payload that is no such map as it is."""
    message = payload.get("message") if type(payload) is dict else None
    return message if type(message) is str else payload


def base64(data: bytes) -> str:
    """Return the base64 without padding that Homestar gives for bytes where text is expected."""
    return base64_.b64encode(data).decode("ascii").rstrip("=")


def surrogate(text: str) -> int | None:
    """Return where a text has its first lone surrogate, for which there is no UTF-8, or None."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return error.start
    return None


_NAMES: Final = {bool: "a bool", int: "an integer", float: "a float", str: "text", bytes: "bytes", list: "a list",
                 dict: "a map", type(None): "null", CID: "a link"}  # fmt: skip


def misfit(kind: wit.AnyType, wire: Ipld) -> BadArgument:
    """Return the error that says which type was expected and what was found."""
    shown = ""
    if isinstance(wire, bool | int | float | str):
        shown = " " + printable(repr(wire[:60] if isinstance(wire, str) else wire), limit=60)
    return BadArgument(f"expected {kind}, found {_NAMES.get(type(wire), type(wire).__name__)}{shown}")


def placed(place: str, error: BadArgument) -> BadArgument:
    """Return an error about a part with the place of that part before it: "rows[3].name: expected ..."."""
    return BadArgument(f"{place}{'' if error.message[:1] in '.[' else ': '}{error.message}")
