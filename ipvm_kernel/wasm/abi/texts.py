"""Strings in a guest's memory, in each of the three encodings that a component can choose.

Source: component model `CanonicalABI.md`, sections "Loading" (`load_string_from_range`) and "Storing"
(`store_string_into_range`). What comes from here is UTF-8 as far as the rules for its room are concerned.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final, NamedTuple

from ipvm_kernel.wasm.abi import bound
from ipvm_kernel.wasm.abi.guest import Broken, fits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipvm_kernel.wasm.abi.guest import Guest
    from ipvm_kernel.wasm.abi.wiring import Encoding

_UTF16: Final = 1 << 31  # in a length: of `latin1+utf16`, it is the second
_LARGE: Final = 4096

_utf8_of: Final = ctypes.pythonapi.PyUnicode_AsUTF8AndSize
_utf8_of.restype, _utf8_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_void_p)


class Texts(NamedTuple):
    """How one encoding is stored and loaded: to a place and a length, and from them."""

    store: Callable[[str, Guest], tuple[int, int]]
    load: Callable[[int, int, Guest], str]


def encoded(text: str) -> bytes | memoryview:
    """Return the UTF-8 of a text; a long one in ASCII is not copied, and must stay alive.

    Raises:
        UnicodeEncodeError: It has a lone surrogate.
    """
    if len(text) < _LARGE or not text.isascii():
        return text.encode()
    size = ctypes.c_ssize_t()
    where = _utf8_of(text, ctypes.byref(size))
    view: memoryview = bound.view(where, size.value, bound.READ)
    return view


def _store_utf8(text: str, guest: Guest) -> tuple[int, int]:
    data = encoded(text)
    length = fits(len(data))
    at = guest.allocate(1, length)
    guest.memory[at : at + length] = data
    return at, length


def _load_utf8(at: int, length: int, guest: Guest) -> str:
    guest.within(at, length, 1)
    return _decoded(guest.memory[at : at + length], "utf-8")


def _decoded(data: memoryview, encoding: str) -> str:
    try:
        return str(data, encoding)
    except UnicodeDecodeError:
        raise Broken from None


def _store_utf16(text: str, guest: Guest) -> tuple[int, int]:
    data = text.encode("utf-16-le")
    worst = fits(2 * len(encoded(text)))
    at = guest.allocate(2, worst)
    guest.memory[at : at + len(data)] = data
    if len(data) < worst:
        at = guest.reallocate(at, worst, 2, len(data))
    return at, len(data) // 2


def _load_utf16(at: int, units: int, guest: Guest) -> str:
    guest.within(at, 2 * units, 2)
    return _decoded(guest.memory[at : at + 2 * units], "utf-16-le")


def _store_compact(text: str, guest: Guest) -> tuple[int, int]:
    units = fits(len(encoded(text)))
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError as error:
        begun = text[: error.start].encode("latin-1")  # which a guest's `realloc` sees
        data = text.encode("utf-16-le")
        worst = fits(2 * units)
        at = guest.allocate(2, units)
        guest.memory[at : at + len(begun)] = begun
        at = guest.reallocate(at, units, 2, worst)
        guest.memory[at : at + len(data)] = data
        if worst > len(data):
            at = guest.reallocate(at, worst, 2, len(data))
        return at, len(data) // 2 | _UTF16
    at = guest.allocate(2, units)
    guest.memory[at : at + len(data)] = data
    if len(data) < units:
        at = guest.reallocate(at, units, 2, len(data))
    return at, len(data)


def _load_compact(at: int, tagged: int, guest: Guest) -> str:
    if tagged & _UTF16:
        return _load_utf16(at, tagged ^ _UTF16, guest)
    guest.within(at, tagged, 2)
    return str(guest.memory[at : at + tagged], "latin-1")


TEXTS: Final[dict[Encoding, Texts]] = {
    "utf8": Texts(_store_utf8, _load_utf8),
    "utf16": Texts(_store_utf16, _load_utf16),
    "latin1+utf16": Texts(_store_compact, _load_compact),
}


def load_each(slots: Sequence[tuple[int, int]], guest: Guest) -> list[str]:
    """Load many texts in UTF-8; those that lie close together, and are ASCII, at once."""
    for at, length in slots:
        if at + length > guest.size:
            raise Broken
    total = sum(length for _, length in slots)
    first = min(at for at, _ in slots)
    last = max(at + length for at, length in slots)
    if last - first > 4 * total + _LARGE:
        return [_load_utf8(at, length, guest) for at, length in slots]
    guest.read(total)
    whole = bytes(guest.memory[first:last])
    if whole.isascii():
        text = whole.decode("ascii")
        return [text[at - first : at - first + length] for at, length in slots]
    try:
        return [whole[at - first : at - first + length].decode() for at, length in slots]
    except UnicodeDecodeError:
        raise Broken from None
