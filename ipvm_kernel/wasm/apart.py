"""Compile one module in a process of its own: `python -m ipvm_kernel.wasm.apart IN OUT IS_COMPONENT`.

The parent ends this process when it takes too long. An error is one line on standard output and exit status 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.wasm.module import compile_here


def main(source: str, target: str, is_component: str) -> int:
    """Compile the Wasm in `source` into `target`."""
    try:
        code = compile_here(Path(source).read_bytes(), is_component == "1")
    except IpvmError as error:
        print(error)  # noqa: T201 - its standard output is how it answers
        return 1
    Path(target).write_bytes(code.serialize())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
