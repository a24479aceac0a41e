"""Real Kubo daemons, alone on loopback: what ipvm says of blocks, files, folders and archives, they say too."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.errors import IpvmError, LimitExceeded, NotFound
from ipvm_kernel.exchange.gateway import Gateway
from ipvm_kernel.exchange.http import Deadline, Over, Refused, Unreachable
from ipvm_kernel.exchange.kubo import Kubo
from ipvm_kernel.exchange.resources import Resources
from ipvm_kernel.exchange.settings import Settings
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.car import Archive, parts
from ipvm_kernel.ipld.folders import blocks_of
from ipvm_kernel.ipld.unixfs import blocks, file_cid
from ipvm_kernel.model import Outcome, Receipt
from ipvm_kernel.store import MemoryStore
from tests import daemons
from tests.peers import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer("kubo", "ipfshttpclient")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, kubo: daemons.Kubo) -> Iterator[daemons.Kubo]:
    """
    A second daemon, connected to the first and to nobody else.
    """
    with daemons.Kubo.start(needs("kubo"), tmp_path_factory.mktemp("other")) as found:
        found.connect(kubo)
        yield found


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[daemons.Kubo]:
    """
    A daemon that may be killed.
    """
    with daemons.Kubo.start(needs("kubo"), tmp_path) as found:
        yield found


@pytest.fixture
def backend(kubo: daemons.Kubo) -> Iterator[Kubo]:
    found = Kubo(at(kubo))
    yield found
    found.close()


def at(daemon: daemons.Kubo) -> str:
    return f"http://127.0.0.1:{daemon.port}"


def receipt() -> Block:
    """
    A receipt, as the model makes it: dag-cbor, named by sha3-256.
    """
    return Receipt(ran=Block.of({"nonce": os.urandom(8)}).cid, out=Outcome("ok", 42), meta={"op": "f"}).block


def shared() -> list[tuple[CID, bytes]]:
    """
    A DAG as a share is one, its root first.
    """
    invocation = Block.of({"nonce": os.urandom(8)})
    one = Receipt(ran=invocation.cid, out=Outcome("ok", 42), meta={"op": "f"}).block
    files = list(blocks(os.urandom(700_000)))
    root = Block.of({"receipts": [one.cid], "file": files[-1][0]})
    return [*((block.cid, block.data) for block in (root, one, invocation)), *files]


# --- Agreement ---


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, 3_000_000])
def test_files(kubo: daemons.Kubo, backend: Kubo, tmp_path: Path, size: int) -> None:
    """
    `ipfs add` gives a file the CID that we do, and `ipfs cat` gives the bytes that we sent as an archive.
    """
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    cid = file_cid(path)
    flags = ("--cid-version=1", "--quieter")

    assert backend.import_car(parts([cid], blocks(path)), Deadline(30), pin=True) == [cid]
    assert kubo.command(needs("kubo"), "cat", str(cid)) == path.read_bytes()
    assert kubo.command(needs("kubo"), "add", *flags, path).decode().strip() == str(cid)
    assert backend.add(path) == backend.add(path.read_bytes()) == cid
    assert b"".join(backend.cat(cid)) == path.read_bytes()


def test_folders(kubo: daemons.Kubo, backend: Kubo, tmp_path: Path) -> None:
    """
    `ipfs add -r` gives a folder the CID that we do, and what is unpacked is what was packed.
    """
    folder = tmp_path / "folder"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"text")
    (folder / "Å.bin").write_bytes(os.urandom(300_000))
    (folder / "sub" / "deep" / "c").write_bytes(b"")
    made = list(blocks_of(folder))
    cid = made[-1][0]
    said = kubo.command(needs("kubo"), "add", "--recursive", "--cid-version=1", "--quieter", folder)

    assert said.decode().strip() == str(cid)
    assert backend.add(folder) == cid
    backend.import_car(parts([cid], made), Deadline(30), pin=True)
    Resources(MemoryStore(), Settings(kubo=at(kubo), seconds=20)).unpack(cid, tmp_path / "out")
    for path in folder.rglob("*"):
        if path.is_file():
            assert (tmp_path / "out" / path.relative_to(folder)).read_bytes() == path.read_bytes()


def test_receipts(kubo: daemons.Kubo, backend: Kubo) -> None:
    """
    A receipt given by `dag put`, as Homestar gives one, keeps its CID, and `ipfs dag get` shows what it says.
    """
    one, two = receipt(), receipt()
    backend.put_node(one.cid, one.data, Deadline(10))
    backend.import_car(parts([two.cid], [(two.cid, two.data)]), Deadline(10), pin=False)

    for block in (one, two):
        shown = json.loads(kubo.command(needs("kubo"), "dag", "get", str(block.cid)))
        assert shown["out"] == ["ok", 42]
        assert shown.keys() == {"ran", "out", "meta", "iss", "prf"}
    loose = b"\xa1\x61a\x18\x01"
    with pytest.raises(Refused):
        backend.put_node(CID.of(loose), loose, Deadline(10))


def test_archives_there_and_back(backend: Kubo) -> None:
    """
    What goes to Kubo as an archive comes back as one, the same blocks, each checked.
    """
    sent = shared()
    seen: list[int] = []
    backend.import_car(parts([sent[0][0]], sent), Deadline(30), seen.append, pin=False)
    back = list(Archive(backend.export_car(sent[0][0], Deadline(30))))

    assert {(piece.cid, piece.data) for piece in back} == set(sent)
    assert seen == sorted(seen)
    assert seen[-1] > 700_000


def test_its_gateway(kubo: daemons.Kubo, backend: Kubo) -> None:
    """
    The gateway of a real Kubo gives blocks and archives as a trustless one does, and everything below a root with them.
    """
    sent = shared()
    backend.import_car(parts([sent[0][0]], sent), Deadline(30), pin=False)
    gateway = Gateway((kubo.repo / "gateway").read_text().strip())

    assert gateway.block(sent[1][0], Deadline(10)) == sent[1][1]
    archive = Archive(gateway.export_car(sent[0][0], Deadline(10)))
    assert {(piece.cid, piece.data) for piece in archive} == set(sent)
    gateway.close()


# --- Pins and blocks ---


def test_pins(kubo: daemons.Kubo, backend: Kubo) -> None:
    """
    What was pinned survives a collection of garbage; unpinned, it goes; and each question has its answer.
    """
    sent = shared()
    root = sent[0][0]
    backend.import_car(parts([root], sent), Deadline(30), pin=True)

    assert backend.pinned(root)
    kubo.rpc("repo/gc")
    assert all(backend.has(cid) for cid, _ in sent)
    with pytest.raises(Refused, match="pinned"):
        backend.remove_block(root)
    assert backend.unpin(root)
    assert not backend.unpin(root)
    assert not backend.pinned(root)
    backend.pin(root)
    assert backend.pinned(root)
    assert not backend.pinned(sent[1][0])  # only through the root
    backend.unpin(root)
    assert backend.remove_block(root)
    assert not backend.remove_block(root)
    assert not backend.has(root)
    kubo.rpc("repo/gc")
    assert not any(backend.has(cid) for cid, _ in sent)


def test_what_is_incomplete_is_not_pinned(backend: Kubo) -> None:
    """
    An archive whose root reaches more than it brings is not pinned, and that is said, in the time that there is.
    """
    root = Block.of({"to": Block.raw(os.urandom(8)).cid})

    with pytest.raises(Refused, match=f"could not pin its root {root.cid}"):
        backend.import_car(parts([root.cid], [(root.cid, root.data)]), Deadline(3), pin=True)
    assert not backend.pinned(root.cid)


NO_ARCHIVES: list[Callable[[], Iterator[bytes]]] = [
    lambda: iter([b"no archive"]),
    lambda: (b"no archive" * 10_000 for _ in range(300)),
    lambda: parts([], [(Block.raw(b"x").cid, b"y")]),
    lambda: iter([b"".join(parts([], [(Block.raw(b"x").cid, b"x")]))[:-1]]),
]


@pytest.mark.parametrize("made", NO_ARCHIVES, ids=["short", "long", "wrong", "cut"])
def test_what_kubo_refuses(backend: Kubo, made: Callable[[], Iterator[bytes]]) -> None:
    """
    What Kubo does not take as an archive is refused with its own words, also if it hangs up in the middle of it.
    """
    with pytest.raises((Refused, Unreachable)) as caught:
        backend.import_car(made(), Deadline(10), pin=True)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600


def test_an_archive_that_breaks_while_it_is_made(backend: Kubo) -> None:
    """
    What goes wrong where an archive is made is raised as it is, and is not put down to Kubo.
    """

    def broken() -> Iterator[bytes]:
        yield b"\x00" * 300_000
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        backend.import_car(broken(), Deadline(10), pin=True)
    with pytest.raises(LimitExceeded):
        backend.import_car(limited(), Deadline(10), pin=True)


def limited() -> Iterator[bytes]:
    yield b"\x00"
    raise LimitExceeded("too much")


def test_peers(backend: Kubo) -> None:
    """
    Where Kubo has no network to ask, there are no providers, and providing is refused with its reason.
    """
    cid = Block.raw(b"x").cid

    assert backend.providers(cid, Deadline(5)) == []
    with pytest.raises(Refused, match="Provide"):
        backend.provide(cid, Deadline(5))


# --- Two daemons ---


def test_what_one_has_the_other_brings(kubo: daemons.Kubo, other: daemons.Kubo, backend: Kubo) -> None:
    """
    What the sender's Kubo has, the reader's brings, whole and checked, though it had nothing of it.
    """
    sent = shared()
    root = sent[0][0]
    backend.import_car(parts([root], sent), Deadline(30), pin=True)
    theirs = Kubo(at(other))

    assert not theirs.has(root)
    path = Resources(MemoryStore(), Settings(kubo=at(other), seconds=30)).fetch_dag(root)
    with path.open("rb") as file:
        assert {(piece.cid, piece.data) for piece in Archive(file)} == set(sent)
    path.unlink()
    theirs.close()


def test_what_is_left_out(other: daemons.Kubo, backend: Kubo) -> None:
    """
    A share of which something is left out is pinned block by block; it comes without that, as whoever reads it says.
    """
    left = Block.raw(os.urandom(8)).cid
    leaf = Block.raw(os.urandom(8))
    one = Receipt(ran=leaf.cid, out=Outcome("ok", left), meta={"op": "f"}).block
    root = Block.of({"left": [left], "receipts": [one.cid]})
    sent = [(block.cid, block.data) for block in (root, one, leaf)]
    backend.import_car(parts([root.cid], sent), Deadline(30), pin=False)
    backend.pin_each([cid for cid, _ in sent])
    theirs = Resources(MemoryStore(), Settings(kubo=at(other), seconds=20))
    began = time.monotonic()
    path = theirs.fetch_dag(root.cid, spare=lambda cid, _: [left] if cid == root.cid else [])

    assert time.monotonic() - began < 4  # nobody looked for it
    with path.open("rb") as file:
        assert [(piece.cid, piece.data) for piece in Archive(file)] == sent
    path.unlink()
    assert backend.unpin_each([*(cid for cid, _ in sent), left]) == 3
    assert backend.unpin_each(cid for cid, _ in sent) == 0
    backend.pin(leaf.cid)
    backend.pin_each(cid for cid, _ in sent)
    assert backend.unpin_each(cid for cid, _ in sent) == 2
    assert backend.unpin(leaf.cid)


def test_a_thousand_blocks_of_another(other: daemons.Kubo, backend: Kubo) -> None:
    """
    A thousand blocks that another Kubo has come in far less than the 20 ms each that one after another takes.
    """
    receipts = [Block.of({"out": ["ok", n], "salt": os.urandom(8)}) for n in range(1000)]
    root = Block.of([one.cid for one in receipts])
    sent = [(block.cid, block.data) for block in (root, *receipts)]
    backend.import_car(parts([root.cid], sent), Deadline(30), pin=False)
    path = Resources(MemoryStore(), Settings(kubo=at(other), seconds=15)).fetch_dag(root.cid)

    with path.open("rb") as file:
        assert [(piece.cid, piece.data) for piece in Archive(file)] == sent
    path.unlink()


def test_what_neither_has(other: daemons.Kubo) -> None:
    """
    What nobody has is said within the time that there is, by whom was asked.
    """
    cid = Block.of({"nowhere": os.urandom(8)}).cid
    began = time.monotonic()

    with pytest.raises(NotFound, match=r"does not have it|not done in"):
        Resources(MemoryStore(), Settings(kubo=at(other), seconds=3)).fetch_dag(cid)
    assert time.monotonic() - began < 10


# --- Daemons that end or hang ---


def test_killed_in_the_middle(doomed: daemons.Kubo, kubo: daemons.Kubo, backend: Kubo) -> None:
    """
    A Kubo that is killed while it sends an archive is said to have broken off; what it sent is used, and another one
    gives the rest.
    """
    data = os.urandom(40_000_000)
    cid = file_cid(data)
    ill = Kubo(at(doomed))
    for one in (ill, backend):
        one.import_car(parts([cid], blocks(data)), Deadline(60), pin=True)
    here = Resources(MemoryStore(), Settings(kubo=at(doomed), seconds=30))
    here.more = lambda: [backend]
    seen: list[int] = []

    def watch(told: object) -> None:
        seen.append(1)
        if len(seen) == 20:
            os.kill(doomed.pid, signal.SIGKILL)

    here.watch = watch
    here.fetch(cid)

    assert here.read(cid) == data
    with pytest.raises(Unreachable, match=r"does not answer|broke off"):
        b"".join(ill.export_car(cid, Deadline(5)))
    ill.close()


def test_an_export_that_is_killed(doomed: daemons.Kubo) -> None:
    """
    Whoever reads the archive of a Kubo that is killed meanwhile is told, and does not take half of it for all.
    """
    data = os.urandom(40_000_000)
    ill = Kubo(at(doomed))
    ill.import_car(parts([file_cid(data)], blocks(data)), Deadline(60), pin=True)
    pieces = ill.export_car(file_cid(data), Deadline(30))
    next(pieces)
    os.kill(doomed.pid, signal.SIGKILL)

    with pytest.raises(Unreachable, match="broke off"):
        for _ in pieces:
            pass
    ill.close()


def test_an_export_that_is_let_go(backend: Kubo) -> None:
    """
    Whoever stops reading in the middle of an archive hangs up, and the next call is answered.
    """
    data = os.urandom(5_000_000)
    backend.import_car(parts([file_cid(data)], blocks(data)), Deadline(30), pin=False)
    pieces = backend.export_car(file_cid(data), Deadline(30))
    next(pieces)
    del pieces

    assert backend.version(Deadline(5)).startswith("0.")
    assert backend.has(file_cid(data))


def test_hanging(doomed: daemons.Kubo) -> None:
    """
    A Kubo that hangs, whichever way it is asked, is left at the deadline with one printable line.
    """
    ill = Kubo(at(doomed))
    cid = Block.raw(b"x").cid
    calls: list[Callable[[Deadline], object]] = [
        lambda deadline: ill.pin(cid, deadline),
        lambda deadline: ill.pinned(cid, deadline),
        lambda deadline: ill.add(b"x", deadline),
        lambda deadline: list(ill.cat(cid, deadline)),
        ill.version,
        ill.id,
        lambda deadline: ill.has(cid, deadline),
        lambda deadline: ill.import_car(parts([], [(cid, b"x")]), deadline, pin=True),
        lambda deadline: list(ill.export_car(cid, deadline)),
        lambda deadline: ill.providers(cid, deadline),
    ]
    with stopped(doomed.pid):
        for call in calls:
            began = time.monotonic()
            with pytest.raises((Over, Unreachable)) as caught:
                call(Deadline(0.5))
            assert time.monotonic() - began < 5
            assert caught.value.message.isprintable()
    ill.close()


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """
    Let a process stand still.
    """
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


CALLS: dict[str, Callable[[Kubo, CID, Deadline], object]] = {
    "pin": lambda backend, cid, deadline: backend.pin(cid, deadline),
    "cat": lambda backend, cid, deadline: list(backend.cat(cid, deadline)),
    "export_car": lambda backend, cid, deadline: list(backend.export_car(cid, deadline)),
}


@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c(doomed: daemons.Kubo, call: str) -> None:
    """
    Ctrl-C ends a call to a Kubo that hangs, whichever way it goes, at once.
    """
    ill = Kubo(at(doomed))
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    with stopped(doomed.pid):
        began = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            CALLS[call](ill, Block.raw(b"x").cid, Deadline(30))
        assert time.monotonic() - began < 5
    timer.join()
    ill.close()


def test_every_error_is_ours(kubo: daemons.Kubo) -> None:
    """
    Whatever Kubo refuses, the error is one of ours and one printable line.
    """
    backend = Kubo(at(kubo))
    nowhere = Block.of({"nowhere": os.urandom(8)}).cid
    calls: list[Callable[[], object]] = [
        lambda: list(backend.cat(nowhere, Deadline(2))),
        lambda: list(backend.cat(Block.of({"a": 1}).cid, Deadline(2))),
        lambda: backend.pin(nowhere, Deadline(2)),
        lambda: list(backend.export_car(nowhere, Deadline(2))),
        lambda: list(backend.cat(backend.add(bytes(100_000)), Deadline(5), max_bytes=1000)),
    ]
    for call in calls:
        with pytest.raises(IpvmError) as caught:
            call()
        assert caught.value.message.isprintable()
    backend.close()
