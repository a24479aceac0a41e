"""The core side of a component: its modules, their instances, and what is taken out of them.

Source: component model `Binary.md`, sections "Instance Definitions" and "Alias Definitions".
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from ipvm_kernel.printable import printable
from ipvm_kernel.wasm.abi.core import SORTS, CoreModule, Extern, FuncType, Sort
from ipvm_kernel.wasm.abi.cursor import Cursor, NotDriven
from ipvm_kernel.wasm.abi.wiring import Export, Lowered, Step

STEPS: Final = 32
"""A component of more core instances is left to the engine."""

T = TypeVar("T")


class Item(NamedTuple):
    """Something of a core instance, or a function of the host."""

    ref: Export | Lowered
    extern: Extern


Instance = int | dict[str, Item]
"""The step that makes a core instance, or the exports that it is put together from."""


class Cores:
    """The core index spaces of a component.

    Attributes:
        modules: Its core modules.
        steps: What is instantiated, in order.
        items: Functions, tables, memories and globals.
    """

    def __init__(self) -> None:
        self.modules: list[CoreModule] = []
        self.steps: list[Step] = []
        self.items: dict[Sort, list[Item]] = {sort: [] for sort in SORTS}
        self._instances: list[Instance] = []

    def module(self, section: Cursor) -> None:
        """Read a core module."""
        self.modules.append(CoreModule(section.data, section.at, section.end))
        section.at = section.end

    def instance(self, section: Cursor) -> None:
        """Read the definition of a core instance."""
        match section.byte():
            case 0:
                self._instances.append(self._instantiate(section))
            case 1:
                items = section.vec(lambda: (section.name(), self._sorted(section)))
                if len(dict(items)) != len(items):
                    raise section.broken("two exports of one name")
                self._instances.append(dict(items))
            case _:
                section.at -= 1
                raise section.broken("expected a core instance")

    def _instantiate(self, section: Cursor) -> int:
        index = section.u32()
        module = at(section, self.modules, index, "core module")
        given: dict[str, Instance] = {}

        def argument() -> None:
            name = section.name()
            section.expect(0x12, "an instance")
            if name in given:
                raise section.broken("two arguments of one name")
            given[name] = at(section, self._instances, section.u32(), "core instance")

        section.vec(argument)
        imports = []
        for wanted in module.imports:
            item = self._of(section, given.get(wanted.module, {}), wanted.name)
            if item.extern.sort != wanted.extern.sort:
                raise section.broken(f"a core module imports a {wanted.extern.sort}, and gets a {item.extern.sort}")
            if item.extern.sort == "func" and item.extern.type != wanted.extern.type:
                raise section.broken("a core module imports a function of another type than it gets")
            imports.append(item.ref)
        if len(self.steps) == STEPS:
            raise NotDriven(f"it has more than {STEPS} core instances")
        self.steps.append(Step(index, tuple(imports)))
        return len(self.steps) - 1

    def _sorted(self, section: Cursor) -> Item:
        sort = section.byte()
        if sort >= len(SORTS):
            raise NotDriven("its core instances share more than functions, tables, memories and globals")
        return self.item(section, SORTS[sort])

    def _of(self, section: Cursor, instance: Instance, name: str) -> Item:
        """Return what a core instance exports by a name."""
        if isinstance(instance, dict):
            found = instance.get(name)
        else:
            extern = self.modules[self.steps[instance].module].exports.get(name)
            found = None if extern is None else Item(Export(instance, name), extern)
        if found is None:
            raise section.broken(f"a core instance does not export {printable(name, limit=60)!r}")
        return found

    def item(self, section: Cursor, sort: Sort) -> Item:
        """Read the number of something."""
        return at(section, self.items[sort], section.u32(), f"core {sort}")

    def alias(self, section: Cursor, sort: int) -> None:
        """Read the number of a core instance and a name, and take that out of it."""
        item = self._of(section, at(section, self._instances, section.u32(), "core instance"), section.name())
        if sort >= len(SORTS) or item.extern.sort != SORTS[sort]:
            raise section.broken("an alias of another sort than the export's")
        self.items[SORTS[sort]].append(item)

    def must_be(self, section: Cursor, export: Export, kind: FuncType) -> None:
        """Make sure that an export is a function of this type."""
        if self._of(section, export.instance, export.name).extern.type != kind:
            raise section.broken("a canonical option names a function of the wrong type")


def at(section: Cursor, space: list[T], index: int, what: str) -> T:
    """Return something by its number."""
    if index >= len(space):
        raise section.broken(f"there is no {what} {index:,}")
    return space[index]
