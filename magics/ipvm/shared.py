"""What sharing, opening, checking and comparing say: text for a terminal, a table for a notebook, data for `--json`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.picture import tree
from ipvm_kernel.printable import markup, plural, printable, seconds, size
from ipvm_kernel.session import shares

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ipvm_kernel import CID, Session
    from ipvm_kernel.session.shares import Arrival, Checked, CheckedCell, Offer, SharesDiff, Written

_CELLS: Final = 40  # cells of a notebook that are listed
_HEADING: Final = 48  # characters of a cell's first line in a table
_LINES: Final = 12  # warnings, and things left out, that are listed
_WIDTH: Final = 120
_VERDICTS: Final = {"failed": "not run"}  # of a task that could not be run again: that says nothing against its receipt


class Told:
    """An answer: lines, a table, and lines again.

    Attributes:
        text: It as text.
        html: It as HTML that survives an untrusted notebook.
        data: It as one value.
        rows: It as one value a line.
    """

    def __init__(
        self,
        before: Sequence[str],
        heads: list[str],
        rows: list[list[str]],
        after: Sequence[str],
        *,
        data: dict[str, Any] | None = None,
        lines: Sequence[dict[str, Any]] = (),
    ) -> None:
        grid, made = tree.grid(heads, rows, width=_WIDTH) if rows else ("", "")
        self.text = "\n".join(filter(None, ["\n".join(before), grid, "\n".join(after)]))
        self.html = _lines(before) + made + _lines(after)
        self.data = data or {}
        self.rows = list(lines)


def lines(*said: str, data: dict[str, Any] | None = None) -> Told:
    """Return some lines as an answer."""
    return Told(said, [], [], [], data=data)


def _lines(lines: Iterable[str]) -> str:
    told = "\n".join(lines)
    return f'<div style="white-space:pre-wrap">{markup(told, limit=20_000, keep=chr(10))}</div>' if told else ""


def _cut(lines: Sequence[str], most: int = _LINES) -> list[str]:
    return [*lines[:most], *([f"… and {len(lines) - most:,} more"] if len(lines) > most else [])]


def is_share(session: Session, cid: CID) -> bool:
    """Return True if a CID is that of a share in the store."""
    if cid.codec != "dag-cbor" or session.store.size(cid) is None:
        return False
    value = session.find(cid).value
    return type(value) is dict and str(value.get("ipvm", "")).startswith("share/")


# --- Sharing ---


def leaving(offer: Offer) -> Told:
    """Return what would leave, by cell and by kind."""
    bundle, notebook = offer.bundle, offer.notebook
    heads = ["cell", "what", "receipts", "backed outputs", "size"]
    rows = []
    seen: set[CID] = set()
    for cell in notebook.cells if notebook is not None else ():
        if not cell.receipts and not cell.outputs:
            continue
        length = 0
        for instruction in cell.receipts:
            receipt = bundle.receipts.get(instruction)
            for cid in (receipt.receipt, *receipt.content) if receipt is not None else ():
                if receipt is not None and cid not in seen:
                    seen.add(cid)
                    content = bundle.content.get(cid)
                    length += content.size if content is not None else receipt.size if cid == receipt.receipt else 0
        proven = f"{cell.backed} of {cell.outputs}" if cell.outputs else "-"
        rows.append(
            [str(cell.index + 1), cell.heading, f"{len(cell.receipts):,}", proven, size(length + cell.output_bytes)]
        )
    further = len(rows) - _CELLS
    before = [f"what leaves with {offer.name}, by cell and by kind:"] if rows else [f"what leaves with {offer.name}:"]
    kinds = Counter(one.part for one in bundle.content.values())
    sizes: dict[str, int] = dict.fromkeys(kinds, 0)
    for one in bundle.content.values():
        sizes[one.part] += one.size
    after = [f"… and {further:,} cells more"] if further > 0 else []
    parts = [f"{plural(len(bundle.receipts), 'receipt')} ({size(sum(one.size for one in bundle.receipts.values()))})"]
    parts += [
        f"{plural(kinds[part], part)} ({size(sizes[part])})" for part in ("module", "input", "output") if kinds[part]
    ]
    after.append(f"{', '.join(parts)}: {size(offer.size)} in all")
    if notebook is not None:
        backed, outputs = sum(cell.backed for cell in notebook.cells), sum(cell.outputs for cell in notebook.cells)
        after.append(
            f"{plural(outputs, 'output')}: {backed:,} backed by receipts, {outputs - backed:,} of ordinary Python, which "
            "nobody can check"
        )
    if offer.files:
        after.append(
            f"files that its cells read: {', '.join(printable(name, limit=80) for name in list(offer.files)[:_LINES])}"
        )
    after += _cut(
        [
            f"left out: {one.part} {one.name or one.cid}, {size(one.size)}: a reader needs it from you"
            for one in bundle.left.values()
        ]
    )
    after += _cut([f"without a receipt: {line}" for line in bundle.missing])
    after += _cut(
        [
            f"a reader has no {printable(name, limit=120)}: read it from a path beside the notebook"
            for name in offer.outside
        ]
    )
    after += _cut([f"stays here: {line}" for line in offer.cleaned], 4)
    after += _cut([f"LOOK before it leaves: {line}" for line in offer.warnings])
    data = {
        "name": offer.name,
        "kind": offer.kind,
        "receipts": len(bundle.receipts),
        "bytes": offer.size,
        "content": {part: kinds[part] for part in sorted(kinds)},
        "left": [str(cid) for cid in bundle.left],
        "missing": list(bundle.missing),
        "warnings": list(offer.warnings),
        "files": list(offer.files),
        "outside": list(offer.outside),
        "cells": [dict(zip(heads, row, strict=True)) for row in rows],
    }
    return Told(before, heads, rows[:_CELLS], after, data=data)


def left(offer: Offer, target: Path, count: int, kubo: str) -> Told:
    """Return what was shared, and what a reader types."""
    share = offer.share
    assert share is not None
    lines = [
        f"shared {offer.name} as {share.cid}",
        f"archive: {target}, {size(count)}",
    ]
    if offer.statements:
        signed = f"{plural(offer.statements, 'signature')} {'goes' if offer.statements == 1 else 'go'} along"
        lines.append(f"{signed}; `ipvm id` shows who you are to a reader")
    by_cid, by_file = ("open", "open") if share.kind == "notebook" else ("get", "load")
    if kubo:
        lines.append(f"given to {kubo} and pinned there")
        lines.append(f"a reader types: ipvm {by_cid} {share.cid}")
    else:
        lines.append(
            f"a reader types: ipvm {by_file} {target.name}   (send the archive; with --ipfs the CID alone is enough)"
        )
    return Told(lines, [], [], [])


# --- Opening ---


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
    lines += _cut([f"dropped: {line}" for line in arrival.refused])
    lines += _cut([f"did not come along: {one.part} {one.name or one.cid}, {size(one.size)}" for one in arrival.absent])
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
        lines += _cut(
            [f"left out by its author: {one.part} {one.name or one.cid}, {size(one.size)}" for one in made.left]
        )
    if arrival is not None:
        lines += _cut([f"dropped: {line}" for line in arrival.refused])
        lines += _cut([f"missing: {one.part} {one.name or one.cid}, {size(one.size)}" for one in arrival.absent])
    lines += _cut([f"not written: {line}" for line in written.refused])
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
    return [(printable(name, limit=40), printable(version, limit=40)) for name, version in list(found.items())[:_LINES]]


# --- Checking ---


def checked(session: Session, found: Checked) -> Told:
    """Return what a check found, cell by cell."""
    rows = [_row(session, found, cell) for cell in found.cells if cell.receipts]
    intact = len(found.receipts)
    broken = [(cell, cid, why) for cell in found.cells for cid, why in cell.broken.items()]
    verdicts = Counter(one.verdict for one in found.again.values())
    before = [f"{found.name}: {plural(intact, 'receipt')} intact, {len(broken):,} not"]
    after = _cut([f"not intact: {cid.short} in {_place(cell)}: {why}" for cell, cid, why in broken])
    took = sum(found.took.values())
    if found.again:
        again = sum(one.seconds for one in found.again.values())
        after.append(
            f"{plural(len(found.again), 'task')} run again in {seconds(again)}: {verdicts['same']:,} same, "
            f"{verdicts['different']:,} different, {verdicts['failed']:,} could not be run"
        )
        for one in found.again.values():
            if one.verdict != "same":
                name = found.funcs.get(one.instruction, one.instruction.short)
                verdict = _VERDICTS.get(one.verdict, one.verdict)
                after.append(f"  {name} ({one.instruction.short}): {verdict}, {one.told}")
    elif intact:
        after.append(
            f"to run them again: --rerun all (they took {seconds(took)} where they were made), or a part: --rerun 5%"
        )
    after += _cut([f"dropped: {line}" for line in found.refused])
    after += _cut([f"did not come along: {printable(line, limit=200)}" for line in found.left])
    lines: list[dict[str, Any]] = [
        {
            "instruction": instruction,
            "receipt": receipt,
            "func": found.funcs.get(instruction, ""),
            "intact": instruction not in cell.broken,
            "why": cell.broken.get(instruction, ""),
            "signed": found.signed.get(instruction, []),
            "cell": cell.index,
            "again": found.again[instruction].verdict if instruction in found.again else None,
        }
        for cell in found.cells
        for instruction, receipt in cell.receipts.items()
    ]
    about = {"name": found.name, "intact": intact, "broken": len(broken), "refused": found.refused, "left": found.left}
    heads = ["cell", "what", "receipts", "intact", "signed by", "run again", "took"]
    return Told(before, heads, rows[: _CELLS * 5], after, lines=[about, *lines])


def _place(cell: CheckedCell) -> str:
    return f"cell {cell.index + 1}" if cell.index is not None else "no cell"


def _row(session: Session, found: Checked, cell: CheckedCell) -> list[str]:
    counts = Counter(did for cid in cell.receipts for did in found.signed.get(cid, []) or ["nobody"])
    by = ", ".join(
        _signer(session, did) + (f" {count}" if len(counts) > 1 else "") for did, count in counts.most_common(3)
    )
    again = [found.again[cid].verdict for cid in cell.receipts if cid in found.again]
    verdicts = Counter(again)
    heading = cell.heading if len(cell.heading) <= _HEADING else f"{cell.heading[: _HEADING - 1]}…"
    took = sum(found.took.get(cid, 0.0) for cid in cell.receipts)
    return [
        str(cell.index + 1) if cell.index is not None else "-",
        heading if cell.index is not None or len(found.cells) > 1 else "its tasks",
        f"{len(cell.receipts):,}",
        "all" if not cell.broken else f"{len(cell.receipts) - len(cell.broken):,}",
        by,
        ", ".join(f"{count} {_VERDICTS.get(name, name)}" for name, count in verdicts.items()) or "-",
        seconds(took) if took else "-",
    ]


def _signer(session: Session, did: str) -> str:
    if did in {"here", "nobody"}:
        return {"here": "made here", "nobody": "nobody"}[did]
    name = shares.name_of(session, did)
    if name.startswith("you "):
        return "you"
    known = session.policy.keys.get(did)
    return known.name if known is not None and known.name else f"{did[:16]}…{did[-4:]}"


# --- Comparing ---


def compared(found: SharesDiff) -> Told:
    """Return how two notebooks differ."""
    a, b = found.names
    before = [
        f"A: {printable(a, limit=200)}",
        f"B: {printable(b, limit=200)}",
        f"{plural(found.equal, 'task')} with the same receipt, {len(found.changed):,} with another, "  # noqa: ISC004 - one line
        f"{len(found.gone):,} only in A, {len(found.new):,} only in B",
    ]
    told = [line for cell in found.cells if not cell.same for line in cell.told()]
    lines = _cut(told, 200) or ["their cells are the same"]
    data = {
        "a": a,
        "b": b,
        "equal": found.equal,
        "changed": {str(cid): [str(one), str(other)] for cid, (one, other) in found.changed.items()},
        "gone": [str(cid) for cid in found.gone],
        "new": [str(cid) for cid in found.new],
        "cells": [line for cell in found.cells for line in cell.told()],
    }
    return Told(before, [], [], lines, data=data)
