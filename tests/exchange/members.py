"""Sessions among peers, for the tests of whoever has some."""

from __future__ import annotations

import gc
import secrets
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.session import Session
from ipvm_kernel.session.peering import Peering
from ipvm_kernel.trust import Policy
from tests.guests import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.session import Module


class Member:
    """A session among peers, and what happened to it.

    Args:
        heartbeat: Seconds between two looks at the mesh.
        options: More of what `Peering` takes.
    """

    def __init__(self, *, heartbeat: float = 0.2, **options: Any) -> None:
        self.session = Session(None)
        self.numbers: Module = self.session.module(NUMBERS, "numbers")
        self.policy = Policy()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.peering = Peering(
            self.session,
            self.policy,
            tell=lambda kind, fields: self.events.append((kind, fields)),
            seed=secrets.token_bytes(32),
            heartbeat=heartbeat,
            **options,
        )

    @property
    def address(self) -> str:
        """Where others may call it."""
        return self.peering.network.addresses[0]

    @property
    def peer_id(self) -> str:
        """Its name among peers."""
        return self.peering.network.peer_id

    def heard(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one kind."""
        return [fields for name, fields in self.events if name == kind]

    def close(self) -> None:
        """Leave."""
        self.peering.close()
        self.session.close()


@pytest.fixture
def swept() -> Iterator[None]:
    """
    Collect, quietly, what libp2p 0.8.1 leaves: now and then the socket of a line that was closed from both ends at once.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def pair() -> Iterator[tuple[Member, Member]]:
    """
    Two sessions of ours that are connected and listen to each other.
    """
    one, two = Member(), Member()
    one.peering.network.connect(two.address)
    meet(one, two)
    yield one, two
    one.close()
    two.close()


def meet(*members: Member) -> None:
    """Wait until each of some members sees somebody who listens to the topic, and the mesh has grown."""
    eventually(lambda: all(member.peering.network.mesh for member in members))
    time.sleep(0.45)  # a heartbeat or two: who is not in the mesh yet gets no message


def eventually(holds: Any, within: float = 15.0, told: object = "it did not come to hold") -> None:
    """Wait until something holds; if it does not, fail with what is told."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, told
        time.sleep(0.02)
