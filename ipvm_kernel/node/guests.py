"""Guests of a node: others whom its owner lets run workflows here, each by a delegation (UCAN 1.0).

A guest shows an invocation of `/ipvm/run` that is bound to one workflow by its CID, with the delegations that lead from the
node's owner to the guest. They are looked at when the guest comes in, and again at each run: signatures, times, whom the
invocation is for, what was revoked, and whether each task meets the policy of each delegation. An invocation may be shown
more than once until it ends: its tasks are pure, so that the second time is a replay.

What a guest may run is narrower than what the owner may, whatever a delegation says: `wasm/run` alone, modules by
`ipfs://` and a CID, and workflows that are whole. So a guest makes this machine read no file and no address, and gets no
receipt of a task that it cannot write down itself. What is marked as secret is not there for guests (`guestroom`).

What remains: who knows the CID of something in this store that is not marked as secret can have a module of theirs read it;
and time tells whether a task was on file.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import IpvmError, NotAllowed
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import WASM_RUN
from ipvm_kernel.node.grants import RUN, TOKEN_CHARS
from ipvm_kernel.printable import printable
from ipvm_kernel.session.signing import identity
from ipvm_kernel.trust.invocation import allowed, from_token

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Block
    from ipvm_kernel.model import Task, Workflow
    from ipvm_kernel.session import Session
    from ipvm_kernel.trust.invocation import Invocation

_PATIENCE: Final = 2.0
"""Seconds that it may take to hold the tasks of one workflow against policies, of which guests may have written some."""


class Guest:
    """Whoever is at the other end, if the owner's delegation brought them in.

    Attributes:
        did: Who it is.
        workflow: What it may run.
        invocation: What it showed.
        proofs: The delegations that it showed.
        met: Whether the policies are met: None if nobody looked yet, "" if they are, else why not.
    """

    def __init__(self, did: str, workflow: CID, invocation: Block, proofs: dict[CID, Block]) -> None:
        self.did = did
        self.workflow = workflow
        self.invocation = invocation
        self.proofs = proofs
        self.met: str | None = None


class Guests:
    """Says who may come in as a guest, and what they may run.

    Args:
        session: Whose node it is. Without a folder it has no identity, and so no guests.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def admit(self, token: str) -> Guest:
        """Return who showed a token.

        Raises:
            IpvmError: It is no token, does not hold now, or does not lead from the owner of this node to whoever signed
                it.
        """
        if len(token) > TOKEN_CHARS:
            raise NotAllowed(f"Expected a token of at most {TOKEN_CHARS:,} characters, found {len(token):,}.")
        invocation, proofs = from_token(token)
        asked = self._allowed(invocation, proofs)
        return Guest(asked.issuer, asked.args["workflow"], invocation, proofs)

    def check(self, guest: Guest, workflow: Workflow) -> None:
        """Raise unless a guest may run a workflow, now.

        Raises:
            IpvmError: What it showed holds no longer.
            NotAllowed: It is another workflow than the one that the token is for, or one that guests do not run, or some
                task of it does not meet a policy.
        """
        asked = self._allowed(guest.invocation, guest.proofs)
        if workflow.cid != guest.workflow:
            raise NotAllowed(f"this token is for the workflow {guest.workflow}, found {workflow.cid}; sign one for it")
        if guest.met is None:
            try:
                _check_tasks(asked, workflow)
                guest.met = ""
            except NotAllowed as error:
                guest.met = error.message
        if guest.met:
            raise NotAllowed(guest.met)

    def _allowed(self, invocation: Block, proofs: dict[CID, Block]) -> Invocation:
        """Return an invocation that holds now, its tasks not looked at."""
        try:
            key = identity(self._session)
            revoked = self._session.policy.revoked
        except IpvmError:  # nobody is let in until its owner has mended that; what and where is not for strangers
            raise NotAllowed("this node cannot tell now whom its owner lets in; ask its owner") from None
        if key is None:
            raise NotAllowed("this node has no guests: its owner has let nobody in")
        asked = allowed(invocation, proofs, audience=key.did, now=time.time(), revoked=revoked, each=())
        if asked.command != RUN:
            raise NotAllowed(f"guests may ask for {RUN} and nothing else, found {printable(asked.command, limit=80)}")
        if asked.args.keys() != {"workflow"} or type(asked.args["workflow"]) is not CID:
            raise NotAllowed('expected an invocation of one workflow, {"workflow": CID}, found other arguments')
        return asked


def _check_tasks(asked: Invocation, workflow: Workflow) -> None:
    """Raise unless guests may run each task of a workflow, and the delegations let this one.

    Raises:
        NotAllowed: The message names the task.
    """
    if not workflow.tasks:
        raise NotAllowed("expected a workflow with a task, found one without")
    here = {task.run.cid for task in workflow.tasks}
    until = time.monotonic() + _PATIENCE
    met: set[tuple[str, str, str]] = set()
    for task in workflow.tasks:
        run = task.run
        if run.op != WASM_RUN:
            raise NotAllowed(f"{_named(task)}: guests run {WASM_RUN} and nothing else, found {_shown(run.op)}")
        if run.rsc != f"ipfs://{run.module}":
            raise NotAllowed(f"{_named(task)}: guests name a module by ipfs:// and its CID, found {_shown(run.rsc)}")
        for promise in run.awaits:
            if promise.instruction not in here:
                raise NotAllowed(
                    f"{_named(task)} awaits {promise.instruction}, which is no task of this workflow: a guest's is whole"
                )
        args = (run.rsc, run.op, run.func)
        if args in met:
            continue
        if time.monotonic() > until:
            raise NotAllowed(f"it takes more than {_PATIENCE:g} s to hold its tasks against the policies of this token")
        try:
            asked.check({"rsc": run.rsc, "op": run.op, "func": run.func})
        except NotAllowed as error:
            raise NotAllowed(f"{_named(task)}: {error.message}") from None
        met.add(args)


def _named(task: Task) -> str:
    return f"{_shown(task.run.func)} ({task.run.cid.short})"


def _shown(text: str) -> str:
    return printable(text, limit=60)
