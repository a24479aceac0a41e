"""Archives: CAR files read, each block checked, and written; of large blocks, and of very many small ones."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.measure import Benchmark, Line, Series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.ipld import CID

LARGE: Final = 1_000  # leaves of files
LEAF: Final = 262_144
SMALL: Final = 100_000  # receipts, nearly
_LARGE_CAR: Final = "large.car"
_SMALL_CAR: Final = "small.car"


def prepare(folder: str) -> None:
    """Write both archives."""
    from ipvm_kernel.ipld.car import write

    with (Path(folder) / _LARGE_CAR).open("wb") as file:
        write(file, [], _leaves())
    with (Path(folder) / _SMALL_CAR).open("wb") as file:
        write(file, [], _receipts())


def _leaves() -> Iterator[tuple[CID, bytes]]:
    from ipvm_kernel.ipld import CID

    for _ in range(LARGE):
        data = os.urandom(LEAF)
        yield CID.of(data, "raw", "sha2-256"), data


def _receipts() -> Iterator[tuple[CID, bytes]]:
    from ipvm_kernel.ipld import CID, encode

    module, ran = CID.of(b"module"), CID.of(b"ran")
    for number in range(SMALL):
        meta = {"op": "add-one", "module": module, "note": "n" * 80}
        data = encode({"iss": None, "meta": meta, "out": ["ok", number], "prf": [], "ran": ran})
        yield CID.of(data), data


def reading(folder: str) -> Series:
    """Read each archive from its file, as a stream and to have its index."""
    from ipvm_kernel.ipld.car import Archive

    taken = {}
    for name, count in ((_LARGE_CAR, LARGE), (_SMALL_CAR, SMALL)):
        with (Path(folder) / name).open("rb") as file:
            began = time.perf_counter()
            met = sum(1 for _ in Archive(file))
            taken[f"{name} read"] = time.perf_counter() - began
            assert met == count
            file.seek(0)
            began = time.perf_counter()
            index = Archive(file).index()
            taken[f"{name} indexed"] = time.perf_counter() - began
            assert len(index) == count
    return taken


def writing(folder: str) -> Series:
    """Write each archive to a file, from blocks that are at hand; nobody waits for the disk."""
    from ipvm_kernel.ipld.car import write

    taken = {}
    for name in (_LARGE_CAR, _SMALL_CAR):
        blocks = _at_hand(folder, name)
        target = Path(folder) / f"again-{name}"
        with target.open("wb") as file:
            began = time.perf_counter()
            size = write(file, [], blocks)
            taken[f"{name} written"] = time.perf_counter() - began
        assert size == (Path(folder) / name).stat().st_size
        target.unlink()
    return taken


def hashing(folder: str) -> Series:
    """Hash the same bytes in the same pieces, and do nothing else."""
    taken = {}
    for name, function in ((_LARGE_CAR, hashlib.sha256), (_SMALL_CAR, hashlib.sha3_256)):
        pieces = [data for _, data in _at_hand(folder, name)]
        began = time.perf_counter()
        for piece in pieces:
            function(piece).digest()
        taken[f"{name} hash"] = time.perf_counter() - began
    return {"sha2-256 alone": taken[f"{_LARGE_CAR} hash"], "sha3-256 alone": taken[f"{_SMALL_CAR} hash"]}


def _at_hand(folder: str, name: str) -> list[tuple[CID, bytes]]:
    from ipvm_kernel.ipld.car import Archive

    with (Path(folder) / name).open("rb") as file:
        return [(piece.cid, piece.data) for piece in Archive(file)]


# 200 MB/s, where the hash is faster than that: of 262 MB, and of 26 MB.
_LARGE_BUDGET: Final = 1.31
_SMALL_BUDGET: Final = 0.128
_SHA2: Final = ("sha2-256 alone",)
_SHA3: Final = ("sha3-256 alone",)
_SHA2_PACE: Final = 0.13
_SHA3_PACE: Final = 0.07

BENCHMARKS = [
    Benchmark(
        name="archives",
        prepare=prepare,
        samples=(reading, writing, hashing),
        lines=(
            Line(
                work="CAR of 1,000 blocks of 256 KiB (262 MB): read, each checked",
                ours=f"{_LARGE_CAR} read",
                peers=_SHA2,
                budget=_LARGE_BUDGET,
                pace=_SHA2_PACE,
            ),
            Line(work="  and indexed", ours=f"{_LARGE_CAR} indexed", peers=_SHA2),
            Line(
                work="  written",
                ours=f"{_LARGE_CAR} written",
                peers=_SHA2,
                budget=_LARGE_BUDGET,
                pace=_SHA2_PACE,
            ),
            Line(
                work="CAR of 100,000 receipts (26 MB): read, each checked",
                ours=f"{_SMALL_CAR} read",
                peers=_SHA3,
                budget=_SMALL_BUDGET,
                pace=_SHA3_PACE,
            ),
            Line(work="  and indexed", ours=f"{_SMALL_CAR} indexed", peers=_SHA3),
            Line(
                work="  written",
                ours=f"{_SMALL_CAR} written",
                peers=_SHA3,
                budget=_SMALL_BUDGET,
                pace=_SHA3_PACE,
            ),
        ),
    ),
]
