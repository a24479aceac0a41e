"""Runs: the answers of one run as they come, to be iterated, awaited, watched or stopped."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, Protocol

from ipvm_kernel.engine.answers import SMALL_BYTES, Answer, Progress, State, Stopper
from ipvm_kernel.errors import BadArgument, BadInput, TaskFailed
from ipvm_kernel.exploring import explore
from ipvm_kernel.printable import plural, printable, seconds
from ipvm_kernel.wasm.wire import sides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipvm_kernel.ipld import CID, Ipld
    from ipvm_kernel.model import Instruction, Receipt, Task, Workflow

TICK: Final = 0.05
"""Seconds between two looks of a waiting cell, so that an interrupt is heard and progress is drawn."""


class Source(Protocol):
    """What a run asks of its session."""

    def receipt_at(self, cid: CID) -> Receipt:
        """Return a receipt by its CID."""

    def fallible(self, instruction: Instruction) -> bool:
        """Return True if an instruction is of a function typed `result<T, E>`."""


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
        self._driver: int | None = None
        self._lock = threading.RLock()
        self._begun = False
        self._watchers: list[Callable[[], Any]] = []

    # --- getting there ------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Answer]:
        """Yield each answer as soon as it can be had; those of a run that is over, again.

        Leaving the loop early stops the run.
        """
        if self._is_first():
            yield from self._drive()
            return
        if self._driver != threading.get_ident():  # else it asks from inside its own loop, and gets what is there
            self._finish()
        yield from self.answers

    def _is_first(self) -> bool:
        """Return True for whoever asks first: he drives the run, and everybody else waits for it."""
        with self._lock:
            first, self._begun = not self._begun, True
            return first

    def _drive(self) -> Iterator[Answer]:
        began = time.perf_counter()
        self._driver = threading.get_ident()
        answers = self._stream()
        try:
            for answer in answers:
                self._keep(answer)
                yield answer
        except GeneratorExit:  # whoever iterated has seen enough
            raise
        except BaseException as error:
            self._error = error
            raise
        finally:
            if isinstance(answers, Generator):
                answers.close()
            self._driver = None
            self.elapsed = time.perf_counter() - began
            with self._lock:
                self._done.set()
                watchers, self._watchers = self._watchers, []
            for tell in watchers:
                with contextlib.suppress(RuntimeError):  # an event loop that was closed meanwhile
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
        if receipt is not None and answer.filed and len(receipt.block.data) > SMALL_BYTES and _looks_well(receipt):
            slim = (receipt.cid, answer.how, answer.seconds, answer.saved, answer.log)
            self._answers[answer.instruction] = slim
        else:
            self._answers[answer.instruction] = answer

    def start(self) -> None:
        """Begin in a thread of its own."""
        if self._is_first():
            context = contextvars.copy_context()  # the cell that asked is the one in the journal
            threading.Thread(target=context.run, args=(self._exhaust,), name="ipvm-run", daemon=True).start()

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
        if timeout is None and self._is_first():
            for _ in self._drive():
                pass
            return
        if self._driver == threading.get_ident():
            raise BadInput("a run cannot be waited for inside its own loop: leave the loop first")
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

    def cancel(self, instruction: CID | None = None) -> None:
        """Stop what is running and what has not begun, or one task of it. Receipts that are there are kept.

        Args:
            instruction: The task to stop; what awaits it is blocked, and the others go on.
        """
        if instruction is None:
            self._stopper.stop()
        else:
            self._stopper.stop_task(instruction)

    def done(self) -> bool:
        """Return True if the run is over."""
        return self._done.is_set()

    # --- what came of it ----------------------------------------------------------------------------------------------

    def explore(self) -> None:
        """Show the live graph of this run, while it runs or afterwards.

        Raises:
            BadInput: No notebook is here.
        """
        explore(self)

    @property
    def answers(self) -> list[Answer]:
        """The answers so far, in the order in which they came."""
        return [self._full(cid, kept) for cid, kept in list(self._answers.items())]

    def _full(self, cid: CID, kept: Answer | tuple[CID, State, float, float, str]) -> Answer:
        if isinstance(kept, Answer):
            return kept
        receipt, how, took, saved, log = kept
        return Answer(cid, self._source.receipt_at(receipt), how, took, saved, log, filed=True)

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
        """The answers of tasks that failed, or answered `err`, and whose error nobody in this run takes."""
        tasks = self.workflow.by_instruction()
        taken: set[CID] = set()
        for cid, task in tasks.items():
            ran = self.progress.state(cid) in _RAN  # then a pair that it awaited passed whole, or was ok
            taken.update(promise.instruction for promise in task.run.awaits if ran or promise.branch != "ok")
        return [
            kept
            for cid, kept in list(self._answers.items())
            if isinstance(kept, Answer) and cid not in taken and (_failed(kept) or self._gave_err(kept, tasks.get(cid)))
        ]

    def _gave_err(self, answer: Answer, task: Task | None) -> bool:
        receipt = answer.receipt
        return receipt is not None and not _looks_well(receipt) and task is not None and self._source.fallible(task.run)

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
        error = _error_of(first.receipt) if first.receipt is not None else None
        message = error.get("message") if isinstance(error, dict) else error
        blocked = self.counts.get("blocked", 0)
        more = f"; {plural(len(failures) - 1, 'other task')} failed too" if len(failures) > 1 else ""
        more += f"; {plural(blocked, 'task')} that await it did not run" if blocked else ""
        raise TaskFailed(
            f"{name} ({first.instruction.short}) failed: {printable(str(message), limit=500)}{more}",
            instruction=first.instruction,
            error=error,
        )

    def summary(self) -> str:
        """Return one line: "3 tasks: 1 computed, 2 replayed, 41 ms (saved 2.3 s)"."""
        return summary(self.counts, self.elapsed, self.saved)

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"<Run{name} {self.summary()}>"


_RAN: Final = frozenset({"computed", "replayed", "failed"})


def _looks_well(receipt: Receipt) -> bool:
    """Return False for an error, and for a value that is an `err` if the function is typed `result<T, E>`."""
    if not receipt.ok:
        return False
    try:
        return sides(receipt.value)[0] == 0
    except BadArgument:
        return True


def _error_of(receipt: Receipt) -> Ipld:
    return sides(receipt.value)[1] if receipt.ok else receipt.error


def _failed(answer: Answer) -> bool:
    """Return True for a task that failed, now or when its receipt was made."""
    return answer.how == "failed" or (answer.how == "replayed" and answer.receipt is not None and not answer.receipt.ok)


def summary(counts: dict[State, int], elapsed: float, saved: float) -> str:
    """Return one line about how some tasks ended.

    >>> summary({"computed": 1, "replayed": 2}, 0.041, 2.3)
    '3 tasks: 1 computed, 2 replayed, 41 ms (saved 2.3 s)'
    """
    parts = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    spared = f" (saved {seconds(saved)})" if saved >= 0.001 else ""
    return f"{plural(sum(counts.values()), 'task')}: {parts or 'nothing to do'}, {seconds(elapsed)}{spared}"
