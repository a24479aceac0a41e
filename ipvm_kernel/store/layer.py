"""A layer: a store that somebody else prepared, which is read and never written.

Nothing is made or changed in its folder. Its owner may write to it meanwhile; where no write-ahead log can be opened, the
database is read as it lies, and read again if it changed under the reader.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import apsw

from ipvm_kernel.errors import StoreBusy, StoreDamaged, StoreError, StoreReadOnly
from ipvm_kernel.store import schema
from ipvm_kernel.store.disk import Disk
from ipvm_kernel.store.files import Files
from ipvm_kernel.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ipvm_kernel.ipld import CID

_TRIES: Final = 10
_HEADER_BYTES: Final = 100  # of an SQLite database: https://sqlite.org/fileformat2.html, section 1.3


class Layer(SqliteStore):
    """A store that is only read."""

    def __init__(self, folder: Path) -> None:
        """Open a layer.

        Raises:
            StoreError: There is no store that can be read, it is of a newer ipvm, or everybody may write it.
        """
        self.folder = folder
        try:
            self._reader = _Reader(folder)
        except OSError as error:
            raise StoreError(f"{folder} cannot be read: {error.strerror}") from error
        self._disk = self._reader
        self._checked = set()
        self._closed = False

    @property
    def own(self) -> bool:
        """True if its receipts count as those of the reader: he cannot write it, and it belongs to root or to him."""
        return not self._reader.strange

    @property
    def strange(self) -> str:
        """Why its receipts do not count as the reader's own, or ""."""
        return self._reader.strange

    def _is_there(self, cid: CID) -> bool:
        return os.access(self.files.path(cid), os.R_OK)

    def close(self) -> None:
        """Let go of the files."""
        self._disk.close()


def _strange(folder: Path) -> str:
    """Return why the receipts of a layer do not count as the reader's own, or "".

    Raises:
        StoreReadOnly: Everybody may write it, so that nobody can say where anything in it is from.
        OSError: It cannot be looked at.
    """
    database, reason = folder / "store.db", ""
    for path in (folder, database, *(database.with_name(f"store.db-{end}") for end in ("wal", "shm"))):
        try:
            found = path.stat()
        except FileNotFoundError:
            if path == database:
                raise StoreError(f"{folder} is no store of ipvm: it has no store.db") from None
            if path == folder:
                raise StoreError(f"{folder} is not there") from None
            continue
        if found.st_mode & 0o002:
            raise StoreReadOnly(f"{path} can be written by everybody, who could plant results: chmod o-w {path}")
        if found.st_uid not in {0, os.geteuid()}:
            reason = reason or f"{path} belongs to somebody else than you and root"
        elif _writable(path, found.st_mode):
            reason = reason or f"you can write {path}"
    return reason


def _writable(path: Path, mode: int) -> bool:
    """Return True if this process may write a file or folder; root, who always may, if anybody may."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return False
    if not os.geteuid():
        return bool(mode & 0o222)
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


class _Reader(Disk):
    """The database of a layer."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "store.db"
        self.notices: list[str] = []
        self.read_only = f"{folder} is a layer: it is read, and never written"
        self.touched = _Forgetful()
        self.limit_bytes = 0
        self.files = Files(folder / "files")
        self.strange = _strange(folder)
        self._local = not schema.on_network(folder)
        self._closed = False
        self._stamp: tuple[int, ...] = ()
        self._as_it_lies = False
        self._begin()
        self.rows("SELECT 1")
        self.register()

    def rows(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        """Return what a query finds, in one state of the database."""
        with self._lock, schema.explained(self.path):
            for attempt in range(_TRIES):
                stamp = self._look()
                if self._reading is None or stamp != self._stamp:
                    self._open_anew()
                    stamp = self._stamp
                try:
                    assert self._reading is not None
                    found = self._reading.execute(statement, bindings).fetchall()
                except apsw.InterruptError:  # it would take as long again
                    raise
                except apsw.Error:
                    if attempt == _TRIES - 1 or self._look() == stamp:
                        raise
                else:
                    if self._look() == stamp:
                        return found
                self._stamp = ()
        raise StoreBusy(f"{self.path} changed again and again while it was read. Try again")

    def _look(self) -> tuple[int, ...]:
        """Return what tells whether the database that is open is still the one that is there."""
        if self._closed:
            raise StoreError(f"the store in {self.folder} was closed: open a new session")
        try:
            found = os.stat(self.path)  # noqa: PTH116 - with every query
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read any more: {error.strerror}") from error
        if not self._as_it_lies:  # SQLite itself sees to changes; but another file may have taken its name
            return (found.st_dev, found.st_ino)
        log = os.path.exists(f"{self.path}-wal")  # noqa: PTH110
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, log)

    def _open_anew(self) -> None:
        self._disconnect()
        self.strange = _strange(self.folder)  # each time: it may be another folder now
        options = self._options()
        self._as_it_lies = "immutable" in options
        self._stamp = self._look()
        try:
            self._reading = schema.open_read_only(self.path, options)
        except apsw.SQLError:
            raise StoreDamaged(f"{self.path} is no store of ipvm") from None
        self._check_version(self._reading.pragma("user_version"))

    def _check_version(self, found: int) -> None:
        if found > schema.VERSION:
            raise StoreReadOnly(
                f"{self.path} was written by a newer ipvm (store version {found}; this one knows {schema.VERSION}). "
                "Upgrade with: pip install -U ipvm"
            )

    def _options(self) -> str:
        """Return how the database is opened, so that nothing is made beside it."""
        with self.path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        if header[:16] != b"SQLite format 3\0":
            raise StoreDamaged(f"{self.path} is no store of ipvm")
        self._check_version(int.from_bytes(header[60:64], "big"))
        if header[18:19] != b"\x02":  # no write-ahead log
            return "mode=ro"
        log, index = (self.path.with_name(f"store.db-{end}") for end in ("wal", "shm"))
        try:
            length = log.stat().st_size
        except FileNotFoundError:
            return "mode=ro&immutable=1"
        if self._local and os.access(log, os.R_OK) and os.access(index, os.R_OK):
            return "mode=ro" if index.stat().st_mode & 0o222 else "mode=ro&readonly_shm=1"
        if length:
            raise StoreReadOnly(
                f"{log} holds what was not written back to the database, and cannot be read: let its owner open it once"
            )
        return "mode=ro&immutable=1"


class _Forgetful(dict[bytes, int]):
    """When something was used, which a layer does not write down."""

    def __setitem__(self, key: bytes, value: int) -> None:
        pass

    def update(self, *_: Iterable[tuple[bytes, int]]) -> None:  # type: ignore[override]
        pass
