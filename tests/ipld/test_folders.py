"""Folders of UnixFS: named as IPFS names them, read within bounds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadCID, BadInput, HashNotAllowed, LimitExceeded, Malformed, NotFound
from ipvm_kernel.ipld import CID, Block, Limits, dagpb
from ipvm_kernel.ipld.folders import FOLDER_BYTES, blocks_of, entries, folder, path_cid, stored, walk
from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, LINKS, file_cid, read
from tests.ipld.archives import cbor, raw
from tests.peers import needs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HELLO = Block(*raw(b"hello"))
EMPTY = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"  # everybody's name for a folder of nothing


def getter(found: dict[CID, bytes]) -> Callable[[CID], bytes]:
    """Return what gets blocks, each checked."""

    def get(cid: CID) -> bytes:
        if cid not in found:
            raise NotFound(f"Expected {cid}, found it nowhere.")
        cid.check(found[cid])
        return found[cid]

    return get


def node(*links: tuple[str | bytes, CID], about: bytes = b"\x08\x01") -> Block:
    """Return a dag-pb node with any names, in the order given."""
    made = [dagpb.to_link(cid, name if isinstance(name, bytes) else name.encode(), 1) for name, cid in links]
    data = dagpb.node(made, about)
    return Block(CID.of(data, "dag-pb", "sha2-256"), data)


def tree(top: Path) -> Path:
    """Fill a folder with what folders hold, and with what is left out of them."""
    for name in ("a/b/c", "empty", "a.b", "a-b", ".git/objects", "a/.cache", "Ünï/çödé"):
        (top / name).mkdir(parents=True)
    files = {
        "a/b/c/deep.txt": b"deep",
        "a/large.bin": os.urandom(700_000),
        "a/one": os.urandom(CHUNK_BYTES),
        "a/one-more": os.urandom(CHUNK_BYTES + 1),
        "nothing": b"",
        "nothing-again": b"",
        "Z": b"1",
        "z": b"2",
        "_": b"3",
        "a.b/x": b"4",
        "Ünï/çödé/naïve café": b"5",
        "Ünï/数": b"6",
        "with space": b"7",
        ".hidden": b"no",
        "a/.hidden": b"no",
        ".git/objects/x": b"no",
    }
    for name, data in files.items():
        (top / name).write_bytes(data)
    return top


def seen(top: Path) -> dict[str, bytes]:
    """Return the files of a folder that are not hidden."""
    return {
        str(path.relative_to(top)): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(top).parts)
    }


# --- Making ---


def test_the_empty_folder() -> None:
    """
    A folder of nothing has the CID that everybody knows.
    """
    assert str(folder({}).cid) == EMPTY
    assert folder({}).data == b"\x0a\x02\x08\x01"
    assert entries(folder({})) == []


def test_names_are_ordered_by_their_bytes() -> None:
    """
    A folder is the same in whatever order its entries are given, and they stand by the bytes of their names.
    """
    names = ["b", "a", "Z", "ab", "é", "_", "数", "\U0001f600", "\uffee"]
    there = dict.fromkeys(names, (HELLO.cid, 5))
    back = dict.fromkeys(reversed(names), (HELLO.cid, 5))

    assert folder(there) == folder(back)
    assert [name for name, _ in entries(folder(there))] == sorted(names, key=str.encode)


def test_what_is_stored_below() -> None:
    """
    Sizes count every block below, as often as it is met.
    """
    block = folder({"x": (HELLO.cid, 5), "y": (HELLO.cid, 5)})

    assert stored(HELLO) == 5
    assert stored(block) == len(block.data) + 10
    assert stored(Block(*cbor({"a": HELLO.cid}))) == len(cbor({"a": HELLO.cid})[1])


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0b", "\udcff"])
def test_names_that_are_none(name: str) -> None:
    """
    What cannot be the name of a file is refused before a folder is made of it.
    """
    with pytest.raises(BadInput, match=r"Expected (the name|a name)"):
        folder({name: (HELLO.cid, 5)})


def test_a_folder_of_too_many_files() -> None:
    """
    A folder that IPFS would spread over several blocks is refused, at the very entry where IPFS would begin to.
    """
    count = FOLDER_BYTES // 56
    rest = FOLDER_BYTES - 56 * (count - 1) - 36
    full = {f"{number:020}": (HELLO.cid, 5) for number in range(count - 1)} | {"9" * rest: (HELLO.cid, 5)}

    assert len(entries(folder(full))) == count
    with pytest.raises(
        LimitExceeded, match=r"at most 262,144 bytes in a folder, found 262,181 of 4,682 entries\. IPFS"
    ):
        folder(full | {"x": (HELLO.cid, 5)})


def test_a_folder_on_disk(tmp_path: Path) -> None:
    """
    A folder is packed with all below it, root last, and comes out again as it was; what is hidden stays at home.
    """
    top = tree(tmp_path / "top")
    made = list(blocks_of(top))
    found = dict(made)
    root = made[-1][0]
    unpacked = {name: b"".join(read(cid, getter(found), max_bytes=10**6)) for name, cid in walk(root, getter(found))}

    assert root == path_cid(top)
    assert unpacked == seen(top)
    assert dict(entries(Block(root, found[root]))).keys() == {
        "a", "a.b", "a-b", "empty", "nothing", "nothing-again", "Z", "z", "_", "Ünï", "with space",
    }  # fmt: skip
    met: set[CID] = set()
    for cid, data in made:  # children before parents
        assert all(link in met for link in (dagpb.links_of(data) if cid.codec == "dag-pb" else []))
        met.add(cid)


def test_a_file_on_disk(tmp_path: Path) -> None:
    """
    A single file is what it is without a folder, even a hidden one.
    """
    path = tmp_path / ".hidden"
    for data in (b"", b"x", os.urandom(600_000)):
        path.write_bytes(data)

        assert path_cid(path) == file_cid(data)
        assert list(blocks_of(path))[-1][0] == file_cid(data)


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    """
    Links, pipes and sockets are refused by their path, wherever they are; nothing is followed and nothing waits.
    """
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder-link").symlink_to("folder", target_is_directory=True)
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "socket"))
        for name in ("link", "folder-link", "dangling", "pipe", "socket"):
            top = tmp_path / f"with-{name}"
            top.mkdir()
            (tmp_path / name).rename(top / name)
            for path in (top, top / name):
                with pytest.raises(BadInput, match=f"found (a symbolic link|a device, pipe or socket): .*{name}"):
                    path_cid(path)
    with pytest.raises(FileNotFoundError):
        path_cid(tmp_path / "nowhere")


def test_a_link_that_comes_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file that turns into a link or a pipe while the folder is packed is not followed, and nobody waits for it.
    """
    from ipvm_kernel.ipld import folders

    monkeypatch.setattr(folders, "_is_folder", lambda path: path == tmp_path)
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="link"):
        path_cid(tmp_path)
    (tmp_path / "link").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match="found something else by now"):
        path_cid(tmp_path)


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    """
    A name in another encoding is refused with its folder, before anything is packed.
    """
    (tmp_path / "before").write_bytes(b"x")
    os.close(os.open(os.fsencode(tmp_path) + b"/caf\xe9", os.O_CREAT | os.O_WRONLY, 0o600))

    with pytest.raises(BadInput, match=r"a name in UTF-8, found 'caf\\udce9'\. Rename it\. It is in "):
        next(blocks_of(tmp_path))


# --- Reading ---


def test_walks_in_order() -> None:
    """
    A walk gives paths in the order of the folder, whatever is at their end.
    """
    record = Block(*cbor({"a": 1}))
    inner = folder({"y": (HELLO.cid, 5), "x": (record.cid, 1)})
    empty = folder({})
    outer = folder({"b": (inner.cid, 1), "a": (HELLO.cid, 5), "c": (HELLO.cid, 5), "e": (empty.cid, 4)})
    found = {block.cid: block.data for block in (inner, outer, empty)}  # leaves are not looked at

    assert list(walk(outer.cid, getter(found))) == [
        ("a", HELLO.cid), ("b/x", record.cid), ("b/y", HELLO.cid), ("c", HELLO.cid),
    ]  # fmt: skip
    assert list(walk(HELLO.cid, getter({}))) == [("", HELLO.cid)]
    assert list(walk(empty.cid, getter(found))) == []


def test_a_file_of_several_blocks_is_one_file() -> None:
    """
    A large file in a folder is met once, by its root.
    """
    data = os.urandom(600_000)
    from ipvm_kernel.ipld.unixfs import blocks

    found = dict(blocks(data))
    top = folder({"large": (file_cid(data), 600_000)})
    found[top.cid] = top.data

    assert list(walk(top.cid, getter(found))) == [("large", file_cid(data))]
    assert list(walk(file_cid(data), getter(found))) == [("", file_cid(data))]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (node(about=b"\x08\x05"), "a part of a large folder"),
        (node(about=b"\x08\x04\x12\x0b/etc/passwd"), "a symbolic link"),
        (node(about=b"\x08\x03"), "metadata"),
        (node(about=b"\x08\x4d"), "found dag-pb"),
        (node(about=b""), "found dag-pb"),
        (Block(CID.of(b"", "dag-pb", "sha2-256"), b""), "found dag-pb"),
        (node(("a", HELLO.cid), ("a", HELLO.cid)), "each name once in a folder, found 'a' again"),
        (node(("", HELLO.cid)), "the name of a file or a folder, found ''"),
        (node(("..", HELLO.cid)), "found '..'"),
        (node((".", HELLO.cid)), "found '.'"),
        (node(("a/../../b", HELLO.cid)), "found 'a/../../b'"),
        (node(("/etc/passwd", HELLO.cid)), "found '/etc/passwd'"),
        (node(("a\0", HELLO.cid)), "found 'a"),
        (node((b"\xff", HELLO.cid)), "a name in UTF-8"),
        (node((b"\xed\xa0\x80", HELLO.cid)), "a name in UTF-8"),
    ],
    ids=[
        "spread",
        "symbolic link",
        "metadata",
        "unknown",
        "no data",
        "nothing",
        "twice",
        "empty name",
        "..",
        ".",
        "climbing",
        "absolute",
        "zero byte",
        "other bytes",
        "surrogate",
    ],
)
def test_what_is_no_folder(block: Block, words: str) -> None:
    """
    A folder that is none, is spread over several blocks or has names that lead elsewhere is refused by its CID.
    """
    with pytest.raises(Malformed, match=words):
        entries(block)
    with pytest.raises(Malformed, match=words):
        list(walk(block.cid, getter({block.cid: block.data})))


def test_a_file_is_no_folder() -> None:
    """
    Whoever asks a file for its entries is told that it is one.
    """
    with pytest.raises(Malformed, match=f"Expected a folder, found a file: {HELLO.cid}"):
        entries(HELLO)


def test_a_folder_that_doubles_without_end() -> None:
    """
    Sixty-four folders that each hold the next one twice are 2^64 files, and are refused at once.
    """
    found: dict[CID, bytes] = {}
    last = HELLO.cid
    for _ in range(64):
        block = folder({"a": (last, 1), "b": (last, 1)})
        found[block.cid], last = block.data, block.cid

    with pytest.raises(LimitExceeded, match=rf"at most 10,000 files, 32 folders deep, found more in {last}"):
        list(walk(last, getter(found)))
    with pytest.raises(LimitExceeded, match="at most 10,000 files"):
        list(walk(last, getter(found), depth=1_000))


def test_bounds_of_a_walk() -> None:
    """
    A walk goes as far as it was allowed to, and not one step further.
    """
    found: dict[CID, bytes] = {}

    def put(block: Block) -> Block:
        found[block.cid] = block.data
        return block

    wide = put(folder({str(number): (HELLO.cid, 5) for number in range(50)}))
    assert len(list(walk(wide.cid, getter(found), most=50))) == 50
    with pytest.raises(LimitExceeded, match="at most 49 files"):
        list(walk(wide.cid, getter(found), most=49))
    wider = put(folder({"a": (wide.cid, 1), "b": (wide.cid, 1)}))
    assert len(list(walk(wider.cid, getter(found), most=102))) == 100
    with pytest.raises(LimitExceeded, match="at most 101 files"):
        list(walk(wider.cid, getter(found), most=101))

    deep = HELLO
    for _ in range(33):
        deep = put(folder({"d": (deep.cid, 1)}))
    assert list(walk(deep.cid, getter(found), depth=33)) == [("/".join("d" * 33), HELLO.cid)]
    with pytest.raises(LimitExceeded, match="32 folders deep"):
        list(walk(deep.cid, getter(found)))

    long = HELLO
    for _ in range(6):
        long = put(folder({"n" * 200: (long.cid, 1)}))
    with pytest.raises(LimitExceeded, match="paths of at most 1,000 bytes"):
        list(walk(long.cid, getter(found)))
    with pytest.raises(LimitExceeded, match=f"a block of at most 1,000 bytes, found .*: {wide.cid}"):
        list(walk(wide.cid, getter(found), limits=Limits(1_000, 1, 1)))


def test_a_missing_part() -> None:
    """
    A folder that is not there is named with the path that leads to it.
    """
    inner = folder({"x": (HELLO.cid, 5)})
    outer = folder({"a": (HELLO.cid, 5), "in": (inner.cid, 1)})

    with pytest.raises(NotFound, match=f"{inner.cid}, found it nowhere. It is 'in' in {outer.cid}"):
        list(walk(outer.cid, getter({outer.cid: outer.data})))


@given(data=st.binary(max_size=60), at=st.integers(0, 300), byte=st.integers(0, 255))
def test_damaged_folders(data: bytes, at: int, byte: int) -> None:
    """
    No folder, however damaged, does anything but give names or a refusal.
    """
    block = bytearray(folder({"a": (HELLO.cid, 5), "bc": (HELLO.cid, 5), "d" * 40: (HELLO.cid, 7)}).data)
    block[at % len(block)] = byte
    for hostile in (bytes(block), data):
        try:
            found = entries(Block(CID.of(hostile, "dag-pb", "sha2-256"), hostile))
        except (Malformed, BadCID, HashNotAllowed):
            continue
        assert all(name and "/" not in name for name, _ in found)


# --- IPFS ---


@pytest.fixture(scope="module")
def ipfs(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """The real program, with a store of its own and no daemon."""
    program = needs("kubo")
    env = {**os.environ, "IPFS_PATH": str(tmp_path_factory.mktemp("ipfs") / "repo"), "IPFS_TELEMETRY": "off"}

    def run(*words: str | Path) -> bytes:
        return subprocess.run([program, *words], env=env, check=True, capture_output=True).stdout

    run("init", "--profile=test", "--empty-repo")
    return run


@pytest.mark.peer("kubo")
def test_ipfs_names_folders_the_same(ipfs: Callable[..., bytes], tmp_path: Path) -> None:
    """
    `ipfs add -r --cid-version=1` gives a folder, and each folder in it, the CID that it has here, and the same sizes.
    """
    top = tree(tmp_path / "top")
    made = dict(blocks_of(top))
    root = path_cid(top)
    lines = ipfs("add", "-r", "--cid-version=1", top).decode().splitlines()

    assert {line.split(" ", 2)[1] for line in lines} <= {str(cid) for cid in made}
    assert lines[-1].split(" ")[1] == str(root)
    assert dict.fromkeys(ipfs("refs", "-r", "-u", str(root)).decode().split()).keys() | {str(root)} == {
        str(cid) for cid in made
    }
    links = json.loads(ipfs("dag", "get", str(root)))["Links"]
    assert [(link["Name"], link["Tsize"]) for link in links] == [
        (link.name, link.stored) for link in dagpb.parse(made[root])[0]
    ]


@pytest.mark.peer("kubo")
@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, LINKS * CHUNK_BYTES + 1])
def test_ipfs_counts_the_same(ipfs: Callable[..., bytes], tmp_path: Path, size: int) -> None:
    """
    Files of every shape stand in a folder with the size that IPFS counts for them.
    """
    with (tmp_path / "file").open("wb") as file:
        file.truncate(size)

    assert ipfs("add", "-rQ", "--cid-version=1", tmp_path).decode().strip() == str(path_cid(tmp_path))


@pytest.mark.peer("kubo")
def test_ipfs_keeps_a_full_folder_whole(ipfs: Callable[..., bytes], tmp_path: Path) -> None:
    """
    The largest folder that is made here is one block with IPFS too, and with one byte more IPFS spreads it.
    """
    count = FOLDER_BYTES // 56
    rest = FOLDER_BYTES - 56 * (count - 1) - 36
    for number in range(count - 1):
        (tmp_path / f"{number:020}").write_bytes(b"")
    last = tmp_path / ("9" * rest)
    last.write_bytes(b"")

    assert ipfs("add", "-rQ", "--cid-version=1", tmp_path).decode().strip() == str(path_cid(tmp_path))
    last.rename(tmp_path / ("9" * (rest + 1)))
    with pytest.raises(LimitExceeded):
        path_cid(tmp_path)
    spread = CID.parse(ipfs("add", "-rQ", "--cid-version=1", tmp_path).decode().strip())
    block = Block.checked(spread, ipfs("block", "get", str(spread)))
    with pytest.raises(Malformed, match="a part of a large folder"):
        entries(block)
