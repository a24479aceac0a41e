"""Bringing receipts in from other machines, and giving them out: Homestar's databases, capsules, workflow files.

What comes in is kept and shown. It is used only if the user says that its origin is trusted, and then only where it means
here what it meant there (RULES 11).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from ipvm_kernel.errors import BadInput, IpvmError, NotFound
from ipvm_kernel.homestar import capsules
from ipvm_kernel.ipld import CID, dagjson, decode, encode
from ipvm_kernel.model import Instruction, Invocation, Receipt, Task, Workflow
from ipvm_kernel.printable import plural, printable
from ipvm_kernel.session.admitting import doubts, task_of
from ipvm_kernel.store import EVERY, Entry, Received, RunRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ipvm_kernel.session.session import Session
    from ipvm_kernel.store import Store

_SHOWN: Final = 5


class Named(NamedTuple):
    """A receipt and what it answers, by their CIDs."""

    instruction: CID
    receipt: CID


class Loaded(msgspec.Struct):
    """What came of loading a file.

    Attributes:
        receipts: The receipts that the file held.
        new: How many were not here yet.
        workflows: The workflows that it told of.
        trusted: True if the user said that they may be used.
        refused: What was not taken, and why, one line each.
    """

    receipts: list[Named] = msgspec.field(default_factory=list)
    new: int = 0
    workflows: list[CID] = msgspec.field(default_factory=list)
    trusted: bool = False
    refused: list[str] = msgspec.field(default_factory=list)

    def summary(self) -> str:
        """Return a few lines for a person."""
        lines = [
            f"{plural(len(self.receipts), 'receipt')}, {self.new:,} of them new; {plural(len(self.workflows), 'workflow')}"
        ]
        if self.receipts and not self.trusted:
            lines.append("they are unverified: shown, never used. Say --trust if you trust where they were made")
        if self.refused:
            lines.append(f"{plural(len(self.refused), 'row')} not taken:")
            lines += [f"  {line}" for line in self.refused[:_SHOWN]]
            if len(self.refused) > _SHOWN:
                lines.append(f"  … and {len(self.refused) - _SHOWN:,} more")
        return "\n".join(lines)


def load(session: Session, path: Path, *, trust: bool = False) -> Loaded:
    """Bring in what a file holds: a database of Homestar's, a capsule, or a workflow.

    Args:
        session: Where to keep it.
        path: The file.
        trust: Receipts in it may be replayed (RULES 11).

    Raises:
        NotFound: There is no such file.
        Malformed: It is none of these.
    """
    if not path.is_file():
        raise NotFound(f"no file at {printable(str(path), limit=300)}. The working directory is {Path.cwd()}")
    from ipvm_kernel.homestar import database

    if database.is_database(path):
        return _database(session, path, trust=trust)
    data = path.read_bytes()
    value = dagjson.loads(data, large_ints_as_floats=True) if data[:1] in b"{[ \n\r\t" else decode(data)
    keys = set(value) if type(value) is dict else set()
    if keys == {capsules.RECEIPT} or {"ran", "out", "version"} <= keys:
        return _capsule(session, value, trust=trust)
    if keys == {capsules.WORKFLOW}:
        info = capsules.Info.from_ipld(value[capsules.WORKFLOW])  # type: ignore[index, call-overload]
        return Loaded(workflows=[info.cid])
    workflow = Workflow.parse(data)
    session.keep_tasks(workflow.tasks)
    session.store.put(workflow.block)
    session.store.sync()
    return Loaded(workflows=[workflow.cid], trusted=trust)


def _database(session: Session, path: Path, *, trust: bool) -> Loaded:
    from ipvm_kernel.homestar import database

    loaded = Loaded(trusted=trust)
    begun: dict[CID, int] = {}
    with database.opened(path) as found:
        loaded.workflows, loaded.refused = list(found.workflows), found.refused
        for stored in found.receipts():
            run = None
            for cid in found.homes.get(stored.receipt.cid, ())[:1]:
                known = found.workflows.get(cid)
                if known is not None and cid not in begun:
                    record = RunRecord(workflow=cid, name=known.name, started=known.created)
                    begun[cid] = session.store.begin(record) if not _here(session.store, stored) else 0
                run = begun.get(cid) or None
            rsc = found.resource(stored.instruction)
            engine = f"Homestar ({path.name})"
            loaded.new += keep(session.store, stored, rsc=rsc, run=run, trusted=trust, engine=engine)
            loaded.receipts.append(Named(stored.instruction, stored.receipt.cid))
    session.store.sync()
    return loaded


def _capsule(session: Session, value: Any, *, trust: bool) -> Loaded:
    inner = value.get(capsules.RECEIPT, value)
    if "instruction" in inner:
        stored = capsules.read_stored(inner)
    else:
        receipt = capsules.read_receipt(encode({capsules.RECEIPT: inner}))
        try:
            ran = Invocation.from_block(session.store.get(receipt.ran))
        except IpvmError:
            raise NotFound(
                f"the receipt {receipt.cid} does not say which instruction it answers, and its invocation {receipt.ran} "
                "is not here. Load the workflow that it belongs to first"
            ) from None
        stored = capsules.Stored(ran.task.run.cid, receipt)
    new = keep(session.store, stored, trusted=trust, engine="a capsule")
    session.store.sync()
    return Loaded([Named(stored.instruction, stored.receipt.cid)], new, trusted=trust)


def _here(store: Store, stored: capsules.Stored) -> bool:
    return any(found.cid == stored.receipt.cid for found in store.receipts_of(stored.instruction))


def keep(
    store: Store,
    stored: capsules.Stored,
    *,
    rsc: str = "",
    run: int | None = None,
    trusted: bool = False,
    engine: str = "",
) -> bool:
    """Put a receipt from elsewhere on file, without its task, and return whether it was new.

    Args:
        store: Where to keep it.
        stored: The receipt and its instruction.
        rsc: The resource of the instruction, if that is known.
        run: The run that it is shown under.
        trusted: It may be replayed as soon as its task is here and shows that it means the same.
        engine: Who made it, for people.
    """
    there = next((f for f in store.receipts_of(stored.instruction) if f.cid == stored.receipt.cid), None)
    if there is not None and (there.admitted or there.trusted or not trusted):
        return False
    store.file(Received(stored.receipt, line_of(stored, rsc=rsc, run=run, engine=engine), trusted))
    return there is None


def line_of(stored: capsules.Stored, *, rsc: str, engine: str, run: int | None = None) -> Entry:
    """Return the line of the journal that says where a receipt came from; the arguments are those of `keep`."""
    return Entry(
        instruction=stored.instruction,
        func=printable(stored.receipt.func, limit=200),
        rsc=rsc,
        how="loaded",
        receipt=stored.receipt.cid,
        run=run,
        engine=engine,
    )


# --- Giving out ---


def export_database(session: Session, path: Path, only: Collection[CID] | None = None) -> tuple[int, int, int]:
    """Write a database that Homestar 0.3.0 opens and replays from, or add to one.

    One receipt for each instruction, none of an error, and none whose value Homestar would write in another way.

    Args:
        session: Where the receipts are.
        path: The file.
        only: Instructions to be written; all if it is None.

    Returns:
        How many receipts and workflows were added, and how many receipts were left out.

    Raises:
        Malformed, StoreError: As `database.write` does.
    """
    from ipvm_kernel.homestar import database

    store = session.store
    wanted = dict.fromkeys(
        entry.instruction
        for entry in reversed(store.journal(limit=EVERY))
        if entry.receipt is not None and (only is None or entry.instruction in only)
    )
    written: set[CID] = set()
    left = 0

    def receipts() -> Iterator[capsules.Stored]:  # one by one, for they may be large
        nonlocal left
        for instruction in wanted:
            found = store.on_file([instruction]).get(instruction)
            if found is None:
                continue
            receipt, task = found.receipt if found.admitted else None, task_of(store, instruction)
            if receipt is None or task is None or doubts(task.run, receipt, store, session.ops):
                left += 1
                continue
            written.add(instruction)
            yield capsules.Stored(instruction, receipt)

    def workflows() -> Iterator[tuple[Workflow, str]]:  # asked for when the receipts are written
        seen: set[CID] = set()
        for record in store.runs(limit=EVERY):
            if record.workflow is None or record.workflow in seen:
                continue
            seen.add(record.workflow)
            with contextlib.suppress(IpvmError):
                workflow = Workflow.from_block(store.get(record.workflow), trusted=True)
                if workflow.tasks and all(task.run.cid in written for task in workflow.tasks):
                    yield workflow, record.name

    added, listed = database.write(path, receipts(), workflows())
    return added, listed, left


def export_capsule(session: Session, cid: CID, path: Path) -> CID:
    """Write a capsule: of a receipt, or of the receipt that answers an instruction; or of a workflow's information.

    Returns:
        The CID of what was written.

    Raises:
        NotFound: Nothing of it is on file.
        BadInput: It is a value or a file, which have no capsule.
    """
    found = session.find(cid)
    match found.node:
        case Workflow() as workflow:
            on_file = session.store.on_file(task.run.cid for task in workflow.tasks)
            info = capsules.Info.of(workflow, progress=[one.cid for one in on_file.values() if one.admitted])
            data, written = capsules.workflow_capsule(info), workflow.cid
        case Receipt() as receipt:
            instruction = session.instruction_of(cid)
            data, written = capsules.receipt_capsule(receipt, instruction), receipt.cid
        case Instruction() | Task() | Invocation():
            instruction = session.instruction_of(cid)
            answer = session.known(instruction)
            if answer is None:
                raise NotFound(f"{instruction} has no receipt on file")
            data, written = capsules.receipt_capsule(answer, instruction), answer.cid
        case _:
            raise BadInput(f"{cid} is a {found.kind}; capsules are of receipts and workflows")
    path.write_bytes(data)
    return written
