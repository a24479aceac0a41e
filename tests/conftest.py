"""What every test may ask for. A peer is started when the first test asks, once for the session."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.daemons import Homestar, Kubo
from tests.peers import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A shared machine stalls now and then: time says nothing about a property. The torture target looks for new
# examples; everyday runs take the same ones, so that a red test is red again.
settings.register_profile("everyday", deadline=None, derandomize=True, database=None)
settings.register_profile("search", deadline=None, max_examples=2_000)
settings.load_profile("everyday")

# A shell lets what runs in the background ignore Ctrl-C, and all that this starts would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let `@pytest.mark.peer("zig", "kubo")` say what a test needs."""
    for mark in item.iter_markers("peer"):
        for name in mark.args:
            needs(name)


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test, and what it starts, away from the user's own store, settings and history."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPVM_HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(home / name.lower()))
        patch.setenv("IPVM_KUBO_API", "off")  # nothing is fetched from the user's own node
        patch.delenv("IPVM_GATEWAY", raising=False)
        patch.delenv("VIRTUAL_ENV", raising=False)  # of another environment: IPython would warn of it
        yield


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of test vectors."""
    return needs("vectors")


@pytest.fixture(scope="session")
def kubo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubo]:
    """A Kubo daemon of this session's own."""
    with Kubo.start(needs("kubo"), tmp_path_factory.mktemp("kubo")) as peer:
        yield peer


@pytest.fixture(scope="session")
def homestar(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Homestar]:
    """A Homestar node of this session's own, which fetches from `kubo`."""
    program = needs("homestar")
    ipfs = request.getfixturevalue("kubo").port
    with Homestar.start(program, tmp_path_factory.mktemp("homestar"), ipfs=ipfs) as peer:
        yield peer
