"""What a client is told of a run: receipts in the shape of Homestar's notifications, and events beside them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.model import Receipt
from ipvm_kernel.model.receipt import failure

if TYPE_CHECKING:
    from ipvm_kernel.ipld import CID, Ipld
    from ipvm_kernel.model import Task
    from ipvm_kernel.runs import Run
    from ipvm_kernel.session import Answer

_FAILED: Final = frozenset({"failed", "blocked"})


def metadata(run: Run, *, replayed: bool) -> dict[str, Ipld]:
    """Return what Homestar puts before a receipt (`homestar-runtime/src/event_handler/notification/receipt.rs`)."""
    return {"name": run.name, "replayed": replayed, "workflow": run.workflow.cid}


def answered(run: Run, answer: Answer, *, events: bool) -> dict[str, Ipld]:
    """Return the notification of an answer: one for each task, whatever came of it, so that whoever counts them ends.

    Homestar's fields come as it has them. Beside them stand the instruction and how it ended; `receipt` is null where
    there is none (skipped, cancelled).
    """
    receipt = answer.receipt
    failed = answer.how in _FAILED or (receipt is not None and not receipt.ok)
    told: dict[str, Any] = {
        "metadata": metadata(run, replayed=answer.how == "replayed"),
        "receipt": receipt.to_ipld() if receipt is not None else None,
        "receipt_cid": receipt.cid if receipt is not None else None,
        "instruction": answer.instruction,
        "how": answer.how,
    }
    if events:
        told |= {
            "event": "task_failed" if failed else "task_finished",
            "seconds": answer.seconds,
            "timestamp": now(),
        }
    return told


def lost(run: Run, task: Task, why: str) -> dict[str, Ipld]:
    """Return the notification of a task that has no answer because its run broke: an error that is nowhere filed."""
    receipt = Receipt(ran=task.invocation.cid, out=failure("host", why), meta={"op": task.run.func})
    return {
        "metadata": metadata(run, replayed=False),
        "receipt": receipt.to_ipld(),
        "receipt_cid": receipt.cid,
        "instruction": task.run.cid,
        "how": "failed",
    }


def started(run: Run, instruction: CID, func: str) -> dict[str, Ipld]:
    """Return the event of a task that begins."""
    return {
        "event": "task_started",
        "metadata": metadata(run, replayed=False),
        "instruction": instruction,
        "func": func,
        "timestamp": now(),
    }


def finished(run: Run, error: str = "") -> dict[str, Ipld]:
    """Return the event of a workflow that is over: how many tasks ended how, and why it broke, if it did."""
    return {
        "event": "workflow_failed" if error or run.failures else "workflow_finished",
        "metadata": metadata(run, replayed=False),
        "counts": {str(state): count for state, count in run.counts.items()},
        "seconds": run.elapsed,
        "error": error or None,
        "timestamp": now(),
    }


def now() -> int:
    """Return the time in milliseconds since 1970."""
    return time.time_ns() // 1_000_000
