"""Worlds: which functions a cell promises, and their types, read from its WIT.

WIT is parsed by wasm-tools, the same program that later packs the component; what comes back is checked against what
the glue for Zig and C can carry. A cell writes its world in comment lines, so that the world belongs to the source:

    //| wit export mean: func(xs: list<f64>) -> f64;

That much is enough; a package and a world are put around lines that name none.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from ipvm_kernel.errors import BuildFailed
from ipvm_kernel.toolchains.programs import WASM_TOOLS, Workshop

TEXT_LIMIT: Final = 64 * 1024
"""Bytes of WIT, at most."""

LOGGING: Final = "wasi:logging/logging"
"""The one interface that a cell may import; Homestar knows it too."""

_LOGGING_WIT: Final = """
package wasi:logging {
  interface logging {
    enum level { trace, debug, info, warn, error, critical }
    log: func(level: level, context: string, message: string);
  }
}
"""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type without parts: bool, s8 to u64, f32, f64, char or string."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ListOf:
    """Any number of elements of one type."""

    element: Type

    def __str__(self) -> str:
        return f"list<{self.element}>"


@dataclass(frozen=True, slots=True)
class OptionOf:
    """A value, or none."""

    some: Type

    def __str__(self) -> str:
        return f"option<{self.some}>"


@dataclass(frozen=True, slots=True)
class ResultOf:
    """A value that says whether it is the hoped-for one. Either side may carry nothing."""

    ok: Type | None
    err: Type | None

    def __str__(self) -> str:
        if self.err is None:
            return "result" if self.ok is None else f"result<{self.ok}>"
        return f"result<{self.ok or '_'}, {self.err}>"


@dataclass(frozen=True, slots=True)
class TupleOf:
    """A fixed number of values, told apart by their place."""

    items: tuple[Type, ...]

    def __str__(self) -> str:
        return f"tuple<{', '.join(map(str, self.items))}>"


@dataclass(frozen=True, slots=True)
class Named:
    """A value with its name: a parameter of a function, or a field of a record."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Record:
    """Values told apart by their names."""

    name: str
    fields: tuple[Named, ...]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Enum:
    """One of some names."""

    name: str
    cases: tuple[str, ...]

    def __str__(self) -> str:
        return self.name


Type = Scalar | ListOf | OptionOf | ResultOf | TupleOf | Record | Enum


@dataclass(frozen=True, slots=True)
class Function:
    """A function that the world exports."""

    name: str
    params: tuple[Named, ...]
    result: Type | None
    docs: str = ""

    def __str__(self) -> str:
        params = ", ".join(f"{param.name}: {param.type}" for param in self.params)
        return f"{self.name}: func({params})" + (f" -> {self.result}" if self.result else "")


@dataclass(frozen=True, slots=True)
class World:
    """What a cell promises.

    Attributes:
        text: The WIT as wasm-tools takes it: with package, world and the packages that it imports.
        types: The records and enums that the world declares; each comes after those that it is made of.
        imports: The interfaces that it imports; only `wasi:logging/logging` can be among them.
    """

    text: str
    package: str
    name: str
    functions: tuple[Function, ...]
    types: tuple[Record | Enum, ...] = ()
    imports: tuple[str, ...] = ()

    @property
    def logs(self) -> bool:
        """Whether the cell may write to the log."""
        return LOGGING in self.imports


def extract(source: str, sign: str = "//") -> tuple[str, tuple[int, ...]]:
    r"""Return the WIT in a cell's comment lines, and the number of the line that each of its lines stood on.

    >>> extract("//| wit export one: func() -> u32;\npub fn one() u32 {\n    return 1;\n}\n")
    ('export one: func() -> u32;\n', (1,))
    """
    pattern = re.compile(rf"[ \t]*{re.escape(sign)}\|[ \t]*wit(?:[ \t](.*))?$")
    found = [
        (match[1] or "", number)
        for number, line in enumerate(source.split("\n"), 1)
        if (match := pattern.match(line.rstrip()))
    ]
    return "".join(f"{line}\n" for line, _ in found), tuple(number for _, number in found)


def parse(text: str, *, lines: tuple[int, ...] = ()) -> World:
    """Return the world that this WIT describes, or raise BuildFailed with one line that says what and where.

    `lines`, as `extract` gives them, makes the line number in a message that of the cell.
    """
    if len(text.encode()) > TEXT_LIMIT:
        raise BuildFailed(f"The world takes {len(text.encode()):,} bytes; at most {TEXT_LIMIT:,} are read.")
    bare = _without_comments(text)
    if not bare.strip():
        raise BuildFailed(
            "There is no world. Write one line for each function: //| wit export mean: func(xs: list<f64>) -> f64;"
        )
    before, after = "", "\n"
    if not re.search(r"(?<![%\w-])world\s+%?[a-zA-Z]", bare):
        before, after = "package ipvm:cell;\nworld cell {\n", "\n}\n"
    elif not re.search(r"(?<![%\w-])package\s+%?[a-zA-Z]", bare):
        before = "package ipvm:cell;\n"
    if re.search(r"(?<![%\w-])package\s+wasi:logging\b", bare):
        raise BuildFailed("The world brings a package wasi:logging of its own; leave it out, ipvm knows that one.")
    if "wasi:logging" in bare:
        after += _LOGGING_WIT
    whole = before + text + after
    with Workshop.open({"world.wit": whole}) as workshop:
        ended = workshop.run(WASM_TOOLS, "component", "wit", "--json", "world.wit", "-o", "world.json")
        if ended.code:
            raise BuildFailed(_complaint(ended.output, text, before.count("\n"), lines))
        document = json.loads(workshop.read("world.json"))
    return _Reader(document).world(whole)


def _without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)


def _complaint(output: str, text: str, shift: int, lines: tuple[int, ...]) -> str:
    """Return what wasm-tools says as one line, with the place in the user's text."""
    said = re.search(r"^error: (.+)$", output, re.MULTILINE)
    what = said[1] if said else "wasm-tools does not accept it"
    place = re.search(r"--> [^\n]*?:(\d+):(\d+)", output)
    if not place:
        return f"The world cannot be read: {what}"
    own = text.rstrip("\n").split("\n")
    number = min(max(int(place[1]) - shift, 1), len(own))
    excerpt = own[number - 1].strip()
    shown = lines[number - 1] if number <= len(lines) else number
    return f"line {shown}: {what}, in the world's `{excerpt}`"


@dataclass
class _Reader:
    """wasm-tools' JSON, whose parts name each other by their place in lists."""

    document: dict[str, Any]
    seen: dict[int, Type] = field(default_factory=dict)

    def world(self, text: str) -> World:
        worlds = self.document["worlds"]
        if len(worlds) != 1:
            names = ", ".join(world["name"] for world in worlds)
            raise BuildFailed(f"A cell has one world, and this text has {len(worlds)}: {names}.")
        (world,) = worlds
        imports = tuple(self._import(name, item) for name, item in world["imports"].items() if "type" not in item)
        functions = tuple(self._function(name, item) for name, item in world["exports"].items())
        if not functions:
            raise BuildFailed(
                f"The world {world['name']} exports no function; add one: export mean: func(xs: list<f64>) -> f64;"
            )
        declared = [item["type"] for item in world["imports"].values() if "type" in item]
        types = [
            self._type(number, f"the type {self.document['types'][number]['name']}") for number in sorted(declared)
        ]
        return World(
            text=text,
            package=self.document["packages"][world["package"]]["name"],
            name=world["name"],
            functions=functions,
            types=tuple(dict.fromkeys(kind for kind in types if isinstance(kind, Record | Enum))),
            imports=imports,
        )

    def _import(self, name: str, item: dict[str, Any]) -> str:
        if "interface" in item:
            interface = self.document["interfaces"][item["interface"]["id"]]
            name = f"{self.document['packages'][interface['package']]['name']}/{interface['name'] or name}"
            if name == LOGGING:
                return name
        raise BuildFailed(f"The world imports {name}; a cell in Zig or C may import {LOGGING} and nothing else.")

    def _function(self, name: str, item: dict[str, Any]) -> Function:
        if "function" not in item:
            raise BuildFailed(f"The world exports the interface {name}; export its functions one by one.")
        function = item["function"]
        if function["kind"] != "freestanding":
            raise BuildFailed(f"{name}: an async function cannot be called here; leave `async` out.")
        if name in {"memory", "cabi-realloc"}:
            raise BuildFailed(f"{name}: a module keeps this name for itself; choose another for the function.")
        params = tuple(
            Named(p["name"], self._type(p["type"], f"{name}: parameter {p['name']}")) for p in function["params"]
        )
        result = function.get("result")
        docs = (function.get("docs") or item.get("docs") or {}).get("contents") or ""
        return Function(name, params, None if result is None else self._type(result, f"{name}: the result"), docs)

    def _type(self, kind: str | int, where: str) -> Type:
        """Return a type; `where` begins the sentence if it is one that the glue does not carry."""
        if isinstance(kind, str):
            if kind in {"bool", "s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64", "f32", "f64", "char", "string"}:
                return Scalar(kind)
            raise _refusal(where, kind)
        if kind not in self.seen:
            self.seen[kind] = self._compound(self.document["types"][kind], where)
        return self.seen[kind]

    def _compound(self, declared: dict[str, Any], where: str) -> Type:
        match declared["kind"]:
            case {"type": alias}:
                return self._type(alias, where)
            case {"list": element}:
                return ListOf(self._type(element, where))
            case {"option": some}:
                return OptionOf(self._type(some, where))
            case {"result": {"ok": ok, "err": err}}:
                return ResultOf(*(None if side is None else self._type(side, where) for side in (ok, err)))
            case {"tuple": {"types": items}}:
                return TupleOf(tuple(self._type(item, where) for item in items))
            case {"record": {"fields": fields}}:
                return Record(declared["name"], tuple(Named(f["name"], self._type(f["type"], where)) for f in fields))
            case {"enum": {"cases": cases}}:
                return Enum(declared["name"], tuple(case["name"] for case in cases))
            case {"handle": handle}:
                raise _refusal(where, next(iter(handle)))
            case dict() as other:
                raise _refusal(where, " ".join(filter(None, (next(iter(other)), declared["name"]))))
            case other:
                raise _refusal(where, " ".join(filter(None, (str(other), declared["name"]))))


def _refusal(where: str, kind: str) -> BuildFailed:
    return BuildFailed(
        f"{where} is of type {kind}, which Zig and C cells cannot carry. They take numbers, bool, char, string, list,"
        " option, result, tuple, record and enum."
    )
