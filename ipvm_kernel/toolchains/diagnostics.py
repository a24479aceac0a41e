"""What a compiler said, as a person who looks at the cell wants it: line, column, sentence, and the line with a caret.

Compilers speak of files; a cell is one. What they say about other files (the glue, the standard library) is told at the
place in the cell that led there, if they name one. Paths are left out.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Final

SHOWN: Final = 5
"""Faults that are shown; the others are counted."""

_HEAD: Final = re.compile(r"^(?P<file>\S[^:\n]*):(?P<line>\d+):(?P<column>\d+): (?P<kind>error|note): (?P<text>.*)$")
_REFERENCE: Final = re.compile(r"^ +\S.*: (?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+)$")
_BARE: Final = re.compile(r"^error: (?P<text>.*)$")


@dataclass(slots=True)
class Fault:
    """One thing that is wrong. Line and column count from one, the column in bytes; zero if the place is not known."""

    text: str
    file: str = ""
    line: int = 0
    column: int = 0
    notes: list[Fault] = field(default_factory=list)


def faults(output: str, cell: str) -> list[Fault]:
    """Return what the compiler said about the file `cell`, or on the way to it."""
    found: list[Fault] = []
    for row in output.splitlines():
        if head := _HEAD.match(row):
            fault = Fault(head["text"], head["file"].removeprefix("./"), int(head["line"]), int(head["column"]))
            if head["kind"] == "error":
                found.append(fault)
            elif found and not fault.text.startswith("in file included from"):
                found[-1].notes.append(fault)
        elif bare := _BARE.match(row):
            found.append(Fault(bare["text"]))
        elif (reference := _REFERENCE.match(row)) and found and found[-1].file != cell:
            last = found[-1]
            if reference["file"] == cell:
                last.file, last.line, last.column = cell, int(reference["line"]), int(reference["column"])
    for fault in found:
        if fault.file != cell:
            place = next((note for note in fault.notes if note.file == cell), Fault(""))
            fault.line, fault.column = place.line, place.column
    return found


def told(found: list[Fault], source: str, *, cell: str) -> str:
    r"""Return the message: each fault with its place, the line of the cell, and a caret.

    >>> print(told([Fault("unknown name", "cell.zig", 1, 8)], "return y;\n", cell="cell.zig"))
    line 1:8: unknown name
        return y;
               ^
    """
    lines = source.split("\n")
    blocks = []
    found = list({(fault.line, fault.column, fault.text): fault for fault in found}.values())
    for fault in found[:SHOWN]:
        place = f"line {fault.line}:{_characters(lines, fault)}: " if 0 < fault.line <= len(lines) else ""
        blocks.append(f"{place}{fault.text}")
        if place:
            blocks.append(_excerpt(lines[fault.line - 1], fault.column))
        blocks += [
            f"    note, line {note.line}: {note.text}"
            for note in fault.notes
            if note.file == cell and note.line <= len(lines)
        ]
    if len(found) > SHOWN:
        blocks.append(f"... and {len(found) - SHOWN} more")
    return "\n".join(blocks)


def _characters(lines: list[str], fault: Fault) -> int:
    """Return the column as an editor counts it: in characters, from one."""
    before = lines[fault.line - 1].encode()[: fault.column - 1]
    return len(before.decode("utf-8", "ignore")) + 1


def _excerpt(line: str, column: int) -> str:
    """Return a line and, below it, a caret under the byte of this number."""
    before = line.encode()[: column - 1].decode("utf-8", "ignore")
    shown = line.expandtabs(4).rstrip()
    indent = len(shown) - len(shown.lstrip())
    caret = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in before.expandtabs(4)) - indent
    return f"    {shown.lstrip()[:160]}\n    {' ' * min(caret, 160)}^"
