from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from ipvm_kernel import Session
from ipvm_kernel.errors import NotFound, StoreDamaged, StoreError, StoreReadOnly
from ipvm_kernel.ipld import Block
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.session import defaults
from ipvm_kernel.store import MemoryStore, Parcel, schema
from ipvm_kernel.store.layer import Layer
from ipvm_kernel.store.layered import LayeredStore, opened
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.testing import filing, task
from ipvm_kernel.testing.parcels import foreign, statement
from tests.guests import NUMBERS
from tests.store.reading import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipvm_kernel.store import Filing, OnFile

ROOT = Path(__file__).parents[2]
LARGE = bytes(range(256)) * 2000

as_root = pytest.mark.skipif(bool(os.geteuid()), reason="only root can give folders to others, and be somebody else")


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter."""
    place = Path(tempfile.mkdtemp(prefix="ipvm-layers-", dir="/var/tmp"))
    place.chmod(0o755)
    yield place
    for path in [place, *place.rglob("*")]:
        if path.is_dir():
            path.chmod(0o700)
    shutil.rmtree(place)


def prepared(folder: Path, tasks: int = 10, *, mode: int = 0o755) -> Path:
    """Make a store with a session's receipts, one large file among them, as a teacher would."""
    folder.mkdir(parents=True)
    folder.chmod(mode)
    with Session(folder) as session:
        module = session.module(NUMBERS)
        _ = session.run([module.add_one(n) for n in range(tasks)]).wait()
        session.store.pin("large", session.store.put_file(LARGE, "input"))
        session.store.pin("share/old", session.store.pins()["large"])
    return folder


def closed(folder: Path) -> Path:
    """Take all rights to write away, from everybody."""
    for path in [*folder.rglob("*"), folder]:
        path.chmod(path.stat().st_mode & ~0o222)
    return folder


def given(folder: Path, user: int) -> Path:
    """Give a folder, and all that is in it, to somebody."""
    for path in [*folder.rglob("*"), folder]:
        os.chown(path, user, user)
    return folder


def filled(folder: Path, *filings: Filing) -> Path:
    """Make a store with some receipts."""
    store = SqliteStore(folder)
    for one in filings:
        store.file(one)
    store.close()
    return folder


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return what is in a folder, so that any writing can be seen: sizes, times of change and inodes."""
    return {
        str(path): (found.st_size, found.st_mtime_ns, found.st_ino)
        for path in [folder, *folder.rglob("*")]
        for found in [path.stat()]
    }


def how(found: dict[Any, OnFile], number: int) -> tuple[Any, bool, bool, bool]:
    one = found[task(number).run.cid]
    return (one.receipt and one.receipt.value, one.own, one.admitted, one.trusted)


def read_as(user: int, home: Path, *layers: Path, tasks: int = 10) -> dict[str, Any]:
    """Replay tasks over layers as somebody else, and return what he saw."""
    home.mkdir(mode=0o700)
    os.chown(home, user, user)
    process = begun(user, home, *layers, tasks=tasks)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(out)
    return found


def begun(user: int, home: Path, *layers: Path, tasks: int = 10, more: str = "") -> subprocess.Popen[str]:
    folders = os.pathsep.join(map(str, layers))
    command = [sys.executable, "-m", "tests.store.reading", str(user), str(home), folders, str(tasks), *more.split()]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


# --- a class reads one prepared store ---------------------------------------------------------------------------------


@as_root
def test_a_class(public: Path) -> None:
    """
    Two readers at once, who own nothing yet, get all answers of a prepared store that they cannot write; nothing runs, and
    nothing changes there.
    """
    layer = prepared(public / "class", 50)
    before = listing(layer)
    readers = []
    for name in ("ada", "bob"):
        (public / name).mkdir(mode=0o700)
        os.chown(public / name, NOBODY, NOBODY)
        readers.append(begun(NOBODY, public / name, layer, tasks=50))
    told = [json.loads(reader.communicate(timeout=120)[0]) for reader in readers]

    assert [one["counts"] for one in told] == [{"replayed": 50}] * 2
    assert [one["layers"] for one in told] == [[[True, False]]] * 2
    assert [one["large"] for one in told] == [len(LARGE)] * 2
    assert [one["notices"] for one in told] == [[], []]
    assert all(one["values"] for one in told)
    assert listing(layer) == before


@as_root
def test_whose_layers_count(public: Path) -> None:
    """
    A layer counts as one's own if one cannot write it and it is root's or one's own; any other is foreign, and its receipts
    are not used.
    """
    layers = {
        "root's": prepared(public / "roots"),
        "closed by the reader": closed(given(prepared(public / "closed"), NOBODY)),
        "open to the reader": given(prepared(public / "open"), NOBODY),
        "somebody else's": closed(given(prepared(public / "else"), 1234)),
    }
    (public / "database").mkdir(mode=0o755)
    mixed = prepared(public / "database" / "mixed")
    os.chown(mixed / "store.db", 1234, 1234)
    layers["whose database is somebody else's"] = mixed

    told = {name: read_as(NOBODY, public / f"home-{n}", layer) for n, (name, layer) in enumerate(layers.items())}

    assert {name: (one["counts"], one["layers"]) for name, one in told.items()} == {
        "root's": ({"replayed": 10}, [[True, False]]),
        "closed by the reader": ({"replayed": 10}, [[True, False]]),
        "open to the reader": ({"computed": 10}, [[False, False]]),
        "somebody else's": ({"computed": 10}, [[False, False]]),
        "whose database is somebody else's": ({"computed": 10}, [[False, False]]),
    }
    assert "you can write" in told["open to the reader"]["why"][0]
    assert "belongs to somebody else" in told["somebody else's"]["why"][0]
    assert all(one["values"] and not one["notices"] for one in told.values())


@as_root
def test_root_reads_a_layer(tmp_path: Path) -> None:
    """
    For root, who can always write, a layer counts as his own if nobody at all may write it.
    """
    layer = prepared(tmp_path / "class")
    open_to_root = Layer(layer)
    assert (open_to_root.own, "you can write" in open_to_root.strange) == (False, True)
    open_to_root.close()
    shut = Layer(closed(layer))
    assert (shut.own, shut.strange) == (True, "")
    shut.close()


def test_a_layer_on_a_read_only_file_system(mounted: Callable[..., Path], tmp_path: Path) -> None:
    """
    A layer that is mounted read-only, as into a container, counts as one's own, and is read though no file can be made.
    """
    place = mounted("size=4m,mode=755")
    prepared(place / "class")
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    layer = Layer(place / "class")
    store = LayeredStore(MemoryStore(), [layer])

    assert layer.own
    with Session(store) as session:
        module = session.module(NUMBERS)
        assert session.run([module.add_one(n) for n in range(10)]).wait().counts == {"replayed": 10}
        assert session.store.read(session.store.pins()["large"]) == LARGE


@as_root
def test_a_layer_that_is_being_written(public: Path) -> None:
    """
    While its owner writes to a layer, a reader sees each state whole, and in the end all of it; the owner waits for nobody.
    """
    (public / "class").mkdir(mode=0o755)
    store = SqliteStore(public / "class")
    store.file(filing(task(0), 0))
    store.sync()
    (public / "home").mkdir(mode=0o700)
    os.chown(public / "home", NOBODY, NOBODY)
    reader = begun(NOBODY, public / "home", public / "class", more="follow")
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    for n in range(1, 400):
        store.file(filing(task(n), n))
        if n % 5 == 0:
            store.sync()
        if n % 100 == 0:  # its log goes, and comes again
            store.close()
            store = SqliteStore(public / "class")
    store.close()
    told = json.loads(reader.communicate(timeout=120)[0])

    assert told["notices"] == []
    assert told["layers"] == 1
    assert told["looks"] > 1


# --- whose receipt answers --------------------------------------------------------------------------------------------


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer that counts as one's own: task 1 was made there, 2 came from elsewhere, and 3 was never admitted."""
    place = filled(
        tmp_path / "class",
        filing(task(1), 1, at=1.0),
        filing(task(2), 2, own=False, keyed=False, at=1.0),
        foreign(3, 3, at=1.0),
    )
    return closed(place)


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A layer that does not: its reader can write it."""
    return filled(tmp_path / "strange", filing(task(1), "strange", at=0.5), filing(task(4), 4, at=0.5))


@pytest.fixture
def layers(layer: Path, strange: Path) -> Iterator[LayeredStore]:
    """An empty store over both."""
    store = LayeredStore(MemoryStore(), [Layer(layer), Layer(strange)])
    yield store
    store.close()


def test_what_layers_answer(layers: LayeredStore) -> None:
    """
    A layer that counts as one's own answers as it does for its owner, only with what he admitted; others are foreign.
    """
    found = layers.on_file([task(n).run.cid for n in range(6)])
    keys = [filing(task(n)).key for n in (1, 4)]

    assert {n: how(found, n) for n in (1, 2, 3, 4)} == {
        1: (1, True, True, False),
        2: (2, False, True, False),
        3: (3, False, False, False),
        4: (4, False, False, False),
    }
    assert len(found) == 4
    assert [
        (one.receipt and one.receipt.value, one.own, one.admitted) for one in layers.receipts_of(task(1).run.cid)
    ] == [
        (1, True, True),
        ("strange", False, False),
    ]
    assert [key and bool(layers.outcome(key)) for key in keys] == [True, False]


def test_foreign_layers_come_first_and_do_not_answer(layer: Path, strange: Path) -> None:
    """
    A receipt that may be used is found in a later layer, though an earlier one has another that may not.
    """
    store = LayeredStore(MemoryStore(), [Layer(strange), Layer(layer)])

    assert how(store.on_file([task(1).run.cid]), 1) == (1, True, True, False)
    store.close()


def test_an_own_receipt_wins(layers: LayeredStore) -> None:
    """
    What was made here answers before what a layer has, however much earlier that was made.
    """
    layers.file(filing(task(1), "mine", at=9.0))
    layers.file(filing(task(3), 3, at=9.0))

    found = layers.on_file([task(1).run.cid, task(3).run.cid])
    key = filing(task(1)).key
    assert key is not None
    outcome = layers.outcome(key)

    assert how(found, 1) == ("mine", True, True, False)
    assert how(found, 3) == (3, True, True, False)
    assert outcome is not None
    assert outcome.receipt is not None
    assert outcome.receipt.value == "mine"
    assert next(one.receipt and one.receipt.value for one in layers.receipts_of(task(1).run.cid)) == "mine"


def test_what_was_dropped_here_is_there(tmp_path: Path) -> None:
    """
    A receipt that was dropped here to make room is taken from a layer, whoever's, since its CID says what it is; another
    receipt of the layer's does not take its place.
    """
    same, other = filing(task(1), bytes(5000)), filing(task(2), bytes(6000))
    own = SqliteStore(tmp_path / "own")
    for one in (same, other):
        own.file(one)
    own.gc()
    layer = filled(tmp_path / "layer", filing(task(1), bytes(5000)), filing(task(2), b"another"))
    store = LayeredStore(own, [Layer(layer)])

    found = store.on_file([task(1).run.cid, task(2).run.cid])

    assert how(found, 1) == (bytes(5000), True, True, False)
    assert found[task(2).run.cid].cid == other.receipt.cid
    assert not found[task(2).run.cid].here
    store.close()


def test_foreign_receipts_of_one_s_own_and_a_layer(layers: LayeredStore) -> None:
    """
    A receipt that came to the own store and was not admitted gives way to one of a layer that may be used.
    """
    layers.file(foreign(1, "from elsewhere"))

    assert how(layers.on_file([task(1).run.cid]), 1) == (1, True, True, False)
    assert len(layers.receipts_of(task(1).run.cid)) == 3


def test_forgetting_over_layers(layers: LayeredStore, layer: Path) -> None:
    """
    What is forgotten runs again in this session, though a layer still has it; the layer keeps it, and what is made new answers.
    """
    cid = task(1).run.cid
    receipt = layers.on_file([cid])[cid].cid
    layers.attest(receipt, statement(receipt))

    assert layers.forget([cid]) == 2
    assert layers.on_file([cid]) == {}
    assert layers.receipts_of(cid) == []
    key = filing(task(1)).key
    assert key is not None
    assert layers.outcome(key) is None
    layers.file(filing(task(1), "again"))
    assert how(layers.on_file([cid]), 1) == ("again", True, True, False)
    again = Layer(layer)
    assert again.on_file([cid])
    again.close()


def test_statements_of_layers(tmp_path: Path) -> None:
    """
    What layers say about receipts is found beside what is said here: statements prove themselves.
    """
    made = filing(task(1), 1)
    theirs, ours = (statement(made.receipt.cid, who) for who in ("did:key:a", "did:key:b"))
    own, there = SqliteStore(tmp_path / "own"), SqliteStore(tmp_path / "layer")
    there.bring(Parcel(filings=[made], attestations=[(made.receipt.cid, one) for one in (theirs, ours)]))
    own.attest(made.receipt.cid, ours)
    there.close()
    store = LayeredStore(own, [Layer(tmp_path / "layer")])

    assert store.attestations([made.receipt.cid, task(2).run.cid]) == {made.receipt.cid: [ours, theirs]}
    store.close()


# --- looking around ---------------------------------------------------------------------------------------------------


def test_bytes_of_layers(tmp_path: Path) -> None:
    """
    Blocks and files are read from the first store that has them, small and large; what nobody has is named, with all that
    were asked.
    """
    there = SqliteStore(tmp_path / "layer")
    block, file, huge = there.put(Block.of("block")), there.put_file(LARGE, "value"), there.put_file(LARGE * 4, "input")
    there.close()
    store = LayeredStore(SqliteStore(tmp_path / "own"), [Layer(tmp_path / "layer")])

    assert store.get(block).value() == "block"
    assert store.read(file) == LARGE
    assert [store.size(cid) for cid in (block, file, huge)] == [6, len(LARGE), 4 * len(LARGE)]
    found = store.open(huge)
    assert (found if isinstance(found, bytes) else found.read()) == LARGE * 4
    with pytest.raises(NotFound, match=r"own and .*layer"):
        store.get(Block.of("nowhere").cid)
    with pytest.raises(NotFound, match="kept whole"):
        store.get(huge)
    assert store.find(str(block)) == store.find(block.short) == [block]
    assert list(store.cids()) == []
    assert store.usage().total_bytes == 0
    store.close()


def test_a_lineage_over_layers(tmp_path: Path) -> None:
    """
    A lineage goes from the own store into a layer and on into the next, and back, nearest first.
    """
    photo = Block.raw(b"a photo").cid
    first = filing(task(photo), 1)
    second = filing(task({"await/ok": first.task.run.cid}), 2)
    third = filing(task({"await/ok": second.task.run.cid}), 3)
    own = SqliteStore(tmp_path / "own")
    for one in (third, first):
        own.file(one)
    store = LayeredStore(own, [Layer(filled(tmp_path / "a", second)), Layer(filled(tmp_path / "b", first))])

    up = [edge.source for edge in store.lineage([third.task.run.cid]) if edge.kind != "module"]
    down = [edge.target for edge in store.users([photo])]

    assert up == [second.task.run.cid, first.task.run.cid, photo]
    assert down == [first.task.run.cid, second.task.run.cid, third.task.run.cid]
    assert len(store.lineage([third.task.run.cid], 2)) == 2
    store.close()


def test_the_journal_over_layers(tmp_path: Path) -> None:
    """
    The journal is of what was done here; about a task that is not known here, a layer says how it was made.
    """
    there = SqliteStore(tmp_path / "layer")
    made = filing(task(1), 1, run=77)
    made.entry.log = "said there"
    there.file(made)
    there.call(task(1).run.cid, "a name")
    there.close()
    store = LayeredStore(SqliteStore(tmp_path / "own"), [Layer(tmp_path / "layer")])
    store.file(filing(task(2), 2))

    assert [entry.instruction for entry in store.journal()] == [task(2).run.cid]
    assert [entry.log for entry in store.journal(instruction=task(1).run.cid)] == ["said there"]
    assert len(store.journal(run=77)) == 1
    assert set(store.made([task(n).run.cid for n in (1, 2, 3)])) == {task(n).run.cid for n in (1, 2)}
    assert set(store.logs([task(1).run.cid])) == {task(1).run.cid}
    assert store.called([task(1).run.cid]) == {task(1).run.cid: ["a name"]}
    store.close()


def test_pins_of_layers(tmp_path: Path) -> None:
    """
    Names and places that a layer knows are known here if it counts as one's own; one's own pins win, and what its owner
    shared is his business.
    """
    one, two = Block.of(1).cid, Block.of(2).cid
    for name in ("layer", "strange"):
        store = SqliteStore(tmp_path / name)
        for pin in (name, "both", "share/x", "https://example.org/data.csv"):
            store.pin(pin, one)
        store.close()
    own = SqliteStore(tmp_path / "own")
    own.pin("both", two)
    over = LayeredStore(own, [Layer(closed(tmp_path / "layer")), Layer(tmp_path / "strange")])

    assert over.pins() == {"both": two, "layer": one, "https://example.org/data.csv": one}
    assert over.unpin("layer") is None
    assert over.unpin("both") == two
    assert over.pins()["both"] == one
    over.close()


def test_what_only_the_own_store_offers(tmp_path: Path, layer: Path) -> None:
    """
    Making room, the folder and notices of the own store are reached through its layers.
    """
    own = SqliteStore(tmp_path / "own")
    store = LayeredStore(own, [Layer(layer)])
    own.notices.append("the store reached its limit")

    assert store.folder == tmp_path / "own"
    assert store.gc().count == 0
    assert store.notices == ["the store reached its limit"]
    store.notices.clear()
    assert store.notices == own.notices == []
    with pytest.raises(AttributeError):
        _ = LayeredStore(MemoryStore(), []).gc
    store.close()


# --- nothing is written -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [False, True])
def test_nothing_is_written_to_a_layer(tmp_path: Path, live: bool) -> None:
    """
    Reading a layer, closed or in use, makes no file beside it and changes none, though the reader could.
    """
    layer = prepared(tmp_path / "class")
    owner = SqliteStore(layer) if live else None
    if owner is not None:
        owner.put(Block.of("something in the log"))
        owner.sync()
    before = listing(layer)
    store = LayeredStore(SqliteStore(tmp_path / "own"), [Layer(layer)])
    with Session(store) as session:
        module = session.module(NUMBERS)
        _ = session.run([module.add_one(n) for n in range(12)]).wait()
        store.read(file_cid(LARGE))
        store.usage()
        store.forget([module.add_one(1).cid])
        store.gc()
        assert store.get(Block.of("something in the log").cid) if live else True
        assert listing(layer) == before
    assert listing(layer) == before
    if owner is not None:
        owner.close()


# --- layers that fail -------------------------------------------------------------------------------------------------


def without(tmp_path: Path, *folders: Path) -> tuple[list[str], list[str]]:
    """Open a session over folders of which none can be a layer, use it, and return what it said and what it lists."""
    store = opened(SqliteStore(tmp_path / "own"), os.pathsep.join(map(str, folders)))
    with Session(store) as session:
        module = session.module(NUMBERS)
        assert module.add_one(1).result() == 2
        usage = session.store.usage()
        assert all(layer.left_out and not layer.own for layer in usage.layers)
        said = session.take_notices()
        assert session.take_notices() == []
        return said, [layer.where for layer in usage.layers]


def test_layers_that_cannot_be_used(tmp_path: Path) -> None:
    """
    A layer that is missing, no store, of a newer version, open to everybody or another program's is left out, with one line
    that names it and says why; the session works.
    """
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "random").mkdir()
    (tmp_path / "random" / "store.db").write_bytes(os.urandom(20_000))
    (tmp_path / "bookmarks").mkdir()
    connection = apsw.Connection(str(tmp_path / "bookmarks" / "store.db"))
    connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    newer, everybody = filled(tmp_path / "newer"), filled(tmp_path / "everybody")
    connection = apsw.Connection(str(newer / "store.db"))
    connection.execute("PRAGMA user_version = 99; ALTER TABLE block RENAME COLUMN place TO somewhere")
    connection.close()
    everybody.chmod(0o777)
    expected = {
        "absent": "is not there",
        "empty": "is no store of ipvm",
        "file": "Not a directory",
        "random": "is no store of ipvm",
        "bookmarks": "is no store of ipvm",
        "newer": "was written by a newer ipvm",
        "everybody": "chmod o-w",
    }

    said, listed = without(tmp_path, *(tmp_path / name for name in expected))

    assert listed == [str(tmp_path / name) for name in expected]
    assert len(said) == len(expected)
    for notice, (name, why) in zip(said, expected.items(), strict=True):
        assert str(tmp_path / name) in notice
        assert why in notice


def test_the_own_store_is_no_layer(tmp_path: Path) -> None:
    """
    A folder that is named twice is one layer, and the own store is none.
    """
    layer = filled(tmp_path / "layer")
    folders = [tmp_path / "own", layer, layer, tmp_path / "layer" / ".." / "layer"]
    store = opened(SqliteStore(tmp_path / "own"), os.pathsep.join(["", *map(str, folders)]))

    assert [one.where for one in store.usage().layers] == [str(layer)]
    store.close()


def test_a_layer_that_goes_away(tmp_path: Path) -> None:
    """
    A layer that is unmounted or removed while it is used is left out from then on, with one line; the session goes on.
    """
    layer = prepared(tmp_path / "class")
    store = opened(SqliteStore(tmp_path / "own"), str(closed(layer)))
    with Session(store) as session:
        module = session.module(NUMBERS)
        assert session.run([module.add_one(n) for n in range(5)]).wait().counts == {"replayed": 5}
        layer.chmod(0o700)
        layer.rename(tmp_path / "elsewhere")

        assert session.run([module.add_one(n) for n in range(5, 10)]).wait().counts == {"computed": 5}
        (said,) = session.take_notices()
        assert "left out from now on" in said
        assert str(layer) in said
        with pytest.raises(NotFound):
            store.read(file_cid(LARGE))
        assert [one.left_out for one in session.store.usage().layers] == [True]
        assert session.take_notices() == []


def test_a_layer_that_is_replaced(tmp_path: Path) -> None:
    """
    A new edition of a layer that takes the place of the old is read from then on, and whether it counts is asked anew.
    """
    layer = closed(filled(tmp_path / "class", filing(task(1), "old")))
    store = opened(SqliteStore(tmp_path / "own"), str(layer))
    old = how(store.on_file([task(1).run.cid]), 1)
    layer.chmod(0o700)
    layer.rename(tmp_path / "old")
    filled(layer, filing(task(1), "new"))
    strange = how(store.on_file([task(1).run.cid]), 1)
    closed(layer)
    layer.chmod(0o700)
    layer.rename(tmp_path / "other")
    closed(filled(layer, filing(task(1), "newest")))

    assert old == ("old", True, True, False)
    assert strange == ("new", False, False, False)
    assert how(store.on_file([task(1).run.cid]), 1) == ("newest", True, True, False)
    store.close()


def test_a_damaged_block_of_a_layer(tmp_path: Path) -> None:
    """
    What is not what was written in a layer is looked for in the next, and is not here if nobody else has it.
    """
    block, file = Block.of("a block of some length"), LARGE
    for name in ("damaged", "whole"):
        there = SqliteStore(tmp_path / name)
        there.put(block)
        there.put_file(file, "value")
        there.close()
    connection = apsw.Connection(str(tmp_path / "damaged" / "store.db"))
    connection.execute("UPDATE block SET data = x'01' WHERE cid = ?", (block.cid.bytes,))
    connection.close()
    for path in (tmp_path / "damaged" / "files").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    both = LayeredStore(MemoryStore(), [Layer(tmp_path / "damaged"), Layer(tmp_path / "whole")])
    one = LayeredStore(MemoryStore(), [Layer(tmp_path / "damaged")])

    assert both.get(block.cid) == block
    assert both.read(file_cid(file)) == file
    with pytest.raises(NotFound, match="not what was written"):
        one.get(block.cid)
    assert len(one.layers) == 1
    for store in (both, one):
        store.close()


def test_a_torn_layer(tmp_path: Path) -> None:
    """
    A layer whose database is damaged is left out when that is met, and the session works.
    """
    layer = prepared(tmp_path / "class", 500)
    data = (layer / "store.db").read_bytes()
    (layer / "store.db").write_bytes(data[: len(data) // 2 // 4096 * 4096])
    store = opened(SqliteStore(tmp_path / "own"), str(closed(layer)))

    with Session(store) as session:
        module = session.module(NUMBERS)
        run = session.run([module.add_one(n) for n in range(500)]).wait()
        assert sum(run.counts.values()) == 500
        assert len(session.take_notices()) == 1


@pytest.mark.parametrize("version", [1, 2])
def test_a_layer_of_an_earlier_version(tmp_path: Path, version: int) -> None:
    """
    A layer that an earlier ipvm made is read as it is; what it could not keep yet is not there.
    """
    layer = prepared(tmp_path / "class")
    connection = apsw.Connection(str(layer / "store.db"))
    connection.execute("DROP TABLE attestation")
    if version == 1:
        connection.execute("DROP TABLE edge; DROP TABLE cell; DROP TABLE name; ALTER TABLE entry DROP COLUMN declared")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = listing(closed(layer))
    store = opened(SqliteStore(tmp_path / "own"), str(layer))

    with Session(store) as session:
        module = session.module(NUMBERS)
        handles = [module.add_one(n) for n in range(10)]
        assert session.run(handles).wait().counts == {"replayed": 10}
        made = session.store.made([handles[0].cid])
        assert [entry.declared for entry in made.values()] == [None]
        assert session.store.attestations([handles[0].cid]) == {}
        assert bool(session.store.lineage([handles[0].cid])) == (version == 2)
        assert session.take_notices() == []
    assert listing(layer) == before


@as_root
def test_a_log_that_was_not_written_back(public: Path) -> None:
    """
    A layer whose owner's process was killed is read with its log; where the log cannot be read it is left out, since what
    is beside the log may be half of something.
    """
    (public / "class").mkdir(mode=0o755)
    code = "import sys,os;from pathlib import Path;from ipvm_kernel.store.sqlite import SqliteStore;"
    code += "from ipvm_kernel.testing import filing,task;s=SqliteStore(Path(sys.argv[1]));"
    code += "[s.file(filing(task(n),n)) for n in range(50)];s.sync();os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(public / "class")], cwd=ROOT, check=True)
    assert (public / "class" / "store.db-wal").stat().st_size
    closed(public / "class")
    store = opened(MemoryStore(), str(public / "class"))
    assert len(store.on_file([task(n).run.cid for n in range(50)])) == 50
    store.close()
    (public / "class").chmod(0o700)
    (public / "class" / "store.db-shm").unlink()

    with pytest.raises(StoreReadOnly, match="let its owner open it once"):
        Layer(public / "class")


def test_a_closed_layer(layer: Path) -> None:
    """
    A layer that was closed says so.
    """
    store = Layer(layer)
    store.close()
    store.close()

    with pytest.raises(StoreError, match="closed"):
        store.get(Block.of(1).cid)


# --- the default session ----------------------------------------------------------------------------------------------


@pytest.fixture
def default_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, Path], Session]]:
    """Open the default session anew, at a home and over layers."""

    def make(home: Path, layers: Path) -> Session:
        monkeypatch.setenv("IPVM_HOME", str(home))
        monkeypatch.setenv("IPVM_LAYERS", str(layers))
        defaults.set_default(None)
        return defaults.default()

    yield make
    session = defaults.current()
    if session is not None:
        session.close()
    defaults.set_default(None)


def test_the_default_session(tmp_path: Path, default_session: Callable[[Path, Path], Session]) -> None:
    """
    The default session reads the layers that the environment names, and keeps what is new at home.
    """
    session = default_session(tmp_path / "home", closed(prepared(tmp_path / "class")))
    module = session.module(NUMBERS)
    run = session.run([module.add_one(n) for n in range(12)]).wait()

    assert run.counts == {"replayed": 10, "computed": 2}
    assert session.resolve("large") == file_cid(LARGE)
    assert session.store.where == str(tmp_path / "home")
    assert (tmp_path / "home" / "code").is_dir()
    session.close()
    store = SqliteStore(tmp_path / "home")
    assert store.usage().receipts == 2
    store.close()


def test_no_home_but_layers(tmp_path: Path, default_session: Callable[[Path, Path], Session]) -> None:
    """
    Where no store can be made at home, the layers are read all the same.
    """
    (tmp_path / "file").write_text("in the way")
    session = default_session(tmp_path / "file" / "home", closed(prepared(tmp_path / "class")))
    module = session.module(NUMBERS)

    assert session.store.where == "memory"
    assert session.run([module.add_one(n) for n in range(10)]).wait().counts == {"replayed": 10}
    assert len(session.take_notices()) == 1


# --- databases that are made to harm ------------------------------------------------------------------------------------

ENDLESS = (
    "CREATE VIEW {name} AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
    "SELECT t.* FROM c, {name}_kept t WHERE c.x < 0"
)
MADE_UP = {
    "a view": "ALTER TABLE receipt RENAME TO receipt_kept; " + ENDLESS.format(name="receipt"),
    "a VIEW of another case": "ALTER TABLE block RENAME TO block_kept; " + ENDLESS.format(name="BLOCK"),
    "a computed column": "ALTER TABLE pin ADD COLUMN more AS (hex(zeroblob(500000000)))",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON pin BEGIN DELETE FROM receipt; END",
    "a virtual table": "DROP TABLE pin; CREATE VIRTUAL TABLE pin USING fts5(label, cid)",
}


@pytest.mark.parametrize("way", MADE_UP)
def test_a_database_that_computes_is_no_store(tmp_path: Path, way: str) -> None:
    """
    Where ipvm keeps a table, a view, a virtual table or a computed column could go on for ever, and a trigger could do
    anything: such a layer is left out and said so, and such a store is not opened.
    """
    layer = prepared(tmp_path / "layer")
    connection = apsw.Connection(str(layer / "store.db"))
    connection.execute(MADE_UP[way])
    connection.close()
    store = opened(SqliteStore(tmp_path / "own"), str(layer))
    with Session(store) as session:
        assert session.module(NUMBERS).add_one(1).result() == 2
        notices = session.take_notices()

    assert len(notices) == 1
    assert notices[0].startswith("a layer is left out")
    assert "which no ipvm made" in notices[0]
    with pytest.raises(StoreDamaged, match="which no ipvm made"):
        SqliteStore(layer)


def test_a_layer_whose_queries_do_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A layer that is made to go on for ever while it is read is left out after a few seconds: the task is worked out here.
    """
    monkeypatch.setattr(schema, "QUERY_SECONDS", 0.1)
    layer = prepared(tmp_path / "layer")
    connection = apsw.Connection(str(layer / "store.db"))
    connection.execute("CREATE TABLE begun (x)")  # there is a log from now on, so the reader keeps its connection
    store = opened(SqliteStore(tmp_path / "own"), str(layer))
    with Session(store) as session:
        assert store.usage().layers[0].receipts == 10
        connection.execute(MADE_UP["a view"])
        assert session.module(NUMBERS).add_one(1).result() == 2
        notices = session.take_notices()
        again = session.module(NUMBERS).add_one(2).result()
        connection.close()

    assert again == 3
    assert len(notices) == 1
    assert "left out from now on" in notices[0]
    assert "took more than 0.1 s" in notices[0]
