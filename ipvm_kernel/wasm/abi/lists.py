"""Lists, which lie elsewhere in a guest's memory than what points to them. Numbers are copied side by side, once each way.

Source: component model `CanonicalABI.md`, sections "Loading" (`load_list_from_range`) and "Storing"
(`store_list_into_range`).
"""

from __future__ import annotations

import itertools
import struct
from array import array
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ipvm_kernel.ipld import FileBytes
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.abi.guest import Broken, fits
from ipvm_kernel.wasm.abi.texts import encoded, load_each
from ipvm_kernel.wasm.lifting import inline_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipvm_kernel.wasm.abi.guest import Guest
    from ipvm_kernel.wasm.abi.items import Load, Shape, Store
    from ipvm_kernel.wasm.types import Value

_MANY: Final = 32
"""Room for so many lists or texts is asked for by a loop in Wasm."""

_AT_ONCE: Final = 64  # items written by one call of `struct`
_PAUSE: Final = 1 << 16  # elements between two looks at whether the call may go on
_SLOT: Final = struct.Struct("<II")
_BOOLS: Final = bytes((0, *[1] * 255))


class List(NamedTuple):
    """How lists are stored, to a place and a length, and loaded from them."""

    store: Store
    load: Load


def _bytes(value: Value) -> bytes | memoryview:
    """Return the bytes of a list of numbers: of bytes, of anything that has the buffer protocol, or of a file."""
    if type(value) is bytes:
        return value
    return value.read() if type(value) is FileBytes else memoryview(value).cast("B")


def numbers(element: wit.AnyType) -> List:
    """Return how lists of numbers are stored and loaded: one copy each way, from a file too.

    Where the call has a place for what is large, such a list goes there out of the guest's memory, and is not copied here.
    """
    width, limit = wit.scalar(element) or 1, inline_bytes(element)
    is_bool = element == wit.BOOL

    def store(value: Value, guest: Guest) -> tuple[int, int]:
        in_file = type(value) is FileBytes
        data = value if in_file else _bytes(value)
        length = fits(len(data))
        if length % width:
            raise ValueError(f"{length:,} bytes are no numbers of {width} bytes each")
        at = guest.allocate(width, length)
        if in_file:
            value.into(guest.memory[at : at + length])
        else:
            guest.memory[at : at + length] = data
        return at, length // width

    def load(at: int, count: int, guest: Guest) -> Value:
        length = count * width
        guest.within(at, length, width)
        found = guest.memory[at : at + length]
        if is_bool:
            data = found.tobytes()
            found = memoryview(data.translate(_BOOLS) if data.translate(None, b"\0\1") else data)
        large = guest.call.large
        return found.tobytes() if large is None or length <= limit else large(element, found)

    return List(store, load)


def chars() -> List:
    """Return how lists of characters are stored and loaded."""

    def store(value: Sequence[str], guest: Guest) -> tuple[int, int]:
        guest.call.put(len(value))
        text = "".join(value)
        if len(text) != len(value):
            raise ValueError("expected single characters")
        try:
            data = text.encode("utf-32-le")
        except UnicodeEncodeError as error:
            raise ValueError(f"{ord(text[error.start]):#x} is no character") from None
        at = guest.allocate(4, fits(len(data)))
        guest.memory[at : at + len(data)] = data
        return at, len(value)

    def load(at: int, count: int, guest: Guest) -> list[str]:
        guest.within(at, 4 * count, 4)
        guest.call.got(count)
        try:
            return list(str(guest.memory[at : at + 4 * count], "utf-32-le"))
        except UnicodeDecodeError:
            raise Broken from None

    return List(store, load)


def elements(inner: Shape) -> List:
    """Return how lists of anything are stored and loaded."""
    return List(_store_elements(inner), _load_elements(inner))


def _store_elements(inner: Shape) -> Store:
    size, slots, spread, single = inner.size, inner.slots, inner.spread, inner.struct
    group = max(1, _AT_ONCE // slots)
    many = struct.Struct("<" + inner.form * group)

    def store(value: Sequence[Value], guest: Guest) -> tuple[int, int]:
        count = len(value)
        guest.call.put(count * slots)
        base = at = guest.allocate(inner.align, fits(count * size))
        for start in range(0, count, group):
            part = value[start : start + group]
            out: list[Any] = []
            if inner.plain == 1:
                out += part
            else:
                for item in part:
                    spread(item, out, guest)
            if len(part) == group:
                many.pack_into(guest.memory, at, *out)
            else:
                for i in range(len(part)):
                    single.pack_into(guest.memory, at + i * size, *out[i * slots : (i + 1) * slots])
            at += group * size
        return base, count

    return store


def _load_elements(inner: Shape) -> Load:
    size, gather, single = inner.size, inner.gather, inner.struct

    def part(at: int, count: int, guest: Guest) -> list[Value]:
        guest.call.got(count * inner.slots)
        rows = single.iter_unpack(guest.memory[at : at + count * size])
        if inner.plain == 2:
            return list(rows)
        if inner.plain == 1:
            return [item for (item,) in rows]
        return [gather(row, 0, guest) for row in rows]

    def load(at: int, count: int, guest: Guest) -> list[Value]:
        guest.within(at, count * size, inner.align)
        if count <= _PAUSE:
            return part(at, count, guest)
        starts = range(0, count, _PAUSE)
        parts = (part(at + start * size, min(_PAUSE, count - start), guest) for start in starts)
        return list(itertools.chain.from_iterable(parts))

    return load


# --- many lists or texts ----------------------------------------------------------------------------------------------


def texts(inner: Shape) -> List:
    """Return how lists of texts in UTF-8 are stored and loaded."""

    def load(at: int, count: int, guest: Guest) -> list[str]:
        guest.within(at, count * _SLOT.size, 4)
        guest.call.got(2 * count)
        if not count:
            return []
        return load_each(list(_SLOT.iter_unpack(guest.memory[at : at + count * _SLOT.size])), guest)

    return List(_store_many(_store_elements(inner), encoded, 1), load)


def rows(inner: Shape, width: int) -> List:
    """Return how lists of lists of numbers are stored and loaded."""
    return List(_store_many(_store_elements(inner), _bytes, width), _load_elements(inner))


def _store_many(few: Store, data_of: Callable[[Value], bytes | memoryview], width: int) -> Store:
    """Return what stores many lists of numbers, or texts: their lengths first, then the places, then what they hold."""

    def store(value: Sequence[Value], guest: Guest) -> tuple[int, int]:
        count = len(value)
        if count < _MANY:
            return few(value, guest)
        guest.call.put(2 * count)
        data = [data_of(item) for item in value]
        lengths = [fits(len(item)) for item in data]
        base = guest.allocate(4, fits(count * _SLOT.size))
        slots = slice(base, base + count * _SLOT.size)
        guest.memory[slots] = memoryview(array("Q", [length // width << 32 for length in lengths])).cast("B")
        guest.allocate_each(base, count, width, width)
        memory, size = guest.memory, guest.size
        places = memory[slots].cast("I")[::2].tolist()
        for at, length, item in zip(places, lengths, data, strict=True):
            if at % width or at + length > size:
                raise Broken
            memory[at : at + length] = item
        return base, count

    return store
