"""The types of a component, read from its binary.

Source: component model `Binary.md`, section "Type Definitions". Types refer to each other by their place, so a small
binary can mean a type of any size; what grows beyond `PARTS` or `DEPTH` is left to the engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.abi.cursor import NotDriven

if TYPE_CHECKING:
    from ipvm_kernel.wasm.abi.cursor import Cursor

PARTS: Final = 10_000
DEPTH: Final = 64

FLAGS: Final = 32
"""A type of flags has at most so many names (CanonicalABI.md, "Alignment")."""

_PRIMITIVES: Final[dict[int, wit.AnyType]] = {
    0x7F: wit.BOOL, 0x7E: wit.S8, 0x7D: wit.U8, 0x7C: wit.S16, 0x7B: wit.U16, 0x7A: wit.S32, 0x79: wit.U32,
    0x78: wit.S64, 0x77: wit.U64, 0x76: wit.F32, 0x75: wit.F64, 0x74: wit.CHAR, 0x73: wit.STRING,
}  # fmt: skip
_NEWER: Final = {
    0x64: "error contexts", 0x63: "maps", 0x65: "futures", 0x66: "streams", 0x67: "lists of a fixed length",
}  # fmt: skip


class ValueType(NamedTuple):
    """The type of a value, with how many parts it has in all and how deep they go."""

    kind: wit.AnyType
    parts: int = 1
    depth: int = 1


class FuncType(NamedTuple):
    """The type of a function, with how many parts it has in all."""

    params: tuple[wit.Field, ...]
    result: wit.AnyType | None
    parts: int = 1

    def named(self, name: str) -> wit.Signature:
        """Return it as the signature of a function of this name."""
        return wit.Signature(name, self.params, self.result)


class Resource(NamedTuple):
    """A type of handles, and where it is from."""

    origin: str


class InstanceType(NamedTuple):
    """The type of an instance: what it exports."""

    exports: dict[str, Entity]


class Hidden(NamedTuple):
    """Something that no function is made of: the type of a component, say."""


Entity = ValueType | FuncType | Resource | InstanceType | Hidden


class Scope:
    """Where types are defined: a component, or the type of an instance or component inside it.

    Attributes:
        types: In their order.
        instances: The types of the instances that are known here.
        outer: The scope around this one.
        depth: How many those are.
    """

    def __init__(self, outer: Scope | None = None) -> None:
        self.types: list[Entity] = []
        self.instances: list[InstanceType | Hidden] = []
        self.outer = outer
        self.depth: int = 0 if outer is None else outer.depth + 1
        if self.depth > DEPTH:
            raise NotDriven(f"its types are nested more than {DEPTH} deep")

    def type(self, section: Cursor, index: int) -> Entity:
        """Return the type of this number."""
        if index >= len(self.types):
            raise section.broken(f"there is no type {index:,}")
        return self.types[index]

    def func_type(self, section: Cursor) -> FuncType:
        """Read the number of a type, which must be a function's."""
        found = self.type(section, section.u32())
        if not isinstance(found, FuncType):
            raise section.broken("expected the type of a function")
        return found

    def up(self, section: Cursor, count: int) -> Scope:
        """Return the scope so many further out."""
        scope: Scope | None = self
        for _ in range(min(count, DEPTH + 1)):
            scope = None if scope is None else scope.outer
        if scope is None:
            raise section.broken("a name from further out than there is")
        return scope


def define(section: Cursor, scope: Scope) -> None:
    """Read a definition of a type into a scope."""
    scope.types.append(_definition(section, scope))


def _definition(section: Cursor, scope: Scope) -> Entity:
    code = section.byte()
    if code in _PRIMITIVES:
        return ValueType(_PRIMITIVES[code])
    if code in _NEWER:
        raise NotDriven(f"its types have {_NEWER[code]}")
    match code:
        case 0x72:
            named = section.vec(lambda: (section.name(), value_type(section, scope)))
            return _whole(section, wit.Record(tuple(wit.Field(n, t.kind) for n, t in named)), [t for _, t in named])
        case 0x71:
            return _variant(section, scope)
        case 0x70:
            element = value_type(section, scope)
            return _whole(section, wit.List(element.kind), [element])
        case 0x6F:
            items = section.vec(lambda: value_type(section, scope))
            return _whole(section, wit.Tuple(tuple(t.kind for t in items)), items)
        case 0x6E | 0x6D:
            names = tuple(section.vec(section.name))
            if not names:
                raise section.broken("a type without names")
            if code == 0x6E and len(names) > FLAGS:
                raise NotDriven(f"it has a type of more than {FLAGS} flags")
            return ValueType(wit.Flags(names) if code == 0x6E else wit.Enum(names), 1 + len(names))
        case 0x6B:
            payload = value_type(section, scope)
            return _whole(section, wit.Option(payload.kind), [payload])
        case 0x6A:
            ok, err = (
                section.maybe(lambda: value_type(section, scope)),
                section.maybe(lambda: value_type(section, scope)),
            )
            sides = [side for side in (ok, err) if side is not None]
            return _whole(section, wit.Result(ok.kind if ok else None, err.kind if err else None), sides, least=0)
        case 0x69 | 0x68:
            if not isinstance(scope.type(section, section.u32()), Resource):
                raise section.broken("expected a type of handles")
            return ValueType(wit.Opaque("own" if code == 0x69 else "borrow"))
        case 0x40:
            params = section.vec(lambda: (section.name(), value_type(section, scope)))
            result = _result(section, scope)
            parts = 1 + sum(t.parts for _, t in params) + (0 if result is None else result.parts)
            return FuncType(tuple(wit.Field(n, t.kind) for n, t in params), result and result.kind, parts)
        case 0x41 | 0x42:
            return _instance_type(section, scope, is_component=code == 0x41)
        case 0x43:
            raise NotDriven("it has asynchronous functions")
        case 0x3F:
            raise NotDriven("it defines resources")
        case _:
            section.at -= 1
            raise section.broken("expected a type")


def _whole(section: Cursor, kind: wit.AnyType, parts: list[ValueType], least: int = 1) -> ValueType:
    if len(parts) < least:
        raise section.broken("a type without parts")
    count = 1 + sum(part.parts for part in parts)
    depth = 1 + max((part.depth for part in parts), default=0)
    if count > PARTS or depth > DEPTH:
        raise NotDriven(f"it has a type of more than {PARTS:,} parts, or more than {DEPTH} deep")
    return ValueType(kind, count, depth)


def _variant(section: Cursor, scope: Scope) -> ValueType:
    def case() -> tuple[str, ValueType | None]:
        name, payload = section.name(), section.maybe(lambda: value_type(section, scope))
        section.expect(0, "the end of a case")
        return name, payload

    cases = section.vec(case)
    if not cases:
        raise section.broken("a variant without cases")
    kind = wit.Variant(tuple(wit.Case(name, None if payload is None else payload.kind) for name, payload in cases))
    return _whole(section, kind, [payload or ValueType(wit.BOOL) for _, payload in cases])


def value_type(section: Cursor, scope: Scope) -> ValueType:
    """Read a value's type, or the number of one."""
    code = section.s33()
    if code >= 0:
        found = scope.type(section, code)
        if not isinstance(found, ValueType):
            raise section.broken("expected the type of a value")
        return found
    opcode = code & 0x7F if code >= -0x40 else 0
    if opcode in _NEWER:
        raise NotDriven(f"its types have {_NEWER[opcode]}")
    if opcode not in _PRIMITIVES:
        raise section.broken("expected the type of a value")
    return ValueType(_PRIMITIVES[opcode])


def _result(section: Cursor, scope: Scope) -> ValueType | None:
    match section.byte():
        case 0:
            return value_type(section, scope)
        case 1:
            section.expect(0, "no results")
            return None
        case _:
            section.at -= 1
            raise section.broken("expected a function's result")


def _instance_type(section: Cursor, outer: Scope, *, is_component: bool) -> Entity:
    scope, exports = Scope(outer), dict[str, "Entity"]()

    def declaration() -> None:
        match section.byte():
            case 0:
                raise NotDriven("it declares the types of core modules")
            case 1:
                define(section, scope)
            case 2:
                _alias(section, scope)
            case 3 if is_component:
                extern_name(section)
                extern(section, scope)
            case 4:
                name = extern_name(section)
                exports[name] = extern(section, scope, name)
            case _:
                section.at -= 1
                raise section.broken("expected a declaration")

    section.vec(declaration)
    return Hidden() if is_component else InstanceType(exports)


def _alias(section: Cursor, scope: Scope) -> None:
    """Read an alias inside a type: of another type, or of an instance that is exported here."""
    sort = section.byte()
    if sort == 0:
        raise NotDriven("it declares the types of core modules")
    match section.byte():
        case 0:
            found = exported(section, scope.instances)
        case 2:
            found = scope.up(section, section.u32()).type(section, section.u32())
        case _:
            raise section.broken("expected an alias of a type")
    if sort == 5 and isinstance(found, InstanceType):
        scope.instances.append(found)
    elif sort == 3:
        scope.types.append(found)
    else:
        raise section.broken("expected an alias of a type")


def exported(section: Cursor, instances: list[InstanceType | Hidden]) -> Entity:
    """Read the number of an instance and a name, and return what the instance exports by that name."""
    index, name = section.u32(), section.name()
    if index >= len(instances):
        raise section.broken(f"there is no instance {index:,}")
    found = instances[index]
    if isinstance(found, Hidden):
        raise NotDriven("it takes something out of a nested component")
    if name not in found.exports:
        raise section.broken("an instance does not export this name")
    return found.exports[name]


def extern_name(section: Cursor) -> str:
    """Read the name of an import or export."""
    form = section.byte()
    if form == 2:
        raise NotDriven("its imports or exports have attributes")
    if form > 2:
        section.at -= 1
        raise section.broken("expected a name")
    return section.name()


def extern(section: Cursor, scope: Scope, origin: str = "") -> Entity:
    """Read what an import or export is, and add it to the types or instances of a scope if it is one of those."""
    sort = section.byte()
    match sort:
        case 0:
            raise NotDriven("it passes core modules on")
        case 1:
            return scope.func_type(section)
        case 2:
            raise NotDriven("it passes values on that are no arguments")
        case 3:
            bound = section.byte()
            if bound > 1:
                raise section.broken("expected what a type is bound to")
            found: Entity = Resource(origin) if bound else scope.type(section, section.u32())
            scope.types.append(found)
            return found
        case 4 | 5:
            found = scope.type(section, section.u32())
            if not isinstance(found, Hidden if sort == 4 else InstanceType):
                raise section.broken("expected the type of an instance or a component")
            if isinstance(found, InstanceType):
                scope.instances.append(found)
            return Hidden() if sort == 4 else found
        case _:
            section.at -= 1
            raise section.broken("expected an import or export")
