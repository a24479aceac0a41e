"""A scene as Graphviz text, through the `graphviz` package if it is there. The program `dot` is never needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.picture.states import mark
from ipvm_kernel.picture.svg import counted
from ipvm_kernel.picture.widths import TIMES, clipped

if TYPE_CHECKING:
    from ipvm_kernel.picture.scene import Scene


def to_dot(scene: Scene) -> str:
    """Return Graphviz text: a box for each task, or for each function if there are many, and arrows along the promises.

    Raises:
        IpvmError: The package `graphviz` is not installed.
    """
    graph = _graphviz().Digraph("ipvm")
    graph.attr(rankdir="LR")
    graph.attr("node", shape="box", style="rounded,filled", fontname="monospace")
    if scene.groups:
        for n, group in enumerate(scene.groups):
            _node(graph, n, f"{clipped(group.func, 60)}\n{counted(group.counts, scene.words)}", "#edf0f4")
    else:
        for n, task in enumerate(scene.tasks):
            label = f"{clipped(task.func, 60)}\n{clipped(task.called, 20)} {task.short}"
            _node(graph, n, label, mark(task.state).light[0], "dashed" if task.outside else "")
    for link in scene.links:
        words = [*({"error": ["error"], "*": ["outcome"]}.get(link.branch, []))]
        words += [f"{TIMES}{link.count:,}"] if link.count > 1 else []
        attributes = {"style": "dashed"} if link.branch != "ok" else {}
        attributes |= {"label": " ".join(words)} if words else {}
        graph.edge(f"n{link.source}", f"n{link.target}", **attributes)
    text: str = graph.source
    return text


def _node(graph: Any, n: int, label: str, colour: str, style: str = "") -> None:
    """Add a box. Graphviz gives a meaning to backslashes and to labels in angle brackets; `escape` takes it away."""
    lines = "\n".join(_graphviz().escape(line) for line in label.split("\n"))
    graph.node(
        f"n{n}", lines.replace("\n", r"\n"), fillcolor=colour, **({"style": f"rounded,{style}"} if style else {})
    )


def _graphviz() -> Any:
    try:
        import graphviz
    except ImportError:
        raise IpvmError("to_dot() needs the graphviz package: pip install 'ipvm[graphviz]'") from None
    return graphviz
