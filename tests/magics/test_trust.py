"""Whom the user trusts, who may run here, and who the user is: `ipvm trust` and `ipvm id`, as they are typed."""

from __future__ import annotations

import json
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest

import ipvm
from ipvm_kernel.errors import BadInput, IpvmError, NotFound
from ipvm_kernel.ipld import CID
from ipvm_kernel.node.grants import read_grant
from ipvm_kernel.session import Session, set_default, trust_policy
from ipvm_kernel.session.arriving import load_archive
from ipvm_kernel.trust import Key, Policy, attest
from tests.guests import NUMBERS
from tests.magics.conftest import WAT
from tests.magics.test_verbs import shell
from tests.sharing.people import people

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALICE, BOB = (Key(bytes([n]) * 32).did for n in (1, 2))
WRONG = "did:key:z6MkmT9j6fVZqzXV8u2wVVSu49gYSRYGSQnduWXF6foAJrqa"  # its last letter was a z
PEER = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
MODULE = CID.of(b"a module", "raw", "sha2-256")
NODE = CID.of(b"a statement", "dag-cbor", "sha2-256")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """
    A store of the user's own, and the default session on it.
    """
    folder = tmp_path / "home"
    monkeypatch.setenv("IPVM_HOME", str(folder))
    with Session(folder) as made:
        set_default(made)
        yield folder
        set_default(None)


def told(*words: str) -> str:
    """Return what a command says that does what it should."""
    status, out, err = shell("trust", *words)
    assert (status, err) == (0, "")
    return out


def data(*words: str) -> list[Any]:
    """Return its lines with `--json`."""
    return [json.loads(line) for line in told(*words, "--json").splitlines()]


# --- whose receipts are used ---


def test_without_words_nobody_is_trusted_at_first(home: Path) -> None:
    """
    The listing says what that means, and writes nothing.
    """
    assert told() == "nobody is trusted: only what was made here is used\n"
    assert data() == []
    assert not (home / "trust.json").exists()
    assert not (home / "identity.key").exists()


@pytest.mark.parametrize("words", [(ALICE,), ("add", ALICE)])
def test_a_key_is_added_by_its_did(home: Path, words: tuple[str, ...]) -> None:
    """
    With the word or without, for all modules; the listing has it, and the file is for the user's eyes.
    """
    first = told(*words)
    listed = told()

    assert first == f"{ALICE} is trusted for all modules: what it signed is used where the task is asked for\n"
    assert listed.splitlines()[0].split() == ["who", "name", "for", "since"]
    assert listed.splitlines()[1].startswith(f"{ALICE}  -     all modules  {time.strftime('%Y-')}")
    assert data() == [{"did": ALICE, "name": "", "modules": []}]
    assert Policy(home / "trust.json").keys.keys() == {ALICE}
    assert stat.S_IMODE((home / "trust.json").stat().st_mode) == 0o600


def test_a_key_is_trusted_for_some_modules_under_a_name(home: Path) -> None:
    """
    Modules add up; a module may be named by its CID or by the short form of one that is in the store.
    """
    module = ipvm.module(WAT.encode(), "demo")
    first = told(ALICE, "--for", str(MODULE), "--name", "alice")
    second = data("add", ALICE, "--for", module._cid.short)

    assert f"is trusted for the module {MODULE}:" in first
    assert second == [{"did": ALICE, "module": {"/": str(module._cid)}, "released": False}]
    assert data() == [{"did": ALICE, "name": "alice", "modules": [str(MODULE), str(module._cid)]}]
    assert f"alice  {MODULE}, {module._cid}" in told()
    assert told(ALICE).startswith(f"{ALICE} is trusted for all modules")
    assert data() == [{"did": ALICE, "name": "alice", "modules": []}]


def test_what_a_person_calls_somebody_is_shown_without_control_characters(home: Path) -> None:
    """
    A name that was copied from elsewhere moves no cursor.
    """
    told(ALICE, "--name", "\x1b[31malice\u202e" + "x" * 500)

    assert "\x1b" not in told() + json.dumps(data(), ensure_ascii=False)
    assert "\\x1b[31malice" in told()


@pytest.mark.parametrize("words", [("remove", ALICE), (ALICE, "--remove"), ("add", ALICE, "--remove")])
def test_a_key_is_removed(home: Path, words: tuple[str, ...]) -> None:
    """
    It is trusted no longer; to remove it again says that it was not.
    """
    told(ALICE)

    assert data(*words) == [{"removed": True, "may_run_by": []}]
    assert told(*words) == f"{ALICE} was not trusted\n"
    assert data() == []


def test_a_peer_is_trusted_and_removed_by_its_id(home: Path) -> None:
    """
    Peers stand in the list beside keys.
    """
    assert told(PEER) == f"{PEER} is trusted; 0 receipts of it may be used now\n"
    assert data() == [{"peer_id": PEER}]
    assert told().splitlines()[1].startswith(f"{PEER}  a peer  all modules")
    assert told("remove", PEER) == f"{PEER} is trusted no longer\n"
    assert data() == []


def test_a_key_that_was_put_aside_is_listed_and_comes_back_by_adding_it(home: Path) -> None:
    """
    The listing says why it was put aside; to add it takes that back, and says so.
    """
    trust_policy().quarantine(BOB, "divergence: it said 8 where 7 came out")

    assert f"put aside: {BOB}: divergence: it said 8 where 7 came out" in told()
    assert data() == [{"quarantined": BOB, "why": "divergence: it said 8 where 7 came out"}]
    assert "; it was put aside, and counts again:" in told("add", BOB)
    assert data() == [{"did": BOB, "name": "", "modules": []}]


def test_a_quorum(home: Path) -> None:
    """
    How many keys must say the same is set, and listed when it is more than one.
    """
    assert told("quorum", "2") == "a receipt of others is used if 2 keys that you trust signed it\n"
    assert "2 keys must say the same" in told()
    assert data("quorum", "1") == [{"quorum": 1}]
    assert "must say the same" not in told()


def test_optimism(home: Path) -> None:
    """
    On with a part that is run again, off, and the part stays as it was set.
    """
    assert "anybody signed are used, and 5% of them are run again" in told("optimistic", "on")
    assert "optimistic: what anybody signed is used, and 5% of it is run again" in told()
    assert data("optimistic", "on", "--sample", "20%") == [{"optimistic": True, "sample": 0.2}]
    assert data("optimistic", "off") == [{"optimistic": False, "sample": 0.2}]
    assert told("optimistic", "off") == "receipts are used if you trust who signed them\n"
    assert data("optimistic", "on", "--sample", "all") == [{"optimistic": True, "sample": 1.0}]


def test_a_statement_is_revoked_once(home: Path) -> None:
    """
    There is no way back, and the second time says so.
    """
    assert told("revoke", str(NODE)) == f"{NODE} counts no longer\n"
    assert told("revoke", str(NODE)) == f"{NODE} was revoked already\n"
    assert data("revoke", str(NODE)) == [{"revoked": {"/": str(NODE)}}]
    assert "1 statement revoked" in told()
    assert trust_policy().revoked == {NODE}


def test_a_statement_in_the_store_is_revoked_by_its_short_form(home: Path) -> None:
    """
    As all CIDs that are here it may be named by eight characters.
    """
    block = attest(
        Key(bytes([1]) * 32),
        receipt=CID.of(b"r"),
        instruction=CID.of(b"i"),
        engine="wasmtime",
        features=[],
        now=time.time(),
    )
    from ipvm_kernel.session import default

    default().store.put(block)

    assert told("revoke", block.cid.short) == f"{block.cid} counts no longer\n"


# --- who may run here ---


def test_somebody_may_run_on_ones_node(home: Path) -> None:
    """
    What is printed holds the grant, how it is used and how it is taken back; it is signed by the user's key, which is made for
    it, and holds for thirty days.
    """
    before = time.time()
    letter = told("allow", ALICE)
    made = read_grant(letter)
    link = made.links[0]

    assert letter.startswith(f"{ALICE} may run tasks of any module on your node until 20")
    assert "ipvm run WORKFLOW --node ws://HOST:PORT --grant FILE" in letter
    assert letter.endswith(f"to take it back: ipvm trust revoke {made.cid}\n")
    assert made.owner == shell("id")[1].splitlines()[0]
    assert (link.audience, link.subject, link.command) == (ALICE, made.owner, "/ipvm/run")
    assert link.ends is not None
    assert before + 30 * 86_400 <= link.ends <= time.time() + 30 * 86_400 + 1


def test_what_was_allowed_is_listed_until_it_is_revoked(home: Path) -> None:
    """
    With its name, module, end and the CID that takes it back; two to the same guest stand beside each other.
    """
    [first] = data("allow", ALICE, "--name", "alice", "--for", str(MODULE), "--until", "12 h")
    [second] = data("allow", ALICE)
    listed = told()
    rows = data()
    told("revoke", first["cid"]["/"])
    after = data()
    told("revoke", f"grant/{ALICE}@{CID.parse(second['cid']['/']).short}")

    assert first["module"] == {"/": str(MODULE)}
    assert first["ends"] - time.time() == pytest.approx(12 * 3600, abs=60)
    assert read_grant(first["grant"]).cid == CID.parse(first["cid"]["/"])
    assert "may run here" in listed
    assert f"alice  {MODULE}" in listed
    assert f"{ALICE}  -      any module" in listed
    assert [(row["may_run"], row["name"], row["module"], row["cid"]) for row in rows] == [
        (ALICE, "alice", str(MODULE), first["cid"]),
        (ALICE, ALICE, "", second["cid"]),
    ]
    assert [row["cid"] for row in after] == [second["cid"]]
    assert data() == []
    assert "2 statements revoked" in told()


def test_what_has_ended_is_not_listed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Nobody has to revoke what holds no longer.
    """
    told("allow", ALICE, "--until", "10 min")
    now = time.time()
    monkeypatch.setattr("ipvm.commands.trusting.time.time", lambda: now + 700)

    assert data() == []


def test_to_trust_and_to_let_run_are_two_things(home: Path) -> None:
    """
    Whom one lets run is not believed for that, and whoever is believed may not run; to remove a key says what it may do still.
    """
    told(ALICE)
    [made] = data("allow", BOB)
    assert trust_policy().keys.keys() == {ALICE}
    removed = told("remove", BOB)

    assert removed.splitlines() == [
        f"{BOB} was not trusted",
        f"it may run here still, until you say: ipvm trust revoke {made['cid']['/']}",
    ]
    assert data("remove", BOB) == [{"removed": False, "may_run_by": [made["cid"]]}]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1 h", 3600), ("90min", 5400), (" 2  D ", 172_800), ("1w", 604_800), ("36500 d", 3_153_600_000)],
)
def test_how_long_it_holds(home: Path, text: str, seconds: int) -> None:
    """
    A number and min, h, d or w, with a space or without.
    """
    [made] = data("allow", ALICE, "--until", text)

    assert made["ends"] - time.time() == pytest.approx(seconds, abs=60)


def test_a_session_without_a_folder_lets_nobody_in(session: Session) -> None:
    """
    It has no key to sign with, and says what to do.
    """
    with pytest.raises(NotFound, match="set IPVM_HOME to a folder that can be written"):
        ipvm.trust("allow", ALICE)
    with pytest.raises(NotFound, match="no key: set IPVM_HOME"):
        ipvm.id()


@pytest.mark.parametrize("kept", [False, True])
def test_trust_is_about_the_session_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """
    On another store than `$IPVM_HOME`, or in memory, a word of trust counts in that session, and for it alone.
    """
    monkeypatch.setenv("IPVM_HOME", str(tmp_path / "home"))
    with people(tmp_path, "alice") as (alice,):
        task = alice.numbers().add(1, 2)
        archive = alice.share(alice.notebook([task]))
        with Session(tmp_path / "other" if kept else None) as session:
            set_default(session)
            load_archive(session, archive)
            told("add", alice.key.did)
            again = session.module(NUMBERS, "numbers").add(1, 2)
            counts = session.run([again]).wait().progress.counts
            assert trust_policy() is session.policy
            assert data()[0]["did"] == alice.key.did
            set_default(None)

    assert counts == {"replayed": 1}
    assert not (tmp_path / "home" / "trust.json").exists()
    assert (tmp_path / "other" / "trust.json").exists() == kept
    assert trust_policy().keys == {}


# --- who one is ---


def test_who_one_is(home: Path) -> None:
    """
    The DID stays the same; its secret is made at the first question, for the user's eyes alone, and is in no answer.
    """
    first, again = shell("id"), shell("id", "--json")
    key = home / "identity.key"
    did = first[1].splitlines()[0]

    assert first[0] == again[0] == 0
    assert did.startswith("did:key:z6Mk")
    assert json.loads(again[1]) == {"did": did}
    assert f"its secret is kept beside {home}" in first[1]
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    loaded = Key.load(home, create=False)
    assert loaded is not None
    assert loaded.did == did
    assert key.read_bytes().hex() not in first[1] + again[1]


def test_a_key_that_others_can_read_is_nobodys(home: Path) -> None:
    """
    Neither `id` nor `allow` uses it; the message names the file.
    """
    shell("id")
    (home / "identity.key").chmod(0o640)
    told_id, told_allow = shell("id"), shell("trust", "allow", ALICE)

    assert told_id[0] == told_allow[0] == 1
    assert "identity.key" in told_id[2]
    assert "identity.key" in told_allow[2]
    assert data() == []


# --- what is no command ---

BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "another word": (
        ("believe", ALICE),
        "expected one of add, remove, allow, quorum, optimistic, revoke, found 'believe'",
    ),
    "neither DID nor peer": (("alice",), "expected the id of a peer"),
    "half a DID": ((ALICE[:-3],), "of 56 characters"),
    "a DID with a letter changed": ((WRONG,), "Is a character wrong"),
    "a DID of another method": (("did:web:example.org",), "Expected a DID such as did:key:z6Mk"),
    "a peer with a space": (("add", PEER[:20] + " " + PEER[20:]), "expected the id of a peer"),
    "control characters": (("add", "did:key:\x1b[31m"), "x1b[31m"),
    "nobody to add": (("add",), "expected a DID or the id of a peer after 'add', found nothing"),
    "nobody to remove": (("remove",), "expected a DID or the id of a peer after 'remove'"),
    "nobody to allow": (("allow",), "expected a DID after 'allow'"),
    "no number": (("quorum",), "expected a number after 'quorum'"),
    "no switch": (("optimistic",), "expected on or off after 'optimistic'"),
    "nothing to revoke": (("revoke",), "expected the CID of a statement after 'revoke'"),
    "a quorum of none": (("quorum", "0"), "a quorum of 1 to 1,000 keys"),
    "a quorum of too many": (("quorum", "1001"), "a quorum of 1 to 1,000 keys"),
    "a quorum in words": (("quorum", "two"), "expected a number of keys, found 'two'"),
    "a fraction of keys": (("quorum", "1.5"), "expected a number of keys, found '1.5'"),
    "half a switch": (("optimistic", "maybe"), "expected on or off, found 'maybe'"),
    "no part": (("optimistic", "on", "--sample", "some"), "a part such as 5%, found 'some'"),
    "a part of none": (("optimistic", "on", "--sample", "0%"), "a part such as 5%, found '0%'"),
    "more than all": (("optimistic", "on", "--sample", "101%"), "a part such as 5%, found '101%'"),
    "a part of a key": ((ALICE, "--sample", "5%"), "expected --sample with optimistic alone, found it with add"),
    "revoke no CID": (("revoke", "never"), "nothing here is called 'never'"),
    "revoke half a CID": (("revoke", str(NODE)[:-2]), "Is a character missing, or wrong?"),
    "a module that is none": ((ALICE, "--for", "numpy"), "nothing here is called 'numpy'"),
    "a peer for a module": ((PEER, "--for", str(MODULE)), "it is trusted for all modules"),
    "a peer with a name": ((PEER, "--name", "bob"), "it is trusted for all modules"),
    "to remove for a module": (("remove", ALICE, "--for", str(MODULE)), "--for with add or allow alone"),
    "a quorum with a name": (("quorum", "2", "--name", "x"), "--name with add or allow alone"),
    "to remove a quorum": (("quorum", "2", "--remove"), "--remove with add or remove alone"),
    "to remove what is allowed": (("allow", ALICE, "--remove"), "--remove with add or remove alone"),
    "to trust until": ((ALICE, "--until", "3 d"), "expected --until with allow alone, found it with add"),
    "to allow a peer": (("allow", PEER), "Expected a DID such as did:key:z6Mk"),
    "to allow a name": (("allow", "alice"), "Expected a DID such as did:key:z6Mk"),
    "until nothing": (("allow", ALICE, "--until", ""), "expected a time such as '30 d' or '12 h', found ''"),
    "until no unit": (("allow", ALICE, "--until", "30"), "expected a time such as"),
    "until another unit": (("allow", ALICE, "--until", "3 moons"), "expected a time such as"),
    "until now": (("allow", ALICE, "--until", "0 d"), "expected a time such as"),
    "until before": (("allow", ALICE, "--until=-3 d"), "expected a time such as"),
    "until the end of time": (("allow", ALICE, "--until", "999999999 w"), "expected a time such as"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_command_changes_nothing(home: Path, name: str) -> None:
    """
    One line says what was expected and what was found, and nobody is trusted, distrusted or let in by mistake.
    """
    told(BOB)
    words, why = BAD[name]
    before = (home / "trust.json").read_bytes()
    status, out, err = shell("trust", *words)

    assert (status, out) == (1, "")
    assert why in err
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert (home / "trust.json").read_bytes() == before
    assert [row for row in data() if "may_run" in row] == []


def test_three_words_are_no_command(home: Path) -> None:
    """
    What the table does not know is a matter of usage, with status 2.
    """
    status, out, err = shell("trust", "add", ALICE, BOB)

    assert (status, out) == (2, "")
    assert "Usage: ipvm trust" in err


def test_a_policy_that_is_damaged_is_said_to_be(home: Path) -> None:
    """
    Nothing is written over it, whatever is typed.
    """
    (home / "trust.json").write_text("{")
    for words in ((), (ALICE,), ("quorum", "2"), ("revoke", str(NODE)), ("remove", ALICE)):
        status, _, err = shell("trust", *words)

        assert status == 1
        assert "trust.json" in err
    assert (home / "trust.json").read_text() == "{"


def test_from_python_the_same_words_say_the_same(home: Path) -> None:
    """
    `ipvm.trust(...)` takes what the command takes, and modules as objects.
    """
    module = ipvm.module(WAT.encode(), "demo")
    ipvm.trust("add", ALICE, module=module, name="alice")
    view = ipvm.trust()

    assert view.data == [{"did": ALICE, "name": "alice", "modules": [str(module._cid)]}]
    assert "<pre" in view.html
    with pytest.raises(BadInput):
        ipvm.trust("quorum", "none")
    with pytest.raises(IpvmError):
        ipvm.trust("revoke", "none")
