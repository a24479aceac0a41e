from __future__ import annotations

import random
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from tests.toolchains.pictures import (
    GRAY,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    SIGNATURE,
    assert_same,
    chunk,
    header,
    noise,
    opened,
    plain,
    png,
    row_bytes,
    saved,
    whole,
)

if TYPE_CHECKING:
    from tests.toolchains.guest import Guest


# Reading


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (37, 23)])
def test_pictures_of_pillow_are_read(imgops: Guest, mode: str, size: tuple[int, int]) -> None:
    """
    Gray and colour, with alpha and without, are read pixel by pixel, whatever the size.
    """
    data = random.Random(7).randbytes(size[0] * size[1] * len(mode))
    picture = Image.frombytes(mode, size, data)

    assert_same(whole(imgops, saved(picture)), picture)


@pytest.mark.parametrize("kinds", [[kind] * 6 for kind in range(5)] + [[4, 3, 2, 1, 0, 4], [2, 2, 0, 3, 4, 1]])
@pytest.mark.parametrize(("depth", "colour"), [(8, GRAY), (8, RGB), (8, RGBA), (16, GRAY_ALPHA), (1, GRAY), (4, GRAY)])
def test_every_filter_is_undone(imgops: Guest, kinds: list[int], depth: int, colour: int) -> None:
    """
    The five filters are undone on every row, the first one too, for pixels of any width.
    """
    data = png(13, 6, depth=depth, colour=colour, kinds=kinds)

    assert_same(whole(imgops, data), whole(imgops, png(13, 6, depth=depth, colour=colour)))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_gray_of_every_depth(imgops: Guest, depth: int) -> None:
    """
    White is 255 and black is 0 at every depth; of 16 bits the upper 8 are kept.
    """
    rows = noise(21, 5, depth, GRAY)
    bits = np.unpackbits(np.array([list(row) for row in rows], dtype=np.uint8), axis=1)[:, : 21 * depth]
    values = bits.reshape(5, 21, depth) @ (1 << np.arange(depth - 1, -1, -1, dtype=np.int64))
    expected = values // 256 if depth == 16 else values * 255 // (2**depth - 1)

    assert (np.asarray(whole(imgops, png(21, 5, depth=depth, colour=GRAY, rows=rows))) == expected).all()


@pytest.mark.parametrize("colour", [RGB, GRAY_ALPHA, RGBA])
def test_colours_of_sixteen_bits(imgops: Guest, colour: int) -> None:
    """
    Colours of 16 bits are read like Pillow reads them: by their upper 8.
    """
    data = png(11, 7, depth=16, colour=colour)
    got = whole(imgops, data)

    assert_same(got.convert("RGBA"), opened(data).convert("RGBA"))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("clear", [0, 1, 2])
def test_palettes_become_colours(imgops: Guest, depth: int, clear: int) -> None:
    """
    A palette becomes RGB, and RGBA if some of its colours are clear.
    """
    colours = random.Random(3).randbytes(3 * 2**depth)
    extras = [chunk(b"PLTE", colours)] + [chunk(b"tRNS", bytes([7, 200][:clear]))] * (clear > 0)
    data = png(19, 6, *extras, depth=depth, colour=PALETTE)

    assert_same(whole(imgops, data), opened(data).convert("RGBA" if clear else "RGB"))


def test_one_clear_colour(imgops: Guest) -> None:
    """
    Gray and RGB may name one colour that is clear; it becomes alpha.
    """
    rows = [bytes([1, 2, 3, 1, 2, 4]), bytes([9, 2, 3, 1, 2, 3])]
    rgb = png(2, 2, chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3])), rows=rows)
    gray = png(2, 2, chunk(b"tRNS", b"\0\1"), colour=GRAY, depth=4, rows=[b"\x1f", b"\x01"])
    deep = png(2, 1, chunk(b"tRNS", b"\1\2"), colour=GRAY, depth=16, rows=[b"\1\2\1\3"])

    assert list(np.asarray(whole(imgops, rgb))[..., 3].flat) == [0, 255, 255, 0]
    assert_same(whole(imgops, rgb), opened(rgb).convert("RGBA"))
    assert np.asarray(whole(imgops, gray)).tolist() == [[[17, 0], [255, 255]], [[0, 255], [17, 0]]]
    assert np.asarray(whole(imgops, deep)).tolist() == [[[1, 0], [1, 255]]]


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED, zlib.Z_RLE])
@pytest.mark.parametrize("parts", [1, 7])
def test_every_way_to_compress(imgops: Guest, level: int, strategy: int, parts: int) -> None:
    """
    Stored, fixed and dynamic blocks are read, in one chunk or cut into many.
    """
    rows = [bytes([x * y // 9 % 256 for x in range(90)]) for y in range(40)]
    data = png(30, 40, rows=rows, level=level, strategy=strategy, parts=parts)

    assert_same(whole(imgops, data), Image.frombytes("RGB", (30, 40), b"".join(rows)))


def test_what_is_not_pixels_is_left_behind(imgops: Guest) -> None:
    """
    Text and other notes in a file do not disturb, and do not come out.
    """
    notes = chunk(b"tEXt", b"Author\0me") + chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"xxXx", b"?")
    data = png(3, 3, notes) + b"after the end"
    out = imgops.call("crop", data, 0, 0, 3, 3)

    assert_same(opened(out), opened(data))
    assert b"Author" not in out


# What goes wrong


GOOD = plain()
PACKED = zlib.compress(b"".join(b"\0" + row for row in noise(4, 3)))


def with_data(data: bytes, *extras: bytes, width: int = 4, height: int = 3, colour: int = RGB) -> bytes:
    return SIGNATURE + header(width, height, colour=colour) + b"".join(extras) + chunk(b"IDAT", data) + chunk(b"IEND")


BAD = {
    "nothing": (b"", "this is no PNG: it does not begin like one"),
    "text": (b"hello, I am a picture", "this is no PNG: it does not begin like one"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(100), "this is no PNG: it does not begin like one"),
    "half a signature": (SIGNATURE[:5], "this is no PNG: it does not begin like one"),
    "only a signature": (SIGNATURE, "the file is cut short: it ends at byte 8"),
    "cut in a chunk's head": (GOOD[:20], "the file is cut short in its chunk IHDR"),
    "cut in the data": (GOOD[:-30], "the file is cut short in its chunk IDAT"),
    "no end": (GOOD[:-12], f"the file is cut short: it ends at byte {len(GOOD) - 12}"),
    "no chunk": (SIGNATURE + bytes(20), "there is no chunk at byte 8"),
    "a wrong checksum": (
        SIGNATURE + chunk(b"IHDR", bytes(13), crc=0),
        "the chunk IHDR at byte 8 is damaged: its checksum is wrong",
    ),
    "a flipped bit": (
        GOOD[:50] + bytes([GOOD[50] ^ 4]) + GOOD[51:],
        "the chunk IDAT at byte 33 is damaged: its checksum is wrong",
    ),
    "a length beyond all": (GOOD[:33] + b"\xff\xff\xff\xff" + GOOD[37:], "the file is cut short in its chunk IDAT"),
    "a short header": (SIGNATURE + chunk(b"IHDR", bytes(12)), "the header has 12 bytes instead of 13"),
    "two headers": (SIGNATURE + header(1, 1) * 2, "there are two headers"),
    "no header": (SIGNATURE + chunk(b"IEND"), "the chunk IEND comes before the header"),
    "no width": (SIGNATURE + header(0, 5), "a picture of 0x5 has no pixels"),
    "64 megapixels and one row": (
        SIGNATURE + header(8000, 8001),
        "the picture of 8000x8001 is too large: at most 64 million pixels are read",
    ),
    "all that a header can say": (
        SIGNATURE + header(2**32 - 1, 2**32 - 1),
        "the picture of 4294967295x4294967295 is too large: at most 64 million pixels are read",
    ),
    "three bits": (SIGNATURE + header(1, 1, depth=3, colour=GRAY), "no PNG has colour type 0 with 3 bits"),
    "colours of four bits": (SIGNATURE + header(1, 1, depth=4), "no PNG has colour type 2 with 4 bits"),
    "an unknown colour type": (SIGNATURE + header(1, 1, colour=5), "no PNG has colour type 5 with 8 bits"),
    "an unknown compression": (SIGNATURE + header(1, 1, rest=b"\1\0\0"), "the compression or filter method is unknown"),
    "interlaced": (
        SIGNATURE + header(1, 1, rest=b"\0\0\1"),
        "an interlaced PNG is not read; save it without interlacing",
    ),
    "an unknown critical chunk": (
        png(1, 1, chunk(b"NEWS")),
        "the chunk NEWS is unknown, and the picture cannot be read without it",
    ),
    "no palette": (png(1, 1, colour=PALETTE), "the palette is missing"),
    "half a colour": (png(1, 1, chunk(b"PLTE", bytes(4)), colour=PALETTE), "a palette cannot have 4 bytes"),
    "a colour that is not there": (
        png(1, 1, chunk(b"PLTE", bytes(6)), colour=PALETTE, rows=[b"\x02"]),
        "a pixel has colour 2 of a palette of 2",
    ),
    "transparency of alpha": (
        png(1, 1, chunk(b"tRNS", bytes(2)), colour=RGBA),
        "the transparency does not fit the colours",
    ),
    "too much transparency": (
        png(1, 1, chunk(b"PLTE", bytes(3)), chunk(b"tRNS", bytes(2)), colour=PALETTE),
        "the transparency does not fit the colours",
    ),
    "no data": (SIGNATURE + header(1, 1) + chunk(b"IEND"), "the compressed data does not begin like zlib's"),
    "data of something else": (with_data(b"PK\3\4" + bytes(20)), "the compressed data does not begin like zlib's"),
    "a dictionary": (with_data(b"\x78\xbb" + PACKED[2:]), "the compressed data does not begin like zlib's"),
    "an impossible block": (with_data(b"\x78\x9c\x07" + bytes(20)), "the compressed data is damaged or cut short"),
    "data cut short": (with_data(PACKED[:20]), "the compressed data is damaged or cut short"),
    "a checksum of other data": (
        with_data(PACKED[:-1] + bytes([PACKED[-1] ^ 1])),
        "the compressed data is damaged: its checksum is wrong",
    ),
    "too few rows": (with_data(zlib.compress(bytes(30))), "the data ends after 2 of 3 rows"),
    "too many rows": (with_data(zlib.compress(bytes(40))), "there is more data than 3 rows"),
    "an unknown filter": (with_data(zlib.compress(bytes(13) + b"\7" + bytes(25))), "row 1 has the unknown filter 7"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("function", ["crop", "rotate90", "grayscale", "blur"])
def test_bad_input_is_an_answer(imgops: Guest, function: str, case: str) -> None:
    """
    What is not a picture is answered by a sentence that says what is wrong, never by a trap.
    """
    data, message = BAD[case]
    rest = {"crop": (0, 0, 1, 1), "blur": (1.0,)}.get(function, ())

    assert imgops.call(function, data, *rest) == message


def test_no_damage_is_a_trap(imgops: Guest) -> None:
    """
    Whatever happens to the bytes of a file: the answer is a picture or a sentence.
    """
    source = random.Random(11)
    for number in range(400):
        colour, depth = source.choice([(GRAY, 1), (GRAY, 16), (RGB, 8), (RGBA, 8), (PALETTE, 4)])
        extras = [chunk(b"PLTE", bytes(48))] if colour == PALETTE else []
        data = png(source.randint(1, 9), source.randint(1, 9), *extras, colour=colour, depth=depth)
        rows = zlib.compress(source.randbytes(1 + row_bytes(7, depth, colour)) * 5)
        broken = bytearray(data if number % 2 else with_data(rows, *extras, width=7, height=5, colour=colour))
        for _ in range(source.randint(1, 3)):
            broken[source.randrange(8, len(broken))] = source.randrange(256)
        fixed = with_right_checksums(bytes(broken))

        assert isinstance(imgops.call("rotate90", fixed), bytes | str)


def with_right_checksums(data: bytes) -> bytes:
    """Return the file with checksums that fit the damage, so that it is looked at more closely."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        if length > len(data) - at - 12:
            break
        out += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return bytes(out + data[at:])
