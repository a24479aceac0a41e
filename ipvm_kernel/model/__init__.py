"""What is said about work: instructions, tasks, receipts and workflows, as frozen values. No work is done here."""

from ipvm_kernel.model.instruction import WASM_RUN, Instruction
from ipvm_kernel.model.promise import Awaited, Branch, Promise, promises, resolve
from ipvm_kernel.model.receipt import Outcome, Receipt, failure
from ipvm_kernel.model.task import Invocation, Task
from ipvm_kernel.model.workflow import Workflow

__all__ = [
    "WASM_RUN",
    "Awaited",
    "Branch",
    "Instruction",
    "Invocation",
    "Outcome",
    "Promise",
    "Receipt",
    "Task",
    "Workflow",
    "failure",
    "promises",
    "resolve",
]
