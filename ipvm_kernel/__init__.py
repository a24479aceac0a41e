"""The engine of ipvm: content-addressed tasks, run once and replayed from their receipts. It never talks to a screen.

People import `ipvm`; this package is for those who build on the engine. Nothing is loaded before it is asked for, since
the kernel starts from here.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipvm_kernel import errors
    from ipvm_kernel.handles import File, Handle
    from ipvm_kernel.ipld import CID, Block, dagjson, decode, encode
    from ipvm_kernel.model import Instruction, Receipt, Task, Workflow
    from ipvm_kernel.runs import Run
    from ipvm_kernel.session import Session

_WHERE = {
    **dict.fromkeys(("File", "Handle"), "handles"),
    **dict.fromkeys(("CID", "Block", "dagjson", "decode", "encode"), "ipld"),
    **dict.fromkeys(("Instruction", "Receipt", "Task", "Workflow"), "model"),
    "Run": "runs",
    "Session": "session",
}

__all__ = [
    "CID", "Block", "File", "Handle", "Instruction", "Receipt", "Run", "Session", "Task", "Workflow", "dagjson", "decode", "encode",
    "errors",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Load the module that a name is from."""
    if name == "errors":
        return importlib.import_module("ipvm_kernel.errors")
    where = _WHERE.get(name)
    if where is None:
        raise AttributeError(f"ipvm_kernel has no {name!r}")
    return getattr(importlib.import_module(f"ipvm_kernel.{where}"), name)


def __dir__() -> list[str]:
    return __all__
