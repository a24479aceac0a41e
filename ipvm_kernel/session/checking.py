"""Checking what somebody shared, without a kernel: that every receipt is intact, who signed it, and what a rerun gives.

What is run again are the tasks in the archive, in a store that ends with the check; the notebook's Python is never run.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ipvm_kernel.errors import BadInput, IpvmError
from ipvm_kernel.ipld import CID, Block, encode
from ipvm_kernel.model import Invocation, Receipt, Workflow
from ipvm_kernel.printable import printable
from ipvm_kernel.session import arriving, sharing
from ipvm_kernel.session.session import Session
from ipvm_kernel.session.signing import identity
from ipvm_kernel.sharing import notebook as notebooks
from ipvm_kernel.sharing.manifest import Answered, Share
from ipvm_kernel.sharing.unpacking import filing_of
from ipvm_kernel.store import Parcel
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.trust import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ipvm_kernel.engine.answers import Answer
    from ipvm_kernel.model import Task
    from ipvm_kernel.sharing.notebook import Notebook
    from ipvm_kernel.store import Store
    from ipvm_kernel.trust.attestation import Attestation


class Again(msgspec.Struct, frozen=True):
    """What came of running a task again.

    Attributes:
        instruction: The task.
        verdict: `same`, `different`, or `failed`: it could not be run again here.
        told: More about it, safe to show.
        seconds: How long it took.
    """

    instruction: CID
    verdict: str
    told: str = ""
    seconds: float = 0.0


class CheckedCell(msgspec.Struct, kw_only=True):
    """A cell, or what has no cell, and its receipts.

    Attributes:
        index: Its place in the notebook, from 0, or None.
        heading: Its first line.
        receipts: For each instruction the receipt.
        broken: What is wrong with a receipt, by instruction.
        outputs: How many of its outputs are backed by receipts, and how many are ordinary Python's.
    """

    index: int | None
    heading: str
    receipts: dict[CID, CID] = msgspec.field(default_factory=dict)
    broken: dict[CID, str] = msgspec.field(default_factory=dict)
    outputs: tuple[int, int] = (0, 0)


class Checked(msgspec.Struct, kw_only=True):
    """What was found.

    Attributes:
        name: What was checked, safe to show.
        cells: Cell by cell.
        share: The share, if it was one.
        signed: Who signed each receipt.
        took: Seconds that each task took where it was run; 0 if nobody said.
        funcs: The function of each task.
        refused: Statements that were dropped, and why.
        left: What did not come along: bytes of each, by name or CID.
        again: What came of running tasks again.
    """

    name: str
    cells: list[CheckedCell]
    share: Share | None = None
    signed: dict[CID, list[str]] = msgspec.field(default_factory=dict)
    took: dict[CID, float] = msgspec.field(default_factory=dict)
    funcs: dict[CID, str] = msgspec.field(default_factory=dict)
    refused: list[str] = msgspec.field(default_factory=list)
    left: list[str] = msgspec.field(default_factory=list)
    again: dict[CID, Again] = msgspec.field(default_factory=dict)

    @property
    def receipts(self) -> dict[CID, CID]:
        """Every receipt that is intact, by instruction."""
        return {
            instruction: receipt
            for cell in self.cells
            for instruction, receipt in cell.receipts.items()
            if instruction not in cell.broken
        }

    @property
    def failed(self) -> bool:
        """True if something is not what it is said to be."""
        return any(cell.broken for cell in self.cells) or any(one.verdict == "different" for one in self.again.values())


def check(
    session: Session,
    what: Path | CID,
    *,
    rerun: float = 0.0,
    told: Callable[[str], object] = lambda _: None,
) -> Checked:
    """Check a notebook, an archive or a share.

    Args:
        session: Where a notebook's receipts are, and whose policy holds.
        what: A notebook's or an archive's path, or the CID of a share.
        rerun: The share of pure tasks that is run again, 0 to 1, chosen by chance.
        told: Called with a line of progress.

    Raises:
        NotFound: It is not here, and nobody has it.
        Malformed, Mismatch: It is not what it is said to be as a whole.
    """
    with _scratch(session) as scratch:
        if isinstance(what, Path) and not arriving.is_archive(what):
            checked = _notebook(session, scratch, what, rerun=bool(rerun))
        else:
            with _archive(session, what) as path:
                checked = _share(scratch, path, printable(str(what), limit=200))
        if rerun:
            _again(scratch, checked, rerun, told)
    _put_aside(session, checked)
    return checked


@contextlib.contextmanager
def _scratch(session: Session) -> Iterator[Session]:
    """Give a session of its own, which ends with its store and its policy, and shares the compiled code of another."""
    with tempfile.TemporaryDirectory(prefix="ipvm-check-") as folder:
        scratch = Session(
            SqliteStore(Path(folder) / "store"),
            limits=session.limits,
            policy=Policy(),
            code=session.library.cache.folder,
        )
        scratch.admission.believing = True
        try:
            yield scratch
        finally:
            scratch.close()


@contextlib.contextmanager
def _archive(session: Session, what: Path | CID) -> Iterator[Path]:
    if isinstance(what, Path):
        yield what
        return
    if not arriving.is_here(session, what):
        path = arriving.fetched(session, what)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory(prefix="ipvm-check-") as folder:
        path = Path(folder) / "share.car"
        sharing.write_archive(session, what, path)
        yield path


def _share(scratch: Session, path: Path, name: str) -> Checked:
    """Check an archive: all of it is brought into a store of its own, which refuses what does not fit."""
    with arriving.indexed(path) as (archive, index):
        parcel, arrival = arriving.unpacked(scratch, archive, index)
        scratch.store.bring(parcel)
    receipts = {one.instruction: one.receipt for one in arrival.receipts}
    share = arrival.opened.share if arrival.opened is not None else None
    cells: list[CheckedCell] = []
    if share is not None and share.kind == "notebook":
        cells = _cells(notebooks.read(scratch.store.read(share.about)))
    _sorted(cells, receipts)
    called = printable(share.name, limit=200) if share is not None else name
    checked = Checked(name=called, cells=cells, share=share, refused=arrival.refused)
    checked.signed = {
        one.instruction: list(dict.fromkeys(signed.made.issuer for signed in arrival.signed.get(one.receipt, ())))
        for one in arrival.receipts
    }
    checked.took = {one.instruction: one.took / 1000 for one in arrival.receipts}
    if arrival.opened is not None:
        left = [one for one in (*arrival.opened.left, *arrival.absent) if one.part != "block"]
        checked.left = [f"{one.part} {one.name or one.cid}, {one.size:,} bytes" for one in left]
    return _named(scratch.store, checked)


def _cells(notebook: Notebook) -> list[CheckedCell]:
    return [
        CheckedCell(
            index=cell.index,
            heading=cell.heading,
            receipts=dict(cell.receipts),
            outputs=(cell.backed, cell.ordinary),
        )
        for cell in notebook.cells
        if cell.receipts or cell.outputs
    ]


def _sorted(cells: list[CheckedCell], receipts: dict[CID, CID]) -> None:
    """Say of each cell's receipts whether they came along, and put those that no cell names in a row of their own."""
    named: set[CID] = set()
    for cell in cells:
        for instruction, receipt in cell.receipts.items():
            named.add(instruction)
            if instruction not in receipts:
                cell.broken[instruction] = "its receipt did not come along"
            elif receipts[instruction] != receipt:
                cell.broken[instruction] = f"the output names {receipt}, the share has {receipts[instruction]}"
    rest = {instruction: receipt for instruction, receipt in receipts.items() if instruction not in named}
    if rest:
        cells.append(CheckedCell(index=None, heading="awaited by others", receipts=rest))


class _OfStore:
    """The blocks of a store, as those of an archive."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, cid: CID) -> bytes:
        return self._store.get(cid).data

    def __contains__(self, cid: object) -> bool:
        return isinstance(cid, CID) and self._store.size(cid) is not None

    def __iter__(self) -> Iterator[CID]:
        return self._store.cids()


def _notebook(session: Session, scratch: Session, path: Path, *, rerun: bool) -> Checked:
    """Check a notebook whose receipts are in the session's own store."""
    store = session.store
    offer = sharing.prepare(session, path, secrets=True)
    assert offer.notebook is not None
    cells = _cells(offer.notebook)
    checked = Checked(name=printable(path.name, limit=200), cells=cells)
    wanted = {instruction: receipt for cell in cells for instruction, receipt in cell.receipts.items()}
    signers = session.admission.statements.about(
        [*wanted.values(), *(one.receipt for one in offer.bundle.receipts.values())]
    )
    filings = []
    for instruction, receipt in wanted.items():
        one = Answered(instruction, receipt, 0)
        checked.signed[instruction] = _issuers(signers, receipt)
        try:
            filings.append(filing_of(_OfStore(store), one, (), trust=False, at=0.0))
        except IpvmError as error:
            for cell in cells:
                if instruction in cell.receipts:
                    cell.broken[instruction] = error.message
    named = {filing.entry.instruction for filing in filings}
    for gathered in offer.bundle.receipts.values():
        checked.took[gathered.instruction] = gathered.seconds
        checked.signed[gathered.instruction] = _issuers(signers, gathered.receipt)
        if gathered.own and not checked.signed[gathered.instruction]:
            checked.signed[gathered.instruction] = ["here"]
        if gathered.instruction not in named:
            one = Answered(gathered.instruction, gathered.receipt, 0)
            filings.append(filing_of(_OfStore(store), one, (), trust=False, at=0.0))
    content = offer.bundle.content.values() if rerun else ()
    files = [one for one in content if one.cid.codec in {"raw", "dag-pb"}]
    scratch.store.bring(
        Parcel(
            files=((one.cid, _pieces(store, one.cid), "module" if one.part == "module" else "input") for one in files),
            blocks=(store.get(one.cid) for one in content if one.cid.codec not in {"raw", "dag-pb"}),
            filings=filings,
        )
    )
    return _named(scratch.store, checked)


def _issuers(signers: Mapping[CID, list[Attestation]], receipt: CID) -> list[str]:
    """Return who signed for a receipt, each once, whether they count or not."""
    return list(dict.fromkeys(made.issuer for made in signers.get(receipt, [])))


def _pieces(store: Store, cid: CID) -> Iterator[bytes]:
    content = store.open(cid)
    return iter([content]) if isinstance(content, bytes) else content.pieces(1 << 20)


def _named(store: Store, checked: Checked) -> Checked:
    for instruction, receipt in checked.receipts.items():
        checked.funcs[instruction] = printable(Receipt.trusted(store.get(receipt)).func, limit=60)
    return checked


# --- Running again ---


def _again(scratch: Session, checked: Checked, share: float, told: Callable[[str], object]) -> None:
    """Run some of the tasks again, and compare."""
    tasks = {}
    for instruction, receipt in checked.receipts.items():
        made = Receipt.trusted(scratch.store.get(receipt))
        tasks[instruction] = Invocation.from_block(scratch.store.get(made.ran), trusted=True).task
    chosen = _chosen(list(tasks), share)
    _run(scratch, checked, tasks, chosen, told)
    different = [one.instruction for one in checked.again.values() if one.verdict == "different"]
    before = _before(tasks, different)
    if before - chosen:
        # They were run with values of the share that were not: whoever signed for those may be the one who is wrong.
        before.update(different)
        scratch.forget(before)
        _run(scratch, checked, {cid: tasks[cid] for cid in tasks if cid in before}, before, told)
    scratch.take_notices()  # that something differs is told by task


def _run(
    scratch: Session, checked: Checked, tasks: Mapping[CID, Task], chosen: set[CID], told: Callable[[str], object]
) -> None:
    ended, receipts = 0, checked.receipts
    for answer in scratch.run(Workflow(tasks=tuple(tasks.values())), rerun=chosen):
        if answer.instruction not in chosen:
            continue
        ended += 1
        checked.again[answer.instruction] = _compared(answer, scratch.store.get(receipts[answer.instruction]))
        told(f"{ended:,} of {len(chosen):,} run again: {checked.funcs.get(answer.instruction, '')}")


def _before(tasks: Mapping[CID, Task], instructions: Iterable[CID]) -> set[CID]:
    """Return everything that some tasks await, and what that awaits, as far as it came along."""
    found: set[CID] = set()
    pending = list(instructions)
    while pending:
        for promise in tasks[pending.pop()].run.awaits:
            if promise.instruction in tasks and promise.instruction not in found:
                found.add(promise.instruction)
                pending.append(promise.instruction)
    return found


def _put_aside(session: Session, checked: Checked) -> None:
    """Take no word any more of those who signed for something else than what came out here."""
    different = [one for one in checked.again.values() if one.verdict == "different"]
    mine = identity(session) if different else None
    receipts = checked.receipts if different else {}
    for one in different:
        name, receipt = checked.funcs.get(one.instruction, "?"), receipts[one.instruction]
        why = f"divergence: {name} ({one.instruction.short}) {one.told}, where the receipt of the share is {receipt}"
        signers = [did for did in checked.signed.get(one.instruction, []) if did.startswith("did:")]
        for did in signers:
            if mine is None or did != mine.did:
                session.policy.quarantine(did, why)


def _chosen(instructions: list[CID], share: float) -> set[CID]:
    """Choose by chance, at least one: whoever made the receipts must not know which."""
    if share >= 1 or not instructions:
        return set(instructions)
    count = max(1, round(len(instructions) * share))
    return set(random.SystemRandom().sample(instructions, count))


def _compared(answer: Answer, block: Block) -> Again:
    theirs, ours = Receipt.trusted(block), answer.receipt
    if ours is None or (not answer.filed and answer.how != "replayed"):
        error = ours.error if ours is not None else None
        why = error.get("message") if isinstance(error, dict) else None
        return Again(answer.instruction, "failed", printable(str(why or answer.how), limit=300), answer.seconds)
    if encode(theirs.out.to_ipld()) == encode(ours.out.to_ipld()):
        return Again(answer.instruction, "same", "", answer.seconds)
    return Again(answer.instruction, "different", f"gave {ours.cid} here", answer.seconds)


def share_from_text(text: str) -> float:
    """Return the part that `--rerun` names: "all", or a number of percent.

    >>> share_from_text("all"), share_from_text("5%")
    (1.0, 0.05)

    Raises:
        BadInput: It is neither.
    """
    try:
        share = 1.0 if text.strip().lower() == "all" else float(text.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise BadInput(f"expected 'all' or a part such as 5%, found {printable(text, limit=40)!r}")
    return share
