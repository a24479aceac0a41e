"""The process of a node: started, asked, stopped, crashed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from ipvm import cli
from ipvm_kernel import Session
from ipvm_kernel.errors import IpvmError, NotFound, StoreBusy
from ipvm_kernel.ipld import dagjson
from ipvm_kernel.node import control
from ipvm_kernel.node.place import Place
from tests.guests import NUMBERS
from tests.node.conftest import Peer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipvm_kernel.handles import Handle
    from ipvm_kernel.node.place import Word


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """
    A store with a module in it, whose node is stopped when the test ends.
    """
    folder = tmp_path / "home"
    monkeypatch.setenv("IPVM_HOME", str(folder))
    with Session(folder) as session:
        session.module(NUMBERS, "numbers")
    yield folder
    place = Place(folder)
    if place.alive():
        os.kill(place.find().pid, signal.SIGKILL)


@contextmanager
def client(home: Path, there: Word) -> Iterator[Peer]:
    """Connect to a node that runs in a process of its own."""
    url = f"ws://{there.host}:{there.port}/?token={Place(home).token()}"
    with connect(url, proxy=None, max_size=None) as socket:
        yield Peer(socket)


def drain(peer: Peer) -> None:
    """Read until the node closes."""
    while True:
        peer.receive()


def declare(home: Path, function: str, *args: Any) -> Handle:
    """Declare a task in a session that is over at once."""
    with Session(home) as session:
        return session.module(NUMBERS, "numbers")[function](*args)


def test_start_ping_info_and_stop(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    The four verbs do what they say; what is started says where, and what is stopped is gone.
    """
    status = [
        cli.main(["node", *words]) for words in (["start", "--port", "0"], ["ping"], ["info"], ["stop"], ["ping"])
    ]
    out, err = capsys.readouterr()

    assert status == [0, 0, 0, 0, 1]
    assert "node started: ws://127.0.0.1:" in out
    assert "pong from ws://127.0.0.1:" in out
    assert f"store {home}" in out
    assert "node stopped: ws://" in out
    assert err == f"NotFound: no node runs on {home}. Start one with: ipvm node start\n"


def test_what_a_node_leaves_is_for_its_user_alone(home: Path) -> None:
    """
    Folder 0700, token, word and log 0600; the token stays the same for the next node.
    """
    os.umask(0)
    try:
        control.start(home, ["--port", "0"])
    finally:
        os.umask(0o022)
    folder = home / "node"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    token = Place(home).token()
    control.stop(home)
    control.start(home, ["--port", "0"])

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes == dict.fromkeys(["lock", "log", "node.json", "token"], 0o600)
    assert Place(home).token() == token
    control.stop(home)


def test_a_second_node_is_refused_and_named(home: Path) -> None:
    """
    One node a store: the second says where the first is; of two that start at once, one wins.
    """
    there = control.start(home, ["--port", "0"])
    with pytest.raises(StoreBusy, match=rf"found one at 127.0.0.1:{there.port} \(process {there.pid}\)"):
        control.start(home, ["--port", "0"])
    second = subprocess.run(
        [sys.executable, "-m", "ipvm_kernel.node", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    control.stop(home)
    won: list[Word] = []
    lost: list[IpvmError] = []

    def race() -> None:
        try:
            won.append(control.start(home, ["--port", "0"]))
        except IpvmError as error:
            lost.append(error)

    threads = [threading.Thread(target=race) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert (len(won), len(lost)) == (1, 1)
    control.stop(home)


def test_a_busy_port_gives_the_next_one(home: Path) -> None:
    """
    As with Homestar, a port that is taken is no reason not to start.
    """
    with Session(None) as session, serving(session) as other:
        there = control.start(home, ["--port", str(other.server.port)])

        assert there.port > other.server.port
        control.stop(home)


def test_bad_settings_are_one_line(home: Path, tmp_path: Path) -> None:
    """
    A misspelt key names its place and what is near; nothing stays behind.
    """
    path = tmp_path / "settings.toml"
    path.write_text("[node.network.webserver]\nmax_framme = 5\n")
    with pytest.raises(IpvmError, match=r"max_framme.*Did you mean 'max_frame'") as said:
        control.start(home, ["--settings", str(path)])

    assert str(said.value).count("\n") == 0
    assert not Place(home).alive()


def test_a_network_that_cannot_be_joined_is_said_at_the_start(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A node that cannot listen for its peers does not begin, and says why in one line.
    """
    monkeypatch.setenv("IPVM__NODE__NETWORK__LIBP2P__ENABLE", "true")
    monkeypatch.setenv("IPVM__NODE__NETWORK__LIBP2P__LISTEN_ADDRESS", "nonsense")
    with pytest.raises(
        IpvmError, match=r"the node did not begin: (Unreachable: expected a multiaddr|ToolchainMissing)"
    ):
        control.start(home, ["--port", "0"])

    assert not Place(home).alive()


def test_stopped_in_the_middle_of_a_run(home: Path) -> None:
    """
    `stop` ends a spinning guest and the node, and what was computed before is on file for the next.
    """
    there = control.start(home, ["--port", "0"])
    done, spin = declare(home, "add_one", 41), declare(home, "spin", 1)
    with client(home, there) as peer:
        peer.run(done.workflow)
        receipt = peer.next()
        peer.run(spin.workflow, events=True)
        assert peer.next()["event"] == "task_started"
        began = time.monotonic()
        control.stop(home)
        took = time.monotonic() - began
        with pytest.raises(ConnectionClosed):
            drain(peer)
    with Session(home) as session:
        found = session.known(done.cid)

    assert found is not None
    assert found.cid == receipt["receipt_cid"]
    assert took < 25


def test_killed_in_the_middle_of_a_run(home: Path) -> None:
    """
    After a crash there is no node, the next one starts, and what was told with its receipt is on file.
    """
    there = control.start(home, ["--port", "0"])
    done, spin = declare(home, "add_one", 42), declare(home, "spin", 2)
    with client(home, there) as peer:
        ident = peer.run(done.workflow, events=True)
        while not (notice := peer.next())["event"].startswith("workflow"):
            pass
        peer.run(spin.workflow, events=True)
        peer.next()
        os.kill(there.pid, signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            drain(peer)
    with pytest.raises(NotFound, match="no node runs"):
        control.ask(home, "health")
    after = control.start(home, ["--port", "0"])
    with client(home, after) as peer:
        peer.run(done.workflow)
        replayed = peer.next()
    control.stop(home)

    assert ident
    assert notice["event"] == "workflow_finished"
    assert replayed["metadata"]["replayed"] is True


def test_the_system_may_stop_it(home: Path) -> None:
    """
    SIGTERM, as a service manager sends it, is a stop like any other.
    """
    there = control.start(home, ["--port", "0"])
    os.kill(there.pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while Place(home).alive() and time.monotonic() < deadline:
        time.sleep(0.02)

    assert not Place(home).alive()
    assert not (home / "node" / "node.json").exists()


def test_two_nodes_share_a_store_and_run_a_task_once(tmp_path: Path) -> None:
    """
    Two servers on one folder, asked for the same workflow at the same time, compute each task once between them.
    """
    folder = tmp_path / "shared"
    with Session(folder) as one, Session(folder) as two, serving(one) as first, serving(two) as second:
        handles = [first.numbers.add_one(index) for index in range(40)]
        workflow = one.run(handles).workflow
        with first.client() as here, second.client() as there:
            here.run(workflow, events=True)
            there.run(workflow, events=True)
            told = [[peer.next() for _ in range(1)] for peer in (here, there)]
            for notices, peer in zip(told, (here, there), strict=True):
                while not notices[-1]["event"].startswith("workflow"):
                    notices.append(peer.next())
    receipts = [
        {n["instruction"]: n["receipt_cid"] for n in notices if n["event"] == "task_finished"} for notices in told
    ]
    computed = sum(notices[-1]["counts"].get("computed", 0) for notices in told)

    assert receipts[0] == receipts[1]
    assert len(receipts[0]) == 40
    assert computed == 40


def test_a_notebook_finds_what_a_node_computed(home: Path) -> None:
    """
    A session on the same store replays what a client of the node had computed.
    """
    there = control.start(home, ["--port", "0"])
    handle = declare(home, "add_one", 77)
    with client(home, there) as peer:
        peer.run(handle.workflow)
        peer.next()
    control.stop(home)
    with Session(home) as session:
        run = session.run(session.handle(handle.cid)).wait()

    assert run.counts == {"replayed": 1}


def test_json_of_info_is_what_the_node_says(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    `ipvm node info --json` is one DAG-JSON object, with what was refused by reason.
    """
    there = control.start(home, ["--port", "0"])
    with client(home, there) as peer:
        peer.ask("nonsense")
    cli.main(["node", "info"])
    text = capsys.readouterr().out
    cli.main(["node", "info", "--json"])
    value = dagjson.loads(capsys.readouterr().out.strip())
    control.stop(home)

    assert "unknown method" in text
    assert value["ipvm"]["refused"] == {"unknown method": 1}  # type: ignore[index, call-overload]
    assert json.dumps(value["static"]) == '{"peer_id": ""}'  # type: ignore[index, call-overload]


def test_in_the_foreground_a_signal_ends_the_node_and_nothing_else(home: Path) -> None:
    """
    `--foreground` serves here; Ctrl-C ends it, and the next Ctrl-C is the program's own again.
    """
    program = (
        "import os, signal, threading, time, ipvm\n"
        "def press():\n"
        "    from ipvm_kernel.node.place import Place\n"
        "    from pathlib import Path\n"
        "    while not Place(Path(os.environ['IPVM_HOME'])).alive(): time.sleep(0.02)\n"
        "    time.sleep(1)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=press, daemon=True).start()\n"
        "print(ipvm.node('start', port=0, foreground=True))\n"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["the node stopped", "True"]
    assert not Place(home).alive()
