"""Planning: what a run asks for, what is on file already, and what is left to do. Nothing runs here.

One look-up answers for a whole workflow. Nothing recurses: a chain of 100,000 tasks is planned with a list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ipvm_kernel.errors import BadInput, BadWorkflow, NotFound
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Instruction, Task
from ipvm_kernel.printable import printable
from ipvm_kernel.store import OnFile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import TypeAlias

    from ipvm_kernel.store import Store

    OnFiles: TypeAlias = Callable[[Iterable[CID]], dict[CID, OnFile]]


class Plan(msgspec.Struct):
    """A run before it begins.

    Attributes:
        tasks: Every task that the run may touch, by its instruction.
        awaits: Which instructions each of them awaits.
        replays: Those whose receipt is on file, in order.
        runs: Those to be run, in order.
        expected: What is on file and must be met, by a rerun or by the recomputation of something dropped.
        unverified: Receipts that are here but may not be used (RULES 11).
    """

    tasks: dict[CID, Task]
    awaits: dict[CID, tuple[CID, ...]] = msgspec.field(default_factory=dict)
    replays: dict[CID, OnFile] = msgspec.field(default_factory=dict)
    runs: list[CID] = msgspec.field(default_factory=list)
    expected: dict[CID, OnFile] = msgspec.field(default_factory=dict)
    unverified: dict[CID, OnFile] = msgspec.field(default_factory=dict)


def plan(
    tasks: Mapping[CID, Task],
    store: Store,
    *,
    wanted: Iterable[CID] | None = None,
    rerun: Collection[CID] = (),
    on_file: OnFiles | None = None,
) -> Plan:
    """Return what is to be done for the instructions in `wanted`.

    Args:
        tasks: The tasks that are known, by instruction.
        store: Where receipts are looked for, and instructions that tasks of other workflows await.
        wanted: The instructions asked for, all of `tasks` if it is None. What only leads to a receipt that is on file
            is not asked for.
        rerun: Instructions to be run although their receipt is on file.
        on_file: Gives what is on file, if somebody else than the store says what of it may be used.

    Raises:
        BadWorkflow: A promise is of an instruction that is neither here, nor on file, nor in the store.
    """
    made = Plan(dict(tasks))
    look = on_file or store.on_file
    usable = _admitted(made, look(made.tasks), rerun)
    order: dict[CID, None] = {}
    pending = list(made.tasks if wanted is None else wanted)[::-1]
    while pending:
        cid = pending.pop()
        if cid in order:
            continue
        order[cid] = None
        found = usable.get(cid)
        if found is None and cid not in made.tasks:
            found = _find_elsewhere(made, store, look, cid, rerun)
        if found is not None:
            made.replays[cid] = usable[cid] = found
            continue
        made.runs.append(cid)
        awaits = tuple(dict.fromkeys(promise.instruction for promise in made.tasks[cid].run.awaits))
        made.awaits[cid] = awaits
        strange = [other for other in awaits if other not in made.tasks and other not in usable]
        if strange:
            usable.update(_admitted(made, look(strange), rerun))
        pending.extend(reversed(awaits))
    return made


def _admitted(made: Plan, found: dict[CID, OnFile], rerun: Collection[CID]) -> dict[CID, OnFile]:
    """Return what may be replayed, and note what may not."""
    usable: dict[CID, OnFile] = {}
    for cid, entry in found.items():
        if not entry.admitted:
            made.unverified[cid] = entry
        elif cid in rerun or not entry.here:
            made.expected[cid] = entry
        else:
            usable[cid] = entry
    return usable


def _find_elsewhere(made: Plan, store: Store, look: OnFiles, cid: CID, rerun: Collection[CID]) -> OnFile | None:
    """Find an instruction that no task of this run has: its receipt, or itself, to be run (RULES 4)."""
    found = _admitted(made, look([cid]), rerun).get(cid)
    if found is not None:
        return found
    try:
        made.tasks[cid] = Task(run=Instruction.from_block(store.get(cid), trusted=True))
    except (NotFound, BadInput) as error:
        waiting = next((t.run for t in made.tasks.values() if any(p.instruction == cid for p in t.run.awaits)), None)
        who = f"{printable(waiting.func, limit=80)} ({waiting.cid.short})" if waiting else "a task"
        what = "is not in the store" if isinstance(error, NotFound) else "is no instruction"
        raise BadWorkflow(
            f"{who} awaits {cid}, which is no task of this workflow, has no receipt on file and {what}. "
            f"Run the workflow that it belongs to first, or load it"
        ) from None
    return None
