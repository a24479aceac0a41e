"""Whether a receipt of Homestar's means here what it means there.

Homestar's form of some values loses what they were, and it takes some arguments for control (RULES 1, `homestar.md` 1.4 and
1.8). A receipt of such a task has the right CID, and still may not answer for it here. This module says so, with the
reason; whoever is not sure says no, and the task is simply run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipvm_kernel.ipld import CID, Ipld
from ipvm_kernel.model import WASM_RUN, Promise
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.wire import INLINE_BYTES, INLINE_SCALARS

if TYPE_CHECKING:
    from ipvm_kernel.model import Instruction, Receipt

_CONTROL: Final = ("ok", "error", "just")


def doubt(instruction: Instruction, receipt: Receipt, signature: wit.Signature | None) -> str:
    """Return why a receipt of Homestar's may not answer an instruction here, or "" if it may.

    Args:
        instruction: The instruction.
        receipt: What Homestar answered.
        signature: The function's, or None if its module is not here.
    """
    if not receipt.ok:
        return "Homestar writes no receipts of errors"
    if instruction.op != WASM_RUN:
        return f"Homestar knows no operation but {WASM_RUN}"
    for index, arg in enumerate(instruction.args):
        promise = Promise.of(arg)
        if promise is not None and promise.branch == "ok":
            continue
        if type(arg) is CID and arg.codec in {"raw", "dag-pb"}:
            continue
        said = _bent(arg)
        if said:
            return f"argument {index + 1}: {said}"
    if signature is None:
        return "" if _plain(receipt.out.value) else "its module is not here to tell what its answer means"
    return _lost(signature.result, receipt.out.value)


def _bent(arg: Ipld) -> str:
    """Return what Homestar makes of an argument, where that is something else than the argument."""
    pending = [arg]
    while pending:
        value = pending.pop()
        if type(value) is CID:
            return "Homestar looks for a receipt where a link stands inside an argument, or is of a value"
        if type(value) is dict:
            if len(value) == 1 and type(next(iter(value.values()))) is CID:
                return "Homestar ignores which branch of an outcome is awaited, and in which order nested promises are kept"
            pending.extend(value.values())
        elif type(value) is list:
            if len(value) == 2 and type(value[0]) is str and value[0] in _CONTROL:
                return f"Homestar unwraps a list that begins with {value[0]!r}"
            pending.extend(value)
    return ""


def _plain(value: Ipld) -> bool:
    """Return True if a value has one meaning whatever its type."""
    pending = [value]
    while pending:
        current = pending.pop()
        if type(current) is list:
            if len(current) > INLINE_SCALARS // 8:
                return False
            pending.extend(current)
        elif type(current) is bytes:
            if len(current) > INLINE_BYTES:
                return False
        elif type(current) not in {bool, int, str}:
            return False
    return True


def _lost(kind: wit.AnyType | None, value: Ipld) -> str:
    """Return what Homestar's form of a result may have lost, or ""."""
    pending: list[tuple[wit.AnyType | None, Ipld]] = [(kind, value)]
    while pending:
        part, wire = pending.pop()
        match part, wire:
            case wit.Float(bits=32), _:
                return "Homestar rounds an f32 to seven digits"
            case wit.String(), CID():
                return "Homestar makes a link of a text that looks like a CID"
            case wit.Option(payload=wit.String() | wit.Option() | wit.Result()), None:
                return "Homestar writes none and some(...) of it alike"
            case wit.Result(ok=ok, err=err), [first, second]:
                if first is None and second is None:
                    return "Homestar writes ok and err of it alike"
                pending.append((err, second) if first is None else (ok, first))
            case wit.Option(payload=inner), _ if wire is not None:
                pending.append((inner, wire))
            case wit.List(element=wit.Int(bits=8, signed=False)), bytes():
                if len(wire) > INLINE_BYTES:
                    return "bytes above 1 MiB are a link here"
            case wit.List(element=wit.Tuple() as pair), dict() if wire:
                return f"Homestar makes a map of a list<{pair}>"
            case wit.List(element=element), list():
                width = wit.scalar(element)
                if width is not None and len(wire) * width > INLINE_SCALARS:
                    return "lists of numbers above 64 KiB are a link here"
                pending.extend((element, item) for item in wire)
            case wit.Tuple(items=items), list() if len(items) == len(wire):
                pending.extend(zip(items, wire, strict=True))
            case wit.Record(fields=fields), dict():
                pending.extend((field.type, wire.get(field.name)) for field in fields)
            case wit.Variant(cases=cases), dict():
                pending.extend((case.payload, wire[case.name]) for case in cases if case.name in wire)
    return ""
