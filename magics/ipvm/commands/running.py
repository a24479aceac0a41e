"""Running workflow files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipvm.commands.things import read_file, told_on_terminal
from ipvm.views import Stream, View, brief
from ipvm_kernel import Workflow
from ipvm_kernel.errors import BadInput
from ipvm_kernel.printable import printable, seconds
from ipvm_kernel.session import Answer, default

if TYPE_CHECKING:
    from ipvm_kernel import Run


def run(what: Any, *, rerun: bool = False, name: str = "", node: str | None = None, grant: str | None = None) -> View:
    """Run a workflow file, or a handle, and return what came of every task.

    Args:
        what: The path of a workflow file (DAG-JSON, CBOR, or a template), a workflow or a handle.
        rerun: Run every task, and compare with the receipts on file.
        name: What to call it.
        node: The address of a node that runs it, "ws://HOST:PORT", instead of this machine.
        grant: What the owner of that node gave you, or the file that it is in.
    """
    made = _begun(what, rerun=rerun, name=name, node=node, grant=grant)
    names = {task.run.cid: task.run.func for task in made.workflow.tasks}
    lines, data = [], []
    with told_on_terminal(lambda: f"{made.progress.ended}/{made.progress.total}") as tell:
        for answer in made:
            line = _line(answer, names.get(answer.instruction, "?"))
            lines.append(line)
            data.append(_data(answer, made))
            tell(line)
    return View("\n".join([*lines, made.summary()]), data=data, failed=bool(made.failures))


def stream(
    what: Any, *, rerun: bool = False, name: str = "", node: str | None = None, grant: str | None = None
) -> Stream:
    """Run a workflow file, or a handle, and give what comes of each task as soon as it is there.

    Args:
        what: The path of a workflow file (DAG-JSON, CBOR, or a template), a workflow or a handle.
        rerun: Run every task, and compare with the receipts on file.
        name: What to call it.
        node: The address of a node that runs it, "ws://HOST:PORT", instead of this machine.
        grant: What the owner of that node gave you, or the file that it is in.
    """
    made = _begun(what, rerun=rerun, name=name, node=node, grant=grant)
    return Stream((_data(answer, made) for answer in made), lambda: bool(made.failures))


def _begun(what: Any, *, rerun: bool, name: str, node: str | None, grant: str | None) -> Run:
    if isinstance(what, str | Path):
        what, inner = Workflow.named(read_file(what))
        name = name or inner
    made: Run = default().run(what, rerun=rerun, name=name)
    if node is not None:
        if rerun:
            raise BadInput("expected either --rerun or --node, found both: a node replays what it has on file")
        from ipvm.commands.nodes import run_on

        made = run_on(node, made.workflow, name=name, grant=grant)
    elif grant is not None:
        raise BadInput("expected the node that the grant is for, found none: --node ws://HOST:PORT")
    return made


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
    """Return an answer in the shape of Homestar's notification (`homestar.md` 1.15), with the instruction beside it.

    A task without a receipt, one that was skipped, say, has a line too. Where a workflow has no name, Homestar's command
    line gives it that of its CID.
    """
    receipt = answer.receipt
    return {
        "metadata": {
            "name": run.name or str(run.workflow.cid),
            "replayed": answer.how == "replayed",
            "workflow": run.workflow.cid,
        },
        "instruction": answer.instruction,
        "how": answer.how,
        "receipt": receipt.to_ipld() if receipt is not None else None,
        "receipt_cid": receipt.cid if receipt is not None else None,
    }
