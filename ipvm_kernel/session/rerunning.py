"""Running again what somebody shared, in a store that ends with it: by what the share holds alone, within limits.

Whoever made the share chose the code and the values. So nobody else is asked, no file of this machine is read, no compiler
is started; a task may take a minute, unless the user says otherwise, and as many run side by side as this machine has memory
for. With everything to be run again no
receipt that came along is believed: what a task awaits is run first.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from ipvm_kernel.engine.executors import ThreadExecutor
from ipvm_kernel.errors import BadInput
from ipvm_kernel.ipld import CID, encode
from ipvm_kernel.model import WASM_RUN, Invocation, Receipt, Workflow
from ipvm_kernel.printable import printable
from ipvm_kernel.session.session import Session
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.trust import Policy
from ipvm_kernel.wasm.limits import MEMORY_BYTES, Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ipvm_kernel.engine.answers import Answer
    from ipvm_kernel.model import Task

SECONDS: Final = 60.0
"""How long a task may run, unless the user says otherwise."""

MEMORY: Final = MEMORY_BYTES
"""Bytes that a task may have, unless the user's own limit is less: under a lower one a guest may answer something else."""

_LONGEST: Final = 366 * 86_400.0
_PREFIX: Final = "ipvm-check-"
_LOCK: Final = "lock"
_UNLOCKED_SECONDS: Final = 3600.0  # how old a folder is that nobody holds and that has no lock, before it is swept


class Again(msgspec.Struct, frozen=True):
    """What came of running a task again.

    Attributes:
        instruction: The task.
        verdict: `same`, `different`, or `failed`: it could not be run again here, which says nothing against its receipt.
        told: More about it, safe to show.
        seconds: How long it took.
    """

    instruction: CID
    verdict: Literal["same", "different", "failed"]
    told: str = ""
    seconds: float = 0.0


# --- A place for it ---


@contextlib.contextmanager
def scratch(session: Session, seconds: float | None = None) -> Iterator[Session]:
    """Give a session of its own, which ends with its store and its policy, and shares the compiled code of another.

    Args:
        session: Whose limits hold besides.
        seconds: How long a task may run; a minute if it is not given.
    """
    limits = Limits(time=SECONDS if seconds is None else seconds, memory=MEMORY)
    with folder() as place:
        made = Session(
            SqliteStore(place / "store"),
            limits=limits.within(session.limits),
            policy=Policy(),
            code=session.library.cache.folder,
            executor=ThreadExecutor(_slots()),
            alone=True,
        )
        try:
            yield made
        finally:
            made.close()


def _slots() -> int:
    """Return how many tasks run side by side: as many as there are processors, if this machine has memory for that."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(os.cpu_count() or 1, memory // MEMORY))


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a temporary folder. Those of processes that were killed are swept away."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        made = Path(name) / f"{_LOCK}.new"
        held = os.open(made, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with contextlib.suppress(OSError):  # without locks it is safe for an hour
                fcntl.flock(held, fcntl.LOCK_EX)
                made.rename(Path(name) / _LOCK)  # from the first moment that it has this name it is held
            yield Path(name)
        finally:
            os.close(held)


def _sweep() -> None:
    """Remove the folders of checks that ended without removing them: ours, and held by nobody."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            found = place.lstat()
            if found.st_uid != os.getuid() or place.is_symlink():
                continue
            try:
                held = os.open(place / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                if time.time() - found.st_mtime > _UNLOCKED_SECONDS:
                    shutil.rmtree(place, ignore_errors=True)
                continue
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(held)


# --- Running ---


def again(
    session: Session,
    made: Session,
    receipts: Mapping[CID, CID],
    share: float,
    told: Callable[[int, int, CID], object],
) -> dict[CID, Again]:
    """Run some tasks again, and return what came of each.

    Calls of Wasm are drawn by chance, of which at least one. Other tasks are looked at where all are asked for: a build is
    never done here, since a compiler is no sandbox, but the user's own build of the same source may be on file.

    Args:
        session: The user's.
        made: Where the receipts and what they need are, and where they are run.
        receipts: The receipt of each instruction.
        share: The part of the tasks that is run again, above 0 and at most 1.
        told: Called after each task with how many were run, of how many, and which it was.
    """
    tasks: dict[CID, Task] = {}
    for instruction, cid in receipts.items():
        ran = Receipt.trusted(made.store.get(cid)).ran
        tasks[instruction] = Invocation.from_block(made.store.get(ran), trusted=True).task
    runner = _Runner(made, receipts, {cid: task for cid, task in tasks.items() if task.run.op == WASM_RUN}, told)
    made.admission.believing = share < 1
    runner.run(runner.drawn(share))
    if share >= 1:
        others = [cid for cid, task in tasks.items() if task.run.op != WASM_RUN]
        runner.found |= {cid: _by_own(session, cid, made, receipts[cid]) for cid in others}
    else:
        runner.doubt()
    made.take_notices()  # that something differs is told by task
    return runner.found


class _Runner:
    """Runs tasks in a scratch session, and compares."""

    def __init__(
        self,
        made: Session,
        receipts: Mapping[CID, CID],
        tasks: Mapping[CID, Task],
        told: Callable[[int, int, CID], object],
    ) -> None:
        self._session = made
        self._receipts = receipts
        self._tasks = tasks
        self._told = told
        self.found: dict[CID, Again] = {}

    def drawn(self, share: float) -> set[CID]:
        """Return some tasks, chosen by chance, at least one: whoever made the receipts must not know which."""
        if share >= 1 or not self._tasks:
            return set(self._tasks)
        count = max(1, round(len(self._tasks) * share))
        return set(random.SystemRandom().sample(list(self._tasks), count))

    def run(self, chosen: set[CID], among: Iterable[CID] | None = None) -> None:
        """Run some tasks, for which the receipts of the others are there."""
        ended = 0
        wanted = tuple(self._tasks[cid] for cid in (self._tasks if among is None else among))
        for answer in self._session.run(Workflow(tasks=wanted), rerun=chosen):
            cid = answer.instruction
            if cid in chosen:
                ended += 1
                self.found[cid] = _compared(answer, Receipt.trusted(self._session.store.get(self._receipts[cid])))
                self._told(ended, len(chosen), cid)

    def doubt(self) -> None:
        """Run again what different tasks await, and then those: whoever signed for that may be the one who is wrong."""
        different = [cid for cid, one in self.found.items() if one.verdict == "different"]
        before = self._before(different)
        if before - self.found.keys():
            before.update(different)
            self._session.forget(before)
            self.run(before, [cid for cid in self._tasks if cid in before])

    def _before(self, instructions: Iterable[CID]) -> set[CID]:
        """Return everything that some tasks await, and what that awaits, as far as it came along."""
        found: set[CID] = set()
        pending = list(instructions)
        while pending:
            for promise in self._tasks[pending.pop()].run.awaits:
                if promise.instruction in self._tasks and promise.instruction not in found:
                    found.add(promise.instruction)
                    pending.append(promise.instruction)
        return found


def _compared(answer: Answer, theirs: Receipt) -> Again:
    ours = answer.receipt
    if ours is None or (not answer.filed and answer.how != "replayed"):
        error = ours.error if ours is not None else None
        message = str(error.get("message") or "") if isinstance(error, dict) else ""
        raised = "; to give each task more: --time SECONDS" if message.startswith("the time ran out") else ""
        return Again(answer.instruction, "failed", printable(message or answer.how, limit=300) + raised, answer.seconds)
    if encode(theirs.out.to_ipld()) == encode(ours.out.to_ipld()):
        return Again(answer.instruction, "same", "", answer.seconds)
    return Again(answer.instruction, "different", f"gave {ours.cid} here", answer.seconds)


def _by_own(session: Session, instruction: CID, made: Session, cid: CID) -> Again:
    """Hold a receipt of something that is not done here against the user's own of the same, if there is one."""
    theirs = Receipt.trusted(made.store.get(cid))
    for one in session.store.receipts_of(instruction):
        receipt = one.receipt if one.own and one.admitted else None
        if receipt is not None and receipt.ok:
            if encode(receipt.out.to_ipld()) == encode(theirs.out.to_ipld()):
                return Again(instruction, "same", "as it was made here before")
            return Again(instruction, "different", f"gave {receipt.cid} here before")
    return Again(instruction, "failed", "a build, which is not sandboxed: it is not done in a check")


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


def seconds_from_text(text: str) -> float:
    """Return how long a task may run, as `--time` says it.

    Raises:
        BadInput: It is no number of seconds.
    """
    try:
        found = float(text.strip().removesuffix("s"))
    except ValueError:
        found = 0.0
    if not 0 < found <= _LONGEST:
        raise BadInput(f"expected a number of seconds such as 600, found {printable(text, limit=40)!r}")
    return found
