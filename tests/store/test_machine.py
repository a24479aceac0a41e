"""A store against a few dicts: whatever is done to it in whatever order, closing and opening it included."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.store import MemoryStore, RunRecord
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.testing import filing, task

if TYPE_CHECKING:
    from ipvm_kernel.store import Role, Store

NUMBERS = st.integers(0, 5)
SIZES = st.sampled_from([0, 10, 1500, 65_536, 65_537, 300_000])
ROLES = st.sampled_from(["input", "value", "module"])


class StoreMachine(RuleBasedStateMachine):
    """A store and what it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ipvm-machine-"))
        self.store: Store = self.open()
        self.blocks: dict[CID, bytes] = {}
        self.files: dict[CID, bytes] = {}
        self.precious: set[CID] = set()
        self.receipts: dict[int, dict[CID, object]] = {}
        self.first: dict[int, CID] = {}
        self.journal: list[CID] = []
        self.runs: list[str] = []
        self.pins: dict[str, CID] = {}

    def open(self) -> Store:
        return SqliteStore(self.folder / "store")

    @rule(number=NUMBERS, size=SIZES)
    def put(self, number: int, size: int) -> None:
        block = Block.of([number, bytes(size)])
        assert self.store.put(block) == block.cid
        self.blocks[block.cid] = block.data

    @rule(number=NUMBERS, size=SIZES, role=ROLES)
    def put_file(self, number: int, size: int, role: Role) -> None:
        data = bytes([number]) * size
        cid = self.store.put_file(data, role)
        assert cid == file_cid(data)
        self.files[cid] = data
        if role != "value" or size < 1024:
            self.precious.add(cid)

    @rule(number=NUMBERS, value=st.integers(0, 2), size=SIZES, own=st.booleans())
    def file(self, number: int, value: int, size: int, own: bool) -> None:
        made = filing(task(number), [value, bytes(size)], own=own, keyed=own, at=float(len(self.journal) + 1))
        self.store.file(made)
        known = self.receipts.setdefault(number, {})
        known[made.receipt.cid] = own or known.get(made.receipt.cid, False)
        self.journal.append(made.task.run.cid)

    @rule(number=NUMBERS)
    def forget(self, number: int) -> None:
        assert self.store.forget([task(number).run.cid]) == len(self.receipts.pop(number, {}))

    @rule(name=st.sampled_from("ab"), number=NUMBERS)
    def pin(self, name: str, number: int) -> None:
        self.store.pin(name, task(number).run.cid)
        self.pins[name] = task(number).run.cid

    @rule(name=st.sampled_from("ab"))
    def unpin(self, name: str) -> None:
        assert self.store.unpin(name) == self.pins.pop(name, None)

    @rule()
    def begin(self) -> None:
        self.store.begin(RunRecord(name=str(len(self.runs))))
        self.runs.append(str(len(self.runs)))

    @rule()
    def sync(self) -> None:
        self.store.sync()

    @rule()
    def reopen(self) -> None:
        if isinstance(self.store, SqliteStore):
            self.store.close()
            self.store = self.open()

    @rule()
    def collect(self) -> None:
        if isinstance(self.store, SqliteStore):
            for cid in self.store.gc().cids:
                assert cid not in self.blocks
                assert cid not in self.precious
                self.files.pop(cid, None)

    @invariant()
    def everything_is_there(self) -> None:
        for cid, data in self.blocks.items():
            assert self.store.get(cid).data == data
        for cid, data in self.files.items():
            assert self.store.read(cid) == data
            assert self.store.size(cid) == len(data)
        found = self.store.on_file([task(number).run.cid for number in range(6)])
        assert set(found) == {task(number).run.cid for number in self.receipts}
        for number, known in self.receipts.items():
            one = found[task(number).run.cid]
            assert one.own == any(known.values())
            assert {other.cid for other in self.store.receipts_of(task(number).run.cid)} == set(known)
            if one.receipt is not None:
                assert one.receipt.cid == one.cid
        assert [entry.instruction for entry in self.store.journal(limit=1000)] == self.journal[::-1]
        assert [run.name for run in self.store.runs(1000)] == self.runs[::-1]
        assert self.store.pins() == self.pins

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


class MemoryMachine(StoreMachine):
    """The same in memory."""

    def open(self) -> Store:
        return MemoryStore()


@pytest.mark.parametrize("machine", [StoreMachine, MemoryMachine])
def test_whatever_is_done(machine: type[RuleBasedStateMachine]) -> None:
    """
    Whatever is put, filed, forgotten, pinned, collected and opened again, a store holds what it should.
    """
    run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=25))


@pytest.mark.torture
def test_whatever_is_done_for_long() -> None:
    """
    The same, at length.
    """
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=500, stateful_step_count=60))
