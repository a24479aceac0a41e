"""What a person gets: plain Python for a wire value, by its WIT type, whatever is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.ipld import FileBytes
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.lowering import lower
from ipvm_kernel.wasm.scalars import numbers, shortest_f32
from ipvm_kernel.wasm.wire import Load, misfit, sides, tagged

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Ipld


def plain(kind: wit.AnyType | None, wire: Ipld, load: Load) -> Any:
    """Return the plain Python value that a wire value stands for.

    A `list<u8>` is bytes, any other list of numbers a `NumberList`, a record a dict, a tuple a tuple, an option None or the value, a variant a dict of one case,
    flags a set, a list of pairs with text keys a list of tuples. An option that holds nothing, inside an option that
    holds it, is `{"some": None}`. A result that stands inside a value is `("ok", v)` or `("err", e)`; a function's own
    result is unwrapped by whoever asked for it.

    Raises:
        BadArgument: The wire value does not have this type.
        NotFound: A link leads to something that is not in the store.
    """
    match kind:
        case None:
            return wire
        case wit.Float(bits=32):
            return shortest_f32(lower(kind, wire, load, awaited=True))
        case wit.Bool() | wit.Int() | wit.Float() | wit.Char() | wit.String():
            return lower(kind, wire, load, awaited=True)
        case wit.Enum(names=names):
            return names[lower(kind, wire, load, awaited=True)]
        case wit.Flags(names=names):
            bits = lower(kind, wire, load, awaited=True)
            return {name for bit, name in enumerate(names) if bits >> bit & 1}
        case wit.List(element=element):
            if wit.scalar(element) is not None:
                data = lower(kind, wire, load, awaited=True)
                if element == wit.U8:
                    return data.read() if isinstance(data, FileBytes) else data
                return numbers(element, data)
            if type(wire) is dict and isinstance(element, wit.Tuple):
                pairs = sorted(wire.items(), key=lambda pair: pair[0].encode())
                return [plain(element, [key, item], load) for key, item in pairs]
            if type(wire) is list:
                return [plain(element, part, load) for part in wire]
        case wit.Record(fields=fields):
            if type(wire) is dict and wire.keys() == {field.name for field in fields}:
                return {field.name: plain(field.type, wire[field.name], load) for field in fields}
        case wit.Tuple(items=items):
            if type(wire) is list and len(wire) == len(items):
                return tuple(plain(inner, part, load) for inner, part in zip(items, wire, strict=True))
        case wit.Variant(cases=cases):
            if type(wire) is dict and len(wire) == 1:
                ((name, held),) = wire.items()
                case = next((case for case in cases if case.name == name), None)
                if case is not None and (case.payload is not None or held is None):
                    return {name: plain(case.payload, held, load)}
        case wit.Option(payload=payload):
            if tagged(payload, wire) and type(wire) is dict:
                return {"some": plain(payload, wire["some"], load)}
            return None if wire is None else plain(payload, wire, load)
        case wit.Result():
            side, held = sides(wire)
            inner = kind.err if side else kind.ok
            return ("err" if side else "ok", None if inner is None else plain(inner, held, load))
        case wit.Opaque():
            pass
    raise misfit(kind, wire)
