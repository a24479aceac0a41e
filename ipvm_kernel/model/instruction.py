"""Instructions: the unit that is named, remembered and never run twice.

Source: UCAN Invocation 0.2 as Homestar 0.3.0 speaks it: `{rsc, op, input, nnc}`, DAG-CBOR, SHA3-256. (UCAN Invocation
1.0 calls the same thing a task: `{sub, cmd, args, nonce}`.)
"""

from __future__ import annotations

import re
from typing import Any, Final

from ipvm_kernel.errors import Malformed
from ipvm_kernel.ipld import CID, Ipld, Node
from ipvm_kernel.ipld.once import once
from ipvm_kernel.model.address import content
from ipvm_kernel.model.promise import Promise, promises
from ipvm_kernel.printable import printable

WASM_RUN: Final = "wasm/run"

NONCE_BYTES: Final = (12, 16)
"""Lengths of a nonce: an xid and a UUID (`homestar.md` 1.3). The third form is the empty text."""

_NONCE_TEXT: Final = re.compile(r"(?:[0-9a-v]{20}|[0-9a-v]{26})\Z")  # the same in base32hex without padding


class Instruction(Node, frozen=True, kw_only=True):
    """What is to be done: the operation `op` of the resource `rsc` on `input`.

    Attributes:
        rsc: A URI; for Wasm `ipfs://` and the CID of the module's bytes.
        op: The operation, `wasm/run` for a function of a module.
        input: What it works on; `{"func": text, "args": list}` for Wasm. Promises may stand at any depth.
        nnc: The nonce: `""`, or 12 or 16 bytes, or those as base32hex text. Which form is used is part of the CID.
    """

    rsc: str
    op: str
    input: Ipld
    nnc: Any = ""  # text or bytes, which msgspec cannot tell apart in one annotation; `from_ipld` does

    @classmethod
    def from_ipld(cls, value: Ipld) -> Instruction:
        """Return the instruction that a wire value is, read as Homestar reads it.

        A link as `rsc` becomes `ipfs://` and its CID; a missing nonce is the empty one.

        Raises:
            Malformed: It is no instruction.
        """
        if type(value) is dict:
            rsc, nnc = value.get("rsc"), value.get("nnc")
            value = {**value, "nnc": nnc if isinstance(nnc, str | bytes) else ""}
            if type(rsc) is CID:
                value["rsc"] = f"ipfs://{rsc}"
        made = super().from_ipld(value)
        try:
            check_nonce(made.nnc)
        except Malformed as error:
            raise within(".nnc", error) from None
        return made

    def to_ipld(self) -> dict[str, Ipld]:
        """Return the wire form, its keys in the order in which they are written."""
        return {"op": self.op, "nnc": self.nnc, "rsc": self.rsc, "input": self.input}

    @property
    def func(self) -> str:
        """The name of the function of a Wasm instruction, as it is written there; otherwise the operation."""
        name = self.input.get("func") if type(self.input) is dict else None
        return name if type(name) is str else self.op

    @property
    def args(self) -> list[Ipld]:
        """The arguments of a Wasm instruction."""
        args = self.input.get("args") if type(self.input) is dict else None
        return args if type(args) is list else []

    @once
    def awaits(self) -> tuple[Promise, ...]:
        """Every promise in the input, in order."""
        return tuple(promises(self.input))

    @property
    def module(self) -> CID | None:
        """The CID that `rsc` names, also as the URL of a gateway, or None if it names a place."""
        return content(self.rsc)


def within(place: str, error: Malformed) -> Malformed:
    """Return an error about a part of a value with the path to that part: "... - at `$.tasks[0].run.nnc`"."""
    what, found, path = error.message.rpartition("`$")
    return Malformed(f"{what}`${place}{path}" if found else f"{error.message} - at `${place}`")


def check_nonce(nonce: object) -> None:
    """Raise unless `nonce` has one of the three forms.

    Raises:
        Malformed: The length is wrong, or it is neither text nor bytes.
    """
    if not isinstance(nonce, str | bytes):
        raise Malformed(f"a nonce is text or bytes, found a {type(nonce).__name__}")
    if isinstance(nonce, bytes):
        if len(nonce) not in NONCE_BYTES:
            raise Malformed(f"a nonce has 12 or 16 bytes; this one has {len(nonce)}")
    elif nonce and not _NONCE_TEXT.match(nonce):
        raise Malformed(
            f"a nonce as text is 20 or 26 letters of base32hex (0-9, a-v), or empty; found {printable(nonce, limit=40)!r}"
        )
