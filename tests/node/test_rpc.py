from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ipvm_kernel.ipld import encode
from ipvm_kernel.model import Workflow
from ipvm_kernel.node import jsonrpc, openrpc
from ipvm_kernel.node.jsonrpc import RpcError
from ipvm_kernel.session import Session
from tests.guests import filed
from tests.node.conftest import TOKEN, serving

if TYPE_CHECKING:
    from tests.node.conftest import Node


def get(
    node: Node, path: str, *, method: str = "GET", body: str | None = None, **headers: str
) -> tuple[int, bytes, str]:
    """Return status, body and type of an HTTP request."""
    connection = http.client.HTTPConnection("127.0.0.1", node.server.port, timeout=10)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}", **headers})
        response = connection.getresponse()
        return response.status, response.read(), response.headers.get("Content-Type", "")
    finally:
        connection.close()


def test_a_workflow_runs_and_its_receipts_arrive_as_homestar_sends_them(node: Node) -> None:
    """
    Each notification holds the receipt, its CID, whether it was replayed, the workflow and its name, as DAG-JSON bytes,
    and the instruction beside them.
    """
    chain = node.numbers.add_one(node.numbers.add_one(40))
    with node.client() as client:
        client.run(chain.workflow, name="mine")
        first, second = client.next(), client.next()

    assert first["receipt"]["out"] == ["ok", 41]
    assert second["receipt"]["out"] == ["ok", 42]
    assert second["metadata"] == {"name": "mine", "replayed": False, "workflow": chain.workflow.cid}
    assert second["instruction"] == chain.cid
    assert second["receipt_cid"] == filed(chain).cid
    assert second["receipt"] == filed(chain).to_ipld()


def test_the_second_time_everything_is_replayed_under_the_new_name(node: Node) -> None:
    """
    A workflow that was run under another name gives the same receipts, marked as replayed, in microseconds.
    """
    chain = node.numbers.add_one(node.numbers.add_one(40))
    with node.client() as client:
        client.run(chain.workflow, name="one")
        before = [client.next(), client.next()]
        client.run(chain.workflow, name="two")
        after = [client.next(), client.next()]

    assert [notice["metadata"]["replayed"] for notice in before + after] == [False, False, True, True]
    assert {notice["metadata"]["name"] for notice in after} == {"two"}
    assert {notice["receipt_cid"] for notice in before} == {notice["receipt_cid"] for notice in after}


def test_a_workflow_may_come_as_cbor(node: Node) -> None:
    """
    The parameters may be the DAG-CBOR of `{name, workflow}`, as byte values.
    """
    one = node.numbers.add_one(1)
    data = encode({"name": "bytes", "workflow": one.workflow.to_ipld()})
    with node.client() as client:
        answer = client.ask("subscribe_run_workflow", list(data))
        notice = client.next()

    assert "result" in answer
    assert notice["metadata"]["name"] == "bytes"
    assert notice["receipt"]["out"] == ["ok", 2]


def test_without_a_name_a_workflow_is_called_by_its_cid(node: Node) -> None:
    """
    A workflow needs no name.
    """
    one = node.numbers.add_one(1)
    with node.client() as client:
        client.ask("subscribe_run_workflow", {"workflow": {"tasks": [json.loads(_json(one))]}})
        notice = client.next()

    assert notice["metadata"]["name"] == str(one.workflow.cid)


def _json(handle: Any) -> str:
    from ipvm_kernel.ipld import dagjson

    return dagjson.dumps(handle.task.to_ipld())


def test_every_task_gives_one_notification_whatever_came_of_it(node: Node) -> None:
    """
    A trap, what awaits it, what is skipped and what succeeds: one each, so that a client that counts to the number of
    tasks ends. (Homestar drops the siblings and says nothing.)
    """
    m = node.numbers
    bad, good = m.divide(1, 0), m.add_one(7)
    after, skipped = m.add_one(bad), m.add_one(good.error)
    workflow = Workflow.of([h.task for h in (bad, good, after, skipped)])
    with node.client() as client:
        client.run(workflow)
        told = {notice["instruction"]: notice for notice in (client.next() for _ in range(4))}

    assert told[bad.cid]["receipt"]["out"][0] == "error"
    assert told[bad.cid]["receipt"]["out"][1]["kind"] == "trap"
    assert told[after.cid]["receipt"]["out"][1]["kind"] == "broken-promise"
    assert told[good.cid]["receipt"]["out"] == ["ok", 8]
    assert (told[skipped.cid]["receipt"], told[skipped.cid]["how"]) == (None, "skipped")


def test_whoever_asks_hears_of_starts_and_ends(node: Node) -> None:
    """
    With `events`, a task that begins, one that failed and the end of the workflow are told, with times and counts.
    """
    m = node.numbers
    bad, good = m.divide(1, 0), m.add_one(7)
    with node.client() as client:
        client.run(Workflow.of([bad.task, good.task]), events=True)
        told: list[Any] = []
        while not told or not told[-1]["event"].startswith("workflow_"):
            told.append(client.next())

    kinds = [(notice["event"], notice.get("instruction")) for notice in told]
    assert kinds.index(("task_started", bad.cid)) < kinds.index(("task_failed", bad.cid))
    assert kinds.index(("task_started", good.cid)) < kinds.index(("task_finished", good.cid))
    assert told[-1]["event"] == "workflow_failed"
    assert told[-1]["counts"] == {"computed": 1, "failed": 1}
    assert all(notice["timestamp"] > 1_700_000_000_000 for notice in told)


def test_a_run_can_be_cancelled(node: Node) -> None:
    """
    `cancel_workflow` stops a spinning task within the second, by subscription or by workflow; its client is told.
    """
    for by in ("subscription", "workflow"):
        spin = node.numbers.spin(1 if by == "workflow" else 2)
        with node.client() as client:
            ident = client.run(spin.workflow, events=True)
            assert client.next()["event"] == "task_started"
            began = time.monotonic()
            answer = client.ask("cancel_workflow", ident if by == "subscription" else str(spin.workflow.cid))
            told = [client.next(), client.next()]

        assert answer["result"] is True
        assert told[0]["how"] == "cancelled"
        assert told[1]["counts"] == {"cancelled": 1}
        assert time.monotonic() - began < 5


def test_to_unsubscribe_stops_notifications_and_not_the_work(node: Node) -> None:
    """
    Who hears no more of a run finds its receipts on file later, as with Homestar.
    """
    m = node.numbers
    with node.client() as client:
        ident = client.run(m.add_one(m.add_one(5)).workflow)
        gone = client.ask("unsubscribe_run_workflow", ident)
        again = client.ask("unsubscribe_run_workflow", ident)
        deadline = time.monotonic() + 10
        while not node.session.count_known([m.add_one(m.add_one(5)).cid]) and time.monotonic() < deadline:
            time.sleep(0.01)

    assert (gone["result"], again["result"]) == (True, False)
    assert node.session.count_known([m.add_one(m.add_one(5)).cid]) == 1


def test_a_client_that_leaves_does_not_stop_its_run(node: Node) -> None:
    """
    What a client asked for is on file when it comes back.
    """
    chain = node.numbers.add_one(node.numbers.add_one(6))
    with node.client() as client:
        client.run(chain.workflow)
    deadline = time.monotonic() + 10
    while not node.session.count_known([chain.cid]) and time.monotonic() < deadline:
        time.sleep(0.01)

    assert node.session.count_known([chain.cid]) == 1


def test_duplicate_tasks_and_unknown_promises_are_refused_before_anything_runs(node: Node) -> None:
    """
    The answer is an error that says why, and no notification follows.
    """
    one = node.numbers.add_one(1)
    two = node.numbers.add_one(node.numbers.add_one(99))
    alone = [task for task in two.workflow.tasks if task.run.cid == two.cid]
    with node.client() as client:
        twice = client.ask("subscribe_run_workflow", {"workflow": {"tasks": [json.loads(_json(one))] * 2}})
        lost = client.ask("subscribe_run_workflow", {"workflow": {"tasks": [json.loads(_json_of(alone[0]))]}})

    assert "duplicate" in twice["error"]["message"]
    assert lost["error"]["code"] == jsonrpc.BUSY
    assert lost["error"]["message"].startswith("not able to run workflow bafyrmi")
    assert node.info["workflows"] == 0


def _json_of(task: Any) -> str:
    from ipvm_kernel.ipld import dagjson

    return dagjson.dumps(task.to_ipld())


def test_an_empty_workflow_ends_at_once(node: Node) -> None:
    """
    No task, no notification but the end.
    """
    with node.client() as client:
        client.run(Workflow(tasks=()), events=True)
        told = client.next()

    assert told["event"] == "workflow_finished"


def test_health_metrics_node_and_discovery_over_websocket_and_http(node: Node) -> None:
    """
    The four answers of Homestar come by both ways, in its shapes.
    """
    with node.client() as client:
        client.run(node.numbers.add_one(1).workflow)
        client.next()
        asked = {name: client.ask(name)["result"] for name in ("health", "metrics", "node", "rpc_discover")}
    got = {name: json.loads(get(node, f"/{name}", accept="application/json")[1]) for name in asked}

    assert asked["health"] == got["health"] == {"healthy": True}
    assert {metric["metric_type"] for metric in asked["metrics"]["metrics"]} == {"gauge"}
    names = {metric["metric_name"] for metric in got["metrics"]["metrics"]}
    assert {"homestar_process_uptime_seconds", "homestar_system_used_memory_bytes"} <= names
    assert asked["node"].keys() == got["node"].keys() == {"static", "dynamic", "ipvm"}
    assert set(asked["node"]["dynamic"]) == {"listeners", "connections"}
    document = json.loads(asked["rpc_discover"])
    assert document["openrpc"] == "1.2.6"
    assert {method["name"] for method in document["methods"]} == set(node.server.service._methods) == openrpc.NAMES


def test_prometheus_reads_what_was_counted(node: Node) -> None:
    """
    `/metrics` is Prometheus' text, with the tasks by how they ended and the refusals by reason.
    """
    with node.client() as client:
        client.run(node.numbers.add_one(1).workflow)
        client.next()
        client.ask("nonsense")
    status, text, kind = get(node, "/metrics")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }

    assert status == 200
    assert kind.startswith("text/plain")
    assert found["ipvm_tasks_total", "computed"] == 1
    assert found["ipvm_refused_total", "unknown method"] == 1
    assert found["homestar_process_memory_bytes",] > 0


def test_json_rpc_over_http_answers_all_but_subscriptions(node: Node) -> None:
    """
    A POST is answered; a run needs a WebSocket, and the answer says so.
    """
    status, body, _ = get(node, "/", method="POST", body='{"jsonrpc": "2.0", "id": "a", "method": "health"}')
    _, refused, _ = get(
        node, "/", method="POST", body='{"jsonrpc":"2.0","id":1,"method":"subscribe_run_workflow","params":[]}'
    )
    nothing, empty, _ = get(node, "/", method="POST", body='{"jsonrpc":"2.0","method":"health"}')

    assert (status, json.loads(body)) == (200, {"jsonrpc": "2.0", "id": "a", "result": {"healthy": True}})
    assert "WebSocket" in json.loads(refused)["error"]["message"]
    assert (nothing, empty) == (204, b"")


def test_a_batch_is_answered_as_one(node: Node) -> None:
    """
    Answers come in one list, without those of requests that want none, and with those of requests that are none.
    """
    with node.client() as client:
        client.send(
            [
                {"jsonrpc": "2.0", "id": 1, "method": "health"},
                {"jsonrpc": "2.0", "method": "health"},
                {"jsonrpc": "2.0", "id": 2, "method": "nothing"},
                5,
            ]
        )
        told = client.receive()

    assert [answer["id"] for answer in told] == [1, 2, None]
    assert [answer.get("error", {}).get("code") for answer in told] == [None, -32601, -32600]


def test_many_clients_run_at_once(node: Node) -> None:
    """
    Eight clients at once each get their own receipts, and none of another's.
    """
    from concurrent.futures import ThreadPoolExecutor

    def one(index: int) -> set[Any]:
        m = node.numbers
        handle = m.add_one(m.add_one(1000 * index))
        with node.client() as client:
            client.run(handle.workflow, name=str(index))
            told = [client.next(), client.next()]
        assert {notice["metadata"]["name"] for notice in told} == {str(index)}
        return {notice["receipt"]["out"][1] for notice in told}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(8)))

    assert found == [{1000 * index + 1, 1000 * index + 2} for index in range(8)]


def test_more_workflows_than_the_settings_allow_are_refused(node: Node) -> None:
    """
    The node says that it is busy, as Homestar does, and takes the next one when there is room.
    """
    with Session(None) as session, serving(session, max_runs=1) as small, small.client() as client:
        ident = client.run(small.numbers.spin(3).workflow, events=True)
        client.next()
        wanted = {"workflow": {"tasks": [json.loads(_json(small.numbers.add_one(1)))]}}
        refused = client.ask("subscribe_run_workflow", wanted)
        client.ask("cancel_workflow", ident)
        while not client.next()["event"].startswith("workflow"):
            pass
        taken = client.ask("subscribe_run_workflow", wanted)

    assert refused["error"]["code"] == jsonrpc.BUSY
    assert "1 workflows run already" in refused["error"]["message"]
    assert "result" in taken


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_whatever_arrives_is_parsed_or_refused(data: bytes | str) -> None:
    """
    No text breaks the reader of requests: there is a list of requests, or one error with a number of JSON-RPC.
    """
    try:
        found, _ = jsonrpc.parse(data, max_bytes=1000, max_batch=10)
    except RpcError as wrong:
        found = [wrong]

    codes = {one.code for one in found if isinstance(one, RpcError)}
    assert found
    assert codes <= {jsonrpc.PARSE_ERROR, jsonrpc.INVALID_REQUEST, jsonrpc.TOO_LARGE}


@pytest.mark.parametrize(
    "text", ['{"jsonrpc":"2.0","method":"x","id":[1]}', '{"jsonrpc":"2.0","method":"x","params":3}', "{}", "7"]
)
def test_a_request_that_is_none_is_an_error(text: str) -> None:
    """
    What JSON-RPC calls invalid is invalid here.
    """
    (found,), batch = jsonrpc.parse(text, max_bytes=1000, max_batch=10)

    assert isinstance(found, RpcError)
    assert found.code == jsonrpc.INVALID_REQUEST
    assert not batch
