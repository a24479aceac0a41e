"""The quarantine: what a parcel holds is laid aside, where nobody looks, until all of it is there; then it moves in at once.

Walking a parcel may take long, and what is in it may turn out bad. So files are written to a folder of their own and rows
to a database of their own there; the store is neither touched nor locked meanwhile. Moving in is one transaction that
copies rows from database to database, and renames the files just before its end.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from array import array
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Self

import apsw

from ipvm_kernel.errors import StoreFull, StoreReadOnly
from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.store import sql
from ipvm_kernel.store.base import check_block, check_file
from ipvm_kernel.store.files import FILE_BYTES, LOCK, sync_path
from ipvm_kernel.store.records import found_as

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ipvm_kernel.ipld import CID, Block
    from ipvm_kernel.store.files import Files
    from ipvm_kernel.store.records import Filing, Parcel, Received, Role

_GATHERED_ROWS: Final = 512
_GATHERED_BYTES: Final = 4 << 20
_CACHE_KIB: Final = 65_536
_REMEMBERED: Final = 50_000  # blocks that are known to be laid aside: a task comes once, however many receipts it has


class Quarantine:
    """A folder for one parcel, gone at the end of the block that uses it.

    Attributes:
        rows: The database of rows, to be attached as `parcel` once `take` has returned.
        taken: How many bytes were laid aside.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._gathered: dict[str, list[tuple[Any, ...]]] = {}
        self._count = self._size = self.taken = 0
        self._named = 0  # files are named by number until they move
        self._laid: dict[tuple[CID, Role], None] = {}
        self._with_edges: dict[CID, None] = {}  # instructions whose own edges were laid aside
        self._placed = array("Q")  # of each file that moved: its inode, and the time of its last change; or 0, 0

    def __enter__(self) -> Self:
        with self._explained(), contextlib.ExitStack() as undo:
            self._folder = self._files.new_folder()
            undo.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self.rows = self._folder / "rows.db"
            lock = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            undo.callback(os.close, lock)
            with contextlib.suppress(OSError):  # without locks the folder is safe for an hour
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._database = apsw.Connection(str(self.rows))
            undo.callback(self._database.close)
            self._database.pragma("journal_mode", "off")  # it is whole or it is nothing
            self._database.pragma("synchronous", "off")
            self._database.execute(f"BEGIN; {sql.PARCEL}")
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what it means that something of ours could not be written."""
        try:
            yield
        except (OSError, apsw.Error) as error:
            said = f"{self._files.folder} could not be written ({getattr(error, 'strerror', None) or error})"
            if getattr(error, "errno", None) in {errno.EROFS, errno.EACCES, errno.EPERM}:
                raise StoreReadOnly(f"{said}: nothing of what was brought was kept") from error
            raise StoreFull(f"{said}: nothing of what was brought was kept. Make room, then bring it again") from error

    # --- laying aside -------------------------------------------------------------------------------------------------

    def take(self, parcel: Parcel) -> None:
        """Walk a parcel, each part once, and lay aside what it holds. Raises whatever the walk raises."""
        for cid, pieces, role in parcel.files:
            self._file(cid, pieces, role)
        for block in parcel.blocks:
            check_block(block.cid)
            self._block(block, "block")
        for filing in parcel.filings:
            self._filing(filing)
        for receipt, attestation in parcel.attestations:
            self._block(attestation, "block")
            self._add("attestation", (receipt.bytes, attestation.cid.bytes))
        for name, cid in parcel.pins.items():
            self._add("pin", (name, cid.bytes))
        for cid, name in parcel.names:
            self._add("name", *sql.name_rows([(cid, name)]))
        with self._explained():
            self._flush()
            self._database.execute("COMMIT")
            self._database.close()
            for number in range(self._named):
                sync_path(self._folder / str(number))

    def _add(self, table: str, *rows: tuple[Any, ...], size: int = 0) -> None:
        self._gathered.setdefault(table, []).extend(rows)
        self._count += len(rows)
        self._size += size
        self.taken += size
        if self._count >= _GATHERED_ROWS or self._size >= _GATHERED_BYTES:
            with self._explained():
                self._flush()

    def _flush(self) -> None:
        for table, rows in self._gathered.items():
            if rows:
                self._database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608
                rows.clear()
        self._count = self._size = 0

    def _new_to(self, known: dict[Any, None], key: Any) -> bool:
        """Return True unless something was laid aside already, as far as that is remembered."""
        if key in known:
            return False
        if len(known) >= _REMEMBERED:
            known.clear()
        known[key] = None
        return True

    def _block(self, block: Block, role: Role) -> None:
        if not self._new_to(self._laid, (block.cid, role)):
            return
        data = block.data
        if len(data) <= FILE_BYTES:
            self._add("block", (block.cid.bytes, len(data), role, data), size=len(data))
            return
        with self._explained(), self._files.create(self._new()) as file:
            _write(file, data)
        self._large(block.cid, len(data), role)

    def _large(self, cid: CID, size: int, role: Role) -> None:
        self._add("large", (cid.bytes, size, role))
        self.taken += size

    def _new(self) -> Path:
        path = self._folder / str(self._named)
        self._named += 1
        return path

    def _file(self, cid: CID, pieces: Iterable[bytes], role: Role) -> None:
        """Lay a file aside under the CID of our own cut of it, hashed on the way."""
        rest, head, size = iter(pieces), [], 0
        while size <= FILE_BYTES and (piece := next(rest, None)) is not None:
            head.append(bytes(piece))
            size += len(piece)
        if size <= FILE_BYTES:
            data = b"".join(head)
            kept = file_cid(data)
            check_file(cid, kept, lambda: data)
            self._add("block", (kept.bytes, size, role, data), size=size)
        else:
            path = self._new()
            kept, size = self._written(path, chain(head, rest))
            check_file(cid, kept, path.read_bytes)
            self._large(kept, size, role)
        if kept != cid:
            self._add("pin", (f"ipfs://{cid}", kept.bytes))

    def _written(self, path: Path, pieces: Iterable[bytes]) -> tuple[CID, int]:
        with self._explained():
            file = self._files.create(path)
        size = 0

        def parts() -> Iterator[bytes]:
            nonlocal size
            for piece in pieces:
                with self._explained():
                    _write(file, piece)
                size += len(piece)
                yield piece

        with file:
            return file_cid(parts()), size

    def _filing(self, filing: Filing | Received) -> None:
        entry, found = filing.entry, found_as(filing)
        *explaining, answer = filing.blocks()
        for block in explaining:
            self._block(block, "block")
        self._block(answer, "value" if filing.own and filing.key is not None else "block")
        self._add("receipt", sql.receipt_row(found))
        if filing.key is not None and filing.outcome:
            self._add("outcome", (filing.key, found.instruction.bytes, found.cid.bytes))
        self._add("entry", sql.entry_row(entry))
        edges = filing.edges()
        if edges and not self._new_to(self._with_edges, found.instruction):
            edges = [edge for edge in edges if edge.kind == "value"]
        self._add("edge", *sql.edge_rows(edges))

    # --- moving in ----------------------------------------------------------------------------------------------------

    def move(self, connection: apsw.Connection, now: int) -> None:
        """Move everything into the store, as a part of a transaction that has `rows` attached as `parcel`.

        The files come last: if the transaction fails before that, nothing of them was ever in place.
        """
        # Rows come in the order of the parcel, and their CIDs in none: with room for the index a million go twice as fast.
        usual = connection.pragma("main.cache_size")
        connection.execute(f"PRAGMA main.cache_size=-{_CACHE_KIB}")
        try:
            for statement in sql.MOVE:
                connection.execute(statement, {"now": now})
        finally:
            connection.execute(f"PRAGMA main.cache_size={usual}")
        with self._explained():
            folders = set()
            for number, target in self._targets(connection):
                self._place(self._folder / str(number), target)
                folders.add(target.parent)
            for folder in [*folders, self._files.folder, self._files.folder.parent] if folders else ():
                sync_path(folder)

    def _place(self, path: Path, target: Path) -> None:
        found = path.stat()
        # What was there already may be somebody's whose row is on its way: it is written anew, for it may be damaged,
        # and stays if this fails.
        ours = (0, 0) if target.exists() else (found.st_ino, found.st_mtime_ns)
        self._files.place(path, target)
        self._placed.extend(ours)

    def _targets(self, connection: apsw.Connection) -> Iterator[tuple[int, Path]]:
        """Yield the number of each file and its place. No query is open meanwhile."""
        for start in range(0, self._named, _GATHERED_ROWS):
            query = "SELECT cid FROM parcel.large WHERE rowid > ? ORDER BY rowid LIMIT ?"
            rows: Any = connection.execute(query, (start, _GATHERED_ROWS)).fetchall()
            for number, (raw,) in enumerate(rows, start):
                yield number, self._files.path(unchecked(raw))

    def undo(self, connection: apsw.Connection) -> None:
        """Take the files out again that moved in, after the transaction has failed."""
        count = len(self._placed) // 2
        for number, target in islice(self._targets(connection) if count else (), count):
            with contextlib.suppress(OSError):
                found = target.stat()
                if [found.st_ino, found.st_mtime_ns] == list(self._placed[2 * number : 2 * number + 2]):
                    target.unlink()


def _write(file: BinaryIO, data: bytes) -> None:
    """Write all of some bytes to a file without a buffer, which may take them in parts."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
