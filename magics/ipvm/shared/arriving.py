"""What opening and loading say: what came, who signed it, and what to type next."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from ipvm.shared.told import LINES, Told, backing, cut
from ipvm_kernel.printable import plural, printable, size
from ipvm_kernel.session import shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipvm_kernel import CID, Session
    from ipvm_kernel.session.shares import Arrival, Attestation, Written


def signers(session: Session, statements: Sequence[tuple[CID, Sequence[Attestation]]]) -> list[str]:
    """Return who signed, one line each, whose word does not hold now, and what to type to use what was signed.

    Args:
        session: Whose policy it is.
        statements: Of each receipt its instruction, and what was said about it.
    """
    total = len(statements)
    if not total:
        return []
    counts, lapsed = _holding(session, statements)
    lines = []
    keys = session.policy.keys
    for did, count in counts.items():
        name = shares.name_of(session, did)
        said = f"{count:,} of {plural(total, 'receipt')} signed by"
        if name.startswith("you "):
            lines.append(f"{said} {name}")
        elif did in keys:
            lines.append(f"{said} {name}, whom you trust")
        else:
            lines.append(f"{said} {did}, whom you do not know. To use them: ipvm trust add {did}")
    for (did, why), count in lapsed.items():
        aside = session.policy.quarantined.get(did)
        told = f"which is put aside: {aside.why}" if aside is not None else f"whose word for them does not hold: {why}"
        lines.append(f"{count:,} of {plural(total, 'receipt')} signed by {shares.name_of(session, did)}, {told}")
    if not counts and not lapsed:
        lines.append(f"{plural(total, 'receipt')} that nobody signed: shown, never used")
    return cut(lines)


def _new(count: int, total: int) -> str:
    """Return how many receipts were not here before."""
    if not total:
        return ""
    if count in {0, total}:
        return ", here before" if not count else ", not here before"
    return f", {count:,} of them not here before"


def _holding(
    session: Session, statements: Iterable[tuple[CID, Sequence[Attestation]]]
) -> tuple[dict[str, int], Counter[tuple[str, str]]]:
    """Return for how many receipts each signer's word holds, and for how many it does not, and why.

    Args:
        session: Whose policy it is.
        statements: Of each receipt its instruction, and what was said about it.
    """
    holds: Counter[str] = Counter()
    lapsed: Counter[tuple[str, str]] = Counter()
    now = time.time()
    for instruction, said in statements:
        failing: dict[str, str] = {}
        for made in said:
            why = session.policy.failing(made, receipt=made.receipt, instruction=instruction, now=now)
            failing[made.issuer] = why if failing.get(made.issuer, why) else ""
        holds.update(did for did, why in failing.items() if not why)
        lapsed.update((did, why) for did, why in failing.items() if why)
    return dict(holds), lapsed


def arrived(session: Session, arrival: Arrival) -> Told:
    """Return what came in an archive."""
    total = len(arrival.receipts)
    lines = [f"{plural(total, 'receipt')}{_new(arrival.new, total)}; every block was checked"]
    if arrival.opened is not None:
        made = arrival.opened
        lines.append(f"a shared {made.share.kind}, {printable(made.share.name, limit=100)}: {arrival.root}")
        kinds = Counter(one.part for one in made.content)
        lines += (
            [", ".join(plural(kinds[part], part) for part in ("module", "input", "output") if kinds[part])]
            if kinds
            else []
        )
    if arrival.trusted:
        lines.append("they may be replayed, as you said")
    else:
        made_by = [
            (one.instruction, [said.made for said in arrival.signed.get(one.receipt, [])]) for one in arrival.receipts
        ]
        lines += signers(session, made_by)
    lines += cut([f"not taken: {line}" for line in arrival.refused])
    lines += cut([f"did not come along: {one.part} {one.name or one.cid}, {size(one.size)}" for one in arrival.absent])
    data = {
        "root": arrival.root,
        "name": printable(arrival.opened.share.name, limit=100) if arrival.opened is not None else "",
        "trusted": arrival.trusted,
        "receipts": total,
        "new": arrival.new,
        "signed": dict(arrival.issuers),
        "refused": list(arrival.refused),
        "absent": [one.cid for one in arrival.absent],
    }
    return Told(lines, [], [], [], data=data)


def banner(root: CID) -> tuple[str, ...]:
    """Return what a reader finds above an opened notebook."""
    return (
        f"Opened from {root}. Every block was checked against its CID; nothing was run, and nothing is trusted.",
        f"%ipvm check {root.short} says which outputs are backed by receipts, and who signed those.",
    )


def opened(session: Session, root: CID, arrival: Arrival | None, written: Written) -> Told:
    """Return what was opened, who signed, what cannot be checked, and what to type next."""
    made = shares.share_of(session, root)
    where = written.notebook
    files = f" and {plural(len(written.files), 'file')} beside it" if written.files else ""
    lines = [f"wrote {where}{files}; every block was checked, nothing was run, nothing is trusted"]
    signed = session.admission.statements.about([one.receipt for one in made.receipts])
    counts = Counter(did for statements in signed.values() for did in {one.issuer for one in statements})
    lines += signers(session, [(one.instruction, signed.get(one.receipt, [])) for one in made.receipts])
    notebook = shares.notebook_of(session, root)
    if notebook.outputs:
        lines.append(backing(notebook))
    if made.left:
        lines += cut(
            [f"left out by its author: {one.part} {one.name or one.cid}, {size(one.size)}" for one in made.left]
        )
    if arrival is not None:
        lines += cut([f"not taken: {line}" for line in arrival.refused])
        lines += cut([f"missing: {one.part} {one.name or one.cid}, {size(one.size)}" for one in arrival.absent])
    lines += cut([f"not written: {line}" for line in written.refused])
    if made.share.environment:
        lines.append(
            f"made with {', '.join(f'{name} {version}' for name, version in _environment(made.share.environment))}"
        )
    lines += [
        f"next:  ipvm check {root.short}   (is every receipt intact, and who signed it)",
        f"       ipvm check {root.short} --rerun 5%   (run a part of the tasks again, and compare)",
        f"       jupyter lab {where}",
    ]
    data = {
        "cid": root,
        "notebook": str(where),
        "files": list(written.files),
        "receipts": len(made.receipts),
        "outputs": notebook.outputs,
        "backed": notebook.backed,
        "left": [one.cid for one in made.left],
        "signed": dict(counts),
        "refused": [*written.refused, *(arrival.refused if arrival is not None else ())],
    }
    return Told(lines, [], [], [], data=data)


def _environment(found: dict[str, str]) -> list[tuple[str, str]]:
    return [(printable(name, limit=40), printable(version, limit=40)) for name, version in list(found.items())[:LINES]]
