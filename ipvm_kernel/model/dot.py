"""A workflow as Graphviz text, through the package `graphviz`. The program `dot` is never needed for it.

Source: the DOT language, https://graphviz.org/doc/info/lang.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.model.promise import Branch
    from ipvm_kernel.model.task import Task

_NAME: Final = 60  # characters of a name
_ARROWS: Final[dict[Branch, dict[str, str]]] = {
    "ok": {},
    "error": {"style": "dashed", "label": "error"},
    "*": {"style": "dashed", "label": "outcome"},
}


def digraph(tasks: Sequence[Task]) -> str:
    """Return Graphviz text: a box for each task, and an arrow for each promise; what is awaited from elsewhere is dashed.

    Raises:
        IpvmError: The package `graphviz` is not installed.
    """
    try:
        import graphviz
    except ImportError:
        raise IpvmError("to_dot() needs the graphviz package: pip install 'ipvm[graphviz]'") from None
    graph = graphviz.Digraph("ipvm")
    graph.attr(rankdir="LR")
    graph.attr("node", shape="box", style="rounded", fontname="monospace")
    numbers: dict[CID, int] = {}

    def box(cid: CID, *lines: str, **look: str) -> None:
        # Graphviz gives a meaning to backslashes and to labels in angle brackets; `escape` takes it away.
        label: Any = r"\n".join(graphviz.escape(line) for line in lines)
        numbers[cid] = len(numbers)
        graph.node(f"n{numbers[cid]}", label, **look)

    for task in tasks:
        box(task.run.cid, printable(task.run.func, limit=_NAME), task.run.cid.short)
    for task in tasks:
        for promise in dict.fromkeys(task.run.awaits):
            if promise.instruction not in numbers:
                box(promise.instruction, "elsewhere", promise.instruction.short, style="rounded,dashed")
            source, target = numbers[promise.instruction], numbers[task.run.cid]
            graph.edge(f"n{source}", f"n{target}", **_ARROWS[promise.branch])
    text: str = graph.source
    return text
