"""The frames that wait for one client: bounded, filled by any thread, emptied by the server's loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from typing import Final

_PATIENCE: Final = 1.0
"""Seconds that runs wait for a client that takes nothing; after that its notifications are dropped until it does."""

_EARNED: Final = 0.005
"""Seconds of patience that each frame earns: whoever takes 200 a second is waited for, however many come."""

_BYTES: Final = 64 * 2**20
"""Characters of frames that wait for one client, at most."""


class Outbox:
    """What is to be sent to one client.

    An answer is never dropped: whoever asks too fast is not read any further. A notification is, when `capacity` of
    them wait: the work goes on, and what it gave is on file.

    Args:
        capacity: Frames that may wait.
        loop: The loop that sends.

    Attributes:
        dropped: Notifications that this client did not get.
        sent: Frames that were taken to be sent.
    """

    def __init__(self, capacity: int, loop: asyncio.AbstractEventLoop) -> None:
        self.dropped = 0
        self.sent = 0
        self._capacity = capacity
        self._loop = loop
        self._frames: deque[str] = deque()
        self._waiting = 0
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()
        self._room = threading.Condition()
        self._slow = False
        self._patience = _PATIENCE
        self._paid = 0
        self._closed = False

    @property
    def full(self) -> bool:
        """True if no notification fits."""
        return len(self._frames) >= self._capacity or self._waiting >= _BYTES

    def answer(self, frame: str) -> None:
        """Send an answer. Whoever reads requests waits for `settled` before the next, so that these are bounded too."""
        with self._room:
            self._append(frame)

    def notify(self, frame: str) -> bool:
        """Send a notification, from any thread but the loop's; False if it was dropped."""
        with self._room:
            self._patience = min(_PATIENCE, self._patience + _EARNED * (self.sent - self._paid))
            self._paid = self.sent
            began = time.monotonic()
            while self.full and not self._closed and (rest := began + self._patience - time.monotonic()) > 0:
                self._room.wait(rest)
            self._patience -= time.monotonic() - began
            if self._closed:
                return False
            self._slow = self.full or (self._slow and len(self._frames) > self._capacity // 2)
            if self._slow:
                self.dropped += 1
                return False
            self._append(frame)
            return True

    def _append(self, frame: str) -> None:
        self._frames.append(frame)
        self._waiting += len(frame)
        if len(self._frames) == 1:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody sends any more
                self._loop.call_soon_threadsafe(self._filled.set)

    async def take(self) -> str | None:
        """Return the next frame, when there is one; None when the client is gone."""
        while True:
            with self._room:
                if self._frames:
                    frame = self._frames.popleft()
                    self._waiting -= len(frame)
                    self.sent += 1
                    self._room.notify_all()
                    self._taken.set()
                    return frame
                if self._closed:
                    return None
                self._filled.clear()
            await self._filled.wait()

    async def settled(self) -> None:
        """Return when there is room for an answer."""
        while self.full and not self._closed:
            self._taken.clear()
            await self._taken.wait()

    def close(self) -> None:
        """Keep nothing and take nothing any more. In the loop."""
        with self._room:
            self._closed = True
            self._frames.clear()
            self._room.notify_all()
        self._taken.set()
        self._filled.set()
