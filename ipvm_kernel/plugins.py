"""Plug-ins: operations, executors, stores and toolchains of others, found by name through entry points.

The built-in ones register the same way, so what they can do a plug-in can. Only the one that is asked for is loaded.
"""

from __future__ import annotations

import difflib
import functools
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ipvm_kernel.errors import NotFound
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Group = Literal["ops", "executors", "stores", "toolchains"]
GROUPS: Final[tuple[Group, ...]] = ("ops", "executors", "stores", "toolchains")


class Plugin(msgspec.Struct, frozen=True):
    """A plug-in that is installed."""

    group: Group
    name: str
    where: str
    package: str
    version: str


@functools.cache
def _points(group: Group) -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # here, for the sake of sessions that look for none

    return {point.name: point for point in entry_points(group=f"ipvm.{group}")}


def names(group: Group) -> list[str]:
    """Return the names of what is installed, sorted."""
    return sorted(_points(group))


def load(group: Group, name: str) -> Any:
    """Return the object that a plug-in names.

    Raises:
        NotFound: None has this name; the message lists those that there are.
    """
    point = _points(group).get(name)
    if point is None:
        near = difflib.get_close_matches(name, names(group), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise NotFound(
            f"no {group.removesuffix('s')} is called {printable(name, limit=60)!r}.{hint} Installed: "
            f"{', '.join(names(group)) or 'none'}. They come from the entry points 'ipvm.{group}'"
        )
    return point.load()


def installed() -> list[Plugin]:
    """Return everything that is installed, the built-in included."""
    return [
        Plugin(
            group, name, point.value, point.dist.name if point.dist else "?", point.dist.version if point.dist else "?"
        )
        for group in GROUPS
        for name, point in sorted(_points(group).items())
    ]
