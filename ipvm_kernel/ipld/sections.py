"""Sections: what a CAR archive is made of, taken from a file or a stream in order and in the memory of one block.

A section is a length, a CID and the bytes of a block (https://ipld.io/specs/transport/car/carv1/, "Data"). What is
claimed is never reserved: memory grows with what has come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, cast

from ipvm_kernel.errors import BadCID, BadInput
from ipvm_kernel.ipld.bases import varint
from ipvm_kernel.ipld.cid import CID, USUAL, unchecked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

AHEAD: Final = 9 + 160
"""Bytes in which every length and every CID fits."""

_CHUNK: Final = 65_536  # bytes of a read where small blocks are expected
_MOST: Final = 2**20  # bytes of a read, whatever a block claims


class Incoming:
    """Bytes that come from a binary file or as an iterable of pieces, and are taken in order."""

    def __init__(self, source: BinaryIO | bytes | Iterable[bytes]) -> None:
        self._file: BinaryIO | None = None
        self._pieces: Iterator[bytes] = iter(())
        if hasattr(source, "read"):
            self._file = cast("BinaryIO", source)
        else:
            self._pieces = iter([_bytes(source)] if isinstance(source, (bytes, bytearray, memoryview)) else source)
        self._buffer = b""
        self._at = 0
        self._before = 0  # bytes that were taken before those in the buffer

    @property
    def offset(self) -> int:
        """Bytes taken so far."""
        return self._before + self._at

    def small(self) -> tuple[CID, bytes] | None:
        """Take a section of the usual kind: a CID of 36 bytes, below 16 KiB in all, and all of it here already.

        Returns:
            CID and bytes, not checked against each other; None, and nothing is taken, if it is not of this kind.
        """
        buffer, at = self._buffer, self._at
        if len(buffer) - at < 2:
            return None
        length = buffer[at]
        at += 1
        if length > 0x7F:
            more = buffer[at]
            at += 1
            if not 0 < more < 0x80:
                return None
            length += (more << 7) - 0x80
        begin, end = at + 36, at + length
        raw = buffer[at:begin]
        if not begin <= end <= len(buffer) or raw[:4] not in USUAL:
            return None
        self._at = end
        return unchecked(raw), buffer[begin:end]

    def ahead(self) -> bytes:
        """Return the next bytes without taking them: `AHEAD` of them, or fewer at the end."""
        at = self._at
        if len(self._buffer) - at < AHEAD:
            self._before += at
            self._buffer = self._buffer[at:]
            self._at = at = 0
            while len(self._buffer) < AHEAD and (piece := self._more(_CHUNK)):
                self._buffer += piece
        return self._buffer[at : at + AHEAD]

    def take(self, passed: int, count: int) -> bytes:
        """Pass over some of the bytes ahead, take the next `count` and return them; fewer only at the end."""
        start = self._at + passed
        end = start + count
        buffer = self._buffer
        if end <= len(buffer):
            self._at = end
            return buffer[start:end]
        parts = [buffer[start:]]
        missing = count - len(parts[0])
        self._before += start
        self._at, self._buffer = 0, b""
        while missing and (piece := self._more(missing)):
            if len(piece) > missing:
                parts.append(piece[:missing])
                self._buffer, self._at = piece, missing
                missing = 0
                self._before += count - self._at
                return b"".join(parts)
            parts.append(piece)
            missing -= len(piece)
        self._before += count - missing
        return b"".join(parts)

    def skip(self, count: int) -> bool:
        """Pass over `count` bytes. Return False if there are not so many."""
        while count:
            passed = len(self.take(0, min(count, _CHUNK)))
            if not passed:
                return False
            count -= passed
        return True

    def _more(self, wanted: int) -> bytes:
        """Return the next bytes, as many as come at once; none at the end."""
        if self._file is not None:
            return _bytes(self._file.read(min(wanted, _MOST)))
        while True:
            try:
                piece = _bytes(next(self._pieces))
            except StopIteration:
                return b""
            if piece:
                return piece


def _bytes(piece: object) -> bytes:
    if type(piece) is bytes:
        return piece
    if piece is None:
        raise BadInput("Expected a file that waits for its bytes, found one that does not. Open it blocking.")
    try:
        return bytes(memoryview(piece))  # type: ignore[arg-type]
    except TypeError:
        raise BadInput(
            f"Expected an archive as bytes, found {type(piece).__name__}. Open the file in binary mode."
        ) from None


def length_at(head: bytes) -> tuple[int, int]:
    """Return the varint that stands first, and where it ends.

    Raises:
        BadCID: It has a shorter form, is longer than nine bytes or is cut off.
    """
    first = head[0]
    if first < 0x80:
        return first, 1
    if len(head) > 1 and 0 < head[1] < 0x80:
        return first & 0x7F | head[1] << 7, 2
    return varint(head, 0)


def cid_at(head: bytes, at: int) -> tuple[CID, int]:
    """Return the CID that stands at `at`, and where it ends (https://github.com/multiformats/cid, "Decoding").

    Raises:
        BadCID: It is none, or cut off.
        HashNotAllowed: The digest is cut short, or an identity is longer than 128 bytes.
    """
    end = at + 36
    if head[at : at + 4] in USUAL and end <= len(head):
        return unchecked(head[at:end]), end
    if head[at : at + 2] == b"\x12\x20":
        end = at + 34
    else:
        version, end = varint(head, at)
        if version != 1:
            raise BadCID(f"Expected a CID of version 0 or 1, found version {version}.")
        for _ in ("codec", "function"):
            _, end = varint(head, end)
        length, end = varint(head, end)
        end = min(end + length, len(head))
    return CID.from_bytes(head[at:end]), end
