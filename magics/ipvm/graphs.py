"""What a live graph shows: a run, a workflow, or all that led to a receipt, as tasks with states that can be asked for.

No widget is known here. Whoever draws asks for the names once, for the states often, and for one task's details when
somebody looks at it.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import IpvmError, NotFound
from ipvm_kernel.picture import Draft
from ipvm_kernel.picture.graph import Fold, Shape, arranged
from ipvm_kernel.picture.states import MARKS
from ipvm_kernel.picture.widths import clipped
from ipvm_kernel.printable import plural, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel import CID, Receipt, Run, Session, Task, Workflow

MOST: Final = 20_000
"""Tasks of a graph that can be explored; a run of more shows a line, and its picture is a summary."""

_CODES: Final = {state: str(n) for n, state in enumerate(MARKS)}
_FOLDS: Final = 50  # boxes of ancestors or descendants at a time
_ON_FILE: Final = {"replayed": "on file", "pending": "not run"}


class Graph:
    """Tasks, and what is known of them.

    Attributes:
        title: What it is.
        tasks: The tasks, in the order of the workflow.
        home: The session that has the receipts.
        run: The run that it watches, or None.
        words: What to call states, if not by their names.
        select: The task that is selected first, or None.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        home: Session,
        *,
        title: str = "",
        run: Run | None = None,
        workflow: CID | None = None,
        select: CID | None = None,
    ) -> None:
        self.title = title
        self.tasks = tasks
        self.home = home
        self.run = run
        self.workflow = workflow
        self.words = {} if run is not None else _ON_FILE
        self.cids = [task.run.cid for task in tasks]
        self.where = {cid: at for at, cid in enumerate(self.cids)}
        self.select = self.where.get(select) if select is not None else None
        self._began = time.monotonic()

    @classmethod
    def of_run(cls, run: Run) -> Graph:
        """Return the graph of a run, begun or not."""
        title = clipped(run.name, 80) if run.name else "run"
        home: Any = run._source  # noqa: SLF001 - its session
        return cls(run.workflow.tasks, home, title=title, run=run, workflow=run.workflow.cid)

    @classmethod
    def of_workflow(cls, workflow: Workflow, home: Session) -> Graph:
        """Return the graph of a workflow, with what its session has on file."""
        return cls(workflow.tasks, home, title="workflow", workflow=workflow.cid)

    @classmethod
    def of_receipt(cls, receipt: Receipt, home: Session) -> Graph:
        """Return the graph of all that led to a receipt, with its task selected.

        Raises:
            NotFound: The session has no task for it.
        """
        end = home.instruction_of(_in(home, receipt))
        return cls(_before(home, end), home, title="receipt", select=end)

    @cached_property
    def shape(self) -> Shape:
        """The tasks and their promises as numbers."""
        where = self.where
        return Shape([
            Draft(
                task.run.func,
                task.run.rsc,
                "pending",
                tuple([(where.get(p.instruction, -1), p.branch) for p in task.run.awaits]),
            )
            for task in self.tasks
        ])  # fmt: skip

    def names(self) -> dict[str, Any]:
        """Return what tasks are called: each function once, the function of each task, and its short CID."""
        kinds = [[clipped(func, 60), clipped(module.rpartition("/")[2], 80)] for func, module in self.shape.kinds]
        return {"kinds": kinds, "kind": self.shape.kind_of, "short": [cid.short for cid in self.cids]}

    def view(self, opened: Sequence[int] | None = None, folds: Sequence[tuple[int, str]] = ()) -> dict[str, Any]:
        """Return the boxes and arrows, with these functions opened and these neighbourhoods folded."""
        shape = self.shape
        if opened is None:
            return arranged(shape, shape.opened_first())
        kept = {kind for kind in opened if 0 <= kind < len(shape.kinds)}
        count = len(self.tasks)
        folded = [Fold(task, "before" if side == "before" else "after") for task, side in folds if 0 <= task < count]
        return arranged(shape, kept, folded[-_FOLDS:])

    @cached_property
    def _known(self) -> dict[CID, Receipt]:
        return self.home.known_many(self.cids)

    def receipt(self, cid: CID) -> Receipt | None:
        """Return the receipt of a task, if it has one."""
        if self.run is None:
            return self._known.get(cid)
        answer = self.run.answer(cid)
        return answer.receipt if answer is not None else None

    def state(self, cid: CID) -> str:
        """Return the state of a task (RULES 8)."""
        if self.run is not None:
            return self.run.progress.state(cid) or "pending"
        receipt = self._known.get(cid)
        return "pending" if receipt is None else "replayed" if receipt.ok else "failed"

    def states(self) -> str:
        """Return the states of all tasks, a digit each."""
        if self.run is not None:
            states = self.run.progress.states
            return "".join([_CODES[states.get(cid, "pending")] for cid in self.cids])
        return "".join([_CODES[self.state(cid)] for cid in self.cids])

    def progress(self, states: str) -> dict[str, Any]:
        """Return how far it is: counts, and what is to be said of the time."""
        total = len(states)
        counts = [states.count(str(n)) for n in range(len(MARKS))]
        ended = sum(counts[3:])
        done = self.run is None or self.run.done()
        if self.run is None:
            told, times = plural(total, "task"), ""
        else:
            gone = self.run.elapsed if done else time.monotonic() - self._began
            told = plural(total, "task") if done else f"{ended:,} of {plural(total, 'task')}"
            times = seconds(gone)
            ran = counts[_COMPUTED] + counts[_FAILED]
            if not done and ran and gone > 1:
                times += f", about {seconds(_rounded((total - ended) * gone / ran))} left"
        return {"total": total, "ended": ended, "counts": counts, "done": done, "said": told, "times": times}

    def find(self, text: str) -> list[int]:
        """Return the tasks that a CID is about: of an instruction, an invocation or a receipt."""
        wanted = text.strip().removeprefix("ipfs://")[:200]
        if len(wanted) < 8:
            return []
        receipts = self.run.receipt_cids if self.run is not None else {cid: r.cid for cid, r in self._known.items()}
        named = [at for cid, at in self.where.items() if cid in receipts and _begins(receipts[cid], wanted)]
        if not named:
            try:
                at = self.where.get(self.home.instruction_of(self.home.resolve(wanted)))
            except IpvmError:
                return []
            return [] if at is None else [at]
        return named

    def cancel(self, task: int | None) -> None:
        """Stop the run, or one task of it."""
        if self.run is None:
            return
        if task is None:
            self.run.cancel()
        elif 0 <= task < len(self.cids):
            self.run.cancel(self.cids[task])


_COMPUTED: Final = list(MARKS).index("computed")
_FAILED: Final = list(MARKS).index("failed")


def _begins(cid: CID, wanted: str) -> bool:
    return cid.short.startswith(wanted) or str(cid).startswith(wanted)


def _rounded(left: float) -> float:
    """Return a time that nobody can know exactly, with no more digits than it deserves."""
    return max(1.0, round(left) if left < 20 else round(left / 5) * 5)


def _before(home: Session, end: CID) -> list[Task]:
    """Return an instruction's task and all that led to it, as far as their blocks are in the store."""
    found: dict[CID, Task] = {}
    pending = [end]
    while pending and len(found) < MOST:
        cid = pending.pop()
        if cid in found:
            continue
        try:
            found[cid] = home.handle(cid).task
        except IpvmError:
            if cid == end:
                raise
            continue  # of a workflow whose tasks are not here
        pending += [promise.instruction for promise in found[cid].run.awaits]
    return list(found.values())[::-1]


def _in(home: Session, receipt: Receipt) -> CID:
    """Return the CID of a receipt whose invocation is in a session's store."""
    try:
        home.find(receipt.ran)
    except NotFound as error:
        raise NotFound(
            f"the task of receipt {receipt.cid.short} is not in this session's store: {error.message}"
        ) from None
    return receipt.ran
