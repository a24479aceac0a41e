"""What checking and comparing say: cell by cell, and task by task."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ipvm.shared.told import CELLS, LINES, Told, cut
from ipvm_kernel.printable import plural, printable, seconds
from ipvm_kernel.session import shares

if TYPE_CHECKING:
    from ipvm_kernel import Session
    from ipvm_kernel.session.shares import Checked, CheckedCell, SharesDiff

_HEADING: Final = 48  # characters of a cell's first line in a table
_VERDICTS: Final = {"failed": "not run"}  # of a task that could not be run again: that says nothing against its receipt


def checked(session: Session, found: Checked) -> Told:
    """Return what a check found, cell by cell."""
    rows = [_row(session, found, cell) for cell in found.cells if cell.receipts]
    intact = len(found.receipts)
    broken = [(cell, cid, why) for cell in found.cells for cid, why in cell.broken.items()]
    verdicts: Counter[str] = Counter(one.verdict for one in found.again.values())
    before = [f"{found.name}: {plural(intact, 'receipt')} intact, {len(broken):,} not"]
    after = cut([f"not intact: {cid.short} in {_place(cell)}: {why}" for cell, cid, why in broken])
    took = sum(found.took.values())
    if found.again:
        after += _again(session, found, verdicts)
    elif intact:
        after.append(
            f"to run them again: --rerun all (they took {seconds(took)} where they were made), or a part: --rerun 5%"
        )
    after += _lapsed(session, found)
    after += cut([f"not taken: {line}" for line in found.refused])
    after += cut([f"did not come along: {printable(line, limit=200)}" for line in found.left])
    if any(cell.receipts and cell.outputs[0] for cell in found.cells):
        after.append("an output is backed if it names a receipt: what it shows is not compared with what that says")
    lines: list[dict[str, Any]] = [
        {
            "instruction": instruction,
            "receipt": receipt,
            "func": found.funcs.get(instruction, ""),
            "intact": instruction not in cell.broken,
            "why": cell.broken.get(instruction, ""),
            "signed": found.signed.get(instruction, []),
            "lapsed": found.lapsed.get(instruction, {}),
            "cell": cell.index,
            "again": found.again[instruction].verdict if instruction in found.again else None,
            "told": found.again[instruction].told if instruction in found.again else "",
        }
        for cell in found.cells
        for instruction, receipt in cell.receipts.items()
    ]
    about = {"name": found.name, "intact": intact, "broken": len(broken), "refused": found.refused, "left": found.left}
    about["unshown"] = found.unshown
    heads = ["cell", "what", "receipts", "intact", "signed by", "run again", "took"]
    return Told(before, heads, rows[: CELLS * 5], after, lines=[about, *lines])


def _again(session: Session, found: Checked, verdicts: Counter[str]) -> list[str]:
    """Return what came of running tasks again, whose word it speaks against, and what was not shown."""
    took = sum(one.seconds for one in found.again.values())
    counts = f"{verdicts['same']:,} same, {verdicts['different']:,} different, {verdicts['failed']:,} could not be run"
    lines = [f"{plural(len(found.again), 'task')} run again in {seconds(took)}: {counts}"]
    if found.unshown:
        lines.append(f"not all was shown: of {plural(found.unshown, 'task')} there is only the word of who signed")
    lines += cut(
        [
            f"  {found.funcs.get(one.instruction, one.instruction.short)} ({one.instruction.short}): "
            f"{_VERDICTS.get(one.verdict, one.verdict)}, {one.told}"
            for one in sorted(found.again.values(), key=lambda one: one.verdict)
            if one.verdict != "same"
        ],
        CELLS,
    )
    wrong = [cid for cid, one in found.again.items() if one.verdict == "different"]
    blamed = Counter(did for cid in wrong for did in found.signed.get(cid, []) if did.startswith("did:"))
    for did, count in blamed.most_common(LINES):
        if shares.name_of(session, did).startswith("you "):
            lines.append(
                f"{count:,} different signed by you: the receipt was made by another version, or on a machine that errs"
            )
        elif did in session.policy.keys:
            lines.append(
                f"{count:,} different signed by {_signer(session, did)}: to use its word no more: ipvm trust remove {did}"
            )
        else:
            lines.append(f"{count:,} different signed by {did}, whom you do not trust")
    return lines


def _lapsed(session: Session, found: Checked) -> list[str]:
    """Return whose word does not hold now, and why."""
    counts = Counter((did, why) for lapsed in found.lapsed.values() for did, why in lapsed.items())
    return cut(
        [
            f"the word of {_signer(session, did)} for {plural(count, 'receipt')} does not hold: {why}"
            for (did, why), count in counts.most_common()
        ]
    )


def _place(cell: CheckedCell) -> str:
    return f"cell {cell.index + 1}" if cell.index is not None else "no cell"


def _row(session: Session, found: Checked, cell: CheckedCell) -> list[str]:
    counts = Counter(
        (did, found.lapsed.get(cid, {}).get(did, ""))
        for cid in cell.receipts
        for did in found.signed.get(cid, []) or ["nobody"]
    )
    by = ", ".join(
        _signer(session, did) + (f" ({why})" if why else "") + (f" {count}" if len(counts) > 1 else "")
        for (did, why), count in counts.most_common(3)
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
    lines = cut(told, 200) or ["their cells are the same"]
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
