"""Lineage: the steps that lead to a value, the inputs that it all began with, and what was made with something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Instruction, Promise
from ipvm_kernel.provenance.comparing import Names, instruction, nameless
from ipvm_kernel.provenance.places import Place, places_of
from ipvm_kernel.store import Edge, Entry, edges_of
from ipvm_kernel.store.lineage import EDGES, closure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipvm_kernel.store import Store

TOLD: Final = 200
"""Steps of a lineage that are told one by one: the nearest."""

_WAVES: Final = 64  # times that tasks which were never filed are looked up, level after level
_AWAITED: Final = frozenset({"ok", "error", "*", "value"})


class Step(msgspec.Struct, kw_only=True):
    """A task or a value in a lineage.

    Attributes:
        cid: The CID of an instruction, module, file or block.
        kind: What it is.
        func: The function of a task.
        names: What a file or module was called.
        size: Bytes of what is no task, or None if it is not here.
        sources: The edges to what it came of.
        entry: How the first receipt of a task was made, or None.
        place: The cell in which a task was declared, or None.
        literals: The arguments of a task that are written in it: name or position, and value.
        missing: True for a task whose instruction is not here.
    """

    cid: CID
    kind: Literal["task", "module", "data"]
    func: str = ""
    names: list[str] = msgspec.field(default_factory=list)
    size: int | None = None
    sources: list[Edge] = msgspec.field(default_factory=list)
    entry: Entry | None = None
    place: Place | None = None
    literals: list[tuple[str, Any]] = msgspec.field(default_factory=list)
    missing: bool = False


class Graph(msgspec.Struct, kw_only=True):
    """A lineage.

    Attributes:
        roots: What was asked about.
        steps: The nearest steps, by CID, the roots first.
        edges: All edges that were looked at, the nearest first.
        cut: True if there is more than was looked at.
        runs: Instructions of the steps that are here.
    """

    roots: list[CID]
    steps: dict[CID, Step]
    edges: list[Edge]
    cut: bool = False
    runs: dict[CID, Instruction] = msgspec.field(default_factory=dict)

    @property
    def tasks(self) -> int:
        """How many tasks there are, told or not."""
        return len(_tasks(self.roots, self.edges, self.runs))


class Input(msgspec.Struct, kw_only=True):
    """Something that a lineage begins with: what no task made, and modules.

    Attributes:
        kind: A module, data behind a link, or a literal.
        cid: The CID of a module or of data.
        names: What it was called.
        size: Its bytes, or None if it is not here.
        value: The value of a literal.
        where: The argument of a literal: function and name or position.
        uses: How many tasks have it as an input directly.
        built: True for a module that a task built, from inputs that are listed too.
        place: The cell in which the task with the literal was declared.
    """

    kind: Literal["module", "data", "literal"]
    cid: CID | None = None
    names: list[str] = msgspec.field(default_factory=list)
    size: int | None = None
    value: Any = None
    where: tuple[str, str] = ("", "")
    uses: int = 1
    built: bool = False
    place: Place | None = None


class Inputs(msgspec.Struct, kw_only=True):
    """What a value was made of in the end.

    Attributes:
        roots: What was asked about.
        found: Modules, then data, then literals.
        places: The cells that declared the tasks, and how many each.
        tasks: How many tasks there are between.
        cut: True if there is more than was looked at.
        literals_cut: True if literals of farther tasks were not read.
    """

    roots: list[CID]
    found: list[Input]
    places: list[tuple[Place, int]]
    tasks: int
    cut: bool = False
    literals_cut: bool = False


class Use(msgspec.Struct, kw_only=True):
    """A task that was made with something.

    Attributes:
        cid: Its instruction.
        func: Its function.
        direct: True if it has it as an input itself.
        kind: How it has it, or that which came of it.
        entry: How its first receipt was made, or None.
        place: The cell in which it was declared, or None.
    """

    cid: CID
    func: str
    direct: bool
    kind: str
    entry: Entry | None = None
    place: Place | None = None


class Uses(msgspec.Struct, kw_only=True):
    """What was made with something, across notebooks.

    Attributes:
        roots: What was asked about.
        found: The nearest tasks that used it.
        total: How many there are.
        direct: How many of them have it as an input themselves.
        notebooks: The notebooks of those that are told, and how many tasks each.
        cut: True if there is more than was looked at.
    """

    roots: list[CID]
    found: list[Use]
    total: int
    direct: int
    notebooks: dict[str, int]
    cut: bool = False


def trace(
    store: Store,
    roots: Sequence[CID],
    around: Mapping[CID, Instruction] | None = None,
    *,
    names: Names = nameless,
    limit: int = EDGES,
    told: int = TOLD,
) -> Graph:
    """Return what led to some tasks and values, the nearest first.

    Args:
        store: Where they are.
        roots: Instructions, modules, files or blocks.
        around: Instructions that may not be in the store yet.
        names: Gives the names of an instruction's parameters, or none.
        limit: Edges that are looked at, at most.
        told: Steps that are told one by one, at most.
    """
    runs = dict(around or {})
    edges = _lineage(store, roots, runs, limit)
    made = Graph(roots=list(roots), steps={}, edges=edges, cut=len(edges) >= limit, runs=runs)
    tasks = _tasks(roots, edges, runs)
    modules = {edge.source for edge in edges if edge.kind == "module"}
    order = dict.fromkeys((*roots, *(edge.source for edge in edges)))
    for cid in list(order)[:told]:
        kind: Any = "task" if cid in tasks else "module" if cid in modules else "data"
        made.steps[cid] = Step(cid=cid, kind=kind)
    for edge in edges:
        if edge.target in made.steps:
            made.steps[edge.target].sources.append(edge)
    _tell(store, made, names)
    return made


def _lineage(store: Store, roots: Sequence[CID], runs: dict[CID, Instruction], limit: int) -> list[Edge]:
    """Return the edges from what is on file, and of tasks that never were, whose instructions say what goes in.

    What is read of such instructions is added to `runs`.
    """
    edges = store.lineage(roots, limit)
    by_target: dict[CID, list[Edge]] = {}
    for edge in edges:
        by_target.setdefault(edge.target, []).append(edge)
    pending = [cid for cid in roots if cid not in by_target]
    if len(edges) < limit:
        pending += [edge.source for edge in edges if edge.kind in _AWAITED and edge.source not in by_target]
    if not pending:
        return edges
    looked: set[CID] = set()
    for _ in range(_WAVES):
        unknown: list[CID] = []
        while pending and len(looked) < limit:
            cid = pending.pop()
            if cid in by_target or cid in looked:
                continue
            if cid not in runs:
                unknown.append(cid)
                continue
            looked.add(cid)
            by_target[cid] = edges_of(runs[cid])
            pending += [edge.source for edge in by_target[cid]]
        for edge in store.lineage(unknown, limit):
            there = by_target.setdefault(edge.target, [])
            if edge not in there:
                there.append(edge)
        for cid in unknown:
            if cid not in by_target and cid not in looked:
                looked.add(cid)
                run = instruction(store, cid) if cid.codec == "dag-cbor" else None
                if run is not None:
                    runs[cid] = run
                    by_target[cid] = edges_of(run)
                    pending += [edge.source for edge in by_target[cid]]
        if not pending:
            break
    return closure(roots, lambda cid: by_target.get(cid, ()), lambda edge: edge.source, limit)


def _tasks(roots: Iterable[CID], edges: Iterable[Edge], runs: Mapping[CID, Instruction]) -> dict[CID, None]:
    """Return which of the ends of some edges are tasks."""
    found: dict[CID, None] = {}
    for cid in roots:
        if cid in runs:
            found[cid] = None
    for edge in edges:
        if edge.kind != "value":
            found[edge.target] = None
        if edge.kind in _AWAITED:
            found[edge.source] = None
    return found


def _tell(store: Store, made: Graph, names: Names) -> None:
    """Add what the store knows of the steps that are told."""
    tasks = [step.cid for step in made.steps.values() if step.kind == "task"]
    others = [step.cid for step in made.steps.values() if step.kind != "task"]
    entries = store.made(tasks)
    places = places_of(store, entries.values())
    called = store.called(others)
    for step in made.steps.values():
        if step.kind != "task":
            step.names, step.size = called.get(step.cid, []), store.size(step.cid)
            continue
        step.entry, step.place = entries.get(step.cid), places.get(step.cid)
        run = made.runs.get(step.cid) or instruction(store, step.cid)
        if run is None:
            step.missing = True
            step.func = step.entry.func if step.entry is not None else ""
            continue
        made.runs[step.cid] = run
        step.func, step.literals = run.func, literals(run, names(run))


def literals(run: Instruction, names: Sequence[str] = ()) -> list[tuple[str, Any]]:
    """Return the arguments of an instruction that are neither promises nor links, each with its name or position."""
    if type(run.input) is dict and run.input.keys() == {"func", "args"}:
        given = [(names[n] if n < len(names) else str(n + 1), value) for n, value in enumerate(run.args)]
    else:
        given = list(run.input.items()) if type(run.input) is dict else [("input", run.input)]
    return [(name, value) for name, value in given if type(value) is not CID and Promise.of(value) is None]


def inputs(
    store: Store,
    roots: Sequence[CID],
    around: Mapping[CID, Instruction] | None = None,
    *,
    names: Names = nameless,
    limit: int = EDGES,
) -> Inputs:
    """Return what some tasks and values were made of in the end: modules, data, literals, and the cells that said so.

    Args:
        store: Where they are.
        roots: Instructions, modules, files or blocks.
        around: Instructions that may not be in the store yet.
        names: Gives the names of an instruction's parameters, or none.
        limit: Edges that are looked at, at most.
    """
    graph = trace(store, roots, around, names=names, limit=limit)
    made_here = {edge.target for edge in graph.edges if edge.kind == "value"}
    counts: dict[CID, int] = {}
    kinds: dict[CID, Literal["module", "data"]] = {}
    for edge in graph.edges:
        if edge.kind == "module" or (edge.kind == "link" and edge.source not in made_here):
            counts[edge.source] = counts.get(edge.source, 0) + 1
            kinds[edge.source] = "module" if edge.kind == "module" else "data"
    for cid in roots:
        if cid not in made_here and cid in graph.steps and graph.steps[cid].kind != "task":
            counts.setdefault(cid, 0)
            kinds.setdefault(cid, "data")
    called = store.called(counts)
    found = [
        Input(
            kind=kinds[cid],
            cid=cid,
            names=called.get(cid, []),
            size=store.size(cid),
            uses=count,
            built=cid in made_here,
        )
        for cid, count in sorted(counts.items(), key=lambda item: kinds[item[0]] == "data")
    ]
    places: dict[Place, int] = {}
    for step in graph.steps.values():
        if step.place is not None:
            places[step.place] = places.get(step.place, 0) + 1
        found += [
            Input(kind="literal", value=value, where=(step.func, name), place=step.place)
            for name, value in step.literals
        ]
    tasks = graph.tasks
    return Inputs(
        roots=list(roots),
        found=found,
        places=list(places.items()),
        tasks=tasks,
        cut=graph.cut,
        literals_cut=tasks > sum(step.kind == "task" for step in graph.steps.values()),
    )


def uses(store: Store, roots: Sequence[CID], *, limit: int = EDGES, told: int = TOLD) -> Uses:
    """Return what was made with some tasks, modules or values, directly or not, the nearest first.

    Args:
        store: Where they are.
        roots: Instructions, modules, files or blocks.
        limit: Edges that are looked at, at most.
        told: Tasks that are told one by one, at most.
    """
    edges = store.users(roots, limit)
    asked = set(roots)
    met: dict[CID, Edge] = {}
    direct: set[CID] = set()
    for edge in edges:
        if edge.kind == "value" or edge.target in asked:
            continue
        met.setdefault(edge.target, edge)
        if edge.source in asked:
            direct.add(edge.target)
    chosen = list(met)[:told]
    entries = store.made(chosen)
    places = places_of(store, entries.values())
    found, notebooks = [], dict[str, int]()
    for cid in chosen:
        entry, place = entries.get(cid), places.get(cid)
        run = None if entry is not None else instruction(store, cid)
        func = entry.func if entry is not None else run.func if run is not None else ""
        found.append(Use(cid=cid, func=func, direct=cid in direct, kind=met[cid].kind, entry=entry, place=place))
        if place is not None and place.notebook:
            notebooks[place.notebook] = notebooks.get(place.notebook, 0) + 1
    return Uses(
        roots=list(roots), found=found, total=len(met), direct=len(direct), notebooks=notebooks, cut=len(edges) >= limit
    )
