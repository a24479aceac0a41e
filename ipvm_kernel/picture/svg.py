"""One SVG of a scene: a box for each task, or for each function if there are many, and arrows along the promises.

It is shown as the source of an image, so it cannot see the page that it stands in. Its boxes bring their own ground and
everything between them is drawn in a grey that reads on white and on black. Where the page does say that it is dark, the
boxes are dark too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipvm_kernel.picture.layout import best
from ipvm_kernel.picture.scene import Group
from ipvm_kernel.picture.states import MARKS, drawn, mark
from ipvm_kernel.picture.widths import TIMES, clipped, columns, escaped
from ipvm_kernel.printable import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ipvm_kernel.picture.layout import Box, Layout, Point
    from ipvm_kernel.picture.scene import Link, Scene, TaskView

ROOM: Final = 960.0
"""Pixels that a picture may be wide before it is made smaller."""

_EDGE: Final = 2.0  # round the picture, for the lines of the outermost boxes
_NAME: Final = 7.25  # pixels of a character of a function's name, which is monospace at 12 px
_WORD: Final = 6.4  # of a state's word, at 11 px
_LONGEST: Final = 24
_ROOMY: Final = 12  # tasks whose boxes have two lines; those of more have one
_MONO: Final = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_SANS: Final = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_BRANCHES: Final = {"error": "error", "*": "outcome"}


def draw(scene: Scene) -> str:
    """Return the picture of a scene as SVG, or "" if there is nothing to draw."""
    if scene.groups:
        return _draw(scene, scene.groups)
    return _draw(scene, scene.tasks) if scene.tasks else ""


def described(scene: Scene, limit: int = 600) -> str:
    """Return what a picture shows in words, for whoever does not see it."""
    if scene.groups:
        parts = [f"{group.func}: {counted(group.counts, scene.words)}" for group in scene.groups[:20]]
        return clipped(f"Graph of {plural(scene.total, 'task')} by function. {'; '.join(parts)}", limit)
    parts = []
    for task in scene.tasks[:20]:
        awaited = ", ".join(await_.func or await_.cid for await_ in task.awaits[:4])
        parts.append(f"{task.func} ({task.called})" + (f" awaits {awaited}" if awaited else ""))
    return clipped(f"Graph of {plural(len(scene.tasks), 'task')}. {'; '.join(parts)}", limit)


def counted(counts: Mapping[str, int], words: Mapping[str, str] | None = None) -> str:
    """Return how many tasks are in each state, in words.

    >>> counted({"failed": 1, "computed": 1200})
    '1,200 computed, 1 failed'
    """
    names = words or {}
    return ", ".join(f"{counts[state]:,} {clipped(names.get(state, state), 20)}" for state in in_order(counts))


def in_order(counts: Mapping[str, int]) -> list[str]:
    """Return the states that occur, ends first, in the order in which they are told."""
    ranks = {state: n for n, state in enumerate([*list(MARKS)[3:], *list(MARKS)[:3]])}
    return sorted((state for state, count in counts.items() if count), key=lambda state: ranks.get(state, 99))


def _draw(scene: Scene, items: Sequence[TaskView | Group]) -> str:
    compact = len(items) > _ROOMY and not scene.groups
    width, height = _size(items, compact=compact)
    wide = max(map(label_width, scene.links), default=0.0)
    edges = [(link.source, link.target) for link in scene.links]
    beside = 9.0 if compact else 14.0
    right, down = (max(46.0, wide + 22), beside), (46.0 if wide else 30.0, 16.0)
    placed = best(len(items), edges, box=(width, height), right=right, down=down, room=ROOM - 2 * _EDGE)
    arrows = [_arrow(link, points, placed) for link, points in zip(scene.links, placed.routes, strict=True)]
    written = _labels(scene.links, placed)
    cards = [
        _group(item, box) if isinstance(item, Group) else _task(item, box, compact=compact)
        for item, box in zip(items, placed.boxes, strict=True)
    ]
    states = {state for item in items for state in _states(item)}
    above = 12.0 if any(link.source == link.target for link in scene.links) else 0.0
    across, along = placed.width + 2 * _EDGE, placed.height + 2 * _EDGE + above
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{across:.0f}" height="{along:.0f}" '
        f'viewBox="{-_EDGE:g} {-_EDGE - above:g} {across:.1f} {along:.1f}"><style>{_style(states)}</style>'
        f"{''.join(arrows)}{''.join(cards)}{''.join(written)}</svg>"
    )


def _size(items: Sequence[TaskView | Group], *, compact: bool) -> tuple[float, float]:
    """Return the size that all boxes of a picture have."""
    name = max(min(_LONGEST, columns(clipped(item.func, _LONGEST))) for item in items) * _NAME
    if isinstance(items[0], Group):
        return max(168.0, min(260.0, name + 92)), 62.0
    if compact:
        return max(140.0, min(252.0, name + 112)), 30.0
    word = max(columns(clipped(item.called, 20)) for item in items if not isinstance(item, Group)) * _WORD
    return max(164.0, min(260.0, max(name + 46, word + 120))), 48.0


def _states(item: TaskView | Group) -> list[str]:
    return list(item.counts) if isinstance(item, Group) else [item.state]


def _style(states: set[str]) -> str:
    rules = [
        f"text{{font-family:{_SANS};font-size:11px}}.f{{font-family:{_MONO};font-size:12px;font-weight:600;fill:#18212c}}",
        f".c{{font-family:{_MONO};font-size:10.5px;fill:#55606e}}.n{{fill:#55606e}}",
        ".e{fill:none;stroke:#8a939f;stroke-width:1.4}.d{stroke-dasharray:5 4}.h{fill:#8a939f}",
        ".b{stroke-width:1}.o{fill:none;stroke:#8a939f;stroke-dasharray:4 3}.g{fill:#edf0f4;stroke:#ccd3dc}",
        ".l{fill:#e8ebef}.t{font-size:10px;fill:#4a5461;text-anchor:middle}",
    ]
    dark = [
        ".f{fill:#f0f4f8}.c,.n{fill:#a9b3bf}.g{fill:#232a33;stroke:#3a4450}.l{fill:#2a3038}.t{fill:#b4bdc8}",
        ".x{fill:#8a939f}",
    ]
    for state in sorted(states):
        shown = mark(state)
        name = _class(state)
        rules.append(
            f".{name}{{fill:{shown.light[0]};stroke:{shown.ink};stroke-opacity:.45}}.{name}w{{fill:{shown.light[1]}}}"
        )
        dark.append(f".{name}{{fill:{shown.dark[0]}}}.{name}w{{fill:{shown.dark[1]}}}")
    rules.append(".x{fill:#8a939f}")
    return f"{''.join(rules)}@media(prefers-color-scheme:dark){{{''.join(dark)}}}"


def _class(state: str) -> str:
    return f"s{list(MARKS).index(state) if state in MARKS else 99}"


def _task(task: TaskView, box: Box, *, compact: bool) -> str:
    x, y, width, height = box.x, box.y, box.width, box.height
    kind = "o" if task.outside else f"b {_class(task.state)}"
    faint = " x" if task.outside else ""
    left = x + (14 if task.outside else 36)
    upper, lower = (y + 19, y + 19) if compact else (y + 20, y + 36)
    room = width - (left - x) - (74 if compact else 10)
    parts = [
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:g}" height="{height:g}" rx="9"/>',
        "" if task.outside else drawn(task.state, x + 11, y + (height - 16) / 2, 16),
        f'<text class="f{faint}" x="{left:.1f}" y="{upper:.1f}">{escaped(clipped(task.func, int(room / _NAME)))}</text>',
        f'<text class="c{faint}" x="{x + width - 12:.1f}" y="{lower:.1f}" text-anchor="end">{escaped(task.short)}</text>',
    ]
    if not compact:
        word = escaped(clipped(task.called, 20))
        style = "x" if task.outside else f"{_class(task.state)}w"
        parts.append(f'<text class="{style}" x="{left:.1f}" y="{lower:.1f}">{word}</text>')
    return "".join(parts)


def _group(group: Group, box: Box) -> str:
    x, y, width, height = box.x, box.y, box.width, box.height
    tasks = plural(group.total, "task")
    name = escaped(clipped(group.func, int((width - 36 - 6 * len(tasks)) / _NAME)))
    card = (
        f'<rect class="b g" x="{x:.1f}" y="{y:.1f}" width="{width:g}" height="{height:g}" rx="9"/>'
        f'<text class="f" x="{x + 13:.1f}" y="{y + 20:.1f}">{name}</text>'
        f'<text class="n" x="{x + width - 13:.1f}" y="{y + 20:.1f}" text-anchor="end">{tasks}</text>'
    )
    parts = [card]
    at = x + 13
    states = in_order(group.counts)
    for state in states:
        count = f"{group.counts[state]:,}"
        if at + 18 + 6.6 * len(count) > x + width - 8:
            break
        parts.append(drawn(state, at, y + 28, 13))
        parts.append(f'<text class="n" x="{at + 18:.1f}" y="{y + 38.5:.1f}">{count}</text>')
        at += 30 + 6.6 * len(count)
    at, span = x + 13, width - 26
    for state in states:
        part = span * group.counts[state] / group.total
        parts.append(
            f'<rect fill="{mark(state).ink}" x="{at:.1f}" y="{y + 49:.1f}" width="{part:.2f}" height="4" rx="1"/>'
        )
        at += part
    return "".join(parts)


def _arrow(link: Link, points: tuple[Point, ...], placed: Layout) -> str:
    """Return an arrow: a line that leaves and arrives along the layers, and its head."""
    dashed = " d" if link.branch in _BRANCHES else ""
    line, head = strokes(link, points, placed)
    return f'<path class="e{dashed}" d="{line}"/><path class="h" d="{head}"/>'


def strokes(link: Link, points: tuple[Point, ...], placed: Layout) -> tuple[str, str]:
    """Return an arrow as two paths of SVG: its line and its head."""
    if not points:
        box = placed.boxes[link.source]
        return _loop(box.x + box.width, box.y)
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    (x, y), sign = points[-1], _sense(points, placed)
    stops = _stops(points, placed)
    for n in range(1, len(stops)):
        x1, y1 = stops[n]
        if n % 2 == 0:
            path.append(f"L{x1:.1f} {y1:.1f}")
        else:
            (ax, ay), (bx, by) = _controls(stops[n - 1], stops[n], down=placed.down)
            path.append(f"C{ax:.1f} {ay:.1f} {bx:.1f} {by:.1f} {x1:.1f} {y1:.1f}")
    head = f"l-4.2 {-8 * sign:g}h8.4z" if placed.down else f"l{-8 * sign:g} -4.2v8.4z"
    return "".join(path), f"M{x:.1f} {y:.1f}{head}"


def _sense(points: tuple[Point, ...], placed: Layout) -> float:
    """Return 1 for an arrow that goes forward, -1 for one that goes back."""
    along = 1 if placed.down else 0
    return -1.0 if points[-1][along] < points[-2][along] else 1.0


def _stops(points: tuple[Point, ...], placed: Layout) -> list[Point]:
    """Return the points that the line of an arrow passes: it ends inside the head."""
    (x, y), sign = points[-1], _sense(points, placed)
    return [*points[:-1], (x, y - 7 * sign) if placed.down else (x - 7 * sign, y)]


def _controls(start: Point, end: Point, *, down: bool) -> tuple[Point, Point]:
    """Return the two points that a bend between two points leans to."""
    if down:
        middle = (start[1] + end[1]) / 2
        return (start[0], middle), (end[0], middle)
    middle = (start[0] + end[0]) / 2
    return (middle, start[1]), (middle, end[1])


def _words(link: Link) -> str:
    """Return what is written on an arrow."""
    branch = _BRANCHES.get(link.branch, "")
    many = f"{TIMES}{link.count:,}" if link.count > 1 else ""
    return f"{branch} {many}".strip()


def label_width(link: Link) -> float:
    """Return how many pixels what is written on an arrow takes."""
    return _label_width(_words(link))


def _label_width(words: str) -> float:
    return 5.6 * len(words) + 14 if words else 0.0


def _labels(links: Sequence[Link], placed: Layout) -> list[str]:
    """Return what is written on the arrows."""
    return [
        f'<rect class="l" x="{x - wide / 2:.1f}" y="{y - 7.5:.1f}" width="{wide:.1f}" height="15" rx="7.5"/>'
        f'<text class="t" x="{x:.1f}" y="{y + 3.5:.1f}">{words}</text>'
        for words, x, y, wide in labels(links, placed)
        if words
    ]


def labels(links: Sequence[Link], placed: Layout) -> list[tuple[str, float, float, float]]:
    """Return what is written on each arrow, its middle and its width: near the middle of the last bend, if that is free."""
    made: list[tuple[str, float, float, float]] = []
    taken: list[tuple[float, float, float]] = []
    for link, points in zip(links, placed.routes, strict=True):
        words = _words(link)
        if not words:
            made.append(("", 0.0, 0.0, 0.0))
            continue
        wide = _label_width(words)
        if not points:
            box = placed.boxes[link.source]
            x, y = box.x + box.width - 40 - wide / 2, box.y - 8
        else:
            x, y = _free(points, placed, wide, taken)
        taken.append((x, y, wide))
        made.append((words, x, y, wide))
    return made


def _free(points: tuple[Point, ...], placed: Layout, wide: float, taken: list[tuple[float, float, float]]) -> Point:
    """Return a place on the last bend of an arrow for a label that meets no other, or the middle."""
    stops = _stops(points, placed)
    start, end = stops[-2], stops[-1]
    first, second = _controls(start, end, down=placed.down)
    middle = _along(start, first, second, end, 0.5)
    for t in (0.5, 0.38, 0.62, 0.27, 0.73):
        x, y = _along(start, first, second, end, t)
        if all(abs(x - a) > (wide + w) / 2 + 2 or abs(y - b) > 16 for a, b, w in taken):
            return x, y
    return middle


def _along(a: Point, b: Point, c: Point, d: Point, t: float) -> Point:
    """Return a point of a cubic curve."""
    u = 1 - t
    k = (u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t)
    return tuple(k[0] * p + k[1] * q + k[2] * r + k[3] * s for p, q, r, s in zip(a, b, c, d, strict=True))  # type: ignore[return-value]


def _loop(x: float, y: float) -> tuple[str, str]:
    """Return the arrow of a function whose tasks await each other."""
    return f"M{x - 34:.1f} {y:.1f}c0 -14 18 -14 18 -5", f"M{x - 16:.1f} {y:.1f}l-3.8 -7h7.6z"
