"""CAR archives: blocks one after another, in a file or a stream, each checked against its CID before it is given out.

Version 1 (https://ipld.io/specs/transport/car/carv1/) is read and written, version 2
(https://ipld.io/specs/transport/car/carv2/) is read: what it holds is an archive of version 1, and the index after that is
not used. Where the specifications leave a choice, the strict one is made: sections are not empty, no block comes twice,
and every root is there.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, NoReturn

from ipvm_kernel.errors import BadCID, BadInput, HashNotAllowed, LimitExceeded, Malformed, Mismatch, NotFound
from ipvm_kernel.ipld.bases import to_varint
from ipvm_kernel.ipld.carindex import Index
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.codec import decode, encode
from ipvm_kernel.ipld.limits import PEER, Limits
from ipvm_kernel.ipld.sections import Incoming, cid_at, length_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

BLOCKS: Final = 500_000
"""Blocks of an archive, at most, unless its reader says another number."""

HEADER_BYTES: Final = 2**20
"""Bytes of the header, at most."""

ROOTS: Final = 10_000
"""Roots of an archive, at most."""

_PRAGMA: Final = bytes.fromhex("0aa16776657273696f6e02")  # what an archive of version 2 begins with
_HEADER2: Final = struct.Struct("<16sQQQ")  # characteristics, offset and size of the payload, offset of the index
_FULLY_INDEXED: Final = 0x80  # of the first byte of the characteristics; the only one that means anything
_JOINED: Final = 65_536  # small blocks are handed on together, so many bytes at a time
_SMALL: Final = 16_384


class Piece(NamedTuple):
    """A block of an archive, checked.

    Attributes:
        cid: Its name.
        data: Its bytes.
        offset: Where its section begins, in bytes from the beginning of the archive.
    """

    cid: CID
    data: bytes
    offset: int


class Archive:
    """An archive that is being read: an iterable of `Piece`, once, in the memory of one block and the names of all.

    Attributes:
        version: 1 or 2.
        roots: What the archive is about, in its own order; may be none.
    """

    version: int
    roots: tuple[CID, ...]

    def __init__(
        self,
        source: BinaryIO | Iterable[bytes],
        *,
        limits: Limits = PEER,
        most: int = BLOCKS,
        duplicates: bool = False,
        partial: bool = False,
    ) -> None:
        """Read the header.

        Args:
            source: A binary file, from where it stands, or pieces of bytes: the body of an HTTP answer.
            limits: `block_bytes` is what one block may hold.
            most: Blocks, at most.
            duplicates: Pass over a block that comes again; else it is refused.
            partial: Accept an archive without the blocks of its roots.

        Raises:
            Malformed, NonCanonical, BadCID, HashNotAllowed: No archive; the message names the byte.
            LimitExceeded: A header above `HEADER_BYTES`, or more than `ROOTS` roots.
        """
        self._limits, self._most = limits, most
        self._duplicates, self._partial = duplicates, partial
        self._source = source
        self._size, self._start = _size(source)
        self._incoming = Incoming(source)
        self._end, self._index_at = sys.maxsize, 0
        self._begun = False
        self.version = 1
        if self._incoming.ahead().startswith(_PRAGMA):
            self.version = 2
            self._enter_payload()
        self.roots = self._header()

    def __iter__(self) -> Iterator[Piece]:
        """Give the blocks in their order, each checked.

        Raises:
            Mismatch: Bytes that are not what their CID names.
            HashNotAllowed: A CID by which nothing can be checked.
            Malformed, BadCID: No section; a block that came before; the end before all roots came.
            LimitExceeded: A block that is too large, or too many.
            BadInput: It was read before.
        """
        if self._begun:
            raise BadInput("Expected to read an archive once, found a second time. Open it again, or keep its index().")
        self._begun = True
        return self._read()

    def index(self, watch: Callable[[Piece], object] | None = None) -> Index:
        """Read the whole archive and return where each block is, for a second pass over the same file.

        Args:
            watch: Is shown each block as it passes.

        Raises:
            BadInput: The source is not a file that can be read again; and all that reading raises.
        """
        source: Any = self._source
        if self._size is None:
            raise BadInput("Expected an archive in a file that can be read again, found a stream. Save it first.")
        index = Index(source, self._start)
        for piece in self:
            if watch is not None:
                watch(piece)
            size = len(piece.data)
            index.note(piece.cid, self._incoming.offset - size - len(piece.cid.bytes), size)
        index.settle()
        return index

    # --- Header ---

    def _enter_payload(self) -> None:
        """Read the header of version 2 and go to where the payload begins."""
        header = self._incoming.take(len(_PRAGMA), _HEADER2.size)
        if len(header) < _HEADER2.size:
            raise Malformed(
                f"Expected a header of 40 bytes at byte 11 of the archive, found {len(header)}. It is cut off."
            )
        about, begin, size, index = _HEADER2.unpack(header)
        end = begin + size
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
        if self._size is not None:
            for what, claimed in (("payload to end", end), ("index to begin", index + 1 if index else 0)):
                if claimed > self._size:
                    raise Malformed(
                        f"Expected the {what} within the {self._size:,} bytes of the archive, found byte {claimed:,}. "
                        "It is cut off; get it again."
                    )
        self._end, self._index_at = end, index
        if not self._incoming.skip(begin - self._incoming.offset):
            raise Malformed(
                f"Expected the payload at byte {begin:,} of the archive, found its end before. It is cut off."
            )

    def _header(self) -> tuple[CID, ...]:
        """Read the header of version 1 and return the roots."""
        start = self._incoming.offset
        head = self._incoming.ahead()
        if not head:
            raise Malformed(f"Expected an archive, found no header at byte {start:,}: nothing at all.")
        length, used = _length(head, start)
        if length > HEADER_BYTES:
            raise LimitExceeded(
                f"Expected a header of at most {HEADER_BYTES:,} bytes at byte {start:,} of the archive, found {length:,}."
            )
        data = self._incoming.take(used, length)
        if len(data) < length or self._incoming.offset > self._end:
            raise Malformed(
                f"Expected {length:,} bytes of header at byte {start + used:,} of the archive, found {len(data):,}. It is cut off."
            )
        try:
            value = decode(data, Limits(HEADER_BYTES, depth=2, items=ROOTS + 5))
        except BadInput as error:
            raise type(error)(f"{error.message} It is in the header at byte {start + used:,} of the archive.") from None
        match value:
            case {"version": int(version), **rest} if version != 1 or type(version) is bool:
                raise Malformed(f"Expected an archive of version 1 or 2, found version {version} at byte {start:,}.")
            case {"version": 1, "roots": list(roots), **rest} if not rest and all(type(root) is CID for root in roots):
                return tuple(roots)
        raise Malformed(
            f"Expected a header of version and roots at byte {start:,} of the archive, found something else."
        )

    # --- Sections ---

    def _read(self) -> Iterator[Piece]:
        incoming, end, largest = self._incoming, self._end, self._limits.block_bytes
        waiting = {root for root in self.roots if root.hash != "identity"}
        seen: set[bytes] = set()
        count = 0
        while (offset := incoming.offset) < end:
            head = incoming.ahead()
            if not head:
                break
            length, at = _length(head, offset)
            try:
                cid, used = cid_at(head, at)
            except (BadCID, HashNotAllowed) as error:
                _refuse(error, offset)
            size = length - (used - at)
            if size < 0:
                raise Malformed(
                    f"Expected a CID in the section at byte {offset:,} of the archive, found {length} bytes."
                )
            if size > largest:
                raise LimitExceeded(
                    f"Expected a block of at most {largest:,} bytes, found {size:,}: {cid} at byte {offset:,} of the archive."
                )
            data = incoming.take(used, size)
            if len(data) < size or offset + used + size > end:
                raise Malformed(
                    f"Expected {size:,} bytes of {cid} at byte {offset:,} of the archive, found {len(data):,}. It is cut off; get it again."
                )
            try:
                cid.check(data)
            except (HashNotAllowed, Mismatch) as error:
                _refuse(error, offset, cid)
            count += 1
            if count > self._most:
                raise LimitExceeded(
                    f"Expected at most {self._most:,} blocks in an archive, found another: {cid} at byte {offset:,}."
                )
            raw = cid.bytes
            if raw in seen:
                if self._duplicates:
                    continue
                raise Malformed(f"Expected each block once, found {cid} again at byte {offset:,} of the archive.")
            seen.add(raw)
            if waiting:
                waiting.discard(cid)
            yield Piece(cid, data, offset)
        self._finish(waiting, count)

    def _finish(self, waiting: set[CID], count: int) -> None:
        """Refuse an archive that ended before everything came that it promised."""
        offset = self._incoming.offset
        if self.version == 2:
            if offset < self._end:
                raise Malformed(
                    f"Expected the payload to end at byte {self._end:,} of the archive, found the end at {offset:,}. It is cut off."
                )
            if self._index_at and not self._incoming.skip(self._index_at + 1 - offset):
                raise Malformed(
                    f"Expected an index at byte {self._index_at:,} of the archive, found the end. It is cut off."
                )
        if waiting and not self._partial:
            first = next(root for root in self.roots if root in waiting)
            raise Malformed(
                f"Expected the block of each root, found none of {first} before the end at byte {offset:,} of the archive, "
                f"in {count:,} blocks. Ask for the whole archive."
            )


def _size(source: Any) -> tuple[int | None, int]:
    """Return how many bytes a file has from where it stands, and where that is; None if it cannot be read again."""
    try:
        if not source.seekable():
            return None, 0
        start = source.tell()
        end = source.seek(0, 2)
        source.seek(start)
    except (AttributeError, OSError):
        return None, 0
    return end - start, start


def _length(head: bytes, offset: int) -> tuple[int, int]:
    """Return the length that stands first, and where it ends."""
    try:
        length, at = length_at(head)
    except BadCID as error:
        raise Malformed(f"{error.message} It is the length of the section at byte {offset:,} of the archive.") from None
    if not length:
        raise Malformed(f"Expected a block at byte {offset:,} of the archive, found a section of no bytes.")
    return length, at


def _refuse(error: BadCID | HashNotAllowed | Mismatch, offset: int, cid: CID | None = None) -> NoReturn:
    """Raise the same error with the place in the archive."""
    name = f"{cid}" if cid else "The CID"
    raise type(error)(f"{error.message} {name} is in the section at byte {offset:,} of the archive.") from None


# --- Writing ---


def parts(
    roots: Sequence[CID], blocks: Iterable[tuple[CID, bytes]], *, limits: Limits = PEER, most: int = BLOCKS
) -> Iterator[bytes]:
    """Yield an archive of version 1 piece by piece, for a file or the body of a request.

    The blocks are taken as they come and not checked, since a store checked them when it gave them. One that comes
    again is left out. What `Archive` would refuse is not written: a block that is too large, a root that never came.

    Raises:
        LimitExceeded: A block above `limits.block_bytes`, or more than `most` of them.
        NotFound: A root that was not among the blocks; what was yielded is no whole archive.
    """
    header = encode({"roots": list(roots), "version": 1})
    pending, held = [to_varint(len(header)), header], len(header)
    waiting = {root for root in roots if root.hash != "identity"}
    seen: set[bytes] = set()
    for cid, data in blocks:
        raw = cid.bytes
        if raw in seen:
            continue
        seen.add(raw)
        waiting.discard(cid)
        size = len(data)
        if size > limits.block_bytes:
            raise LimitExceeded(
                f"Expected blocks of at most {limits.block_bytes:,} bytes for an archive, found {size:,}: {cid}. "
                "Give what is so large as a file."
            )
        if len(seen) > most:
            raise LimitExceeded(f"Expected at most {most:,} blocks for an archive, found another: {cid}.")
        pending += (to_varint(len(raw) + size), raw)
        if size > _SMALL:
            yield b"".join(pending)
            yield data
            pending, held = [], 0
            continue
        pending.append(data)
        held += size + len(raw)
        if held > _JOINED:
            yield b"".join(pending)
            pending, held = [], 0
    if pending:
        yield b"".join(pending)
    if waiting:
        first = next(root for root in roots if root in waiting)

        raise NotFound(f"Expected the block of each root for an archive, found none of {first}.")


def write(
    target: BinaryIO,
    roots: Sequence[CID],
    blocks: Iterable[tuple[CID, bytes]],
    *,
    limits: Limits = PEER,
    most: int = BLOCKS,
) -> int:
    """Write an archive of version 1 to a file and return the number of its bytes. It raises what `parts` does."""
    total = 0
    for part in parts(roots, blocks, limits=limits, most=most):
        total += len(part)
        rest = memoryview(part)
        while rest:
            rest = rest[target.write(rest) :]
    return total
