"""The live graph as numbers: which boxes there are, where they stand and what flows between them. A browser draws them.

A box is one task, all tasks of a function, or all that leads to a task or follows from it. Functions are opened and
closed, and what stands before or behind a task is folded, by whoever looks; the geometry is always made here, by the
layout that also makes the picture that stays in the notebook.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ipvm_kernel.picture import svg, widths
from ipvm_kernel.picture.layout import best
from ipvm_kernel.picture.scene import BOXES, Link
from ipvm_kernel.picture.widths import clipped

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from ipvm_kernel.picture.layout import Layout
    from ipvm_kernel.picture.scene import Draft

Side = Literal["before", "after"]

ROOM: Final = 1000.0
"""Pixels that the graph may be wide before it grows downwards."""

FEW: Final = 12
"""Tasks of an opened function that are cards of their own in a large graph; those of more are cells of a tray."""

ROOMY: Final = 12
"""Boxes up to which a card has room for a CID beside the state."""

CELL: Final = 18.0
"""Pixels from one cell of a tray to the next."""

_HEAD: Final = 34.0  # of a tray, above its cells
_MARGIN: Final = 12.0
_HEIGHT: Final = 52.0
_NAME: Final = 7.25
_LONGEST: Final = 26


class Fold(msgspec.Struct, frozen=True):
    """All that a task awaits, or all that awaits it, directly or not, as one box."""

    task: int
    side: Side


class Shape:
    """Tasks and their promises, without their states.

    Attributes:
        drafts: The tasks.
        kinds: Each function with its module, once.
        kind_of: The position of each task's function among those.
        sizes: How many tasks each function has.
    """

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self.drafts = drafts
        places: dict[tuple[str, str], int] = {}
        self.kind_of = [places.setdefault((draft.func, draft.module), len(places)) for draft in drafts]
        self.kinds = list(places)
        self.sizes = [0] * len(self.kinds)
        for kind in self.kind_of:
            self.sizes[kind] += 1
        self._after: list[list[int]] | None = None

    def opened_first(self) -> set[int]:
        """Return the functions that are open before anybody opened or closed one: all in a small graph, else none."""
        return set(range(len(self.kinds))) if len(self.drafts) <= BOXES else set()

    def around(self, task: int, side: Side) -> list[int]:
        """Return all that a task awaits, or all that awaits it, directly or not; without the task itself."""
        if side == "after" and self._after is None:
            self._after = [[] for _ in self.drafts]
            for at, draft in enumerate(self.drafts):
                for source, _ in draft.awaits:
                    if source >= 0:
                        self._after[source].append(at)
        seen = {task}
        found = [task]
        for at in found:
            near: Iterable[int] = self._after[at] if self._after is not None and side == "after" else self._awaited(at)
            for other in near:
                if other >= 0 and other not in seen:
                    seen.add(other)
                    found.append(other)
        return found[1:]

    def _awaited(self, task: int) -> list[int]:
        return [source for source, _ in self.drafts[task].awaits]


def arranged(shape: Shape, opened: Collection[int], folds: Sequence[Fold] = ()) -> dict[str, Any]:
    """Return the boxes, where each task is, and the arrows, as plain data.

    The keys are `boxes` (x, y, width, height, kind, position, cells side by side), `where` (the box of each task), `cells` (the position of
    each task in its tray, or -1), `arrows` (line and head as paths of SVG, source, target, branch, label, its x, y and
    width), `width` and `height`, in pixels, and `brief`, True if a card has no room for a CID. The kind of a box is "task", "pile" (a closed function), "tray" (an open
    one), "before" or "after".
    """
    where, boxes = _boxes(shape, opened, folds)
    counts = [0] * len(boxes)
    cells = [-1] * len(where)
    for task, box in enumerate(where):
        if boxes[box][0] == "tray":
            cells[task] = counts[box]
        counts[box] += 1
    links = _links(shape, where, {at for at, (kind, _) in enumerate(boxes) if kind in {"before", "after"}})
    brief = len(boxes) > ROOMY
    width = _width(shape, boxes, brief=brief)
    sizes = [_tray(counts[at], width) if kind == "tray" else (width, _HEIGHT) for at, (kind, _) in enumerate(boxes)]
    placed = _placed(len(boxes), links, sizes)
    written = svg.labels(links, placed)
    arrows = []
    for link, points, (words, x, y, wide) in zip(links, placed.routes, written, strict=True):
        line, head = svg.strokes(link, points, placed)
        arrows.append([line, head, link.source, link.target, link.branch, words, round(x), round(y), round(wide)])
    return {
        "boxes": [
            [round(box.x, 1), round(box.y, 1), box.width, box.height, kind, ref, across(count, width)]
            for box, (kind, ref), count in zip(placed.boxes, boxes, counts, strict=True)
        ],
        "where": where,
        "cells": cells,
        "arrows": arrows,
        "brief": brief,
        "width": round(placed.width, 1),
        "height": round(placed.height, 1),
        "opened": sorted(opened),
        "folds": [[fold.task, fold.side] for fold in folds],
    }


def _boxes(shape: Shape, opened: Collection[int], folds: Sequence[Fold]) -> tuple[list[int], list[tuple[str, int]]]:
    """Return the box of each task, and each box's kind and the position of its function or task."""
    small = len(shape.drafts) <= BOXES
    folded: dict[int, tuple[str, int]] = {}
    kept = {fold.task for fold in folds}
    for fold in folds:
        for task in shape.around(fold.task, fold.side):
            if task not in kept:  # whoever folded something wants to go on seeing it
                folded.setdefault(task, (fold.side, fold.task))
    places: dict[tuple[str, int], int] = {}
    where = []
    for task, kind in enumerate(shape.kind_of):
        size = shape.sizes[kind]
        key = folded.get(task)
        if key is None:
            alone = size == 1 or task in kept or (kind in opened and (small or size <= FEW))
            key = ("task", task) if alone else ("tray" if kind in opened else "pile", kind)
        where.append(places.setdefault(key, len(places)))
    return where, list(places)


def _links(shape: Shape, where: list[int], folded: Collection[int]) -> list[Link]:
    tallied: dict[tuple[int, int, str], int] = {}
    for target, draft in enumerate(shape.drafts):
        for source, branch in draft.awaits:
            if source >= 0 and not (where[source] == where[target] and where[source] in folded):
                key = (where[source], where[target], branch)
                tallied[key] = tallied.get(key, 0) + 1
    return [Link(source, target, branch, count) for (source, target, branch), count in tallied.items()]


def _width(shape: Shape, boxes: Sequence[tuple[str, int]], *, brief: bool) -> float:
    """Return the width that all boxes but trays have."""
    longest = max((widths.columns(clipped(func, _LONGEST)) for func, _ in shape.kinds), default=0)
    piles = any(kind != "task" for kind, _ in boxes)
    least = 172.0 if piles or not brief else 118.0
    return max(least, min(272.0, round(longest * _NAME + (104 if piles else 56))))


def _tray(count: int, width: float) -> tuple[float, float]:
    """Return the size of a tray of so many cells: half as high again as wide would be too much, so it is broad."""
    columns = across(count, width)
    return max(width, columns * CELL + 2 * _MARGIN), _HEAD + math.ceil(count / columns) * CELL + _MARGIN


def across(count: int, width: float) -> int:
    """Return how many cells stand side by side in a tray, in a graph whose other boxes have this width."""
    return max(int((width - 2 * _MARGIN) // CELL), math.ceil(math.sqrt(count * 1.8)))


def _placed(count: int, links: Sequence[Link], sizes: Sequence[tuple[float, float]]) -> Layout:
    wide = max(map(svg.label_width, links), default=0.0)
    edges = [(link.source, link.target) for link in links]
    right, down = (max(52.0, wide + 24), 14.0), (46.0 if wide else 34.0, 18.0)
    return best(count, edges, box=sizes, right=right, down=down, room=ROOM)
