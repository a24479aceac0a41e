"""The resolved key: the private name under which equal tasks share an outcome, however their inputs were given.

`f(await g)` and `f(value)` have one resolved key. It is the digest of an unambiguous form of the instruction, in which
the function has its own name, promises are replaced by what was promised, links that mean their content are told from
links that are values, and whatever is large is replaced by its digest (RULES 3). It never leaves this machine.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from ipvm_kernel.ipld import CID, encode
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Awaited
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.lowering import unwrap

LARGE_BYTES: Final = 65_536

# The forms that a value can have here. A list always begins with one of these, so no value can pose as another.
_LIST, _MAP, _CONTENT, _DIGEST = "l", "m", "c", "d"


def canonical(kind: wit.AnyType | None, value: Any, *, awaited: bool = False) -> Any:
    """Return the unambiguous form of an argument of type `kind`, or of a value whose type is not known.

    Raises:
        BrokenPromise: It awaits an ok value, and the function that it awaits answered `err`.
    """
    if type(value) is Awaited:
        return canonical(kind, value.value if kind is None else unwrap(kind, value), awaited=True)
    if isinstance(kind, wit.List) and wit.scalar(kind.element) is not None:
        if type(value) is CID:
            return [_CONTENT, value]  # for numbers side by side, a link is its bytes, awaited or not
        if type(value) is bytes and len(value) > LARGE_BYTES:
            return [_CONTENT, file_cid(value)]
    if type(value) is CID:
        return value if awaited else [_CONTENT, value]
    if type(value) is list:
        inner = _inner(kind, len(value))
        return [_LIST, *(canonical(part, item, awaited=awaited) for part, item in zip(inner, value, strict=True))]
    if type(value) is dict:
        fields = {field.name: field.type for field in kind.fields} if isinstance(kind, wit.Record) else {}
        return [_MAP, {key: canonical(fields.get(key), item, awaited=awaited) for key, item in value.items()}]
    if type(value) in (str, bytes) and len(value) > LARGE_BYTES:
        data = value.encode() if type(value) is str else value
        return [_DIGEST, type(value) is str, hashlib.sha256(data).digest()]
    return value


def _inner(kind: wit.AnyType | None, count: int) -> list[wit.AnyType | None]:
    """Return the type of each item of a list on the wire, where it is known."""
    match kind:
        case wit.List(element=element):
            return [element] * count
        case wit.Tuple(items=items) if len(items) == count:
            return list(items)
        case wit.Option(payload=payload):
            return _inner(payload, count)
        case _:
            return [None] * count


def key_of(rsc: str, op: str, input: Any, nnc: str | bytes) -> bytes:  # noqa: A002 - the model's word
    """Return the resolved key of an instruction in its unambiguous form: 32 bytes."""
    return hashlib.sha256(b"ipvm resolved key 1\0" + encode([rsc, op, input, nnc])).digest()
