"""Checking what somebody shared, without a kernel: that every receipt is intact, who signed it, and what a rerun gives.

What is run again are the tasks in the archive, in a store that ends with the check; the notebook's Python is never run. A
check changes nothing of the user's: who signed for something else than what came out is told, with the command that takes
their word no longer.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import CID, encode
from ipvm_kernel.model import Receipt
from ipvm_kernel.printable import printable
from ipvm_kernel.session import arriving, rerunning, sharing
from ipvm_kernel.session.rerunning import Again, seconds_from_text, share_from_text
from ipvm_kernel.sharing import notebook as notebooks
from ipvm_kernel.sharing.manifest import Answered, Share
from ipvm_kernel.sharing.unpacking import filing_of
from ipvm_kernel.store import Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ipvm_kernel.session.session import Session
    from ipvm_kernel.sharing.notebook import Notebook
    from ipvm_kernel.store import Store
    from ipvm_kernel.trust.attestation import Attestation


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
        signed: Who signed each receipt, whether their word holds or not.
        lapsed: Whose word about a receipt does not hold now, and why.
        took: Seconds that each task took where it was run; 0 if nobody said.
        funcs: The function of each task.
        refused: Statements that were dropped, and why.
        left: What did not come along: bytes of each, by name or CID.
        again: What came of running tasks again.
        all: That was asked of all tasks.
    """

    name: str
    cells: list[CheckedCell]
    share: Share | None = None
    signed: dict[CID, list[str]] = msgspec.field(default_factory=dict)
    lapsed: dict[CID, dict[str, str]] = msgspec.field(default_factory=dict)
    took: dict[CID, float] = msgspec.field(default_factory=dict)
    funcs: dict[CID, str] = msgspec.field(default_factory=dict)
    refused: list[str] = msgspec.field(default_factory=list)
    left: list[str] = msgspec.field(default_factory=list)
    again: dict[CID, Again] = msgspec.field(default_factory=dict)
    all: bool = False

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

    @property
    def unshown(self) -> int:
        """How many tasks were to be run again, as all were, and could not be: what their receipts say was not shown."""
        return sum(one.verdict == "failed" for one in self.again.values()) if self.all else 0


def check(
    session: Session,
    what: Path | CID,
    *,
    rerun: float = 0.0,
    seconds: float | None = None,
    told: Callable[[str], object] = lambda _: None,
) -> Checked:
    """Check a notebook, an archive or a share. Nothing of the user's is changed.

    Args:
        session: Where a notebook's receipts are, and whose policy holds.
        what: A notebook's or an archive's path, or the CID of a share.
        rerun: The share of calls of Wasm that is run again, 0 to 1, chosen by chance.
        seconds: How long each may run; a minute if it is not given.
        told: Called with a line of progress.

    Raises:
        NotFound: It is not here, and nobody has it.
        Malformed, Mismatch: It is not what it is said to be as a whole.
    """
    with rerunning.scratch(session, seconds) as scratch:
        if isinstance(what, Path) and not arriving.is_archive(what):
            checked, said = _notebook(session, scratch, what, rerun=bool(rerun))
        else:
            with _archive(session, what) as path:
                checked, said = _share(scratch, path, printable(str(what), limit=200))
        _signed(session, checked, said)
        if rerun:
            checked.all = rerun >= 1
            checked.again = rerunning.again(
                session, scratch, checked.receipts, rerun,
                lambda ended, count, cid: told(f"{ended:,} of {count:,} run again: {checked.funcs.get(cid, '')}"),
            )  # fmt: skip
    return checked


def _signed(session: Session, checked: Checked, said: Mapping[CID, Sequence[Attestation]]) -> None:
    """Note who signed each receipt, and whose word does not hold at this moment."""
    now = time.time()
    for instruction, statements in said.items():
        failing: dict[str, str] = {}
        for made in statements:
            why = session.policy.failing(made, receipt=made.receipt, instruction=instruction, now=now)
            failing[made.issuer] = why if failing.get(made.issuer, why) else ""
        checked.signed[instruction] = [*failing, *checked.signed.get(instruction, [])]
        lapsed = {did: why for did, why in failing.items() if why}
        if lapsed:
            checked.lapsed[instruction] = lapsed


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
    with rerunning.folder() as folder:
        path = folder / "share.car"
        sharing.write_archive(session, what, path)
        yield path


def _share(scratch: Session, path: Path, name: str) -> tuple[Checked, dict[CID, list[Attestation]]]:
    """Check an archive: all of it is brought into a store of its own, which refuses what does not fit."""
    with arriving.indexed(path) as (archive, index):
        parcel, arrival = arriving.unpacked(scratch, archive, index)
        scratch.store.bring(parcel)
    receipts = {one.instruction: one.receipt for one in arrival.receipts}
    share = arrival.opened.share if arrival.opened is not None else None
    cells: list[CheckedCell] = []
    if share is not None and share.kind == "notebook":
        with arriving.about_notebook(share.about):
            cells = _cells(notebooks.read(scratch.store.read(share.about)))
    _sorted(cells, receipts)
    _contradictions(scratch.store, cells, arrival.receipts)
    called = printable(share.name, limit=200) if share is not None else name
    checked = Checked(name=called, cells=cells, share=share, refused=arrival.refused)
    said: dict[CID, list[Attestation]] = {one.instruction: [] for one in arrival.receipts}
    for one in arrival.receipts:
        said[one.instruction] += [signed.made for signed in arrival.signed.get(one.receipt, ())]
    checked.took = {one.instruction: one.took / 1000 for one in arrival.receipts}
    if arrival.opened is not None:
        left = [one for one in (*arrival.opened.left, *arrival.absent) if one.part != "block"]
        checked.left = [f"{one.part} {one.name or one.cid}, {one.size:,} bytes" for one in left]
    return _named(scratch.store, checked), said


def _contradictions(store: Store, cells: list[CheckedCell], answered: list[Answered]) -> None:
    """Say where an archive, which is no share, answers a task twice and not alike: which of them is true it does not say."""
    first: dict[CID, Receipt] = {}
    for one in answered:
        receipt = Receipt.trusted(store.get(one.receipt))
        other = first.setdefault(one.instruction, receipt)
        if other is not receipt and encode(other.out.to_ipld()) != encode(receipt.out.to_ipld()):
            for cell in cells:
                if one.instruction in cell.receipts:
                    cell.broken[one.instruction] = f"two receipts answer it differently, {other.cid} and {receipt.cid}"


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


def _notebook(
    session: Session, scratch: Session, path: Path, *, rerun: bool
) -> tuple[Checked, dict[CID, list[Attestation]]]:
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
    said: dict[CID, list[Attestation]] = {}
    for instruction, receipt in wanted.items():
        one = Answered(instruction, receipt, 0)
        said[instruction] = signers.get(receipt, [])
        try:
            filings.append(filing_of(_OfStore(store), one, (), trust=False, at=0.0))
        except IpvmError as error:
            for cell in cells:
                if instruction in cell.receipts:
                    cell.broken[instruction] = error.message
    named = {filing.entry.instruction for filing in filings}
    for gathered in offer.bundle.receipts.values():
        checked.took[gathered.instruction] = gathered.seconds
        said[gathered.instruction] = signers.get(gathered.receipt, [])
        if gathered.own and not said[gathered.instruction]:
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
    return _named(scratch.store, checked), said


def _pieces(store: Store, cid: CID) -> Iterator[bytes]:
    content = store.open(cid)
    return iter([content]) if isinstance(content, bytes) else content.pieces(1 << 20)


def _named(store: Store, checked: Checked) -> Checked:
    for instruction, receipt in checked.receipts.items():
        checked.funcs[instruction] = printable(Receipt.trusted(store.get(receipt)).func, limit=60)
    return checked


__all__ = ["Again", "Checked", "CheckedCell", "check", "seconds_from_text", "share_from_text"]
