"""The statements of the store on disk, and its rows as values."""

from __future__ import annotations

from typing import Any, Final

from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.store.base import Entry, OnFile, RunRecord

CHUNK: Final = 256
"""Instructions that one query asks for."""

# Everything put together here is ours; whatever comes from elsewhere is bound.
COLUMNS: Final = "r.instruction, r.cid, r.own, r.admitted, r.filed, r.seconds, b.place, b.data"
ON_FILE: Final = (
    f"SELECT {COLUMNS} FROM receipt r LEFT JOIN block b ON b.cid = r.cid "  # noqa: S608
    "WHERE r.instruction = ? ORDER BY r.id"
)
OUTCOME: Final = (
    f"SELECT {COLUMNS} FROM outcome o JOIN receipt r ON r.id = o.receipt "  # noqa: S608
    "LEFT JOIN block b ON b.cid = r.cid WHERE o.key = ?"
)
ON_FILE_MANY: Final = {
    count: ON_FILE.replace("= ? ORDER", f"IN ({', '.join('?' * count)}) ORDER") for count in range(2, CHUNK + 1)
}
INSERT_BLOCK: Final = (
    "INSERT INTO block (cid, size, place, role, used, data) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (cid) DO UPDATE SET place = excluded.place, data = excluded.data, used = excluded.used, "
    "role = CASE WHEN block.role IN ('input', 'module') THEN block.role ELSE excluded.role END"
)
INSERT_RECEIPT: Final = (
    "INSERT INTO receipt (cid, instruction, own, admitted, filed, seconds) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (instruction, cid) DO UPDATE SET own = max(own, excluded.own), admitted = max(admitted, excluded.admitted)"
)
INSERT_OUTCOME: Final = "INSERT OR IGNORE INTO outcome SELECT ?, id FROM receipt WHERE instruction = ? AND cid = ?"
INSERT_ENTRY: Final = (
    "INSERT INTO entry (instruction, func, rsc, how, receipt, run, at, seconds, fuel, engine, log, source, error) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
TOUCH: Final = "UPDATE block SET used = ? WHERE cid = ?"
INSERT_RUN: Final = (
    "INSERT INTO run (id, started, workflow, name, cell, source, count, notebook, session) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def receipt_row(found: OnFile) -> tuple[Any, ...]:
    """Return the row of a receipt."""
    return (found.cid.bytes, found.instruction.bytes, found.own, found.admitted, found.filed, found.seconds)


def entry_row(entry: Entry) -> tuple[Any, ...]:
    """Return the row of a line of the journal."""
    return (
        entry.instruction.bytes, entry.func, entry.rsc, entry.how, entry.receipt.bytes if entry.receipt else None,
        entry.run, entry.at, entry.seconds, min(entry.fuel, (1 << 63) - 1), entry.engine, entry.log,
        entry.source.bytes if entry.source else None, entry.error,
    )  # fmt: skip


def entry(row: tuple[Any, ...]) -> Entry:
    """Return the line of the journal that a row is."""
    _, instruction, func, rsc, how, receipt, run, at, seconds, fuel, engine, log, source, error = row
    return Entry(
        instruction=unchecked(instruction), func=func, rsc=rsc, how=how,
        receipt=unchecked(receipt) if receipt else None, run=run, at=at, seconds=seconds, fuel=fuel, engine=engine,
        log=log, source=unchecked(source) if source else None, error=error,
    )  # fmt: skip


def run_row(run: RunRecord) -> tuple[Any, ...]:
    """Return the row of a run."""
    return (
        run.ident, run.started, run.workflow.bytes if run.workflow else None, run.name, run.cell, run.source, run.count,
        run.notebook, run.session,
    )  # fmt: skip


def run(row: tuple[Any, ...]) -> RunRecord:
    """Return the run that a row is."""
    ident, started, workflow, name, cell, source, count, notebook, session = row
    return RunRecord(
        ident=ident, started=started, workflow=unchecked(workflow) if workflow else None, name=name, cell=cell,
        source=source, count=count, notebook=notebook, session=session,
    )  # fmt: skip
