from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.kernel.conftest import Kernel, start

if TYPE_CHECKING:
    from pathlib import Path


def interrupted(kernel: Kernel, code: str, after: float = 0.7) -> tuple[dict[str, object], float]:
    """Run a cell, interrupt it after a while, and return its reply and how long it took from then on."""
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        kernel.manager.interrupt_kernel()

    timer = threading.Timer(after, interrupt)
    timer.start()
    reply = kernel.run(code)
    return reply, time.monotonic() - sent[0]


@pytest.mark.parametrize(
    "code",
    ["demo.spin().result()", "%%ipvm\nx = demo.spin()\n", "await demo.spin()"],
    ids=["result", "cell", "await"],
)
def test_an_interrupt_stops_a_spinning_guest(kernel: Kernel, code: str) -> None:
    """
    Ctrl-C ends a cell whose guest would never end, at once, and the kernel goes on.
    """
    reply, took = interrupted(kernel, code)
    after = kernel.text("demo.add(40, 2).result()")

    assert reply["status"] == "error"
    assert took < 1.0  # the promise is 200 ms; the machine may be busy
    assert "42" in after


def test_receipts_that_are_there_survive_an_interrupt(kernel: Kernel) -> None:
    """
    What ended before the interrupt is kept; asking again goes on from there.
    """
    interrupted(kernel, "%%ipvm\nkept = demo.add(7, 7)\nlost = demo.spin()\n")
    told = kernel.text("kept")

    assert "14" in told


def test_a_trap_does_not_hurt_the_kernel(kernel: Kernel) -> None:
    """
    A guest that traps is an error of its task, and of nothing else.
    """
    told = kernel.text("demo.div(1, 0).result()")
    after = kernel.text("demo.div(8, 2).result()")

    assert "divided an integer by zero" in told
    assert "Traceback" not in told
    assert "4" in after


def test_a_usage_error_is_one_line(kernel: Kernel) -> None:
    """
    A mistyped verb ends the cell in error with one line.
    """
    reply = kernel.run("%ipvm whi demo")

    assert reply["status"] == "error"
    assert reply["ename"] == "UsageError"


def test_magics_complete_and_inspect_through_the_protocol(kernel: Kernel) -> None:
    """
    A front end gets verbs after `%ipvm`, and the WIT signature of a function.
    """
    offered = kernel.client.complete("%ipvm wh", reply=True, timeout=30)["content"]["matches"]
    shown = kernel.client.inspect("demo.add", reply=True, timeout=30)["content"]["data"]["text/plain"]

    assert any(match.endswith("why") for match in offered)
    assert "p0: s32" in shown


def test_a_restart_replays(tmp_path: Path) -> None:
    """
    After a restart the same cell runs nothing: its receipts are on file.
    """
    from tests.magics.conftest import WAT

    told = []
    for _ in range(2):
        manager = start("ipvm", tmp_path)
        kernel = Kernel(manager, "ipvm")
        kernel.run(f"%%wasm demo --lang wat\n{WAT}")
        told.append(kernel.text("%%ipvm\nx = demo.add(demo.add(1, 2), 3)\n"))
        kernel.close(now=False)

    assert "2 computed" in told[0]
    assert "2 replayed" in told[1]


def test_a_cid_inspects_in_the_ipvm_kernel(kernel: Kernel) -> None:
    """
    Shift-Tab on a CID in plain Python shows what it names.
    """
    if kernel.name != "ipvm":
        pytest.skip("the Python kernel knows no CIDs")
    kernel.run("x = demo.add(1, 2)\nx.result()")
    cid = kernel.text("print(x.receipt.cid)").split()[0]
    told = kernel.client.inspect(f"cid = '{cid}'", 12, reply=True, timeout=30)["content"]

    assert told["found"]
    assert "receipt" in told["data"]["text/plain"]


def test_limits_of_the_host_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A class's limits, set in the environment of its kernels, stop what asks for more, and change no CID.
    """
    from tests.magics.conftest import WAT

    monkeypatch.setenv("IPVM_MAX_TIME", "0.2")
    manager = start("ipvm", tmp_path)
    kernel = Kernel(manager, "ipvm")
    kernel.run(f"%%wasm demo --lang wat\n{WAT}")
    told = kernel.text("demo.spin.with_options(time=1000)().result()")
    kernel.close()

    assert "time ran out" in told
