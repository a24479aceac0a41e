"""From despecialised values to an outcome: one call of a guest, and what its answer is on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ipvm_kernel.errors import Unencodable
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Outcome, failure
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.lifting import lift, lift_scalars
from ipvm_kernel.wasm.runtime import Failure, call
from ipvm_kernel.wasm.scalars import numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.wasm.limits import Limits, Report
    from ipvm_kernel.wasm.module import Module
    from ipvm_kernel.wasm.stop import Stop
    from ipvm_kernel.wasm.wire import Keep


class Ended(msgspec.Struct):
    """How a call ended.

    Attributes:
        outcome: The answer.
        own: True if every machine would give it.
        value: A value that no CID can name, as plain Python.
    """

    outcome: Outcome
    own: bool
    value: Any = None


def perform(
    module: Module,
    signature: wit.Signature,
    values: Sequence[wit.Value],
    *,
    limits: Limits,
    seed: bytes,
    stop: Stop,
    report: Report,
    keep: Keep,
) -> Ended:
    """Call a function and return how it ended; see `runtime.call` for the arguments."""
    opaque = wit.opaque_in(signature.result)
    if opaque is not None:
        return Ended(failure("conversion", f"{signature} answers with {opaque}, which is no data"), own=False)
    try:
        value = call(
            module,
            signature,
            values,
            limits=limits,
            seed=seed,
            stop=stop,
            report=report,
            large=lambda element, data: lift_scalars(element, data, keep),
        )
    except Failure as error:
        return Ended(failure(error.kind, error.message), own=error.own)
    if signature.result is None:
        return Ended(Outcome("ok", None), own=True)
    try:
        return Ended(Outcome("ok", lift(signature.result, value, keep)), own=True)
    except Unencodable as error:
        return Ended(failure("unencodable", error.message), own=False, value=_shown(signature.result, value))


def _shown(kind: wit.AnyType | None, value: wit.Value) -> Any:
    """Return a despecialised value as plain Python, NaN and all."""
    match kind:
        case wit.List(element=element) if wit.scalar(element) is None:
            return [_shown(element, item) for item in value]
        case wit.List(element=element):
            return value if element == wit.U8 or type(value) is CID else numbers(element, value)
        case wit.Record(fields=fields):
            return {field.name: _shown(field.type, item) for field, item in zip(fields, value, strict=True)}
        case wit.Tuple(items=items):
            return tuple(_shown(item, part) for item, part in zip(items, value, strict=True))
        case wit.Option(payload=payload):
            if value is None:
                return None
            return {"some": None} if isinstance(payload, wit.Option) and value[0] is None else _shown(payload, value[0])
        case wit.Variant(cases=cases):
            case = cases[value[0]]
            return {case.name: _shown(case.payload, value[1])}
        case wit.Result(ok=ok, err=err):
            return ("err" if value[0] else "ok", _shown(err if value[0] else ok, value[1]))
        case wit.Enum(names=names):
            return names[value]
        case wit.Flags(names=names):
            return {name for bit, name in enumerate(names) if value >> bit & 1}
        case _:
            return value
