from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.toolchains.guest import Guest, plain

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60)


@pytest.fixture(scope="module")
def masses() -> list[float]:
    with (NOTEBOOKS / "data" / "penguins.csv").open(newline="", encoding="utf-8") as file:
        return [float(row["body_mass_g"]) for row in csv.DictReader(file) if row["body_mass_g"] != "NA"]


def splitmix(seed: int, count: int) -> list[int]:
    """Return the numbers that SplitMix64 gives from a seed."""
    out = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) % 2**64
        bits = (seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB % 2**64
        out.append(bits ^ (bits >> 31))
    return out


@given(NUMBERS)
def test_mean_and_summary_are_numpy_s(stats: Guest, xs: list[float]) -> None:
    """
    Mean, deviation, least and greatest are those of numpy, with n - 1 below the squares.
    """
    summary = plain(stats.call("summary", xs))

    assert stats.call("mean", xs) == pytest.approx(np.mean(xs), rel=1e-9, abs=1e-6)
    assert summary == {
        "count": len(xs),
        "mean": stats.call("mean", xs),
        "sd": pytest.approx(np.std(xs, ddof=1), rel=1e-9, abs=1e-6),
        "min": min(xs),
        "max": max(xs),
    }


@given(NUMBERS, st.floats(0, 1))
def test_quantiles_are_numpy_s(stats: Guest, xs: list[float], q: float) -> None:
    """
    A quantile between two values lies on the line that joins them, as numpy has it.
    """
    assert stats.call("quantile", xs, q) == pytest.approx(np.quantile(xs, q), rel=1e-9, abs=1e-6)


def test_a_quantile_at_a_value_is_that_value(stats: Guest) -> None:
    """
    Least, middle and greatest come out as they went in; infinity does not spread.
    """
    xs = [3.0, -math.inf, 0.1, math.inf, 0.2]

    assert [stats.call("quantile", xs, q) for q in (0.0, 0.25, 0.5, 0.75, 1.0)] == [-math.inf, 0.1, 0.2, 3.0, math.inf]


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_a_seed_is_a_sample(stats: Guest, masses: list[float], seed: int) -> None:
    """
    The sample that a seed draws is written down in the algorithm; every machine draws the same.
    """
    drawn = [masses[(number >> 32) * len(masses) >> 32] for number in splitmix(seed, len(masses))]

    assert stats.call("resample-mean", masses, seed) == sum(drawn) / len(drawn)
    assert stats.call("resample-mean", masses, seed) == stats.call("resample-mean", masses, seed)


def test_resampling_finds_the_standard_error(stats: Guest, masses: list[float]) -> None:
    """
    Means of many samples scatter as statistics says they must.
    """
    means = [stats.call("resample-mean", masses, seed) for seed in range(300)]

    assert np.mean(means) == pytest.approx(np.mean(masses), rel=0.01)
    assert np.std(means) == pytest.approx(np.std(masses, ddof=1) / math.sqrt(len(masses)), rel=0.15)


def test_nothing_has_no_mean(stats: Guest) -> None:
    """
    Of no values, or of values with a NaN, the answer is NaN and not a guess; so it is for a share beyond 0 to 1.
    """
    answers = [
        stats.call("mean", []),
        stats.call("mean", [1.0, math.nan]),
        stats.call("resample-mean", [], 1),
        stats.call("quantile", [], 0.5),
        stats.call("quantile", [1.0, math.nan, 2.0], 0.0),
        stats.call("quantile", [1.0], 1.5),
        stats.call("quantile", [1.0], math.nan),
        plain(stats.call("summary", [])).pop("sd"),
        plain(stats.call("summary", [1.0])).pop("sd"),
        plain(stats.call("summary", [math.nan])).pop("min"),
    ]

    assert all(math.isnan(answer) for answer in answers)
