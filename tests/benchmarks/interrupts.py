"""Interrupts: how soon a module that never ends has ended."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks import guests
from tests.benchmarks.engine import keep
from tests.benchmarks.measure import Benchmark, Line, Series

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE: Final = 3.0  # seconds after which a guest counts as one that nobody stops
_SPINNING: Final = 0.3  # seconds for which it is left alone


def prepare(folder: str) -> None:
    """Write the module."""
    keep(folder, "spin", guests.SPIN)


def cancelled(folder: str) -> Series:
    """Cancel a run that spins."""
    from ipvm_kernel import Session

    with Session(None) as session:
        run = session.run(session.module(Path(folder) / "spin.wasm").spin())
        run.start()
        while not run.counts.get("running"):
            time.sleep(0.01)
        time.sleep(_SPINNING)
        began = time.perf_counter()
        run.cancel()
        _ = run.wait()
        ended = time.perf_counter()
        assert run.counts == {"cancelled": 1}
    return {"ipvm": ended - began, "closed": time.perf_counter() - began}


def interrupted(folder: str) -> Series:
    """Press Ctrl-C while `.result()` waits."""
    return {"ipvm, Ctrl-C": _pressed(spin_in_ipvm, folder)}


def interrupted_wasmtime(folder: str) -> Series:
    """Press Ctrl-C while wasmtime-py is in the same module."""
    return {"wasmtime-py": _pressed(spin_in_wasmtime, folder)}


def spin_in_ipvm(folder: str) -> None:
    """Ask for a value that will never be there."""
    from ipvm_kernel import Session

    with Session(None) as session:
        handle = session.module(Path(folder) / "spin.wasm").spin()
        _until_interrupted(handle.result)


def spin_in_wasmtime(folder: str) -> None:
    """Call a function that will never return."""
    import wasmtime
    from wasmtime import component

    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    made = component.Component(engine, (Path(folder) / "spin.wasm").read_bytes())
    function = component.Linker(engine).instantiate(store, made).get_func(store, "spin")
    assert function is not None
    _until_interrupted(lambda: function(store))


def _until_interrupted(work: Callable[[], object]) -> None:
    """Say when it begins and when an interrupt was heard, by the clock that all processes share."""
    print("begins", flush=True)
    try:
        work()
    except KeyboardInterrupt:
        print(time.monotonic(), flush=True)


def _pressed(spin: Callable[[str], None], folder: str) -> float:
    call = f"from {spin.__module__} import {spin.__name__}; {spin.__name__}({folder!r})"
    with subprocess.Popen([sys.executable, "-c", call], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "begins\n"
            time.sleep(_SPINNING)
            began = time.monotonic()
            os.kill(child.pid, signal.SIGINT)
            heard, _ = child.communicate(timeout=_PATIENCE)
            return float(heard) - began
        except subprocess.TimeoutExpired:
            return math.inf
        finally:
            child.kill()


BENCHMARKS = [
    Benchmark(
        name="interrupt",
        prepare=prepare,
        samples=(cancelled, interrupted, interrupted_wasmtime),
        lines=(
            Line(work="interrupt a spinning module: run.cancel()", budget=0.2),
            Line(work="  and the guest has ended, the session is closed", ours="closed"),
            Line(work="  Ctrl-C in .result()", ours="ipvm, Ctrl-C", peers=("wasmtime-py",), budget=0.2),
        ),
    ),
]
