"""The C functions of wasmtime that a call goes through, bound once and without wrappers.

wasmtime-py asks the engine for a function's type at each call and keeps the exceptions of all threads in one place. These
functions take addresses as integers, so what they are given must be alive: whoever calls keeps the Python objects.
"""

from __future__ import annotations

import ctypes
from ctypes import c_bool, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any, Final

import wasmtime
from wasmtime import _ffi as ffi

VAL_BYTES: Final = 32
ENTRY_BYTES: Final = 48
INSTANCE_BYTES: Final = 16
FUNC_BYTES: Final = 32

Val: Final = ctypes.c_char * VAL_BYTES
Instance: Final = ctypes.c_char * INSTANCE_BYTES
Func: Final = ctypes.c_char * FUNC_BYTES
"""Room for C structures; `.raw` gives their bytes."""

_SIZES: Final = {
    ffi.wasmtime_component_val_t: VAL_BYTES,
    ffi.wasmtime_component_valrecord_entry: ENTRY_BYTES,
    ffi.wasmtime_val_t: VAL_BYTES,
    ffi.wasmtime_instance_t: INSTANCE_BYTES,
    ffi.wasmtime_component_instance_t: INSTANCE_BYTES,
    ffi.wasmtime_extern_t: FUNC_BYTES,
    ffi.wasmtime_component_func_t: FUNC_BYTES,
}
if any(ctypes.sizeof(kind) != size for kind, size in _SIZES.items()):  # pragma: no cover - a wasmtime built otherwise
    raise ImportError("wasmtime's C structures have other sizes than ipvm knows: install wasmtime 50.0.1")


def _bound(name: str, gives: Any, *takes: Any) -> Any:
    function = ffi.dll[name]  # a new object at each look-up, so that wasmtime-py's own keeps its types
    function.restype, function.argtypes = gives, takes
    return function


store_new: Final = _bound("wasmtime_store_new", c_void_p, c_void_p, c_void_p, c_void_p)
store_context: Final = _bound("wasmtime_store_context", c_void_p, c_void_p)
store_delete: Final = _bound("wasmtime_store_delete", None, c_void_p)
store_limiter: Final = _bound("wasmtime_store_limiter", None, c_void_p, *[c_int64] * 5)
store_on_epoch: Final = _bound("wasmtime_store_epoch_deadline_callback", None, *[c_void_p] * 4)
set_fuel: Final = _bound("wasmtime_context_set_fuel", c_void_p, c_void_p, c_uint64)
get_fuel: Final = _bound("wasmtime_context_get_fuel", c_void_p, c_void_p, c_void_p)
set_epoch_deadline: Final = _bound("wasmtime_context_set_epoch_deadline", None, c_void_p, c_uint64)
set_wasi: Final = _bound("wasmtime_context_set_wasi", c_void_p, c_void_p, c_void_p)
increment_epoch: Final = _bound("wasmtime_engine_increment_epoch", None, c_void_p)

component_instantiate: Final = _bound("wasmtime_component_linker_instantiate", c_void_p, *[c_void_p] * 4)
component_func: Final = _bound("wasmtime_component_instance_get_func", c_bool, *[c_void_p] * 4)
component_call: Final = _bound(
    "wasmtime_component_func_call", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t
)
component_val_delete: Final = _bound("wasmtime_component_val_delete", None, c_void_p)
component_add_func: Final = _bound(
    "wasmtime_component_linker_instance_add_func",
    c_void_p, c_void_p, ctypes.c_char_p, c_size_t, c_void_p, c_void_p, c_void_p,
)  # fmt: skip
vallist_new: Final = _bound("wasmtime_component_vallist_new_uninit", None, c_void_p, c_size_t)
valtuple_new: Final = _bound("wasmtime_component_valtuple_new_uninit", None, c_void_p, c_size_t)
valrecord_new: Final = _bound("wasmtime_component_valrecord_new_uninit", None, c_void_p, c_size_t)
byte_vec_new: Final = _bound("wasm_byte_vec_new", None, c_void_p, c_size_t, ctypes.c_char_p)

instance_new: Final = _bound("wasmtime_instance_new", c_void_p, *[c_void_p] * 3, c_size_t, *[c_void_p] * 2)
instance_export: Final = _bound(
    "wasmtime_instance_export_get", c_bool, c_void_p, c_void_p, ctypes.c_char_p, c_size_t, c_void_p
)
func_call: Final = _bound(
    "wasmtime_func_call", c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p
)
error_new: Final = _bound("wasmtime_error_new", c_void_p, ctypes.c_char_p)

Callback: Final = ctypes.CFUNCTYPE(c_size_t, *[c_void_p] * 4, c_size_t, c_void_p, c_size_t)
"""A function that a component imports: its number, context, type, arguments and results."""

EpochCallback: Final = ctypes.CFUNCTYPE(
    c_size_t, c_void_p, c_void_p, ctypes.POINTER(c_uint64), ctypes.POINTER(ctypes.c_uint8)
)
"""What a store asks when the epoch has moved."""


def address(pointer: Any) -> int:
    """Return the address that a pointer of ctypes holds."""
    return ctypes.cast(pointer, c_void_p).value or 0


def check(error: int | None) -> None:
    """Raise the error that a C function returned, if it did.

    Raises:
        WasmtimeError: It did.
    """
    if error:
        pointer = ctypes.cast(error, ctypes.POINTER(ffi.wasmtime_error_t))
        raise wasmtime.WasmtimeError._from_ptr(pointer)  # noqa: SLF001 - wasmtime-py has no public way


def check_trap(trap: c_void_p) -> None:
    """Raise the trap that a core function left, if it did.

    Raises:
        Trap: It did.
    """
    if trap.value:
        raise wasmtime.Trap._from_ptr(ctypes.cast(trap, ctypes.POINTER(ffi.wasm_trap_t)))  # noqa: SLF001
