"""The peers of a node: joined when the settings or a client say so, and shown in what it tells of itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ipvm_kernel.errors import IpvmError, NotFound
from ipvm_kernel.ipld import CID
from ipvm_kernel.session import joining

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.node.counts import Counts
    from ipvm_kernel.node.settings import Libp2p
    from ipvm_kernel.runs import Run
    from ipvm_kernel.session import Session
    from ipvm_kernel.session.peering import Peering


class Peers:
    """What a node does among peers.

    Args:
        session: Where receipts are kept.
        counts: Where what was dropped is counted.
    """

    def __init__(self, session: Session, counts: Counts) -> None:
        self._session = session
        self._counts = counts
        self._settings: Libp2p | None = None
        self._tell: Callable[[str, dict[str, Ipld]], None] = lambda _kind, _fields: None
        self.joined: Peering | None = None

    def join(self, settings: Libp2p, tell: Callable[[str, dict[str, Ipld]], None]) -> None:
        """Join the network if the settings say so, and remember how otherwise.

        Raises:
            ToolchainMissing: The extra `p2p` is not installed.
            Unreachable: The network cannot be joined.
        """
        self._settings, self._tell = settings, tell
        if settings.enable or settings.node_addresses:
            self._there()

    def _there(self) -> Peering:
        settings = self._settings
        if settings is None:
            raise NotFound("this node has no place among peers")
        if self.joined is None:
            gossip = settings.pubsub
            self.joined = joining.join(
                self._session,
                tell=self._tell,
                refused=self._counts.refuse,
                listen=settings.listen_address,
                call=settings.node_addresses,
                most=settings.max_connected_peers,
                redial=settings.dial_interval,
                heartbeat=gossip.heartbeat,
                mesh=(gossip.mesh_n, gossip.mesh_n_low, gossip.mesh_n_high),
                mdns=settings.mdns.enable,
            )
        return self.joined

    def leave(self) -> None:
        """Leave the network."""
        if self.joined is not None:
            self.joined = None
            joining.leave()

    def info(self) -> dict[str, Any]:
        """Return who this node is among peers, as Homestar's `node` method says it."""
        there = self.joined
        if there is None:
            return {"static": {"peer_id": ""}, "dynamic": {"listeners": [], "connections": {}}}
        connections: dict[str, str] = {}
        with contextlib.suppress(IpvmError):
            connections = there.network.peers
        return {
            "static": {"peer_id": there.network.peer_id},
            "dynamic": {"listeners": there.network.addresses, "connections": connections},
        }

    def connect(self, address: str) -> str:
        """Call a peer, and return its id. The network is joined if it was not."""
        return self._there().network.connect(address)

    def publish(self, text: str) -> dict[str, Any]:
        """Send the receipts of a workflow, or of one task, to the peers, and return which, and which not, and why."""
        return self._there().publish_named(self._session.resolve(text))

    def publish_quietly(self, run: Run, instruction: CID) -> None:
        """Send one receipt of a run, if anybody listens."""
        if self.joined is not None:
            self.joined.offer(run.workflow, run.name)
            with contextlib.suppress(IpvmError):
                self.joined.publish([instruction])

    def find(self, text: str) -> list[dict[str, str]]:
        """Ask the peers for the receipt of an instruction, and return who gave which."""
        timeout = 0.5 if self._settings is None else self._settings.dht.p2p_receipt_timeout / 1000
        found = self._there().find(CID.parse(text), timeout)
        return [{"peer": peer, "receipt": str(receipt)} for peer, receipt in found]
