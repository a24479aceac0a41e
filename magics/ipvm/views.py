"""What a verb gives: text for a terminal, HTML for a notebook, data for `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.printable import markup, printable, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Stream:
    """An answer for `--json` whose lines come one by one, while it is worked out.

    Attributes:
        data: IPLD values, one a line.
    """

    def __init__(self, data: Iterator[Any], failed: Callable[[], bool]) -> None:
        self.data = data
        self._failed = failed

    @property
    def failed(self) -> bool:
        """True if the command should end in error, known at the end."""
        return self._failed()


class View:
    """An answer of ipvm to a person.

    Attributes:
        text: It as text.
        data: It as IPLD values, one a line with `--json`.
        failed: True if the command should end in error.
    """

    def __init__(self, text: str, *, html: str = "", data: Sequence[Any] = (), failed: bool = False) -> None:
        self.text = text
        self.data = list(data)
        self.failed = failed
        self._html = html

    def __repr__(self) -> str:
        return self.text

    @property
    def html(self) -> str:
        """It as HTML."""
        return self._repr_html_()

    def _repr_html_(self) -> str:
        return (
            self._html
            or f'<pre style="white-space:pre-wrap;margin:0">{markup(self.text, limit=200_000, keep=chr(10))}</pre>'
        )


def brief(value: Any, limit: int = 60) -> str:
    """Return a value of a receipt in a few words; that of a `result<T, E>` by its side.

    >>> brief([None, "too far"]), brief(b"abc"), brief(3)
    ("err 'too far'", '3 B of bytes', '3')
    """
    match value:
        case bytes():
            return f"{size(len(value))} of bytes"
        case [ok, None] if ok is not None:
            return brief(ok, limit)
        case [None, err] if err is not None:
            return f"err {brief(err, limit)}"
        case list() | dict() if len(value) > 20:
            return f"{len(value):,} items"
        case _:
            return printable(repr(value), limit=limit)


def table(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """Return rows as aligned text under a head.

    >>> print(table([["a", "1"], ["bcd", "22"]], ["name", "count"]))
    name  count
    a     1
    bcd   22
    """
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def table_html(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """Return rows as an HTML table that survives an untrusted notebook."""
    cell = 'style="text-align:left;padding:2px 12px 2px 0;vertical-align:top"'
    heads = "".join(f'<th scope="col" {cell}>{markup(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td {cell}>{markup(item)}</td>" for item in row) + "</tr>" for row in rows)
    return f'<table style="border-collapse:collapse"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
