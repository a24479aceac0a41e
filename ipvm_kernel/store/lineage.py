"""What came of what: edges from a task to all that went into it, and from a value to the task that gave it.

Edges follow from an instruction and its receipt. A store keeps them by integer ids, so that the whole lineage of a value is
one recursive query, upwards or downwards.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Promise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.model import Instruction, Receipt

EdgeKind = Literal["ok", "error", "*", "module", "link", "value"]
"""What the source of an edge is to its target: the branch of a promise, the module that is run, bytes or a value behind a
link among the arguments; or, for the edge from a link in a receipt, the task that gave it."""

KINDS: Final[tuple[EdgeKind, ...]] = ("ok", "error", "*", "module", "link", "value")
"""The kinds by the number under which they are kept."""

EDGES: Final = 10_000
"""Edges of a lineage that are looked at, if nobody says otherwise: the nearest."""

_LINK: Final = b"\xd8\x2a"  # how a link begins in DAG-CBOR; bytes and text may hold it too, so it is only a hint


class Edge(msgspec.Struct, frozen=True, gc=False):
    """That one thing came of another.

    Attributes:
        target: The instruction that used `source`; or, for a "value", the CID of a value.
        source: What it came of: an instruction, a module, a file or block.
        kind: How.
    """

    target: CID
    source: CID
    kind: EdgeKind


def edges_of(run: Instruction, receipt: Receipt | None = None) -> list[Edge]:
    """Return all edges to what went into an instruction, and those from the links in its receipt."""
    cid = run.cid
    awaits = run.awaits
    found = [Edge(cid, promise.instruction, promise.branch) for promise in dict.fromkeys(awaits)]
    module = _module(run.rsc)
    if module is not None:
        found.append(Edge(cid, module, "module"))
    if run.block.data.count(_LINK) > len(awaits):
        found += [Edge(cid, link, "link") for link in _links(run.input)]
    if receipt is not None and receipt.block.data.count(_LINK) > 1:  # one is `ran`
        found += [Edge(link, cid, "value") for link in _links(receipt.out.value)]
    return found


@lru_cache(maxsize=1024)
def _module(rsc: str) -> CID | None:
    return CID.from_canonical(rsc.removeprefix("ipfs://")) if rsc.startswith("ipfs://") else None


def _links(value: Ipld) -> list[CID]:
    """Return every link inside a value that is no promise, once."""
    found: dict[CID, None] = {}
    pending = [value]
    while pending:
        current = pending.pop()
        if type(current) is CID:
            found[current] = None
        elif type(current) is dict:
            if Promise.of(current) is None:
                pending.extend(reversed(current.values()))
        elif type(current) is list:
            pending.extend(reversed(current))
    return list(found)


def closure(
    roots: Iterable[CID], step: Callable[[CID], Iterable[Edge]], end: Callable[[Edge], CID], limit: int
) -> list[Edge]:
    """Return the edges that some CIDs lead to, the nearest first, each once.

    Args:
        roots: Where to begin.
        step: Gives the edges at a CID.
        end: Gives the other end of an edge.
        limit: Edges to return, at most.
    """
    pending = list(dict.fromkeys(roots))
    seen = set(pending)
    found: list[Edge] = []
    for cid in pending:  # which grows
        for edge in step(cid):
            if len(found) >= limit:
                return found
            found.append(edge)
            other = end(edge)
            if other not in seen:
                seen.add(other)
                pending.append(other)
    return found


class CellRecord(msgspec.Struct, kw_only=True):
    """A notebook cell in which tasks were declared, as it was when it ran.

    Attributes:
        ident: Its number in the store.
        cell: Its id, or a hash of its source where no id arrives.
        source: Its source, shortened.
        count: Its execution count, or 0.
        notebook: The path of the notebook, or "".
        saved: The CID of the notebook as it was saved last before the cell ran, or None if it was not.
        session: A name for the session.
    """

    ident: int
    cell: str = ""
    source: str = ""
    count: int = 0
    notebook: str = ""
    saved: CID | None = None
    session: str = ""
