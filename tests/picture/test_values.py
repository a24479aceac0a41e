from __future__ import annotations

import math
import struct
import time
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.ipld import CID
from ipvm_kernel.picture import media, parts, plots, text, values
from tests.picture.inert import inert, inert_svg, pictures, plain

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="5" height="5"/>'


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes(3 * width)) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xc0\x00\x11\x08\x00\x20\x00\x40\x03" + bytes(9) + b"\xff\xd9"
)
GIF = b"GIF89a" + struct.pack("<HH", 12, 7) + bytes(20)
WEBP = b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + (99).to_bytes(3, "little") + (49).to_bytes(3, "little")

any_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=40,
)


@pytest.mark.parametrize(
    ("data", "about"),
    [
        (png(3, 2), "PNG image, 3 \N{MULTIPLICATION SIGN} 2"),
        (JPEG, "JPEG image, 64 \N{MULTIPLICATION SIGN} 32"),
        (GIF, "GIF image, 12 \N{MULTIPLICATION SIGN} 7"),
        (WEBP, "WebP image, 100 \N{MULTIPLICATION SIGN} 50"),
        (SVG, "SVG image"),
        (b"<?xml version='1.0'?>\n<!-- made by hand -->\n" + SVG, "SVG image"),
        (b"\0asm\1\0\0\0", "WebAssembly, 8 B"),
        (b"%PDF-1.7", "PDF, 8 B"),
        (b"ab", "2 B: 61 62"),
        (b"", "0 B"),
    ],
)
def test_bytes_are_told_by_how_they_begin(data: bytes, about: str) -> None:
    """
    A picture is known as one, with its size in pixels, whoever made it.
    """
    assert media.about(data).startswith(about)


@given(st.binary(max_size=64), st.sampled_from([png(1, 1), JPEG, GIF, WEBP, SVG]), st.integers(0, 64))
def test_broken_pictures_break_nothing(noise: bytes, picture: bytes, cut: int) -> None:
    """
    A picture that ends too early or goes on as something else is still shown as something.
    """
    for data in (picture[:cut], picture[:cut] + noise, noise):
        inert(parts.value_block(data, parts.Room()))


@pytest.mark.parametrize("data", [png(3, 2), JPEG, GIF, WEBP, SVG])
def test_pictures_are_seen(data: bytes) -> None:
    """
    PNG, JPEG, GIF, WebP and SVG are images in the page, and hold their own bytes.
    """
    reader = inert(parts.value_block(data, parts.Room()))

    assert len(reader.sources) == 1


@pytest.mark.parametrize(
    "data",
    [
        png(2, 2) + bytes(300_000),
        b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 60_000, 60_000) + bytes(30),
        b"\x89PNG\r\n\x1a\n",
        b'<svg xmlns="http://www.w3.org/2000/svg">' + b"<g/>" * 30_000 + b"</svg>",
    ],
    ids=["large", "bomb", "nothing", "large SVG"],
)
def test_pictures_that_would_hurt_are_a_line(data: bytes) -> None:
    """
    A picture of more than 256 KiB, or one that says it has billions of pixels, is told and not shown.
    """
    reader = inert(parts.value_block(data, parts.Room()))

    assert reader.sources == []
    assert "image" in "".join(reader.said)


@given(any_value)
def test_any_value_can_be_shown(value: Any) -> None:
    """
    There is no value that a display fails on, or whose display is more than a page.
    """
    reader = inert(parts.value_block(value, parts.Room()))
    for picture in pictures(reader):
        inert_svg(picture)
    inert(parts.cell(value, parts.Room()))
    plain(text.value(value), keep="\n\t")
    plain(values.line(value, 40))

    assert len(values.line(value, 40)) <= 80


@given(st.lists(st.integers() | st.floats(), min_size=1))
def test_any_numbers_have_a_picture(numbers: list[float]) -> None:
    """
    NaN, infinity, the largest floats and integers beyond them are told apart, and the rest is drawn.
    """
    found = plots.numbers_of(numbers)
    if found is None:
        assert any(isinstance(number, int) and abs(number) > 2**1023 for number in numbers)
        return
    if found.values:
        assert found.low == min(found.values)
        assert found.high == max(found.values)
        assert found.low <= found.mean <= found.high or math.isclose(found.low, found.mean, rel_tol=1e-9)
    assert found.strange + len(found.values) == len(numbers)
    if drawn := plots.plot(found):
        assert not any(word in drawn for word in ("nan", "inf"))
        inert_svg(drawn)


def test_numbers_say_what_they_are() -> None:
    """
    A list of numbers is a picture, its count, its least, mean and greatest, and the first of them.
    """
    reader = inert(parts.value_block([float(n) for n in range(1000)] + [math.nan], parts.Room()))
    said = " ".join(reader.said)

    assert "1,001 numbers · min 0 · mean 499.5 · max 999 · 1 not finite" in said
    assert "[0, 1, 2" in said
    assert len(pictures(reader)) == 1


def test_records_are_a_table() -> None:
    """
    A list of records has a row each, the first ten of them, under the names of all their fields.
    """
    reader = inert(parts.value_block([{"name": f"n{i}", "size": i} for i in range(30)], parts.Room()))
    said = "|".join(reader.said)

    assert "name|size|n0|0|n1|1" in said
    assert "n9|9" in said
    assert "n10" not in said
    assert "first 10 of 30 rows" in said


def test_columns_are_a_table() -> None:
    """
    A record of lists, as a data frame gives, is a table too; a field that is missing is an empty cell.
    """
    assert values.table({"x": [1, 2], "y": ["a", "b"]}) == values.Table(
        ("x", "y"), (("1", "a"), ("2", "b")), "2 rows", (True, False)
    )
    assert values.table([{"x": 1}, {"y": 2}]).rows == (("1", ""), ("", "2"))  # type: ignore[union-attr]


def test_text_stays_text() -> None:
    """
    Lines of text are lines; what is not shown of it is counted.
    """
    reader = inert(parts.value_block("first\n\tsecond\n" + "x" * 10_000, parts.Room()))

    assert "".join(reader.said).startswith("first\n\tsecond\n")
    assert "6,014 more characters" in "".join(reader.said)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (0.1, "0.1"),
        ("a", '"a"'),
        ([], "[]"),
        ({}, "{}"),
        (CID("bafkqabiaaebagba"), "bafkqabiaaebagba"),
        ([[[[[[[1]]]]]]], "[[[[[[…]]]]]]"),
        (10**100_000, "an integer of 332,193 bits"),
        (object(), "<object>"),
    ],
    ids=range(11),
)
def test_a_value_in_a_line(value: object, said: str) -> None:
    """
    Small values are written out as they are typed; strange ones say what they are.
    """
    assert values.line(value) == said


LARGE: dict[str, Any] = {
    "bytes": lambda: bytes(100_000_000),
    "picture": lambda: png(2, 2) + bytes(100_000_000),
    "text": lambda: "x" * 100_000_000,
    "lines": lambda: "a\n" * 50_000_000,
    "floats": lambda: [0.5] * 12_500_000,
    "records": lambda: [{"a": 1, "b": "c"}] * 1_000_000,
    "columns": lambda: {f"c{n}": [0] * 1_000 for n in range(5_000)},
    "map": lambda: {str(n): n for n in range(1_000_000)},
    "rows": lambda: [[1, 2, 3]] * 1_000_000,
    "ragged": lambda: [[1] * (n % 5) for n in range(1_000_000)],
    "wide": lambda: [{str(n): n for n in range(100_000)}] * 10,
    "set": lambda: set(range(1_000_000)),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_value_of_a_hundred_megabytes_is_a_summary(name: str) -> None:
    """
    Whatever its shape, a huge value is shown at once, in a few kilobytes.
    """
    value = LARGE[name]()
    began = time.process_time()
    html = parts.value_block(value, parts.Room()) + parts.cell(value, parts.Room())
    plainly = text.value(value)
    spent = time.process_time() - began

    inert(html)
    assert len(html) < 60_000
    assert len(plainly) < 20_000
    assert spent < 1
