from __future__ import annotations

from tests.guests import typed

__all__ = ["typed"]
