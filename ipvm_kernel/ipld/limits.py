"""Limits: how much a block may hold before it is refused unread."""

from __future__ import annotations

from typing import Final, NamedTuple


class Limits(NamedTuple):
    """What a decoder accepts.

    Attributes:
        block_bytes: Bytes of one block, or of one text.
        depth: Lists and maps inside each other; a scalar alone has depth 0.
        items: Values and map keys in one block, a link counting once.
    """

    block_bytes: int
    depth: int
    items: int


DEPTH: Final = 128
"""Lists and maps inside each other, for every block that is written and by default for every one that is read."""

OWN: Final = Limits(block_bytes=2**30, depth=DEPTH, items=50_000_000)
"""For our own store and the user's own files."""

PEER: Final = Limits(block_bytes=2 * 2**20, depth=DEPTH, items=100_000)
"""For whatever a peer, a gateway or an archive sends. IPFS itself passes on no block above 2 MiB."""
