"""Diverging: what was worked out here is held against what others said, and who said something else is put aside.

Only a plain lie has that consequence: a value of a pure task, another one here, and a statement about just that which
holds now. What may have other reasons is told, and blames nobody: errors, whose words belong to a version; builds, which
compilers decide; receipts whose own task is not here to say what they answer.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import CID, encode
from ipvm_kernel.model import WASM_RUN, Invocation
from ipvm_kernel.printable import plural, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipvm_kernel.model import Receipt
    from ipvm_kernel.session.statements import Statements
    from ipvm_kernel.store import OnFile, Store
    from ipvm_kernel.trust import Policy
    from ipvm_kernel.trust.attestation import Attestation

_NAMED: Final = 4  # signers that one line names
_ASIDE: Final = 16  # strangers that one lie puts aside: keys cost nothing, and the policy is a small file


class Compared(msgspec.Struct, frozen=True):
    """What came of working out again what somebody else had worked out.

    Attributes:
        receipt: The other receipt.
        equal: True if the outcomes are equal.
        told: If they are not: one line that names engines and issuers.
    """

    receipt: CID
    equal: bool
    told: str = ""


class Divergences:
    """Compares, and remembers who was caught.

    Args:
        store: Where receipts of others are.
        policy: Where those are noted who are put aside.
        statements: Who signed.
    """

    def __init__(self, store: Store, policy: Policy, statements: Statements) -> None:
        self._store = store
        self._policy = policy
        self._statements = statements

    def compare(self, instruction: CID, receipt: Receipt) -> list[Compared]:
        """Compare what was just worked out here with what others say. Nothing is raised: the work here is done.

        Args:
            instruction: The task.
            receipt: What came of it here, from nothing that others answered.
        """
        found = [one for one in self._store.receipts_of(instruction) if self._answers(one, instruction)]
        compared = [Compared(one.cid, equal=True) for one in found if one.cid == receipt.cid]
        others = [one for one in found if not one.own and one.cid != receipt.cid]
        signed = self._statements.about([one.cid for one in others])
        for one in others:
            theirs = one.receipt
            if theirs is None:
                continue
            if agree(theirs, receipt):
                compared.append(Compared(one.cid, equal=True))
            else:
                told = self._diverged(instruction, receipt, theirs, signed.get(one.cid, []))
                compared.append(Compared(one.cid, equal=False, told=told))
        return compared

    def _answers(self, one: OnFile, instruction: CID) -> bool:
        """Return True if a receipt's own invocation says that it answers this, and not only whoever brought it."""
        if one.own:
            return True
        try:
            return one.ran is not None and Invocation.from_block(self._store.get(one.ran)).task.run.cid == instruction
        except IpvmError:
            return False

    def _diverged(self, instruction: CID, ours: Receipt, theirs: Receipt, signed: list[Attestation]) -> str:
        makers = [f"{printable(made.engine, limit=60)} of {made.issuer}" for made in signed[:_NAMED]]
        makers += [f"{len(signed) - _NAMED:,} more"] if len(signed) > _NAMED else []
        line = (
            f"divergence: {printable(ours.func, limit=60)} ({instruction.short}) gave {ours.cid} here and {theirs.cid} "
            f"{'by ' + ', '.join(makers) if makers else 'where it came from, which nobody signed'}"
        )
        aside = self._put_aside(instruction, ours, theirs, signed, line)
        if aside:
            more = f" and {len(aside) - _NAMED:,} more" if len(aside) > _NAMED else ""
            line += (
                f". Nothing of {', '.join(aside[:_NAMED])}{more} is used any more; `ipvm trust add DID` takes that back"
            )
        return line

    def _put_aside(
        self, instruction: CID, ours: Receipt, theirs: Receipt, signed: list[Attestation], why: str
    ) -> list[str]:
        """Put those aside who signed for another value, and return them. A policy that cannot be written is told as it is."""
        if not (ours.ok and theirs.ok and self._is_pure(ours)):
            return []
        try:
            now = time.time()
            liars = [
                made.issuer
                for made in signed
                if not self._policy.failing(made, receipt=theirs.cid, instruction=instruction, now=now)
            ]
            listed = [did for did in liars if did in self._policy.keys]
            strangers = [did for did in liars if did not in self._policy.keys]
            return self._policy.quarantine_all([*listed, *strangers[:_ASIDE]], why)
        except IpvmError:
            return []

    def _is_pure(self, ours: Receipt) -> bool:
        try:
            return Invocation.from_block(self._store.get(ours.ran)).task.run.op == WASM_RUN
        except IpvmError:
            return False

    def told(self, compared: Mapping[CID, bool]) -> str:
        """Return one line on receipts from elsewhere that were not used, or "".

        It says whether working them out again gave the same, and what admits them.

        Args:
            compared: The receipts, and whether the outcomes were equal.
        """
        if not compared:
            return ""
        equal = sum(compared.values())
        one = "equal" if len(compared) == 1 else "all equal"
        outcome = one if equal == len(compared) else f"{equal:,} equal, {len(compared) - equal:,} DIFFERENT"
        line = f"{plural(len(compared), 'receipt')} that came along not used, but worked out again: {outcome}"
        try:
            keys, aside = self._policy.keys, self._policy.quarantined
        except IpvmError:
            return line
        unknown = Counter(
            made.issuer
            for signed in self._statements.about(list(compared)).values()
            for made in signed
            if made.issuer not in keys and made.issuer not in aside
        )
        if unknown:
            return f"{line}. To use what its signer says: %ipvm trust add {unknown.most_common(1)[0][0]}"
        return line if keys else f"{line}. Nobody signed them; %ipvm load FILE --trust uses an archive as it is"


def agree(a: Receipt, b: Receipt) -> bool:
    """Return True if two receipts say the same: of errors only their kind counts, whose words belong to a version."""
    if a.ok != b.ok:
        return False
    if a.ok:
        return encode(a.out.value) == encode(b.out.value)
    kinds = [one.error.get("kind") if isinstance(one.error, dict) else one.error for one in (a, b)]
    return kinds[0] == kinds[1]
