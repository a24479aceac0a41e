"""A power cut, simulated.

Every write that a store makes is recorded, and any prefix of them can be laid out again, with what was not synced yet
torn into sectors, of which some reached the disk and some did not.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw

from ipvm_kernel.ipld import Block
from ipvm_kernel.store import disk
from ipvm_kernel.store.files import Files
from ipvm_kernel.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Collection

    import pytest

    from ipvm_kernel.ipld import CID

SECTOR: Final = 512


class Tape:
    """What happened to the disk, in order: `(what, name, ...)`.

    Attributes:
        events: The writes, syncs and acknowledgements.
        vfs: What records them, kept as long as its files are open.
    """

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.vfs: apsw.VFS | None = None

    def acknowledge(self, number: int) -> None:
        """Note that whoever waits has been told that everything up to `number` is durable."""
        self.events.append(("ack", "", number))

    def lay_out(self, folder: Path, length: int, seed: int) -> int:
        """Make the files as a power cut after `length` events may leave them, and return what was acknowledged."""
        chance = random.Random(seed)
        synced: dict[str, bytearray] = {}
        pending: dict[str, list[tuple[Any, ...]]] = {}
        acknowledged = 0
        for event in self.events[:length]:
            what, name = event[:2]
            if what == "ack":
                acknowledged = event[2]
            elif what == "delete":
                synced.pop(name, None)
                pending.pop(name, None)
            elif what == "sync":
                synced[name] = _applied(synced.get(name, bytearray()), pending.pop(name, []))
            else:
                pending.setdefault(name, []).append(event)
        for name, events in pending.items():
            synced[name] = _applied(synced.get(name, bytearray()), _torn(events, chance))
        folder.mkdir(mode=0o700)
        for name, data in synced.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return acknowledged


def _torn(events: list[tuple[Any, ...]], chance: random.Random) -> list[tuple[Any, ...]]:
    """Return the sectors of some writes that happen to reach the disk; a truncation does, or does not."""
    kept: list[tuple[Any, ...]] = []
    for event in events:
        if event[0] == "truncate":
            kept += [event] if chance.random() < 0.5 else []
            continue
        _, name, offset, data = event
        for start in range(0, len(data), SECTOR):
            if chance.random() < 0.5:
                kept.append(("write", name, offset + start, data[start : start + SECTOR]))
    return kept


def _applied(data: bytearray, events: list[tuple[Any, ...]]) -> bytearray:
    for event in events:
        if event[0] == "truncate":
            del data[event[2] :]
            continue
        _, _, offset, part = event
        data.extend(bytes(max(0, offset + len(part) - len(data))))
        data[offset : offset + len(part)] = part
    return data


def recorded(folder: Path, tape: Tape, patch: pytest.MonkeyPatch) -> SqliteStore:
    """Return a store whose every write is on the tape.

    SQLite cannot share its log through a file system written in Python, so the two connections of the store are one.
    """
    vfs_name = f"tape-{id(tape)}"

    class Recording(apsw.VFS):
        def __init__(self) -> None:
            super().__init__(vfs_name, "")

        def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
            return RecordedFile(name, flags)

        def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
            super().xDelete(filename, syncdir)
            tape.events.append(("delete", Path(filename).name))

    class RecordedFile(apsw.VFSFile):
        def __init__(self, name: Any, flags: list[int]) -> None:
            super().__init__("", name, flags)
            self._name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary").name

        def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
            super().xWrite(data, offset)
            tape.events.append(("write", self._name, offset, bytes(data)))

        def xTruncate(self, newsize: int) -> None:  # noqa: N802
            super().xTruncate(newsize)
            tape.events.append(("truncate", self._name, newsize))

        def xSync(self, flags: int) -> None:  # noqa: N802
            super().xSync(flags)
            tape.events.append(("sync", self._name))

    class RecordedFiles(Files):
        def put(self, cid: CID, data: bytes) -> None:
            super().put(cid, data)
            tape.events.append(("write", self._name(cid), 0, data))

        def settle(self, cids: Collection[CID]) -> set[CID]:
            gone = super().settle(cids)
            tape.events.extend(("sync", self._name(cid)) for cid in cids if cid not in gone)
            return gone

        def _name(self, cid: CID) -> str:
            return str(self.path(cid).relative_to(folder))

    vfs = Recording()
    folder.mkdir(mode=0o700)
    connection = apsw.Connection(str(folder / "store.db"), vfs=vfs_name)
    connection.pragma("locking_mode", "exclusive")
    connection.pragma("wal_autocheckpoint", 16)  # pages: the log is emptied often
    with patch.context() as during:
        during.setattr(apsw, "Connection", lambda *_: connection)
        during.setattr(disk, "Files", RecordedFiles)
        store = SqliteStore(folder)
        store.pin("first", Block.of("pinned").cid)  # opens the second connection, which is the first
    tape.vfs = vfs
    return store
