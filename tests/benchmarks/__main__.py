"""`python -m tests.benchmarks [--only NAME] [--rounds N] [--json FILE]`: measure against the budgets, print one table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.benchmarks import (
    archives,
    bulk,
    caches,
    homestar,
    interrupts,
    lineage,
    live,
    memory,
    notifications,
    replays,
    runs,
    sharing,
    starts,
    transfers,
)
from tests.benchmarks.measure import Measured, measure
from tests.benchmarks.table import machine, record, row, text

BENCHMARKS = [
    *replays.BENCHMARKS,
    *runs.BENCHMARKS,
    *transfers.BENCHMARKS,
    *bulk.BENCHMARKS,
    *starts.BENCHMARKS,
    *interrupts.BENCHMARKS,
    *memory.BENCHMARKS,
    *live.BENCHMARKS,
    *lineage.BENCHMARKS,
    *homestar.BENCHMARKS,
    *notifications.BENCHMARKS,
    *archives.BENCHMARKS,
    *sharing.BENCHMARKS,
    *caches.BENCHMARKS,
]


def main(arguments: list[str] | None = None) -> int:
    """Measure what is asked for and print the table. Being over budget is a finding, not a failure."""
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=main.__doc__)
    parser.add_argument("--only", action="append", choices=known, metavar="NAME", help=f"one of: {', '.join(known)}")
    parser.add_argument("--rounds", type=int, default=5, help="samples of each kind, after one that is not counted")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    asked = parser.parse_args(arguments)
    began = machine()
    found: list[Measured] = []
    for name in asked.only or known:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found.append(measure(known[name], max(1, asked.rounds)))
    print(text([row(line, measured.series) for measured in found for line in measured.benchmark.lines]))
    print(f"\nPython {began['python']}, {began['cores']} cores, load {began['load'][0]:.1f} at the beginning;", end=" ")
    print(", ".join(f"{name} {version}" for name, version in began["versions"].items()))
    print("At pace: over budget here, but not beside the first peer, as fast as that was where the budget was set.")
    for measured in found:
        for trouble in dict.fromkeys(measured.trouble.values()):
            print(f"did not run: {trouble}")
    if asked.json:
        asked.json.write_text(json.dumps(record(found, began), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
