"""A session of ours and the real Homestar among peers: what one has computed, the other does not compute again."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.homestar import capsules
from ipvm_kernel.ipld import dagjson
from ipvm_kernel.session import admit_peer
from tests.daemons import Homestar, get
from tests.exchange.members import Member, eventually
from tests.guests import NUMBERS
from tests.homestar.modules import typed
from tests.peers import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipvm_kernel.handles import Handle
    from tests.daemons import Kubo

pytestmark = pytest.mark.peer("homestar", "kubo", "zig", "wasm-tools", "libp2p")


class Between(Member):
    """A session, a Homestar node, and the line between them."""

    def __init__(self, homestar: Homestar, kubo: Kubo) -> None:
        told = json.loads(get(homestar.port, "/node")[1])
        self.homestar = homestar
        self.peer = str(told["static"]["peer_id"])
        address = next(one for one in told["dynamic"]["listeners"] if "127.0.0.1" in one)
        super().__init__(heartbeat=0.3, call=[f"{address}/p2p/{self.peer}"])
        self.module = typed(self.session, kubo)
        self.until(lambda: self.peering.network.mesh)
        time.sleep(1.5)  # Homestar grafts us into its mesh

    def until(self, holds: Any) -> None:
        """Wait until something holds."""
        eventually(holds, told=self.events)

    def theirs(self, handle: Handle) -> list[bool]:
        """Run a workflow on Homestar, and return which of its receipts were replayed.

        What it replays is told so fast that it may be over before its own WebSocket listens (seen: its log has "0 tasks left
        to run" and the receipts, its client nothing). So it is asked again.
        """
        workflow = json.loads(dagjson.dumps(handle.workflow.to_ipld()))
        for _ in range(8):
            told = [notice.replayed for notice in self.homestar.run(workflow, timeout=4)]
            if told:
                return told
        return []

    def theirs_on_file(self, handle: Handle) -> int:
        """Return how many tasks of a workflow have a receipt in Homestar's database."""
        with contextlib.closing(sqlite3.connect(f"file:{self.homestar.database}?mode=ro", uri=True)) as database:
            wanted = [str(cid) for cid in handle.workflow.by_instruction()]
            asked = (
                f"SELECT count(DISTINCT instruction) FROM receipts WHERE instruction IN ({','.join('?' * len(wanted))})"
            )
            return int(database.execute(asked, wanted).fetchone()[0])


@pytest.fixture(scope="module")
def between(kubo: Kubo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Between]:
    """
    A Homestar node of this module's own, connected to a session.
    """
    folder: Path = tmp_path_factory.mktemp("homestar")
    with Homestar.start(needs("homestar"), folder, ipfs=kubo.port) as homestar:
        made = Between(homestar, kubo)
        yield made
        made.close()


def test_what_homestar_computed_arrives_and_spares_the_computation_once_it_is_trusted(between: Between) -> None:
    """
    Receipts of a workflow that Homestar ran arrive over gossip, are unverified, and after `trust` are replayed.
    """
    chain = between.module.add_one(between.module.add_one(41))
    there = between.theirs(chain)
    between.until(lambda: len(between.heard("received_receipt_pubsub")) >= 2)
    before = between.session.why(chain).verdict
    admit_peer(between.session, between.policy, between.peer)
    run = between.session.run(chain).wait()

    assert there == [False, False]
    assert {fields["publisher"] for fields in between.heard("received_receipt_pubsub")} == {between.peer}
    assert before == "unverified"
    assert run.counts == {"replayed": 2}
    assert chain.result() == 43


def test_what_is_computed_here_and_published_spares_homestar(between: Between) -> None:
    """
    Homestar replays a workflow of which it computed nothing, since the receipts came over gossip.
    """
    chain = between.module.add_one(between.module.add_one(500))
    between.session.run(chain).wait().raise_for_failures()
    between.session.keep_tasks(chain.workflow.tasks)
    between.session.store.put(chain.workflow.block)
    told = between.peering.publish_named(chain.workflow.cid)
    between.until(lambda: between.theirs_on_file(chain) == 2)

    assert (len(told["sent"]), told["left"]) == (2, [])
    assert between.theirs(chain) == [True, True]


def test_an_error_is_kept_from_homestar(between: Between) -> None:
    """
    A trap that is on file here is not sent, so Homestar does not take its payload for a value.
    """
    bad = between.session.module(NUMBERS, "numbers").divide(1, 0)
    bad.exception()
    before = len(between.heard("published_receipt_pubsub"))
    sent, left = between.peering.publish([bad.cid])

    assert between.session.known(bad.cid) is not None
    assert (sent, len(between.heard("published_receipt_pubsub"))) == ([], before)
    assert "an error is for nobody else" in left[0]


def test_a_receipt_is_found_in_homestars_records(between: Between) -> None:
    """
    Homestar keeps a capsule under the instruction's CID, and gives it to whoever asks.
    """
    handle = between.module.add_one(700)
    between.theirs(handle)
    found = between.peering.network.find(handle.cid.bytes, 5)
    receipt = capsules.read_receipt(found[0][1])

    assert [peer for peer, _ in found] == [between.peer]
    assert receipt.value == 701
    assert receipt.ran == handle.task.invocation.cid


def test_homestar_asks_us_about_a_workflow_and_is_answered(between: Between) -> None:
    """
    A node that meets a workflow for the first time asks its providers how far it is; a published one is answered.
    """
    chain = between.module.add_one(between.module.add_one(900))
    between.session.run(chain).wait().raise_for_failures()
    between.peering.offer(chain.workflow, "mine")
    between.theirs(chain)
    between.until(lambda: any(f["name"] == "mine" for f in between.heard("sent_workflow_info")))

    told = next(fields for fields in between.heard("sent_workflow_info") if fields["name"] == "mine")
    assert (told["num_tasks"], told["progress_count"], told["requestor"]) == (2, 2, between.peer)


def test_homestar_puts_its_records_here_too(between: Between) -> None:
    """
    A session of ours takes the records that Homestar wants kept, so that its quorum is nearer.
    """
    handle = between.module.join("left", "right")
    between.theirs(handle)
    between.until(lambda: between.session.store.receipts_of(handle.cid))
    time.sleep(0.5)

    assert not between.peering.dropped
    assert between.session.run(handle).wait().counts == {"replayed": 1}  # its peer is trusted by now
