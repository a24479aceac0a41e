"""Templates of Homestar's JavaScript client: tasks that name each other instead of their CIDs.

Source: `@fission-codes/homestar` 2.4, `homestar.md` 1.20. A task carries a `name` in its `run`; an argument may be
`{{needs.NAME.output}}`, which becomes a promise of that task's ok value, or `{{cid:CID}}`, which becomes a link. Names are
removed before anything is hashed.
"""

from __future__ import annotations

import re
from typing import Final

from ipvm_kernel.errors import BadCID, BadWorkflow, Malformed
from ipvm_kernel.ipld import CID, Ipld
from ipvm_kernel.model.instruction import Instruction, within
from ipvm_kernel.model.promise import Promise
from ipvm_kernel.printable import printable

_NEEDS: Final = re.compile(r"\s*\{\{\s*needs\.([^.{}\s]+)\.output\s*\}\}\s*\Z")
_CID: Final = re.compile(r"\s*\{\{\s*cid:\s*([a-zA-Z0-9]+)\s*\}\}\s*\Z")


def fill(value: Ipld) -> Ipld:
    """Return a workflow with its template expressions filled in, or `value` itself if it has none.

    Raises:
        BadWorkflow: A task needs one that is not there, two have one name, or some need each other in a circle.
        Malformed: An instruction of a template is no instruction.
    """
    tasks = value.get("tasks") if type(value) is dict else None
    if type(tasks) is not list or not any(_name(task) is not None for task in tasks):
        return value
    named: dict[str, int] = {}
    for index, task in enumerate(tasks):
        name = _name(task)
        if name is not None and named.setdefault(name, index) != index:
            raise BadWorkflow(f"tasks {named[name]} and {index} are both called {printable(name, limit=80)!r}")
    filled: dict[str, CID] = {}
    done: list[Ipld] = list(tasks)
    for index in _in_order(tasks, named):
        task = tasks[index]
        if type(task) is not dict or type(run := task.get("run")) is not dict:
            continue  # whoever reads the tasks says what is wrong
        run = {key: _filled(item, filled) for key, item in run.items() if key != "name"}
        done[index] = {**task, "run": run}
        name = _name(task)
        if name is not None:
            try:
                filled[name] = Instruction.from_ipld(run).cid
            except Malformed as error:
                raise within(f".tasks[{index}].run", error) from None
    return {**value, "tasks": done}  # type: ignore[dict-item]


def _name(task: Ipld) -> str | None:
    run = task.get("run") if type(task) is dict else None
    name = run.get("name") if type(run) is dict else None
    return name if type(name) is str else None


def _needs(task: Ipld) -> list[str]:
    """Return the names that a task's expressions need, in order."""
    found, pending = [], [task]
    while pending:
        current = pending.pop()
        if type(current) is str and (match := _NEEDS.match(current)):
            found.append(match[1])
        elif type(current) is list:
            pending.extend(reversed(current))
        elif type(current) is dict:
            pending.extend(reversed(current.values()))
    return found


def _in_order(tasks: list[Ipld], named: dict[str, int]) -> list[int]:
    """Return the indices of the tasks, each after those that it needs."""
    needs: dict[int, set[int]] = {}
    for index, task in enumerate(tasks):
        names = _needs(task)
        for name in names:
            if name not in named:
                raise BadWorkflow(
                    f"task {index} needs {printable(name, limit=80)!r}, which no task of this workflow is called. "
                    f"There are: {', '.join(printable(n, limit=40) for n in list(named)[:12])}"
                )
        needs[index] = {named[name] for name in names}
    order: list[int] = []
    users: dict[int, list[int]] = {}
    for index, others in needs.items():
        for other in others:
            users.setdefault(other, []).append(index)
    waiting = {index: len(others) for index, others in needs.items()}
    ready = [index for index, count in waiting.items() if not count]
    while ready:
        index = ready.pop()
        order.append(index)
        for user in users.get(index, ()):
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    if len(order) < len(tasks):
        raise BadWorkflow(f"these tasks need each other in a circle: {_circle(needs, set(order), tasks)}")
    return order


def _circle(needs: dict[int, set[int]], done: set[int], tasks: list[Ipld]) -> str:
    """Return one circle among the tasks that could not be ordered, as `a → b → a`."""
    current = min(set(needs) - done)
    path: list[int] = []
    while current not in path:
        path.append(current)
        current = min(needs[current] - done)
    circle = [*path[path.index(current) :], current]
    return " → ".join(printable(_name(tasks[index]) or str(index), limit=40) for index in circle)


def _filled(value: Ipld, filled: dict[str, CID]) -> Ipld:
    if type(value) is str:
        if match := _NEEDS.match(value):
            return Promise("ok", filled[match[1]]).to_ipld()
        if match := _CID.match(value):
            try:
                return CID.parse(match[1])
            except BadCID as error:
                raise BadWorkflow(f"in {printable(value, limit=120)!r}: {error.message}") from None
        return value
    if type(value) is list:
        return [_filled(item, filled) for item in value]
    if type(value) is dict:
        return {key: _filled(item, filled) for key, item in value.items()}
    return value
