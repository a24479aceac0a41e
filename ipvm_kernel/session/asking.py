"""Asking a session where things come from: what a person names becomes instructions and values, and provenance answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ipvm_kernel import provenance
from ipvm_kernel.errors import BadInput, IpvmError, NotFound
from ipvm_kernel.handles import File, Handle
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Instruction, Invocation, Receipt, Task, Workflow
from ipvm_kernel.provenance.comparing import diff_receipts
from ipvm_kernel.runs import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipvm_kernel.provenance import Diff, Graph, Inputs, RunDiff, Uses, Why
    from ipvm_kernel.session.session import Session

Thing = Handle | Run | Workflow | Receipt | File | CID
"""What can be asked about."""


class About:
    """What a thing is to provenance.

    Attributes:
        roots: The CIDs that stand for it: instructions, modules, files or blocks.
        around: Instructions that may not be in the store yet.
    """

    def __init__(self, roots: Sequence[CID], around: Mapping[CID, Instruction] | None = None) -> None:
        self.roots = list(roots)
        self.around = dict(around or {})


def about(session: Session, what: Thing) -> About:
    """Return what a thing is to provenance.

    Raises:
        NotFound: It is not in the store.
        BadInput: It is nothing that came of something.
    """
    match what:
        case Handle():
            return About([what.cid], {task.run.cid: task.run for task in what.workflow.tasks})
        case Run():
            return about(session, what.workflow)
        case Workflow():
            runs = {task.run.cid: task.run for task in what.tasks}
            awaited = {promise.instruction for run in runs.values() for promise in run.awaits}
            return About([cid for cid in runs if cid not in awaited] or list(runs), runs)
        case Receipt():
            return about(session, session.instruction_of(what.cid))
        case File():
            return About([what.cid])
        case CID():
            return _about_cid(session, what)
        case _:
            raise BadInput(f"expected a handle, run, workflow, receipt, file or CID, found a {type(what).__name__}")


def _about_cid(session: Session, cid: CID) -> About:
    if cid.codec != "dag-cbor":
        return About([cid])
    try:
        node = session.find(cid).node
    except NotFound:
        if session.store.users([cid], 1) or session.store.lineage([cid], 1):
            return About([cid])
        raise
    match node:
        case Workflow():
            return about(session, node)
        case Instruction():
            return About([cid], {cid: node})
        case Task() | Invocation() | Receipt():
            instruction = session.instruction_of(cid)
            return _about_cid(session, instruction)
        case _:
            return About([cid])


def parameters(session: Session, run: Instruction) -> list[str]:
    """Return the names of the parameters of an instruction's function, or none if its module is not here."""
    signature = session.signature_of(run)
    return [param.name for param in signature.params] if signature is not None else []


def trace(session: Session, what: Thing) -> Graph:
    """Return what led to a value: tasks, modules, data, and the cells that declared them, the nearest first.

    Raises:
        NotFound: It is not in the store.
        BadInput: It is nothing that came of something.
    """
    asked = about(session, what)
    return provenance.trace(session.store, asked.roots, asked.around, names=partial(parameters, session))


def inputs(session: Session, what: Thing) -> Inputs:
    """Return what a value was made of in the end: modules, data, literals, and the cells that said so.

    Raises:
        NotFound, BadInput: As `trace` does.
    """
    asked = about(session, what)
    return provenance.inputs(session.store, asked.roots, asked.around, names=partial(parameters, session))


def uses(session: Session, what: Thing) -> Uses:
    """Return what was made with something, directly or not, across notebooks, the nearest first.

    Raises:
        NotFound, BadInput: As `trace` does.
    """
    return provenance.uses(session.store, about(session, what).roots)


def why(session: Session, what: Handle | CID) -> Why:
    """Return why a task would be replayed or run now, and because of what; and why it ran when it ran."""
    handle = what if isinstance(what, Handle) else session.handle(session.instruction_of(what))
    around = {task.run.cid: task.run for task in handle.workflow.tasks}
    told = provenance.why(session.store, handle.task, partial(parameters, session), around)
    judged = session.admission.judgements([handle.cid]).get(handle.cid) if told.verdict == "unverified" else None
    if judged is not None and judged.kind == "admitted":
        told.verdict = "hit"
        made = "is used" if judged.here else "was made elsewhere, and is used"
        told.reasons = [f"its receipt {judged.receipt.short} {made}: {judged.reason}"]
    elif judged is not None:
        told.reasons.append(judged.reason)
    return told


def diff(session: Session, a: Thing, b: Thing) -> Diff | RunDiff:
    """Return what is different between two tasks, receipts, workflows or runs, down to the first input that differs.

    Raises:
        NotFound: One is not in the store.
        BadInput: They cannot be compared.
    """
    one, other, names = _workflow(session, a), _workflow(session, b), partial(parameters, session)
    if one is not None and other is not None:
        return provenance.diff_runs(session.store, one, other, names)
    if one is not None or other is not None:
        raise BadInput("expected two tasks, or two workflows or runs; found one of each")
    first, second = _task(session, a), _task(session, b)
    receipts = _receipt(session, a), _receipt(session, b)
    if receipts[0] is not None and receipts[1] is not None:
        return diff_receipts(session.store, receipts[0], receipts[1], (first, second), names)
    around = {t.run.cid: t.run for x in (a, b) if isinstance(x, Handle) for t in x.workflow.tasks}
    return provenance.diff(session.store, first, second, names, around)


def _workflow(session: Session, what: Thing) -> tuple[CID, dict[CID, Task], dict[CID, CID]] | None:
    match what:
        case Run():
            return what.workflow.cid, what.workflow.by_instruction(), what.receipt_cids
        case Workflow():
            found = session.store.on_file(what.by_instruction())
            return what.cid, what.by_instruction(), {cid: one.cid for cid, one in found.items()}
        case CID() if what.codec == "dag-cbor":
            node = session.find(what).node
            return _workflow(session, node) if isinstance(node, Workflow) else None
        case _:
            return None


def _task(session: Session, what: Thing) -> Task:
    match what:
        case Handle():
            return what.task
        case Receipt():
            return Invocation.from_block(session.store.get(what.ran), trusted=True).task
        case CID():
            node = session.find(what).node
            match node:
                case Task():
                    return node
                case Invocation():
                    return node.task
                case Receipt():
                    return _task(session, node)
            return session.handle(session.instruction_of(what)).task
        case _:
            raise BadInput(f"expected a task or receipt, found a {type(what).__name__}")


def _receipt(session: Session, what: Thing) -> Receipt | None:
    if isinstance(what, Receipt):
        return what
    if isinstance(what, CID):
        try:
            node = session.find(what).node
        except IpvmError:
            return None
        return node if isinstance(node, Receipt) else None
    return None
