"""A running `%%ipvm` cell: the handles that were made in it, the line that shows how far they are, and their run."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.display import display, update_display

from ipvm import display as pictures
from ipvm import footer, widgets
from ipvm.graphs import Graph
from ipvm.views import View, table, table_html
from ipvm_kernel.notebook import begin_capture, end_capture
from ipvm_kernel.printable import plural, printable, seconds, size
from ipvm_kernel.session import Handle, Limits, bytes_of, default, plugins

if TYPE_CHECKING:
    import argparse

    from ipvm_kernel import Run

QUIET_SECONDS: Final = 0.3
"""A run that ends before this shows no progress line."""

_FRAME_SECONDS: Final = 0.2  # of a line
_PATIENCE: Final = 10.0  # seconds that a browser has to draw the graph, before a line takes its place
_NOTHING: Final = object()


class CellRun:
    """What stands between the first line and the end of a `%%ipvm` cell."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._last: Any = _NOTHING
        self._handles = begin_capture()

    def last(self, value: Any) -> Any:
        """Keep the value of the cell's last expression, to be shown after the run."""
        self._last = value
        return None

    async def end(self) -> None:
        """Run what was declared in the cell, show it, and raise if a task failed whose error nobody takes."""
        end_capture()
        handles = [handle for handle in self._handles if isinstance(handle, Handle)]
        options = self._options
        if not handles:
            print("no task was declared in this cell")
            self._show_last()
            return
        session = default()
        if options.plan:
            display(_plan(session.plan(handles)))
            return
        run = session.run(
            handles,
            rerun=self._rerun(handles),
            name=options.name,
            executor=plugins.load("executors", options.executor)() if options.executor else None,
            limits=Limits(
                fuel=None if options.fuel is None else int(options.fuel),
                memory=None if options.memory is None else bytes_of(options.memory),
                time=options.time,
            ),
        )
        shell = get_ipython()
        if options.name and shell is not None:
            if not options.name.isidentifier():
                raise UsageError(f"%%ipvm: expected a name, found {options.name!r}")
            shell.user_ns[options.name] = run
        await self._watch(run)
        self._show_last()
        if not options.keep_going:
            run.raise_for_failures()

    def _rerun(self, handles: list[Handle]) -> Any:
        """Return what `--rerun` asks for: nothing, everything, or the tasks of some functions."""
        wanted = self._options.rerun
        if wanted is None:
            return False
        if not wanted:
            return True
        by_name: dict[str, set[Any]] = {}
        for handle in handles:
            by_name.setdefault(handle.instruction.func, set()).add(handle.cid)
            by_name.setdefault(handle.cid.short, set()).add(handle.cid)
        unknown = [name for name in wanted if name not in by_name]
        if unknown:
            raise UsageError(
                f"%%ipvm --rerun: no task of this cell is called {unknown[0]!r}. There are: {', '.join(by_name)}"
            )
        return set().union(*(by_name[name] for name in wanted))

    async def _watch(self, run: Run) -> None:
        """Await a run, show how far it is, and put its picture in place of that."""
        waiting = asyncio.ensure_future(_awaited(run))
        shown = Shown(run, line=self._options.line)
        try:
            while not waiting.done():
                await asyncio.wait({waiting}, timeout=shown.frame)
                if not waiting.done():
                    shown.update()
        except BaseException:  # an interrupt: stop what runs, keep what is on file
            run.cancel()
            waiting.cancel()
            shown.finish()
            raise
        shown.finish()
        waiting.result()

    def _show_last(self) -> None:
        if self._last is not _NOTHING and self._last is not None:
            display(self._last)


def _plan(plan: Any) -> View:
    """Return what a run would do, one line a task."""
    rows = [["run", plan.tasks[cid].run.func, cid.short, "no receipt on file"] for cid in plan.runs]
    rows += [["replay", plan.tasks[cid].run.func, cid.short, f"saves {seconds(found.seconds)}"]
             for cid, found in plan.replays.items() if cid in plan.tasks]  # fmt: skip
    rows = rows[:200]
    head = ["", "function", "instruction", ""]
    told = f"{plural(len(plan.runs), 'task')} to run, {len(plan.replays):,} on file"
    return View(f"{told}\n{table(rows, head)}", html=f"<div>{told}</div>{table_html(rows, head)}")


async def _awaited(run: Run) -> None:
    _ = await run


class Shown:
    """What is on the screen of a run: nothing at first, then its graph or a line, at last its picture.

    Attributes:
        frame: Seconds until it should be updated.
    """

    def __init__(self, run: Run, *, line: bool) -> None:
        self._run = run
        self._line = line
        self._began = time.monotonic()
        self._ident: str | None = None
        self._live: widgets.Live | None = None
        self.frame = _FRAME_SECONDS

    def update(self) -> None:
        """Show how far the run is."""
        gone = time.monotonic() - self._began
        if gone < QUIET_SECONDS:
            return
        if self._ident is None:
            self._begin()
        elif self._live is None:
            self._put({"text/plain": self._said()})
        elif self._live.ready or gone < _PATIENCE:
            self._live.update()
        else:  # nobody draws it: a console, or a notebook that is run by a program
            self._live.close()
            self._live, self.frame = None, _FRAME_SECONDS
            self._put({"text/plain": self._said()})

    def _begin(self) -> None:
        """Show the graph, or the line where no graph can be shown."""
        graph = Graph.of_run(self._run) if not self._line and widgets.possible() else None
        if graph is not None and widgets.Live.suits(graph):
            self._live, self.frame = widgets.Live(graph), widgets.FRAME
            self._put(self._live.bundle() | {"text/plain": self._said()})
        else:
            self._put({"text/plain": self._said()})

    def _said(self) -> str:
        """Return one line on how far the run is."""
        progress = self._run.progress
        counts = ", ".join(f"{count:,} {state}" for state, count in progress.counts.items())
        gone = seconds(time.monotonic() - self._began)
        fetched = [f"{printable(told.name, limit=70)} ({size(told.done)})" for told in default().resources.fetching[:3]]
        more = f"; fetching {', '.join(fetched)}" if fetched else ""
        return f"{progress.ended:,} of {plural(progress.total, 'task')} in {gone}: {counts}{more}"

    def _put(self, bundle: dict[str, Any], metadata: dict[str, Any] | None = None) -> None:
        if self._ident is not None:
            update_display(bundle, raw=True, metadata=metadata or {}, display_id=self._ident)
        else:
            self._ident = str(display(bundle, raw=True, metadata=metadata or {}, display_id=True).display_id)

    def finish(self) -> None:
        """Put the picture of the run in place of what is there."""
        bundle, metadata = pictures.mimebundle(self._run), footer.metadata(self._run)
        if self._ident is None:
            display(bundle, raw=True, metadata=metadata)
        else:
            self._put(bundle, metadata)
        if self._live is not None:
            self._live.close()
        footer.said()
