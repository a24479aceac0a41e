"""Which of the user's handles were made from an input whose name stands for something else by now.

A notebook's cells are run in any order. If a cell is run again and its name stands for another handle, file or module,
what other cells made from the old one is right for what it was made from, and not for what the name says now.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ipvm_kernel import CID, Handle

_LOOKED_AT: Final = 2_000  # tasks that lead to a handle, at most
_REMEMBERED: Final = 20_000  # things that had a name
_TOLD: Final = 5


@dataclass(frozen=True)
class Stale:
    """An input of a handle that its name stands for no more.

    Attributes:
        name: The name.
        was: What the handle was made from.
        now: What the name stands for now.
    """

    name: str
    was: CID
    now: CID

    def told(self) -> str:
        """Return one line."""
        return f"made from a different input: {self.name[:80]} was {self.was}, and is {self.now} now"


class Names:
    """What the user's names stood for, cell after cell.

    Args:
        scope: The user's names.
    """

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._scope = scope
        self._had: dict[CID, dict[str, None]] = {}
        self._said: set[tuple[str, CID, CID]] = set()

    def note(self) -> None:
        """Remember what names stand for, at the end of a cell."""
        for name, cid, _ in self._things():
            self._had.setdefault(cid, {})[name] = None
        while len(self._had) > _REMEMBERED:
            del self._had[next(iter(self._had))]

    def _things(self) -> Iterator[tuple[str, CID, Any]]:
        """Yield the names of the user's handles, files and modules, and what they stand for."""
        handles, callables = sys.modules.get("ipvm_kernel.handles"), sys.modules.get("ipvm_kernel.callables")
        if handles is None or callables is None:
            return
        for name, value in list(self._scope.items()):
            if name.startswith("_") or not name.isidentifier():
                continue  # a name of IPython's, such as _12
            kind = type(value)
            if kind is handles.Handle or kind is handles.File:
                yield name, value.cid, value
            elif kind is callables.Module:
                yield name, value._cid, value  # noqa: SLF001 - as attributes, a module has its functions and nothing else

    def of(self, handle: Handle) -> list[Stale]:
        """Return the inputs of a handle that their names stand for no more, the nearest first."""
        now = {name: (cid, value) for name, cid, value in self._things()}
        return list(self._of(handle, now))[:_TOLD]

    def _of(self, handle: Handle, now: Mapping[str, tuple[CID, Any]]) -> Iterator[Stale]:
        seen = {handle.cid}
        pending: list[Handle] = [handle]
        for one in pending:  # which grows
            for cid, made_by in _inputs(one):
                if cid in seen:
                    continue
                seen.add(cid)
                if made_by is not None and len(pending) < _LOOKED_AT:
                    pending.append(made_by)
                names = self._had.get(cid, ())
                if any(name in now and now[name][0] == cid for name in names):
                    continue  # it has a name still
                for name in names:
                    current = now.get(name)
                    if current is not None and _replaced(cid, made_by, current[1]):
                        yield Stale(name, cid, current[0])
                        break

    def all(self) -> dict[str, tuple[Handle, list[Stale]]]:
        """Return the names of all handles that are stale, and why."""
        now = {name: (cid, value) for name, cid, value in self._things()}
        handles = sys.modules.get("ipvm_kernel.handles")
        found: dict[str, tuple[Handle, list[Stale]]] = {}
        if all(any(now.get(name, (None,))[0] == cid for name in names) for cid, names in self._had.items()):
            return found  # every thing has a name still
        for name, (_, value) in now.items():
            if handles is not None and type(value) is handles.Handle:
                why = list(self._of(value, now))[:_TOLD]
                if why:
                    found[name] = (value, why)
        return found

    def news(self) -> list[str]:
        """Return one line on the handles that became stale since this was last asked, or nothing."""
        fresh: dict[str, Stale] = {}
        for name, (handle, why) in self.all().items():
            key = (name, handle.cid, why[0].now)
            if key not in self._said:
                self._said.add(key)
                fresh[name] = why[0]
        if not fresh:
            return []
        names = ", ".join(list(fresh)[:8]) + (", …" if len(fresh) > 8 else "")
        first = next(iter(fresh.values()))
        verb = "was" if len(fresh) == 1 else "were"
        changed = f"{first.name[:80]} was {first.was.short}, and is {first.now.short} now"
        return [f"{names} {verb} made from a different input: {changed}. Run the cells that made them again"]


def _inputs(handle: Handle) -> Iterator[tuple[CID, Handle | None]]:
    """Yield what went into a task: handles, with themselves, and the files and the module, by their CIDs."""
    for parent in handle._parents:  # noqa: SLF001 - which it was made of
        yield parent.cid, parent
    run = handle.instruction
    if run.module is not None:
        yield run.module, None
    for value in run.args:
        if type(value).__name__ == "CID":
            yield value, None  # type: ignore[misc]


def _replaced(cid: CID, old: Handle | None, new: Any) -> bool:
    """Return True if a thing took the place of another one of its name: made by the same cell, and not made from it."""
    handles = sys.modules["ipvm_kernel.handles"]
    if old is None:
        return type(new) is not handles.Handle
    if type(new) is not handles.Handle:
        return False
    known = not (old.cell.ident.startswith("sha256-") or new.cell.ident.startswith("sha256-"))
    if known and old.cell.ident and old.cell.ident != new.cell.ident:
        return False  # another cell uses the name for something else
    return all(one.cid != cid for one in handles.lineage([new]))  # as in `x = f(x)`


_current: Names | None = None


def watch(names: Names | None) -> None:
    """Say whose names are asked about; None when nobody's are any more."""
    global _current
    _current = names


def current() -> Names | None:
    """Return the names of the shell that is watched, or None."""
    return _current


def of(handle: Handle) -> list[Stale]:
    """Return why a handle is stale in the shell that is watched, or nothing."""
    return _current.of(handle) if _current is not None else []
