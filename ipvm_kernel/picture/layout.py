"""Where boxes go: a layered layout of a graph, in a few linear passes.

Every box stands one layer after the last of those that it awaits (longest path); long arrows get a place in each layer
that they cross; barycentre sweeps untangle the layers; then each layer is moved as near to its neighbours as its order
allows, which is an isotonic regression. Nothing recurses, and equal graphs give equal pictures. Sugiyama, Tagawa and Toda
1981 have the idea of the first three.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SWEEPS: Final = 8
_STILL: Final = 2_000  # places up to which crossings are counted, so that the best order of all sweeps is kept
_BENDS: Final = 1_500  # places given to long arrows, at most; those beyond go straight
_BEND_WIDTH: Final = 12.0

Point = tuple[float, float]


class Box(msgspec.Struct, frozen=True):
    """A rectangle, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float


class Layout(msgspec.Struct, frozen=True):
    """Where everything goes.

    Attributes:
        width: Of all.
        height: Of all.
        boxes: The rectangle of each box.
        routes: For each arrow the points that it passes, from its source's side to its target's. Between the first and
            the second, the third and the fourth and so on it may bend; between the others it crosses a layer, straight.
        down: True if layers follow each other downwards, False if to the right.
    """

    width: float
    height: float
    boxes: tuple[Box, ...]
    routes: tuple[tuple[Point, ...], ...]
    down: bool


def lay_out(
    count: int,
    edges: Sequence[tuple[int, int]],
    *,
    box: tuple[float, float] | Sequence[tuple[float, float]] = (180.0, 52.0),
    gap: tuple[float, float] = (56.0, 16.0),
    down: bool = False,
    room: float = 960.0,
) -> Layout:
    """Return a layout of `count` boxes.

    Args:
        count: How many boxes.
        edges: Arrows, by positions of boxes; from what is awaited to who awaits. Cycles are drawn with an arrow that
            goes back; an arrow from a box to itself has no points.
        box: Width and height of all boxes, or of each. A layer is as deep as the deepest of its boxes.
        gap: Between layers, and between boxes of a layer.
        down: Layers follow each other downwards.
        room: The width that boxes without arrows fill, side by side.
    """
    forward, flipped = _acyclic(count, edges)
    graph = _Graph(count, forward)
    sizes = _sizes(count, box)
    across = [size[0 if down else 1] for size in sizes]
    layer_gap, box_gap = gap
    graph.order()
    centres = graph.centres(across, box_gap)
    tops, depths = _depths(graph, [size[1 if down else 0] for size in sizes], layer_gap)
    boxes: list[Box] = [Box(0, 0, *size) for size in sizes]
    low = reach = 0.0
    for node in range(count):
        if graph.alone[node]:
            continue
        layer, (wide, high) = graph.layer[node], sizes[node]
        side, front = centres[node] - across[node] / 2, tops[layer] + (depths[layer] - (high if down else wide)) / 2
        boxes[node] = Box(side, front, wide, high) if down else Box(front, side, wide, high)
        low, reach = max(low, boxes[node].y + high), max(reach, boxes[node].x + wide)
    ends = _grid(graph, boxes, [low, reach], gap=(box_gap, box_gap), room=max(room, reach))
    routes: list[tuple[Point, ...]] = []
    for at, (source, target) in enumerate(forward):
        bends = [
            (centres[p], tops[layer], tops[layer] + depths[layer])
            for p, layer in ((p, graph.layer[p]) for p in graph.bends[at])
        ]
        points = [] if source == target else _route(boxes[source], boxes[target], bends, down=down)
        routes.append(tuple(points[::-1] if flipped[at] else points))
    lowest = max([ends[0], *(y for points in routes for _, y in points)])
    widest = max([ends[1], *(x for points in routes for x, _ in points)])
    return Layout(widest, lowest, tuple(boxes), tuple(routes), down)


def best(
    count: int,
    edges: Sequence[tuple[int, int]],
    *,
    box: tuple[float, float] | Sequence[tuple[float, float]],
    right: tuple[float, float],
    down: tuple[float, float],
    room: float,
) -> Layout:
    """Return the layout, to the right or downwards, that needs to be made smaller the least to fit into `room`.

    `right` and `down` are the gaps of each.
    """
    to_right = lay_out(count, edges, box=box, gap=right, room=room)
    if to_right.width <= room * 1.08:
        return to_right
    downwards = lay_out(count, edges, box=box, gap=down, down=True, room=room)
    return downwards if downwards.width < to_right.width else to_right


def _sizes(count: int, box: tuple[float, float] | Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return the size of each box, where that of all may have been given."""
    match box:
        case (float() | int() as wide, float() | int() as high):
            return [(wide, high)] * count
        case _:
            return box


def _depths(graph: _Graph, along: Sequence[float], gap: float) -> tuple[list[float], list[float]]:
    """Return where each layer begins, and how deep it is."""
    depths = [0.0] * len(graph.layers)
    for node in range(graph.count):
        if not graph.alone[node]:
            depths[graph.layer[node]] = max(depths[graph.layer[node]], along[node])
    tops, at = [], 0.0
    for depth in depths:
        tops.append(at)
        at += depth + gap
    return tops, depths


class _Graph:
    """Layers of places: a box each, or a place that a long arrow passes."""

    def __init__(self, count: int, edges: Sequence[tuple[int, int]]) -> None:
        self.count = count
        self.layer = _layers(count, edges)
        self.alone = [True] * count
        for source, target in edges:
            if source != target:
                self.alone[source] = self.alone[target] = False
        self.before: list[list[int]] = [[] for _ in range(count)]
        self.after: list[list[int]] = [[] for _ in range(count)]
        self.bends: list[list[int]] = [[] for _ in edges]
        for at, (source, target) in enumerate(edges):
            if source != target:
                self._join(at, source, target)
        depth = max((self.layer[n] for n in range(count) if not self.alone[n]), default=-1) + 1
        self.layers: list[list[int]] = [[] for _ in range(depth)]
        for place in range(len(self.layer)):
            if place >= count or not self.alone[place]:
                self.layers[self.layer[place]].append(place)

    def _join(self, at: int, source: int, target: int) -> None:
        """Join two boxes through a place in each layer between them."""
        span = self.layer[target] - self.layer[source]
        steps = range(self.layer[source] + 1, self.layer[target])
        if span > 1 and len(self.layer) - self.count + len(steps) <= _BENDS:
            last = source
            for layer in steps:
                place = len(self.layer)
                self.layer.append(layer)
                self.before.append([last])
                self.after.append([])
                self.after[last].append(place)
                self.bends[at].append(place)
                last = place
            self.after[last].append(target)
            self.before[target].append(last)
        else:
            self.after[source].append(target)
            self.before[target].append(source)

    def order(self) -> None:
        """Untangle the layers: each place near the middle of its neighbours, back and forth, keeping the best order."""
        if len(self.layers) < 2:
            return
        counted = len(self.layer) <= _STILL
        fewest = self._crossings() if counted else 0
        kept = [list(layer) for layer in self.layers]
        for sweep in range(_SWEEPS if counted else 2):
            if counted and fewest == 0:
                break
            steps = range(1, len(self.layers)) if sweep % 2 == 0 else range(len(self.layers) - 2, -1, -1)
            near = self.before if sweep % 2 == 0 else self.after
            rank = [0] * len(self.layer)
            for layer in self.layers:
                for n, place in enumerate(layer):
                    rank[place] = n
            for step in steps:
                layer = self.layers[step]
                wish = {
                    place: sum(rank[other] for other in near[place]) / len(near[place]) if near[place] else rank[place]
                    for place in layer
                }
                layer.sort(key=wish.__getitem__)
                for n, place in enumerate(layer):
                    rank[place] = n
            if counted:
                found = self._crossings()
                if found < fewest:
                    fewest, kept = found, [list(layer) for layer in self.layers]
        if counted:
            self.layers = kept

    def _crossings(self) -> int:
        """Count the arrows that cross between neighbouring layers."""
        total = 0
        for upper, lower in zip(self.layers, self.layers[1:], strict=False):
            rank = {place: n for n, place in enumerate(lower)}
            met: list[int] = []
            for place in upper:
                ends = sorted(rank[other] for other in self.after[place] if other in rank)
                total += sum(len(met) - bisect_right(met, end) for end in ends)
                for end in ends:
                    insort(met, end)
        return total

    def centres(self, across: Sequence[float], gap: float) -> list[float]:
        """Return where the middle of each place is, across the layers."""
        size = [*across] + [_BEND_WIDTH] * (len(self.layer) - self.count)
        centre = [0.0] * len(self.layer)
        for layer in self.layers:
            at = 0.0
            for place in layer:
                centre[place] = at + size[place] / 2
                at += size[place] + gap
        for sweep in range(6 if len(self.layer) <= _STILL else 3):
            steps = self.layers[1:] if sweep % 2 == 0 else self.layers[-2::-1]
            near = self.before if sweep % 2 == 0 else self.after
            for layer in steps:
                wish = [
                    sum(centre[other] for other in near[place]) / len(near[place]) if near[place] else centre[place]
                    for place in layer
                ]
                if len(layer) == 1:
                    centre[layer[0]] = wish[0]
                    continue
                weight = [4.0 if place >= self.count else 1.0 for place in layer]
                found = _nearest(wish, weight, [size[place] for place in layer], gap)
                for place, value in zip(layer, found, strict=True):
                    centre[place] = value
        low = min((centre[p] - size[p] / 2 for layer in self.layers for p in layer), default=0.0)
        return [value - low for value in centre]


def _nearest(wish: list[float], weight: list[float], size: list[float], gap: float) -> list[float]:
    """Return the middles nearest to `wish`, by least squares, that keep the order and the gaps."""
    offsets, at = [], 0.0
    for n, width in enumerate(size):
        at += (size[n - 1] + width) / 2 + gap if n else 0.0
        offsets.append(at)
    means: list[float] = []
    weights: list[float] = []
    lengths: list[int] = []
    for n, offset in enumerate(offsets):
        mean, heavy, length = wish[n] - offset, weight[n], 1
        while means and means[-1] > mean:
            other = weights.pop()
            mean = (means.pop() * other + mean * heavy) / (other + heavy)
            heavy += other
            length += lengths.pop()
        means.append(mean)
        weights.append(heavy)
        lengths.append(length)
    flat = [mean for mean, length in zip(means, lengths, strict=True) for _ in range(length)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


def _acyclic(count: int, edges: Iterable[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[bool]]:
    """Return the arrows with those that close a cycle turned round, and which those are."""
    listed = list(edges)
    after: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for at, (source, target) in enumerate(listed):
        if source != target:
            after[source].append((target, at))
    flipped = [False] * len(listed)
    colour = [0] * count  # not met, on the way, done
    for start in range(count):
        if colour[start]:
            continue
        colour[start] = 1
        path = [(start, iter(after[start]))]
        while path:
            node, rest = path[-1]
            for target, at in rest:
                if colour[target] == 1:
                    flipped[at] = True
                elif colour[target] == 0:
                    colour[target] = 1
                    path.append((target, iter(after[target])))
                    break
            else:
                colour[node] = 2
                path.pop()
    return [(t, s) if flip else (s, t) for (s, t), flip in zip(listed, flipped, strict=True)], flipped


def _layers(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Return the layer of each box: after all that it awaits. One that awaits nothing stands next to who awaits it."""
    after: list[list[int]] = [[] for _ in range(count)]
    waits = [0] * count
    first = [True] * count
    for source, target in edges:
        if source != target:
            after[source].append(target)
            waits[target] += 1
            first[target] = False
    layer = [0] * count
    ready = [n for n in range(count) if not waits[n]]
    for node in ready:
        for target in after[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            waits[target] -= 1
            if not waits[target]:
                ready.append(target)
    for node in range(count):
        if first[node] and after[node]:
            layer[node] = min(layer[target] for target in after[node]) - 1
    return layer


def _grid(graph: _Graph, boxes: list[Box], ends: list[float], *, gap: tuple[float, float], room: float) -> list[float]:
    """Place the boxes without arrows in rows under the rest, and return how far down and right it all goes."""
    lowest, widest = ends
    left, top, high = 0.0, lowest + gap[1] * 1.5 if lowest else 0.0, 0.0
    for node in (node for node in range(graph.count) if graph.alone[node]):
        box = boxes[node]
        if left and left + box.width > room:
            left, top, high = 0.0, top + high + gap[1], 0.0
        boxes[node] = Box(left, top, box.width, box.height)
        lowest, widest = max(lowest, top + box.height), max(widest, left + box.width)
        left, high = left + box.width + gap[0], max(high, box.height)
    return [lowest, widest]


def _route(source: Box, target: Box, bends: Iterable[tuple[float, float, float]], *, down: bool) -> list[Point]:
    """Return the points of an arrow: out of one box, through its place in each layer, into the other.

    A bend is the middle of its place across the layer, and where the layer begins and ends.
    """
    if down:
        points = [(source.x + source.width / 2, source.y + source.height)]
        for middle, top, bottom in bends:
            points += [(middle, top), (middle, bottom)]
        points.append((target.x + target.width / 2, target.y))
    else:
        points = [(source.x + source.width, source.y + source.height / 2)]
        for middle, top, bottom in bends:
            points += [(top, middle), (bottom, middle)]
        points.append((target.x, target.y + target.height / 2))
    return points
