"""Peers: receipts over libp2p, as Homestar nodes exchange them. It needs the extra `p2p`, and knows bytes alone.

What a receipt means, whether it is kept and who is trusted are decided by whoever listens (`Listener`).
"""

from ipvm_kernel.exchange.peers.listener import Listener, Unreachable

__all__ = ["Listener", "Unreachable"]
