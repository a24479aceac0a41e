"""Comparing two shared notebooks by their receipts: which cells say the same, and which tasks came out otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ipvm_kernel.errors import BadInput
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.printable import printable
from ipvm_kernel.session import arriving
from ipvm_kernel.sharing import notebook as notebooks
from ipvm_kernel.sharing.manifest import opened
from ipvm_kernel.sharing.notebook import CellChange

if TYPE_CHECKING:
    from ipvm_kernel.session.session import Session
    from ipvm_kernel.sharing.notebook import Notebook


class SharesDiff(msgspec.Struct, kw_only=True):
    """How two notebooks differ.

    Attributes:
        names: How they are called.
        cells: Cell by cell.
        equal: Tasks with the same receipt in both.
        changed: Tasks in both, with another receipt each.
        gone: Tasks of the first alone.
        new: Tasks of the second alone.
    """

    names: tuple[str, str]
    cells: list[CellChange]
    equal: int
    changed: dict[CID, tuple[CID, CID]]
    gone: dict[CID, CID]
    new: dict[CID, CID]


def compare(session: Session, a: Path | CID, b: Path | CID) -> SharesDiff:
    """Return how two notebooks differ, each a path, an archive or the CID of a share.

    Raises:
        NotFound: One is not here, and nobody has it.
        BadInput, Malformed: One is no notebook.
    """
    (one, first, mine), (other, second, theirs) = _read(session, a), _read(session, b)
    both = first.keys() & second.keys()
    return SharesDiff(
        names=(mine, theirs),
        cells=notebooks.compared(one, other),
        equal=sum(first[cid] == second[cid] for cid in both),
        changed={cid: (first[cid], second[cid]) for cid in first if cid in both and first[cid] != second[cid]},
        gone={cid: receipt for cid, receipt in first.items() if cid not in both},
        new={cid: receipt for cid, receipt in second.items() if cid not in both},
    )


def _read(session: Session, what: Path | CID) -> tuple[Notebook, dict[CID, CID], str]:
    """Return a notebook, the receipts that go with it, and its name. Nothing is brought in."""
    if isinstance(what, Path):
        if not arriving.is_archive(what):
            notebook = notebooks.read(what)
            return notebook, dict(notebook.receipts), what.name
        with arriving.indexed(what) as (archive, index):
            root = arriving.share_root(archive.roots, index)
            if root is None:
                raise BadInput(
                    f"expected what `ipvm share` makes, found another archive: {printable(str(what), limit=300)}"
                )
            made = opened(root, lambda cid: Block(cid, index.get(cid)))
            data = arriving.file_in(index, made.share.about)
    else:
        arriving.fetch_share(session, what)
        made = arriving.share_of(session, what)
        data = session.store.read(made.share.about)
    receipts = {one.instruction: one.receipt for one in made.receipts}
    with arriving.about_notebook(made.share.about):
        notebook = notebooks.read(data)
    return notebook, receipts, f"{made.share.name} ({what if isinstance(what, CID) else what.name})"
