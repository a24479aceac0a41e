"""Any value, in a line or as a table: bounded in size and time, whatever it is."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.ipld import CID, NumberList
from ipvm_kernel.picture import media
from ipvm_kernel.picture.widths import clipped
from ipvm_kernel.printable import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROWS: Final = 10
COLUMNS: Final = 12
PAIRS: Final = 20
_DEEP: Final = 5
_ITEMS: Final = 12


def line(value: Any, limit: int = 80) -> str:
    r"""Return a value in one line of at most `limit` columns, safe to show.

    >>> line({"a": [1, 2.5, None], "b": b"\x00"})
    '{a: [1, 2.5, null], b: 1 B: 00}'
    >>> line(list(range(1000)), 24)
    '[0, 1, 2, 3, 4, 5, 6, 7…'
    """
    written: list[str] = []
    room = limit + 1
    for part in _parts(value, 0, limit):
        written.append(part)
        room -= len(part)
        if room < 0:
            break
    return clipped("".join(written), limit)


def _parts(value: Any, depth: int, limit: int) -> Iterator[str]:
    match value:
        case None:
            yield "null"
        case bool():
            yield "true" if value else "false"
        case int():
            yield str(value) if value.bit_length() < 256 else f"an integer of {value.bit_length():,} bits"
        case float():
            yield repr(value)
        case str():
            yield f'"{value}"' if len(value) <= limit else f'"{value[:limit]}…'
        case bytes() | bytearray() | memoryview():
            yield media.about(bytes(value))
        case CID():
            yield str(value)
        case dict():
            yield from _inside("{", "}", _pairs(value, depth, limit), len(value), depth)
        case list() | tuple() | NumberList():
            yield from _inside("[", "]", (_parts(item, depth + 1, limit) for item in value), len(value), depth)
        case set() | frozenset():
            found = sorted(islice(value, 200), key=str) if len(value) <= 200 else islice(value, _ITEMS)
            yield from _inside("{", "}", (_parts(item, depth + 1, limit) for item in found), len(value), depth)
        case _:
            yield _other(value)


def _pairs(value: dict[Any, Any], depth: int, limit: int) -> Iterator[Iterator[str]]:
    for key, item in value.items():
        yield _pair(key, item, depth, limit)


def _pair(key: Any, item: Any, depth: int, limit: int) -> Iterator[str]:
    yield f"{key[:limit] if isinstance(key, str) else _other(key)}: "
    yield from _parts(item, depth + 1, limit)


def _inside(opening: str, closing: str, parts: Iterable[Iterator[str]], count: int, depth: int) -> Iterator[str]:
    if depth >= _DEEP and count:
        yield f"{opening}…{closing}"
        return
    yield opening
    for n, part in enumerate(parts):
        if n >= _ITEMS and depth:
            yield f", … {count:,} in all"
            break
        if n:
            yield ", "
        yield from part
    yield closing


def _other(value: Any) -> str:
    """Return something that is no IPLD value by the name of its type; its own `repr` may be of any size."""
    if isinstance(value, int | float | str):
        return str(value)[:200]
    return f"<{type(value).__name__}>"


class Table(msgspec.Struct, frozen=True):
    """Rows and columns of text that is safe to show.

    Attributes:
        heads: The names of the columns; none for pairs.
        rows: The rows; the first cell of a pair names it.
        note: What is left out, and how much there is.
        numeric: Which columns hold numbers.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    numeric: tuple[bool, ...] = ()


def table(value: Any, cell: int = 60) -> Table | None:
    """Return a value as a table if it is one: a list of records, a record of lists, a list of rows, or a map."""
    if isinstance(value, dict):
        return _columns(value, cell) or _map(value, cell)
    if isinstance(value, list | tuple | NumberList) and value:
        first = list(value[:ROWS])
        if all(isinstance(row, dict) and row for row in first):
            heads = dict.fromkeys(key for row in first for key in islice(row, 200))
            cells = [[row.get(key, _MISSING) for key in islice(heads, COLUMNS)] for row in first]
            return _made(list(heads), cells, plural(len(value), "row"), len(value), cell)
        lengths = {len(row) for row in first if isinstance(row, list | tuple | NumberList)}
        if (
            all(isinstance(row, list | tuple | NumberList) for row in first)
            and len(lengths) == 1
            and 0 < max(lengths) <= 1_000
        ):
            if not all(_plain(item) for row in first for item in row[:COLUMNS]):
                return None
            width = max(lengths)
            return _made(
                [str(n) for n in range(width)],
                [list(row[:COLUMNS]) for row in first],
                f"{plural(len(value), 'row')} of {width:,}",
                len(value),
                cell,
            )
    return None


_MISSING: Final = object()


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _columns(value: dict[Any, Any], cell: int) -> Table | None:
    """Return a record of lists of one length as a table."""
    if not value or not all(isinstance(column, list | tuple | NumberList) for column in islice(value.values(), 200)):
        return None
    lengths = {len(column) for column in islice(value.values(), 200)}
    if len(lengths) != 1 or not (count := lengths.pop()) or (len(value) == 1 and count < 2):
        return None
    chosen = list(islice(value.values(), COLUMNS))
    rows = [[column[n] for column in chosen] for n in range(min(count, ROWS))]
    return _made(list(value), rows, plural(count, "row"), count, cell)


def _made(heads: list[Any], rows: list[list[Any]], note: str, count: int, cell: int) -> Table:
    shown = tuple(clipped(str(head)[:200], 40) for head in heads[:COLUMNS])
    if len(heads) > COLUMNS:
        note += f", {plural(len(heads), 'column')}; the first {COLUMNS} are shown"
    if count > len(rows):
        note = f"first {len(rows)} of {note}"
    cells = tuple(tuple("" if item is _MISSING else inner(item, cell) for item in row) for row in rows)
    numeric = tuple(
        all(isinstance(row[n], int | float) and not isinstance(row[n], bool) for row in rows) for n in range(len(shown))
    )
    return Table(shown, cells, note, numeric)


def _map(value: dict[Any, Any], cell: int) -> Table | None:
    if not value:
        return None
    rows = tuple((clipped(str(key)[:200], 40), inner(item, 2 * cell)) for key, item in islice(value.items(), PAIRS))
    note = f"first {PAIRS} of {plural(len(value), 'entry', 'entries')}" if len(value) > PAIRS else ""
    return Table((), rows, note)


def inner(value: Any, limit: int) -> str:
    """Return what stands in a cell: text without its quotes, anything else as in a line."""
    return clipped(value.replace("\n", " "), limit) if isinstance(value, str) else line(value, limit)
