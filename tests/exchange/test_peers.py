"""Two sessions of ours among peers: what goes out, what comes in, and what is used."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadInput, IpvmError, Malformed, NotFound
from ipvm_kernel.homestar import capsules
from ipvm_kernel.ipld import CID, decode, encode
from ipvm_kernel.model import Receipt
from ipvm_kernel.model.receipt import Outcome, failure
from ipvm_kernel.session import admit_peer
from ipvm_kernel.trust import Policy
from tests.exchange.members import Member, eventually
from tests.guests import filed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ipvm_kernel.exchange.peers.network import Network

from ipvm_kernel.exchange.peers import Unreachable

pytestmark = [pytest.mark.peer("libp2p"), pytest.mark.usefixtures("swept")]


def test_a_published_receipt_arrives_and_is_unverified(pair: tuple[Member, Member]) -> None:
    """
    What one publishes, the other keeps with its publisher, shows, and does not use.
    """
    one, two = pair
    ours, theirs = one.numbers.add_one(41), two.numbers.add_one(41)
    ours.result()
    sent, left = one.peering.publish([ours.cid])
    eventually(lambda: two.heard("received_receipt_pubsub"))
    event = two.heard("received_receipt_pubsub")[0]
    why = two.session.why(theirs)

    assert ours.cid == theirs.cid
    assert (sent, left) == ([filed(ours).cid], [])
    assert (event["cid"], event["publisher"], event["ran"]) == (str(sent[0]), one.peer_id, str(filed(ours).ran))
    assert why.verdict == "unverified"
    assert theirs.receipt is None
    assert [entry.engine for entry in two.session.store.journal(instruction=theirs.cid)] == [f"peer {one.peer_id}"]


def test_trust_lets_it_spare_the_computation(pair: tuple[Member, Member]) -> None:
    """
    Once its publisher is trusted, a receipt that is here answers; so do those that come later.
    """
    one, two = pair
    first, second = one.numbers.add_one(1), one.numbers.add_one(2)
    one.session.run([first, second]).wait().raise_for_failures()
    one.peering.publish([first.cid])
    eventually(lambda: two.peering.received == 1)
    admitted = admit_peer(two.session, two.policy, one.peer_id)
    one.peering.publish([second.cid])
    eventually(lambda: two.peering.received == 2)
    run = two.session.run([two.numbers.add_one(1), two.numbers.add_one(2), two.numbers.add_one(3)]).wait()

    assert admitted == 1
    assert run.counts == {"replayed": 2, "computed": 1}


def test_without_trust_it_is_computed_here_and_then_it_is_our_own(pair: tuple[Member, Member]) -> None:
    """
    Re-execution that agrees makes a receipt one's own (RULES 11).
    """
    one, two = pair
    ours, theirs = one.numbers.add_one(5), two.numbers.add_one(5)
    ours.result()
    one.peering.publish([ours.cid])
    eventually(lambda: two.peering.received == 1)
    run = two.session.run(theirs).wait()
    again = two.session.run(theirs).wait()
    found = two.session.store.receipts_of(theirs.cid)

    assert run.counts == {"computed": 1}
    assert again.counts == {"replayed": 1}
    assert [(one_.own, one_.admitted) for one_ in found] == [(True, True)]


def test_a_lie_is_not_used_even_where_its_truth_is_computed(pair: tuple[Member, Member]) -> None:
    """
    A peer that is not trusted says that 1 + 1 is 3: what is computed here is 2, and both are shown.
    """
    one, two = pair
    truth = two.numbers.add_one(1)
    lie = Receipt(ran=truth.task.invocation.cid, out=Outcome("ok", 3), meta={"op": "add_one"})
    one.peering._send(truth.cid, lie)
    eventually(lambda: two.peering.received == 1)

    assert truth.result() == 2
    assert {one_.receipt.value: one_.admitted for one_ in two.session.store.receipts_of(truth.cid) if one_.receipt} == {
        2: True,
        3: False,
    }


def test_errors_and_foreign_receipts_are_not_published(pair: tuple[Member, Member]) -> None:
    """
    An error is for nobody else (RULES 5), and only what was made here is sent on.
    """
    one, two = pair
    bad, good = one.numbers.divide(1, 0), one.numbers.add_one(9)
    bad.exception()
    good.result()
    one.peering.publish([good.cid])
    eventually(lambda: two.peering.received == 1)
    sent, left = one.peering.publish([bad.cid])
    passed, kept = two.peering.publish([two.numbers.add_one(9).cid])

    assert (sent, passed) == ([], [])
    assert "an error is for nobody else" in left[0]
    assert "no receipt of our own" in kept[0]


def test_what_came_of_a_secret_is_not_published(pair: tuple[Member, Member]) -> None:
    """
    Of a chain whose first task is marked nothing is sent on; what did not come of it is.
    """
    one, _ = pair
    first, other = one.numbers.add_one(1), one.numbers.add_one(50)
    last = one.numbers.add_one(one.numbers.add_one(first))
    one.session.run([last, other]).wait().raise_for_failures()
    one.session.store.pin("secret/first", first.cid)
    sent, left = one.peering.publish([first.cid, last.cid, other.cid])

    assert sent == [filed(other).cid]
    assert left == [f"{cid.short}: it came of a secret" for cid in (first.cid, last.cid)]


def test_nothing_leaves_before_it_is_published(pair: tuple[Member, Member]) -> None:
    """
    To run, to connect and to be asked gives nothing away.
    """
    one, two = pair
    handle = one.numbers.add_one(100)
    handle.result()
    found = two.peering.find(handle.cid)
    time.sleep(0.5)

    assert found == []
    assert two.peering.received == 0
    assert one.heard("published_receipt_pubsub") == []


def test_a_record_is_found_under_the_instructions_cid(pair: tuple[Member, Member]) -> None:
    """
    Whoever asks for the record of a published receipt gets its capsule, and keeps it as the peer's.
    """
    one, two = pair
    handle = one.numbers.add_one(6)
    handle.result()
    one.peering.publish([handle.cid])
    eventually(lambda: two.peering.received == 1)
    value = two.peering.network.find(handle.cid.bytes, 5)
    found = two.peering.find(handle.cid, 5)

    assert [(peer, capsules.read_receipt(data)) for peer, data in value] == [(one.peer_id, filed(handle))]
    assert found == [(one.peer_id, filed(handle).cid)]


def test_a_record_that_is_brought_is_kept_as_the_bringers(pair: tuple[Member, Member]) -> None:
    """
    PUT_VALUE of a capsule is taken; of anything else, or under another kind of key, it is refused and counted.
    """
    one, two = pair
    handle = one.numbers.add_one(8)
    handle.result()
    good = capsules.receipt_capsule(filed(handle))
    taken = one.peering.network.offer(handle.cid.bytes, good, 5)
    refused = [
        one.peering.network.offer(key, value, 2)
        for key, value in (
            (handle.cid.bytes, b"nothing"),
            (b"no CID", good),
            (handle.cid.bytes, encode({"ipvm/receipt": 5})),
        )
    ]

    assert (taken, refused) == (1, [0, 0, 0])
    assert two.session.why(two.numbers.add_one(8)).verdict == "unverified"
    assert two.peering.dropped == {"peer: bad record": 3}


def test_questions_about_workflows_are_answered_if_they_are_offered(pair: tuple[Member, Member]) -> None:
    """
    The exchange protocol tells name, tasks and receipts of a published workflow, and nothing of any other.
    """
    one, _ = pair
    chain = one.numbers.add_one(one.numbers.add_one(1))
    chain.result()
    question = {"cid": str(chain.workflow.cid), "capsule_tag": "Workflow"}
    before = decode(bytes(decode(one.peering.answer("peer", encode(question)))))  # type: ignore[arg-type]
    one.peering.offer(chain.workflow, "mine")
    after = capsules.read_info(bytes(decode(one.peering.answer("peer", encode(question)))))  # type: ignore[arg-type]
    receipt = decode(bytes(decode(one.peering.answer("peer", encode({**question, "capsule_tag": "Receipt"})))))  # type: ignore[arg-type]

    assert before == {"Timeout": question}
    assert (after.name, after.num_tasks, after.progress_count) == ("mine", 2, 2)
    assert list(receipt) == ["Unsupported"]  # type: ignore[arg-type]
    assert one.peering.provides(chain.workflow.cid.bytes)


def test_a_question_that_is_none_is_refused(pair: tuple[Member, Member]) -> None:
    """
    The stream of a peer that asks nonsense is reset, and nothing else happens.
    """
    wrong = [{"cid": 5, "capsule_tag": "Workflow"}, {"cid": "x", "capsule_tag": "Workflow"}, [1] * 1000, {"cid": "x"}]
    for question in (b"", b"\xff", b"\xa0", *map(encode, wrong)):
        with pytest.raises(IpvmError):
            pair[0].peering.answer("peer", question)


def _messages(member: Member) -> dict[str, bytes]:
    handle = member.numbers.add_one(1)
    handle.result()
    receipt = filed(handle)
    payload = capsules.stored(handle.cid, receipt)
    error = Receipt(ran=receipt.ran, out=failure("trap", "x"), meta={"op": "f"})

    def message(**changed: Any) -> bytes:
        return encode({"header": {"nonce": b"x" * 12}, "payload": {**payload, **changed}})

    return {
        "no CBOR": b"\xff\xff",
        "not strict": b"\xbf\xff",
        "not a map": encode([1]),
        "no payload": encode({"header": {}}),
        "another version": message(version="0.3.0"),
        "a CID that is not its own": message(out=["ok", 5]),
        "no instruction": message(instruction=5),
        "an outcome of no kind": message(out=["maybe", 1]),
        "deep": b"\x81" * 1000 + b"\x00",
        "large": encode({"header": {}, "payload": b"x" * (2 * 2**20)}),
        "an error": encode({"header": {}, "payload": capsules.stored(handle.cid, error)}),
    }


def test_a_message_that_is_not_what_it_says_is_dropped_and_counted(pair: tuple[Member, Member]) -> None:
    """
    Garbage, wrong versions, wrong CIDs, bombs and error receipts: none is kept, each is counted, and the next good one
    arrives.
    """
    one, two = pair
    bad = _messages(one)
    one.peering.network._pubsub.topic_validators.clear()  # else it would not send them either
    for data in bad.values():
        one.peering.network.publish(data)
    handle = one.numbers.add_one(77)
    handle.result()
    one.peering.publish([handle.cid])
    eventually(lambda: two.peering.received == 1)

    dropped = two.peering.dropped
    assert dropped["peer: error receipt"] == 1
    assert dropped["peer: bad receipt"] >= len(bad) - 2  # what is too large may not even leave the peer's stream
    assert two.heard("received_receipt_pubsub")[0]["cid"] == str(filed(handle).cid)


def test_an_unsigned_message_is_not_heard(pair: tuple[Member, Member]) -> None:
    """
    Strict signing: whoever sends under another's name, or under none, is not heard.
    """
    one, two = pair
    handle = one.numbers.add_one(12)
    handle.result()
    one.peering.network._pubsub.strict_signing = False
    one.peering._send(handle.cid, filed(handle))
    time.sleep(0.7)

    assert two.peering.received == 0


def test_a_flood_of_one_peer_is_bounded(pair: tuple[Member, Member], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One peer may leave so many bytes here, and no more; the rest is counted.
    """
    monkeypatch.setattr("ipvm_kernel.session.peering._PEER_BYTES", 3500)
    _, two = pair
    task = two.numbers.add_one(1)
    for value in range(20):
        receipt = Receipt(ran=task.task.invocation.cid, out=Outcome("ok", value), meta={"op": "f"})
        two.peering.gossip("somebody", encode({"header": {}, "payload": capsules.stored(task.cid, receipt)}))

    assert two.peering.received == 5
    assert two.peering.dropped == {"peer: too many receipts": 15}

    monkeypatch.setattr("ipvm_kernel.session.peering._ALL_BYTES", 3500)
    last = Receipt(ran=task.task.invocation.cid, out=Outcome("ok", 20), meta={"op": "f"})
    two.peering.gossip("another", encode({"header": {}, "payload": capsules.stored(task.cid, last)}))
    assert two.peering.received == 5


def test_who_comes_and_goes_is_told(pair: tuple[Member, Member]) -> None:
    """
    Network events name a peer that connects and one that leaves, as Homestar's do.
    """
    one, two = pair
    eventually(lambda: two.heard("connection_established"))
    one.peering.close()
    eventually(lambda: two.heard("connection_closed"))

    assert two.heard("connection_established")[0]["peer_id"] == one.peer_id
    assert two.heard("connection_closed")[0]["peer_id"] == one.peer_id
    assert two.heard("new_listen_addr")[0]["address"] == two.address


def retried(make: Callable[[], Network]) -> Network:
    """Make a network on a port that was another's a moment ago."""
    for _ in range(20):
        try:
            return make()
        except Unreachable:
            time.sleep(0.25)
    return make()


def test_a_line_that_broke_is_called_again() -> None:
    """
    A peer that was called is called again when it comes back under its name and address.
    """
    seed = secrets.token_bytes(32)
    first = Member()
    there = Member()
    there.peering.close()
    from ipvm_kernel.exchange.peers.network import Network  # loaded by the first member, without its warnings

    network = Network(there.peering, seed=seed)
    port = network.addresses[0].split("/")[4]
    first.peering.network._redial = 0.3
    first.peering.network.connect(network.addresses[0])
    network.close()
    eventually(lambda: first.heard("connection_closed"))
    again = retried(lambda: Network(there.peering, seed=seed, listen=f"/ip4/127.0.0.1/tcp/{port}"))
    eventually(lambda: len(first.heard("connection_established")) == 2)

    assert again.peer_id == network.peer_id
    again.close()
    first.close()
    there.session.close()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "/ip4/127.0.0.1/tcp/1",
        "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
        "/ip4/999.0.0.1/tcp/1",
    ],
)
def test_an_address_that_is_none_or_silent_is_one_line(address: str) -> None:
    """
    A peer that cannot be called is said so, with what an address looks like.
    """
    member = Member()
    try:
        with pytest.raises(IpvmError) as said:
            member.peering.network.connect(address, timeout=3)
        assert "\n" not in str(said.value)
    finally:
        member.close()


def test_to_publish_alone_is_refused() -> None:
    """
    With no peer there is nobody to publish to, and it is said how to find one.
    """
    member = Member()
    handle = member.numbers.add_one(1)
    handle.result()
    try:
        with pytest.raises(NotFound, match="no peer listens"):
            member.peering.publish([handle.cid])
    finally:
        member.close()


# --- the policy ---

SOMEBODY = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"


def test_trust_is_kept_beside_the_store(tmp_path: Path) -> None:
    """
    Who is trusted survives the process, is read by others at once, and is for its user's eyes alone.
    """
    path = tmp_path / "trust.json"
    policy, other = Policy(path), Policy(path)
    first, second = policy.trust(SOMEBODY), policy.trust(SOMEBODY)
    seen = other.trusts(SOMEBODY)
    gone = other.distrust(SOMEBODY)

    assert (first, second, seen, gone) == (True, False, True, True)
    assert not policy.trusts(SOMEBODY)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["", "somebody", "12D3KooW", SOMEBODY + "\x1b[31m", "../" * 20, "0" * 52])
def test_only_a_peers_id_can_be_trusted(name: str) -> None:
    """
    What is no peer's id is refused in one line.
    """
    with pytest.raises(BadInput, match="expected the id of a peer"):
        Policy().trust(name)


@pytest.mark.parametrize("text", ["", "[]", '{"peers": 5}', '{"peers": {}, "more": 1}'])
def test_a_policy_that_cannot_be_read_trusts_nobody(tmp_path: Path, text: str) -> None:
    """
    A broken file is an error that names it, never an empty policy that is written over it.
    """
    path = tmp_path / "trust.json"
    path.write_text(text)

    with pytest.raises(Malformed, match=r"trust\.json cannot be read"):
        Policy(path).trusts(SOMEBODY)
    assert path.read_text() == text


def test_one_process_at_a_time_has_the_key(tmp_path: Path) -> None:
    """
    The key of a store is one peer's; a second process on it takes part under a name that is forgotten.
    """
    from ipvm_kernel.exchange.peers.identity import Identity

    with Identity(tmp_path) as first, Identity(tmp_path) as second:
        seeds = (first.seed, second.seed)
        kept = (first.kept, second.kept)
    with Identity(tmp_path) as third:
        again = third.seed

    assert kept == (True, False)
    assert seeds[0] == again != seeds[1]
    assert (tmp_path / "peer.key").stat().st_mode & 0o777 == 0o600


def test_a_cid_of_another_hash_is_no_key(pair: tuple[Member, Member]) -> None:
    """
    Keys are CIDs of instructions; anything else finds nothing.
    """
    one, _ = pair

    assert one.peering.record(b"\x00" * 36) is None
    assert one.peering.record(CID.of(b"x").bytes) is None
    assert not one.peering.provides(b"")
