"""The live graph as a widget: what it shows goes to the browser as data, and what somebody asks for comes back.

anywidget and ipywidgets are loaded when the first widget is made, never when a kernel starts. A kernel's loop may hear a
question in a thread of its own (ipykernel up to 7.3) or between two steps of an awaited cell (7.4), so nothing here
depends on which.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipvm.details import details, said
from ipvm.graphs import MOST, Graph
from ipvm_kernel.errors import IpvmError
from ipvm_kernel.picture import states
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

FRAME: Final = 0.05
"""Seconds between two updates, at least: 20 a second."""

_SLOWEST: Final = 0.5  # seconds after which the time is told although no state has changed
_SHARE: Final = 40  # an update that took so much of the processor is followed by so many times that of rest
_STATIC: Final = Path(__file__).parent / "static"
_MODULES: Final = ("dom", "state", "graph", "tree", "panel", "widget")  # each imports from those before it alone
_VIEW: Final = "application/vnd.jupyter.widget-view+json"


def possible() -> bool:
    """Return True in a kernel whose environment has anywidget."""
    from IPython.core.getipython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None and importlib.util.find_spec("anywidget") is not None


@functools.cache
def module() -> str:
    """Return our ES modules as the one that anywidget takes: in order, without imports, comments and indentation."""
    source = "".join((_STATIC / f"{name}.js").read_text(encoding="utf-8") for name in _MODULES)
    return re.sub(r"^(?:import .*|\s*(?://|/\*\*).*|)\n|^ +|^export (?!default)", "", source, flags=re.MULTILINE)


@functools.cache
def style() -> str:
    """Return the style sheet, with the colours of the states."""
    return (_STATIC / "widget.css").read_text(encoding="utf-8") + states.style(".ipvm-live")


@functools.cache
def _made() -> Any:
    """Return the class of the widget."""
    import traitlets
    from anywidget import AnyWidget

    class LiveGraph(AnyWidget):  # type: ignore[misc, unused-ignore]
        """A graph in a browser."""

        _esm = module()
        _css = style()
        about = traitlets.Dict().tag(sync=True)
        names = traitlets.Dict().tag(sync=True)
        states = traitlets.Unicode().tag(sync=True)
        progress = traitlets.Dict().tag(sync=True)
        view = traitlets.Dict().tag(sync=True)

    return LiveGraph


class Live:
    """A graph on the screen.

    Attributes:
        graph: What is shown.
        ready: True once a browser has drawn it.
    """

    def __init__(self, graph: Graph, *, end: Callable[[], None] | None = None) -> None:
        self.graph = graph
        self.ready = False
        self._end = end
        self._next = 0.0
        self._told = 0.0
        self._lock = threading.Lock()  # a widget's traits are no place for two threads at a time
        shown = graph.states()
        running = graph.run is not None and not graph.run.done()
        about = {
            "title": graph.title,
            "live": graph.run is not None,
            "cancel": running,
            "keep": end is not None,
            "icons": states.icons(),
            "states": list(states.MARKS),
            "words": graph.words,
            "select": graph.select,
        }
        self.widget = _made()(
            about=about, names=graph.names(), states=shown, progress=graph.progress(shown), view=graph.view()
        )
        self.widget.on_msg(self._heard)

    @staticmethod
    def suits(graph: Graph) -> bool:
        """Return True if a graph has something to show, and not too much."""
        return 0 < len(graph.tasks) <= MOST

    def bundle(self) -> dict[str, Any]:
        """Return what shows it, by media type."""
        model = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        return {"text/plain": said(self.graph), _VIEW: model}

    def update(self) -> None:
        """Tell the browser what has changed, at most 20 times a second, and less often where telling is much work."""
        now, spent = time.monotonic(), time.thread_time()
        if now < self._next:
            return
        shown = self.graph.states()
        if shown != self.widget.states or now - self._told > _SLOWEST:
            with self._lock, self.widget.hold_sync():
                self.widget.progress = self.graph.progress(shown)
                self.widget.states = shown
            self._told = now
        self._next = now + min(_SLOWEST, max(FRAME, _SHARE * (time.thread_time() - spent)))

    def close(self) -> None:
        """Let go of the browser."""
        self.widget.close()

    def _heard(self, _: Any, message: Any, __: Any) -> None:
        """Answer a question from the browser. What is no question of ours is passed over."""
        match message:
            case {"do": "ready"}:
                self.ready = True
            case {"do": "ask", "task": int(task)} if 0 <= task < len(self.graph.tasks):
                self.widget.send(self._details(task))
            case {"do": "view", "opened": list(opened), "folds": list(folds)}:
                kinds = [kind for kind in opened if type(kind) is int]
                sides = [
                    (fold[0], str(fold[1]))
                    for fold in folds
                    if type(fold) is list and len(fold) == 2 and type(fold[0]) is int
                ]
                view = self.graph.view(kinds, sides)
                with self._lock:
                    self.widget.view = view
            case {"do": "find", "text": str(text)}:
                self.widget.send({"say": "found", "text": text, "tasks": self.graph.find(text)})
            case {"do": "cancel", "task": None | int() as task}:
                self.graph.cancel(task)
            case {"do": "end"} if self._end is not None:
                self._end()

    def _details(self, task: int) -> dict[str, Any]:
        try:
            return details(self.graph, task)
        except (IpvmError, OSError) as error:  # a store that is closed or broken: the graph stays, and says so
            told = printable(str(error), limit=500)
            section = {"title": "Details", "rows": [("", [{"as": "error", "text": told}])]}
            return {"say": "details", "task": task, "sections": [section], "awaits": 0, "used": 0}
