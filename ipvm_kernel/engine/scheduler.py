"""The scheduler: a task starts when its own inputs are known, and what others do is nothing to it.

Receipts come out as a stream, each as soon as it can be had. A task that fails gives an error receipt, its dependants
one that names the broken promise, and unrelated branches go on. Nothing is a batch, nothing recurses, and nothing here
knows who is watching: whoever iterates is the observer.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.engine.answers import Answer, Answers, Progress, Stopper
from ipvm_kernel.engine.ops import Performed, Unprepared
from ipvm_kernel.errors import Divergence
from ipvm_kernel.model import Awaited, Outcome, Promise, Receipt, failure, resolve
from ipvm_kernel.store import Entry, Filing
from ipvm_kernel.wasm.limits import Limits, Report
from ipvm_kernel.wasm.wire import sides

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from concurrent.futures import Future

    from ipvm_kernel.engine.executors import Executor
    from ipvm_kernel.engine.ops import Op, Prepared
    from ipvm_kernel.engine.planner import Plan
    from ipvm_kernel.ipld import CID, Ipld
    from ipvm_kernel.model import Task
    from ipvm_kernel.store import Claim, OnFile, Store
    from ipvm_kernel.wasm.stop import Stop

TICK: Final = 0.05
"""Seconds between two looks at whether somebody wants the run to stop."""

_AGAIN: Final = 0.01  # seconds between two tries to claim a task that another kernel is running
_AHEAD: Final = 2  # calls that wait at the executor for each of its slots


class _Skip(Exception):
    """The task awaits an error that did not happen."""


class _Broken(Exception):
    """The task awaits an answer that will not come."""

    def __init__(self, promise: Promise) -> None:
        super().__init__(promise.instruction)
        self.promise = promise


class _Attempt:
    """What a worker found: an outcome of its own, one to share, or that another kernel is at it."""

    __slots__ = ("claim", "key", "performed", "shared")

    def __init__(
        self,
        key: bytes | None = None,
        performed: Performed | None = None,
        shared: OnFile | None = None,
        claim: Claim | None = None,
    ) -> None:
        self.key, self.performed, self.shared, self.claim = key, performed, shared, claim


class Scheduler:
    """One run: a plan, and what it has come to."""

    def __init__(
        self,
        plan: Plan,
        *,
        store: Store,
        ops: Mapping[str, Op],
        executor: Executor,
        caps: Limits,
        stopper: Stopper,
        progress: Progress,
        rerun: Collection[CID] = (),
        run: int | None = None,
    ) -> None:
        self._plan = plan
        self._store = store
        self._ops = ops
        self._executor = executor
        self._caps = caps
        self._stopper = stopper
        self._progress = progress
        self._rerun = rerun
        self._run = run
        self._answers = Answers(store)
        self._waiting: dict[CID, int] = {}
        self._users: dict[CID, list[CID]] = {}
        self._ready: deque[CID] = deque()
        self._later: deque[tuple[float, CID]] = deque()
        self._ended: queue.SimpleQueue[tuple[CID, Stop, Future[Any]]] = queue.SimpleQueue()
        self._flying = 0

    def stream(self) -> Iterator[Answer]:
        """Yield the answer of every instruction of the plan. What is on file comes first."""
        for cid, found in self._plan.replays.items():
            receipt = found.receipt
            assert receipt is not None
            self._answers.keep(cid, receipt, filed=True)
            yield self._answer(cid, receipt, "replayed", saved=found.seconds)
        self._count()
        try:
            while self._ready or self._later or self._flying:
                yield from self._fill()
                yield from self._drain()
        finally:
            if self._flying:  # whoever iterated went away, or something broke: let nothing run on
                self._stopper.stop()

    def _count(self) -> None:
        """Count what each task waits for, and begin with those that wait for nothing."""
        for cid in self._plan.runs:
            missing = [other for other in self._plan.awaits[cid] if other not in self._plan.replays]
            self._waiting[cid] = len(missing)
            for other in missing:
                self._users.setdefault(other, []).append(cid)
            if not missing:
                self._ready.append(cid)
                self._progress.set(cid, "ready")
            else:
                self._progress.set(cid, "pending")
        for cid in self._plan.replays:
            self._answers.uses(cid, 0)
        for cid in self._plan.runs:
            for other in self._plan.awaits[cid]:
                self._answers.uses(other, 1)

    def _fill(self) -> Iterator[Answer]:
        """Give the executor what it can take; answer at once for what needs no work."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._ready.append(self._later.popleft()[1])
        while self._ready and self._flying < self._executor.slots * _AHEAD:
            cid = self._ready.popleft()
            task = self._plan.tasks[cid]
            if self._stopper.stopped:
                yield from self._settle(cid, self._answer(cid, None, "cancelled"))
                continue
            try:
                tree = resolve(task.run.input, self._promised)
            except _Skip:
                yield from self._settle(cid, self._answer(cid, None, "skipped"))
                continue
            except _Broken as broken:
                yield from self._settle(cid, self._blocked(cid, task, broken.promise))
                continue
            self._submit(cid, task, tree)

    def _promised(self, promise: Promise) -> Awaited:
        """Return what a promise has come to (RULES 4)."""
        cid = promise.instruction
        outcome = self._answers.outcome(cid)
        if outcome is None:
            raise _Skip if self._progress.state(cid) == "skipped" else _Broken(promise)
        fallible = outcome.tag != "error" and self._fallible(cid)
        failed, payload = outcome.tag == "error", outcome.value
        if fallible and promise.branch != "ok":
            side, payload = sides(payload)
            failed = side == 1
        match promise.branch:
            case "ok":
                if failed:
                    raise _Broken(promise)
                return Awaited(payload, "ok", fallible)
            case "error":
                if not failed:
                    raise _Skip
                return Awaited(payload, "error")
            case "*":
                return Awaited(["error" if failed else "ok", payload], "*")

    def _fallible(self, cid: CID) -> bool:
        task = self._plan.tasks.get(cid)
        run = task.run if task is not None else self._answers.instruction(cid)
        op = self._ops.get(run.op) if run is not None else None
        return op is not None and run is not None and op.fallible(run)

    def _submit(self, cid: CID, task: Task, tree: Any) -> None:
        limits = Limits.of_meta(task.meta).within(self._caps)
        stop = self._stopper.new()
        self._progress.set(cid, "running")
        self._flying += 1
        future = self._executor.submit(self._attempt, cid, task, tree, limits, stop, key=f"{task.run.func}-{cid}")
        future.add_done_callback(lambda done: self._ended.put((cid, stop, done)))

    def _attempt(self, cid: CID, task: Task, tree: Any, limits: Limits, stop: Stop) -> _Attempt:
        """In a worker: share the outcome of an equal task, or claim the task and do it."""
        op = self._ops.get(task.run.op)
        if op is None:
            known = ", ".join(sorted(self._ops))
            message = f"no operation is called {task.run.op!r}; there are: {known}"
            return _Attempt(performed=Performed(failure("missing", message), filed=False, report=Report()))
        try:
            prepared: Prepared = op.prepare(task.run, tree)
        except Unprepared as error:
            return _Attempt(performed=Performed(error.outcome, filed=False, report=Report()))
        if cid in self._rerun or cid in self._plan.expected:
            return _Attempt(prepared.key, op.perform(prepared, limits, stop))
        claim = self._store.claim(prepared.key)
        shared = self._store.outcome(prepared.key)
        if shared is not None and shared.receipt is not None:
            if claim is not None:
                claim.release()
            return _Attempt(prepared.key, shared=shared)
        if claim is None:
            return _Attempt(prepared.key)
        try:
            return _Attempt(prepared.key, op.perform(prepared, limits, stop), claim=claim)
        except BaseException:
            claim.release()
            raise

    def _drain(self) -> Iterator[Answer]:
        """Wait for a worker, and answer for what it did."""
        if not self._flying:
            if self._later and not self._ready:
                time.sleep(max(0.0, min(TICK, self._later[0][0] - time.monotonic())))
            return
        try:
            cid, stop, future = self._ended.get(timeout=_AGAIN if self._later else TICK)
        except queue.Empty:
            return
        while True:
            self._flying -= 1
            self._stopper.done(stop)
            attempt: _Attempt = future.result()
            if attempt.performed is None and attempt.shared is None:
                self._later.append((time.monotonic() + _AGAIN, cid))
                self._progress.set(cid, "ready")
            else:
                try:
                    answer = self._finish(cid, attempt)
                finally:
                    if attempt.claim is not None:
                        attempt.claim.release()
                yield from self._settle(cid, answer)
            try:
                cid, stop, future = self._ended.get_nowait()
            except queue.Empty:
                return

    def _finish(self, cid: CID, attempt: _Attempt) -> Answer:
        """Put a receipt on file, if every machine would give it, and return the answer."""
        task = self._plan.tasks[cid]
        entry = Entry(instruction=cid, func=task.run.func, rsc=task.run.rsc, how="computed", run=self._run)
        if attempt.shared is not None:
            source = attempt.shared
            assert source.receipt is not None
            receipt = _receipt(task, source.receipt.out)
            entry.how, entry.source, entry.seconds, entry.receipt = "shared", source.cid, source.seconds, receipt.cid
            self._store.file(Filing(task, receipt, attempt.key, entry))
            self._answers.keep(cid, receipt, filed=True)
            return self._answer(cid, receipt, "replayed", saved=source.seconds)
        performed = attempt.performed
        assert performed is not None
        outcome, report = performed.outcome, performed.report
        error = outcome.value if outcome.tag == "error" else None
        entry.seconds, entry.fuel, entry.log, entry.engine = performed.seconds, report.fuel, report.log, report.engine
        if type(error) is dict:
            if error.get("kind") == "cancelled":
                return self._answer(cid, None, "cancelled")
            if error.get("kind") == "broken-promise":
                promise = next(iter(task.run.awaits))
                return self._blocked(cid, task, promise, error.get("detail"))
            entry.how, entry.error = "failed", f"{error.get('kind')}: {error.get('message')}"
        receipt = _receipt(task, outcome)
        self._compare(cid, task, receipt)
        if performed.filed:
            entry.receipt = receipt.cid
            self._store.file(Filing(task, receipt, attempt.key, entry))
        else:
            self._store.put(task.run.block)
            self._store.put(task.invocation.block)
            if entry.how == "computed":
                entry.how, entry.error = (
                    "failed",
                    "limit: a memory limit may have changed the answer, so it is not filed",
                )
            self._store.note(entry)
        self._answers.keep(cid, receipt, filed=performed.filed)
        how = "failed" if outcome.tag == "error" else "computed"
        return self._answer(cid, receipt, how, seconds=performed.seconds, log=report.log, value=performed.value)

    def _compare(self, cid: CID, task: Task, receipt: Receipt) -> None:
        """Raise if a rerun gave another answer than the one on file."""
        expected = self._plan.expected.get(cid)
        if expected is None or expected == receipt.cid:
            return
        before = self._answers.filed(expected)
        if before is not None and before.out == receipt.out:
            return  # the same answer to another invocation: other limits, say
        raise Divergence(
            f"{task.run.func} ({cid.short}) gave {receipt.cid} where {expected} is on file: equal tasks must give equal "
            f"answers. `ipvm why {cid.short}` shows when and by which engine"
        )

    def _blocked(self, cid: CID, task: Task, promise: Promise, detail: Ipld = None) -> Answer:
        """Return the answer of a task that was not run because a promise is broken."""
        broken = self._plan.tasks.get(promise.instruction)
        name = broken.run.func if broken is not None else promise.instruction.short
        payload: dict[str, Ipld] = {"instruction": promise.instruction}
        if detail is not None:
            payload["error"] = detail
        receipt = _receipt(
            task,
            failure(
                "broken-promise", f"not run: {name} ({promise.instruction.short}), which it awaits, failed", payload
            ),
        )
        self._answers.keep(cid, receipt, filed=False)
        return self._answer(cid, receipt, "blocked")

    def _answer(self, cid: CID, receipt: Receipt | None, how: Any, **more: Any) -> Answer:
        self._progress.set(cid, how)
        return Answer(cid, receipt, how, **more)

    def _settle(self, cid: CID, answer: Answer) -> Iterator[Answer]:
        """Yield an answer and free those who waited for it."""
        yield answer
        for other in self._plan.awaits.get(cid, ()):
            self._answers.uses(other, -1)
        for user in self._users.pop(cid, ()):
            self._waiting[user] -= 1
            if not self._waiting[user]:
                self._ready.append(user)
                self._progress.set(user, "ready")


def _receipt(task: Task, outcome: Outcome) -> Receipt:
    return Receipt(ran=task.invocation.cid, out=outcome, meta={"op": task.run.func})
