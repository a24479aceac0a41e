"""What `ipvm show` says of a share: what it is, what goes along and what does not, and who signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipvm.shared.arriving import signers
from ipvm.shared.told import Told
from ipvm_kernel.printable import plural, printable, size
from ipvm_kernel.session import shares

if TYPE_CHECKING:
    from ipvm_kernel import CID, Session

_ROWS: Final = 40


def shown(session: Session, root: CID) -> Told:
    """Return what a share in the store is."""
    made = shares.share_of(session, root)
    share = made.share
    rows = [
        [one.part, one.name or "-", str(one.cid), size(one.size), where]
        for listed, where in ((made.content, "along"), (made.left, "left out"))
        for one in listed
        if one.part != "block"
    ]
    before = [
        f"{root}: a shared {share.kind}, {printable(share.name, limit=100)}",
        f"{plural(len(made.receipts), 'receipt')}, {plural(len(made.statements), 'statement')}; it is about {share.about}",
    ]
    signed = session.admission.statements.about([one.receipt for one in made.receipts])
    before += signers(session, [(one.instruction, signed.get(one.receipt, [])) for one in made.receipts])
    after = [f"… and {len(rows) - _ROWS:,} more"] if len(rows) > _ROWS else []
    if share.files:
        names = ", ".join(printable(name, limit=80) for name in list(share.files)[:_ROWS])
        after.append(f"files that its cells read: {names}")
    if share.environment:
        made_with = [
            f"{printable(name, limit=40)} {printable(said, limit=40)}" for name, said in share.environment.items()
        ]
        after.append(f"made with {', '.join(made_with[:_ROWS])}")
    after.append(
        f"ipvm check {root.short} checks it"
        + (f", ipvm open {root.short} writes it" if share.kind == "notebook" else "")
    )
    data = {
        "cid": root,
        "kind": "share",
        "of": share.kind,
        "name": printable(share.name, limit=100),
        "receipts": len(made.receipts),
    }
    return Told(before, ["part", "name", "CID", "size", ""], rows[:_ROWS], after, data=data)
