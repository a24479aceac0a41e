"""What `%load_ext ipvm` adds to IPython: `%%ipvm`, `%%wasm`, `%ipvm`, displays, completion, and the line under a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell

_LOADED: Final = "_ipvm_loaded"


def load(shell: InteractiveShell) -> None:
    """Add everything. Loading twice does nothing."""
    if getattr(shell, _LOADED, None):
        return
    from ipvm import cells, completion, display
    from ipvm.footer import Footer
    from ipvm.magics import Magics
    from ipvm_kernel.exploring import set_explorer

    footer = Footer(shell)
    shell.events.register("pre_run_cell", footer.before)
    shell.events.register("post_run_cell", footer.after)
    shell.register_magics(Magics(shell))
    display.register(shell)
    set_explorer(_explore)
    undo: list[Callable[[], None]] = [
        cells.install(shell),
        completion.install(shell),
        lambda: shell.events.unregister("pre_run_cell", footer.before),
        lambda: shell.events.unregister("post_run_cell", footer.after),
        lambda: display.unregister(shell),
        footer.forget,
        lambda: set_explorer(None),
    ]
    setattr(shell, _LOADED, undo)


def unload(shell: InteractiveShell) -> None:
    """Take everything away again, but for the magics' names, which IPython keeps."""
    for step in getattr(shell, _LOADED, None) or ():
        step()
    setattr(shell, _LOADED, None)


def _explore(what: Any) -> None:
    """Show something as a live graph; the widget is loaded when somebody asks for the first."""
    from ipvm.exploring import explore

    explore(what)
