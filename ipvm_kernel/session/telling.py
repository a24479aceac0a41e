"""Telling others what was done: records of a session for the libraries of W3C PROV and RO-Crate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.errors import BadInput, IpvmError
from ipvm_kernel.handles import Handle
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Workflow
from ipvm_kernel.printable import printable
from ipvm_kernel.provenance.crate import crate
from ipvm_kernel.provenance.record import Record, leading_to, record
from ipvm_kernel.provenance.w3c import prov_json
from ipvm_kernel.runs import Run
from ipvm_kernel.session.asking import about

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.session.asking import Thing
    from ipvm_kernel.session.session import Session


def workflow_of(session: Session, what: Thing) -> Workflow:
    """Return the workflow that a thing is, or that leads to it.

    Raises:
        NotFound: It is not in the store.
        BadInput: No task led to it.
    """
    match what:
        case Run():
            return what.workflow
        case Workflow():
            return what
        case Handle():
            return what.workflow if what._parents or not what.instruction.awaits else _found(session, what)  # noqa: SLF001
        case CID() if what.codec == "dag-cbor":
            node = session.find(what).node
            return node if isinstance(node, Workflow) else _found(session, what)
        case _:
            return _found(session, what)


def _found(session: Session, what: Thing) -> Workflow:
    asked = about(session, what)
    made = leading_to(session.store, asked.roots, asked.around)
    if not made.tasks:
        raise BadInput(
            f"{printable(str(asked.roots[0]), limit=200)} is data that no task led to: name a task, receipt or workflow"
        )
    return made


def recorded(session: Session, what: Thing) -> Record:
    """Return what the store knows of a workflow, or of what led to a value."""
    return record(session.store, workflow_of(session, what))


def export_prov(session: Session, what: Thing) -> str:
    """Return what was done as PROV-JSON.

    Raises:
        IpvmError: The package `prov` is not installed.
        NotFound, BadInput: As `workflow_of` does.
    """
    return prov_json(recorded(session, what))


def export_crate(session: Session, what: Thing, target: Path) -> int:
    """Write what was done as a Workflow Run RO-Crate, and return how many files are in it.

    Raises:
        IpvmError: The package `rocrate` is not installed, or there is something else at `target`.
        NotFound, BadInput: As `workflow_of` does.
    """
    if target.exists() and (target.is_file() or any(target.iterdir())):
        raise BadInput(f"{target} is there already: name a folder or .zip file that is not")
    made = recorded(session, what)
    values: dict[CID, Any] = {}
    for cid in made.ends:
        receipt = made.done[cid].receipt
        if receipt is None or not receipt.ok:
            continue
        value = receipt.value
        try:
            plain = session.handle(cid)._value_of(receipt)  # noqa: SLF001 - what result() gives, without running
            value = plain if isinstance(plain, bytes) else value
        except IpvmError:
            pass  # as it is on the wire
        values[cid] = value
    return crate(made, target, session.store.read, values)
