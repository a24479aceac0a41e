"""What was measured, as a table to read and as JSON to keep."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import statistics
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.measure import ratio, verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.benchmarks.measure import Line, Measured, Unit

HEAD: Final = ("work", "budget", "measured (best)", "beside it, in the same rounds", "ratio", "verdict")
_PEERS: Final = ("ipvm", "wasmtime", "apsw", "cbor2", "cbrrr", "joblib", "diskcache", "ipykernel")


def shown(value: float, unit: Unit = "s") -> str:
    """Return a quantity with three digits at most.

    >>> shown(0.0000304), shown(0.0214), shown(3.2), shown(math.inf), shown(41_200_000, "B")
    ('30 us', '21 ms', '3.2 s', 'never', '41 MB')
    """
    if math.isinf(value):
        return "never"
    if unit == "B":
        return f"{value / 1e6:.{0 if abs(value) >= 1e7 else 1}f} MB"
    for factor, name in ((1e6, "us"), (1e3, "ms")):
        if abs(value) * factor < 1000:
            return f"{value * factor:.{0 if abs(value) * factor >= 10 else 1}f} {name}"
    return f"{value:.1f} s"


def row(line: Line, series: dict[str, list[float]]) -> tuple[str, ...]:
    """Return the cells of a line."""
    ours = series.get(line.ours, [])
    peers = [(name, series[name]) for name in line.peers if series.get(name)]
    ratios = [ratio(ours, samples) for _, samples in peers]
    return (
        line.work,
        _budget(line),
        f"{shown(statistics.median(ours), line.unit)} ({shown(min(ours), line.unit)})" if ours else "did not run",
        "; ".join(f"{name} {shown(statistics.median(samples), line.unit)}" for name, samples in peers),
        "; ".join(f"{found:.2g}" if found else "-" for found in ratios),
        verdict(line, series),
    )


def _budget(line: Line) -> str:
    if line.budget is None:
        return "-"
    budget = shown(line.budget, line.unit)
    return f"{line.beyond} + {budget}" if line.beyond else budget


def text(rows: Sequence[Sequence[str]], head: Sequence[str] = HEAD) -> str:
    """Return rows under a head, in columns."""
    widths = [max(len(cells[column]) for cells in (head, *rows)) for column in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip() for cells in lines)


def markdown(rows: Sequence[Sequence[str]], head: Sequence[str] = HEAD) -> str:
    """Return rows under a head, as a table of Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    versions = {}
    for name in _PEERS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "versions": versions,
    }


def record(found: Iterable[Measured], began: dict[str, Any]) -> dict[str, Any]:
    """Return all that was measured, for `--json`. What never ended is null."""
    return {
        "machine": began,
        "load_after": os.getloadavg(),
        "benchmarks": {
            measured.benchmark.name: {
                "series": {
                    name: [None if math.isinf(value) else value for value in samples]
                    for name, samples in measured.series.items()
                },
                "lines": [
                    dict(zip(HEAD, row(line, measured.series), strict=True)) for line in measured.benchmark.lines
                ],
                "trouble": measured.trouble,
            }
            for measured in found
        },
    }
