"""Kubo and Homestar as the tests meet them: the real programs, alone on loopback, with all that they keep in one folder."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlencode

from websockets.sync.client import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

HERE: Final = "127.0.0.1"


def free_port() -> int:
    """Return a port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int, path: str) -> bool:
    """Return whether an HTTP server on this port of loopback says that `path` is well."""
    try:
        return get(port, path)[0] == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def get(port: int, path: str) -> tuple[int, bytes]:
    """Return status and body of a GET request to loopback."""
    connection = http.client.HTTPConnection(HERE, port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    folder: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    within: float = 60,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in `folder` until the block ends, which begins as soon as `ready()` says so.

    What it prints goes to `log` in the folder. It is stopped by its own process id, and so is nothing else.
    """
    log = folder / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + within
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")[-4000:]
                raise RuntimeError(f"{command[0]} is not ready (exit code {process.returncode}); it said:\n{said}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Kubo:
    """A Kubo daemon that knows no other peer and asks nobody.

    Attributes:
        port: Where its RPC listens on loopback.
        repo: Its folder of blocks and keys.
        pid: Its process.
    """

    port: int
    repo: Path
    pid: int

    SETTINGS: ClassVar = {  # on top of its profile `test`: loopback, random ports, no bootstrap, no mDNS
        "AutoNAT": {"ServiceMode": "disabled"},
        "HTTPRetrieval": {"Enabled": False},
        "Plugins": {"Plugins": {"telemetry": {"Config": {"Mode": "off"}}}},
        "Provide": {"Enabled": False},
        "Routing": {"Type": "none"},
        "Version": {"SwarmCheckEnabled": False},
    }

    @classmethod
    @contextmanager
    def start(cls, program: Path, folder: Path) -> Iterator[Kubo]:
        """Run a daemon with an empty store in `folder` until the block ends."""
        repo = folder / "repo"
        env = {"IPFS_PATH": str(repo), "IPFS_TELEMETRY": "off"}
        subprocess.run(
            [program, "init", "--profile=test", "--empty-repo"],
            env={**os.environ, **env},
            check=True,
            capture_output=True,
        )
        settings = json.loads((repo / "config").read_bytes())
        settings |= cls.SETTINGS
        settings["Swarm"] |= {
            "RelayClient": {"Enabled": False},
            "RelayService": {"Enabled": False},
            "Transports": {"Network": {"Relay": False}},
        }
        (repo / "config").write_text(json.dumps(settings))

        def port() -> int | None:
            try:
                return int((repo / "api").read_text().rsplit("/", 1)[1])  # /ip4/127.0.0.1/tcp/PORT
            except (OSError, ValueError, IndexError):
                return None

        def ready() -> bool:
            return b"Daemon is ready" in (folder / "log").read_bytes()

        with running([program, "daemon"], folder=folder, env=env, ready=ready) as process:
            yield cls(port() or 0, repo, process.pid)

    def rpc(self, command: str, *, body: bytes | None = None, **options: object) -> bytes:
        """Call its RPC: `rpc("block/get", arg=cid)`. Underscores in names of options are sent as dashes."""
        query = urlencode(
            {
                name.replace("_", "-"): str(value).lower() if isinstance(value, bool) else value
                for name, value in options.items()
            }
        )
        border = uuid.uuid4().hex
        headers = {}
        if body is not None:
            headers["Content-Type"] = f"multipart/form-data; boundary={border}"
            body = (
                (
                    f'--{border}\r\nContent-Disposition: form-data; name="data"; filename="data"\r\n'
                    "Content-Type: application/octet-stream\r\n\r\n"
                ).encode()
                + body
                + f"\r\n--{border}--\r\n".encode()
            )
        connection = http.client.HTTPConnection(HERE, self.port, timeout=30)
        try:
            connection.request("POST", f"/api/v0/{command}?{query}", body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise RuntimeError(f"Kubo refused {command}: {answer.decode(errors='replace')}")
        return answer

    def add_block(self, data: bytes, codec: str = "raw", hash: str = "sha2-256") -> str:  # noqa: A002 - Kubo's word
        """Keep a block as it is; return its CID."""
        answer = json.loads(self.rpc("block/put", body=data, cid_codec=codec, mhtype=hash, allow_big_block=True))
        return str(answer["Key"])

    def add_file(self, data: bytes) -> str:
        """Keep a file as UnixFS, version 1, with raw leaves of 256 KiB; return its CID."""
        answer = self.rpc("add", body=data, cid_version=1, raw_leaves=True, chunker="size-262144", quieter=True)
        return str(json.loads(answer)["Hash"])

    def block(self, cid: str) -> bytes:
        """Return the bytes of a block."""
        return self.rpc("block/get", arg=cid, offline=True)

    def cat(self, cid: str) -> bytes:
        """Return the bytes of a file."""
        return self.rpc("cat", arg=cid, offline=True)

    def connect(self, other: Kubo) -> None:
        """Let it know another daemon, so that each can have what the other has."""
        about = json.loads(other.rpc("id"))
        address = next(found for found in about["Addresses"] if found.startswith(f"/ip4/{HERE}/tcp/"))
        self.rpc("swarm/connect", arg=address)

    def command(self, program: Path, *arguments: str | Path) -> bytes:
        """Run `ipfs` on it, and return what it prints."""
        env = {**os.environ, "IPFS_PATH": str(self.repo), "IPFS_TELEMETRY": "off"}
        return subprocess.run([program, *arguments], env=env, check=True, capture_output=True, timeout=60).stdout


class Refused(Exception):
    """Homestar's JSON-RPC answered with an error."""


@dataclass(frozen=True)
class Notice:
    """What Homestar tells a subscriber: a receipt, and whether it was on file.

    Attributes:
        data: The DAG-JSON, as it came.
    """

    data: bytes

    @property
    def _tree(self) -> Any:
        return json.loads(self.data)

    @property
    def cid(self) -> str:
        """The CID of the receipt."""
        return str(self._tree["receipt_cid"]["/"])

    @property
    def ran(self) -> str:
        """The CID of the invocation."""
        return str(self._tree["receipt"]["ran"]["/"])

    @property
    def out(self) -> list[Any]:
        """The outcome, in plain DAG-JSON: `["ok", 42]`."""
        out: list[Any] = self._tree["receipt"]["out"]
        return out

    @property
    def replayed(self) -> bool:
        """Whether it was on file already."""
        return bool(self._tree["metadata"]["replayed"])

    @property
    def workflow(self) -> str:
        """The CID of the workflow that asked."""
        return str(self._tree["metadata"]["workflow"]["/"])


SETTINGS: Final = """\
[node]
gc_interval = 1800
shutdown_timeout = 1

[node.monitoring]
process_collector_interval = 5000
console_subscriber_port = {console}

[node.network.metrics]
port = {metrics}

[node.network.rpc]
host = "127.0.0.1"
port = {rpc}

[node.network.webserver]
v4_host = "127.0.0.1"
v6_host = "[::1]"
port = {web}

[node.network.ipfs]
host = "127.0.0.1"
port = {ipfs}

[node.network.libp2p]
listen_address = "/ip4/127.0.0.1/tcp/0"
node_addresses = []

[node.network.libp2p.mdns]
enable = false

[node.network.libp2p.quic]
enable = false

[node.network.libp2p.rendezvous]
enable_client = false
enable_server = false
"""


@dataclass(frozen=True)
class Homestar:
    """A Homestar node that knows no other node, and fetches from a Kubo of the tests.

    Attributes:
        port: Where its JSON-RPC listens on loopback.
        rpc_port: Where its command line interface calls it.
        database: Its SQLite file.
        pid: Its process.
    """

    port: int
    rpc_port: int
    database: Path
    pid: int

    @classmethod
    @contextmanager
    def start(cls, program: Path, folder: Path, *, ipfs: int) -> Iterator[Homestar]:
        """Run a node with an empty database in `folder` until the block ends; `ipfs` is the port of Kubo's RPC."""
        web, rpc, metrics, console = (free_port() for _ in range(4))
        settings = folder / "settings.toml"
        settings.write_text(SETTINGS.format(web=web, rpc=rpc, metrics=metrics, console=console, ipfs=ipfs))
        database = folder / "homestar.db"
        command: list[str | Path] = [program, "start", "--config", settings, "--db", database]
        env = {"XDG_CONFIG_HOME": str(folder), "NO_COLOR": "1"}  # else it reads the settings of the user's own node
        with running(command, folder=folder, env=env, ready=lambda: answers(web, "/health")) as process:
            yield cls(web, rpc, database, process.pid)

    def run(
        self,
        workflow: Mapping[str, Any] | bytes,
        *,
        receipts: int | None = None,
        timeout: float = 20,
        name: str = "test",
        tries: int = 1,
    ) -> list[Notice]:
        """Run a workflow, as DAG-JSON or as DAG-CBOR, and return the receipts that it tells of, in their order.

        It never says that a task failed or that a workflow ended. So this waits for as many receipts as there are
        tasks, or as `receipts` says, and after `timeout` seconds returns what came: a short list is how it fails.

        What it tells before it has noted the subscriber is lost, which on a busy machine happens to replays. Whoever
        asks for those says how many `tries` there may be.
        """
        if isinstance(workflow, bytes):
            if receipts is None:
                raise ValueError("say how many receipts to wait for: a workflow in CBOR is not looked into here")
            params: list[Any] = [list(workflow)]
        else:
            receipts = len(workflow["tasks"]) if receipts is None else receipts
            params = [{"name": name, "workflow": workflow}]
        request = {"jsonrpc": "2.0", "id": 1, "method": "subscribe_run_workflow", "params": params}
        told = self._told(request, receipts, timeout)
        for _ in range(tries - 1):
            if len(told) < receipts:
                told = self._told(request, receipts, timeout)
        return told

    def _told(self, request: Mapping[str, Any], receipts: int, timeout: float) -> list[Notice]:
        notices: list[Notice] = []
        deadline = time.monotonic() + timeout
        with connect(f"ws://{HERE}:{self.port}", proxy=None, max_size=None) as socket_:
            socket_.send(json.dumps(request))
            while len(notices) < receipts:
                try:
                    frame = json.loads(socket_.recv(timeout=max(0, deadline - time.monotonic())))
                except TimeoutError:
                    break
                match frame:
                    case {"error": error}:
                        raise Refused(json.dumps(error))
                    case {"method": "subscribe_run_workflow", "params": {"result": list(data)}}:
                        notices.append(Notice(bytes(data)))
        return notices
