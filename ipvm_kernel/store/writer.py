"""Group commit: what is put is gathered, and one thread makes it durable behind the work.

Nobody waits for a neighbour's fsync. A batch goes to disk when it has `BATCH_ROWS`, after `BATCH_SECONDS`, or at once
when somebody waits for it (`sync`). Until then everything in it can be found in memory. If the disk refuses, the batch
stays in memory, the error is told to whoever waits, and the next `sync` tries again.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import msgspec

from ipvm_kernel.errors import StoreError
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.store.base import Claim
from ipvm_kernel.store.lineage import CellRecord, Edge
from ipvm_kernel.store.records import RANK, Entry, OnFile, Role, RunRecord

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH_ROWS: Final = 256
BATCH_SECONDS: Final = 0.05
WAITING_BYTES: Final = 32 << 20
"""Whoever puts more than this ahead of the disk waits for it."""

_TICK: Final = 0.2  # a waiting main thread looks up this often, so that Ctrl-C is heard


class Batch(msgspec.Struct):
    """What goes to disk together, and how to find it until it is there."""

    blocks: dict[CID, tuple[Block, Role]] = msgspec.field(default_factory=dict)
    files: dict[CID, tuple[int, Role]] = msgspec.field(default_factory=dict)
    receipts: list[OnFile] = msgspec.field(default_factory=list)
    by_instruction: dict[CID, list[OnFile]] = msgspec.field(default_factory=dict)
    outcomes: dict[bytes, OnFile] = msgspec.field(default_factory=dict)
    entries: list[Entry] = msgspec.field(default_factory=list)
    runs: list[RunRecord] = msgspec.field(default_factory=list)
    cells: list[CellRecord] = msgspec.field(default_factory=list)
    names: dict[tuple[CID, str], None] = msgspec.field(default_factory=dict)
    edges: list[Edge] = msgspec.field(default_factory=list)
    attestations: dict[tuple[CID, CID], None] = msgspec.field(default_factory=dict)
    claims: list[Claim] = msgspec.field(default_factory=list)
    size: int = 0

    @property
    def rows(self) -> int:
        """How much work the batch is."""
        return len(self.blocks) + len(self.files) + len(self.receipts) + len(self.entries) + len(self.runs)

    def add_block(self, block: Block, role: Role) -> int:
        """Add a block and return how many bytes that is."""
        before = self.blocks.get(block.cid)
        if before is not None and RANK[before[1]] >= RANK[role]:
            return 0
        self.blocks[block.cid] = (block, role)
        return 0 if before is not None else len(block.data)

    def add_file(self, cid: CID, size: int, role: Role) -> None:
        """Add a file that stands in its place already."""
        before = self.files.get(cid)
        if before is None or RANK[before[1]] < RANK[role]:
            self.files[cid] = (size, role)

    def let_go(self) -> None:
        """Release the claims whose receipts are in here."""
        claims, self.claims = self.claims, []
        for claim in claims:
            claim.release()


class Writer:
    """Batches on their way to disk.

    Attributes:
        open: The batch that is being gathered.
        leaving: The batch that is being written, if one is.
        lock: Held to look at either.
    """

    def __init__(self, write: Callable[[Batch], None]) -> None:
        self.lock = threading.RLock()
        self.open = Batch()
        self.leaving: Batch | None = None
        self.error: StoreError | None = None
        self._write = write
        self._changed = threading.Condition(self.lock)
        self._gathered = 0  # batches are counted, so that a waiter knows when its own is done
        self._written = 0
        self._wanted = 0
        self._first = 0.0
        self._stopping = False
        self._free: list[Claim] = []  # claims whose receipts are on disk
        self._thread: threading.Thread | None = None

    def batches(self) -> list[Batch]:
        """Return what is not on disk yet, the latest first. Call it with `lock` held."""
        return [self.open] if self.leaving is None else [self.open, self.leaving]

    def added(self, size: int) -> None:
        """Say that `open` has grown by `size` bytes. Call it with `lock` held."""
        if self._stopping:
            raise StoreError("the store was closed: open a new session")
        self.open.size += size
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ipvm-store", daemon=True)
            self._thread.start()
        if not self._first:
            self._first = time.monotonic()
            self._changed.notify_all()
        elif self.open.rows >= BATCH_ROWS:
            self._changed.notify_all()
        while self.open.size > WAITING_BYTES and self.error is None and threading.current_thread() is not self._thread:
            self._changed.wait(_TICK)

    def hold(self, claim: Claim) -> None:
        """Release a claim once what was gathered before is on disk."""
        with self.lock:
            free, self._free = self._free, []
            waiting = self.open if self.open.rows else self.leaving
            if waiting is None or self.error is not None or self._stopping:
                free.append(claim)
            else:
                waiting.claims.append(claim)
        for one in free:
            one.release()

    def sync(self) -> None:
        """Return once everything gathered so far is on disk.

        Raises:
            StoreError: It could not be written. It is still in memory; calling again tries again.
        """
        with self._changed:
            if not self._first and self.leaving is None:
                return
            self.error = None
            target = self._gathered + 1 if self._first else self._gathered
            self._wanted = max(self._wanted, target)
            self._changed.notify_all()
            while self._written < target and self.error is None:
                self._changed.wait(_TICK)
            if self.error is not None:
                raise self.error

    def stop(self) -> None:
        """Write what is left and end the thread."""
        try:
            self.sync()
        finally:
            with self._changed:
                self._stopping = True
                self._changed.notify_all()
            if self._thread is not None:
                self._thread.join(timeout=5)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due():
                    if self._stopping:
                        return
                    rest = (
                        self._first + BATCH_SECONDS - time.monotonic() if self._first and self.error is None else None
                    )
                    self._changed.wait(rest)
                if self.leaving is None:
                    self.leaving, self.open, self._first = self.open, Batch(), 0.0
                    self._gathered += 1
                batch = self.leaving
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits must hear of it
                with self._changed:
                    self.error = error if isinstance(error, StoreError) else StoreError(f"the store failed: {error!r}")
                    for waiting in self.batches():
                        waiting.let_go()  # nobody waits for what may never be there: a task may run twice, no more
                    self._changed.notify_all()
                continue
            with self._changed:
                self.leaving = None
                self._written += 1
                self._changed.notify_all()
                # Letting go takes a call to the system for each. While work goes on, whoever does it does that on his
                # way, in `hold`: from here each call would take the interpreter's lock away from him.
                self._free += batch.claims
                free, self._free = ([], self._free) if self._first else (self._free, [])
            for claim in free:
                claim.release()

    def _due(self) -> bool:
        """Return True if there is something to write now."""
        if self.error is not None:
            return False
        if self.leaving is not None:
            return True
        if not self._first:
            return False
        full = self.open.rows >= BATCH_ROWS or self.open.size > WAITING_BYTES // 2
        return full or self._wanted > self._gathered or time.monotonic() >= self._first + BATCH_SECONDS
