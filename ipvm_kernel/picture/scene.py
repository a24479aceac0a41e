"""Scenes: what is drawn, as plain data. Whoever knows the engine fills them; whoever draws needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BOXES: Final = 60
"""Tasks in a picture, at most; above that it is a summary by function."""

_URGENT: Final = 16
_URGENT_STATES: Final = ("failed", "unverified", "cancelled", "running", "blocked")
_ROWS: Final = 24


class _Nothing:
    """The type of `NOTHING`."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING: Final[Any] = _Nothing()
"""In place of a value where there is none. (None is a value.)"""


class Await(msgspec.Struct, frozen=True):
    """What a task awaits.

    Attributes:
        cid: The short CID of the instruction.
        branch: "ok", "error" or "*".
        func: The name of its function, if it is known.
    """

    cid: str
    branch: str = "ok"
    func: str = ""


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task, as it is shown.

    Attributes:
        cid: The CID of the instruction.
        short: Its short form.
        func: The function.
        module: The name of its module, or the short form of its CID.
        state: One of RULES 8.
        word: What to call the state, if not by its name: "on file", "not run".
        awaits: What it awaits.
        seconds: How long it ran.
        saved: How long it ran when its receipt was made, if that was replayed.
        receipt: The CID of the receipt.
        receipt_short: Its short form.
        value: The value, in plain Python, or NOTHING.
        error: What went wrong.
        log: What the guest said.
        outside: True if it is no task of this workflow and only awaited by one.
    """

    cid: str
    short: str
    func: str
    module: str = ""
    state: str = "pending"
    word: str = ""
    awaits: tuple[Await, ...] = ()
    seconds: float = 0.0
    saved: float = 0.0
    receipt: str = ""
    receipt_short: str = ""
    value: Any = NOTHING
    error: str = ""
    log: str = ""
    outside: bool = False

    @property
    def called(self) -> str:
        """What the state is called."""
        return self.word or self.state


class Group(msgspec.Struct, frozen=True):
    """The tasks of one function, as one box.

    Attributes:
        func: The function.
        module: The name of its module.
        counts: How many of its tasks are in each state.
    """

    func: str
    module: str
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """How many tasks."""
        return sum(self.counts.values())


class Link(msgspec.Struct, frozen=True):
    """An arrow from one box to another, by their positions: what is promised flows along it.

    Attributes:
        source: The box that gives.
        target: The box that awaits.
        branch: "ok", "error" or "*".
        count: How many promises it stands for.
    """

    source: int
    target: int
    branch: str = "ok"
    count: int = 1


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow, run or not.

    Attributes:
        title: What it is: "run nightly", "workflow".
        summary: One line about it.
        cid: The CID of the workflow, or "".
        counts: How many tasks are in each state.
        words: What to call states, if not by their names.
        total: How many tasks there are.
        elapsed: Seconds from begin to end.
        saved: Seconds that replaying spared.
        tasks: The tasks to be listed; all of them unless there are `groups`.
        groups: If there are many tasks: all of them, by function.
        links: Arrows between `groups`, or between `tasks` if there are none.
    """

    title: str = ""
    summary: str = ""
    cid: str = ""
    counts: dict[str, int] = msgspec.field(default_factory=dict)
    words: dict[str, str] = msgspec.field(default_factory=dict)
    total: int = 0
    elapsed: float | None = None
    saved: float = 0.0
    tasks: tuple[TaskView, ...] = ()
    groups: tuple[Group, ...] = ()
    links: tuple[Link, ...] = ()

    @property
    def listed(self) -> tuple[TaskView, ...]:
        """The tasks of the workflow that are listed, without those that are only awaited."""
        return tuple(task for task in self.tasks if not task.outside)

    @property
    def left_out(self) -> int:
        """How many tasks are not listed."""
        return max(0, self.total - len(self.listed))


class HandleView(msgspec.Struct, frozen=True, kw_only=True):
    """A handle: a value, an error, or what is still to be done.

    Attributes:
        task: Its task.
        note: One line: "not run: 3 tasks, 1 on file".
        signature: The WIT signature of the function.
        scene: What leads to it, if there is no answer yet.
        length: The size of the value where it was too large to be read.
        stale: Lines on inputs that it was made from and that are something else by now.
    """

    task: TaskView
    note: str = ""
    signature: str = ""
    scene: Scene | None = None
    length: int | None = None
    stale: tuple[str, ...] = ()


class ListView(msgspec.Struct, frozen=True, kw_only=True):
    """Handles made together.

    Attributes:
        note: One line about them.
        tasks: The first of them.
        total: How many there are.
        scene: What leads to them.
        values: The values of all, if all are on file and small; for a plot.
    """

    note: str
    tasks: tuple[TaskView, ...]
    total: int
    scene: Scene | None = None
    values: list[Any] | None = None


class ReceiptView(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt, field by field."""

    cid: str
    func: str
    ok: bool
    ran: str
    out: Any = None
    meta: Any = None
    iss: str | None = None
    prf: tuple[str, ...] = ()


class FunctionView(msgspec.Struct, frozen=True, kw_only=True):
    """A function: its name, its WIT signature after the name, whose it is and what was asked for its tasks."""

    name: str
    signature: str
    where: str = ""
    options: tuple[tuple[str, str], ...] = ()


class ModuleView(msgspec.Struct, frozen=True, kw_only=True):
    """A module and its functions, and how values go into it and out."""

    name: str
    cid: str
    about: str
    size: int
    functions: tuple[FunctionView, ...]
    way: str = ""


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """A link to bytes, with the bytes if they are at hand."""

    name: str
    cid: str
    size: int | None = None
    value: Any = NOTHING


class CidView(msgspec.Struct, frozen=True, kw_only=True):
    """A CID and what can be read off it."""

    cid: str
    codec: str
    hash: str


class Draft(msgspec.Struct, frozen=True, gc=False):
    """As much of a task as a summary needs.

    Attributes:
        func: The function.
        module: The name of its module.
        state: Its state.
        awaits: Position and branch of what it awaits; a position of -1 is somewhere else.
        outside: True if it is no task of this workflow and only awaited by one.
    """

    func: str
    module: str
    state: str
    awaits: tuple[tuple[int, str], ...] = ()
    outside: bool = False


def compose(
    drafts: Sequence[Draft],
    detail: Callable[[int], TaskView],
    *,
    boxes: int = BOXES,
) -> tuple[tuple[TaskView, ...], tuple[Group, ...], tuple[Link, ...]]:
    """Return the tasks to be listed, the groups to be drawn if there are too many tasks, and the arrows.

    `detail` is asked for the tasks that are listed alone, so that a run of 100,000 tasks costs little.
    """
    if len(drafts) <= boxes:
        tasks = tuple(detail(i) for i in range(len(drafts)))
        return tasks, (), _links(drafts, list(range(len(drafts))))
    places: dict[tuple[str, str], int] = {}
    where = [places.setdefault((draft.func, draft.module), len(places)) for draft in drafts]
    keys = list(places)
    if len(keys) > boxes:
        where, keys = _largest(where, keys, boxes)
    counts: list[dict[str, int]] = [{} for _ in keys]
    for at, draft in zip(where, drafts, strict=True):
        counts[at][draft.state] = counts[at].get(draft.state, 0) + 1
    groups = tuple(Group(func, module, count) for (func, module), count in zip(keys, counts, strict=True))
    return tuple(detail(i) for i in _telling(drafts)), groups, _links(drafts, where)


def _links(drafts: Sequence[Draft], where: list[int]) -> tuple[Link, ...]:
    tallied: dict[tuple[int, int, str], int] = {}
    for target, draft in enumerate(drafts):
        for source, branch in draft.awaits:
            if source >= 0:
                key = (where[source], where[target], branch)
                tallied[key] = tallied.get(key, 0) + 1
    return tuple(Link(source, target, branch, count) for (source, target, branch), count in tallied.items())


def _largest(where: list[int], keys: list[tuple[str, str]], boxes: int) -> tuple[list[int], list[tuple[str, str]]]:
    """Keep the functions with the most tasks, and put the rest into one box."""
    sizes = [0] * len(keys)
    for at in where:
        sizes[at] += 1
    kept = sorted(sorted(range(len(keys)), key=lambda at: -sizes[at])[: boxes - 1])
    moved = {at: place for place, at in enumerate(kept)}
    rest = len(kept)
    chosen = [*(keys[at] for at in kept), (f"{len(keys) - rest:,} other functions", "")]
    return [moved.get(at, rest) for at in where], chosen


def _telling(drafts: Sequence[Draft]) -> list[int]:
    """Return the positions of the tasks to be listed: some that need a look, then the first of the rest."""
    urgent = {state: [] for state in _URGENT_STATES}  # type: dict[str, list[int]]
    for at, draft in enumerate(drafts):
        found = urgent.get(draft.state)
        if found is not None and len(found) < _URGENT:
            found.append(at)
    first = [at for state in _URGENT_STATES for at in urgent[state]][:_URGENT]
    chosen = dict.fromkeys(first)
    for at, draft in enumerate(drafts):
        if len(chosen) >= _ROWS:
            break
        if not draft.outside:
            chosen.setdefault(at)
    return list(chosen)
