"""Where blocks and receipts are kept: the promise that every store makes. `memory` has its smallest implementation.

Blocks never change. What changes is which receipt is on file for an instruction, what is pinned, and the journal of what
was run. Everything read is checked against its CID by whoever gives it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ipvm_kernel.errors import BadInput, NotFound
from ipvm_kernel.store.lineage import EDGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from ipvm_kernel.ipld import CID, Block, FileBytes
    from ipvm_kernel.store.lineage import CellRecord, Edge
    from ipvm_kernel.store.records import Entry, Filing, OnFile, Parcel, Received, Role, RunRecord, Usage


class Claim(Protocol):
    """The right to run one task, held until it is released or its process ends."""

    def release(self) -> None:
        """Let go."""


class Store(Protocol):
    """Blocks and files, the receipt on file for an instruction, pins and the journal.

    What is put is visible to this process at once, and durable once `sync` has returned.
    """

    @property
    def where(self) -> str:
        """Where it is, for a person to read."""

    def put(self, block: Block) -> CID:
        """Keep a block and return its CID."""

    def get(self, cid: CID) -> Block:
        """Return a block, checked. Raises NotFound or StoreDamaged."""

    def put_file(self, source: bytes | memoryview | Path, role: Role) -> CID:
        """Keep bytes, or the bytes of a file, and return the CID that `ipfs add --cid-version=1` gives them.

        A view is of bytes, and good until this returns.
        """

    def read(self, cid: CID) -> bytes:
        """Return the bytes of a file or raw block, checked. Raises NotFound or StoreDamaged."""

    def open(self, cid: CID) -> bytes | FileBytes:
        """Return the bytes of a file as `read` does or, where they are many, the file to read them from."""

    def size(self, cid: CID) -> int | None:
        """Return how many bytes a file or block has, or None if it is not here."""

    def file(self, filing: Filing | Received) -> None:
        """Put a receipt on file."""

    def bring(self, parcel: Parcel) -> None:
        """Take in a parcel: all of it, durable when this returns, or nothing.

        Whatever is raised while its parts are walked is raised here, and nothing of it was kept.

        Raises:
            BadInput, Mismatch: A part is not what its CID says.
            StoreFull, StoreBusy, StoreReadOnly: It cannot be kept.
        """

    def attest(self, receipt: CID, attestation: Block) -> None:
        """Keep a signed statement about a receipt, which need not be here."""

    def attestations(self, receipts: Iterable[CID]) -> dict[CID, list[Block]]:
        """Return the statements about each receipt that has any, in the order in which they came.

        Those about a receipt that was forgotten are forgotten with it.
        """

    def note(self, entry: Entry) -> None:
        """Add a line to the journal for a task that has no receipt on file."""

    def on_file(self, instructions: Iterable[CID]) -> dict[CID, OnFile]:
        """Return the receipt on file for each instruction that has one: our own earliest, else the earliest admitted.

        An instruction with none that is admitted gives one that is not.
        """

    def outcome(self, key: bytes) -> OnFile | None:
        """Return the receipt of a task with this resolved key, or None."""

    def receipts_of(self, instruction: CID) -> list[OnFile]:
        """Return every receipt for an instruction, the chosen one first."""

    def claim(self, key: bytes) -> Claim | None:
        """Return the right to run the task with this resolved key, or None while somebody else has it."""

    def lineage(self, cids: Iterable[CID], limit: int = EDGES) -> list[Edge]:
        """Return what instructions and values came of, and what those came of: edges, the nearest first, each once."""

    def users(self, cids: Iterable[CID], limit: int = EDGES) -> list[Edge]:
        """Return what came of instructions, modules and values, and what came of that: the same, the other way."""

    def made(self, instructions: Iterable[CID]) -> dict[CID, Entry]:
        """Return the line of the journal that says how the first receipt of an instruction was made, if there is one."""

    def declare(self, cell: CellRecord) -> int:
        """Remember a cell in which tasks are declared, and return its number."""

    def cells(self, idents: Iterable[int]) -> dict[int, CellRecord]:
        """Return cells by their numbers."""

    def begin(self, run: RunRecord) -> int:
        """Add a run to the journal and return its number."""

    def runs(self, limit: int = 50) -> list[RunRecord]:
        """Return the latest runs, the newest first."""

    def journal(
        self,
        *,
        instruction: CID | None = None,
        func: str | None = None,
        run: int | None = None,
        before: CID | None = None,
        limit: int = 50,
    ) -> list[Entry]:
        """Return the latest lines of the journal that match, the newest first.

        `before` leaves out the first line about an instruction that has a receipt, and all that came after it.
        """

    def call(self, cid: CID, name: str) -> None:
        """Remember what a file or module was called where it came from: the name or path of a file."""

    def called(self, cids: Iterable[CID]) -> dict[CID, list[str]]:
        """Return what files and modules were called."""

    def logs(self, instructions: Iterable[CID]) -> dict[CID, Entry]:
        """Return, for each instruction whose guest said something when its receipt was made, that line of the journal."""

    def run(self, ident: int) -> RunRecord | None:
        """Return a run by its number."""

    def pin(self, name: str, cid: CID) -> None:
        """Keep what `cid` reaches, under a name, whatever room is needed."""

    def unpin(self, name: str) -> CID | None:
        """Take a pin away and return what it held, or None."""

    def pins(self) -> dict[str, CID]:
        """Return all pins."""

    def forget(self, instructions: Iterable[CID]) -> int:
        """Take the receipts of some instructions off file. Return how many there were.

        An equal task under another instruction keeps its own.
        """

    def find(self, text: str, limit: int = 20) -> list[CID]:
        """Return the CIDs of blocks, files and receipts whose text, or short form, begins so."""

    def cids(self) -> Iterator[CID]:
        """Yield the CID of every block and file."""

    def usage(self) -> Usage:
        """Return what is held."""

    def sync(self) -> None:
        """Return once everything put so far is durable. Raises StoreFull, StoreBusy or StoreReadOnly."""

    def close(self) -> None:
        """Make everything durable and let go of the files."""


def check_block(cid: CID) -> None:
    """Refuse a block that is a part of a file or folder: files are kept whole.

    Raises:
        BadInput: It is.
    """
    if cid.codec == "dag-pb":
        raise BadInput(f"expected a block with a value, found {cid}, a part of a file: bring the file, whole")


def check_file(cid: CID, kept: CID, content: Callable[[], bytes]) -> None:
    """Refuse content that came under a CID which cannot be its own.

    Args:
        cid: The CID that it came under.
        kept: The CID that our own cut of it has.
        content: Gives the bytes, if they are needed.

    Raises:
        BadInput: `cid` is not that of a file.
        Mismatch: It is that of other bytes. One of dag-pb says nothing about bytes; whoever read them has checked it.
    """
    if cid.codec == "raw" and cid != kept:
        cid.check(content())
    elif cid.codec not in {"raw", "dag-pb"}:
        raise BadInput(f"expected the CID of a file, found {cid} of {cid.codec}: bring it as a block")


def not_here(cid: CID, where: str) -> NotFound:
    """Return the error for a CID that a store does not have."""
    return NotFound(f"{cid} is not in {where}: give its file with ipvm.file(path), or load what it came with")
