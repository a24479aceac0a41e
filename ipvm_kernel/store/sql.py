"""The statements of the store on disk, and its rows as values."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.store.lineage import KINDS, CellRecord, Edge
from ipvm_kernel.store.records import Entry, OnFile, RunRecord
from ipvm_kernel.store.schema import ABSENT, INLINE, ON_DISK, TRUSTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import apsw

    from ipvm_kernel.ipld import CID

ASKED: Final = (1, 16, 256)
"""How many instructions one query asks for; SQLite remembers each of these queries."""

_ROWS: Final = 32

LARGE_BYTES: Final = 4096
"""A receipt of more bytes than this is read when it is asked for, and not kept in memory."""

# Everything put together here is ours; whatever comes from elsewhere is bound.
_COLUMNS: Final = (
    "r.instruction, r.cid, r.ran, r.own, r.admitted, r.filed, r.seconds, b.place, "
    f"CASE WHEN b.size <= {LARGE_BYTES} THEN b.data END"
)
ON_FILE: Final = {
    count: f"SELECT {_COLUMNS} FROM receipt r LEFT JOIN block b ON b.cid = r.cid "  # noqa: S608
    f"WHERE r.instruction IN ({', '.join('?' * count)}) ORDER BY r.id"
    for count in ASKED
}
LOGS: Final = {
    count: f"SELECT * FROM entry WHERE instruction IN ({', '.join('?' * count)}) "  # noqa: S608
    "AND log != '' AND receipt IS NOT NULL ORDER BY id"
    for count in ASKED
}
OUTCOME: Final = (
    f"SELECT {_COLUMNS} FROM outcome o JOIN receipt r ON r.id = o.receipt "  # noqa: S608
    "LEFT JOIN block b ON b.cid = r.cid WHERE o.key = ?"
)
FORGET_OUTCOME: Final = "DELETE FROM outcome WHERE receipt IN (SELECT id FROM receipt WHERE instruction = ?)"
FORGET_RECEIPT: Final = "DELETE FROM receipt WHERE instruction = ?"
TOUCH: Final = "UPDATE block SET used = ? WHERE cid = ?"

_BLOCK: Final = "INSERT INTO main.block (cid, size, place, role, used, data) "
_ROLE: Final = (
    "CASE WHEN block.role IN ('input', 'module') OR excluded.role = 'value' THEN block.role ELSE excluded.role END"
)
_SAME_BLOCK: Final = (
    "ON CONFLICT (cid) DO UPDATE SET place = excluded.place, size = excluded.size, data = excluded.data, used = excluded.used, "
    f"role = {_ROLE}"
)
INSERT_BLOCK: Final = f"{_BLOCK} VALUES {{}} {_SAME_BLOCK}"
_RECEIPT: Final = "INSERT INTO main.receipt (cid, instruction, ran, own, admitted, filed, seconds) "
_SAME_RECEIPT: Final = (
    "ON CONFLICT (instruction, cid) DO UPDATE SET own = max(own, excluded.own), admitted = "
    "CASE WHEN 1 IN (admitted, excluded.admitted) THEN 1 ELSE max(admitted, excluded.admitted) END"
)
INSERT_RECEIPT: Final = f"{_RECEIPT} VALUES {{}} {_SAME_RECEIPT}"
INSERT_OUTCOME: Final = (
    "INSERT OR IGNORE INTO outcome SELECT given.column1, r.id FROM (VALUES {}) given "
    "JOIN receipt r ON r.instruction = given.column2 AND r.cid = given.column3"
)
_ENTRY: Final = "instruction, func, rsc, how, receipt, run, at, seconds, fuel, engine, log, source, error, declared"
INSERT_ENTRY: Final = f"INSERT INTO main.entry ({_ENTRY}) VALUES {{}}"  # noqa: S608
MADE: Final = {
    count: f"SELECT * FROM entry WHERE instruction IN ({', '.join('?' * count)}) "  # noqa: S608
    "AND receipt IS NOT NULL ORDER BY id DESC"
    for count in ASKED
}
BEFORE: Final = (
    "id < ifnull((SELECT min(id) FROM entry WHERE instruction = ? AND receipt IS NOT NULL), 9223372036854775807)"
)
FILES: Final = f"SELECT cid FROM block WHERE place = {ON_DISK} AND cid IN (SELECT unhex(value) FROM json_each(?))"  # noqa: S608
INSERT_NAME: Final = "INSERT OR IGNORE INTO name (cid, name) VALUES {}"
CALLED: Final = "SELECT cid, name FROM name WHERE cid IN (SELECT unhex(value) FROM json_each(?))"
INSERT_ATTESTATION: Final = "INSERT OR IGNORE INTO attestation (receipt, cid) VALUES {}"
ATTESTATIONS: Final = {
    count: "SELECT a.receipt, a.cid, b.data FROM attestation a JOIN block b ON b.cid = a.cid "  # noqa: S608
    f"WHERE a.receipt IN ({', '.join('?' * count)}) ORDER BY a.id"
    for count in ASKED
}
FORGET_ATTESTATION: Final = "DELETE FROM attestation WHERE receipt IN (SELECT cid FROM receipt WHERE instruction = ?)"
INSERT_CELL: Final = (
    "INSERT INTO cell (id, cell, source, count, notebook, saved, session) VALUES {} ON CONFLICT (id) DO NOTHING"
)
# What an edge leads to gets a row even if it is not here: it has a number then, and is found once it comes.
INSERT_END: Final = (
    f"INSERT INTO block (cid, size, place, role, used) SELECT column1, 0, {ABSENT}, 'value', 0 FROM (VALUES {{}}) "  # noqa: S608
    "WHERE true ON CONFLICT (cid) DO NOTHING"
)
INSERT_EDGE: Final = (
    "INSERT OR IGNORE INTO edge SELECT t.id, s.id, given.column3 FROM (VALUES {}) given "
    "CROSS JOIN block t ON t.cid = given.column1 CROSS JOIN block s ON s.cid = given.column2"
)


# A parcel on its way in: tables as they are here, without keys, in a database of its own (see quarantine).
PARCEL: Final = """
CREATE TABLE block (cid, size, role, data);
CREATE TABLE large (cid, size, role);
CREATE TABLE receipt (cid, instruction, ran, own, admitted, filed, seconds);
CREATE TABLE outcome (key, instruction, receipt);
CREATE TABLE entry (instruction, func, rsc, how, receipt, run, at, seconds, fuel, engine, log, source, error, declared);
CREATE TABLE edge (target, source, kind);
CREATE TABLE attestation (receipt, cid);
CREATE TABLE pin (name, cid);
CREATE TABLE name (cid, name);
"""

_MOVE: Final = f"""
{_BLOCK} SELECT cid, size, {INLINE}, role, :now, data FROM parcel.block WHERE true {_SAME_BLOCK}
    WHERE block.data IS NOT excluded.data OR block.place != {INLINE} OR block.role IS NOT {_ROLE};
{_BLOCK} SELECT cid, size, {ON_DISK}, role, :now, NULL FROM parcel.large WHERE true {_SAME_BLOCK};
{_RECEIPT} SELECT * FROM parcel.receipt WHERE true {_SAME_RECEIPT};
INSERT OR IGNORE INTO main.outcome SELECT given.key, r.id FROM parcel.outcome given
    CROSS JOIN main.receipt r ON r.instruction = given.instruction AND r.cid = given.receipt;
INSERT INTO main.entry ({_ENTRY}) SELECT * FROM parcel.entry ORDER BY rowid;
INSERT INTO main.block (cid, size, place, role, used) SELECT cid, 0, {ABSENT}, 'value', 0
    FROM (SELECT target AS cid FROM parcel.edge UNION SELECT source FROM parcel.edge)
    WHERE true ON CONFLICT (cid) DO NOTHING;
INSERT OR IGNORE INTO main.edge SELECT t.id, s.id, given.kind FROM parcel.edge given
    CROSS JOIN main.block t ON t.cid = given.target CROSS JOIN main.block s ON s.cid = given.source;
INSERT OR IGNORE INTO main.attestation (receipt, cid) SELECT receipt, cid FROM parcel.attestation ORDER BY rowid;
INSERT OR REPLACE INTO main.pin SELECT name, cid FROM parcel.pin ORDER BY rowid;
INSERT OR IGNORE INTO main.name SELECT cid, name FROM parcel.name;
"""  # noqa: S608
MOVE: Final = tuple(statement for statement in _MOVE.split(";") if statement.strip())
"""What moves a parcel in, its database attached as `parcel`; `:now` is the time."""


def _around(here: str, there: str) -> str:
    """Return the query for the edges that some blocks lead to, from one end to the other. It goes in breadth."""
    return (
        "WITH RECURSIVE around(id) AS ("  # noqa: S608
        "SELECT b.id FROM (SELECT DISTINCT unhex(value) AS cid FROM json_each(?)) given JOIN block b ON b.cid = given.cid "
        f"UNION SELECT e.{there} FROM around a CROSS JOIN edge e ON e.{here} = a.id LIMIT ?2) "
        "SELECT t.cid, s.cid, e.kind FROM around a "
        f"CROSS JOIN edge e ON e.{here} = a.id CROSS JOIN block t ON t.id = e.target CROSS JOIN block s ON s.id = e.source "
        "LIMIT ?2"
    )


LINEAGE: Final = _around("target", "source")
USERS: Final = _around("source", "target")

INSERT_RUN: Final = (
    "INSERT INTO run (id, started, workflow, name, cell, source, count, notebook, session) VALUES {} "
    "ON CONFLICT (id) DO NOTHING"
)


def asked(queries: dict[int, str], values: list[bytes]) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Yield queries of `ASKED` many values, with their values, which together ask for all; the last is filled up."""
    while values:
        count = next((count for count in ASKED if count >= len(values)), ASKED[-1])
        chunk, values = values[:count], values[count:]
        yield queries[count], (*chunk, *chunk[:1] * (count - len(chunk)))


def insert(connection: apsw.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, many with each statement: every statement has to wait for the interpreter's lock."""
    for start in range(0, len(rows), _ROWS):
        chunk = rows[start : start + _ROWS]
        marks = f"({', '.join('?' * len(chunk[0]))})"
        connection.execute(statement.format(", ".join([marks] * len(chunk))), list(chain.from_iterable(chunk)))


def receipt_row(found: OnFile) -> tuple[Any, ...]:
    """Return the row of a receipt."""
    ran = b"" if found.ran is None else found.ran.bytes
    admitted = TRUSTED if found.trusted else int(found.admitted)
    return (found.cid.bytes, found.instruction.bytes, ran, found.own, admitted, found.filed, found.seconds)


def entry_row(entry: Entry) -> tuple[Any, ...]:
    """Return the row of a line of the journal."""
    return (
        entry.instruction.bytes, _text(entry.func), _text(entry.rsc), entry.how,
        entry.receipt.bytes if entry.receipt else None, entry.run, entry.at, entry.seconds,
        min(entry.fuel, (1 << 63) - 1), entry.engine, _text(entry.log), entry.source.bytes if entry.source else None,
        _text(entry.error), entry.declared,
    )  # fmt: skip


def entry(row: tuple[Any, ...]) -> Entry:
    """Return the line of the journal that a row is."""
    _, instruction, func, rsc, how, receipt, run, at, seconds, fuel, engine, log, source, error, declared = row
    return Entry(
        instruction=unchecked(instruction), func=func, rsc=rsc, how=how,
        receipt=unchecked(receipt) if receipt else None, run=run, at=at, seconds=seconds, fuel=fuel, engine=engine,
        log=log, source=unchecked(source) if source else None, error=error, declared=declared,
    )  # fmt: skip


def edge_rows(edges: Iterable[Edge]) -> list[tuple[Any, ...]]:
    """Return the rows of edges, by the CIDs of their ends."""
    return [(edge.target.bytes, edge.source.bytes, _KIND[edge.kind]) for edge in edges]


def edges(rows: Iterable[tuple[Any, ...]]) -> list[Edge]:
    """Return the edges that rows are."""
    cids: dict[bytes, CID] = {}
    found = []
    for target, source, kind in rows:
        one, other = cids.get(target), cids.get(source)
        if one is None:
            one = cids[target] = unchecked(target)
        if other is None:
            other = cids[source] = unchecked(source)
        found.append(Edge(one, other, KINDS[kind]))
    return found


_KIND: Final = {kind: number for number, kind in enumerate(KINDS)}


def cell_row(cell: CellRecord) -> tuple[Any, ...]:
    """Return the row of a cell."""
    saved = cell.saved.bytes if cell.saved else None
    return (cell.ident, _text(cell.cell), _text(cell.source), cell.count, _text(cell.notebook), saved, cell.session)


def cell(row: tuple[Any, ...]) -> CellRecord:
    """Return the cell that a row is."""
    ident, name, source, count, notebook, saved, session = row
    return CellRecord(
        ident=ident, cell=name, source=source, count=count, notebook=notebook,
        saved=unchecked(saved) if saved else None, session=session,
    )  # fmt: skip


def run_row(run: RunRecord) -> tuple[Any, ...]:
    """Return the row of a run."""
    return (
        run.ident, run.started, run.workflow.bytes if run.workflow else None, _text(run.name), _text(run.cell),
        _text(run.source), run.count, _text(run.notebook), run.session,
    )  # fmt: skip


def name_rows(names: Iterable[tuple[CID, str]]) -> list[tuple[bytes, str]]:
    """Return the rows of what things were called."""
    return [(cid.bytes, _text(name)) for cid, name in names]


def _text(text: str) -> str:
    """Return a text that has UTF-8: the path of a notebook may be none."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def run(row: tuple[Any, ...]) -> RunRecord:
    """Return the run that a row is."""
    ident, started, workflow, name, cell, source, count, notebook, session = row
    return RunRecord(
        ident=ident, started=started, workflow=unchecked(workflow) if workflow else None, name=name, cell=cell,
        source=source, count=count, notebook=notebook, session=session,
    )  # fmt: skip
