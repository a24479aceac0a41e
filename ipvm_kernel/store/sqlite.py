"""The store on disk: one folder that several kernels share.

`store.db` has the small blocks, the receipts, the journal and the pins; `files/` has what is larger than 64 KiB. Writing
goes through a `Writer`; reading sees what is written and what is still on its way.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipvm_kernel.errors import Mismatch, StoreDamaged
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Receipt
from ipvm_kernel.store import room, schema, sql
from ipvm_kernel.store.base import (
    Claim,
    Entry,
    Filing,
    OnFile,
    Role,
    RunRecord,
    Usage,
    blocks_of,
    choose,
    not_here,
)
from ipvm_kernel.store.claims import Claims
from ipvm_kernel.store.disk import FILE_BYTES, Disk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipvm_kernel.store.files import Files
    from ipvm_kernel.store.writer import Writer


class SqliteStore:
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
        self._claims = Claims(folder / "claims")
        self._checked: set[CID] = set()

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

    def _rows(self, statement: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
        return self._disk.rows(statement, bindings)

    # --- blocks and files ---------------------------------------------------------------------------------------------

    def put(self, block: Block) -> CID:
        """Keep a block and return its CID."""
        self._gather_block(block, "block")
        return block.cid

    def _gather_block(self, block: Block, role: str) -> None:
        with self._writer.lock:
            if all(block.cid not in batch.blocks for batch in self._writer.batches()):
                self._writer.open.blocks[block.cid] = (block, role)
                self._added(len(block.data))

    def _added(self, size: int) -> None:
        if not self._disk.read_only:  # else it stays in memory, and is found there, until the session ends
            self._writer.added(size)

    def get(self, cid: CID) -> Block:
        """Return a block, checked."""
        with self._writer.lock:
            for batch in self._writer.batches():
                if cid in batch.blocks:
                    return batch.blocks[cid][0]
        data = self._load(cid)
        if data is None:
            raise not_here(cid, str(self.folder))
        return self._block(cid, data)

    def _block(self, cid: CID, data: bytes) -> Block:
        try:
            return Block.checked(cid, data)
        except Mismatch:
            raise StoreDamaged(
                f"{cid} in {self.folder} is not what was written. `ipvm verify` lists what else is"
            ) from None

    def put_file(self, source: bytes | Path, role: Role) -> CID:
        """Keep bytes, or the bytes of a file."""
        if isinstance(source, Path):
            if source.stat().st_size <= FILE_BYTES:
                return self.put_file(source.read_bytes(), role)
            cid, size = self.files.put_path(source)
        else:
            cid, size = file_cid(source), len(source)
            if size <= FILE_BYTES:
                self._gather_block(Block(cid, source), role)
                return cid
            if self.size(cid) is None:
                self.files.put(cid, source)
        with self._writer.lock:
            self._writer.open.files[cid] = (size, role)
            self._checked.add(cid)
            self._added(0)
        return cid

    def read(self, cid: CID) -> bytes:
        """Return the bytes of a file or raw block, checked: a large one at its first use in a session (RULES 6)."""
        with self._writer.lock:
            for batch in self._writer.batches():
                if cid in batch.blocks:
                    return batch.blocks[cid][0].data
        data = self._load(cid)
        if data is None:
            raise not_here(cid, str(self.folder))
        self._disk.touched[cid] = int(time.time())
        if cid not in self._checked:
            if cid.codec == "dag-pb":
                if file_cid(data) != cid:
                    raise StoreDamaged(f"{cid} in {self.folder} is not what was written: add the file again")
            else:
                self._block(cid, data)
            if len(data) > FILE_BYTES:
                self._checked.add(cid)
        return data

    def _load(self, cid: CID) -> bytes | None:
        """Return the bytes that are kept under `cid`, unchecked, or None."""
        found = self._rows("SELECT place, data FROM block WHERE cid = ?", (cid.bytes,))
        place, data = found[0] if found else (schema.ON_DISK, b"")
        if place == schema.INLINE:
            return bytes(data)
        if place == schema.DROPPED:
            return None
        try:
            return self.files.read(cid)
        except FileNotFoundError:
            return None

    def size(self, cid: CID) -> int | None:
        """Return how many bytes a file or block has."""
        with self._writer.lock:
            for batch in self._writer.batches():
                if cid in batch.blocks:
                    return len(batch.blocks[cid][0].data)
                if cid in batch.files:
                    return batch.files[cid][0]
        found = self._rows("SELECT size FROM block WHERE cid = ? AND place != ?", (cid.bytes, schema.DROPPED))
        return found[0][0] if found else None

    # --- receipts -----------------------------------------------------------------------------------------------------

    def file(self, filing: Filing) -> None:
        """Put a receipt on file."""
        entry, receipt = filing.entry, filing.receipt
        found = OnFile(entry.instruction, receipt.cid, receipt, filing.own, filing.admitted, entry.at, entry.seconds)
        with self._writer.lock:
            size = 0
            batch = self._writer.open
            for block in blocks_of(filing):
                if block.cid not in batch.blocks:
                    batch.blocks[block.cid] = (block, "value" if block is receipt.block else "block")
                    size += len(block.data)
            batch.receipts.append(found)
            batch.by_instruction.setdefault(entry.instruction, []).append(found)
            if filing.key is not None and filing.admitted:
                batch.outcomes.setdefault(filing.key, found)
            batch.entries.append(entry)
            self._added(size)

    def note(self, entry: Entry) -> None:
        """Add a line to the journal."""
        with self._writer.lock:
            self._writer.open.entries.append(entry)
            self._added(len(entry.log))

    def on_file(self, instructions: Iterable[CID]) -> dict[CID, OnFile]:
        """Return the receipt on file for each instruction that has one, in one look-up for many."""
        wanted = list(instructions)
        chosen: dict[CID, OnFile] = {}
        doubled: dict[CID, list[OnFile]] = {}
        now = int(time.time())
        for start in range(0, len(wanted), sql.CHUNK):
            chunk = wanted[start : start + sql.CHUNK]
            statement = sql.ON_FILE if len(chunk) == 1 else sql.ON_FILE_MANY[len(chunk)]
            for row in self._rows(statement, tuple(cid.bytes for cid in chunk)):
                found = self._on_file(row)
                first = chosen.setdefault(found.instruction, found)
                if first is not found:
                    doubled.setdefault(found.instruction, [first]).append(found)
                self._disk.touched[found.cid] = now
        with self._writer.lock:
            batches = [batch for batch in self._writer.batches() if batch.by_instruction]
            for batch in batches:
                for cid in wanted:
                    for found in batch.by_instruction.get(cid, ()):
                        first = chosen.setdefault(cid, found)
                        if first is not found and first.cid != found.cid:
                            doubled.setdefault(cid, [first]).append(found)
        for cid, candidates in doubled.items():
            best = choose(candidates)
            if best is not None:
                chosen[cid] = best
        return chosen

    def _on_file(self, row: tuple[Any, ...]) -> OnFile:
        instruction, cid_bytes, own, admitted, filed, seconds, place, data = row
        cid = unchecked(cid_bytes)
        receipt = None
        if place == schema.ON_DISK:
            with contextlib.suppress(FileNotFoundError):
                data = self.files.read(cid)
        if data is not None and place != schema.DROPPED:
            receipt = Receipt.trusted(self._block(cid, data))
        return OnFile(unchecked(instruction), cid, receipt, bool(own), bool(admitted), filed, seconds)

    def outcome(self, key: bytes) -> OnFile | None:
        """Return the receipt of a task with this resolved key."""
        with self._writer.lock:
            for batch in self._writer.batches():
                if key in batch.outcomes:
                    return batch.outcomes[key]
        rows = self._rows(sql.OUTCOME, (key,))
        return self._on_file(rows[0]) if rows else None

    def receipts_of(self, instruction: CID) -> list[OnFile]:
        """Return every receipt for an instruction, the chosen one first."""
        found = {row.cid: row for row in map(self._on_file, self._rows(sql.ON_FILE, (instruction.bytes,)))}
        with self._writer.lock:
            for batch in self._writer.batches():
                for other in batch.by_instruction.get(instruction, ()):
                    found.setdefault(other.cid, other)
        first = choose(found.values())
        return sorted(found.values(), key=lambda other: other is not first)

    def forget(self, instructions: Iterable[CID]) -> int:
        """Take the receipts of some instructions off file."""
        self.sync()
        gone = 0
        for cid in instructions:
            ids = self._rows("SELECT id FROM receipt WHERE instruction = ?", (cid.bytes,))
            self._disk.change(
                "DELETE FROM outcome WHERE receipt IN (SELECT id FROM receipt WHERE instruction = ?)", (cid.bytes,)
            )
            self._disk.change("DELETE FROM receipt WHERE instruction = ?", (cid.bytes,))
            gone += len(ids)
        return gone

    def claim(self, key: bytes) -> Claim | None:
        """Return the right to run a task. Released, it is let go once the batch with its receipt is on disk."""
        if self._disk.read_only:
            return _NoClaim()
        held = self._claims.take(key)
        return None if held is None else _CommittedClaim(held, self._writer)

    # --- the journal and pins -----------------------------------------------------------------------------------------

    def begin(self, run: RunRecord) -> int:
        """Add a run to the journal and return its number."""
        with self._writer.lock:
            self._writer.open.runs.append(run)
            self._added(0)
        return run.ident

    def _waiting_runs(self) -> list[RunRecord]:
        with self._writer.lock:
            return [run for batch in self._writer.batches() for run in reversed(batch.runs)]

    def runs(self, limit: int = 50) -> list[RunRecord]:
        """Return the latest runs, the newest first."""
        rows = self._rows("SELECT * FROM run ORDER BY id DESC LIMIT ?", (limit,))
        return (self._waiting_runs() + [sql.run(row) for row in rows])[:limit]

    def run(self, ident: int) -> RunRecord | None:
        """Return a run by its number."""
        rows = self._rows("SELECT * FROM run WHERE id = ?", (ident,))
        return sql.run(rows[0]) if rows else next((run for run in self._waiting_runs() if run.ident == ident), None)

    def journal(
        self, *, instruction: CID | None = None, func: str | None = None, run: int | None = None, limit: int = 50
    ) -> list[Entry]:
        """Return the latest lines of the journal that match, the newest first."""
        asked = {
            "instruction": instruction.bytes if instruction else None,
            "func": func,
            "run": run,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in given) or "1"
        rows = self._rows(f"SELECT * FROM entry WHERE {where} ORDER BY id DESC LIMIT ?", (*given.values(), limit))  # noqa: S608 - names are ours
        with self._writer.lock:
            waiting = [
                entry
                for batch in self._writer.batches()
                for entry in reversed(batch.entries)
                if instruction in (None, entry.instruction) and func in (None, entry.func) and run in (None, entry.run)
            ]
        return (waiting + [sql.entry(row) for row in rows])[:limit]

    def pin(self, name: str, cid: CID) -> None:
        """Keep what `cid` reaches, under a name."""
        self._disk.change("INSERT OR REPLACE INTO pin VALUES (?, ?)", (name, cid.bytes))

    def unpin(self, name: str) -> CID | None:
        """Take a pin away and return what it held."""
        held = self.pins().get(name)
        self._disk.change("DELETE FROM pin WHERE name = ?", (name,))
        return held

    def pins(self) -> dict[str, CID]:
        """Return all pins."""
        return {name: unchecked(cid) for name, cid in self._rows("SELECT name, cid FROM pin ORDER BY name")}

    # --- looking around -----------------------------------------------------------------------------------------------

    def find(self, text: str, limit: int = 20) -> list[CID]:
        """Return the CIDs whose text, or short form, begins so."""
        return [cid for cid in self.cids() if str(cid).startswith(text) or cid.short.startswith(text)][:limit]

    def cids(self) -> Iterator[CID]:
        """Yield the CID of every block and file."""
        seen: set[CID] = set()
        with self._writer.lock:
            for batch in self._writer.batches():
                seen.update(batch.blocks, batch.files)
        yield from seen
        for (cid,) in self._rows("SELECT cid FROM block WHERE place != ? ORDER BY id DESC", (schema.DROPPED,)):
            found = unchecked(cid)
            if found not in seen:
                yield found

    def usage(self) -> Usage:
        """Return what is held."""
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
        """Make everything durable and let go of the files."""
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
        with self._writer.lock:
            if self._writer.open.rows:
                self._writer.open.claims.append(self._claim)
                return
            if self._writer.leaving is not None:
                self._writer.leaving.claims.append(self._claim)
                return
        self._claim.release()
