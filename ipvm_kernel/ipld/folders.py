"""Folders of UnixFS: names of files and folders, as `ipfs add -r --cid-version=1` makes them.

A folder is one dag-pb node whose links have names, in the order of their bytes, and whose data says that it is a folder
(https://specs.ipfs.tech/unixfs/). A large one would be spread over several blocks (HAMT); those are not made and not read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import BadInput, LimitExceeded, Malformed, NotFound
from ipvm_kernel.ipld import dagpb, unixfs
from ipvm_kernel.ipld.block import Block
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.limits import PEER, Limits
from ipvm_kernel.ipld.placing import DEPTH, FILES, PATH_BYTES
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import BinaryIO

    from ipvm_kernel.ipld.dagpb import Link

FOLDER_BYTES: Final = 262_144
"""Bytes of the names and CIDs of a folder's entries, at most: above, Kubo spreads it over several blocks."""

_ABOUT: Final = b"\x08\x01"  # UnixFS Data: type (1), a folder


# --- Making ---


def folder(entries: Mapping[str, tuple[CID, int]]) -> Block:
    """Return the block of a folder.

    >>> folder({}).cid
    CID('bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354')

    Args:
        entries: For each name what it leads to, and the bytes of all blocks from there on, as `stored` counts them.

    Raises:
        BadInput: A name that cannot be one: empty, ".", "..", or with "/" or a zero byte in it.
        LimitExceeded: A folder that Kubo would spread over several blocks.
    """
    rows = sorted((_name(name), cid, below) for name, (cid, below) in entries.items())
    bulk = sum(len(name) + len(cid.bytes) for name, cid, _ in rows)
    if bulk > FOLDER_BYTES:
        raise LimitExceeded(
            f"Expected names and CIDs of at most {FOLDER_BYTES:,} bytes in a folder, found {bulk:,} of {len(rows):,} entries. "
            "IPFS spreads such a folder over several blocks, which is not done here: use folders inside it."
        )
    data = dagpb.node([dagpb.to_link(cid, name, below) for name, cid, below in rows], _ABOUT)
    return Block(CID.of(data, "dag-pb", "sha2-256"), data)


def stored(block: Block) -> int:
    """Return the bytes of all blocks of a file or folder, by its root, as IPFS counts them: one that comes twice, twice.

    Raises:
        Malformed: A dag-pb node that is none.
    """
    below = dagpb.parse(block.data)[0] if block.cid.codec == "dag-pb" else []
    return len(block.data) + sum(link.stored or 0 for link in below)


def blocks_of(path: os.PathLike[str]) -> Iterator[tuple[CID, bytes]]:
    """Yield all blocks of a file or folder on disk: children before parents, the root last. Some may come twice.

    What is in a folder and begins with a dot is left out, as `ipfs add -r` does.

    Raises:
        BadInput: A symbolic link, a device, a pipe or a socket; a name that is not UTF-8.
        LimitExceeded: A folder of too many files.
        OSError: Something cannot be read.
    """
    top = Path(path)
    if not _is_folder(top):
        yield from _file(top)
        return
    open_ = [_Open(top)]
    while open_:
        here = open_[-1]
        child = next(here.rest, None)
        if child is None:
            open_.pop()
            block = folder(here.entries)
            yield block.cid, block.data
            if open_:
                open_[-1].entries[here.path.name] = block.cid, stored(block)
        elif _is_folder(child):
            open_.append(_Open(child))
        else:
            here.entries[child.name] = yield from _file(child)


def path_cid(path: os.PathLike[str]) -> CID:
    """Return the CID of a file or folder on disk. It raises what `blocks_of` does."""
    cid = None
    for cid, _ in blocks_of(path):  # noqa: B007 - the last one is the root
        pass
    assert cid is not None
    return cid


class _Open:
    """A folder of which not all has been named."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, tuple[CID, int]] = {}
        children = sorted(child for child in path.iterdir() if not child.name.startswith("."))
        for child in children:
            try:
                _name(child.name)
            except BadInput as error:
                raise BadInput(f"{error.message} It is in {path}.") from None
        self.rest = iter(children)


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder; a file if not, and nothing else."""
    mode = path.lstat().st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        what = "a symbolic link" if stat.S_ISLNK(mode) else "a device, pipe or socket"
        raise BadInput(
            f"Expected files and folders, found {what}: {path}. Leave it out, or put what it leads to there."
        )
    return stat.S_ISDIR(mode)


def _file(path: Path) -> Generator[tuple[CID, bytes], None, tuple[CID, int]]:
    """Yield the blocks of a file; return its CID and the bytes of all of them."""
    # Not through a link that came a moment ago, and without waiting for whoever writes into a pipe.
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BadInput(f"Expected a file, found something else by now: {path}.")
        total, root = 0, None
        for root, data in unixfs.blocks(_pieces(file)):
            total += len(data)
            yield root, data
    assert root is not None
    return root, total


def _pieces(file: BinaryIO) -> Iterator[memoryview]:
    room = memoryview(bytearray(unixfs.CHUNK_BYTES))
    while count := file.readinto(room):  # type: ignore[attr-defined]
        yield room[:count]


def _name(name: str) -> bytes:
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        raise BadInput(f"Expected a name in UTF-8, found '{printable(name, limit=100)}'. Rename it.") from None
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise BadInput(f"Expected the name of a file or a folder, found '{printable(name, limit=100)}'.")
    return raw


# --- Reading ---


def entries(block: Block) -> list[tuple[str, CID]]:
    """Return the names of a folder and what they lead to, in its own order. The block has been checked.

    Names may still be those of nothing good: `placing.safe_name` says which ones can be written to a disk.

    Raises:
        Malformed: It is no folder, or one that is spread over several blocks, or a name in it is no name.
    """
    links = unixfs.folder_links(block.cid, block.data)
    if links is None:
        raise Malformed(f"Expected a folder, found a file: {block.cid}.")
    return _named(block.cid, links)


def _named(cid: CID, links: list[Link]) -> list[tuple[str, CID]]:
    for link in links:
        try:
            _name(link.name)
        except BadInput as error:
            raise Malformed(f"{error.message} It is in the folder {cid}.") from None
    return [(link.name, link.cid) for link in links]


def walk(
    cid: CID,
    get: Callable[[CID], bytes],
    *,
    most: int = FILES,
    depth: int = DEPTH,
    limits: Limits = PEER,
) -> Iterator[tuple[str, CID]]:
    """Yield the relative path and the CID of everything in a folder that is no folder, in the order of its names.

    A file has the path "". What is met twice is given twice, and counts twice, so a folder that doubles without end is
    soon refused.

    Args:
        cid: The folder.
        get: Returns the bytes that a CID names, checked against it, or raises.
        most: Files and folders, at most.
        depth: Folders inside each other, at most.
        limits: `block_bytes` is what one block may hold.

    Raises:
        Malformed: Something that is neither folder nor file, or a name that is none.
        LimitExceeded: More than `most`, deeper than `depth`, or a path of more than 1,000 bytes.
        NotFound: A block that `get` does not have, with the path that it has here.
    """
    todo = [("", cid, 0)]
    met = 0
    while todo:
        path, part, deep = todo.pop()
        met += 1
        if part.codec != "dag-pb":
            yield path, part
            continue
        try:
            block = Block(part, get(part))
        except NotFound as error:
            raise NotFound(f"{error.message} It is '{printable(path, limit=200)}' in {cid}.") from None
        if len(block.data) > limits.block_bytes:
            raise LimitExceeded(
                f"Expected a block of at most {limits.block_bytes:,} bytes, found {len(block.data):,}: {part}."
            )
        links = unixfs.folder_links(part, block.data)
        if links is None:
            yield path, part
            continue
        inside = _named(part, links)
        if met + len(todo) + len(inside) > most + 1 or (inside and deep >= depth):
            raise LimitExceeded(
                f"Expected a folder of at most {most:,} files, {depth} folders deep, found more in {cid}."
            )
        for name, child in reversed(inside):
            below = f"{path}/{name}" if path else name
            if len(below) > PATH_BYTES:
                raise LimitExceeded(f"Expected paths of at most {PATH_BYTES:,} bytes in a folder, found more in {cid}.")
            todo.append((below, child, deep + 1))
