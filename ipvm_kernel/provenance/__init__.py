"""Provenance: where a value comes from, what was made with it, why a task ran, and how two of them differ.

Every answer comes from the store alone: receipts on file, edges between what came of what, the journal of what was run
from which cell, and the blocks of instructions. Nothing is run.
"""

from ipvm_kernel.provenance.comparing import (
    Diff,
    Difference,
    RunDiff,
    diff,
    diff_receipts,
    diff_runs,
    differences,
    instruction,
    shown,
)
from ipvm_kernel.provenance.graph import Graph, Input, Inputs, Step, Use, Uses, inputs, literals, trace, uses
from ipvm_kernel.provenance.places import Place, place_of, when
from ipvm_kernel.provenance.reasons import Verdict, Why, why

__all__ = [
    "Diff",
    "Difference",
    "Graph",
    "Input",
    "Inputs",
    "Place",
    "RunDiff",
    "Step",
    "Use",
    "Uses",
    "Verdict",
    "Why",
    "diff",
    "diff_receipts",
    "diff_runs",
    "differences",
    "inputs",
    "instruction",
    "literals",
    "place_of",
    "shown",
    "trace",
    "uses",
    "when",
    "why",
]
