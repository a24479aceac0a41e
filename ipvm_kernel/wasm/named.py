"""Large arguments that were named before: the CID of an array whose bytes have not changed since, without hashing them.

An array can change between two calls, and nothing says so. So the bytes that were named are kept, and compared: that is
several times as fast as hashing them, and never wrong.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ipvm_kernel.ipld import CID
    from ipvm_kernel.wasm import types as wit

ROOM_BYTES: Final = 32 << 20
"""Bytes that are kept in all, those of what was named longest ago go first."""

LARGEST_BYTES: Final = 16 << 20
"""Bytes of an argument that is remembered."""


class Named:
    """What was named, by the object that holds it and the type that it was named as."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, wit.AnyType], tuple[bytes, CID]] = OrderedDict()
        self._room = ROOM_BYTES
        self._lock = threading.Lock()

    def find(self, element: wit.AnyType, data: memoryview) -> CID | None:
        """Return the CID of the elements that lie in `data`, if they were named before and are the same."""
        key = (id(data.obj), element)  # which finds it; what makes it right is that the bytes are equal
        with self._lock:
            found = self._known.get(key)
        if found is None:
            return None
        from ipvm_kernel.wasm.compare import equal

        if not equal(found[0], data):
            return None
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
        return found[1]

    def note(self, element: wit.AnyType, held: object, data: bytes, cid: CID) -> None:
        """Remember the CID of elements whose bytes are `data`, and that `held` holds."""
        if len(data) > LARGEST_BYTES:
            return
        key = (id(held), element)
        with self._lock:
            before = self._known.pop(key, None)
            self._room += 0 if before is None else len(before[0])
            self._known[key] = (data, cid)
            self._room -= len(data)
            while self._room < 0:
                _, (dropped, _) = self._known.popitem(last=False)
                self._room += len(dropped)
