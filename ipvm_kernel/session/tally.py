"""What happened since somebody last looked: for the line under a cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from ipvm_kernel.engine.answers import State
from ipvm_kernel.ipld import CID
from ipvm_kernel.runs import summary

if TYPE_CHECKING:
    from ipvm_kernel.engine.answers import Answer


_KEPT: Final = 10_000  # receipts and logs; a script that never looks must not gather them for ever


class Tally(msgspec.Struct):
    """What happened since somebody last looked: for the line under a cell.

    Attributes:
        counts: How many tasks ended in each state.
        saved: Seconds that replaying spared.
        seconds: Seconds that guests ran.
        filed: The receipt of each instruction.
        workflows: The workflows that were run.
        logs: What guests said just now: of each instruction, the function and its log.
        elapsed: Seconds spent in runs, waiting included.
        compared: Receipts from elsewhere that were not used and worked out again here, and whether the outcomes are equal.
        diverged: How many of them gave another outcome here.
        told: True if the summary is on the screen already.
    """

    counts: dict[State, int] = msgspec.field(default_factory=dict)
    saved: float = 0.0
    seconds: float = 0.0
    filed: dict[CID, CID] = msgspec.field(default_factory=dict)
    workflows: list[str] = msgspec.field(default_factory=list)
    logs: dict[CID, tuple[str, str]] = msgspec.field(default_factory=dict)
    elapsed: float = 0.0
    compared: dict[CID, bool] = msgspec.field(default_factory=dict)
    diverged: int = 0
    told: bool = False

    @property
    def receipts(self) -> dict[str, str]:
        """The receipt of each instruction, by text of CID."""
        return {str(instruction): str(receipt) for instruction, receipt in self.filed.items()}

    def summary(self) -> str:
        """Return one line: "3 tasks: 1 computed, 2 replayed, 41 ms (saved 2.3 s)"."""
        return summary(self.counts, self.elapsed, self.saved)

    def add(self, answer: Answer, func: str = "") -> None:
        """Count an answer."""
        self.counts[answer.how] = self.counts.get(answer.how, 0) + 1
        self.saved += answer.saved
        self.seconds += answer.seconds
        if answer.log and len(self.logs) < _KEPT:
            self.logs[answer.instruction] = (func, answer.log)
        if answer.receipt is not None and len(self.filed) < _KEPT:
            self.filed[answer.instruction] = answer.receipt.cid
