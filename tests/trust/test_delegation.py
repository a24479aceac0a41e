from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadInput, Forged, IpvmError, LimitExceeded, Malformed, Mismatch, NotAllowed
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.trust import Key
from ipvm_kernel.trust import delegation as dlg
from ipvm_kernel.trust import invocation as inv
from ipvm_kernel.trust.delegation import delegate, read_delegation
from ipvm_kernel.trust.envelope import seal
from ipvm_kernel.trust.invocation import Invocation, allowed, invoke, read_invocation
from tests.trust.samples import ALICE, BOB, CAROL, MALLORY, NOW, node

if TYPE_CHECKING:
    from collections.abc import Callable

NODE = Key(b"n" * 32)
RUN = "/ipvm/run"
ARGS: dict[str, Any] = {"rsc": "ipfs://bafymodule", "op": "wasm/run", "func": "add_one"}
ONLY_ADD: list[Any] = [["==", ".op", "wasm/run"], ["like", ".func", "add*"]]


def ask(key: Key, *chain: Block, args: dict[str, Any] = ARGS, command: str = RUN, **more: Any) -> Block:
    options: dict[str, Any] = {"now": NOW}
    return invoke(key, NODE.did, command, args, [block.cid for block in chain], **options | more)


def judge(asked: Block, *chain: Block, **more: Any) -> Invocation:
    options: dict[str, Any] = {"audience": NODE.did, "now": NOW}
    return allowed(asked, {block.cid: block for block in chain}, **options | more)


TO_ALICE = delegate(NODE, ALICE.did, "/ipvm", [], NOW + 1000, begins=NOW - 1000)
TO_BOB = delegate(ALICE, BOB.did, RUN, ONLY_ADD, None, subject=NODE.did)


def test_who_owns_may_do_anything() -> None:
    """
    A node's own key needs nobody's leave.
    """
    done = judge(ask(NODE))

    assert (done.issuer, done.command, done.args, done.chain) == (NODE.did, RUN, ARGS, ())


def test_a_chain() -> None:
    """
    Whoever the owner let, and whoever those let, may do what all of them allow.
    """
    one, two = judge(ask(ALICE, TO_ALICE), TO_ALICE), judge(ask(BOB, TO_ALICE, TO_BOB), TO_BOB, TO_ALICE)

    assert [link.audience for link in one.chain] == [ALICE.did]
    assert [link.audience for link in two.chain] == [ALICE.did, BOB.did]
    assert (two.issuer, two.subject, two.audience) == (BOB.did, NODE.did, NODE.did)
    assert two.ends == NOW + 300


def test_many_tasks_of_one_invocation() -> None:
    """
    Where one invocation asks for many tasks, each of them is held against each policy of the chain.
    """
    asked = ask(BOB, TO_ALICE, TO_BOB, args={"workflow": node("w")})
    done = judge(asked, TO_ALICE, TO_BOB, each=[ARGS, ARGS | {"func": "add"}])

    done.check(ARGS)
    with pytest.raises(NotAllowed, match=f"policy of the delegation {TO_BOB.cid}.*'like'.*Ask {ALICE.did}"):
        done.check(ARGS | {"func": "remove"})
    with pytest.raises(NotAllowed, match="policy"):
        judge(asked, TO_ALICE, TO_BOB, each=[ARGS, ARGS | {"func": "remove"}])
    with pytest.raises(NotAllowed, match="policy"):
        judge(asked, TO_ALICE, TO_BOB)


def test_what_will_be_delegated_is_passed_on() -> None:
    """
    A powerline gives another device all that its owner is let, under its own limits.
    """
    phone = Key(b"p" * 32)
    line = delegate(ALICE, phone.did, "/", [["==", ".op", "wasm/run"]], None, powerline=True)

    assert judge(ask(phone, TO_ALICE, line), TO_ALICE, line).issuer == phone.did
    with pytest.raises(NotAllowed, match="policy"):
        judge(ask(phone, TO_ALICE, line, args=ARGS | {"op": "http/get"}), TO_ALICE, line)


def chain(*links: Block, by: Key, **more: Any) -> Callable[[], Invocation]:
    """Return a call that asks with this chain, and brings it along."""
    return lambda: judge(ask(by, *links), *links, **more)


def long_chain() -> tuple[Key, list[Block]]:
    keys = [NODE, *(Key(bytes([n]) * 32) for n in range(50, 67))]
    return keys[-1], [delegate(one, two.did, "/", [], None, subject=NODE.did) for one, two in pairwise(keys)]


TO_MALLORY = delegate(MALLORY, MALLORY.did, "/", [], None, subject=NODE.did)
FORGED: dict[str, tuple[Callable[[], Invocation], type[IpvmError], str]] = {
    "no delegation": (lambda: judge(ask(MALLORY)), NotAllowed, "to whom the chain leads"),
    "somebody else's delegation": (chain(TO_ALICE, by=MALLORY), NotAllowed, f"by {ALICE.did}, to whom the chain leads"),
    "a delegation to oneself": (chain(TO_MALLORY, by=MALLORY), NotAllowed, f"by {NODE.did} in the chain"),
    "one's own things": (
        lambda: judge(invoke(MALLORY, MALLORY.did, RUN, ARGS, [], audience=NODE.did, now=NOW)),
        NotAllowed,
        f"on what belongs to {NODE.did}, found .* {MALLORY.did}",
    ),
    "another audience": (lambda: judge(ask(NODE, audience=ALICE.did)), NotAllowed, f"is for {ALICE.did}"),
    "a missing delegation": (lambda: judge(ask(ALICE, TO_ALICE)), NotAllowed, "Send it along"),
    "a broken chain": (chain(TO_BOB, by=BOB), NotAllowed, f"by {NODE.did} in the chain"),
    "a chain the wrong way round": (chain(TO_BOB, TO_ALICE, by=BOB), NotAllowed, "in the chain"),
    "a link too many": (chain(TO_ALICE, TO_BOB, by=ALICE), NotAllowed, "to whom the chain leads"),
    "another subject in the middle": (
        chain(TO_ALICE, delegate(ALICE, BOB.did, RUN, [], None), by=BOB),
        NotAllowed,
        f"of what belongs to {ALICE.did}",
    ),
    "a powerline at the root": (
        chain(delegate(NODE, BOB.did, RUN, [], None, powerline=True), by=BOB),
        NotAllowed,
        "says of nothing whose it is",
    ),
    "a wider command": (
        lambda: judge(ask(BOB, TO_ALICE, TO_BOB, command="/ipvm/stop"), TO_ALICE, TO_BOB),
        NotAllowed,
        f"covers /ipvm/run. Ask {ALICE.did}",
    ),
    "a command that only looks alike": (
        lambda: judge(ask(ALICE, TO_ALICE, command="/ipvmx"), TO_ALICE),
        NotAllowed,
        "covers /ipvmx, found",
    ),
    "arguments beside the policy": (
        lambda: judge(ask(BOB, TO_ALICE, TO_BOB, args=ARGS | {"op": "http/get"}), TO_ALICE, TO_BOB),
        NotAllowed,
        "'=='",
    ),
    "a policy that a later link leaves out": (
        lambda: judge(
            ask(CAROL, TO_ALICE, TO_BOB, wide := delegate(BOB, CAROL.did, "/", [], None, subject=NODE.did), args={}),
            TO_ALICE,
            TO_BOB,
            wide,
        ),
        NotAllowed,
        str(TO_BOB.cid),
    ),
    "an ended delegation": (chain(TO_ALICE, by=ALICE, now=NOW + 1100), Forged, "ended"),
    "a delegation that begins": (chain(TO_ALICE, by=ALICE, now=NOW - 1100), Forged, "begins in 100 s"),
    "an ended invocation": (lambda: judge(ask(NODE), now=NOW + 400), Forged, "ended 100 s ago"),
    "a revoked delegation": (chain(TO_ALICE, TO_BOB, by=BOB, revoked={TO_ALICE.cid}), Forged, "revoked"),
    "a revoked invocation": (
        lambda: judge(ask(NODE, nonce=b""), revoked={ask(NODE, nonce=b"").cid}),
        Forged,
        "revoked",
    ),
    "an altered delegation": (
        lambda: allowed(
            ask(ALICE, TO_ALICE), {TO_ALICE.cid: Block(TO_ALICE.cid, TO_BOB.data)}, audience=NODE.did, now=NOW
        ),
        Mismatch,
        "do not",
    ),
    "another delegation in its place": (
        lambda: allowed(ask(ALICE, TO_ALICE), {TO_ALICE.cid: TO_BOB}, audience=NODE.did, now=NOW),
        Forged,
        "in its place",
    ),
    "an invocation as a delegation": (
        lambda: judge(ask(ALICE, ask(NODE, nonce=b"")), ask(NODE, nonce=b"")),
        Malformed,
        "kind ucan/dlg",
    ),
    "a delegation as an invocation": (lambda: judge(TO_ALICE), Malformed, "kind ucan/inv"),
    "a chain without end": (lambda: judge(ask(long_chain()[0], *long_chain()[1])), LimitExceeded, "at most 16"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_what_nobody_may_do(kind: str) -> None:
    """
    A chain that is broken, wider than it was, over, or somebody else's gives nobody anything; the message says which link.
    """
    act, error, why = FORGED[kind]
    with pytest.raises(error, match=why) as raised:
        act()

    assert len(raised.value.message) < 600


def test_revoked_at_use() -> None:
    """
    A delegation that was used a moment ago is of no use once it is revoked, nor is what was made from it.
    """
    revoked: set[CID] = set()
    asked = ask(BOB, TO_ALICE, TO_BOB)
    judge(asked, TO_ALICE, TO_BOB, revoked=revoked)
    revoked.add(TO_ALICE.cid)

    with pytest.raises(Forged, match=str(TO_ALICE.cid)):
        judge(asked, TO_ALICE, TO_BOB, revoked=revoked)


def test_a_policy_that_takes_too_long() -> None:
    """
    A policy that nobody could check in time lets nobody do anything.
    """
    slow = delegate(NODE, ALICE.did, RUN, [["all", ".x", ["!=", ".", [n]]] for n in range(1, 450)], None)

    with pytest.raises(NotAllowed, match=f"100,000 steps.*In the delegation {slow.cid}"):
        judge(ask(ALICE, slow, args={"x": [[0] for _ in range(5000)]}), slow)


def test_clocks_differ_by_a_minute() -> None:
    """
    A minute of a wrong clock lets nobody wait, and no more than a minute.
    """
    for moment in (NOW - 1060, NOW + 1060):
        assert judge(ask(ALICE, TO_ALICE, lifetime=None), TO_ALICE, now=moment).issuer == ALICE.did
    for moment in (NOW - 1061, NOW + 1061):
        with pytest.raises(Forged):
            judge(ask(ALICE, TO_ALICE, lifetime=None), TO_ALICE, now=moment)


DELEGATION: dict[str, Any] = {
    "aud": BOB.did,
    "sub": ALICE.did,
    "cmd": RUN,
    "pol": [],
    "nonce": b"1",
    "exp": None,
}
INVOCATION: dict[str, Any] = {"sub": NODE.did, "cmd": RUN, "args": {}, "prf": [], "nonce": b"", "exp": None}
BOTH: list[dict[str, Any]] = [
    {"cmd": "ipvm"},
    {"cmd": ""},
    {"cmd": "/ipvm/"},
    {"cmd": "//"},
    {"cmd": "/a//b"},
    {"cmd": "/IPVM"},
    {"cmd": "/" + "x" * 256},
    {"cmd": None},
    {"exp": 1.5},
    {"exp": -1},
    {"exp": True},
    {"exp": 2**53},
    {"exp": "never"},
    {"nonce": "text"},
    {"nonce": None},
    {"nonce": bytes(129)},
    {"meta": []},
    {"meta": None},
    {"sub": "did:web:example.com"},
    {"sub": 1},
    {"aud": "bob"},
    {"aud": None},
    {"more": 1},
    {"\x1b": 1},
]


@pytest.mark.parametrize(
    "fields", [*BOTH, {"nbf": None}, {"nbf": -1}, {"iat": 1}, {"pol": None}, {"pol": [["x"]]}], ids=str
)
def test_what_is_no_delegation(fields: dict[str, Any]) -> None:
    """
    A delegation with a field too many, or one that is not what it should be, is refused by name.
    """
    with pytest.raises(Malformed, match="In the delegation baf") as raised:
        read_delegation(seal(ALICE, dlg.TAG, DELEGATION | fields))

    assert "\x1b" not in raised.value.message


@pytest.mark.parametrize(
    "fields",
    [
        *BOTH,
        {"sub": None},
        {"nbf": 1},
        {"iat": None},
        {"iat": "now"},
        {"args": []},
        {"args": None},
        {"prf": None},
        {"prf": [str(NODE.did)]},
        {"cause": "baf"},
        {"pol": []},
    ],
    ids=str,
)
def test_what_is_no_invocation(fields: dict[str, Any]) -> None:
    """
    An invocation with a field too many, or one that is not what it should be, is refused by name.
    """
    with pytest.raises(Malformed, match="In the invocation baf"):
        read_invocation(seal(ALICE, inv.TAG, INVOCATION | fields))


@pytest.mark.parametrize("name", sorted(DELEGATION))
def test_every_field_of_a_delegation_is_needed(name: str) -> None:
    """
    What a delegation leaves open has to be said: a missing end is not "for ever".
    """
    with pytest.raises(Malformed, match=f"found {name} missing"):
        read_delegation(seal(ALICE, dlg.TAG, {key: value for key, value in DELEGATION.items() if key != name}))


@pytest.mark.parametrize("name", sorted(INVOCATION))
def test_every_field_of_an_invocation_is_needed(name: str) -> None:
    """
    An invocation says all of it.
    """
    with pytest.raises(Malformed, match=f"found {name} missing"):
        read_invocation(seal(ALICE, inv.TAG, {key: value for key, value in INVOCATION.items() if key != name}))


def test_both_spellings_of_the_kind() -> None:
    """
    Delegations and invocations of the release candidate are read, and what is made here has the final form.
    """
    old = seal(NODE, "ucan/dlg@1.0.0-rc.1", DELEGATION | {"aud": ALICE.did, "sub": NODE.did, "meta": {"a": 1}})
    asked = seal(ALICE, "ucan/inv@1.0.0-rc.1", INVOCATION | {"prf": [old.cid], "iat": int(NOW), "cause": node(1)})

    assert judge(asked, old).issuer == ALICE.did
    assert b"ucan/dlg@1.0.0\xa7" in TO_BOB.data
    assert b"ucan/inv@1.0.0\xa8" in ask(ALICE).data
    with pytest.raises(Malformed, match="kind"):
        read_delegation(seal(NODE, "ucan/dlg@1.0.0-rc.2", DELEGATION))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: delegate(ALICE, "bob", RUN, [], None), id="no DID"),
        pytest.param(lambda: delegate(ALICE, BOB.did, "run", [], None), id="no command"),
        pytest.param(lambda: delegate(ALICE, BOB.did, RUN, [["x"]], None), id="a policy of its own"),
        pytest.param(lambda: delegate(ALICE, BOB.did, RUN, [], float("inf")), id="no moment"),
        pytest.param(lambda: delegate(ALICE, BOB.did, RUN, [], -5), id="a time before 1970"),
        pytest.param(lambda: delegate(ALICE, BOB.did, RUN, [], None, subject="me"), id="no subject"),
        pytest.param(lambda: delegate(ALICE, BOB.did, RUN, [], None, nonce=bytes(200)), id="a long nonce"),
        pytest.param(lambda: delegate(ALICE, BOB.did, RUN, [], None, meta={"much": "x" * 70_000}), id="much to say"),
        pytest.param(lambda: invoke(ALICE, "me", RUN, {}, []), id="a subject that is none"),
        pytest.param(lambda: invoke(ALICE, BOB.did, RUN, {}, [node(n) for n in range(17)]), id="a long chain"),
        pytest.param(lambda: invoke(ALICE, BOB.did, RUN, {"much": "x" * 70_000}, []), id="many arguments"),
        pytest.param(lambda: invoke(ALICE, BOB.did, "/RUN", {}, []), id="a loud command"),
    ],
)
def test_nothing_is_signed_that_nobody_would_take(make: Callable[[], Block]) -> None:
    """
    What a reader would refuse is refused while it is made.
    """
    with pytest.raises(BadInput, match="Expected"):
        make()


def test_two_delegations_differ() -> None:
    """
    A delegation can be revoked without another that says the same.
    """
    one, two = (delegate(ALICE, BOB.did, RUN, [], None, meta={"why": "a course"}) for _ in range(2))

    assert one.cid != two.cid
    assert delegate(ALICE, BOB.did, RUN, [], None, nonce=b"x") == delegate(ALICE, BOB.did, RUN, [], None, nonce=b"x")
