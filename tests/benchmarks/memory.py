"""Memory: what a session holds, and what it lets go of. It is read from /proc, so this group is Linux's alone."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.benchmarks import guests
from tests.benchmarks.engine import STORE, keep
from tests.benchmarks.measure import Benchmark, Line, Series

RESULTS: Final = 1000
_FIRST: Final = 100  # results after which workers and allocators have what they need once


def prepare(folder: str) -> None:
    """Write the modules, and compile the large one."""
    from ipvm_kernel import Session

    keep(folder, "bytes", guests.BYTES)
    with Session(Path(folder) / STORE) as session:
        session.module(keep(folder, "large", guests.large())).pick(0, 1).result()


def resident() -> int:
    """Return how many bytes of this process are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def most_resident() -> int:
    """Return how many bytes of this process have been in memory at once."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def session(folder: str) -> Series:
    """Run a new task of a large module that was compiled before."""
    from ipvm_kernel import Session

    with Session(Path(folder) / STORE) as opened:
        opened.module(Path(folder) / "large.wasm").pick(1, time.time_ns()).result()
        return {"ipvm": resident()}


def wasmtime_alone(folder: str) -> Series:
    """Compile and call the same module with wasmtime-py."""
    import wasmtime
    from wasmtime import component

    engine = wasmtime.Engine()
    made = component.Component(engine, (Path(folder) / "large.wasm").read_bytes())
    store = wasmtime.Store(engine)
    function = component.Linker(engine).instantiate(store, made).get_func(store, "pick")
    assert function is not None
    function(store, 1, 2)
    return {"wasmtime-py": resident()}


def joblib_alone(folder: str) -> Series:
    """Have joblib open its cache."""
    from tests.benchmarks.rivals import add_one, with_joblib

    with_joblib(add_one, folder)(1)
    return {"joblib": resident()}


def results(folder: str) -> Series:
    """Make a thousand results of a megabyte each and keep hold of the run and its handles."""
    from ipvm_kernel import Session

    with tempfile.TemporaryDirectory(dir=folder) as empty, Session(Path(empty) / STORE) as opened:
        function = opened.module(Path(folder) / "bytes.wasm").fill
        before = resident()
        first = function.map(seed=range(1, _FIRST + 1))
        _ = opened.run(first).wait()
        reserved, handles = resident(), function.map(seed=range(_FIRST + 1, _FIRST + RESULTS + 1))
        run = opened.run(handles).wait()
        after, most = resident(), most_resident()
        assert run.counts == {"computed": RESULTS}
        assert handles[0].result()[:4] == (_FIRST + 1).to_bytes(4, "little")
    return {"ipvm": after - reserved, "reserved": reserved - before, "at most": most - before}


BENCHMARKS = [
    Benchmark(
        name="memory",
        prepare=prepare,
        samples=(session, wasmtime_alone, joblib_alone),
        lines=(Line(work="memory of a warm session, 300 kB module", peers=("wasmtime-py", "joblib"), unit="B"),),
    ),
    Benchmark(
        name="results",
        prepare=prepare,
        samples=(results,),
        rounds=1,
        patience=600,
        lines=(
            # The promise is that they do not stay: a tenth of them is where staying begins.
            Line(work="memory grown by 1,000 results of 1 MB", budget=RESULTS * guests.MEGABYTE / 10, unit="B"),
            Line(work="  by the first 100, before that", ours="reserved", unit="B"),
            Line(work="  at most, meanwhile", ours="at most", unit="B"),
        ),
    ),
]
