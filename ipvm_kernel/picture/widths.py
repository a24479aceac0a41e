"""How wide text is, and how it is cut: on screens of characters, and in boxes of a picture."""

from __future__ import annotations

import unicodedata
from typing import Final

from ipvm_kernel.printable import markup, printable

TIMES: Final = "\N{MULTIPLICATION SIGN}"


def columns(text: str) -> int:
    """Return how many columns a text takes on a terminal.

    >>> columns("abc"), columns("漢字")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def clipped(text: str, limit: int, *, keep: str = "") -> str:
    r"""Return a text made safe, in at most `limit` columns.

    >>> clipped("a\x1bb", 20), clipped("abcdef", 4)
    ('a\\x1bb', 'abc…')
    """
    safe = unstacked(printable(text[: limit + 1], limit=limit + 1, keep=keep))
    if len(text) <= limit and columns(safe) <= limit:
        return safe
    room, kept = limit - 1, []
    for c in safe:
        room -= columns(c)
        if room < 0:
            break
        kept.append(c)
    return "".join(kept) + "…"


def unstacked(text: str, most: int = 3) -> str:
    r"""Return a text in which no letter has more than a few marks above and below: those that pile up are escaped.

    >>> unstacked("e\u0301") == "e\u0301", unstacked("e" + "\u0301" * 5)[4:]
    (True, '\\u0301\\u0301')
    """
    if text.isascii():
        return text
    kept, marks = [], 0
    for c in text:
        marks = marks + 1 if unicodedata.category(c) in {"Mn", "Me"} else 0
        kept.append(c if marks <= most else c.encode("unicode_escape").decode("ascii"))
    return "".join(kept)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Return a text filled with spaces to `width` columns."""
    space = " " * max(0, width - columns(text))
    return space + text if right else text + space


def escaped(text: str) -> str:
    """Return a text that was cut already as HTML or SVG, in an attribute too. Lines stay lines."""
    return markup(text, limit=1 << 20, keep="\n")
