"""Kubo: what is said to its RPC, and what comes back, from a fake one and from the real one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.exchange.http import Deadline, Refused, Unreachable
from ipvm_kernel.exchange.kubo import ENDPOINTS, Kubo
from ipvm_kernel.exchange.resources import Resources
from ipvm_kernel.exchange.settings import Settings
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.store import MemoryStore
from tests.exchange.fakes import Fake

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests import daemons

BLOCKS = [Block.raw(b"a block"), Block.of({"a": [1, 2.5, None]}), Block.raw(b""), Block.raw(os.urandom(1 << 20))]


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.peer("kubo"))])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """
    The address of a Kubo: of one that is none, and of one that is.
    """
    if request.param == "real":
        kubo: daemons.Kubo = request.getfixturevalue("kubo")
        yield f"http://127.0.0.1:{kubo.port}"
    else:
        with Fake().running() as found:
            yield found


@pytest.mark.parametrize("block", BLOCKS, ids=["raw", "dag-cbor", "empty", "large"])
def test_blocks_there_and_back(address: str, block: Block) -> None:
    """
    A block goes to Kubo under its own CID, whatever its codec and hash, and comes back as it was.
    """
    kubo = Kubo(address)
    kubo.put_block(block.cid, block.data, Deadline(10))

    assert kubo.block(block.cid, Deadline(10)) == block.data
    kubo.close()


def test_who_it_is(address: str) -> None:
    """
    Kubo says its version and its name, which `ipvm doctor` shows.
    """
    kubo = Kubo(address)

    assert kubo.version(Deadline(10)).startswith("0.")
    assert kubo.id(Deadline(10)).startswith("12D3Koo")
    assert Resources(MemoryStore(), Settings(kubo=address)).kubo_version() == kubo.version(Deadline(10))


def test_nobody_is_nobody() -> None:
    """
    Where no Kubo is, or none may be asked, there is no version, and no error.
    """
    with Fake().running() as gone:
        pass

    assert Resources(MemoryStore(), Settings(kubo=gone)).kubo_version() == ""
    assert Resources(MemoryStore(), Settings()).kubo_version() == ""


def test_another_server_is_no_kubo() -> None:
    """
    A web server that is not Kubo is told from one, in a printable line.
    """
    fake = Fake()
    with fake.running() as address, pytest.raises(Refused, match="404"):
        Kubo(f"{address}/elsewhere").version(Deadline(5))


def test_a_block_that_is_kept_under_another_cid() -> None:
    """
    A Kubo that names what it was given in another way is refused: what was to be shared would not be found.
    """
    fake = Fake()
    wrong = CID.of(b"other", "raw", "sha2-256")
    with fake.running() as address, pytest.raises(Refused, match="keeps"):
        Kubo(address).put_block(wrong, b"this", Deadline(5))


def test_each_way_has_its_reason() -> None:
    """
    The table of endpoints says of each which way it goes, and why.
    """
    assert all(endpoint.path and endpoint.why for endpoint in ENDPOINTS.values())
    with pytest.raises(Unreachable):
        Kubo("http://127.0.0.1:1").version(Deadline(1))
