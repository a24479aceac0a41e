"""What a user would reach for today, doing the same little thing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Memoised = Callable[[int], Any]


def add_one(n: int) -> int:
    """Do next to no work."""
    return n + 1


def with_joblib(function: Callable[[int], Any], folder: str | Path) -> Memoised:
    """Return the function as `joblib.Memory` remembers it."""
    from joblib import Memory

    memoised: Memoised = Memory(str(Path(folder) / "joblib"), verbose=0).cache(function)
    return memoised


def with_diskcache(function: Callable[[int], Any], folder: str | Path) -> Memoised:
    """Return the function as diskcache remembers it."""
    from diskcache import Cache

    memoised: Memoised = Cache(str(Path(folder) / "diskcache")).memoize()(function)
    return memoised
