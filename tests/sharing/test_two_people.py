"""Two people, each with a home and a Kubo of their own, and nothing between them but a CID: share, open, check, go on.

Everything is typed as they would type it: `ipvm` and Jupyter are run as programs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

import pytest

from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.unixfs import blocks
from tests.daemons import Kubo
from tests.peers import needs
from tests.sharing.people import outputs
from tests.sharing.typists import TASKS, Typist
from tests.toolchains.prebuilt import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.peer("kubo", "ipfshttpclient")

DID: Final = re.compile(r"did:key:z6Mk\w{44}")


class World:
    """Alice, who has shared a notebook through the first Kubo, and the second Kubo, which others have."""

    def __init__(self, folder: Path, first: Kubo, second: Kubo) -> None:
        self.folder, self.first, self.second = folder, first, second
        self.alice = Typist(folder / "alice", first.port)
        self.study = self.alice.writes()
        self.alice.executes(self.study)
        self.told = self.alice.ipvm("share", self.study, "--ipfs")
        self.cid = CID.parse(str(re.search(r"ipvm open (\w+)", self.told)[1]))  # type: ignore[index]
        self.did = str(DID.search(self.alice.ipvm("id"))[0])  # type: ignore[index]

    def reader(self, name: str) -> Typist:
        """Return somebody new, who has the second Kubo."""
        return Typist(self.folder / name, self.second.port)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """
    Two Kubos that know each other and nobody else, and what Alice shared.
    """
    folder = tmp_path_factory.mktemp("two")
    for name in ("first", "second"):
        (folder / name).mkdir()
    program = needs("kubo")
    with Kubo.start(program, folder / "first") as first, Kubo.start(program, folder / "second") as second:
        second.connect(first)
        yield World(folder, first, second)


def on_disk(kubo: Kubo, cid: CID) -> Path:
    """Return the file in which a Kubo keeps a block."""
    name = base64.b32encode(cid.bytes[2:]).decode().rstrip("=")  # without version and codec, one byte each
    (found,) = (kubo.repo / "blocks").rglob(f"{name}.data")
    return found


@contextlib.contextmanager
def altered(path: Path) -> Iterator[None]:
    """
    Change one byte of a file for a while.
    """
    data, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(data[:1000] + bytes([data[1000] ^ 1]) + data[1001:])
    try:
        yield
    finally:
        path.write_bytes(data)
        path.chmod(mode)


def leaf() -> CID:
    """
    A part of the photograph, in the middle of what is shared.
    """
    return next(iter(blocks((MODULES.parent / "data" / "photo.png").read_bytes())))[0]


def pinned(kubo: Kubo) -> dict[str, Any]:
    """
    What a Kubo has pinned.
    """
    found: dict[str, Any] = json.loads(kubo.rpc("pin/ls", type="recursive"))["Keys"]
    return found


def test_opened_by_its_cid_alone(world: World) -> None:
    """
    The CID is enough: the other gets the notebook, its outputs and the files that it reads, through their own Kubo; nothing
    is run. Each receipt is intact, signed by the one who shared, and gives the same when it is run again.
    """
    bob = world.reader("bob")
    said = bob.ipvm("open", str(world.cid), "-o", "theirs")
    theirs = bob.folder / "theirs"
    checked = bob.ipvm("check", str(world.cid))
    again = bob.ipvm("check", str(world.cid), "--rerun", "all")

    assert f"signed by {world.did}, whom you do not know" in said
    assert f"{TASKS} receipts intact, 0 not" in checked
    assert f"{TASKS} same, 0 different, 0 could not be run" in again
    assert bob.ran() == 0
    for name in ("modules/imgops.wasm", "data/photo.png"):
        assert (theirs / name).read_bytes() == (world.alice.folder / name).read_bytes()
    assert outputs(theirs / "study.ipynb") == outputs(world.study)


def test_before_there_is_trust(world: World) -> None:
    """
    A reader who trusts nobody works everything out, and is told that it is the same.
    """
    carol = world.reader("carol")
    carol.ipvm("open", str(world.cid), "-o", "theirs")
    said = carol.executes(carol.folder / "theirs" / "study.ipynb")

    assert carol.ran() == TASKS
    assert f"{TASKS} receipts that came along not used, but worked out again: all equal" in said
    assert f"ipvm trust add {world.did}" in said
    assert "the same receipt, 0 with another" in carol.ipvm("diff", str(world.cid), "theirs/study.ipynb")


def test_after_a_word_of_trust(world: World) -> None:
    """
    A reader who trusts the one who shared replays everything, and runs nothing.
    """
    dave = world.reader("dave")
    dave.ipvm("open", str(world.cid), "-o", "theirs")
    dave.ipvm("trust", "add", world.did, "--name", "alice")
    said = dave.executes(dave.folder / "theirs" / "study.ipynb")

    assert dave.ran() == 0
    assert f"{TASKS} tasks: {TASKS} replayed" in said
    assert " computed" not in said
    assert "not used" not in said
    checked = dave.ipvm("check", "theirs/study.ipynb")
    assert f"{TASKS} receipts intact, 0 not" in checked
    assert "alice" in checked


def test_one_byte_in_the_readers_kubo(world: World) -> None:
    """
    One byte changed in one block of the reader's Kubo: the block is named, all is refused, and the reader's store is as
    it was.
    """
    eve = world.reader("eve")
    eve.ipvm("id")
    before = eve.held()
    world.second.rpc("dag/export", arg=str(world.cid))  # so that it has all of it
    with altered(on_disk(world.second, leaf())):
        said = eve.ipvm("open", str(world.cid), "-o", "theirs", fails=True, seconds=5)
        checked = eve.ipvm("check", str(world.cid), fails=True, seconds=5)

    for told in (said, checked):
        assert str(leaf()) in told
    assert eve.held() == before
    assert not (eve.folder / "theirs").exists()
    eve.ipvm("open", str(world.cid), "-o", "theirs")


def test_one_byte_in_the_senders_kubo(world: World) -> None:
    """
    One byte changed where it is shared from: the reader's Kubo does not take it, and the reader is told what is missing and
    who was asked; the reader's store is as it was.
    """
    frank = world.reader("frank")
    frank.ipvm("id")
    before = frank.held()
    world.second.rpc("repo/gc")
    with altered(on_disk(world.first, leaf())):
        said = frank.ipvm("open", str(world.cid), "-o", "theirs", fails=True, seconds=5)

    assert f"127.0.0.1:{world.second.port}" in said
    assert frank.held() == before
    assert not (frank.folder / "theirs").exists()


def test_what_nobody_has(world: World) -> None:
    """
    A CID that nobody has: the reader is told where it was looked for, and what to ask of whoever sent it.
    """
    grace = world.reader("grace")
    nowhere = Block.of({"ipvm": "nowhere"}).cid
    said = grace.ipvm("open", str(nowhere), fails=True, seconds=3)

    assert str(nowhere) in said
    assert f"127.0.0.1:{world.second.port}" in said
    assert ".car" in said


def test_taken_back(world: World) -> None:
    """
    A share that is taken back is pinned no longer, neither in the Kubo that it was given to nor in the store; what others
    fetched they keep.
    """
    heidi = world.reader("heidi")
    heidi.ipvm("open", str(world.cid), "-o", "theirs")
    before = pinned(world.first)
    said = world.alice.ipvm("share", "--undo", str(world.cid))

    assert str(world.cid) in before
    assert str(world.cid) not in pinned(world.first)
    assert "Kubo" in said
    assert not [name for name, cid in world.alice.held()[1].items() if cid == world.cid]
    assert f"{TASKS} receipts intact, 0 not" in heidi.ipvm("check", str(world.cid))
    world.alice.ipvm("share", "--undo", str(world.cid), fails=True)
