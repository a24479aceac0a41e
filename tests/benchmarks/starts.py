"""Starts: the first call after a restart, and the kernel itself."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks import guests
from tests.benchmarks.engine import STORE, import_all, keep
from tests.benchmarks.measure import Benchmark, Line, Series

# --- A module that was compiled before the restart ---


def prepare(folder: str) -> None:
    """Write the module and call it once, which compiles it."""
    from ipvm_kernel import Session

    with Session(Path(folder) / STORE) as session:
        session.module(keep(folder, "large", guests.large())).pick(0, 1).result()


def first_call(folder: str) -> Series:
    """Open the store, open the module, and run a task that nobody has run before."""
    from ipvm_kernel import Session

    import_all()
    path, new = Path(folder) / "large.wasm", time.time_ns()
    began = time.perf_counter()
    with Session(Path(folder) / STORE) as session:
        opened = time.perf_counter()
        module = session.module(path)
        there = time.perf_counter()
        value = module.pick(which=7, x=new).result()
        ended = time.perf_counter()
        assert type(value) is int
    return {
        "ipvm": ended - opened,
        "store": opened - began,
        "module": there - opened,
        "call": ended - there,
    }


def compiled(folder: str) -> Series:
    """Compile the module and call it, as wasmtime-py does without a cache."""
    import wasmtime
    from wasmtime import component

    data = (Path(folder) / "large.wasm").read_bytes()
    engine = wasmtime.Engine()
    began = time.perf_counter()
    made = component.Component(engine, data)
    store = wasmtime.Store(engine)
    function = component.Linker(engine).instantiate(store, made).get_func(store, "pick")
    assert function is not None
    function(store, 7, 1)
    return {"compile": time.perf_counter() - began}


# --- The kernel ---


def ipvm_kernel(folder: str) -> Series:
    """Start `python -m ipvm_kernel`."""
    return {"ipvm": _started(folder, "ipvm_kernel")}


def ipykernel(folder: str) -> Series:
    """Start ipykernel."""
    return {"ipykernel": _started(folder, "ipykernel_launcher")}


def _started(folder: str, module: str) -> float:
    """Return the seconds of CPU that a kernel needs until it has answered who it is."""
    from jupyter_client.blocking.client import BlockingKernelClient
    from jupyter_client.connect import write_connection_file

    connection, _ = write_connection_file(str(Path(folder) / f"{module}-{time.time_ns()}.json"))
    client = BlockingKernelClient(connection_file=connection)
    client.load_connection_file()
    client.start_channels()
    kernel = subprocess.Popen(
        [sys.executable, "-m", module, "-f", connection], cwd=folder, stderr=subprocess.PIPE, text=True
    )
    try:
        client.kernel_info()
        while not client.shell_channel.msg_ready():
            if kernel.poll() is not None:
                told = kernel.stderr.read().strip().splitlines() if kernel.stderr else []
                raise RuntimeError(f"python -m {module} does not start: {told[-1] if told else kernel.returncode}")
            time.sleep(0.01)
        assert client.get_shell_msg(timeout=1)["content"]["status"] == "ok"
        return _processor_seconds(kernel.pid)
    finally:
        kernel.kill()
        kernel.wait()
        client.stop_channels()


def _processor_seconds(pid: int) -> float:
    """Return what a process and its threads, ended ones too, have used, in nanoseconds' detail: Linux's clock of a process."""
    return time.clock_gettime(~pid << 3 | 2)


BENCHMARKS = [
    Benchmark(
        name="first-call",
        prepare=prepare,
        samples=(first_call, compiled),
        lines=(
            Line(work="first call of a 300 kB module after a restart", peers=("compile",), budget=5e-3),
            Line(work="  of that: open the module", ours="module"),
            Line(work="  of that: run the task, durable", ours="call"),
            Line(work="  before that: open the store", ours="store"),
        ),
    ),
    Benchmark(
        name="kernel",
        samples=(ipvm_kernel, ipykernel),
        lines=(Line(work="kernel start, processor time", peers=("ipykernel",), budget=50e-3, beyond="ipykernel"),),
    ),
]
