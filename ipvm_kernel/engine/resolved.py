"""The resolved key: the private name under which equal tasks share an outcome, however their inputs were given.

`f(await g)` and `f(value)` have one resolved key. It is the digest of an unambiguous form of the instruction, in which
the function has its own name, promises are replaced by what was promised, numbers and text are what the guest gets, links
that mean their content are told from links that are values, and whatever is large is replaced by its digest (RULES 3). It
never leaves this machine.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from ipvm_kernel.errors import BadArgument, BrokenPromise
from ipvm_kernel.ipld import CID, encode
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Awaited
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.lowering import lower, unwrap
from ipvm_kernel.wasm.wire import sides, tagged

LARGE_BYTES: Final = 65_536

# The forms that a value can have here. A list always begins with one of these, so no value can pose as another.
_LIST, _MAP, _CONTENT, _DIGEST, _SOME, _SIDED = "l", "m", "c", "d", "s", "r"

_SCALARS: Final = (wit.Bool, wit.Int, wit.Float, wit.Char, wit.String, wit.Enum)


def canonical(kind: wit.AnyType | None, value: Any, *, awaited: bool = False) -> Any:
    """Return the unambiguous form of an argument of type `kind`, or of a value whose type is not known.

    Raises:
        BadArgument: An awaited value does not fit its type. It is refused here, since an equal literal, which is read
            less strictly, may have an outcome to share.
        BrokenPromise: It awaits an ok value, and the function that it awaits answered `err`.
    """
    if type(value) is Awaited:
        return _promised(kind, value)
    if isinstance(kind, wit.Option):
        if value is None:
            return None
        inner = value["some"] if tagged(kind.payload, value) else value
        return [_SOME, canonical(kind.payload, inner, awaited=awaited)]
    if isinstance(kind, wit.Result):
        return _sided(kind, value, awaited=awaited)
    if isinstance(kind, wit.List) and wit.scalar(kind.element) is not None:
        return _numbers(kind, value, awaited=awaited)
    if type(value) is CID:
        if not awaited:
            return [_CONTENT, value]
        return str(value) if isinstance(kind, wit.String) else value
    if isinstance(kind, _SCALARS) and type(value) not in (list, dict):
        value = lower(kind, value, _unread, awaited=awaited)
    if type(value) is list:
        parts = zip(_items(kind, len(value)), value, strict=True)
        return [_LIST, *(canonical(part, item, awaited=awaited) for part, item in parts)]
    if type(value) is dict:
        return [_MAP, {key: canonical(_field(kind, key), item, awaited=awaited) for key, item in value.items()}]
    if type(value) in (str, bytes) and len(value) > LARGE_BYTES:
        data = value.encode() if type(value) is str else value
        return [_DIGEST, type(value) is str, hashlib.sha256(data).digest()]
    return value


def _promised(kind: wit.AnyType | None, promised: Awaited) -> Any:
    """Return the unambiguous form of what was promised, if it fits."""
    if kind is None:
        return canonical(None, promised.value, awaited=True)
    try:
        lower(kind, promised, _unread)
        return canonical(kind, unwrap(kind, promised), awaited=True)
    except BrokenPromise as error:
        raise BrokenPromise(error.message, instruction=promised.instruction, error=error.error) from None


def _sided(kind: wit.Result, value: Any, *, awaited: bool) -> Any:
    """Return the unambiguous form of a result."""
    try:
        side, payload = sides(value)
    except BadArgument:
        return canonical(None, value, awaited=awaited)  # it will be refused, or is read as only Homestar reads it
    inner = kind.err if side else kind.ok
    return [_SIDED, side, None if inner is None else canonical(inner, payload, awaited=awaited)]


def _numbers(kind: wit.List, value: Any, *, awaited: bool) -> Any:
    """Return the unambiguous form of a list of scalars: the bytes that the guest gets, or a link to them."""
    if type(value) is CID:
        return [_CONTENT, value]  # numbers side by side are their bytes, awaited or not
    if type(value) is list:
        for item in value:
            if type(item) is Awaited:
                _promised(kind.element, item)
            elif type(item) is CID:
                return [_LIST, *(canonical(kind.element, item, awaited=awaited) for item in value)]
    return [_CONTENT, file_cid(lower(kind, value, _unread, awaited=awaited))]


def _unread(link: CID) -> bytes:  # noqa: ARG001 - what it leads to is looked at when the guest runs
    """Open no link."""
    return b""


def _items(kind: wit.AnyType | None, count: int) -> list[wit.AnyType | None]:
    """Return the type of each item of a list on the wire, where it is known."""
    match kind:
        case wit.List(element=element):
            return [element] * count
        case wit.Tuple(items=items) if len(items) == count:
            return list(items)
        case _:
            return [None] * count


def _field(kind: wit.AnyType | None, key: str) -> wit.AnyType | None:
    """Return the type of a value in a map on the wire, where it is known."""
    match kind:
        case wit.Record(fields=fields):
            return next((field.type for field in fields if field.name == key), None)
        case wit.Variant(cases=cases):
            return next((case.payload for case in cases if case.name == key), None)
        case wit.List(element=wit.Tuple(items=items)) if len(items) == 2:
            return items[1]
        case _:
            return None


def key_of(rsc: str, op: str, input: Any, nnc: str | bytes) -> bytes:  # noqa: A002 - the model's word
    """Return the resolved key of an instruction in its unambiguous form: 32 bytes."""
    return hashlib.sha256(b"ipvm resolved key 1\0" + encode([rsc, op, input, nnc])).digest()
