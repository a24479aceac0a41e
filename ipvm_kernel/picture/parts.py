"""Pieces of HTML that survive an untrusted notebook: images of `data:`, tables, details, and style in the tag.

JupyterLab takes away scripts, inline SVG, style sheets, ids and roles from what it does not trust, and any style whose
property or value is not on its list. So nothing here needs them, colours are those of the page, and lines between rows
are a grey that reads on white and on black.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.ipld import NumberList
from ipvm_kernel.picture import media, plots, values
from ipvm_kernel.picture.states import data_uri, icon
from ipvm_kernel.picture.widths import clipped, escaped, unstacked
from ipvm_kernel.printable import markup, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LIMIT: Final = 400_000
"""Characters of HTML, at most, whatever is shown."""

FOLD: Final = 10
"""Rows of a table of tasks that are seen; the others can be asked for."""

TEXT_CHARACTERS: Final = 4_000
_TEXT_LINES: Final = 200
_IMAGES: Final = 360_000

_LINE: Final = "border-bottom:1px solid rgba(128,128,128,0.28);"
_CELL: Final = "padding:6px 18px 6px 0px;text-align:left;vertical-align:top;"
MONO: Final = "font-family:monospace;font-size:12px;"
QUIET: Final = "opacity:0.68;"
_HEAD: Final = f"{_CELL}{QUIET}font-weight:normal;font-size:12px;white-space:nowrap;"
_TABLE: Final = "border-collapse:collapse;margin:0px;table-layout:auto;font-size:13px;"


class Room:
    """What is left of the space for images in one output."""

    def __init__(self, left: int = _IMAGES) -> None:
        self.left = left

    def take(self, count: int) -> bool:
        """Return True if so many characters are left, and take them."""
        if count > self.left:
            return False
        self.left -= count
        return True


def whole(*parts: str) -> str:
    """Return an output."""
    made = f'<div style="max-width:980px;line-height:1.45;padding:2px 0px">{"".join(parts)}</div>'
    if len(made) <= LIMIT:
        return made
    return f'<div style="{QUIET}">too much to show: {size(len(made))} of HTML. The value itself is there</div>'


def block(*parts: str, style: str = "") -> str:
    """Return a block, with space above what follows another."""
    return f'<div style="margin:0px 0px 8px 0px;{style}">{"".join(parts)}</div>'


def quiet(text: str) -> str:
    """Return text of less weight."""
    return f'<span style="{QUIET}">{escaped(text)}</span>'


def code(text: str, title: str = "", *, style: str = "") -> str:
    """Return a name or a CID."""
    named = f' title="{escaped(title)}"' if title else ""
    return f'<span{named} style="{MONO}{style}">{escaped(text)}</span>'


def sign(state: str, word: str) -> str:
    """Return a state: its icon and its name."""
    return (
        f'<span style="white-space:nowrap"><img alt="" src="{icon(state)}" width="14" height="14" '
        f'style="display:inline;vertical-align:-2px;margin:0px 7px 0px 0px">{escaped(word)}</span>'
    )


def trouble(state: str, text: str) -> str:
    """Return what went wrong, beside the icon of its state. Its colour is the page's: red text is hard to read on one."""
    return (
        f'<img alt="" src="{icon(state)}" width="14" height="14" '
        f'style="display:inline;vertical-align:-2px;margin:0px 7px 0px 0px">{escaped(text)}'
    )


def image(mime: str, data: bytes, alt: str, *, style: str = "", room: Room | None = None) -> str:
    """Return an image that holds its own bytes, or "" if there is no room for it."""
    if room is not None and not room.take(len(data) * 4 // 3 + 4):
        return ""
    return (
        f'<img alt="{markup(alt)}" src="{data_uri(mime, data)}" '
        f'style="display:block;margin:0px;max-width:100%;height:auto;{style}">'
    )


def details(summary: str, inside: str) -> str:
    """Return what is shown when it is asked for. Both are HTML already."""
    return (
        f'<details style="margin:8px 0px 0px 0px"><summary style="cursor:pointer;font-size:12px">{summary}</summary>'
        f'<div style="padding:8px 0px 2px 14px">{inside}</div></details>'
    )


def spaced(*items: str) -> str:
    """Return pieces of HTML side by side, with room between them; empty ones are left out."""
    return "".join(f'<span style="margin:0px 16px 0px 0px">{item}</span>' for item in items if item)


def named(name: str) -> str:
    """Return the name of a function as a title."""
    return code(clipped(name, 60), style="font-weight:600;")


def folded(heads: Sequence[str], rows: Sequence[Sequence[str]], note: str = "", *, name: int = 0) -> str:
    """Return a table of which the first rows are seen and the others can be asked for. Empty columns are left out."""
    if not rows:
        return ""
    kept = [n for n in range(len(heads)) if any(row[n] for row in rows)]
    chosen = [[row[n] for n in kept] for row in rows]
    names, called = [heads[n] for n in kept], kept.index(name) if name in kept else 0
    table = grid(names, chosen[:FOLD], named_by=called)
    left = len(rows) - FOLD
    said = block(quiet(note), style="margin:8px 0px 0px 0px;font-size:12px;") if note else ""
    more = details(quiet(f"{left:,} more"), grid(names, chosen[FOLD:], named_by=called)) if left > 0 else ""
    return f"{table}{more}{said}"


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[bool] = (), named_by: int = 0) -> str:
    """Return a table. Cells are HTML already; the cell at `named_by` of each row is what the row is called."""
    aligned = [
        "text-align:right;" if n < len(right) and right[n] else "" for n in range(max(len(heads), 1, len(right)))
    ]
    made = []
    if heads:
        cells = "".join(
            f'<th scope="col" style="{_HEAD}{aligned[n]}">{escaped(head)}</th>' for n, head in enumerate(heads)
        )
        made.append(f'<thead><tr style="background-color:transparent;{_LINE}">{cells}</tr></thead>')
    body = []
    for row in rows:
        cells = "".join(
            f'<th scope="row" style="{_CELL}{_align(aligned, n)}font-weight:normal">{cell}</th>'
            if n == named_by
            else f'<td style="{_CELL}{_align(aligned, n)}">{cell}</td>'
            for n, cell in enumerate(row)
        )
        body.append(f'<tr style="background-color:transparent;{_LINE}">{cells}</tr>')
    return f'<div style="overflow-x:auto"><table style="{_TABLE}">{"".join(made)}<tbody>{"".join(body)}</tbody></table></div>'


def _align(aligned: Sequence[str], n: int) -> str:
    return aligned[n] if n < len(aligned) else ""


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Return names and what they stand for. The second of each is HTML already."""
    return grid((), ((quiet(name), item) for name, item in rows))


def pre(text: str, limit: int = TEXT_CHARACTERS) -> str:
    """Return text as it stands, cut."""
    kept = text[:limit].split("\n")
    left = len(text) - limit
    if len(kept) > _TEXT_LINES:
        left += sum(len(line) + 1 for line in kept[_TEXT_LINES:])
        kept = kept[:_TEXT_LINES]
    more = f'<div style="{QUIET}font-size:12px">… {left:,} more characters</div>' if left > 0 else ""
    return (
        f'<pre style="{MONO}margin:0px;padding:0px;white-space:pre-wrap;overflow-wrap:break-word;line-height:1.5">'
        f"{markup(unstacked(chr(10).join(kept)), limit=2 * limit, keep=chr(10) + chr(9))}</pre>{more}"
    )


def value_block(value: Any, room: Room, alt: str = "") -> str:
    """Return a value as it is best seen."""
    if isinstance(value, str):
        return _text(value, room, alt)
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(value), room, alt)
    if isinstance(value, list | tuple | NumberList):
        found = plots.numbers_of(value) if len(value) > 2 else None
        if found is not None:
            return _numbers(value, found)
    if isinstance(value, list | tuple | NumberList | dict):
        made = values.table(value)
        if made is not None:
            return _table(made)
    return code(values.line(value, 400), style="overflow-wrap:break-word;")


def _text(value: str, room: Room, alt: str) -> str:
    if value[:1024].lstrip()[:1] == "<":
        data = value[:70_000].encode("utf-8", "replace")
        found = media.media_of(data)
        if found.shown and len(value) < 70_000:
            shown = image(found.mime, data, alt or "SVG image", room=room)
            if shown:
                return shown
    if "\n" in value or len(value) > 100:
        return pre(value)
    return code(values.line(value, 120))


def _bytes(data: bytes, room: Room, alt: str) -> str:
    found = media.media_of(data)
    about = media.about(data)
    if found.shown:
        shown = image(found.mime, data, alt or about, style="max-height:480px;", room=room)
        if shown:
            return shown + f'<div style="{QUIET}font-size:12px;margin:4px 0px 0px 0px">{escaped(about)}</div>'
    if found.mime or len(data) <= 16:
        return code(about)
    return code(about.partition(":")[0]) + details(quiet("first bytes"), pre(media.dump(data, 8)))


def _numbers(value: Sequence[Any], found: plots.Numbers) -> str:
    picture = plots.plot(found)
    shown = image("image/svg+xml", picture.encode(), f"Plot of {found}") if picture else ""
    return (
        f"{shown}"
        f'<div style="{QUIET}font-size:12px;margin:4px 0px 4px 0px">{escaped(str(found))}</div>'
        f"{code(plots.first(value), style='overflow-wrap:break-word;')}"
    )


def _table(made: values.Table) -> str:
    rows = [[code(cell, style="overflow-wrap:break-word;") for cell in row] for row in made.rows]
    if not made.heads:
        rows = [
            [quiet(row[0]), *(code(cell, style="overflow-wrap:break-word;") for cell in row[1:])] for row in made.rows
        ]
    called = 0 if not made.heads else -1
    note = f'<div style="{QUIET}font-size:12px;margin:6px 0px 0px 0px">{escaped(made.note)}</div>' if made.note else ""
    return grid(made.heads, rows, right=made.numeric, named_by=called) + note


def cell(value: Any, room: Room) -> str:
    """Return a value in a cell of a table: a small picture or a line."""
    if isinstance(value, bytes):
        found = media.media_of(value)
        if found.shown and len(value) <= 96 * 1024:
            shown = image(found.mime, value, media.about(value), style="max-height:56px;max-width:160px;", room=room)
            if shown:
                return shown
    if isinstance(value, list | NumberList) and len(value) > 8:
        found_numbers = plots.numbers_of(value)
        if found_numbers is not None:
            return code(clipped(str(found_numbers), 80))
    return code(values.line(value, 64), style="overflow-wrap:break-word;")
