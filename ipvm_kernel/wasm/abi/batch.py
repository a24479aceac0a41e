"""Room for many lists or strings at once: a core module of our own that asks a guest's `realloc` again and again.

Each call of a core function from Python takes a microsecond, and a list of ten thousand texts asks for room ten thousand
times. Here the loop is Wasm as well. What it takes in fuel is known and given beforehand, so that a call uses the same
fuel as through the engine's own way.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from typing import TYPE_CHECKING, Final

import wasmtime

from ipvm_kernel.wasm import native
from ipvm_kernel.wasm.abi import bound

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.wasm.abi.guest import Call
    from ipvm_kernel.wasm.machine import Machine

_CODE: Final = """(module
  (import "" "memory" (memory 0))
  (import "" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
  (func (export "") (param $at i32) (param $end i32) (param $width i32) (param $align i32)
    (loop $next
      (i32.store (local.get $at)
        (call $realloc (i32.const 0) (i32.const 0) (local.get $align)
          (i32.mul (local.get $width) (i32.load offset=4 (local.get $at)))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (local.get $end))))))"""
_PROBE: Final = """(module
  (memory (export "memory") 1)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0)))"""

_ARGS: Final = struct.Struct("<I12xI12xI12xI12x")
_PLENTY: Final = 1 << 20

Room = ctypes.Array[ctypes.c_char]

SLOT: Final = 8
"""A list or string in memory: its place and its length, 4 bytes each."""


class Batch:
    """The module, compiled for one machine, and the fuel that it takes for itself.

    Attributes:
        once: Fuel for a call.
        each: Fuel for one round of its loop, without what `realloc` takes.
    """

    def __init__(self, machine: Machine) -> None:
        self._module = wasmtime.Module(machine.engine, _CODE)
        self._address = native.address(self._module.ptr())
        self.once, self.each = self._measure(machine)

    def _measure(self, machine: Machine) -> tuple[int, int]:
        probe = wasmtime.Module(machine.engine, _PROBE)
        store = wasmtime.Store(machine.engine)
        store.set_epoch_deadline(1 << 30)
        store.set_fuel(_PLENTY)
        inside = wasmtime.Instance(store, probe, [])
        exports = inside.exports(store)
        memory, realloc = exports["memory"], exports["realloc"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(realloc, wasmtime.Func)
        loop = wasmtime.Instance(store, self._module, [memory, realloc]).exports(store)[""]
        assert isinstance(loop, wasmtime.Func)

        def taken(func: wasmtime.Func, *args: int) -> int:
            store.set_fuel(_PLENTY)
            func(store, *args)
            return _PLENTY - store.get_fuel()

        alone, one, two = taken(realloc, 0, 0, 0, 0), taken(loop, 0, SLOT, 1, 1), taken(loop, 0, 2 * SLOT, 1, 1)
        return 2 * one - two, two - one - alone

    def bind(self, call: Call, memory: int, realloc: int) -> Callable[[int, int, int, int], None]:
        """Return the loop over one guest's `realloc`: it takes where the list is, its length, the width and alignment."""
        externs = b"".join(ctypes.string_at(at - bound.EXTERN_OF, bound.EXTERN_BYTES) for at in (memory, realloc))
        instance, loop = native.Instance(), native.Func()
        error = native.instance_new(call.context, self._address, externs, 2, instance, call.trap)
        call.check(error)
        native.instance_export(call.context, instance, b"", 0, loop)
        args = ctypes.create_string_buffer(_ARGS.size)
        return functools.partial(self._run, (call, loop, args))

    def _run(self, of: tuple[Call, Room, Room], at: int, count: int, width: int, align: int) -> None:
        call, loop, args = of
        before, after = ctypes.c_uint64(), ctypes.c_uint64()
        native.check(native.get_fuel(call.context, ctypes.byref(before)))
        native.check(native.set_fuel(call.context, before.value + self.once + self.each * count))
        _ARGS.pack_into(args, 0, at, at + SLOT * count, width, align)
        try:
            call.enter(ctypes.addressof(loop) + bound.EXTERN_OF, ctypes.addressof(args), 4)
        finally:  # what a trap left over of ours is not the guest's
            native.check(native.get_fuel(call.context, ctypes.byref(after)))
            if after.value > before.value:
                native.check(native.set_fuel(call.context, before.value))


@functools.lru_cache(8)
def batch(machine: Machine) -> Batch:
    """Return the module for a machine, compiled at the first call."""
    return Batch(machine)
