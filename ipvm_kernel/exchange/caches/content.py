"""Content out of archives: a file comes whole, with its tree, and its blocks are then asked for one by one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import BadInput, LimitExceeded, Mismatch
from ipvm_kernel.exchange.caches.spool import Spool
from ipvm_kernel.exchange.http import Refused
from ipvm_kernel.ipld.car import parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipvm_kernel.ipld import CID

BLOCKS: Final = 1 << 20
"""Blocks of one file, at most."""

_KEPT: Final = 32  # more than are fetched at once


class Contents:
    """The latest files that came as archives.

    Args:
        name: Whose they are, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._kept: OrderedDict[CID, Spool] = OrderedDict()
        self._lock = threading.Lock()

    def kept(self, cid: CID) -> bytes | None:
        """Return a block of a file that came already, or None."""
        with self._lock:
            for spool in reversed(self._kept.values()):
                data = spool.get(cid)
                if data is not None:
                    return data
        return None

    def archive(self, cid: CID) -> Iterator[bytes] | None:
        """Return the archive of a file that came already, or None."""
        with self._lock:
            spool = self._kept.get(cid)
        return None if spool is None else parts([cid], self._blocks(spool))

    def _blocks(self, spool: Spool) -> Iterator[tuple[CID, bytes]]:
        for cid in spool:
            with self._lock:
                data = spool.get(cid)
            if data is None:  # others were asked for meanwhile, and it made room for them
                raise Refused(f"{self._name} is not asked for the same again so soon", 404)
            yield cid, data

    def block(self, cid: CID, pieces: Callable[[], Iterator[bytes]]) -> bytes:
        """Return a block, out of a file that came already, or else out of the archive of that CID.

        Args:
            cid: The block.
            pieces: Yields the bytes of the archive; asked for if it is needed.

        Raises:
            Refused: It is not there.
            Mismatch, LimitExceeded: The archive is not what it should be.
        """
        found = self.kept(cid)
        if found is not None:
            return found
        try:
            spool = Spool(pieces(), BLOCKS)
        except LimitExceeded:
            raise
        except (BadInput, Mismatch) as error:
            raise Mismatch(f"{self._name} sent no archive of {cid}: {error.message}") from None
        data = spool.get(cid)
        if data is None:
            spool.close()
            raise Refused(f"{self._name} sent an archive for {cid} without that block", 404)
        with self._lock:
            before = self._kept.pop(cid, None)
            self._kept[cid] = spool
            dropped = self._kept.popitem(last=False)[1] if len(self._kept) > _KEPT else None
            for one in (before, dropped):
                if one is not None:
                    one.close()
        return data

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            for spool in self._kept.values():
                spool.close()
            self._kept.clear()
