"""What comes out of a run, how far it is, and how to stop it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Instruction, Outcome, Receipt
from ipvm_kernel.wasm.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.store import OnFile, Store

State = Literal[
    "pending", "ready", "running", "computed", "replayed", "failed", "blocked", "skipped", "cancelled", "unverified"
]
"""Where a task is in a run (RULES 8). The last seven are ends."""

STATES: Final[tuple[State, ...]] = get_args(State)
ENDED: Final = frozenset(STATES[3:])

SMALL_BYTES: Final = 4096
"""A receipt of more bytes than this is not kept in memory while it can be read again."""


class Answer(msgspec.Struct, frozen=True):
    """What came of one instruction.

    Attributes:
        instruction: Its CID.
        receipt: The receipt, or None if it was cancelled or skipped.
        how: How it ended.
        seconds: How long it ran, if it did.
        saved: How long it ran when its receipt was made, if that was replayed.
        log: What the guest said while it ran.
        value: The value of a result that no CID can name, for this session alone.
        filed: True if the receipt is on file; what is not will be run again.
        leans: True if it was worked out from what others answered, directly or not.
    """

    instruction: CID
    receipt: Receipt | None
    how: State
    seconds: float = 0.0
    saved: float = 0.0
    log: str = ""
    value: Any = None
    filed: bool = False
    leans: bool = False


class Progress:
    """How far a run is. It is written by one thread at a time and may be read by any.

    Attributes:
        changed: A number that grows with every change, so that a display can tell whether to draw again.
        watch: Called with each change, by whoever makes it, if somebody has to hear of every one.
    """

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self.changed = 0
        self.watch: Callable[[CID, State], object] | None = None
        self.began = time.time()
        self.times: dict[CID, tuple[float, float]] = {}
        self._states: dict[CID, State] = {}
        self._counts = dict.fromkeys(STATES, 0)

    def set(self, cid: CID, state: State) -> None:
        """Note the state of a task."""
        before = self._states.get(cid)
        if before is not None:
            self._counts[before] -= 1
        self._states[cid] = state
        self._counts[state] += 1
        self.changed += 1
        now = time.time()
        if state == "running":
            self.times[cid] = (now, 0.0)
        elif state in ENDED and cid in self.times:
            self.times[cid] = (self.times[cid][0], now)
        if self.watch is not None:
            self.watch(cid, state)

    def state(self, cid: CID) -> State | None:
        """Return the state of a task, or None if the run does not know it."""
        return self._states.get(cid)

    @property
    def states(self) -> dict[CID, State]:
        """The state of every task, as it is now."""
        return dict(self._states)

    @property
    def counts(self) -> dict[State, int]:
        """How many tasks are in each state; those in which none is are left out."""
        return {state: count for state, count in self._counts.items() if count}

    @property
    def ended(self) -> int:
        """How many tasks have an answer."""
        return sum(self._counts[state] for state in ENDED)


class Stopper:
    """The way to stop a run: one task of it, or everything that runs now and everything that has not begun."""

    def __init__(self) -> None:
        self.stopped = False
        self._unwanted: set[CID] = set()
        self._stops: dict[Stop, CID | None] = {}
        self._lock = threading.Lock()

    def new(self, instruction: CID | None = None) -> Stop:
        """Return the way to stop one call, that of an instruction if it is given."""
        stop = Stop()
        with self._lock:
            self._stops[stop] = instruction
        if self.stopped or instruction in self._unwanted:
            stop.interrupt()
        return stop

    def done(self, stop: Stop) -> None:
        """Forget a call that has ended."""
        with self._lock:
            self._stops.pop(stop, None)

    def unwanted(self, instruction: CID) -> bool:
        """Return True if a task is not to begin."""
        return self.stopped or instruction in self._unwanted

    def stop_task(self, instruction: CID) -> None:
        """Stop one task, now or before it begins. What awaits it is then blocked; the others go on."""
        with self._lock:
            self._unwanted.add(instruction)
            stops = [stop for stop, other in self._stops.items() if other == instruction]
        for stop in stops:
            stop.interrupt()

    def stop(self) -> None:
        """Stop."""
        self.stopped = True
        with self._lock:
            stops = list(self._stops)
        for stop in stops:
            stop.interrupt()


class Answers:
    """The outcomes that tasks still to be run may ask for. What is large and on file is read again when it is needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[CID, Receipt | CID] = {}
        self._uses: dict[CID, int] = {}

    def expect(self, cid: CID) -> None:
        """Note that one more task will ask for an outcome."""
        self._uses[cid] = self._uses.get(cid, 0) + 1

    def keep(self, cid: CID, receipt: Receipt, *, filed: bool) -> None:
        """Remember the receipt of an instruction, if somebody will ask for its outcome."""
        if self._uses.get(cid):
            large = filed and len(receipt.block.data) > SMALL_BYTES
            self._kept[cid] = receipt.cid if large else receipt

    def know(self, found: OnFile) -> None:
        """Remember the receipt on file of an instruction."""
        self._kept[found.instruction] = found.cid if callable(found.kept) or found.kept is None else found.kept

    def used(self, cid: CID) -> None:
        """Note that one task has asked; the outcome that nobody will ask for is forgotten."""
        self._uses[cid] -= 1
        if not self._uses[cid]:
            self._kept.pop(cid, None)

    def outcome(self, cid: CID) -> Outcome | None:
        """Return how an instruction ended, or None if it gave no receipt."""
        kept = self._kept.get(cid)
        if isinstance(kept, CID):
            return Receipt.trusted(self._store.get(kept)).out
        return kept.out if kept is not None else None

    def instruction(self, cid: CID) -> Instruction | None:
        """Return an instruction that is in the store, or None."""
        try:
            return Instruction.from_block(self._store.get(cid), trusted=True)
        except IpvmError:
            return None
