"""What every store promises about parcels and about statements, as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadInput, Mismatch
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, file_cid
from ipvm_kernel.store import Entry, Parcel, Received
from ipvm_kernel.testing.samples import filing, task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipvm_kernel.store import Filing, Store

_LARGE = bytes(i % 251 for i in range(3 * CHUNK_BYTES + 5))


def statement(about: CID, who: str = "did:key:a") -> Block:
    """Return a block that might be a signed statement; a store does not read it."""
    block = Block.of({"about": about, "who": who})
    return Block(CID.of(block.data, "dag-cbor", "sha2-256"), block.data)


def foreign(of: int, value: Any = 1, **about: Any) -> Filing:
    """Return a receipt of somebody else's, with its task, that nobody admitted."""
    made = filing(task(of), value, keyed=False, own=False, admitted=False, **about)
    made.entry.how = "loaded"
    return made


def sample() -> Parcel:
    """Return a parcel with something of each kind, each part made while it is walked."""
    made = foreign(1, {"rows": [file_cid(_LARGE)]})
    bare = filing(task(2), 2)
    received = Received(
        bare.receipt, Entry(instruction=task(2).run.cid, func="f", rsc="", how="loaded", receipt=bare.receipt.cid)
    )
    return Parcel(
        files=((file_cid(data), iter([data[:100], data[100:]]), "input") for data in (_LARGE, b"small", b"")),
        blocks=(Block.of(value) for value in ("a block", bytes(100_000), {"share": made.receipt.cid})),
        filings=iter((made, received)),
        attestations=((one.receipt.cid, statement(one.receipt.cid)) for one in (made, bare)),
        pins={"shared": Block.of({"share": made.receipt.cid}).cid},
        names=iter([(file_cid(_LARGE), "large.bin")]),
    )


def seen(store: Store) -> dict[str, Any]:
    """Return all that can be seen of what `sample` holds, and of anything else."""
    instructions = [task(n).run.cid for n in range(4)]
    receipts = [one for cid in instructions for one in store.receipts_of(cid)]
    edges = store.lineage(instructions)
    return {
        "cids": set(store.cids()),
        "found": {cid for cid in (file_cid(_LARGE), Block.of(bytes(100_000)).cid) if store.find(str(cid))},
        "sizes": [store.size(cid) for cid in (file_cid(_LARGE), file_cid(b"small"), Block.of("a block").cid)],
        "on file": {cid: (one.cid, one.own, one.admitted) for cid, one in store.on_file(instructions).items()},
        "receipts": {(one.cid, one.own, one.admitted, one.trusted) for one in receipts},
        "journal": [(entry.instruction, entry.how) for entry in store.journal()],
        "pins": store.pins(),
        "names": store.called([file_cid(_LARGE)]),
        "statements": store.attestations([filing(task(1), {"rows": [file_cid(_LARGE)]}).receipt.cid]),
        "edges": set(edges),
        "receipts held": store.usage().receipts,
    }


def _then(parts: Iterator[Any], error: Exception) -> Iterator[Any]:
    yield from parts
    raise error


class ParcelContract:
    """A part of `StoreContract`."""

    def test_a_parcel(self, store: Store) -> None:
        """What a parcel holds is all there when it was brought: files, blocks, receipts, statements, pins and names."""
        store.bring(sample())

        made = foreign(1, {"rows": [file_cid(_LARGE)]})
        found = store.on_file([task(n).run.cid for n in (1, 2)])
        assert store.read(file_cid(_LARGE)) == _LARGE
        assert store.read(file_cid(b"small")) == b"small"
        assert store.read(file_cid(b"")) == b""
        assert store.get(Block.of(bytes(100_000)).cid).value() == bytes(100_000)
        assert {cid: (one.own, one.admitted, one.trusted) for cid, one in found.items()} == {
            task(1).run.cid: (False, False, False),
            task(2).run.cid: (False, False, False),
        }
        assert found[task(1).run.cid].receipt == made.receipt
        assert store.get(task(1).run.cid) == made.task.run.block
        assert store.attestations([made.receipt.cid]) == {made.receipt.cid: [statement(made.receipt.cid)]}
        assert store.pins() == {"shared": Block.of({"share": made.receipt.cid}).cid}
        assert store.called([file_cid(_LARGE)]) == {file_cid(_LARGE): ["large.bin"]}
        assert {entry.instruction for entry in store.journal()} == {task(1).run.cid, task(2).run.cid}
        assert [edge.source for edge in store.lineage([file_cid(_LARGE)])][:1] == [task(1).run.cid]

    def test_a_parcel_is_durable(self, store: Store, again: Callable[[], Store]) -> None:
        """What was brought is there when the store is opened again."""
        store.bring(sample())
        before = seen(store)

        assert seen(again()) == before

    @pytest.mark.parametrize("part", ["files", "blocks", "filings", "attestations", "names"])
    def test_all_or_nothing(self, store: Store, part: str) -> None:
        """If anything is raised while a parcel is walked, that is raised, and nothing of the parcel is to be seen."""
        store.file(filing(task(0), 0))
        store.pin("mine", task(0).run.cid)
        before = seen(store)
        parcel = sample()
        setattr(parcel, part, _then(iter(getattr(parcel, part)), Mismatch("a block is not what it should be")))

        with pytest.raises(Mismatch, match="a block is not what it should be"):
            store.bring(parcel)

        assert seen(store) == before
        store.bring(sample())
        assert store.read(file_cid(_LARGE)) == _LARGE

    def test_a_piece_that_fails(self, store: Store) -> None:
        """If a file breaks off in the middle, nothing of it is to be seen."""
        before = seen(store)
        pieces = _then(iter([_LARGE[:CHUNK_BYTES], _LARGE[CHUNK_BYTES:]]), OSError("the line went dead"))

        with pytest.raises(OSError, match="the line went dead"):
            store.bring(Parcel(files=[(file_cid(_LARGE), pieces, "input")]))

        assert seen(store) == before

    def test_a_file_that_was_cut_in_another_way(self, store: Store) -> None:
        """A file under the CID of another cut is kept under our own, and the CID that it came under leads there."""
        theirs = CID.of(b"a root that somebody else made", "dag-pb", "sha2-256")
        block = Block.raw(_LARGE)
        store.bring(Parcel(files=[(theirs, [_LARGE], "input"), (block.cid, [_LARGE], "input")]))

        assert store.pins() == {f"ipfs://{theirs}": file_cid(_LARGE), f"ipfs://{block.cid}": file_cid(_LARGE)}
        assert store.read(file_cid(_LARGE)) == _LARGE
        assert store.size(theirs) is None

    @pytest.mark.parametrize("size", [5, 100_000])
    def test_bytes_of_another_name(self, store: Store, size: int) -> None:
        """Bytes that came under the raw CID of other bytes are refused, and so are files under the CID of a value."""
        before = seen(store)

        with pytest.raises(Mismatch, match=str(Block.raw(b"other").cid)):
            store.bring(Parcel(files=[(Block.raw(b"other").cid, [bytes(size)], "input")]))
        with pytest.raises(BadInput, match="bring it as a block"):
            store.bring(Parcel(files=[(Block.of(1).cid, [bytes(size)], "input")]))
        with pytest.raises(BadInput, match="bring the file, whole"):
            store.bring(Parcel(blocks=[Block(file_cid(_LARGE), b"a node of a file")]))

        assert seen(store) == before

    def test_brought_twice(self, store: Store) -> None:
        """A parcel that is brought again adds lines to the journal, and changes nothing else."""
        store.bring(sample())
        before = seen(store)
        store.bring(sample())
        after = seen(store)

        assert len(after.pop("journal")) == 2 * len(before.pop("journal"))
        assert after == before

    def test_an_empty_parcel(self, store: Store) -> None:
        """A parcel of nothing does nothing."""
        before = seen(store)
        store.bring(Parcel())

        assert seen(store) == before

    def test_bringing_beside_other_work(self, store: Store) -> None:
        """What a parcel is made of may be looked up in the store, and put into it, while it is walked."""

        def blocks() -> Iterator[Block]:
            for n in range(600):
                store.file(filing(task(n, func="mine"), n))
                assert store.on_file([task(n, func="mine").run.cid])
                if n % 200 == 0:
                    store.sync()
                yield Block.of(["brought", n])

        store.bring(Parcel(blocks=blocks()))
        store.sync()

        assert len(store.on_file([task(n, func="mine").run.cid for n in range(600)])) == 600
        assert store.get(Block.of(["brought", 599]).cid).value() == ["brought", 599]

    def test_another_handle_sees_a_parcel(self, store: Store, other: Store) -> None:
        """What one handle brought, another sees as soon as that returned."""
        store.bring(sample())

        assert seen(other) == seen(store)

    # --- foreign receipts ---------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("brought", [False, True])
    def test_a_foreign_receipt_becomes_our_own(self, store: Store, brought: bool) -> None:
        """A receipt that nobody admitted is shown and not used, until an equal one is made here: that is our own."""
        cid = task(1).run.cid
        theirs, ours = foreign(1, at=1.0), filing(task(1), at=2.0)
        store.bring(Parcel(filings=[theirs])) if brought else store.file(theirs)
        before = store.on_file([cid])[cid]
        store.file(ours)
        store.sync()
        after = store.on_file([cid])[cid]
        store.bring(Parcel(filings=[theirs])) if brought else store.file(theirs)

        assert (before.own, before.admitted, before.trusted, before.receipt) == (False, False, False, theirs.receipt)
        assert (after.own, after.admitted, after.trusted, after.receipt) == (True, True, False, ours.receipt)
        assert len(store.receipts_of(cid)) == 1
        assert ours.key is not None
        shared = store.outcome(ours.key)
        assert shared is not None
        assert (shared.own, shared.admitted) == (True, True)
        store.sync()
        again = store.on_file([cid])[cid]
        assert (again.own, again.admitted) == (True, True)

    # --- statements ---------------------------------------------------------------------------------------------------

    def test_statements(self, store: Store) -> None:
        """Statements about receipts are found by the receipts, in the order in which they came, each once."""
        one, two = (filing(task(n), n).receipt.cid for n in (1, 2))
        told = [statement(one, f"did:key:{n}") for n in range(3)]
        for attestation in told[::-1]:
            store.attest(one, attestation)
        store.sync()
        store.attest(one, told[0])
        store.attest(two, told[1])

        assert store.attestations([one, two, task(3).run.cid]) == {one: told[::-1], two: [told[1]]}
        assert store.attestations([]) == {}
        assert store.get(told[2].cid) == told[2]
        store.sync()
        assert store.attestations([two, one]) == {one: told[::-1], two: [told[1]]}

    def test_statements_about_many(self, store: Store) -> None:
        """Statements about any number of receipts are asked for at once."""
        receipts = [filing(task(n), n).receipt.cid for n in range(600)]
        for cid in receipts[::2]:
            store.attest(cid, statement(cid))
        store.sync()

        assert store.attestations(receipts) == {cid: [statement(cid)] for cid in receipts[::2]}

    def test_forgetting_forgets_statements(self, store: Store) -> None:
        """The statements about a receipt that was forgotten say nothing any more; those about others do."""
        theirs, others = foreign(1), foreign(2)
        for one in (theirs, others):
            store.file(one)
            store.attest(one.receipt.cid, statement(one.receipt.cid))

        assert store.forget([task(1).run.cid]) == 1

        both = [theirs.receipt.cid, others.receipt.cid]
        assert store.attestations(both) == {others.receipt.cid: [statement(others.receipt.cid)]}
        store.bring(Parcel(filings=[theirs], attestations=[(both[0], statement(both[0], "did:key:b"))]))
        assert store.attestations(both)[both[0]] == [statement(both[0], "did:key:b")]

    def test_statements_are_there_again(self, store: Store, again: Callable[[], Store]) -> None:
        """Statements are there when the store is opened again."""
        about = Block.of(1).cid
        store.attest(about, statement(about))

        assert again().attestations([about]) == {about: [statement(about)]}
