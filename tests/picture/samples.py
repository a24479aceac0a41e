"""Scenes to draw."""

from __future__ import annotations

from typing import Any

from ipvm_kernel.picture import NOTHING, Await, Link, Scene, TaskView
from ipvm_kernel.picture.states import MARKS


def task(n: int = 0, func: str = "crop", **more: Any) -> TaskView:
    """Return a task with made-up names."""
    values = {
        "cid": f"bafyrmi{n:052d}",
        "short": f"{n:08d}",
        "func": func,
        "state": "computed",
        "seconds": 0.012,
        "receipt": f"bafyrmir{n:051d}",
        "receipt_short": f"r{n:07d}",
        "value": n,
        **more,
    }
    return TaskView(**values)


def scene(*tasks: TaskView, links: tuple[Link, ...] = (), **more: Any) -> Scene:
    """Return a scene of some tasks."""
    counts: dict[str, int] = {}
    for view in tasks:
        counts[view.state] = counts.get(view.state, 0) + 1
    values = {"counts": counts, "total": len(tasks), "tasks": tasks, "links": links, "elapsed": 0.041, **more}
    return Scene(**values)


def pipeline(said: str = "crop", **more: Any) -> Scene:
    """Return three tasks in a row, every text of which is `said`."""
    awaited = (Await("00000000", "error", said), Await("00000001", "*", said))
    return scene(
        task(0, said, module=said, value={said: [said, {said: said}]}, log=said),
        task(1, said, module=said, error=said, state="failed", awaits=awaited[:1], value=NOTHING),
        task(
            2,
            said,
            module=said,
            state="unverified",
            word=said[:30],
            awaits=awaited,
            value=said.encode("utf-8", "replace"),
        ),
        links=(Link(0, 1), Link(0, 2, "error"), Link(1, 2, "*")),
        title=said,
        **more,
    )


def one_of_each() -> Scene:
    """Return a scene with a task in each state."""
    return scene(*(task(n, f"step-{n}", state=state) for n, state in enumerate(MARKS)), links=(Link(0, 1),))
