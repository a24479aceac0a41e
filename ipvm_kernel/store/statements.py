"""Signed statements about receipts in a store on disk: blocks, and which receipt each is about."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import Block
from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.store import sql
from ipvm_kernel.store.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.store.records import Parcel


class Statements(Journal):
    """The part of a store on disk that keeps what others say about receipts, and takes in what they send."""

    def get(self, cid: CID) -> Block:
        """Return a block, checked. The whole store says how."""
        raise NotImplementedError

    def bring(self, parcel: Parcel) -> None:
        """Take in a parcel: all of it, durable when this returns, or nothing (see `quarantine`)."""
        self._disk.bring(parcel)

    def attest(self, receipt: CID, attestation: Block) -> None:
        """Keep a signed statement about a receipt, which need not be here."""
        writer = self._disk.writer
        with writer.lock:
            size = writer.open.add_block(attestation, "block")
            writer.open.attestations[receipt, attestation.cid] = None
            self._added(size)

    def attestations(self, receipts: Iterable[CID]) -> dict[CID, list[Block]]:
        """Return the statements about each receipt that has any. One that is not what was written is left out."""
        wanted = {cid.bytes: cid for cid in receipts}
        waiting: list[tuple[CID, Block]] = []
        with self._disk.writer.lock:
            for batch in reversed(self._disk.writer.batches()):
                pairs = [pair for pair in batch.attestations if pair[0].bytes in wanted]
                waiting += [(receipt, batch.blocks[cid][0]) for receipt, cid in pairs]
        found: dict[CID, dict[CID, Block]] = {}
        for query, chunk in sql.asked(sql.ATTESTATIONS, list(wanted)):
            for raw, named, data in self._disk.rows(query, chunk):
                cid = unchecked(named)
                with contextlib.suppress(IpvmError):
                    block = self.get(cid) if data is None else Block.checked(cid, data)
                    found.setdefault(wanted[raw], {})[cid] = block
        for receipt, block in waiting:
            found.setdefault(receipt, {}).setdefault(block.cid, block)
        return {receipt: list(blocks.values()) for receipt, blocks in found.items()}
