"""A store of one's own over others that are only read: a class, or a lab, reads what somebody prepared for it.

What the own store has is taken from there; what it has not is looked for in the layers, in order, with one question to each.
Only the own store is ever written. A layer that fails is left out from then on, and said so once: it never breaks a session.
"""

from __future__ import annotations

import os
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ipvm_kernel.errors import NotFound, StoreBusy, StoreDamaged, StoreError
from ipvm_kernel.store.base import not_here
from ipvm_kernel.store.layer import Layer
from ipvm_kernel.store.layered_journal import LayeredJournal, counts
from ipvm_kernel.store.records import LayerUsage, merged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipvm_kernel.ipld import CID, Block, FileBytes
    from ipvm_kernel.store.base import Claim, Store
    from ipvm_kernel.store.records import Filing, OnFile, Parcel, Received, Role

T = TypeVar("T")


def opened(own: Store, folders: str) -> Store:
    """Return a store over the layers in some folders.

    Args:
        own: The store that is written.
        folders: The folders, as `$IPVM_LAYERS` has them: with a colon between each two. One that cannot be used is left
            out, and said so.
    """
    home = getattr(own, "folder", None)
    seen = {home.resolve()} if isinstance(home, Path) else set()
    layers: list[Store] = []
    left: list[LayerUsage] = []
    for name in folders.split(os.pathsep):
        if not name:
            continue
        folder = Path(name).expanduser().absolute()
        if folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        try:
            layers.append(Layer(folder))
        except StoreError as error:
            left.append(LayerUsage(where=str(folder), why=error.message, left_out=True))
    return LayeredStore(own, layers, left)


class LayeredStore(LayeredJournal):
    """A store over others that are only read.

    What only the own store offers, such as `gc` and `folder`, is offered here too.

    Attributes:
        own: The store that is written.
        layers: Those that are read, in order. Receipts of one that has no true `own` are never used unless the user's
            policy says so.
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "own":
            raise AttributeError(name)
        return getattr(self.own, name)

    # --- blocks and files ---------------------------------------------------------------------------------------------

    def _content(self, cid: CID, look: Callable[[Store], T]) -> T:
        """Return bytes from the first store that has them. They are what their CID says, whoever kept them."""
        try:
            return look(self.own)
        except NotFound:
            damaged = ""
            for layer in tuple(self.layers):
                try:
                    return look(layer)
                except StoreDamaged as error:
                    damaged = f" ({error.message})"
                except (NotFound, StoreBusy):
                    continue
                except (StoreError, OSError) as error:
                    self._leave(layer, error)
            where = " and ".join([self.own.where, *(layer.where for layer in self.layers)])
            raise not_here(cid, f"{where}{damaged}") from None

    def put(self, block: Block) -> CID:
        """Keep a block and return its CID."""
        return self.own.put(block)

    def get(self, cid: CID) -> Block:
        """Return a block, checked."""
        if cid.codec == "dag-pb":
            return self.own.get(cid)  # which says why that is none
        return self._content(cid, lambda store: store.get(cid))

    def put_file(self, source: bytes | memoryview | Path, role: Role) -> CID:
        """Keep bytes, or the bytes of a file."""
        return self.own.put_file(source, role)

    def read(self, cid: CID) -> bytes:
        """Return the bytes of a file or raw block, checked."""
        return self._content(cid, lambda store: store.read(cid))

    def open(self, cid: CID) -> bytes | FileBytes:
        """Return the bytes of a file as `read` does or, where they are many, the file."""
        return self._content(cid, lambda store: store.open(cid))

    def size(self, cid: CID) -> int | None:
        """Return how many bytes a file or block has."""
        found = self.own.size(cid)
        if found is not None:
            return found
        return next((size for _, size in self._asked(lambda layer: layer.size(cid)) if size is not None), None)

    # --- receipts -----------------------------------------------------------------------------------------------------

    def file(self, filing: Filing | Received) -> None:
        """Put a receipt on file."""
        self.own.file(filing)

    def bring(self, parcel: Parcel) -> None:
        """Take in a parcel: all of it, or nothing."""
        self.own.bring(parcel)

    def attest(self, receipt: CID, attestation: Block) -> None:
        """Keep a signed statement about a receipt."""
        self.own.attest(receipt, attestation)

    def attestations(self, receipts: Iterable[CID]) -> dict[CID, list[Block]]:
        """Return the statements about each receipt that has any, those of the own store first."""
        wanted = list(receipts)
        found = {cid: {block.cid: block for block in blocks} for cid, blocks in self.own.attestations(wanted).items()}
        asked = [cid for cid in wanted if cid not in self._forgotten]
        for _, more in self._asked(lambda layer: layer.attestations(asked)):
            for cid, blocks in more.items():
                for block in blocks:
                    found.setdefault(cid, {}).setdefault(block.cid, block)
        return {cid: list(blocks.values()) for cid, blocks in found.items()}

    def on_file(self, instructions: Iterable[CID]) -> dict[CID, OnFile]:
        """Return the receipt on file for each instruction that has one. A receipt of one's own wins over a layer's."""
        wanted = list(instructions)
        found = self.own.on_file(wanted)
        ours = {cid for cid, one in found.items() if one.admitted}
        missing = [cid for cid in wanted if cid not in found or not (found[cid].admitted and found[cid].here)]
        if self._forgotten:
            missing = [cid for cid in missing if cid not in self._forgotten]
        for layer in tuple(self.layers):
            if not missing:
                break
            for _, more in self._asked(methodcaller("on_file", missing), [layer]):
                for cid, one in more.items():
                    found[cid] = _better(found.get(cid), _as_it_counts(layer, one), own=cid in ours)
            missing = [cid for cid in missing if cid not in found or not (found[cid].admitted and found[cid].here)]
        return found

    def outcome(self, key: bytes) -> OnFile | None:
        """Return the receipt of a task with this resolved key: one's own, or of a layer that counts as that."""
        found = self.own.outcome(key)
        if found is not None and found.here:
            return found
        for layer, other in self._asked(lambda layer: layer.outcome(key) if counts(layer) else None):
            if other is not None and other.here and other.instruction not in self._forgotten:
                counted = _as_it_counts(layer, other)
                if counted.admitted and (found is None or found.cid == other.cid):
                    return counted
        return found

    def receipts_of(self, instruction: CID) -> list[OnFile]:
        """Return every receipt for an instruction, the chosen one first."""
        candidates = self.own.receipts_of(instruction)
        if instruction not in self._forgotten:
            for layer, more in self._asked(lambda layer: layer.receipts_of(instruction)):
                candidates += [_as_it_counts(layer, one) for one in more]
        chosen = self.on_file([instruction]).get(instruction)
        return sorted(merged(candidates), key=lambda one: chosen is not None and one.cid != chosen.cid)

    def forget(self, instructions: Iterable[CID]) -> int:
        """Take the receipts of some instructions off file; those of layers are not looked for any more in this session."""
        wanted = list(instructions)
        there = [one.cid for cid in wanted if cid not in self._forgotten for one in self.receipts_of(cid)]
        self.own.forget(wanted)
        self._forgotten.update(wanted, there)
        return len(there)

    def claim(self, key: bytes) -> Claim | None:
        """Return the right to run a task."""
        return self.own.claim(key)


def _as_it_counts(layer: Store, one: OnFile) -> OnFile:
    """Return a receipt of a layer as it counts here: as there, if the layer counts as one's own and uses it; else as foreign."""
    if one.admitted and counts(layer):
        return msgspec.structs.replace(one, lent=one.own)
    return msgspec.structs.replace(one, own=False, admitted=False, trusted=False, lent=False)


def _better(one: OnFile | None, other: OnFile, *, own: bool) -> OnFile:
    """Return which of two receipts for an instruction answers, the first of which was found earlier.

    Args:
        one: The first, if there is one.
        other: The second.
        own: True if the first is of the own store, which wins; what was dropped of it is taken from the second.
    """
    if one is None:
        return other
    if one.cid == other.cid:
        return merged([one, other])[0]
    if own or not other.admitted:
        return one
    return one if one.admitted and one.here else other
