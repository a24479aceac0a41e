"""Looking: at CIDs, at what they stand for, at why, and at what happened."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from ipvm import scenes
from ipvm.commands.things import cid_of, handle_of
from ipvm.views import View, brief, table, table_html
from ipvm_kernel import CID, Handle, Receipt, Workflow, dagjson
from ipvm_kernel.errors import IpvmError, Malformed
from ipvm_kernel.picture import html, text
from ipvm_kernel.printable import printable, seconds, size
from ipvm_kernel.session import default

_MODULE_BYTES: Final = 64 << 20  # a file of more is shown as a file


def cid(what: Any) -> View:
    """Return the CIDs of a workflow file: its own, and those of its instructions, tasks and invocations; or a file's.

    Args:
        what: A path, or an object of ipvm.
    """
    workflow = what if isinstance(what, Workflow) else None
    if isinstance(what, str | Path) and Path(what).expanduser().is_file():
        path = Path(what).expanduser()
        if path.suffix in {".json", ".cbor", ""}:
            try:
                workflow = Workflow.load(path)
            except Malformed:
                if path.suffix == ".json" and b'"tasks"' in path.read_bytes()[:4096]:
                    raise
        if workflow is None:
            found = default().file(path).cid
            return View(str(found), data=[{"file": found}])
    if workflow is None:
        named = cid_of(what)
        return View(str(named), data=[{"cid": named}])
    rows = [[t.run.func, str(t.run.cid), str(t.cid), str(t.invocation.cid)] for t in workflow.tasks]
    head = ["function", "instruction", "task", "invocation"]
    tasks = [
        {"func": t.run.func, "instruction": t.run.cid, "task": t.cid, "invocation": t.invocation.cid}
        for t in workflow.tasks
    ]
    return View(
        f"workflow {workflow.cid}\n{table(rows, head)}",
        html=f"<div>workflow {workflow.cid}</div>{table_html(rows, head)}",
        data=[{"workflow": workflow.cid, "tasks": tasks}],
    )


def show(x: Any) -> Any:
    """Show what a name or a CID stands for. In a notebook, an object of ipvm shows itself.

    Args:
        x: A name, a CID, or the short form of a CID.
    """
    if not isinstance(x, str | CID):
        return x
    session = default()
    found = session.find(cid_of(x))
    if found.kind == "file" and found.size <= _MODULE_BYTES and session.store.read(found.cid)[:4] == b"\0asm":
        return _module(found.cid)
    about = f"{found.kind} {found.cid} ({size(found.size)})"
    if isinstance(found.node, Receipt):
        instruction = session.instruction_of(found.cid)
        about += (
            f"\nof {printable(found.node.func, limit=80)}, instruction {instruction}{_origin(found.cid, instruction)}"
        )
    body = "" if found.kind == "file" else dagjson.dumps(_shortened(found.value), pretty=True)
    return View(
        f"{about}\n{body}".rstrip(),
        data=[{"cid": found.cid, "kind": found.kind, "size": found.size, "value": found.value}],
    )


def _module(cid: CID) -> View:
    """Show a module that is on file: its functions, and how values go into it and out."""
    view = scenes.module(default().module(cid))
    functions = [{"name": item.name, "signature": item.signature} for item in view.functions]
    about = {"cid": cid, "kind": "module", "size": view.size, "functions": functions, "way": view.way}
    return View(text.module(view), html=html.module(view), data=[about])


def _origin(receipt: CID, instruction: CID) -> str:
    """Say whether a receipt that was made elsewhere may be used."""
    kept = next((one for one in default().store.receipts_of(instruction) if one.cid == receipt), None)
    if kept is None or kept.own:
        return ""
    if kept.admitted:
        return "\nmade elsewhere, and admitted: it is replayed"
    if kept.trusted:
        return "\nmade elsewhere, and trusted: it is used once its task shows that it means the same here"
    return "\nmade elsewhere, unverified: it is never used"


def _shortened(value: Any) -> Any:
    """Return a value whose long bytes and texts are cut, for the eye."""
    match value:
        case bytes() if len(value) > 256:
            return f"<{size(len(value))} of bytes, beginning {value[:16].hex(' ')}>"
        case str() if len(value) > 2000:
            return printable(value, limit=2000, keep="\n\t")
        case str():
            return printable(value, limit=2000, keep="\n\t")
        case list() if len(value) > 100:
            return [*map(_shortened, value[:100]), f"… {len(value) - 100:,} more"]
        case list():
            return [_shortened(item) for item in value]
        case dict():
            return {key: _shortened(item) for key, item in value.items()}
        case _:
            return value


def why(x: Any) -> View:
    """Return why a task would be replayed or run now: a hit, a miss or uncacheable, and because of what.

    Args:
        x: A handle, or the name or CID of one, or of its receipt.
    """
    told = default().why(x if isinstance(x, Handle) else handle_of(x))
    verdict = {
        "hit": "hit: replayed, nothing runs",
        "miss": "miss: it will run",
        "uncacheable": "uncacheable: it runs again",
        "unverified": "unverified: it will run",
    }[told.verdict]
    name = printable(told.func, limit=80)
    text = "\n".join([f"{name} {told.instruction.short}: {verdict}", *(f"  - {reason}" for reason in told.reasons)])
    data: dict[str, Any] = {"instruction": told.instruction, "verdict": told.verdict, "reasons": list(told.reasons)}
    data |= {"receipt": told.receipt, "compared": told.compared}
    return View(text, data=[data])


def receipts(count: int = 20) -> View:
    """Return the latest receipts and failures, the newest first.

    Args:
        count: How many.
    """
    session = default()
    rows, data = [], []
    for entry in session.store.journal(limit=count):
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at))
        receipt = entry.receipt.short if entry.receipt is not None else "-"
        told = printable(entry.error, limit=60) if entry.error else _value(session, entry.receipt)
        rows.append(
            [
                when,
                entry.how,
                printable(entry.func, limit=30),
                entry.instruction.short,
                receipt,
                seconds(entry.seconds),
                told,
            ]
        )
        data.append(
            {"at": entry.at, "how": entry.how, "func": entry.func, "instruction": entry.instruction,
             "receipt": entry.receipt, "seconds": entry.seconds, "fuel": entry.fuel, "error": entry.error}
        )  # fmt: skip
    head = ["when", "how", "function", "instruction", "receipt", "took", "value"]
    if not rows:
        return View("no task was run in this store yet")
    return View(table(rows, head), html=table_html(rows, head), data=data)


def _value(session: Any, receipt: CID | None) -> str:
    if receipt is None:
        return ""
    try:
        value = session.receipt_at(receipt).value
    except IpvmError:
        return "dropped to make room"
    return brief(value)


def status() -> View:
    """Return the state of this session: its store, its limits, and what ran last."""
    session = default()
    usage = session.store.usage()
    limits = session.limits
    asked = [
        f"fuel {limits.fuel:,}" if limits.fuel is not None else "",
        f"memory {size(limits.memory)}" if limits.memory is not None else "",
        f"time {seconds(limits.time)}" if limits.time is not None else "",
    ]
    runs = session.store.runs(limit=5)
    rows = [
        [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started)), run.name or "-", f"[{run.count}]" if run.count else "-",
         run.workflow.short if run.workflow is not None else "-"]
        for run in runs
    ]  # fmt: skip
    last = "\n" + table(rows, ["run", "name", "cell", "workflow"]) if rows else ""
    text = (
        f"store {usage.where}: {usage.receipts:,} receipts, {size(usage.total_bytes)}\n"
        f"limits: {', '.join(filter(None, asked)) or 'none but what a task asks for'}\n"
        f"workers: {session.workers}{last}"
    )
    return View(text, data=[{"store": usage.where, "receipts": usage.receipts, "bytes": usage.total_bytes}])
