"""Opening: the store that a session was given, and what lies beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ipvm_kernel.store import MemoryStore
from ipvm_kernel.trust import Policy

if TYPE_CHECKING:
    from ipvm_kernel.store import Store


def opened(store: Store | str | os.PathLike[str] | None) -> Store:
    """Return a store: the one in a folder, the one that was given, or one that ends with the session.

    Raises:
        StoreError: It cannot be opened.
    """
    if store is None:
        return MemoryStore()
    if isinstance(store, str | os.PathLike):
        from ipvm_kernel.store.sqlite import SqliteStore

        return SqliteStore(Path(store).expanduser())
    return store


def code_folder(store: object) -> Path | None:
    """Return where compiled code is kept if a folder was given, or None."""
    return Path(store).expanduser() / "code" if isinstance(store, str | os.PathLike) else None


def policy_beside(store: Store) -> Policy:
    """Return what the user decided about whom to trust, as it lies beside the store."""
    folder = getattr(store, "folder", None)
    return Policy(folder / "trust.json" if isinstance(folder, Path) else None)
