"""What happened since somebody last looked: for the line under a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ipvm_kernel.engine.answers import State

if TYPE_CHECKING:
    from ipvm_kernel.engine.answers import Answer


class Tally(msgspec.Struct):
    """What happened since somebody last looked: for the line under a cell.

    Attributes:
        counts: How many tasks ended in each state.
        saved: Seconds that replaying spared.
        seconds: Seconds that guests ran.
        receipts: The receipt of each instruction, by text of CID.
        workflows: The workflows that were run.
        logs: What guests said, by name of function.
    """

    counts: dict[State, int] = msgspec.field(default_factory=dict)
    saved: float = 0.0
    seconds: float = 0.0
    receipts: dict[str, str] = msgspec.field(default_factory=dict)
    workflows: list[str] = msgspec.field(default_factory=list)
    logs: list[tuple[str, str]] = msgspec.field(default_factory=list)

    def add(self, answer: Answer, func: str = "") -> None:
        """Count an answer."""
        self.counts[answer.how] = self.counts.get(answer.how, 0) + 1
        self.saved += answer.saved
        self.seconds += answer.seconds
        if answer.log:
            self.logs.append((func, answer.log))
        if answer.receipt is not None:
            self.receipts[str(answer.instruction)] = str(answer.receipt.cid)
