"""Where the workflows of guests run: on the owner's store without what is secret, `wasm/run` alone, in threads of their own.

What is asked for and hidden is as if it were not here, so that nobody learns by asking whether it is. Threads of their own
keep the owner's tasks from waiting behind those of guests; limits are those of the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.engine.answers import Answer, Progress, Stopper
from ipvm_kernel.engine.executors import ThreadExecutor
from ipvm_kernel.engine.ops import Means, WasmRun
from ipvm_kernel.exchange.resources import Resources
from ipvm_kernel.model import WASM_RUN
from ipvm_kernel.runs import Run
from ipvm_kernel.session.admission import Admission
from ipvm_kernel.session.admitting import Examiner, planned
from ipvm_kernel.session.runner import Runner
from ipvm_kernel.session.serving import Veiled

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from ipvm_kernel.engine.ops import Op
    from ipvm_kernel.engine.planner import Plan
    from ipvm_kernel.ipld import CID
    from ipvm_kernel.model import Workflow
    from ipvm_kernel.session import Session
    from ipvm_kernel.store import OnFile


class Screened(Veiled):
    """A store as the tasks of guests see it: without what is secret, and without the answers that came of it."""

    def on_file(self, instructions: Iterable[CID]) -> dict[CID, OnFile]:
        """Return what is on file, as the store does."""
        self._until = 0.0  # a run begins here: what is secret by now counts
        found = self._store.on_file(instructions)
        hidden = self.hidden(found)
        return {cid: one for cid, one in found.items() if cid not in hidden}

    def outcome(self, key: bytes) -> OnFile | None:
        """Return the receipt of a task with this resolved key, as the store does."""
        found = self._store.outcome(key)
        if found is not None:
            self._until = 0.0  # it may have been made a moment ago
        return None if found is None or self.hides(found.instruction) else found

    def pins(self) -> dict[str, CID]:
        """Return the pins, as the store does."""
        found = self._store.pins()
        hidden = self.hidden(found.values())
        return {name: cid for name, cid in found.items() if cid not in hidden}


class GuestRoom:
    """Runs the workflows of guests.

    Args:
        session: Whose node it is.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        store: Any = Screened(session.store)
        resources = Resources(store, session.resources.settings)
        self._store = store
        self._ops: dict[str, Op] = {WASM_RUN: WasmRun(Means(store, session.library, None, resources))}
        examiner = Examiner(store, self._ops, resources.open)
        self._admission = Admission(store, session.policy, examiner, session.notices.append)
        self._executor = ThreadExecutor()
        self._runner = Runner(store, self._ops, session.limits, self._executor, admission=self._admission)

    def plan(self, workflow: Workflow) -> Plan:
        """Return what a run would do, and do nothing."""
        return planned(workflow.by_instruction(), self._store, self._ops, admission=self._admission)

    def run(self, workflow: Workflow, *, name: str, did: str) -> Run:
        """Return a run of a workflow, not begun. The journal says for whom it was."""
        tasks = workflow.by_instruction()
        stopper, progress = Stopper(), Progress(len(tasks))

        def stream() -> Generator[Answer, None, None]:
            yield from self._runner.stream(
                tasks, None, set(), stopper, progress, workflow=workflow, name=f"{name} (for {did})"
            )
            self._session.notices += self._runner.notices
            self._runner.notices.clear()

        return Run(workflow, stream, stopper=stopper, progress=progress, source=self._session, name=name)

    def close(self) -> None:
        """End the threads."""
        self._runner.close()
