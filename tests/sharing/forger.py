"""A forger: shares as only somebody who cheats makes them, with the project's own pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ipvm_kernel.ipld import CID, Block, car
from ipvm_kernel.ipld.unixfs import blocks as blocks_of
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Receipt
from ipvm_kernel.model.receipt import Outcome
from ipvm_kernel.sharing.manifest import FORMAT, PAGE
from ipvm_kernel.trust import Key, attest
from tests.sharing.samples import notebook

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ipvm_kernel.handles import Handle
    from ipvm_kernel.model import Task

ENGINE = "ipvm 0 wasmtime 50.0.1"
EMPTY = notebook()
"""A notebook without cells."""


def answer(task: Task, value: Any, tag: Any = "ok") -> Receipt:
    """Return a receipt that says whatever one wants."""
    return Receipt(ran=task.invocation.cid, out=Outcome(tag, value), meta={"op": task.run.func})


def word(key: Key, receipt: CID, instruction: CID, **more: Any) -> Block:
    """Return a statement that a receipt came of its task."""
    options: dict[str, Any] = {"engine": ENGINE, "features": ["simd"]}
    return attest(key, receipt=receipt, instruction=instruction, **options | more)


def named(data: bytes, codec: str = "dag-cbor", by: str = "sha3-256") -> Block:
    """Return a block under the name that these bytes have."""
    return Block(CID.of(data, codec, by), data)


class Forger:
    """A share under construction.

    Attributes:
        receipts: What the manifest lists: instructions, receipts, milliseconds.
        statements: What the manifest lists.
        blocks: What the archive holds besides the manifest.
    """

    def __init__(self, about: bytes = EMPTY) -> None:
        self.receipts: list[Any] = []
        self.statements: list[Any] = []
        self.content: list[Any] = []
        self.blocks: dict[CID, bytes] = dict(blocks_of(about))
        self.fields: dict[str, Any] = {
            "ipvm": FORMAT, "kind": "notebook", "name": "study.ipynb", "about": file_cid(about), "left": [],
            "workflows": [], "files": {}, "environment": {},
        }  # fmt: skip

    def put(self, *blocks: Block) -> CID:
        """Let the archive hold some blocks, and return the CID of the last."""
        self.blocks.update((block.cid, block.data) for block in blocks)
        return blocks[-1].cid

    def having(self, *blocks: Block) -> Forger:
        """Let the archive hold some blocks more."""
        self.put(*blocks)
        return self

    def file(self, data: bytes) -> CID:
        """Let the archive hold a file."""
        self.blocks.update(blocks_of(data))
        return file_cid(data)

    def task(self, task: Task, receipt: Receipt | Block, *statements: Block) -> Forger:
        """Let a receipt go along as the answer to a task, with its invocation."""
        block = receipt.block if isinstance(receipt, Receipt) else receipt
        return self.listed(task.run.cid, block, *statements, invocation=task.invocation.block)

    def listed(self, instruction: CID, receipt: Block, *statements: Block, invocation: Block | None = None) -> Forger:
        """List a receipt as the answer to an instruction, whatever it is."""
        self.put(receipt, *([invocation] if invocation is not None else []), *statements)
        self.receipts.append([instruction, receipt.cid, 5])
        self.statements += [block.cid for block in statements]
        return self

    def pages(self, entries: Sequence[Any], size: int = PAGE) -> list[CID]:
        """Return the pages of some entries."""
        return [self.put(Block.of(list(entries[at : at + size]))) for at in range(0, len(entries), size)]

    def root(self, **fields: Any) -> Block:
        """Return the manifest."""
        value = {
            **self.fields,
            "receipts": self.pages(self.receipts),
            "statements": self.pages(self.statements),
            "content": self.pages(self.content),
            **fields,
        }
        return Block.of({name: item for name, item in value.items() if item is not ...})

    def archive(self, path: Path, *, root: Block | None = None, without: Iterable[CID] = (), **fields: Any) -> Path:
        """Write the archive."""
        made = root if root is not None else self.root(**fields)
        gone = set(without)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            car.write(
                file, [made.cid], [(made.cid, made.data), *((c, d) for c, d in self.blocks.items() if c not in gone)]
            )
        return path


def lie(handle: Handle, value: Any, key: Key | None, **more: Any) -> Forger:
    """Return a share that says something else of a task than what it gives, and is well formed in all else."""
    receipt = answer(handle.task, value)
    words = [word(key, receipt.cid, handle.cid, **more)] if key is not None else []
    return Forger().task(handle.task, receipt, *words)
