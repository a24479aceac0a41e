"""A component's binary as a wiring: which core modules are instantiated with what, and what is lifted and lowered how.

Source: component model `Binary.md`. Index spaces grow with each definition, and a definition refers only to what came
before it, so that one pass resolves everything. What is broken is a `BadModule`; what is sound, but needs more than core
instances and functions, is `NotDriven` with a sentence that says why.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ipvm_kernel.errors import BadModule
from ipvm_kernel.printable import printable
from ipvm_kernel.wasm.abi import layout, typing
from ipvm_kernel.wasm.abi.core import Extern, FuncType, with_stand_ins
from ipvm_kernel.wasm.abi.cores import Cores, Item, at
from ipvm_kernel.wasm.abi.cursor import Cursor, NotDriven
from ipvm_kernel.wasm.abi.wiring import Asked, Export, Lifted, Lowered, Options, Wiring

_HEADER: Final = b"\0asm\x0d\0\x01\0"
_NESTED: Final = 32
_PARTS: Final = 100_000
_INERT: Final = frozenset({0, 5, 6, 7, 10, 11})  # sections of a nested component that only gives names to things


class _Imported(NamedTuple):
    """A function that is imported."""

    interface: str
    name: str
    type: typing.FuncType


class _Made(NamedTuple):
    """A function that is lifted."""

    callee: Export
    options: Options
    type: typing.FuncType


class _Bag(NamedTuple):
    """An instance, by what can be taken out of it."""

    exports: dict[str, object]


class Component:
    """A component that was read.

    Attributes:
        wiring: How it is driven.
    """

    def __init__(self, data: bytes) -> None:
        """Read a component.

        Raises:
            BadModule: It is broken; the message says where.
            NotDriven: It can only be run by the engine; the text says why.
        """
        self._data = data
        self._cores = Cores()
        self._places: list[tuple[int, int, int]] = []  # of core modules: where the section, its body and its end are
        self._scope = typing.Scope()
        self._funcs: list[_Imported | _Made] = []
        self._instances: list[_Bag] = []
        self._components = 0
        self._asked: list[Asked] = []
        self._functions: list[Lifted] = []
        self._names: set[str] = set()
        self._parts = 0
        cursor = Cursor(data, 0, len(data))
        if cursor.take(8) != _HEADER:
            raise BadModule(f"not a component of the version that ipvm knows: the header is {data[:8].hex(' ')}")
        while cursor.at < cursor.end:
            start = cursor.at
            number, section = cursor.section()
            if number == 1:
                self._places.append((start, section.at, section.end))
            self._read(number, section)
            section.done()
        self.wiring = Wiring(
            modules=tuple((body, end) for _, body, end in self._places),
            steps=tuple(self._cores.steps),
            functions=tuple(self._functions),
            asked=tuple(self._asked),
        )

    def stand_in(self) -> bytes:
        """Return the component with core modules that have no code.

        Whatever the engine refuses in the component, it refuses in this one or in a core module; and this one compiles in
        no time.
        """
        places = zip(self._places, self._cores.modules, strict=True)
        return with_stand_ins(self._data, ((start, end, module) for (start, _, end), module in places))

    def _read(self, number: int, section: Cursor) -> None:
        match number:
            case 0:
                section.name()
                section.at = section.end
            case 1:
                self._cores.module(section)
            case 2:
                section.vec(lambda: self._cores.instance(section))
            case 3:
                raise NotDriven("it declares the types of core modules")
            case 4:
                _inert(section, 0)
                self._components += 1
            case 5:
                section.vec(lambda: self._instance(section))
            case 6:
                section.vec(lambda: self._alias(section))
            case 7:
                section.vec(lambda: typing.define(section, self._scope))
            case 8:
                section.vec(lambda: self._canon(section))
            case 10:
                section.vec(lambda: self._import(section))
            case 11:
                section.vec(lambda: self._export(section))
            case 9 | 12:
                raise NotDriven("it begins with a function of its own, or holds values")
            case _:
                raise section.broken(f"there is no section {number}")

    # --- instances, imports and exports ---

    def _instance(self, section: Cursor) -> None:
        match section.byte():
            case 0:
                if section.u32() >= self._components:
                    raise section.broken("there is no such component")
                section.vec(lambda: (section.name(), self._sorted(section)))
                self._instances.append(_Bag({}))
            case 1:
                exports = section.vec(lambda: (typing.extern_name(section), self._sorted(section)[1]))
                self._instances.append(_Bag(dict(exports)))
            case _:
                section.at -= 1
                raise section.broken("expected an instance")

    def _sorted(self, section: Cursor) -> tuple[int, object]:
        """Read the sort and number of something, and return its sort and the thing."""
        sort = section.byte()
        match sort:
            case 1:
                return sort, at(section, self._funcs, section.u32(), "function")
            case 3:
                return sort, self._scope.type(section, section.u32())
            case 4:
                section.u32()
                return sort, typing.Hidden()
            case 5:
                return sort, at(section, self._instances, section.u32(), "instance")
            case 0 | 2:
                raise NotDriven("it passes core modules or values on")
            case _:
                section.at -= 1
                raise section.broken("expected the sort of something")

    def _keep(self, section: Cursor, sort: int, thing: object) -> None:
        """Add something to the index space of its sort."""
        match sort, thing:
            case 1, _Imported() | _Made():
                self._funcs.append(thing)
            case (
                3,
                typing.ValueType() | typing.FuncType() | typing.Resource() | typing.InstanceType() | typing.Hidden(),
            ):
                self._scope.types.append(thing)
            case 4, _:
                self._components += 1
            case 5, _Bag():
                self._instances.append(thing)
            case _:
                raise section.broken("something of another sort than it should be")

    def _alias(self, section: Cursor) -> None:
        sort = section.byte()
        core = section.byte() if sort == 0 else None
        match section.byte():
            case 1 if core is not None:
                self._cores.alias(section, core)
            case 0 if core is None:
                bag, name = at(section, self._instances, section.u32(), "instance"), section.name()
                if not bag.exports:
                    raise NotDriven("it takes something out of a nested component")
                if name not in bag.exports:
                    raise section.broken(f"an instance does not export {printable(name, limit=60)!r}")
                self._keep(section, sort, bag.exports[name])
            case 2 if sort == 3:
                scope = self._scope.up(section, section.u32())
                self._scope.types.append(scope.type(section, section.u32()))
            case _:
                raise NotDriven("it has aliases of whole modules or components")

    def _import(self, section: Cursor) -> None:
        name = typing.extern_name(section)
        match typing.extern(section, self._scope, name):
            case typing.InstanceType(exports=exports):
                self._instances.append(_Bag({item: _taken(name, item, entity) for item, entity in exports.items()}))
            case typing.FuncType():
                raise NotDriven(f"it imports the function {printable(name, limit=80)!r} outside an interface")
            case typing.Hidden():
                raise NotDriven("it imports a component")
            case _:  # a type, which is among the types now
                pass

    def _export(self, section: Cursor) -> None:
        name = typing.extern_name(section)
        sort, thing = self._sorted(section)
        section.maybe(lambda: self._ascribed(section))
        if name in self._names:
            raise section.broken("two exports of one name")
        self._names.add(name)
        if isinstance(thing, _Imported):
            raise NotDriven(f"it exports {printable(name, limit=80)!r}, which it imports")
        if isinstance(thing, _Made):
            self._count(thing.type)
            self._functions.append(Lifted(thing.type.named(name), thing.callee, thing.options))
        self._keep(section, sort, thing)

    def _ascribed(self, section: Cursor) -> None:
        """Read the type that an export is given, and forget it: the thing's own says the same to whoever calls it."""
        known = len(self._scope.types)
        typing.extern(section, self._scope)
        del self._scope.types[known:]

    def _count(self, kind: typing.FuncType) -> None:
        self._parts += kind.parts
        if self._parts > _PARTS:
            raise NotDriven(f"the types of its functions have more than {_PARTS:,} parts")

    # --- lifting and lowering ---

    def _canon(self, section: Cursor) -> None:
        match section.byte():
            case 0:
                section.expect(0, "a function to lift")
                callee = self._cores.item(section, "func")
                options = self._options(section, lifts=True)
                self._lift(section, callee, options, self._scope.func_type(section))
            case 1:
                section.expect(0, "a function to lower")
                func = at(section, self._funcs, section.u32(), "function")
                self._lower(section, func, self._options(section, lifts=False))
            case 2 | 3 | 4:
                found = self._scope.type(section, section.u32())
                origin = found.origin if isinstance(found, typing.Resource) else ""
                raise NotDriven(f"it uses the resource {printable(origin, limit=120)}")
            case _:
                raise NotDriven("it is asynchronous")

    def _lift(self, section: Cursor, callee: Item, options: Options, kind: typing.FuncType) -> None:
        self._count(kind)
        wanted = layout.lifted_type(kind.params, kind.result)
        if callee.extern.type != wanted:
            raise section.broken("a function is lifted from a core function of another type")
        if isinstance(callee.ref, Lowered):
            raise NotDriven("it lifts a function of its host")
        into = layout.spills(kind.params) or any(layout.points(param.type) for param in kind.params)
        out = len(layout.flatten(kind.result)) > layout.FLAT_RESULTS or layout.points(kind.result)
        if (into and options.realloc is None) or ((into or out) and options.memory is None):
            raise section.broken("a function is lifted without the memory that its values need")
        if options.post_return is not None:
            self._cores.must_be(section, options.post_return, FuncType(wanted.results, ()))
        self._funcs.append(_Made(callee.ref, options, kind))

    def _lower(self, section: Cursor, func: _Imported | _Made, options: Options) -> None:
        if isinstance(func, _Made):
            raise NotDriven("it calls a function that it exports as if it were imported")
        kind = func.type
        self._count(kind)
        spilled = layout.spills(kind.params) or len(layout.flatten(kind.result)) > layout.FLAT_RESULTS
        into, out = any(layout.points(param.type) for param in kind.params), layout.points(kind.result)
        if (out and options.realloc is None) or ((into or out or spilled) and options.memory is None):
            raise section.broken("a function is lowered without the memory that its values need")
        extern = Extern("func", layout.lowered_type(kind.params, kind.result))
        self._cores.items["func"].append(Item(Lowered(len(self._asked)), extern))
        self._asked.append(Asked(func.interface, kind.named(func.name), options))

    def _options(self, section: Cursor, *, lifts: bool) -> Options:
        """Read canonical options ("Canonical Definitions"; CanonicalABI.md, "`canonopt` Validation")."""
        found: dict[str, str | Export] = {}

        def keep(name: str, value: str | Export | Lowered) -> None:
            if name in found:
                raise section.broken("a canonical option is given twice")
            if isinstance(value, Lowered):
                raise NotDriven("its memory is managed by a function of its host")
            found[name] = value

        def option() -> None:
            match section.byte():
                case 0 | 1 | 2 as encoding:
                    keep("encoding", ("utf8", "utf16", "latin1+utf16")[encoding])
                case 3:
                    keep("memory", self._cores.item(section, "memory").ref)
                case 4:
                    keep("realloc", self._cores.item(section, "func").ref)
                case 5 if lifts:
                    keep("post_return", self._cores.item(section, "func").ref)
                case 6 | 7:
                    raise NotDriven("it has asynchronous functions")
                case _:
                    section.at -= 1
                    raise section.broken("expected a canonical option")

        section.vec(option)
        options = Options(**found)  # type: ignore[arg-type]
        if options.realloc is not None:
            self._cores.must_be(section, options.realloc, layout.REALLOC)
            if options.memory is None:
                raise section.broken("a `realloc` without a memory")
        return options


def _taken(interface: str, name: str, entity: typing.Entity) -> object:
    """Return what is taken out of an imported instance by a name."""
    match entity:
        case typing.FuncType():
            return _Imported(interface, name, entity)
        case typing.InstanceType():
            return _Bag({})
        case typing.Resource():
            return typing.Resource(f"{name!r} of {interface}")
        case _:
            return entity


def _inert(section: Cursor, depth: int) -> None:
    """Make sure that a nested component only gives names to things, so that instantiating it does nothing."""
    if depth > _NESTED or section.take(8) != _HEADER:
        raise NotDriven("it has a nested component")
    while section.at < section.end:
        number, inner = section.section()
        if number == 4:
            _inert(inner, depth + 1)
        elif number not in _INERT:
            raise NotDriven("it has a nested component")


def read(data: bytes) -> Component | str:
    """Return a component, or why the engine has to run it.

    Raises:
        BadModule: It is broken.
    """
    try:
        return Component(data)
    except NotDriven as why:
        return str(why)
