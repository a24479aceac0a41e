"""Sessions: a store, a library of modules, workers, and what a person does with them.

One default session stands behind `ipvm.*` and the magics; scripts and tests make their own.
"""

from ipvm_kernel import plugins
from ipvm_kernel.callables import Each, Function, Handles, Module, bytes_of, gather
from ipvm_kernel.engine.answers import Answer, State
from ipvm_kernel.engine.planner import Plan
from ipvm_kernel.handles import File, Handle, Promised, lineage
from ipvm_kernel.model.workflow import read_file
from ipvm_kernel.provenance import Diff, Difference, Graph, Inputs, Place, RunDiff, Step, Uses, Why, shown, when
from ipvm_kernel.runs import Run
from ipvm_kernel.session.admission import Judged
from ipvm_kernel.session.bringing import Loaded, export_capsule, export_database, load
from ipvm_kernel.session.defaults import caps_from_environment, current, default, home_folder, set_default
from ipvm_kernel.session.joining import join as join_peers
from ipvm_kernel.session.joining import joined as joined_peers
from ipvm_kernel.session.joining import leave as leave_peers
from ipvm_kernel.session.joining import policy as trust_policy
from ipvm_kernel.session.peering import admit as admit_peer
from ipvm_kernel.session.session import Session
from ipvm_kernel.session.tally import Tally
from ipvm_kernel.session.telling import export_crate, export_prov, workflow_of
from ipvm_kernel.store import OnFile
from ipvm_kernel.wasm.adapters import Array
from ipvm_kernel.wasm.limits import Limits

__all__ = [
    "Answer",
    "Array",
    "Diff",
    "Difference",
    "Each",
    "File",
    "Function",
    "Graph",
    "Handle",
    "Handles",
    "Inputs",
    "Judged",
    "Limits",
    "Loaded",
    "Module",
    "OnFile",
    "Place",
    "Plan",
    "Promised",
    "Run",
    "RunDiff",
    "Session",
    "State",
    "Step",
    "Tally",
    "Uses",
    "Why",
    "admit_peer",
    "bytes_of",
    "caps_from_environment",
    "current",
    "default",
    "export_capsule",
    "export_crate",
    "export_database",
    "export_prov",
    "gather",
    "home_folder",
    "join_peers",
    "joined_peers",
    "leave_peers",
    "lineage",
    "load",
    "plugins",
    "read_file",
    "set_default",
    "shown",
    "trust_policy",
    "when",
    "workflow_of",
]
