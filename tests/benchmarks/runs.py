"""Runs: what a task costs that is run, its receipt durable."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks import guests
from tests.benchmarks.engine import STORE, keep
from tests.benchmarks.measure import Benchmark, Line, Series
from tests.benchmarks.replays import TASKS, chain
from tests.benchmarks.rivals import add_one, with_diskcache, with_joblib

if TYPE_CHECKING:
    from collections.abc import Callable


def prepare(folder: str) -> None:
    """Write the module."""
    keep(folder, "add-one", guests.ADD_ONE)


def chain_ipvm(folder: str) -> Series:
    """Declare a chain and ask for its end. When the value is there, a thousand receipts are on disk."""
    from ipvm_kernel import Session

    with tempfile.TemporaryDirectory(dir=folder) as empty, Session(Path(empty) / STORE) as session:
        function = session.module(Path(folder) / "add-one.wasm").add_one
        assert function(1 << 20).result() == (1 << 20) + 1  # compiled, and the threads are there
        began = time.perf_counter()
        last = chain(function)
        declared = time.perf_counter()
        assert last.result() == TASKS
        ended = time.perf_counter()
    return {"ipvm": (ended - began) / TASKS, "run": (ended - declared) / TASKS}


def chain_joblib(folder: str) -> Series:
    """Call a thousand times what joblib has not met. Nothing is synced."""
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        return {"joblib": _timed(with_joblib(add_one, empty))}


def chain_diskcache(folder: str) -> Series:
    """Call a thousand times what diskcache has not met. Nothing is synced."""
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        return {"diskcache": _timed(with_diskcache(add_one, empty))}


def _timed(function: Callable[[int], Any]) -> float:
    function(1 << 20)
    began = time.perf_counter()
    assert chain(function) == TASKS
    return (time.perf_counter() - began) / TASKS


BENCHMARKS = [
    Benchmark(
        name="run",
        prepare=prepare,
        samples=(chain_ipvm, chain_joblib, chain_diskcache),
        lines=(
            Line(
                work="run a chain of 1,000, durable: a task",
                peers=("diskcache", "joblib"),  # joblib's time is that of making files, which says little of a machine
                budget=250e-6,
                pace=92e-6,
            ),
            Line(work="  of that: run it", ours="run"),
        ),
    ),
]
