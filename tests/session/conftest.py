from __future__ import annotations

from tests.guests import component, numbers, session, typed
from tests.sharing.people import alice, bob

__all__ = ["alice", "bob", "component", "numbers", "session", "typed"]
