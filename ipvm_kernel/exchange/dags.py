"""Everything that a root reaches, as an archive: each block once, however many ways lead to it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, BinaryIO, Final

from ipvm_kernel.errors import BadInput, LimitExceeded, Mismatch, NotFound, StoreDamaged
from ipvm_kernel.ipld import CID, PEER, decode
from ipvm_kernel.ipld.car import BLOCKS, parts
from ipvm_kernel.ipld.dagpb import parse
from ipvm_kernel.ipld.unixfs import blocks
from ipvm_kernel.printable import printable, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from ipvm_kernel.errors import IpvmError
    from ipvm_kernel.exchange.asking import Asked
    from ipvm_kernel.ipld import Ipld, Limits
    from ipvm_kernel.store import Store

    Spare: TypeAlias = Callable[[CID, bytes], Iterable[CID]]

_LABEL: Final = 80  # characters of one step of a path
_STEPS: Final = 12
_AFTER: Final = 48  # blocks that are asked for after the next one
_PIECE: Final = 1 << 20  # bytes of a file that are read at once
_NAMES: Final = frozenset({"libp2p-key"})  # codecs of what is a name and no content


def links(cid: CID, data: bytes, limits: Limits = PEER) -> list[tuple[str, CID]]:
    """Return the CIDs that a block links to, in its own order, each with its place in the block.

    Blocks of dag-cbor, dag-json and dag-pb have links; others have none.

    Raises:
        Malformed, LimitExceeded: It is no block of its codec.
    """
    match cid.codec:
        case "dag-cbor":
            return list(_of_value(decode(data, limits)))
        case "dag-json":
            from ipvm_kernel.ipld import dagjson

            return list(_of_value(dagjson.loads(data, limits, canonical=True)))
        case "dag-pb":
            return [(link.name or f"Links/{at}", link.cid) for at, link in enumerate(parse(data)[0])]
    return []


def _of_value(value: Ipld) -> Iterator[tuple[str, CID]]:
    pending: list[tuple[str, Ipld]] = [("", value)]
    while pending:
        path, current = pending.pop()
        if type(current) is CID:
            yield path[1:], current
        elif type(current) is list:
            pending.extend((f"{path}/{at}", one) for at, one in reversed(list(enumerate(current))) if _may(one))
        elif type(current) is dict:
            pending.extend((f"{path}/{key[:_LABEL]}", one) for key, one in reversed(current.items()) if _may(one))


def _may(value: Ipld) -> bool:
    """Return True if a value is a link, or may have one in it."""
    return type(value) in {CID, list, dict}


class Walk:
    """A walk through everything that a root reaches: in depth first, each block once, parents before children.

    Args:
        root: Where it begins.
        get: Returns the bytes that a CID names, checked; it is told as well what will be asked for after that.
        lacking: Returns what to raise where nobody gives a block: for its CID and the path from the root.
        max_bytes: Bytes of all blocks, at most.
        most: Blocks, at most.
        spare: Is shown each block as it comes, and returns what is left out: it is not followed from there on.
    """

    def __init__(
        self,
        root: CID,
        get: Callable[[CID, Sequence[CID]], bytes],
        lacking: Callable[[CID, str], IpvmError],
        *,
        max_bytes: int,
        most: int = BLOCKS,
        spare: Spare | None = None,
    ) -> None:
        self._spare = spare
        self._root, self._get, self._lacking = root, get, lacking
        self._max_bytes, self._most = max_bytes, most
        self._ways: dict[CID, tuple[CID, str] | None] = {root: None}  # how each was met first

    def blocks(self) -> Iterator[tuple[CID, bytes]]:
        """Yield the blocks. An identity CID is its own block: its links are followed, and it is not given.

        Raises:
            NotFound, Mismatch: Nobody gave a block.
            HashNotAllowed: By the hash function of a link nothing can be checked.
            Malformed: A block is not what its codec says.
            LimitExceeded: They are too many.
        """
        todo = [self._root]
        total = 0
        without: set[CID] = set()
        while todo:
            cid = todo.pop()
            if cid in without:
                continue
            try:
                data = self._get(cid, [one for one in todo[: -_AFTER - 1 : -1] if one not in without])
                found = links(cid, data)
            except (NotFound, Mismatch):
                raise self._lacking(cid, self.path(cid)) from None
            except BadInput as error:
                raise type(error)(f"{error.message} It is {cid}, at {self.path(cid) or '/'} in {self._root}.") from None
            total += len(data)
            if total > self._max_bytes:
                raise LimitExceeded(
                    f"expected at most {size(self._max_bytes)} of blocks below {self._root}, found more: IPVM_FETCH_BYTES"
                )
            if self._spare is not None:
                without.update(self._spare(cid, data))
            new: list[CID] = []
            for label, child in found:
                if child not in self._ways and child not in without and child.codec not in _NAMES:
                    self._ways[child] = cid, label[:_LABEL]
                    new.append(child)
            if len(self._ways) > self._most:
                raise LimitExceeded(f"expected at most {self._most:,} blocks below {self._root}, found more")
            todo.extend(reversed(new))
            if cid.hash != "identity":
                yield cid, data

    def path(self, cid: CID) -> str:
        """Return the way that led to a block: `/cells/2/receipt/out`; "" for the root. Of a long one only both ends."""
        steps: list[str] = []
        while (way := self._ways[cid]) is not None:
            cid = way[0]
            steps.append(way[1])
        steps.reverse()
        if len(steps) > _STEPS:
            steps = [*steps[:4], f"({len(steps) - _STEPS:,} more)", *steps[4 - _STEPS :]]
        return "".join(f"/{printable(step, limit=2 * _LABEL)}" for step in steps)


def write(
    root: CID, store: Store, asked: Asked, target: BinaryIO, *, max_bytes: int, spare: Spare | None = None
) -> None:
    """Write everything that a root reaches as an archive of version 1, from a store and from whoever is asked.

    Raises:
        As `Walk.blocks` does; OSError.
    """
    walk = Walk(
        root, lambda cid, after: _near(cid, after, store, asked), asked.nobody, max_bytes=max_bytes, spare=spare
    )
    target.writelines(parts([root], walk.blocks()))


def _near(cid: CID, after: Sequence[CID], store: Store, asked: Asked) -> bytes:
    """Return a block: from the store, as itself or as a part of a file whose root it has, else from whoever is asked."""
    with contextlib.suppress(NotFound, StoreDamaged):
        if cid.codec != "dag-pb":
            return store.get(cid).data
        content = store.open(cid)
        for part, data in blocks(content if isinstance(content, bytes) else content.pieces(_PIECE)):
            asked.stash.keep(part, data)
    return asked.block(cid, after)
