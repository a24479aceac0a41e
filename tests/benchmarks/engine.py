"""What the benchmarks need of the engine beyond its face: everything imported, and a reader of DAG-CBOR by name."""

from __future__ import annotations

import contextlib
import gc
import importlib
import pkgutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks import guests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STORE: Final = "store"
_NOT_NEEDED: Final = ("ipvm_kernel.kernel", "ipvm_kernel.testing", "ipvm_kernel.__main__")


def import_all() -> None:
    """Import the whole engine, so that what is measured is not the time of imports, nor of collecting after them."""
    import ipvm_kernel

    for found in pkgutil.walk_packages(ipvm_kernel.__path__, "ipvm_kernel."):
        if not found.name.startswith(_NOT_NEEDED):
            with contextlib.suppress(ImportError):
                importlib.import_module(found.name)
    gc.collect()


def use_reader(name: str) -> None:
    """Let the codec read with cbor2 or with cbrrr, whatever is installed."""
    from ipvm_kernel.ipld import codec

    codec._reader = {"cbor2": codec.cbor2_reader, "cbrrr": codec.cbrrr_reader}[name]()


def keep(folder: str, name: str, source: str) -> Path:
    """Write the binary of a module's text and return where."""
    path = Path(folder) / f"{name}.wasm"
    path.write_bytes(guests.binary(source))
    return path


def each(call: Callable[[int], object], arguments: Iterable[int], batches: int = 9) -> float:
    """Return the seconds that one call takes: of several passes over all arguments, the middle one."""
    wanted = list(arguments)
    passes = []
    for _ in range(batches):
        began = time.perf_counter()
        for argument in wanted:
            call(argument)
        passes.append((time.perf_counter() - began) / len(wanted))
    return statistics.median(passes)
