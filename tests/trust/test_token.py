from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, LimitExceeded, Malformed
from ipvm_kernel.ipld import encode
from ipvm_kernel.trust.delegation import delegate
from ipvm_kernel.trust.invocation import allowed, from_token, invoke, read_invocation, to_token
from tests.trust.samples import ALICE, BOB, CAROL, NOW

RUN = "/ipvm/run"
TO_ALICE = delegate(CAROL, ALICE.did, RUN, [], None)
TO_BOB = delegate(ALICE, BOB.did, RUN, [], None, subject=CAROL.did)


def test_a_token() -> None:
    """
    An invocation and its chain go as one word into the head of a request, and come out as they were.
    """
    asked = invoke(BOB, CAROL.did, RUN, {}, [TO_ALICE.cid, TO_BOB.cid], now=NOW)
    token = to_token(asked, [TO_ALICE, TO_BOB])
    found, proofs = from_token(token)

    assert token.isascii()
    assert not set(token) & set("=+/ \n")
    assert (found, proofs) == (asked, {TO_ALICE.cid: TO_ALICE, TO_BOB.cid: TO_BOB})
    assert allowed(found, proofs, audience=CAROL.did, now=NOW).issuer == BOB.did
    assert len(token) < 2500


@given(text=st.text(max_size=40) | st.binary(max_size=60).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_no_word_is_taken_for_a_token(text: str) -> None:
    """
    Any text that comes in place of a token is refused as one.
    """
    with pytest.raises((Malformed, LimitExceeded)):
        read_invocation(from_token(text)[0])


def spelled(value: object) -> str:
    return base64.urlsafe_b64encode(encode(value)).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        to_token(TO_ALICE) + "=",
        to_token(TO_ALICE) + "\n",
        " " + to_token(TO_ALICE),
        to_token(TO_ALICE)[:-1],
        to_token(TO_ALICE)[:-1] + chr(ord(to_token(TO_ALICE)[-1]) + 1),
        "é",
        spelled([]),
        spelled({}),
        spelled("x"),
        spelled(["x"]),
        spelled([b"x", [b"y"]]),
        spelled([b"x"] * 18),
        "A" * 50_000,
    ],
)
def test_a_token_has_one_spelling(text: str) -> None:
    """
    A token that was cut, padded or filled with something else is refused.
    """
    with pytest.raises((Malformed, LimitExceeded), match="Expected"):
        from_token(text)


def test_a_token_is_bounded() -> None:
    """
    What does not fit into the head of a request is not made.
    """
    big = [delegate(ALICE, BOB.did, RUN, [], None, meta={"much": "x" * 20_000}) for _ in range(2)]

    for proofs in (big, [TO_ALICE] * 17):
        with pytest.raises(BadInput, match="at most 49,152 characters and 16 delegations"):
            to_token(TO_ALICE, proofs)
