"""A person's Python values in the wire form of a parameter: strictly, before anything is hashed.

What does not fit is refused here, naming parameter, type and place, so that no instruction exists for it (RULES 1, 2).
A literal takes the type of its parameter: 20 becomes 20.0 for an f64. Data is never control: text that looks like a CID
stays text, and `["ok", 1]` stays a list.
"""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, assert_never

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Promise
from ipvm_kernel.printable import plural, printable
from ipvm_kernel.wasm import adapters
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.adapters import Array, Buffer, Column, Table, plain_data
from ipvm_kernel.wasm.lifting import lift_scalars
from ipvm_kernel.wasm.literals import NUMBERS, described, integer, misfit, number, pack, recast, text
from ipvm_kernel.wasm.named import LARGEST_BYTES
from ipvm_kernel.wasm.scalars import packed
from ipvm_kernel.wasm.wire import INLINE_SCALARS, keyed, placed, sided, some

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.wasm.named import Named

INLINE_LITERAL: Final = 65_536
"""A literal of more bytes than this is a link to them (RULES 2)."""


class Scope(Protocol):
    """What a value may refer to besides itself."""

    def reference(self, value: object) -> Ipld:
        """Return the wire form of a handle or link, or None if `value` is neither."""

    @property
    def named(self) -> Named:
        """The CIDs of large arguments that were named before."""

    def keep(self, data: bytes | memoryview) -> CID:
        """Keep bytes as a file and return its CID. A view is good until then."""

    def keep_file(self, path: os.PathLike[str]) -> CID:
        """Keep a file's bytes and return its CID."""


class Call:
    """What a function takes, worked out once for all calls that are declared of it."""

    def __init__(self, signature: wit.Signature) -> None:
        self._signature = signature
        self._params = signature.params
        self._names = [param.name for param in signature.params]
        self._required = self._names[: signature.required]
        self._label = printable(signature.name, limit=80)
        types = [*(param.type for param in signature.params), signature.result]
        self._opaque = next(filter(None, map(wit.opaque_in, types)), None)

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], scope: Scope) -> list[Ipld]:
        """Return the wire form of a call's arguments, in the order of the parameters.

        A trailing `option` may be left out and is written as null.

        Raises:
            BadArgument: An argument is missing, unknown, given twice, or does not fit its type.
        """
        label, names = self._label, self._names
        if self._opaque is not None:
            raise BadArgument(f"{label}: {self._signature} cannot be a task, since {self._opaque} is no data")
        if len(args) > len(names):
            raise BadArgument(f"{label} takes {plural(len(names), 'argument')}, found {len(args)}: {self._usage()}")
        given: dict[str, Any] = dict(zip(names, args, strict=False))
        for key, value in kwargs.items():
            name, shown = _spelled(key, names), printable(key, limit=60)
            if name not in names:
                raise BadArgument(f"{label} has no parameter {shown!r}.{_near(key, names)} {self._usage()}")
            if name in given:
                raise BadArgument(f"{label} got {shown!r} twice: {self._usage()}")
            given[name] = value
        lacking = [name for name in self._required if name not in given]
        if lacking:
            raise BadArgument(f"{label} needs {', '.join(map(repr, lacking))}: {self._usage()}")
        return [_argument(label, param, given, scope) for param in self._params]

    def _usage(self) -> str:
        return f"{self._label}({', '.join(map(str, self._params))})"


def _argument(label: str, param: wit.Field, given: dict[str, Any], scope: Scope) -> Ipld:
    if param.name not in given:
        return None
    try:
        return author(param.type, given[param.name], scope)
    except BadArgument as error:
        raise placed(label, placed(param.name, error)) from None


def _spelled(key: str, names: Iterable[str]) -> str:
    """Return a WIT name as it is among `names`, of which Python spells `add-one` add_one and `import` import_."""
    return key if key in names else key.rstrip("_").replace("_", "-")


def _near(key: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(key.replace("_", "-"), names, n=1)
    return f" Did you mean {near[0].replace('-', '_')!r}?" if near else ""


def author(kind: wit.AnyType, value: Any, scope: Scope) -> Ipld:
    """Return the wire form that `value` has as a literal of type `kind`.

    Raises:
        BadArgument: It does not fit; the message names the place inside the value.
    """
    reference = scope.reference(value)
    if reference is not None:
        return reference
    if isinstance(value, os.PathLike):
        if not _is_bytes(kind):
            raise BadArgument(f"expected {kind}, found a path, which means the bytes of its file")
        return scope.keep_file(value)
    value = adapters.octets(value) if kind == wit.BYTES else plain_data(value)
    match kind:
        case wit.Bool():
            if type(value) is bool:
                return value
        case wit.Int():
            return integer(kind, value)
        case wit.Float():
            return number(kind, value)
        case wit.Char():
            if isinstance(value, str) and len(value) == 1:
                return text(kind, value)
        case wit.String():
            if isinstance(value, str):
                return text(kind, value)
        case wit.List(element=element):
            return _list(kind, element, value, scope)
        case wit.Record(fields=fields):
            return _record(kind, fields, value, scope)
        case wit.Tuple(items=items):
            if isinstance(value, Buffer):
                value = adapters.numbers(value)
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
            if isinstance(payload, wit.Option) and isinstance(value, dict) and tuple(value) == ("some",):
                value = value["some"]  # as `plain` shows an option inside an option
            elif value is None:
                return None
            return some(payload, author(payload, value, scope))
        case wit.Result(ok=ok, err=err):
            match value:
                case ("ok" | "err" as side, payload):
                    return _sided(side, ok if side == "ok" else err, payload, scope)
                case dict() if tuple(value) in (("ok",), ("err",)):
                    ((side, payload),) = value.items()
                    return _sided(side, ok if side == "ok" else err, payload, scope)
                case _:
                    pass
        case wit.Opaque():
            pass
        case _:
            assert_never(kind)
    raise misfit(kind, value)


def _is_bytes(kind: wit.AnyType) -> bool:
    """Return True for a type that a file's bytes can be read as: text, numbers side by side, or an option of those."""
    while isinstance(kind, wit.Option):
        kind = kind.payload
    return kind == wit.STRING or (isinstance(kind, wit.List) and wit.scalar(kind.element) is not None)


def _part(place: str, kind: wit.AnyType, value: Any, scope: Scope) -> Ipld:
    try:
        return author(kind, value, scope)
    except BadArgument as error:
        raise placed(place, error) from None


def _sided(side: str, kind: wit.AnyType | None, payload: Any, scope: Scope) -> Ipld:
    if kind is not None:
        return sided(int(side == "err"), _part(f".{side}", kind, payload, scope))
    if payload is not None:
        raise BadArgument(f".{side}: expected nothing, found {described(payload)}")
    return [1, None] if side == "ok" else [None, 1]


def _list(kind: wit.List, element: wit.AnyType, value: Any, scope: Scope) -> Ipld:
    if wit.scalar(element) is not None:
        return _scalars(kind, element, value, scope)
    match value:
        case Column(values=values) if isinstance(element, wit.Option):
            value = values
        case Column():
            raise adapters.missing(value, numbers=False)
        case Array(value=inner):
            return author(kind, inner, scope)
        case Buffer():
            value = adapters.numbers(value)
        case Table() if isinstance(element, wit.Record):
            value = value.rows()
        case dict() if isinstance(element, wit.Tuple) and len(element.items) == 2:
            value = value.items()
        case str() | bytes() | Mapping() | set() | frozenset() | Table():
            raise misfit(kind, value)
        case Iterable():
            pass
        case _:
            raise misfit(kind, value)
    wires: list[Any] = [_part(f"[{i}]", element, item, scope) for i, item in enumerate(value)]
    plainly = isinstance(element, wit.Tuple) and all(type(wire) is list for wire in wires)  # no handle, no link
    if plainly and keyed(element, [wire[0] for wire in wires]):
        named = dict(wires)
        return named if Promise.of(named) is None else wires  # data is never control
    return wires


def _scalars(kind: wit.List, element: wit.AnyType, value: Any, scope: Scope) -> Ipld:
    """Return the wire form of a list of scalars. In it NaN and infinity pass, since the list travels as raw bytes then."""
    nan_is_meant = isinstance(value, Array)
    if nan_is_meant:
        value = plain_data(value.value)
    data: bytes | memoryview
    match value:
        case bytes() if element == wit.U8:
            data = value
        case Column() if nan_is_meant and isinstance(element, wit.Float):
            data = packed(element, [math.nan if item is None else item for item in value.values])
        case Column():
            raise adapters.missing(value, numbers=isinstance(element, wit.Float))
        case Buffer():
            data = recast(kind, element, value)
        case str() | bytes() | Mapping() | set() | frozenset() | Table():
            raise misfit(kind, value)
        case Iterable():
            items = list(value)
            if not set(map(type, items)) <= NUMBERS:
                items = [plain_data(item) for item in items]
                if not set(map(type, items)) <= NUMBERS:
                    return _mixed(kind, element, items, scope)
            data = pack(element, items)
        case _:
            raise misfit(kind, value)
    if len(data) <= min(INLINE_LITERAL, INLINE_SCALARS):
        return lift_scalars(element, data, scope.keep)
    return _large(element, data, value, scope)


def _large(element: wit.AnyType, data: bytes | memoryview, value: Any, scope: Scope) -> Ipld:
    """Return a link to a large list of scalars, whose bytes are `data` and that `value` was given for."""
    view = memoryview(data)
    known: Ipld = scope.named.find(element, view)
    if known is not None:
        return known
    own = isinstance(value, Buffer) and data is value.data
    if len(data) <= LARGEST_BYTES:
        data = bytes(data)  # the one copy: whoever holds the memory may change it
    clean = element == wit.U8 or (own and value.clean(data))
    link = scope.keep(data) if clean else lift_scalars(element, data, scope.keep)
    # What the user holds may be named again. What was made here, of a list say, will not.
    if isinstance(value, Buffer | bytes) and isinstance(link, CID) and isinstance(data, bytes):
        scope.named.note(element, view.obj, data, link)
    return link


def _mixed(kind: wit.List, element: wit.AnyType, items: list[Any], scope: Scope) -> Ipld:
    """Return the wire form of a list of scalars some of which are handles, or do not belong there."""
    wires = [_part(f"[{i}]", element, item, scope) for i, item in enumerate(items)]
    width = wit.scalar(element) or 1
    if len(wires) * width > INLINE_SCALARS:
        raise BadArgument(
            f"expected {kind}: more than {INLINE_SCALARS // width:,} numbers cannot hold handles; gather them first"
        )
    return wires


def _record(kind: wit.Record, fields: tuple[wit.Field, ...], value: Any, scope: Scope) -> Ipld:
    if isinstance(value, Table):
        value = value.columns
    elif isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if not isinstance(value, Mapping):
        raise misfit(kind, value)
    given: dict[str, Any] = {}
    names = [field.name for field in fields]
    for key, item in value.items():
        name = _spelled(str(key), names)
        if name not in names:
            raise _unknown(kind, str(key), tuple(names))
        if name in given:
            raise BadArgument(f"expected {kind}, found {name!r} twice")
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
                    raise BadArgument(f".{name}: expected nothing, found {described(payload)}")
                return {name: None}
            return {name: _part(f".{name}", case.payload, payload, scope)}
    raise _unknown(kind, str(name), tuple(case.name for case in cases))


def _unknown(kind: wit.AnyType, name: str, names: tuple[str, ...]) -> BadArgument:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return BadArgument(f"expected {kind}, found {printable(name, limit=60)!r}.{hint}")
