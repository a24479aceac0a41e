"""Pages for what is about to be written into a guest's memory, asked of the system at once and not one by one.

Half of what it costs to pass a megabyte is that of the pages it comes to lie on. Advice changes no byte and may be
refused: then each page is made when it is first written, as ever.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import Any, Final

LEAST_BYTES: Final = 256 << 10
"""Less than this is not worth the call."""

_HUGE: Final = getattr(mmap, "MADV_HUGEPAGE", 0)
_NOW: Final = 23 if sys.platform == "linux" else 0  # MADV_POPULATE_WRITE, since Linux 5.14


def _bound() -> Any:
    if not _NOW:
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.restype, madvise.argtypes = ctypes.c_int, (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return madvise


_madvise: Final = _bound()


def ready(base: int, size: int, at: int, length: int) -> None:
    """Say that a part of a guest's memory, `length` bytes at `at`, will be written now.

    Args:
        base: Where the memory is in this process, at the beginning of a page.
        size: Its bytes.
        at: Where the part begins in it.
        length: The bytes of the part.
    """
    if _madvise is None:
        return
    _madvise(base, size, _HUGE)  # of all of it, since a huge page may begin before the part and end after it
    start = at // mmap.PAGESIZE * mmap.PAGESIZE
    _madvise(base + start, at + length - start, _NOW)
