"""The bytes of a file that are not in memory: they are read where they are needed, once, and straight into place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import StoreDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PART_BYTES: Final = 64 << 20


class FileBytes:
    """A file of bytes, held open, so that it can be read even if its name is gone by then. Any threads may read it.

    It is read by calls of the system and not through a memory map: a map takes the memory of the whole once more while
    it is copied, and ends the process if the file is cut short under it.
    """

    __slots__ = ("_descriptor", "_path", "_size")

    def __init__(self, path: Path) -> None:
        """Open a file.

        Raises:
            OSError: It cannot be opened.
        """
        self._path = path
        self._descriptor = -1
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._descriptor).st_size

    def __len__(self) -> int:
        return self._size

    def __reduce__(self) -> tuple[type[FileBytes], tuple[Path]]:
        return FileBytes, (self._path,)  # another process opens it again: the bytes are never sent

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def into(self, room: memoryview | bytearray) -> None:
        """Read all of it into `room`, which has as many bytes.

        Raises:
            StoreDamaged: The file has become shorter meanwhile.
        """
        view, at = memoryview(room).cast("B"), 0
        while at < self._size:
            count = os.preadv(self._descriptor, [view[at : min(at + _PART_BYTES, self._size)]], at)
            if not count:
                raise self._shorter(at)
            at += count

    def read(self) -> bytes:
        """Return all of it.

        Raises:
            StoreDamaged: As `into` does.
        """
        parts, at = [], 0
        while at < self._size:
            part = os.pread(self._descriptor, min(_PART_BYTES, self._size - at), at)
            if not part:
                raise self._shorter(at)
            parts.append(part)
            at += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def pieces(self, count: int) -> Iterator[bytes]:
        """Yield all of it, `count` bytes at a time.

        Raises:
            StoreDamaged: As `into` does.
        """
        for at in range(0, self._size, count):
            part = os.pread(self._descriptor, count, at)
            if len(part) < min(count, self._size - at):
                raise self._shorter(at + len(part))
            yield part

    def _shorter(self, at: int) -> StoreDamaged:
        return StoreDamaged(
            f"{self._path} became shorter while it was read: expected {self._size:,} bytes, found {at:,}"
        )
