"""The C functions of wasmtime's core API that a call goes through, bound as those of `native` are."""

from __future__ import annotations

import ctypes
from ctypes import c_size_t, c_void_p
from typing import Any, Final

from wasmtime import _ffi as ffi

RAW_BYTES: Final = 16
"""A core value as `wasmtime_val_raw_t` has it: little-endian, and zero beyond its width."""

EXTERN_BYTES: Final = 32
EXTERN_OF: Final = 8  # where the function or memory stands in the C structure of an import or export

if ctypes.sizeof(ffi.wasmtime_val_raw_t) != RAW_BYTES or ctypes.sizeof(ffi.wasmtime_extern_t) != EXTERN_BYTES:
    raise ImportError(
        "wasmtime's C structures have other sizes than ipvm knows: install wasmtime 50.0.1"
    )  # pragma: no cover


def _bound(name: str, gives: Any, *takes: Any) -> Any:
    function = ffi.dll[name]
    function.restype, function.argtypes = gives, takes
    return function


call_unchecked: Final = _bound("wasmtime_func_call_unchecked", c_void_p, *[c_void_p] * 3, c_size_t, c_void_p)
func_new_unchecked: Final = _bound("wasmtime_func_new_unchecked", None, *[c_void_p] * 6)
memory_data: Final = _bound("wasmtime_memory_data", c_void_p, c_void_p, c_void_p)
memory_size: Final = _bound("wasmtime_memory_data_size", c_size_t, c_void_p, c_void_p)
trap_new: Final = _bound("wasmtime_trap_new", c_void_p, ctypes.c_char_p, c_size_t)

Callback: Final = ctypes.CFUNCTYPE(c_size_t, c_void_p, c_void_p, c_void_p, c_size_t)
"""A function that a core module imports: its number, the caller, and where its arguments are and its results go."""

READ: Final = 0x100  # PyBUF_READ
WRITE: Final = 0x200  # PyBUF_WRITE
view: Final = ctypes.pythonapi.PyMemoryView_FromMemory
view.restype, view.argtypes = ctypes.py_object, (c_void_p, ctypes.c_ssize_t, ctypes.c_int)
