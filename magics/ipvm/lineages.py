"""What provenance found, as trees and tables to be drawn, and as data."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.picture import tree
from ipvm_kernel.picture.tree import Branch
from ipvm_kernel.printable import markup, plural, printable, seconds, size
from ipvm_kernel.session import shown, when

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipvm_kernel import CID
    from ipvm_kernel.session import Diff, Difference, Graph, Inputs, Place, RunDiff, Step, Uses

_LITERALS: Final = 12  # literals of one task that are shown
_ROWS: Final = 60
HOW: Final = {"computed": "made", "shared": "shared with an equal task", "failed": "failed", "loaded": "brought here"}
"""How a line of the journal came to be, in words."""
_CALLED: Final = {
    "error": "error of",
    "*": "outcome of",
    "ok": "",
    "module": "module",
    "link": "data",
    "value": "made by",
}
_STATES: Final = {"pending": "not run", "replayed": "on file", "failed": "failed", "unverified": "unverified"}


def tree_of(graph: Graph, states: Mapping[CID, str]) -> Branch:
    """Return a lineage as a tree; each step is told once, and referred to after that."""
    total = graph.tasks
    left = total - sum(step.kind == "task" for step in graph.steps.values())
    note = f"{plural(total, 'task')}{' and more' if graph.cut else ''}"
    if left > 0:
        note += f"; the nearest {len(graph.steps):,} steps are shown"
    root = Branch(title="lineage", note=note)
    above: dict[CID, tuple[CID, ...]] = {}
    pending: list[tuple[CID, str, Branch, int, tuple[CID, ...]]] = [
        (cid, "", root, 1, ()) for cid in reversed(graph.roots)
    ]
    while pending:
        cid, kind, parent, depth, path = pending.pop()
        step = graph.steps.get(cid)
        role = _CALLED.get(kind, "")
        if step is None:
            parent.children.append(Branch(title="…", role=role, code=cid.short, cid=str(cid), note="further up"))
            continue
        branch = _branch(step, role, states.get(cid, ""))
        parent.children.append(branch)
        if cid in above:
            if step.kind == "task":
                branch.facts, branch.note = [], "as above"
            if cid in path:
                branch.note = "a circle: it leads back to itself"
            continue
        above[cid] = path
        below = parent if depth >= tree.DEEPEST else branch
        trail = (*path[-tree.DEEPEST :], cid) if step.sources else path
        pending.extend((edge.source, edge.kind, below, depth + 1, trail) for edge in reversed(step.sources))
    if not graph.edges:
        root.children[0].facts.append(("lineage", "no task made it: it was given, or came from elsewhere"))
    return root


def _branch(step: Step, role: str, state: str) -> Branch:
    branch = Branch(title="", role=role, code=step.cid.short, cid=str(step.cid))
    if step.kind != "task":
        branch.title = _name(step.names) or ("" if role else step.kind)
        branch.note = size(step.size) if step.size is not None else "not here"
        return branch
    branch.title = step.func or "a task"
    branch.state = state
    notes = [_STATES.get(state, state)]
    if step.missing:
        notes.append("its instruction is not here")
    if step.entry is not None:
        took = f" in {seconds(step.entry.seconds)}" if step.entry.seconds else ""
        notes = [f"{HOW[step.entry.how]} {when(step.entry.at)}{took}"]
    branch.note = ", ".join(notes)
    branch.facts = [(name, shown(value)) for name, value in step.literals[:_LITERALS]]
    left = len(step.literals) - _LITERALS
    if left > 0:
        branch.facts.append(("…", f"{left:,} more"))
    if step.place is not None:
        branch.facts.append(("declared in", _place(step.place, step.func)))
    return branch


def _name(names: Sequence[str]) -> str:
    """Return what a file was called last in a few words."""
    if not names:
        return ""
    more = f" (and {plural(len(names) - 1, 'other name')})" if len(names) > 1 else ""
    return printable(names[-1].rsplit("/", 1)[-1], limit=80) + more


def _place(place: Place, func: str = "") -> str:
    saved = f" (saved as {place.saved.short})" if place.saved is not None else ""
    return place.told(func) + saved


def steps_data(graph: Graph) -> list[dict[str, Any]]:
    """Return the steps of a lineage as data."""
    return [
        {
            "cid": step.cid,
            "kind": step.kind,
            "func": printable(step.func, limit=200),
            "names": [printable(name, limit=1000) for name in step.names],
            "size": step.size,
            "receipt": step.entry.receipt if step.entry is not None else None,
            "at": step.entry.at if step.entry is not None else None,
            "literals": {printable(name, limit=200): value for name, value in step.literals},
            "place": step.place.data() if step.place is not None else None,
            "sources": [{"kind": edge.kind, "cid": edge.source} for edge in step.sources],
            "missing": step.missing,
        }
        for step in graph.steps.values()
    ]


# --- inputs ---


def inputs_table(found: Inputs) -> tuple[str, str]:
    """Return what a value was made of, as text and as HTML."""
    rows = []
    for one in found.found[:_ROWS]:
        if one.kind == "literal":
            func, name = one.where
            place = one.place.short if one.place is not None else ""
            rows.append(["literal", f"{func}: {name}", shown(one.value), place])
        else:
            about = size(one.size) if one.size is not None else "not here"
            rows.append(
                [
                    one.kind,
                    _name(one.names) or "-",
                    str(one.cid),
                    f"{about}; {plural(one.uses, 'task')}{'; built from what is listed here' if one.built else ''}",
                ]
            )
    notes = [f"made by {plural(found.tasks, 'task')}{' and more' if found.cut else ''}"]
    if len(found.found) > _ROWS:
        notes.append(f"and {len(found.found) - _ROWS:,} more inputs")
    if found.literals_cut:
        notes.append("literals of tasks farther away are not listed: trace one of those")
    notes += [f"{plural(count, 'task')} declared in {_place(place)}" for place, count in found.places[:12]]
    if len(found.places) > 12:
        notes.append(f"and in {len(found.places) - 12:,} more cells")
    text, html = tree.grid(["input", "name", "value or CID", "from"], rows, width=200)
    told = "\n".join(notes)
    quiet = '<div style="opacity:0.68;font-size:12px;white-space:pre-wrap">'
    return f"{text}\n{told}".strip(), f"{html}{quiet}{markup(told, limit=8000, keep=chr(10))}</div>"


def inputs_data(found: Inputs) -> list[dict[str, Any]]:
    """Return what a value was made of as data."""
    data: list[dict[str, Any]] = []
    for one in found.found:
        if one.kind == "literal":
            place = one.place.data() if one.place is not None else None
            where = {"func": printable(one.where[0], limit=200), "argument": printable(one.where[1], limit=200)}
            data.append({"kind": "literal", "value": one.value, **where, "place": place})
        else:
            names = [printable(name, limit=1000) for name in one.names]
            data.append(
                {
                    "kind": one.kind,
                    "cid": one.cid,
                    "names": names,
                    "size": one.size,
                    "uses": one.uses,
                    "built": one.built,
                }
            )
    return [*data, *({"kind": "cell", "tasks": count, **place.data()} for place, count in found.places)]


# --- uses ---


def uses_table(found: Uses) -> tuple[str, str]:
    """Return what was made with something, as text and as HTML."""
    rows = []
    for use in found.found[:_ROWS]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(use.entry.at)) if use.entry is not None else "-"
        receipt = use.entry.receipt.short if use.entry is not None and use.entry.receipt is not None else "-"
        through = "directly" if use.direct else "through another"
        rows.append(
            [use.func or "?", use.cid.short, receipt, through, at, _place(use.place, use.func) if use.place else "-"]
        )
    where = ", ".join(
        f"{printable(name.rsplit('/', 1)[-1], limit=80)} ({count:,})"
        for name, count in list(found.notebooks.items())[:12]
    )
    note = f"used by {plural(found.total, 'task')}{' and more' if found.cut else ''}, {found.direct:,} of them directly"
    if found.total > len(rows):
        note += f"; the nearest {len(rows):,} are listed"
    if where:
        note += f"; in {where}"
    if not rows:
        return "no task on file used it", '<div style="opacity:0.68">no task on file used it</div>'
    return tree.grid(["function", "task", "receipt", "how", "made", "cell"], rows, note, width=160)


def uses_data(found: Uses) -> list[dict[str, Any]]:
    """Return what was made with something as data."""
    return [
        {
            "instruction": use.cid,
            "func": printable(use.func, limit=200),
            "direct": use.direct,
            "receipt": use.entry.receipt if use.entry is not None else None,
            "at": use.entry.at if use.entry is not None else None,
            "place": use.place.data() if use.place is not None else None,
        }
        for use in found.found
    ]


# --- differences ---


class Told:
    """A difference as text, as HTML and as data."""

    def __init__(self, head: str, rows: list[list[str]], notes: Sequence[str], data: dict[str, Any]) -> None:
        text, html = tree.grid(["what", "A", "B"], rows, width=140) if rows else ("", "")
        told = "\n".join(notes)
        self.text = "\n".join(filter(None, (head, text, told)))
        pre = '<div style="white-space:pre-wrap">'
        self.html = f"{pre}{markup(head, limit=4000, keep=chr(10))}</div>{html}{pre}{markup(told, limit=8000, keep=chr(10))}</div>"
        self.data = data


def diff_told(found: Diff) -> Told:
    """Return how two tasks differ."""
    head = f"A: {printable(found.funcs[0], limit=80)} {found.a.short}\nB: {printable(found.funcs[1], limit=80)} {found.b.short}"
    groups = [("in", found.inputs), ("out", found.outs), ("aside", found.asides)]
    rows = [[f"{group}: {one.what}", one.a or "-", one.b or "-"] for group, some in groups for one in some]
    notes = [f"it lies deeper: {one.place}" for one in found.inputs[:1] if one.through]
    if found.a == found.b:
        notes.append("one instruction: the same function, module and arguments")
    if None in found.receipts:
        which = " and ".join(name for name, cid in zip("AB", found.receipts, strict=True) if cid is None)
        notes.append(f"no receipt of {which} is on file")
    elif not found.outs:
        notes.append("both came to the same value")
    elif found.a == found.b:
        notes.append("equal tasks must give equal answers: this is a divergence")
    data: dict[str, Any] = {"a": found.a, "b": found.b, "receipts": list(found.receipts)}
    data |= {group: [_difference(one) for one in some] for group, some in groups}
    return Told(head, rows, notes, data)


def _difference(one: Difference) -> dict[str, Any]:
    return {"what": one.what, "through": list(one.through), "a": one.a, "b": one.b}


def runs_told(found: RunDiff) -> Told:
    """Return how two workflows or runs differ."""
    head = f"A: workflow {found.a.short}\nB: workflow {found.b.short}"
    rows = [["tasks of both", f"{found.same:,}", f"{found.same:,}"]]
    rows.append(["tasks of one alone", f"{len(found.only_a):,}", f"{len(found.only_b):,}"])
    notes = []
    data: dict[str, Any] = {"a": found.a, "b": found.b, "same": found.same, "first": None}
    data |= {"only_a": [cid for cid, _ in found.only_a], "only_b": [cid for cid, _ in found.only_b]}
    if found.first is not None:
        first = diff_told(found.first)
        rows += [[f"first: {one.what}", one.a or "-", one.b or "-"] for one in found.first.inputs]
        notes.append(
            f"the first task that differs is {printable(found.first.funcs[0], limit=80)} {found.first.a.short}"
        )
        data["first"] = first.data
    elif found.only_a or found.only_b:
        rows.append(["functions", *(_funcs(some) for some in (found.only_a, found.only_b))])
    else:
        notes.append("the same tasks")
    for one in found.diverging[:12]:
        rows.append([f"receipt of {one.funcs[0]} {one.a.short}", one.outs[0].a, one.outs[0].b])
    data["diverging"] = [{"instruction": one.a, "receipts": list(one.receipts)} for one in found.diverging]
    if found.diverging:
        notes.append("equal tasks must give equal answers: this is a divergence")
    return Told(head, rows, notes, data)


def _funcs(some: Sequence[tuple[CID, str]]) -> str:
    names = list(dict.fromkeys(func for _, func in some))
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "") or "-"
