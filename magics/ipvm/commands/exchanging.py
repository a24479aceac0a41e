"""Exchanging: files of Homestar's and receipts of other machines, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipvm.commands.things import cid_of, told_on_terminal
from ipvm.views import View
from ipvm_kernel import Workflow
from ipvm_kernel.errors import BadInput
from ipvm_kernel.printable import plural, size
from ipvm_kernel.session import default, export_capsule, export_database
from ipvm_kernel.session import load as bring


def get(what: str, file: str | Path | None = None) -> View:
    """Fetch what a CID or an address names, check it against its CID, and keep it.

    What is on file is not fetched; what an `https:` address gives is fetched again, and must be what it was.

    Args:
        what: A CID, an `ipfs://`, `https:` or `file:` address, or the URL of a gateway.
        file: Where to write it, too.
    """
    session = default()
    with told_on_terminal():
        cid = session.resources.check(what)
    count = session.store.size(cid) or 0
    text = f"{cid}, {size(count)}"
    if file is not None:
        target = Path(file).expanduser()
        content = session.load(cid)
        target.write_bytes(content if isinstance(content, bytes) else session.store.get(cid).data)
        text += f", written to {target}"
    return View(text, data=[{"address": what, "cid": cid, "bytes": count}])


def load(file: str | Path, *, trust: bool = False) -> View:
    """Bring in a file: a database of Homestar's, a capsule of a receipt, or a workflow.

    Args:
        file: Its path.
        trust: Its receipts may be replayed.
    """
    loaded = bring(default(), Path(file).expanduser(), trust=trust)
    data: list[Any] = [{"instruction": named.instruction, "receipt_cid": named.receipt} for named in loaded.receipts]
    data += [{"workflow": cid} for cid in loaded.workflows]
    data += [{"refused": line} for line in loaded.refused]
    return View(loaded.summary(), data=data, failed=bool(loaded.refused))


def export(x: Any = None, file: str | Path | None = None, *, homestar_db: str | Path | None = None) -> View:
    """Write receipts for others: one as a capsule, or all of them, or those of a workflow, as a database for Homestar.

    Args:
        x: What to write: a receipt, a task, or a workflow.
        file: The capsule.
        homestar_db: The database, new or of a node that is not running.
    """
    session = default()
    if homestar_db is None:
        if x is None or file is None:
            raise BadInput("expected X and FILE for a capsule, or --homestar-db FILE for a database; found neither")
        target = Path(file).expanduser()
        written = export_capsule(session, cid_of(x), target)
        return View(f"{written} written to {target}", data=[{"file": str(target), "cid": written}])
    if file is not None:
        raise BadInput("expected one file: FILE for a capsule, or --homestar-db FILE for a database; found both")
    target = Path(homestar_db).expanduser()
    only = None
    if x is not None:
        node = x if isinstance(x, Workflow) else session.find(cid_of(x)).node
        only = set(node.by_instruction()) if isinstance(node, Workflow) else {session.instruction_of(cid_of(x))}
    receipts, workflows, left = export_database(session, target, only)
    text = f"{plural(receipts, 'receipt')} and {plural(workflows, 'workflow')} written to {target}"
    if left:
        text += f"; {left:,} left out, which Homestar would not take for what they are"
    return View(text, data=[{"file": str(target), "receipts": receipts, "workflows": workflows, "left": left}])
