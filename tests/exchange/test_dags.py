"""Everything that a root reaches: whoever has a part of it, it comes whole, checked, or says what is missing."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, Cancelled, HashNotAllowed, IpvmError, LimitExceeded, Malformed, NotFound
from ipvm_kernel.exchange import dags
from ipvm_kernel.exchange.http import Refused
from ipvm_kernel.exchange.resources import Resources
from ipvm_kernel.exchange.settings import Settings
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.bases import to_varint
from ipvm_kernel.ipld.car import Archive, Piece
from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, blocks, file_cid
from ipvm_kernel.store import MemoryStore
from ipvm_kernel.wasm.stop import Stop
from tests.exchange.fakes import Fake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ipvm_kernel.exchange.asking import Fetching
    from ipvm_kernel.exchange.http import Deadline
    from tests.exchange.fakes import Archives, Mood

PICTURE = b"".join(bytes([n]) * CHUNK_BYTES for n in range(4))


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def address(fake: Fake) -> Iterator[str]:
    with fake.running() as found:
        yield found


def resources(**settings: Any) -> Resources:
    return Resources(MemoryStore(), Settings(**{"pause": 0.01, "seconds": 20, **settings}))


def fetched(here: Resources, root: CID, **options: Any) -> list[Piece]:
    """
    Fetch a root with all that it reaches, and return the blocks of the archive, strictly read.
    """
    path = here.fetch_dag(root, **options)
    try:
        with path.open("rb") as file:
            archive = Archive(file)
            assert archive.roots == (root,)
            return list(archive)
    finally:
        path.unlink()


def share(fake: Fake) -> tuple[CID, list[CID]]:
    """
    Have a DAG as a shared notebook is one: a root, receipts that share a module, a picture; return root and all CIDs.
    """
    picture, module = fake.add(PICTURE), Block.raw(b"\0asm module")
    receipts = [Block.of({"ran": module.cid, "out": ["ok", n], "n": n}) for n in range(5)]
    root = Block.of({"cells": [{"receipt": one.cid} for one in receipts], "files": {"a.png": picture}})
    fake.have(module, *receipts, root)
    return root.cid, [cid for cid, _ in fake.reach(str(root.cid))]


# --- Everything comes ---


def test_a_dag_from_kubo(fake: Fake, address: str) -> None:
    """
    Everything that a root reaches comes with two requests: one for the root, one for its archive.
    """
    root, cids = share(fake)
    fake.archives = True

    assert [piece.cid for piece in fetched(resources(kubo=address), root)] == cids
    assert fake.asked == [str(root), f"car {root}"]


def test_a_dag_from_a_gateway(fake: Fake, address: str) -> None:
    """
    A trustless gateway gives the same.
    """
    root, cids = share(fake)
    fake.archives = True

    assert [piece.cid for piece in fetched(resources(gateway=address), root)] == cids


def test_without_archives(fake: Fake, address: str) -> None:
    """
    A source that sends no archives gives the same, block by block, each asked for once.
    """
    root, cids = share(fake)

    assert [piece.cid for piece in fetched(resources(kubo=address), root)] == cids
    assert sorted(fake.asked) == sorted(map(str, cids))


def test_what_is_here_is_not_asked_for(fake: Fake, address: str) -> None:
    """
    Blocks and files that are in the store are taken from there; with all of them here, nobody is asked.
    """
    root, cids = share(fake)
    here = resources(kubo=address)
    here._store.put_file(PICTURE, "input")
    for cid, data in fake.reach(str(root)):
        if cid.codec == "dag-cbor":
            here._store.put(Block(cid, data))
    here._store.put(Block.raw(b"\0asm module"))

    assert {piece.cid for piece in fetched(here, root)} == set(cids)
    assert fake.asked == []


def test_two_have_it_together(fake: Fake, address: str) -> None:
    """
    What Kubo and the gateway only have together comes all the same, though each lacks what the other has.
    """
    root, cids = share(fake)
    other = Fake()
    other.blocks = dict(fake.blocks)
    for at, cid in enumerate(cids[1:]):
        del (fake if at % 2 else other).blocks[str(cid)]
    with other.running() as gateway:
        found = fetched(resources(kubo=address, gateway=gateway), root)

    assert {piece.cid for piece in found} == set(cids)


def test_somebody_else(fake: Fake) -> None:
    """
    Further sources are asked as Kubo and a gateway are: for archives if they have a way to send them.
    """

    class Plain:
        name = "the neighbour"

        def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
            return fake.blocks[str(cid)]

    root, cids = share(fake)
    here = resources()
    here.more = lambda: [Plain()]

    assert {piece.cid for piece in fetched(here, root)} == set(cids)


class Neighbour:
    """
    Somebody who has blocks, and notes how often it is asked at once.
    """

    name = "the neighbour"
    at_once = 8

    def __init__(self, fake: Fake) -> None:
        self.blocks = fake.blocks
        self.asked: list[str] = []
        self.now = self.peak = 0
        self.lock = threading.Lock()

    def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
        with self.lock:
            self.now += 1
            self.peak = max(self.peak, self.now)
            self.asked.append(str(cid))
        time.sleep(0.005)
        with self.lock:
            self.now -= 1
        if str(cid) not in self.blocks:
            raise Refused(f"{self.name} does not have it", 404)
        return self.blocks[str(cid)]


@pytest.mark.parametrize("of", ["dag", "file"])
def test_several_at_once(fake: Fake, of: str) -> None:
    """
    A source without archives is asked for some blocks at once, no more than it says, and for each one once.
    """
    leaves = [Block.raw(str(n).encode()) for n in range(60)]
    root = (
        fake.have(*leaves, Block.of([leaf.cid for leaf in leaves])) if of == "dag" else fake.add(os.urandom(15 << 20))
    )
    neighbour = Neighbour(fake)
    here = resources()
    here.more = lambda: [neighbour]

    assert {piece.cid for piece in fetched(here, root)} == {cid for cid, _ in fake.reach(str(root))}
    assert 1 < neighbour.peak <= 8
    assert len(neighbour.asked) == len(set(neighbour.asked))


def test_what_is_left_out(fake: Fake) -> None:
    """
    What the sender left out, as whoever reads the root says, is not looked for, wherever it is linked from.
    """
    left = [Block.raw(b"left out %d" % n).cid for n in range(50)]
    values = [Block.of({"out": cid, "n": n}) for n, cid in enumerate(left)]
    root = fake.have(*values, Block.of({"left": left, "values": [value.cid for value in values]}))
    neighbour = Neighbour(fake)
    here = resources()
    here.more = lambda: [neighbour]

    found = fetched(here, root, spare=lambda cid, _: left if cid == root else [])
    assert {piece.cid for piece in found} == {root, *(value.cid for value in values)}
    assert not {str(cid) for cid in left} & set(neighbour.asked)


ILL: list[Archives] = ["short", "hung", "dying", "lying", "busy", "junk", "endless", "portal", "shuffled", "repeated"]


@pytest.mark.parametrize("ill", ILL)
@pytest.mark.parametrize("sent", [0, 1, 5])
def test_an_archive_that_is_not_well(fake: Fake, address: str, ill: Archives, sent: int) -> None:
    """
    Whatever is wrong with an archive, what came of it is used, and the rest comes from the same source or the next.
    """
    root, cids = share(fake)
    fake.archives, fake.sent = ill, sent
    well = Fake()
    well.blocks, well.archives = dict(fake.blocks), True
    with well.running() as gateway:
        found = fetched(resources(kubo=address, gateway=gateway, seconds=4, max_bytes=3_000_000), root)

    assert {piece.cid for piece in found} == set(cids)
    assert len(found) == len(cids)


def test_what_came_is_not_asked_for_again() -> None:
    """
    Of a Kubo that dies in the middle of an archive, the next source is asked for what had not come, and no more.
    """

    class Dying(Fake):
        def take_mood(self) -> Mood:
            return "well" if len(self.asked) == 1 else "gone"

    fake = Dying()
    root, cids = share(fake)
    fake.archives, fake.sent = "dying", 4
    well = Fake()
    well.blocks = fake.blocks
    with fake.running() as address, well.running() as gateway:
        found = fetched(resources(kubo=address, gateway=gateway), root)

    assert {piece.cid for piece in found} == set(cids)
    assert sorted(well.asked) == sorted(map(str, cids[4:]))


@pytest.mark.parametrize("codec", ["raw", "dag-cbor", "dag-pb"])
def test_a_root_of_any_kind(fake: Fake, address: str, codec: str) -> None:
    """
    A file and a raw block are roots too.
    """
    root = {
        "raw": lambda: fake.have(Block.raw(b"x")),
        "dag-cbor": lambda: fake.have(Block.of({"a": 1})),
        "dag-pb": lambda: fake.add(PICTURE),
    }[codec]()
    here = resources(kubo=address)

    assert [(piece.cid, piece.data) for piece in fetched(here, root)] == fake.reach(str(root))


def test_identity(fake: Fake, address: str) -> None:
    """
    What a CID holds itself is followed and not asked for, and is no block of the archive.
    """
    leaf = Block.raw(b"leaf")
    inner = Block.of({"to": leaf.cid})
    held = CID.from_bytes(b"\x01\x71\x00" + to_varint(len(inner.data)) + inner.data)
    root = fake.have(leaf, Block.of([held, held]))

    assert [piece.cid for piece in fetched(resources(kubo=address), root)] == [root, leaf.cid]


def test_a_key_is_no_content(fake: Fake, address: str) -> None:
    """
    A link to a key is a name, and is not looked for.
    """
    key = CID.of(b"key", "libp2p-key", "sha2-256")
    root = fake.have(Block.of({"who": key}))

    assert [piece.cid for piece in fetched(resources(kubo=address), root)] == [root]


# --- Bombs ---


def test_doubling(fake: Fake, address: str) -> None:
    """
    Of 64 blocks that each link twice to the next, which are 2^64 ways, each comes once.
    """
    below = Block.raw(b"bottom")
    made = [below]
    for _ in range(64):
        below = Block.of([below.cid, below.cid, {"again": below.cid}])
        made.append(below)
    root = fake.have(*made)
    fake.archives = True

    assert len(fetched(resources(kubo=address), root)) == 65


@pytest.mark.torture
def test_a_deep_chain(fake: Fake, address: str) -> None:
    """
    A chain of 100,000 blocks is no deeper than one of ten.
    """
    root = fake.have(*chain(100_000))
    fake.archives = True

    assert len(fetched(resources(kubo=address, seconds=300), root)) == 100_000


def test_a_chain_that_ends_early(fake: Fake, address: str) -> None:
    """
    The way to what is missing is said by its ends, however long it is.
    """
    *_, root = made = chain(3_000)
    fake.have(*made[1:])
    fake.archives = True

    with pytest.raises(NotFound, match=r"is missing, at /next/next/next/next/\(2,987 more\)/next/") as caught:
        fetched(resources(kubo=address), root.cid)
    assert str(made[0].cid) in caught.value.message
    assert len(caught.value.message) < 2048


def chain(count: int) -> list[Block]:
    made = [Block.of({"next": None})]
    while len(made) < count:
        made.append(Block.of({"next": made[-1].cid}))
    return made


def test_too_many_bytes(fake: Fake, address: str) -> None:
    """
    What is larger than allowed is refused by the variable that allows it, and leaves no file behind.
    """
    root, _ = share(fake)
    fake.archives = True

    with pytest.raises(LimitExceeded, match="IPVM_FETCH_BYTES"):
        fetched(resources(kubo=address, max_bytes=700_000), root)


def test_too_many_blocks() -> None:
    """
    A DAG of more blocks than allowed is refused when its links say so, before they come.
    """
    leaves = [Block.raw(bytes([n])) for n in range(10)]
    root = Block.of([leaf.cid for leaf in leaves])
    asked: list[CID] = []

    def get(cid: CID, after: object) -> bytes:
        asked.append(cid)
        return root.data

    walk = dags.Walk(root.cid, get, lambda *_: NotFound("x"), max_bytes=1000, most=10)
    with pytest.raises(LimitExceeded, match="10 blocks"):
        list(walk.blocks())
    assert asked == [root.cid]


def test_a_block_that_is_not_canonical(fake: Fake, address: str) -> None:
    """
    A block whose bytes are what its CID says, and are no DAG-CBOR, is named with the way to it.
    """
    bad = Block(CID.of(b"\x18\x01", "dag-cbor", "sha2-256"), b"\x18\x01")
    root = fake.have(bad, Block.of({"a": [{"b": bad.cid}]}))

    with pytest.raises(Malformed, match=rf"It is {bad.cid}, at /a/0/b in {root}"):
        fetched(resources(kubo=address), root)


def test_a_hash_by_which_nothing_can_be_checked(fake: Fake, address: str) -> None:
    """
    A link by SHA-1 could lead to anything, and the whole is refused.
    """
    loose = CID.from_bytes(b"\x01\x55\x11\x14" + bytes(20))
    fake.blocks[str(loose)] = b"anything"
    root = fake.have(Block.of({"a": loose}))

    with pytest.raises(HashNotAllowed, match="/a in"):
        fetched(resources(kubo=address), root)


# --- What is missing ---


def test_nobody_has_the_root(fake: Fake, address: str) -> None:
    """
    A CID that is not found says where it was looked for and what to ask the sender for, in one line.
    """
    cid = Block.of({"nowhere": True}).cid
    with Fake().running() as gateway, pytest.raises(NotFound) as caught:
        fetched(resources(kubo=address, gateway=gateway), cid)

    assert caught.value.message == (
        f"{cid} is not here: looked in the store, Kubo at {address} (does not have it), the gateway {gateway} (answered 404 "
        "(block was not found locally (offline): ipld: could not find )); ask the sender for the .car file or to run "
        "`ipvm share --ipfs`. `ipvm doctor` shows what may be asked"
    )


@pytest.mark.parametrize("archives", [True, None])
def test_a_child_is_missing(fake: Fake, address: str, archives: Archives | None) -> None:
    """
    Where one block of many is nowhere, its CID, the way to it, and everybody who was asked are named.
    """
    root, _ = share(fake)
    lost = Block.of({"ran": Block.raw(b"\0asm module").cid, "out": ["ok", 3], "n": 3}).cid
    del fake.blocks[str(lost)]
    fake.archives = archives

    with pytest.raises(
        NotFound, match=rf"{lost} is missing, at /cells/3/receipt in {root}: looked in the store, Kubo at"
    ):
        fetched(resources(kubo=address), root)


def test_a_leaf_of_a_file_is_missing(fake: Fake, address: str) -> None:
    """
    A leaf of a file says in which file it is, and where.
    """
    root, _ = share(fake)
    lost = [cid for cid, _ in blocks(PICTURE)][2]
    del fake.blocks[str(lost)]

    with pytest.raises(NotFound, match=rf"{lost} is missing, at /files/a.png/Links/2 in"):
        fetched(resources(kubo=address), root)


@pytest.mark.parametrize("mood", ["busy", "gone", "silent", "lying", "huge", "garbage"])
def test_it_ends_and_leaves_nothing(
    fake: Fake, address: str, mood: Mood, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whatever a server does, a fetch ends in its time with one printable line, and no file is left.
    """
    root, _ = share(fake)
    fake.mood = mood
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with pytest.raises(IpvmError) as caught:
        fetched(resources(kubo=address, seconds=1), root)
    assert caught.value.message.isprintable()
    assert str(root) in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_nobody_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    With Kubo off and no gateway, not one socket is opened, and the message says what could be asked.
    """

    def no(*_: object, **__: object) -> None:
        raise AssertionError("a socket")

    monkeypatch.setattr("socket.socket", no)
    monkeypatch.setattr("socket.create_connection", no)
    monkeypatch.setattr("socket.getaddrinfo", no)
    from ipvm_kernel.exchange.settings import from_environment

    here = Resources(MemoryStore(), from_environment({"IPVM_KUBO_API": "off", "IPFS_API": "http://127.0.0.1:5001"}))
    for ask in (here.fetch_dag, here.fetch):
        with pytest.raises(NotFound, match=r"the store alone.*IPVM_KUBO_API, IPVM_GATEWAY"):
            ask(Block.of({"nowhere": True}).cid)


def test_stopped(fake: Fake, address: str) -> None:
    """
    A fetch that is stopped while an archive hangs ends at once, and leaves no file.
    """
    root, _ = share(fake)
    fake.archives = "hung"
    stop = Stop()
    threading.Timer(0.3, stop.interrupt).start()
    began = time.monotonic()

    with pytest.raises(Cancelled):
        fetched(resources(kubo=address), root, stop=stop)
    assert time.monotonic() - began < 5


def test_it_is_watched(fake: Fake, address: str) -> None:
    """
    Whoever watches sees the bytes grow, and who gives them.
    """
    root, _ = share(fake)
    fake.archives = True
    seen: list[tuple[int, str]] = []

    def watch(told: Fetching) -> None:
        seen.append((told.done, told.source))

    fetched(resources(kubo=address), root, progress=watch)

    counts = [count for count, _ in seen]
    assert counts == sorted(counts)
    assert counts[-1] > len(PICTURE)
    assert {source for _, source in seen} == {f"Kubo at {address}"}


# --- Files by archives ---


@pytest.mark.parametrize("size", [CHUNK_BYTES + 1, 10 << 20, 60 << 20])
def test_a_file_is_two_requests(fake: Fake, address: str, size: int) -> None:
    """
    A file of any number of leaves comes with two requests from a source that sends archives.
    """
    data = os.urandom(size)
    cid = fake.add(data)
    fake.archives = True
    here = resources(kubo=address)
    here.fetch(cid)

    assert here.read(cid) == data
    assert fake.asked == [str(cid), f"car {cid}"]


def test_a_file_of_zeros(fake: Fake, address: str) -> None:
    """
    A file whose leaves are all the same one comes whole, though an archive has that leaf once.
    """
    data = bytes(50 * CHUNK_BYTES)
    cid = fake.add(data)
    fake.archives = True
    here = resources(kubo=address)
    here.fetch(cid)

    assert here.read(cid) == data
    assert fake.asked == [str(cid), f"car {cid}"]


@pytest.mark.parametrize("ill", ILL)
def test_a_file_by_an_archive_that_is_not_well(fake: Fake, address: str, ill: Archives) -> None:
    """
    A file comes whatever is wrong with its archive, from the same source or the next, and what is kept is the file.
    """
    data = os.urandom(8 * CHUNK_BYTES)
    cid = fake.add(data)
    fake.archives, fake.sent = ill, 3
    well = Fake()
    well.blocks = dict(fake.blocks)
    with well.running() as gateway:
        here = resources(kubo=address, gateway=gateway, seconds=4, max_bytes=3_000_000)
        here.fetch(cid)

    assert here.read(cid) == data
    assert list(here._store.cids()) == [cid]


# --- Folders ---


def folder(fake: Fake, entries: dict[str, CID]) -> CID:
    """
    Have a folder, and return its CID.
    """

    def sized(data: bytes) -> bytes:
        return to_varint(len(data)) + data

    links = [
        b"\x12" + sized(b"\x0a" + sized(cid.bytes) + b"\x12" + sized(name.encode()) + b"\x18\x00")
        for name, cid in sorted(entries.items())
    ]
    data = b"".join(links) + b"\x0a\x02\x08\x01"
    return fake.have(Block(CID.of(data, "dag-pb", "sha2-256"), data))


@pytest.mark.parametrize("archives", [True, None])
def test_a_folder(fake: Fake, address: str, tmp_path: Path, archives: Archives | None) -> None:
    """
    A folder is written with all that is in it, and its files are kept.
    """
    root = folder(
        fake, {"a.png": fake.add(PICTURE), "sub": folder(fake, {"b.txt": fake.add(b"text"), "c": fake.add(b"")})}
    )
    fake.archives = archives
    here = resources(kubo=address)
    target = tmp_path / "out"

    assert here.unpack(root, target) == [target / "a.png", target / "sub/b.txt", target / "sub/c"]
    assert (target / "a.png").read_bytes() == PICTURE
    assert (target / "sub/b.txt").read_bytes() == b"text"
    assert (target / "sub/c").read_bytes() == b""
    assert here.read(file_cid(PICTURE)) == PICTURE
    if archives:
        assert fake.asked == [str(root), f"car {root}"]


def test_a_folder_with_a_bad_name(fake: Fake, address: str, tmp_path: Path) -> None:
    """
    A folder with a name that leads out of it is refused before that file comes, and nothing is written.
    """
    evil = fake.add(b"evil")
    root = folder(fake, {"a": fake.add(b"good"), "b": folder(fake, {".ssh": evil})})

    with pytest.raises(BadInput, match="safe everywhere"):
        resources(kubo=address).unpack(root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    assert str(evil) not in fake.asked


def test_a_folder_that_is_incomplete(fake: Fake, address: str, tmp_path: Path) -> None:
    """
    A folder of which a file is missing is not written at all.
    """
    root = folder(fake, {"a": fake.add(b"good"), "b": file_cid(b"lost")})

    with pytest.raises(NotFound):
        resources(kubo=address).unpack(root, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(fake: Fake, address: str, tmp_path: Path) -> None:
    """
    A file where a folder is expected is said to be one.
    """
    with pytest.raises(BadInput, match="found a file"):
        resources(kubo=address).unpack(fake.add(PICTURE), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# --- Any DAG ---


@given(st.data())
def test_any_dag(data: st.DataObject) -> None:
    """
    Of any DAG, each block that can be reached comes exactly once, after one that links to it.
    """
    made = [Block.of({"leaf": data.draw(st.integers(0, 3))})]
    for at in range(data.draw(st.integers(0, 12))):
        to = data.draw(st.lists(st.sampled_from(made), max_size=4))
        made.append(Block.of({"at": at, "to": [one.cid for one in to]}))
    known = {block.cid: block.data for block in made}
    root = made[-1].cid
    walk = dags.Walk(root, lambda cid, _: known[cid], lambda *_: NotFound("x"), max_bytes=1 << 20)
    found = list(walk.blocks())

    reached, pending = {root}, [root]
    while pending:
        for _, child in dags.links(cid := pending.pop(), known[cid]):
            if child not in reached:
                reached.add(child)
                pending.append(child)
    assert {cid for cid, _ in found} == reached
    assert len(found) == len(reached)
    linked = {root}
    for cid, block in found:
        assert cid in linked
        linked |= {child for _, child in dags.links(cid, block)}
