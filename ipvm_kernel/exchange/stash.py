"""Blocks that came before somebody asked for them: in memory at first, in a temporary file when they are many."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import LimitExceeded
from ipvm_kernel.printable import size

if TYPE_CHECKING:
    from ipvm_kernel.ipld import CID

_IN_MEMORY: Final = 8 << 20


class Stash:
    """Blocks that were checked and are not needed yet.

    Args:
        most: Bytes of all of them, at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places: dict[CID, tuple[int, int]] = {}
        self._end = 0
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, prefix="ipvm-")  # noqa: SIM115 - see close()

    def keep(self, cid: CID, data: bytes) -> None:
        """Keep a block.

        Raises:
            LimitExceeded: They are too many. All are let go then: whoever sent them sent what nobody asked for.
        """
        if cid in self._places:
            return
        if self._end + len(data) > self._most:
            self._places.clear()
            self._end = 0
            self._file.seek(0)
            self._file.truncate()
            raise LimitExceeded(f"expected at most {size(self._most)} of blocks, found more")
        self._file.seek(self._end)
        self._file.write(data)
        self._places[cid] = (self._end, len(data))
        self._end += len(data)

    def __contains__(self, cid: CID) -> bool:
        return cid in self._places

    def get(self, cid: CID) -> bytes | None:
        """Return a block, or None."""
        place = self._places.get(cid)
        if place is None:
            return None
        self._file.seek(place[0])
        return self._file.read(place[1])

    def close(self) -> None:
        """Let all of them go."""
        self._places.clear()
        self._file.close()
