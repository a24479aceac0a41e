"""Homestar's own JavaScript client (`@fission-codes/homestar` from npm), unchanged, against a node of ours."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ipvm_kernel.session import Session
from tests.node.conftest import serving
from tests.peers import needs

pytestmark = pytest.mark.peer("homestar-js")

WAT = b'(module (func (export "add-one") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))'


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """
    What the client printed, and the session that served it.
    """
    program = shutil.which("node")
    assert program is not None
    with Session(None) as session, serving(session, token=False) as node:
        module = session.module(WAT, "numbers")
        done = subprocess.run(
            [
                program,
                Path(__file__).parent / "client.mjs",
                needs("homestar-js"),
                f"ws://127.0.0.1:{node.server.port}",
                f"ipfs://{module._cid}",
            ],
            capture_output=True,
            timeout=60,
            check=False,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        found["ours"] = [
            {"ran": str(answer.receipt.ran), "cid": str(answer.receipt.cid), "out": ["ok", answer.receipt.value]}
            for handle in (module.add_one(1), module.add_one(module.add_one(1)))
            if (answer := session.answered(handle.cid)) is not None and answer.receipt is not None
        ]
        return found


def test_every_run_tells_both_receipts(told: dict[str, Any]) -> None:
    """
    The client gets the receipts of all tasks, computed and then replayed at once, each time.
    """
    assert [[notice["out"] for notice in run] for run in told["runs"]] == [[["ok", 2], ["ok", 3]]] * 3
    assert [[notice["replayed"] for notice in run] for run in told["runs"]] == [[False] * 2, [True] * 2, [True] * 2]
    assert told["errors"] == []


def test_the_client_and_the_node_name_everything_alike(told: dict[str, Any]) -> None:
    """
    Instructions that the client names (its promise is the CID of the first task) are those that run here.
    """
    first = told["runs"][0]

    assert {notice["name"] for notice in first} == {"npm"}
    assert {notice["cid"] for run in told["runs"] for notice in run} == {notice["cid"] for notice in first}
    assert len({notice["workflow"] for notice in first}) == 1
    assert [{"out": notice["out"], "cid": notice["cid"], "ran": notice["ran"]} for notice in first] == told["ours"]


def test_health_node_and_metrics_have_the_shapes_that_the_client_knows(told: dict[str, Any]) -> None:
    """
    What the client asks besides is answered.
    """
    assert told["health"] == {"healthy": True}
    assert set(told["node"]["dynamic"]) == {"listeners", "connections"}
    assert type(told["node"]["static"]["peer_id"]) is str
    assert told["metrics"] >= 18
