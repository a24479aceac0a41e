"""Blocks, receipts, pins and the journal: kept in memory or in a folder that several kernels share."""

from ipvm_kernel.store.base import Claim, Entry, Filing, OnFile, Received, Role, RunRecord, Store, Usage
from ipvm_kernel.store.memory import MemoryStore

__all__ = ["Claim", "Entry", "Filing", "MemoryStore", "OnFile", "Received", "Role", "RunRecord", "Store", "Usage"]
