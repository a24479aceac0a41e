"""The way from a node of the model to whoever can show it as a live graph; the model itself knows of no screen.

A host that has a screen says so with `set_explorer`, and `workflow.explore()` and its like hand themselves over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

_explorer: Callable[[Any], None] | None = None


def set_explorer(show: Callable[[Any], None] | None) -> None:
    """Say who shows things as live graphs, or that nobody does any more."""
    global _explorer
    _explorer = show


def explore(what: Any) -> None:
    """Show a run, a workflow or a receipt as a live graph.

    Raises:
        BadInput: Nobody here can show it.
    """
    if _explorer is None:
        raise BadInput(
            "explore() shows a graph in a notebook, and no notebook is here: run `%load_ext ipvm` in IPython first, "
            "or print the object"
        )
    _explorer(what)
