"""Asking a lab's caches, before something runs, whether somebody has run it already.

What they give is put on file as everything from elsewhere is: unverified, with its statements, and used only if the
policy admits it. Without a cache nothing here is loaded. Whoever keeps a cache learns which tasks are asked for.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.store import Parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ipvm_kernel.exchange.asking import Source
    from ipvm_kernel.exchange.caches import Answered as Lent
    from ipvm_kernel.exchange.caches.asking import Caches
    from ipvm_kernel.exchange.resources import Resources
    from ipvm_kernel.ipld import CID, Block
    from ipvm_kernel.session.admission import Admission
    from ipvm_kernel.store import Filing, Store

FILE: Final = "caches.json"
_AGAIN: Final = 60.0  # seconds
_REMEMBERED: Final = 100_000


class Lending:
    """The caches of a session.

    Args:
        store: Where what they give is kept.
        admission: Says what of it may be used.
        resources: Fetches the values that receipts lead to.
        tell: Called with a line when a cache does not do what it should.

    Attributes:
        wrong: Why no cache is asked although some are named: what names them cannot be read; or "".
    """

    def __init__(self, store: Store, admission: Admission, resources: Resources, tell: Callable[[str], object]) -> None:
        self._store = store
        self._admission = admission
        self._resources = resources
        self._tell = tell
        self._caches: Caches | None = None
        self._opened = False
        self.wrong = ""
        self._asked: dict[CID, float] = {}  # when, so that what nobody had is asked for again later

    @property
    def caches(self) -> Caches | None:
        """The caches that are asked, or None without any. Settings that cannot be read are told once, and nobody is asked."""
        if not self._opened:
            self._opened = True
            folder = getattr(self._store, "folder", None)
            home = folder if isinstance(folder, Path) else None
            if os.environ.get("IPVM_CACHES") or (home is not None and (home / FILE).exists()):
                from ipvm_kernel.exchange.caches import Listed

                try:
                    self._caches = Listed(home).open(self._tell)
                except IpvmError as error:
                    self.wrong = error.message
                    self._tell(f"no cache is asked, and all is worked out here: {error.message}")
        return self._caches

    def again(self) -> None:
        """Look again which caches there are: one was added or removed."""
        if self._caches is not None:
            self._caches.close()
        self._caches, self._opened, self.wrong = None, False, ""
        self._asked.clear()

    def sources(self) -> list[Source]:
        """Return the caches as sources of content."""
        return list(self.caches.sources()) if self.caches is not None else []

    def ask(self, instructions: Sequence[CID]) -> bool:
        """Ask for the receipts of some instructions, each once a minute at most, and return whether something came.

        Nothing is raised: what a cache gives and cannot be kept is as if it had not come.
        """
        if self.caches is None:
            return False
        now = time.monotonic()
        wanted = [cid for cid in instructions if now - self._asked.get(cid, -_AGAIN) >= _AGAIN]
        if not wanted:
            return False
        if len(self._asked) > _REMEMBERED:
            self._asked.clear()
        self._asked.update(dict.fromkeys(wanted, now))
        came = self.caches.answers(wanted)
        if not came:
            return False
        try:
            self._store.bring(self._parcel(came))
        except IpvmError as error:
            self._tell(f"what a cache gave was not kept: {error.message}")
            return False
        self._fetch_values(wanted)
        return True

    def _parcel(self, came: list[Lent]) -> Parcel:
        from ipvm_kernel.sharing.manifest import Answered
        from ipvm_kernel.sharing.unpacking import filing_of

        filings: list[Filing] = []
        statements: list[tuple[CID, Block]] = []
        met: set[CID] = set()
        for one in came:
            statements += [(one.receipt.cid, block) for block in one.attestations]
            if one.receipt.cid in met:
                continue
            met.add(one.receipt.cid)
            named = Answered(one.instruction, one.receipt.cid, 0)
            try:
                filings.append(filing_of(_Two(one.receipt, one.invocation), named, (), trust=False, at=time.time()))
            except IpvmError as error:
                self._tell(f"a cache gave a receipt that is none: {error.message}")
        return Parcel(filings=filings, attestations=statements)

    def _fetch_values(self, instructions: list[CID]) -> None:
        """Fetch what admitted receipts lead to, so that they can be used."""
        for judged in self._admission.judgements(instructions).values():
            for cid in judged.absent:
                try:
                    self._resources.fetch(cid)
                except IpvmError as error:
                    self._tell(f"a value that a cache knows of did not come: {error.message}")

    def close(self) -> None:
        """Let go of connections."""
        if self._caches is not None:
            self._caches.close()


class _Two:
    """A receipt and its invocation, as the blocks of an archive."""

    def __init__(self, *blocks: Block) -> None:
        self._blocks = {block.cid: block.data for block in blocks}

    def get(self, cid: CID) -> bytes:
        return self._blocks[cid]

    def __contains__(self, cid: object) -> bool:
        return cid in self._blocks

    def __iter__(self) -> Iterator[CID]:
        return iter(self._blocks)
