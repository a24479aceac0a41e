"""The wasmtime engine of this process, and how its guests are stopped.

Features that make results differ between machines, or that cost most of the recent security fixes, are off. Time limits
and interrupts share one mechanism: the engine's epoch moves, every running guest asks `_on_epoch` whether it may go on,
and the ones whose time is over get an error instead. Nothing ticks while nobody waits.
"""

from __future__ import annotations

import atexit
import ctypes
import heapq
import importlib.metadata
import itertools
import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

import wasmtime
from wasmtime import _ffi as ffi

from ipvm_kernel.wasm import native

if TYPE_CHECKING:
    from ipvm_kernel.wasm.stop import Stop

STACK_BYTES: Final = 512 * 1024
"""Stack of a guest. The thread that runs it needs several times as much for wasmtime's own frames (`threads`)."""

# What is switched, by the names of the C API: it is part of the fingerprint of compiled code.
_SETTINGS: Final[dict[str, Any]] = {
    "consume_fuel": True,
    "epoch_interruption": True,
    "cranelift_nan_canonicalization": True,
    "max_wasm_stack": STACK_BYTES,
    "wasm_threads": False,
    "shared_memory": False,
    "wasm_relaxed_simd": False,
    "wasm_multi_memory": False,
    "wasm_memory64": False,
    "wasm_exceptions": False,
    "wasm_gc": False,
    "wasm_function_references": False,
    "wasm_stack_switching": False,
    "wasm_wide_arithmetic": False,
    "wasm_component_model_async": False,
}

VERSION: Final = importlib.metadata.version("wasmtime")

FINGERPRINT: Final = f"{VERSION} " + " ".join(f"{name}={value}" for name, value in _SETTINGS.items())
"""What decides whether compiled code can be loaded again."""

_TICK: Final = 0.01  # seconds: deadlines closer together than this share one move of the epoch

_running: Final[dict[int, Stop]] = {}
_idents: Final = itertools.count(1)

_CONTINUE: Final = 0
_LAST_SECONDS: Final = 2.0  # how long Python's end waits for guests that were stopped


@native.EpochCallback  # type: ignore[untyped-decorator]
def _on_epoch(_context: object, ident: int | None, delta: Any, kind: Any) -> int:
    try:
        stop = _running.get(ident or 0)
        if stop is not None and stop.check() is None and not _ending:
            delta[0] = 1
            kind[0] = _CONTINUE
            return 0
    except BaseException:  # noqa: BLE001, S110 - nothing may go up through the engine: whatever it was, the guest stops
        pass
    return int(native.error_new(b"stopped by ipvm"))


_ON_EPOCH: Final = native.address(_on_epoch)


class Machine:
    """An engine and the thread that moves its epoch when the next deadline is due.

    Attributes:
        engine: The engine.
        address: Where its C structure is.
    """

    def __init__(self, *, parallel: bool) -> None:
        config = wasmtime.Config()
        for name, value in _SETTINGS.items():
            getattr(ffi, f"wasmtime_config_{name}_set")(config.ptr(), value)
        config.parallel_compilation = parallel
        self.engine = wasmtime.Engine(config)
        self.address = native.address(self.engine.ptr())
        self.rest()

    def rest(self) -> None:
        """Forget all deadlines and the thread, which a forked process does not have."""
        self._due: list[int] = []
        self._known: set[int] = set()
        self._changed = threading.Condition()
        self._watch: threading.Thread | None = None

    def wake(self) -> None:
        """Move the epoch now."""
        native.increment_epoch(self.address)

    def wake_at(self, deadline: float) -> None:
        """Move the epoch once `deadline` (of `time.monotonic`) has passed."""
        tick = math.ceil(deadline / _TICK)
        with self._changed:
            if tick in self._known:
                return
            self._known.add(tick)
            heapq.heappush(self._due, tick)
            if self._watch is None:
                self._watch = threading.Thread(target=self._move_epoch, name="ipvm-deadlines", daemon=True)
                self._watch.start()
            elif self._due[0] == tick:
                self._changed.notify()

    def _move_epoch(self) -> None:
        while True:
            with self._changed:
                if not self._due:
                    self._changed.wait()
                    continue
                left = self._due[0] * _TICK - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                self._known.discard(heapq.heappop(self._due))
            self.wake()


_lock = threading.Lock()
_current: Machine | None = None
_machines: Final[list[Machine]] = []
_forked = False
_ending = False


def machine() -> Machine:
    """Return the machine of this process, made at the first call and anew after a fork."""
    global _current
    with _lock:
        if _current is None:
            # After a fork the compiler's thread pool is gone and a parallel compile would wait for it for ever.
            _current = Machine(parallel=not _forked)
            _machines.append(_current)
        return _current


def engine() -> wasmtime.Engine:
    """Return the engine of `machine()`."""
    return machine().engine


def _after_fork() -> None:
    global _current, _forked, _lock
    _current, _forked, _lock = None, True, threading.Lock()
    _running.clear()
    for made in _machines:  # modules that were compiled before the fork still run on theirs
        made.rest()


os.register_at_fork(after_in_child=_after_fork)


def _end() -> None:
    """Stop every guest before Python ends: a thread that then came back from one would take the process down with it."""
    global _ending
    _ending = True
    deadline = time.monotonic() + _LAST_SECONDS
    while _running and time.monotonic() < deadline:
        for made in _machines:
            made.wake()
        time.sleep(0.002)


atexit.register(_end)


class Running:
    """A store of its own for one call, stopped through `stop`. Use it as a context.

    Attributes:
        store: The address of the store.
        context: The address of its context.
    """

    __slots__ = ("_ident", "_machine", "_stop", "context", "store")

    def __init__(self, machine: Machine, stop: Stop) -> None:
        self._machine = machine
        self._stop = stop
        self._ident = next(_idents)

    def __enter__(self) -> Self:
        self.store: int = native.store_new(self._machine.address, None, None)
        self.context: int = native.store_context(self.store)
        _running[self._ident] = self._stop
        native.set_epoch_deadline(self.context, 1)
        native.store_on_epoch(self.store, _ON_EPOCH, self._ident, None)
        return self

    def begin(self, seconds: float | None) -> None:
        """Let the call begin, with so much time."""
        if _ending:
            self._stop.interrupt()
        self._stop.begin(seconds, self._machine.wake)
        if self._stop.deadline is not None:
            self._machine.wake_at(self._stop.deadline)

    def fuel(self) -> int:
        """Return the fuel that is left."""
        left = ctypes.c_uint64()
        native.check(native.get_fuel(self.context, ctypes.byref(left)))
        return left.value

    def __exit__(self, *_: object) -> None:
        self._stop.end()
        _running.pop(self._ident, None)
        native.store_delete(self.store)
