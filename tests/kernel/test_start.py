from __future__ import annotations

import subprocess
import sys

LATE = (
    "wasmtime",
    "nbformat",
    "graphviz",
    "anywidget",
    "ipfshttpclient",
    "apsw",
    "msgspec",
    "cbor2",
    "numpy",
    "pandas",
    "urllib3",
)


def test_the_start_of_the_kernel_loads_nothing_heavy() -> None:
    """
    Opening a notebook costs what it costs with ipykernel: nothing that runs Wasm or opens a store is loaded before a
    cell asks for it.
    """
    code = (
        "import os, sys\n"
        "from ipykernel.kernelapp import IPKernelApp\n"
        "before = set(sys.modules)\n"
        "from ipvm_kernel.kernel import IPVMKernel\n"
        "app = IPKernelApp(kernel_class=IPVMKernel)\n"
        "app.initialize([])\n"
        f"os.write(1, str(['loaded', *[name for name in {LATE!r} if name in set(sys.modules) - before]]).encode())\n"
        "app.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert "['loaded']" in done.stdout
