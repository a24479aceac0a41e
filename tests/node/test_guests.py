from __future__ import annotations

import base64
import http.client
import time
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.sync.client import connect

from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.model import Workflow
from ipvm_kernel.node import jsonrpc, openrpc
from ipvm_kernel.node.grants import TOKEN_CHARS
from ipvm_kernel.session import Limits, Session
from ipvm_kernel.trust.delegation import delegate
from ipvm_kernel.trust.invocation import from_token, invoke, to_token
from ipvm_kernel.trust.keys import Key
from tests.node.conftest import TOKEN, serving
from tests.node.guesting import ANY_TASK, GUEST, OTHER, STRANGER, Owned, ask, owning, task
from tests.node.test_hostile import lives, request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOWHERE = CID.of(b"nobody has this", "raw", "sha2-256")


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Owned]:
    """
    A node of an owner's.
    """
    with owning(tmp_path / "home") as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owned]:
    """
    One for tests that leave nothing behind but counts.
    """
    with owning(tmp_path_factory.mktemp("guests") / "home") as made:
        yield made


# --- what a guest may ---


def test_a_guest_runs_a_workflow_and_hears_of_it(owned: Owned) -> None:
    """
    Whom the owner let in gets the receipts of each task; they are on the owner's file as made here, and the journal says for
    whom.
    """
    chain = owned.node.numbers.add_one(owned.node.numbers.add_one(40))
    with owned.guest(chain.workflow) as peer:
        peer.run(chain.workflow, name="mine")
        told = [peer.next(), peer.next()]
    store = owned.node.session.store

    assert [notice["receipt"]["out"] for notice in told] == [["ok", 41], ["ok", 42]]
    assert told[0]["metadata"] == {"name": "mine", "replayed": False, "workflow": chain.workflow.cid}
    assert store.on_file([chain.cid])[chain.cid].own
    assert store.runs()[0].name == f"mine (for {GUEST.did})"
    assert owned.node.info["tasks"] == {"computed": 2}
    assert owned.node.info["refused"] == {}


def test_a_token_that_is_shown_again_gives_the_same_receipts(owned: Owned) -> None:
    """
    Until it ends, an invocation may be shown again: its workflow is pure, so nothing runs twice.
    """
    one = owned.node.numbers.add_one(1)
    token = owned.token(one.workflow.cid, owned.lets())
    told = []
    for _ in range(2):
        with owned.visit(token) as peer:
            for _ in range(2):
                peer.run(one.workflow)
                told.append(peer.next())

    assert len({notice["receipt_cid"] for notice in told}) == 1
    assert [notice["how"] for notice in told] == ["computed", "replayed", "replayed", "replayed"]


def test_a_guest_gets_what_the_owner_computed_of_the_same_task(owned: Owned) -> None:
    """
    Whoever can write a task down gets the receipt that is on file for it.
    """
    one = owned.node.numbers.add_one(1)
    one.result()
    with owned.guest(one.workflow) as peer:
        peer.run(one.workflow)
        notice = peer.next()

    assert (notice["how"], notice["receipt"]["out"]) == ("replayed", ["ok", 2])


def test_a_guest_lets_another_in_who_may_do_no_more(owned: Owned) -> None:
    """
    A chain of delegations lets in whom it leads to, and each link of it may narrow what is let.
    """
    m = owned.node.numbers
    first = owned.lets()
    ends = time.time() + 60
    second = delegate(GUEST, OTHER.did, "/ipvm/run", [["==", ".func", "add_one"]], ends, subject=owned.key.did)
    with owned.guest(m.add_one(1).workflow, first, second, key=OTHER) as peer:
        peer.run(m.add_one(1).workflow)
        notice = peer.next()
    with owned.guest(m.add(1, 2).workflow, first, second, key=OTHER) as peer:
        answer = ask(peer, m.add(1, 2).workflow)

    assert notice["receipt"]["out"] == ["ok", 2]
    assert answer["error"]["code"] == jsonrpc.DENIED
    assert GUEST.did in answer["error"]["message"]


def test_a_grant_of_a_whole_name_space_covers_a_run(owned: Owned) -> None:
    """
    Who may use all commands of `/ipvm` may run.
    """
    one = owned.node.numbers.add_one(1)
    with owned.guest(one.workflow, owned.lets(command="/ipvm")) as peer:
        peer.run(one.workflow)

        assert peer.next()["receipt"]["out"] == ["ok", 2]


def test_the_limits_of_the_node_hold_for_guests(tmp_path: Path) -> None:
    """
    A guest's task gets no more fuel than the node gives to any.
    """
    key = Key.load(tmp_path, create=True)
    assert key is not None
    with Session(tmp_path, limits=Limits(fuel=100_000)) as session, serving(session) as node:
        spin = node.numbers.spin(1)
        with Owned(node, key).guest(spin.workflow) as peer:
            peer.run(spin.workflow)
            notice = peer.next()

    assert notice["receipt"]["out"][1]["kind"] == "limit"


# --- who does not come in ---


def _tampered(owned: Owned, workflow: CID) -> str:
    """Return a token whose invocation was changed after it was signed."""
    proof = owned.lets()
    block, proofs = from_token(owned.token(workflow, proof))
    data = bytearray(block.data)
    data[-1] ^= 1  # the last byte of its nonce
    return to_token(Block(CID.of(bytes(data), "dag-cbor", "sha2-256"), bytes(data)), proofs.values())


def _swapped(owned: Owned, workflow: CID) -> str:
    """Return a token whose delegation was changed after it was signed, under the name that it has now."""
    proof = owned.lets()
    data = bytearray(proof.data)
    data[-1] ^= 1
    return owned.token(workflow, Block(CID.of(bytes(data), "dag-cbor", "sha2-256"), bytes(data)))


def _without_proofs(owned: Owned, workflow: CID) -> str:
    return to_token(from_token(owned.token(workflow, owned.lets()))[0])


def _revoked(owned: Owned, workflow: CID) -> str:
    proof = owned.lets()
    owned.node.session.policy.revoke(proof.cid)
    return owned.token(workflow, proof)


def _revoked_itself(owned: Owned, workflow: CID) -> str:
    token = owned.token(workflow, owned.lets())
    owned.node.session.policy.revoke(from_token(token)[0].cid)
    return token


def _revoked_above(owned: Owned, workflow: CID) -> str:
    first = owned.lets()
    second = delegate(GUEST, OTHER.did, "/ipvm/run", [], None, subject=owned.key.did)
    owned.node.session.policy.revoke(first.cid)
    return owned.token(workflow, first, second, key=OTHER)


def _of_himself(owned: Owned, workflow: CID) -> str:
    """Return a token of somebody who lets himself use what is his own, and asks this node for it."""
    proof = delegate(STRANGER, GUEST.did, "/ipvm/run", [], None)
    return owned.token(workflow, proof, subject=STRANGER.did, audience=owned.key.did)


_AGO, _HENCE = time.time() - 3600, time.time() + 3600

BAD: dict[str, tuple[Callable[[Owned, CID], str], str]] = {
    "a delegation that ended": (lambda o, w: o.token(w, o.lets(ends=_AGO)), "ended"),
    "a delegation that has not begun": (lambda o, w: o.token(w, o.lets(begins=_HENCE, ends=None)), "begins in"),
    "an invocation that ended": (lambda o, w: o.token(w, o.lets(), now=_AGO), "ended"),
    "for another node": (lambda o, w: o.token(w, o.lets(), audience=STRANGER.did), "an invocation for"),
    "on what belongs to another": (_of_himself, "on what belongs to"),
    "no delegation": (lambda o, w: o.token(w), "to whom the chain leads"),
    "a delegation that is not there": (_without_proofs, "Send it along"),
    "a delegation by a stranger": (
        lambda o, w: o.token(w, delegate(STRANGER, GUEST.did, "/ipvm/run", [], None, subject=o.key.did)),
        "a delegation by",
    ),
    "a chain with a gap": (
        lambda o, w: o.token(w, o.lets(OTHER), delegate(STRANGER, GUEST.did, "/ipvm/run", [], None, subject=o.key.did)),
        "a delegation by",
    ),
    "a chain in the wrong order": (
        lambda o, w: o.token(w, delegate(OTHER, GUEST.did, "/ipvm/run", [], None, subject=o.key.did), o.lets(OTHER)),
        "a delegation by",
    ),
    "of whatever was let to the owner": (lambda o, w: o.token(w, o.lets(powerline=True)), "whose it is"),
    "a token of somebody else's": (lambda o, w: o.token(w, o.lets(OTHER)), "to whom the chain leads"),
    "a narrower command": (lambda o, w: o.token(w, o.lets(command="/ipvm/run/slowly")), "covers"),
    "a wider command": (lambda o, w: o.token(w, o.lets(), command="/ipvm"), "covers"),
    "another command that is covered": (
        lambda o, w: o.token(w, o.lets(command="/ipvm"), command="/ipvm/stop"),
        "guests may ask for /ipvm/run and nothing else",
    ),
    "no workflow": (lambda o, _: o.token(NOWHERE, o.lets(), args={}), "an invocation of one workflow"),
    "a workflow and more": (
        lambda o, w: o.token(w, o.lets(), args={"workflow": w, "priority": 9}),
        "an invocation of one workflow",
    ),
    "a workflow that is a text": (
        lambda o, w: o.token(w, o.lets(), args={"workflow": str(w)}),
        "an invocation of one workflow",
    ),
    "an invocation that was changed": (_tampered, "did not sign"),
    "a delegation that was changed": (_swapped, "did not sign"),
    "a delegation that was revoked": (_revoked, "is revoked"),
    "an invocation that was revoked": (_revoked_itself, "is revoked"),
    "a delegation above that was revoked": (_revoked_above, "is revoked"),
    "a delegation in place of the invocation": (lambda o, _: to_token(o.lets(), [o.lets()]), ""),
    "no blocks": (lambda _, __: base64.urlsafe_b64encode(b"\x81" + b"\x00" * 200).rstrip(b"=").decode(), ""),
    "no base64": (lambda _, __: "*" * 400, "base64url"),
    "too long": (lambda _, __: "A" * (TOKEN_CHARS + 1), "at most 8,000 characters"),
}


@pytest.mark.parametrize("name", BAD)
def test_nobody_comes_in_by_a_bad_token(shared: Owned, name: str) -> None:
    """
    401 and one line that says why, over HTTP and WebSocket; it is counted as a guest's, and nothing ran.
    """
    make, why = BAD[name]
    token = make(shared, shared.node.numbers.add_one(7).workflow.cid)
    before = shared.refused()
    status, line = request(
        shared.node,
        "/",
        method="POST",
        body=b'{"jsonrpc":"2.0","id":1,"method":"health"}',
        Authorization=f"Bearer {token}",
    )
    with pytest.raises(InvalidStatus) as refused:
        connect(shared.url, proxy=None, additional_headers={"Authorization": f"Bearer {token}"})

    assert status == refused.value.response.status_code == 401
    assert why in line
    assert line.count("\n") == 1
    assert shared.refused() == before + 2
    assert shared.node.info["last_refused"]["guest"]
    assert shared.node.info["tasks"] == {}


@pytest.mark.parametrize("characters", [9_000, 40_000, 200_000])
def test_a_token_that_no_line_holds_ends_its_connection_alone(shared: Owned, characters: int) -> None:
    """
    Whatever the length of what is shown, the node answers the next client.
    """
    with pytest.raises((InvalidHandshake, OSError, EOFError)):
        connect(
            shared.url,
            proxy=None,
            open_timeout=0.5,  # some are left without an answer (uvicorn)
            additional_headers={"Authorization": f"Bearer {'A' * characters}"},
        )
    try:
        status, _ = request(shared.node, "/", method="POST", body=b"{}", Authorization=f"Bearer {'A' * characters}")
    except (http.client.HTTPException, OSError):
        status = 400

    assert status in {400, 401, 431}
    assert lives(shared.node)


def test_without_a_token_nobody_is_a_guest(shared: Owned) -> None:
    """
    No token at all is 401, as for anybody.
    """
    before = shared.refused()
    with pytest.raises(InvalidStatus) as refused:
        connect(shared.url, proxy=None)

    assert refused.value.response.status_code == 401
    assert b"expected the token of this node" in (refused.value.response.body or b"")
    assert shared.refused() == before


def test_a_token_in_the_address_lets_a_guest_in(shared: Owned) -> None:
    """
    A page cannot set the header of a WebSocket; `?token=` is read as well.
    """
    one = shared.node.numbers.add_one(8)
    token = shared.token(one.workflow.cid, shared.lets())
    with shared.node.client(f"{shared.url}?token={token}") as peer:
        answer = peer.ask("health")

    assert answer["result"] == {"healthy": True}


def test_a_node_without_a_folder_has_no_guests() -> None:
    """
    A node whose store ends with it has no identity that could let anybody in.
    """
    with Session(None) as session, serving(session) as node:
        owned = Owned(node, STRANGER)
        token = owned.token(NOWHERE, owned.lets())
        status, line = request(node, "/", method="POST", body=b"{}", Authorization=f"Bearer {token}")

    assert status == 401
    assert "has no guests" in line


@pytest.mark.parametrize("broken", ["identity.key", "trust.json"])
def test_while_the_owners_files_cannot_be_read_nobody_is_a_guest(tmp_path: Path, broken: str) -> None:
    """
    A key that others can read, or a policy that is damaged, lets nobody in until its owner mends it; strangers are not told
    where it lies, and the owner's own token works.
    """
    home = tmp_path / "home"
    with owning(home) as owned:
        one = owned.node.numbers.add_one(1)
        token = owned.token(one.workflow.cid, owned.lets())
        with owned.visit(token) as peer:
            if broken == "trust.json":
                (home / broken).write_text("{")
            else:
                (home / broken).chmod(0o644)
            inside = ask(peer, one.workflow)
        status, line = request(owned.node, "/", method="POST", body=b"{}", Authorization=f"Bearer {token}")
        own, _ = request(owned.node, Authorization=f"Bearer {TOKEN}")

    assert (status, own) == (401, 200)
    assert "ask its owner" in line
    assert str(home) not in line + str(inside)
    assert inside["error"]["code"] == jsonrpc.DENIED


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Host": "evil.example", "Origin": "null"}],
)
def test_a_guests_token_opens_no_page(shared: Owned, headers: dict[str, str]) -> None:
    """
    `Host` and `Origin` are looked at for guests as for everybody.
    """
    token = shared.token(shared.node.numbers.add_one(8).workflow.cid, shared.lets())
    status, _ = request(shared.node, "/", method="POST", body=b"{}", Authorization=f"Bearer {token}", **headers)

    assert status == 403


# --- what a guest may not ---


@pytest.mark.parametrize("method", sorted(openrpc.NAMES - {"health", "subscribe_run_workflow"}))
def test_a_guest_may_run_and_nothing_else(shared: Owned, method: str) -> None:
    """
    Of the node's methods a guest may use those of its own run; of each other it is told so, and the node lives on.
    """
    before = shared.refused()
    with shared.guest(shared.node.numbers.add_one(8).workflow) as peer:
        answer = peer.ask(method, "x")
        after = peer.ask("health")

    if method in {"cancel_workflow", "unsubscribe_run_workflow"}:
        assert answer["result"] is False
    else:
        assert answer["error"] == {
            "code": jsonrpc.DENIED,
            "message": f"{method} is not for guests, who may run workflows",
        }
        assert shared.refused() == before + 1
    assert after["result"] == {"healthy": True}
    assert lives(shared.node)


@pytest.mark.parametrize("path", ["/node", "/metrics", "/rpc_discover"])
def test_a_guest_is_told_nothing_of_the_node(shared: Owned, path: str) -> None:
    """
    What a node says of itself wants its own token.
    """
    token = shared.token(shared.node.numbers.add_one(8).workflow.cid, shared.lets())
    status, _ = request(shared.node, path, Authorization=f"Bearer {token}")

    assert status == 401


def _ipfs(owned: Owned) -> str:
    return f"ipfs://{owned.node.numbers._cid}"


STRANGE: dict[str, tuple[Callable[[Owned], Workflow], str]] = {
    "another operation": (
        lambda o: Workflow.of([task(_ipfs(o), 1, op="ipvm/build")]),
        "guests run wasm/run and nothing else, found ipvm/build",
    ),
    "one that nobody knows": (lambda o: Workflow.of([task(_ipfs(o), 1, op="wasm/Run")]), "wasm/run and nothing else"),
    "a module on the web": (
        lambda _: Workflow.of([task("https://127.0.0.1:1/a.wasm", 1)]),
        "guests name a module by ipfs:// and its CID, found https://127.0.0.1:1/a.wasm",
    ),
    "a module of the owner's files": (lambda _: Workflow.of([task("file:///etc/passwd", 1)]), "by ipfs:// and its CID"),
    "a module in a folder": (lambda o: Workflow.of([task(f"{_ipfs(o)}/a.wasm", 1)]), "by ipfs:// and its CID"),
    "a gateway": (
        lambda o: Workflow.of([task(f"https://127.0.0.1:1/ipfs/{o.node.numbers._cid}", 1)]),
        "by ipfs:// and its CID",
    ),
    "a name of the owner's": (lambda _: Workflow.of([task("numbers", 1)]), "by ipfs:// and its CID"),
    "a bare CID": (lambda o: Workflow.of([task(str(o.node.numbers._cid), 1)]), "by ipfs:// and its CID"),
    "one bad task among good ones": (
        lambda o: Workflow.of([task(_ipfs(o), 1), task(_ipfs(o), 2), task("file:///etc/passwd", 1)]),
        "by ipfs:// and its CID",
    ),
    "no task": (lambda _: Workflow(tasks=()), "with a task"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_guests_do_not_run_is_refused_whatever_they_were_let(shared: Owned, name: str) -> None:
    """
    However wide the delegation, a guest makes the node read no file and no address, and run nothing but pure tasks.
    """
    make, why = STRANGE[name]
    workflow = make(shared)
    before = shared.refused()
    with shared.guest(workflow, shared.lets(policy=[["!=", ".op", "nothing"]], ends=None)) as peer:
        answers = [ask(peer, workflow), ask(peer, workflow)]

    assert [answer["error"]["code"] for answer in answers] == [jsonrpc.DENIED] * 2
    assert all(why in answer["error"]["message"] for answer in answers)
    assert shared.refused() == before + 2
    assert shared.node.info["tasks"] == {}


def test_what_the_workflow_awaits_is_in_it(owned: Owned) -> None:
    """
    A guest gets neither the owner's answer of a task that it cannot write down, nor has it run: its workflow is whole.
    """
    m = owned.node.numbers
    secret, declared = m.add_one(41), m.add_one(51)
    secret.result()
    owned.node.session.keep_tasks([declared.task])
    answers = []
    for inner in (secret, declared):
        outer = m.add_one(inner)
        alone = Workflow.of([one for one in outer.workflow.tasks if one.run.cid == outer.cid])
        with owned.guest(alone) as peer:
            answers.append(ask(peer, alone))

    assert [answer["error"]["code"] for answer in answers] == [jsonrpc.DENIED] * 2
    assert all("which is no task of this workflow" in answer["error"]["message"] for answer in answers)
    assert owned.node.session.count_known([declared.cid]) == 0


POLICIES: dict[str, tuple[list[Any], bool]] = {
    "this module": ([["==", ".rsc", "ipfs://MODULE"]], True),
    "another module": ([["==", ".rsc", f"ipfs://{NOWHERE}"]], False),
    "this operation": ([["==", ".op", "wasm/run"]], True),
    "another operation": ([["==", ".op", "wasm/other"]], False),
    "these functions": ([["like", ".func", "add*"]], True),
    "another function": ([["==", ".func", "add_one"], ["!=", ".func", "add_one"]], False),
    "what tasks do not have": ([["==", ".user", "alice"]], False),
}


@pytest.mark.parametrize("name", POLICIES)
def test_each_task_meets_the_policy(shared: Owned, name: str) -> None:
    """
    A delegation's policy is held against the module, the operation and the function of every task.
    """
    policy, allowed = POLICIES[name]
    numbers = shared.node.numbers
    policy = [[*rest, str(value).replace("MODULE", str(numbers._cid))] for *rest, value in policy]
    workflow = numbers.add_one(8).workflow
    with shared.guest(workflow, shared.lets(policy=policy)) as peer:
        answer = ask(peer, workflow)
        ident = answer.get("result")
        if ident is not None:
            peer.next()

    if allowed:
        assert type(ident) is str
    else:
        assert answer["error"]["code"] == jsonrpc.DENIED
        assert "add_one (" in answer["error"]["message"]


def test_one_task_that_does_not_meet_the_policy_keeps_all_from_running(owned: Owned) -> None:
    """
    The task is named, and nothing of the workflow ran.
    """
    m = owned.node.numbers
    workflow = Workflow.of([m.add_one(1).task, m.add_one(2).task, m.add(1, 2).task])
    with owned.guest(workflow, owned.lets(policy=[["==", ".func", "add_one"]])) as peer:
        answer = ask(peer, workflow)

    assert answer["error"]["message"].startswith(f"add ({m.add(1, 2).cid.short}): ")
    assert owned.node.info["tasks"] == {}


def test_a_token_is_for_one_workflow(owned: Owned) -> None:
    """
    Another workflow, although each of its tasks would be let, wants a token of its own.
    """
    m = owned.node.numbers
    with owned.guest(m.add_one(1).workflow) as peer:
        answer = ask(peer, m.add_one(2).workflow)

    assert answer["error"]["code"] == jsonrpc.DENIED
    assert str(m.add_one(2).workflow.cid) in answer["error"]["message"]


def test_a_policy_that_takes_for_ever_is_given_up(owned: Owned, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A guest may have written a delegation itself: what it costs to look at is bounded for the workflow as a whole.
    """
    from ipvm_kernel.node import guests

    monkeypatch.setattr(guests, "_PATIENCE", -1.0)
    one = owned.node.numbers.add_one(1)
    with owned.guest(one.workflow) as peer:
        answer = ask(peer, one.workflow)

    assert answer["error"]["code"] == jsonrpc.DENIED
    assert "against the policies" in answer["error"]["message"]


# --- revocation, and other people's runs ---


def test_what_is_revoked_counts_no_longer_at_the_next_run(owned: Owned) -> None:
    """
    A run that is under way is not stopped; the next one is refused, on the same connection, as is whoever comes in.
    """
    spin, proof = owned.node.numbers.spin(1), owned.lets()
    token = owned.token(spin.workflow.cid, proof)
    with owned.visit(token) as peer:
        ident = peer.run(spin.workflow, events=True)
        started = peer.next()
        owned.node.session.policy.revoke(proof.cid)
        again = ask(peer, spin.workflow)
        running = owned.node.info["running"]
        cancelled = peer.ask("cancel_workflow", ident)
        ended = peer.next()
    with pytest.raises(InvalidStatus):
        connect(owned.url, proxy=None, additional_headers={"Authorization": f"Bearer {token}"})

    assert started["event"] == "task_started"
    assert again["error"]["code"] == jsonrpc.DENIED
    assert "is revoked" in again["error"]["message"]
    assert (running, cancelled["result"], ended["how"]) == (1, True, "cancelled")


def test_what_ends_while_a_guest_is_here_counts_no_longer(owned: Owned, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Times are looked at with each run too.
    """
    one = owned.node.numbers.add_one(1)
    with owned.visit(owned.token(one.workflow.cid, owned.lets(), lifetime=30)) as peer:
        peer.run(one.workflow)
        peer.next()
        now = time.time()
        monkeypatch.setattr("ipvm_kernel.node.guests.time.time", lambda: now + 200)
        answer = ask(peer, one.workflow)

    assert answer["error"]["code"] == jsonrpc.DENIED
    assert "ended" in answer["error"]["message"]


def test_a_guest_cancels_its_own_runs_alone(owned: Owned) -> None:
    """
    Neither the owner's run nor another guest's is stopped, by its id or by the CID of its workflow; one's own is, by HTTP too.
    """
    spin = owned.node.numbers.spin(1)
    token = owned.token(spin.workflow.cid, owned.lets())
    with (
        owned.node.client() as owner,
        owned.guest(spin.workflow, key=OTHER) as other,
        owned.visit(token) as peer,
    ):
        idents = [owner.run(spin.workflow, events=True), other.run(spin.workflow, events=True)]
        others = [peer.ask("cancel_workflow", what)["result"] for what in (*idents, str(spin.workflow.cid))]
        running = owned.node.info["running"]
        peer.run(spin.workflow, events=True)
        body = f'{{"jsonrpc":"2.0","id":1,"method":"cancel_workflow","params":["{spin.workflow.cid}"]}}'
        status, text = request(owned.node, "/", method="POST", body=body.encode(), Authorization=f"Bearer {token}")
        ended = [peer.next() for _ in range(2)][-1]
        left = owned.node.info["running"]
        all_of_them = owner.ask("cancel_workflow", str(spin.workflow.cid))

    assert others == [False, False, False]
    assert running == 2
    assert (status, '"result":true' in text) == (200, True)
    assert ended.get("how", ended.get("event")) in {"cancelled", "workflow_failed", "workflow_finished"}
    assert left == 2
    assert all_of_them["result"] is True


def test_guests_leave_room_for_the_owner(tmp_path: Path) -> None:
    """
    Of the runs and of the places that a node has, guests get half; the owner's own come in, and run, although guests spin.
    """
    with owning(tmp_path / "home", max_runs=2, max_connections=4) as owned:
        m = owned.node.numbers
        workflow = Workflow.of([m.spin(n).task for n in range(8)])
        with owned.guest(workflow) as peer, owned.guest(workflow, key=OTHER):
            peer.run(workflow)
            busy = ask(peer, workflow)
            with pytest.raises(InvalidStatus) as full:
                connect(
                    owned.url,
                    proxy=None,
                    additional_headers={"Authorization": f"Bearer {owned.token(workflow.cid, owned.lets())}"},
                )
            with owned.node.client() as owner:
                owner.run(m.add_one(1).workflow)
                told = owner.next()
            peer.ask("cancel_workflow", str(workflow.cid))

    assert busy["error"]["code"] == jsonrpc.BUSY
    assert "1 workflow of guests run already" in busy["error"]["message"]
    assert full.value.response.status_code == 503
    assert b"2 guests are here already" in (full.value.response.body or b"")
    assert told["receipt"]["out"] == ["ok", 2]


def test_the_owner_of_a_key_is_a_guest_like_others(owned: Owned) -> None:
    """
    The owner may come in by a signature instead of the token, from elsewhere say, and may then do what guests may.
    """
    one = owned.node.numbers.add_one(1)
    token = to_token(invoke(owned.key, owned.key.did, "/ipvm/run", {"workflow": one.workflow.cid}, []))
    with owned.visit(token) as peer:
        peer.run(one.workflow)
        told, stopped = peer.next(), peer.ask("stop")

    assert told["receipt"]["out"] == ["ok", 2]
    assert stopped["error"]["code"] == jsonrpc.DENIED


def test_any_task_is_what_allow_lets(owned: Owned) -> None:
    """
    What `ipvm trust allow` gives away is what these tests give away.
    """
    from ipvm_kernel.node.grants import grant
    from ipvm_kernel.trust.delegation import read_delegation

    made = grant(owned.key, GUEST.did, ends=_HENCE)

    assert made.links[0].policy == read_delegation(owned.lets(policy=ANY_TASK)).policy
    assert (made.links[0].command, made.owner, made.audience) == ("/ipvm/run", owned.key.did, GUEST.did)
