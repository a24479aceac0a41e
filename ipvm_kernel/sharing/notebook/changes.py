"""How two notebooks differ, cell by cell: in their sources, and in the receipts that their outputs name."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from ipvm_kernel.ipld import CID
from ipvm_kernel.printable import plural, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ipvm_kernel.sharing.notebook.cells import Notebook, SharedCell

_QUADRATIC: Final = 100_000  # pairs of cells that difflib may look at: what it does can be cubic
_SHOWN: Final = 8
_LINES: Final = 6

Where = Literal["both", "first", "second"]


class CellChange(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one cell.

    Attributes:
        where: In both notebooks, or only in the first or the second.
        heading: Its first line, safe to show.
        ident: Its id in the first notebook, or in the second if it is only there.
        before: Its place in the first, from 0, or None.
        after: Its place in the second, or None.
        source: True if its source is another one.
        lines: The first lines that differ, each after "-" or "+", safe to show.
        receipts: For each instruction that they answer differently the receipts before and after; None where there is none.
        equal: How many instructions have the same receipt in both.
    """

    where: Where
    heading: str
    ident: str
    before: int | None = None
    after: int | None = None
    source: bool = False
    lines: tuple[str, ...] = ()
    receipts: dict[CID, tuple[CID | None, CID | None]] = msgspec.field(default_factory=dict)
    equal: int = 0

    @property
    def same(self) -> bool:
        """True if it is in both, with the same source and receipts."""
        return self.where == "both" and not self.source and not self.receipts

    @property
    def divergent(self) -> list[CID]:
        """Instructions that both answer, each with another receipt: equal work, and not the same result, or time, or maker."""
        return [ran for ran, (before, after) in self.receipts.items() if before is not None and after is not None]

    @property
    def text(self) -> str:
        """It in words, over several lines."""
        return "\n".join(self.told())

    def told(self) -> list[str]:
        """Return it in words, line by line."""
        place = self.before if self.before is not None else self.after
        moved = (
            f" (cell {self.after + 1} in the second)"
            if self.after not in {None, place} and self.after is not None
            else ""
        )
        name = f"cell {(place or 0) + 1}{moved}" + (f", {self.heading}" if self.heading else "")
        if self.where != "both":
            return [f"{name}: only in the {self.where}"]
        if self.same:
            return [f"{name}: same" + (f", {plural(self.equal, 'receipt')}" if self.equal else "")]
        told = [f"{name}: " + " and ".join(self._what())]
        told += [f"  {line}" for line in self.lines]
        told += [f"  task {ran.short}: {_became(*names)}" for ran, names in list(self.receipts.items())[:_SHOWN]]
        if len(self.receipts) > _SHOWN:
            told.append(f"  and {plural(len(self.receipts) - _SHOWN, 'task')} more")
        return told

    def _what(self) -> Iterable[str]:
        if self.source:
            yield "source changed"
        if self.receipts:
            yield f"{plural(len(self.receipts), 'receipt')} changed, {self.equal:,} the same"


def _became(before: CID | None, after: CID | None) -> str:
    if before is None:
        return f"receipt {after.short if after else ''} is new"
    if after is None:
        return f"receipt {before.short} is gone"
    return f"receipt {before.short} became {after.short}"


def compared(first: Notebook, second: Notebook) -> list[CellChange]:
    """Return what became of each cell of two notebooks, in the order of the second; what is gone stands where it was.

    Cells with one id are one cell. Of the others those with the same source are, in order, and then those that stand at the
    same place between such.
    """
    ours, theirs = first.cells, second.cells
    pairs = _by_id(ours, theirs)
    matched = set(pairs.values())
    left = [cell for cell in ours if cell.index not in pairs]
    right = [cell for cell in theirs if cell.index not in matched]
    pairs |= _by_source(left, right)
    return _in_order(ours, theirs, pairs)


def _by_id(ours: Sequence[SharedCell], theirs: Sequence[SharedCell]) -> dict[int, int]:
    places = {(cell.ident, cell.kind): cell.index for cell in theirs}
    return {cell.index: places[cell.ident, cell.kind] for cell in ours if (cell.ident, cell.kind) in places}


def _by_source(left: Sequence[SharedCell], right: Sequence[SharedCell]) -> dict[int, int]:
    """Match cells by source, in order; then what differs between two such, if it is equally many of the same kinds."""
    a, b = [_key(cell) for cell in left], [_key(cell) for cell in right]
    if len(a) * len(b) > _QUADRATIC:
        waiting: dict[tuple[str, str], list[int]] = {}
        for cell in reversed(right):
            waiting.setdefault(_key(cell), []).append(cell.index)
        return {cell.index: waiting[_key(cell)].pop() for cell in left if waiting.get(_key(cell))}
    pairs: dict[int, int] = {}
    for what, i, j, m, n in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if what == "equal" or (what == "replace" and [k for k, _ in a[i:j]] == [k for k, _ in b[m:n]]):
            pairs.update((x.index, y.index) for x, y in zip(left[i:j], right[m:n], strict=True))
    return pairs


def _key(cell: SharedCell) -> tuple[str, str]:
    return cell.kind, cell.source


def _in_order(ours: Sequence[SharedCell], theirs: Sequence[SharedCell], pairs: dict[int, int]) -> list[CellChange]:
    back = {after: before for before, after in pairs.items()}
    made: list[CellChange] = []
    at = 0
    for cell in theirs:
        before = back.get(cell.index)
        if before is not None:
            while at < before:
                if at not in pairs:
                    made.append(_alone(ours[at], "first"))
                at += 1
            made.append(_change(ours[before], cell))
        else:
            made.append(_alone(cell, "second"))
    made += [_alone(cell, "first") for cell in ours[at:] if cell.index not in pairs]
    return made


def _alone(cell: SharedCell, where: Literal["first", "second"]) -> CellChange:
    first = where == "first"
    receipts: dict[CID, tuple[CID | None, CID | None]] = {
        ran: (receipt, None) if first else (None, receipt) for ran, receipt in cell.receipts.items()
    }
    return CellChange(
        where=where,
        heading=cell.heading,
        ident=cell.ident,
        before=cell.index if first else None,
        after=None if first else cell.index,
        receipts=receipts,
    )


def _change(before: SharedCell, after: SharedCell) -> CellChange:
    every = {**before.receipts, **after.receipts}
    changed = {
        ran: (before.receipts.get(ran), after.receipts.get(ran))
        for ran in every
        if before.receipts.get(ran) != after.receipts.get(ran)
    }
    return CellChange(
        where="both",
        heading=after.heading or before.heading,
        ident=before.ident,
        before=before.index,
        after=after.index,
        source=before.source != after.source,
        lines=_lines(before.source, after.source) if before.source != after.source else (),
        receipts=changed,
        equal=len(every) - len(changed),
    )


def _lines(before: str, after: str) -> tuple[str, ...]:
    """Return the first lines of what lies between the first and the last that differ. Linear, whatever they are."""
    a, b = before.splitlines(), after.splitlines()
    start, end = 0, min(len(a), len(b))
    while start < end and a[start] == b[start]:
        start += 1
    tail = 0
    while tail < end - start and a[-1 - tail] == b[-1 - tail]:
        tail += 1
    found = [f"-{line}" for line in a[start : len(a) - tail]], [f"+{line}" for line in b[start : len(b) - tail]]
    shown = [printable(line, limit=120) for lines in found for line in lines[:_LINES]]
    left = sum(max(0, len(lines) - _LINES) for lines in found)
    return (*shown, f"… and {plural(left, 'line')} more") if left else tuple(shown)
