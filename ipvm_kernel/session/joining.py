"""The peers of the default session: one network a process, joined when it is first asked for."""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING, Any

from ipvm_kernel.exchange.peers.identity import Identity
from ipvm_kernel.session import defaults
from ipvm_kernel.session.peering import Peering
from ipvm_kernel.trust import Policy

if TYPE_CHECKING:
    from ipvm_kernel.session.session import Session

_joined: Peering | None = None
_identity: Identity | None = None
_lock = threading.Lock()


def policy() -> Policy:
    """Return whom the user trusts: what the default session goes by or, before there is one, what lies in its folder."""
    session = defaults.current()
    return session.policy if session is not None else Policy(defaults.home_folder() / "trust.json")


def joined() -> Peering | None:
    """Return the network of this process, if it was joined."""
    return _joined


def join(session: Session, **options: Any) -> Peering:
    """Join the network with a session, and return how it takes part; the second time, the same.

    Raises:
        ToolchainMissing: The extra `p2p` is not installed.
        Unreachable: The network cannot be joined.
    """
    global _joined, _identity
    with _lock:
        if _joined is None:
            _identity = Identity(defaults.home_folder())
            try:
                _joined = Peering(session, session.policy, seed=_identity.seed, **options)
            except BaseException:
                _identity.close()
                raise
            atexit.register(leave)
        return _joined


def leave() -> bool:
    """Leave the network, and return True if this process was in it."""
    global _joined, _identity
    with _lock:
        there, _joined = _joined, None
        if there is not None:
            there.close()
        if _identity is not None:
            _identity.close()
            _identity = None
        atexit.unregister(leave)
        return there is not None
