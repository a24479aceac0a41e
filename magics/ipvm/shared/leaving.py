"""What sharing says: what would leave, what left, and what a reader types."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ipvm.shared.told import CELLS, LINES, Told, backing, cut
from ipvm_kernel.printable import plural, printable, size

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel import CID
    from ipvm_kernel.session.shares import Offer


def leaving(offer: Offer) -> Told:
    """Return what would leave, by cell and by kind."""
    bundle, notebook = offer.bundle, offer.notebook
    heads = ["cell", "what", "receipts", "backed outputs", "size"]
    rows = []
    seen: set[CID] = set()
    for cell in notebook.cells if notebook is not None else ():
        if not cell.receipts and not cell.outputs:
            continue
        length = sum(offer.workflows.get(cid, 0) for cid in cell.workflows if cid not in seen)
        seen.update(cell.workflows)
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
    further = len(rows) - CELLS
    before = [f"what leaves with {offer.name}, by cell and by kind:"] if rows else [f"what leaves with {offer.name}:"]
    kinds = Counter(one.part for one in bundle.content.values())
    sizes: dict[str, int] = dict.fromkeys(kinds, 0)
    for one in bundle.content.values():
        sizes[one.part] += one.size
    after = [f"… and {further:,} cells more"] if further > 0 else []
    tasks, listed = sum(one.size for one in bundle.receipts.values()), sum(offer.workflows.values())
    whose = "its task" if len(bundle.receipts) == 1 else "their tasks"
    parts = [f"{plural(len(bundle.receipts), 'receipt')} with {whose} ({size(tasks)})"] if bundle.receipts else []
    parts += [f"{plural(len(offer.workflows), 'workflow')} ({size(listed)})"] if listed else []
    parts += [
        f"{plural(kinds[part], part)} ({size(sizes[part])})" for part in ("module", "input", "output") if kinds[part]
    ]
    along = ", ".join(parts) or "no receipts"
    after.append(f"{along}: {size(offer.size)} in all, without signatures")
    if notebook is not None:
        after.append(backing(notebook))
    if offer.files:
        after.append(
            f"files that its cells read: {', '.join(printable(name, limit=80) for name in list(offer.files)[:LINES])}"
        )
    after += cut(
        [
            f"left out: {one.part} {one.name or one.cid}, {size(one.size)}: a reader needs it from you"
            for one in bundle.left.values()
        ]
    )
    after += cut([f"without a receipt: {line}" for line in bundle.missing])
    after += cut([f"a reader will not have {printable(name, limit=120)}: {_elsewhere(name)}" for name in offer.outside])
    after += cut([f"stays here: {line}" for line in offer.cleaned], 4)
    after += cut([f"LOOK before it leaves: {line}" for line in offer.warnings])
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
    return Told(before, heads, rows[:CELLS], after, data=data)


def _elsewhere(name: str) -> str:
    """Return what to do about a file that a reader will not have."""
    if name.startswith(("/", "~")):
        return "read it from a path beside the notebook"
    return "it would run where it is written, or is too large, or was left out. Put it into a cell, or send it yourself"


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
