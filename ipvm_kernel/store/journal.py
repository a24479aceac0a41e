"""The journal and the pins of a store on disk: what was run, when and from where, and what must stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.store import sql

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.store.base import Entry, RunRecord
    from ipvm_kernel.store.disk import Disk


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

    def journal(
        self, *, instruction: CID | None = None, func: str | None = None, run: int | None = None, limit: int = 50
    ) -> list[Entry]:
        """Return the latest lines of the journal that match, the newest first."""
        asked: dict[str, Any] = {"instruction": instruction and instruction.bytes, "func": func, "run": run}
        given = {name: value for name, value in asked.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in given) or "1"
        with self._disk.writer.lock:
            waiting = [
                entry
                for batch in self._disk.writer.batches()
                for entry in reversed(batch.entries)
                if instruction in (None, entry.instruction) and func in (None, entry.func) and run in (None, entry.run)
            ]
        rows = self._disk.rows(
            f"SELECT * FROM entry WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608 - names are ours
            (*given.values(), limit),
        )
        return (waiting + [entry for entry in map(sql.entry, rows) if entry not in waiting])[:limit]

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
