"""The runner of a session: plan, schedule, remember, and make what was acknowledged durable."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from ipvm_kernel import notebook
from ipvm_kernel.engine.answers import SMALL_BYTES, Answer, Progress, Stopper
from ipvm_kernel.engine.executors import Executor, ThreadExecutor
from ipvm_kernel.engine.scheduler import Scheduler
from ipvm_kernel.errors import StoreError
from ipvm_kernel.session.admitting import planned
from ipvm_kernel.session.placing import Places
from ipvm_kernel.session.tally import Tally
from ipvm_kernel.store import Entry, RunRecord
from ipvm_kernel.wasm.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from ipvm_kernel.engine.ops import Op
    from ipvm_kernel.engine.planner import Plan
    from ipvm_kernel.ipld import CID
    from ipvm_kernel.model import Receipt, Task, Workflow
    from ipvm_kernel.notebook import Cell
    from ipvm_kernel.session.admission import Admission
    from ipvm_kernel.store import Store

_DIVERGENCES: Final = 5  # that are told one by one under a cell
_REMEMBERED: Final = 4096  # receipts kept in memory, so that asking again costs a microsecond


class Runner:
    """Runs plans against one store, and remembers what came of them.

    Attributes:
        tally: What happened since somebody last looked.
        notices: Things to be said once.
        places: Where tasks are declared, and what files are called.
    """

    def __init__(
        self,
        store: Store,
        ops: Mapping[str, Op],
        limits: Limits,
        executor: Executor | None,
        *,
        admission: Admission,
        ask: Callable[[Sequence[CID]], bool] | None = None,
    ) -> None:
        self.tally = Tally()
        self.notices: list[str] = []
        self._store = store
        self._ops = ops
        self._limits = limits
        self._executor = executor
        self._admission = admission
        self._ask = ask
        self._known: OrderedDict[CID, tuple[Receipt, float]] = OrderedDict()
        self._unfiled: OrderedDict[CID, Receipt] = OrderedDict()
        self._stoppers: weakref.WeakSet[Stopper] = weakref.WeakSet()
        self._running: dict[CID, Stopper] = {}
        self._lock = threading.RLock()
        self._name = os.urandom(6).hex()
        self._pid = os.getpid()
        self._refused = False
        self.places = Places(store, self._name)

    @property
    def executor(self) -> Executor:
        """Who runs tasks."""
        if self._executor is None or self._pid != os.getpid():
            self._executor, self._pid = ThreadExecutor(), os.getpid()
        return self._executor

    def stream(
        self,
        tasks: dict[CID, Task],
        wanted: list[CID] | None,
        rerun: set[CID],
        stopper: Stopper,
        progress: Progress,
        *,
        workflow: Workflow | None = None,
        name: str = "",
        executor: Executor | None = None,
        limits: Limits | None = None,
        cells: Mapping[CID, Cell] | None = None,
    ) -> Generator[Answer, None, None]:
        """Plan, run, remember, and make what was acknowledged durable."""
        made = planned(
            tasks, self._store, self._ops, wanted=wanted, rerun=rerun, admission=self._admission, ask=self._ask
        )
        progress.total = len(made.replays) + len(made.runs)
        ident = self._begin(workflow, name) if made.runs or workflow is not None else None
        scheduler = Scheduler(
            made,
            store=self._store,
            ops=self._ops,
            executor=executor or self.executor,
            caps=self._limits.within(limits or Limits()),
            stopper=stopper,
            progress=progress,
            rerun=rerun,
            run=ident,
            declared=self.places.numbers(made.runs, cells or {}),
        )
        with self._lock:
            self._stoppers.add(stopper)
            self._running.update(dict.fromkeys(made.runs, stopper))
        began = time.perf_counter()
        try:
            with contextlib.closing(scheduler.stream()) as answers:
                for answer in answers:
                    self._note(answer, made)
                    yield answer
        finally:
            with self._lock:
                for cid in made.runs:
                    if self._running.get(cid) is stopper:
                        del self._running[cid]
            if made.runs:
                self.settle()
            self.tally.elapsed += time.perf_counter() - began

    def settle(self) -> None:
        """Make what was acknowledged durable. What the disk refuses is said once, stays in memory and is tried again."""
        try:
            self._store.sync()
        except StoreError as error:
            if not self._refused:
                self.notices.append(error.message)
            self._refused = True
        else:
            self._refused = False

    def _begin(self, workflow: Workflow | None, name: str) -> int:
        cell = notebook.current_cell()
        if workflow is not None:
            self.tally.workflows.append(str(self._store.put(workflow.block)))
        return self._store.begin(
            RunRecord(
                workflow=workflow.cid if workflow is not None else None,
                name=name,
                cell=cell.ident,
                source=cell.source,
                count=cell.count,
                notebook=cell.notebook,
                session=self._name,
            )
        )

    def _note(self, answer: Answer, made: Plan) -> None:
        """Remember an answer for the tally, and for whoever asks again."""
        cid, receipt = answer.instruction, answer.receipt
        task = made.tasks.get(cid)
        self.tally.add(answer, task.run.func if task is not None else cid.short)
        if receipt is None:
            return
        # What came of another's lie says nothing against whoever says something else.
        if cid in made.unverified and answer.how in {"computed", "failed"} and answer.filed and not answer.leans:
            self._compare(cid, receipt)
        if answer.filed:
            found = made.replays.get(cid)
            if (found is None or found.own) and not answer.leans:  # else asked for again: it may be used no longer
                self._remember(cid, receipt, answer.saved or answer.seconds)
        elif len(receipt.block.data) <= SMALL_BYTES:
            # By invocation: what a limit did to a task says nothing of the same task under another.
            self._unfiled[receipt.ran] = receipt
            if len(self._unfiled) > _REMEMBERED:
                self._unfiled.popitem(last=False)

    def _compare(self, cid: CID, receipt: Receipt) -> None:
        """Say whether what was worked out here is what others had worked out."""
        for compared in self._admission.divergences.compare(cid, receipt):
            self.tally.compared[compared.receipt] = compared.equal
            if compared.told:
                self.tally.diverged += 1
                if self.tally.diverged <= _DIVERGENCES:
                    self.notices.append(compared.told)
                elif self.tally.diverged == _DIVERGENCES + 1:
                    self.notices.append("more divergences are in the journal: `ipvm why` tells of each task")
                entry = Entry(instruction=cid, func=receipt.func, rsc="", how="failed", error=compared.told)
                self._store.note(entry)

    def _remember(self, cid: CID, receipt: Receipt, took: float) -> None:
        if len(receipt.block.data) <= SMALL_BYTES:
            self._known[cid] = (receipt, took)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def interrupt(self) -> None:
        """Stop everything that runs in this session. Receipts that are there are kept."""
        with self._lock:
            stoppers = list(self._stoppers)
        for stopper in stoppers:
            stopper.stop()

    def cancel(self, instruction: CID) -> bool:
        """Stop the run that works on an instruction, if one does."""
        with self._lock:
            stopper = self._running.get(instruction)
        if stopper is not None:
            stopper.stop()
        return stopper is not None

    # --- remembering --------------------------------------------------------------------------------------------------

    def remembered(self, cid: CID) -> Answer | None:
        """Return the answer of an instruction that this session has met, counted as a replay, or None."""
        known = self._known.get(cid)
        if known is None:
            return None
        self.settle()  # a run that is still under way may have filed it just now
        answer = Answer(cid, known[0], "replayed", saved=known[1], filed=True)
        self.tally.add(answer)
        return answer

    def known(self, instruction: CID, invocation: CID | None = None) -> Receipt | None:
        """Return the receipt that answers an instruction, or None. Nothing runs.

        Args:
            instruction: The instruction.
            invocation: Answer with what came of this invocation in this session too, if nothing is on file.
        """
        remembered = self._known.get(instruction)
        if remembered is not None:
            return remembered[0]
        found = self._admission.on_file([instruction]).get(instruction)
        receipt = found.receipt if found is not None and found.admitted else None
        if found is not None and receipt is not None:
            if found.own:
                self._remember(instruction, receipt, found.seconds)
            return receipt
        return self._unfiled.get(invocation) if invocation is not None else None

    def count_known(self, instructions: list[CID]) -> int:
        """Return how many instructions have a receipt that would be replayed. Nothing runs, and no value is read."""
        found = self._admission.on_file(instructions)
        return sum(entry.admitted and entry.here for entry in found.values())

    def known_many(self, instructions: list[CID]) -> dict[CID, Receipt]:
        """Return the receipts that answer some instructions. Nothing runs."""
        found = self._admission.on_file(instructions)
        known = {cid: entry.receipt for cid, entry in found.items() if entry.admitted}
        return {cid: receipt for cid, receipt in known.items() if receipt is not None}

    def forget(self, instructions: Iterable[CID]) -> int:
        """Take the receipts of some instructions off file, so that they run again."""
        wanted = list(instructions)
        for cid in wanted:
            self._known.pop(cid, None)
        return self._store.forget(wanted)

    def close(self) -> None:
        """Stop what runs and end the workers."""
        self.interrupt()
        if self._executor is not None and self._pid == os.getpid():
            self._executor.close()
            self._executor = None
