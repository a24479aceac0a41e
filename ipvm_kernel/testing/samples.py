"""Samples: tasks and receipts of no particular meaning, for tests of whoever keeps them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ipvm_kernel.ipld import CID
from ipvm_kernel.model import WASM_RUN, Instruction, Outcome, Receipt, Task
from ipvm_kernel.store import Entry, Filing

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Ipld

MODULE = f"ipfs://{CID.of(b'a module', 'raw', 'sha2-256')}"


def task(*args: Ipld, func: str = "f", meta: dict[str, Any] | None = None, nnc: str = "") -> Task:
    """Return a task that calls a function of a module that is nowhere."""
    run = Instruction(rsc=MODULE, op=WASM_RUN, input={"func": func, "args": list(args)}, nnc=nnc)
    return Task(run=run, meta=meta or {})


def filing(
    of: Task, value: Ipld = 1, *, keyed: bool = True, run: int | None = None, at: float = 0.0, **about: Any
) -> Filing:
    """Return a receipt for a task, ready to be put on file.

    Args:
        of: The task.
        value: The ok value that the receipt says.
        keyed: False for one without a resolved key.
        run: The run that it was part of.
        at: When it was made; now, if it is 0.
        about: More fields of `Filing`: `own`, `admitted`.
    """
    receipt = Receipt(ran=of.invocation.cid, out=Outcome("ok", value), meta={"op": of.run.func})
    entry = Entry(
        instruction=of.run.cid,
        func=of.run.func,
        rsc=of.run.rsc,
        how="computed",
        receipt=receipt.cid,
        run=run,
        seconds=0.25,
    )
    if at:
        entry.at = at
    key = hashlib.sha256(of.run.block.data).digest() if keyed else None
    return Filing(of, receipt, key, entry, **about)
