"""What may be used of the receipts that were made elsewhere: asked of the user's policy, each time, receipt by receipt.

Nothing is written when a receipt is admitted in this way. A key that is trusted no longer, a statement that was revoked or
that has ended therefore counts no more from that moment on, in every kernel (`reliability`: at use, not only at import).
Receipts of one's own never come here, so replaying them costs nothing more.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import WASM_RUN, Instruction
from ipvm_kernel.session.diverging import Divergences, agree
from ipvm_kernel.session.statements import Statements
from ipvm_kernel.store.lineage import edges_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ipvm_kernel.model import Receipt
    from ipvm_kernel.store import OnFile, Store
    from ipvm_kernel.trust import Policy
    from ipvm_kernel.trust.attestation import Attestation

_OURS: Final = "ipvm"  # how the engines are called whose receipts mean here what they meant there


class Examiner(Protocol):
    """Says what a receipt means here."""

    def doubts(self, run: Instruction, receipt: Receipt) -> str:
        """Return why a receipt of another engine may not mean here what it meant there, or ""."""

    def misfit(self, run: Instruction, receipt: Receipt) -> str:
        """Return why a value cannot be what the function gives, or ""."""


class Judged(msgspec.Struct, frozen=True):
    """What was decided about a receipt from elsewhere.

    Attributes:
        receipt: The receipt.
        kind: Used; to be worked out again and compared; or only shown.
        reason: Why, for people.
        issuers: Who signed for it.
        absent: What its value links to and is not here, where nothing else keeps it from being used.
        here: True if it was worked out here, from what others answered.
    """

    receipt: CID
    kind: str
    reason: str
    issuers: tuple[str, ...] = ()
    absent: tuple[CID, ...] = ()
    here: bool = False


class Admission:
    """The way from a store's receipts to those that may be used.

    Args:
        store: The store.
        policy: What the user decided.
        examiner: Says what a receipt means here.
        tell: Called with a line where the policy cannot be read: nothing of others is used then.

    Attributes:
        statements: Who signed for what.
        divergences: Compares what was worked out here with what others said.
        believing: Take every receipt of a task for what it says, whoever signed: for a store where each is worked out again.
    """

    believing = False

    def __init__(self, store: Store, policy: Policy, examiner: Examiner, tell: Callable[[str], object]) -> None:
        self._store = store
        self._policy = policy
        self._examiner = examiner
        self._tell = tell
        self._troubled = ""
        self.statements = Statements(store)
        self.divergences = Divergences(store, policy, self.statements)

    def on_file(self, instructions: Iterable[CID]) -> dict[CID, OnFile]:
        """Return what the store has on file for each instruction, as `Store.on_file` does, and admitted what may be used."""
        found = self._store.on_file(instructions)
        strange = [cid for cid, one in found.items() if not one.admitted and not one.trusted]
        if strange:
            for cid, one, judged in self._judged(strange):
                if judged.kind == "admitted":
                    # As others', also what was made here from theirs: so what comes of it is good as long as they are.
                    found[cid] = msgspec.structs.replace(one, admitted=True, own=False)
        return found

    def judgements(self, instructions: Iterable[CID]) -> dict[CID, Judged]:
        """Return, for each instruction whose only receipts are from elsewhere, what is decided about the best of them."""
        found = self._store.on_file(instructions)
        strange = [cid for cid, one in found.items() if not one.admitted]
        return {cid: judged for cid, _, judged in self._judged(strange)}

    def _judged(self, instructions: Sequence[CID]) -> list[tuple[CID, OnFile, Judged]]:
        """Judge the receipts of some instructions, and return the best of each."""
        candidates = {cid: self._store.receipts_of(cid) for cid in instructions}
        leaning = {cid: one for cid, found in candidates.items() for one in found if one.own and not one.admitted}
        holding = self._holding(leaning) if leaning else set()
        statements = self.statements.about([one.cid for found in candidates.values() for one in found])
        now = time.time()
        judged = []
        for cid, found in candidates.items():
            if cid in holding:
                one = leaning[cid]
                reason = "worked out here, from what others signed and your policy admits"
                judged.append((cid, one, Judged(one.cid, "admitted", reason, here=True)))
                continue
            best: tuple[OnFile, Judged] | None = None
            for one in sorted(found, key=lambda one: one.filed):
                verdict = self._judge(cid, one, statements.get(one.cid, []), now)
                if best is None or (verdict.kind == "admitted" and best[1].kind != "admitted"):
                    best = (one, verdict)
                elif verdict.kind == best[1].kind == "admitted" and _differ(best[0], one):
                    verdict = Judged(
                        one.cid, "unverified",
                        f"two receipts that may be used differ, {best[0].cid} and {one.cid}: it is worked out again",
                        (*best[1].issuers, *verdict.issuers),
                    )  # fmt: skip
                    best = (one, verdict)
                    break
            if best is not None:
                judged.append((cid, *best))
        return judged

    def _trouble(self, line: str) -> None:
        """Say once what is wrong with the policy."""
        if line != self._troubled:
            self._troubled = line
            self._tell(line)

    def _holding(self, leaning: Mapping[CID, OnFile]) -> set[CID]:
        """Return those of some receipts that were made here from answers of others and still hold.

        One holds if each answer that its task awaits may be used now, was here before it, and is the only one that is
        known: it is then what the task was worked out from. For all others the resolved key says whether there is an
        outcome.
        """
        holds: dict[CID, bool] = {}
        known: dict[CID, OnFile] = dict(leaning)
        pending = [(cid, False) for cid in leaning]
        while pending:
            cid, ready = pending.pop()
            if cid in holds:
                continue
            awaits = self._awaits(cid)
            if not ready:
                pending.append((cid, True))
                found = self._store.on_file(awaits)
                known |= found
                pending += [(other, False) for other, one in found.items() if one.own and not one.admitted]
                continue
            holds[cid] = all(self._held(other, known[cid].filed, holds) for other in awaits)
        return {cid for cid in leaning if holds[cid]}

    def _held(self, other: CID, before: float, holds: Mapping[CID, bool]) -> bool:
        """Return True if what answers an instruction now is what did before some moment."""
        found = [one for one in self._store.receipts_of(other) if one.here]
        if not found or min(one.filed for one in found) > before or any(_differ(found[0], one) for one in found[1:]):
            return False
        if any(one.admitted for one in found) or holds.get(other, False):
            return True
        statements = self.statements.about([one.cid for one in found])
        return any(
            self._judge(other, one, statements.get(one.cid, []), time.time()).kind == "admitted" for one in found
        )

    def _awaits(self, cid: CID) -> list[CID]:
        try:
            run = Instruction.from_block(self._store.get(cid), trusted=True)
        except IpvmError:
            return []
        return list(dict.fromkeys(promise.instruction for promise in run.awaits))

    def _judge(self, instruction: CID, one: OnFile, statements: list[Attestation], now: float) -> Judged:
        issuers = tuple(dict.fromkeys(made.issuer for made in statements))

        def no(reason: str) -> Judged:
            return Judged(one.cid, "unverified", reason, issuers)

        if not statements and not self.believing:
            return no("nobody signed for it")
        receipt = one.receipt
        if receipt is None or one.ran is None:
            return no("its value or its task is not here")
        if self.believing:
            return Judged(one.cid, "admitted", "it is taken for what it says", issuers)
        if not receipt.ok:
            return no("errors of others are never used")
        try:
            run = Instruction.from_block(self._store.get(instruction), trusted=True)
        except IpvmError:
            return no("its task is not here")
        try:
            verdict = self._policy.judge(
                one.cid, statements, module=run.module, pure=run.op == WASM_RUN, now=now, instruction=instruction
            )
            counting = [
                made
                for made in statements
                if made.issuer in verdict.issuers
                and not self._policy.failing(made, receipt=one.cid, instruction=instruction, now=now)
            ]
        except IpvmError as error:
            self._trouble(error.message)
            return no("your policy cannot be read, so nothing of others is used")
        if verdict.kind != "admitted":
            return Judged(one.cid, verdict.kind, verdict.reason, issuers)
        why = self._examiner.misfit(run, receipt)
        if not why and not any(made.engine.startswith(_OURS) for made in counting):
            why = self._examiner.doubts(run, receipt)
        if why:
            return no(why)
        absent = [
            edge.target
            for edge in edges_of(run, receipt)
            if edge.kind == "value" and self._store.size(edge.target) is None
        ]
        if absent:
            why = f"its value {absent[0]} did not come along"
            return Judged(one.cid, "unverified", why, issuers, tuple(absent))
        return Judged(one.cid, "admitted", verdict.reason, tuple(verdict.issuers))


def _differ(a: OnFile, b: OnFile) -> bool:
    one, other = a.receipt, b.receipt
    return one is not None and other is not None and not agree(one, other)
