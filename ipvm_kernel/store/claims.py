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

    Locks of this kind belong to the process: closing any descriptor of the file would drop them all, so one stays open,
    and the threads of this process are kept apart by a set.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: set[int] = set()
        self._lock = threading.Lock()
        self._pid = 0
        self._file = -1

    def take(self, key: bytes) -> FileClaim | None:
        """Return a claim on the task with this key, or None while somebody has it."""
        place = int.from_bytes(key[:8], "little") & _PLACES
        with self._lock:
            if self._pid != os.getpid():  # a fork inherits neither the locks nor our set
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                self._pid = os.getpid()
                self._held.clear()
            if place in self._held:
                return None
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
            except (BlockingIOError, PermissionError):
                return None
            self._held.add(place)
        return FileClaim(self, place)

    def drop(self, place: int) -> None:
        """Let go of a place."""
        with self._lock:
            if place in self._held:
                self._held.discard(place)
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            if self._file >= 0 and self._pid == os.getpid():
                os.close(self._file)
            self._file, self._pid = -1, 0
            self._held.clear()


class FileClaim:
    """The right to run one task."""

    __slots__ = ("_claims", "_place")

    def __init__(self, claims: Claims, place: int) -> None:
        self._claims, self._place = claims, place

    def release(self) -> None:
        """Let go."""
        self._claims.drop(self._place)
