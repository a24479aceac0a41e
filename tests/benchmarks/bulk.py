"""Bulk: arrays, texts and records into a guest and out again, by our own canonical ABI, a fresh instance a call."""

from __future__ import annotations

import os
import statistics
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks import guests
from tests.benchmarks.engine import import_all, keep
from tests.benchmarks.measure import Benchmark, Line, Series

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS: Final = 100_000
TEXTS: Final = 10_000
LARGE: Final = 64_000_000
_STACK: Final = 16 << 20  # of a thread that runs guests, as the session's workers have it


def prepare(folder: str) -> None:
    """Write the module."""
    keep(folder, "bulk", guests.BULK)


# --- ours -------------------------------------------------------------------------------------------------------------


def straight(folder: str) -> Series:
    """Call each function of the module as a worker of a session does, with values that are ready."""
    import numpy as np

    import_all()
    call = _caller(folder)
    data, large = os.urandom(guests.MEGABYTE), os.urandom(LARGE)
    numbers = np.random.default_rng(1).random(NUMBERS)
    texts = [f"{number:020}" for number in range(TEXTS)]
    half = (1, "hello", 1.5, True, (5,), b"abc", "x", 1, 2, (0, 3))
    record = half + half
    assert call("echo", data) == data
    assert call("texts", texts) == texts
    assert call("record", record) == record
    assert call("add", 1, 2) == 3
    return {
        "1 MB": _each(lambda: call("echo", data), 20),
        "64 MB": _each(lambda: call("echo", large), 3),
        "sum": _each(lambda: call("sum", numbers.data.cast("B")), 20),
        "texts": _each(lambda: call("texts", texts), 10),
        "record": _each(lambda: call("record", record), 200),
        "add": _each(lambda: call("add", 1, 2), 500),
    }


def _caller(folder: str) -> Callable[..., Any]:
    """Return what calls a function of the module, on a thread on which guests can run."""
    from ipvm_kernel.wasm.cache import CodeCache
    from ipvm_kernel.wasm.limits import Limits, Report
    from ipvm_kernel.wasm.module import load
    from ipvm_kernel.wasm.runtime import call
    from ipvm_kernel.wasm.stop import Stop

    module = load("bulk", (Path(folder) / "bulk.wasm").read_bytes(), CodeCache(None))
    assert module.straight is not None, module.interface.way
    found = {signature.name: signature for signature in module.interface.functions}

    def called(name: str, *values: Any) -> Any:
        return call(module, found[name], values, limits=Limits(), seed=b"", stop=Stop(), report=Report())

    return called


def naming(folder: str) -> Series:
    """Name calls with new arrays, and each of them again; beside that, hash as many bytes."""
    import hashlib

    import numpy as np

    from ipvm_kernel import Session

    import_all()
    with Session(Path(folder) / f"store-{time.time_ns()}") as session:
        total = session.module(Path(folder) / "bulk.wasm").sum
        arrays = [np.random.default_rng(seed).random(NUMBERS) for seed in range(12)]
        _ = total(arrays.pop()[:50_000])
        first = [_taken(partial(total, array)) for array in arrays]
        again = [_each(partial(total, array), 20) for array in arrays]
        hashed = [_taken(partial(hashlib.sha256, array.data)) for array in arrays]
        assert total(arrays[0]).result() == float(np.add.accumulate(arrays[0])[-1])
    return {
        "first": statistics.median(first),
        "again": statistics.median(again),
        "one hash": statistics.median(hashed),
    }


# --- beside it --------------------------------------------------------------------------------------------------------


def with_wasmtime(folder: str) -> Series:
    """Call the same functions as wasmtime-py itself does, an instance a call."""
    import numpy as np
    import wasmtime
    from wasmtime import component

    engine = wasmtime.Engine()
    made = component.Component(engine, (Path(folder) / "bulk.wasm").read_bytes())
    linker = component.Linker(engine)

    def call(name: str, *values: Any) -> Any:
        store = wasmtime.Store(engine)
        function = linker.instantiate(store, made).get_func(store, name)
        assert function is not None
        return function(store, *values)

    data = os.urandom(guests.MEGABYTE)
    numbers = np.random.default_rng(1).random(NUMBERS)
    texts = [f"{number:020}" for number in range(TEXTS)]
    half = (1, "hello", 1.5, True, 5, b"abc", "x", "b", {"b"}, 3)
    record = component.Record()
    for number, value in enumerate(half + half):
        setattr(record, f"f{number}", value)
    assert call("echo", b"warm") == b"warm"
    return {
        "wasmtime-py, 1 MB": _each(lambda: call("echo", data), 1),
        "wasmtime-py, sum": _each(lambda: call("sum", numbers.tolist()), 2),
        "wasmtime-py, texts": _each(lambda: call("texts", texts), 2),
        "wasmtime-py, record": _each(lambda: call("record", record), 50),
        "wasmtime-py, add": _each(lambda: call("add", 1, 2), 200),
    }


def copying(folder: str) -> Series:
    """Copy 64 MB twice, which is the least that passing them in and out can cost."""
    large = os.urandom(LARGE)
    room = bytearray(LARGE)

    def both() -> bytes:
        room[:] = large
        return bytes(memoryview(room))

    return {"two copies": _each(both, 3)}


def _each(call: Callable[[], object], times: int) -> float:
    """Return the seconds that a call takes, the middle of several, on a thread with the stack that guests need."""
    taken: list[float] = []
    usual = threading.stack_size(_STACK)
    try:
        thread = threading.Thread(target=lambda: taken.extend(_taken(call) for _ in range(times)))
        thread.start()
    finally:
        threading.stack_size(usual)
    thread.join()
    return statistics.median(taken)


def _taken(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


# --- the photo pipeline -----------------------------------------------------------------------------------------------


def build(folder: str) -> None:
    """Build the module of notebook 02, and put it where the samples find it."""
    from ipvm_kernel import Session

    notebooks = Path(__file__).parents[2] / "notebooks"
    with Session() as session:
        module = session.build((notebooks / "modules" / "imgops.zig").read_text(), lang="zig")
        Path(folder, "imgops.wasm").write_bytes(session.store.read(module._cid))
    Path(folder, "photo.png").write_bytes((notebooks / "data" / "photo.png").read_bytes())


def photo(folder: str) -> Series:
    """Run the calls of the photo pipeline, and see how much of that the guest's own instructions take."""
    from ipvm_kernel.wasm.abi import bound
    from ipvm_kernel.wasm.cache import CodeCache
    from ipvm_kernel.wasm.limits import Limits, Report
    from ipvm_kernel.wasm.module import load
    from ipvm_kernel.wasm.runtime import call
    from ipvm_kernel.wasm.stop import Stop

    import_all()
    module = load("imgops", Path(folder, "imgops.wasm").read_bytes(), CodeCache(None))
    picture = Path(folder, "photo.png").read_bytes()
    inside = 0.0
    enter = bound.call_unchecked

    def timed(*args: Any) -> Any:
        nonlocal inside
        began = time.perf_counter()
        error = enter(*args)
        inside += time.perf_counter() - began
        return error

    def called(name: str, *values: Any) -> Any:
        side, value = call(
            module, module.interface.find(name), values, limits=Limits(), seed=b"", stop=Stop(), report=Report()
        )
        assert not side, value
        return value

    def pipeline() -> None:
        crop = called("crop", picture, 150, 60, 300, 300)
        called("grayscale", called("rotate90", crop))
        called("blur", crop, 3.0)

    pipeline()
    bound.call_unchecked = timed  # type: ignore[misc] # for this process, which ends with the sample
    whole = _each(pipeline, 1)
    return {"ipvm": whole, "in the guest": inside}


BENCHMARKS = [
    Benchmark(
        name="bulk",
        prepare=prepare,
        samples=(straight, with_wasmtime, copying),
        lines=(
            Line(work="list<u8> of 1 MB in and out, a call", ours="1 MB", peers=("wasmtime-py, 1 MB",), budget=2e-3),
            Line(work="  of 64 MB", ours="64 MB", peers=("two copies",), budget=150e-3),
            Line(work="sum of 100,000 f64 from numpy, a call", ours="sum", peers=("wasmtime-py, sum",), budget=0.5e-3),
            Line(
                work="list<string> of 10,000 x 20 B in and out",
                ours="texts",
                peers=("wasmtime-py, texts",),
                budget=15e-3,
            ),
            Line(
                work="record of 20 mixed fields in and out", ours="record", peers=("wasmtime-py, record",), budget=60e-6
            ),
            Line(work="s32 add, warm module, fresh instance", ours="add", peers=("wasmtime-py, add",), budget=40e-6),
        ),
    ),
    Benchmark(
        name="naming",
        prepare=prepare,
        samples=(naming,),
        lines=(
            Line(work="naming a call with 100,000 new f64 of numpy", ours="first", peers=("one hash",), budget=1e-3),
            Line(work="  with the same array again", ours="again", peers=("one hash",), budget=60e-6),
        ),
    ),
    Benchmark(
        name="photo",
        prepare=build,
        samples=(photo,),
        lines=(Line(work="the calls of the photo pipeline (at most 1.1)", peers=("in the guest",)),),
    ),
]
