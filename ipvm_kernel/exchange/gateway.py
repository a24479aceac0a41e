"""Trustless gateways: blocks and archives by CID over HTTP, to be checked by whoever asks.

Source: https://specs.ipfs.tech/http-gateways/trustless-gateway/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipvm_kernel.exchange.http import Server
from ipvm_kernel.ipld.limits import PEER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld import CID

_ARCHIVE: Final = 1 << 40  # bytes of an archive; whoever reads it has closer bounds


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

    def export_car(
        self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None
    ) -> Iterator[bytes]:
        """Yield the archive (CARv1) of everything that a CID reaches: in depth first, each block once, if it can.

        Nothing is checked here, not even that it is complete (specification, "CAR Response": it may be cut short).

        Raises:
            Unreachable, Refused, LimitExceeded, Over: As `Server.stream` does.
        """
        return self._server.stream(
            "GET",
            f"/ipfs/{cid}?format=car&dag-scope=all",
            deadline,
            max_bytes=_ARCHIVE,
            headers={"Accept": "application/vnd.ipld.car; version=1; order=dfs; dups=n"},
            progress=progress,
        )

    car = export_car

    def close(self) -> None:
        """Close its connections."""
        self._server.close()
