"""Archives by hand, for tests: well formed, and in every way that is not."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING, Any

from ipvm_kernel.ipld import CID, encode
from ipvm_kernel.ipld.bases import to_varint

if TYPE_CHECKING:
    from collections.abc import Iterator

PRAGMA = bytes.fromhex("0aa16776657273696f6e02")

Block = tuple[CID, bytes]


def raw(data: bytes) -> Block:
    return CID.of(data, "raw", "sha2-256"), data


def cbor(value: object) -> Block:
    data = encode(value)
    return CID.of(data), data


def some(count: int, largest: int = 300, seed: int = 0) -> list[Block]:
    """Return different blocks of several sizes."""
    rng = random.Random(seed)
    return [raw(b"%06d" % number + rng.randbytes(rng.randrange(largest))) for number in range(count)]


def header(roots: Any = (), version: Any = 1, **more: Any) -> bytes:
    data = encode({"roots": list(roots) if type(roots) is tuple else roots, "version": version, **more})
    return to_varint(len(data)) + data


def section(cid: bytes | CID, data: bytes = b"") -> bytes:
    name = cid if isinstance(cid, bytes) else cid.bytes
    return to_varint(len(name) + len(data)) + name + data


def car(*blocks: Block, roots: Any = ()) -> bytes:
    return header(roots) + b"".join(section(cid, data) for cid, data in blocks)


def car2(
    payload: bytes,
    *,
    about: bytes = bytes(16),
    begin: int = 51,
    size: int | None = None,
    index_at: int = 0,
    gap: bytes = b"",
    rest: bytes = b"",
) -> bytes:
    """Return an archive of version 2, by default a right one without an index."""
    fields = struct.pack("<16sQQQ", about, begin, len(payload) if size is None else size, index_at)
    return PRAGMA + fields + gap + payload + rest


class Trickle:
    """A stream that cannot go back, gives few bytes at a time, and counts what is taken from it."""

    def __init__(self, data: bytes, most: int = 7) -> None:
        self._data, self._at, self._most = data, 0, most
        self.taken = 0
        self.largest = 0

    def read(self, count: int = -1) -> bytes:
        assert count >= 0, "never all of a stream"
        self.largest = max(self.largest, count)
        piece = self._data[self._at : self._at + min(count, self._most)]
        self._at += len(piece)
        self.taken += len(piece)
        return piece


def pieces(data: bytes, length: int) -> Iterator[bytes]:
    """Yield bytes as the body of an answer may come."""
    for at in range(0, len(data), length):
        yield data[at : at + length]
