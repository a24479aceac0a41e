"""What a network asks of whoever listens to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ipvm_kernel.errors import IpvmError

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Ipld

TOPIC: Final = "receipts"
"""The gossip topic of Homestar's receipts."""

MESSAGE_BYTES: Final = 2 * 2**20
"""Bytes of a message, a record or an answer from a peer, at most; what a block may have (RULES 6)."""


class Unreachable(IpvmError):
    """A peer that cannot be called, or an address that is none."""


class Listener(Protocol):
    """Whoever listens. Each is called in a thread of its own pool, never two at once for one peer's message."""

    def fits(self, data: bytes) -> bool:
        """Return True if a gossiped message is worth passing on: well-formed, and what it says it is."""

    def gossip(self, publisher: str, data: bytes) -> None:
        """Take a message that `publisher` signed."""

    def put(self, peer: str, key: bytes, value: bytes) -> bool:
        """Take a record that a peer wants kept, and return True if it was."""

    def record(self, key: bytes) -> bytes | None:
        """Return the record under a key, if this side gives one."""

    def provides(self, key: bytes) -> bool:
        """Return True if this side answers questions about a key."""

    def answer(self, peer: str, request: bytes) -> bytes:
        """Return the answer to a request of `/homestar-exchange/1.0.0`."""

    def happened(self, kind: str, fields: dict[str, Ipld]) -> None:
        """Hear of something that happened, in the words of Homestar's network notifications."""

    def refuse(self, reason: str, line: str) -> None:
        """Hear of something that was dropped."""
