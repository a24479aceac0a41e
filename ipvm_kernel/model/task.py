"""Tasks and invocations: an instruction with what surrounds it, and the CID that its receipt calls `ran`.

Source: UCAN Invocation 0.2 as Homestar 0.3.0 speaks it. (UCAN Invocation 1.0 calls both together an invocation.)
"""

from __future__ import annotations

from typing import Any

import msgspec

from ipvm_kernel.errors import Malformed
from ipvm_kernel.ipld import CID, Ipld, Node
from ipvm_kernel.model.instruction import Instruction


class Task(Node, frozen=True, kw_only=True):
    """An instruction to run, why, within which limits and by what right.

    Attributes:
        run: The instruction.
        cause: The receipt that asked for this task, or None.
        meta: What the user asked for this task: `fuel`, `memory` in bytes, `time` in milliseconds. It is hashed as it
            stands; unknown keys survive.
        prf: Links to UCANs.
    """

    run: Instruction
    cause: CID | None = None
    meta: dict[str, Any] = msgspec.field(default_factory=dict)
    prf: list[CID] = msgspec.field(default_factory=list)

    @classmethod
    def from_ipld(cls, value: Ipld) -> Task:
        """Return the task that a wire value is.

        Raises:
            Malformed: It is no task, or its instruction is only a link, which Homestar refuses too.
        """
        if type(value) is dict:
            run = value.get("run")
            if type(run) is CID:
                raise Malformed("a task of a workflow must hold its instruction, not a link to it, at `$.run`")
            rest = {key: item for key, item in value.items() if key != "run"}
            try:
                instruction = Instruction.from_ipld(run)
            except Malformed as error:
                raise Malformed(error.message.replace("`$", "`$.run")) from None
            outer = _Surroundings.from_ipld(rest)
            return cls(run=instruction, cause=outer.cause, meta=outer.meta, prf=outer.prf)
        return super().from_ipld(value)

    @property
    def invocation(self) -> Invocation:
        """The invocation of this task; its CID is what a receipt calls `ran`."""
        return Invocation(task=self)


class _Surroundings(Node, frozen=True, kw_only=True):
    """A task without its instruction."""

    cause: CID | None = None
    meta: dict[str, Any] = msgspec.field(default_factory=dict)
    prf: list[CID] = msgspec.field(default_factory=list)


class Invocation(Node, frozen=True, kw_only=True):
    """A task that is meant to be run."""

    task: Task
