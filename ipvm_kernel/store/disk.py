"""The database of a store on disk: one connection that reads, one that writes batches, and the limit on what is held."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
import weakref
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import apsw

from ipvm_kernel.errors import StoreBusy, StoreError, StoreFull, StoreReadOnly
from ipvm_kernel.ipld import CID
from ipvm_kernel.printable import size
from ipvm_kernel.store import room, schema, sql
from ipvm_kernel.store.files import FILE_BYTES, Files
from ipvm_kernel.store.quarantine import Quarantine
from ipvm_kernel.store.records import Usage
from ipvm_kernel.store.writer import Batch, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ipvm_kernel.store.records import Parcel

_DEFAULT_LIMIT: Final = 10 * 10**9


class Disk:
    """The database and the files of one store.

    Attributes:
        notices: Things to be said once.
        limit_bytes: What the store may hold.
        files: The files of large blocks.
        writer: What is on its way to disk.
        touched: What was read, and when; written with the next change.
        read_only: Why nothing is kept, or "".
        spared_seconds: What was made or used so lately is not dropped at the limit: a run may be about to ask for it.
    """

    spared_seconds = 60.0

    def __init__(self, folder: Path, *, limit_bytes: int | None = None) -> None:
        self.folder = folder
        self.notices: list[str] = []
        self.read_only = ""
        self.touched: dict[bytes, int] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if folder.stat().st_mode & 0o002:
                raise StoreReadOnly(
                    f"{folder} can be written by everybody, who could plant results: chmod o-w {folder}"
                )
            total = shutil.disk_usage(folder).total
        except OSError as error:
            raise StoreReadOnly(f"{folder} cannot be used: {error.strerror}") from error
        self.limit_bytes = limit_bytes if limit_bytes is not None else min(_DEFAULT_LIMIT, total // 10)
        self.path = folder / "store.db"
        self.files = Files(folder / "files")
        self._local = not schema.on_network(folder)
        self._full_at = self.limit_bytes
        self._held: int | None = None
        self._closed = False
        self._begin()
        self.rows("SELECT 1")  # what is wrong is said now
        self.register()

    def register(self) -> None:
        """Have this looked after when the process forks."""
        _disks.add(self)

    def _begin(self) -> None:
        """Begin, in this process or in the child of a fork."""
        self.writer = Writer(self._write)
        self._lock = threading.RLock()  # of the reading connection
        self._write_lock = threading.RLock()  # of the writing one; a commit holds up no reader
        self._reading: apsw.Connection | None = None
        self._writing: apsw.Connection | None = None

    def _open(self) -> apsw.Connection:
        if self._closed:
            raise StoreError(f"the store in {self.folder} was closed: open a new session")
        try:
            return schema.connect(self.path, local=self._local)
        except StoreReadOnly as error:
            if not self.path.exists():
                raise
            if not self.read_only:
                self.read_only = error.message
                self.notices.append(error.message)
            return schema.connect_read_only(self.path)

    def rows(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        """Return what a query finds."""
        with self._lock, schema.explained(self.path):
            if self._reading is None:
                self._reading = self._open()
            return self._reading.execute(statement, bindings).fetchall()

    @contextlib.contextmanager
    def changing(self) -> Iterator[apsw.Connection]:
        """Give the connection that writes, inside a transaction that is durable at the end of the block.

        It is begun and ended by statements: apsw's own `with connection` keeps the interpreter's lock while the disk
        works, and everything else in this process stands still.
        """
        with self._write_lock, schema.explained(self.path):
            if self.read_only:
                raise StoreReadOnly(self.read_only)
            if self._writing is None:
                self._writing = self._open()
            connection = self._writing
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def change(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """Change something, durably, and return how many rows were changed."""
        with self.changing() as connection:
            before = connection.total_changes()
            connection.executemany(statement, rows)
            return connection.total_changes() - before

    def bring(self, parcel: Parcel) -> None:
        """Take in a parcel, all of it or nothing; durable when this returns."""
        self.sync()
        if self.read_only:
            raise StoreReadOnly(self.read_only)
        with Quarantine(self.files) as quarantine:
            quarantine.take(parcel)
            try:
                self._move(quarantine)
            except StoreBusy as error:
                raise StoreBusy(f"{error.message}. Nothing of what was brought was kept") from error
            except StoreFull as error:
                raise StoreFull(
                    f"no space left in {self.folder} for what was brought: nothing of it was kept. Make room, then try again"
                ) from error

    def _move(self, quarantine: Quarantine) -> None:
        with self._write_lock, schema.explained(self.path):
            if self._writing is None:
                self._writing = self._open()
            connection = self._writing
            connection.execute("ATTACH ? AS parcel", (str(quarantine.rows),))
            try:
                with self.changing():
                    quarantine.move(connection, int(time.time()))
            except BaseException as error:
                if not isinstance(error.__cause__, apsw.IOError):  # after one nobody knows whether rows will be there
                    quarantine.undo(connection)
                raise
            finally:
                try:
                    connection.execute("DETACH parcel")
                except apsw.Error:  # something went very wrong: begin anew
                    connection.close()
                    self._writing = None
            if self._held is not None:
                self._held += quarantine.taken  # at most; what was here already is counted twice
                self._held = self._held if self._held <= self._full_at else None

    def _write(self, batch: Batch) -> None:
        """Make a batch durable: its files first, then all its rows in one transaction. The writer calls this."""
        now = int(time.time())
        rows: list[tuple[Any, ...]] = []
        large = dict(batch.files)
        with schema.explained(self.path):
            try:
                for cid, (block, role) in batch.blocks.items():
                    length = len(block.data)
                    if length > FILE_BYTES:
                        self.files.put(cid, block.data)
                        large[cid] = (length, role)
                    else:
                        rows.append((cid.bytes, length, schema.INLINE, role, now, block.data))
                gone = self.files.settle(large)
            except OSError as error:
                raise StoreFull(
                    f"{self.files.folder} could not be written ({error.strerror}): results are shown but not kept. "
                    f"Make room, then run `ipvm gc`"
                ) from error
        rows += [
            (cid.bytes, length, schema.ON_DISK, role, now, None)
            for cid, (length, role) in large.items()
            if cid not in gone  # another kernel made room, and took it for one of its own
        ]
        with self.changing() as connection:
            sql.insert(connection, sql.INSERT_BLOCK, rows)
            sql.insert(connection, sql.INSERT_RECEIPT, [sql.receipt_row(found) for found in batch.receipts])
            sql.insert(
                connection,
                sql.INSERT_OUTCOME,
                [(key, f.instruction.bytes, f.cid.bytes) for key, f in batch.outcomes.items()],
            )
            if batch.edges:
                here = {row[0] for row in rows}
                rest = {end.bytes for edge in batch.edges for end in (edge.target, edge.source)} - here
                sql.insert(connection, sql.INSERT_END, [(raw,) for raw in rest])
                sql.insert(connection, sql.INSERT_EDGE, sql.edge_rows(batch.edges))
            sql.insert(connection, sql.INSERT_NAME, sql.name_rows(batch.names))
            pairs = [(receipt.bytes, cid.bytes) for receipt, cid in batch.attestations]
            sql.insert(connection, sql.INSERT_ATTESTATION, pairs)
            sql.insert(connection, sql.INSERT_CELL, [sql.cell_row(cell) for cell in batch.cells])
            sql.insert(connection, sql.INSERT_RUN, [sql.run_row(run) for run in batch.runs])
            sql.insert(connection, sql.INSERT_ENTRY, [sql.entry_row(entry) for entry in batch.entries])
            if self._held is None:
                self._held = room.held_bytes(connection)
            else:
                self._held += sum(row[1] for row in rows)
        if self._held > self._full_at:
            with contextlib.suppress(StoreError):  # the batch is on disk, and that is what was asked for
                self._make_room_at_limit()

    def _make_room_at_limit(self) -> None:
        dropped = self.make_room(self.limit_bytes * 9 // 10, older=self.spared_seconds)
        if dropped.count and self._full_at == self.limit_bytes:
            self.notices.append(
                f"the store reached its limit of {size(self.limit_bytes)}: {dropped.count:,} results of pure tasks were "
                f"dropped and will be worked out again when they are asked for. `ipvm store` shows what is kept"
            )
        # What is left may all be precious; to look through it again with every batch would help nobody.
        self._full_at = max(self.limit_bytes + 1, (self._held or 0) + self.limit_bytes // 20)

    def make_room(self, target: int, *, older: float | None = None, dry_run: bool = False) -> room.Dropped:
        """Drop values until the store holds `target` bytes; what the pins reach stays."""
        self._note_use()
        with self.changing() as connection:
            dropped = room.find(connection, self.files, target=target, older=older)
            if not dry_run:
                room.drop(connection, self.files, dropped.cids)
            self._held = room.held_bytes(connection)
        if not dry_run:  # the rows first: a file without a row is a stray, a row without a file would be a lie
            for cid in dropped.cids:
                self.files.drop(cid)
            self._sweep()
        return dropped

    def _sweep(self) -> None:
        """Remove what crashes left: what is half written, and files that have no row. Rows may come for an hour."""
        for stray in self.files.strays():
            if stray.is_dir():
                shutil.rmtree(stray, ignore_errors=True)
            else:
                stray.unlink(missing_ok=True)
        old = self.files.old()
        while some := dict(islice(old, 256)):
            named = {cid.bytes: path for cid, path in ((CID.from_canonical(name), some[name]) for name in some) if cid}
            if not self._without_row(named):
                continue
            with self.changing():  # no row can come meanwhile
                for raw in self._without_row(named):
                    named[raw].unlink(missing_ok=True)

    def _without_row(self, raws: Iterable[bytes]) -> set[bytes]:
        """Return which of some CIDs have neither a row as a file nor one on its way."""
        with self.writer.lock:
            waiting = {cid.bytes for batch in self.writer.batches() for cid in (*batch.files, *batch.blocks)}
        found = {raw for (raw,) in self.rows(sql.FILES, (json.dumps([raw.hex() for raw in raws]),))}
        return set(raws) - found - waiting

    def _note_use(self) -> None:
        touched, self.touched = self.touched, {}
        if touched:
            self.change(sql.TOUCH, [(when, raw) for raw, when in list(touched.items())])

    def usage(self) -> Usage:
        """Return what is held, as of the last commit."""
        held: dict[str, Any] = dict(room.held(self.rows))
        return Usage(where=str(self.folder), limit_bytes=self.limit_bytes, read_only=self.read_only, **held)

    def sync(self) -> None:
        """Return once everything gathered so far is durable."""
        if not self.read_only:
            self.writer.sync()

    def close(self) -> None:
        """Make everything durable and close the connections. Closing twice does no harm."""
        if self._closed:
            return
        try:
            if not self.read_only:
                self.writer.stop()
                with contextlib.suppress(StoreError):  # when something was used is no loss
                    self._note_use()
        finally:
            self._closed = True
            _disks.discard(self)
            with self._write_lock, self._lock:
                self._disconnect()

    def _disconnect(self) -> None:
        for connection in (self._reading, self._writing):
            if connection is not None:
                connection.close()
        self._reading = self._writing = None

    # --- forks --------------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Let go of the database: SQLite would believe in the child that its locks are there, and they are not."""
        with contextlib.suppress(StoreError):
            self.sync()
        self._write_lock.acquire()
        self._lock.acquire()
        self.writer.lock.acquire()
        self._disconnect()

    def after_fork(self, *, child: bool) -> None:
        """Go on; the database is opened again when it is needed."""
        if child:
            self._begin()
            return
        self.writer.lock.release()
        self._lock.release()
        self._write_lock.release()


_disks: Final[weakref.WeakSet[Disk]] = weakref.WeakSet()
_forking: Final[list[Disk]] = []  # those that `_before_fork` met
_one_fork = threading.Lock()


def _before_fork() -> None:
    _one_fork.acquire()
    _forking[:] = list(_disks)
    for disk in _forking:
        disk.before_fork()


def _after_fork(*, child: bool) -> None:
    for disk in _forking:
        disk.after_fork(child=child)
    _forking.clear()
    _one_fork.release()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=lambda: _after_fork(child=False),
    after_in_child=lambda: _after_fork(child=True),
)
