from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import apsw
import pytest

from ipvm_kernel import Session
from ipvm_kernel.errors import NotFound
from ipvm_kernel.ipld import Block
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.store import RunRecord, writer
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.testing import filing, task
from tests.guests import NUMBERS

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.store import Filing, Role


def on_disk(folder: Path, query: str) -> int:
    """Ask the database itself, past whatever a store has in memory."""
    connection = apsw.Connection(str(folder / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
    (found,) = connection.execute(query).fetchall()[0]
    connection.close()
    assert isinstance(found, int)
    return found


def filed(store: SqliteStore, made: Filing) -> Filing:
    store.file(made)
    return made


# --- group commit -----------------------------------------------------------------------------------------------------


def test_seen_at_once_and_durable_after_sync(store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What is put is found before it is on disk, and is on disk when `sync` returns.
    """
    monkeypatch.setattr(writer, "BATCH_SECONDS", 3600.0)
    made = filed(store, filing(task(1)))
    store.pin("a", made.receipt.cid)

    assert store.on_file([made.task.run.cid])[made.task.run.cid].receipt == made.receipt
    assert on_disk(folder, "SELECT count(*) FROM receipt") == 0
    store.sync()
    assert on_disk(folder, "SELECT count(*) FROM receipt") == 1
    assert on_disk(folder, "SELECT count(*) FROM entry") == 1


def test_durable_by_itself(store: SqliteStore, folder: Path) -> None:
    """
    What nobody waits for goes to disk by itself, soon.
    """
    made = filed(store, filing(task(1)))

    while not on_disk(folder, "SELECT count(*) FROM receipt"):
        pass  # the writer is on its way
    assert store.get(made.receipt.cid).value() == made.receipt.to_ipld()


def test_one_sync_for_many(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A thousand receipts are a few transactions, not a thousand.
    """
    written: list[int] = []
    write = store._disk._write

    def counted(batch: writer.Batch) -> None:
        written.append(batch.rows)
        write(batch)

    monkeypatch.setattr(store._writer, "_write", counted)
    for n in range(1000):
        store.file(filing(task(n)))
    store.sync()

    assert len(written) <= 25
    assert store.usage().receipts == 1000


def test_nothing_is_missed_while_it_leaves(store: SqliteStore) -> None:
    """
    A receipt is found at every moment on its way from memory to disk.
    """
    made = [filing(task(n)) for n in range(1500)]
    missed: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            upto = len(put)
            cids = [one.task.run.cid for one in made[:upto]]
            if len(store.on_file(cids)) != upto or len(store.journal(limit=10_000)) < upto:
                missed.append(upto)

    put: list[int] = []
    watcher = threading.Thread(target=look)
    watcher.start()
    for n, one in enumerate(made):
        store.file(one)
        put.append(n)
    store.sync()
    done.set()
    watcher.join()

    assert missed == []
    assert len(store.journal(limit=10_000)) == 1500


# --- files ------------------------------------------------------------------------------------------------------------


def test_where_bytes_are(store: SqliteStore, folder: Path) -> None:
    """
    Up to 64 KiB are in the database; above that there is one file, named by its CID, that other programs can read.
    """
    small, large = store.put_file(bytes(65_536), "input"), store.put_file(bytes(65_537), "input")
    huge = store.put_file(bytes(1_000_000), "input")
    block = store.put(Block.of(bytes(70_000)))
    store.sync()

    files = {path.name for path in (folder / "files").rglob("*") if path.is_file()}
    assert files == {str(large), str(huge), str(block)}
    assert str(small) not in files
    assert huge.codec == "dag-pb"
    assert store.files.path(huge).read_bytes() == bytes(1_000_000)
    with pytest.raises(NotFound, match="kept whole"):
        store.get(huge)


def test_a_file_of_the_user_that_is_replaced(store: SqliteStore, tmp_path: Path) -> None:
    """
    A file is hashed each time it is given: one of the same size and date with other bytes is another file.
    """
    path = tmp_path / "data"
    path.write_bytes(b"a" * 100_000)
    os.utime(path, (1000, 1000))
    first = store.put_file(path, "input")
    path.write_bytes(b"b" * 100_000)
    os.utime(path, (1000, 1000))
    second = store.put_file(path, "input")

    assert (first, second) == (file_cid(b"a" * 100_000), file_cid(b"b" * 100_000))
    assert store.read(first) == b"a" * 100_000


def test_no_strays(store: SqliteStore, folder: Path) -> None:
    """
    What a crash left half written is removed by the next collection, once it is an hour old.
    """
    store.put_file(bytes(100_000), "input")
    store.sync()
    old, new = folder / "files" / ".new-old", folder / "files" / ".new-new"
    for stray in (old, new):
        stray.write_bytes(b"half")
    os.utime(old, (1000, 1000))

    store.gc()

    assert not old.exists()
    assert new.exists()


# --- making room ------------------------------------------------------------------------------------------------------


def test_only_values_go(store: SqliteStore) -> None:
    """
    A collection drops the values of pure tasks and nothing else; the receipts' CIDs stay on file.
    """
    data = store.put_file(b"\x01" * 100_000, "input")
    module = store.put_file(b"\x02" * 100_000, "module")
    value = store.put_file(b"\x03" * 100_000, "value")
    large = filed(store, filing(task(1), bytes(5000)))
    small = filed(store, filing(task(2), 2))
    theirs = filed(store, filing(task(3), bytes(6000), own=False, keyed=False))

    would = store.gc(dry_run=True)
    assert store.size(value) == 100_000
    dropped = store.gc()

    assert set(would.cids) == set(dropped.cids) == {value, large.receipt.cid}
    assert dropped.count == 2
    assert dropped.size == 100_000 + len(large.receipt.block.data)
    assert store.read(data) == b"\x01" * 100_000
    assert store.read(module) == b"\x02" * 100_000
    assert store.size(value) is None
    assert not store.files.path(value).exists()
    found = store.on_file([one.task.run.cid for one in (large, small, theirs)])
    assert [found[one.task.run.cid].here for one in (large, small, theirs)] == [False, True, True]
    assert found[large.task.run.cid].cid == large.receipt.cid
    assert store.find(large.receipt.cid.short) == [large.receipt.cid]
    assert store.usage().dropped == 2


def test_a_receipt_goes_with_its_value(store: SqliteStore) -> None:
    """
    A receipt that leads to a dropped value answers no more: the task will be run again, and so give the value again.
    """
    value = store.put_file(b"\x03" * 100_000, "value")
    made = filed(store, filing(task(1), {"data": value}))
    other = filed(store, filing(task(2), "nothing"))

    store.gc()

    found = store.on_file([made.task.run.cid, other.task.run.cid])
    assert not found[made.task.run.cid].here
    assert found[other.task.run.cid].here


def test_what_is_two_things_is_the_more_precious(store: SqliteStore) -> None:
    """
    Bytes that are the value of a task and an input of the user stay, whichever came first.
    """
    orders: tuple[tuple[Role, ...], ...] = (("input", "value"), ("value", "input"))
    for order in orders:
        for size in (50_000, 100_000):
            data = f"{order}".encode() * (size // 10)
            cid, _ = (store.put_file(data, role) for role in order)
            if size == 100_000:
                store.sync()
                store.put_file(data, "value")
            store.gc()

            assert store.size(cid) == len(data)


def test_least_recently_used_first(store: SqliteStore, folder: Path) -> None:
    """
    What was not used for longest goes first, until enough has gone; what was used lately can be spared by age.
    """
    made = [filed(store, filing(task(n), bytes(10_000 + n))) for n in range(5)]
    store.sync()
    connection = apsw.Connection(str(folder / "store.db"))
    for n, one in enumerate(made):
        connection.execute("UPDATE block SET used = ? WHERE cid = ?", (1000 + n, one.receipt.cid.bytes))
    connection.close()
    store.on_file([made[0].task.run.cid])  # which uses it

    first = store.gc(to=store.usage().total_bytes - 15_000)
    rest = store.gc(older=3600)

    assert [cid for one in made for cid in [one.receipt.cid] if cid in first.cids] == [m.receipt.cid for m in made[1:3]]
    assert set(rest.cids) == {m.receipt.cid for m in made[3:]}
    assert store.on_file([made[0].task.run.cid])[made[0].task.run.cid].here


@pytest.mark.parametrize("what", ["receipt", "instruction", "workflow"])
def test_pins_protect_what_they_reach(folder: Path, what: str) -> None:
    """
    A pin of a receipt keeps its value; one of an instruction or workflow keeps what all its tasks answered.
    """
    with Session(folder) as session:
        assert isinstance(session.store, SqliteStore)
        handle = session.module(NUMBERS).add_one(session.module(NUMBERS).add_one(1))
        first, second = (filing(task, n) for n, task in enumerate(handle.workflow.tasks))
        value = session.store.put_file(b"\x03" * 100_000, "value")
        first = filing(first.task, {"value": value, "ballast": bytes(2000)})
        second = filing(second.task, bytes(3000))
        for one in (first, second):
            session.store.file(one)
        session.store.put(handle.workflow.block)
        root = {"receipt": first.receipt.cid, "instruction": second.task.run.cid, "workflow": handle.workflow.cid}[what]
        session.store.pin("keep", root)

        dropped = session.store.gc()

        assert set(dropped.cids) == ({second.receipt.cid} if what == "receipt" else set())
        assert session.store.size(value) == 100_000
        session.store.unpin("keep")
        assert value in session.store.gc().cids


def test_the_limit(folder: Path) -> None:
    """
    A store that reaches its limit makes room by itself, and says so once.
    """
    store = SqliteStore(folder, limit_bytes=1_000_000)
    store._disk.spared_seconds = 0
    for n in range(40):
        store.file(filing(task(n), bytes([n]) * 60_000))
        store.sync()

    assert store.usage().total_bytes <= 1_100_000
    assert store.usage().receipts == 40
    (notice,) = store.notices
    assert "reached its limit of 1 MB" in notice
    store.close()


def test_what_was_just_made_is_spared(folder: Path) -> None:
    """
    At the limit nothing goes that was made or used in the last minute: the run that made it may be about to ask for it.
    """
    store = SqliteStore(folder, limit_bytes=100_000)
    made = [filed(store, filing(task(n), bytes([n]) * 60_000)) for n in range(4)]
    store.sync()

    assert all(one.here for one in store.on_file([one.task.run.cid for one in made]).values())
    assert store.gc(to=100_000).count == 3
    store.close()


def test_a_limit_that_cannot_be_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where nothing may be dropped, the store grows over its limit, and does not search through itself with every commit.
    """
    store = SqliteStore(folder, limit_bytes=100_000)
    searched: list[int] = []
    make = store._disk.make_room

    def counted(target: int, *, older: float) -> object:
        searched.append(target)
        return make(target, older=older)

    monkeypatch.setattr(store._disk, "make_room", counted)
    for n in range(60):
        store.put_file(bytes([n]) * 10_000, "input")
        store.sync()

    assert store.usage().total_bytes == 600_000
    assert store.notices == []
    assert len(searched) < 60
    store.close()


# --- several at once --------------------------------------------------------------------------------------------------


def test_two_in_one_process(folder: Path) -> None:
    """
    Two stores on one folder in one process respect each other's claims, and closing one lets go of none of the other's.
    """
    first, second = SqliteStore(folder), SqliteStore(folder)
    key, another = bytes(32), bytes([1] * 32)
    held = second.claim(key)
    assert held is not None

    assert first.claim(key) is None
    first.close()
    third = SqliteStore(folder)
    assert third.claim(key) is None
    assert third.claim(another) is not None
    held.release()
    assert third.claim(key) is not None
    second.close()
    third.close()


def test_opened_by_many_at_once(folder: Path) -> None:
    """
    Stores that are opened in one new folder at the same moment all work.
    """

    def opened(number: int) -> SqliteStore:
        store = SqliteStore(folder)
        store.file(filing(task(number), number))
        store.sync()
        return store

    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(opened, range(8)))

    assert [len(store.on_file([task(n).run.cid for n in range(8)])) for store in stores] == [8] * 8
    for store in stores:
        store.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork(store: SqliteStore, folder: Path) -> None:
    """
    The child of a process that holds a store can use it: it sees what was put, puts its own, and both stay whole.
    """
    before = filed(store, filing(task("before"), bytes(100_000)))
    claim = store.claim(bytes(32))
    assert claim is not None
    child = os.fork()
    if not child:
        failed = 1
        try:
            assert store.on_file([before.task.run.cid])[before.task.run.cid].receipt == before.receipt
            assert store.claim(bytes(32)) is None
            mine = store.claim(bytes([2] * 32))
            store.file(filing(task("child"), "child"))
            store.put_file(b"\x04" * 100_000, "input")
            assert mine is not None
            mine.release()
            store.sync()
            store.close()
            failed = 0
        finally:
            os._exit(failed)
    store.file(filing(task("parent"), "parent"))
    store.sync()

    assert os.waitpid(child, 0)[1] == 0
    assert store.claim(bytes(32)) is None
    claim.release()
    assert store.claim(bytes(32)) is not None
    assert len(store.on_file([task(name).run.cid for name in ("before", "child", "parent")])) == 3
    assert store.read(file_cid(b"\x04" * 100_000)) == b"\x04" * 100_000
    assert on_disk(folder, "SELECT count(*) FROM receipt") == 3


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forks_while_others_write(store: SqliteStore) -> None:
    """
    Forking while threads read, write and sync neither hangs nor loses anything.
    """
    stop = threading.Event()
    counts = [0, 0, 0]

    def work(number: int) -> None:
        while not stop.is_set():
            store.file(filing(task(number, counts[number]), "x"))
            store.on_file([task(number, counts[number]).run.cid])
            counts[number] += 1
            if counts[number] % 7 == 0:
                store.sync()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    ends = []
    for n in range(10):
        child = os.fork()
        if not child:
            store.file(filing(task("child", n), n))
            store.sync()
            os._exit(0)
        ends.append(os.waitpid(child, 0)[1])
    stop.set()
    for thread in threads:
        thread.join()
    store.sync()

    assert ends == [0] * 10
    assert store.usage().receipts == sum(counts) + 10


# --- the smaller things -----------------------------------------------------------------------------------------------


def test_a_claim_is_released_with_its_receipt_on_disk(
    store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever waits for a claim finds the receipt when he gets it: it is let go when that is on disk.
    """
    monkeypatch.setattr(writer, "BATCH_SECONDS", 3600.0)
    other = SqliteStore(folder)
    made = filing(task(1))
    assert made.key is not None
    claim = store.claim(made.key)
    assert claim is not None
    store.file(made)
    claim.release()

    assert other.claim(made.key) is None
    store.sync()
    while (second := other.claim(made.key)) is None:
        pass  # the writer lets go just after it has told us
    assert other.outcome(made.key) is not None
    second.release()
    other.close()


def test_looking_at_what_is_here_costs_no_values(folder: Path) -> None:
    """
    To ask what is on file reads no large value; each is read when it is asked for, and let go of.
    """
    store = SqliteStore(folder)
    made = [filed(store, filing(task(n), bytes(50_000))) for n in range(5)]
    store.close()
    store = SqliteStore(folder)

    found = store.on_file([one.task.run.cid for one in made])

    assert all(callable(one.kept) for one in found.values())
    assert all(one.here for one in found.values())
    first = found[made[0].task.run.cid]
    assert first.receipt == made[0].receipt
    assert first.receipt is not first.receipt
    store.close()


def test_many_runs_at_once(store: SqliteStore) -> None:
    """
    Runs keep their order, and their numbers differ, however fast they come.
    """
    idents = [store.begin(RunRecord(name=str(n))) for n in range(300)]

    assert len(set(idents)) == 300
    assert [run.name for run in store.runs(300)] == [str(n) for n in reversed(range(300))]


def test_a_broken_writer_is_heard_of(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever goes wrong behind the work reaches whoever waits for it; nobody waits for ever.
    """
    from ipvm_kernel.errors import StoreError

    def broken(batch: object) -> None:
        raise ValueError("a bug")

    good = store._writer._write
    monkeypatch.setattr(store._writer, "_write", broken)
    store.file(filing(task(1)))

    with pytest.raises(StoreError, match="a bug"):
        store.sync()
    monkeypatch.setattr(store._writer, "_write", good)
    store.sync()
    assert store.usage().receipts == 1
