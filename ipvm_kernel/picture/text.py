"""Scenes and views as plain text, for terminals and for `text/plain`: bounded in width and length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.ipld import NumberList
from ipvm_kernel.picture import media, plots, values
from ipvm_kernel.picture.scene import NOTHING
from ipvm_kernel.picture.states import mark
from ipvm_kernel.picture.svg import counted
from ipvm_kernel.picture.widths import TIMES, clipped, columns, padded
from ipvm_kernel.printable import plural, printable, seconds, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.picture.scene import (
        Await,
        CidView,
        FileView,
        FunctionView,
        HandleView,
        ListView,
        ModuleView,
        ReceiptView,
        Scene,
        TaskView,
    )

WIDTH: Final = 100
"""Columns, if nobody says how many there are."""

_LOG_LINES: Final = 40
_TEXT_LINES: Final = 40

# What stands for a sign of ours where a terminal has ASCII only. Anything else is written as an escape.
_ASCII: Final = str.maketrans({"…": "...", TIMES: "x", "·": ",", "─": "-", "→": "->", "µ": "u", "\u2002": " "})


def run(scene: Scene, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a run: one line about it, and a table of what came of each task."""
    rows = [
        [_sign(task, ascii_only), task.func, _result(task, 48), _time(task), task.short, task.receipt_short or "-"]
        for task in scene.listed
    ]
    lines = [_heading(scene), *table(["", "function", "result", "time", "task", "receipt"], rows, width)]
    if scene.left_out:
        lines.append(f"… and {plural(scene.left_out, 'task')} more")
    lines += [line for group in scene.groups[:20] for line in [_grouped(group.func, group.counts, scene.words)]]
    lines += _logs(scene.tasks)
    return _out(lines, ascii_only=ascii_only)


def plan(scene: Scene, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a plan: what is on file and what would run."""
    return workflow(scene, width, ascii_only=ascii_only)


def workflow(scene: Scene, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a workflow: its tasks in order, each with what it awaits."""
    rows = [
        [_sign(task, ascii_only), task.func, task.short, ", ".join(_awaited(a) for a in task.awaits[:4]) or "-"]
        for task in scene.listed
    ]
    lines = [_heading(scene), *table(["", "function", "task", "awaits"], rows, width)]
    if scene.left_out:
        lines.append(f"… and {plural(scene.left_out, 'task')} more")
    lines += [_grouped(group.func, group.counts, scene.words) for group in scene.groups[:20]]
    return _out(lines, ascii_only=ascii_only)


def handle(view: HandleView, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a handle: its value, its error, or what is still to be done for it."""
    task = view.task
    name = f"{clipped(task.func, 60)} {task.short}"
    stale = [clipped(line, 400) for line in view.stale[:5]]
    if not task.receipt:
        shown = (
            [workflow(view.scene, width, ascii_only=ascii_only)]
            if view.scene is not None and view.scene.total > 1
            else []
        )
        return _out([f"<{name}: {clipped(view.note, 200)}>", *shown, *stale], ascii_only=ascii_only)
    if task.error:
        said = f"{clipped(task.called, 20)}: {clipped(task.error, 400)}"
    else:
        said = size(view.length) if view.length is not None else value(task.value, width)
    return _out([f"{name}:\n{said}" if "\n" in said else f"<{name}: {said}>", *stale], ascii_only=ascii_only)


def handles(view: ListView, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return handles that were made together: the first of them."""
    rows = [[_sign(task, ascii_only), task.func, _result(task, 60), task.short] for task in view.tasks]
    lines = [printable(view.note, limit=200), *table(["", "function", "result", "task"], rows, width)]
    left = view.total - len(view.tasks)
    return _out([*lines, *([f"… and {left:,} more"] if left > 0 else [])], ascii_only=ascii_only)


def receipt(view: ReceiptView, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a receipt, field by field."""
    room = max(40, width - 8)
    lines = [
        f"receipt of {clipped(view.func, 60)}: {'ok' if view.ok else 'error'}",
        f"  out   {values.line(view.out, room)}",
        f"  ran   {view.ran}",
        f"  meta  {values.line(view.meta, room)}",
        f"  iss   {clipped(view.iss, room) if view.iss else '-'}",
        *[f"  prf   {cid}" for cid in view.prf[:10]],
        f"  cid   {view.cid}",
    ]
    return _out(lines, ascii_only=ascii_only)


def module(view: ModuleView, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a module: its functions with their WIT signatures."""
    longest = max((columns(clipped(item.name, 40)) for item in view.functions), default=0)
    lines = [f"module {clipped(view.name, 60)}: {view.about}, {size(view.size)}", f"  {view.cid}"]
    lines += [
        f"  {padded(clipped(item.name, 40), longest)}  {clipped(item.signature, max(40, width - longest - 4))}"
        for item in view.functions[:60]
    ]
    left = len(view.functions) - 60
    lines += [f"  … and {left:,} more"] if left > 0 else []
    return _out([*lines, *([f"  {clipped(view.way, 2 * width)}"] if view.way else [])], ascii_only=ascii_only)


def function(view: FunctionView, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a function: its signature, and whose it is."""
    asked = "".join(f", {clipped(name, 20)} {clipped(value, 40)}" for name, value in view.options)
    lines = [
        f"{clipped(view.name, 80)}: {clipped(view.signature, 8 * width)}",
        f"a function of {clipped(view.where, 80)}{asked}",
    ]
    return _out(lines, ascii_only=ascii_only)


def file(view: FileView, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a link to bytes: name, size and CID."""
    about = [clipped(view.name, width)] if view.name else []
    about += [size(view.size)] if view.size is not None else []
    return _out([f"<File {', '.join([*about, view.cid])}>"], ascii_only=ascii_only)


def cid(view: CidView, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a CID as it is typed. It is never cut, and always ASCII."""
    _ = width, ascii_only
    return f"CID('{view.cid}')"


def promise(said: str, width: int = WIDTH, *, ascii_only: bool = False) -> str:
    """Return a promise in words."""
    return _out([clipped(said, 2 * width)], ascii_only=ascii_only)


def value(shown: Any, width: int = WIDTH) -> str:
    r"""Return a value in a few lines.

    >>> print(value([{"name": "a", "n": 1}, {"name": "b", "n": 20}]))
    name   n
    ----  --
    a      1
    b     20
    2 rows
    """
    if isinstance(shown, str):
        return _text(shown, width)
    if isinstance(shown, bytes | bytearray | memoryview):
        return media.about(bytes(shown))
    if isinstance(shown, list | tuple | NumberList) and len(shown) > 8:
        found = plots.numbers_of(shown)
        if found is not None:
            return f"{clipped(str(found), 200)}\n{plots.first(shown, width)}"
    flat = values.line(shown, width)
    if len(flat) <= 60 and not flat.endswith("…"):
        return (
            flat if not isinstance(shown, list | tuple | NumberList) or not _records(shown) else _tabled(shown, width)
        )
    return _tabled(shown, width) if isinstance(shown, list | tuple | NumberList | dict) else flat


def _records(shown: Sequence[Any]) -> bool:
    return bool(shown) and isinstance(shown[0], dict)


def _tabled(shown: Any, width: int) -> str:
    made = values.table(shown, cell=40)
    if made is None:
        return values.line(shown, 4 * width)
    rows = [list(row) for row in made.rows]
    if not made.heads:
        longest = max(columns(row[0]) for row in rows)
        lines = [f"{padded(row[0], longest)}  {clipped(row[1], max(20, width - longest - 2))}" for row in rows]
    else:
        lines = [line.rstrip() for line in table(list(made.heads), rows, width, right=made.numeric, indent="")]
    return "\n".join([*lines, *([made.note] if made.note else [])])


def _text(shown: str, width: int) -> str:
    if "\n" not in shown and len(shown) <= width:
        return values.line(shown, width + 2)
    lines = shown[: 40 * width].split("\n")[:_TEXT_LINES]
    kept = "\n".join(clipped(line, 4 * width, keep="\t") for line in lines)
    left = len(shown) - sum(len(line) + 1 for line in lines) + 1
    return f"{kept}\n… {left:,} more characters" if left > 0 else kept


def _heading(scene: Scene) -> str:
    title = f"{clipped(scene.title, 60)}: " if scene.title else ""
    times = [seconds(scene.elapsed)] if scene.elapsed is not None else []
    states = counted(scene.counts, scene.words)
    saved = f" (saved {seconds(scene.saved)})" if scene.saved >= 0.001 else ""
    return f"{title}{plural(scene.total, 'task')}{': ' if states else ''}{', '.join([*([states] if states else []), *times])}{saved}"


def _grouped(func: str, counts: dict[str, int], words: dict[str, str]) -> str:
    return f"  {clipped(func, 40)}: {counted(counts, words)}"


def _sign(task: TaskView, ascii_only: bool) -> str:
    shown = mark(task.state)
    return f"{shown.plain if ascii_only else shown.sign} {clipped(task.called, 20)}"


def _result(task: TaskView, limit: int) -> str:
    if task.error:
        return clipped(task.error, limit)
    if isinstance(task.value, list | NumberList) and len(task.value) > 8:
        found = plots.numbers_of(task.value)
        if found is not None:
            return clipped(str(found), limit)
    return values.line(task.value, limit) if task.value is not NOTHING else ""


def _time(task: TaskView) -> str:
    if task.saved:
        return f"saved {seconds(task.saved)}"
    return seconds(task.seconds) if task.seconds else ""


def _awaited(wanted: Await) -> str:
    which = {"error": "error of ", "*": "outcome of "}.get(wanted.branch, "")
    return f"{which}{clipped(wanted.func, 24)} {wanted.cid}" if wanted.func else f"{which}{wanted.cid}"


def _logs(tasks: Sequence[TaskView]) -> list[str]:
    lines: list[str] = []
    for task in tasks:
        if task.log and len(lines) < _LOG_LINES:
            said = task.log[:4_000].rstrip("\n").split("\n")[:10]
            lines += [f"log of {clipped(task.func, 40)} {task.short}:", *(f"  {clipped(part, 160)}" for part in said)]
    return lines


def table(
    heads: list[str], rows: list[list[str]], width: int = WIDTH, *, right: Sequence[bool] = (), indent: str = "  "
) -> list[str]:
    """Return rows with aligned columns. The widest column gives way if a line is too long."""
    if not rows:
        return []
    cells = [[clipped(cell, 60) for cell in row] for row in rows]
    widths = [max([columns(head), *(columns(row[n]) for row in cells)]) for n, head in enumerate(heads)]
    over = sum(widths) + 2 * (len(widths) - 1) + len(indent) - width
    while over > 0 and max(widths) > 12:
        widest = widths.index(max(widths))
        cut = min(over, widths[widest] - 12)
        widths[widest] -= cut
        over -= cut
    aligned = [n < len(right) and right[n] for n in range(len(heads))]

    def row_of(parts: list[str]) -> str:
        return indent + "  ".join(
            padded(clipped(part, widths[n]), widths[n], right=aligned[n]) for n, part in enumerate(parts)
        )

    head = [row_of(heads), row_of(["-" * width for width in widths])] if any(heads) else []
    return [line.rstrip() for line in [*head, *(row_of(row) for row in cells)]]


def _out(lines: list[str], *, ascii_only: bool) -> str:
    text = "\n".join(lines)
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii") if ascii_only else text
