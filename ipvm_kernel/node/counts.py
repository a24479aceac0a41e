"""What a node has done and refused since it began: for `ipvm node info` and for Prometheus."""

from __future__ import annotations

from collections import Counter

import msgspec

from ipvm_kernel.printable import printable


class Counts(msgspec.Struct):
    """Counts since the node began. Each is written by whoever meets it; a reader may see one late, never wrong.

    Attributes:
        requests: Requests that were answered, errors included.
        refused: What was refused, by reason.
        last: The latest refusal of each reason, in one line.
        tasks: Tasks of clients by how they ended.
        workflows: Workflows that are over.
        broken: Those of them that an error of the host ended.
        notified: Notifications that were queued.
        dropped: Notifications that a slow client did not get.
    """

    requests: int = 0
    refused: Counter[str] = msgspec.field(default_factory=Counter)
    last: dict[str, str] = msgspec.field(default_factory=dict)
    tasks: Counter[str] = msgspec.field(default_factory=Counter)
    workflows: int = 0
    broken: int = 0
    notified: int = 0
    dropped: int = 0

    def refuse(self, reason: str, line: str) -> None:
        """Count a refusal."""
        self.refused[reason] += 1
        self.last[reason] = printable(line, limit=200)
