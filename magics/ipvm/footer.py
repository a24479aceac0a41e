"""The line under each cell that used ipvm: how many tasks, how they ended, how long it took, and what replaying saved.

The output's metadata names the workflow and the receipts, since a kernel cannot write a cell's own metadata.
"""

from __future__ import annotations

import os
import sys
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from ipvm import stale

if TYPE_CHECKING:
    from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell

    from ipvm_kernel import Run, Session
    from ipvm_kernel.session import Tally

NAMED_RECEIPTS: Final = 1000
"""Receipts that an output's metadata names at most; a run of more names its workflow alone."""

LOG_LINES: Final = 40
"""Lines of a guest's log shown under a cell; the rest stays with the receipt."""

_ASKED: Final = 256  # tasks whose logs are asked for at once


def _session() -> Session | None:
    """Return the default session, if anything opened it."""
    defaults = sys.modules.get("ipvm_kernel.session.defaults")
    return defaults.current() if defaults is not None else None


class Footer:
    """The hooks of one shell."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._names = stale.Names(shell.user_ns)
        stale.watch(self._names)

    def before(self, info: ExecutionInfo) -> None:
        """Note which cell is about to run, and forget what happened between cells."""
        from ipvm_kernel import notebook

        notebook.end_capture()
        count = self._count() if info.store_history else 0
        notebook.set_cell(
            notebook.Cell.of(
                info.raw_cell or "", ident=info.cell_id, count=count, notebook=os.environ.get("JPY_SESSION_NAME", "")
            )
        )
        session = _session()
        if session is not None:
            session.take_tally()

    def _count(self) -> int:
        """Return the number of the cell that is about to run. Some versions of IPython have counted it already."""
        counted: int = self._shell.execution_count
        stored = len(self._shell.history_manager.input_hist_raw) if self._shell.history_manager is not None else 0
        return stored if stored in {counted, counted - 1} else counted

    def forget(self) -> None:
        """Say that no cell is running: nobody will say so any more."""
        from ipvm_kernel import notebook

        notebook.end_capture()
        notebook.set_cell(None)
        stale.watch(None)

    def after(self, result: ExecutionResult) -> None:  # noqa: ARG002 - what it gave is not our business
        """Say what ipvm did in the cell."""
        from ipvm_kernel import notebook

        notebook.end_capture()
        news = self._names.news()
        self._names.note()
        session = _session()
        if session is None:
            return
        tally = session.take_tally()
        lines = [*session.take_notices(), *_logs(session, tally), *news]
        if tally.counts and not tally.told:
            lines.append(tally.summary())
        unused = session.admission.divergences.told(tally.compared) if tally.compared else ""
        if unused:
            lines.append(unused)
        if not lines:
            return
        from IPython.display import display

        from ipvm_kernel.printable import markup

        text = "\n".join(lines)
        quiet = '<div style="opacity:0.7;font-size:90%;white-space:pre-wrap">'
        named = _about(tally.workflows, tally.receipts)
        display(
            {"text/plain": text, "text/html": f"{quiet}{markup(text, limit=100_000, keep=chr(10))}</div>"},
            raw=True,
            metadata=named if tally.receipts else {},
        )


def _logs(session: Session, tally: Tally) -> list[str]:
    """Return what guests said, now or when the receipts that were replayed were made, each line after its function."""
    lines: list[str] = []
    asked = list(dict.fromkeys([*tally.logs, *tally.filed]))
    for start in range(0, len(asked), _ASKED):
        chunk = asked[start : start + _ASKED]
        kept = session.store.logs([cid for cid in chunk if cid not in tally.logs])
        said = {cid: (entry.func, entry.log) for cid, entry in kept.items()} | tally.logs
        for func, log in (said[cid] for cid in chunk if cid in said):
            lines += [f"{func}: {line}" for line in log.splitlines()]
        if len(lines) > LOG_LINES:
            return [*lines[:LOG_LINES], "… and more: see the log of the run or of a handle"]
    return lines


def metadata(run: Run) -> dict[str, Any]:
    """Return the metadata of a run's output: its workflow, and the receipt of each instruction."""
    return _about([str(run.workflow.cid)], {str(cid): str(receipt) for cid, receipt in run.receipt_cids.items()})


def about(receipts: dict[str, str]) -> dict[str, Any]:
    """Return the metadata of an output that shows what came of some tasks: for each instruction its receipt."""
    return _about([], receipts)


def _about(workflows: list[str], receipts: dict[str, str]) -> dict[str, Any]:
    """Return an output's metadata: which cell made which receipts. The cell is its id, or a hash of its source."""
    from ipvm_kernel.notebook import current_cell

    named = dict(islice(receipts.items(), NAMED_RECEIPTS))
    return {"ipvm": {"cell": current_cell().ident, "workflows": workflows, "receipts": named}}


def said() -> None:
    """Note that a run's summary is on the screen, so that the line under the cell does not repeat it."""
    session = _session()
    if session is not None:
        session.tally.told = True
