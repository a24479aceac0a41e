"""UnixFS: files as IPFS cuts and names them.

A file of one chunk is that chunk. A larger one is a balanced tree over its chunks: raw leaves of 256 KiB, nodes of at
most 174 links, as `ipfs add --cid-version=1 --raw-leaves` makes it. It follows https://ipld.io/specs/codecs/dag-pb/spec/
and https://specs.ipfs.tech/unixfs/. Folders are made in `folders`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from ipvm_kernel.errors import LimitExceeded, Malformed, Unencodable
from ipvm_kernel.ipld.bases import to_varint
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.dagpb import Link, fields, node, parse, to_link, whole, whole_number
from ipvm_kernel.ipld.limits import PEER, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from typing_extensions import Buffer

    Source: TypeAlias = Buffer | os.PathLike[str] | Iterable[Buffer]

CHUNK_BYTES: Final = 262_144
"""Bytes of a leaf."""

LINKS: Final = 174
"""Links of a node, at most."""

_RAW, _FOLDER, _FILE = 0, 1, 2
_KINDS: Final = {1: "a folder", 3: "metadata", 4: "a symbolic link", 5: "a part of a large folder"}


# --- Making ---


def file_cid(source: Source) -> CID:
    """Return the CID of a file: of bytes, of what a path leads to, or of pieces of any size in order.

    Nothing is kept: a file of any size takes the memory of a chunk.

    >>> file_cid(b"hello")
    CID('bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq')

    Raises:
        Unencodable: The source is none of these.
        OSError: The path cannot be read.
    """
    tree = _Tree()
    for chunk in chunks(source):
        tree.leaf(chunk)
    return tree.root()


def blocks(source: Source, *, leaves: bool = True) -> Iterator[tuple[CID, bytes]]:
    """Yield the CID and the bytes of each block of a file: children before parents, the root last.

    Without `leaves` only the dag-pb nodes: none for a file of one chunk.
    """
    tree = _Tree()
    for chunk in chunks(source):
        cid = tree.leaf(chunk)
        if leaves:
            yield cid, bytes(chunk)
        yield from tree.take()
    tree.root()
    yield from tree.take()


def chunks(source: Source) -> Iterator[memoryview]:
    """Yield the chunks of a file. Each is good until the next is asked for. An empty file has one, empty."""
    if isinstance(source, os.PathLike):
        return _of_path(source)
    if isinstance(source, str):
        raise Unencodable(
            "Expected bytes or a path, found str. Give pathlib.Path(x) for a file, x.encode() for a text."
        )
    try:
        view = memoryview(source)  # type: ignore[arg-type]
    except TypeError:
        return _of_pieces(source)  # type: ignore[arg-type]
    return _of_view(_flat(view))


def _flat(view: memoryview) -> memoryview:
    if not view.c_contiguous:
        raise Unencodable("Expected bytes that lie together, found an array with gaps. Give a copy of it.")
    return view.cast("B") if view.nbytes else memoryview(b"")


def _of_view(view: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(view) or 1, CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]


def _of_path(path: os.PathLike[str]) -> Iterator[memoryview]:
    room = memoryview(bytearray(CHUNK_BYTES))
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - any os.PathLike
        first = True
        while True:
            filled = 0
            while filled < CHUNK_BYTES and (count := file.readinto(room[filled:])):
                filled += count
            if filled or first:
                yield room[:filled]
            if filled < CHUNK_BYTES:
                return
            first = False


def _of_pieces(pieces: Iterable[Buffer]) -> Iterator[memoryview]:
    room = memoryview(bytearray(CHUNK_BYTES))
    filled, first = 0, True
    for piece in pieces:
        try:
            view = _flat(memoryview(piece))
        except TypeError:
            raise Unencodable(
                f"Expected pieces of bytes, found {type(piece).__name__}. Give bytes or a path."
            ) from None
        while len(view):
            if not filled and len(view) >= CHUNK_BYTES:
                yield view[:CHUNK_BYTES]
                view, first = view[CHUNK_BYTES:], False
                continue
            count = min(len(view), CHUNK_BYTES - filled)
            room[filled : filled + count] = view[:count]
            filled, view = filled + count, view[count:]
            if filled == CHUNK_BYTES:
                yield room
                filled, first = 0, False
    if filled or first:
        yield room[:filled]


class _Branch(NamedTuple):
    cid: CID
    content: int  # bytes of the file below it
    stored: int  # bytes of all blocks below it, its own included


class _Tree:
    """A balanced tree under construction: for each level, the branches that have no parent yet."""

    def __init__(self) -> None:
        self._levels: list[list[_Branch]] = [[]]
        self._made: list[tuple[CID, bytes]] = []

    def leaf(self, chunk: Buffer) -> CID:
        """Add a chunk and return its CID."""
        cid = CID.of(chunk, "raw", "sha2-256")
        size = memoryview(chunk).nbytes
        self._add(0, _Branch(cid, size, size))
        return cid

    def _add(self, level: int, branch: _Branch) -> None:
        if level == len(self._levels):
            self._levels.append([])
        row = self._levels[level]
        row.append(branch)
        if len(row) == LINKS:
            self._close(level)

    def _close(self, level: int) -> None:
        """Give the branches of a level their parent."""
        row = self._levels[level]
        self._levels[level] = []
        content = sum(branch.content for branch in row)
        # UnixFS Data: type (1), file size (3) and the size of each child's content (4).
        sizes = b"".join(b"\x20" + to_varint(branch.content) for branch in row)
        about = b"\x08\x02\x18" + to_varint(content) + sizes
        data = node([to_link(branch.cid, b"", branch.stored) for branch in row], about)
        cid = CID.of(data, "dag-pb", "sha2-256")
        self._made.append((cid, data))
        self._add(level + 1, _Branch(cid, content, len(data) + sum(branch.stored for branch in row)))

    def root(self) -> CID:
        """Close what is open and return the CID of the whole."""
        level = 0
        while len(self._levels) > level + 1 or len(self._levels[level]) != 1:
            if self._levels[level]:
                self._close(level)
            level += 1
        return self._levels[level][0].cid

    def take(self) -> list[tuple[CID, bytes]]:
        """Return the nodes made since it was last called."""
        made, self._made = self._made, []
        return made


# --- Reading ---


def read(cid: CID, get: Callable[[CID], bytes], *, max_bytes: int, limits: Limits = PEER) -> Iterator[bytes]:
    """Yield the content of a file, piece by piece, in order.

    Args:
        cid: The root: raw or dag-pb.
        get: Returns the bytes that a CID names, checked against it, or raises.
        max_bytes: What the whole file may hold.
        limits: For each block, for the depth of the tree and (`items`) for the number of blocks.

    Raises:
        Malformed: A block is no part of a file, or the sizes in the tree contradict each other.
        LimitExceeded: More than `max_bytes` or `limits` allow.
    """
    todo: list[tuple[CID, int | None, int]] = [(cid, None, 0)]
    visited = 0
    while todo:
        part, claimed, depth = todo.pop()
        visited += 1
        if visited > limits.items or depth > limits.depth:
            raise LimitExceeded(f"Expected a file of at most {limits.items:,} blocks, {limits.depth} deep, found more.")
        data = get(part)
        if len(data) > limits.block_bytes:
            raise LimitExceeded(
                f"Expected a block of at most {limits.block_bytes:,} bytes, found {len(data):,}: {part}."
            )
        piece, children = _part_of_file(part, data)
        size = len(piece) + sum(size for _, size in children)
        if claimed is None and size > max_bytes:
            raise LimitExceeded(f"Expected a file of at most {max_bytes:,} bytes, found {size:,}: {part}.")
        if claimed is not None and size != claimed:
            raise Malformed(f"Expected {claimed:,} bytes of a file below {part}, as its parent says, found {size:,}.")
        if piece:
            yield piece
        todo.extend((child, size, depth + 1) for child, size in reversed(children))


def entry(cid: CID, data: bytes, name: str) -> CID | None:
    """Return what a folder has under a name, or None.

    Args:
        cid: The folder.
        data: Its block, checked.
        name: The name of the entry.

    Raises:
        Malformed: It is no folder, a large one that is spread over several blocks, or has a name twice.
    """
    links = folder_links(cid, data)
    if links is None:
        raise Malformed(f"Expected a folder, found a file: {cid}.")
    return next((link.cid for link in links if link.name == name), None)


def folder_links(cid: CID, data: bytes) -> list[Link] | None:
    """Return the entries of a folder, in its own order, or None for a file.

    Args:
        cid: The folder or file.
        data: Its block, checked.

    Raises:
        Malformed: It is neither, or a large folder that is spread over several blocks, or has a name twice.
    """
    kind = _RAW if cid.codec == "raw" else -1
    links: list[Link] = []
    if cid.codec == "dag-pb":
        links, about = parse(data)
        kind = -1 if about is None else _about(about)[0]
    if kind in {_RAW, _FILE}:
        return None
    if kind != _FOLDER:
        raise Malformed(f"Expected a folder or a file, found {_KINDS.get(kind, cid.codec)}: {cid}.")
    names: set[str] = set()
    for link in links:
        if link.name in names:
            raise Malformed(f"Expected each name once in a folder, found {link.name[:100]!r} again: {cid}.")
        names.add(link.name)
    return links


def _part_of_file(cid: CID, data: bytes) -> tuple[bytes, list[tuple[CID, int]]]:
    """Return the content that a block of a file holds, and its children with the size of the content of each."""
    codec = cid.codec
    if codec == "raw":
        return data, []
    if codec != "dag-pb":
        raise Malformed(f"Expected a part of a file (raw or dag-pb), found {codec}: {cid}.")
    links, about = parse(data)
    if about is None:
        raise Malformed(f"Expected a part of a file, found a dag-pb node without data: {cid}.")
    kind, piece, total, sizes = _about(about)
    if kind not in {_RAW, _FILE}:
        raise Malformed(f"Expected a part of a file, found {_KINDS.get(kind, f'UnixFS type {kind}')}: {cid}.")
    if len(sizes) != len(links):
        raise Malformed(f"Expected as many sizes as links, found {len(sizes)} for {len(links)}: {cid}.")
    if 0 in sizes:
        raise Malformed(f"Expected content behind each link of a file, found one of no bytes: {cid}.")
    if total is not None and total != len(piece) + sum(sizes):
        raise Malformed(f"Expected {total:,} bytes of a file, found {len(piece) + sum(sizes):,}: {cid}.")
    return piece, [(link.cid, size) for link, size in zip(links, sizes, strict=True)]


def _about(data: bytes) -> tuple[int, bytes, int | None, list[int]]:
    """Return type, inline content, size and children's sizes of a UnixFS `Data` message."""
    kind, piece, total = -1, b"", None
    sizes: list[int] = []
    # 5 and 6 are of large folders, 7 and 8 are mode and time of UnixFS 1.5, which are no part of the content.
    wanted = {1: int, 2: bytes, 3: int, 4: int, 5: int, 6: int, 7: int, 8: bytes}
    before = 0
    for at, number, value in fields(data, wanted):
        if number < before or (number == before and number != 4):
            raise Malformed(f"Expected the fields of UnixFS data in order, found {number} again at byte {at:,} of it.")
        before = number
        match number:
            case 1:
                kind = whole_number(value)
            case 2:
                piece = whole(value)
            case 3:
                total = whole_number(value)
            case 4:
                sizes.append(whole_number(value))
    return kind, piece, total, sizes
