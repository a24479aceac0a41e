"""The server of a lab's cache: what it gives, to whom, and what it does not put up with."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from ipvm_kernel.errors import BadInput, StoreFull
from ipvm_kernel.exchange.caches.base import BATCH, CAR, RAW, content_at, receipts_at
from ipvm_kernel.exchange.caches.web import HttpCache
from ipvm_kernel.exchange.gateway import Gateway
from ipvm_kernel.exchange.http import Deadline
from ipvm_kernel.ipld import CID, Block, encode
from ipvm_kernel.ipld.unixfs import blocks, file_cid
from ipvm_kernel.model import Receipt, failure
from ipvm_kernel.node.cache import CacheServer, serve, token_of
from ipvm_kernel.node.cache_routes import Bounds
from ipvm_kernel.node.place import Place
from ipvm_kernel.store import MemoryStore
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.testing.samples import filing, task
from ipvm_kernel.trust.keys import Key
from tests.exchange.caches import archive, instructions, keeping, many, signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ipvm_kernel.store import Filing, OnFile, Store

TOKEN = "a-token-of-the-tests"
TRUE = many(5)


class Asked:
    """
    What came back: status, headers in small letters, body.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def line(self) -> str:
        """
        The body of a refusal: one line.
        """
        text = self.body.decode()
        assert text.count("\n") == 1
        return text


def ask(server: CacheServer, method: str, path: str, body: bytes | None = None, **headers: str) -> Asked:
    """
    Make a request with exactly these headers.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": f"127.0.0.1:{server.port}", **headers}.items():
            connection.putheader(name.replace("_", "-"), value)
        if body is not None and "Content_Length" not in headers:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return Asked(connection.getresponse())
    finally:
        connection.close()


def filled(store: Store, filings: Iterable[Filing] = TRUE) -> Store:
    """
    Put receipts on file.
    """
    for one in filings:
        store.file(one)
    store.sync()
    return store


def soon() -> Deadline:
    """
    Return a deadline that nothing here should need.
    """
    return Deadline(30)


@pytest.fixture
def store() -> MemoryStore:
    """
    A store with a few receipts.
    """
    made = MemoryStore()
    filled(made)
    return made


@pytest.fixture
def server(store: MemoryStore) -> Iterator[CacheServer]:
    """
    A server that writers may write to.
    """
    with CacheServer(store, port=0, token=TOKEN, keep=keeping(store)) as made:
        yield made


def lives(server: CacheServer) -> bool:
    """
    Return whether it still answers.
    """
    return ask(server, "GET", "/health").status == 200


# --- What it gives ---


def test_the_file_of_an_instruction(server: CacheServer) -> None:
    """
    One instruction is a file, at the place where a folder would have it, and the answer is the folder's file.
    """
    one = TRUE[0]
    path = f"/{receipts_at(one.task.run.cid)}"
    found = ask(server, "GET", path)
    head = ask(server, "HEAD", path)
    missing = ask(server, "GET", f"/{receipts_at(task('nobody').run.cid)}")
    elsewhere = ask(server, "GET", path.replace(path[10:12], "zz", 1))

    assert (found.status, found.headers["content-type"], found.body) == (200, CAR, archive([one]))
    assert found.headers["x-content-type-options"] == "nosniff"
    assert (head.status, head.body) == (200, b"")
    assert missing.status == elsewhere.status == 404


def test_only_what_may_be_used_is_given() -> None:
    """
    Our own receipts and those admitted here are given; what is only kept, errors and receipts without a value are not.
    """
    store = MemoryStore()
    admitted = filing(task("a"), 1, own=False)
    stranger = filing(task("b"), 2, own=False, admitted=False)
    failed = filing(task("c"), 3)
    error = Receipt(ran=failed.task.invocation.cid, out=failure("trap", "no"), meta={"op": "f"})
    failed = msgspec.structs.replace(
        failed, receipt=error, entry=msgspec.structs.replace(failed.entry, receipt=error.cid)
    )
    filled(store, [*TRUE, admitted, stranger, failed])
    with CacheServer(store, port=0) as server:
        cache = HttpCache(server.address)
        found = cache.answers(instructions([*TRUE, admitted, stranger, failed]), soon())
        cache.close()

    assert [one.instruction for one in found] == instructions([*TRUE, admitted])


def test_who_looks_may_admit_more() -> None:
    """
    A server whose policy admits receipts gives those as well, through the look-up that it was given.
    """
    store = MemoryStore()
    stranger = filing(task("b"), 2, own=False, admitted=False)
    filled(store, [stranger])
    with CacheServer(
        store, port=0, look=lambda cids: [one for cid in cids for one in store.receipts_of(cid)]
    ) as server:
        cache = HttpCache(server.address)
        found = cache.answers(instructions([stranger]), soon())
        cache.close()

    assert len(found) == 1


def test_it_signs_its_own_as_they_are_asked_for(store: MemoryStore) -> None:
    """
    A receipt comes with the statements that are kept about it, and with one that the server makes when it is asked.
    """
    key, other = Key.fresh(), Key.fresh()
    store.attest(TRUE[0].receipt.cid, signed(TRUE[0], other))
    by = {one.receipt.cid: one for one in TRUE}
    signed_for: list[CID] = []

    def statements(receipts: Sequence[OnFile]) -> Iterator[Block]:
        for one in receipts:
            signed_for.append(one.cid)
            yield signed(by[one.cid], key)

    with CacheServer(store, port=0, statements=statements) as server:
        cache = HttpCache(server.address)
        found = cache.answers(instructions(TRUE[:2]), soon())
        cache.close()

    assert set(found[0].attestations) == {signed(TRUE[0], other), signed(TRUE[0], key)}
    assert found[1].attestations == [signed(TRUE[1], key)]
    assert signed_for == [one.receipt.cid for one in TRUE[:2]]


def test_an_answer_that_is_too_large_comes_in_several() -> None:
    """
    A question whose answer is large is answered in turns, and the notebook asks on until it has all of it.
    """
    store = MemoryStore()
    given = [filing(task(number), bytes(50_000) + bytes([number])) for number in range(20)]
    filled(store, given)
    with CacheServer(store, port=0, bounds=Bounds(answer=200_000)) as server:
        cache = HttpCache(server.address)
        found = cache.answers(instructions(given), soon())
        cache.close()
        asked = server.counts.requests

    assert found.trouble == ""
    assert [one.receipt.cid for one in found] == [one.receipt.cid for one in given]
    assert asked == 7


def test_what_is_damaged_or_gone_is_left_out(store: MemoryStore) -> None:
    """
    A receipt whose invocation cannot be read is worked out by whoever asks; the others come.
    """
    del store._blocks[TRUE[1].task.invocation.cid]
    with CacheServer(store, port=0) as server:
        cache = HttpCache(server.address)
        found = cache.answers(instructions(TRUE), soon())
        cache.close()

    assert found.trouble == ""
    assert len(found) == len(TRUE) - 1


@pytest.mark.parametrize("size", [0, 10, 262_144, 262_145, 2_000_000])
def test_a_trustless_gateway(server: CacheServer, store: MemoryStore, size: int) -> None:
    """
    A file is given as an archive with its tree, and its root as a block, as gateways do, by query or by `Accept`.
    """
    data = os.urandom(size)
    cid = store.put_file(data, "input")
    tree = {one: bytes(block) for one, block in blocks(data)}

    raw = ask(server, "GET", f"/ipfs/{cid}?format=raw")
    car = ask(server, "GET", f"/ipfs/{cid}?format=car")

    assert (raw.status, raw.headers["content-type"], raw.body) == (200, RAW, tree[cid])
    assert (car.status, car.headers["content-type"]) == (200, CAR)
    assert "immutable" in car.headers["cache-control"]
    assert ask(server, "GET", f"/ipfs/{cid}", Accept=RAW).body == raw.body
    assert ask(server, "GET", f"/ipfs/{cid}", Accept=f"{CAR}; version=1").body == car.body
    assert ask(server, "GET", f"/{content_at(cid)}").body == car.body
    gateway = Gateway(server.address)
    assert gateway.block(cid, soon()) == tree[cid]
    gateway.close()


def test_blocks_and_what_is_not_there(server: CacheServer, store: MemoryStore) -> None:
    """
    A block is given as it is kept; what is not here is 404, and what is no CID is 400, each in one line.
    """
    block = Block.of({"a": [1, 2]})
    store.put(block)

    assert ask(server, "GET", f"/ipfs/{block.cid}?format=raw").body == block.data
    for cid in (file_cid(b"nobody"), file_cid(bytes(600_000)), Block.of(5).cid):
        for form in ("raw", "car"):
            missing = ask(server, "GET", f"/ipfs/{cid}?format={form}")
            assert missing.status == 404
            assert missing.line
    for path in (
        "/ipfs/banana?format=raw",
        f"/ipfs/{block.cid}",
        f"/ipfs/{block.cid}?format=html",
        "/receipts/aa/x.car",
    ):
        assert ask(server, "GET", path).status == 400
    assert ask(server, "GET", "/ipfs/%2e%2e%2f%2e%2e%2fetc%2fpasswd?format=raw").status in {400, 404}
    assert ask(server, "GET", "/").status == 404


def test_on_disk_and_in_threads(tmp_path: Path) -> None:
    """
    A store on disk is served while a session writes to it; a large file passes through in pieces.
    """
    store = SqliteStore(tmp_path / "store")
    filled(store)
    data = os.urandom(5_000_000)
    cid = store.put_file(data, "input")
    store.sync()
    with CacheServer(store, port=0) as server:
        cache = HttpCache(server.address)
        given = many(50, 1000)
        writer = threading.Thread(target=filled, args=(store, given))
        writer.start()
        found = cache.answers(instructions(TRUE), soon())
        whole = b"".join(cache.car(cid, soon()))
        writer.join()
        later = cache.answers(instructions(given), soon())
        cache.close()
    store.close()

    assert len(found) == len(TRUE)
    assert len(whole) > len(data)
    assert len(later) == 50


# --- Who may come in ---


@pytest.mark.parametrize(
    "shown", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff\xfe"]
)
def test_without_the_token_nothing_is_written(server: CacheServer, store: MemoryStore, shown: str) -> None:
    """
    Whoever shows no token gets 401 and one line, before anything of the body is read.
    """
    headers = {"Authorization": shown} if shown else {}
    refused = ask(server, "PUT", "/receipts", archive(many(1, 500)), **headers)

    assert refused.status == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert TOKEN not in refused.line
    assert not store.on_file(instructions(many(1, 500)))
    assert server.counts.refused["no token"] == 1
    assert lives(server)


def test_read_only_unless_it_has_a_token(store: MemoryStore) -> None:
    """
    A server without a token takes nothing, from anybody.
    """
    with CacheServer(store, port=0, keep=keeping(store)) as server:
        refused = ask(server, "PUT", "/receipts", archive(many(1, 500)), Authorization="Bearer ")
        told = ask(server, "GET", "/health").body

    assert refused.status == 403
    assert "--writable" in refused.line
    assert b'"writable":false' in told


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:5173", "file://"])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_page_of_elsewhere_opens_nothing(store: MemoryStore, host: str, origin: str) -> None:
    """
    A web page that its reader's browser lets talk to this address gets 403, whatever it asks.
    """
    with CacheServer(store, host=host, port=0, token=TOKEN, keep=keeping(store)) as server:
        found = [
            ask(server, "GET", f"/{receipts_at(TRUE[0].task.run.cid)}", Origin=origin).status,
            ask(server, "POST", "/receipts", encode(instructions(TRUE)), Origin=origin).status,
            ask(server, "PUT", "/receipts", archive(TRUE), Origin=origin, Authorization=f"Bearer {TOKEN}").status,
            ask(server, "OPTIONS", "/receipts", Origin=origin).status,
            ask(server, "GET", "/health", Sec_Fetch_Site="cross-site").status,  # an image of a page: it has no Origin
        ]
        same = ask(server, "GET", "/health", Origin=f"http://127.0.0.1:{server.port}").status

    assert found == [403] * 5
    assert same == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "", "[", "cache.lab.example"])
def test_a_name_of_elsewhere_opens_nothing(store: MemoryStore, name: str) -> None:
    """
    DNS rebinding: a page whose own name was bound to this address gets 403, on loopback and beyond.
    """
    with CacheServer(store, port=0) as here, CacheServer(store, host="0.0.0.0", port=0) as beyond:
        found = [ask(server, "GET", "/health", Host=name).status for server in (here, beyond)]

    assert found == [403, 403]


def test_the_names_that_a_lab_uses(store: MemoryStore) -> None:
    """
    Beyond loopback a server is called by its address, its machine's name, or a name that it was given.
    """
    names = ["127.0.0.1", "192.168.1.5:1336", "[fe80::1]", "localhost", socket.gethostname(), "Cache.Lab.Example:80"]
    with CacheServer(store, host="0.0.0.0", port=0, names=["cache.lab.example"]) as server:
        found = [ask(server, "GET", "/health", Host=name).status for name in names]
        address = server.address

    assert found == [200] * len(names)
    assert address == f"http://{socket.gethostname()}:{server.port}"


# --- What it does not put up with ---


def test_questions_that_are_too_large(server: CacheServer) -> None:
    """
    A batch of a hundred thousand is refused, announced or not, and so is one more than allowed.
    """
    one = TRUE[0].task.run.cid
    huge = encode([one] * 100_000)
    line = connected(server, b"POST /receipts HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(OSError):  # it may have been cut off by then
        line.sendall(b"%x\r\n" % len(huge) + huge)
    found = [
        int(line.recv(12).split()[1]),
        ask(server, "POST", "/receipts", huge).status,
        ask(server, "POST", "/receipts", encode([one] * (BATCH + 1))).status,
        ask(server, "POST", "/receipts", b"", Content_Length=str(10**12)).status,
    ]
    line.close()

    assert found == [413] * 4
    assert server.counts.refused["too large"] == 4
    assert lives(server)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"\xff" * 100,
        encode({"a": 1}),
        encode([1, 2]),
        encode([[TRUE[0].task.run.cid]]),
        b"\x81" * 100_000,
        b"\x9b" + b"\xff" * 8,
        encode(instructions(TRUE)) + b"\x00",
    ],
)
def test_questions_that_are_none(server: CacheServer, body: bytes) -> None:
    """
    What is no list of links is refused in one line.
    """
    refused = ask(server, "POST", "/receipts", body)

    assert refused.status in {400, 413}
    assert refused.line
    assert lives(server)


def test_an_empty_question(server: CacheServer) -> None:
    """
    Asking about nothing is answered with nothing.
    """
    assert ask(server, "POST", "/receipts", encode([])).status == 200


def test_writing(server: CacheServer, store: MemoryStore) -> None:
    """
    A writer's archive is kept, said in one line, and given out from then on.
    """
    given = many(3, 500)
    done = ask(server, "PUT", "/receipts", archive(given), Authorization=f"Bearer {TOKEN}")
    cache = HttpCache(server.address)
    found = cache.answers(instructions(given), soon())
    cache.close()

    assert (done.status, done.line) == (200, "3 receipts\n")
    assert len(found) == 3


BROKEN = {
    "nothing": b"",
    "no archive": b"hello, this is no archive",
    "a changed byte": archive(many(2, 500))[:-1] + b"\x00",
    "a cut end": archive(many(2, 500))[:-5],
    "a length of 2^62": archive(many(1, 500)) + b"\xff" * 8 + b"\x3f",
}


@pytest.mark.parametrize("what", BROKEN)
def test_writing_what_does_not_hold(server: CacheServer, store: MemoryStore, what: str) -> None:
    """
    An archive with one wrong block is refused before anything of it is kept.
    """
    refused = ask(server, "PUT", "/receipts", BROKEN[what], Authorization=f"Bearer {TOKEN}")

    assert refused.status in {400, 422}
    assert refused.line
    assert not store.on_file(instructions(many(2, 500)))


def test_writing_too_much(store: MemoryStore) -> None:
    """
    An upload has a bound, announced or not, and nothing of what is too large stays behind.
    """
    body = archive(many(100, 500))
    with CacheServer(store, port=0, token=TOKEN, keep=keeping(store), bounds=Bounds(upload=1000)) as server:
        announced = ask(server, "PUT", "/receipts", body, Authorization=f"Bearer {TOKEN}").status
        cache = HttpCache(server.address, TOKEN)
        with pytest.raises(Exception, match=r"at most|broke off|does not answer"):
            cache.give([body], soon())  # in pieces, of no announced length
        cache.close()
        refused = server.counts.refused["too large"]

    assert announced == 413
    assert refused == 2
    assert not store.on_file(instructions(many(100, 500)))


def test_a_keeper_that_fails(store: MemoryStore) -> None:
    """
    If the store is full, the writer is told so, and the server goes on.
    """

    def full(_path: Path) -> str:
        raise StoreFull("there is no space left")

    with CacheServer(store, port=0, token=TOKEN, keep=full) as server:
        refused = ask(server, "PUT", "/receipts", archive(many(1)), Authorization=f"Bearer {TOKEN}")
        alive = lives(server)

    assert (refused.status, refused.line) == (507, "there is no space left\n")
    assert alive


def connected(server: CacheServer, sent: bytes, buffer: int = 0) -> socket.socket:
    """
    Connect, send some bytes, and say nothing more.
    """
    made = socket.socket()
    if buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    made.settimeout(30)
    made.connect(("127.0.0.1", server.port))
    made.sendall(sent)
    return made


def ends(line: socket.socket) -> bytes:
    """
    Read until the server ends the connection, and return what came.
    """
    found = b""
    try:
        while got := line.recv(65_536):
            found += got
    except ConnectionResetError:
        pass
    line.close()
    return found


def test_slow_clients_are_dropped(store: MemoryStore) -> None:
    """
    Who sends half a request, or takes none of an answer, is cut off; the others are served.
    """
    store.put_file(os.urandom(30_000_000), "input")
    cid = next(cid for cid in store.cids() if cid.codec == "dag-pb")
    host = b"Host: 127.0.0.1\r\n"
    with CacheServer(
        store, port=0, token=TOKEN, keep=keeping(store), bounds=Bounds(patience=0.3, upload_time=0.3)
    ) as server:
        nothing = connected(server, b"")
        half = connected(server, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Half: ")
        after = connected(server, b"GET /health HTTP/1.1\r\n" + host + b"\r\n")
        first = b""
        while not first.endswith(b"}"):
            first += after.recv(1000)
        after.sendall(b"GET /health HTTP/1.1\r\nX-Ha")
        question = connected(server, b"POST /receipts HTTP/1.1\r\n" + host + b"Content-Length: 100\r\n\r\n\x81")
        upload = connected(
            server,
            b"PUT /receipts HTTP/1.1\r\n"
            + host
            + f"Authorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n\r\n:".encode(),
        )
        reader = connected(server, f"GET /ipfs/{cid}?format=car HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(), 4096)
        found = [ends(line) for line in (nothing, half, after)]
        late = [question.recv(100), upload.recv(100)]
        question.close()
        upload.close()
        while server.counts.refused["too slow"] < 6:
            time.sleep(0.02)
        taken = len(ends(reader))
        alive = lives(server)

    assert first.startswith(b"HTTP/1.1 200")
    assert found == [b"", b"", b""]
    assert all(b"408" in one for one in late)
    assert taken < 30_000_000
    assert alive


def test_only_so_many_at_once(store: MemoryStore) -> None:
    """
    More connections than allowed get 503, and those that are there go on.
    """
    with CacheServer(store, port=0, bounds=Bounds(clients=4, patience=30)) as server:
        lines = [connected(server, b"") for _ in range(4)]
        deadline = time.monotonic() + 20
        refused = 0
        while refused != 503 and time.monotonic() < deadline:  # until the server has accepted the four
            refused = ask(server, "GET", "/health").status
        for line in lines:
            line.close()
        while not lives(server) and time.monotonic() < deadline:
            time.sleep(0.02)
        alive = lives(server)

    assert refused == 503
    assert alive


def test_a_hundred_who_hang_up(store: MemoryStore) -> None:
    """
    Clients that vanish in the middle of an answer leave nothing behind.
    """
    cid = store.put_file(os.urandom(3_000_000), "input")
    with CacheServer(store, port=0) as server:
        for _ in range(100):
            connected(server, f"GET /ipfs/{cid}?format=car HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()).close()
            connected(server, b"POST /receipts HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n").close()
        cache = HttpCache(server.address)
        found = cache.answers(instructions(TRUE), soon())
        cache.close()

    assert len(found) == len(TRUE)


def test_two_readers_and_a_writer_at_once(server: CacheServer) -> None:
    """
    While one writes, two that ask get whole answers all the time.
    """
    given = many(40, 600)
    over, troubles = threading.Event(), []

    def read_on() -> None:
        cache = HttpCache(server.address)
        while not over.is_set():
            troubles.append(cache.answers(instructions([*TRUE, *given]), soon()).trouble)
        cache.close()

    threads = [threading.Thread(target=read_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    writer = HttpCache(server.address, TOKEN)
    for at in range(0, 40, 4):
        writer.give([archive(given[at : at + 4])], soon())
    over.set()
    for thread in threads:
        thread.join()
    found = writer.answers(instructions(given), soon())
    writer.close()

    assert set(troubles) == {""}
    assert len(found) == 40


# --- Its life ---


def test_the_token_is_kept_for_its_owner(tmp_path: Path) -> None:
    """
    The token of writers is made once, in a file of mode 0600 beside the store, and is not the node's.
    """
    before = os.umask(0)
    try:
        token = token_of(tmp_path)
    finally:
        os.umask(before)
    assert token == token_of(tmp_path)
    assert len(token) >= 32
    assert stat.S_IMODE((tmp_path / "cache" / "token").stat().st_mode) == 0o600
    assert Place(tmp_path).token() != token


def test_a_port_that_is_taken(server: CacheServer, store: MemoryStore) -> None:
    """
    Where it cannot listen, that is said before anything is served.
    """
    with pytest.raises(BadInput, match="another --port"):
        CacheServer(store, port=server.port)
    with pytest.raises(BadInput, match="between 0 and 65535"):
        CacheServer(store, port=70_000)
    with pytest.raises(BadInput, match="cannot listen"):
        CacheServer(store, host="no such host.invalid", port=0)


def test_serve_ends_at_a_signal_and_prints_nothing(tmp_path: Path) -> None:
    """
    `serve` says when it is ready, answers, ends at SIGTERM, and leaves the store to be closed.
    """
    script = """
import sys
from pathlib import Path
from ipvm_kernel.node.cache import serve
from ipvm_kernel.store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
serve(store, port=0, ready=lambda address: print(address, flush=True))
store.close()
print("closed", flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "store")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    cache = HttpCache(address)
    found = cache.answers(instructions(TRUE), soon())
    cache.close()
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as garbage:
        garbage.sendall(b"\x00\xff nonsense\r\n\r\n")
        garbage.recv(100)
    process.terminate()
    said, wrong = process.communicate(timeout=60)

    assert (list(found), found.trouble) == ([], "")
    assert (said, wrong, process.returncode) == ("closed\n", "", 0)


def test_serve_in_a_thread(store: MemoryStore) -> None:
    """
    A program may serve in a thread of its own, and ask when it is ready.
    """
    found: list[str] = []
    ready = threading.Event()

    def told(address: str) -> None:
        found.append(address)
        ready.set()

    thread = threading.Thread(target=serve, args=(store, "127.0.0.1", 0), kwargs={"ready": told}, daemon=True)
    thread.start()
    assert ready.wait(30)
    cache = HttpCache(found[0])
    answers = cache.answers(instructions(TRUE), soon())
    cache.close()

    assert len(answers) == len(TRUE)
