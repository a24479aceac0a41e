"""WAT: the text form of Wasm, made binary by the engine itself. Nothing needs to be installed."""

from __future__ import annotations

import re
from typing import Final

from ipvm_kernel.errors import BadModule, BuildFailed

LANG: Final = "wat"
SIGN: Final = ";;"


def version() -> str:
    """Return the version of the text format's reader."""
    return "1"  # the binary of a text is the specification's, not the reader's


def build(source: str, world: str, *, flags: tuple[str, ...] = ()) -> bytes:
    """Return the binary of a module or component in text form.

    Raises:
        BuildFailed: The text has an error; the message shows line, column and caret.
    """
    from ipvm_kernel.wasm.module import binary_of  # loads the engine, which a replay does without

    if flags:
        raise BuildFailed(f"{flags[0]} is no flag for WAT: it takes none.")
    if world.strip():
        raise BuildFailed("WAT says by itself what it exports: a world is for languages that are compiled.")
    try:
        return binary_of(source.encode())
    except BadModule as error:
        raise BuildFailed(_told(error.message)) from None


def _told(message: str) -> str:
    r"""Return an error of the text format's reader with line, column and caret, and no name of a file.

    >>> print(_told("the WAT text has an error: expected an instruction\n --> <anon>:1:3\n  |\n 1 | (x\n   |   ^"))
    line 1:3: expected an instruction
        (x
          ^
    """
    found = re.search(
        r"error: (.*?)\s+-->\s+\S*?:(\d+):(\d+)\s*\|?\s*\n(?:\s*\|\s*\n)?\s*\d+ \| (.*)\n", message, re.DOTALL
    )
    if found is None:
        return message
    told, line, column, source = found.groups()
    return f"line {line}:{column}: {told}\n    {source}\n    {' ' * (int(column) - 1)}^"
