"""Lineage: what an answer about where a value comes from costs in a store of 100,000 receipts."""

from __future__ import annotations

import random
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.engine import STORE
from tests.benchmarks.measure import Benchmark, Line, Series

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.store import Store

RECEIPTS: Final = 100_000
_CHAIN: Final = 20_000  # of them in one line; the others are pipelines of a few steps
_ASKED: Final = 20


def prepare(folder: str) -> None:
    """Put on file: one long chain, and pipelines of five steps over a thousand files, in a hundred cells."""
    from ipvm_kernel.store import CellRecord
    from ipvm_kernel.store.sqlite import SqliteStore
    from ipvm_kernel.testing.samples import filing, task

    drawn = random.Random(5)
    store = SqliteStore(Path(folder) / STORE)
    for n in range(100):
        store.declare(
            CellRecord(ident=n + 1, cell=f"c{n}", source=f"x = m.f{n}()", count=n, notebook=f"n{n % 7}.ipynb")
        )
    files = [store.put_file(b"file %d" % n, "input") for n in range(1000)]
    ends: list[CID] = []

    def put(made: Any, n: int) -> None:
        made.entry.declared = n % 100 + 1
        store.file(made)

    last: Any = None
    for n in range(_CHAIN):
        one = task(files[0] if last is None else {"await/ok": last.run.cid}, n, func="step")
        put(filing(one, n), n)
        last = one
    ends.append(last.run.cid)
    for n in range((RECEIPTS - _CHAIN) // 5):
        crop = task(files[drawn.randrange(1000)], n, func="crop")
        left, right = (task({"await/ok": crop.run.cid}, n, func=name) for name in ("left", "right"))
        join = task({"await/ok": left.run.cid}, {"await/*": right.run.cid}, func="join")
        end = task({"await/ok": join.run.cid}, n % 10, func="end")
        for made in (crop, left, right, join, end):
            put(filing(made, n), n)
        if n % 100 == 0:
            ends.append(end.run.cid)
    store.close()
    (Path(folder) / "ends").write_text("\n".join(map(str, ends)))


def lineage_ipvm(folder: str) -> Series:
    """Ask for the lineage, the inputs and the users of some, and why one ran."""
    from ipvm_kernel import Session, provenance
    from ipvm_kernel.ipld import CID
    from ipvm_kernel.testing.samples import MODULE

    ends = [CID.parse(text) for text in (Path(folder) / "ends").read_text().split()]
    file, module = _file(), CID.parse(MODULE.removeprefix("ipfs://"))
    with Session(Path(folder) / STORE) as session:
        store: Store = session.store
        assert store.usage().receipts == RECEIPTS
        few = ends[1 : _ASKED + 1]
        return {
            "trace": _each(lambda end: provenance.trace(store, [end]), few),
            "inputs": _each(lambda end: provenance.inputs(store, [end]), few),
            "uses": _each(lambda _: provenance.uses(store, [file]), few[:3]),
            "why": _each(session.why, few),
            "chain": _each(lambda end: provenance.trace(store, [end]), ends[:1]),
            "chain inputs": _each(lambda end: provenance.inputs(store, [end]), ends[:1]),
            "module": _each(lambda cid: provenance.uses(store, [cid]), [module]),
        }


def lineage_by_hand(folder: str) -> Series:
    """Follow the same edges as one would by hand: a query for each step, each CID a key."""
    ends = (Path(folder) / "ends").read_text().split()
    by_hand = Path(folder) / "by-hand.db"
    from ipvm_kernel.ipld import CID

    if not by_hand.exists():
        theirs = sqlite3.connect(Path(folder) / STORE / "store.db")
        rows = theirs.execute(
            "SELECT t.cid, s.cid, e.kind FROM edge e JOIN block t ON t.id = e.target JOIN block s ON s.id = e.source"
        ).fetchall()
        theirs.close()
        ours = sqlite3.connect(by_hand)
        ours.execute("CREATE TABLE edge (target BLOB, source BLOB, kind INTEGER)")
        ours.executemany("INSERT INTO edge VALUES (?, ?, ?)", rows)
        ours.execute("CREATE INDEX edge_by_target ON edge (target)")
        ours.commit()
        ours.close()
    connection = sqlite3.connect(by_hand)

    def follow(end: str) -> int:
        pending, seen = [CID.parse(end).bytes], set[bytes]()
        while pending:
            here = pending.pop()
            if here in seen or len(seen) >= 10_000:
                continue
            seen.add(here)
            pending += [row[0] for row in connection.execute("SELECT source FROM edge WHERE target = ?", (here,))]
        return len(seen)

    made = {"by hand": _each(follow, ends[1 : _ASKED + 1]), "chain by hand": _each(follow, ends[:1])}
    connection.close()
    return made


def _file() -> CID:
    from ipvm_kernel.ipld.unixfs import file_cid

    return file_cid(b"file 7")


def _each(call: Callable[[Any], Any], asked: list[Any]) -> float:
    """Return what one answer costs; the slowest, since a person waits for it."""
    times = []
    for one in asked:
        began = time.perf_counter()
        assert call(one)
        times.append(time.perf_counter() - began)
    return max(times)


BENCHMARKS = [
    Benchmark(
        name="lineage",
        prepare=prepare,
        samples=(lineage_ipvm, lineage_by_hand),
        rounds=5,
        patience=300,
        lines=(
            Line(work="trace, of 100,000 receipts: the slowest of 20", ours="trace", peers=("by hand",), budget=0.1),
            Line(work="inputs: the slowest of 20", ours="inputs", budget=0.1),
            Line(work="uses of a file: the slowest of 3", ours="uses", budget=0.1),
            Line(work="why: the slowest of 20", ours="why", budget=0.1),
            Line(work="trace the end of a chain of 20,000", ours="chain", peers=("chain by hand",), budget=0.1),
            Line(work="its inputs", ours="chain inputs", budget=0.1),
            Line(work="uses of the one module", ours="module", budget=0.1),
        ),
    ),
]
