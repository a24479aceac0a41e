"""Transfers: a megabyte into a module and out again."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks import guests
from tests.benchmarks.engine import STORE, keep
from tests.benchmarks.measure import Benchmark, Line, Series

if TYPE_CHECKING:
    from collections.abc import Callable


def prepare(folder: str) -> None:
    """Write the module."""
    keep(folder, "bytes", guests.BYTES)


def on_disk(folder: str) -> Series:
    """Send new bytes through a task; when they are back, the receipt is on disk."""
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        return {"ipvm": _through_a_session(folder, Path(empty) / STORE)}


def in_memory(folder: str) -> Series:
    """Send new bytes through a task of a session that keeps nothing."""
    return {"ipvm, in memory": _through_a_session(folder, None)}


def with_wasmtime(folder: str) -> Series:
    """Send new bytes through the component as wasmtime-py itself calls it, an instance a call."""
    import wasmtime
    from wasmtime import component

    engine = wasmtime.Engine()
    made = component.Component(engine, (Path(folder) / "bytes.wasm").read_bytes())
    linker = component.Linker(engine)

    def echo(data: bytes) -> bytes:
        store = wasmtime.Store(engine)
        function = linker.instantiate(store, made).get_func(store, "echo")
        assert function is not None
        return bytes(function(store, data))

    return {"wasmtime-py": _timed(echo, times=1)}


def _through_a_session(folder: str, store: Path | None) -> float:
    from ipvm_kernel import Session

    with Session(store) as session:
        function = session.module(Path(folder) / "bytes.wasm").echo
        return _timed(lambda data: bytes(function(data).result()), times=5)


def _timed(echo: Callable[[bytes], bytes], times: int) -> float:
    assert echo(b"warm") == b"warm"
    taken = []
    for _ in range(times):
        data = os.urandom(guests.MEGABYTE)
        began = time.perf_counter()
        back = echo(data)
        taken.append(time.perf_counter() - began)
        assert back == data
    return statistics.median(taken)


_PEERS: Final = ("wasmtime-py",)
_FILLED: Final = 120e-3  # what filling the engine's values by one strided copy may take
_PACE: Final = 1.14


BENCHMARKS = [
    Benchmark(
        name="transfer",
        prepare=prepare,
        samples=(on_disk, in_memory, with_wasmtime),
        lines=(
            Line(work="list<u8> of 1 MB in and out, durable", peers=_PEERS, budget=_FILLED, pace=_PACE),
            Line(work="  not durable", ours="ipvm, in memory", peers=_PEERS, budget=_FILLED, pace=_PACE),
        ),
    ),
]
