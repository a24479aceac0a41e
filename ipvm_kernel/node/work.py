"""The workflows that run for clients: each in a thread, which tells its client of every answer."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from ipvm_kernel.errors import BadInput, IpvmError
from ipvm_kernel.ipld import CID, Ipld, Limits
from ipvm_kernel.ipld.codec import decode
from ipvm_kernel.model import Workflow
from ipvm_kernel.model.template import fill
from ipvm_kernel.node import notices
from ipvm_kernel.node.jsonrpc import BUSY, INVALID_PARAMS, RpcError
from ipvm_kernel.printable import plural, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.node.counts import Counts
    from ipvm_kernel.node.guestroom import GuestRoom
    from ipvm_kernel.runs import Run
    from ipvm_kernel.session import Answer, Session


class Asked(msgspec.Struct, frozen=True):
    """What a client wants to be run.

    Attributes:
        workflow: The workflow.
        name: What it calls it.
        events: Whether it wants to hear of starts and ends, too.
    """

    workflow: Workflow
    name: str
    events: bool


def asked(params: Ipld, limits: Limits) -> Asked:
    """Return what the parameters of `subscribe_run_workflow` ask for.

    They are `[{"name"?, "workflow", "events"?}]`, or `[[b0, b1, ...]]`, the DAG-CBOR of that map as byte values.

    Raises:
        RpcError: They are neither, or the workflow cannot be run as it stands.
    """
    given = params[0] if type(params) is list and len(params) == 1 else None
    try:
        if type(given) is list:
            given = decode(bytes(given), limits)  # type: ignore[arg-type]
        if type(given) is not dict or "workflow" not in given or given.keys() - {"name", "workflow", "events"}:
            raise BadInput(
                'expected [{"name": text, "workflow": {"tasks": [...]}}], or the DAG-CBOR of that map as bytes'
            )
        name, events = given.get("name", ""), given.get("events", False)
        if type(name) is not str or len(name) > 200 or type(events) is not bool:
            raise BadInput("a name is text of at most 200 characters, and `events` is true or false")
    except (BadInput, TypeError, ValueError) as error:
        raise RpcError(INVALID_PARAMS, f"Invalid params: {error}") from None
    cid = ""
    try:
        made = Workflow.from_ipld(fill(given["workflow"]))
        cid = str(made.cid)
    except BadInput as error:
        raise RpcError(INVALID_PARAMS, f"Invalid params: {error.message}") from None
    return Asked(made, name or cid, events)


def share_of_guests(most: int) -> int:
    """Return how much of something guests may have, so that some is always left to the owner.

    >>> share_of_guests(16), share_of_guests(1)
    (8, 1)
    """
    return max(1, most // 2)


class Work:
    """What runs now, and for whom.

    Args:
        session: Where it runs.
        most: Workflows at once.
        counts: Where ends are counted.
        made: Called with each answer that was computed here, in the thread of its run.
    """

    def __init__(
        self,
        session: Session,
        most: int,
        counts: Counts,
        made: Callable[[Run, Answer], object] = lambda _run, _answer: None,
    ) -> None:
        self._session = session
        self._most = most
        self._counts = counts
        self._made = made
        self._runs: dict[str, Run] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._guests: dict[str, str] = {}
        self._room: GuestRoom | None = None
        self._lock = threading.Lock()
        self._closed = False

    @property
    def running(self) -> int:
        """How many workflows run."""
        return len(self._runs)

    def start(self, wanted: Asked, tell: Callable[[str, Ipld], Any], guest: str = "") -> tuple[str, Callable[[], None]]:
        """Prepare a run and return its id, and the function that begins it.

        Args:
            wanted: What to run.
            tell: Called with the id and a notification, in a thread of the run; with None when there are no more.
            guest: The DID of the guest that it is for; "" for the owner.

        Raises:
            RpcError: It is too much at once, or cannot be run as it stands.
        """
        cid = wanted.workflow.cid
        try:
            room = self._guest_room() if guest else None
            (room or self._session).plan(wanted.workflow)  # says now what could only break later
        except IpvmError as error:
            raise RpcError(BUSY, f"not able to run workflow {cid}: {error}") from None
        ident = secrets.token_hex(8)
        run = (
            room.run(wanted.workflow, name=wanted.name, did=guest)
            if room is not None
            else self._session.run(wanted.workflow, name=wanted.name)
        )
        thread = threading.Thread(
            target=self._follow, args=(ident, run, wanted, tell), name=f"ipvm-node-{ident}", daemon=True
        )
        with self._lock:
            why = "this node is stopping" if self._closed else ""
            if len(self._runs) >= self._most:
                why = why or f"{self._most} workflows run already"
            if guest and len(self._guests) >= share_of_guests(self._most):
                why = why or f"{plural(len(self._guests), 'workflow')} of guests run already"
            if why:
                raise RpcError(BUSY, f"not able to run workflow {cid}: {why}; try again later")
            self._runs[ident], self._threads[ident] = run, thread
            if guest:
                self._guests[ident] = guest
        return ident, thread.start

    def _guest_room(self) -> GuestRoom:
        with self._lock:
            if self._room is None:
                from ipvm_kernel.node.guestroom import GuestRoom  # here, for the sake of nodes without guests

                self._room = GuestRoom(self._session)
            return self._room

    def _follow(self, ident: str, run: Run, wanted: Asked, tell: Callable[[str, Ipld], Any]) -> None:
        tasks = wanted.workflow.by_instruction()
        if wanted.events:
            run.progress.watch = lambda cid, state: (
                tell(ident, notices.started(run, cid, tasks[cid].run.func))
                if state == "running" and cid in tasks
                else None
            )
        why, told = "", set[CID]()
        try:
            for answer in run:
                if answer.instruction in tasks:
                    told.add(answer.instruction)
                    self._counts.tasks[answer.how] += 1
                    tell(ident, notices.answered(run, answer, events=wanted.events))
                    if answer.how == "computed":
                        self._made(run, answer)
        except Exception as error:  # noqa: BLE001 - whatever broke the run, its client hears of it and the node lives
            shown = str(error) if isinstance(error, IpvmError) else f"{type(error).__name__} in the engine"
            why = printable(shown, limit=300)
            self._counts.broken += 1
            for cid, task in tasks.items():
                if cid not in told:
                    tell(ident, notices.lost(run, task, why))
        finally:
            with self._lock:
                self._runs.pop(ident, None)
                self._threads.pop(ident, None)
                self._guests.pop(ident, None)
            self._counts.workflows += 1
        if wanted.events:
            tell(ident, notices.finished(run, why))
        tell(ident, None)

    def cancel(self, what: str, guest: str = "") -> int:
        """Stop the run with this id, or all runs of the workflow with this CID. Return how many there were.

        Args:
            what: The id, or the CID.
            guest: The DID of a guest, whose own runs alone are looked at; "" for all.
        """
        with self._lock:
            found = [
                run
                for ident, run in self._runs.items()
                if what in {ident, str(run.workflow.cid)} and (not guest or self._guests.get(ident) == guest)
            ]
        for run in found:
            run.cancel()
        return len(found)

    def close(self, patience: float) -> None:
        """Stop everything that runs, and wait for it. Receipts that are there are kept."""
        with self._lock:
            self._closed = True
            runs, threads = list(self._runs.values()), list(self._threads.values())
        for run in runs:
            run.cancel()
        for thread in threads:
            if thread.ident is not None:
                thread.join(patience)
        if self._room is not None:
            self._room.close()
