"""An owner with a node, a guest with a key, and tokens good and bad."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ipvm_kernel.ipld import CID, Block, dagjson
from ipvm_kernel.model import WASM_RUN, Instruction, Task, Workflow
from ipvm_kernel.node.grants import RUN
from ipvm_kernel.session import Session
from ipvm_kernel.trust.delegation import delegate
from ipvm_kernel.trust.invocation import invoke, to_token
from ipvm_kernel.trust.keys import Key
from tests.node.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.node.conftest import Node, Peer

GUEST, OTHER, STRANGER = (Key(bytes([n]) * 32) for n in (21, 22, 23))
ANY_TASK = [["==", ".op", WASM_RUN]]


class Owned:
    """A node that belongs to somebody, and what its owner gives away."""

    def __init__(self, node: Node, key: Key) -> None:
        self.node = node
        self.key = key
        self.url = f"ws://127.0.0.1:{node.server.port}/"

    def lets(self, audience: Key = GUEST, policy: list[Any] | None = None, **more: Any) -> Block:
        """Return a delegation by the owner, for an hour."""
        options: dict[str, Any] = {"ends": time.time() + 3600, **more}
        return delegate(self.key, audience.did, options.pop("command", RUN), policy or ANY_TASK, **options)

    def token(self, workflow: CID, *proofs: Block, key: Key = GUEST, **more: Any) -> str:
        """Return what a guest shows for a workflow."""
        options: dict[str, Any] = {
            "subject": self.key.did,
            "command": RUN,
            "args": {"workflow": workflow},
            "proofs": [proof.cid for proof in proofs],
            **more,
        }
        return to_token(invoke(key, **options), proofs)

    @contextmanager
    def visit(self, token: str) -> Iterator[Peer]:
        """Connect as a guest."""
        with self.node.client(self.url, additional_headers={"Authorization": f"Bearer {token}"}) as peer:
            yield peer

    @contextmanager
    def guest(self, workflow: Workflow, *proofs: Block, key: Key = GUEST) -> Iterator[Peer]:
        """Connect as a guest who may run a workflow."""
        with self.visit(self.token(workflow.cid, *(proofs or (self.lets(key),)), key=key)) as peer:
            yield peer

    def refused(self) -> int:
        """Return how often guests were refused."""
        return int(self.node.info["refused"].get("guest", 0))


@contextmanager
def owning(home: Path, **web: Any) -> Iterator[Owned]:
    """Serve a store in a folder, whose owner has a key."""
    key = Key.load(home, create=True)
    assert key is not None
    with Session(home) as session, serving(session, **web) as node:
        yield Owned(node, key)


def ask(peer: Peer, workflow: Workflow) -> Any:
    """Ask for a run, and return the answer, whole."""
    wanted = {"name": "test", "workflow": json.loads(dagjson.dumps(workflow.to_ipld()))}
    return peer.ask("subscribe_run_workflow", wanted)


def task(rsc: str, *args: Any, func: str = "add_one", op: str = WASM_RUN) -> Task:
    """Return a task as somebody writes it who was told nothing of what guests may."""
    return Task(run=Instruction(rsc=rsc, op=op, input={"func": func, "args": list(args)}))
