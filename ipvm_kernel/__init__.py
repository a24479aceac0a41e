"""The engine of ipvm: content-addressed tasks, run once and replayed from their receipts. It never talks to a screen.

People import `ipvm`; this package is for those who build on the engine.
"""

from ipvm_kernel import errors
from ipvm_kernel.handles import File, Handle
from ipvm_kernel.ipld import CID, Block, decode, encode
from ipvm_kernel.model import Instruction, Receipt, Task, Workflow
from ipvm_kernel.runs import Run
from ipvm_kernel.session import Session

__all__ = [
    "CID",
    "Block",
    "File",
    "Handle",
    "Instruction",
    "Receipt",
    "Run",
    "Session",
    "Task",
    "Workflow",
    "decode",
    "encode",
    "errors",
]
