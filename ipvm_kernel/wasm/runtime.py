"""Run one function of one module once, in a store of its own, within its limits.

Whatever the guest does comes back as a value or as a `Failure`; nothing it does can end this process or be seen by the
next call. Every way to kill the process that wasmtime-py leaves open is closed here or in `machine`, `capi` and `host`,
and each has a test that runs it in a process of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import component as wc

from ipvm_kernel.wasm import capi, host, machine
from ipvm_kernel.wasm.limits import MEMORY_BYTES, Kind, Limits, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.wasm import types as wit
    from ipvm_kernel.wasm.module import Module
    from ipvm_kernel.wasm.stop import Stop

_FUEL: Final = 1 << 62  # wasmtime counts fuel in signed 64 bits; half of it is what no guest ever uses
_TABLE_ELEMENTS: Final = 1 << 20
_INSTANCES: Final = 64


class Failure(Exception):
    """A call that gave no value.

    Attributes:
        kind: One of the kinds of RULES 5.
        message: One line.
        own: True if the cause lies in the guest's own steps, so that every machine would meet it: it may be filed.
    """

    def __init__(self, kind: Kind, message: str, *, own: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.own = own


def call(
    module: Module,
    signature: wit.Signature,
    values: Sequence[wit.Value],
    *,
    limits: Limits,
    seed: bytes,
    stop: Stop,
    report: Report,
) -> wit.Value:
    """Call `signature` of `module` with despecialised values and return its despecialised result.

    Args:
        module: The module, loaded.
        signature: One of its functions.
        values: One value for each parameter, checked by `values.lower`.
        limits: What it may use.
        seed: What its virtual randomness follows from.
        stop: The way to end it from another thread.
        report: Filled in, whatever happens.

    Raises:
        Failure: It trapped, met a limit or was stopped.
    """
    here = host.Host(seed)
    fuel = min(limits.fuel, _FUEL) if limits.fuel is not None else _FUEL
    memory = min(limits.memory, MEMORY_BYTES) if limits.memory is not None else MEMORY_BYTES
    report.engine = f"wasmtime {machine.VERSION}"
    report.capped = memory < MEMORY_BYTES and module.interface.grows_memory
    with machine.Running(stop, limits.time) as store:
        store.set_fuel(fuel)
        # Limits are per memory, so one memory a call makes them total (multi-memory is off; a component that composes
        # several modules shares the sum between them).
        count = max(1, module.interface.memories)
        store.set_limits(memory // count, _TABLE_ELEMENTS, _INSTANCES, _INSTANCES, count)
        host.enter(here)
        try:
            return _enter(module, store, signature, values, stop)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise _failure(error, stop, limits) from None
        finally:
            host.enter(None)
            report.fuel = fuel - store.get_fuel()
            report.log = here.log.text()


def _enter(
    module: Module, store: wasmtime.Store, signature: wit.Signature, values: Sequence[wit.Value], stop: Stop
) -> wit.Value:
    if stop.check() is not None:
        raise wasmtime.WasmtimeError("stopped before it began")
    if isinstance(module.code, wc.Component):
        if module.wasi:
            store.set_wasi(wasmtime.WasiConfig())
        instance = module.linker.instantiate(store, module.code)
        found = instance.get_func(store, module.exports[signature.name])
        if found is None:
            raise Failure("host", f"the module lost its function {signature.name!r}")
        return capi.call(store, found, signature, values)
    exports = wasmtime.Instance(store, module.code, []).exports(store)
    func: Any = exports[signature.name]
    result = func(store, *values)
    return tuple(result) if isinstance(result, list) else result


# What wasmtime says after `wasm trap: `, and what we say. `own` marks those that every machine would meet.
_TRAPS: Final[dict[str, tuple[Kind, str, bool]]] = {
    "wasm `unreachable` instruction executed": (
        "trap",
        "the guest gave up: it reached an `unreachable` instruction",
        True,
    ),
    "integer divide by zero": ("trap", "the guest divided an integer by zero", True),
    "integer overflow": ("trap", "the guest overflowed an integer division", True),
    "invalid conversion to integer": ("trap", "the guest converted a float that fits no integer", True),
    "out of bounds memory access": ("trap", "the guest reached beyond its memory", True),
    "undefined element: out of bounds table access": ("trap", "the guest called beyond its table", True),
    "out of bounds table access": ("trap", "the guest reached beyond its table", True),
    "uninitialized element": ("trap", "the guest called a function that is not there", True),
    "indirect call type mismatch": ("trap", "the guest called a function by the wrong type", True),
    "null reference": ("trap", "the guest used a null reference", True),
    "unaligned atomic": ("trap", "the guest used an unaligned address", True),
    "call stack exhausted": ("limit", "the guest's calls went too deep for its stack", False),
    "all fuel consumed by WebAssembly": ("limit", "the fuel ran out", False),
}
_ABI: Final = re.compile(
    r"(unaligned pointer|discriminant|invalid (?:utf-?8|char)|string .*out of bounds|list .*out of bounds"
    r"|pointer not aligned|realloc return|incomplete utf|unknown .*flags)",
    re.IGNORECASE,
)
_LIMIT: Final = re.compile(
    r"exceeds? .*limits?|resource limit exceeded|fuel allocated for hostcalls|forcing trap when growing"
)


def _failure(error: Exception, stop: Stop, limits: Limits) -> Failure:
    """Return what an engine's error means. Its text holds names that the guest chose, so none of it is passed on."""
    if stop.reason == "time":
        return Failure("limit", f"the time ran out: {limits.time} s")
    if stop.reason == "interrupt":
        return Failure("cancelled", "interrupted")
    if isinstance(error, wasmtime.ExitTrap):
        return Failure("trap", f"the guest exited with status {error.code}", own=True)
    lines = [line.strip() for line in str(error).splitlines()]
    for line in reversed(lines):  # the cause comes last; a guest's names stand before it
        text = line.removeprefix("wasm trap: ")
        if text != line and text in _TRAPS:
            kind, message, own = _TRAPS[text]
            if message == "the fuel ran out" and limits.fuel is not None:
                message = f"the fuel ran out: {limits.fuel:,}"
            return Failure(kind, message, own=own)
    cause = next((line for line in reversed(lines) if line), "")
    if "all fuel consumed" in cause:
        return Failure("limit", f"the fuel ran out: {limits.fuel:,}" if limits.fuel is not None else "the fuel ran out")
    if _LIMIT.search(cause):
        memory = "" if limits.memory is None else f" of {limits.memory:,} bytes of memory"
        if "hostcalls" in cause:
            memory = " on the values that one call may pass"
        return Failure("limit", f"the guest needs more than its limit{memory}")
    if _ABI.search(cause):
        return Failure("trap", "the guest answered with a value that its own type does not allow", own=True)
    if "random bytes" in cause:
        return Failure("limit", "the guest asked for too many random bytes at once")
    return Failure("host", "the engine could not run the guest")
