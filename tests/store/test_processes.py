from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipvm_kernel import Session
from ipvm_kernel.store.sqlite import SqliteStore
from tests.guests import NUMBERS
from tests.store.racing import GUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.store import Claim

ROOT = Path(__file__).parents[2]


def race(folder: Path, processes: int, tasks: int) -> Iterator[dict[str, Any]]:
    """Let processes that share a store run the same tasks at the same moment."""
    command = [sys.executable, "-m", "tests.store.racing", str(folder), str(tasks)]
    running = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        yield json.loads(out)


def test_four_kernels_do_the_work_of_one(tmp_path: Path) -> None:
    """
    Four processes that run the same 200 tasks at once make 200 executions in all, and each has all 200 answers.
    """
    told = list(race(tmp_path / "store", 4, 200))

    assert all(one["right"] for one in told)
    assert sum(one["counts"].get("computed", 0) for one in told) == 200
    assert sum(sum(one["counts"].values()) for one in told) == 800
    with Session(tmp_path / "store") as session:
        journal = session.store.journal(func="work", limit=10_000)
        executed = [entry.instruction for entry in journal if entry.how == "computed"]
        assert len(executed) == len(set(executed)) == 200
        assert session.run([session.module(GUEST).work(n) for n in range(200)]).wait().counts == {"replayed": 200}


class Watched(SqliteStore):
    """A store that tells when a claim was refused."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.refused = threading.Event()

    def claim(self, key: bytes) -> Claim | None:
        claim = super().claim(key)
        if claim is None:
            self.refused.set()
        return claim


_HOLDER = """
import sys
from pathlib import Path
from ipvm_kernel.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
claim = store.claim(bytes.fromhex(sys.argv[2]))
print("held" if claim else "refused", flush=True)
sys.stdin.read()
"""


def test_a_claim_dies_with_its_holder(tmp_path: Path) -> None:
    """
    While another process holds a task its run waits; when the holder is killed, the task runs here.
    """
    store = Watched(tmp_path / "store")
    with Session(store) as session:
        handle = session.module(NUMBERS).add_one(1)
        key = session.ops["wasm/run"].prepare(handle.instruction, handle.instruction.input).key
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(tmp_path / "store"), key.hex()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        run = session.run(handle)
        run.start()
        assert store.refused.wait(30)
        assert not run.done()
        holder.kill()
        holder.communicate()

        assert run.wait(30).counts == {"computed": 1}
        assert handle.result() == 2
