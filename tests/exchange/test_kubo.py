"""Kubo: what is said to its RPC, and what comes back, from a fake one and from the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.errors import IpvmError, NotFound
from ipvm_kernel.exchange.http import Deadline, Over, Refused, Unreachable
from ipvm_kernel.exchange.kubo import ENDPOINTS, Kubo
from ipvm_kernel.exchange.resources import Resources
from ipvm_kernel.exchange.settings import Settings
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.store import MemoryStore
from tests.exchange.fakes import Fake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


# --- By the client, and without it ---

CID_TEXT = str(Block.raw(b"x").cid)


@pytest.mark.peer("ipfshttpclient")
@pytest.mark.parametrize("answer", [
    (200, b"no JSON at all", {}),
    (200, b"{}", {}),
    (200, b'{"Pins":[]}{"Pins":[]}', {}),
    (200, b"[" * 100_000, {}),
    (200, b'"' + b"x" * (5 << 20), {}),
    (200, b"\xff\xfe", {}),
    (302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}),
    (404, b"<h1>no Kubo</h1>", {}),
    (500, b'{"Message":"\\u001b[31mred","Code":0,"Type":"error"}', {}),
    (500, b"not JSON", {}),
    None,
], ids=str)  # fmt: skip
def test_whatever_the_client_meets(answer: tuple[int, bytes, dict[str, str]] | None) -> None:
    """
    Whatever answers in the place of Kubo, the client's errors become ours: one printable line, in time.
    """
    fake = Fake()
    fake.says = dict.fromkeys((f"/api/v0/{path}" for path in ("pin/ls", "pin/rm", "add", "id", "cat")), answer)
    cid = CID.parse(CID_TEXT)
    with fake.running() as address:
        backend = Kubo(address)
        calls: list[Callable[[], object]] = [
            lambda: backend.pinned(cid, Deadline(1)),
            lambda: backend.unpin(cid, Deadline(1)),
            lambda: backend.add(b"x", Deadline(1)),
            lambda: backend.id(Deadline(1)),
            lambda: b"".join(backend.cat(cid, Deadline(1), max_bytes=1000)),
        ]
        for call in calls:
            began = time.monotonic()
            error = refusal(call)
            assert error is None or (error.message.isprintable() and len(error.message) < 600)
            assert time.monotonic() - began < 5


def refusal(call: Callable[[], object]) -> IpvmError | None:
    """
    Return the error of ours that a call ends in, or None; another one goes on.
    """
    try:
        call()
    except IpvmError as error:
        return error
    return None


@pytest.mark.peer("ipfshttpclient")
def test_a_client_is_not_waited_for_beyond_the_deadline() -> None:
    """
    An answer that comes byte by byte, and never ends in time, is left at the deadline.
    """
    fake = Fake()
    fake.mood = "slow"
    fake.says["/api/v0/id"] = (200, b" " * 10_000, {})
    began = time.monotonic()
    with fake.running() as address, pytest.raises(Over):
        Kubo(address).id(Deadline(0.5))
    assert time.monotonic() - began < 5


@pytest.mark.peer("ipfshttpclient")
def test_the_client_minds_our_own_business(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    The client goes where it is told, past the proxies of the environment, and sends no password that lies in a file.
    """
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fake = Fake()
    fake.says["/api/v0/id"] = (200, b'{"ID":"12D3KooWFake"}', {})
    with fake.running() as address:
        assert Kubo(address).id(Deadline(5)) == "12D3KooWFake"
    assert "Authorization" not in fake.headers[0]
    assert fake.headers[0]["Accept-Encoding"] == "identity"


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where ipfshttpclient is not installed, version, id, blocks and archives work, and the rest says what to install.
    """
    monkeypatch.setitem(sys.modules, "ipfshttpclient", None)
    fake = Fake()
    block = Block.raw(b"x")
    with fake.running() as address:
        backend = Kubo(address)
        assert backend.version(Deadline(5)) == "0.43.0"
        assert backend.id(Deadline(5)) == "12D3KooWFake"
        backend.put_block(block.cid, block.data, Deadline(5))
        calls: list[Callable[[], object]] = [
            lambda: backend.pin(block.cid),
            lambda: backend.unpin(block.cid),
            lambda: backend.pinned(block.cid),
            lambda: backend.add(b"x"),
            lambda: next(backend.cat(block.cid)),
        ]
        for call in calls:
            with pytest.raises(NotFound, match=r'pip install "ipvm\[ipfs\]"'):
                call()
    assert fake.asked == []


def test_the_client_is_loaded_by_its_first_call() -> None:
    """
    Neither the kernel's start nor a fetch loads ipfshttpclient or what it drags in.
    """
    program = (
        "import sys\n"
        "from ipvm_kernel.exchange.resources import Resources\n"
        "from ipvm_kernel.exchange.settings import Settings\n"
        "from ipvm_kernel.store import MemoryStore\n"
        "from ipvm_kernel.ipld.unixfs import file_cid\n"
        "try:\n"
        "    Resources(MemoryStore(), Settings(kubo='http://127.0.0.1:1', seconds=1)).fetch(file_cid(b'x'))\n"
        "except LookupError:\n"
        "    print(sorted({'ipfshttpclient', 'requests', 'multiaddr'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout == "[]\n"


# --- Archives that Kubo speaks of ---

BAD_IMPORTS = {
    "nothing": (200, b"", "broke off"),
    "half": (200, b'{"Root":{"Cid":{"/":"' + CID_TEXT.encode() + b'"},"PinErrorMsg":""}}\n', "broke off"),
    "no pin": (200, b'{"Root":{"Cid":{"/":"' + CID_TEXT.encode() + b'"},"PinErrorMsg":"gone"}}\n', "could not pin"),
    "no CID": (200, b'{"Root":{"Cid":{"/":"nonsense"},"PinErrorMsg":""}}\n', "expected a CID"),
    "no JSON": (200, b"<html>\n", "does not speak"),
    "a list": (200, b"[1]\n", "does not speak"),
    "refused": (500, b'{"Message":"no space left"}', "no space left"),
    "busy": (503, b"later", "answered 503"),
}


@pytest.mark.parametrize("bad", BAD_IMPORTS)
def test_an_import_that_does_not_end_well(bad: str) -> None:
    """
    Only an import whose end Kubo confirms is one; all else says what was missing, and is not sent again.
    """
    status, body, said = BAD_IMPORTS[bad]
    fake = Fake()
    fake.says["/api/v0/dag/import"] = (status, body, {})
    with fake.running() as address, pytest.raises(IpvmError, match=said):
        Kubo(address, pause=0.01).import_car([b"an ", b"archive"], Deadline(5), pin=True)
    assert len(fake.heard) == 1
    assert b"\r\n\r\nan archive\r\n--" in fake.heard[0]


def test_providers() -> None:
    """
    Of what Kubo says while it looks, the peers that provide are returned, each once.
    """
    fake = Fake()
    events = [
        {"Type": 1, "ID": "x"},
        {"Type": 4, "Responses": [{"ID": "a"}, {"ID": "b"}]},
        {"Type": 4, "Responses": [{"ID": "a"}]},
    ]
    fake.says["/api/v0/routing/findprovs"] = (200, "\n".join(map(json.dumps, events)).encode(), {})
    with fake.running() as address:
        assert Kubo(address).providers(Block.raw(b"x").cid, Deadline(5)) == ["a", "b"]


def test_a_block_that_nobody_has_is_asked_for_once() -> None:
    """
    Kubo's word that it does not have a block is an answer, and is not asked for again.
    """
    fake = Fake()
    with fake.running() as address, pytest.raises(Refused, match="does not have it"):
        Kubo(address).block(Block.raw(b"x").cid, Deadline(5))
    assert len(fake.asked) == 1


def test_each_way_has_its_reason() -> None:
    """
    The table of endpoints says of each which way it goes, and why.
    """
    assert all(endpoint.path and endpoint.why for endpoint in ENDPOINTS.values())
    assert {name for name, endpoint in ENDPOINTS.items() if endpoint.way == "client"} == {
        "add", "cat", "pin", "unpin", "pinned", "version", "id"
    }  # fmt: skip
    with pytest.raises(Unreachable):
        Kubo("http://127.0.0.1:1").version(Deadline(1))
