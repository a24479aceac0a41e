"""What a cache gives out of a store: receipts with all that explains them, and content by CID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ipvm_kernel.errors import IpvmError, NotFound
from ipvm_kernel.exchange.caches.base import ANSWER_BYTES, REACHED, RECEIPTS
from ipvm_kernel.ipld import CID, PEER, Block, FileBytes, encode
from ipvm_kernel.ipld.car import parts
from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ipvm_kernel.store import OnFile, Store

_AT_ONCE: Final = 256
_ROOTS: Final = 8192  # of an archive; readers take 10,000
_TREES: Final = 64  # files whose trees are remembered
_FILE_CODECS: Final = frozenset({"raw", "dag-pb"})


class Told(NamedTuple):
    """What is known about some instructions.

    Attributes:
        roots: The receipts.
        blocks: They, their invocations and the statements about them.
        reached: How many of the instructions, from the first on, this is about.
    """

    roots: list[CID]
    blocks: list[Block]
    reached: int

    def archive(self, asked: int) -> Iterator[bytes]:
        """Yield it as an archive, which says how far it came if that is not all that was asked."""
        found = self.blocks
        if self.reached < asked:
            data = encode({REACHED: self.reached})
            found = [Block(CID.of(data, "dag-cbor", "sha2-256"), data), *found]
        return parts(self.roots, ((block.cid, block.data) for block in found))


class Shelf:
    """What a cache gives out of a store.

    Receipts that were made here, and those from elsewhere that may be used here; never an error, which is for nobody else.

    Args:
        store: The store.
        statements: Returns signed statements about receipts, such as the server's own about what it made.
        look: Returns the receipts that may be given for some instructions, best first; those of the store that may be
            replayed, unless it is given.
    """

    def __init__(
        self,
        store: Store,
        statements: Callable[[Sequence[OnFile]], Iterable[Block]] | None = None,
        look: Callable[[Sequence[CID]], Iterable[OnFile]] | None = None,
    ) -> None:
        self._store = store
        self._statements = statements
        self._look = look or self._admitted
        self._trees: dict[CID, bytes] = {}

    def _admitted(self, instructions: Sequence[CID]) -> Iterator[OnFile]:
        for instruction in instructions:
            yield from (one for one in self._store.receipts_of(instruction) if one.admitted)

    def told(self, instructions: Sequence[CID], most: int = ANSWER_BYTES // 4) -> Told:
        """Return what is known about instructions, up to about `most` bytes and always something about the first."""
        made = Told([], [], 0)
        size = reached = 0
        for at in range(0, len(instructions), _AT_ONCE):
            chunk = instructions[at : at + _AT_ONCE]
            found: dict[CID, list[tuple[OnFile, Block, Block]]] = {}
            for one in self._look(chunk):
                row = found.setdefault(one.instruction, [])
                explained = self._explained(one) if len(row) < RECEIPTS else None
                if explained is not None:
                    row.append((one, *explained))
            kept: list[OnFile] = []
            for instruction in chunk:
                row = found.get(instruction, [])
                more = sum(len(block.data) for _, *two in row for block in two)
                if reached and (size + more > most or len(made.roots) + len(row) > _ROOTS):
                    break
                for one, receipt, invocation in row:
                    made.roots.append(one.cid)
                    made.blocks.extend((receipt, invocation))
                    kept.append(one)
                size, reached = size + more, reached + 1
            told = self._about(kept)
            made.blocks.extend(told)
            size += sum(len(block.data) for block in told)
            if reached < at + len(chunk):
                break
        return made._replace(reached=reached)

    def _explained(self, one: OnFile) -> tuple[Block, Block] | None:
        """Return the blocks of a receipt and its invocation, or None if they are not here, or for nobody else."""
        try:
            receipt = one.receipt
            if receipt is None or not receipt.ok or one.ran is None:
                return None
            found = receipt.block, self._store.get(one.ran)
        except IpvmError:  # damaged, or gone meanwhile: `ipvm verify` says so; whoever asks works it out
            return None
        return found if all(len(block.data) <= PEER.block_bytes for block in found) else None

    def _about(self, receipts: Sequence[OnFile]) -> list[Block]:
        if not receipts:
            return []
        known = self._store.attestations([one.cid for one in receipts])
        found = [block for told in known.values() for block in told]
        if self._statements is not None:
            found.extend(self._statements(receipts))
        return list({block.cid: block for block in found}.values())

    # --- content ------------------------------------------------------------------------------------------------------

    def block(self, cid: CID) -> bytes:
        """Return the bytes of one block: kept as such, or the root of a file that is kept whole.

        Raises:
            NotFound: It is not here.
        """
        if cid.codec == "dag-pb":
            return self._root(cid)
        data = self._store.get(cid).data
        if len(data) > PEER.block_bytes:
            raise NotFound(
                f"{cid} has {len(data):,} bytes, and nobody passes on a block of more than {PEER.block_bytes:,}"
            )
        return data

    def _root(self, cid: CID) -> bytes:
        found = self._trees.get(cid)
        if found is None:
            for node, data in blocks(self._whole(cid), leaves=False):
                if node == cid:
                    found = data
            if found is None:
                raise NotFound(f"{cid} is here as a file that is cut in another way")
            while len(self._trees) >= _TREES:
                self._trees.pop(next(iter(self._trees)), None)
            self._trees[cid] = found
        return found

    def archive(self, cid: CID) -> Iterator[bytes]:
        """Return an archive with a file and its tree, or with one block.

        Raises:
            NotFound: It is not here.
        """
        if cid.codec in _FILE_CODECS:
            return parts([cid], blocks(self._whole(cid)))
        return parts([cid], [(cid, self.block(cid))])

    def _whole(self, cid: CID) -> bytes | Iterator[bytes]:
        found = self._store.open(cid)
        return found.pieces(CHUNK_BYTES) if isinstance(found, FileBytes) else found
