"""What a person gets: plain Python for a wire value, by its WIT type, whatever is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.lowering import lower
from ipvm_kernel.wasm.scalars import unpacked
from ipvm_kernel.wasm.wire import Load, misfit, sides

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Ipld


def plain(kind: wit.AnyType | None, wire: Ipld, load: Load) -> Any:
    """Return the plain Python value that a wire value stands for.

    A `list<u8>` is bytes, a record a dict, a tuple a tuple, an option None or the value, a variant a dict of one case,
    flags a set, a list of pairs with text keys a list of tuples. A result that stands inside a value is `("ok", v)` or
    `("err", e)`; a function's own result is unwrapped by whoever asked for it.

    Raises:
        BadArgument: The wire value does not have this type.
        NotFound: A link leads to something that is not in the store.
    """
    match kind:
        case wit.String() | wit.Float():
            return lower(kind, wire, load, awaited=True)
        case wit.List(element=element):
            if wit.scalar(element) is not None:
                data = lower(kind, wire, load, awaited=True)
                return data if element == wit.U8 else unpacked(element, data)
            if type(wire) is dict and isinstance(element, wit.Tuple):
                pairs = sorted(wire.items(), key=lambda pair: pair[0].encode())
                return [plain(element, [key, item], load) for key, item in pairs]
            return [plain(element, part, load) for part in _listed(kind, wire)]
        case wit.Record(fields=fields) if type(wire) is dict:
            return {field.name: plain(field.type, wire.get(field.name), load) for field in fields}
        case wit.Tuple(items=items):
            return tuple(plain(inner, part, load) for inner, part in zip(items, _listed(kind, wire), strict=False))
        case wit.Variant(cases=cases) if type(wire) is dict:
            payloads = {case.name: case.payload for case in cases}
            return {name: plain(payloads.get(name), payload, load) for name, payload in wire.items()}
        case wit.Flags():
            return set(_listed(kind, wire))
        case wit.Option(payload=payload):
            if isinstance(payload, wit.Option) and type(wire) is dict and tuple(wire) == ("some",):
                wire = wire["some"]
            return None if wire is None else plain(payload, wire, load)
        case wit.Result():
            side, payload = sides(wire)
            inner = kind.err if side else kind.ok
            return ("err" if side else "ok", None if inner is None else plain(inner, payload, load))
        case _:
            return wire


def _listed(kind: wit.AnyType, wire: Ipld) -> list[Ipld]:
    if type(wire) is list:
        return wire
    raise misfit(kind, wire)
