"""What an embedded core module imports and exports, with types, and a stand-in that has the same and no code.

Source: WebAssembly core specification 3.0, sections 5.3 (types) and 5.5 (modules). Features that ipvm turns off are not
read here: the engine refuses them by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ipvm_kernel.wasm.abi.cursor import Cursor, NotDriven

if TYPE_CHECKING:
    from collections.abc import Iterable

Sort = Literal["func", "table", "memory", "global"]

SORTS: Final[tuple[Sort, ...]] = ("func", "table", "memory", "global")

_HEADER: Final = b"\0asm\x01\0\0\0"
_TYPE, _IMPORT, _FUNCTION, _TABLE, _MEMORY, _GLOBAL, _EXPORT, _CODE = 1, 2, 3, 4, 5, 6, 7, 10
_SECTIONS: Final = 14
_VALUE_TYPES: Final = {
    0x7F: "i32", 0x7E: "i64", 0x7D: "f32", 0x7C: "f64", 0x7B: "v128", 0x70: "funcref", 0x6F: "externref",
}  # fmt: skip
_ZERO: Final = {
    0x7F: b"\x41\0\x0b", 0x7E: b"\x42\0\x0b", 0x7D: b"\x43" + bytes(4) + b"\x0b", 0x7C: b"\x44" + bytes(8) + b"\x0b",
    0x7B: b"\xfd\x0c" + bytes(16) + b"\x0b", 0x70: b"\xd0\x70\x0b", 0x6F: b"\xd0\x6f\x0b",
}  # fmt: skip
_CONSTANT: Final = {  # a constant instruction, and the bytes after it; a LEB128 number where that is None
    0x41: None, 0x42: None, 0x43: 4, 0x44: 8, 0x23: None, 0xD0: 1, 0xD2: None,
    **dict.fromkeys((0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E), 0),
}  # fmt: skip
_END: Final = 0x0B
_GIVE_UP: Final = b"\x03\0\0\x0b"  # a function's body: no locals, `unreachable`, the end

EXPORTS: Final = 4096
"""A module of more exports is not driven: its stand-in would take long to compile."""


class FuncType(NamedTuple):
    """The type of a core function."""

    params: tuple[str, ...]
    results: tuple[str, ...]


class Extern(NamedTuple):
    """What a core module imports or exports: its sort, and the type of a function or, of anything else, its bytes."""

    sort: Sort
    type: FuncType | bytes


class Import(NamedTuple):
    """Something that a core module imports."""

    module: str
    name: str
    extern: Extern


class CoreModule:
    """A core module as its component sees it.

    Attributes:
        imports: In their order.
        exports: By name.
    """

    def __init__(self, data: bytes, at: int, end: int) -> None:
        """Read the sections that say what goes in and out.

        Raises:
            BadModule: They are broken.
            NotDriven: They use a feature that is off.
        """
        self._types: list[FuncType] = []
        self._spaces: dict[Sort, list[tuple[Extern, int]]] = {sort: [] for sort in SORTS}
        self._raw: dict[int, bytes] = {}
        self._exported: list[tuple[str, Sort, int]] = []
        self.imports: list[Import] = []
        self.exports: dict[str, Extern] = {}
        cursor = Cursor(data, at, end)
        if cursor.take(8) != _HEADER:
            cursor.at = at
            raise cursor.broken("expected a core module")
        seen: set[int] = set()
        while cursor.at < cursor.end:
            number, section = cursor.section()
            if number >= _SECTIONS or (number and number in seen):
                raise section.broken(f"section {number} does not belong here")
            seen.add(number)
            self._read(number, section)

    def _read(self, number: int, section: Cursor) -> None:
        start = section.at
        match number:
            case 1:
                self._types = section.vec(lambda: self._func_type(section))
            case 2:
                section.vec(lambda: self._import(section))
            case 3:
                section.vec(lambda: self._define("func", self._func(section)))
            case 4:
                section.vec(lambda: self._define("table", self._table(section)))
            case 5:
                section.vec(lambda: self._define("memory", self._limits(section)))
            case 6:
                section.vec(lambda: self._global(section))
            case 7:
                section.vec(lambda: self._export(section))
            case _:
                return
        section.done()
        self._raw[number] = section.data[start : section.end]

    def _define(self, sort: Sort, defined: tuple[Extern, int]) -> None:
        self._spaces[sort].append(defined)

    def _value_type(self, section: Cursor) -> int:
        code = section.byte()
        if code not in _VALUE_TYPES:
            raise NotDriven("its code has types that ipvm turns off")
        return code

    def _func_type(self, section: Cursor) -> FuncType:
        if section.byte() != 0x60:
            raise NotDriven("its code has types that ipvm turns off")
        params, results = (section.vec(lambda: _VALUE_TYPES[self._value_type(section)]) for _ in range(2))
        return FuncType(tuple(params), tuple(results))

    def _func(self, section: Cursor) -> tuple[Extern, int]:
        index = section.u32()
        if index >= len(self._types):
            raise section.broken(f"there is no type {index}")
        return Extern("func", self._types[index]), index

    def _table(self, section: Cursor) -> tuple[Extern, int]:
        start = section.at
        self._value_type(section)
        self._limits(section)
        return Extern("table", section.data[start : section.at]), 0

    def _limits(self, section: Cursor) -> tuple[Extern, int]:
        start = section.at
        flags = section.byte()
        if flags > 1:
            raise NotDriven("its code has a kind of memory or table that ipvm turns off")
        for _ in range(1 + flags):
            section.u32()
        return Extern("memory", section.data[start : section.at]), 0

    def _global_type(self, section: Cursor) -> tuple[Extern, int]:
        start = section.at
        self._value_type(section)
        if section.byte() > 1:
            raise section.broken("expected 0 or 1 for whether a global can change")
        return Extern("global", section.data[start : section.at]), 0

    def _global(self, section: Cursor) -> None:
        self._define("global", self._global_type(section))
        while (code := section.byte()) != _END:
            if code == 0xFD:  # v128.const alone is constant
                section.expect(0x0C, "a constant")
                section.take(16)
            elif code not in _CONSTANT:
                raise NotDriven("a global of its code begins in a way that ipvm does not know")
            elif (length := _CONSTANT[code]) is not None:
                section.take(length)
            else:
                while section.byte() & 0x80:
                    pass

    def _import(self, section: Cursor) -> None:
        module, name, sort = section.name(), section.name(), section.byte()
        match sort:
            case 0:
                defined = self._func(section)
            case 1:
                defined = self._table(section)
            case 2:
                defined = self._limits(section)
            case 3:
                defined = self._global_type(section)
            case _:
                raise NotDriven("its code imports something that ipvm turns off")
        self._define(SORTS[sort], defined)
        self.imports.append(Import(module, name, defined[0]))

    def _export(self, section: Cursor) -> None:
        name, number, index = section.name(), section.byte(), section.u32()
        if number >= len(SORTS):
            raise NotDriven("its code exports something that ipvm turns off")
        sort = SORTS[number]
        if index >= len(self._spaces[sort]) or name in self.exports:
            raise section.broken(f"export of a {sort} that is not there, or twice")
        if len(self.exports) >= EXPORTS:
            raise NotDriven(f"its code has more than {EXPORTS:,} exports")
        self.exports[name] = self._spaces[sort][index][0]
        self._exported.append((name, sort, index))

    def stand_in(self) -> bytes:
        """Return a module of the same imports and exports, each of whose functions gives up at once."""
        imported = {sort: sum(1 for i in self.imports if i.extern.sort == sort) for sort in SORTS}
        defined: dict[Sort, dict[int, int]] = {sort: {} for sort in SORTS}
        exports = []
        for name, sort, index in self._exported:
            place = index
            if index >= imported[sort]:
                place = defined[sort].setdefault(index, imported[sort] + len(defined[sort]))
            exports.append(_name(name) + bytes((SORTS.index(sort),)) + leb(place))
        parts = {sort: [self._spaces[sort][index] for index in defined[sort]] for sort in SORTS}
        bodies = {
            _FUNCTION: [leb(type_) for _, type_ in parts["func"]],
            _TABLE: [_bytes(extern) for extern, _ in parts["table"]],
            _MEMORY: [_bytes(extern) for extern, _ in parts["memory"]],
            _GLOBAL: [_bytes(extern) + _ZERO[_bytes(extern)[0]] for extern, _ in parts["global"]],
            _EXPORT: exports,
            _CODE: [_GIVE_UP] * len(parts["func"]),
        }
        kept = [(number, self._raw[number]) for number in (_TYPE, _IMPORT) if number in self._raw]
        made = [(number, leb(len(items)) + b"".join(items)) for number, items in bodies.items() if items]
        return _HEADER + b"".join(section(number, body) for number, body in (*kept, *made))


def _bytes(extern: Extern) -> bytes:
    assert isinstance(extern.type, bytes)
    return extern.type


def _name(name: str) -> bytes:
    data = name.encode()
    return leb(len(data)) + data


def leb(number: int) -> bytes:
    r"""Return a number as unsigned LEB128.

    >>> leb(300)
    b'\xac\x02'
    """
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def section(number: int, body: bytes) -> bytes:
    """Return a section of a binary."""
    return bytes((number,)) + leb(len(body)) + body


def with_stand_ins(data: bytes, modules: Iterable[tuple[int, int, CoreModule]]) -> bytes:
    """Return a component whose core modules, `(start of the section, its end, what it is)`, have no code.

    Whatever an engine refuses in it, it would refuse in the component, and it compiles in no time.
    """
    out, done = bytearray(), 0
    for start, end, module in modules:
        out += data[done:start] + section(1, module.stand_in())
        done = end
    return bytes(out + data[done:])
