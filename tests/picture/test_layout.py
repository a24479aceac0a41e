from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.picture.layout import Box, Layout, best, lay_out

SIZE = (180.0, 52.0)


@st.composite
def graphs(draw: st.DrawFn, *, cycles: bool = False) -> tuple[int, list[tuple[int, int]]]:
    """Graphs whose arrows go from lower to higher positions, or anywhere."""
    count = draw(st.integers(1, 40))
    node = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=80))
    if not cycles:
        edges = [(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]]
    return count, edges


def _overlap(a: Box, b: Box) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def _sound(made: Layout) -> None:
    for n, box in enumerate(made.boxes):
        assert box.x >= -0.001
        assert box.y >= -0.001
        assert box.x + box.width <= made.width + 0.001
        assert box.y + box.height <= made.height + 0.001
        assert not any(_overlap(box, other) for other in made.boxes[n + 1 :])
    for points in made.routes:
        assert all(-0.001 <= x <= made.width + 0.001 and -0.001 <= y <= made.height + 0.001 for x, y in points)


@given(graphs(), st.booleans())
def test_boxes_never_overlap_and_stay_inside(graph: tuple[int, list[tuple[int, int]]], down: bool) -> None:
    """
    Each task of a picture can be seen whole.
    """
    count, edges = graph

    _sound(lay_out(count, edges, box=SIZE, down=down))


@given(graphs(), st.booleans())
def test_every_arrow_goes_forward(graph: tuple[int, list[tuple[int, int]]], down: bool) -> None:
    """
    What is awaited always stands before who awaits it, and no arrow turns back on its way.
    """
    count, edges = graph
    made = lay_out(count, edges, box=SIZE, down=down)

    for points in made.routes:
        along = [y if down else x for x, y in points]
        assert all(after >= before for before, after in pairwise(along))
        assert along[-1] > along[0]


@given(graphs(), st.booleans())
def test_arrows_leave_and_arrive_at_their_boxes(graph: tuple[int, list[tuple[int, int]]], down: bool) -> None:
    """
    An arrow begins at the side of what is awaited and ends at the side of who awaits it.
    """
    count, edges = graph
    made = lay_out(count, edges, box=SIZE, down=down)

    for (source, target), points in zip(edges, made.routes, strict=True):
        a, b = made.boxes[source], made.boxes[target]
        if down:
            assert points[0] == (a.x + a.width / 2, a.y + a.height)
            assert points[-1] == (b.x + b.width / 2, b.y)
        else:
            assert points[0] == (a.x + a.width, a.y + a.height / 2)
            assert points[-1] == (b.x, b.y + b.height / 2)


@given(graphs(cycles=True))
def test_circles_of_functions_are_drawn_too(graph: tuple[int, list[tuple[int, int]]]) -> None:
    """
    Functions whose tasks await each other in turn have a picture; an arrow to itself has no points of its own.
    """
    count, edges = graph
    made = lay_out(count, edges, box=SIZE)

    _sound(made)
    assert [not points for points in made.routes] == [source == target for source, target in edges]


@given(graphs())
def test_equal_graphs_give_equal_pictures(graph: tuple[int, list[tuple[int, int]]]) -> None:
    """
    Drawing twice changes nothing, so that a notebook that is run again does not differ.
    """
    count, edges = graph

    assert lay_out(count, edges, box=SIZE) == lay_out(count, edges, box=SIZE)


def test_a_chain_is_a_straight_line() -> None:
    """
    Three tasks in a row stand side by side, at one height.
    """
    made = lay_out(3, [(0, 1), (1, 2)], box=SIZE, gap=(50, 10))

    assert [(box.x, box.y) for box in made.boxes] == [(0, 0), (230, 0), (460, 0)]


def test_a_long_arrow_passes_beside_the_boxes_between() -> None:
    """
    An arrow over a layer does not run through the boxes of that layer.
    """
    made = lay_out(3, [(0, 1), (1, 2), (0, 2)], box=SIZE)
    between = made.boxes[1]

    for _, y in made.routes[2][1:3]:
        assert y < between.y or y > between.y + between.height


def test_crossings_that_can_be_avoided_are() -> None:
    """
    Two arrows whose ends were declared crosswise do not cross.
    """
    made = lay_out(4, [(0, 3), (1, 2)], box=SIZE)

    assert (made.boxes[0].y < made.boxes[1].y) == (made.boxes[3].y < made.boxes[2].y)


def test_tasks_without_arrows_fill_rows() -> None:
    """
    Twelve tasks that have nothing to do with each other are a block, not a tower.
    """
    made = lay_out(12, [], box=SIZE, room=900)

    assert made.height < 3 * 70
    assert made.width <= 900


@pytest.mark.parametrize(("count", "down"), [(4, False), (12, True)])
def test_a_picture_turns_where_it_would_be_too_wide(count: int, down: bool) -> None:
    """
    A short pipeline reads from left to right, a long one downwards.
    """
    chain = [(n, n + 1) for n in range(count - 1)]

    assert best(count, chain, box=SIZE, right=(46, 14), down=(30, 16), room=960).down is down


@pytest.mark.parametrize(
    "edges",
    [
        [(n, n + 1) for n in range(999)],
        [(0, n) for n in range(1, 1000)],
        [((n - 1) // 2, n) for n in range(1, 1000)],
        [(n * 7919 % n if n > 1 else 0, n) for n in range(1, 1000)] + [(n // 3, n) for n in range(1, 1000)],
    ],
    ids=["chain", "fan", "tree", "tangle"],
)
def test_a_thousand_tasks_are_laid_out_while_one_blinks(edges: list[tuple[int, int]]) -> None:
    """
    A graph of 1,000 tasks takes about 30 ms; the bound here leaves room for a busy machine.
    """
    spent = []
    for _ in range(5):
        began = time.process_time()
        lay_out(1000, edges, box=SIZE)
        spent.append(time.process_time() - began)

    assert min(spent) < 0.15


def test_a_chain_of_many_thousands_does_not_recurse() -> None:
    """
    Depth is no limit.
    """
    made = lay_out(20_000, [(n, n + 1) for n in range(19_999)], box=SIZE)

    assert made.boxes[-1].x > made.boxes[0].x
