from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadInput, Malformed
from ipvm_kernel.ipld import CID
from ipvm_kernel.trust import Key, Policy, read
from ipvm_kernel.trust.judging import LEEWAY
from tests.trust.samples import (
    ALICE,
    BOB,
    CAROL,
    INSTRUCTION,
    MALLORY,
    MODULE,
    NOW,
    OTHER_MODULE,
    PEER,
    RECEIPT,
    SECRET,
    judge,
    node,
    said,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["file", "memory"])
def policy(request: pytest.FixtureRequest, tmp_path: Path) -> Policy:
    return Policy(tmp_path / "trust.json" if request.param == "file" else None)


def test_nobody_is_trusted_at_first(policy: Policy) -> None:
    """
    A policy that was never changed takes nobody's word, and says how to change that.
    """
    nothing, one = judge(policy), judge(policy, said(ALICE))

    assert (policy.keys, policy.quorum, policy.optimistic, policy.sample) == ({}, 1, False, 0.05)
    assert (policy.quarantined, policy.revoked, policy.peers) == ({}, frozenset(), {})
    assert (nothing.kind, nothing.issuers) == ("unverified", ())
    assert "nobody signed it" in nothing.reason
    assert (one.kind, one.issuers) == ("unverified", (ALICE.did,))
    assert f"ipvm trust add {ALICE.did}" in one.reason


def test_listed_keys(policy: Policy) -> None:
    """
    The word of a listed key is taken, from when it is listed until it is not.
    """
    new, again = policy.trust_key(ALICE.did, name="Alice"), policy.trust_key(ALICE.did)
    listed, other = judge(policy, said(ALICE)), judge(policy, said(BOB))
    gone, gone_again = policy.distrust_key(ALICE.did), policy.distrust_key(ALICE.did)

    assert (new, again, gone, gone_again) == (True, False, True, False)
    assert (listed.kind, listed.issuers) == ("admitted", (ALICE.did,))
    assert "signed by Alice" in listed.reason
    assert other.kind == "unverified"
    assert judge(policy, said(ALICE)).kind == "unverified"


def test_keys_for_modules(policy: Policy) -> None:
    """
    A key can be listed for some modules, and its word is then taken for those only.
    """
    new = policy.trust_key(ALICE.did, MODULE, "Alice")
    here, there, unknown = (judge(policy, said(ALICE), module=module) for module in (MODULE, OTHER_MODULE, None))
    again, more = policy.trust_key(ALICE.did, MODULE), policy.trust_key(ALICE.did, OTHER_MODULE)
    modules = policy.keys[ALICE.did].modules
    everything, narrower = policy.trust_key(ALICE.did), policy.trust_key(ALICE.did, MODULE)

    assert (new, again, more, everything, narrower) == (True, False, True, True, False)
    assert (here.kind, there.kind, unknown.kind) == ("admitted", "unverified", "unverified")
    assert "listed for other modules" in there.reason
    assert modules == (str(MODULE), str(OTHER_MODULE))
    assert policy.keys[ALICE.did].modules == ()
    assert policy.keys[ALICE.did].name == "Alice"
    assert judge(policy, said(ALICE), module=None).kind == "admitted"


def test_a_quorum(policy: Policy) -> None:
    """
    Where two keys must agree, two statements of one are not enough, nor one of a key that is not listed.
    """
    policy.trust_key(ALICE.did)
    policy.trust_key(BOB.did)
    policy.set_quorum(2)
    twice = judge(policy, said(ALICE), said(ALICE, engine="another"), said(CAROL))
    both = judge(policy, said(ALICE), said(CAROL), said(BOB))

    assert policy.quorum == 2
    assert twice.kind == "unverified"
    assert "1 of the 2 listed keys" in twice.reason
    assert (both.kind, both.issuers) == ("admitted", (ALICE.did, BOB.did))


def test_time_is_looked_at_when_a_receipt_is_used(policy: Policy) -> None:
    """
    A statement counts between its beginning and its end, give or take a minute of a wrong clock.
    """
    policy.trust_key(ALICE.did)
    block = said(ALICE, begins=NOW, ends=NOW + 1000)

    def at(now: float) -> str:
        return judge(policy, block, now=now).kind

    assert at(NOW - LEEWAY - 1) == at(NOW + 1000 + LEEWAY + 1) == "unverified"
    assert at(NOW - LEEWAY) == at(NOW) == at(NOW + 1000) == at(NOW + 1000 + LEEWAY) == "admitted"
    assert "no longer holds" in judge(policy, block, now=NOW + 5000).reason
    assert "does not hold yet" in judge(policy, block, now=NOW - 5000).reason


def test_revoked_at_use(policy: Policy) -> None:
    """
    A revoked statement stops counting at once, and others of the same key go on.
    """
    policy.trust_key(ALICE.did)
    block, other = said(ALICE), said(ALICE, engine="another")
    before = judge(policy, block).kind
    new, again = policy.revoke(block.cid), policy.revoke(block.cid)
    after = judge(policy, block)

    assert (before, new, again) == ("admitted", True, False)
    assert after.kind == "unverified"
    assert "revoked" in after.reason
    assert policy.revoked == {block.cid}
    assert judge(policy, block, other).kind == "admitted"


def test_quarantine(policy: Policy) -> None:
    """
    A key in quarantine is not listened to, listed or not, until it is released; the reason is kept for people.
    """
    policy.trust_key(ALICE.did)
    policy.set_optimistic(True, 0.5)
    put, again = policy.quarantine(ALICE.did, "said 3 where we got 2\x1b[31m"), policy.quarantine(ALICE.did, "")
    held = judge(policy, said(ALICE))
    free, free_again = policy.release(ALICE.did), policy.release(ALICE.did)

    assert (put, again, free, free_again) == (True, False, True, False)
    assert (held.kind, held.issuers) == ("unverified", ())
    assert "said 3 where we got 2" in held.reason
    assert "\x1b" not in held.reason
    assert judge(policy, said(ALICE)).kind == "admitted"


def test_optimism_is_for_pure_tasks_that_somebody_signed(policy: Policy) -> None:
    """
    Who takes anybody's word takes it for pure tasks alone, and only where there is somebody's.
    """
    policy.set_optimistic(True)
    kinds = {judge(policy, said(key)).kind for key in (BOB, CAROL)}
    effects = judge(policy, said(BOB), pure=False)

    assert kinds in ({"admitted"}, {"sample"})
    assert effects.kind == "unverified"
    assert "the task has effects" in effects.reason
    assert judge(policy).kind == "unverified"
    policy.set_optimistic(False)
    assert judge(policy, said(BOB)).kind == "unverified"


def test_the_share_that_is_run_again(policy: Policy) -> None:
    """
    Of 10,000 foreign receipts the share that was asked for is run again, to within 2 %, the same ones whenever it is asked.
    """
    said_it = read(said(BOB))
    receipts = [node(n) for n in range(10_000)]

    def sampled(secret: bytes) -> list[bool]:
        kinds = []
        for receipt in receipts:
            statement = type(said_it)(
                **{f: getattr(said_it, f) for f in said_it.__struct_fields__} | {"receipt": receipt}
            )
            kinds.append(policy.judge(receipt, [statement], module=None, pure=True, secret=secret, now=NOW).kind)
        assert set(kinds) == {"admitted", "sample"}
        return [kind == "sample" for kind in kinds]

    for share in (0.05, 0.5):
        policy.set_optimistic(True, share)
        one, same, other = sampled(SECRET), sampled(SECRET), sampled(bytes(32))

        assert abs(sum(one) / 10_000 - share) < 0.02
        assert one == same
        assert one != other
    policy.set_optimistic(True, 1)
    assert judge(policy, said(BOB)).kind == "sample"


def test_a_liar_is_found() -> None:
    """
    Of 60 false receipts at least one is run again with the probability that the share promises: 95 %, to within 2 %.
    """
    policy, statement = Policy(), read(said(BOB))
    policy.set_optimistic(True)
    lies = [node(n) for n in range(60)]
    statements = [
        type(statement)(**{f: getattr(statement, f) for f in statement.__struct_fields__} | {"receipt": lie})
        for lie in lies
    ]
    found = 0
    for reader in range(2_000):
        secret = reader.to_bytes(32, "big")
        found += any(
            policy.judge(lie, [one], module=None, pure=True, secret=secret, now=NOW).kind == "sample"
            for lie, one in zip(lies, statements, strict=True)
        )

    assert abs(found / 2_000 - (1 - 0.95**60)) < 0.02


def test_the_secret_is_made_once(policy: Policy) -> None:
    """
    What decides about samples is made when it is needed, stays, and is long enough that nobody guesses it.
    """
    secret = policy.secret

    policy.set_optimistic(True, 0.5)
    own: dict[str, Any] = {}
    receipts = [node(n) for n in range(50)]
    statements = [
        type(one)(**{f: getattr(one, f) for f in one.__struct_fields__} | {"receipt": receipt})
        for receipt, one in zip(receipts, [read(said(BOB))] * 50, strict=True)
    ]
    mine, given = (
        [
            policy.judge(receipt, [one], module=None, pure=True, now=NOW, **options).kind
            for receipt, one in zip(receipts, statements, strict=True)
        ]
        for options in (own, own | {"secret": secret})
    )

    assert policy.secret == secret
    assert mine == given
    assert len(secret) == 32
    assert Policy().secret != secret
    with pytest.raises(Malformed, match="at least 16 bytes"):
        judge(policy, said(BOB), secret=b"short")


@pytest.mark.parametrize("sample", [0, -0.1, 1.01, math.nan, math.inf])
def test_a_sample_is_a_share(policy: Policy, sample: float) -> None:
    """
    To run nothing again is no policy, nor is more than all.
    """
    with pytest.raises(BadInput, match="above 0 and at most 1"):
        policy.set_optimistic(True, sample)
    assert not policy.optimistic


@pytest.mark.parametrize("k", [0, -1, 1001, 1.5, True])
def test_a_quorum_is_a_number(policy: Policy, k: Any) -> None:
    """
    A quorum of none would admit everything.
    """
    with pytest.raises(BadInput, match="1 to 1,000"):
        policy.set_quorum(k)


@pytest.mark.parametrize("did", ["", PEER, "did:web:example.com", ALICE.did[:-1], ALICE.did.replace("z6Mk", "z6Mm")])
def test_only_keys_are_listed(policy: Policy, did: str) -> None:
    """
    What is no DID of a key is neither listed nor put in quarantine.
    """
    for change in (policy.trust_key, lambda did: policy.quarantine(did, "")):
        with pytest.raises(BadInput, match="DID"):
            change(did)
    assert policy.keys == {}
    assert policy.quarantined == {}


def test_peers_are_kept_apart_from_keys(policy: Policy) -> None:
    """
    To trust a peer and to list a key are two things in one file.
    """
    policy.trust_key(ALICE.did)
    new, again = policy.trust(PEER), policy.trust(PEER)
    gone = policy.distrust(PEER)

    assert (new, again, gone) == (True, False, True)
    assert not policy.trusts(PEER)
    assert set(policy.keys) == {ALICE.did}
    with pytest.raises(BadInput, match="the id of a peer"):
        policy.trust(ALICE.did)


def test_the_stamp_changes_with_the_policy(policy: Policy) -> None:
    """
    What was judged may be remembered as long as the stamp is the same.
    """
    stamps = [policy.stamp]
    for change in (
        lambda: policy.trust(PEER),
        lambda: policy.trust_key(ALICE.did),
        lambda: policy.trust_key(BOB.did, MODULE),
        lambda: policy.distrust_key(BOB.did),
        lambda: policy.set_quorum(2),
        lambda: policy.set_optimistic(True),
        lambda: policy.quarantine(BOB.did, ""),
        lambda: policy.release(BOB.did),
        lambda: policy.revoke(RECEIPT),
    ):
        change()
        stamps.append(policy.stamp)
    before = policy.stamp
    policy.trust(PEER)

    assert len(set(stamps)) == len(stamps)
    assert policy.stamp == before


def test_a_policy_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A policy does not grow without end.
    """
    monkeypatch.setattr("ipvm_kernel.trust.rules.MOST", 2)
    policy = Policy()
    policy.revoke(RECEIPT)
    policy.revoke(INSTRUCTION)

    with pytest.raises(BadInput, match="at most 2 entries in revoked"):
        policy.revoke(node(1))
    assert policy.revoked == {RECEIPT, INSTRUCTION}


def test_of_many_signers_some_are_named() -> None:
    """
    A reason stays one line, however many have signed.
    """
    verdict = judge(Policy(), *(said(Key(bytes([n]) * 32)) for n in range(1, 12)))

    assert "and 8 more, 11 keys that are not listed" in verdict.reason
    assert len(verdict.issuers) == 11
    assert "\n" not in verdict.reason


def test_a_cid_is_compared_by_what_it_names(policy: Policy) -> None:
    """
    A module that was listed is found again from its text.
    """
    policy.trust_key(MALLORY.did, CID.parse(str(MODULE)))

    assert judge(policy, said(MALLORY), module=CID.from_bytes(MODULE.bytes)).kind == "admitted"
