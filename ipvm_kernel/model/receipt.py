"""Receipts: the answer to an invocation, with a CID of its own.

Source: Homestar 0.3.0, `homestar-invocation/src/receipt.rs`: `{ran, out, meta, iss, prf}`. Nothing that differs between
machines is in it, so equal work gives equal receipts everywhere.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ipvm_kernel.exploring import explore
from ipvm_kernel.ipld import CID, Block, Ipld, Node

Tag = Literal["ok", "error", "just"]


class Outcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How an instruction ended: `["ok", value]` or `["error", payload]`. ("just" is Homestar's third, read as ok.)."""

    tag: Tag
    value: Any = None

    def to_ipld(self) -> list[Ipld]:
        """Return the wire form."""
        return [self.tag, self.value]


class Receipt(Node, frozen=True, kw_only=True):
    """What came of an invocation.

    Attributes:
        ran: The CID of the invocation.
        out: How it ended.
        meta: `{"op": name of the function}`, as Homestar writes it.
        iss: Who says so, a DID, or None.
        prf: Links to UCANs.
    """

    ran: CID
    out: Outcome
    meta: Any = None
    iss: str | None = None
    prf: list[CID] = msgspec.field(default_factory=list)

    @classmethod
    def trusted(cls, block: Block) -> Receipt:
        """Return the receipt in a block of our own store, where only receipts that were checked enter."""
        value: Any = block.trusted_value()
        receipt = cls(
            ran=value["ran"], out=Outcome(*value["out"]), meta=value["meta"], iss=value["iss"], prf=value["prf"]
        )
        receipt.__dict__["block"] = block
        return receipt

    def to_ipld(self) -> dict[str, Ipld]:
        """Return the wire form."""
        return {
            "ran": self.ran,
            "out": [self.out.tag, self.out.value],
            "meta": self.meta,
            "iss": self.iss,
            "prf": self.prf,
        }

    def explore(self) -> None:
        """Show the graph of all that led to this receipt, to be asked about each task.

        Raises:
            BadInput: No notebook is here.
        """
        explore(self)

    @property
    def ok(self) -> bool:
        """True if the task succeeded."""
        return self.out.tag != "error"

    @property
    def value(self) -> Ipld:
        """The value, in its wire form, or None if the task failed."""
        return self.out.value if self.ok else None

    @property
    def error(self) -> Ipld:
        """The error's payload, or None if the task succeeded."""
        return None if self.ok else self.out.value

    @property
    def func(self) -> str:
        """The name of the function, as its receipt has it."""
        name = self.meta.get("op") if type(self.meta) is dict else None
        return name if type(name) is str else "?"


def failure(kind: str, message: str, detail: Ipld = None) -> Outcome:
    """Return the outcome of a task that failed (RULES 5)."""
    payload: dict[str, Ipld] = {"kind": kind, "message": message}
    if detail is not None:
        payload["detail"] = detail
    return Outcome("error", payload)
