"""A node among peers, through its own methods and through the verbs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

import ipvm
from ipvm import cli
from ipvm_kernel import Session
from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import CID
from ipvm_kernel.node import control
from ipvm_kernel.session import default, leave_peers, set_default
from tests.exchange.members import Member, eventually
from tests.guests import NUMBERS, filed
from tests.node.conftest import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.node.conftest import Node

pytestmark = [pytest.mark.peer("libp2p"), pytest.mark.usefixtures("swept")]


def mesh_of(node: Node) -> int:
    """Return how many peers of a node listen to the topic."""
    joined = node.server.service.peers.joined
    return joined.network.mesh if joined is not None else 0


@pytest.fixture
def member() -> Iterator[Member]:
    """
    A session of somebody else's among peers.
    """
    made = Member()
    yield made
    made.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """
    A store of a user's own, with the default session on it.
    """
    monkeypatch.setenv("IPVM_HOME", str(tmp_path / "home"))
    session = Session(tmp_path / "home")
    set_default(session)
    yield tmp_path / "home"
    leave_peers()
    set_default(None)
    session.close()


def test_a_node_publishes_what_it_computes_if_its_settings_say_so(member: Member, home: Path) -> None:
    """
    With `publish`, a receipt that a client's workflow made goes to the peers at once, and its client hears of it.
    """
    libp2p: dict[str, Any] = {"node_addresses": [member.address], "pubsub": {"publish": True, "heartbeat": 0.2}}
    with Session(None) as session, serving(session, libp2p=libp2p) as node, node.client() as client:
        events = client.ask("subscribe_network_events")["result"]
        eventually(lambda: member.peering.network.mesh and mesh_of(node))
        told = client.ask("node")["result"]

        time.sleep(0.5)
        handle = node.numbers.add_one(1)
        client.run(handle.workflow)
        seen: list[Any] = []
        while len(seen) < 2:
            notice = client.next()
            if "connection_established" not in notice:
                seen.append(notice)
        eventually(lambda: member.peering.received == 1)
        stopped = client.ask("unsubscribe_network_events", events)["result"]

    published = next(notice["published_receipt_pubsub"] for notice in seen if "published_receipt_pubsub" in notice)
    assert stopped is True
    assert told["static"]["peer_id"].startswith("12D3Koo")
    assert list(told["dynamic"]["connections"]) == [member.peer_id]
    assert published["cid"] == str(filed(handle).cid)


def test_errors_of_a_client_are_not_published(member: Member, home: Path) -> None:
    """
    A trap stays on this machine, whatever the settings say.
    """
    libp2p: dict[str, Any] = {"node_addresses": [member.address], "pubsub": {"publish": True, "heartbeat": 0.2}}
    with Session(None) as session, serving(session, libp2p=libp2p) as node, node.client() as client:
        eventually(lambda: member.peering.network.mesh and mesh_of(node))
        client.run(node.numbers.divide(1, 0).workflow)
        client.next()

        assert member.peering.received == 0


def test_peer_publish_and_trust_as_verbs(member: Member, home: Path) -> None:
    """
    `peer ADDRESS` connects this process, `--publish` sends, `trust` admits, and each says what it did.
    """
    numbers = ipvm.module(NUMBERS)
    mine, theirs = numbers.add_one(10), member.numbers.add_one(20)
    mine.result()
    connected = ipvm.peer(member.address)
    eventually(lambda: member.peering.network.mesh)

    time.sleep(0.6)
    sent = ipvm.peer(publish=mine)
    theirs.result()
    member.peering.publish([theirs.cid])
    eventually(lambda: member.peering.received == 1)
    from ipvm_kernel.session import joined_peers

    eventually(lambda: (there := joined_peers()) and there.received == 1)
    before = ipvm.why(numbers.add_one(20))
    trusted = ipvm.trust(member.peer_id)
    listed = ipvm.peer()
    found = ipvm.peer(find=numbers.add_one(20))

    assert f"to use its receipts: trust {member.peer_id}" in str(connected)
    assert f"1 receipt sent to 1 peer: {filed(mine).cid}" in str(sent)
    assert "unverified" in str(before)
    assert "1 receipt of it may be used now" in str(trusted)
    assert "trusted" in str(listed)
    assert str(filed(theirs).cid) in str(found)
    assert ipvm.run(numbers.add_one(20)).wait().counts == {"replayed": 1}
    assert member.peer_id in str(ipvm.trust())
    assert "no longer" in str(ipvm.trust(member.peer_id, remove=True))
    assert "left the network" in str(ipvm.peer(leave=True))


def test_a_node_takes_part_for_all_who_share_its_store(
    member: Member, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    While a node runs, the verbs speak to it: what it hears is in the notebook's store.
    """
    numbers = ipvm.module(NUMBERS)
    mine, theirs = numbers.add_one(30), member.numbers.add_one(40)
    mine.result()
    theirs.result()
    control.start(home, ["--port", "0"])
    try:
        status = [cli.main(["peer", member.address])]
        eventually(lambda: member.peering.network.mesh)

        time.sleep(2.2)  # two heartbeats of the node's
        ipvm.peer(publish=mine)
        eventually(lambda: member.peering.received == 1)
        member.peering.publish([theirs.cid])
        ipvm.trust(member.peer_id)
        wanted = numbers.add_one(40)
        store = default().store
        eventually(lambda: (there := store.on_file([wanted.cid]).get(wanted.cid)) is not None and there.trusted)
        verdict = ipvm.why(wanted).data[0]["verdict"]
        run = ipvm.run(wanted).wait()
        status.append(cli.main(["peer", "--json"]))
    finally:
        control.stop(home)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])

    assert status == [0, 0]
    assert (told["peer_id"], told["trusted"]) == (member.peer_id, True)
    assert verdict == "unverified"
    assert run.counts == {"replayed": 1}


@pytest.mark.parametrize(
    "address", ["nonsense", "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"]
)
def test_an_address_that_is_none_is_refused_by_the_node(home: Path, address: str) -> None:
    """
    What cannot be called is one line, and the node lives.
    """
    with Session(None) as session, serving(session) as node, node.client() as client:
        answer = client.ask("connect_peer", address)
        after = client.ask("health")

    assert "\n" not in answer["error"]["message"]
    assert after["result"] == {"healthy": True}


def test_a_receipt_cannot_be_asked_for_by_anything_but_a_cid(home: Path) -> None:
    """
    `find_receipt` and `publish_receipts` take CIDs of what is here.
    """
    with Session(None) as session, serving(session) as node, node.client() as client:
        wrong = [
            client.ask(name, text) for name in ("find_receipt", "publish_receipts") for text in ("x", str(CID.of(b"x")))
        ]

    assert all("error" in answer for answer in wrong[:1] + wrong[2:])


def test_whom_to_trust_is_a_peers_id(home: Path) -> None:
    """
    A slip is refused, and nobody is trusted.
    """
    with pytest.raises(IpvmError, match="expected the id of a peer"):
        ipvm.trust("somebody")
    assert "only what was made here" in str(ipvm.trust())
