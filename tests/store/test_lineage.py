from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

from ipvm_kernel import provenance
from ipvm_kernel.errors import StoreFull
from ipvm_kernel.ipld import Block
from ipvm_kernel.store import CellRecord
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.testing import filing, task

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_store_from_before_lineage(tmp_path: Path) -> None:
    """
    A store of the version before is brought up to this one, and what it holds is there, its lineage included.
    """
    made = filing(task(Block.raw(b"a photo").cid))
    with contextlib.closing(SqliteStore(tmp_path)) as store:
        store.file(made)
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as database:
        database.executescript(
            "DROP TABLE edge; DROP TABLE cell; DROP TABLE name; DROP TABLE attestation; ALTER TABLE entry DROP COLUMN declared;"
            "PRAGMA user_version = 1"
        )

    with contextlib.closing(SqliteStore(tmp_path)) as store:
        assert store.on_file([made.task.run.cid])[made.task.run.cid].receipt == made.receipt
        assert store.journal()[0].declared is None
        assert {edge.kind for edge in provenance.trace(store, [made.task.run.cid]).edges} == {"link", "module"}
        store.file(filing(task({"await/ok": made.task.run.cid})))
        assert len(store.users([made.task.run.cid])) == 1


def test_what_the_disk_refuses_is_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While nothing can be written, lineage goes on from what is on disk to what is only in memory, and the other way.
    """
    first = filing(task(Block.raw(b"a photo").cid), 1)
    second = filing(task({"await/ok": first.task.run.cid}), 2)
    third = filing(task({"await/ok": second.task.run.cid}), 3)
    with contextlib.closing(SqliteStore(tmp_path)) as store:
        store.file(first)
        store.sync()

        def refuse(_: object) -> None:
            raise StoreFull("no space left")

        with monkeypatch.context() as patched:
            patched.setattr(store._disk.writer, "_write", refuse)
            store.file(second)
            store.file(third)
            store.declare(CellRecord(ident=5, source="x"))
            store.call(second.task.run.cid, "a name")
            up = store.lineage([third.task.run.cid])
            down = store.users([first.task.run.cid])

            assert [edge.kind for edge in up].count("ok") == 2
            assert "link" in {edge.kind for edge in up}
            assert [edge.target for edge in down] == [second.task.run.cid, third.task.run.cid]
            assert store.cells([5])[5].source == "x"
            assert store.called([second.task.run.cid]) == {second.task.run.cid: ["a name"]}
            assert store.made([third.task.run.cid])[third.task.run.cid].receipt == third.receipt.cid
        store.sync()
        assert set(store.lineage([third.task.run.cid])) == set(up)


def test_an_upgrade_by_two_kernels_at_once(tmp_path: Path) -> None:
    """
    A store opened anew by two is brought up once.
    """
    with contextlib.closing(SqliteStore(tmp_path)) as one, contextlib.closing(SqliteStore(tmp_path)) as other:
        made = filing(task(1))
        one.file(made)
        one.sync()

        assert other.lineage([made.task.run.cid]) == one.lineage([made.task.run.cid]) != []
