"""Gathering: everything that some receipts need elsewhere, as far as it is here: what they await, modules, inputs, outputs.

From the store alone, and nothing is sent: what comes out is a list, to be shown before anything leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.errors import IpvmError, NotAllowed, NotFound
from ipvm_kernel.ipld import CID, PEER
from ipvm_kernel.model import Invocation, Receipt
from ipvm_kernel.printable import plural, printable, size
from ipvm_kernel.sharing.manifest import Content, Part
from ipvm_kernel.sharing.secrecy import holding, marks, tainted
from ipvm_kernel.store import edges_of
from ipvm_kernel.store.room import links

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.model import Task
    from ipvm_kernel.store import OnFile, Store

MOST_BYTES: Final = 100_000_000
"""An input or output of more bytes than this is named and left out, unless the user says otherwise."""

PARTS: Final[frozenset[Part]] = frozenset({"module", "input", "output", "file"})

_STEP: Final = 256
_PARTS_OF_EDGES: Final[dict[str, Part]] = {"module": "module", "link": "input", "value": "output"}
_LISTED: Final = 8
_FRAMES: Final = 3 * 38 + 85  # bytes: before each of three blocks its length and CID, and two CIDs in the share's list


class Gathered(msgspec.Struct, frozen=True):
    """A receipt that goes along.

    Attributes:
        instruction: What it answers.
        receipt: Its CID.
        invocation: What it calls `ran`.
        func: The function.
        seconds: How long the task ran here, or 0.
        own: True if it counts as made here.
        size: Bytes of receipt, invocation and instruction in an archive.
        engine: Which engine made it, as the journal says, or "".
        content: What it links to: module, inputs, outputs.
        made_here: True if it was made here indeed, and not by who made a layer: the user signs for it.
    """

    instruction: CID
    receipt: CID
    invocation: CID
    func: str
    seconds: float
    own: bool
    size: int
    engine: str = ""
    content: tuple[CID, ...] = ()
    made_here: bool = False


class Bundle(msgspec.Struct, kw_only=True):
    """What goes along, and what does not.

    Attributes:
        receipts: Receipts by their instruction.
        content: Files, modules and values.
        left: What is left out because it is large, or was asked to be, or is not here.
        missing: Tasks that go without a receipt, and why, one line each.
        asked: The instructions that were asked for, and those that they await, with a receipt or without.
    """

    receipts: dict[CID, Gathered] = msgspec.field(default_factory=dict)
    content: dict[CID, Content] = msgspec.field(default_factory=dict)
    left: dict[CID, Content] = msgspec.field(default_factory=dict)
    missing: list[str] = msgspec.field(default_factory=list)
    asked: set[CID] = msgspec.field(default_factory=set)

    @property
    def size(self) -> int:
        """Bytes of all that goes along."""
        return sum(one.size for one in self.receipts.values()) + sum(one.size for one in self.content.values())


def gather(
    store: Store,
    wanted: Mapping[CID, CID | None],
    *,
    on_file: Callable[[Iterable[CID]], dict[CID, OnFile]] | None = None,
    parts: Collection[Part] = PARTS,
    most: int = MOST_BYTES,
) -> Bundle:
    """Return what some receipts need elsewhere.

    Args:
        store: Where everything is.
        wanted: Instructions, each with the receipt that is meant, or None for the one on file.
        on_file: Gives receipts on file with what may be used, if not the store.
        parts: Which content goes along.
        most: Bytes of one input or output that goes along, at most.
    """
    gatherer = _Gatherer(store, on_file or store.on_file, frozenset(parts), most)
    gatherer.all(wanted)
    return gatherer.bundle


class _Gatherer:
    def __init__(
        self,
        store: Store,
        on_file: Callable[[Iterable[CID]], dict[CID, OnFile]],
        parts: frozenset[Part],
        most: int,
    ) -> None:
        self.bundle = Bundle()
        self._store = store
        self._on_file = on_file
        self._parts = parts
        self._most = most

    def all(self, wanted: Mapping[CID, CID | None]) -> None:
        seen = set(wanted)
        pending = list(wanted)
        found: dict[CID, Part] = {}
        while pending:
            chunk, pending = pending[:_STEP], pending[_STEP:]
            on_file = self._on_file(chunk)
            made = self._store.made(chunk)
            for cid in chunk:
                task = self._receipt(cid, wanted.get(cid), on_file.get(cid), made.get(cid), found)
                for promise in task.run.awaits if task is not None else ():
                    if promise.instruction not in seen:
                        seen.add(promise.instruction)
                        pending.append(promise.instruction)
        self.bundle.asked = seen
        self._content(found)

    def _receipt(
        self, cid: CID, named: CID | None, found: OnFile | None, entry: Any, content: dict[CID, Part]
    ) -> Task | None:
        """Gather the receipt of an instruction, note its content, and return its task."""
        if named is not None and found is not None and found.cid != named:
            found = next((one for one in self._store.receipts_of(cid) if one.cid == named), found)
        name = f"{printable(entry.func, limit=60)} ({cid.short})" if entry is not None else cid.short
        why = self._unfit(found)
        if found is None or found.ran is None or why:
            self.bundle.missing.append(f"{name}: {why}")
            return None
        receipt = found.receipt
        assert receipt is not None
        try:
            invocation = self._store.get(found.ran)
            task = Invocation.from_block(invocation, trusted=True).task
        except NotFound:
            self.bundle.missing.append(f"{name}: its task is not here")
            return None
        length = len(receipt.block.data)
        if max(length, len(invocation.data)) > PEER.block_bytes:
            self.bundle.missing.append(
                f"{name}: its receipt has {size(length)}, more than the {size(PEER.block_bytes)} that peers pass on"
            )
            return task
        self.bundle.receipts[cid] = Gathered(
            cid, found.cid, found.ran, task.run.func, found.seconds, found.own,
            length + len(invocation.data) + len(task.run.block.data) + _FRAMES,
            entry.engine if entry is not None and entry.receipt == found.cid else "",
            tuple(self._note(task, receipt, content)), found.made_here,
        )  # fmt: skip
        return task

    @staticmethod
    def _unfit(found: OnFile | None) -> str:
        if found is None:
            return "no receipt of it is on file: run its cell"
        if not found.admitted:
            return "its receipt came from elsewhere and is not admitted here, so it is not passed on"
        if found.ran is None:
            return "its task is not here"
        return "" if found.here else "its value was dropped to make room: run its cell again"

    @staticmethod
    def _note(task: Task, receipt: Receipt, content: dict[CID, Part]) -> list[CID]:
        """Note what a receipt links to, and return it."""
        linked = []
        for edge in edges_of(task.run, receipt):
            part = _PARTS_OF_EDGES.get(edge.kind)
            if part is None:
                continue
            cid = edge.target if part == "output" else edge.source
            linked.append(cid)
            if content.get(cid) != "module":
                content[cid] = part if content.get(cid) != "input" or part == "module" else "input"
        module = task.run.module
        if module is not None:
            content[module] = "module"
            linked.append(module)
        return linked

    def _content(self, found: dict[CID, Part]) -> None:
        """Gather what is linked to, and what that links to in turn."""
        pending = list(found.items())
        seen: set[CID] = set()
        while pending:
            cid, part = pending.pop()
            if cid in seen:
                continue
            seen.add(cid)
            length = self._store.size(cid)  # None too where it is kept under another cut than its author's
            called = self._store.called([cid]).get(cid, [""])[-1]
            one = Content(cid, part, length or 0, printable(_last(called), limit=200))
            block = cid.codec not in {"raw", "dag-pb"}
            fits = part == "module" or (length or 0) <= (PEER.block_bytes if block else self._most)
            if length is None or part not in self._parts or not fits:
                self.bundle.left[cid] = one
                continue
            self.bundle.content[cid] = one
            if block:
                pending += [(link, part) for link in self._links(cid)]

    def _links(self, cid: CID) -> list[CID]:
        try:
            value: Ipld = self._store.get(cid).trusted_value() if cid.codec == "dag-cbor" else None
        except IpvmError:
            return []
        return links(value)


def _last(called: str) -> str:
    """Return the last part of a path or address: no folder leaves, nor what an address has after a question mark."""
    if "://" in called:
        called = called.partition("#")[0].partition("?")[0]
    return called.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def refuse_secrets(store: Store, bundle: Bundle, others: Mapping[str, CID] | None = None) -> None:
    """Raise if something of a bundle, or another thing that leaves with it, is a secret or came of one.

    Tasks that go without a receipt count too: what came of them may stand in an output.

    Args:
        store: Where everything is.
        bundle: What goes along, and what does not.
        others: Files, workflows and what else leaves, by the names that the user knows.

    Raises:
        NotAllowed: The message names the tasks.
    """
    content = {**bundle.content, **bundle.left}
    values = {cid: one.name or cid.short for cid, one in content.items()}
    values |= {cid: printable(name, limit=100) for name, cid in (others or {}).items()}
    named = {one.receipt for one in bundle.receipts.values()}
    found = tainted(store, {*bundle.asked, *named, *values})
    if not found:
        return
    instructions = [cid for cid, one in bundle.receipts.items() if cid in found or one.receipt in found]
    instructions += [cid for cid in bundle.asked if cid in found and cid not in bundle.receipts]
    entries = store.made(instructions)
    tasks = [
        f"{printable(entries[cid].func, limit=60)} ({cid.short})" if cid in entries else cid.short
        for cid in instructions
    ]
    files = [values[cid] for name, cid in (others or {}).items() if cid in found]
    told = [*tasks, *dict.fromkeys(files if tasks else [values[cid] for cid in values if cid in found])]
    raise NotAllowed(
        f"nothing was shared: {plural(len(told), 'task or value', 'tasks or values')} came of a secret: "
        f"{_listed(told)}. Leave those cells out, or take a mark away: {_unpin(marks(store))}"
    )


def refuse_notebook(store: Store, data: bytes) -> None:
    """Raise if a secret stands in a notebook that is about to leave.

    Raises:
        NotAllowed: The message names its mark.
    """
    found = holding(store, data)
    if found:
        raise NotAllowed(
            f"nothing was shared: the notebook itself holds what is marked as {_listed(found)}. Take it out of its cells "
            f"and outputs, or take the mark away: {_unpin(found)}"
        )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return f"{', '.join(printable(name, limit=120) for name in names[:_LISTED])}{more}"


def _unpin(names: Iterable[str]) -> str:
    return f"ipvm unpin {' or '.join(printable(name, limit=60) for name in [*names][:_LISTED])}"
