"""PNG files made by hand: whole ones that no library writes any more, and broken ones."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageChops

if TYPE_CHECKING:
    from tests.toolchains.guest import Guest

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
SAMPLES: Final = {GRAY: 1, RGB: 3, PALETTE: 1, GRAY_ALPHA: 2, RGBA: 4}


def chunk(name: bytes, data: bytes = b"", *, crc: int | None = None) -> bytes:
    """Return a chunk, with a checksum of its own if one is given."""
    right = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", right)


def header(width: int, height: int, *, depth: int = 8, colour: int = RGB, rest: bytes = b"\0\0\0") -> bytes:
    """Return the chunk IHDR; `rest` is compression, filter and interlacing."""
    return chunk(b"IHDR", struct.pack(">IIBB", width, height, depth, colour) + rest)


def row_bytes(width: int, depth: int, colour: int) -> int:
    """Return the bytes of a row."""
    return (width * SAMPLES[colour] * depth + 7) // 8


def noise(width: int, height: int, depth: int = 8, colour: int = RGB, *, seed: int = 1) -> list[bytes]:
    """Return rows of random bytes: every value and every difference occurs."""
    source = random.Random(seed)
    return [source.randbytes(row_bytes(width, depth, colour)) for _ in range(height)]


def filtered(rows: list[bytes], kinds: list[int], step: int) -> bytes:
    """Return the rows as PNG keeps them, each by the filter that is said."""
    out = bytearray()
    above = bytes(len(rows[0]))
    for row, kind in zip(rows, kinds, strict=True):
        left = bytes(step) + row[:-step] if len(row) > step else bytes(len(row))
        corner = bytes(step) + above[:-step] if len(row) > step else bytes(len(row))
        out.append(kind)
        for x, a, b, c in zip(row, left, above, corner, strict=True):
            guesses = (0, a, b, (a + b) // 2, _paeth(a, b, c))
            out.append((x - guesses[kind]) % 256)
        above = row
    return bytes(out)


def _paeth(a: int, b: int, c: int) -> int:
    guess = a + b - c
    return min((abs(guess - a), 0, a), (abs(guess - b), 1, b), (abs(guess - c), 2, c))[2]


def png(
    width: int,
    height: int,
    *extras: bytes,
    depth: int = 8,
    colour: int = RGB,
    rows: list[bytes] | None = None,
    kinds: list[int] | None = None,
    parts: int = 1,
    level: int = 6,
    strategy: int = zlib.Z_DEFAULT_STRATEGY,
) -> bytes:
    """Return a PNG file; `kinds` are its filters, `parts` the number of its IDAT chunks, `extras` other chunks."""
    rows = noise(width, height, depth, colour) if rows is None else rows
    step = max(1, SAMPLES[colour] * depth // 8)
    packer = zlib.compressobj(level, zlib.DEFLATED, 15, 8, strategy)
    packed = packer.compress(filtered(rows, kinds or [0] * height, step)) + packer.flush()
    size = -(-len(packed) // parts)
    data = b"".join(chunk(b"IDAT", packed[at : at + size]) for at in range(0, len(packed), size))
    return SIGNATURE + header(width, height, depth=depth, colour=colour) + b"".join(extras) + data + chunk(b"IEND")


def plain(width: int = 4, height: int = 3) -> bytes:
    """Return a small picture that nothing is wrong with."""
    return png(width, height)


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def saved(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def whole(imgops: Guest, data: bytes) -> Image.Image:
    """Return the picture as imgops reads it: the crop that leaves everything in."""
    width, height = struct.unpack(">II", data[16:24])
    answer = imgops.call("crop", data, 0, 0, width, height)
    assert isinstance(answer, bytes), answer
    return opened(answer)


def assert_same(one: Image.Image, other: Image.Image) -> None:
    assert (one.mode, one.size) == (other.mode, other.size)
    assert ImageChops.difference(one, other).getbbox(alpha_only=False) is None
