"""What sharing, opening, checking and comparing say: text for a terminal, a table for a notebook, data for `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm.shared.arriving import arrived, banner, opened
from ipvm.shared.checked import checked, compared
from ipvm.shared.leaving import leaving, left
from ipvm.shared.shown import shown
from ipvm.shared.told import Told, lines

if TYPE_CHECKING:
    from ipvm_kernel import CID, Session

__all__ = [
    "Told",
    "arrived",
    "banner",
    "checked",
    "compared",
    "is_share",
    "leaving",
    "left",
    "lines",
    "opened",
    "shown",
]


def is_share(session: Session, cid: CID) -> bool:
    """Return True if a CID is that of a share in the store."""
    if cid.codec != "dag-cbor" or session.store.size(cid) is None:
        return False
    value = session.find(cid).value
    return type(value) is dict and str(value.get("ipvm", "")).startswith("share/")
