"""Ctrl-C while something is fetched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Instruction, Task, Workflow
from tests.exchange.fakes import Fake

if TYPE_CHECKING:
    from pathlib import Path


PROGRAM = """\
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
from ipvm.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("verb", ["get", "run"])
def test_ctrl_c(verb: str, tmp_path: Path) -> None:
    """
    A fetch from a Kubo that says nothing ends at Ctrl-C, at once, in a line.
    """
    cid = file_cid(b"absent")
    run = Instruction(rsc=f"ipfs://{cid}", op="wasm/run", input={"func": "f", "args": []})
    path = Workflow(tasks=(Task(run=run),)).save(tmp_path / "workflow.json")
    fake = Fake()
    fake.mood = "silent"
    with fake.running() as address:
        env = {**os.environ, "IPVM_HOME": str(tmp_path / "home"), "IPVM_KUBO_API": address}
        command = [sys.executable, "-c", PROGRAM, verb, f"ipfs://{cid}" if verb == "get" else str(path)]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            end = time.monotonic() + 60
            while not fake.asked:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in out + err
    assert time.monotonic() - began < 10
