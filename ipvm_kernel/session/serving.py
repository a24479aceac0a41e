"""Serving a store as a lab's cache, and giving to one: signed as it leaves, and never what came of a secret."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import NotAllowed, NotFound
from ipvm_kernel.exchange.http import Deadline
from ipvm_kernel.ipld import CID, Block, car
from ipvm_kernel.printable import plural, printable
from ipvm_kernel.session.signing import FEATURES, engine_of, identity, sign
from ipvm_kernel.sharing import packing, secrecy
from ipvm_kernel.trust.attestation import attest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from ipvm_kernel.ipld import FileBytes
    from ipvm_kernel.session.session import Session
    from ipvm_kernel.session.sharing import Offer
    from ipvm_kernel.store import OnFile, Store

_LOOKED: Final = 2.0  # seconds for which it is taken that no more is secret than before


class Veiled:
    """A store without what the user marked as secret, and without all that came of it.

    Args:
        store: The store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[CID, bool] = {}
        self._marked = False
        self._until = 0.0

    def hides(self, cid: CID) -> bool:
        """Return True if something must not leave."""
        return bool(self.hidden([cid]))

    def hidden(self, cids: Iterable[CID]) -> set[CID]:
        """Return which of some things must not leave: many at once are asked for much faster than one after another."""
        if time.monotonic() > self._until:
            self._known = {}
            self._marked = bool(secrecy.marks(self._store))
            self._until = time.monotonic() + _LOOKED
        if not self._marked:
            return set()
        known, wanted = self._known, list(cids)  # other threads may begin anew meanwhile
        fresh = [cid for cid in wanted if cid not in known]
        if fresh:
            found = secrecy.tainted(self._store, fresh)
            known.update((cid, cid in found) for cid in fresh)
        return {cid for cid in wanted if known[cid]}

    def get(self, cid: CID) -> Block:
        """Return a block, as the store does."""
        return self._store.get(self._seen(cid))

    def open(self, cid: CID) -> bytes | FileBytes:
        """Return the bytes of a file, as the store does."""
        return self._store.open(self._seen(cid))

    def read(self, cid: CID) -> bytes:
        """Return the bytes of a file, as the store does."""
        return self._store.read(self._seen(cid))

    def size(self, cid: CID) -> int | None:
        """Return how many bytes a file or block has, as the store does."""
        return None if self.hides(cid) else self._store.size(cid)

    def receipts_of(self, instruction: CID) -> list[OnFile]:
        """Return the receipts for an instruction, as the store does."""
        return [] if self.hides(instruction) else self._store.receipts_of(instruction)

    def _seen(self, cid: CID) -> CID:
        if self.hides(cid):
            raise NotFound(f"{cid} is not here")
        return cid

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class Shelved:
    """A session as a cache serves it.

    Args:
        session: Whose store is served.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.store: Any = Veiled(session.store)

    def look(self, instructions: Sequence[CID]) -> Iterator[OnFile]:
        """Yield the receipts that are given: those made here, those that may be used here, and those that somebody signed.

        Whether a signature counts is for each reader's own policy to say.
        """
        self.store.hidden(instructions)
        for instruction in instructions:
            found = self.store.receipts_of(instruction)
            signed = self._session.store.attestations([one.cid for one in found if not one.admitted])
            yield from (one for one in found if one.admitted or one.cid in signed)

    def statements(self, receipts: Sequence[OnFile]) -> list[Block]:
        """Return this user's statements about receipts that were made here; each is made once, and kept."""
        own = [one for one in receipts if one.made_here and one.admitted]
        key = identity(self._session, create=True) if own else None
        if key is None:
            return []
        known = self._session.admission.statements.about([one.cid for one in own])
        entries = self._session.store.made([one.instruction for one in own])
        made: list[Block] = []
        for one in own:
            if any(statement.issuer == key.did for statement in known.get(one.cid, [])):
                continue
            entry = entries.get(one.instruction)
            engine = engine_of(entry.engine if entry is not None and entry.receipt == one.cid else "")
            block = attest(key, receipt=one.cid, instruction=one.instruction, engine=engine, features=FEATURES)
            self._session.store.attest(one.cid, block)
            made.append(block)
        return made

    def keep(self, path: Path) -> str:
        """Keep an archive that a writer gave, whole or not at all, and say in one line what it was."""
        from ipvm_kernel.session.arriving import load_archive

        arrival = load_archive(self._session, path)
        return f"{plural(len(arrival.receipts), 'receipt')}, {arrival.new:,} of them new"


def lend(session: Session, offer: Offer, url: str | None = None) -> list[str]:
    """Give receipts to the caches that take what is made here, or to one of them, and return what each says.

    Raises:
        NotAllowed: No cache takes anything.
        Unreachable, Refused, Over: One did not take it.
    """
    caches = session.lending.caches
    writers = [
        one for one in (caches.writers if caches is not None else ()) if url is None or url.rstrip("/") in one.name
    ]
    if session.lending.wrong:
        raise NotAllowed(f"no cache is asked or given anything: {session.lending.wrong}")
    if not writers:
        named = f" called {printable(url, limit=100)}" if url is not None else ""
        raise NotAllowed(
            f"no cache{named} takes what is made here: ipvm cache add URL --write [--token TOKEN] adds one"
        )
    bundle = offer.bundle
    statements = sign(session, bundle.receipts.values())

    def blocks() -> Iterator[tuple[CID, bytes]]:
        for one in bundle.receipts.values():
            for cid in (one.receipt, one.invocation):
                yield cid, session.store.get(cid).data
        for cid in statements:
            yield cid, session.store.get(cid).data
        for content in bundle.content.values():
            yield from packing.blocks_of(session.store, content.cid)

    roots = [one.receipt for one in bundle.receipts.values()]
    session.store.sync()
    deadline = session.resources.settings.seconds * 10
    return [f"{one.name}: {one.give(car.parts(roots, blocks()), Deadline(deadline))}" for one in writers]
