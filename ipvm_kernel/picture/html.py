"""Scenes and views as HTML that a saved notebook keeps, and that a reader who does not trust it still sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.picture import media, parts, svg, values
from ipvm_kernel.picture.parts import (
    QUIET,
    Room,
    block,
    code,
    details,
    folded,
    grid,
    image,
    named,
    pairs,
    pre,
    quiet,
    sign,
    spaced,
    whole,
)
from ipvm_kernel.picture.scene import NOTHING
from ipvm_kernel.picture.widths import clipped, escaped
from ipvm_kernel.printable import plural, seconds, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.picture.scene import (
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

_LOGS = 40_000  # characters of all logs of an output
_ERROR = 72  # columns of an error in a table
CIDS = 12_000  # characters of all CIDs of an output
_FUNCTIONS = 60  # functions of a module that are listed
_URGENT = frozenset({"failed", "blocked", "cancelled", "unverified", "running"})


def run(scene: Scene) -> str:
    """Return a run: one line about it, its picture, and what came of each task."""
    return whole(_heading(scene), _picture(scene), _tasks(scene), _errors(scene), _logs(scene), _cids(scene))


def plan(scene: Scene) -> str:
    """Return a plan: what is on file and what would run."""
    return workflow(scene)


def workflow(scene: Scene) -> str:
    """Return a workflow that may not have been run: its picture and its tasks."""
    rows = [
        [
            sign(task.state, task.called),
            code(clipped(task.func, 48), task.module),
            _awaits(task) or quiet("nothing"),
            code(task.short, task.cid),
        ]
        for task in scene.listed
    ]
    listed = folded(("State", "Function", "Awaits", "Task"), rows, _rest(scene), name=1)
    return whole(_heading(scene), _picture(scene), listed, _cids(scene))


def handle(view: HandleView) -> str:
    """Return a handle: its value, its error, or what is still to be done for it."""
    task = view.task
    about = [("task", code(task.cid)), *([("receipt", code(task.receipt))] if task.receipt else [])]
    if view.signature:
        about.insert(0, ("function", code(clipped(f"{task.func}: {view.signature}", 400))))
    name = named(task.func)
    stale = "".join(block(parts.trouble("blocked", clipped(line, 400))) for line in view.stale[:5])
    if not task.receipt:
        picture = _picture(view.scene) if view.scene is not None else ""
        return whole(
            stale, block(spaced(name, quiet(view.note))), picture, details(quiet(f"task {task.short}"), pairs(about))
        )
    if task.error:
        body = block(parts.trouble(task.state, clipped(task.error, 400)))
    elif view.length is not None:
        body = block(code(size(view.length)), quiet(", not read to be shown. .save(path) writes it to a file"))
    else:
        body = block(parts.value_block(task.value, Room(), alt=f"{clipped(task.func, 60)}: its value"))
    if task.log:
        about.append(("log", pre(task.log, parts.TEXT_CHARACTERS)))
    about_it = quiet(f"task {task.short} · receipt {task.receipt_short}")
    return whole(stale, body, details(spaced(name, sign(task.state, task.called), about_it), pairs(about)))


def handles(view: ListView) -> str:
    """Return handles that were made together: the first of them, and what is still to be done."""
    room = Room()
    rows = [[sign(task.state, task.called), _result(task, room), code(task.short, task.cid)] for task in view.tasks]
    left = view.total - len(view.tasks)
    more = f"and {left:,} more" if left > 0 else ""
    plotted = block(parts.value_block(view.values, room)) if view.values else ""
    picture = _picture(view.scene) if view.scene is not None else ""
    table = folded(("State", "Result", "Task"), rows, more, name=2)
    return whole(block(escaped(clipped(view.note, 160))), plotted, picture, table)


def receipt(view: ReceiptView) -> str:
    """Return a receipt, field by field."""
    rows = [
        ("out", parts.value_block(view.out, Room()) if view.ok else _payload(view.out)),
        ("ran", code(view.ran)),
        ("meta", code(values.line(view.meta, 300))),
        ("iss", code(clipped(view.iss, 200)) if view.iss else quiet("nobody")),
        ("prf", "<br>".join(code(name) for name in view.prf[:10]) if view.prf else quiet("none")),
        ("cid", code(view.cid)),
    ]
    state = sign("replayed", "ok") if view.ok else sign("failed", "error")
    return whole(block(spaced(named(view.func), state, quiet("receipt"))), pairs(rows))


def module(view: ModuleView) -> str:
    """Return a module: its functions with their WIT signatures, and its CID."""
    rows = [[named(item.name), code(clipped(item.signature, 600))] for item in view.functions[:_FUNCTIONS]]
    left = len(view.functions) - _FUNCTIONS
    more = block(quiet(f"and {left:,} more")) if left > 0 else ""
    title = f'<span style="font-weight:600">{escaped(clipped(view.name, 80))}</span>'
    cid = block(quiet("module "), code(view.cid, style=QUIET), style="margin:10px 0px 0px 0px;")
    way = block(quiet(clipped(view.way, 300)), style="font-size:12px;") if view.way else ""
    title = block(spaced(title, quiet(f"{view.about}, {size(view.size)}")))
    return whole(title, grid(("Function", "Type"), rows), more, way, cid)


def function(view: FunctionView) -> str:
    """Return a function: its signature, and whose it is."""
    asked = "".join(f" · {clipped(name, 40)} {clipped(value, 60)}" for name, value in view.options)
    return whole(
        block(named(view.name), code(f": {clipped(view.signature, 1200)}")),
        block(quiet(f"a function of {clipped(view.where, 80)}{asked}"), style="font-size:12px;"),
    )


def file(view: FileView) -> str:
    """Return a link to bytes: name, size and CID, and the picture that they are if they are one."""
    name = f'<span style="font-weight:600">{escaped(clipped(view.name, 120))}</span>' if view.name else ""
    length = quiet(size(view.size)) if view.size is not None else ""
    shown = isinstance(view.value, bytes) and media.media_of(view.value).shown
    picture = block(parts.value_block(view.value, Room(), clipped(view.name, 120))) if shown else ""
    return whole(picture, block(spaced(name, length, code(view.cid))))


def cid(view: CidView) -> str:
    """Return a CID and what can be read off it."""
    return whole(block(spaced(code(view.cid), quiet(f"{view.codec}, {view.hash}"))))


def promise(said: str) -> str:
    """Return a promise in words."""
    return whole(block(code(clipped(said, 400))))


# --- pieces of the above ----------------------------------------------------------------------------------------------


def _heading(scene: Scene) -> str:
    title = f'<span style="font-weight:600">{escaped(clipped(scene.title, 80))}</span>' if scene.title else ""
    states = [
        sign(state, f"{scene.counts[state]:,} {scene.words.get(state, state)}") for state in svg.in_order(scene.counts)
    ]
    times = [seconds(scene.elapsed)] if scene.elapsed is not None else []
    times += [f"saved {seconds(scene.saved)}"] if scene.saved >= 0.001 else []
    total = escaped(plural(scene.total, "task"))
    return block(spaced(title, total, *states, quiet(" · ".join(times)) if times else ""), style="margin-bottom:12px;")


def _picture(scene: Scene) -> str:
    if not scene.links and not scene.groups:
        return ""  # boxes with nothing between them say no more than the table
    drawn = image("image/svg+xml", svg.draw(scene).encode(), svg.described(scene))
    return block(drawn, style="margin-bottom:18px;")


def _tasks(scene: Scene) -> str:
    room = Room()
    listed: Sequence[TaskView] = scene.listed
    if len(listed) > parts.FOLD:
        listed = sorted(listed, key=lambda task: task.state not in _URGENT)
    rows = [
        [
            sign(task.state, task.called),
            code(clipped(task.func, 48), task.module, style="white-space:nowrap;"),
            _result(task, room),
            _time(task),
            code(task.short, task.cid),
            code(task.receipt_short, task.receipt) if task.receipt else "",
        ]
        for task in listed
    ]
    return folded(("State", "Function", "Result", "Time", "Task", "Receipt"), rows, _rest(scene), name=1)


def _rest(scene: Scene) -> str:
    """Say how many of how many tasks are listed."""
    return f"{len(scene.listed):,} of {scene.total:,} tasks are listed" if scene.left_out else ""


def _result(task: TaskView, room: Room) -> str:
    if task.error:
        return escaped(clipped(task.error, _ERROR))
    return parts.cell(task.value, room) if task.value is not NOTHING else ""


def _time(task: TaskView) -> str:
    if task.saved:
        return f'<span style="{QUIET}white-space:nowrap">saved {seconds(task.saved)}</span>'
    return f'<span style="white-space:nowrap">{seconds(task.seconds)}</span>' if task.seconds else ""


def _awaits(task: TaskView) -> str:
    told = []
    for awaited in task.awaits[:6]:
        which = {"error": "the error of ", "*": "the outcome of "}.get(awaited.branch, "")
        told.append(f"{which}{code(clipped(awaited.func, 32) if awaited.func else awaited.cid, awaited.cid)}")
    more = len(task.awaits) - 6
    return ", ".join(told) + (f" and {more:,} more" if more > 0 else "")


def _payload(payload: Any) -> str:
    """Return the payload of an error: its kind and message if it has them, and whatever else it is."""
    match payload:
        case {"kind": str(kind), "message": str(message)}:
            said = escaped(clipped(f"{kind}: {message}", 600))
            detail = payload.get("detail")
            return said if detail is None else f"{said}<br>{code(values.line(detail, 300))}"
        case _:
            return parts.value_block(payload, Room())


def _errors(scene: Scene) -> str:
    told = [task for task in scene.listed if len(task.error) > _ERROR][:20]
    rows = ((f"{clipped(task.func, 48)} {task.short}", pre(task.error, 2_000)) for task in told)
    return details(quiet("errors in full"), pairs(rows)) if told else ""


def _logs(scene: Scene) -> str:
    told = [task for task in scene.listed if task.log]
    rows, left = [], _LOGS
    for task in told:
        if left <= 0:
            break
        rows.append((f"{clipped(task.func, 48)} {task.short}", pre(task.log, min(parts.TEXT_CHARACTERS, left))))
        left -= len(task.log)
    return details(quiet(f"logs of {plural(len(told), 'task')}"), pairs(rows)) if told else ""


def _cids(scene: Scene) -> str:
    if not scene.total:
        return ""
    lines = [
        f"{clipped(task.func, 48)}\n  {task.cid}{chr(10) + '  ' + task.receipt if task.receipt else ''}"
        for task in scene.listed
    ]
    workflow = block(quiet("workflow "), code(scene.cid)) if scene.cid else ""
    listed = pre("\n".join(lines), CIDS)
    return details(quiet("CIDs"), workflow + block(quiet("of each task, and under it that of its receipt")) + listed)
