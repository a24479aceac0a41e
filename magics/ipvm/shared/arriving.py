"""What opening and loading say: what came, who signed it, and what to type next."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ipvm.shared.told import LINES, Told, cut
from ipvm_kernel.printable import plural, printable, size
from ipvm_kernel.session import shares

if TYPE_CHECKING:
    from ipvm_kernel import CID, Session
    from ipvm_kernel.session.shares import Arrival, Written


def signers(session: Session, counts: dict[str, int], total: int) -> list[str]:
    """Return who signed, one line each, and what to type to use what they signed."""
    if not total:
        return []
    lines = []
    keys = session.policy.keys
    for did, count in counts.items():
        name = shares.name_of(session, did)
        if name.startswith("you "):
            lines.append(f"{count:,} of {plural(total, 'receipt')} signed by {name}")
        elif did in session.policy.quarantined:
            lines.append(f"{count:,} signed by {name}, of whom nothing is used: {session.policy.quarantined[did].why}")
        elif did in keys:
            lines.append(f"{count:,} of {plural(total, 'receipt')} signed by {name}, whom you trust")
        else:
            lines.append(
                f"{count:,} of {plural(total, 'receipt')} signed by {did}, whom you do not know. To use them: ipvm trust add {did}"
            )
    unsigned = total - max(counts.values(), default=0)
    if unsigned > 0 and not counts:
        lines.append(f"{plural(total, 'receipt')} that nobody signed: shown, never used")
    return lines


def arrived(session: Session, arrival: Arrival) -> Told:
    """Return what came in an archive."""
    total = len(arrival.receipts)
    lines = [f"{plural(total, 'receipt')}, {arrival.new:,} of them new; every block was checked"]
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
        lines += signers(session, arrival.issuers, total)
    lines += cut([f"dropped: {line}" for line in arrival.refused])
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
    lines += signers(session, dict(counts), len(made.receipts))
    notebook = shares.notebook_of(session, root)
    outputs, backed = sum(cell.outputs for cell in notebook.cells), sum(cell.backed for cell in notebook.cells)
    if outputs:
        lines.append(
            f"{plural(outputs, 'output')}: {backed:,} backed by receipts, {outputs - backed:,} of ordinary Python, which "
            "nobody can check"
        )
    if made.left:
        lines += cut(
            [f"left out by its author: {one.part} {one.name or one.cid}, {size(one.size)}" for one in made.left]
        )
    if arrival is not None:
        lines += cut([f"dropped: {line}" for line in arrival.refused])
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
        "outputs": outputs,
        "backed": backed,
        "left": [one.cid for one in made.left],
        "signed": dict(counts),
        "refused": [*written.refused, *(arrival.refused if arrival is not None else ())],
    }
    return Told(lines, [], [], [], data=data)


def _environment(found: dict[str, str]) -> list[tuple[str, str]]:
    return [(printable(name, limit=40), printable(version, limit=40)) for name, version in list(found.items())[:LINES]]
