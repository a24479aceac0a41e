"""An answer of a verb: lines, a table, and lines again, as text, as HTML and as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.picture import tree
from ipvm_kernel.printable import markup, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipvm_kernel.session.shares import Notebook

CELLS: Final = 40
"""Cells of a notebook that are listed."""

LINES: Final = 12
"""Warnings, and things left out, that are listed."""

_WIDTH: Final = 120


class Told:
    """An answer: lines, a table, and lines again.

    Attributes:
        text: It as text.
        html: It as HTML that survives an untrusted notebook.
        data: It as one value.
        rows: It as one value a line.
    """

    def __init__(
        self,
        before: Sequence[str],
        heads: list[str],
        rows: list[list[str]],
        after: Sequence[str],
        *,
        data: dict[str, Any] | None = None,
        lines: Sequence[dict[str, Any]] = (),
    ) -> None:
        grid, made = tree.grid(heads, rows, width=_WIDTH) if rows else ("", "")
        self.text = "\n".join(filter(None, ["\n".join(before), grid, "\n".join(after)]))
        self.html = _lines(before) + made + _lines(after)
        self.data = data or {}
        self.rows = list(lines)


def lines(*said: str, data: dict[str, Any] | None = None) -> Told:
    """Return some lines as an answer."""
    return Told(said, [], [], [], data=data)


def _lines(lines: Iterable[str]) -> str:
    told = "\n".join(lines)
    return f'<div style="white-space:pre-wrap">{markup(told, limit=20_000, keep=chr(10))}</div>' if told else ""


def cut(lines: Sequence[str], most: int = LINES) -> list[str]:
    """Return some lines, or the first of them and how many more there are."""
    return [*lines[:most], *([f"… and {len(lines) - most:,} more"] if len(lines) > most else [])]


def backing(notebook: Notebook) -> str:
    """Return how many of a notebook's outputs can be checked."""
    return (
        f"{plural(notebook.outputs, 'output')}: {notebook.backed:,} backed by receipts, {notebook.ordinary:,} of ordinary "
        "Python, which nobody can check"
    )
