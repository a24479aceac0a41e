"""Statements in a store, read: who signed for a receipt. Each signature is checked once a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import IpvmError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipvm_kernel.ipld import CID, Block
    from ipvm_kernel.store import Store
    from ipvm_kernel.trust.attestation import Attestation

_REMEMBERED: Final = 100_000
_LOOKED_AT: Final = 64
"""Statements about one receipt that are looked at, in the order in which they came."""


class Statements:
    """The statements of one store.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[CID, Attestation | None] = {}

    def about(self, receipts: Iterable[CID]) -> dict[CID, list[Attestation]]:
        """Return the statements about some receipts whose signatures hold, whether they count or not."""
        found: dict[CID, list[Attestation]] = {}
        for receipt, blocks in self._store.attestations(receipts).items():
            for block in blocks[:_LOOKED_AT]:
                made = self._made(block)
                if made is not None and made.receipt == receipt:
                    found.setdefault(receipt, []).append(made)
        return found

    def _made(self, block: Block) -> Attestation | None:
        if block.cid not in self._read:
            from ipvm_kernel.trust import attestation  # its signatures need a library that few sessions do

            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            try:
                self._read[block.cid] = attestation.read(block)
            except IpvmError:
                self._read[block.cid] = None
        return self._read[block.cid]
