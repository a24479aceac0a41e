"""Sessions: a store, a library of modules, workers, and what a person does with them.

One default session stands behind `ipvm.*` and the magics; scripts and tests make their own.
"""

from ipvm_kernel.callables import Each, Handles, Module, gather
from ipvm_kernel.engine.answers import Answer, State
from ipvm_kernel.handles import File, Handle
from ipvm_kernel.runs import Run
from ipvm_kernel.session.default import caps_from_environment, default, home_folder, set_default
from ipvm_kernel.session.session import Session
from ipvm_kernel.session.tally import Tally
from ipvm_kernel.wasm.adapters import Array

__all__ = [
    "Answer",
    "Array",
    "Each",
    "File",
    "Handle",
    "Handles",
    "Module",
    "Run",
    "Session",
    "State",
    "Tally",
    "caps_from_environment",
    "default",
    "gather",
    "home_folder",
    "set_default",
]
