"""What a JSON text holds, before anything is built from it: how many values, and how deep they stand.

`json` recurses, and megabytes of brackets are gigabytes of lists.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from ipvm_kernel.errors import Malformed

MAYBE_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape of half a surrogate pair, which may have its other half beside it."""

# Strings, closed or not, in one pass that never goes back.
_STRINGS: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")


def bare(text: bytes) -> bytes:
    """Return a text without its strings."""
    return _STRINGS.sub(b"", text)


def count(text: bytes) -> int:
    """Return how many values and keys a text without its strings has, at least."""
    return text.count(b",") + text.count(b":") + text.count(b"[") + text.count(b"{") + 1


def deepest(text: bytes, most: int) -> int:
    """Return how deep lists and maps stand inside each other in a text without its strings; above `most`, one more than that."""
    depth = reached = 0
    for bracket in text.translate(None, _NO_BRACKETS):
        if bracket in b"]}":
            depth -= 1
            continue
        depth += 1
        if depth > reached:
            reached = depth
            if depth > most:
                break
    return reached


def no_constant(name: str) -> NoReturn:
    """Refuse `NaN` and the infinities, which `json` reads.

    Raises:
        Malformed: Always.
    """
    raise Malformed(f"Expected a number, found {name}, which JSON does not have. Write null instead.")
