"""Claims: of several kernels that want the same task, one runs it and the others wait for its receipt.

A claim is a lock on one byte of one file, the byte's place taken from the task's resolved key. The system lets go of it
when the process ends, however it ends, so no claim outlives its holder (RULES 7).
"""

from __future__ import annotations

import fcntl
import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_PLACES: Final = (1 << 62) - 1


class Claims:
    """The claims of this process on one store.

    Locks of this kind belong to the process: closing any descriptor of the file drops them all. So there is one of this
    for each file, shared by the stores of this process that use it (`open`), and threads are kept apart by a set.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._users = 0
        self._begin()

    def _begin(self) -> None:
        self._held: set[int] = set()
        self._lock = threading.Lock()
        self._file = -1

    @classmethod
    def open(cls, path: Path) -> Claims:
        """Return the claims on the store whose lock file is `path`; `close` them as often."""
        folder = path.parent.stat()
        with _opening:
            found = _opened.setdefault((folder.st_dev, folder.st_ino), cls(path))
            found._users += 1  # noqa: SLF001 - of this class
        return found

    def take(self, key: bytes) -> Claim | None:
        """Return a claim on the task with this key, or None while somebody has it.

        Raises:
            OSError: The file cannot be locked.
        """
        place = int.from_bytes(key[:8], "little") & _PLACES
        with self._lock:
            if place in self._held:
                return None
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except (BlockingIOError, PermissionError):
                return None
            self._held.add(place)
        return Claim(self, place)

    def drop(self, place: int) -> None:
        """Let go of a place."""
        with self._lock:
            if place in self._held:
                self._held.discard(place)
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        """Let go of everything, once nobody in this process uses it."""
        with _opening:
            self._users -= 1
            if self._users > 0:
                return
            for key in [key for key, claims in _opened.items() if claims is self]:
                del _opened[key]
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
            self._held.clear()

    def forked(self) -> None:
        """Begin anew in the child of a fork, which inherits the file but none of the locks."""
        if self._file >= 0:
            os.close(self._file)
        self._begin()


class Claim:
    """The right to run one task. Letting go twice does no harm."""

    __slots__ = ("_claims", "_place")

    def __init__(self, claims: Claims, place: int) -> None:
        self._claims: Claims | None = claims
        self._place = place

    def release(self) -> None:
        """Let go."""
        claims, self._claims = self._claims, None
        if claims is not None:
            claims.drop(self._place)


_opened: Final[dict[tuple[int, int], Claims]] = {}
_opening = threading.Lock()


def _after_fork() -> None:
    global _opening  # another thread may have held it
    _opening = threading.Lock()
    for claims in _opened.values():
        claims.forked()


os.register_at_fork(after_in_child=_after_fork)
