"""Run one function of one module once, in a store of its own, within its limits.

Whatever the guest does comes back as a value or as a `Failure`; nothing it does can end this process or be seen by the
next call. Every way to kill the process that wasmtime-py leaves open is closed here or in `machine`, `capi` and `host`,
and each has a test that runs it in a process of its own.
"""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING, Final

import wasmtime

from ipvm_kernel.wasm import capi, host, machine, native
from ipvm_kernel.wasm.abi.guest import Broken, MayNotLeave, TooMuch
from ipvm_kernel.wasm.limits import MEMORY_BYTES, Kind, Limits, Report
from ipvm_kernel.wasm.threads import with_room

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.wasm import types as wit
    from ipvm_kernel.wasm.machine import Running
    from ipvm_kernel.wasm.module import Module
    from ipvm_kernel.wasm.stop import Stop

_FUEL: Final = 1 << 62  # wasmtime counts fuel in signed 64 bits; half of it is what no guest ever uses
_TABLE_ELEMENTS: Final = 1 << 20
_INSTANCES: Final = 64
_ENGINE: Final = f"wasmtime {machine.VERSION}"


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
    large: wit.Large | None = None,
) -> wit.Value:
    """Call `signature` of `module` with despecialised values and return its despecialised result.

    Args:
        module: The module, loaded.
        signature: One of its functions.
        values: One value for each parameter, checked by `lowering.lower`.
        limits: What it may use.
        seed: What its virtual randomness follows from.
        stop: The way to end it from another thread.
        report: Filled in, whatever happens.
        large: Takes large lists of numbers out of the guest's memory, where values go straight; what it returns stands in
            the result instead.

    Raises:
        Failure: It trapped, met a limit or was stopped.
    """
    here = host.Host(seed)

    def work() -> wit.Value:
        return _run(module, signature, values, limits=limits, here=here, stop=stop, report=report, large=large)

    straight = module.straight
    return with_room(work, stop, 0 if straight is None else straight.plan(signature).frames)


def _run(
    module: Module,
    signature: wit.Signature,
    values: Sequence[wit.Value],
    *,
    limits: Limits,
    here: host.Host,
    stop: Stop,
    report: Report,
    large: wit.Large | None,
) -> wit.Value:
    fuel = min(limits.fuel, _FUEL) if limits.fuel is not None else _FUEL
    memory, count = _memory(module, limits)
    report.engine = _ENGINE
    report.capped = memory < MEMORY_BYTES and module.interface.grows_memory
    with machine.Running(module.machine, stop) as running:
        native.check(native.set_fuel(running.context, fuel))
        native.store_limiter(running.store, memory, _TABLE_ELEMENTS, _INSTANCES, _INSTANCES, count)
        running.begin(limits.time)
        host.enter(here)
        try:
            if stop.check() is not None:
                raise _stopped(stop, limits)
            if module.straight is not None:
                return module.straight.call(running.context, signature, values, stop, large=large)
            if module.linker_address:
                return _call_component(running, module, signature, values)
            return _call_core(running, module, signature, values)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise _failure(error, here, stop, limits) from None
        except Broken:
            raise _stopped(stop, limits) if stop.reason else Failure("trap", _FORBIDDEN, own=True) from None
        except MayNotLeave:
            raise Failure("trap", _UNKNOWN_TRAP) from None
        except TooMuch as error:
            raise _stopped(stop, limits) if stop.reason else Failure("limit", str(error)) from None
        except capi.TooMuch:
            raise Failure(
                "limit", f"the arguments take more than {_VALUES:,} values, the most that one call may pass"
            ) from None
        finally:
            host.enter(None)
            report.fuel = fuel - running.fuel()
            report.log = here.log.text()


def _memory(module: Module, limits: Limits) -> tuple[int, int]:
    """Return the most bytes that each memory may have, and how many memories there may be.

    The engine limits each memory by itself. Below 4 GiB, the memories that the binary defines share the limit, and no
    further one may be made, so that it holds for all together. A limit of 4 GiB, which Homestar's tasks have, is none.
    """
    if limits.memory is None or limits.memory >= MEMORY_BYTES:
        return MEMORY_BYTES, _INSTANCES
    count = max(1, module.interface.memories)
    return limits.memory // count, count


def _call_component(
    running: Running, module: Module, signature: wit.Signature, values: Sequence[wit.Value]
) -> wit.Value:
    context = running.context
    if module.wasi:
        config = wasmtime.WasiConfig()
        native.check(native.set_wasi(context, native.address(config._consume())))  # noqa: SLF001 - it goes to the store
    instance = native.Instance()
    native.check(native.component_instantiate(module.linker_address, context, module.code_address, instance))
    func = native.Func()
    export = module.export(signature.name)
    if not export or not native.component_func(instance, context, export, func):
        raise Failure("host", "the module has lost its function")
    return capi.call(context, func, signature, values)


def _call_core(running: Running, module: Module, signature: wit.Signature, values: Sequence[wit.Value]) -> wit.Value:
    context, trap = running.context, ctypes.c_void_p()
    instance = native.Instance()
    native.check(native.instance_new(context, module.code_address, None, 0, instance, ctypes.byref(trap)))
    native.check_trap(trap)
    name, func = signature.name.encode(), native.Func()
    if not native.instance_export(context, instance, name, len(name), func):
        raise Failure("host", "the module has lost its function")
    return capi.call_core(context, ctypes.byref(func, _EXTERN_OF), signature, values)


_EXTERN_OF: Final = 8  # where the function stands in the C structure of an export
_VALUES: Final = capi.ARENA_BYTES // native.VAL_BYTES

_FORBIDDEN: Final = "the guest answered with a value that its own type does not allow"
_UNKNOWN_TRAP: Final = "the guest did what the engine does not allow"

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
    "undefined element: out of bounds table access": ("trap", "the guest reached beyond its table", True),
    "uninitialized element": ("trap", "the guest called a function that is not there", True),
    "indirect call type mismatch": ("trap", "the guest called a function by the wrong type", True),
    "null reference": ("trap", "the guest used a null reference", True),
    "call stack exhausted": ("limit", "the guest's calls went too deep for its stack", False),
    "all fuel consumed by WebAssembly": ("limit", "the fuel ran out", False),
}
_TRAP: Final = re.compile(r"(?:\d+: )?wasm trap: (.*)")
_ABI: Final = re.compile(
    r"(?:\d+: )?(?:converted integer out of range for `char`|discriminant \d+ out of range"
    r"|(?:string|list) pointer/length out of bounds|pointer (?:out of bounds|not aligned)"
    r"|(?:list|return|string) pointer (?:is )?not aligned|realloc return: |(?:invalid|incomplete) utf-(?:8|16)"
    r"|unpaired surrogate)"
)
_LIMIT: Final = re.compile(r"(?:\d+: )?(?:(?:memory|table) minimum size of .* exceeds|resource limit exceeded)")


def _stopped(stop: Stop, limits: Limits) -> Failure:
    if stop.reason == "time":
        return Failure("limit", f"the time ran out: {limits.time} s")
    return Failure("cancelled", "interrupted")


def _failure(error: Exception, here: host.Host, stop: Stop, limits: Limits) -> Failure:
    """Return what an engine's error means. Its text holds names that the guest chose, so none of it is passed on."""
    if stop.reason is not None:
        return _stopped(stop, limits)
    if isinstance(here.failed, host.TooMuchRandom):
        return Failure("limit", f"the guest asked for more than {host.RANDOM_BYTES:,} random bytes at once")
    if here.failed is not None:
        return Failure("host", f"a function of the host failed: {type(here.failed).__name__}")
    if isinstance(error, wasmtime.ExitTrap):
        return Failure("trap", f"the guest exited with status {error.code}", own=True)
    # The cause stands on the last line. A guest's names stand before it, and may hold lines that look like causes.
    cause = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
    trap = _TRAP.match(cause)
    if trap is not None:
        kind, message, own = _TRAPS.get(trap[1], ("trap", _UNKNOWN_TRAP, False))
        if kind == "limit" and "fuel" in message and limits.fuel is not None:
            message = f"{message}: {limits.fuel:,}"
        return Failure(kind, message, own=own)
    if _ABI.match(cause):
        return Failure("trap", _FORBIDDEN, own=True)
    if _LIMIT.match(cause):
        memory = "" if limits.memory is None else f" of {limits.memory:,} bytes of memory"
        return Failure("limit", f"the guest needs more than its limit{memory}")
    if "fuel allocated for hostcalls" in cause:
        return Failure(
            "limit",
            "the guest answered with more than one call may pass: 2,796,202 elements of lists, or 128 MiB of text",
        )
    if "matching implementation was not found" in cause:
        return Failure("missing", "the module imports something that ipvm does not serve")
    return Failure("host", "the engine could not run the guest")
