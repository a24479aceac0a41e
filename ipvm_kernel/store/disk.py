"""The database of a store on disk: one connection that reads, one that writes batches, and the limit on what is held."""

from __future__ import annotations

import os
import shutil
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import apsw

from ipvm_kernel.errors import StoreReadOnly
from ipvm_kernel.printable import size
from ipvm_kernel.store import room, schema, sql
from ipvm_kernel.store.base import Usage
from ipvm_kernel.store.files import Files
from ipvm_kernel.store.writer import Batch, Writer

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.ipld import CID

FILE_BYTES: Final = 65_536
"""A block of more bytes than this is a file of its own."""

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
    """

    def __init__(self, folder: Path, *, limit_bytes: int | None = None) -> None:
        self.folder = folder
        self.notices: list[str] = []
        self.read_only = ""
        self.touched: dict[CID, int] = {}
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
        self._lock = threading.RLock()  # of the reading connection
        self._write_lock = threading.RLock()  # of the writing one; a commit holds up no reader
        self._held: int | None = None
        self._open()

    def _open(self) -> None:
        """Connect, and again after a fork: a connection does not survive one."""
        self._pid = os.getpid()
        self._writing: apsw.Connection | None = None
        self.writer = Writer(self._write)
        try:
            self._reading = schema.connect(self.path, local=self._local)
        except StoreReadOnly as error:
            if not self.path.exists():
                raise
            self._reading = schema.connect_read_only(self.path)
            self.read_only = error.message
            self.notices.append(error.message)

    def rows(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        """Return what a query finds."""
        if self._pid != os.getpid():
            self._open()
        with self._lock, schema.explained(self.path):
            return self._reading.execute(statement, bindings).fetchall()

    def change(self, statement: str, bindings: tuple[Any, ...]) -> None:
        """Change one thing, durably."""
        connection = self._connection()
        with self._write_lock, schema.explained(self.path), connection:
            connection.execute(statement, bindings)

    def _connection(self) -> apsw.Connection:
        if self.read_only:
            raise StoreReadOnly(self.read_only)
        if self._writing is None:
            self._writing = schema.connect(self.path, local=self._local)
        return self._writing

    def _write(self, batch: Batch) -> None:
        """Make a batch durable: its files first, then all its rows in one transaction. The writer calls this."""
        now = int(time.time())
        rows: list[tuple[Any, ...]] = []
        on_disk = list(batch.files)
        with schema.explained(self.path):
            try:
                for cid, (block, role) in batch.blocks.items():
                    length = len(block.data)
                    if length > FILE_BYTES:
                        self.files.put(cid, block.data)
                        on_disk.append(cid)
                        rows.append((cid.bytes, length, schema.ON_DISK, role, now, None))
                    else:
                        rows.append((cid.bytes, length, schema.INLINE, role, now, block.data))
                self.files.settle(on_disk)
            except OSError as error:
                raise apsw.FullError(error.strerror) from error
            rows += [
                (cid.bytes, length, schema.ON_DISK, role, now, None) for cid, (length, role) in batch.files.items()
            ]
            connection = self._connection()
            with self._write_lock, connection:
                connection.executemany(sql.INSERT_BLOCK, rows)
                connection.executemany(sql.INSERT_RECEIPT, [sql.receipt_row(found) for found in batch.receipts])
                connection.executemany(
                    sql.INSERT_OUTCOME, [(key, f.instruction.bytes, f.cid.bytes) for key, f in batch.outcomes.items()]
                )
                connection.executemany(sql.INSERT_RUN, [sql.run_row(run) for run in batch.runs])
                connection.executemany(sql.INSERT_ENTRY, [sql.entry_row(entry) for entry in batch.entries])
            if self._held is None:
                self._held = room.held_bytes(connection)
            else:
                self._held += sum(row[1] for row in rows)
        if self._held > self.limit_bytes:
            self._make_room_at_limit()

    def _make_room_at_limit(self) -> None:
        dropped = self.make_room(self.limit_bytes * 9 // 10)
        if dropped.count:
            self.notices.append(
                f"the store reached its limit of {size(self.limit_bytes)}: {dropped.count:,} results of pure tasks were "
                f"dropped and will be worked out again when they are asked for. `ipvm store` shows what is kept"
            )

    def make_room(self, target: int, *, older: float | None = None, dry_run: bool = False) -> room.Dropped:
        """Drop values until the store holds `target` bytes; what the pins reach stays."""
        self._note_use()
        connection = self._connection()
        with self._write_lock, schema.explained(self.path):
            dropped = room.make(
                connection,
                self.files,
                target=target,
                kept=room.pinned(connection, self.files),
                older=older,
                dry_run=dry_run,
            )
            if not dry_run:
                for stray in self.files.strays():
                    stray.unlink(missing_ok=True)
            self._held = room.held_bytes(connection)
        return dropped

    def _note_use(self) -> None:
        if not self.touched:
            return
        touched, self.touched = self.touched, {}
        connection = self._connection()
        with self._write_lock, schema.explained(self.path), connection:
            connection.executemany(sql.TOUCH, [(when, cid.bytes) for cid, when in touched.items()])

    def usage(self) -> Usage:
        """Return what is held, as of the last commit."""
        return Usage(
            where=str(self.folder), limit_bytes=self.limit_bytes, read_only=self.read_only, **room.held(self.rows)
        )

    def sync(self) -> None:
        """Return once everything gathered so far is durable."""
        if not self.read_only and self._pid == os.getpid():
            self.writer.sync()

    def close(self) -> None:
        """Make everything durable and close the connections."""
        if self._pid != os.getpid():
            return
        try:
            if not self.read_only:
                self.writer.stop()
                self._note_use()
        finally:
            self._reading.close()
            if self._writing is not None:
                self._writing.close()
                self._writing = None
