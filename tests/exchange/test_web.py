"""`https:` and `file:`: what is at a place is recorded, met again or refused, and no address leads into the user's network."""

from __future__ import annotations

import gzip
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, IpvmError, LimitExceeded, Mismatch, NotFound
from ipvm_kernel.exchange import web
from ipvm_kernel.exchange.http import Deadline, Refused, Unreachable
from ipvm_kernel.exchange.resources import Resources
from ipvm_kernel.exchange.settings import Settings
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Instruction, Task, Workflow
from ipvm_kernel.session import Session
from ipvm_kernel.store import MemoryStore
from tests.exchange.fakes import Fake

if TYPE_CHECKING:
    from collections.abc import Iterator

CERTIFICATE = Path(__file__).parent / "certificate.pem"  # of "localhost" and "files.example", signed by itself
WAT = b'(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))'


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def port(fake: Fake) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with fake.running(context) as address:
        yield int(address.rpartition(":")[2])


@pytest.fixture
def on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let loopback pass for the Internet, and the tests' certificate for a good one.
    """
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    real = web.fetch
    monkeypatch.setattr(
        web,
        "fetch",
        lambda url, deadline, **options: real(
            url, deadline, allowed=lambda ip: ip in {"127.0.0.1", "::1"}, context=trusting, **options
        ),
    )


@pytest.fixture
def here() -> Resources:
    return Resources(MemoryStore(), Settings(seconds=5, pause=0.01))


def get(url: str, **options: Any) -> bytes:
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    return web.fetch(
        url,
        Deadline(5),
        **{"max_bytes": 10_000, "pause": 0.01, "allowed": lambda _: True, "context": trusting, **options},
    )


# --- What is recorded ---


@pytest.mark.usefixtures("on_loopback")
def test_a_module_from_the_web(fake: Fake, port: int) -> None:
    """
    A workflow may name its module by an `https:` address; its CID is recorded, and the address is not asked again.
    """
    url = f"https://localhost:{port}/add.wat"
    fake.pages["/add.wat"] = (200, {}, WAT)
    run = Instruction(rsc=url, op="wasm/run", input={"func": "add", "args": [1, 2]})
    other = Instruction(rsc=url, op="wasm/run", input={"func": "add", "args": [3, 4]})
    same = Instruction(rsc=f"ipfs://{file_cid(WAT)}", op="wasm/run", input={"func": "add", "args": [1, 2]})
    with Session(None) as session:
        answers = [*session.run(Workflow(tasks=(Task(run=run), Task(run=other)))).wait()]
        again = [*session.run(Workflow(tasks=(Task(run=same),))).wait()]

        assert sorted(answer.receipt.value for answer in answers if answer.receipt) == [3, 7]
        assert session.store.pins()[url] == file_cid(WAT)
        assert [answer.how for answer in again] == ["replayed"]
    assert fake.asked == ["/add.wat"]


@pytest.mark.usefixtures("on_loopback")
def test_what_changed_is_refused(fake: Fake, port: int, here: Resources) -> None:
    """
    What is at an address later must be what was there before; what is on file stays, and the message says how to go on.
    """
    url = f"https://localhost:{port}/data"
    fake.pages["/data"] = (200, {}, b"before")
    cid = here.obtain(url)
    fake.pages["/data"] = (200, {}, b"after")

    assert here.obtain(url) == cid
    with pytest.raises(Mismatch, match=r"is not what it was.*ipvm unpin"):
        here.check(url)
    assert here.read(cid) == b"before"
    here._store.unpin(url)
    assert here.obtain(url) == file_cid(b"after")


def test_a_file_by_its_address(tmp_path: Path, here: Resources) -> None:
    """
    A file by `file:` is hashed each time: changed, it is refused; gone, it is answered from the store.
    """
    path = tmp_path / "a file.wat"
    path.write_bytes(WAT)
    url = path.as_uri()

    assert here.obtain(url, "module") == file_cid(WAT)
    assert here._store.pins() == {url: file_cid(WAT)}
    path.write_bytes(WAT + b" ")
    with pytest.raises(Mismatch, match="is not what it was"):
        here.obtain(url, "module")
    path.unlink()
    assert here.obtain(url, "module") == file_cid(WAT)
    with pytest.raises(NotFound, match="no file at"):
        here.obtain((tmp_path / "other").as_uri())


def test_a_workflow_reads_no_secrets(tmp_path: Path, here: Resources) -> None:
    """
    A stranger's workflow that names a file of the user's as its module gets nothing of it into the store.
    """
    secret = tmp_path / "id_ed25519"
    secret.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")

    with pytest.raises(BadInput, match="expected Wasm"):
        here.obtain(secret.as_uri(), "module")
    assert list(here._store.cids()) == []
    assert here._store.pins() == {}


def test_a_users_pin_is_no_address(here: Resources) -> None:
    """
    A workflow whose module is called what the user calls a pin gets nothing by that name.
    """
    here._store.pin("mine", here._store.put_file(WAT, "module"))
    run = Instruction(rsc="mine", op="wasm/run", input={"func": "add", "args": [1, 2]})

    assert here.module(run) is None
    with pytest.raises(BadInput, match="expected a CID in 'mine'"):
        here.provide(run)


@pytest.mark.usefixtures("on_loopback")
def test_a_portals_page_is_no_module(fake: Fake, port: int, here: Resources) -> None:
    """
    The page of a hotel's portal is not recorded as the module that was asked for.
    """
    fake.pages["/add.wasm"] = (200, {"Content-Type": "text/html"}, b"<!doctype html><title>Welcome</title>")

    with pytest.raises(BadInput, match="expected Wasm"):
        here.obtain(f"https://localhost:{port}/add.wasm", "module")
    assert here._store.pins() == {}


# --- Where it may lead ---

PRIVATE = [
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_addresses_inside(text: str) -> None:
    """
    This machine, its network, its cloud's metadata, and every way to write them in IPv6 are no addresses of the Internet.
    """
    assert not web.public(text)


@given(st.ip_addresses())
def test_any_address(found: Any) -> None:
    """
    Whatever the address: it is refused or global, and nothing fails.
    """
    assert not web.public(str(found)) or found.is_global


SPELLINGS = [
    "https://127.0.0.1/x", "https://localhost/x", "https://127.1/x", "https://2130706433/x", "https://0x7f000001/x",
    "https://0177.0.0.1/x", "https://[::1]/x", "https://[::ffff:127.0.0.1]/x", "https://169.254.169.254/latest/meta-data/",
    "https://0/x", "https://[fe80::1]/x", "https://10.1.1.1:8443/x",
]  # fmt: skip


@pytest.mark.parametrize("url", SPELLINGS)
def test_spellings_of_this_machine(url: str) -> None:
    """
    However an address of this machine or its network is spelled, nothing is sent there.
    """
    with pytest.raises((BadInput, Unreachable), match=r"an address of the Internet|is not known"):
        web.fetch(url, Deadline(5), max_bytes=100)


def test_a_name_that_leads_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A name of which one address is inside is refused as a whole, and is looked up once: what it says later leads nowhere.
    """
    asked: list[str] = []

    def lookup(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(2, 1, 6, "", ("93.184.216.34", port)), (2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    with pytest.raises(BadInput, match=r"found 127\.0\.0\.1 for rebind\.example"):
        web.fetch("https://rebind.example/x", Deadline(5), max_bytes=100)
    assert asked == ["rebind.example"]


REDIRECTS = [
    "http://localhost/x", "file:///etc/passwd", "https://169.254.169.254/x", "//127.0.0.2/x", "ftp://x/y", "ipns://x",
    "https://user:secret@localhost/x",
]  # fmt: skip


@pytest.mark.parametrize("target", REDIRECTS)
def test_a_redirect_that_leads_elsewhere(fake: Fake, port: int, target: str) -> None:
    """
    A redirect may lead to another `https:` address of the Internet, and nowhere else.
    """
    fake.pages["/start"] = (302, {"Location": target}, b"")

    with pytest.raises(BadInput):
        get(f"https://localhost:{port}/start", allowed=lambda ip: ip in {"127.0.0.1", "::1"})


def test_redirects(fake: Fake, port: int) -> None:
    """
    Redirects are followed, without cookies and credentials, and a circle of them ends.
    """
    fake.pages["/a"] = (302, {"Location": "/b?x=1", "Set-Cookie": "session=1"}, b"")
    fake.pages["/b"] = (307, {"Location": f"https://files.example:{port}/c"}, b"")
    fake.pages["/c"] = (200, {}, b"there")
    fake.pages["/round"] = (301, {"Location": "/round"}, b"")

    def lookup(host: str, wanted: int, *_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", ("127.0.0.1", wanted))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lookup)
        assert get(f"https://localhost:{port}/a") == b"there"
        with pytest.raises(Refused, match="more than 5 times"):
            get(f"https://localhost:{port}/round")
    assert fake.asked[:3] == ["/a", "/b", "/c"]
    assert not {"Cookie", "Authorization"} & {name for headers in fake.headers for name in headers}
    assert fake.headers[2]["Host"] == f"files.example:{port}"


# --- What may come ---


def test_the_certificate_is_checked(fake: Fake, port: int) -> None:
    """
    A server with a certificate that nobody vouches for, or of another name, gets no request.
    """
    fake.pages["/x"] = (200, {}, b"x")

    with pytest.raises(Unreachable, match="certificate"):
        web.fetch(f"https://localhost:{port}/x", Deadline(5), max_bytes=100, pause=0.01, allowed=lambda _: True)

    def lookup(host: str, wanted: int, *_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", ("127.0.0.1", wanted))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lookup)
        with pytest.raises(Unreachable, match=r"certificate|match"):
            get(f"https://other.example:{port}/x")
    assert fake.asked == []


ANSWERS: dict[str, tuple[int, dict[str, str], bytes, type[IpvmError], str]] = {
    "not there": (404, {}, b"\x1b[31mno", Refused, "404"),
    "no content": (204, {}, b"", Refused, "204"),
    "a redirect to nowhere": (302, {}, b"", Refused, "302"),
    "too long": (200, {}, b"x" * 10_001, LimitExceeded, "at most 10 kB"),
    "packed": (200, {"Content-Encoding": "gzip"}, gzip.compress(b"0" * 1_000_000), Refused, "encoding"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_that_are_no_file(fake: Fake, port: int, name: str) -> None:
    """
    An answer that is no file, is too long or packed is refused in one printable line.
    """
    status, headers, body, kind, said = ANSWERS[name]
    fake.pages["/x"] = (status, headers, body)

    with pytest.raises(kind) as caught:
        get(f"https://localhost:{port}/x")
    assert said in caught.value.message
    assert caught.value.message.isprintable()
