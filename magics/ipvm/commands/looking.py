"""Looking: at CIDs, at what they stand for, at why, and at what happened."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from ipvm import inspecting, scenes, shared, stale
from ipvm.commands.things import cid_of
from ipvm.views import View, brief, table, table_html
from ipvm_kernel import CID, Workflow
from ipvm_kernel.errors import IpvmError, Malformed
from ipvm_kernel.picture import html as html_of
from ipvm_kernel.picture import page, parts, text, tree
from ipvm_kernel.printable import printable, seconds, size
from ipvm_kernel.session import default

_MODULE_BYTES: Final = 64 << 20  # a file of more is shown as a file


def cid(what: Any) -> View:
    """Return the CIDs of a workflow file: its own, and those of its instructions, tasks and invocations; or a file's.

    That of a folder is the one that `ipfs add -r --cid-version=1` gives it, and nothing of it is kept.

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
    if isinstance(what, str | Path) and Path(what).expanduser().is_dir():
        from ipvm_kernel.session import shares

        folder = shares.path_cid(Path(what).expanduser())
        return View(str(folder), data=[{"folder": folder}])
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


def show(x: Any, *, html: str | Path | None = None) -> Any:
    """Show what a name or a CID stands for: fields, links to be followed, state, lineage. An object shows itself.

    Args:
        x: A name, a CID, or the short form of a CID.
        html: Write one page that can be read offline to this file instead; "" names the file after the CID.
    """
    if not isinstance(x, str | CID) and html is None:
        return x
    session = default()
    target = cid_of(x)
    if html is None and shared.is_share(session, target):
        share = shared.shown(session, target)
        return View(share.text, html=share.html, data=[share.data])
    found = inspecting.inspect(session, target)
    body = tree.html(found.tree)
    told = tree.text(found.tree)
    if found.json:
        told += f"\n\n{found.json}"
        body += parts.whole(parts.details(parts.quiet("DAG-JSON"), parts.pre(found.json, 40_000)))
    if (
        found.data["kind"] == "file"
        and found.data["size"] <= _MODULE_BYTES
        and session.store.read(target)[:4] == b"\0asm"
    ):
        module = _module(target)
        told, body, found.data = f"{module}\n{told}", f"{module.html}{body}", module.data[0] | {"codec": target.codec}
    if html is None:
        return View(told, html=body, data=[found.data])
    path = Path(html or f"{target.short}.html").expanduser()
    path.write_text(page.page(f"{found.data['kind']} {target}", body), encoding="utf-8")
    return View(f"{path} written", data=[{"file": str(path), "cid": target}])


def _module(cid: CID) -> View:
    """Show a module that is on file: its functions, and how values go into it and out."""
    view = scenes.module(default().module(cid))
    functions = [{"name": item.name, "signature": item.signature} for item in view.functions]
    about = {"cid": cid, "kind": "module", "size": view.size, "functions": functions, "way": view.way}
    return View(text.module(view), html=html_of.module(view), data=[about])


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
            {"at": entry.at, "how": entry.how, "func": printable(entry.func), "instruction": entry.instruction,
             "receipt": entry.receipt, "seconds": entry.seconds, "fuel": entry.fuel, "error": printable(entry.error)}
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
        [time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started)), printable(run.name, limit=60) or "-", f"[{run.count}]" if run.count else "-",
         run.workflow.short if run.workflow is not None else "-"]
        for run in runs
    ]  # fmt: skip
    heads = ["run", "name", "cell", "workflow"]
    about = (
        f"store {printable(usage.where, limit=1000)}: {usage.receipts:,} receipts, {size(usage.total_bytes)}\n"
        f"limits: {', '.join(filter(None, asked)) or 'none but what a task asks for'}\n"
        f"workers: {session.workers}"
    )
    told = about + ("\n" + table(rows, heads) if rows else "")
    shown = View(about).html + (table_html(rows, heads) if rows else "")
    data: dict[str, Any] = {"store": usage.where, "receipts": usage.receipts, "bytes": usage.total_bytes}
    names = stale.current()
    old = names.all() if names is not None else {}
    if old:
        lines = [[name, one.name, str(one.was), str(one.now)] for name, (_, why) in old.items() for one in why]
        heads = ["made from a different input", "input", "was", "is now"]
        told += "\n" + table(lines, heads)
        shown += table_html(lines, heads)
        data["stale"] = [
            {"name": name, "instruction": handle.cid, "input": one.name, "was": one.was, "now": one.now}
            for name, (handle, why) in old.items()
            for one in why
        ]
    return View(told, html=shown, data=[data])
