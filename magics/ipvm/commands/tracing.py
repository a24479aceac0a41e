"""Tracing: where a value comes from, what was made with it, why it ran, and how two differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from ipvm import lineages, shared
from ipvm.commands.things import handle_of, thing_of
from ipvm.views import View
from ipvm_kernel import CID, Handle
from ipvm_kernel.picture import tree
from ipvm_kernel.printable import printable
from ipvm_kernel.session import Diff, default

_VERDICTS: Final = {
    "hit": "hit: replayed, nothing runs",
    "miss": "miss: it will run",
    "uncacheable": "uncacheable: it runs again",
    "unverified": "unverified: it will run",
}


def why(x: Any) -> View:
    """Return why a task would be replayed or run now, and because of what; and why it ran when it ran.

    Args:
        x: A handle, or the name or CID of one, or of its receipt.
    """
    told = default().why(x if isinstance(x, Handle) else handle_of(x))
    name = printable(told.func, limit=80)
    lines = [
        f"{name} {told.instruction.short}: {_VERDICTS[told.verdict]}",
        *(f"  - {reason}" for reason in told.reasons),
    ]
    if told.ran_because:
        lines += ["it ran then, and was not replayed, because:", *(f"  - {reason}" for reason in told.ran_because)]
    data: dict[str, Any] = {"instruction": told.instruction, "verdict": told.verdict, "reasons": list(told.reasons)}
    data |= {"ran_because": list(told.ran_because), "receipt": told.receipt, "compared": told.compared}
    return View("\n".join(lines), data=[data])


def trace(x: Any) -> View:
    """Return the steps that lead to a value, the nearest first, up to modules, files, literals and cells.

    Args:
        x: A handle, run, workflow, receipt or file, or the name or CID of one.
    """
    graph = default().trace(thing_of(x))
    shape = lineages.tree_of(graph, _states(graph.steps))
    return View(tree.text(shape), html=tree.html(shape), data=lineages.steps_data(graph))


def inputs(x: Any) -> View:
    """Return what a value was made of in the end: modules, files and other data, literals, and the cells that said so.

    Args:
        x: A handle, run, workflow, receipt or file, or the name or CID of one.
    """
    found = default().inputs(thing_of(x))
    text, html = lineages.inputs_table(found)
    return View(text, html=html, data=lineages.inputs_data(found))


def uses(x: Any) -> View:
    """Return what was made with a task, a file, a module or a value, directly or not, in all notebooks.

    Args:
        x: A handle, receipt, file or module, or the name or CID of one.
    """
    found = default().uses(thing_of(x))
    text, html = lineages.uses_table(found)
    return View(text, html=html, data=lineages.uses_data(found))


def diff(a: Any, b: Any) -> View:
    """Return how two tasks, receipts, workflows, runs or notebooks differ, down to the first input or cell that does.

    Args:
        a: A handle, receipt, run or workflow, or the name or CID of one; a notebook, an archive or a share.
        b: The other.
    """
    shares_told = _notebooks(a, b)
    if shares_told is not None:
        return shares_told
    found = default().diff(thing_of(a), thing_of(b))
    told = lineages.diff_told(found) if isinstance(found, Diff) else lineages.runs_told(found)
    return View(told.text, html=told.html, data=[told.data])


def _notebooks(a: Any, b: Any) -> View | None:
    """Return how two shared notebooks differ, or None if these are none."""
    if not all(_names_notebook(x) for x in (a, b)):
        return None
    from ipvm_kernel.session import shares

    session = default()
    told = shared.compared(shares.compare(session, shares.target(session, a), shares.target(session, b)))
    return View(told.text, html=told.html, data=[told.data])


def _names_notebook(x: Any) -> bool:
    if isinstance(x, Path) or (isinstance(x, str) and x.endswith((".ipynb", ".car"))):
        return True
    if not isinstance(x, str | CID):
        return False
    named = thing_of(x)
    return isinstance(named, CID) and shared.is_share(default(), named)


def _states(steps: Any) -> dict[CID, str]:
    """Return the state of each task of a lineage: what is on file."""
    session = default()
    tasks = [cid for cid, step in steps.items() if step.kind == "task"]
    found = session.admission.on_file(tasks)
    states = {}
    for cid in tasks:
        one = found.get(cid)
        if one is None:
            states[cid] = "pending"
        elif not one.admitted:
            states[cid] = "unverified"
        else:
            states[cid] = "failed" if one.here and one.receipt is not None and not one.receipt.ok else "replayed"
    return states
