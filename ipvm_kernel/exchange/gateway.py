"""Trustless gateways: blocks by CID over HTTP, to be checked by whoever asks.

Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel.exchange.http import Server
from ipvm_kernel.ipld.limits import PEER

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld import CID


class Gateway:
    """A trustless gateway.

    Args:
        address: Its address: `https://trustless-gateway.link`.
        pause: Seconds before a request is made again; twice as long each time.
    """

    def __init__(self, address: str, pause: float = 0.25) -> None:
        self.name = f"the gateway {address}"
        self._server = Server(address, self.name, pause=pause)

    def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
        """Return the bytes that the gateway gives for a CID. They are not checked here.

        Raises:
            Unreachable, Refused, LimitExceeded, Over: As `Server.ask` does.
        """
        answer = self._server.ask(
            "GET",
            f"/ipfs/{cid}?format=raw",
            deadline,
            max_bytes=PEER.block_bytes,
            headers={"Accept": "application/vnd.ipld.raw"},
            progress=progress,
        )
        return answer.body

    def close(self) -> None:
        """Close its connections."""
        self._server.close()
