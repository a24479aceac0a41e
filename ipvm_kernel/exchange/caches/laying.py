"""Laying out what is given: which file of a cache each block of an archive goes into."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ipvm_kernel.errors import IpvmError, Malformed
from ipvm_kernel.exchange.caches.answers import Gathering
from ipvm_kernel.ipld import Block
from ipvm_kernel.ipld.dagpb import links_of
from ipvm_kernel.model import Invocation, Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.exchange.caches.base import Answered
    from ipvm_kernel.exchange.caches.spool import Spool
    from ipvm_kernel.ipld import CID


class Laid(NamedTuple):
    """How an archive is laid out.

    Attributes:
        receipts: What is known of each instruction.
        content: The blocks of each file, or the one block, by its CID; parents come after their children.
    """

    receipts: dict[CID, list[Answered]]
    content: dict[CID, list[CID]]


def lay(spool: Spool) -> Laid:
    """Return how the blocks of an archive are laid out in a cache.

    The roots are receipts; their invocations and the statements about them go with them. Of the rest, what no file has as
    a part is content by itself.

    Raises:
        Malformed: A root is no receipt, or its invocation is not there.
    """
    invocations = {root: _ran(spool, root) for root in spool.roots}
    gathering = Gathering([one.task.run.cid for one in invocations.values()])
    gathering.roots = spool.roots
    for cid in spool:
        gathering.add(cid, spool.get(cid) or b"")
    receipts: dict[CID, list[Answered]] = {}
    taken: set[CID] = set()
    for one in gathering.answers():
        receipts.setdefault(one.instruction, []).append(one)
        taken |= {one.receipt.cid, one.invocation.cid, *(block.cid for block in one.attestations)}
    return Laid(receipts, _content(spool, taken))


def _ran(spool: Spool, root: CID) -> Invocation:
    data = spool.get(root)
    if data is None:
        raise Malformed(f"expected the roots of an archive of receipts in it, found {root} missing")
    try:
        ran = Receipt.from_ipld(Block(root, data).value()).ran
    except IpvmError as error:
        raise Malformed(f"expected receipts as the roots of an archive, found {root}: {error.message}") from None
    about = spool.get(ran)
    if about is None:
        raise Malformed(f"expected the invocation {ran} beside its receipt {root}, found it missing")
    return Invocation.from_ipld(Block(ran, about).value())


def _content(spool: Spool, taken: set[CID]) -> dict[CID, list[CID]]:
    parts: dict[CID, list[CID]] = {}
    inside: set[CID] = set()
    for cid in spool:
        if cid.codec == "dag-pb":
            parts[cid] = links_of(spool.get(cid) or b"")
            inside.update(parts[cid])
    return {cid: list(_below(cid, parts, spool)) for cid in spool if cid not in inside and cid not in taken}


def _below(root: CID, parts: dict[CID, list[CID]], spool: Spool) -> Iterator[CID]:
    """Yield what is there of a file, each block once, children before parents."""
    todo, seen = [(root, False)], set()
    while todo:
        cid, done = todo.pop()
        if done:
            yield cid
        elif cid not in seen and cid in spool:
            seen.add(cid)
            todo.append((cid, True))
            todo.extend((child, False) for child in reversed(parts.get(cid, ())))
