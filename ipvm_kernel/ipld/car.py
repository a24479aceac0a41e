"""CAR archives: blocks one after another, in a file or a stream, each checked against its CID before it is given out.

Version 1 (https://ipld.io/specs/transport/car/carv1/) is read and written, version 2
(https://ipld.io/specs/transport/car/carv2/) is read: what it holds is an archive of version 1, and the index after that is
not used. Where the specifications leave a choice, the strict one is made: sections are not empty, no block comes twice,
and every root is there.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple, NoReturn

from ipvm_kernel.errors import BadCID, BadInput, HashNotAllowed, LimitExceeded, Malformed, Mismatch, NotFound
from ipvm_kernel.ipld.bases import to_varint
from ipvm_kernel.ipld.carheader import read_header, section_length
from ipvm_kernel.ipld.carindex import Index
from ipvm_kernel.ipld.codec import encode
from ipvm_kernel.ipld.limits import PEER, Limits
from ipvm_kernel.ipld.sections import Incoming, cid_at
from ipvm_kernel.printable import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ipvm_kernel.ipld.cid import CID

BLOCKS: Final = 500_000
"""Blocks of an archive, at most, unless its reader says another number."""

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


_piece: Final = functools.partial(tuple.__new__, Piece)  # half the time of `Piece(...)`


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
        source: BinaryIO | bytes | Iterable[bytes],
        *,
        limits: Limits = PEER,
        most: int = BLOCKS,
        duplicates: bool = False,
        partial: bool = False,
    ) -> None:
        """Read the header.

        Args:
            source: A binary file, from where it stands; bytes, or pieces of them: the body of an HTTP answer.
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
        self._begun = False
        self.version, self.roots, self._end, self._index_at = read_header(self._incoming, self._size)

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
            cid, data, offset = piece
            length = len(cid.bytes) + len(data)
            index.note(cid, offset + (length.bit_length() + 6) // 7, len(data))  # after the varint of the length
        index.settle()
        return index

    def _read(self) -> Iterator[Piece]:
        incoming, end, largest = self._incoming, self._end, self._limits.block_bytes
        waiting = {root for root in self.roots if root.hash != "identity"}
        seen: set[bytes] = set()
        count, offset = 0, incoming.offset
        while offset < end:
            found = incoming.small() or self._section(offset)
            if found is None:
                break
            cid, data = found
            begin, offset = offset, incoming.offset
            if len(data) > largest:
                raise _too_large(largest, len(data), cid, begin)
            if offset > end:
                raise Malformed(
                    f"Expected the payload to end at byte {end:,} of the archive, found {cid} at byte {begin:,} to end at "
                    f"{offset:,}."
                )
            try:
                cid.check(data)
            except (HashNotAllowed, Mismatch) as error:
                _refuse(error, begin, cid)
            count += 1
            if count > self._most:
                raise LimitExceeded(
                    f"Expected at most {self._most:,} blocks in an archive, found another: {cid} at byte {begin:,}."
                )
            raw = cid.bytes
            if raw in seen:
                if self._duplicates:
                    continue
                raise Malformed(f"Expected each block once, found {cid} again at byte {begin:,} of the archive.")
            seen.add(raw)
            if waiting:
                waiting.discard(cid)
            yield _piece((cid, data, begin))
        self._finish(waiting, count)

    def _section(self, offset: int) -> tuple[CID, bytes] | None:
        """Take a section of any kind; None at the end. CID and bytes are not checked against each other."""
        incoming, largest = self._incoming, self._limits.block_bytes
        head = incoming.ahead()
        if not head:
            return None
        length, at = section_length(head, offset)
        try:
            cid, used = cid_at(head, at)
        except (BadCID, HashNotAllowed) as error:
            _refuse(error, offset)
        size = length - (used - at)
        if size < 0:
            raise Malformed(
                f"Expected a CID in the section at byte {offset:,} of the archive, found its end after {plural(length, 'byte')}."
            )
        if size > largest:
            raise _too_large(largest, size, cid, offset)
        data = incoming.take(used, size)
        if len(data) < size:
            raise Malformed(
                f"Expected {size:,} bytes of {cid} at byte {offset:,} of the archive, found {len(data):,}. "
                "It is cut off; get it again."
            )
        return cid, data

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


def _too_large(largest: int, size: int, cid: CID, offset: int) -> LimitExceeded:
    return LimitExceeded(
        f"Expected a block of at most {largest:,} bytes, found {size:,}: {cid} at byte {offset:,} of the archive."
    )


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
            taken = target.write(rest)
            if not taken:
                raise BadInput(f"Expected a file that takes {len(rest):,} bytes, found one that takes none of them.")
            rest = rest[taken:]
    return total
