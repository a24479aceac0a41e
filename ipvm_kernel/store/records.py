"""What a store keeps beside bytes: receipts with all that explains them, lines of the journal, runs, and what it tells."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Final, Literal

import msgspec

from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.model import Receipt, Task
from ipvm_kernel.store.lineage import Edge, edges_of

Role = Literal["value", "block", "input", "module"]
"""What bytes are to the store, from the least to the most precious; only the values of pure tasks may be dropped."""

RANK: Final[dict[str, int]] = {"value": 0, "block": 1, "input": 2, "module": 2}
"""Bytes that are two things at once are the more precious of both."""

How = Literal["computed", "shared", "failed", "loaded"]
"""How a journal entry came to be: run here, taken from an equal task, run without an answer to keep, or brought here."""


EVERY: Final = 2**31 - 1
"""A limit that asks the journal for all of it: more lines than there can be."""


class OnFile(msgspec.Struct, frozen=True):
    """The receipt on file for an instruction, and what is known of it besides.

    Attributes:
        instruction: The instruction that it answers.
        cid: The CID of the receipt.
        ran: The invocation that it answers, or None if that is not known.
        own: True if it was made here.
        admitted: True if it may be replayed (RULES 11). One that is our own and not admitted was made here from what
            others answered: it may be replayed as long as they are believed.
        filed: When, in seconds since 1970.
        seconds: How long the task ran, which is what a replay saves; 0 if unknown.
        kept: The receipt, or how to read it where it is large, or None if it was dropped to make room.
        trusted: True if the user admitted where it came from, and it will be used as soon as its task is here and shows
            that it means here what it means there. `admitted` is then still False.
        lent: True if it is our own only as a layer's is (see `layered`): it is replayed as such, and was made by somebody else,
            so nobody here signs for it.
    """

    instruction: CID
    cid: CID
    ran: CID | None
    own: bool
    admitted: bool
    filed: float
    seconds: float
    kept: Receipt | Callable[[], Receipt] | None = None
    trusted: bool = False
    lent: bool = False

    @property
    def made_here(self) -> bool:
        """True if this user made it, and can sign for that."""
        return self.own and not self.lent

    @property
    def here(self) -> bool:
        """False if the receipt was dropped: recomputing must meet `cid`."""
        return self.kept is not None

    @property
    def receipt(self) -> Receipt | None:
        """The receipt, or None if it was dropped. A large one is read again each time, so that it is nowhere kept."""
        return self.kept() if callable(self.kept) else self.kept


class Filing(msgspec.Struct):
    """A receipt to be kept, with all that lets it be found and explained later.

    Attributes:
        task: What was run.
        receipt: What came of it.
        key: The resolved key of the task (RULES 3), under which equal tasks share the outcome; None where there is none.
        entry: Its line in the journal.
        own: False for what was loaded from elsewhere.
        admitted: False for what may be shown but never used; and for what was made here from answers of others (see
            `OnFile`), which is still the outcome of its resolved key.
    """

    task: Task
    receipt: Receipt
    key: bytes | None
    entry: Entry
    own: bool = True
    admitted: bool = True
    trusted: ClassVar[bool] = False

    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks that explain it: its instruction, its invocation (which holds the task), and itself."""
        return (self.task.run.block, self.task.invocation.block, self.receipt.block)

    @property
    def outcome(self) -> bool:
        """True if it is the outcome of its resolved key: the same work on the same values gives the same."""
        return self.key is not None and (self.own or self.admitted)

    def edges(self) -> list[Edge]:
        """Return what went into the task, and that the links in the receipt came of it."""
        return edges_of(self.task.run, self.receipt)


class Received(msgspec.Struct):
    """A receipt from elsewhere whose task is not here, only the CID of its instruction (`entry.instruction`).

    So Homestar keeps and sends them. Nothing can be said about what such a receipt means, so it is shown and not used;
    if it is trusted, it is examined as soon as its task is met, and then filed with it.

    Attributes:
        receipt: What came of it.
        entry: Its line in the journal.
        trusted: True if the user admitted where it came from (see `OnFile`).
    """

    receipt: Receipt
    entry: Entry
    trusted: bool = False
    key: ClassVar[None] = None
    own: ClassVar[bool] = False
    admitted: ClassVar[bool] = False
    outcome: ClassVar[bool] = False

    def blocks(self) -> tuple[Block, ...]:
        """Return the one block that there is."""
        return (self.receipt.block,)

    def edges(self) -> list[Edge]:
        """Return nothing: what went into its task is not known."""
        return []


class Parcel(msgspec.Struct, kw_only=True):
    """What comes in together, all of it or nothing (see `Store.bring`).

    Each part is walked once, in this order, and may be made while it is walked. Nothing is visible before all of it is
    there. Whoever gives a parcel has checked that blocks are what their CIDs name, and that pieces are those of their file.

    Attributes:
        files: Files under the CIDs that they came under, in pieces of any size. One that its author cut in another way than
            `ipfs add --cid-version=1` is kept under the CID of that, and pinned as `ipfs://` and the CID it came under.
        blocks: Blocks with a value. The blocks of a file are given as the file, whole.
        filings: Receipts, with their tasks or without.
        attestations: Signed statements, each with the CID of the receipt that it is about.
        pins: CIDs by the names that keep them.
        names: What files and modules were called where they came from.
    """

    files: Iterable[tuple[CID, Iterable[bytes], Role]] = ()
    blocks: Iterable[Block] = ()
    filings: Iterable[Filing | Received] = ()
    attestations: Iterable[tuple[CID, Block]] = ()
    pins: Mapping[str, CID] = msgspec.field(default_factory=dict)
    names: Iterable[tuple[CID, str]] = ()


class Entry(msgspec.Struct, kw_only=True):
    """A line of the journal: one instruction that was not simply replayed.

    Attributes:
        instruction: What was to be done.
        func: The name of its function.
        rsc: Its resource.
        how: How it ended.
        receipt: The CID of the receipt on file, or None where none was filed.
        run: The run that it was part of, or None.
        at: When it ended, in seconds since 1970.
        seconds: How long it took.
        fuel: Steps it took, as the engine counts them.
        engine: Which engine ran it.
        log: What the guest said.
        source: The receipt whose outcome it shares, if it does.
        error: The kind and message of a failure, or "".
        declared: The cell in which the task was declared (see `Store.declare`), or None.
    """

    instruction: CID
    func: str
    rsc: str
    how: How
    receipt: CID | None = None
    run: int | None = None
    at: float = msgspec.field(default_factory=time.time)
    seconds: float = 0.0
    fuel: int = 0
    engine: str = ""
    log: str = ""
    source: CID | None = None
    error: str = ""
    declared: int | None = None


class RunRecord(msgspec.Struct, kw_only=True):
    """A run in the journal: who asked for it, from where.

    Attributes:
        ident: Its number, unique in its store and growing with time.
        started: When, in seconds since 1970.
        workflow: The CID of the workflow.
        name: The name that the user gave it.
        cell: The notebook cell: its id, or a hash of its source where no id arrives.
        source: The source of the cell, shortened.
        count: The execution count of the cell.
        notebook: The path of the notebook, if it is known.
        session: A name for the session.
    """

    ident: int = msgspec.field(default_factory=lambda: time.time_ns() >> 4 << 4 | secrets.randbits(4))
    started: float = msgspec.field(default_factory=time.time)
    workflow: CID | None = None
    name: str = ""
    cell: str = ""
    source: str = ""
    count: int = 0
    notebook: str = ""
    session: str = ""


class LayerUsage(msgspec.Struct, kw_only=True):
    """A store that is read beside one's own (see `layered`).

    Attributes:
        where: Its folder.
        own: True if its receipts count as one's own.
        why: Why they do not; or why it is left out, if it is.
        left_out: True if it is not read.
        receipts: How many receipts it holds.
        total_bytes: Bytes of its blocks and files.
    """

    where: str
    own: bool = False
    why: str = ""
    left_out: bool = False
    receipts: int = 0
    total_bytes: int = 0


class Usage(msgspec.Struct, kw_only=True):
    """What a store holds, in bytes and counts; and the layers that are read beside it, in order."""

    where: str
    blocks: int = 0
    block_bytes: int = 0
    files: int = 0
    file_bytes: int = 0
    receipts: int = 0
    dropped: int = 0
    runs: int = 0
    pins: int = 0
    limit_bytes: int | None = None
    read_only: str = ""
    layers: list[LayerUsage] = msgspec.field(default_factory=list)

    @property
    def total_bytes(self) -> int:
        """Bytes of blocks and files together."""
        return self.block_bytes + self.file_bytes


def merged(candidates: Iterable[OnFile]) -> list[OnFile]:
    """Return receipts for one instruction, each once, with the best that is known of it.

    A receipt that was brought here and is then made here too is our own from then on.
    """
    found: dict[CID, OnFile] = {}
    for one in candidates:
        other = found.setdefault(one.cid, one)
        if other is not one:
            found[one.cid] = msgspec.structs.replace(
                other,
                own=other.own or one.own,
                admitted=other.admitted or one.admitted,
                filed=min(other.filed, one.filed),
                kept=other.kept or one.kept,
                trusted=(other.trusted or one.trusted) and not (other.admitted or one.admitted),
                lent=(other.own or one.own) and not (other.made_here or one.made_here),
            )
    return list(found.values())


def choose(candidates: Iterable[OnFile]) -> OnFile | None:
    """Return the receipt that answers for an instruction (RULES 3): our own earliest, else the earliest admitted.

    >>> choose([]) is None
    True
    """
    found = list(candidates)
    if len(found) > 1:
        found = sorted(
            merged(found),
            key=lambda one: (not (one.own and one.admitted), not one.admitted, not one.trusted, one.filed),
        )
    return found[0] if found else None


def found_as(filing: Filing | Received) -> OnFile:
    """Return how a receipt that is put on file is found again."""
    entry, receipt = filing.entry, filing.receipt
    return OnFile(
        entry.instruction, receipt.cid, receipt.ran, filing.own, filing.admitted, entry.at, entry.seconds, receipt,
        trusted=filing.trusted,
    )  # fmt: skip
