"""Bytes too large for the database: one file each, named by its CID, there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipvm_kernel.ipld.unixfs import file_cid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.ipld import CID

_NEW: Final = ".new-"
_STALE_SECONDS: Final = 3600


class Files:
    """A folder of files named by CID, spread over 1,024 folders by the last two characters of their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, cid: CID) -> Path:
        """Return where the bytes of `cid` are, or would be."""
        name = str(cid)
        return self.folder / name[-2:] / name

    def put(self, cid: CID, data: bytes) -> None:
        """Write bytes beside their place, and rename them into it. `settle` makes that durable."""
        target = self.path(cid)
        if target.exists() and target.stat().st_size == len(data):
            return
        with self._new(target) as path, path.open("wb") as file:
            file.write(data)

    def put_path(self, source: Path) -> tuple[CID, int]:
        """Copy a file of the user's while its CID is worked out; return that and its size.

        The CID is of what was copied, so a file that changes meanwhile does no harm.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=self.folder, prefix=_NEW)
        path = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as copy, source.open("rb") as original:
                shutil.copyfileobj(original, copy, 1 << 20)
            cid, size = file_cid(path), path.stat().st_size
            target = self.path(cid)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        return cid, size

    def settle(self, cids: list[CID]) -> None:
        """Return once files written before are durable: each file, then each folder that names them."""
        folders = set()
        for cid in cids:
            path = self.path(cid)
            _sync(path, os.O_RDONLY)
            folders.add(path.parent)
        for folder in folders:
            _sync(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))

    def read(self, cid: CID) -> bytes:
        """Return the bytes of a file. Raises FileNotFoundError."""
        return self.path(cid).read_bytes()

    def drop(self, cid: CID) -> None:
        """Remove a file."""
        with contextlib.suppress(FileNotFoundError):
            self.path(cid).unlink()

    def strays(self) -> Iterator[Path]:
        """Yield files that a crash left half written."""
        horizon = time.time() - _STALE_SECONDS
        for path in [*self.folder.glob(f"{_NEW}*"), *self.folder.glob(f"*/{_NEW}*")]:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < horizon:
                    yield path

    @contextlib.contextmanager
    def _new(self, target: Path) -> Iterator[Path]:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=_NEW)
        os.close(descriptor)
        path = Path(name)
        try:
            yield path
            path.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
