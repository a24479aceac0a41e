"""Verifying: every block is hashed again and held against its CID. SQLite's own check sees only its own pages."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from ipvm_kernel.errors import IpvmError, NotFound, StoreDamaged
from ipvm_kernel.ipld import CID
from ipvm_kernel.ipld.unixfs import file_cid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.store.base import Store


class Verified(msgspec.Struct):
    """What a verification found.

    Attributes:
        checked: How many blocks and files were hashed.
        size: How many bytes that was.
        bad: Those that are not what was written, or are gone.
    """

    checked: int = 0
    size: int = 0
    bad: list[CID] = msgspec.field(default_factory=list)


def verify(store: Store, *, share: float = 1.0, seed: int = 0) -> Iterator[Verified]:
    """Hash what a store holds, and yield how far it is; the last is the whole.

    Args:
        store: The store.
        share: Which part to look at, 0 to 1, chosen at random.
        seed: What the choice follows from.
    """
    found = Verified()
    chosen = random.Random(seed)  # noqa: S311 - a sample, no secret
    for cid in store.cids():
        if share < 1.0 and chosen.random() >= share:
            continue
        try:
            data = store.read(cid) if cid.codec == "dag-pb" else store.get(cid).data
            if cid.codec == "dag-pb" and file_cid(data) != cid:  # a read checks a large file once a session
                raise StoreDamaged(str(cid))
            found.size += len(data)
        except (NotFound, StoreDamaged, IpvmError):
            found.bad.append(cid)
        found.checked += 1
        if not found.checked % 256:
            yield found
    yield found
