"""`explore`: the live graph of a run, a workflow or a receipt that is over, or not begun, brought back when somebody asks.

What is saved of it in a notebook is the picture, if "Keep as picture" was pressed; else a reader who trusts the notebook
and has no kernel is shown an empty place, since JupyterLab prefers a widget to its picture even where the widget is gone.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ipvm import display as pictures
from ipvm.graphs import MOST, Graph
from ipvm.widgets import FRAME, Live, possible
from ipvm_kernel.errors import BadInput
from ipvm_kernel.printable import plural
from ipvm_kernel.session import Run, default

if TYPE_CHECKING:
    from ipvm_kernel import Handle, Receipt, Workflow

_FOLLOWED: Final[set[asyncio.Task[None]]] = set()  # a loop keeps no hold of its tasks


def explore(what: Run | Workflow | Receipt | Handle) -> None:
    """Show the graph of a run, a workflow, a handle or what led to a receipt, to be searched, folded and asked about each task.

    Outside a notebook, or without the package `anywidget`, its picture is shown.

    Raises:
        BadInput: It is none of these.
        NotFound: The task of the receipt is not in this session's store.
    """
    from IPython.display import display, update_display

    graph = graph_of(what)
    if not possible() or not Live.suits(graph):
        if len(graph.tasks) > MOST:
            print(f"{plural(len(graph.tasks), 'task')} are too many to explore (up to {MOST:,}); this is their picture")
        display(pictures.mimebundle(what), raw=True)
        return
    shown: list[Any] = []

    def end() -> None:
        update_display(pictures.mimebundle(what), raw=True, display_id=shown[0].display_id)
        live.close()

    live = Live(graph, end=end)
    bundle = pictures.mimebundle(what) | live.bundle()
    shown.append(display(bundle, raw=True, display_id=True))
    if graph.run is not None and not graph.run.done():
        try:
            following = asyncio.get_running_loop().create_task(_follow(live, graph.run))
        except RuntimeError:
            return  # no loop: it stays as it was when it was asked for
        _FOLLOWED.add(following)
        following.add_done_callback(_FOLLOWED.discard)


def graph_of(what: Any) -> Graph:
    """Return the graph of a run, a workflow or a receipt.

    Raises:
        BadInput: It is none of these.
    """
    match type(what).__name__:
        case "Run":
            return Graph.of_run(what)
        case "Workflow":
            return Graph.of_workflow(what, default())
        case "Receipt":
            return Graph.of_receipt(what, default())
        case "Handle":
            return Graph.of_workflow(what.workflow, what._home)  # noqa: SLF001 - the session that made it
        case name:
            raise BadInput(f"explore: expected a run, a workflow, a receipt or a handle, found {name}")


async def _follow(live: Live, run: Run) -> None:
    """Show how far a run is until it is over."""
    while not run.done():
        await asyncio.sleep(FRAME)
        live.update()
    await asyncio.sleep(FRAME)
    live.update()
