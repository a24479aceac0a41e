"""Homestar's database: read what a node has computed, and write what a node will replay.

Source: Homestar 0.3.0, `homestar-runtime/migrations` and `db.rs` (`homestar.md` 1.18). Three tables: `workflows`,
`receipts` and which receipt belongs to which workflow. CIDs are text, values DAG-CBOR. Bodies of instructions and workflows
are not in it.

A file that somebody gives us is hostile: it is opened for reading alone, with SQLite's own defences on, its rows are
bounded, and each receipt is checked against its CID. One bad row is named and does no harm to the others.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import apsw
import msgspec

from ipvm_kernel.errors import BadInput, IpvmError, Malformed, Mismatch, StoreError
from ipvm_kernel.homestar.capsules import VERSION, Stored, resources
from ipvm_kernel.ipld import CID, decode, encode
from ipvm_kernel.ipld.limits import PEER, Limits
from ipvm_kernel.model import Receipt
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipvm_kernel.model import Workflow

_MAGIC: Final = b"SQLite format 3\0"
_LONGEST_NAME: Final = 1000  # characters of a workflow's name
_ROW: Final = Limits(block_bytes=256 * 2**20, depth=PEER.depth, items=10_000_000)  # a picture in a receipt is one row
_STEPS: Final = 200_000  # of SQLite's machine, between looks at the clock
_SECONDS: Final = 600  # for reading all of it

# As its migrations leave them. Their rows tell Homestar that nothing is left to do.
_TABLES: Final = """
CREATE TABLE __diesel_schema_migrations (
    version VARCHAR(50) PRIMARY KEY NOT NULL,
    run_on  TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO __diesel_schema_migrations (version)
    VALUES ('20230604135955'), ('20230604183928'), ('20230607023422'), ('20240213141620');
CREATE TABLE workflows (
    cid          TEXT NOT NULL PRIMARY KEY,
    name         TEXT,
    num_tasks    INTEGER NOT NULL,
    resources    BLOB NOT NULL,
    created_at   TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL,
    completed_at TIMESTAMP,
    status       TEXT CHECK(status IN ('pending', 'completed', 'running', 'stuck')) NOT NULL DEFAULT 'pending',
    retries      INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE receipts (
    cid         TEXT NOT NULL PRIMARY KEY,
    ran         TEXT NOT NULL,
    instruction TEXT NOT NULL,
    out         BLOB NOT NULL,
    meta        BLOB NOT NULL,
    issuer      TEXT,
    prf         BLOB NOT NULL,
    version     TEXT NOT NULL
);
CREATE INDEX instruction_index ON receipts (instruction);
CREATE TABLE workflows_receipts (
    workflow_cid TEXT NOT NULL REFERENCES workflows(cid),
    receipt_cid  TEXT NOT NULL REFERENCES receipts(cid),
    PRIMARY KEY(workflow_cid, receipt_cid)
);
"""
_WANTED: Final = {
    "workflows": {"cid", "name", "num_tasks", "resources", "created_at", "status"},
    "receipts": {"cid", "ran", "instruction", "out", "meta", "issuer", "prf", "version"},
    "workflows_receipts": {"workflow_cid", "receipt_cid"},
}


class Known(msgspec.Struct):
    """A workflow as a node knows it, without its body.

    Attributes:
        cid: Its CID.
        name: What its user called it.
        num_tasks: How many tasks it has.
        created: When, in seconds since 1970; 0 if that cannot be read.
        status: `pending`, `running`, `completed` or `stuck`.
        resources: What each instruction needs, by the text of its CID.
    """

    cid: CID
    name: str
    num_tasks: int
    created: float
    status: str
    resources: dict[str, list[Any]]


class Contents:
    """What a database holds, as far as it can be read; its receipts one by one, for they may be large and many.

    Attributes:
        workflows: The workflows, by CID.
        homes: The workflows that each receipt belongs to.
        refused: Why a row was not taken, one line each; those of receipts once they were read.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.workflows: dict[CID, Known] = {}
        self.homes: dict[CID, list[CID]] = {}
        self.refused: list[str] = []
        self._connection = connection
        columns = "cid, name, num_tasks, resources, created_at, status"
        for row in connection.execute(f"SELECT {columns} FROM workflows"):  # noqa: S608 - a constant
            with _row(self, "workflow", row[0]):
                known = _workflow(row)
                self.workflows[known.cid] = known
        for workflow, receipt in connection.execute("SELECT workflow_cid, receipt_cid FROM workflows_receipts"):
            with _row(self, "a workflow's receipt", receipt):
                self.homes.setdefault(_cid(receipt), []).append(_cid(workflow))
        self._needed = {name: items for known in self.workflows.values() for name, items in known.resources.items()}

    def receipts(self) -> Iterator[Stored]:
        """Yield the receipts, checked against their CIDs, with the instruction of each."""
        for row in self._connection.execute(
            "SELECT cid, instruction, ran, out, meta, issuer, prf, version FROM receipts ORDER BY rowid"
        ):
            stored = None
            with _row(self, "receipt", row[0]):
                stored = _receipt(row)
            if stored is not None:
                yield stored

    def resource(self, instruction: CID) -> str:
        """Return the resource of an instruction, if a workflow names it, or ""."""
        listed = self._needed.get(str(instruction)) or [""]
        return printable(listed[0], limit=500) if type(listed[0]) is str else ""


def is_database(path: Path) -> bool:
    """Return True if a file begins as every SQLite database does."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


# --- Reading ---


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Give what a database of Homestar's holds until the block ends. The file is not changed.

    Raises:
        Malformed: It is no database of Homestar's.
        StoreError: It cannot be read.
    """
    with _explained(path), contextlib.closing(_open_to_read(path)) as connection:
        _check_tables(connection, path)
        yield Contents(connection)


def _open_to_read(path: Path) -> apsw.Connection:
    """Open a database that may be in use, or in a folder that cannot be written."""
    end = time.monotonic() + _SECONDS
    for options in ("mode=ro", "mode=ro&immutable=1"):  # a log cannot be read where no file can be made beside it
        connection = apsw.Connection(
            f"file:{quote(str(path.absolute()))}?{options}", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        connection.execute("PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA mmap_size=0")
        connection.limit(apsw.SQLITE_LIMIT_LENGTH, _ROW.block_bytes)
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            connection.close()
            continue
        return connection
    raise StoreError(f"{path} cannot be opened. Copy it together with its -wal and -shm files, and load the copy")


def _check_tables(connection: apsw.Connection, path: Path) -> None:
    for name, wanted in _WANTED.items():
        kinds = [kind for (kind,) in connection.execute("SELECT type FROM sqlite_schema WHERE name = ?", (name,))]
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({name})")} if kinds == ["table"] else set()
        if not wanted <= columns:
            lacking = f"no columns {', '.join(sorted(wanted - columns))} in" if columns else "no table"
            raise Malformed(
                f"{path} is no database of Homestar 0.3.0: expected its three tables, found {lacking} {name}"
            )


class _row:  # noqa: N801 - it is used as a word before a block
    """Note what is wrong with one row, and go on with the next."""

    def __init__(self, found: Contents, what: str, name: object) -> None:
        self._found, self._what, self._name = found, what, name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        if not isinstance(error, IpvmError):
            return False
        name = printable(str(self._name), limit=80)
        self._found.refused.append(f"{self._what} {name}: {error.message}")
        return True


def _cid(text: object) -> CID:
    if not isinstance(text, str):
        raise Malformed(f"expected the text of a CID, found {type(text).__name__}")
    return CID.parse(text)


def _value(data: object, name: str) -> Any:
    if not isinstance(data, bytes):
        raise Malformed(f"expected DAG-CBOR in the column {name}, found {type(data).__name__}")
    return decode(data, _ROW)


def _workflow(row: tuple[Any, ...]) -> Known:
    cid, name, count, needed, created, status = row
    if not isinstance(count, int) or not 0 <= count < 2**31:
        raise Malformed(f"expected a number of tasks, found {printable(repr(count), limit=60)}")
    listed = _value(needed, "resources")
    if type(listed) is not dict or not all(type(items) is list for items in listed.values()):
        raise Malformed("expected a map of lists in the column resources")
    shown = printable(name, limit=_LONGEST_NAME) if isinstance(name, str) else ""
    return Known(_cid(cid), shown, count, _seconds(created), printable(str(status), limit=40), listed)


def _receipt(row: tuple[Any, ...]) -> Stored:
    cid, instruction, ran, out, meta, issuer, prf, version = row
    if version != VERSION:
        raise Malformed(f"expected version {VERSION!r}, found {printable(repr(version), limit=60)}")
    wire = {
        "ran": _cid(ran),
        "out": _value(out, "out"),
        "meta": _value(meta, "meta"),
        "iss": issuer,
        "prf": _value(prf, "prf"),
    }
    receipt, claimed = Receipt.from_ipld(wire), _cid(cid)
    if receipt.cid != claimed:
        raise Mismatch(f"its content is {receipt.cid}")
    return Stored(_cid(instruction), receipt)


def _seconds(stamp: object) -> float:
    """Return a time as SQLite's and diesel's text has it, UTC, in seconds since 1970; 0 if it is none."""
    import datetime as dt

    try:
        parsed = dt.datetime.fromisoformat(str(stamp)[:26])
    except ValueError:
        return 0.0
    return parsed.replace(tzinfo=dt.UTC).timestamp()


# --- Writing ---


def write(path: Path, receipts: Iterable[Stored], workflows: Iterable[tuple[Workflow, str]] = ()) -> tuple[int, int]:
    """Write receipts and workflows for a Homestar node, or add them to what its database has.

    An instruction that has a receipt keeps that one alone: two for one make Homestar hang (`homestar.md` 1.7).

    Args:
        path: A new file, which is there whole or not at all, or a database of a node that is not running.
        receipts: What to write; errors are left out, since Homestar would take their payload for the value.
        workflows: Workflows to be listed, with their names.

    Returns:
        How many receipts and how many workflows were added.

    Raises:
        Malformed: There is a file, and it is no database of Homestar's.
        StoreError: It cannot be written, or a node is using it.
    """
    if path.exists():
        with _explained(path), contextlib.closing(apsw.Connection(str(path))) as connection:
            connection.set_busy_timeout(2_000)
            connection.execute("PRAGMA trusted_schema=OFF; PRAGMA synchronous=FULL")
            _check_tables(connection, path)
            return _add(connection, receipts, workflows)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}. Choose another folder") from None
    os.close(descriptor)
    beside = Path(name)
    try:
        with _explained(path), contextlib.closing(apsw.Connection(name)) as connection:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(_TABLES)
            added = _add(connection, receipts, workflows)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return added


def _add(
    connection: apsw.Connection, receipts: Iterable[Stored], workflows: Iterable[tuple[Workflow, str]]
) -> tuple[int, int]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        counts = _rows(connection, receipts, workflows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return counts


def _rows(
    connection: apsw.Connection, receipts: Iterable[Stored], workflows: Iterable[tuple[Workflow, str]]
) -> tuple[int, int]:
    before = connection.total_changes()
    there = dict(connection.execute("SELECT instruction, cid FROM receipts"))
    for instruction, receipt in receipts:
        if not receipt.ok or str(instruction) in there:
            continue
        there[str(instruction)] = str(receipt.cid)
        connection.execute(
            "INSERT OR IGNORE INTO receipts (cid, ran, instruction, out, meta, issuer, prf, version) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                str(receipt.cid), str(receipt.ran), str(instruction), encode(receipt.out.to_ipld()), encode(receipt.meta),
                receipt.iss, encode(receipt.prf), VERSION,
            ),
        )  # fmt: skip
    added, listed = connection.total_changes() - before, 0
    for workflow, name in workflows:
        members = [there[text] for text in map(str, workflow.by_instruction()) if text in there]
        status = "completed" if len(members) == len(workflow) else "pending"
        row = (str(workflow.cid), name or str(workflow.cid), len(workflow), encode(resources(workflow)), status)
        before = connection.total_changes()
        connection.execute(
            "INSERT OR IGNORE INTO workflows (cid, name, num_tasks, resources, status) VALUES (?, ?, ?, ?, ?)", row
        )
        listed += connection.total_changes() - before
        connection.executemany(
            "INSERT OR IGNORE INTO workflows_receipts (workflow_cid, receipt_cid) VALUES (?, ?)",
            [(row[0], member) for member in members],
        )
    return added, listed


class _explained:  # noqa: N801 - it is used as a word before a block
    """Turn SQLite's errors into ours, with the path and what to do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        match error:
            case apsw.NotADBError() | apsw.CorruptError() | apsw.FormatError():
                raise BadInput(f"{self._path} is no database, or it is damaged: {_brief(error)}") from None
            case apsw.BusyError() | apsw.LockedError():
                raise StoreError(
                    f"{self._path} is in use. Stop the Homestar node that has it open, and try again"
                ) from None
            case apsw.InterruptError():
                raise StoreError(f"{self._path} takes more than {_SECONDS} s to read: it was given up") from None
            case apsw.Error():
                raise StoreError(f"{self._path} cannot be read or written: {_brief(error)}") from None


def _brief(error: BaseException) -> str:
    return printable(str(error), limit=200)
