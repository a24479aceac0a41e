"""The fixtures of the UCAN working group for 1.0.0. `IPVM_UCAN_FIXTURES` names their folder, `fixtures/1.0.0` of ucan-wg/spec."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from ipvm_kernel.errors import Forged, NotAllowed
from ipvm_kernel.ipld import Block, dagjson
from ipvm_kernel.trust import Key
from ipvm_kernel.trust.delegation import delegate, read_delegation
from ipvm_kernel.trust.invocation import Invocation, allowed, read_invocation
from ipvm_kernel.trust.predicates import understood, unmet
from tests.trust.samples import named

pytestmark = pytest.mark.skipif(
    "IPVM_UCAN_FIXTURES" not in os.environ,
    reason="IPVM_UCAN_FIXTURES names the folder fixtures/1.0.0 of github.com/ucan-wg/spec",
)

# What each error of theirs is here.
ERRORS = {
    "Expired": (Forged, "which ended"),
    "TooEarly": (Forged, "which begins"),
    "InvalidSignature": (Forged, "a signature"),
    "InvalidClaim": (NotAllowed, "to whom the chain leads|says of nothing whose it is"),
    "UnavailableProof": (NotAllowed, "Send it along"),
    "InvalidAudience": (NotAllowed, "Expected a delegation by|to whom the chain leads"),
    "InvalidSubject": (NotAllowed, "Expected a delegation (of what belongs to|by)"),
    "MatchError": (NotAllowed, "the policy"),
}


def text(name: str) -> str:
    return (Path(os.environ["IPVM_UCAN_FIXTURES"]) / name).read_text(encoding="utf-8")


def judged(case: Any) -> Invocation:
    block = named(case["invocation"])
    proofs = {proof.cid: proof for proof in map(named, case["proofs"])}
    asked = read_invocation(block)
    return allowed(block, proofs, audience=asked.audience, subject=asked.subject, now=case["time"])


def test_invocations() -> None:
    """
    Every invocation of the working group is allowed or refused as it says, and for the reason that it says.
    """
    cases: Any = dagjson.loads(text("invocation.json"))
    for case in cases["valid"]:
        assert judged(case).command == "/msg/send", case["name"]
    for case in cases["invalid"]:
        error, why = ERRORS[case["error"]["name"]]
        with pytest.raises(error, match=why):
            judged(case)

    assert (len(cases["valid"]), len(cases["invalid"])) == (7, 13)


def test_delegations() -> None:
    """
    A delegation of the working group has its CID and its fields here, and is made here byte for byte.
    """
    cases = json.loads(text("delegation.json"))
    keys = {name: Key(base64.b64decode(key)[2:]) for name, key in cases["principals"].items()}
    for case in cases["valid"]:
        block: Block = named(base64.b64decode(case["token"]))
        found, payload = read_delegation(block), case["envelope"]["payload"]

        assert str(found.cid) == case["cid"]
        assert (found.issuer, found.audience, found.subject, found.command, found.ends) == tuple(
            payload[name] for name in ("iss", "aud", "sub", "cmd", "exp")
        )
        made = delegate(
            keys["bob"],
            keys["carol"].did,
            payload["cmd"],
            payload["pol"],
            payload["exp"],
            nonce=base64.b64decode(payload["nonce"]),
        )
        assert made == block
    assert len(cases["valid"]) == 1


def test_policies() -> None:
    """
    Every policy of the working group holds of its arguments, or does not, as it says.
    """
    # As published it is no JSON: one map has two braces too many around what is in it.
    mended = re.sub(r'("newsletters": \{)\s*\{', r"\1", text("policy.json"), count=1)
    mended = re.sub(r"\}\s*(\}\s*\}\s*\},\s*\"policies\")", r"\1", mended, count=1)
    cases = json.loads(mended)
    counts = {}
    for kind in ("valid", "invalid"):
        pairs = [(policy, case["args"]) for case in cases[kind] for policy in case["policies"]]
        counts[kind] = len(pairs)
        for policy, args in pairs:
            assert (unmet(understood(policy), args) is None) == (kind == "valid"), policy

    assert counts == {"valid": 17, "invalid": 8}
