"""Benchmarks, rounds, and what came of them."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tests.benchmarks.fresh import PATIENCE, DidNotRun, fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Series = dict[str, float]
"""One sample of each thing that a function measured, by name: seconds or bytes."""

Unit = Literal["s", "B"]
Verdict = Literal["within", "within at pace", "over", "-"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table.

    Attributes:
        work: What is done.
        ours: The series that is judged.
        peers: Series of others, taken in the same rounds.
        budget: What it may cost; None where nothing was promised, as for a part of another line.
        beyond: The peer on top of which the budget comes.
        pace: What the first peer took on the machine where the budget was set.
        unit: Of the series and the budget.
    """

    work: str
    ours: str = "ipvm"
    peers: tuple[str, ...] = ()
    budget: float | None = None
    beyond: str | None = None
    pace: float | None = None
    unit: Unit = "s"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What is measured together.

    Attributes:
        name: What `--only` calls it.
        samples: Functions that take a folder and return a sample; each call has a process of its own.
        lines: What the table says of it.
        prepare: Called once with the folder, in a process of its own.
        rounds: More rounds than this are not worth their time.
        patience: Seconds that one sample may take.
    """

    name: str
    samples: tuple[Callable[[str], Series], ...]
    lines: tuple[Line, ...]
    prepare: Callable[[str], object] | None = None
    rounds: int = 1000
    patience: float = PATIENCE


@dataclass(kw_only=True)
class Measured:
    """What came of a benchmark.

    Attributes:
        series: Every sample, by round.
        trouble: Why a function gave none, by its name.
    """

    benchmark: Benchmark
    series: dict[str, list[float]] = field(default_factory=dict)
    trouble: dict[str, str] = field(default_factory=dict)


def measure(benchmark: Benchmark, rounds: int) -> Measured:
    """Take every sample of a benchmark, in turns.

    A round that is not counted comes first, to fill the caches of disk and bytecode, except where one round is all that
    is ever worth its time. Every second round goes backwards, so that nobody always comes after the same neighbour. A
    function that fails is not asked again.
    """
    made = Measured(benchmark=benchmark)
    with tempfile.TemporaryDirectory(prefix=f"ipvm-bench-{benchmark.name}-") as folder:
        if benchmark.prepare is not None:
            try:
                fresh(benchmark.prepare, folder, patience=benchmark.patience)
            except DidNotRun as error:
                made.trouble = {sample.__name__: str(error) for sample in benchmark.samples}
                return made
        for turn, sample in _turns(benchmark, min(rounds, benchmark.rounds)):
            if sample.__name__ in made.trouble:
                continue
            try:
                taken = fresh(sample, folder, patience=benchmark.patience)
            except DidNotRun as error:
                made.trouble[sample.__name__] = str(error)
                continue
            for name, value in taken.items() if turn else ():
                made.series.setdefault(name, []).append(value)
    return made


def _turns(benchmark: Benchmark, rounds: int) -> Iterator[tuple[int, Callable[[str], Series]]]:
    for turn in range(benchmark.rounds == 1, rounds + 1):
        for sample in benchmark.samples[:: 1 if turn % 2 else -1]:
            yield turn, sample


def verdict(line: Line, series: dict[str, list[float]]) -> Verdict:
    """Return what a line's budget says: the median counts, as it is or at the pace of the machine of the budgets.

    >>> line = Line(work="", peers=("peer",), budget=12, pace=100)
    >>> verdict(line, {"ipvm": [9, 10, 30]}), verdict(line, {"ipvm": [13, 14, 15], "peer": [110, 100, 90]})
    ('within', 'over')
    >>> verdict(line, {"ipvm": [13, 14, 30], "peer": [150, 160, 400]})
    'within at pace'
    """
    ours = series.get(line.ours, [])
    if line.beyond is not None:
        ours = [mine - theirs for mine, theirs in zip(ours, series.get(line.beyond, []), strict=False)]
    if line.budget is None or not ours:
        return "-"
    if statistics.median(ours) <= line.budget:
        return "within"
    beside = ratio(ours, series.get(line.peers[0], [])) if line.pace is not None and line.peers else None
    if beside is not None and line.pace is not None and beside * line.pace <= line.budget:
        return "within at pace"
    return "over"


def ratio(ours: Iterable[float], theirs: Iterable[float]) -> float | None:
    """Return how often what the peer needs is needed here: the median of the rounds' ratios.

    >>> ratio([1, 2, 30], [2, 4, 6])
    0.5
    """
    pairs = [mine / other for mine, other in zip(ours, theirs, strict=False) if other]
    return statistics.median(pairs) if pairs else None
