"""The tables of a store on disk, how a connection to them is set up, and what SQLite's errors mean to a user.

Durability is `synchronous=FULL` over a write-ahead log: what was acknowledged survives a power cut. Rows carry integer
ids so that a later index over them is small and fast. The version of the schema is SQLite's `user_version`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import apsw

from ipvm_kernel.errors import StoreBusy, StoreDamaged, StoreError, StoreFull, StoreReadOnly
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION: Final = 1
BUSY_SECONDS: Final = 30

# block.place: where the bytes are.
INLINE, ON_DISK, DROPPED, ELSEWHERE = range(4)

_TABLES: Final = """
CREATE TABLE block (
    id    INTEGER PRIMARY KEY,
    cid   BLOB NOT NULL UNIQUE,
    size  INTEGER NOT NULL,
    place INTEGER NOT NULL,  -- 0 in data, 1 a file of ours, 2 dropped to make room, 3 a file of the user's, named by data
    role  TEXT NOT NULL,     -- block, input, value or module
    used  INTEGER NOT NULL,  -- seconds since 1970
    data  BLOB
);
CREATE INDEX block_by_use ON block (used) WHERE role = 'value' AND place IN (0, 1);
CREATE TABLE receipt (
    id          INTEGER PRIMARY KEY,
    cid         BLOB NOT NULL,
    instruction BLOB NOT NULL,
    own         INTEGER NOT NULL,
    admitted    INTEGER NOT NULL,
    filed       REAL NOT NULL,
    seconds     REAL NOT NULL,
    UNIQUE (instruction, cid)
);
CREATE TABLE outcome (key BLOB PRIMARY KEY, receipt INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX outcome_by_receipt ON outcome (receipt);
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
    error       TEXT NOT NULL
);
CREATE INDEX entry_by_instruction ON entry (instruction);
CREATE INDEX entry_by_func ON entry (func);
CREATE INDEX entry_by_run ON entry (run);
CREATE TABLE pin (name TEXT PRIMARY KEY, cid BLOB NOT NULL) WITHOUT ROWID;
"""


def connect(path: Path, *, local: bool) -> apsw.Connection:
    """Open the database of a store, made if need be, ready for reading and writing.

    Args:
        path: The file.
        local: False on a network file system, where a write-ahead log is unsafe: a rollback journal serves there.

    Raises:
        StoreReadOnly: A newer ipvm wrote it.
        StoreDamaged: It is not a store.
        StoreError: It cannot be opened.
    """
    with explained(path):
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(BUSY_SECONDS * 1000)
        connection.execute("PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA foreign_keys=OFF")
        found = connection.pragma("user_version")
        if found > VERSION:
            raise StoreReadOnly(
                f"{path} was written by a newer ipvm (store version {found}; this one knows {VERSION}): "
                f"it is read, and nothing is kept. Upgrade with: pip install -U ipvm"
            )
        connection.pragma("journal_mode", "wal" if local else "delete")
        connection.execute("PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA checkpoint_fullfsync=ON")
        if found < VERSION:
            with connection:  # two kernels may be first at once: the transaction decides
                connection.execute("BEGIN IMMEDIATE" if not connection.in_transaction else "SELECT 1")
                if connection.pragma("user_version") < VERSION:
                    connection.execute(_TABLES)
                    connection.pragma("user_version", VERSION)
    return connection


def connect_read_only(path: Path) -> apsw.Connection:
    """Open a database that must not be changed."""
    with explained(path):
        return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, with the path and what to do."""
    try:
        yield
    except apsw.FullError as error:
        raise StoreFull(
            f"no space left for {path}: results are shown but not kept. Make room, then run `ipvm gc`"
        ) from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise StoreBusy(
            f"another process held {path} for {BUSY_SECONDS} s. Try again, or close the other kernel"
        ) from error
    except (apsw.NotADBError, apsw.CorruptError, apsw.FormatError) as error:
        raise StoreDamaged(
            f"{path} is not an ipvm store, or it is damaged ({_brief(error)}). Move it away to begin a new one"
        ) from error
    except apsw.IOError as error:
        raise StoreFull(
            f"{path} could not be read or written ({_brief(error)}): the disk may be full. Results are shown but not kept"
        ) from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError) as error:
        raise StoreReadOnly(f"{path} cannot be opened for writing ({_brief(error)})") from error
    except apsw.Error as error:
        raise StoreError(f"{path}: {_brief(error)}") from error


def _brief(error: Exception) -> str:
    return printable(str(error), limit=200)


_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "fuse.sshfs", "lustre", "gpfs", "beegfs"}
)


def on_network(folder: Path) -> bool:
    """Return True if `folder` is on a file system that another machine may write to (known on Linux alone)."""
    try:
        lines = [line.split() for line in open("/proc/self/mounts", encoding="utf-8")]  # noqa: SIM115, PTH123 - read at once
    except OSError:
        return False
    inside = [(len(fields[1]), fields[2]) for fields in lines if folder.resolve().is_relative_to(fields[1])]
    return bool(inside) and max(inside)[1] in _NETWORK
