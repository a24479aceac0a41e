"""What every store promises about lineage, as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.store import CellRecord, Edge, Entry, RunRecord
from ipvm_kernel.testing.samples import MODULE, filing, task

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.model import Task
    from ipvm_kernel.store import Store

_MODULE = CID.parse(MODULE.removeprefix("ipfs://"))


def _awaiting(*tasks: Task, branch: str = "ok", func: str = "f") -> Task:
    promises: list[Ipld] = [{f"await/{branch}": one.run.cid} for one in tasks]
    return task(*promises, func=func)


class LineageContract:
    """A part of `StoreContract`."""

    def test_a_lineage(self, store: Store) -> None:
        """From a value to what went into it, and into that; each edge once, and what shares an ancestor shares it."""
        photo = store.put_file(b"a photo", "input")
        crop = task(photo, func="crop")
        left, right = _awaiting(crop, func="left"), _awaiting(crop, branch="*", func="right")
        end = _awaiting(left, right, func="join")
        for one in (crop, left, right, end):
            store.file(filing(one))
        store.file(filing(end))  # twice

        up = store.lineage([end.run.cid])

        assert up[0].target == end.run.cid
        assert len(up) == len(set(up))
        assert {(edge.target, edge.source, edge.kind) for edge in up} == {
            (end.run.cid, left.run.cid, "ok"),
            (end.run.cid, right.run.cid, "ok"),
            (left.run.cid, crop.run.cid, "ok"),
            (right.run.cid, crop.run.cid, "*"),
            (crop.run.cid, photo, "link"),
            *((one.run.cid, _MODULE, "module") for one in (crop, left, right, end)),
        }
        assert {edge.source for edge in store.lineage([left.run.cid])} == {crop.run.cid, photo, _MODULE}
        assert store.lineage([photo]) == store.lineage([]) == store.lineage([Block.of("nowhere").cid]) == []

    def test_users(self, store: Store) -> None:
        """From a file, a module or a task to all that was made with it, though the file and module are not here."""
        photo = Block.raw(b"a photo that is nowhere").cid
        crop = task({"deep": [photo]}, func="crop")
        grey, other = _awaiting(crop), task(1)
        for one in (crop, grey, other):
            store.file(filing(one))

        assert [(edge.target, edge.kind) for edge in store.users([photo])] == [
            (crop.run.cid, "link"),
            (grey.run.cid, "ok"),
        ]
        assert [edge.target for edge in store.users([crop.run.cid])] == [grey.run.cid]
        assert {edge.target for edge in store.users([_MODULE])} == {crop.run.cid, grey.run.cid, other.run.cid}
        assert store.size(photo) is None
        assert photo not in set(store.cids())
        assert store.put_file(b"a photo that is nowhere", "input") == photo
        store.sync()
        assert store.read(photo) == b"a photo that is nowhere"
        assert store.size(photo) == len(b"a photo that is nowhere")
        assert store.users([photo])

    def test_what_a_task_gave(self, store: Store) -> None:
        """A value behind a link leads to the task that gave it; a task that takes it leads there too."""
        table = store.put_file(b"a table", "value")
        make, use = task(func="make"), task(table, func="use")
        store.file(filing(make, {"rows": [table]}))
        store.file(filing(use, b"\xd8\x2a\xd8\x2a"))  # bytes that look like links

        assert store.lineage([table])[0] == Edge(table, make.run.cid, "value")
        assert Edge(table, make.run.cid, "value") in store.lineage([use.run.cid])
        assert [edge.target for edge in store.users([make.run.cid])] == [table, use.run.cid]

    def test_a_circle(self, store: Store) -> None:
        """A task that gives back the file that it was given is its own ancestor; asking about it ends."""
        photo = store.put_file(b"a photo", "input")
        same = task(photo, func="same")
        store.file(filing(same, photo))

        assert {edge.kind for edge in store.lineage([photo])} == {"value", "link", "module"}
        assert {edge.target for edge in store.users([same.run.cid])} == {photo, same.run.cid}

    def test_a_long_lineage(self, store: Store) -> None:
        """A chain of any length is followed, nearest first, and no further than asked."""
        chain = [task(0)]
        for _ in range(1500):
            chain.append(_awaiting(chain[-1]))
        for one in chain:
            store.file(filing(one))

        up = store.lineage([chain[-1].run.cid])
        down = store.users([chain[0].run.cid])

        assert [edge.target for edge in up if edge.kind == "ok"] == [one.run.cid for one in reversed(chain[1:])]
        assert [edge.target for edge in down] == [one.run.cid for one in chain[1:]]
        assert len(store.lineage([chain[-1].run.cid], 10)) == 10
        assert store.users([chain[0].run.cid], 10) == down[:10]

    def test_how_receipts_were_made(self, store: Store) -> None:
        """The first receipt of each of many tasks, how it was made, and in which cell it was declared."""
        store.declare(CellRecord(ident=7, cell="c1", source="x = \udc80", count=3, notebook="n.ipynb", saved=_MODULE))
        run = store.begin(RunRecord(name="run"))
        tasks = [task(n) for n in range(300)]
        for n, one in enumerate(tasks):
            made = filing(one, n, run=run)
            made.entry.declared = 7
            store.file(made)
            if n == 200:
                store.sync()
        again = filing(tasks[0], 0)
        again.entry.seconds = 9.0
        store.file(again)
        failed = task("failed").run
        store.note(Entry(instruction=failed.cid, func="f", rsc="", how="failed", error="limit: x"))

        made_by = store.made([failed.cid, *(one.run.cid for one in tasks)])

        assert made_by.keys() == {one.run.cid for one in tasks}
        assert {(entry.run, entry.declared, entry.seconds) for entry in made_by.values()} == {(run, 7, 0.25)}
        cell = store.cells([7, 8])[7]
        assert (cell.cell, cell.count, cell.notebook, cell.saved) == ("c1", 3, "n.ipynb", _MODULE)
        assert store.cells([8]) == {}
