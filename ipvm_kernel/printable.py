"""Text from anywhere made safe to show: the one door between guest text and a screen.

Guests, peers and files choose names, messages and values. What they choose may hold terminal escapes, text-direction
overrides or a hundred megabytes. Everything that ipvm prints or draws goes through `printable` (plain text) or
`markup` (HTML and SVG), and nothing else escapes.
"""

from __future__ import annotations

import html
import unicodedata
from typing import Final

MESSAGE_LIMIT: Final = 2048
"""Characters of an error message, at most."""

# Categories that a terminal or a browser may act on: control, format (bidi overrides, joiners), surrogate,
# private use, unassigned, line and paragraph separators.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def printable(text: str, *, limit: int = MESSAGE_LIMIT, keep: str = "") -> str:
    r"""Return `text` with every character that is not plainly visible written as an escape, cut to `limit` characters.

    `keep` names characters that pass unchanged, "\n" for a log, say.

    >>> printable("a\x1b[31mb\u202e")
    'a\\x1b[31mb\\u202e'
    """
    clipped = text[:limit]
    if clipped.isascii() and clipped.isprintable():
        safe = clipped
    else:
        safe = "".join(
            c if c in keep or unicodedata.category(c) not in _UNSAFE else c.encode("unicode_escape").decode("ascii")
            for c in clipped
        )[: 2 * limit]
    dropped = len(text) - len(clipped)
    return f"{safe}… ({dropped:,} more characters)" if dropped else safe


def markup(text: str, *, limit: int = MESSAGE_LIMIT, keep: str = "") -> str:
    """Return `text` as HTML or SVG character data that is also safe inside a quoted attribute.

    >>> markup('<img src="x">')
    '&lt;img src=&quot;x&quot;&gt;'
    """
    return html.escape(printable(text, limit=limit, keep=keep), quote=True)


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return a count with its noun.

    >>> plural(1, "task"), plural(1200, "task"), plural(2, "entry", "entries")
    ('1 task', '1,200 tasks', '2 entries')
    """
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def size(count: int) -> str:
    """Return a number of bytes as people write it, in powers of 1,000.

    >>> size(999), size(1_500), size(64_000_000)
    ('999 B', '1.5 kB', '64 MB')
    """
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.3g} {unit}"


def seconds(value: float) -> str:
    """Return a duration as people write it.

    >>> seconds(0.0000123), seconds(0.041), seconds(2.34), seconds(75)
    ('12 µs', '41 ms', '2.3 s', '1 min 15 s')
    """
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
