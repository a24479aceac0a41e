from __future__ import annotations

import hashlib
import os
import subprocess
from base64 import b32encode
from typing import TYPE_CHECKING, Any

import pytest
import wasmtime

from tests import peers
from tests.daemons import Homestar, Kubo, Refused, running
from tests.peers import needs

if TYPE_CHECKING:
    from pathlib import Path

ADD_ONE = '(module (func (export "add-one") (param i32) (result i32) local.get 0 i32.const 1 i32.add))'
WORLD = "package ipvm:demo; world demo { export add-one: func(a: s32) -> s32; }"


@pytest.fixture(scope="module")
def add_one(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A component with one function, add-one, in a few hundred bytes."""
    tools = needs("wasm-tools")
    folder = tmp_path_factory.mktemp("add_one")
    core, embedded, component, world = (folder / name for name in ("core", "embedded", "component", "world.wit"))
    core.write_bytes(wasmtime.wat2wasm(ADD_ONE))
    world.write_text(WORLD)
    subprocess.run([tools, "component", "embed", "--world", "demo", world, core, "-o", embedded], check=True)
    subprocess.run([tools, "component", "new", embedded, "-o", component], check=True)
    return component.read_bytes()


def call(rsc: str, *arguments: object, func: str = "add_one") -> dict[str, Any]:
    """Return a workflow of one task, as DAG-JSON."""
    run = {"rsc": f"ipfs://{rsc}", "op": "wasm/run", "input": {"func": func, "args": list(arguments)}, "nnc": ""}
    return {"tasks": [{"cause": None, "meta": {}, "prf": [], "run": run}]}


def test_a_missing_peer_skips_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who has no Kubo can still run the tests, and is told what was left out.
    """
    monkeypatch.delenv("IPVM_REQUIRE", raising=False)
    monkeypatch.delenv("IPVM_KUBO", raising=False)
    monkeypatch.setitem(peers.PEERS, "kubo", peers.Peer(lambda: None, "Ask a friend."))

    with pytest.raises(pytest.skip.Exception, match=r"kubo is not here: Ask a friend\. Or set IPVM_KUBO"):
        needs("kubo")


@pytest.mark.parametrize("asked", ["all", "zig, kubo"])
def test_a_required_peer_that_is_missing_fails(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    """
    Where all peers are required, nothing is green because it was not there.
    """
    monkeypatch.setenv("IPVM_REQUIRE", asked)
    monkeypatch.delenv("IPVM_KUBO", raising=False)
    monkeypatch.setitem(peers.PEERS, "kubo", peers.Peer(lambda: None, "Ask a friend."))

    with pytest.raises(pytest.fail.Exception, match="kubo is not here"):
        needs("kubo")


def test_a_peer_that_nobody_knows_cannot_be_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A typing error in IPVM_REQUIRE is not taken for a requirement that is met.
    """
    monkeypatch.setenv("IPVM_REQUIRE", "kobo")

    with pytest.raises(pytest.UsageError, match="kobo"):
        peers.required("kubo")


def test_a_path_that_is_given_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    A wrong path is never replaced with another program of that name.
    """
    monkeypatch.setenv("IPVM_ZIG", str(tmp_path / "nothing"))

    with pytest.raises(pytest.fail.Exception, match="IPVM_ZIG"):
        needs("zig")


def test_a_program_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    """
    The last words of a daemon that fails to start are in the error.
    """
    with (
        pytest.raises(RuntimeError, match="no such luck"),
        running(["/bin/sh", "-c", "echo no such luck; exit 3"], folder=tmp_path, ready=lambda: False),
    ):
        pass


def test_a_daemon_ends_with_its_block(tmp_path: Path) -> None:
    """
    Tests leave no process behind.
    """
    with running(["sleep", "60"], folder=tmp_path, ready=lambda: True) as process:
        pid = process.pid

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_kubo_names_a_block_as_we_do(kubo: Kubo) -> None:
    """
    A raw block put into Kubo comes back whole, under the CID of its SHA2-256.
    """
    data = b"Round" * 100_000
    cid = kubo.add_block(data)

    digest = b"\x01\x55\x12\x20" + hashlib.sha256(data).digest()
    assert "b" + b32encode(digest).decode().lower().rstrip("=") == cid
    assert data == kubo.block(cid)


def test_kubo_takes_codec_and_hash(kubo: Kubo) -> None:
    """
    A block of the model, dag-cbor under SHA3-256, has its usual CID there.
    """
    cid = kubo.add_block(b"\xa0", "dag-cbor", "sha3-256")

    assert cid.startswith("bafyrmi")
    assert kubo.block(cid) == b"\xa0"


def test_kubo_knows_nobody(kubo: Kubo) -> None:
    """
    Its swarm is empty, so what a test asks it for is here or nowhere.
    """
    with pytest.raises(RuntimeError, match="not found"):
        kubo.cat("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")

    assert b"Peers" in (peers_ := kubo.rpc("swarm/peers"))
    assert b"Addr" not in peers_


def test_homestar_runs_a_component_that_was_built_here(homestar: Homestar, kubo: Kubo, add_one: bytes) -> None:
    """
    The reference implementation fetches a module from our Kubo, runs it, and says so; the second time it replays.
    """
    workflow = call(kubo.add_block(add_one), 41)
    (first,) = homestar.run(workflow)
    (second,) = homestar.run(workflow, timeout=5, tries=4)

    assert first.out == ["ok", 42]
    assert not first.replayed
    assert second.replayed
    assert (first.cid, first.ran, first.workflow) == (second.cid, second.ran, second.workflow)


def test_homestar_is_silent_about_a_task_that_fails(homestar: Homestar, kubo: Kubo, add_one: bytes) -> None:
    """
    A failed task is an empty list after the time given, and the node still runs the next one.
    """
    module = kubo.add_block(add_one)

    assert homestar.run(call(module, "forty-one"), timeout=2) == []
    assert [notice.out for notice in homestar.run(call(module, 1))] == [["ok", 2]]


def test_homestar_refuses_what_is_no_workflow(homestar: Homestar) -> None:
    """
    An error of its JSON-RPC is raised, not waited for.
    """
    with pytest.raises(Refused, match="Invalid params"):
        homestar.run({"tasks": "none"}, receipts=1)
