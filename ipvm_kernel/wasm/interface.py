"""What a module offers, as data that outlives the engine: the functions, by their own names, with their WIT types."""

from __future__ import annotations

import contextlib
import difflib
import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ipvm_kernel.errors import BadModule, UnknownFunction
from ipvm_kernel.printable import plural, printable
from ipvm_kernel.wasm import binary
from ipvm_kernel.wasm import types as wit

if TYPE_CHECKING:
    import wasmtime
    from wasmtime.component import Component

    from ipvm_kernel.wasm.cache import CodeCache


_FORM: Final = 3
"""Grows when what is read from a binary changes, so that what an older ipvm kept is read anew."""


class Interface(msgspec.Struct, frozen=True):
    """What a module says of itself.

    Attributes:
        kind: Component or core module.
        functions: What it exports at its root.
        imports: The names of what it imports.
        memories: How many memories it has.
        grows_memory: True if a memory limit can change its answers (RULES 5).
        way: How values go in and out, in words, and why not straight if they do not.
    """

    kind: Literal["component", "module"]
    functions: tuple[wit.Signature, ...]
    imports: tuple[str, ...] = ()
    memories: int = 1
    grows_memory: bool = True
    way: str = ""
    form: int = 0

    def __str__(self) -> str:
        kind = "component" if self.kind == "component" else "core module"
        return f"{kind}, {plural(len(self.functions), 'function')}"

    def to_bytes(self) -> bytes:
        """Return this as text that `from_bytes` reads."""
        return msgspec.json.encode(msgspec.structs.replace(self, form=_FORM))

    @classmethod
    def from_bytes(cls, text: bytes) -> Interface | None:
        """Return the interface that `to_bytes` wrote, or None if it is from another version."""
        with contextlib.suppress(msgspec.MsgspecError):
            found = msgspec.json.decode(text, type=cls)
            return found if found.form == _FORM else None
        return None

    def exact(self, name: str) -> wit.Signature | None:
        """Return the function of exactly this name, or None."""
        return next((f for f in self.functions if f.name == name), None)

    def find(self, name: str) -> wit.Signature:
        """Return the function that a Homestar file means by `name`.

        Homestar tries the name itself, then upper, kebab, snake, lower camel and Pascal case, and `%` before an escaped
        WIT word.

        Raises:
            UnknownFunction: None of them is exported.
        """
        words = _words(name.removeprefix("%"))
        spellings = (
            name,
            name.removeprefix("%"),
            name.upper(),
            "-".join(words),
            "_".join(words),
            words[0] + "".join(word.capitalize() for word in words[1:]) if words else name,
            "".join(word.capitalize() for word in words),
        )
        for spelling in spellings:
            found = self.exact(spelling)
            if found is not None:
                return found
        raise unknown_function(name, [f.name for f in self.functions])


def known_interface(name: str, cache: CodeCache) -> Interface | None:
    """Return the interface of a module that was loaded before, without loading anything, or None."""
    text = cache.interface(name)
    return None if text is None else Interface.from_bytes(text)


def unknown_function(name: str, names: list[str]) -> UnknownFunction:
    """Return the error for a function that is not there, with the nearest name."""
    near = difflib.get_close_matches(name.replace("_", "-"), names, n=1)
    hint = f" Did you mean {printable(near[0], limit=80)!r}?" if near else ""
    offered = ", ".join(printable(n, limit=80) for n in names[:12]) + (", …" if len(names) > 12 else "")
    return UnknownFunction(
        f"the module has no function {printable(name, limit=80)!r}.{hint} It has: {offered or 'none'}"
    )


def _words(name: str) -> list[str]:
    """Split a name at separators and case changes: `AddOne`, `add_one` and `ADD-ONE` are the words add and one.

    A digit belongs to what stands before it: `cropBase64` is crop and base64.
    """
    parts = re.findall(r"[A-Z][A-Z0-9]*(?![a-z])|[A-Z]?[a-z][a-z0-9]*|[0-9]+[a-z0-9]*", name)
    return [part.lower() for part in parts]


# --- from the engine --------------------------------------------------------------------------------------------------

_CORE: Final[dict[str, wit.AnyType]] = {"i32": wit.S32, "i64": wit.S64, "f32": wit.F32, "f64": wit.F64}


def component_interface(engine: wasmtime.Engine, component: Component, wasm: bytes, why: str = "") -> Interface:
    """Return the interface of a compiled component whose binary is `wasm`; `why` says what keeps it from the straight way."""
    from wasmtime.component import FuncType

    exports = component.type.exports(engine)
    return Interface(
        kind="component",
        functions=tuple(component_signature(name, e.ty) for name, e in exports.items() if isinstance(e.ty, FuncType)),
        imports=tuple(component.type.imports(engine)),
        memories=binary.memories(wasm),
        grows_memory=binary.grows_memory(wasm),
        way=f"values go through the engine's own: {why}" if why else "values go straight into its memory and out of it",
    )


def module_interface(module: wasmtime.Module, wasm: bytes) -> Interface:
    """Return the interface of a compiled core module whose binary is `wasm`: signed integers, parameters `p0`, `p1` (RULES 2).

    Raises:
        BadModule: It imports something; a core module gets nothing from its host.
    """
    from wasmtime import FuncType

    imports = [f"{i.module}.{i.name}" for i in module.imports]
    if imports:
        wasi = " Build it as a component to use WASI." if imports[0].startswith("wasi_snapshot") else ""
        raise BadModule(
            f"the core module imports {printable(imports[0], limit=200)!r}; ipvm gives imports to components only.{wasi}"
        )
    return Interface(
        kind="module",
        functions=tuple(_core_signature(e.name, e.type) for e in module.exports if isinstance(e.type, FuncType)),
        memories=binary.memories(wasm),
        grows_memory=binary.grows_memory(wasm),
        way="numbers are passed as they are",
    )


def _core_signature(name: str, kind: Any) -> wit.Signature:
    params = tuple(wit.Field(f"p{i}", _core(p)) for i, p in enumerate(kind.params))
    results = tuple(_core(r) for r in kind.results)
    gives = None if not results else results[0] if len(results) == 1 else wit.Tuple(results)
    return wit.Signature(name, params, gives)


def _core(kind: object) -> wit.AnyType:
    return _CORE.get(str(kind)) or wit.Opaque(str(kind))


def component_signature(name: str, kind: Any) -> wit.Signature:
    """Return the signature of a function of a component, or of one that it imports."""
    try:
        params = tuple(wit.Field(p, _type(t)) for p, t in kind.params)
        result = kind.result
        return wit.Signature(name, params, None if result is None else _type(result))
    except TypeError:  # wasmtime-py does not know the kind of some part
        return wit.Signature(name, (wit.Field("unknown", wit.Opaque("a type that the engine cannot describe")),), None)


def _type(kind: Any) -> wit.AnyType:
    from wasmtime import component as wc

    simple: dict[type, wit.AnyType] = {
        wc.Bool: wit.BOOL, wc.S8: wit.S8, wc.U8: wit.U8, wc.S16: wit.S16, wc.U16: wit.U16, wc.S32: wit.S32,
        wc.U32: wit.U32, wc.S64: wit.S64, wc.U64: wit.U64, wc.F32: wit.F32, wc.F64: wit.F64, wc.Char: wit.CHAR,
        wc.String: wit.STRING,
    }  # fmt: skip
    found = simple.get(type(kind))
    if found is not None:
        return found
    match kind:
        case wc.ListType():
            return wit.List(_type(kind.element))
        case wc.RecordType():
            return wit.Record(tuple(wit.Field(name, _type(inner)) for name, inner in kind.fields))
        case wc.TupleType():
            return wit.Tuple(tuple(_type(inner) for inner in kind.elements))
        case wc.OptionType():
            return wit.Option(_type(kind.payload))
        case wc.ResultType():
            return wit.Result(*(None if side is None else _type(side) for side in (kind.ok, kind.err)))
        case wc.EnumType():
            return wit.Enum(tuple(kind.names))
        case wc.FlagsType():
            return wit.Flags(tuple(kind.names))
        case wc.VariantType():
            return wit.Variant(
                tuple(wit.Case(name, None if inner is None else _type(inner)) for name, inner in kind.cases)
            )
        case _:
            return wit.Opaque(type(kind).__name__.removesuffix("Type").lower())
