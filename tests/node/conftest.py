"""A node in a thread of the tests, and a client that speaks to it as any program would."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

from ipvm_kernel.ipld import dagjson
from ipvm_kernel.node import settings
from ipvm_kernel.node.server import Server
from ipvm_kernel.session import Session
from tests.exchange.members import swept
from tests.guests import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.model import Workflow
    from ipvm_kernel.session import Module

__all__ = ["swept"]

TOKEN = "a-token-of-the-tests"


class Peer:
    """A client over a WebSocket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self._last = 0
        self.notices: list[tuple[str, Any]] = []

    def ask(self, method: str, *params: Any) -> Any:
        """Send a request and return its answer, whole. Notifications that come before it are kept."""
        self._last += 1
        self.send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": list(params)})
        while True:
            frame = self.receive()
            if frame.get("id") == self._last:
                return frame
            self._keep(frame)

    def send(self, value: Any) -> None:
        """Send a frame."""
        self.socket.send(value if isinstance(value, str | bytes) else json.dumps(value))

    def receive(self, timeout: float = 10) -> Any:
        """Return the next frame."""
        return json.loads(self.socket.recv(timeout=timeout))

    def _keep(self, frame: Any) -> None:
        self.notices.append((frame["params"]["subscription"], dagjson.loads(bytes(frame["params"]["result"]))))

    def next(self, timeout: float = 10) -> Any:
        """Return the next notification, decoded."""
        while not self.notices:
            self._keep(self.receive(timeout))
        return self.notices.pop(0)[1]

    def run(self, workflow: Workflow, *, name: str = "test", events: bool = False) -> str:
        """Ask for a run, and return the id of its subscription."""
        wanted = {"name": name, "workflow": json.loads(dagjson.dumps(workflow.to_ipld())), "events": events}
        answer = self.ask("subscribe_run_workflow", wanted)
        assert "result" in answer, answer
        return str(answer["result"])


class Node:
    """A node and what it runs."""

    def __init__(self, server: Server, session: Session, numbers: Module) -> None:
        self.server = server
        self.session = session
        self.numbers = numbers

    @property
    def url(self) -> str:
        """Where it is, with the token."""
        return f"ws://127.0.0.1:{self.server.port}/?token={TOKEN}"

    @property
    def info(self) -> dict[str, Any]:
        """What it says of itself under `ipvm`."""
        told: dict[str, Any] = self.server.service.info()["ipvm"]
        return told

    @property
    def refused(self) -> int:
        """How much it refused."""
        return int(sum(self.info["refused"].values()))

    @contextmanager
    def client(self, url: str = "", **options: Any) -> Iterator[Peer]:
        """Connect a client."""
        with connect(url or self.url, proxy=None, max_size=None, **options) as socket:
            yield Peer(socket)


@contextmanager
def serving(session: Session, *, libp2p: dict[str, Any] | None = None, **web: Any) -> Iterator[Node]:
    """Serve a session until the block ends."""
    chosen = settings.load("/dev/null", {}, network={"webserver": {"port": 0, **web}, "libp2p": libp2p or {}})
    module = session.module(NUMBERS, "numbers")
    with Server(session, chosen, TOKEN) as server:
        yield Node(server, session, module)


@pytest.fixture
def node() -> Iterator[Node]:
    """
    A node on a session of its own.
    """
    with Session(None) as session, serving(session) as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[Node]:
    """
    A node for tests that leave nothing behind but counts.
    """
    with Session(None) as session, serving(session) as made:
        yield made
