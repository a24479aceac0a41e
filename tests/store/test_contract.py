from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel.model import WASM_RUN, Instruction, Task
from ipvm_kernel.store import MemoryStore
from ipvm_kernel.store.layer import Layer
from ipvm_kernel.store.layered import LayeredStore
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.testing import StoreContract, filing

if TYPE_CHECKING:
    from pathlib import Path


class TestMemoryStore(StoreContract):
    """The store that ends with its process."""

    def open(self, folder: Path) -> MemoryStore:
        return MemoryStore()


class TestSqliteStore(StoreContract):
    """The store in a folder."""

    shared = durable = True

    def open(self, folder: Path) -> SqliteStore:
        return SqliteStore(folder)


class TestLayeredStore(StoreContract):
    """A store over a layer that holds other things: it keeps its own promises as if it were alone."""

    shared = durable = True

    def open(self, folder: Path) -> LayeredStore:
        layer = folder.with_name("layer")
        if not layer.exists():
            prepared = SqliteStore(layer)
            run = Instruction(rsc="ipfs://bafkqabiaaebagba", op=WASM_RUN, input={"func": "f", "args": []}, nnc="")
            prepared.file(filing(Task(run=run), "elsewhere"))
            prepared.put_file(b"elsewhere" * 100_000, "input")
            prepared.close()
        return LayeredStore(SqliteStore(folder), [Layer(layer)])
