"""Where the blocks of an archive are, for whoever reads it a second time: 20 bytes a block."""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, BinaryIO

from ipvm_kernel.errors import BadInput, Mismatch, NotFound
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.sections import AHEAD, cid_at

if TYPE_CHECKING:
    from collections.abc import Iterator


class Index:
    """The blocks of an archive in a file, by CID, in any order. `car.Archive.index` makes it.

    The file may change between two looks at it, so every block is checked again when it is read. A block is found by a
    hash of its CID of 64 bits that nobody outside can foresee, and told by the CID that the file has before it.
    """

    def __init__(self, source: BinaryIO, start: int) -> None:
        self._source, self._start = source, start
        self._lock = threading.Lock()  # between going to a place and reading there
        self._keys, self._places, self._sizes = array("Q"), array("Q"), array("Q")

    def note(self, cid: CID, place: int, size: int) -> None:
        """Remember a block: where its CID stands, and how many bytes come after it."""
        self._keys.append(_key(cid))
        self._places.append(place)
        self._sizes.append(size)

    def settle(self) -> None:
        """Put in order what was noted, so that it can be found."""
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        self._keys, self._places, self._sizes = (
            array("Q", map(column.__getitem__, order)) for column in (self._keys, self._places, self._sizes)
        )

    def get(self, cid: CID) -> bytes:
        """Return the bytes that a CID names, read and checked again. An identity holds them itself.

        Raises:
            NotFound: The archive does not have it.
            Mismatch: The file has changed since it was read.
            OSError: It cannot be read.
        """
        rows = self._rows(_key(cid))
        for row in rows:
            name, data = self._look(row, cid)
            if name == cid.bytes:
                cid.check(data)
                return data
        if rows:
            raise _changed(self._places[rows[0]])
        if cid.hash == "identity":
            return cid.digest
        raise NotFound(f"Expected {cid} in the archive, found it not among its {len(self):,} blocks.")

    def __contains__(self, cid: object) -> bool:
        return isinstance(cid, CID) and bool(self._rows(_key(cid)) or cid.hash == "identity")

    def __iter__(self) -> Iterator[CID]:
        """Give the CIDs in the order of the archive, read again from the file.

        Raises:
            Mismatch: The file has changed since it was read.
        """
        for place in sorted(self._places):
            with self._lock:
                self._source.seek(self._start + place)
                head = self._source.read(AHEAD)
            try:
                cid, _ = cid_at(head, 0)
            except BadInput:
                raise _changed(place) from None
            if not self._rows(_key(cid)):
                raise _changed(place)
            yield cid

    def __len__(self) -> int:
        return len(self._keys)

    def _rows(self, key: int) -> range:
        first = last = bisect_left(self._keys, key)
        while last < len(self._keys) and self._keys[last] == key:
            last += 1
        return range(first, last)

    def _look(self, row: int, cid: CID) -> tuple[bytes, bytes]:
        """Return what stands where a CID of this length and its block were."""
        length = len(cid.bytes)
        with self._lock:
            self._source.seek(self._start + self._places[row])
            return self._source.read(length), self._source.read(self._sizes[row])


def _key(cid: CID) -> int:
    return hash(cid) & 0xFFFF_FFFF_FFFF_FFFF


def _changed(place: int) -> Mismatch:
    return Mismatch(
        f"Expected the CID that stood at byte {place:,} of the archive, found something else: the file has changed. "
        "Load it again."
    )
