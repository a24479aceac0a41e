"""Kubo, the IPFS daemon, as one backend: which way each call goes, and why, stands in one table (`endpoints`).

What comes back is checked by whoever asked: a daemon that somebody else runs, or that is broken, must not be able to put
other bytes under a CID.
"""

from __future__ import annotations

from ipvm_kernel.exchange.kubo.backend import Kubo
from ipvm_kernel.exchange.kubo.endpoints import ENDPOINTS, Endpoint

__all__ = ["ENDPOINTS", "Endpoint", "Kubo"]
