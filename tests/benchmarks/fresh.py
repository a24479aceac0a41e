"""Call a function in a new process: `fresh(function, *args)`. Arguments and answer travel as JSON."""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 180.0

T = TypeVar("T")


class DidNotRun(Exception):
    """The new process ended without an answer; the message says why in one line."""


@functools.cache
def _compiled() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of all children's bytecode: it is made whether or not the environment wants it, and left nowhere."""
    return tempfile.TemporaryDirectory(prefix="ipvm-bench-bytecode-")


def environment(home: str) -> dict[str, str]:
    """Return the variables of a child, which keep it away from the user's own store, settings and history."""
    variables = {**os.environ, "PYTHONPYCACHEPREFIX": _compiled().name, "PYTHONHASHSEED": "0"}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in ("IPVM_HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        variables[name] = str(Path(home) / name.lower())
    return variables


def fresh(function: Callable[..., T], *args: Any, patience: float = PATIENCE) -> T:
    """Return what a function at the top of a module returns when a new process calls it.

    Raises:
        DidNotRun: It raised, or was not done in time.
    """
    where = f"{function.__module__}:{function.__name__}"
    command = [sys.executable, "-m", __name__, where, json.dumps(args)]
    with tempfile.TemporaryDirectory(prefix="ipvm-bench-home-") as home:
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=environment(home), capture_output=True, text=True, timeout=patience, check=False
            )
        except subprocess.TimeoutExpired:
            raise DidNotRun(f"{where}: not done in {patience:.0f} s") from None
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"ended with status {ended.returncode}"]
        raise DidNotRun(f"{where}: {lines[-1]}")
    answer: T = json.loads(ended.stdout.splitlines()[-1])
    return answer


if __name__ == "__main__":
    _module, _, _name = sys.argv[1].partition(":")
    print("\n" + json.dumps(getattr(importlib.import_module(_module), _name)(*json.loads(sys.argv[2]))))
