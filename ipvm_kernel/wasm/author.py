"""A person's Python values in the wire form of a parameter: strictly, before anything is hashed.

What does not fit is refused here, naming parameter, type and place, so that no instruction exists for it (RULES 1, 2).
A literal takes the type of its parameter: 20 becomes 20.0 for an f64. Data is never control: text that looks like a CID
stays text, and `["ok", 1]` stays a list.
"""

from __future__ import annotations

import difflib
import math
import os
import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, assert_never

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.printable import printable
from ipvm_kernel.wasm import adapters
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.adapters import Array, Buffer, Column, Table, plain_data
from ipvm_kernel.wasm.lifting import lift_scalars
from ipvm_kernel.wasm.scalars import packed, shortest_f32
from ipvm_kernel.wasm.wire import INLINE_SCALARS, sided, some

if TYPE_CHECKING:
    from ipvm_kernel.ipld import CID, Ipld

INLINE_LITERAL: Final = 65_536
"""A literal of more bytes than this is a link to them (RULES 2)."""

_EXACT_F64: Final = 1 << 53
_CODES: Final = {
    wit.BOOL: "?", wit.U8: "B", wit.S8: "b", wit.U16: "H", wit.S16: "h", wit.U32: "I", wit.S32: "i", wit.U64: "Q",
    wit.S64: "q", wit.F32: "f", wit.F64: "d",
}  # fmt: skip


class Scope(Protocol):
    """What a value may refer to besides itself."""

    def reference(self, value: object) -> Ipld:
        """Return the wire form of a handle or link, or None if `value` is neither."""

    def keep(self, data: bytes) -> CID:
        """Keep bytes as a file and return its CID."""

    def keep_file(self, path: os.PathLike[str]) -> CID:
        """Keep a file's bytes and return its CID."""


def arguments(
    name: str, signature: wit.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any], scope: Scope
) -> list[Ipld]:
    """Return the wire form of a call's arguments, in the order of the parameters.

    A trailing `option` may be left out and is written as null.

    Raises:
        BadArgument: An argument is missing, unknown, given twice, or does not fit its type.
    """
    params = signature.params
    if any(wit.opaque_in(param.type) for param in params):
        found = next(opaque for param in params if (opaque := wit.opaque_in(param.type)))
        raise BadArgument(f"{name}{signature} cannot be a task: {found} is no data")
    if len(args) > len(params):
        raise BadArgument(f"{name} takes {len(params)} arguments, found {len(args)}: {name}{_call(signature)}")
    given: dict[str, Any] = dict(zip((param.name for param in params), args, strict=False))
    known = {param.name for param in params}
    for key, value in kwargs.items():
        wire_name = key if key in known else key.replace("_", "-")
        if wire_name not in known:
            near = difflib.get_close_matches(wire_name, known, n=1)
            hint = f" Did you mean {near[0].replace('-', '_')!r}?" if near else ""
            raise BadArgument(f"{name} has no parameter {key!r}.{hint} {name}{_call(signature)}")
        if wire_name in given:
            raise BadArgument(f"{name} got {key!r} twice: {name}{_call(signature)}")
        given[wire_name] = value
    lacking = [param.name for param in params[: signature.required] if param.name not in given]
    if lacking:
        raise BadArgument(f"{name} needs {', '.join(map(repr, lacking))}: {name}{_call(signature)}")
    wires: list[Ipld] = []
    for param in params:
        if param.name not in given:
            wires.append(None)
            continue
        try:
            wires.append(author(param.type, given[param.name], scope))
        except BadArgument as error:
            joint = "" if error.message[:1] in ".[" else ": "
            raise BadArgument(f"{name}: {param.name}{joint}{error.message}") from None
    return wires


def _call(signature: wit.Signature) -> str:
    return f"({', '.join(map(str, signature.params))})"


def author(kind: wit.AnyType, value: Any, scope: Scope) -> Ipld:
    """Return the wire form that `value` has as a literal of type `kind`.

    Raises:
        BadArgument: It does not fit; the message names the place inside the value.
    """
    reference = scope.reference(value)
    if reference is not None:
        return reference
    if isinstance(value, os.PathLike):
        return scope.keep_file(value)
    value = plain_data(value)
    match kind:
        case wit.Bool():
            if type(value) is bool:
                return value
        case wit.Int():
            return _int(kind, value)
        case wit.Float():
            return _float(kind, value)
        case wit.Char():
            if isinstance(value, str) and len(value) == 1:
                return _text(kind, value)
        case wit.String():
            if isinstance(value, str):
                return _text(kind, value)
        case wit.List(element=element):
            return _list(kind, element, value, scope)
        case wit.Record(fields=fields):
            return _record(kind, fields, value, scope)
        case wit.Tuple(items=items):
            if isinstance(value, list | tuple) and len(value) == len(items):
                return [_part(f"[{i}]", t, v, scope) for i, (t, v) in enumerate(zip(items, value, strict=True))]
        case wit.Variant(cases=cases):
            return _variant(kind, cases, value, scope)
        case wit.Enum(names=names):
            if isinstance(value, str):
                if value in names:
                    return value
                raise _unknown(kind, value, names)
        case wit.Flags(names=names):
            if isinstance(value, set | frozenset | list | tuple) and all(isinstance(name, str) for name in value):
                for name in value:
                    if name not in names:
                        raise _unknown(kind, name, names)
                return [name for name in names if name in value]
        case wit.Option(payload=payload):
            return None if value is None else some(payload, author(payload, value, scope))
        case wit.Result(ok=ok, err=err):
            match value:
                case ("ok", payload) | {"ok": payload}:
                    return [1, None] if ok is None else sided(0, _part(".ok", ok, payload, scope))
                case ("err", payload) | {"err": payload}:
                    return [None, 1] if err is None else sided(1, _part(".err", err, payload, scope))
                case _:
                    pass
        case wit.Opaque():
            pass
        case _:
            assert_never(kind)
    raise misfit(kind, value)


def _part(place: str, kind: wit.AnyType, value: Any, scope: Scope) -> Ipld:
    try:
        return author(kind, value, scope)
    except BadArgument as error:
        raise BadArgument(f"{place}{'' if error.message[:1] in '.[' else ': '}{error.message}") from None


def _int(kind: wit.Int, value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if kind.low <= value <= kind.high:
            return int(value)
        raise BadArgument(f"expected {kind}, {kind.low} to {kind.high}, found {printable(str(value), limit=60)}")
    if isinstance(value, float):
        raise BadArgument(f"expected {kind}, found the float {value}: write int(...) or round(...)")
    raise misfit(kind, value)


def _float(kind: wit.Float, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise misfit(kind, value)
    number = float(value)
    if not math.isfinite(number):
        raise BadArgument(
            f"expected {kind}, found {number}, which no CID can name; inside a list of numbers it can be sent"
        )
    if isinstance(value, int) and abs(value) > _EXACT_F64 and int(number) != value:
        raise BadArgument(f"expected {kind}, found the integer {value}, which no float holds exactly")
    return _narrow(kind, number) if kind.bits == 32 else number


def _narrow(kind: wit.Float, number: float) -> float:
    try:
        return shortest_f32(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        raise BadArgument(f"expected {kind}, found {number}, which is beyond the largest f32") from None


def _text(kind: wit.AnyType, value: str) -> str:
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise BadArgument(
            f"expected {kind}, found text with a lone surrogate at {_surrogate(value)}, which has no UTF-8"
        )
    return str(value)


def _surrogate(value: str) -> int:
    return next(i for i, c in enumerate(value) if "\ud800" <= c <= "\udfff")


def _list(kind: wit.List, element: wit.AnyType, value: Any, scope: Scope) -> Ipld:
    if wit.scalar(element) is not None:
        found = _scalars(kind, element, value, scope)
        if found is not None:
            return found
    match value:
        case Column(values=values) if isinstance(element, wit.Option):
            value = values
        case Column():
            raise adapters.missing(value, "this column")
        case Array(value=inner):
            return author(kind, inner, scope)
        case Buffer():
            value = adapters.numbers(value)
        case Table() if isinstance(element, wit.Record):
            value = value.rows()
        case dict() if isinstance(element, wit.Tuple) and len(element.items) == 2:
            value = list(value.items())
        case str() | bytes() | dict() | set() | frozenset() | Table():
            raise misfit(kind, value)
        case Iterable():
            pass
        case _:
            raise misfit(kind, value)
    return [_part(f"[{i}]", element, item, scope) for i, item in enumerate(value)]


def _scalars(kind: wit.List, element: wit.AnyType, value: Any, scope: Scope) -> Ipld:
    """Return the wire form of a list of scalars, or None if one of its items is a handle and must be read by itself."""
    nan_is_meant = isinstance(value, Array)
    if isinstance(value, Array):
        value = plain_data(value.value)
    match value:
        case bytes() if element == wit.U8:
            data = value
        case Column() if nan_is_meant and isinstance(element, wit.Float):
            data = packed(element, [math.nan if item is None else item for item in value.values])
        case Column():
            raise adapters.missing(value, "this column")
        case Buffer():
            data = _recast(kind, element, value)
        case str() | bytes() | dict() | set() | frozenset() | Table():
            raise misfit(kind, value)
        case Iterable():
            items = list(value)
            if not all(isinstance(item, bool | int | float) for item in items):
                items = [plain_data(item) for item in items]
                if not all(isinstance(item, bool | int | float) for item in items):
                    return _listed(kind, element, items, scope)
            data = packed(element, [_number(element, item, i) for i, item in enumerate(items)])
        case _:
            raise misfit(kind, value)
    if element == wit.U8 and len(data) > INLINE_LITERAL:
        return scope.keep(data)
    return lift_scalars(element, data, scope.keep)


def _listed(kind: wit.List, element: wit.AnyType, items: list[Any], scope: Scope) -> Ipld:
    """Return a list of scalars some of which are handles."""
    wires = [_part(f"[{i}]", element, item, scope) for i, item in enumerate(items)]
    width = wit.scalar(element) or 1
    if len(wires) * width > INLINE_SCALARS:
        raise BadArgument(
            f"expected {kind}: more than {INLINE_SCALARS // width:,} numbers cannot hold handles; gather them first"
        )
    return wires


def _number(element: wit.AnyType, value: float, index: int) -> float:
    """Return one number of a list; NaN and infinity pass, since the list travels as raw bytes then."""
    try:
        match element:
            case wit.Bool():
                if type(value) is bool:
                    return value
            case wit.Int():
                return _int(element, value)
            case wit.Float(bits=bits):
                if isinstance(value, bool):
                    raise misfit(element, value)
                number: Any = value
                if isinstance(number, float) and (bits == 64 or not math.isfinite(number)):
                    return number
                return _float(element, value)
    except BadArgument as error:
        raise BadArgument(f"[{index}]: {error.message}") from None
    raise BadArgument(f"[{index}]: {misfit(element, value).message}")


def _recast(kind: wit.List, element: wit.AnyType, buffer: Buffer) -> bytes:
    """Return a buffer's numbers as the bytes of another scalar type, if none of them changes."""
    if buffer.code == _CODES[element]:
        return buffer.data
    floats = buffer.code in "fd"
    if buffer.code == "?" or element == wit.BOOL or (floats and isinstance(element, wit.Int)):
        found = {"?": "bools", "f": "f32 numbers", "d": "f64 numbers"}.get(buffer.code, "integers")
        raise BadArgument(f"expected {kind}, found an array of {found}: convert it, with .astype(...) say")
    values = adapters.numbers(buffer)
    if isinstance(element, wit.Float) and element.bits == 64:
        if not floats and values and max(map(abs, values)) > _EXACT_F64:
            index = next(i for i, v in enumerate(values) if abs(v) > _EXACT_F64)
            raise BadArgument(f"[{index}]: expected f64, found the integer {values[index]}, which may lose digits")
        return packed(element, values)
    return packed(element, [_number(element, v, i) for i, v in enumerate(values)])


def _record(kind: wit.Record, fields: tuple[wit.Field, ...], value: Any, scope: Scope) -> Ipld:
    if isinstance(value, Table):
        value = value.columns
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if not isinstance(value, Mapping):
        raise misfit(kind, value)
    given: dict[str, Any] = {}
    known = {field.name for field in fields}
    for key, item in value.items():
        name = key if key in known else str(key).replace("_", "-")
        if name not in known:
            raise _unknown(kind, str(key), tuple(known))
        given[name] = item
    lacking = [f.name for f in fields if f.name not in given and not isinstance(f.type, wit.Option)]
    if lacking:
        raise BadArgument(f"expected {kind}, found no {', '.join(map(repr, lacking))}")
    return {f.name: _part(f".{f.name}", f.type, given.get(f.name), scope) for f in fields}


def _variant(kind: wit.Variant, cases: tuple[wit.Case, ...], value: Any, scope: Scope) -> Ipld:
    match value:
        case str():
            name, payload = value, None
        case (str() as name, payload):
            pass
        case dict() if len(value) == 1:
            ((name, payload),) = value.items()
        case _:
            raise misfit(kind, value)
    for case in cases:
        if case.name == name:
            if case.payload is None:
                if payload is not None:
                    raise BadArgument(f".{name}: expected nothing, found {_described(payload)}")
                return {name: None}
            return {name: _part(f".{name}", case.payload, payload, scope)}
    raise _unknown(kind, str(name), tuple(case.name for case in cases))


def _unknown(kind: wit.AnyType, name: str, names: tuple[str, ...]) -> BadArgument:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return BadArgument(f"expected {kind}, found {printable(name, limit=60)!r}.{hint}")


_HINTS: Final[dict[tuple[str, str], str]] = {
    ("list<u8>", "str"): ": encode it with .encode(), or pass ipvm.file(path) for a file",
    ("string", "bytes"): ": decode it with .decode()",
    ("bool", "int"): ": write True or False",
}


def misfit(kind: wit.AnyType, value: object) -> BadArgument:
    """Return the error that says which type was expected and what was found."""
    hint = _HINTS.get((str(kind), type(value).__name__), "")
    return BadArgument(f"expected {kind}, found {_described(value)}{hint}")


def _described(value: object) -> str:
    match value:
        case None:
            return "None"
        case bool() | int() | float() | str():
            shown = printable(repr(value), limit=60)
            return f"{type(value).__name__} {shown}"
        case Column() | Buffer():
            return "an array of numbers"
        case Table():
            return "a table"
        case bytes():
            return f"{len(value):,} bytes"
        case list() | tuple() | dict() | set() | frozenset():
            return f"a {type(value).__name__} of {len(value):,}"
        case _:
            return f"a {type(value).__module__}.{type(value).__qualname__}"
