"""What every store promises about its journal, as tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel.store import Entry, RunRecord
from ipvm_kernel.testing.samples import filing, task

if TYPE_CHECKING:
    from ipvm_kernel.store import Store


class JournalContract:
    """A part of `StoreContract`."""

    def test_the_journal(self, store: Store) -> None:
        """The journal gives its latest lines first: of an instruction, a function or a run, and no more than asked for."""
        ident = store.begin(RunRecord(name="first", cell="c1", source="x = 1", count=7, notebook="n\udc80.ipynb"))
        for n in range(5):
            store.file(filing(task(n, func="even" if n % 2 == 0 else "odd"), n, run=ident if n < 3 else None))
        failed = task(9, func="bad").run
        store.note(
            Entry(instruction=failed.cid, func="bad", rsc=failed.rsc, how="failed", log="oh\ud800", error="limit: x")
        )

        assert [entry.func for entry in store.journal()] == ["bad", "even", "odd", "even", "odd", "even"]
        assert [entry.func for entry in store.journal(limit=2)] == ["bad", "even"]
        assert len(store.journal(func="even")) == 3
        assert len(store.journal(run=ident)) == 3
        assert [entry.error for entry in store.journal(instruction=failed.cid)] == ["limit: x"]
        assert store.journal(func="even", run=ident, limit=1)[0].instruction == task(2, func="even").run.cid
        assert store.on_file([failed.cid]) == {}

    def test_logs(self, store: Store) -> None:
        """What a guest said when its receipt was made is there for every replay, on disk or on its way there."""
        told = [task(n) for n in range(600)]
        for n, one in enumerate(told):
            made = filing(one, n)
            made.entry.log = f"line {n}" if n % 2 else ""
            store.file(made)
            if n == 300:
                store.sync()
        failed = task(9, func="bad").run
        store.note(Entry(instruction=failed.cid, func="bad", rsc=failed.rsc, how="failed", log="oh", error="limit: x"))

        logs = store.logs([failed.cid, *(one.run.cid for one in told)])

        assert logs.keys() == {one.run.cid for n, one in enumerate(told) if n % 2}
        assert [logs[told[n].run.cid].log for n in (1, 299, 301, 599)] == ["line 1", "line 299", "line 301", "line 599"]
        assert store.logs([]) == {}

    def test_runs(self, store: Store) -> None:
        """Runs are remembered by number and in order, with the cell that they are from."""
        idents = [store.begin(RunRecord(name=f"run {n}", cell=f"c{n}", count=n)) for n in range(3)]

        assert [run.name for run in store.runs(2)] == ["run 2", "run 1"]
        assert sorted(idents) == idents
        found = store.run(idents[0])
        assert found is not None
        assert (found.name, found.cell, found.count) == ("run 0", "c0", 0)
        assert store.run(5) is None
