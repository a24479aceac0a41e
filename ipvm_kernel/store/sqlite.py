"""The store on disk: one folder that several kernels share.

`store.db` has the small blocks, the receipts, the journal and the pins; `files/` has what is larger than 64 KiB. Writing
goes through a `Writer`; reading sees what is written and what is still on its way. Whoever reads looks at what is on its
way first: what leaves for the disk meanwhile is then seen twice, and never missed.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import Mismatch, NotFound, StoreDamaged, StoreError, StoreFull
from ipvm_kernel.ipld import CID, Block, FileBytes
from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Receipt
from ipvm_kernel.store import room, schema, sql
from ipvm_kernel.store.base import Claim, not_here
from ipvm_kernel.store.claims import Claims
from ipvm_kernel.store.disk import Disk
from ipvm_kernel.store.files import FILE_BYTES
from ipvm_kernel.store.records import RANK, Filing, OnFile, Received, Role, Usage, choose, found_as, merged
from ipvm_kernel.store.statements import Statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipvm_kernel.store.files import Files
    from ipvm_kernel.store.writer import Writer

OPENED_BYTES: Final = 1 << 20
"""A file of more bytes than this is given out as a file."""

BEHIND_BYTES: Final = 4 << 20
"""Arguments of at most so many bytes are written behind the work, as blocks are."""


class SqliteStore(Statements):
    """A store in a folder, shared by the kernels of one user.

    Attributes:
        folder: Where it is.
    """

    def __init__(self, folder: Path, *, limit_bytes: int | None = None) -> None:
        """Open the store in `folder`, made if need be.

        Raises:
            StoreDamaged: What is there is no store.
            StoreReadOnly: The folder cannot be written, or is open to everybody.
        """
        self.folder = folder
        self._disk = Disk(folder, limit_bytes=limit_bytes)
        self._claims = Claims.open(folder / "claims")
        self._checked: set[CID] = set()
        self._closed = False

    @property
    def where(self) -> str:
        """The path of the folder."""
        return str(self.folder)

    @property
    def notices(self) -> list[str]:
        """Things to be said once, such as that the limit was reached. Whoever shows them takes them out."""
        return self._disk.notices

    @property
    def files(self) -> Files:
        """The files of large blocks."""
        return self._disk.files

    @property
    def _writer(self) -> Writer:
        return self._disk.writer

    # --- blocks and files ---------------------------------------------------------------------------------------------

    def put(self, block: Block) -> CID:
        """Keep a block and return its CID."""
        return self._gather(block, "block")

    def _gather(self, block: Block, role: Role) -> CID:
        with self._writer.lock:
            self._added(self._writer.open.add_block(block, role))
        return block.cid

    def _waiting(self, cid: CID) -> Block | None:
        """Return a block that is on its way to disk, or None."""
        with self._writer.lock:
            for batch in self._writer.batches():
                if cid in batch.blocks:
                    return batch.blocks[cid][0]
        return None

    def get(self, cid: CID) -> Block:
        """Return a block, checked."""
        if cid.codec == "dag-pb":
            raise NotFound(f"{cid} is a file, which is kept whole: read its bytes")
        return self._waiting(cid) or self._block(cid, self._load(cid))

    def _block(self, cid: CID, data: bytes) -> Block:
        try:
            return Block.checked(cid, data)
        except Mismatch:
            raise StoreDamaged(
                f"{cid} in {self.folder} is not what was written. `ipvm verify` lists what else is"
            ) from None

    def put_file(self, source: bytes | memoryview | Path, role: Role) -> CID:
        """Keep bytes, or the bytes of a file."""
        if isinstance(source, Path):
            if self._disk.read_only or source.stat().st_size <= FILE_BYTES:
                return self.put_file(source.read_bytes(), role)
            with source.open("rb"):  # so that what cannot be read is told from what cannot be written
                pass
            try:
                cid, size = self.files.put_path(source)
            except OSError as error:
                raise StoreFull(f"{source} cannot be kept in {self.folder}: {error.strerror}") from error
        elif isinstance(source, memoryview):
            if self._disk.read_only or len(source) <= FILE_BYTES:
                return self.put_file(bytes(source), role)
            try:
                cid, size = self.files.put_view(source), len(source)
            except OSError:
                return self.put_file(bytes(source), role)
        else:
            cid, size = file_cid(source), len(source)
            if self._disk.read_only or size <= FILE_BYTES:
                return self._gather(Block(cid, source), role)
            if role == "input" and size <= BEHIND_BYTES and not self.files.path(cid).exists():
                self._checked.add(cid)
                return self._gather(Block(cid, source), role)  # whoever names an argument does not wait for the disk
            try:
                if not self.files.holds(cid, source):
                    self.files.put(cid, source)
                elif (known := self._role(cid)) is not None and RANK[known] >= RANK[role]:
                    self._checked.add(cid)
                    return cid
                else:
                    self.files.touch(cid)
            except OSError:
                return self._gather(Block(cid, source), role)  # it stays in memory until there is space
        with self._writer.lock:
            self._writer.open.add_file(cid, size, role)
            self._checked.add(cid)
            self._added(0)
        return cid

    def _role(self, cid: CID) -> Role | None:
        """Return as what a file is known that is durable, which it is if it has a row, or None."""
        found = self._disk.rows("SELECT role FROM block WHERE cid = ? AND place = ?", (cid.bytes, schema.ON_DISK))
        return found[0][0] if found else None

    def read(self, cid: CID) -> bytes:
        """Return the bytes of a file or raw block, checked: a large one at its first use in a session (RULES 6)."""
        waiting = self._waiting(cid)
        if waiting is not None:
            return waiting.data
        data = self._load(cid)
        self._disk.touched[cid.bytes] = int(time.time())
        if cid not in self._checked:
            if cid.codec == "dag-pb":
                if file_cid(data) != cid:
                    raise StoreDamaged(f"{cid} in {self.folder} is not what was written: add the file again")
            else:
                self._block(cid, data)
            if len(data) > FILE_BYTES:
                self._checked.add(cid)
        return data

    def open(self, cid: CID) -> bytes | FileBytes:
        """Return the bytes of a file as `read` does or, where they are many, the file, checked at its first use."""
        path = self.files.path(cid)
        with contextlib.suppress(OSError):
            if path.stat().st_size > OPENED_BYTES and (cid in self._checked or self._has_file(cid)):
                found = FileBytes(path)
                self._disk.touched[cid.bytes] = int(time.time())
                if cid not in self._checked:
                    if file_cid(path) != cid:
                        raise StoreDamaged(f"{cid} in {self.folder} is not what was written: add the file again")
                    self._checked.add(cid)
                return found
        return self.read(cid)

    def _load(self, cid: CID) -> bytes:
        """Return the bytes that are kept under `cid`, unchecked."""
        coming = self._comes(cid)
        found = self._disk.rows("SELECT place, data FROM block WHERE cid = ?", (cid.bytes,))
        place, data = found[0] if found else (schema.ABSENT, b"")
        if place == schema.INLINE:
            return bytes(data)
        if place == schema.ON_DISK or coming:  # a file without a row was never brought in whole, or was dropped
            with contextlib.suppress(FileNotFoundError, PermissionError):
                return self.files.read(cid)
        raise not_here(cid, self.where)

    def _comes(self, cid: CID) -> bool:
        """Return True if a file is in its place and its row on its way."""
        with self._writer.lock:
            return any(cid in batch.files for batch in self._writer.batches())

    def _has_file(self, cid: CID) -> bool:
        return self._comes(cid) or self._role(cid) is not None

    def size(self, cid: CID) -> int | None:
        """Return how many bytes a file or block has."""
        with self._writer.lock:
            for batch in self._writer.batches():
                if cid in batch.blocks:
                    return len(batch.blocks[cid][0].data)
                if cid in batch.files:
                    return batch.files[cid][0]
        found = self._disk.rows("SELECT size FROM block WHERE cid = ? AND place IN (0, 1)", (cid.bytes,))
        return found[0][0] if found else None

    # --- receipts -----------------------------------------------------------------------------------------------------

    def file(self, filing: Filing | Received) -> None:
        """Put a receipt on file."""
        entry, found, edges = filing.entry, found_as(filing), filing.edges()
        *explaining, answer = filing.blocks()
        recomputable = filing.own and filing.key is not None
        with self._writer.lock:
            batch = self._writer.open
            size = sum(batch.add_block(block, "block") for block in explaining)
            size += batch.add_block(answer, "value" if recomputable else "block")
            batch.receipts.append(found)
            batch.by_instruction.setdefault(entry.instruction, []).append(found)
            if filing.key is not None and filing.outcome:
                batch.outcomes.setdefault(filing.key, found)
            batch.entries.append(entry)
            batch.edges += edges
            self._added(size)

    def on_file(self, instructions: Iterable[CID]) -> dict[CID, OnFile]:
        """Return the receipt on file for each instruction that has one, in one look-up for many."""
        wanted = {cid.bytes: cid for cid in instructions}
        chosen: dict[CID, OnFile] = {}
        several: dict[CID, list[OnFile]] = {}
        with self._writer.lock:
            batches = [batch.by_instruction for batch in self._writer.batches() if batch.by_instruction]
            for cid in wanted.values() if batches else ():
                for found in [found for batch in batches for found in batch.get(cid, ())]:
                    if chosen.setdefault(cid, found) is not found:
                        several.setdefault(cid, [chosen[cid]]).append(found)
        now = int(time.time())
        for query, chunk in sql.asked(sql.ON_FILE, list(wanted)):
            rows = self._disk.rows(query, chunk)
            self._disk.touched.update((row[1], now) for row in rows)
            for row in rows:
                cid = wanted[row[0]]
                found = self._on_file(cid, row)
                if chosen.setdefault(cid, found) is not found:
                    several.setdefault(cid, [chosen[cid]]).append(found)
        for cid, candidates in several.items():
            best = choose(candidates)
            assert best is not None
            chosen[cid] = best
        return chosen

    def _on_file(self, instruction: CID, row: tuple[Any, ...]) -> OnFile:
        _, raw, ran, own, admitted, filed, seconds, place, data = row
        cid = unchecked(raw)
        kept: Any = None
        if data is not None:
            # One that is not what was written is as good as dropped: working it out again must meet its CID, and
            # writes it anew.
            with contextlib.suppress(StoreDamaged):
                kept = Receipt.trusted(self._block(cid, data))
        elif place == schema.INLINE or (place == schema.ON_DISK and self._is_there(cid)):
            kept = partial(self._receipt, cid)
        met = unchecked(ran) if ran else None
        return OnFile(
            instruction, cid, met, bool(own), admitted == 1, filed, seconds, kept, trusted=admitted == schema.TRUSTED
        )

    def _is_there(self, cid: CID) -> bool:
        return self.files.path(cid).exists()

    def _receipt(self, cid: CID) -> Receipt:
        return Receipt.trusted(self.get(cid))

    def outcome(self, key: bytes) -> OnFile | None:
        """Return the receipt of a task with this resolved key."""
        with self._writer.lock:
            for batch in self._writer.batches():
                if key in batch.outcomes:
                    return batch.outcomes[key]
        rows = self._disk.rows(sql.OUTCOME, (key,))
        return self._on_file(unchecked(rows[0][0]), rows[0]) if rows else None

    def receipts_of(self, instruction: CID) -> list[OnFile]:
        """Return every receipt for an instruction, the chosen one first."""
        with self._writer.lock:
            found = [found for batch in self._writer.batches() for found in batch.by_instruction.get(instruction, ())]
        rows = self._disk.rows(sql.ON_FILE[1], (instruction.bytes,))
        found = merged([*found, *(self._on_file(instruction, row) for row in rows)])
        first = choose(found)
        return sorted(found, key=lambda other: other is not first)

    def forget(self, instructions: Iterable[CID]) -> int:
        """Take the receipts of some instructions off file."""
        self.sync()
        raw = [(cid.bytes,) for cid in instructions]
        with self._disk.changing() as connection:
            connection.executemany(sql.FORGET_OUTCOME, raw)
            connection.executemany(sql.FORGET_ATTESTATION, raw)
            before = connection.total_changes()
            connection.executemany(sql.FORGET_RECEIPT, raw)
            return connection.total_changes() - before

    def claim(self, key: bytes) -> Claim | None:
        """Return the right to run a task. Released, it is let go once the batch with its receipt is on disk."""
        if self._disk.read_only:
            return _NoClaim()
        try:
            held = self._claims.take(key)
        except OSError:  # a file system without locks, or no space for the file: better twice than never
            return _NoClaim()
        return None if held is None else _CommittedClaim(held, self._writer)

    # --- looking around -----------------------------------------------------------------------------------------------

    def find(self, text: str, limit: int = 20) -> list[CID]:
        """Return the CIDs whose text, or short form, begins so."""
        dropped = (unchecked(raw) for (raw,) in self._disk.rows("SELECT cid FROM block WHERE place = 2"))
        cids = (cid for some in (self.cids(), dropped) for cid in some)
        return list(islice((cid for cid in cids if str(cid).startswith(text) or cid.short.startswith(text)), limit))

    def cids(self) -> Iterator[CID]:
        """Yield the CID of every block and file."""
        with self._writer.lock:
            waiting = {cid: None for batch in self._writer.batches() for cid in (*batch.blocks, *batch.files)}
        yield from waiting
        for (raw,) in self._disk.rows("SELECT cid FROM block WHERE place IN (0, 1) ORDER BY id DESC"):
            cid = unchecked(raw)
            if cid not in waiting:
                yield cid

    def usage(self) -> Usage:
        """Return what is held."""
        with contextlib.suppress(StoreError):  # what cannot be written is not held
            self.sync()
        return self._disk.usage()

    # --- keeping ------------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """Return once everything put so far is durable."""
        self._disk.sync()

    def gc(self, *, to: int | None = None, older: float | None = None, dry_run: bool = False) -> room.Dropped:
        """Drop the values of pure tasks, the least recently used first; modules, inputs and pins stay.

        Args:
            to: Stop when the store holds this many bytes; drop all that may go if neither limit is given.
            older: Only what was not used for this many seconds.
            dry_run: Say what would go, and drop nothing.
        """
        self.sync()
        return self._disk.make_room(to or 0, older=older, dry_run=dry_run)

    def close(self) -> None:
        """Make everything durable and let go of the files. Closing twice does no harm."""
        if self._closed:
            return
        self._closed = True
        try:
            self._disk.close()
        finally:
            self._claims.close()


class _NoClaim:
    """What a store that cannot be written gives: everybody may run, nothing is kept."""

    def release(self) -> None:
        pass


class _CommittedClaim:
    """A claim that is let go when the batch gathered at its release is on disk, so that whoever waits finds a receipt."""

    __slots__ = ("_claim", "_writer")

    def __init__(self, claim: Claim, writer: Writer) -> None:
        self._claim, self._writer = claim, writer

    def release(self) -> None:
        self._writer.hold(self._claim)
