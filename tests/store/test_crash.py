from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ipvm_kernel.ipld import Block
from ipvm_kernel.testing import filing, task
from tests.store.crashing import look, value
from tests.store.power import Tape, recorded

ROOT = Path(__file__).parents[2]


def kills(folder: Path, rounds: int, seed: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.store.crashing", str(folder), str(rounds), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_kill_9(tmp_path: Path) -> None:
    """
    A process killed at any moment loses no receipt that it acknowledged; the store opens, and all in it is what was put.
    """
    found = kills(tmp_path / "store", rounds=12, seed=1)

    assert found["wrong"] == []
    assert found["acknowledged"] > 0


@pytest.mark.torture
def test_kill_9_a_thousand_times(tmp_path: Path) -> None:
    """
    The same, a thousand times, in stores of different ages.
    """
    seed = random.SystemRandom().randrange(1 << 32)
    found = [kills(tmp_path / f"store-{n}", rounds=50, seed=seed + 1000 * n) for n in range(20)]

    assert [one["wrong"] for one in found] == [[]] * 20, f"seed {seed}"
    assert all(one["acknowledged"] > 0 for one in found)


@pytest.fixture
def tape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tape:
    """What a store did to the disk while it was given 40 receipts, large ones among them, a few at a time."""
    tape = Tape()
    store = recorded(tmp_path / "recorded", tape, monkeypatch)
    for number in range(40):
        store.file(filing(task(number), value(number)))
        store.put(Block.of(["block", number]))
        if number % 4 == 3:
            store.sync()
            tape.acknowledge(number + 1)
    return tape


def cut(tape: Tape, tmp_path: Path, lengths: list[int], seed: int) -> list[str]:
    wrong = []
    for length in lengths:
        folder = tmp_path / f"cut-{length}-{seed}"
        acknowledged = tape.lay_out(folder, length, seed + length)
        wrong += [f"after {length} events, seed {seed + length}: {what}" for what in look(folder, acknowledged)]
    return wrong


def test_power_cut(tape: Tape, tmp_path: Path) -> None:
    """
    After a power cut, with any of the unsynced sectors lost, no acknowledged receipt is missing or wrong.
    """
    total = len(tape.events)

    assert total > 200
    assert cut(tape, tmp_path, sorted(random.Random(7).sample(range(total + 1), 40)), seed=7) == []


@pytest.mark.torture
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_power_cut_anywhere(tape: Tape, tmp_path: Path, seed: int) -> None:
    """
    The same after every single write.
    """
    assert cut(tape, tmp_path, list(range(len(tape.events) + 1)), seed) == []


def test_the_power_cut_can_hurt(tape: Tape, tmp_path: Path) -> None:
    """
    The simulation is able to fail: a store whose syncs do nothing loses what it acknowledged.
    """
    tape.events = [event for event in tape.events if event[0] != "sync" or event[1] == "store.db"]

    assert cut(tape, tmp_path, list(range(150, 200, 10)), seed=7) != []
