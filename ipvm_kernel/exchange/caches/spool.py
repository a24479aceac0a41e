"""The blocks of an archive, checked, in a temporary file: to be asked for one by one, or put elsewhere."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Final, Self

from ipvm_kernel.ipld.car import Archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipvm_kernel.ipld import CID

_IN_MEMORY: Final = 1 << 20


class Spool:
    """The blocks of an archive. It is whole or not made at all.

    Args:
        pieces: The bytes of the archive.
        most: How many blocks it may have.

    Attributes:
        roots: The roots of the archive.

    Raises:
        Malformed, Mismatch, LimitExceeded: As `Archive` does.
    """

    def __init__(self, pieces: Iterable[bytes], most: int) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="ipvm-")  # noqa: SIM115 - closed by `close`
        self._places: dict[CID, tuple[int, int]] = {}
        self.size = 0
        try:
            archive = Archive(iter(pieces), most=most)
            self.roots = archive.roots
            for piece in archive:
                if piece.cid not in self._places:
                    self._places[piece.cid] = (self.size, len(piece.data))
                    self._file.write(piece.data)
                    self.size += len(piece.data)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[CID]:
        return iter(self._places)

    def __contains__(self, cid: CID) -> bool:
        return cid in self._places

    def get(self, cid: CID) -> bytes | None:
        """Return the bytes of a block, or None if it is not in here."""
        place = self._places.get(cid)
        if place is None or self._file.closed:
            return None
        self._file.seek(place[0])
        return self._file.read(place[1])

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
