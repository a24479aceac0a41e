"""Component values through wasmtime's C API, without a Python call for each element.

wasmtime-py's own conversion costs a microsecond a byte and loses the tags of variants. Here values are laid out as the C
structures themselves: a `wasmtime_component_val_t` is 32 bytes, its kind in byte 0 and its payload from byte 8, and a
list of scalars is filled by one strided slice assignment.

What goes in and out are despecialised values (`types.Value`), checked before they come here. A second way into a guest,
straight to its linear memory, can take the same values.
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any, Final, assert_never

from wasmtime import WasmtimeError
from wasmtime import _ffi as ffi

from ipvm_kernel.wasm import types as wit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wasmtime import Store
    from wasmtime.component import Func

    from ipvm_kernel.wasm.types import Value

_VAL: Final = ctypes.sizeof(ffi.wasmtime_component_val_t)
_ENTRY: Final = ctypes.sizeof(ffi.wasmtime_component_valrecord_entry)
if (_VAL, _ENTRY) != (32, 48):  # pragma: no cover - a wasmtime that was built otherwise
    raise ImportError(f"wasmtime's C API has values of {_VAL} and {_ENTRY} bytes; ipvm knows 32 and 48")

_KIND: Final[dict[wit.AnyType, int]] = {
    **{wit.Int(bits, signed=signed): kind for kind, (signed, bits) in enumerate(
        ((True, 8), (False, 8), (True, 16), (False, 16), (True, 32), (False, 32), (True, 64), (False, 64)), 1)},
    wit.F32: 9, wit.F64: 10,
}  # fmt: skip
_CHAR, _STRING, _LIST, _RECORD, _TUPLE, _VARIANT, _ENUM, _OPTION, _RESULT, _FLAGS = range(11, 21)

_BOOL_VAL: Final = struct.Struct("<B7x?23x")
_INT_VAL: Final = struct.Struct("<B7xQ16x")
_F32_VAL: Final = struct.Struct("<B7xf20x")
_F64_VAL: Final = struct.Struct("<B7xd16x")
_SPAN_VAL: Final = struct.Struct("<B7xQQ8x")  # a kind, then {size, data}
_NAMED_VAL: Final = struct.Struct("<B7xQQQ")  # a kind, then {{size, data}, pointer}
_RESULT_VAL: Final = struct.Struct("<B7xB7xQ8x")
_SPAN: Final = struct.Struct("<QQ")
_U64_MASK: Final = (1 << 64) - 1
_WIDE: Final[dict[int, Any]] = {1: "B", 2: "H", 4: "I", 8: "Q"}


class Arena:
    """The Python buffers that C structures point into; they live as long as this object."""

    def __init__(self) -> None:
        self._kept: list[object] = []

    def address(self, data: bytes) -> int:
        """Keep `data` and return the address of its first byte."""
        pointer = ctypes.c_char_p(data)
        self._kept.append((data, pointer))
        return ctypes.cast(pointer, ctypes.c_void_p).value or 0

    def address_of_array(self, data: bytearray) -> int:
        """Keep a mutable buffer and return the address of its first byte."""
        array = (ctypes.c_char * len(data)).from_buffer(data)
        self._kept.append(array)
        return ctypes.addressof(array)


def call(store: Store, func: Func, signature: wit.Signature, values: Sequence[Value]) -> Value:
    """Call an exported function with despecialised values and return its despecialised result.

    Raises:
        WasmtimeError: The guest trapped, or the host stopped it. The instance cannot be entered again.
    """
    arena = Arena()
    vals = bytearray().join(_lower(p.type, v, arena) for p, v in zip(signature.params, values, strict=True))
    params = ctypes.cast(arena.address_of_array(vals), ctypes.POINTER(ffi.wasmtime_component_val_t)) if vals else None
    gives = signature.result
    result = ffi.wasmtime_component_val_t() if gives is not None else None
    error = ffi.wasmtime_component_func_call(
        ctypes.byref(func._func),  # noqa: SLF001 - wasmtime-py has no public way to the C structure
        store._context(),  # noqa: SLF001
        params,
        len(values),
        ctypes.byref(result) if result is not None else None,
        0 if result is None else 1,
    )
    if error:  # type: ignore[truthy-bool]  # a null pointer is false
        raise WasmtimeError._from_ptr(error)  # noqa: SLF001
    if result is None or gives is None:
        return None
    try:
        return _lift(gives, ctypes.string_at(ctypes.addressof(result), _VAL), 0)
    finally:
        ffi.wasmtime_component_val_delete(ctypes.byref(result))


def _lower(kind: wit.AnyType, value: Value, arena: Arena) -> bytes:
    match kind:
        case wit.Bool():
            return _BOOL_VAL.pack(0, value)
        case wit.Int():
            return _INT_VAL.pack(_KIND[kind], value & _U64_MASK)
        case wit.Float(bits=32):
            return _F32_VAL.pack(9, value)
        case wit.Float():
            return _F64_VAL.pack(10, value)
        case wit.Char():
            return _INT_VAL.pack(_CHAR, ord(value))
        case wit.String():
            data = value.encode()
            return _SPAN_VAL.pack(_STRING, len(data), arena.address(data))
        case wit.List(element=element):
            width = wit.scalar(element)
            if width is not None:
                array = _spread(element, width, value)
                count = len(value) // width
            else:
                array = bytearray().join(_lower(element, item, arena) for item in value)
                count = len(value)
            return _SPAN_VAL.pack(_LIST, count, arena.address_of_array(array) if count else 8)
        case wit.Record(fields=fields):
            entries = bytearray()
            for field, item in zip(fields, value, strict=True):
                name = field.name.encode()
                entries += _SPAN.pack(len(name), arena.address(name)) + _lower(field.type, item, arena)
            return _SPAN_VAL.pack(_RECORD, len(fields), arena.address_of_array(entries) if fields else 8)
        case wit.Tuple(items=items):
            parts = bytearray().join(_lower(t, item, arena) for t, item in zip(items, value, strict=True))
            return _SPAN_VAL.pack(_TUPLE, len(items), arena.address_of_array(parts) if items else 8)
        case wit.Variant(cases=cases):
            case = cases[value[0]]
            return _named(_VARIANT, case.name, _boxed(case.payload, value[1], arena), arena)
        case wit.Enum(names=names):
            return _named(_ENUM, names[value], 0, arena)
        case wit.Option(payload=payload):
            box = 0 if value is None else _boxed(payload, value[0], arena)
            return _INT_VAL.pack(_OPTION, box)
        case wit.Result(ok=ok, err=err):
            side, item = value
            return _RESULT_VAL.pack(_RESULT, 1 - side, _boxed(err if side else ok, item, arena))
        case wit.Flags(names=names):
            chosen = [name.encode() for bit, name in enumerate(names) if value >> bit & 1]
            spans = bytearray().join(_SPAN.pack(len(name), arena.address(name)) for name in chosen)
            return _SPAN_VAL.pack(_FLAGS, len(chosen), arena.address_of_array(spans) if chosen else 8)
        case wit.Opaque():
            raise TypeError(f"no value has the type {kind}")
        case _:
            assert_never(kind)


def _boxed(kind: wit.AnyType | None, value: Value, arena: Arena) -> int:
    """Return the address of a payload, or 0 where there is none."""
    return 0 if kind is None else arena.address_of_array(bytearray(_lower(kind, value, arena)))


def _named(kind: int, name: str, box: int, arena: Arena) -> bytes:
    text = name.encode()
    return _NAMED_VAL.pack(kind, len(text), arena.address(text), box)


def _spread(element: wit.AnyType, width: int, data: bytes) -> bytearray:
    """Return the C array of a list of scalars: 32 bytes an element, filled with one strided copy."""
    kind = 0 if isinstance(element, wit.Bool) else _KIND[element]
    array = bytearray(bytes((kind,)).ljust(_VAL, b"\0")) * (len(data) // width)
    if array:
        view = memoryview(array).cast(_WIDE[width])
        view[8 // width :: _VAL // width] = memoryview(data).cast("B").cast(_WIDE[width])
        view.release()
    return array


def _lift(kind: wit.AnyType, raw: bytes, at: int) -> Value:
    """Read the value whose C structure begins at `at` of `raw`. The memory it points to is wasmtime's and still there."""
    match kind:
        case wit.Bool():
            return raw[at + 8] != 0
        case wit.Int(bits=bits, signed=signed):
            return int.from_bytes(raw[at + 8 : at + 8 + bits // 8], "little", signed=signed)
        case wit.Float(bits=32):
            return struct.unpack_from("<f", raw, at + 8)[0]
        case wit.Float():
            return struct.unpack_from("<d", raw, at + 8)[0]
        case wit.Char():
            return chr(int.from_bytes(raw[at + 8 : at + 12], "little"))
        case wit.String():
            return _span(raw, at).decode()
        case wit.List(element=element):
            count, data = _SPAN.unpack_from(raw, at + 8)
            array = ctypes.string_at(data, count * _VAL) if count else b""
            width = wit.scalar(element)
            if width is not None:
                return bytes(memoryview(array).cast(_WIDE[width])[8 // width :: _VAL // width]) if count else b""
            return [_lift(element, array, i * _VAL) for i in range(count)]
        case wit.Record(fields=fields):
            array = _items(raw, at, _ENTRY)
            return tuple(_lift(field.type, array, i * _ENTRY + 16) for i, field in enumerate(fields))
        case wit.Tuple(items=items):
            array = _items(raw, at, _VAL)
            return tuple(_lift(item, array, i * _VAL) for i, item in enumerate(items))
        case wit.Variant(cases=cases):
            name = _span(raw, at).decode()
            index = next(i for i, case in enumerate(cases) if case.name == name)
            return index, _unboxed(cases[index].payload, raw, at + 24)
        case wit.Enum(names=names):
            return names.index(_span(raw, at).decode())
        case wit.Option(payload=payload):
            return (_unboxed(payload, raw, at + 8),) if any(raw[at + 8 : at + 16]) else None
        case wit.Result(ok=ok, err=err):
            side = 0 if raw[at + 8] else 1
            return side, _unboxed(err if side else ok, raw, at + 16)
        case wit.Flags(names=names):
            array = _items(raw, at, 16)
            chosen = {_span(array, i * 16 - 8).decode() for i in range(len(array) // 16)}
            return sum(1 << bit for bit, name in enumerate(names) if name in chosen)
        case wit.Opaque():
            raise TypeError(f"no value has the type {kind}")
        case _:
            assert_never(kind)


def _span(raw: bytes, at: int) -> bytes:
    """Return the bytes of a `{size, data}` that stands 8 bytes into the structure at `at`."""
    length, data = _SPAN.unpack_from(raw, at + 8)
    return ctypes.string_at(data, length) if length else b""


def _items(raw: bytes, at: int, width: int) -> bytes:
    count, data = _SPAN.unpack_from(raw, at + 8)
    return ctypes.string_at(data, count * width) if count else b""


def _unboxed(kind: wit.AnyType | None, raw: bytes, at: int) -> Value:
    """Read the payload that the pointer at `at` leads to, or None where the type has none."""
    address = int.from_bytes(raw[at : at + 8], "little")
    return None if kind is None or not address else _lift(kind, ctypes.string_at(address, _VAL), 0)
