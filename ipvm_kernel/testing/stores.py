"""What every store promises, as tests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.store import Entry, RunRecord
from ipvm_kernel.testing.contents import ContentsContract
from ipvm_kernel.testing.journals import JournalContract
from ipvm_kernel.testing.lineage import LineageContract
from ipvm_kernel.testing.parcels import ParcelContract
from ipvm_kernel.testing.received import ReceivedContract
from ipvm_kernel.testing.samples import filing, task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ipvm_kernel.store import Store


class StoreContract(ContentsContract, JournalContract, LineageContract, ParcelContract, ReceivedContract):
    """Inherit this, say how to open a store, and which of the two promises that not all make it makes.

    Attributes:
        shared: True if a store that is opened twice in one folder is one store.
        durable: True if what was put is there again when the store is opened again.
    """

    shared = False
    durable = False

    def open(self, folder: Path) -> Store:
        """Return the store in a folder, made if it is not there."""
        raise NotImplementedError(f"{type(self).__name__} must say how to open a store")

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """Give an empty store."""
        opened = self.open(tmp_path / "store")
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, store: Store, tmp_path: Path) -> Iterator[Store]:  # noqa: ARG002 - it is opened before this one
        """Give a second way to the same store: opened once more, or opened again after it was closed."""
        if not self.shared:
            pytest.skip("this store is not shared")
        opened = self.open(tmp_path / "store")
        yield opened
        opened.close()

    @pytest.fixture
    def again(self, store: Store, tmp_path: Path) -> Iterator[Callable[[], Store]]:
        """Give a way to close the store and open it again."""
        if not self.durable:
            pytest.skip("this store ends with its process")
        opened: list[Store] = []

        def reopen() -> Store:
            (opened[-1] if opened else store).close()
            opened.append(self.open(tmp_path / "store"))
            return opened[-1]

        yield reopen
        for one in opened:
            one.close()

    # --- receipts -----------------------------------------------------------------------------------------------------

    def test_a_receipt_on_file(self, store: Store) -> None:
        """A receipt answers its instruction and its resolved key, with all that explains it."""
        made = filing(task(1), 2)

        store.file(made)

        found = store.on_file([made.task.run.cid])[made.task.run.cid]
        assert found.receipt == made.receipt
        assert (found.cid, found.ran) == (made.receipt.cid, made.task.invocation.cid)
        assert (found.own, found.admitted, found.here, found.seconds) == (True, True, True, 0.25)
        assert made.key is not None
        assert store.outcome(made.key) == found
        assert [one.cid for one in store.receipts_of(made.task.run.cid)] == [found.cid]
        assert store.get(made.receipt.cid).value() == made.receipt.to_ipld()
        assert store.get(made.task.run.cid).value() == made.task.run.to_ipld()
        assert store.get(made.receipt.ran).value() == made.task.invocation.to_ipld()

    def test_a_large_receipt(self, store: Store) -> None:
        """A receipt of a megabyte comes back as well as a small one."""
        made = filing(task(1), bytes(1_000_000))

        store.file(made)

        found = store.on_file([made.task.run.cid])[made.task.run.cid]
        assert found.receipt == made.receipt

    def test_one_question_for_many(self, store: Store) -> None:
        """Hundreds of instructions are looked up at once; those without a receipt are left out."""
        made = [filing(task(n), n) for n in range(600)]
        for one in made[::2]:
            store.file(one)

        found = store.on_file([one.task.run.cid for one in made])

        assert {cid: one.receipt and one.receipt.value for cid, one in found.items()} == {
            one.task.run.cid: one.receipt.value for one in made[::2]
        }
        assert store.on_file([]) == {}

    def test_our_own_earliest_receipt_answers(self, store: Store) -> None:
        """Of several receipts our own comes first, then the earliest that is admitted, and one that is not comes last."""
        strange = filing(task(1), "strange", own=False, admitted=False, at=1.0, keyed=False)
        theirs = filing(task(1), "theirs", own=False, at=2.0, keyed=False)
        first = filing(task(1), "first", at=3.0)
        second = filing(task(1), "second", at=4.0)
        answers = []
        for one in (strange, theirs, second, first):
            store.file(one)
            found = store.on_file([one.task.run.cid])[one.task.run.cid]
            answers.append((found.receipt and found.receipt.value, found.own, found.admitted))

        assert answers == [
            ("strange", False, False),
            ("theirs", False, True),
            ("second", True, True),
            ("first", True, True),
        ]
        assert store.receipts_of(first.task.run.cid)[0].cid == first.receipt.cid
        assert len(store.receipts_of(first.task.run.cid)) == 4

    def test_filing_twice(self, store: Store) -> None:
        """The same receipt filed again is one receipt and two lines of the journal."""
        made = filing(task(1))
        store.file(made)
        store.file(made)

        assert len(store.receipts_of(made.task.run.cid)) == 1
        assert len(store.journal(instruction=made.task.run.cid)) == 2

    def test_what_is_not_admitted_is_not_shared(self, store: Store) -> None:
        """A receipt that may not be used answers for no equal task."""
        made = filing(task(1), own=False, admitted=False)

        store.file(made)

        assert made.key is not None
        assert store.outcome(made.key) is None

    def test_forgetting(self, store: Store) -> None:
        """What is forgotten is on file no more, and the rest is; it can be put on file again."""
        gone, kept = filing(task(1)), filing(task(2))
        store.file(gone)
        store.file(kept)

        assert store.forget([gone.task.run.cid, task(3).run.cid]) == 1
        assert gone.key is not None
        assert store.outcome(gone.key) is None
        assert set(store.on_file([gone.task.run.cid, kept.task.run.cid])) == {kept.task.run.cid}
        store.file(gone)
        assert store.outcome(gone.key) is not None

    # --- claims -------------------------------------------------------------------------------------------------------

    def test_one_claim_at_a_time(self, store: Store) -> None:
        """A task is claimed once until the claim is released; other tasks are free."""
        key, another = bytes(32), bytes([1] * 32)

        claim = store.claim(key)
        assert claim is not None
        assert store.claim(key) is None
        assert store.claim(another) is not None
        claim.release()
        second = store.claim(key)
        assert second is not None
        claim.release()  # once more, which is not the second's
        assert store.claim(key) is None

    def test_claims_hold_between_handles(self, store: Store, other: Store) -> None:
        """Whoever shares a store respects the claims of the others, and meets their receipts when they are released."""
        made = filing(task(1))
        assert made.key is not None
        claim = store.claim(made.key)
        assert claim is not None

        assert other.claim(made.key) is None
        store.file(made)
        claim.release()
        store.sync()
        second = other.claim(made.key)
        assert second is not None
        found = other.outcome(made.key)
        assert found is not None
        assert found.receipt == made.receipt

    # --- pins --------------------------------------------------------------------------------------------------------

    def test_pins(self, store: Store) -> None:
        """A pin is a name for a CID, which can be given anew and taken away."""
        one, two = Block.of(1).cid, Block.of(2).cid
        store.pin("a", one)
        store.pin("b", one)
        store.pin("a", two)

        assert store.pins() == {"a": two, "b": one}
        assert store.unpin("a") == two
        assert store.unpin("a") is None
        assert store.pins() == {"b": one}

    # --- looking around -----------------------------------------------------------------------------------------------

    def test_finding(self, store: Store) -> None:
        """A CID is found by the beginning of its text or of its short form."""
        block = Block.of("here")
        store.put(block)
        store.put(Block.of("there"))

        assert store.find(block.cid.short) == [block.cid]
        assert store.find(str(block.cid)) == [block.cid]
        assert store.find(str(block.cid)[:-3]) == [block.cid]
        assert len(store.find("bafy", 1)) == 1
        assert store.find("zzzz") == []

    def test_usage(self, store: Store) -> None:
        """Usage says what is held, and where."""
        made = filing(task(1))
        store.file(made)
        store.put_file(bytes(100_000), "input")
        store.begin(RunRecord())
        store.pin("a", made.receipt.cid)

        held = store.usage()

        assert (held.receipts, held.runs, held.pins, held.files) == (1, 1, 1, 1)
        assert held.total_bytes >= 100_000 + len(made.receipt.block.data)
        assert held.where == store.where

    def test_many_threads(self, store: Store) -> None:
        """Threads that put, file, look up and sync at once see all of what they put, and lose nothing."""
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for n in range(40):
                    made = filing(task(number, n), n)
                    store.file(made)
                    assert made.task.run.cid in store.on_file([made.task.run.cid])
                    if n % 10 == 0:
                        store.sync()
            except BaseException as error:  # noqa: BLE001 - told by the main thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.sync()

        assert failures == []
        assert store.usage().receipts == 240
        assert len(store.journal(limit=1000)) == 240

    def test_another_handle_sees_it(self, store: Store, other: Store) -> None:
        """What one handle put and synced, another finds: blocks, files, receipts, journal and pins."""
        everything = _fill(store)
        store.sync()

        assert _look(other) == everything

    def test_reopened(self, store: Store, again: Callable[[], Store]) -> None:
        """What was put is there when the store is opened again."""
        everything = _fill(store)

        assert _look(again()) == everything
        assert _look(again()) == everything

    def test_closing_twice(self, store: Store) -> None:
        """A store may be closed twice."""
        store.put(Block.of(1))
        store.close()
        store.close()


def _fill(store: Store) -> dict[str, Any]:
    """Put one of each kind into a store, and return what is then to be seen."""
    store.put(Block.of("block"))
    store.put_file(b"small", "input")
    store.put_file(b"large" * 100_000, "input")
    store.file(filing(task(1), "value"))
    store.file(filing(task(2), b"large" * 50_000))
    store.note(Entry(instruction=task(3).run.cid, func="f", rsc="", how="failed"))
    store.begin(RunRecord(name="a run"))
    store.pin("pin", Block.of("block").cid)
    return _look(store)


def _look(store: Store) -> dict[str, Any]:
    found = store.on_file([task(1).run.cid, task(2).run.cid, task(3).run.cid])
    cids: set[CID] = set(store.cids())
    return {
        "cids": cids,
        "bytes": {cid: store.read(cid) for cid in cids if cid.codec in {"raw", "dag-pb"}},
        "blocks": {cid: store.get(cid).data for cid in cids if cid.codec == "dag-cbor"},
        "receipts": {cid: one.receipt and one.receipt.value for cid, one in found.items()},
        "journal": [(entry.instruction, entry.how) for entry in store.journal()],
        "runs": [run.name for run in store.runs()],
        "pins": store.pins(),
    }
