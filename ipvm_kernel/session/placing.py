"""Where tasks were declared, and what their files are called: each cell and each name is put in the store once."""

from __future__ import annotations

import os
import secrets
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.notebook import Cell, current_cell
from ipvm_kernel.store import CellRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ipvm_kernel.ipld import CID
    from ipvm_kernel.store import Store

_REMEMBERED: Final = 1024
_NAME: Final = 1000  # characters of a path that are kept
_NOTEBOOK_BYTES: Final = 64 << 20  # a notebook of more is not read to be named


class Places:
    """The cells of one session.

    Args:
        store: Where they are remembered.
        session: A name for the session.
    """

    def __init__(self, store: Store, session: str) -> None:
        self._store = store
        self._session = session
        self._numbers: OrderedDict[Cell, int] = OrderedDict()
        self._called: set[tuple[CID, str]] = set()
        self._saved: dict[str, tuple[tuple[int, int], CID]] = {}

    def numbers(self, instructions: Iterable[CID], cells: Mapping[CID, Cell]) -> dict[CID, int]:
        """Return the number of the cell that declared each instruction; of the cell that runs now, if nobody knows."""
        now = current_cell()
        declared = ((cid, self._number(cells.get(cid, now) or now)) for cid in instructions)
        return {cid: number for cid, number in declared if number is not None}

    def _number(self, cell: Cell) -> int | None:
        if not cell:
            return None
        number = self._numbers.get(cell)
        if number is None:
            number = self._numbers[cell] = self._store.declare(
                CellRecord(
                    ident=time.time_ns() >> 4 << 4 | secrets.randbits(4),
                    cell=cell.ident,
                    source=cell.source,
                    count=cell.count,
                    notebook=cell.notebook,
                    saved=self._as_saved(cell.notebook),
                    session=self._session,
                )
            )
            if len(self._numbers) > _REMEMBERED:
                self._numbers.popitem(last=False)
        return number

    def call(self, cid: CID, name: str) -> None:
        """Remember what a file or module is called, once."""
        if name and (cid, name) not in self._called:
            if len(self._called) >= _REMEMBERED:
                self._called.clear()
            self._called.add((cid, name))
            self._store.call(cid, name[:_NAME])

    def _as_saved(self, notebook: str) -> CID | None:
        """Return the CID of a notebook as it is on disk, or None if it is not there."""
        if not notebook:
            return None
        try:
            about = os.stat(notebook)  # noqa: PTH116 - the path is Jupyter's, and may be none
            stamp = (about.st_mtime_ns, about.st_size)
            known = self._saved.get(notebook)
            if known is not None and known[0] == stamp:
                return known[1]
            if about.st_size > _NOTEBOOK_BYTES:
                return None
            cid = file_cid(Path(notebook).read_bytes())
        except (OSError, ValueError):
            return None
        self._saved[notebook] = (stamp, cid)
        return cid
