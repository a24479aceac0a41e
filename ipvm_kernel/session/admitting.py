"""Admitting receipts that were made elsewhere: examined when their task is met, and used if they mean the same (RULES 11)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ipvm_kernel.engine.ops import WasmRun
from ipvm_kernel.engine.planner import Plan, plan
from ipvm_kernel.errors import IpvmError, NotFound
from ipvm_kernel.homestar import meaning
from ipvm_kernel.model import Instruction, Task
from ipvm_kernel.printable import printable
from ipvm_kernel.store import Entry, Filing
from ipvm_kernel.wasm.lowering import lower

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ipvm_kernel.engine.ops import Op
    from ipvm_kernel.ipld import CID
    from ipvm_kernel.model import Receipt
    from ipvm_kernel.session.admission import Admission
    from ipvm_kernel.store import OnFile, Store
    from ipvm_kernel.wasm.wire import Load


def planned(
    tasks: Mapping[CID, Task],
    store: Store,
    ops: Mapping[str, Op],
    *,
    wanted: Iterable[CID] | None = None,
    rerun: Collection[CID] = (),
    admission: Admission | None = None,
    ask: Callable[[Sequence[CID]], bool] | None = None,
) -> Plan:
    """Return what is to be done, as `plan` does, after receipts from elsewhere were examined.

    Those that only the policy admits, and that are run again, are compared and need not be met: a difference is somebody
    else's.
    """
    asked = None if wanted is None else list(wanted)
    look = partial(plan, tasks, store, wanted=asked, rerun=rerun, on_file=admission.on_file if admission else None)
    made = look()
    trusted = [found for found in made.unverified.values() if found.trusted]
    if trusted and sum(_admit(made.tasks, found, store, ops) for found in trusted):
        made = look()
    if (
        ask is not None
        and made.runs
        and ask([cid for cid in made.runs if cid not in rerun and cid not in made.expected])
    ):
        made = look()
    if admission is not None and made.expected:
        for cid, found in store.on_file(made.expected).items():
            if not found.admitted:
                made.unverified[cid] = made.expected.pop(cid)
    return made


def _admit(tasks: Mapping[CID, Task], found: OnFile, store: Store, ops: Mapping[str, Op]) -> bool:
    """File a trusted receipt with its task, if it means here what it meant there; return whether it does."""
    receipt = found.receipt
    task = tasks.get(found.instruction) or task_of(store, found.instruction)
    if task is None or receipt is None or doubts(task.run, receipt, store, ops, tasks):
        return False
    admit(store, task, receipt, own=False, at=found.filed)
    return True


def admit(store: Store, task: Task, receipt: Receipt, *, own: bool, at: float) -> None:
    """Put a receipt that was made elsewhere on file with its task, admitted.

    Args:
        store: Where.
        task: The task.
        receipt: What came of it.
        own: True if it counts as one of our own.
        at: When it came, in seconds since 1970.
    """
    run = task.run
    entry = Entry(instruction=run.cid, func=run.func, rsc=run.rsc, how="loaded", receipt=receipt.cid, at=at)
    store.file(Filing(task, receipt, None, entry, own=own))


def doubts(
    instruction: Instruction,
    receipt: Receipt,
    store: Store,
    ops: Mapping[str, Op],
    tasks: Mapping[CID, Task] | None = None,
) -> str:
    """Return why a receipt of Homestar's may not answer an instruction here, or "" if it may.

    Args:
        instruction: The instruction.
        receipt: What Homestar answered.
        store: Where instructions are found that it awaits.
        ops: The operations, which know what functions give.
        tasks: Tasks whose instructions are not in the store yet.
    """
    for promise in instruction.awaits:
        other = (tasks or {}).get(promise.instruction) or task_of(store, promise.instruction)
        does = ops.get(other.run.op) if other is not None else None
        if other is not None and does is not None and does.fallible(other.run):
            return f"Homestar does not look whether {printable(other.run.func, limit=80)}, which it awaits, answered ok or err"
    op, signature = ops.get(instruction.op), None
    if isinstance(op, WasmRun):
        try:
            signature = op.signature(instruction)
        except IpvmError:
            signature = None
    return meaning.doubt(instruction, receipt, signature)


class Examiner:
    """Says what receipts mean here, by what the operations of a session know.

    Args:
        store: Where instructions are that others await.
        ops: The operations, which know what functions give.
        load: Gives the content of a link.
    """

    def __init__(self, store: Store, ops: Mapping[str, Op], load: Load) -> None:
        self._store = store
        self._ops = ops
        self._load = load

    def doubts(self, run: Instruction, receipt: Receipt) -> str:
        """Return why a receipt of Homestar's may not answer an instruction here, or "" if it may."""
        return doubts(run, receipt, self._store, self._ops)

    def misfit(self, run: Instruction, receipt: Receipt) -> str:
        """Return why a value cannot be what the function gives, or "": by its type, where its module is here to tell."""
        op = self._ops.get(run.op)
        if not isinstance(op, WasmRun):
            return ""
        try:
            kind = op.signature(run).result
        except IpvmError:
            return ""
        if kind is None:
            return "" if receipt.value is None else "its function gives nothing, and it says that it gave something"
        try:
            lower(kind, receipt.value, self._load, awaited=True)
        except NotFound:
            return ""  # whoever asks is told what did not come along
        except IpvmError as error:
            return f"its value is not what its function gives: {error.message}"
        return ""


def task_of(store: Store, instruction: CID) -> Task | None:
    """Return a plain task of an instruction that is in the store, or None."""
    try:
        return Task(run=Instruction.from_block(store.get(instruction), trusted=True))
    except IpvmError:
        return None
