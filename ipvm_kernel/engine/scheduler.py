"""The scheduler: a task starts when its own inputs are known, and what others do is nothing to it.

Receipts come out as a stream, each as soon as it can be had. A task that fails gives an error receipt, its dependants
one that names the broken promise, and unrelated branches go on. Nothing is a batch, nothing recurses, and nothing here
knows who is watching: whoever iterates is the observer.

Whoever ends a task (a worker, mostly) files its receipt and starts those who waited for it, so a chain runs in one thread
from end to end, and what has ended is on file although the observer has gone. The observer only takes answers out of a
queue; if he is slow, the work waits for him.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from ipvm_kernel.engine.answers import ENDED, Answer, Answers, Progress, Stopper
from ipvm_kernel.engine.worker import Attempt, Worker
from ipvm_kernel.wasm.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping
    from concurrent.futures import Future

    from ipvm_kernel.engine.executors import Executor
    from ipvm_kernel.engine.ops import Op
    from ipvm_kernel.engine.planner import Plan
    from ipvm_kernel.ipld import CID
    from ipvm_kernel.store import Store
    from ipvm_kernel.wasm.stop import Stop

TICK: Final = 0.05
"""Seconds between two looks at whether somebody wants the run to stop."""

_BREATH: Final = 0.001  # seconds between two looks of an observer who is faster than the work: waking him costs as much
_AGAIN: Final = 0.01  # seconds between two tries to claim a task that another kernel is running
_AHEAD: Final = 2  # calls that wait at the executor for each of its slots
_UNSEEN: Final = 32  # answers for each slot that the observer has not taken yet, at most
_GRACE: Final = 1.0  # seconds for what was stopped to end, so that what it did is still filed


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
        declared: Mapping[CID, int] | None = None,
    ) -> None:
        self._plan = plan
        self._executor = executor
        self._caps = caps
        self._stopper = stopper
        self._progress = progress
        self._answers = Answers(store)
        self._worker = Worker(
            plan, self._answers, progress, store=store, ops=ops, rerun=rerun, run=run, declared=declared or {}
        )
        self._waiting: dict[CID, int] = {}
        self._users: dict[CID, list[CID]] = {}
        self._ready: deque[CID] = deque()
        self._later: deque[tuple[float, CID]] = deque()
        self._flying: set[CID] = set()
        self._out: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
        self._ended = threading.Condition(threading.RLock())  # its lock guards all of the above
        self._advancing = False
        self._closed = False
        self._looked = 0.0

    # --- the observer -------------------------------------------------------------------------------------------------

    def stream(self) -> Generator[Answer, None, None]:
        """Yield the answer of every instruction of the plan. What is on file comes first."""
        try:
            self._count()
            self._advance()
            for cid, found in self._plan.replays.items():
                yield Answer(cid, found.receipt, "replayed", saved=found.seconds, filed=True)
            for _ in self._plan.runs:
                yield self._next()
        finally:
            self._end()

    def _next(self) -> Answer:
        """Return the next answer, as soon as it can be had."""
        while True:
            if self._out.empty() and (rest := self._looked + _BREATH - time.monotonic()) > 0:
                time.sleep(rest)
            try:
                found = self._out.get(timeout=_AGAIN if self._later else TICK)
            except queue.Empty:
                self._advance()
                continue
            self._looked = time.monotonic()
            if self._ready or self._later:
                self._advance()
            if isinstance(found, Answer):
                return found
            raise found

    def _end(self) -> None:
        """Let nothing run on: all is done, or whoever iterated went away, or something broke."""
        with self._ended:
            self._closed = True
            if self._flying:
                self._stopper.stop()
                self._ended.wait_for(lambda: not self._flying, timeout=_GRACE)
            for cid in self._plan.runs:
                if self._progress.state(cid) not in ENDED:
                    self._progress.set(cid, "cancelled")

    # --- the order ----------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Count what each task waits for, and begin with those that wait for nothing."""
        for cid in self._plan.runs:
            missing = 0
            for other in self._plan.awaits[cid]:
                self._answers.expect(other)
                found = self._plan.replays.get(other)
                if found is not None:
                    self._answers.know(found)
                else:
                    self._users.setdefault(other, []).append(cid)
                    missing += 1
            self._waiting[cid] = missing
            if not missing:
                self._ready.append(cid)
            self._progress.set(cid, "pending" if missing else "ready")
        for cid in self._plan.replays:
            self._progress.set(cid, "replayed")

    def _advance(self) -> None:
        """Give the executor what it can take."""
        with self._ended:
            if self._advancing:
                return  # an executor that calls at once: whoever does this already, further up, goes on with what is ready
            self._advancing = True
            try:
                now = time.monotonic()
                while self._later and (self._later[0][0] <= now or self._stopper.stopped):
                    self._ready.append(self._later.popleft()[1])
                while self._ready and not self._closed:
                    if self._stopper.unwanted(self._ready[0]):
                        self._settle(Answer(self._ready.popleft(), None, "cancelled"))
                    elif self._has_room():
                        self._submit(self._ready.popleft())
                    else:
                        break
            finally:
                self._advancing = False

    def _has_room(self) -> bool:
        slots = self._executor.slots
        return len(self._flying) < slots * _AHEAD and self._out.qsize() < slots * _UNSEEN

    def _submit(self, cid: CID) -> None:
        task = self._plan.tasks[cid]
        limits = Limits.of_meta(task.meta).within(self._caps) if task.meta else self._caps
        stop = self._stopper.new(cid)
        self._progress.set(cid, "running")
        self._flying.add(cid)
        key = f"{task.run.func}-{cid.bytes.hex()}"
        future = self._executor.submit(self._worker.attempt, cid, task, limits, stop, key=key)
        future.add_done_callback(partial(self._landed, cid, stop))

    def _landed(self, cid: CID, stop: Stop, future: Future[Attempt]) -> None:
        """Take what a worker did, in whichever thread tells of it, and go on with what waited for it."""
        try:
            self._stopper.done(stop)
            answer = Answer(cid, None, "cancelled") if future.cancelled() else self._worker.answer(cid, future.result())
            with self._ended:
                self._flying.discard(cid)
                if answer is not None:
                    self._settle(answer)
                else:
                    self._later.append((time.monotonic() + _AGAIN, cid))
                    self._progress.set(cid, "ready")
                self._advance()
        except BaseException as error:  # noqa: BLE001 - raised where the answers are taken
            self._out.put(error)
            with self._ended:
                self._flying.discard(cid)
                self._closed = True
        if not self._flying:
            with self._ended:
                self._ended.notify_all()

    def _settle(self, answer: Answer) -> None:
        """Give out an answer and free those who waited for it."""
        cid = answer.instruction
        self._progress.set(cid, answer.how)
        if answer.receipt is not None:
            self._answers.keep(cid, answer.receipt, filed=answer.filed)
        self._out.put(answer)
        for other in self._plan.awaits[cid]:
            self._answers.used(other)
        for user in self._users.pop(cid, ()):
            self._waiting[user] -= 1
            if not self._waiting[user]:
                self._ready.append(user)
                self._progress.set(user, "ready")
