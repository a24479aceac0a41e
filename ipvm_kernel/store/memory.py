"""A store of a few dicts, which ends with the process: the smallest there can be, and the one to read first."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ipvm_kernel.ipld import CID, Block, FileBytes
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.store.base import check_block, check_file, not_here
from ipvm_kernel.store.lineage import EDGES, closure
from ipvm_kernel.store.records import (
    Entry,
    Filing,
    OnFile,
    Parcel,
    Received,
    RunRecord,
    Usage,
    choose,
    found_as,
    merged,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ipvm_kernel.store.base import Claim
    from ipvm_kernel.store.lineage import CellRecord, Edge
    from ipvm_kernel.store.records import Role


class MemoryStore:
    """A store that ends with the process: a few dicts."""

    def __init__(self) -> None:
        self._blocks: dict[CID, Block] = {}
        self._files: dict[CID, bytes] = {}
        self._receipts: dict[CID, list[OnFile]] = {}
        self._outcomes: dict[bytes, OnFile] = {}
        self._journal: list[Entry] = []
        self._logs: dict[CID, Entry] = {}
        self._runs: list[RunRecord] = []
        self._cells: dict[int, CellRecord] = {}
        self._names: dict[CID, dict[str, None]] = {}
        self._sources: dict[CID, dict[Edge, None]] = {}
        self._users: dict[CID, dict[Edge, None]] = {}
        self._attestations: dict[CID, dict[CID, Block]] = {}
        self._pins: dict[str, CID] = {}
        self._claimed: set[bytes] = set()
        self._lock = threading.RLock()

    @property
    def where(self) -> str:
        """Where it is, for a person to read."""
        return "memory"

    def put(self, block: Block) -> CID:
        """Keep a block and return its CID."""
        self._blocks.setdefault(block.cid, block)
        return block.cid

    def get(self, cid: CID) -> Block:
        """Return a block, or a file of one chunk."""
        block = self._blocks.get(cid)
        if block is not None:
            return block
        if cid in self._files and cid.codec == "raw":
            return Block(cid, self._files[cid])
        raise not_here(cid, "this session's memory")

    def put_file(self, source: bytes | memoryview | Path, role: Role) -> CID:  # noqa: ARG002 - nothing is ever dropped here
        """Keep bytes, or the bytes of a file."""
        if isinstance(source, memoryview):
            source = bytes(source)  # first, for whoever holds the memory may change it
        data = source if isinstance(source, bytes) else source.read_bytes()
        cid = file_cid(data)
        self._files.setdefault(cid, data)
        return cid

    def read(self, cid: CID) -> bytes:
        """Return the bytes of a file or raw block."""
        data = self._files.get(cid)
        return data if data is not None else self.get(cid).data

    def open(self, cid: CID) -> bytes | FileBytes:
        """Return the bytes of a file or raw block."""
        return self.read(cid)

    def size(self, cid: CID) -> int | None:
        """Return how many bytes a file or block has."""
        if cid in self._files:
            return len(self._files[cid])
        return len(self._blocks[cid].data) if cid in self._blocks else None

    def file(self, filing: Filing | Received) -> None:
        """Put a receipt on file."""
        entry = filing.entry
        for block in filing.blocks():
            self.put(block)
        found = found_as(filing)
        with self._lock:
            self._receipts[entry.instruction] = merged([*self._receipts.get(entry.instruction, ()), found])
            if filing.key is not None and filing.outcome:
                self._outcomes.setdefault(filing.key, found)
            self._journal.append(entry)
            for edge in filing.edges():
                self._sources.setdefault(edge.target, {})[edge] = None
                self._users.setdefault(edge.source, {})[edge] = None
            if entry.log:
                self._logs[entry.instruction] = entry

    def bring(self, parcel: Parcel) -> None:
        """Take in a parcel: all of it or nothing."""
        whole = MemoryStore()
        for cid, pieces, role in parcel.files:
            data = b"".join(pieces)
            kept = whole.put_file(data, role)
            check_file(cid, kept, lambda data=data: data)  # type: ignore[misc]
            if kept != cid:
                whole.pin(f"ipfs://{cid}", kept)
        for block in parcel.blocks:
            check_block(block.cid)
            whole.put(block)
        filings = list(parcel.filings)
        for filing in filings:
            whole.file(filing)  # what cannot be filed raises here
        statements, pins, names = list(parcel.attestations), dict(parcel.pins), list(parcel.names)
        with self._lock:
            for cid, block in whole._blocks.items():
                self._blocks.setdefault(cid, block)
            for cid, data in whole._files.items():
                self._files.setdefault(cid, data)
            for filing in filings:
                self.file(filing)
            for receipt, attestation in statements:
                self.attest(receipt, attestation)
            for cid, name in names:
                self.call(cid, name)
            self._pins |= {**whole._pins, **pins}

    def attest(self, receipt: CID, attestation: Block) -> None:
        """Keep a signed statement about a receipt."""
        self.put(attestation)
        self._attestations.setdefault(receipt, {})[attestation.cid] = attestation

    def attestations(self, receipts: Iterable[CID]) -> dict[CID, list[Block]]:
        """Return the statements about each receipt that has any."""
        return {cid: list(self._attestations[cid].values()) for cid in receipts if cid in self._attestations}

    def note(self, entry: Entry) -> None:
        """Add a line to the journal."""
        self._journal.append(entry)

    def on_file(self, instructions: Iterable[CID]) -> dict[CID, OnFile]:
        """Return the receipt on file for each instruction that has one."""
        chosen = {cid: choose(self._receipts.get(cid, ())) for cid in instructions}
        return {cid: found for cid, found in chosen.items() if found is not None}

    def outcome(self, key: bytes) -> OnFile | None:
        """Return the receipt of a task with this resolved key."""
        return self._outcomes.get(key)

    def receipts_of(self, instruction: CID) -> list[OnFile]:
        """Return every receipt for an instruction."""
        found = self._receipts.get(instruction, [])
        first = choose(found)
        return sorted(found, key=lambda other: other is not first)

    def claim(self, key: bytes) -> Claim | None:
        """Return the right to run a task, or None."""
        with self._lock:
            if key in self._claimed:
                return None
            self._claimed.add(key)
            return _MemoryClaim(self._claimed, key)

    def lineage(self, cids: Iterable[CID], limit: int = EDGES) -> list[Edge]:
        """Return what instructions and values came of."""
        with self._lock:
            return closure(cids, lambda cid: self._sources.get(cid, ()), lambda edge: edge.source, limit)

    def users(self, cids: Iterable[CID], limit: int = EDGES) -> list[Edge]:
        """Return what came of instructions, modules and values."""
        with self._lock:
            return closure(cids, lambda cid: self._users.get(cid, ()), lambda edge: edge.target, limit)

    def made(self, instructions: Iterable[CID]) -> dict[CID, Entry]:
        """Return how the first receipt of each instruction was made."""
        wanted = set(instructions)
        return {e.instruction: e for e in reversed(self._journal) if e.receipt and e.instruction in wanted}

    def declare(self, cell: CellRecord) -> int:
        """Remember a cell."""
        self._cells[cell.ident] = cell
        return cell.ident

    def cells(self, idents: Iterable[int]) -> dict[int, CellRecord]:
        """Return cells by their numbers."""
        return {ident: self._cells[ident] for ident in idents if ident in self._cells}

    def begin(self, run: RunRecord) -> int:
        """Add a run to the journal."""
        self._runs.append(run)
        return run.ident

    def runs(self, limit: int = 50) -> list[RunRecord]:
        """Return the latest runs."""
        return self._runs[::-1][:limit]

    def run(self, ident: int) -> RunRecord | None:
        """Return a run by its number."""
        return next((run for run in self._runs if run.ident == ident), None)

    def call(self, cid: CID, name: str) -> None:
        """Remember what a file or module was called."""
        self._names.setdefault(cid, {})[name] = None

    def called(self, cids: Iterable[CID]) -> dict[CID, list[str]]:
        """Return what files and modules were called."""
        return {cid: list(self._names[cid]) for cid in cids if cid in self._names}

    def journal(
        self,
        *,
        instruction: CID | None = None,
        func: str | None = None,
        run: int | None = None,
        before: CID | None = None,
        limit: int = 50,
    ) -> list[Entry]:
        """Return the latest lines of the journal that match."""
        end = next((n for n, e in enumerate(self._journal) if before == e.instruction and e.receipt), None)
        return [
            entry
            for entry in reversed(self._journal[:end])
            if instruction in (None, entry.instruction) and func in (None, entry.func) and run in (None, entry.run)
        ][:limit]

    def logs(self, instructions: Iterable[CID]) -> dict[CID, Entry]:
        """Return what guests said when the receipts of some instructions were made."""
        return {cid: self._logs[cid] for cid in instructions if cid in self._logs}

    def pin(self, name: str, cid: CID) -> None:
        """Keep what `cid` reaches."""
        self._pins[name] = cid

    def unpin(self, name: str) -> CID | None:
        """Take a pin away."""
        return self._pins.pop(name, None)

    def pins(self) -> dict[str, CID]:
        """Return all pins."""
        return dict(self._pins)

    def forget(self, instructions: Iterable[CID]) -> int:
        """Take the receipts of some instructions off file."""
        with self._lock:
            gone = [found for cid in instructions for found in self._receipts.pop(cid, ())]
            forgotten = {found.instruction for found in gone}
            for found in gone:
                self._attestations.pop(found.cid, None)
            self._outcomes = {k: found for k, found in self._outcomes.items() if found.instruction not in forgotten}
        return len(gone)

    def find(self, text: str, limit: int = 20) -> list[CID]:
        """Return the CIDs whose text, or short form, begins so."""
        return [cid for cid in self.cids() if str(cid).startswith(text) or cid.short.startswith(text)][:limit]

    def cids(self) -> Iterator[CID]:
        """Yield the CID of every block and file."""
        yield from list({**self._blocks, **self._files})

    def usage(self) -> Usage:
        """Return what is held."""
        return Usage(
            where=self.where,
            blocks=len(self._blocks),
            block_bytes=sum(len(block.data) for block in self._blocks.values()),
            files=len(self._files),
            file_bytes=sum(map(len, self._files.values())),
            receipts=sum(map(len, self._receipts.values())),
            runs=len(self._runs),
            pins=len(self._pins),
        )

    def sync(self) -> None:
        """Do nothing: memory is as durable as it gets."""

    def close(self) -> None:
        """Do nothing."""


class _MemoryClaim:
    def __init__(self, claimed: set[bytes], key: bytes) -> None:
        self._claimed, self._key = claimed, key

    def release(self) -> None:
        claimed, self._claimed = self._claimed, set()  # letting go twice does no harm
        claimed.discard(self._key)
