from __future__ import annotations

import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import apsw
import pytest

from ipvm_kernel.errors import NotFound, StoreBusy, StoreFull, StoreReadOnly
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Instruction, Receipt, Task
from ipvm_kernel.model.receipt import Outcome
from ipvm_kernel.store import Entry, Filing, Parcel, schema
from ipvm_kernel.store.files import LOCK
from ipvm_kernel.store.quarantine import Quarantine
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.testing import filing, task
from ipvm_kernel.testing.parcels import foreign, sample, seen, statement
from tests.store import bringing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LARGE = bytes(range(256)) * 2000


def left_in(folder: Path) -> list[str]:
    """Return what is in the folder of files beside whole files."""
    return [path.name for path in (folder / "files").iterdir() if path.name.startswith(".")]


# --- at every call of the system --------------------------------------------------------------------------------------

FAULTS = {"killed": "signal=KILL", "full": "error=ENOSPC", "broken": "error=EIO"}


@pytest.fixture(scope="module")
def traced() -> None:
    """Only where a process may look into its children."""
    traces = shutil.which("strace") is not None
    if not traces or subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("strace is not here, or may not trace: no call of the system is made to fail")


def swept(tmp_path: Path, fault: str, share: float, seed: int = 0) -> list[str]:
    """Make calls that bringing makes fail, one in each run, and return what is wrong after that."""
    points = bringing.calls(tmp_path / "traced" / "store")
    chance, wrong = random.Random(seed), []
    for name, number, _ in points:
        if chance.random() >= share:
            continue
        folder = tmp_path / f"{name}-{number}"
        bringing.prepare(folder)
        said = bringing.under(folder, "-e", f"trace={name}", "-e", f"inject={name}:{FAULTS[fault]}:when={number}")
        wrong += [f"{fault} at {name} {number}, {said}: {what}" for what in bringing.half(folder, said, tmp_path)]
        shutil.rmtree(folder)
    assert len(points) > 60
    return wrong


@pytest.mark.parametrize("fault", FAULTS)
def test_all_or_nothing_whatever_fails(traced: None, tmp_path: Path, fault: str) -> None:
    """
    Killed, out of space or refused at a call of the system, a store holds all of a parcel or nothing of it, keeps what it
    acknowledged, leaves no file behind for ever, and takes the parcel in the next time.
    """
    assert swept(tmp_path, fault, 0.1, seed=len(fault)) == []


@pytest.mark.torture
@pytest.mark.parametrize("fault", FAULTS)
def test_all_or_nothing_whatever_fails_anywhere(traced: None, tmp_path: Path, fault: str) -> None:
    """
    The same at every single call.
    """
    assert swept(tmp_path, fault, 1.0) == []


def test_nothing_is_in_place_before_it_is_durable(traced: None, tmp_path: Path) -> None:
    """
    For the sake of a power cut: files are on disk before they take their places, and their names before the rows that tell
    of them.
    """
    made = bringing.calls(tmp_path / "traced" / "store")
    names = [name for name, _, _ in made]
    moved = [n for n, (name, _, line) in enumerate(made) if name == "rename" and "ENOENT" not in line]
    committed = next(
        n for n in range(moved[-1], len(made)) if made[n][0] == "fdatasync" and "store.db-wal" in made[n][2]
    )
    synced = [line for name, _, line in made[moved[-1] : committed] if name == "fsync"]

    assert len(moved) == 2
    assert names[: moved[0]].count("fsync") == len(moved)
    assert all("/files/.new-" in line for name, _, line in made[: moved[0]] if name == "fsync")
    assert not any("store.db" in line for _, _, line in made[moved[0] : moved[-1]])
    assert sum(line.endswith("= 0") for line in synced) == 2 + 2  # where the files are, the folder over them, the store


# --- no space, no permission, somebody else -----------------------------------------------------------------------------


def test_no_space_for_a_parcel(mounted: Callable[..., Path]) -> None:
    """
    On a disk too small for a parcel, whether for a file or for rows, the error says so and nothing of it is there.
    """
    place = mounted("size=2m,mode=700")
    store = SqliteStore(place, limit_bytes=10**9)
    store.file(filing(task(0), 0))
    store.sync()
    before = seen(store)
    parcels = {
        "a file": Parcel(files=[(file_cid(LARGE * 8), [LARGE] * 8, "input")]),
        "a block": Parcel(blocks=[Block.of(LARGE * 8)]),
        "rows": Parcel(blocks=(Block.of([n, bytes(1000)]) for n in range(4000))),
        # The rows fit in beside the store, and then not into it.
        "moving": Parcel(blocks=(Block.of([n, bytes(1000)]) for n in range(1200))),
    }
    for what, parcel in parcels.items():
        with pytest.raises(StoreFull, match=r"nothing of .*was kept"):
            store.bring(parcel)
        assert seen(store) == before, what
        assert left_in(place) == [], what
    store.bring(sample())
    assert store.read(file_cid(b"small")) == b"small"
    store.close()


def test_a_store_that_cannot_be_written_takes_nothing(mounted: Callable[..., Path]) -> None:
    """
    A store on a read-only file system takes no parcel in, and says why.
    """
    place = mounted("size=4m,mode=700")
    store = SqliteStore(place)
    store.file(filing(task(0), 0))
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    store = SqliteStore(place)
    before = seen(store)

    with pytest.raises(StoreReadOnly, match="cannot be opened for writing"):
        store.bring(sample())
    assert seen(store) == before
    store.close()


def test_a_busy_store(store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While another process writes, a parcel waits; if that takes too long, nothing of it is there, and it can be tried again.
    """
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0)
    store.pin("opened", Block.of(1).cid)
    before = seen(store)
    holder = apsw.Connection(str(folder / "store.db"))
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreBusy, match="Nothing of what was brought was kept"):
        store.bring(sample())
    assert seen(store) == before
    assert left_in(folder) == []
    holder.execute("COMMIT")
    holder.close()
    store.bring(sample())
    assert len(seen(store)["receipts"]) == 2


def test_others_write_while_a_parcel_is_walked(
    store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    However long it takes to read what a parcel is made of, another kernel writes meanwhile and waits for nothing.
    """
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0)
    other = SqliteStore(folder)

    def blocks() -> Iterator[Block]:
        for n in range(2000):
            yield Block.of(n)
        other.file(filing(task(1), 1))
        other.sync()
        other.pin("theirs", task(1).run.cid)

    store.bring(Parcel(blocks=blocks()))

    assert store.on_file([task(1).run.cid])
    assert store.pins() == {"theirs": task(1).run.cid}
    assert other.get(Block.of(1999).cid).value() == 1999
    other.close()


def test_a_failure_after_the_files_moved(store: SqliteStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    If moving in fails at the last moment, the files that had moved are taken out again; those that were there stay.
    """
    kept = store.put_file(LARGE, "input")
    store.sync()
    move = Quarantine.move

    def failing(self: Quarantine, connection: apsw.Connection, now: int) -> None:
        move(self, connection, now)
        raise apsw.FullError("database or disk is full")

    monkeypatch.setattr(Quarantine, "move", failing)
    new = LARGE + b"!"
    with pytest.raises(StoreFull):
        store.bring(Parcel(files=[(file_cid(data), [data], "input") for data in (new, LARGE)]))

    assert store.read(kept) == LARGE
    assert not store.files.path(file_cid(new)).exists()
    with pytest.raises(NotFound):
        store.read(file_cid(new))


def test_a_task_is_laid_aside_once(store: SqliteStore, folder: Path) -> None:
    """
    However many receipts of one task a parcel has, the task is kept once, also while it is on its way: a small archive takes
    little room and time. Its edges are those that it has.
    """
    large = Instruction(
        rsc="ipfs://" + str(file_cid(b"m")), op="wasm/run", input={"args": [bytes(100_000)], "func": "f"}
    )
    made = Task(run=large)
    receipts = [Receipt(ran=made.invocation.cid, out=Outcome("ok", n), meta={"op": "f", "n": n}) for n in range(50)]
    most = 0

    def filings() -> Iterator[Filing]:
        nonlocal most
        for receipt in receipts:
            entry = Entry(instruction=large.cid, func="f", rsc=large.rsc, how="loaded", receipt=receipt.cid)
            yield Filing(made, receipt, None, entry, own=False, admitted=False)
            most = max(most, sum(one.stat().st_size for one in (folder / "files").rglob("*") if one.is_file()))

    store.bring(Parcel(filings=filings()))

    assert most < 1_000_000
    assert len(store.receipts_of(large.cid)) == 50
    assert [(edge.target, edge.kind) for edge in store.lineage([large.cid])] == [(large.cid, "module")]


# --- what crashes leave -----------------------------------------------------------------------------------------------


def test_a_file_without_a_row(store: SqliteStore) -> None:
    """
    A file that a crash left in its place is not seen. A collection removes it once it is an hour old, and spares one that
    is kept, or put meanwhile.
    """
    kept = store.put_file(LARGE, "input")
    strays = [LARGE + bytes([n]) * 2_000_000 for n in range(3)]
    cids = [file_cid(data) for data in strays]
    for cid, data in zip(cids, strays, strict=True):
        store.files.put(cid, data)
    for cid in cids:
        with pytest.raises(NotFound):
            store.read(cid)
        with pytest.raises(NotFound):
            store.open(cid)
        assert store.size(cid) is None
    store.sync()
    for cid in (kept, *cids[1:]):
        os.utime(store.files.path(cid), (1000, 1000))
    store.put_file(strays[2], "input")

    store.gc(to=10**12)

    assert [store.files.path(cid).exists() for cid in (kept, *cids)] == [True, True, False, True]
    assert store.read(kept) == LARGE
    assert store.read(cids[2]) == strays[2]


def test_what_was_being_brought(store: SqliteStore, folder: Path) -> None:
    """
    What a killed process had laid aside goes with a collection after an hour; what is laid aside just now stays, however old.
    """
    store.put_file(LARGE, "input")
    store.sync()
    for name in (".new-dead", ".new-fresh"):
        (folder / "files" / name).mkdir()
        (folder / "files" / name / LOCK).touch()
    os.utime(folder / "files" / ".new-dead", (1000, 1000))

    def blocks() -> Iterator[Block]:
        yield Block.of(bytes(100_000))
        for path in (folder / "files").glob(".new-*"):
            if path.name != ".new-fresh":
                os.utime(path, (1000, 1000))
        store.gc(to=10**12)
        yield Block.of(1)

    store.bring(Parcel(blocks=blocks()))

    assert left_in(folder) == [".new-fresh"]
    assert store.get(Block.of(bytes(100_000)).cid).value() == bytes(100_000)


# --- what is kept, and for how long -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pinned", [True, False])
def test_a_pinned_share(store: SqliteStore, pinned: bool) -> None:
    """
    While a share is pinned, all that its manifest leads to stays: receipts, modules, files, statements; then values may go.
    """
    value, module = LARGE + b"value", LARGE + b"module"
    theirs = CID.of(b"cut in another way", "dag-pb", "sha2-256")
    own = filing(task(5), bytes(5000))
    made = foreign(1, {"rows": [file_cid(value)], "ballast": bytes(2000)})
    told = statement(made.receipt.cid)
    manifest = Block.of(
        {"receipts": [made.receipt.cid, own.receipt.cid], "modules": [theirs], "statements": [told.cid], "files": []}
    )
    store.bring(
        Parcel(
            files=[(file_cid(value), [value], "value"), (theirs, [module], "value")],
            blocks=[manifest],
            filings=[made, own],
            attestations=[(made.receipt.cid, told)],
            pins={"share": manifest.cid} if pinned else {},
        )
    )
    store.unpin("nothing")

    gone = store.gc().cids

    assert set(gone) == (set() if pinned else {file_cid(value), own.receipt.cid})
    assert store.read(file_cid(module)) == module  # pinned by the CID that it came under
    assert store.attestations([made.receipt.cid]) == {made.receipt.cid: [told]}
    assert (store.size(file_cid(value)) is not None) == pinned


def test_the_limit_counts_parcels(folder: Path) -> None:
    """
    A parcel that takes a store over its limit is kept whole; older values make room for it with the next commit.
    """
    store = SqliteStore(folder, limit_bytes=1_000_000)
    store._disk.spared_seconds = 0
    old = [filing(task(n), bytes([n]) * 50_000) for n in range(10)]
    for one in old:
        store.file(one)
    store.sync()
    store.bring(Parcel(files=[(file_cid(LARGE), [LARGE], "input"), (file_cid(LARGE[1:]), [LARGE[1:]], "input")]))
    assert store.usage().dropped == 0
    store.put(Block.of(1))
    store.sync()

    assert store.read(file_cid(LARGE)) == LARGE
    assert store.usage().dropped == 10
    store.close()


def test_a_parcel_mends(store: SqliteStore, folder: Path) -> None:
    """
    What is not what was written any more is whole again when it is brought once more.
    """
    small, large = Block.of("small"), Block.of(bytes(100_000))
    store.bring(Parcel(blocks=[small, large]))
    connection = apsw.Connection(str(folder / "store.db"))
    connection.execute("UPDATE block SET data = x'00' WHERE cid = ?", (small.cid.bytes,))
    connection.close()
    store.files.path(large.cid).write_bytes(b"damaged")

    store.bring(Parcel(blocks=[small, large]))

    assert store.get(small.cid) == small
    assert store.get(large.cid) == large


def test_a_store_before_statements(folder: Path) -> None:
    """
    A store of version 2 is brought up to this one when it is opened, and keeps what it holds.
    """
    store = SqliteStore(folder)
    made = filing(task(1), 1)
    store.file(made)
    store.close()
    connection = apsw.Connection(str(folder / "store.db"))
    connection.execute("DROP TABLE attestation; PRAGMA user_version = 2")
    connection.close()

    store = SqliteStore(folder)
    store.attest(made.receipt.cid, statement(made.receipt.cid))
    store.sync()

    assert store.on_file([task(1).run.cid])[task(1).run.cid].receipt == made.receipt
    assert store.attestations([made.receipt.cid]) == {made.receipt.cid: [statement(made.receipt.cid)]}
    store.close()


def test_a_statement_that_was_altered(store: SqliteStore, folder: Path) -> None:
    """
    A statement of which a bit changed on disk is not given out; those beside it are.
    """
    about = Block.of(1).cid
    told = [statement(about, who) for who in ("did:key:a", "did:key:b")]
    for one in told:
        store.attest(about, one)
    store.sync()
    connection = apsw.Connection(str(folder / "store.db"))
    connection.execute("UPDATE block SET data = ? WHERE cid = ?", (told[1].data, told[0].cid.bytes))
    connection.close()

    assert store.attestations([about]) == {about: [told[1]]}


def test_files_that_others_may_read(folder: Path) -> None:
    """
    In a store that a teacher opened to others, what comes later can be read by them too; in one's own, by nobody else.
    """
    modes = []
    for mode in (0o755, 0o700):
        place = folder.with_name(f"store-{mode:o}")
        place.mkdir()
        place.chmod(mode)
        store = SqliteStore(place)
        cids = [store.put_file(LARGE, "input"), store.put_file(memoryview(LARGE[1:]), "input")]
        store.bring(Parcel(files=[(file_cid(LARGE[2:]), [LARGE[2:]], "input")]))
        paths = [store.files.path(cid) for cid in [*cids, file_cid(LARGE[2:])]]
        modes.append(
            {path.stat().st_mode & 0o777 for path in paths} | {path.parent.stat().st_mode & 0o777 for path in paths}
        )
        store.close()

    assert modes == [{0o644, 0o755}, {0o600, 0o700}]
