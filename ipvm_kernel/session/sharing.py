"""Sharing: a notebook, a workflow or a receipt becomes one CID that leads to all that it needs, and an archive of it.

What would leave is listed first; nothing leaves but what the user shares, and nothing that came of a secret.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ipvm_kernel.errors import BadInput, IpvmError, NotAllowed, NotFound
from ipvm_kernel.ipld import CID, car
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Instruction, Invocation, Receipt, Task, Workflow
from ipvm_kernel.printable import printable
from ipvm_kernel.session.signing import sign
from ipvm_kernel.sharing import beside, gathering, packing, secrecy
from ipvm_kernel.sharing.gathering import Bundle
from ipvm_kernel.sharing.manifest import Part, Share
from ipvm_kernel.sharing.notebook import Notebook
from ipvm_kernel.sharing.unpacking import pin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ipvm_kernel.session.session import Session

_NAME: Final = re.compile(r"[^\w.-]+")


class Offer(msgspec.Struct, kw_only=True):
    """What would leave, or has left.

    Attributes:
        bundle: Receipts and content.
        kind: What is shared.
        name: What it is called.
        about: The notebook's file, the workflow or the receipt.
        workflows: Workflows that the receipts belong to, and how many bytes each has.
        files: Files that the notebook reads by a path, by that path.
        outside: Paths that the notebook reads and that a reader will not have.
        kept: The notebook as it leaves, and the files that go along with it: put in the store when the share is made.
        environment: Versions.
        notebook: The notebook, if one is shared.
        warnings: What the user should see before it leaves.
        cleaned: What of the notebook does not leave, one line each.
        share: The share, once it is made.
        statements: How many receipts are signed, once it is made.
    """

    bundle: Bundle
    kind: str
    name: str
    about: CID
    workflows: dict[CID, int] = msgspec.field(default_factory=dict)
    files: dict[str, CID] = msgspec.field(default_factory=dict)
    outside: list[str] = msgspec.field(default_factory=list)
    kept: list[bytes | Path] = msgspec.field(default_factory=list)
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    notebook: Notebook | None = None
    warnings: list[str] = msgspec.field(default_factory=list)
    cleaned: list[str] = msgspec.field(default_factory=list)
    share: Share | None = None
    statements: int = 0

    @property
    def size(self) -> int:
        """Bytes of all that goes along, about; signatures, which are not made yet, come on top."""
        along = sum(len(one) if isinstance(one, bytes) else one.stat().st_size for one in self.kept)
        return self.bundle.size + sum(self.workflows.values()) + along

    @property
    def file_name(self) -> str:
        """How the archive is called."""
        return f"{_NAME.sub('-', Path(self.name).stem)[:80] or 'shared'}.car"


def prepare(
    session: Session,
    what: Path | CID,
    *,
    parts: Collection[Part] = gathering.PARTS,
    most: int = gathering.MOST_BYTES,
    secrets: bool = False,
) -> Offer:
    """Return what would leave if something was shared. Nothing leaves, and nothing is signed.

    Args:
        session: Where its receipts are.
        what: A notebook's path, or the CID of a receipt, task, workflow or file.
        parts: Which content goes along.
        most: Bytes of one input or output that goes along, at most.
        secrets: What came of a secret is no reason to refuse: nothing is going to leave.

    Raises:
        NotFound: It is not here.
        Malformed: It is no notebook.
        NotAllowed: Something came of a secret.
    """
    session.store.sync()
    made = _notebook(session, what, parts, most) if isinstance(what, Path) else _thing(session, what, parts, most)
    if not secrets:
        others = {f"the workflow {cid.short}": cid for cid in made.workflows}
        gathering.refuse_secrets(session.store, made.bundle, {**others, **made.files})
        for notebook in made.kept:
            if isinstance(notebook, bytes):
                gathering.refuse_notebook(session.store, notebook)
    return made


def _notebook(session: Session, path: Path, parts: Collection[Part], most: int) -> Offer:
    from ipvm_kernel.sharing import notebook as notebooks

    found = notebooks.read(path)
    dropped: list[str] = []
    data = notebooks.cleaned(found, dropped=dropped)
    wanted: dict[CID, CID | None] = {}
    workflows: dict[CID, int] = {}
    for cell in found.cells:
        wanted.update(cell.receipts)
        for cid in cell.workflows:
            workflow = _workflow(session, cid)
            if workflow is not None:
                workflows[cid] = len(workflow.block.data)
                wanted = {**dict.fromkeys(workflow.by_instruction()), **wanted}
    bundle = gathering.gather(session.store, wanted, on_file=session.admission.on_file, parts=parts, most=most)
    around = beside.beside(session.store, path.parent, found, bundle, most)
    along = "file" in parts
    return Offer(
        bundle=bundle,
        kind="notebook",
        name=path.name,
        about=file_cid(data),
        workflows=workflows,
        files=around.files if along else {},
        outside=[*around.outside, *around.large, *(() if along else around.files)],
        environment=beside.environment(found),
        kept=[data, *(path.parent / name for name in (around.files if along else ()))],
        notebook=found,
        warnings=notebooks.leaks(found),
        cleaned=dropped,
    )


def _workflow(session: Session, cid: CID) -> Workflow | None:
    try:
        return Workflow.from_block(session.store.get(cid), trusted=True)
    except IpvmError:
        return None


def _thing(session: Session, cid: CID, parts: Collection[Part], most: int) -> Offer:
    node = session.find(cid).node
    wanted: Mapping[CID, CID | None]
    workflows: dict[CID, int] = {}
    match node:
        case Workflow():
            wanted, kind, about, name = dict.fromkeys(node.by_instruction()), "workflow", cid, f"workflow {cid.short}"
            workflows = {cid: len(node.block.data)}
        case Receipt():
            instruction = session.instruction_of(cid)
            wanted, kind, about, name = {instruction: cid}, "receipt", cid, f"{node.func} {cid.short}"
        case Instruction() | Task() | Invocation():
            instruction = session.instruction_of(cid)
            found = session.admission.on_file([instruction]).get(instruction)
            if found is None or not found.admitted:
                raise NotFound(f"{cid} has no receipt to be shared: run it first")
            wanted, kind, about = {instruction: found.cid}, "receipt", found.cid
            name = f"{found.receipt.func if found.receipt is not None else 'receipt'} {found.cid.short}"
        case _:
            raise BadInput(f"expected a notebook, receipt, task or workflow, found a {session.find(cid).kind}: {cid}")
    bundle = gathering.gather(session.store, wanted, on_file=session.admission.on_file, parts=parts, most=most)
    if not bundle.receipts:
        why = f": {bundle.missing[0]}" if bundle.missing else ""
        raise NotFound(f"nothing of {cid} can be shared{why}")
    return Offer(
        bundle=bundle, kind=kind, name=printable(name, limit=200), about=about, workflows=workflows, environment={}
    )


def seal(session: Session, offer: Offer, *, signed: bool = True) -> Share:
    """Make the share of what was prepared: sign for what was made here, and pin it so that it stays.

    Raises:
        IpvmError: The key cannot be read or made.
    """
    kept = {session.store.put_file(one, "input") for one in offer.kept}
    changed = [name for name, cid in offer.files.items() if cid not in kept]
    if changed:
        raise BadInput(f"{printable(changed[0], limit=200)} has changed since it was listed: share again")
    statements = sign(session, offer.bundle.receipts.values(), own=signed)
    share = packing.pack(
        session.store,
        offer.bundle,
        kind=offer.kind,  # type: ignore[arg-type]
        name=offer.name,
        about=offer.about,
        statements=statements,
        workflows=offer.workflows,
        files=offer.files,
        environment=offer.environment,
    )
    offer.share, offer.statements = share, len(statements)
    session.store.pin(pin_of(share.name, share.cid), share.cid)
    session.store.sync()
    return share


def write_archive(session: Session, root: CID, target: Path, told: Callable[[int], None] | None = None) -> int:
    """Write the archive of a share, whole or not at all, and return its bytes.

    Raises:
        BadInput: It cannot be written there.
        NotFound: A part of the share is not here any more.
    """
    fresh = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with fresh.open("wb") as file:
            count = 0
            for piece in car.parts([root], packing.contents(session.store, root)):
                file.write(piece)
                count += len(piece)
                if told is not None:
                    told(count)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    except OSError as error:
        raise BadInput(f"{target} cannot be written: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return count


def undo(session: Session, root: CID) -> list[str]:
    """Take the pins of a share away, and return their names. What others have fetched they keep."""
    names = [name for name, cid in session.store.pins().items() if cid == root and name.startswith("share/")]
    for name in names:
        session.store.unpin(name)
    return names


def secret(session: Session, cid: CID, name: str) -> str:
    """Mark something that must not leave this machine, nor anything that comes of it, and return the name of the mark."""
    label = f"{secrecy.MARK}{name or cid.short}"
    before = session.store.pins().get(label)
    if before is not None and before != cid:
        raise NotAllowed(f"another secret is called {printable(label, limit=80)!r}: give this one a name of its own")
    session.store.pin(label, cid)
    return label
