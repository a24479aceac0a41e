"""What a call may use, what it did use, and how it ended: plain data that needs no engine."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

MEMORY_BYTES: Final = 4 << 30
"""The most that a 32-bit guest can have: a limit of this size changes no answer."""

Kind = Literal["trap", "limit", "conversion", "missing", "broken-promise", "unencodable", "host", "cancelled"]
"""What went wrong with a task (RULES 5); "cancelled" never becomes a receipt."""


class Limits(msgspec.Struct, frozen=True):
    """What a call may use. None sets no limit beyond what the engine has.

    Attributes:
        fuel: Steps, as wasmtime counts them.
        memory: Bytes of linear memory in all.
        time: Seconds.
    """

    fuel: int | None = None
    memory: int | None = None
    time: float | None = None

    def within(self, caps: Limits) -> Limits:
        """Return the narrower of two sets of limits."""
        return Limits(_least(self.fuel, caps.fuel), _least(self.memory, caps.memory), _least(self.time, caps.time))

    @classmethod
    def of_meta(cls, meta: dict[str, Any]) -> Limits:
        """Return what a task's `meta` asks for: `fuel`, `memory` in bytes, `time` in milliseconds (RULES 2)."""
        fuel, memory, time = (_number(meta.get(name)) for name in ("fuel", "memory", "time"))
        return cls(
            fuel=None if fuel is None else int(fuel),
            memory=None if memory is None else int(memory),
            time=None if time is None else time / 1000,
        )


class Report(msgspec.Struct):
    """What was seen of a call besides its value. None of it is hashed.

    Attributes:
        fuel: Steps it took.
        log: What the guest said.
        capped: True if a memory limit may have changed its answer, which then must not be filed (RULES 5).
        engine: The engine and its version.
    """

    fuel: int = 0
    log: str = ""
    capped: bool = False
    engine: str = ""


def _number(value: Any) -> float | int | None:
    return (
        value if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf") else None
    )


def _least(a: Any, b: Any) -> Any:
    return b if a is None else a if b is None else min(a, b)
