"""Exchanging: files of Homestar's and receipts of other machines, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipvm import scenes, shared
from ipvm.commands.things import cid_of, thing_of, told_on_terminal
from ipvm.views import View
from ipvm_kernel import Workflow
from ipvm_kernel.errors import BadInput
from ipvm_kernel.picture import png, svg
from ipvm_kernel.printable import plural, printable, size
from ipvm_kernel.session import default, export_capsule, export_crate, export_database, export_prov, workflow_of
from ipvm_kernel.session import load as bring

if TYPE_CHECKING:
    from ipvm_kernel import CID, Session


def get(what: str, file: str | Path | None = None) -> View:
    """Fetch what a CID or an address names, check it against its CID, and keep it.

    What is on file is not fetched; what an `https:` address gives is fetched again, and must be what it was.

    Args:
        what: A CID, an `ipfs://`, `https:` or `file:` address, or the URL of a gateway.
        file: Where to write it, too; a folder of IPFS is written to a new folder, whose name ends in "/".
    """
    session = default()
    if file is not None and (str(file).endswith("/") or Path(file).expanduser().is_dir()):
        return _folder(session, what, Path(file).expanduser())
    with told_on_terminal():
        cid = session.resources.check(what)
        if shared.is_share(session, cid):
            return _share(session, cid)
    count = session.store.size(cid) or 0
    text = f"{cid}, {size(count)}"
    if file is not None:
        target = Path(file).expanduser()
        content = session.load(cid)
        target.write_bytes(content if isinstance(content, bytes) else session.store.get(cid).data)
        text += f", written to {target}"
    return View(text, data=[{"address": what, "cid": cid, "bytes": count}])


def _folder(session: Session, what: str, target: Path) -> View:
    """Write a folder of IPFS to the disk, under names that can do no harm."""
    cid = session.resolve(what)
    with told_on_terminal():
        paths = session.resources.unpack(cid, target)
    session.store.sync()
    return View(
        f"{plural(len(paths), 'file')} written to {target}, every block checked",
        data=[{"address": what, "cid": cid, "files": [str(path) for path in paths]}],
    )


def _share(session: Session, cid: CID) -> View:
    """Bring in a share, whole."""
    from ipvm_kernel.session import shares

    shares.arrive(session, cid)
    made = shares.share_of(session, cid)
    return View(
        f"{cid}, a shared {made.share.kind} with {plural(len(made.receipts), 'receipt')}: `ipvm open {cid.short}` writes it, "
        f"`ipvm check {cid.short}` checks it",
        data=[{"address": str(cid), "cid": cid, "kind": made.share.kind, "receipts": len(made.receipts)}],
    )


def load(file: str | Path, *, trust: bool = False) -> View:
    """Bring in a file: an archive (CAR), a database of Homestar's, a capsule of a receipt, or a workflow.

    Of an archive every block is checked, and all of it comes in or nothing.

    Args:
        file: Its path.
        trust: Its receipts may be replayed.
    """
    path = Path(file).expanduser()
    if path.is_file():
        from ipvm_kernel.session import shares

        if shares.is_archive(path):
            with told_on_terminal():
                told = shared.arrived(default(), shares.load_archive(default(), path, trust=trust))
            return View(told.text, data=[told.data], failed=bool(told.data["refused"]))
    loaded = bring(default(), path, trust=trust)
    data: list[Any] = [{"instruction": named.instruction, "receipt_cid": named.receipt} for named in loaded.receipts]
    data += [{"workflow": cid} for cid in loaded.workflows]
    data += [{"refused": line} for line in loaded.refused]
    return View(loaded.summary(), data=data, failed=bool(loaded.refused))


_FORMATS: Final = {
    "capsule": "a capsule of a receipt, task or workflow, as Homestar sends it",
    "dot": "the graph as Graphviz text",
    "mermaid": "the graph as Mermaid text",
    "svg": "the graph as a picture",
    "png": "the graph as a picture of pixels",
    "prov": "what was done as W3C PROV-JSON",
    "crate": "what was done as a Workflow Run RO-Crate, a folder or a .zip",
    "car": "an archive of a receipt, task, workflow, notebook or share with all that it needs",
}
_ENDINGS: Final = {
    ".car": "car",
    ".dot": "dot", ".gv": "dot", ".mmd": "mermaid", ".mermaid": "mermaid", ".svg": "svg", ".png": "png",
    ".prov.json": "prov", ".provjson": "prov", ".zip": "crate", ".crate": "crate",
}  # fmt: skip


def export(
    x: Any = None,
    file: str | Path | None = None,
    *,
    with_: str | None = None,
    format: str | None = None,  # noqa: A002 - as it is typed
    homestar_db: str | Path | None = None,
) -> View:
    """Write receipts, graphs and provenance for others.

    Args:
        x: What to write: a receipt, a task, or a workflow.
        file: The file; its ending says the format if `format` does not.
        with_: For an archive, which content goes along: modules, inputs, outputs, with commas (all).
        format: car, capsule, dot, mermaid, svg, png, prov or crate.
        homestar_db: A database for Homestar, new or of a node that is not running: of all receipts, or of X.
    """
    session = default()
    if homestar_db is None:
        if x is None or file is None:
            raise BadInput("expected X and FILE, or --homestar-db FILE for a database; found neither")
        return _export(session, x, Path(file).expanduser(), format, with_)
    if format is not None:
        raise BadInput("expected either --format or --homestar-db; found both")
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


def _export(session: Session, x: Any, target: Path, chosen: str | None, parts: str | None) -> View:
    """Write one thing in one format."""
    name = target.name.lower()
    form = chosen or next((form for ending, form in _ENDINGS.items() if name.endswith(ending)), "capsule")
    if form not in _FORMATS:
        raise BadInput(f"expected a format among {', '.join(_FORMATS)}; found {printable(form, limit=40)!r}")
    if form == "car":
        from ipvm.commands.sharing import archive

        return archive(session, x, target, parts)
    if form == "capsule":
        written = export_capsule(session, cid_of(x), target)
        return View(f"{written} written to {target}", data=[{"file": str(target), "cid": written}])
    what = thing_of(x)
    if form == "crate":
        count = export_crate(session, what, target)
        return View(
            f"{plural(count, 'file')} written to {target}", data=[{"file": str(target), "format": form, "files": count}]
        )
    content: str | bytes
    if form == "prov":
        content = export_prov(session, what)
    else:
        workflow = workflow_of(session, what)
        if form == "dot":
            content = workflow.to_dot()
        elif form == "mermaid":
            content = workflow.to_mermaid()
        else:
            picture = svg.draw(scenes.workflow(workflow))
            content = picture if form == "svg" else png.png(picture)
    data = content.encode() if isinstance(content, str) else content
    try:
        target.write_bytes(data)
    except OSError as error:
        raise BadInput(f"{target} cannot be written: {error.strerror}") from None
    return View(
        f"{size(len(data))} written to {target}: {_FORMATS[form]}", data=[{"file": str(target), "format": form}]
    )
