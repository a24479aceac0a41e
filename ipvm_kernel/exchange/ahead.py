"""Blocks that are asked for before they are needed: some at a time, for an answer takes longer than a block does.

A Kubo that has a block from another one over the network takes 20 ms for each, and 1 ms if it is asked for 32 at a time.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container

    from ipvm_kernel.exchange.asking import Source
    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld import CID

_TICK: Final = 0.05
_AT_ONCE: Final = 4


class Ahead:
    """Blocks that one source is asked for, some at a time. Its threads end with it, and hold up nobody's exit.

    Args:
        source: Who is asked: as many times at once as its `at_once` says, or four times.
        deadline: When it must be done.
    """

    def __init__(self, source: Source, deadline: Deadline) -> None:
        from ipvm_kernel.exchange.http import Deadline

        self._source = source
        self._deadline = Deadline(deadline.left(), deadline)
        self._most = int(getattr(source, "at_once", _AT_ONCE))
        self._flying: dict[CID, Future[bytes]] = {}
        self._todo: queue.SimpleQueue[tuple[CID, Future[bytes]] | None] = queue.SimpleQueue()
        self._threads = 0

    def __contains__(self, cid: CID) -> bool:
        return cid in self._flying

    def full(self, known: Container[CID]) -> bool:
        """Return True if no more can be asked for until something is taken. What came from elsewhere is let go."""
        if len(self._flying) >= self._most:
            for cid in [cid for cid, future in self._flying.items() if cid in known and future.done()]:
                del self._flying[cid]
        return len(self._flying) >= self._most

    def ask(self, cid: CID) -> None:
        """Begin to ask for a block."""
        if cid in self._flying:
            return
        future: Future[bytes] = Future()
        self._flying[cid] = future
        self._todo.put((cid, future))
        if self._threads < min(self._most, len(self._flying)):
            self._threads += 1
            threading.Thread(target=self._work, name="ipvm-fetch-ahead", daemon=True).start()

    def take(self, cid: CID, allowed: Deadline) -> bytes:
        """Return a block that was asked for, checked, as soon as it is there.

        Raises:
            Over: Not in the time allowed.
            Mismatch, Unreachable, Refused, LimitExceeded, Malformed: What came of it.
        """
        future = self._flying[cid]
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    return future.result(timeout=min(_TICK, allowed.left()))
        finally:
            del self._flying[cid]

    def _work(self) -> None:
        from ipvm_kernel.exchange.http import Deadline

        while (task := self._todo.get()) is not None:
            cid, future = task
            try:
                data = self._source.block(cid, Deadline(self._deadline.left(), self._deadline))
                cid.check(data)
            except BaseException as error:  # noqa: BLE001 - raised where it is taken
                future.set_exception(error)
            else:
                future.set_result(data)

    def close(self) -> None:
        """Take nothing more."""
        self._deadline.over = True
        for _ in range(self._threads):
            self._todo.put(None)
        self._flying.clear()
