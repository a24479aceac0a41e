from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from ipvm_kernel.node import jsonrpc
from ipvm_kernel.node.jsonrpc import RpcError
from ipvm_kernel.session import Session
from tests.guests import filed
from tests.node.conftest import TOKEN, serving

if TYPE_CHECKING:
    from tests.node.conftest import Node, Peer


def request(
    node: Node, path: str = "/node", *, method: str = "GET", body: bytes | None = None, **headers: Any
) -> tuple[int, str]:
    """Return status and body of a request with exactly these headers, and nothing else."""
    connection = http.client.HTTPConnection("127.0.0.1", node.server.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": f"127.0.0.1:{node.server.port}", **headers}.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def lives(node: Node) -> bool:
    """Return whether the node still answers."""
    return request(node, "/health")[0] == 200


@pytest.mark.parametrize(
    "shown", ["", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff\xfe"]
)
def test_without_the_token_nothing_is_told(shared: Node, shown: str) -> None:
    """
    Another user of this machine gets 401 and one line, over HTTP and over WebSocket; it is counted.
    """
    headers: dict[str, Any] = {"Authorization": shown} if shown else {}
    before = shared.info["refused"].get("no token", 0)
    status, line = request(shared, **headers)
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{shared.server.port}/?token=wrong", proxy=None)

    assert status == 401
    assert line.count("\n") == 1
    assert refused.value.response.status_code == 401
    assert shared.info["refused"]["no token"] == before + 2
    assert lives(shared)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:1337",
        "127.0.0.1.evil.example",
        "10.0.0.1:1337",
        "",
        "[::2]",
        "localhost.evil",
        "[",
        "127.0.0.1, evil.example",
    ],
)
def test_a_name_of_elsewhere_opens_nothing(shared: Node, host: str) -> None:
    """
    DNS rebinding: a page whose name was bound to loopback sends its own name as Host, and gets 403, token or not.
    """
    before = shared.info["refused"].get("foreign host", 0)
    status, line = request(shared, Host=host, Authorization=f"Bearer {TOKEN}")

    assert status == 403
    assert "name of loopback" in line
    assert shared.info["refused"]["foreign host"] == before + 1


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:5173", "file://"])
def test_a_page_of_elsewhere_opens_nothing(shared: Node, origin: str) -> None:
    """
    A web page that its reader's browser lets talk to loopback gets 403, over HTTP and WebSocket, token or not.
    """
    before = shared.info["refused"].get("foreign origin", 0)
    status, _ = request(shared, Origin=origin, Authorization=f"Bearer {TOKEN}")
    with pytest.raises(InvalidStatus) as refused:
        connect(shared.url, proxy=None, origin=Origin(origin))

    assert status == refused.value.response.status_code == 403
    assert shared.info["refused"]["foreign origin"] == before + 2


def test_a_page_on_the_list_may_ask(node: Node) -> None:
    """
    An origin of the settings may ask, with the token, and its browser is told so (CORS).
    """
    preflight: dict[str, Any] = {"Access-Control-Request-Method": "POST"}
    with Session(None) as session, serving(session, origins=["http://localhost:5173"]) as open_:
        with connect(open_.url, proxy=None, origin=Origin("http://localhost:5173")) as socket_:
            socket_.send('{"jsonrpc":"2.0","id":1,"method":"health"}')
            told = json.loads(socket_.recv(timeout=10))
        status, _ = request(open_, "/", method="OPTIONS", Origin="http://localhost:5173", **preflight)
        without, _ = request(open_, Origin="http://localhost:5173")

    assert told["result"] == {"healthy": True}
    assert status == 200
    assert without == 401


def test_the_open_switch_serves_without_a_token_and_still_asks_for_it_to_stop() -> None:
    """
    With the token off, a client that knows none runs workflows; to stop the node, to publish or to call a peer needs it.
    """
    with Session(None) as session, serving(session, token=False) as open_:
        with open_.client(f"ws://127.0.0.1:{open_.server.port}") as client:
            client.run(open_.numbers.add_one(1).workflow)
            notice = client.next()
            refused = [
                client.ask(name, "x")["error"]["code"]
                for name in ("stop", "connect_peer", "publish_receipts", "find_receipt")
            ]
        foreign, _ = request(open_, Origin="https://evil.example")

    assert notice["receipt"]["out"] == ["ok", 2]
    assert refused == [jsonrpc.DENIED] * 4
    assert foreign == 403


GARBAGE = {
    "no JSON": "hello",
    "half of it": '{"jsonrpc": "2.0", "id": 1, "meth',
    "binary": b"\xff\xfe\x00",
    "deep": "[" * 100_000,
    "another version": '{"jsonrpc": "1.0", "id": 1, "method": "health"}',
    "a number": "1e999",
    "half a surrogate pair": '{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
    "an empty batch": "[]",
    "a reserved map": '{"jsonrpc":"2.0","id":1,"method":"health","params":[{"/":"nonsense"}]}',
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_answered_with_an_error_and_the_connection_lives(shared: Node, name: str) -> None:
    """
    Whatever a frame holds, the answer is one error with a number of JSON-RPC, and the next request is served.
    """
    before = shared.refused
    with shared.client() as client:
        client.send(GARBAGE[name])
        answer = client.receive()
        after = client.ask("health")

    assert answer["error"]["code"] in {jsonrpc.PARSE_ERROR, jsonrpc.INVALID_REQUEST}
    assert "\n" not in answer["error"]["message"]
    assert after["result"] == {"healthy": True}
    assert shared.refused == before + 1


BAD_PARAMS: dict[str, list[Any]] = {
    "none": [],
    "a map": [{}],
    "two": [{"workflow": {"tasks": []}}, 1],
    "no tasks": [{"workflow": {}}],
    "a task that is none": [{"workflow": {"tasks": [5]}}],
    "a nonce of no form": [
        {
            "workflow": {
                "tasks": [
                    {
                        "run": {"rsc": "x", "op": "wasm/run", "nnc": "zz", "input": {}},
                        "cause": None,
                        "meta": {},
                        "prf": [],
                    }
                ]
            }
        }
    ],
    "an instruction that is a link": [
        {
            "workflow": {
                "tasks": [
                    {
                        "run": {"/": "bafyrmihmxmsbt4n3g6dzmj7rho34mzfbaoqqbsfcq7etsogslqftbyj7du"},
                        "cause": None,
                        "meta": {},
                        "prf": [],
                    }
                ]
            }
        }
    ],
    "a name of another kind": [{"name": 5, "workflow": {"tasks": []}}],
    "an unknown key": [{"workflow": {"tasks": []}, "priority": 9}],
    "bytes that are none": [[1, 2, 300]],
    "bytes that are no CBOR": [[255, 255]],
    "texts for bytes": [["a"]],
}


@pytest.mark.parametrize("name", BAD_PARAMS)
def test_a_workflow_that_is_none_is_refused_in_one_line(shared: Node, name: str) -> None:
    """
    -32602, and a line that says what was expected; nothing runs.
    """
    before = shared.info["refused"].get("invalid params", 0)
    with shared.client() as client:
        answer = client.ask("subscribe_run_workflow", *BAD_PARAMS[name])

    assert answer["error"]["code"] == jsonrpc.INVALID_PARAMS
    assert "\n" not in answer["error"]["message"]
    assert shared.info["refused"]["invalid params"] == before + 1


def test_a_frame_of_ten_mebibytes_ends_its_connection_alone(node: Node) -> None:
    """
    It is refused before it is read whole, counted, and nobody else notices.
    """
    with node.client() as other:
        with node.client() as client, pytest.raises(ConnectionClosed) as closed:
            _exceed(client)
        status, _ = request(node, "/", method="POST", body=b"x" * (10 * 2**20), Authorization=f"Bearer {TOKEN}")
        after = other.ask("health")

    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    assert status == 413
    assert after["result"] == {"healthy": True}
    deadline = time.monotonic() + 5
    while node.info["refused"].get("too large", 0) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert node.info["refused"]["too large"] == 2


def _exceed(client: Peer) -> None:
    client.send("x" * (10 * 2**20))
    client.receive()


def test_a_batch_of_a_hundred_thousand_is_one_refusal(node: Node) -> None:
    """
    A batch above the limit costs its reading and one answer.
    """
    with node.client() as client:
        client.send("[" + ",".join(['{"jsonrpc":"2.0","id":1,"method":"x"}'] * 100_000) + "]")
        answer = client.receive()

    assert answer["error"]["code"] == jsonrpc.TOO_LARGE
    assert "at most 100" in answer["error"]["message"]
    assert node.info["requests"] == 0


def test_a_flood_of_requests_that_nobody_reads_is_held_back(node: Node) -> None:
    """
    Whoever asks and does not read is not read any further; the node's memory does not grow with its haste.
    """
    with (
        Session(None) as session,
        serving(session, websocket_capacity=10) as small,
        small.client(max_queue=1) as flood,
    ):
        sent = threading.Event()

        def pour() -> None:
            try:
                for _ in range(200_000):
                    flood.socket.send('{"jsonrpc":"2.0","id":1,"method":"rpc_discover"}')
                sent.set()
            except (ConnectionClosed, OSError):
                pass

        thread = threading.Thread(target=pour, daemon=True)
        thread.start()
        thread.join(1.5)
        answered = small.info["requests"]
        alive = lives(small)
        flood.socket.socket.shutdown(socket.SHUT_RDWR)
        thread.join(10)

    assert not sent.is_set()
    assert answered < 100_000
    assert alive


def test_a_slow_client_loses_notifications_and_not_the_work(node: Node) -> None:
    """
    A client that reads nothing is waited for a second; then its notifications are dropped and counted, and the run ends.
    """
    m = node.numbers
    handles = [m.add_one(index) for index in range(3000)]
    node.session.run(handles).wait().raise_for_failures()
    with Session(None) as session, serving(session, websocket_capacity=20) as small:
        for handle in handles:
            session.admit(handle.task, filed(handle))
        workflow = node.session.run(handles).workflow
        with small.client(max_queue=1) as slow:
            slow.run(workflow)
            deadline = time.monotonic() + 20
            while small.info["workflows"] == 0 and time.monotonic() < deadline:
                time.sleep(0.05)
            told = small.info
            slow.socket.socket.shutdown(socket.SHUT_RDWR)

    assert told["workflows"] == 1
    assert told["tasks"] == {"replayed": 3000}
    assert told["dropped"] > 0
    assert told["dropped"] + told["notifications"] == 3000


def test_more_clients_than_the_settings_allow_are_refused_at_the_door() -> None:
    """
    The next client gets 503, and a place when one leaves.
    """
    with Session(None) as session, serving(session, max_connections=2) as small:
        with small.client(), small.client(), pytest.raises(InvalidStatus) as refused:
            connect(small.url, proxy=None)
        deadline = time.monotonic() + 5
        while small.info["clients"] and time.monotonic() < deadline:
            time.sleep(0.01)
        with small.client() as client:
            after = client.ask("health")

    assert refused.value.response.status_code == 503
    assert after["result"] == {"healthy": True}


def test_a_thousand_connections_leave_nothing_behind(node: Node) -> None:
    """
    Clients that come, ask and vanish without a word leave no client, no thread and no descriptor.
    """
    import psutil

    process = psutil.Process()

    def once() -> None:
        with socket.create_connection(("127.0.0.1", node.server.port)) as raw:
            raw.sendall(
                f"GET /?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            assert b"101" in raw.recv(100)

    for _ in range(50):
        once()
    time.sleep(0.3)
    before = (process.num_fds(), threading.active_count())
    for _ in range(950):
        once()
    deadline = time.monotonic() + 10
    while (node.info["clients"] or process.num_fds() > before[0] + 5) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert node.info["clients"] == 0
    assert process.num_fds() <= before[0] + 5
    assert threading.active_count() <= before[1] + 2
    assert lives(node)


def test_http_that_is_none_is_refused(node: Node) -> None:
    """
    Headers without end, and bytes that are no HTTP, end their connection.
    """
    for data in (
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
        b"\x16\x03\x01" * 50 + b"\r\n\r\n",
        b"\r\n" * 1000,
    ):
        with socket.create_connection(("127.0.0.1", node.server.port), timeout=5) as raw:
            try:
                raw.sendall(data)
                while raw.recv(65_536):
                    pass
            except (TimeoutError, ConnectionError):
                pass

    assert lives(node)


def test_a_message_to_a_client_holds_no_control_characters() -> None:
    """
    What a client sent and an error quotes is escaped and cut.
    """
    wrong = RpcError(1, "\x1b[31m" + "x" * 10_000 + "\u202e")

    assert "\x1b" not in wrong.message
    assert len(wrong.message) < 400
