"""Executors: who does the work. One method, so that threads, processes and clusters are the same to the scheduler."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_STACK_BYTES: Final = 8 << 20  # a guest's recursion needs room for the engine's own frames (wasm/machine.py)


class Executor(Protocol):
    """Something that calls functions elsewhere.

    Attributes:
        slots: How many calls it works on at once; the scheduler gives it a few more than that.
    """

    slots: int

    def submit(
        self, fn: Callable[..., Any], *args: Any, key: str | None = None, resources: Mapping[str, float] | None = None
    ) -> Future[Any]:
        """Call `fn(*args)` and return its future.

        Args:
            fn: What to call.
            args: Its arguments.
            key: A name for the call, unique while it lasts, for executors that tell workers apart.
            resources: What the call needs, for executors whose workers differ.
        """

    def close(self) -> None:
        """End the workers once their calls have ended."""


class ThreadExecutor:
    """Threads of this process. A guest runs without the interpreter's lock, so two threads do twice the work.

    They are daemons: a guest that spins does not keep Python from ending, as it would in `concurrent.futures`' pool. And
    a thread that is about to be free takes the call that the end of its last one brought about, waking nobody: a chain
    of tasks stays in one thread.
    """

    def __init__(self, slots: int | None = None) -> None:
        self.slots = slots or max(2, os.cpu_count() or 2)
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closed = False
        self._lock = threading.Lock()
        self._own = _Own()

    def submit(
        self,
        fn: Callable[..., Any],
        *args: Any,
        key: str | None = None,  # noqa: ARG002 - threads are all alike
        resources: Mapping[str, float] | None = None,  # noqa: ARG002
    ) -> Future[Any]:
        """Call `fn(*args)` in a thread."""
        future: Future[Any] = Future()
        if self._own.ending and self._own.following is None and not self._closed:
            self._own.following = (future, fn, args)
            return future
        with self._lock:
            if self._closed:
                raise RuntimeError("this executor was closed")
            if self._idle:
                self._idle -= 1
            elif len(self._threads) < self.slots:
                try:
                    self._threads.append(self._start())
                except RuntimeError:  # the system gives no more threads; those that are there do the work
                    if not self._threads:
                        raise
            self._calls.put((future, fn, args))
        return future

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._work, name=f"ipvm-worker-{len(self._threads)}", daemon=True)
        usual = threading.stack_size(_STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(usual)
        return thread

    def _work(self) -> None:
        own = self._own
        while (call := self._calls.get()) is not None:
            while call is not None:
                _answer(*call, own)
                call, own.following = own.following, None
            with self._lock:
                self._idle += 1

    def close(self) -> None:
        """End the threads once their calls have ended; calls that have not begun are cancelled."""
        with self._lock:
            self._closed = True
            with contextlib.suppress(queue.Empty):
                while (call := self._calls.get_nowait()) is not None:
                    call[0].cancel()
            for _ in self._threads:
                self._calls.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()


class InlineExecutor:
    """The calling thread itself: for tests that want everything in order, and for nothing else.

    A guest that spins cannot be interrupted from here.
    """

    slots = 1

    def submit(
        self,
        fn: Callable[..., Any],
        *args: Any,
        key: str | None = None,  # noqa: ARG002 - as above
        resources: Mapping[str, float] | None = None,  # noqa: ARG002
    ) -> Future[Any]:
        """Call `fn(*args)` now."""
        future: Future[Any] = Future()
        _answer(future, fn, args, _Own())
        return future

    def close(self) -> None:
        """Do nothing."""


_Call = tuple["Future[Any]", "Callable[..., Any]", tuple[Any, ...]]


class _Own(threading.local):
    """What a thread of a pool knows of itself.

    Attributes:
        ending: True while it tells that its call has ended, and so is about to be free.
        following: What it will call next.
    """

    ending = False
    following: _Call | None = None


def _answer(future: Future[Any], fn: Callable[..., Any], args: tuple[Any, ...], own: _Own) -> None:
    """Call a function for a future that waits for it, unless it was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    result, error = None, None
    try:
        result = fn(*args)
    except BaseException as raised:  # noqa: BLE001 - a future carries whatever was raised
        error = raised
    own.ending = True
    try:
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
    finally:
        own.ending = False
