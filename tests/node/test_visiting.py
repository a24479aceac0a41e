from __future__ import annotations

import itertools
import json
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from ipvm import cli
from ipvm_kernel.errors import BadInput, Forged, IpvmError, Malformed, Mismatch, NotAllowed, NotFound
from ipvm_kernel.ipld import CID, dagjson
from ipvm_kernel.model import Workflow
from ipvm_kernel.node.control import NodeSilent
from ipvm_kernel.node.grants import TOKEN_CHARS, find_grant, grant, keep, kept, module_of, read_grant, token_for
from ipvm_kernel.node.visiting import visit
from ipvm_kernel.session import Session
from ipvm_kernel.store import MemoryStore
from ipvm_kernel.trust.delegation import delegate
from ipvm_kernel.trust.invocation import read_invocation, to_token
from ipvm_kernel.trust.keys import Key
from tests.node.conftest import serving
from tests.node.guesting import GUEST, OTHER, STRANGER, Owned, owning, task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from websockets.sync.server import ServerConnection

    from ipvm_kernel import Run

OWNER = Key(bytes([31]) * 32)
MODULE = CID.of(b"a module", "raw", "sha2-256")
ENDS = time.time() + 3600


# --- grants ---


def test_a_grant_comes_out_of_a_letter_as_it_was(tmp_path: Path) -> None:
    """
    It is one word; the whole of what `ipvm trust allow` printed, or a letter with it, does as well, in a file or not.
    """
    made = grant(OWNER, GUEST.did, module=MODULE, ends=ENDS)
    letter = f"Dear {GUEST.did},\n\n  {made.text}\n\nyours, {OWNER.did} https://example.org/{'x' * 100}\n"
    (tmp_path / "letter.txt").write_text(letter)

    assert made.text.isascii()
    assert " " not in made.text
    assert read_grant(letter) == find_grant(made.text) == find_grant(str(tmp_path / "letter.txt")) == made
    assert (made.owner, made.audience, module_of(made.links[0])) == (OWNER.did, GUEST.did, str(MODULE))
    assert made.cid == made.blocks[0].cid


def test_a_token_is_an_invocation_of_one_workflow_by_the_guest() -> None:
    """
    It names the delegations in order, is for the owner, and ends within minutes.
    """
    made = grant(OWNER, GUEST.did, ends=ENDS)
    from ipvm_kernel.trust.invocation import from_token

    block, proofs = from_token(token_for(GUEST, made, MODULE))
    asked = read_invocation(block)

    assert (asked.issuer, asked.subject, asked.audience) == (GUEST.did, OWNER.did, OWNER.did)
    assert (asked.command, asked.args, asked.proofs) == ("/ipvm/run", {"workflow": MODULE}, (made.cid,))
    assert asked.ends is not None
    assert 0 < asked.ends - time.time() <= 301
    assert list(proofs) == [made.cid]


def test_a_grant_is_for_whom_it_is_for() -> None:
    """
    With somebody else's grant nothing is signed; the message says whose it is and whom to ask.
    """
    with pytest.raises(NotAllowed, match=rf"is for {GUEST.did}, and you are {OTHER.did}: ask {OWNER.did} for one"):
        token_for(OTHER, grant(OWNER, GUEST.did, ends=ENDS), MODULE)


def test_a_grant_that_went_through_too_many_hands_is_not_shown() -> None:
    """
    A token that no request can hold is refused here, and not by a node that says nothing.
    """
    keys = [OWNER, *(Key(bytes([n]) * 32) for n in range(40, 55)), GUEST]
    links = [
        delegate(one, other.did, "/ipvm/run", [], None, subject=OWNER.did) for one, other in itertools.pairwise(keys)
    ]
    held = read_grant(to_token(links[0], links[1:]))

    with pytest.raises(BadInput, match=rf"{TOKEN_CHARS:,} characters, found one of .* through 16 hands"):
        token_for(GUEST, held, MODULE)


_TEXT = grant(OWNER, GUEST.did, ends=ENDS).text

NO_GRANTS: dict[str, tuple[str, type[IpvmError], str]] = {
    "nothing": ("", Malformed, "found no such words"),
    "a short word": ("grant", Malformed, "found no such words"),
    "two": (f"{_TEXT} {_TEXT}", Malformed, "found 2 such words"),
    "half of one": (_TEXT[: len(_TEXT) // 2], IpvmError, ""),
    "one letter changed": (_TEXT[:60] + ("A" if _TEXT[60] != "A" else "B") + _TEXT[61:], Forged, ""),
    "a long word": ("x" * 400, IpvmError, ""),
    "an invocation": (token_for(GUEST, grant(OWNER, GUEST.did, ends=ENDS), MODULE), IpvmError, ""),
    "too long": ("A" * 60_000, IpvmError, "at most 49,152"),
}


@pytest.mark.parametrize("name", NO_GRANTS)
def test_what_is_no_grant_is_refused_in_one_line(name: str) -> None:
    """
    Whatever a person gives in place of one, nothing is signed.
    """
    text, kind, why = NO_GRANTS[name]
    with pytest.raises(kind) as refused:
        read_grant(text)

    assert why in refused.value.message
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 500


def test_a_file_that_is_not_there_or_too_large_is_named(tmp_path: Path) -> None:
    """
    The message says which file.
    """
    (tmp_path / "large").write_bytes(b"x" * 70_000)

    with pytest.raises(NotFound, match=r"no grant at .*nothing: No such file"):
        find_grant(str(tmp_path / "nothing"))
    with pytest.raises(NotFound, match="Is a directory"):
        find_grant(str(tmp_path))
    with pytest.raises(BadInput, match=r"more than 65,536 bytes: .*large"):
        find_grant(str(tmp_path / "large"))


def test_the_owner_keeps_what_was_granted() -> None:
    """
    Each can be named later, also two to the same guest, and a pin of another kind under such a name is passed over.
    """
    store = MemoryStore()
    first, second = grant(OWNER, GUEST.did, ends=ENDS + 9), grant(OWNER, GUEST.did, module=MODULE, ends=ENDS)
    keep(store, first, "bob")
    keep(store, second)
    store.pin("grant/mine", store.put_file(b"something else", "input"))

    assert [(name, link.cid) for name, link in kept(store)] == [(GUEST.did, second.cid), ("bob", first.cid)]
    assert [module_of(link) for _, link in kept(store)] == [str(MODULE), ""]


# --- visits ---


def ended(run: Run) -> None:
    """Wait until a run is over."""
    assert run.wait(20) is run


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Owned]:
    """
    A node of an owner's.
    """
    with owning(tmp_path / "home") as made:
        yield made


def visiting(owned: Owned, workflow: Workflow, **more: Any) -> Run:
    """Return a guest's run, not begun."""
    options: dict[str, Any] = {"key": GUEST, "grant": grant(owned.key, GUEST.did, ends=ENDS), **more}
    return visit(owned.url, workflow, source=owned.node.session, **options)


def test_a_visit_is_a_run(owned: Owned) -> None:
    """
    Its answers come as those of a run here: computed, then replayed; what failed, what that kept from running, and what was
    skipped.
    """
    m = owned.node.numbers
    bad, good = m.divide(1, 0), m.add_one(7)
    workflow = Workflow.of([one.task for one in (bad, good, m.add_one(bad), m.add_one(good.error))])
    first, second = (visiting(owned, workflow, name="mine").wait(20) for _ in range(2))

    assert first.counts == {"computed": 1, "failed": 1, "blocked": 1, "skipped": 1}
    assert second.counts == {"replayed": 2, "blocked": 1, "skipped": 1}
    assert [answer.instruction for answer in first.failures] == [bad.cid]
    found = first.answer(good.cid)
    assert found is not None
    assert found.receipt is not None
    assert found.receipt.value == 8
    assert first.receipt_cids[good.cid] == second.receipt_cids[good.cid]
    assert "4 tasks: 1 computed, 1 failed" in first.summary()


def test_a_visit_that_is_cancelled_stops_the_work_there(owned: Owned) -> None:
    """
    The spinning task ends on the node, and the run here.
    """
    run = visiting(owned, owned.node.numbers.spin(1).workflow)
    run.start()
    deadline = time.monotonic() + 20
    while run.counts.get("running") != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    run.cancel()
    ended(run)

    assert run.counts == {"cancelled": 1}
    assert _idle(owned)


def test_whoever_stops_listening_stops_the_work_there(owned: Owned) -> None:
    """
    Leaving the loop, as Ctrl-C does, cancels the run on the node.
    """
    m = owned.node.numbers
    for answer in visiting(owned, Workflow.of([m.add_one(1).task, m.spin(1).task])):
        assert answer.how == "computed"
        break

    assert _idle(owned)


def _idle(owned: Owned) -> bool:
    deadline = time.monotonic() + 20
    while owned.node.info["running"] and time.monotonic() < deadline:
        time.sleep(0.01)
    return not owned.node.info["running"]


def test_what_the_owner_takes_back_is_said_to_the_guest(owned: Owned) -> None:
    """
    Once the grant is revoked the guest is told so, in the node's words; so is one that asks for too much.
    """
    m = owned.node.numbers
    given = grant(owned.key, GUEST.did, module=MODULE, ends=ENDS)
    with pytest.raises(NotAllowed, match=r"the node refused: add_one \(.*Ask did:key"):
        ended(visiting(owned, m.add_one(1).workflow, grant=given))
    owned.node.session.policy.revoke(given.cid)
    with pytest.raises(NotAllowed, match=r"refused: .*is revoked"):
        ended(visiting(owned, m.add_one(1).workflow, grant=given))


def test_ones_own_node_needs_no_grant(owned: Owned) -> None:
    """
    With the token in the address, or where none is asked for, a workflow runs as on any client's behalf.
    """
    one = owned.node.numbers.add_one(1)
    run = visit(owned.node.url, one.workflow, source=owned.node.session).wait(20)

    assert run.counts == {"computed": 1}
    with pytest.raises(NotAllowed, match="expected the token of this node"):
        ended(visit(owned.url, one.workflow, source=owned.node.session))


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:1337", "http://127.0.0.1:1337", "file:///etc/passwd", "ws://", "ws://["]
)
def test_what_is_no_address_of_a_node_is_refused(url: str) -> None:
    """
    The message says what one looks like.
    """
    with Session(None) as session, pytest.raises(BadInput, match=r"such as ws://127.0.0.1:1337"):
        ended(visit(url, Workflow(tasks=()), source=session))


def test_where_no_node_is_the_address_is_named_and_the_token_is_not() -> None:
    """
    A token that stands in the address is in no message.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with (
            Session(None) as session,
            pytest.raises(NodeSilent, match=f"no node answers at ws://127.0.0.1:{port}/: ") as no,
        ):
            ended(visit(f"ws://127.0.0.1:{port}/?token=hush", Workflow(tasks=()), source=session))

    assert "hush" not in no.value.message


# --- a node that is none ---

ONE = Workflow.of([task(f"ipfs://{MODULE}", 1)])
CID_OF_ONE = ONE.tasks[0].run.cid


@contextmanager
def lying(script: Callable[[ServerConnection], None], **more: Any) -> Iterator[str]:
    """Serve as a node that says whatever it likes."""

    def handle(connection: ServerConnection) -> None:
        try:
            connection.recv(timeout=10)
            script(connection)
            connection.recv(timeout=10)
        except (ConnectionClosed, TimeoutError):
            pass

    with serve(handle, "127.0.0.1", 0, **more) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def begun(connection: ServerConnection) -> None:
    connection.send('{"jsonrpc":"2.0","id":1,"result":"a"}')


def notify(connection: ServerConnection, value: Any, ident: str = "a") -> None:
    data = list(dagjson.dumps(value).encode())
    frame = {"jsonrpc": "2.0", "method": "x", "params": {"subscription": ident, "result": data}}
    connection.send(json.dumps(frame))


def saying(*values: Any) -> Callable[[ServerConnection], None]:
    """Return a script of some notifications."""

    def script(connection: ServerConnection) -> None:
        begun(connection)
        for value in values:
            notify(connection, value)

    return script


def sending(*frames: str | bytes) -> Callable[[ServerConnection], None]:
    """Return a script of some frames."""

    def script(connection: ServerConnection) -> None:
        for frame in frames:
            connection.send(frame)

    return script


RECEIPT: dict[str, Any] = {"ran": CID_OF_ONE, "out": ["ok", 2], "meta": {}, "iss": None, "prf": []}
_STARTED = '{"jsonrpc":"2.0","id":1,"result":"a"}'

LIES: dict[str, tuple[Callable[[ServerConnection], None], type[IpvmError], str]] = {
    "no JSON": (sending("hello"), Malformed, "JSON-RPC"),
    "bytes": (sending(b"\xff\xfe"), Malformed, "JSON-RPC"),
    "deep": (sending("[" * 100_000), Malformed, "JSON-RPC"),
    "a list": (sending("[]"), Malformed, "JSON-RPC"),
    "no id": (sending("{}"), Malformed, "the id of a run"),
    "an id that is none": (sending('{"result":{"a":1}}'), Malformed, "the id of a run"),
    "an error": (
        sending('{"error":{"code":-32009,"message":"busy\\u001b[31m"}}'),
        IpvmError,
        r"the node refused: busy\\x1b",
    ),
    "a refusal": (sending('{"error":{"code":-32001,"message":"not you"}}'), NotAllowed, "the node refused: not you"),
    "an error that is none": (sending('{"error":{}}'), IpvmError, "the node refused"),
    "numbers that are no bytes": (
        sending(_STARTED, '{"params":{"subscription":"a","result":[300]}}'),
        Malformed,
        "notifications",
    ),
    "a count for bytes": (
        sending(_STARTED, '{"params":{"subscription":"a","result":"xyz"}}'),
        Malformed,
        "notifications",
    ),
    "no result": (sending(_STARTED, '{"params":{"subscription":"a"}}'), Malformed, "notifications"),
    "a notification that is a number": (saying(7), Malformed, "notifications"),
    "an end that is none": (saying({"instruction": CID_OF_ONE, "how": "eaten"}), Malformed, "how .* ended"),
    "a state that is no end": (saying({"instruction": CID_OF_ONE, "how": "running"}), Malformed, "how .* ended"),
    "a receipt that is none": (
        saying({"instruction": CID_OF_ONE, "how": "computed", "receipt": {"out": 1}}),
        Malformed,
        "not a receipt",
    ),
    "another receipt": (
        saying({"instruction": CID_OF_ONE, "how": "computed", "receipt": RECEIPT, "receipt_cid": MODULE}),
        Mismatch,
        "another than its CID says",
    ),
    "a receipt without a CID": (
        saying({"instruction": CID_OF_ONE, "how": "computed", "receipt": RECEIPT}),
        Mismatch,
        "another than its CID says",
    ),
    "an end too early": (saying({"event": "workflow_finished", "error": None}), IpvmError, "what came of 1 task"),
    "an end with an error": (
        saying({"event": "workflow_failed", "error": "disk\u202e full"}),
        IpvmError,
        r"the node broke off: disk\\u202e full",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_node_that_lies_is_found_out(name: str) -> None:
    """
    Whatever it sends, a visit ends with an error of one line, without control characters, and takes nothing for a receipt that
    is none.
    """
    script, kind, why = LIES[name]
    with Session(None) as session, lying(script) as url:
        run = visit(url, ONE, source=session)
        with pytest.raises(kind, match=why) as found:
            ended(run)

    assert not run.receipts
    assert found.value.message.isprintable()


def test_a_node_that_hangs_up_is_said_to() -> None:
    """
    The connection's end is told, and that what was done is on the node's file.
    """

    def script(connection: ServerConnection) -> None:
        begun(connection)
        connection.close(1011, "tired")

    with (
        Session(None) as session,
        lying(script) as url,
        pytest.raises(NodeSilent, match=r"closed: tired; .* on its file"),
    ):
        ended(visit(url, ONE, source=session))


def test_no_redirect_is_followed() -> None:
    """
    A server that sends its caller elsewhere, to a node on the caller's own machine say, is no node.
    """
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    met: list[str] = []

    def elsewhere(connection: ServerConnection, request: Any) -> Response | None:
        met.append(request.path)
        return Response(302, "Found", Headers({"Location": "/elsewhere"}), b"") if len(met) == 1 else None

    with (
        Session(None) as session,
        lying(saying(), process_request=elsewhere) as url,
        pytest.raises(NodeSilent, match=r"no node answers at .*redirect"),
    ):
        ended(visit(url, ONE, source=session))

    assert met == ["/"]


def test_what_a_node_says_of_others_and_twice_is_passed_over() -> None:
    """
    Tasks that were not asked for, another subscription, and a second answer of one task change nothing.
    """
    from ipvm_kernel.model import Receipt

    receipt = Receipt.from_ipld(RECEIPT)
    good = {
        "instruction": CID_OF_ONE,
        "how": "computed",
        "receipt": RECEIPT,
        "receipt_cid": receipt.cid,
        "seconds": -1.0,
    }

    def script(connection: ServerConnection) -> None:
        begun(connection)
        connection.send("{}")
        notify(connection, {"instruction": CID_OF_ONE, "how": "failed"}, "b")
        notify(connection, {"instruction": MODULE, "how": "failed"})
        notify(connection, {"how": "failed"})
        notify(connection, {"event": "task_started", "instruction": CID_OF_ONE})
        notify(connection, good)
        notify(connection, {"instruction": CID_OF_ONE, "how": "failed"})
        notify(connection, {"event": "workflow_finished"})

    with Session(None) as session, lying(script) as url:
        run = visit(url, ONE, source=session).wait(20)

    assert run.counts == {"computed": 1}
    assert [(answer.receipt, answer.seconds) for answer in run.answers] == [(receipt, 0.0)]


# --- the verb ---


def test_two_people_share_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    From the first word to the last: who are you, come in, run, take it back.
    """

    def typed(home: str, *words: str) -> tuple[int, str, str]:
        from ipvm_kernel.session import default, set_default

        monkeypatch.setenv("IPVM_HOME", str(tmp_path / home))
        set_default(None)
        try:
            status = cli.main(list(words))
            default().close()
        finally:
            set_default(None)
        out, err = capsys.readouterr()
        return status, out, err

    did = typed("guest", "id")[1].splitlines()[0]
    with Session(tmp_path / "owner") as session:
        numbers = session.module(b'(module (func (export "one") (result i32) (i32.const 1)))')
        numbers.one().workflow.save(tmp_path / "workflow.json")
    _, letter, _ = typed("owner", "trust", "allow", did, "--for", str(numbers._cid))
    (tmp_path / "letter").write_text(letter)
    words = ["run", str(tmp_path / "workflow.json"), "--grant", str(tmp_path / "letter")]
    with Session(tmp_path / "owner") as session, serving(session) as node:
        there = ["--node", f"ws://127.0.0.1:{node.server.port}"]
        first, second = typed("guest", *words, *there), typed("guest", *words, *there, "--json")
        somebody = typed("somebody", *words, *there)
        nowhere, again = typed("guest", *words), typed("guest", *words[:2], *there, "--rerun")
        typed("owner", "trust", "revoke", letter.split()[-1])
        third = typed("guest", *words, *there)

    assert first[0] == second[0] == 0
    assert first[1].startswith("computed  one ")
    assert "1 task: 1 computed" in first[1]
    assert json.loads(second[1])["how"] == "replayed"
    assert json.loads(second[1])["receipt"]["out"] == ["ok", 1]
    assert (somebody[0], f"this grant is for {did}, and you are did:key:" in somebody[2]) == (1, True)
    assert (nowhere[0], "--node ws://HOST:PORT" in nowhere[2]) == (1, True)
    assert (again[0], "either --rerun or --node" in again[2]) == (1, True)
    assert (third[0], "is revoked" in third[2]) == (1, True)


def test_a_stranger_has_no_way_in(owned: Owned) -> None:
    """
    A grant that a stranger wrote for this node's owner is refused there.
    """
    forged = delegate(STRANGER, GUEST.did, "/ipvm/run", [], None, subject=owned.key.did)
    held = read_grant(to_token(forged))
    with pytest.raises(NotAllowed, match=r"the node at .* refused: "):
        ended(visiting(owned, owned.node.numbers.add_one(1).workflow, grant=held))
