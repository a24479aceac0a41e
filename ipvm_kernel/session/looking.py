"""Looking things up by what people type: a CID, the short form of one, or the name of a pin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ipvm_kernel.errors import BadCID, HashNotAllowed, IpvmError, Malformed, NotFound
from ipvm_kernel.ipld import CID, Ipld
from ipvm_kernel.model import Instruction, Invocation, Receipt, Task, Workflow
from ipvm_kernel.printable import printable
from ipvm_kernel.store import EVERY

if TYPE_CHECKING:
    from ipvm_kernel.store import Store

Kind = Literal["receipt", "instruction", "task", "invocation", "workflow", "file", "value"]

_SHORTEST: Final = 4
_MEANT: Final = 40  # characters of a text that begins as a CID does, and can be nothing else
_CANDIDATES: Final = 8


class Found(msgspec.Struct):
    """What a CID names.

    Attributes:
        cid: The CID.
        kind: What it is.
        size: Its bytes.
        value: Its value, for all but files.
        node: The same as a node of the model, where it is one.
    """

    cid: CID
    kind: Kind
    size: int
    value: Ipld = None
    node: Any = None


def resolve(store: Store, text: str) -> CID:
    """Return the CID that a text means: a CID, `ipfs://` and a CID, the name of a pin, or the short form of a CID.

    Raises:
        NotFound: Nothing has it, or several have; the message lists those.
    """
    wanted = text.strip().removeprefix("ipfs://")
    if wanted in store.pins():
        return store.pins()[wanted]
    try:
        return CID.parse(wanted)
    except (BadCID, HashNotAllowed) as error:
        if len(wanted) >= _MEANT and wanted.startswith("baf"):
            raise NotFound(f"{error.message} Is a character missing, or wrong?") from None
    if len(wanted) < _SHORTEST:
        raise NotFound(f"{printable(wanted, limit=60)!r} is too short: give a name, a CID, or 8 characters of one")
    found = store.find(wanted, _CANDIDATES + 1)
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotFound(
            f"nothing here is called {printable(wanted, limit=80)!r}: it is no name, no CID, and no CID in the store "
            f"({store.usage().where}) begins so"
        )
    listed = ", ".join(f"{cid.short} ({cid})" for cid in found[:_CANDIDATES])
    raise NotFound(
        f"{printable(wanted, limit=80)!r} is not enough: {listed}{', …' if len(found) > _CANDIDATES else ''}"
    )


def found(store: Store, cid: CID) -> Found:
    """Return what a CID names.

    Raises:
        NotFound: It is not in the store.
    """
    if cid.codec in {"raw", "dag-pb"}:
        length = store.size(cid)
        if length is None:
            length = len(store.read(cid))
        return Found(cid, "file", length)
    block = store.get(cid)
    value = block.value()
    for kind, node in _NODES:
        if type(value) is dict and set(value) == _FIELDS[kind]:
            try:
                return Found(cid, kind, len(block.data), value, node.from_ipld(value))
            except (Malformed, IpvmError):
                continue
    return Found(cid, "value", len(block.data), value)


_NODES: Final[tuple[tuple[Kind, Any], ...]] = (
    ("receipt", Receipt), ("instruction", Instruction), ("task", Task), ("invocation", Invocation), ("workflow", Workflow),
)  # fmt: skip
_FIELDS: Final[dict[str, set[str]]] = {
    "receipt": {"ran", "out", "meta", "iss", "prf"},
    "instruction": {"rsc", "op", "input", "nnc"},
    "task": {"run", "cause", "meta", "prf"},
    "invocation": {"task"},
    "workflow": {"tasks"},
}


def instruction_of(store: Store, cid: CID) -> CID:
    """Return the instruction that a CID is about: itself, or that of a task, invocation or receipt.

    Raises:
        NotFound: It is about none.
    """
    node = found(store, cid).node
    match node:
        case Instruction():
            return cid
        case Task():
            return node.run.cid
        case Invocation():
            return node.task.run.cid
        case Receipt():
            return _answered_by(store, cid, node)
        case _:
            raise NotFound(f"{cid} is no instruction, task or receipt, so nothing was run for it")


def _answered_by(store: Store, cid: CID, receipt: Receipt) -> CID:
    """Return the instruction that a receipt answers: its invocation says so, or whoever brought it here."""
    try:
        return Invocation.from_block(store.get(receipt.ran), trusted=True).task.run.cid
    except NotFound:
        for entry in store.journal(limit=EVERY):
            if entry.receipt == cid:
                return entry.instruction
        raise
