"""Component values through wasmtime's C API, without a Python call for each element.

wasmtime-py's own conversion costs a microsecond a byte and loses the tags of variants. Here values are laid out as the C
structures themselves: a `wasmtime_component_val_t` is 32 bytes, its kind in byte 0 and its payload from byte 8, and a
list of scalars is filled by one strided slice assignment.

What goes in and out are despecialised values (`types.Value`), checked before they come here. A second way into a guest,
straight to its linear memory, can take the same values.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import mmap
import struct
from array import array as _words
from typing import TYPE_CHECKING, Any, Final, assert_never

from ipvm_kernel.ipld import FileBytes
from ipvm_kernel.wasm import native
from ipvm_kernel.wasm import types as wit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.wasm.types import Value

_VAL: Final = native.VAL_BYTES
_ENTRY: Final = native.ENTRY_BYTES

ARENA_BYTES: Final = 512 << 20
"""What the values of one call may take as C structures: 16,777,216 of them. The engine then needs as much again and half."""

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
_TEXTS: Final = struct.Struct("<8xQQ8x")
_HUGE: Final = 4 << 20  # two huge pages
_U64_MASK: Final = (1 << 64) - 1
_WIDE: Final[dict[int, Any]] = {1: "B", 2: "H", 4: "I", 8: "Q"}

_string_at: Final = ctypes.string_at
_READ: Final = 0x100  # PyBUF_READ
_view: Final = ctypes.pythonapi.PyMemoryView_FromMemory  # a view of memory, with no type made for each length
_view.restype, _view.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)


class TooMuch(Exception):
    """Values that would take more than `ARENA_BYTES`."""


class Arena:
    """The Python buffers that C structures point into; they live as long as this object."""

    __slots__ = ("_kept", "_room")

    def __init__(self) -> None:
        self._kept: list[object] = []
        self._room = ARENA_BYTES

    def take(self, count: int, width: int) -> None:
        """Say that `count` structures will be made.

        Raises:
            TooMuch: There is no room for so many.
        """
        self._room -= count * width
        if self._room < 0:
            raise TooMuch

    def address(self, data: bytes) -> int:
        """Keep `data` and return the address of its first byte."""
        pointer = ctypes.c_char_p(data)
        self._kept.append(pointer)
        return ctypes.cast(pointer, ctypes.c_void_p).value or 0

    def name(self, text: str) -> tuple[int, int]:
        """Return the length and address of a name from a type, of which there are few."""
        entry = _named_once(text)
        self._kept.append(entry)
        return entry[1], entry[2]

    def address_of_array(self, data: bytearray | mmap.mmap) -> int:
        """Keep a mutable buffer, which is not empty, and return the address of its first byte."""
        first = ctypes.c_char.from_buffer(data)
        self._kept.append(first)
        return ctypes.addressof(first)


@functools.lru_cache(4096)
def _named_once(text: str) -> tuple[object, int, int]:
    data = text.encode()
    pointer = ctypes.c_char_p(data)
    return pointer, len(data), ctypes.cast(pointer, ctypes.c_void_p).value or 0


_NOWHERE: Final = Arena()  # for values that point nowhere


def call(context: int, func: object, signature: wit.Signature, values: Sequence[Value]) -> Value:
    """Call an exported function of a component with despecialised values and return its despecialised result.

    Args:
        context: The address of the store's context.
        func: The C structure of the function, by reference.
        signature: The function's own type.
        values: One for each parameter.

    Raises:
        WasmtimeError: The guest trapped, or the host stopped it. The instance cannot be entered again.
        TooMuch: The values are too large for the engine.
    """
    arena = Arena()
    arena.take(len(values), _VAL)
    params = bytearray().join([_lower(p.type, v, arena) for p, v in zip(signature.params, values, strict=True)])
    start = arena.address_of_array(params) if params else None
    gives = signature.result
    if gives is None:
        native.check(native.component_call(func, context, start, len(values), None, 0))
        return None
    result = native.Val()
    native.check(native.component_call(func, context, start, len(values), result, 1))
    try:
        return lift(gives, result.raw, 0)
    finally:
        native.component_val_delete(result)


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
            code = ord(value)
            if code >> 11 == 0x1B:  # a surrogate, at which the engine would abort
                raise ValueError(f"{code:#x} is no character")
            return _INT_VAL.pack(_CHAR, code)
        case wit.String():
            data = value.encode()
            return _SPAN_VAL.pack(_STRING, len(data), arena.address(data))
        case wit.List(element=element):
            if type(value) is FileBytes:
                value = value.read()
            width = wit.scalar(element)
            count = len(value) // (width or 1)
            arena.take(count, _VAL)
            if width is not None:
                array = _spread(element, width, value)
            elif element == wit.STRING:
                array = _spread_texts(value, arena)
            else:
                array = bytearray().join([_lower(element, item, arena) for item in value])
            return _SPAN_VAL.pack(_LIST, count, arena.address_of_array(array) if count else 8)
        case wit.Record(fields=fields):
            entries = bytearray()
            for field, item in zip(fields, value, strict=True):
                entries += _SPAN.pack(*arena.name(field.name)) + _lower(field.type, item, arena)
            return _SPAN_VAL.pack(_RECORD, len(fields), arena.address_of_array(entries) if fields else 8)
        case wit.Tuple(items=items):
            parts = bytearray().join([_lower(t, item, arena) for t, item in zip(items, value, strict=True)])
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
            chosen = [name for bit, name in enumerate(names) if value >> bit & 1]
            spans = bytearray().join([_SPAN.pack(*arena.name(name)) for name in chosen])
            return _SPAN_VAL.pack(_FLAGS, len(chosen), arena.address_of_array(spans) if chosen else 8)
        case wit.Opaque():
            raise TypeError(f"no value has the type {kind}")
        case _:
            assert_never(kind)


def _boxed(kind: wit.AnyType | None, value: Value, arena: Arena) -> int:
    """Return the address of a payload, or 0 where there is none."""
    return 0 if kind is None else arena.address_of_array(bytearray(_lower(kind, value, arena)))


def _named(kind: int, name: str, box: int, arena: Arena) -> bytes:
    return _NAMED_VAL.pack(kind, *arena.name(name), box)


def _spread(element: wit.AnyType, width: int, data: bytes) -> bytearray | mmap.mmap:
    """Return the C array of a list of scalars: 32 bytes an element, filled with one strided copy."""
    array = _blank(0 if isinstance(element, wit.Bool) else _KIND[element], len(data) // width)
    if width == 1:
        array[8::_VAL] = data  # several times as fast as through a view
    elif array:
        view = memoryview(array).cast(_WIDE[width])
        view[8 // width :: _VAL // width] = memoryview(data).cast("B").cast(_WIDE[width])
        view.release()
    return array


def _blank(kind: int, count: int) -> bytearray | mmap.mmap:
    """Return the C array of `count` structures of one kind, whose other bytes are zero.

    A large one is asked of the system in huge pages, where it has them: half of its cost is that of the pages.
    """
    size = count * _VAL
    if size < _HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(bytes((kind,)).ljust(_VAL, b"\0")) * count
    area = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        area.madvise(mmap.MADV_HUGEPAGE)
    area[0::_VAL] = bytes((kind,)) * count
    return area


def _spread_texts(texts: Sequence[str], arena: Arena) -> bytearray:
    """Return the C array of a list of texts, which stand side by side in one buffer."""
    encoded = [text.encode() for text in texts]
    lengths = list(map(len, encoded))
    base = arena.address(b"".join(encoded))
    array = bytearray(bytes((_STRING,)).ljust(_VAL, b"\0")) * len(encoded)
    if array:
        view = memoryview(array).cast("Q")
        view[1 :: _VAL // 8] = memoryview(_words("Q", lengths))
        view[2 :: _VAL // 8] = memoryview(_words("Q", itertools.accumulate(lengths[:-1], initial=base)))
        view.release()
    return array


def lift(kind: wit.AnyType, raw: bytes | memoryview, at: int) -> Value:
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
            array = _items(raw, at, _VAL)
            width = wit.scalar(element)
            if width is not None:
                return bytes(array.cast(_WIDE[width])[8 // width :: _VAL // width]) if array else b""
            if element == wit.STRING:
                return [
                    _string_at(data, length).decode() if length else "" for length, data in _TEXTS.iter_unpack(array)
                ]
            return [lift(element, array, i * _VAL) for i in range(len(array) // _VAL)]
        case wit.Record(fields=fields):
            array = _items(raw, at, _ENTRY)
            return tuple(lift(field.type, array, i * _ENTRY + 16) for i, field in enumerate(fields))
        case wit.Tuple(items=items):
            array = _items(raw, at, _VAL)
            return tuple(lift(item, array, i * _VAL) for i, item in enumerate(items))
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


def _span(raw: bytes | memoryview, at: int) -> bytes:
    """Return the bytes of a `{size, data}` that stands 8 bytes into the structure at `at`."""
    length, data = _SPAN.unpack_from(raw, at + 8)
    return ctypes.string_at(data, length) if length else b""


def _items(raw: bytes | memoryview, at: int, width: int) -> memoryview:
    """Return the structures of a `{size, data}` without copying them."""
    count, data = _SPAN.unpack_from(raw, at + 8)
    return _view(data, count * width, _READ) if count else memoryview(b"")


def _unboxed(kind: wit.AnyType | None, raw: bytes | memoryview, at: int) -> Value:
    """Read the payload that the pointer at `at` leads to, or None where the type has none."""
    address = int.from_bytes(raw[at : at + 8], "little")
    return None if kind is None or not address else lift(kind, _view(address, _VAL, _READ), 0)


def arguments(kinds: Sequence[wit.AnyType], start: int) -> list[Value]:
    """Return the despecialised values that a guest gave to a function of the host."""
    return [lift(kind, _view(start, len(kinds) * _VAL, _READ), i * _VAL) for i, kind in enumerate(kinds)]


def give(kind: wit.AnyType, value: Value, at: int) -> None:
    """Write what a function of the host answers at an address; wasmtime owns it from there on.

    Scalars, lists of scalars, and records and tuples of scalars are enough for what the host serves.
    """
    match kind:
        case wit.List(element=element) if width := wit.scalar(element):
            array = _spread(element, width, value)
            ctypes.memmove(at, _SPAN_VAL.pack(_LIST, *_owned(native.vallist_new, array, len(value) // width)), _VAL)
        case wit.Tuple(items=items):
            array = bytearray().join([_lower(item, part, _NOWHERE) for item, part in zip(items, value, strict=True)])
            ctypes.memmove(at, _SPAN_VAL.pack(_TUPLE, *_owned(native.valtuple_new, array, len(items))), _VAL)
        case wit.Record(fields=fields):
            array = bytearray()
            for field, part in zip(fields, value, strict=True):
                name = ctypes.create_string_buffer(_SPAN.size)
                native.byte_vec_new(name, len(field.name), field.name.encode())
                array += name.raw + _lower(field.type, part, _NOWHERE)
            ctypes.memmove(at, _SPAN_VAL.pack(_RECORD, *_owned(native.valrecord_new, array, len(fields))), _VAL)
        case _:
            ctypes.memmove(at, _lower(kind, value, _NOWHERE), _VAL)


def _owned(new: Any, array: bytearray | mmap.mmap, count: int) -> tuple[int, int]:
    """Return size and address of a copy of some structures in memory of wasmtime's own."""
    span = ctypes.create_string_buffer(_SPAN.size)
    new(span, count)
    size, data = _SPAN.unpack(span.raw)
    if array:
        ctypes.memmove(data, (ctypes.c_char * 0).from_buffer(array), len(array))
    return size, data


# --- core functions ---------------------------------------------------------------------------------------------------

_CORE: Final = {wit.S32: (0, struct.Struct("<B7xi20x")), wit.S64: (1, struct.Struct("<B7xq16x")),
                wit.F32: (2, _F32_VAL), wit.F64: (3, _F64_VAL)}  # fmt: skip


def call_core(context: int, func: object, signature: wit.Signature, values: Sequence[Value]) -> Value:
    """Call an exported function of a core module with numbers and return its result, several as a tuple.

    Raises:
        WasmtimeError: Its type is another.
        Trap: The guest trapped, or the host stopped it.
    """
    gives = signature.result
    kinds = gives.items if isinstance(gives, wit.Tuple) else () if gives is None else (gives,)
    params = bytearray()
    for param, value in zip(signature.params, values, strict=True):
        kind, form = _CORE[param.type]
        params += form.pack(kind, value)
    results = ctypes.create_string_buffer(len(kinds) * _VAL or 1)
    trap = ctypes.c_void_p()
    start = (ctypes.c_char * 0).from_buffer(params)
    error = native.func_call(context, func, start, len(values), results, len(kinds), ctypes.byref(trap))
    native.check(error)
    native.check_trap(trap)
    found = tuple(_CORE[kind][1].unpack_from(results, i * _VAL)[1] for i, kind in enumerate(kinds))
    return found if isinstance(gives, wit.Tuple) else found[0] if found else None
