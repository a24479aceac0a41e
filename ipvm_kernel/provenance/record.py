"""A record of what was done: each task of a workflow with its receipt, time and cell, and the data between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Receipt, Task, Workflow
from ipvm_kernel.provenance.graph import trace
from ipvm_kernel.provenance.places import Place, places_of
from ipvm_kernel.store import Edge, Entry, edges_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipvm_kernel.model import Instruction
    from ipvm_kernel.store import Store

TASKS: Final = 5_000
"""Tasks of a lineage that are put into a record, at most."""


class Done(msgspec.Struct, kw_only=True):
    """A task and what came of it.

    Attributes:
        task: The task.
        receipt: Its receipt, or None if it has none on file or its value was dropped.
        receipt_cid: The CID of that, also if it was dropped.
        entry: How it was made, or None.
        place: The cell that declared it, or None.
        sources: What went into it.
        given: Links in its receipt.
    """

    task: Task
    receipt: Receipt | None = None
    receipt_cid: CID | None = None
    entry: Entry | None = None
    place: Place | None = None
    sources: list[Edge] = msgspec.field(default_factory=list)
    given: list[CID] = msgspec.field(default_factory=list)


class Datum(msgspec.Struct, kw_only=True):
    """Bytes that went into tasks or came out.

    Attributes:
        cid: Their CID.
        kind: A module, or something else.
        name: What it was called last, without its folders, or "".
        size: How many bytes, or None if they are not here.
        inside: True if a task made it.
    """

    cid: CID
    kind: Literal["module", "data"]
    name: str = ""
    size: int | None = None
    inside: bool = False


class Record(msgspec.Struct, kw_only=True):
    """What was done.

    Attributes:
        workflow: The workflow.
        done: Its tasks, those awaited before those who await.
        data: Modules, files and blocks.
        ends: The instructions whose values nobody in it takes.
    """

    workflow: Workflow
    done: dict[CID, Done]
    data: dict[CID, Datum]
    ends: list[CID]


def leading_to(store: Store, roots: Sequence[CID], around: Mapping[CID, Instruction] | None = None) -> Workflow:
    """Return the workflow that leads to some tasks or values, as far as it is here."""
    graph = trace(store, roots, around, told=TASKS)
    tasks = {cid: Task(run=run) for cid, run in graph.runs.items() if cid in graph.steps}
    return Workflow(tasks=tuple(tasks[cid] for cid in _order(tasks)))


def record(store: Store, workflow: Workflow) -> Record:
    """Return what the store knows of the tasks of a workflow."""
    tasks = workflow.by_instruction()
    on_file, entries = store.on_file(tasks), store.made(tasks)
    places = places_of(store, entries.values())
    done: dict[CID, Done] = {}
    data: dict[CID, Datum] = {}
    for cid in _order(tasks):
        found = on_file.get(cid)
        one = Done(task=tasks[cid], entry=entries.get(cid), place=places.get(cid))
        if found is not None and found.admitted:
            one.receipt, one.receipt_cid = found.receipt, found.cid
        for edge in edges_of(tasks[cid].run, one.receipt):
            if edge.kind == "value":
                one.given.append(edge.target)
                data.setdefault(edge.target, Datum(cid=edge.target, kind="data")).inside = True
            else:
                one.sources.append(edge)
                if edge.kind in {"module", "link"}:
                    kind: Literal["module", "data"] = "module" if edge.kind == "module" else "data"
                    data.setdefault(edge.source, Datum(cid=edge.source, kind=kind)).kind = kind
        done[cid] = one
    called = store.called(data)
    for datum in data.values():
        datum.size = store.size(datum.cid)
        datum.name = called.get(datum.cid, [""])[-1].replace("\\", "/").rsplit("/", 1)[-1]
    taken = {edge.source for one in done.values() for edge in one.sources}
    ends = [cid for cid, one in done.items() if cid not in taken and not taken.intersection(one.given)]
    return Record(workflow=workflow, done=done, data=data, ends=ends)


def _order(tasks: Mapping[CID, Task]) -> list[CID]:
    """Return instructions with those awaited before those who await."""
    seen: set[CID] = set()
    order: list[CID] = []
    pending = [(cid, False) for cid in reversed(list(tasks))]
    while pending:
        cid, expanded = pending.pop()
        if expanded:
            order.append(cid)
        elif cid in tasks and cid not in seen:
            seen.add(cid)
            pending.append((cid, True))
            pending.extend((promise.instruction, False) for promise in reversed(tasks[cid].run.awaits))
    return order
