"""The one wasmtime engine of this process, and how its guests are stopped.

Features that make results differ between machines, or that cost most of the recent security fixes, are off. Time limits
and interrupts share one mechanism: the engine's epoch moves, every running guest asks `_on_epoch` whether it may go on,
and the ones whose time is over get an error instead. Nothing ticks while nobody waits.
"""

from __future__ import annotations

import ctypes
import heapq
import importlib.metadata
import itertools
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from wasmtime import _ffi as ffi

if TYPE_CHECKING:
    from ipvm_kernel.wasm.stop import Stop

STACK_BYTES: Final = 512 * 1024
"""Stack of a guest. A worker thread needs several times as much for wasmtime's own frames (`THREAD_STACK_BYTES`)."""

THREAD_STACK_BYTES: Final = 8 << 20
"""Stack of a thread that runs guests: with less than 1.5 MiB a deep guest recursion kills the process."""

# What is switched, by name: it is part of the fingerprint of compiled code.
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
    "wasm_wide_arithmetic": False,
}

VERSION: Final = importlib.metadata.version("wasmtime")

FINGERPRINT: Final = f"{VERSION} " + " ".join(f"{name}={value}" for name, value in _SETTINGS.items())
"""What decides whether compiled code can be loaded again."""

_running: Final[dict[int, Stop]] = {}
_idents: Final = itertools.count(1)

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.POINTER(ffi.wasmtime_context_t),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(ffi.wasmtime_update_deadline_kind_t),
)
_Finalizer = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_CONTINUE: Final = 0


@_Callback  # type: ignore[untyped-decorator]
def _on_epoch(_context: object, ident: int | None, delta: Any, kind: Any) -> int:
    stop = _running.get(ident or 0)
    if stop is None or stop.check() is not None:
        error = ffi.wasmtime_error_new(b"stopped by ipvm")
        return ctypes.cast(error, ctypes.c_void_p).value or 0
    delta[0] = 1
    kind[0] = _CONTINUE
    return 0


_NO_FINALIZER: Final = ctypes.cast(0, _Finalizer)


class _Machine:
    """An engine and the thread that moves its epoch when the next deadline is due."""

    def __init__(self, *, parallel: bool) -> None:
        config = wasmtime.Config()
        for name, value in _SETTINGS.items():
            setattr(config, name, value)
        config.parallel_compilation = parallel
        self.engine = wasmtime.Engine(config)
        self._due: list[float] = []
        self._changed = threading.Condition()
        self._watch: threading.Thread | None = None

    def wake_at(self, deadline: float) -> None:
        """Move the epoch once `deadline` (of `time.monotonic`) has passed."""
        with self._changed:
            heapq.heappush(self._due, deadline)
            if self._watch is None:
                self._watch = threading.Thread(target=self._move_epoch, name="ipvm-deadlines", daemon=True)
                self._watch.start()
            elif self._due[0] == deadline:
                self._changed.notify()

    def _move_epoch(self) -> None:
        while True:
            with self._changed:
                while not self._due:
                    self._changed.wait()
                rest = self._due[0] - time.monotonic()
                if rest > 0:
                    self._changed.wait(rest)
                    continue
                heapq.heappop(self._due)
            self.engine.increment_epoch()


_lock = threading.Lock()
_current: _Machine | None = None
_forked = False


def _machine() -> _Machine:
    global _current  # noqa: PLW0603 - one engine a process
    with _lock:
        if _current is None:
            # After a fork the compiler's thread pool is gone and a parallel compile would wait for it for ever.
            _current = _Machine(parallel=not _forked)
        return _current


def engine() -> wasmtime.Engine:
    """Return the engine of this process, made at the first call (and anew after a fork)."""
    return _machine().engine


def _after_fork() -> None:
    global _current, _forked, _lock
    _current, _forked, _lock = None, True, threading.Lock()
    _running.clear()


os.register_at_fork(after_in_child=_after_fork)


class Running:
    """A store of its own for one call, stopped through `stop`. Use it as a context."""

    def __init__(self, stop: Stop, seconds: float | None) -> None:
        self._stop = stop
        self._seconds = seconds
        self._ident = next(_idents)

    def __enter__(self) -> wasmtime.Store:
        machine, stop = _machine(), self._stop
        self._store = store = wasmtime.Store(machine.engine)
        _running[self._ident] = stop
        store.set_epoch_deadline(1)
        ffi.wasmtime_store_epoch_deadline_callback(store.ptr(), _on_epoch, ctypes.c_void_p(self._ident), _NO_FINALIZER)
        stop.begin(self._seconds, machine.engine.increment_epoch)
        if stop.deadline is not None:
            machine.wake_at(stop.deadline)
        return store

    def __exit__(self, *_: object) -> None:
        self._stop.end()
        _running.pop(self._ident, None)
        self._store.close()
