from __future__ import annotations

from tests.guests import component, numbers, session, typed

__all__ = ["component", "numbers", "session", "typed"]
