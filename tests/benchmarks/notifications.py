"""Notifications: how fast one client of a node hears of receipts."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.benchmarks.engine import STORE
from tests.benchmarks.measure import Benchmark, Line, Series

if TYPE_CHECKING:
    from websockets.sync.server import ServerConnection

_TASKS = 2000
_WAT = b'(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))'
_TOKEN = "benchmark"


def prepare(folder: str) -> None:
    """Compute a workflow of many tasks, so that a node has nothing to do but to tell of it."""
    from ipvm_kernel import Session
    from ipvm_kernel.ipld import dagjson

    with Session(Path(folder) / STORE) as session:
        module = session.module(_WAT, "adder")
        run = session.run([module.add(index, 1) for index in range(_TASKS)]).wait()
        workflow = run.workflow.to_ipld()
    (Path(folder) / "workflow.json").write_text(dagjson.dumps({"name": "n", "workflow": workflow}), encoding="utf-8")


def _heard(url: str, request: str, count: int) -> tuple[float, list[str]]:
    """Return the seconds from the answer to the last notification, and the notifications."""
    from websockets.sync.client import connect

    frames: list[str] = []
    with connect(url, proxy=None, max_size=None, compression=None) as socket:
        socket.send(request)
        assert "result" in json.loads(socket.recv())
        began = time.perf_counter()
        while len(frames) < count:
            frames.append(str(socket.recv()))
        return time.perf_counter() - began, frames


def node(folder: str) -> Series:
    """Replay the workflow through a node; and send the same frames through a bare websockets server."""
    from websockets.sync.server import serve

    from ipvm_kernel import Session
    from ipvm_kernel.node import settings
    from ipvm_kernel.node.server import Server

    chosen = settings.load("/dev/null", {}, network={"webserver": {"port": 0}})
    workflow: Any = json.loads((Path(folder) / "workflow.json").read_bytes())
    request = {"jsonrpc": "2.0", "id": 1, "method": "subscribe_run_workflow", "params": [{**workflow, "events": True}]}
    with Session(Path(folder) / STORE) as session, Server(session, chosen, _TOKEN) as server:
        url = f"ws://127.0.0.1:{server.port}/?token={_TOKEN}"
        took, frames = _heard(url, json.dumps(request), _TASKS)
        assert server.service.counts.dropped == 0

    def send(connection: ServerConnection) -> None:
        connection.recv()
        connection.send('{"jsonrpc":"2.0","id":1,"result":"x"}')
        for frame in frames:
            connection.send(frame)

    with serve(send, "127.0.0.1", 0, compression=None) as bare:
        threading.Thread(target=bare.serve_forever, daemon=True).start()
        floor, _ = _heard(f"ws://127.0.0.1:{bare.socket.getsockname()[1]}", "{}", _TASKS)
        bare.shutdown()
    return {"ipvm": took / _TASKS, "websockets": floor / _TASKS}


BENCHMARKS = [
    Benchmark(
        name="notifications",
        prepare=prepare,
        samples=(node,),
        lines=(
            Line(work="one notification of 2,000 replays, to one client of a node", peers=("websockets",), budget=1e-3),
        ),
    )
]
