from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel.store import MemoryStore
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.testing import StoreContract

if TYPE_CHECKING:
    from pathlib import Path


class TestMemoryStore(StoreContract):
    """The store that ends with its process."""

    def open(self, folder: Path) -> MemoryStore:
        return MemoryStore()


class TestSqliteStore(StoreContract):
    """The store in a folder."""

    shared = durable = True

    def open(self, folder: Path) -> SqliteStore:
        return SqliteStore(folder)
