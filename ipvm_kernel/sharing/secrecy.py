"""Secrecy: what the user said must not leave, and all that came of it. The one place that knows.

A mark is a pin whose name begins with `secret/`. What came of a secret is found from the other end: of whatever is about to
leave it is asked what it came of, by the edges that the store keeps and by what blocks hold: links, instructions written
out, the secret itself as a text or as bytes. So it does not matter how a value with a link in it came here, nor whether a
task was ever run, nor whether its receipt is still on file.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import CID, encode
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.store import EVERY
from ipvm_kernel.store.room import links

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.store import Store

MARK: Final = "secret/"
"""How the names of the pins begin that mark what must not leave."""

_SHORTEST: Final = 8  # bytes of a secret that is looked for in what is written out: a shorter one stands everywhere
_LONGEST: Final = 65_536  # bytes of one that somebody may have typed into a cell


def marks(store: Store) -> dict[str, CID]:
    """Return what the user said must not leave this machine, by the names of the pins that say so."""
    return {name: cid for name, cid in store.pins().items() if name.startswith(MARK)}


def tainted(store: Store, cids: Iterable[CID]) -> set[CID]:
    """Return which of some things must not leave: those that are marked, and those that came of what is.

    Args:
        store: Where they are, as far as they are here.
        cids: Instructions, receipts, values, files, workflows, statements: whatever has a CID.
    """
    wanted = set(cids)
    pins = store.pins() if wanted else {}
    marked = {cid for name, cid in pins.items() if name.startswith(MARK)}
    if not marked:
        return set()
    return wanted & _Walk(store, pins, marked).back(wanted)


def holding(store: Store, data: bytes) -> list[str]:
    """Return the names of the secrets that stand in a JSON document, letter by letter: in a cell, say, or in an output."""
    said = {name: _said(store, cid) for name, cid in marks(store).items()}
    said = {name: text for name, text in said.items() if len(text) >= _SHORTEST}
    if not said:
        return []
    texts = list(_texts(json.loads(data)))
    return [name for name, secret in said.items() if any(secret in text for text in texts)]


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a JSON value; lines in a list are one text, as notebooks write them."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, str):
            yield current
        elif isinstance(current, dict):
            pending += current.values()
        elif isinstance(current, list):
            lines = [one for one in current if isinstance(one, str)]
            yield "".join(lines)
            pending += (one for one in current if not isinstance(one, str))


class _Walk:
    """From some things to all that they came of."""

    def __init__(self, store: Store, pins: dict[str, CID], marked: set[CID]) -> None:
        self._store = store
        self._places = {name: cid for name, cid in pins.items() if "://" in name}  # names and addresses of what is here
        self._marked = marked
        self._sizes = {size for cid in marked if (size := store.size(cid) or 0) >= _SHORTEST}
        self._uses: dict[CID, set[CID]] = {}

    def back(self, cids: Iterable[CID]) -> set[CID]:
        """Return all that is secret on the way back from some things, and what came of it."""
        seen: set[CID] = set()
        pending = set(cids)
        while pending:
            nodes = set(pending)
            for edge in self._store.lineage(pending, EVERY):
                self._note(edge.target, edge.source)
                nodes |= {edge.target, edge.source}
            pending = set()
            for cid in nodes - seen:
                for source in self._inside(cid):
                    self._note(cid, source)
                    if source not in nodes:
                        pending.add(source)
            seen |= nodes
            pending -= seen
        return self._forth()

    def _note(self, target: CID, source: CID) -> None:
        self._uses.setdefault(source, set()).add(target)

    def _forth(self) -> set[CID]:
        found = set(self._marked)
        pending = list(found)
        while pending:
            for cid in self._uses.get(pending.pop(), ()):
                if cid not in found:
                    found.add(cid)
                    pending.append(cid)
        return found

    def _inside(self, cid: CID) -> Iterator[CID]:
        """Yield what something came of, as its own bytes and the places that are known say."""
        other = self._places.get(f"ipfs://{cid}")
        if other is not None:  # the same file, cut in another way
            yield other
        if cid.codec != "dag-cbor":
            return
        try:
            value = self._store.get(cid).trusted_value()
        except (IpvmError, OSError):
            return  # not here: what is known of it are its edges
        yield from links(value)
        for leaf in _leaves(value):
            if type(leaf) is str and leaf in self._places:
                yield self._places[leaf]
            yield from self._written_out(leaf)

    def _written_out(self, leaf: str | bytes) -> Iterator[CID]:
        """Yield the secret that a text or bytes are: the source of a module that is built, an argument that was typed."""
        data = leaf.encode("utf-8", "surrogatepass") if isinstance(leaf, str) else leaf
        if len(data) in self._sizes and (found := file_cid(data)) in self._marked:
            yield found
        if isinstance(leaf, str) and not self._sizes.isdisjoint(range(len(data) + 1, len(data) + 10)):
            block = CID.of(encode(leaf))  # a text has a head of 1 to 9 bytes there
            if block in self._marked:
                yield block


def _leaves(value: Ipld) -> Iterator[str | bytes]:
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, str | bytes):
            yield current
        elif type(current) is dict:
            pending += current.values()
        elif type(current) is list:
            pending += current


def _said(store: Store, cid: CID) -> str:
    """Return a secret as text, or "" where it is none or too large to be typed."""
    if not 0 < (store.size(cid) or 0) <= _LONGEST:
        return ""
    try:
        value = store.get(cid).value() if cid.codec == "dag-cbor" else store.read(cid).decode()
    except (IpvmError, OSError, ValueError):
        return ""
    return value.strip() if isinstance(value, str) else ""
