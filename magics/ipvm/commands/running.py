"""Running workflow files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipvm.views import View, brief
from ipvm_kernel import Workflow
from ipvm_kernel.errors import NotFound
from ipvm_kernel.printable import printable, seconds
from ipvm_kernel.session import Answer, default

if TYPE_CHECKING:
    from ipvm_kernel import Run


def run(what: Any, *, rerun: bool = False) -> View:
    """Run a workflow file, or a handle, and return what came of every task.

    Args:
        what: The path of a workflow file (DAG-JSON, CBOR, or a template), a workflow or a handle.
        rerun: Run every task, and compare with the receipts on file.
    """
    session = default()
    if isinstance(what, str | Path):
        path = Path(what).expanduser()
        if not path.is_file():
            raise NotFound(
                f"no workflow file at {printable(str(path), limit=300)}. The working directory is {Path.cwd()}"
            )
        what = Workflow.load(path)
    made: Run = session.run(what, rerun=rerun)
    names = {task.run.cid: task.run.func for task in made.workflow.tasks}
    lines, data = [], []
    for answer in made:
        line = _line(answer, names.get(answer.instruction, "?"))
        lines.append(line)
        data.append(_data(answer, made))
        if sys.stderr.isatty():
            print(f"\r\x1b[K{made.progress.ended}/{made.progress.total} {line}"[:120], end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    return View("\n".join([*lines, made.summary()]), data=data, failed=bool(made.failures))


def _line(answer: Answer, func: str) -> str:
    receipt = answer.receipt
    told = ""
    if receipt is not None and not receipt.ok:
        error = receipt.error
        told = printable(str(error.get("message") if isinstance(error, dict) else error), limit=300)
    elif receipt is not None:
        told = brief(receipt.value)
    took = f" in {seconds(answer.seconds)}" if answer.seconds else ""
    return f"{answer.how:9} {printable(func, limit=40)} {answer.instruction.short}{took}  {told}".rstrip()


def _data(answer: Answer, run: Run) -> dict[str, Any]:
    """Return an answer in the shape of Homestar's notification, with the instruction beside it."""
    receipt = answer.receipt
    return {
        "metadata": {"name": run.name, "replayed": answer.how == "replayed", "workflow": run.workflow.cid},
        "instruction": answer.instruction,
        "how": answer.how,
        "receipt": receipt.to_ipld() if receipt is not None else None,
        "receipt_cid": receipt.cid if receipt is not None else None,
    }
