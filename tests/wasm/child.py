"""Run a snippet in a Python of its own: what it does there cannot end the tests, and a crash is a failure that is shown."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

PRELUDE: Final = """
import gc, os, signal, sys, threading, time
from pathlib import Path
from tests.wasm.guests import *
from ipvm_kernel.errors import BadModule, IpvmError
from ipvm_kernel.wasm import capi, host, machine, runtime, types as wit
from ipvm_kernel.wasm.limits import Limits, Report
from ipvm_kernel.wasm.runtime import Failure
from ipvm_kernel.wasm.stop import Stop
"""


def in_a_child(snippet: str, *, seconds: float = 60.0, memory: int | None = None) -> str:
    """Run a snippet and return what it printed. It must end by itself, with status 0, and say nothing to stderr.

    Args:
        snippet: Python, after the imports of `PRELUDE`.
        seconds: How long it may take.
        memory: Bytes of address space that it may use, if that is limited.
    """
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))\n" if memory else ""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "error", "-c", limit + PRELUDE + textwrap.dedent(snippet)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, ""), (
        f"status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    return done.stdout
