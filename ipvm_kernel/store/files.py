"""Bytes too large for the database: one file each, named by its CID, there whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, file_cid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ipvm_kernel.ipld import CID

FILE_BYTES: Final = 65_536
"""A block of more bytes than this is a file of its own."""

LOCK: Final = "lock"
"""A file in a folder that is being filled, locked by whoever fills it."""

_NEW: Final = ".new-"
_STALE_SECONDS: Final = 3600
_PART_BYTES: Final = 1 << 20


class Files:
    """A folder of files named by CID, spread over 256 folders by the last two characters of their names.

    Where others may read the store, such as a class the one that its teacher fills, they may read its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._others = folder.parent.stat().st_mode & 0o055
        except OSError:
            self._others = 0

    def path(self, cid: CID) -> Path:
        """Return where the bytes of `cid` are, or would be."""
        name = str(cid)
        return self.folder / name[-2:] / name

    def holds(self, cid: CID, data: bytes) -> bool:
        """Return True if these bytes are there under this name."""
        try:
            path = self.path(cid)
            return path.stat().st_size == len(data) and _equal(path, data)
        except OSError:
            return False

    def put(self, cid: CID, data: bytes) -> None:
        """Write bytes beside their place, and rename them into it. `settle` makes that durable."""
        with self._new() as path:
            path.write_bytes(data)
            self.place(path, self.path(cid))

    def put_view(self, data: memoryview) -> CID:
        """Write bytes out of somebody's memory, hash them on the way, and return their CID.

        It is of what was written, so memory that changes meanwhile does no harm.
        """
        with self._new() as path:
            with path.open("wb") as file:
                cid = file_cid(_written(data, file))
            self.place(path, self.path(cid))
        return cid

    def put_path(self, source: Path) -> tuple[CID, int]:
        """Copy a file of the user's while its CID is worked out; return that and its size.

        The CID is of what was copied, so a file that changes meanwhile does no harm.
        """
        with self._new() as path:
            with source.open("rb") as original, path.open("wb") as copy:
                shutil.copyfileobj(original, copy, 1 << 20)
            cid, size = file_cid(path), path.stat().st_size
            self.place(path, self.path(cid))
        return cid, size

    def place(self, path: Path, target: Path) -> None:
        """Rename a file into its place."""
        try:
            path.replace(target)
        except FileNotFoundError:
            self._make_folder(target.parent)
            path.replace(target)

    def _make_folder(self, path: Path) -> None:
        path.mkdir(exist_ok=True, mode=0o700 | self._others)

    def create(self, path: Path) -> BinaryIO:
        """Return a new file in a folder of `new_folder`, to be written and moved in later."""
        return open(
            path, "xb", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600 | self._others & 0o044)
        )

    def new_folder(self) -> Path:
        """Return a new folder beside the files, for what moves in later."""
        self._make_folder(self.folder)
        return Path(tempfile.mkdtemp(dir=self.folder, prefix=_NEW))

    @contextlib.contextmanager
    def _new(self) -> Iterator[Path]:
        """Give a new file, which is gone at the end unless it was renamed."""
        try:
            descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=_NEW)
        except FileNotFoundError:
            self._make_folder(self.folder)
            descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=_NEW)
        if self._others:
            os.fchmod(descriptor, 0o600 | self._others & 0o044)
        os.close(descriptor)
        path = Path(name)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def settle(self, cids: Collection[CID]) -> set[CID]:
        """Return once files written before are durable, with their names; return those that are gone meanwhile.

        Raises:
            OSError: One could not be made durable. It is written anew, since after such an error nobody knows what the
                disk has of it, however often it is asked again.
        """
        gone = set()
        for cid in cids:
            path = self.path(cid)
            try:
                sync_path(path)
            except FileNotFoundError:
                gone.add(cid)
            except OSError:
                self.put(cid, path.read_bytes())
                raise
        folders = {self.path(cid).parent for cid in cids}
        for folder in [*folders, self.folder, self.folder.parent] if folders else ():
            with contextlib.suppress(FileNotFoundError):
                sync_path(folder)
        return gone

    def read(self, cid: CID) -> bytes:
        """Return the bytes of a file. Raises FileNotFoundError."""
        return self.path(cid).read_bytes()

    def drop(self, cid: CID) -> None:
        """Remove a file."""
        self.path(cid).unlink(missing_ok=True)

    def touch(self, cid: CID) -> None:
        """Make a file new, so that nobody takes it for one that a crash left."""
        os.utime(self.path(cid))

    def strays(self) -> Iterator[Path]:
        """Yield files and folders that a crash left half written."""
        for path in self.folder.glob(f"{_NEW}*"):
            if _is_old(path) and not _is_filled(path):
                yield path

    def old(self) -> Iterator[tuple[str, Path]]:
        """Yield files that have been here for a while, with the names of their CIDs."""
        for path in self.folder.glob("[a-z0-9][a-z0-9]/*"):
            if _is_old(path):
                yield path.name, path


def _is_old(path: Path) -> bool:
    try:
        return path.stat().st_mtime < time.time() - _STALE_SECONDS
    except OSError:
        return False


def _is_filled(folder: Path) -> bool:
    """Return True if somebody fills a folder at this moment."""
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _written(data: memoryview, file: BinaryIO) -> Iterator[memoryview]:
    """Yield copies of the parts of some bytes, each written to a file. One is good until the next is asked for."""
    room = memoryview(bytearray(min(CHUNK_BYTES, len(data))))
    for start in range(0, len(data), CHUNK_BYTES):
        part = data[start : start + CHUNK_BYTES]
        copy = room[: len(part)]
        copy[:] = part
        file.write(copy)
        yield copy


def _equal(path: Path, data: bytes) -> bool:
    """Return True if a file holds these bytes; no more than a part of it is in memory at once."""
    view, room, at = memoryview(data), bytearray(_PART_BYTES), 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(room):
            part = room if count == len(room) else room[:count]
            if part != view[at : at + count]:
                return False
            at += count
    return at == len(view)


def sync_path(path: Path) -> None:
    """Return once a file, or the names in a folder, are durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
