"""Blocks, receipts, pins and the journal: kept in memory or in a folder that several kernels share."""

from ipvm_kernel.store.base import Claim, Store
from ipvm_kernel.store.lineage import CellRecord, Edge, edges_of
from ipvm_kernel.store.memory import MemoryStore
from ipvm_kernel.store.records import EVERY, Entry, Filing, LayerUsage, OnFile, Parcel, Received, Role, RunRecord, Usage

__all__ = [
    "EVERY",
    "CellRecord",
    "Claim",
    "Edge",
    "Entry",
    "Filing",
    "LayerUsage",
    "MemoryStore",
    "OnFile",
    "Parcel",
    "Received",
    "Role",
    "RunRecord",
    "Store",
    "Usage",
    "edges_of",
]
