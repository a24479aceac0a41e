"""The tables of a store on disk, how a connection to them is set up, and what SQLite's errors mean to a user.

Durability is `synchronous=FULL` over a write-ahead log: what was acknowledged survives a power cut. Blocks have
integer ids, and edges are between those, so that a lineage is one recursive query. The version of the schema is SQLite's `user_version`.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import apsw

from ipvm_kernel.errors import StoreBusy, StoreDamaged, StoreError, StoreFull, StoreReadOnly
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from types import TracebackType

APPLICATION: Final = 0x6970766D  # "ipvm", in SQLite's header; `file` shows it
VERSION: Final = 3
BUSY_SECONDS: Final = 30
READ_SECONDS: Final = 5

QUERY_SECONDS: Final = 5
"""How long one query may take in a database that is only read: somebody else made it, and a query of ours ends long before."""

_STEPS_BETWEEN: Final = 20_000  # instructions of SQLite's machine between two looks at the clock: a millisecond or two

# block.place: where the bytes are.
INLINE, ON_DISK, DROPPED, ABSENT = range(4)

# receipt.admitted, beside 0 and 1: to be admitted once its task is here.
TRUSTED: Final = 2

_TABLES: Final = """
CREATE TABLE block (
    id    INTEGER PRIMARY KEY,
    cid   BLOB NOT NULL UNIQUE,
    size  INTEGER NOT NULL,
    place INTEGER NOT NULL,  -- 0 in data, 1 in a file, 2 dropped to make room, 3 never here, but an edge leads to it
    role  TEXT NOT NULL,     -- block, input, value or module
    used  INTEGER NOT NULL,  -- seconds since 1970
    data  BLOB
);
CREATE INDEX block_by_use ON block (used) WHERE role = 'value' AND place IN (0, 1);
CREATE TABLE receipt (
    id          INTEGER PRIMARY KEY,
    cid         BLOB NOT NULL,
    instruction BLOB NOT NULL,
    ran         BLOB NOT NULL,
    own         INTEGER NOT NULL,
    admitted    INTEGER NOT NULL,  -- 0 no, 1 yes, 2 once its task is here and it means the same
    filed       REAL NOT NULL,
    seconds     REAL NOT NULL,
    UNIQUE (instruction, cid)
);
CREATE TABLE outcome (key BLOB PRIMARY KEY, receipt INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE run (
    id       INTEGER PRIMARY KEY,
    started  REAL NOT NULL,
    workflow BLOB,
    name     TEXT NOT NULL,
    cell     TEXT NOT NULL,
    source   TEXT NOT NULL,
    count    INTEGER NOT NULL,
    notebook TEXT NOT NULL,
    session  TEXT NOT NULL
);
CREATE TABLE entry (
    id          INTEGER PRIMARY KEY,
    instruction BLOB NOT NULL,
    func        TEXT NOT NULL,
    rsc         TEXT NOT NULL,
    how         TEXT NOT NULL,
    receipt     BLOB,
    run         INTEGER,
    at          REAL NOT NULL,
    seconds     REAL NOT NULL,
    fuel        INTEGER NOT NULL,
    engine      TEXT NOT NULL,
    log         TEXT NOT NULL,
    source      BLOB,
    error       TEXT NOT NULL,
    declared    INTEGER  -- a cell
);
CREATE INDEX entry_by_instruction ON entry (instruction);
CREATE INDEX entry_by_log ON entry (instruction) WHERE log != '';
CREATE INDEX entry_by_func ON entry (func);
CREATE INDEX entry_by_run ON entry (run);
CREATE TABLE pin (name TEXT PRIMARY KEY, cid BLOB NOT NULL) WITHOUT ROWID;
"""

# Since version 2. Receipts from before it have no edges; the lineage of one is still read off its instruction.
_LINEAGE: Final = """
CREATE TABLE cell (
    id       INTEGER PRIMARY KEY,
    cell     TEXT NOT NULL,
    source   TEXT NOT NULL,
    count    INTEGER NOT NULL,
    notebook TEXT NOT NULL,
    saved    BLOB,
    session  TEXT NOT NULL
);
CREATE TABLE edge (
    target INTEGER NOT NULL,  -- a block: an instruction, or a value that one gave
    source INTEGER NOT NULL,  -- a block: what went into it, or the instruction that gave it
    kind   INTEGER NOT NULL,  -- see lineage.KINDS
    PRIMARY KEY (target, source, kind)
) WITHOUT ROWID;
CREATE INDEX edge_by_source ON edge (source);
CREATE TABLE name (cid BLOB NOT NULL, name TEXT NOT NULL, PRIMARY KEY (cid, name)) WITHOUT ROWID;
"""

# Since version 3. The statements themselves are blocks.
_STATEMENTS: Final = """
CREATE TABLE attestation (
    id      INTEGER PRIMARY KEY,
    receipt BLOB NOT NULL,
    cid     BLOB NOT NULL,
    UNIQUE (receipt, cid)
);
"""

_STEPS: Final = {
    0: _TABLES + _LINEAGE + _STATEMENTS,
    1: f"ALTER TABLE entry ADD COLUMN declared INTEGER; {_LINEAGE}{_STATEMENTS}",
    2: _STATEMENTS,
}
"""What makes this version of the tables of an earlier one."""


def connect(path: Path, *, local: bool) -> apsw.Connection:
    """Open the database of a store, made if need be, ready for reading and writing.

    Args:
        path: The file.
        local: False on a network file system, where a write-ahead log is unsafe: a rollback journal serves there.

    Raises:
        StoreReadOnly: A newer ipvm wrote it, or it cannot be written.
        StoreDamaged: It is not a store.
        StoreError: It cannot be opened.
    """
    with explained(path):
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(BUSY_SECONDS * 1000)
        connection.execute("PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA foreign_keys=OFF")
        found = version(connection, path)
        if connection.readonly("main"):
            raise apsw.ReadOnlyError("the file cannot be written")
        _set_journal(connection, "wal" if local else "delete")
        connection.execute("PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON")
        if found < VERSION:
            _make_tables(connection)
    return connection


def version(connection: apsw.Connection, path: Path) -> int:
    """Return the version of a store's tables, 0 if it has none.

    Raises:
        StoreDamaged: They are another program's.
        StoreReadOnly: They are a newer ipvm's.
    """
    connection.execute("BEGIN")  # one look at all three: another kernel may be making the tables just now
    try:
        found, application = connection.pragma("user_version"), connection.pragma("application_id")
        strange = application != APPLICATION and (found or connection.execute("SELECT 1 FROM sqlite_schema").fetchall())
    finally:
        connection.execute("COMMIT")
    if strange:
        raise StoreDamaged(f"{path} belongs to another program, not to ipvm. Move it away, or choose another folder")
    _check_plain(connection, path)
    if found > VERSION:
        raise StoreReadOnly(
            f"{path} was written by a newer ipvm (store version {found}; this one knows {VERSION}): "
            f"it is read, and nothing is kept. Upgrade with: pip install -U ipvm"
        )
    return int(found)


_NAMES: Final = tuple(re.findall(r"CREATE TABLE (\w+)", _TABLES + _LINEAGE + _STATEMENTS))
_MADE_UP: Final = (
    "SELECT l.name, l.type FROM pragma_table_list l, pragma_table_xinfo(l.name, 'main') x WHERE l.schema = 'main' "  # noqa: S608
    f"AND lower(l.name) IN ({', '.join(map(repr, _NAMES))}) AND (l.type != 'table' OR x.hidden > 0) "
    "UNION ALL SELECT name, 'trigger' FROM main.sqlite_schema WHERE type = 'trigger' OR sql LIKE 'create%trigger%' LIMIT 1"
)


def _check_plain(connection: apsw.Connection, path: Path) -> None:
    """Refuse a database that works something out where ours only keeps: what is read may then have no end.

    Raises:
        StoreDamaged: What is read is no plain table, or there is a trigger.
    """
    for name, kind in connection.execute(_MADE_UP):
        what = "a computed column" if kind == "table" else f"a {kind}"
        raise StoreDamaged(
            f"{path} has {what} at {printable(str(name), limit=60)}, which no ipvm made: it is not used. Move it away"
        )


def _set_journal(connection: apsw.Connection, mode: str) -> None:
    """Choose the kind of journal. SQLite does not wait for others here, so this does."""
    end = time.monotonic() + BUSY_SECONDS
    while connection.pragma("journal_mode") != mode:
        try:
            connection.pragma("journal_mode", mode)
        except apsw.BusyError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return  # a file system that cannot have it keeps the mode that it has


def _make_tables(connection: apsw.Connection) -> None:
    """Make the tables, unless another kernel, first at the same moment, has made them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = connection.pragma("user_version")
        if found < VERSION:
            connection.execute(_STEPS[int(found)])
            connection.pragma("application_id", APPLICATION)
            connection.pragma("user_version", VERSION)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


# What stands in for what an earlier version lacks, where nothing may be changed.
_FOR_STATEMENTS: Final = _STATEMENTS.replace("CREATE TABLE", "CREATE TEMP TABLE")
_FOR_LINEAGE: Final = _LINEAGE.replace("CREATE TABLE", "CREATE TEMP TABLE").replace(
    "INDEX edge_by_source", "INDEX temp.edge_by_source"
)
_ENTRY: Final = "CREATE TEMP VIEW entry AS SELECT *, NULL AS declared FROM main.entry;"
_STANDINS: Final = {1: _FOR_STATEMENTS + _FOR_LINEAGE + _ENTRY, 2: _FOR_STATEMENTS}


def connect_read_only(path: Path) -> apsw.Connection:
    """Open a database that must not be changed. Where nothing of it can be understood, an empty one takes its place."""
    with explained(path):
        for options in ("mode=ro", "mode=ro&immutable=1"):  # a log cannot be read where no file can be made beside it
            try:
                connection = open_read_only(path, options)
            except (apsw.CantOpenError, apsw.ReadOnlyError):
                continue
            except apsw.SQLError:  # tables of another shape
                break
            return connection
        connection = apsw.Connection(":memory:")
        connection.execute(_STEPS[0])
    return connection


def open_read_only(path: Path, options: str) -> apsw.Connection:
    """Open a database for reading alone, with what an earlier version lacks made up in memory.

    Args:
        path: The file.
        options: How, as parameters of SQLite's URI.

    Raises:
        apsw.Error: It cannot be opened so, or its tables are not those of a store.
    """
    connection = apsw.Connection(
        f"file:{quote(str(path.absolute()))}?{options}", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    try:
        connection.set_busy_timeout(READ_SECONDS * 1000)
        _bound(connection)
        connection.execute("PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON")
        _check_plain(connection, path)
        connection.pragma("temp_store", "memory")
        if (standins := _STANDINS.get(int(connection.pragma("user_version")))) is not None:
            connection.execute(standins)
        connection.execute(_PROBE)
    except BaseException:
        connection.close()
        raise
    return connection


def _bound(connection: apsw.Connection) -> None:
    """End every query that takes too long."""
    end = 0.0

    def begins(*_: object) -> bool:
        nonlocal end
        end = time.monotonic() + QUERY_SECONDS
        return True

    connection.set_exec_trace(begins)
    connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN)


_PROBE: Final = (
    "SELECT b.id, b.cid, b.size, b.place, b.role, b.used, b.data, r.id, r.instruction, r.ran, r.own, r.admitted, r.filed, "
    "r.seconds, o.key, run.id, entry.declared, pin.name, cell.saved, edge.kind, name.name, a.cid FROM block b, receipt r, "
    "outcome o, run, entry, pin, cell, edge, name, attestation a WHERE b.cid = r.cid AND o.receipt = r.id AND 0"
)


class explained:  # noqa: N801 - it is used as a word before a block
    """Turn SQLite's errors into ours, with the path and what to do."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, apsw.Error):
            raise _explain(error, self._path) from error


def _explain(error: apsw.Error, path: Path) -> StoreError:
    match error:
        case apsw.FullError():
            return StoreFull(f"no space left for {path}: results are shown but not kept. Make room, then run `ipvm gc`")
        case apsw.BusyError() | apsw.LockedError():
            return StoreBusy(f"another process held {path} for {BUSY_SECONDS} s. Try again, or close the other kernel")
        case apsw.NotADBError() | apsw.CorruptError() | apsw.FormatError():
            return StoreDamaged(
                f"{path} is not an ipvm store, or it is damaged ({_brief(error)}). Move it away to begin a new one"
            )
        case apsw.IOError() if getattr(error, "extendedresult", 0) in _CANNOT_READ:
            return StoreDamaged(f"{path} cannot be read ({_brief(error)}): look after the disk")
        case apsw.IOError():
            return StoreFull(
                f"{path} could not be read or written ({_brief(error)}): the disk may be full. "
                f"Results are shown but not kept"
            )
        case apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError():
            return StoreReadOnly(f"{path} cannot be opened for writing ({_brief(error)})")
        case apsw.InterruptError():
            return StoreError(
                f"a query of {path} took more than {QUERY_SECONDS} s and was ended: it is not as ipvm writes it, or its disk is "
                "far too slow"
            )
        case apsw.ConnectionClosedError():
            return StoreError(f"the store in {path.parent} was closed: open a new session")
        case _:
            return StoreError(f"{path}: {_brief(error)}")


_CANNOT_READ: Final = frozenset(
    {apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_DATA, apsw.SQLITE_IOERR_CORRUPTFS}
)


def _brief(error: apsw.Error) -> str:
    return printable(str(error), limit=200)


_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "fuse.sshfs", "lustre", "gpfs", "beegfs"}
)


def on_network(folder: Path) -> bool:
    """Return True if `folder` is on a file system that another machine may write to (known on Linux alone)."""
    try:
        lines = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return False
    inside = [(len(fields[1]), fields[2]) for fields in lines if folder.resolve().is_relative_to(fields[1])]
    return bool(inside) and max(inside)[1] in _NETWORK
