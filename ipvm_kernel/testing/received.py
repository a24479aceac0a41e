"""What every store promises about receipts from elsewhere whose tasks are not here, as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel.store import Entry, Received
from ipvm_kernel.testing.samples import filing, task

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.store import Store


def received(value: Ipld = 1, *, trusted: bool = False, at: float = 0.0) -> Received:
    """Return the receipt of `task()` as it comes from elsewhere: without its task."""
    made = filing(task(), value)
    entry = Entry(instruction=task().run.cid, func="f", rsc=task().run.rsc, how="loaded", receipt=made.receipt.cid)
    if at:
        entry.at = at
    return Received(made.receipt, entry, trusted)


class ReceivedContract:
    """A part of `StoreContract`."""

    def test_a_receipt_without_its_task(self, store: Store) -> None:
        """A receipt whose task is not here is kept, is found by its instruction, and is not used."""
        came = received()
        store.file(came)
        store.sync()
        found = store.on_file([task().run.cid])[task().run.cid]

        assert found.receipt == came.receipt
        assert (found.own, found.admitted, found.trusted) == (False, False, False)
        assert store.get(came.receipt.cid) == came.receipt.block
        assert store.size(task().run.cid) is None

    def test_trust_grows(self, store: Store) -> None:
        """The same receipt, loaded again with trust, is trusted; filed with its task, it is admitted, and stays so."""
        cid = task().run.cid
        states = []
        for came in (received(), received(trusted=True), received(), filing(task(), own=False), received(trusted=True)):
            store.file(came)
            store.sync()
            found = store.on_file([cid])[cid]
            states.append((found.admitted, found.trusted))

        assert states == [(False, False), (False, True), (False, True), (True, False), (True, False)]
        assert len(store.receipts_of(cid)) == 1

    def test_a_trusted_receipt_is_examined_first(self, store: Store) -> None:
        """Of several receipts that are not admitted, one that is trusted answers before an earlier one that is not."""
        store.file(received(1, at=1))
        store.file(received(2, at=2, trusted=True))
        store.sync()

        assert store.on_file([task().run.cid])[task().run.cid].trusted
