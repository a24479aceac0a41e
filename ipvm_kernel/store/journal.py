"""The journal and the pins of a store on disk: what was run, when and from where, and what must stay."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from ipvm_kernel.errors import StoreError
from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.store import sql
from ipvm_kernel.store.lineage import EDGES, closure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.store.disk import Disk
    from ipvm_kernel.store.lineage import CellRecord, Edge
    from ipvm_kernel.store.records import Entry, RunRecord


class Journal:
    """The part of a store on disk that remembers runs."""

    _disk: Disk

    def begin(self, run: RunRecord) -> int:
        """Add a run to the journal and return its number."""
        writer = self._disk.writer
        with writer.lock:
            writer.open.runs.append(run)
            self._added(0)
        return run.ident

    def note(self, entry: Entry) -> None:
        """Add a line to the journal."""
        writer = self._disk.writer
        with writer.lock:
            writer.open.entries.append(entry)
            self._added(len(entry.log))

    def _added(self, size: int) -> None:
        if not self._disk.read_only:  # else it stays in memory, and is found there, until the session ends
            self._disk.writer.added(size)

    def _waiting_runs(self) -> list[RunRecord]:
        with self._disk.writer.lock:
            return [run for batch in self._disk.writer.batches() for run in reversed(batch.runs)]

    def runs(self, limit: int = 50) -> list[RunRecord]:
        """Return the latest runs, the newest first."""
        waiting = self._waiting_runs()  # looked at first: what leaves meanwhile is then seen twice, and never missed
        seen = {run.ident for run in waiting}
        rows = self._disk.rows("SELECT * FROM run ORDER BY id DESC LIMIT ?", (limit,))
        return (waiting + [sql.run(row) for row in rows if row[0] not in seen])[:limit]

    def run(self, ident: int) -> RunRecord | None:
        """Return a run by its number."""
        waiting = next((run for run in self._waiting_runs() if run.ident == ident), None)
        if waiting is not None:
            return waiting
        rows = self._disk.rows("SELECT * FROM run WHERE id = ?", (ident,))
        return sql.run(rows[0]) if rows else None

    def call(self, cid: CID, name: str) -> None:
        """Remember what a file or module was called."""
        writer = self._disk.writer
        with writer.lock:
            writer.open.names[cid, name] = None
            self._added(0)

    def called(self, cids: Iterable[CID]) -> dict[CID, list[str]]:
        """Return what files and modules were called."""
        wanted = {cid.bytes: cid for cid in cids}
        found: dict[CID, dict[str, None]] = {}
        given = json.dumps([raw.hex() for raw in wanted])
        for raw, name in self._disk.rows(sql.CALLED, (given,)):
            found.setdefault(wanted[raw], {})[name] = None
        with self._disk.writer.lock:
            for batch in self._disk.writer.batches():
                for cid, name in batch.names:
                    if cid.bytes in wanted:
                        found.setdefault(cid, {})[name] = None
        return {cid: list(names) for cid, names in found.items()}

    def journal(
        self,
        *,
        instruction: CID | None = None,
        func: str | None = None,
        run: int | None = None,
        before: CID | None = None,
        limit: int = 50,
    ) -> list[Entry]:
        """Return the latest lines of the journal that match, the newest first."""
        if before is not None:
            with contextlib.suppress(StoreError):
                self._disk.sync()
        asked: dict[str, Any] = {"instruction": instruction and instruction.bytes, "func": func, "run": run}
        given = {name: value for name, value in asked.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in given) or "1"
        values = list(given.values())
        if before is not None:
            where += f" AND {sql.BEFORE}"
            values.append(before.bytes)
        with self._disk.writer.lock:
            entries = [entry for batch in self._disk.writer.batches() for entry in reversed(batch.entries)]
            ends = [n for n, entry in enumerate(entries) if entry.instruction == before and entry.receipt]
            waiting = [
                entry
                for entry in entries[ends[-1] + 1 if ends else 0 :]
                if instruction in (None, entry.instruction) and func in (None, entry.func) and run in (None, entry.run)
            ]
        rows = self._disk.rows(
            f"SELECT * FROM entry WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608 - names are ours
            (*values, limit),
        )
        return (waiting + [entry for entry in map(sql.entry, rows) if entry not in waiting])[:limit]

    def made(self, instructions: Iterable[CID]) -> dict[CID, Entry]:
        """Return how the first receipt of each instruction was made."""
        wanted = {cid.bytes: cid for cid in instructions}
        with self._disk.writer.lock:
            waiting = [
                entry
                for batch in self._disk.writer.batches()
                for entry in reversed(batch.entries)
                if entry.receipt and entry.instruction.bytes in wanted
            ]
        found = {entry.instruction: entry for entry in waiting}
        for query, chunk in sql.asked(sql.MADE, list(wanted)):
            found.update((wanted[row[1]], sql.entry(row)) for row in self._disk.rows(query, chunk))
        return found

    def declare(self, cell: CellRecord) -> int:
        """Remember a cell and return its number."""
        writer = self._disk.writer
        with writer.lock:
            writer.open.cells.append(cell)
            self._added(0)
        return cell.ident

    def cells(self, idents: Iterable[int]) -> dict[int, CellRecord]:
        """Return cells by their numbers."""
        wanted = list(dict.fromkeys(idents))
        with self._disk.writer.lock:
            waiting = {cell.ident: cell for batch in self._disk.writer.batches() for cell in batch.cells}
        rows = self._disk.rows("SELECT * FROM cell WHERE id IN (SELECT value FROM json_each(?))", (str(wanted),))
        found = {row[0]: sql.cell(row) for row in rows} | waiting
        return {ident: found[ident] for ident in wanted if ident in found}

    def lineage(self, cids: Iterable[CID], limit: int = EDGES) -> list[Edge]:
        """Return what instructions and values came of."""
        return self._around(cids, limit, sql.LINEAGE, lambda edge: edge.target, lambda edge: edge.source)

    def users(self, cids: Iterable[CID], limit: int = EDGES) -> list[Edge]:
        """Return what came of instructions, modules and values."""
        return self._around(cids, limit, sql.USERS, lambda edge: edge.source, lambda edge: edge.target)

    def _around(
        self, cids: Iterable[CID], limit: int, query: str, near: Callable[[Edge], CID], far: Callable[[Edge], CID]
    ) -> list[Edge]:
        with contextlib.suppress(StoreError):  # what cannot be written is looked through below
            self._disk.sync()
        with self._disk.writer.lock:
            waiting = [edge for batch in self._disk.writer.batches() for edge in batch.edges]
        roots = list(dict.fromkeys(cids))
        if not waiting:
            return self._edges(query, roots, limit)
        by_end: dict[CID, list[Edge]] = {}
        for edge in waiting:
            by_end.setdefault(near(edge), []).append(edge)
        written: dict[CID, list[Edge]] = {}
        asked: set[CID] = set()

        def step(cid: CID) -> list[Edge]:
            if cid not in asked:  # everything that the disk knows from here on, at once
                asked.add(cid)
                edges = self._edges(query, [cid], limit)
                for edge in edges:
                    asked.update((near(edge), far(edge)) if len(edges) < limit else (near(edge),))
                    there = written.setdefault(near(edge), [])
                    if edge not in there:
                        there.append(edge)
            return list(dict.fromkeys([*by_end.get(cid, ()), *written.get(cid, ())]))

        return closure(roots, step, far, limit)

    def _edges(self, query: str, roots: list[CID], limit: int) -> list[Edge]:
        given = json.dumps([cid.bytes.hex() for cid in roots])
        return sql.edges(self._disk.rows(query, (given, limit)))

    def logs(self, instructions: Iterable[CID]) -> dict[CID, Entry]:
        """Return what guests said when the receipts of some instructions were made."""
        wanted = {cid.bytes: cid for cid in instructions}
        with self._disk.writer.lock:
            waiting = [
                entry
                for batch in reversed(list(self._disk.writer.batches()))
                for entry in batch.entries
                if entry.log and entry.receipt and entry.instruction.bytes in wanted
            ]
        said: dict[CID, Entry] = {}
        for query, chunk in sql.asked(sql.LOGS, list(wanted)):
            said.update((wanted[row[1]], sql.entry(row)) for row in self._disk.rows(query, chunk))
        return said | {entry.instruction: entry for entry in waiting}

    def pin(self, name: str, cid: CID) -> None:
        """Keep what `cid` reaches, under a name."""
        self._disk.change("INSERT OR REPLACE INTO pin VALUES (?, ?)", [(name, cid.bytes)])

    def unpin(self, name: str) -> CID | None:
        """Take a pin away and return what it held."""
        held = self.pins().get(name)
        self._disk.change("DELETE FROM pin WHERE name = ?", [(name,)])
        return held

    def pins(self) -> dict[str, CID]:
        """Return all pins."""
        return {name: unchecked(cid) for name, cid in self._disk.rows("SELECT name, cid FROM pin ORDER BY name")}
