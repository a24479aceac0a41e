"""Runs: the answers of one run as they come, to be iterated, awaited, watched or stopped."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from ipvm_kernel.engine.answers import Answer, Progress, State, Stopper
from ipvm_kernel.errors import TaskFailed
from ipvm_kernel.printable import plural, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.model import Receipt, Workflow

TICK: Final = 0.05
"""Seconds between two looks of a waiting cell, so that an interrupt is heard and progress is drawn."""

_SMALL_BYTES: Final = 4096


class Source(Protocol):
    """Where a run's receipts are read again."""

    def receipt_at(self, cid: CID) -> Receipt:
        """Return a receipt by its CID."""


class Run:
    """One run of a workflow.

    Iterate it for answers, `await` it in a cell, or call `wait`; it begins with whichever comes first, and runs once.

    Attributes:
        workflow: What is run.
        name: What the user called it.
        progress: How far it is.
        elapsed: Seconds from the first answer asked for to the end.
    """

    def __init__(
        self,
        workflow: Workflow,
        stream: Callable[[], Iterator[Answer]],
        *,
        stopper: Stopper,
        progress: Progress,
        source: Source,
        name: str = "",
    ) -> None:
        self.workflow = workflow
        self.name = name
        self.progress = progress
        self.elapsed = 0.0
        self._stream = stream
        self._stopper = stopper
        self._source = source
        self._answers: dict[CID, Answer | tuple[CID, State, float, float, str]] = {}
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._lock = threading.RLock()
        self._iterator: Iterator[Answer] | None = None
        self._thread: threading.Thread | None = None
        self._watchers: list[Callable[[], Any]] = []

    # --- getting there ------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Answer]:
        """Yield each answer as soon as it can be had; those of a run that is over, again."""
        if self._done.is_set() or self._iterator is not None:
            self._finish()
            yield from self.answers
            return
        yield from self._drive()

    def _drive(self) -> Iterator[Answer]:
        began = time.perf_counter()
        self._iterator = iterator = self._stream()
        try:
            for answer in iterator:
                self._keep(answer)
                yield answer
        except BaseException as error:
            self._error = error
            raise
        finally:
            self.elapsed = time.perf_counter() - began
            with self._lock:
                self._done.set()
                watchers, self._watchers = self._watchers, []
            for tell in watchers:
                tell()

    def _when_done(self, tell: Callable[[], Any]) -> None:
        """Call `tell` when the run is over, from whichever thread ends it."""
        with self._lock:
            if not self._done.is_set():
                self._watchers.append(tell)
                return
        tell()

    def _keep(self, answer: Answer) -> None:
        receipt = answer.receipt
        if receipt is not None and len(receipt.block.data) > _SMALL_BYTES and answer.how in ("computed", "replayed"):
            slim = (receipt.cid, answer.how, answer.seconds, answer.saved, answer.log)
            self._answers[answer.instruction] = slim
        else:
            self._answers[answer.instruction] = answer

    def start(self) -> None:
        """Begin in a thread of its own."""
        with self._lock:
            if self._thread is None and self._iterator is None and not self._done.is_set():
                self._thread = threading.Thread(target=self._exhaust, name="ipvm-run", daemon=True)
                self._thread.start()

    def _exhaust(self) -> None:
        try:
            for _ in self._drive():
                pass
        except BaseException:  # noqa: BLE001 - kept in `_error`, and raised where the run is waited for
            return

    def wait(self, timeout: float | None = None) -> Run:
        """Run to the end and return this run.

        Args:
            timeout: Seconds to wait at most; the run goes on after that.

        Raises:
            TimeoutError: It is not over in time.
        """
        self._finish(timeout)
        return self

    def _finish(self, timeout: float | None = None) -> None:
        if timeout is None and self._thread is None and self._iterator is None and not self._done.is_set():
            for _ in self._drive():
                pass
            return
        self.start()
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._done.wait(TICK):
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError(
                        f"not done after {seconds(timeout or 0)}; it goes on: wait again, or cancel() it"
                    )
        except KeyboardInterrupt:
            self.cancel()
            self._done.wait(1)
            raise
        if self._error is not None:
            raise self._error

    def __await__(self) -> Generator[Any, None, Run]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> Run:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not over.done():
                over.set_result(None)

        self._when_done(lambda: loop.call_soon_threadsafe(tell))
        self.start()
        try:
            while not self._done.is_set():
                await asyncio.wait({over}, timeout=TICK)
        except BaseException:  # a cancelled cell: stop what runs, and let what is on file be
            self.cancel()
            raise
        if self._error is not None:
            raise self._error
        return self

    def cancel(self) -> None:
        """Stop what is running and what has not begun. Receipts that are there are kept."""
        self._stopper.stop()

    def done(self) -> bool:
        """Return True if the run is over."""
        return self._done.is_set()

    # --- what came of it ----------------------------------------------------------------------------------------------

    @property
    def answers(self) -> list[Answer]:
        """The answers so far, in the order in which they came."""
        return [self._full(cid, kept) for cid, kept in list(self._answers.items())]

    def _full(self, cid: CID, kept: Answer | tuple[CID, State, float, float, str]) -> Answer:
        if isinstance(kept, Answer):
            return kept
        receipt, how, took, saved, log = kept
        return Answer(cid, self._source.receipt_at(receipt), how, took, saved, log)

    def answer(self, instruction: CID) -> Answer | None:
        """Return the answer of one instruction, or None."""
        kept = self._answers.get(instruction)
        return None if kept is None else self._full(instruction, kept)

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts so far."""
        return [answer.receipt for answer in self.answers if answer.receipt is not None]

    @property
    def receipt_cids(self) -> dict[CID, CID]:
        """The CID of the receipt of each instruction that has one."""
        found = {}
        for cid, kept in list(self._answers.items()):
            if not isinstance(kept, Answer):
                found[cid] = kept[0]
            elif kept.receipt is not None:
                found[cid] = kept.receipt.cid
        return found

    @property
    def counts(self) -> dict[State, int]:
        """How many tasks ended in each state, or are in it."""
        return self.progress.counts

    @property
    def saved(self) -> float:
        """Seconds that replaying spared."""
        return sum(kept.saved if isinstance(kept, Answer) else kept[3] for kept in list(self._answers.values()))

    @property
    def failures(self) -> list[Answer]:
        """The answers of tasks that failed and whose error nobody in this run awaits."""
        taken = {
            promise.instruction for task in self.workflow.tasks for promise in task.run.awaits if promise.branch != "ok"
        }
        return [
            kept
            for cid, kept in list(self._answers.items())
            if isinstance(kept, Answer) and kept.how == "failed" and cid not in taken
        ]

    def raise_for_failures(self) -> None:
        """Raise if a task failed and nobody takes its error.

        Raises:
            TaskFailed: The message names the first, and counts the rest.
        """
        failures = self.failures
        if not failures:
            return
        first = failures[0]
        by_cid = self.workflow.by_instruction()
        task = by_cid.get(first.instruction)
        name = task.run.func if task is not None else first.instruction.short
        error = first.receipt.error if first.receipt is not None else None
        message = error.get("message") if isinstance(error, dict) else error
        blocked = self.counts.get("blocked", 0)
        more = f"; {plural(len(failures) - 1, 'other task')} failed too" if len(failures) > 1 else ""
        more += f"; {plural(blocked, 'task')} that await it did not run" if blocked else ""
        raise TaskFailed(
            f"{name} ({first.instruction.short}) failed: {message!s}{more}", instruction=first.instruction, error=error
        )

    def summary(self) -> str:
        """Return one line: "3 tasks: 1 computed, 2 replayed, 41 ms (saved 2.3 s)"."""
        return summary(self.counts, self.elapsed, self.saved)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Run{name} {self.summary()}>"


def summary(counts: dict[State, int], elapsed: float, saved: float) -> str:
    """Return one line about how some tasks ended.

    >>> summary({"computed": 1, "replayed": 2}, 0.041, 2.3)
    '3 tasks: 1 computed, 2 replayed, 41 ms (saved 2.3 s)'
    """
    parts = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    spared = f" (saved {seconds(saved)})" if saved >= 0.001 else ""
    return f"{plural(sum(counts.values()), 'task')}: {parts or 'nothing to do'}, {seconds(elapsed)}{spared}"
