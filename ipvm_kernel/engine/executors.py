"""Executors: who does the work. One method, so that threads, processes and clusters are the same to the scheduler."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
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
    """Threads of this process. A guest runs without the interpreter's lock, so two threads do twice the work."""

    def __init__(self, slots: int | None = None) -> None:
        self.slots = slots or max(2, os.cpu_count() or 2)
        self._pool = ThreadPoolExecutor(self.slots, thread_name_prefix="ipvm-worker")

    def submit(
        self,
        fn: Callable[..., Any],
        *args: Any,
        key: str | None = None,  # noqa: ARG002 - threads are all alike
        resources: Mapping[str, float] | None = None,  # noqa: ARG002
    ) -> Future[Any]:
        """Call `fn(*args)` in a thread."""
        usual = threading.stack_size(_STACK_BYTES)  # taken by the thread that the pool may start now
        try:
            return self._pool.submit(fn, *args)
        finally:
            threading.stack_size(usual)

    def close(self) -> None:
        """End the threads once their calls have ended."""
        self._pool.shutdown(wait=True, cancel_futures=True)


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
        try:
            future.set_result(fn(*args))
        except BaseException as error:  # noqa: BLE001 - a future carries whatever was raised
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Do nothing."""
