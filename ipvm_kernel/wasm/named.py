"""Large arguments that were named before: the CID of an array whose bytes have not changed since, without hashing them.

An array can change between two calls, and nothing says so. So the bytes that were named are kept, and compared: that is
several times as fast as hashing them, and never wrong.
"""

from __future__ import annotations

import ctypes
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipvm_kernel.ipld import CID
    from ipvm_kernel.wasm import types as wit

ROOM_BYTES: Final = 32 << 20
"""Bytes that are kept in all, those of what was named longest ago go first."""

LARGEST_BYTES: Final = 16 << 20
"""Bytes of an argument that is remembered."""


class Named:
    """What was named, by the object that holds it and the type that it was named as."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, wit.AnyType], tuple[bytes, CID]] = OrderedDict()
        self._room = ROOM_BYTES
        self._lock = threading.Lock()

    def find(self, element: wit.AnyType, data: memoryview) -> CID | None:
        """Return the CID of the elements that lie in `data`, if they were named before and are the same."""
        key = (id(data.obj), element)  # which finds it; what makes it right is that the bytes are equal
        with self._lock:
            found = self._known.get(key)
        if found is None or not _equal(found[0], data):
            return None
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
        return found[1]

    def note(self, element: wit.AnyType, held: object, data: bytes, cid: CID) -> None:
        """Remember the CID of elements whose bytes are `data`, and that `held` holds."""
        if len(data) > LARGEST_BYTES:
            return
        key = (id(held), element)
        with self._lock:
            before = self._known.pop(key, None)
            self._room += 0 if before is None else len(before[0])
            self._known[key] = (data, cid)
            self._room -= len(data)
            while self._room < 0:
                _, (dropped, _) = self._known.popitem(last=False)
                self._room += len(dropped)


class _Buffer(ctypes.Structure):
    """`Py_buffer`, as CPython's C API has it."""

    _fields_ = [
        ("buf", ctypes.c_void_p), ("obj", ctypes.c_void_p), ("len", ctypes.c_ssize_t), ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int), ("ndim", ctypes.c_int), ("format", ctypes.c_void_p), ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p), ("suboffsets", ctypes.c_void_p), ("internal", ctypes.c_void_p),
    ]  # fmt: skip


_get: Final = ctypes.pythonapi.PyObject_GetBuffer
_get.argtypes = (ctypes.py_object, ctypes.POINTER(_Buffer), ctypes.c_int)
_release: Final = ctypes.pythonapi.PyBuffer_Release
_release.argtypes, _release.restype = (ctypes.POINTER(_Buffer),), None
_memcmp: Final = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)


def _equal(data: bytes, view: memoryview) -> bool:
    """Return True if a view holds these bytes. Python itself compares a view one item at a time, and memory is faster."""
    if len(data) != view.nbytes:
        return False
    if view.obj is data:
        return True
    there = _Buffer()
    _get(view, ctypes.byref(there), 0)  # PyBUF_SIMPLE: bytes that lie together, or a BufferError
    try:
        return not _memcmp(data, there.buf, len(data))
    finally:
        _release(ctypes.byref(there))
