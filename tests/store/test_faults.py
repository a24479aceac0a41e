from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import apsw
import pytest

from ipvm_kernel import Session
from ipvm_kernel.errors import NotFound, StoreBusy, StoreDamaged, StoreError, StoreFull, StoreReadOnly
from ipvm_kernel.ipld import Block
from ipvm_kernel.session import defaults
from ipvm_kernel.store import schema
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.store.verify import verify
from ipvm_kernel.testing import filing, task
from tests.guests import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def alter(folder: Path, statement: str, *bindings: object) -> None:
    """Change a store behind its back."""
    connection = apsw.Connection(str(folder / "store.db"))
    connection.execute(statement, bindings)
    connection.close()


def filled(folder: Path, count: int = 3) -> None:
    store = SqliteStore(folder)
    for number in range(count):
        store.file(filing(task(number), number))
    store.close()


# --- no space ---------------------------------------------------------------------------------------------------------


def test_a_full_disk(mounted: Callable[..., Path]) -> None:
    """
    On a full disk receipts stay in memory and the error says so; old ones are read; when there is space all is kept.
    """
    place = mounted("size=1m,mode=700")
    store = SqliteStore(place, limit_bytes=10**9)
    old = filing(task("old"), "old")
    store.file(old)
    store.sync()
    (place / "ballast").write_bytes(bytes(800_000))
    large = filing(task("large"), bytes(60_000) + b"\x01" * 300_000)
    store.file(large)

    with pytest.raises(StoreFull, match=r"(?i)no space left"):
        store.sync()
    with pytest.raises(StoreFull):
        store.sync()
    assert store.on_file([large.task.run.cid])[large.task.run.cid].receipt == large.receipt
    assert store.on_file([old.task.run.cid])[old.task.run.cid].receipt == old.receipt
    assert store.usage().receipts == 1
    (place / "ballast").unlink()
    store.sync()
    store.close()
    again = SqliteStore(place)
    assert again.on_file([large.task.run.cid])[large.task.run.cid].receipt == large.receipt
    again.close()


def test_large_values_on_a_full_disk(mounted: Callable[..., Path]) -> None:
    """
    Bytes too large for what is left of the disk stay in memory too, and are written when there is space.
    """
    place = mounted("size=1m,mode=700")
    store = SqliteStore(place, limit_bytes=10**9)
    (place / "ballast").write_bytes(bytes(800_000))
    data = b"\x05" * 500_000

    cid = store.put_file(data, "value")

    assert store.read(cid) == data
    with pytest.raises(StoreFull):
        store.sync()
    (place / "ballast").unlink()
    store.sync()
    assert store.files.holds(cid, data)
    store.close()


def test_a_session_on_a_full_disk(mounted: Callable[..., Path]) -> None:
    """
    A task that ran on a full disk shows its result; a notice says once that it is not kept, and is no more when it is.
    """
    place = mounted("size=16m,mode=700")
    session = Session(place)
    module = session.module(NUMBERS)
    module.add_one(0).result()
    (place / "ballast").write_bytes(bytes(os.statvfs(place).f_bavail * os.statvfs(place).f_frsize - 20_000))
    wide = [module.add_one(n) for n in range(1, 400)]

    assert [handle.result() for handle in wide] == list(range(2, 401))
    assert [module.trap(1).exception() is not None for _ in range(3)] == [True] * 3
    (notice,) = session.take_notices()
    assert "not kept" in notice
    (place / "ballast").unlink()
    assert module.add_one(1000).result() == 1001
    assert session.take_notices() == []
    session.close()
    with Session(place) as again:
        run = again.run([again.module(NUMBERS).add_one(n) for n in range(1, 400)]).wait()
        assert run.counts == {"replayed": 399}


def test_no_larger_files(folder: Path) -> None:
    """
    Where the system refuses to let a file grow, a store says StoreFull, and goes on when it may grow again.
    """
    resource = pytest.importorskip("resource")
    store = SqliteStore(folder)
    store.file(filing(task(0), 0))
    store.sync()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        for number in range(1, 800):
            store.file(filing(task(number), bytes(300)))
        with pytest.raises(StoreFull):
            store.sync()
        assert len(store.on_file([task(number).run.cid for number in range(800)])) == 800
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    store.sync()
    store.close()

    again = SqliteStore(folder)
    assert len(again.on_file([task(number).run.cid for number in range(800)])) == 800
    again.close()


# --- no permission ----------------------------------------------------------------------------------------------------


def test_a_read_only_file_system(mounted: Callable[..., Path]) -> None:
    """
    A store on a file system that is read-only is read; what is new stays in memory, and one notice says so.
    """
    place = mounted("size=4m,mode=700")
    with Session(place) as session:
        module = session.module(NUMBERS)
        assert module.add_one(1).result() == 2
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)

    with Session(place) as session:
        module = session.module(NUMBERS)
        run = session.run([module.add_one(1), module.add_one(2)]).wait()

        assert run.counts == {"replayed": 1, "computed": 1}
        assert session.run([module.add_one(2)]).wait().counts == {"replayed": 1}
        assert session.store.read(session.put(b"x" * 100_000).cid) == b"x" * 100_000
        (notice,) = session.take_notices()
        assert "cannot be opened for writing" in notice
        with pytest.raises(StoreReadOnly):
            session.store.pin("a", module.add_one(1).cid)


def test_nothing_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no store can be made, a session of one's own is refused, and the default session keeps its receipts in memory.
    """
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("IPVM_HOME", str(tmp_path / "file" / "home"))

    with pytest.raises(StoreReadOnly, match="cannot be used"):
        Session(tmp_path / "file" / "home")
    try:
        defaults.set_default(None)
        session = defaults.default()
        assert session.store.where == "memory"
        assert len(session.take_notices()) == 1
    finally:
        defaults.set_default(None)


def test_a_folder_that_everybody_may_write(folder: Path) -> None:
    """
    A folder in which anybody could plant results is refused, and the message says what to do.
    """
    folder.mkdir()
    folder.chmod(0o777)

    with pytest.raises(StoreReadOnly, match="chmod o-w"):
        SqliteStore(folder)


# --- other versions, and other things ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["the same tables", "other tables"])
def test_a_newer_version(folder: Path, shape: str) -> None:
    """
    A store of a newer ipvm is left as it is: it is read as far as it can be, one line says so, and work goes on in memory.
    """
    filled(folder)
    alter(folder, "PRAGMA user_version = 99")
    if shape == "other tables":
        alter(folder, "ALTER TABLE block RENAME COLUMN place TO somewhere")
    before = (folder / "store.db").read_bytes()

    store = SqliteStore(folder)
    (notice,) = store.notices
    made = filing(task("new"), "new")
    store.file(made)
    store.put_file(b"y" * 200_000, "input")
    store.sync()

    assert "newer ipvm" in notice
    assert len(store.on_file([task(n).run.cid for n in range(3)])) == (3 if shape == "the same tables" else 0)
    assert store.on_file([made.task.run.cid])[made.task.run.cid].receipt == made.receipt
    assert len(store.journal()) == (4 if shape == "the same tables" else 1)
    with pytest.raises(StoreReadOnly, match="newer ipvm"):
        store.gc()
    store.close()
    assert (folder / "store.db").read_bytes() == before
    assert not (folder / "files").exists()


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes(folder: Path, seed: int) -> None:
    """
    A file of anything in the place of the database is refused, and left alone.
    """
    import random

    folder.mkdir()
    data = random.Random(seed).randbytes(20_000)
    (folder / "store.db").write_bytes(data)

    with pytest.raises(StoreDamaged, match="Move it away"):
        SqliteStore(folder)
    assert (folder / "store.db").read_bytes() == data


def test_the_database_of_another_program(folder: Path) -> None:
    """
    A database of somebody else's is refused, and left alone.
    """
    folder.mkdir()
    alter(folder, "CREATE TABLE bookmarks (url TEXT)")

    with pytest.raises(StoreDamaged, match="another program"):
        SqliteStore(folder)


def test_a_torn_database(folder: Path) -> None:
    """
    A database that was cut in the middle is damaged, which is said by that name; it is never a wrong answer.
    """
    filled(folder, 500)
    data = (folder / "store.db").read_bytes()
    (folder / "store.db").write_bytes(data[: len(data) // 2 // 4096 * 4096])

    def ask() -> None:
        SqliteStore(folder).on_file([task(number).run.cid for number in range(500)])

    with pytest.raises(StoreDamaged):
        ask()


# --- flipped bits -----------------------------------------------------------------------------------------------------


def flip(data: bytes) -> bytes:
    return data[:20] + bytes([data[20] ^ 4]) + data[21:]


def test_a_flipped_bit_in_a_block(store: SqliteStore, folder: Path) -> None:
    """
    A block with one bit changed is not given out, and verifying names it.
    """
    block = Block.of({"text": "a block of some length"})
    store.put(block)
    store.sync()
    alter(folder, "UPDATE block SET data = ? WHERE cid = ?", flip(block.data), block.cid.bytes)

    with pytest.raises(StoreDamaged, match=str(block.cid)):
        store.get(block.cid)
    assert [*verify(store)][-1].bad == [block.cid]


def test_a_flipped_bit_in_a_file(folder: Path) -> None:
    """
    A file with one bit changed is noticed at its first use in a session; giving the file again mends it.
    """
    data = b"some bytes " * 40_000
    first = SqliteStore(folder)
    cid = first.put_file(data, "input")
    first.close()
    store = SqliteStore(folder)
    store.files.path(cid).write_bytes(flip(data))

    with pytest.raises(StoreDamaged, match=str(cid)):
        store.read(cid)
    assert [*verify(store)][-1].bad == [cid]
    store.put_file(data, "input")
    assert store.read(cid) == data
    assert [*verify(store)][-1].bad == []
    store.close()


def test_a_flipped_bit_in_a_receipt(folder: Path) -> None:
    """
    A receipt with one bit changed answers nothing: the task runs again, meets the receipt's CID, and mends it.
    """
    with Session(folder) as session:
        handle = session.module(NUMBERS).add_one(1)
        handle.result()
        good = handle.receipt
    assert good is not None
    alter(folder, "UPDATE block SET data = ? WHERE cid = ?", flip(good.block.data), good.cid.bytes)

    with Session(folder) as session:
        handle = session.module(NUMBERS).add_one(1)
        run = session.run(handle).wait()
        assert run.counts == {"computed": 1}
        assert handle.receipt == good
        assert [*session.verify()][-1].bad == []


def test_a_missing_file(folder: Path) -> None:
    """
    A value whose file was removed by somebody is worked out again.
    """
    with Session(folder) as session:
        handle = session.module(NUMBERS).add_one(1)
        made = filing(handle.task, bytes(200_000))
        session.store.file(made)
    with Session(folder) as session:
        store = session.store
        assert isinstance(store, SqliteStore)
        store.files.path(made.receipt.cid).unlink()
        found = store.on_file([handle.cid])[handle.cid]

        assert not found.here
        assert found.receipt is None
        with pytest.raises(NotFound):
            store.get(made.receipt.cid)


# --- somebody else ----------------------------------------------------------------------------------------------------


def test_a_store_that_another_process_holds(store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While another process holds the database, reading goes on; whoever waits too long to write is told, and can try again.
    """
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0)
    made = filing(task(1))
    holder = apsw.Connection(str(folder / "store.db"))
    holder.execute("BEGIN IMMEDIATE")
    store.file(made)

    with pytest.raises(StoreBusy, match="another process held"):
        store.sync()
    assert store.on_file([made.task.run.cid])[made.task.run.cid].receipt == made.receipt
    assert store.pins() == {}
    with pytest.raises(StoreBusy):
        store.pin("a", made.receipt.cid)
    holder.execute("COMMIT")
    store.sync()
    assert store.usage().receipts == 1
    holder.close()


# --- after the end ----------------------------------------------------------------------------------------------------


def test_a_closed_store(store: SqliteStore) -> None:
    """
    A store that was closed says so; nothing hangs.
    """
    made = filing(task(1))
    store.file(made)
    store.close()

    with pytest.raises(StoreError, match="closed"):
        store.get(made.receipt.cid)
    with pytest.raises(StoreError, match="closed"):
        store.file(made)
    with pytest.raises(StoreError, match="closed"):
        store.pin("a", made.receipt.cid)


def test_what_cannot_be_written_is_told_at_the_end(mounted: Callable[..., Path]) -> None:
    """
    Closing a store whose last receipts found no space raises: silence would mean that they are kept.
    """
    place = mounted("size=1m,mode=700")
    store = SqliteStore(place, limit_bytes=10**9)
    (place / "ballast").write_bytes(bytes(900_000))
    store.file(filing(task(1), bytes(500_000)))

    with pytest.raises(StoreFull):
        store.close()
