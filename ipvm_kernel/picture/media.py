"""What bytes are, by how they begin: pictures that a browser shows, or a size and the first of them."""

from __future__ import annotations

import re
import struct
from typing import Final

import msgspec

from ipvm_kernel.picture.widths import TIMES
from ipvm_kernel.printable import size

SHOWN_BYTES: Final = 256 * 1024
"""Bytes of a picture that is put into a notebook, at most."""

_SVG_BYTES: Final = 64 * 1024
_PIXELS: Final = 40_000_000  # more than that, from few bytes, is there to fill the reader's memory
_HEAD: Final = 16
_SVG: Final = re.compile(rb"\s*(?:<\?xml[^<]{0,200}\?>\s*)?(?:<!--.{0,500}?-->\s*)?<svg[\s>]", re.DOTALL)


class Media(msgspec.Struct, frozen=True):
    """What some bytes are.

    Attributes:
        name: "PNG", or "" if it is not known.
        mime: "image/png", or "".
        width: Pixels, or 0 if it is not known.
        height: Pixels.
        shown: True if it may be put into a page as the source of an image.
    """

    name: str = ""
    mime: str = ""
    width: int = 0
    height: int = 0
    shown: bool = False


def media_of(data: bytes) -> Media:
    """Return what some bytes are. A claim of their first bytes: nothing is decoded.

    >>> media_of(b"GIF89a" + bytes([3, 0, 2, 0])).name
    'GIF'
    """
    head = data[:32]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _image("PNG", "image/png", data, struct.unpack(">II", head[16:24]) if len(head) >= 24 else (0, 0))
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _image("GIF", "image/gif", data, struct.unpack("<HH", head[6:10]) if len(head) >= 10 else (0, 0))
    if head.startswith(b"\xff\xd8\xff"):
        return _image("JPEG", "image/jpeg", data, _jpeg(data))
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _image("WebP", "image/webp", data, _webp(head))
    if _SVG.match(data[:1024]):
        return Media("SVG", "image/svg+xml", shown=len(data) <= _SVG_BYTES)
    return Media(_NAMES.get(head[:4], ""))


_NAMES: Final = {
    b"\x00asm": "WebAssembly",
    b"%PDF": "PDF",
    b"PK\x03\x04": "ZIP",
    b"PAR1": "Parquet",
    b"ARRO": "Arrow",
    b"SQLi": "SQLite",
    b"\x93NUM": "NumPy array",
}


def about(data: bytes) -> str:
    """Return one line about some bytes.

    >>> about(b"abc")
    '3 B: 61 62 63'
    """
    found = media_of(data)
    if found.mime:
        pixels = f", {found.width:,} {TIMES} {found.height:,}" if found.width else ""
        return f"{found.name} image{pixels}, {size(len(data))}"
    if found.name:
        return f"{found.name}, {size(len(data))}"
    rest = " …" if len(data) > _HEAD else ""
    return f"{size(len(data))}: {data[:_HEAD].hex(' ')}{rest}" if data else "0 B"


def dump(data: bytes, lines: int = 4) -> str:
    """Return the first bytes as a table of hexadecimal numbers and characters."""
    rows = []
    for at in range(0, min(len(data), 16 * lines), 16):
        part = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        rows.append(f"{at:04x}  {part[:8].hex(' '):<23}  {part[8:].hex(' '):<23}  {text}")
    return "\n".join(rows)


def _image(name: str, mime: str, data: bytes, pixels: tuple[int, ...]) -> Media:
    width, height = pixels
    small = len(data) <= SHOWN_BYTES and width * height <= _PIXELS
    return Media(name, mime, width, height, shown=small and width > 0 and height > 0)


def _jpeg(data: bytes) -> tuple[int, int]:
    """Return the pixels that the first frame header names; the search is bounded."""
    at, end = 2, min(len(data), 1 << 18)
    for _ in range(256):
        if at + 9 > end or data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return 0, 0


def _webp(head: bytes) -> tuple[int, int]:
    """Return the pixels of one of the three kinds of WebP."""
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(head) >= 30:
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
