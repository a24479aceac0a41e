"""The panel of one task: everything that is known of it, as plain data, made when somebody looks and bounded in size."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ipvm import scenes
from ipvm_kernel.errors import IpvmError
from ipvm_kernel.picture import NOTHING
from ipvm_kernel.picture.blocks import Block, blocks, error, line, note, pre
from ipvm_kernel.picture.parts import Room
from ipvm_kernel.printable import plural, printable, seconds, size
from ipvm_kernel.session import Handle

if TYPE_CHECKING:
    from ipvm.graphs import Graph
    from ipvm_kernel import CID, Receipt, Task

_ROOM: Final = 360_000  # characters of all pictures of a panel
_READ: Final = 1_000_000  # bytes of a link that are read to be shown
_LISTED: Final = 40  # arguments, and tasks that use it

Row = tuple[str, list[Block]]


def details(graph: Graph, at: int) -> dict[str, Any]:
    """Return what is known of the task at a position: sections of rows, each a name and blocks."""
    task, cid, room = graph.tasks[at], graph.cids[at], Room(_ROOM)
    handle = _handle(graph, task)
    receipt = graph.receipt(cid)
    answer = graph.run.answer(cid) if graph.run is not None else None
    log = (
        answer.log if answer is not None and answer.log else scenes.log(graph.home, cid) if receipt is not None else ""
    )
    used = [n for n, draft in enumerate(graph.shape.drafts) if any(source == at for source, _ in draft.awaits)]
    sections: list[dict[str, Any]] = []

    def add(title: str, rows: list[Row]) -> None:
        if rows:
            sections.append({"title": title, "rows": rows})

    add("Result", _result(handle, receipt, room))
    add("Inputs", _inputs(graph, handle, room))
    add("Used by", [("", [_task(n, "") for n in used[:_LISTED]] + _more(len(used)))] if used else [])
    add("Log", [("", pre(log))] if log else [])
    add("Time", _times(graph, cid, receipt, graph.state(cid)))
    signature = str(handle.signature) if handle.signature is not None else "its module is not here"
    add("Function", [("", [line(f"{task.run.func}: {signature}", 600)]), *_asked(task)])
    add("CIDs", _cids(graph, task, receipt))
    return {"say": "details", "task": at, "sections": sections, "awaits": len(task.run.awaits), "used": len(used)}


def _handle(graph: Graph, task: Task) -> Handle:
    """Return the handle of a task, with its signature if its module is here: nothing is fetched to be shown."""
    module = task.run.module
    here = module is None or graph.home.store.size(module) is not None
    return Handle(graph.home, task, graph.home.signature_of(task.run) if here else None)


def _task(at: int, branch: str) -> Block:
    return {"as": "task", "task": at, "branch": branch}


def _more(count: int) -> list[Block]:
    return [note(f"and {count - _LISTED:,} more")] if count > _LISTED else []


def _result(handle: Handle, receipt: Receipt | None, room: Room) -> list[Row]:
    if receipt is None:
        return []
    length = scenes.length(handle, receipt)
    if length is not None:
        return [("", [line(size(length)), note("not read to be shown; .save(path) of the handle writes it to a file")])]
    view = scenes.valued_view(handle, receipt)
    if view.error:
        return [("", [error(view.error)])]
    return [("", blocks(view.value, room, f"{printable(handle.instruction.func, limit=60)}: its value"))]


def _inputs(graph: Graph, handle: Handle, room: Room) -> list[Row]:
    """Return the arguments by their names: values, links with what they hold, and what other tasks give."""
    run, signature = handle.instruction, handle.signature
    names = [param.name for param in signature.params] if signature is not None else []
    promised = {promise.branch: promise for promise in run.awaits}
    rows: list[Row] = []
    for n, value in enumerate(run.args[:_LISTED]):
        name = printable(names[n], limit=60) if n < len(names) else f"{n + 1}"
        promise = next((p for p in run.awaits if p.to_ipld() == value), None) if promised else None
        if promise is None:
            rows.append((name, _linked(graph, value, room)))
            continue
        other = graph.where.get(promise.instruction)
        branch = {"error": "the error of ", "*": "the outcome of "}.get(promise.branch, "")
        shown = (
            [line(f"{branch}{promise.instruction.short}, of another workflow")]
            if other is None
            else [_task(other, branch)]
        )
        rows.append((name, [*shown, *_given(graph, promise.instruction, promise.branch, room)]))
    if not run.args and run.op != "wasm/run":
        rows.append(("input", blocks(run.input, room)))
    return rows + ([("", _more(len(run.args)))] if len(run.args) > _LISTED else [])


def _given(graph: Graph, cid: CID, branch: str, room: Room) -> list[Block]:
    """Return the value that a promise has come to, if it is there and small."""
    receipt = graph.receipt(cid)
    if receipt is None or not receipt.ok or branch != "ok" or cid not in graph.where:
        return []
    handle = _handle(graph, graph.tasks[graph.where[cid]])
    if scenes.length(handle, receipt) is not None:
        return []
    view = scenes.valued_view(handle, receipt)
    return [] if view.value is NOTHING else blocks(view.value, room, "what it awaits")[:1]


def _linked(graph: Graph, value: Any, room: Room) -> list[Block]:
    """Return an argument; of a link, what it leads to if that is at hand and small."""
    if not hasattr(value, "codec"):
        return blocks(value, room, "an argument")
    cid: CID = value
    shown: list[Block] = []
    length = graph.home.store.size(cid)
    if length is not None and length <= _READ:
        try:
            store = graph.home.store
            held = store.read(cid) if cid.codec in {"raw", "dag-pb"} else store.get(cid).value()
            shown = blocks(held, room, "an argument")
        except IpvmError:
            shown = []
    said = f"link to {size(length)}" if length is not None else "link to what is not here"
    return [*shown, note(said), {"as": "cid", "text": str(cid), "what": "argument"}]


def _times(graph: Graph, cid: CID, receipt: Receipt | None, state: str) -> list[Row]:
    """Return how long it took, what it used, and where it was replayed from."""
    rows: list[Row] = []
    entries = graph.home.store.journal(instruction=cid, limit=5)
    made = next((entry for entry in reversed(entries) if receipt is not None and entry.receipt == receipt.cid), None)
    made = made or (entries[0] if entries and state == "failed" else None)
    times = graph.run.progress.times.get(cid) if graph.run is not None else None
    if made is not None and made.seconds:
        rows.append(("ran", [line(seconds(made.seconds) + ("" if state != "replayed" else " then, nothing now"))]))
    elif times is not None and times[0] and not times[1] and state == "running":
        rows.append(("running", [line(f"since {_clock(times[0])}")]))
    if made is not None and made.fuel:
        rows.append(("fuel", [line(f"{made.fuel:,} steps")]))
    if made is not None and made.engine:
        rows.append(("engine", [line(made.engine, 80)]))
    if made is None:
        return rows
    record = graph.home.store.run(made.run) if made.run is not None else None
    where = [line(f"{_clock(made.at)} ({seconds(max(0.0, time.time() - made.at))} ago)")]
    if record is not None:
        cell = f"cell [{record.count}]" if record.count else "a cell" if record.cell else ""
        place = " of ".join(filter(None, [cell, printable(record.notebook, limit=120)]))
        where += [line(said) for said in (place, f"session {record.session}" if record.session else "") if said]
    if made.how == "loaded":
        where.append(note("it was made elsewhere, and loaded here"))
    if made.how == "shared" and made.source is not None:
        where.append(note(f"an equal task had the receipt {made.source.short}"))
    rows.append(("replayed from" if state == "replayed" else "made", where))
    return rows


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _asked(task: Task) -> list[Row]:
    rows: list[Row] = [
        (printable(str(key), limit=40), [line(scenes.asked(key, value), 100)]) for key, value in task.meta.items()
    ]
    nonce = task.run.nnc
    return rows + ([("nonce", [line(nonce.hex() if isinstance(nonce, bytes) else str(nonce))])] if nonce else [])


def _cids(graph: Graph, task: Task, receipt: Receipt | None) -> list[Row]:
    named = [
        ("task", str(task.run.cid)),
        ("receipt", str(receipt.cid) if receipt is not None else ""),
        ("invocation", str(receipt.ran if receipt is not None else task.invocation.cid)),
        ("module", str(task.run.module or "")),
        ("workflow", str(graph.workflow or "")),
    ]
    return [(name, [{"as": "cid", "text": text, "what": name}]) for name, text in named if text]


def said(graph: Graph) -> str:
    """Return a graph in one line, for a place that shows no widget."""
    return f"{graph.title}: {plural(len(graph.tasks), 'task')}"
