from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.picture.graph import FEW, Fold, Shape, arranged
from ipvm_kernel.picture.scene import BOXES, Draft
from ipvm_kernel.picture.widths import TIMES


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """
    Tasks of a few functions, each of which awaits some before it, or something that is not there.
    """
    count = draw(st.integers(1, 90))
    drafts = []
    for at in range(count):
        awaits = draw(st.lists(st.tuples(st.integers(-1, at - 1), st.sampled_from(["ok", "error", "*"])), max_size=3))
        drafts.append(Draft(f"f{draw(st.integers(0, 5))}", "m", "pending", tuple(awaits)))
    return Shape(drafts)


def of(view: dict[str, Any], kind: str) -> list[Any]:
    return [box for box in view["boxes"] if box[4] == kind]


@given(shapes(), st.sets(st.integers(0, 5)), st.lists(st.tuples(st.integers(0, 89), st.booleans()), max_size=3))
def test_every_task_is_in_one_box_whatever_is_opened_and_folded(
    shape: Shape, opened: set[int], folds: list[tuple[int, bool]]
) -> None:
    """
    No task is lost, no two boxes overlap, no two cells of a tray are one, and every arrow joins boxes that are there.
    """
    count = len(shape.drafts)
    folded = [Fold(task, "before" if before else "after") for task, before in folds if task < count]
    view = arranged(shape, {kind for kind in opened if kind < len(shape.kinds)}, folded)
    boxes = view["boxes"]

    assert len(view["where"]) == count
    assert set(view["where"]) == set(range(len(boxes)))
    places = {(box, cell) for box, cell in zip(view["where"], view["cells"], strict=True) if cell >= 0}
    assert len(places) == sum(boxes[box][4] == "tray" for box in view["where"])
    for n, (x, y, width, height) in enumerate(box[:4] for box in boxes):
        assert min(x, y) >= -0.1
        for a, b, wide, high in (box[:4] for box in boxes[n + 1 :]):
            assert x + width <= a + 0.2 or a + wide <= x + 0.2 or y + height <= b + 0.2 or b + high <= y + 0.2
    for line, head, source, target, *_ in view["arrows"]:
        assert line.startswith("M")
        assert head.startswith("M")
        assert max(source, target) < len(boxes)
    assert json.loads(json.dumps(view)) == view


def fan(count: int) -> Shape:
    """
    One task, many that await it, and one that awaits them all.
    """
    middle = [Draft("map", "m", "pending", ((0, "ok"),)) for _ in range(count)]
    awaited = tuple((n + 1, "ok") for n in range(count))
    return Shape([Draft("begin", "m", "pending"), *middle, Draft("end", "m", "pending", awaited)])


def test_many_tasks_are_seen_as_their_functions_until_one_is_opened() -> None:
    """
    Up to 60 tasks are cards of their own. Of more, those of one function are a pile, and an opened pile is a tray of cells.
    """
    small, large = fan(BOXES - 2), fan(1_000)
    closed = arranged(large, large.opened_first())
    opened = arranged(large, {1})

    assert len(of(arranged(small, small.opened_first()), "task")) == BOXES
    assert [box[4] for box in closed["boxes"]] == ["task", "pile", "task"]
    assert [arrow[5] for arrow in closed["arrows"]] == [f"{TIMES}1,000"] * 2
    assert [box[4] for box in opened["boxes"]] == ["task", "tray", "task"]
    assert sorted(cell for cell in opened["cells"] if cell >= 0) == list(range(1_000))


def test_few_tasks_of_a_function_are_cards_in_a_large_graph_too() -> None:
    """
    A tray is for many: a dozen tasks of an opened function are cards, as in a small graph.
    """
    shape = Shape([*fan(200).drafts, *[Draft("few", "m", "pending")] * FEW])

    assert len(of(arranged(shape, {3}), "task")) == 2 + FEW


def test_what_leads_to_a_task_and_what_follows_fold_into_a_box_each() -> None:
    """
    Ancestors and descendants of a task are a box each when they are folded; whoever folded them stays.
    """
    shape = fan(5)
    view = arranged(shape, shape.opened_first(), [Fold(3, "before"), Fold(3, "after")])

    assert [box[4:6] for box in of(view, "before")] == [["before", 3]]
    assert [box[4:6] for box in of(view, "after")] == [["after", 3]]
    assert len(of(view, "task")) == 5


def test_a_cycle_of_functions_and_an_empty_graph_are_drawn() -> None:
    """
    Functions that await each other's tasks, or their own, have arrows that go back; no task at all is no box at all.
    """
    drafts = [Draft("a" if n % 2 else "b", "m", "pending", ((n - 1, "ok"),) if n else ()) for n in range(100)]

    assert len(arranged(Shape(drafts), set())["arrows"]) == 2
    assert arranged(Shape([]), set())["boxes"] == []
