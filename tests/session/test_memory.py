"""How much memory a session takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_PROGRAM = """
import sys
from pathlib import Path
from ipvm_kernel import Instruction, Session, Task, Workflow
from ipvm_kernel.engine.ops import Performed, Prepared
from ipvm_kernel.model import Outcome
from ipvm_kernel.wasm.limits import Report

class Large:
    name = "test/large"

    def fallible(self, instruction):
        return False

    def prepare(self, instruction, tree):
        return Prepared(instruction, tree, instruction.cid.bytes[-32:])

    def perform(self, prepared, limits, stop):
        return Performed(Outcome("ok", prepared.tree.to_bytes(1_000_000, "little")), filed=True, report=Report())

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 1_000_000

folder, count = sys.argv[1], int(sys.argv[2])
tasks = tuple(Task(run=Instruction(rsc="ipvm:test", op="test/large", input=n)) for n in range(count))
workflow = Workflow(tasks=tasks)
for _ in range(2):
    with Session(folder) as session:
        session.ops._made["test/large"] = Large()
        session.run(Workflow(tasks=tasks[:1])).wait()
        before, peak = resident(), 0
        run = session.run(workflow)
        for answer in run:
            peak = max(peak, resident())
        print(peak - before, resident() - before)
        print(run.counts)
        assert run.answer(tasks[-1].run.cid).receipt.value == (count - 1).to_bytes(1_000_000, "little")
"""


def grown(folder: Path, count: int) -> list[int]:
    """Return by how many megabytes a process grew, at most and at the end, while it made and while it replayed results."""
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder), str(count)], capture_output=True, text=True, check=True
    )
    made, first, replayed, second = done.stdout.splitlines()
    assert "computed" in first
    assert second == f"{{'replayed': {count}}}"
    return [int(number) for line in (made, replayed) for number in line.split()]


def test_large_results_do_not_stay_in_memory(tmp_path: Path) -> None:
    """
    Results of a megabyte each are in the store and not in memory: when they are made, and when they are replayed.
    """
    assert max(grown(tmp_path / "store", 300)) < 190


@pytest.mark.torture
def test_a_thousand_large_results(tmp_path: Path) -> None:
    """
    The same for a thousand: a gigabyte of results in less than a fifth of that.
    """
    assert max(grown(tmp_path / "store", 1000)) < 190
