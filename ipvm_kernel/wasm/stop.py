"""The way to stop one call of a guest: by hand, or when its time is over. Plain data; the engine looks at it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Reason = Literal["time", "interrupt"]


class Stop:
    """The way to stop one call.

    Attributes:
        reason: Why it was stopped, or None while it may go on.
        deadline: When its time is over, of `time.monotonic`, or None.
    """

    __slots__ = ("_wake", "deadline", "reason")

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self.deadline: float | None = None
        self._wake: Callable[[], None] | None = None

    def begin(self, seconds: float | None, wake: Callable[[], None]) -> None:
        """Say that the call begins now, with so much time; `wake` makes the engine look."""
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self._wake = wake

    def end(self) -> None:
        """Say that the call has ended."""
        self._wake = None

    def interrupt(self) -> None:
        """Stop the call now if it is running, and before it begins otherwise."""
        self.reason = self.reason or "interrupt"
        wake = self._wake
        if wake is not None:
            wake()

    def check(self) -> Reason | None:
        """Return why the call must end, or None."""
        if self.reason is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self.reason = "time"
        return self.reason
