"""The headers of CAR archives: which version one is, what it is about, and where its blocks are.

It follows https://ipld.io/specs/transport/car/carv1/ ("Header") and https://ipld.io/specs/transport/car/carv2/ ("Pragma",
"Header", "Characteristics"), strictly: nothing is claimed that is not there.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from ipvm_kernel.errors import BadCID, BadInput, LimitExceeded, Malformed
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.codec import decode
from ipvm_kernel.ipld.limits import Limits
from ipvm_kernel.ipld.sections import length_at

if TYPE_CHECKING:
    from ipvm_kernel.ipld.sections import Incoming

HEADER_BYTES: Final = 2**20
"""Bytes of the header, at most."""

ROOTS: Final = 10_000
"""Roots of an archive, at most."""

_PRAGMA: Final = bytes.fromhex("0aa16776657273696f6e02")  # what an archive of version 2 begins with
_HEADER2: Final = struct.Struct("<16sQQQ")  # characteristics, offset and size of the payload, offset of the index
_FULLY_INDEXED: Final = 0x80  # of the first byte of the characteristics; the only bit that means anything


class Header(NamedTuple):
    """What an archive says of itself.

    Attributes:
        version: 1 or 2.
        roots: What it is about.
        end: Where its blocks end, in bytes from the beginning of the archive; far away in version 1.
        index_at: Where an index begins, or 0.
    """

    version: int
    roots: tuple[CID, ...]
    end: int
    index_at: int


def read_header(incoming: Incoming, size: int | None) -> Header:
    """Read up to the first block.

    Args:
        incoming: The archive, from its beginning.
        size: How many bytes it has, if that is known.

    Raises:
        Malformed, NonCanonical, BadCID, HashNotAllowed: No archive; the message names the byte.
        LimitExceeded: A header above `HEADER_BYTES`, or more than `ROOTS` roots.
    """
    version, end, index = 1, sys.maxsize, 0
    if incoming.ahead().startswith(_PRAGMA):
        version = 2
        end, index = _enter_payload(incoming, size)
    return Header(version, _roots(incoming, end), end, index)


def _enter_payload(incoming: Incoming, size: int | None) -> tuple[int, int]:
    """Go to where the payload of version 2 begins; return where it ends, and where an index begins or 0."""
    header = incoming.take(len(_PRAGMA), _HEADER2.size)
    if len(header) < _HEADER2.size:
        raise Malformed(f"Expected a header of 40 bytes at byte 11 of the archive, found {len(header)}. It is cut off.")
    about, begin, length, index = _HEADER2.unpack(header)
    end = begin + length
    if about[0] & ~_FULLY_INDEXED or any(about[1:]):
        raise Malformed(
            f"Expected no characteristics but 'fully indexed' at byte 11 of the archive, found {about.hex()}."
        )
    if about[0] and not index:
        raise Malformed("Expected the index of an archive that says it is fully indexed at byte 43, found none.")
    if begin < len(_PRAGMA) + _HEADER2.size:
        raise Malformed(
            f"Expected the payload of the archive after its header of 51 bytes, found it at byte {begin:,}."
        )
    if index and index < end:
        raise Malformed(
            f"Expected the index after the payload, which ends at byte {end:,} of the archive, found it at {index:,}."
        )
    if size is not None:
        for what, claimed in (("payload to end", end), ("index to begin", index + 1 if index else 0)):
            if claimed > size:
                raise Malformed(
                    f"Expected the {what} within the {size:,} bytes of the archive, found byte {claimed:,}. "
                    "It is cut off; get it again."
                )
    if not incoming.skip(begin - incoming.offset):
        raise Malformed(f"Expected the payload at byte {begin:,} of the archive, found its end before. It is cut off.")
    return end, index


def _roots(incoming: Incoming, end: int) -> tuple[CID, ...]:
    """Read the header of version 1 and return the roots."""
    start = incoming.offset
    head = incoming.ahead()
    if not head:
        raise Malformed(f"Expected an archive, found no header at byte {start:,}: nothing at all.")
    length, used = section_length(head, start)
    if length > HEADER_BYTES:
        raise LimitExceeded(
            f"Expected a header of at most {HEADER_BYTES:,} bytes at byte {start:,} of the archive, found {length:,}."
        )
    data = incoming.take(used, length)
    if len(data) < length or incoming.offset > end:
        raise Malformed(
            f"Expected {length:,} bytes of header at byte {start + used:,} of the archive, found {len(data):,}. It is cut off."
        )
    try:
        value = decode(data, Limits(HEADER_BYTES, depth=2, items=ROOTS + 5))
    except BadInput as error:
        raise type(error)(
            f"Expected the header of a CAR archive at byte {start + used:,}, found what is none. {error.message}"
        ) from None
    match value:
        case {"version": version, **about} if type(version) is int:
            if version != 1:
                raise Malformed(f"Expected an archive of version 1 or 2, found version {version} at byte {start:,}.")
            match about:
                case {"roots": list(roots)} if len(about) == 1 and all(type(root) is CID for root in roots):
                    return tuple(roots)
    raise Malformed(f"Expected a header of version and roots at byte {start:,} of the archive, found something else.")


def section_length(head: bytes, offset: int) -> tuple[int, int]:
    """Return the length that stands first, and where it ends."""
    try:
        length, at = length_at(head)
    except BadCID as error:
        raise Malformed(f"{error.message} It is the length of the section at byte {offset:,} of the archive.") from None
    if not length:
        raise Malformed(f"Expected a block at byte {offset:,} of the archive, found a section of no bytes.")
    return length, at
