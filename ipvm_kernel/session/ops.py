"""The operations of a session, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ipvm_kernel import plugins
from ipvm_kernel.engine.ops import WasmRun

if TYPE_CHECKING:
    from ipvm_kernel.engine.ops import Means, Op


class Ops(Mapping[str, "Op"]):
    """Operations by name: calls of Wasm, those that were given, and those that are installed unless they are not wanted."""

    def __init__(self, means: Means, given: Mapping[str, Op] | None = None, *, installed: bool = True) -> None:
        self._means = means
        self._installed = installed
        # What every session needs is not looked for: finding plug-ins reads the metadata of every installed package.
        self._made: dict[str, Op] = {WasmRun.name: WasmRun(means), **(given or {})}

    def __getitem__(self, name: str) -> Op:
        found = self._made.get(name)
        if found is None:
            if name not in self._names():
                raise KeyError(name)
            found = self._made[name] = plugins.load("ops", name)(self._means)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter({*self._made, *self._names()})

    def __len__(self) -> int:
        return len({*self._made, *self._names()})

    def _names(self) -> Iterable[str]:
        return plugins.names("ops") if self._installed else ()
