"""The same workflow on Homestar and here: the same receipts, to the bit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.ipld import dagjson
from ipvm_kernel.session import Session
from tests.homestar.modules import typed

if TYPE_CHECKING:
    from tests.daemons import Homestar, Kubo

pytestmark = pytest.mark.peer("homestar", "kubo", "zig", "wasm-tools")


@pytest.fixture(scope="module")
def pair(homestar: Homestar, kubo: Kubo) -> tuple[Session, Homestar, object]:
    """
    A session with a module of many types, which Homestar can fetch too.
    """
    session = Session(None)
    return session, homestar, typed(session, kubo)


CALLS = {
    "integer": lambda m: m.add_one(41),
    "wrapped integer": lambda m: m.add_one(2147483647),
    "text": lambda m: m.join("Round", "about"),
    "text that is a CID": lambda m: m.join("bafybeibk42jwhq7w2zcpe6q3wgtleugp3ymfs3pa5ge", "rjmnakqihhqx4zq"),
    "text that says null": lambda m: m.join("nu", "ll"),
    "float": lambda m: m.half(7),
    "bytes": lambda m: m.reversed(b"hello"),
    "no bytes": lambda m: m.reversed(b""),
    "list": lambda m: m.doubled([1, -2, 2**40]),
    "record": lambda m: m.moved({"x": 1, "y": 2.25, "name": "here"}),
    "some": lambda m: m.small(3),
    "none": lambda m: m.small(30),
    "ok": lambda m: m.checked(3),
    "err": lambda m: m.checked(-3),
    "chain": lambda m: m.add_one(m.add_one(m.add_one(1))),
    "limits": lambda m: m.add_one.with_options(time=10, memory="64 MiB", fuel=10**9)(m.add_one(7)),
    "nonce": lambda m: m.add_one.with_options(nonce="1sod60ml6g26mfhsrsa0")(5),
}


@pytest.mark.parametrize("name", CALLS)
def test_homestar_gives_the_same_receipts(pair: tuple[Session, Homestar, object], name: str) -> None:
    """
    Whatever is declared in a notebook has, on a Homestar node, the same workflow, the same invocations and the same
    receipts, by CID.
    """
    session, homestar, module = pair
    handle = CALLS[name](module)
    run = session.run(handle).wait()
    notices = homestar.run(json.loads(dagjson.dumps(handle.workflow.to_ipld())), receipts=len(handle.workflow))

    ours = {str(receipt.ran): str(receipt.cid) for receipt in run.receipts}
    assert {notice.ran: notice.cid for notice in notices} == ours
    assert {notice.workflow for notice in notices} == {str(handle.workflow.cid)}
