"""How much memory a session takes, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

_PROGRAM = """
import sys
from pathlib import Path
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


_PIPELINE = """
import re, sys
from pathlib import Path
from ipvm_kernel import Session
from tests.wasm.guests import MEMORY, component, lifted

CODE = '''
(func $give (param i32 i32) (result i32)
  (i32.store (i32.const 16) (local.get 0)) (i32.store (i32.const 20) (local.get 1)) (i32.const 16))
(func $room (param i32) (result i32) (call $re (i32.const 0) (i32.const 0) (i32.const 8) (local.get 0)))
(func (export "fill") (param i32) (result i32) (local $at i32)
  (local.set $at (call $room (local.get 0)))
  (memory.fill (local.get $at) (i32.const 7) (local.get 0))
  (call $give (local.get $at) (local.get 0)))
(func (export "step") (param i32 i32) (result i32) (local $at i32)
  (local.set $at (call $room (local.get 1)))
  (memory.copy (local.get $at) (local.get 0) (local.get 1))
  (i32.store8 (local.get $at) (i32.add (i32.const 1) (i32.load8_u (local.get $at))))
  (call $give (local.get $at) (local.get 1)))'''

def memory(which):
    return int(re.search(which + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

folder, size = sys.argv[1], int(sys.argv[2])
source = component(MEMORY.replace('(func (export "realloc")', '(func $re (export "realloc")') + CODE,
    lifted("fill", '(param "n" u32) (result (list u8))'), lifted("step", '(param "x" (list u8)) (result (list u8))'))
with Session(folder) as session:
    module = session.module(source)
    module.step(b"warm").result()
    before = memory("VmRSS")
    handles = [module.fill(size)]
    for _ in range(3):
        handles.append(module.step(handles[-1]))
    session.run(handles[-1]).wait()
    print((memory("VmHWM") - before) / size)
    print(max(len(handle.receipt.block.data) for handle in handles))
    print(session.store.usage().total_bytes / size)
    assert handles[-1].result()[:2] == bytes((10, 7))
"""


def pipeline(folder: Path, size: int) -> tuple[float, int, float]:
    """Return the peak of memory of a pipeline over large values, the largest receipt, and what is on disk; in values."""
    if not sys.platform.startswith("linux"):
        pytest.skip("resident memory is read from /proc")
    done = subprocess.run(
        [sys.executable, "-c", _PIPELINE, str(folder), str(size)], capture_output=True, text=True, check=True,
        cwd=ROOT,
    )  # fmt: skip
    peak, receipt, disk = done.stdout.split()
    return float(peak), int(receipt), float(disk)


def test_a_pipeline_holds_what_its_guest_holds(tmp_path: Path) -> None:
    """
    A pipeline over large values holds no value besides those in the guest that runs, keeps each once, and in no receipt.
    """
    peak, receipt, disk = pipeline(tmp_path, 40_000_000)

    assert peak < 2.5
    assert receipt < 1000
    assert disk < 4.1


@pytest.mark.torture
def test_a_pipeline_over_256_mb(tmp_path: Path) -> None:
    """
    So does one over values of 256 MB.
    """
    peak, receipt, disk = pipeline(tmp_path, 256_000_000)

    assert peak < 2.1
    assert receipt < 1000
    assert disk < 4.1
