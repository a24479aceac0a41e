"""DAG-PB: the nodes that IPFS builds files and folders from, written in one way and read strictly.

It follows https://ipld.io/specs/codecs/dag-pb/spec/, which asks more than protobuf does: fields in order, once, and no
others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ipvm_kernel.errors import BadCID, Malformed
from ipvm_kernel.ipld.bases import to_varint, varint
from ipvm_kernel.ipld.cid import CID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Link(NamedTuple):
    """A link of a dag-pb node.

    Attributes:
        cid: What it leads to.
        name: The name of an entry in a folder; "" in a file.
        stored: Bytes of all blocks below it, as its author claims, or None.
    """

    cid: CID
    name: str
    stored: int | None


def node(links: Iterable[bytes], data: bytes) -> bytes:
    """Return a dag-pb node of links, each made by `to_link`, and the data that comes after them."""
    return b"".join([b"\x12" + sized(link) for link in links]) + b"\x0a" + sized(data)


def to_link(cid: CID, name: bytes, stored: int) -> bytes:
    """Return a PBLink: the hash (1), the name (2) and the size of all that is below (3)."""
    return b"\x0a" + sized(cid.bytes) + b"\x12" + sized(name) + b"\x18" + to_varint(stored)


def sized(data: bytes) -> bytes:
    """Return bytes after their own number."""
    return to_varint(len(data)) + data


def parse(data: bytes) -> tuple[list[Link], bytes | None]:
    """Return the links and the data of a dag-pb node, strictly (specification, "Protobuf Strictness").

    Raises:
        Malformed: Not dag-pb; the message names the byte.
        BadCID, HashNotAllowed: A link that is no CID.
    """
    links: list[Link] = []
    inner: bytes | None = None
    closed = False  # links stand together, before the data or after them
    for at, number, value in fields(data, {1: bytes, 2: bytes}):
        if number == 1:
            if inner is not None:
                raise Malformed(f"Expected the data of a dag-pb node once, found it again at byte {at:,}.")
            inner = whole(value)
            closed = bool(links)
        elif closed:
            raise Malformed(f"Expected the links of a dag-pb node together, found another at byte {at:,}.")
        else:
            links.append(_parsed_link(whole(value), at))
    return links, inner


def links_of(data: bytes) -> list[CID]:
    """Return the CIDs that a dag-pb node links to, in order.

    Raises:
        Malformed, BadCID, HashNotAllowed: As `parse` does.
    """
    return [link.cid for link in parse(data)[0]]


def _parsed_link(data: bytes, start: int) -> Link:
    cid: CID | None = None
    name, stored, before = "", None, 0
    for at, number, value in fields(data, {1: bytes, 2: bytes, 3: int}):
        if number <= before:
            raise Malformed(f"Expected the fields of a link in order, found {number} at byte {start + at:,}.")
        before = number
        if number == 1:
            cid = CID.from_bytes(whole(value))
        elif number == 2:
            try:
                name = whole(value).decode()
            except UnicodeDecodeError:
                raise Malformed(f"Expected a name in UTF-8 in the link at byte {start:,}, found other bytes.") from None
        else:
            stored = whole_number(value)
    if cid is None:
        raise Malformed(f"Expected a CID in the link at byte {start:,}, found none.")
    return Link(cid, name, stored)


def fields(data: bytes, wanted: dict[int, type]) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield place, number and value of each field of a protobuf message, which has no others than those wanted."""
    at = 0
    while at < len(data):
        start = at
        try:
            key, at = varint(data, at)
            value, at = varint(data, at)
        except BadCID:
            raise Malformed(f"Expected a protobuf field at byte {start:,}, found none in its shortest form.") from None
        kind = wanted.get(key >> 3)
        if kind is int and key & 7 == 0:
            yield start, key >> 3, value
        elif kind is bytes and key & 7 == 2:
            if value > len(data) - at:
                raise Malformed(f"Expected {value:,} bytes at byte {at:,}, found {len(data) - at:,}. It is cut off.")
            yield start, key >> 3, data[at : at + value]
            at += value
        else:
            raise Malformed(f"Expected a field of dag-pb at byte {start:,}, found number {key >> 3}, type {key & 7}.")


def whole(value: int | bytes) -> bytes:
    """Return the value of a field of bytes."""
    assert isinstance(value, bytes)
    return value


def whole_number(value: int | bytes) -> int:
    """Return the value of a field that is a number."""
    assert isinstance(value, int)
    return value
