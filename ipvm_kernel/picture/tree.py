"""Trees of things that lead to one another, as text and as HTML that opens in place without a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.picture import parts, values
from ipvm_kernel.picture.scene import NOTHING
from ipvm_kernel.picture.states import mark
from ipvm_kernel.picture.text import WIDTH, table
from ipvm_kernel.picture.text import value as value_text
from ipvm_kernel.picture.widths import clipped, escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEPEST: Final = 24
"""Levels below each other; what is deeper stands beside what leads to it."""

_INDENT: Final = "  "


class Branch(msgspec.Struct, kw_only=True):
    """A thing, what is known of it, and what it leads to. All texts may be of strangers; they are made safe here.

    Attributes:
        title: What it is called.
        role: What it is to the thing above it: "image", "module".
        state: A state of RULES 8, whose sign it gets, or "".
        code: Its CID, a piece of one, or another short piece of data.
        cid: Its whole CID, to be read off where there is room for no more than a piece.
        note: A few words about it, of less weight.
        facts: What is known of it: names, and texts or other values.
        value: Its value, or NOTHING.
        children: What it leads to.
        shut: True if what is below is there for those who ask.
    """

    title: str
    role: str = ""
    state: str = ""
    code: str = ""
    cid: str = ""
    note: str = ""
    facts: list[tuple[str, Any]] = msgspec.field(default_factory=list)
    value: Any = NOTHING
    children: list[Branch] = msgspec.field(default_factory=list)
    shut: bool = False


def text(root: Branch, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a tree as indented lines."""
    lines: list[str] = []
    for branch, depth in _walk(root):
        indent = _INDENT * depth
        sign = f"{mark(branch.state).plain if ascii_only else mark(branch.state).sign} " if branch.state else ""
        role = f"{clipped(branch.role, 60)}: " if branch.role else ""
        words = [clipped(branch.title, 120), clipped(branch.code, 240), clipped(branch.note, 200)]
        lines.append(f"{indent}{role}{sign}{'  '.join(filter(None, words))}".rstrip())
        inside = f"{indent}{_INDENT}{_INDENT}"
        room = max(40, width - len(inside))
        for name, fact in branch.facts:
            said = clipped(fact, 400) if isinstance(fact, str) else values.line(fact, room)
            lines.append(f"{inside}{clipped(name, 40)}: {said}")
        if branch.value is not NOTHING:
            lines += [f"{inside}{line}" for line in value_text(branch.value, room).split("\n")]
    made = "\n".join(lines)
    return made.encode("ascii", "backslashreplace").decode("ascii") if ascii_only else made


def html(root: Branch) -> str:
    """Return a tree as nested details."""
    return parts.whole(_html(root, parts.Room(), 0))


def _html(branch: Branch, room: parts.Room, depth: int) -> str:
    role = parts.quiet(f"{clipped(branch.role, 60)}") if branch.role else ""
    called = clipped(branch.title, 120)
    name = parts.sign(branch.state, called) if branch.state else escaped(called)
    head = parts.spaced(
        role,
        f'<span style="font-weight:600">{name}</span>' if called else "",
        parts.code(clipped(branch.code, 240), branch.cid) if branch.code else "",
        parts.quiet(clipped(branch.note, 200)) if branch.note else "",
    )
    rows = [
        (
            clipped(name, 40),
            escaped(clipped(fact, 400)) if isinstance(fact, str) else parts.code(values.line(fact, 300)),
        )
        for name, fact in branch.facts
    ]
    shown = parts.block(parts.value_block(branch.value, room)) if branch.value is not NOTHING else ""
    inside = (parts.pairs(rows) if rows else "") + shown
    inside += "".join(_html(child, room, depth + 1) for child in branch.children)
    if not inside:
        return parts.block(head, style="margin:4px 0px 4px 0px;")
    if branch.shut and depth:
        return parts.details(head, inside)
    return parts.block(head, f'<div style="padding:4px 0px 0px 14px">{inside}</div>', style="margin:4px 0px 4px 0px;")


def _walk(root: Branch) -> Iterator[tuple[Branch, int]]:
    pending = [(root, 0)]
    while pending:
        branch, depth = pending.pop()
        yield branch, depth
        pending.extend((child, min(depth + 1, DEEPEST)) for child in reversed(branch.children))


def grid(heads: list[str], rows: list[list[str]], note: str = "", width: int = WIDTH) -> tuple[str, str]:
    """Return a table as text and as HTML. The cells may be of strangers."""
    lines = table(heads, rows, width)
    made = parts.grid(heads, [[escaped(clipped(cell, 200)) for cell in row] for row in rows])
    if note:
        lines.append(clipped(note, 400))
        made += parts.block(parts.quiet(clipped(note, 400)), style="margin:6px 0px 0px 0px;")
    return "\n".join(lines), parts.whole(made)
