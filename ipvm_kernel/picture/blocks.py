"""Any value as blocks of plain data, for a browser that puts text in as text: bounded, and safe to show.

A block is a dict: `as` says what it is ("line", "pre", "note", "error", "image", "table"), the other keys hold it. Nothing
in a block is markup. It is `parts.value_block` for places that build their own page.
"""

from __future__ import annotations

from typing import Any, Final

from ipvm_kernel.ipld import NumberList
from ipvm_kernel.picture import media, plots, values
from ipvm_kernel.picture.parts import TEXT_CHARACTERS, Room
from ipvm_kernel.picture.states import data_uri
from ipvm_kernel.picture.widths import clipped, unstacked
from ipvm_kernel.printable import printable, size

Block = dict[str, Any]

_LINE: Final = 100
_SVG: Final = 64 * 1024


def line(text: str, limit: int = 400) -> Block:
    """Return a line of text."""
    return {"as": "line", "text": clipped(text, limit)}


def note(text: str, limit: int = 400) -> Block:
    """Return a remark."""
    return {"as": "note", "text": clipped(text, limit)}


def error(text: str) -> Block:
    """Return what went wrong."""
    return {"as": "error", "text": clipped(text, 2_000, keep="\n")}


def pre(text: str, limit: int = TEXT_CHARACTERS) -> list[Block]:
    """Return text as it stands, cut, and how much was cut off."""
    kept = unstacked(printable(text[:limit], limit=limit, keep="\n\t"))
    left = len(text) - limit
    return [{"as": "pre", "text": kept}, *([note(f"{left:,} more characters")] if left > 0 else [])]


def blocks(value: Any, room: Room, alt: str = "its value") -> list[Block]:
    """Return a value as it is best seen: a picture, a plot, a table, text, bytes by their first, or a line.

    Args:
        value: Plain Python.
        room: What is left of the space for pictures.
        alt: What a picture is called.
    """
    match value:
        case str():
            return _text(value, room, alt)
        case bytes() | bytearray() | memoryview():
            return _bytes(bytes(value), room, alt)
        case list() | tuple() | NumberList() if len(value) > 2 and (found := plots.numbers_of(value)) is not None:
            picture = plots.plot(found)
            shown = [_image("image/svg+xml", picture.encode(), f"Plot of {found}", "")] if picture else []
            return [*shown, note(str(found)), line(plots.first(value))]
        case list() | tuple() | NumberList() | dict():
            made = values.table(value)
            if made is not None:
                return _table(made)
    return [line(values.line(value, 400))]


def _text(value: str, room: Room, alt: str) -> list[Block]:
    if value[:1024].lstrip()[:1] == "<" and len(value) < _SVG:
        data = value.encode("utf-8", "replace")
        found = media.media_of(data)
        if found.shown and room.take(len(data) * 4 // 3 + 4):
            return [_image(found.mime, data, alt, media.about(data))]
    return pre(value) if "\n" in value or len(value) > _LINE else [line(values.line(value, _LINE + 20))]


def _bytes(data: bytes, room: Room, alt: str) -> list[Block]:
    found = media.media_of(data)
    if found.shown and room.take(len(data) * 4 // 3 + 4):
        return [_image(found.mime, data, alt, media.about(data))]
    if found.mime or len(data) <= 16:
        return [line(media.about(data))]
    return [line(size(len(data)) if not found.name else media.about(data)), *pre(media.dump(data, 4))]


def _image(mime: str, data: bytes, alt: str, said: str) -> Block:
    return {"as": "image", "src": data_uri(mime, data), "alt": clipped(alt, 200), "note": said}


def _table(made: values.Table) -> list[Block]:
    block: Block = {
        "as": "table",
        "heads": list(made.heads),
        "rows": [list(row) for row in made.rows],
        "numeric": list(made.numeric),
    }
    return [block, *([note(made.note)] if made.note else [])]
