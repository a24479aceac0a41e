"""Tasks and invocations: an instruction with what surrounds it, and the CID that its receipt calls `ran`.

Source: UCAN Invocation 0.2 as Homestar 0.3.0 speaks it. (UCAN Invocation 1.0 calls both together an invocation.)
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ipvm_kernel.errors import Malformed
from ipvm_kernel.ipld import CID, Block, Ipld, Node, encode
from ipvm_kernel.ipld.once import once
from ipvm_kernel.model.instruction import Instruction, within

# The DAG-CBOR of a task is put together around that of its instruction, which is there already. Short keys come first.
_PRF, _RUN, _META, _CAUSE, _TASK = b"\xa4\x63prf", b"\x63run", b"\x64meta", b"\x65cause", b"\xa1\x64task"
_NO_CONTAINERS: Final = bytes(byte for byte in range(256) if not 0x80 <= byte < 0xC0)  # heads of no list and no map
_SHALLOW, _SHORT = 120, 16_384


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
                raise within(".run", error) from None
            outer = _Surroundings.from_ipld(rest)
            return cls(run=instruction, cause=outer.cause, meta=outer.meta, prf=outer.prf)
        return super().from_ipld(value)

    @property
    def data(self) -> bytes:
        """The DAG-CBOR of the wire form."""
        prf = encode(self.prf) if self.prf else b"\x80"
        meta = encode(self.meta) if self.meta else b"\xa0"
        data = b"".join((_PRF, prf, _RUN, self.run.block.data, _META, meta, _CAUSE, encode(self.cause)))
        if len(data) > _SHORT or len(data.translate(None, _NO_CONTAINERS)) > _SHALLOW:
            return encode(self.to_ipld())  # which looks how deep it is
        return data

    @once
    def block(self) -> Block:
        """The block of the wire form, made once."""
        data = self.data
        return Block(CID.of(data), data)

    @property
    def invocation(self) -> Invocation:
        """The invocation of this task; its CID is what a receipt calls `ran`."""
        made = Invocation(task=self)
        made.__dict__["block"] = self._invocation
        return made

    @once
    def _invocation(self) -> Block:
        data = _TASK + self.data
        return Block(CID.of(data), data)


class _Surroundings(Node, frozen=True, kw_only=True):
    """A task without its instruction."""

    cause: CID | None = None
    meta: dict[str, Any] = msgspec.field(default_factory=dict)
    prf: list[CID] = msgspec.field(default_factory=list)


class Invocation(Node, frozen=True, kw_only=True):
    """A task that is meant to be run."""

    task: Task
