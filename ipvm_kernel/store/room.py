"""Making room: the values of pure tasks go first, the least recently used before others; nothing else ever goes.

What goes leaves its CID and size behind, so that working it out again must meet the same receipt (RULES 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.errors import NotFound, StoreError
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.store import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import apsw

    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.store.files import Files

WORTH_BYTES: Final = 1024
"""A value smaller than this is not worth dropping: the row that remembers it is as large."""


class Dropped(msgspec.Struct, frozen=True):
    """What went, or would go."""

    count: int
    size: int
    cids: tuple[CID, ...] = ()


def held_bytes(connection: apsw.Connection) -> int:
    """Return the bytes of all blocks and files that are here."""
    found: Any = connection.execute("SELECT total(size) FROM block WHERE place IN (0, 1)").fetchall()
    return int(found[0][0])


def held(rows: Callable[[str], list[Any]]) -> dict[str, int]:
    """Return the counts and sizes of a store, as `Usage` names them."""
    small = rows("SELECT count(*), total(size) FROM block WHERE place = 0")[0]
    large = rows("SELECT count(*), total(size) FROM block WHERE place = 1")[0]
    counts = rows(
        "SELECT (SELECT count(*) FROM receipt), (SELECT count(*) FROM block WHERE place = 2), "
        "(SELECT count(*) FROM run), (SELECT count(*) FROM pin)"
    )[0]
    return {
        "blocks": small[0], "block_bytes": int(small[1]), "files": large[0], "file_bytes": int(large[1]),
        "receipts": counts[0], "dropped": counts[1], "runs": counts[2], "pins": counts[3],
    }  # fmt: skip


def make(
    connection: apsw.Connection,
    files: Files,
    *,
    target: int,
    kept: Collection[CID],
    older: float | None = None,
    dry_run: bool = False,
) -> Dropped:
    """Drop values until the store holds `target` bytes, but nothing of `kept`, and return what went."""
    total = held_bytes(connection)
    horizon = "" if older is None else f" AND used < strftime('%s', 'now') - {int(older)}"
    candidates: Any = connection.execute(
        f"SELECT id, cid, size, place FROM block WHERE role = 'value' AND place IN (0, 1) AND size >= {WORTH_BYTES}{horizon} "  # noqa: S608 - numbers
        "ORDER BY used, id"
    ).fetchall()
    gone: list[tuple[int, CID, int, int]] = []
    for ident, raw, size, place in candidates:
        if total <= target:
            break
        cid = unchecked(raw)
        if cid not in kept:
            gone.append((ident, cid, size, place))
            total -= size
    if not dry_run and gone:
        with connection:  # the rows first: a file without a row is a stray, a row without a file would be a lie
            connection.executemany(
                f"UPDATE block SET place = {schema.DROPPED}, data = NULL WHERE id = ?",  # noqa: S608 - a number
                [(ident,) for ident, *_ in gone],
            )
        for _, cid, _, place in gone:
            if place == schema.ON_DISK:
                files.drop(cid)
    return Dropped(len(gone), sum(size for *_, size, _ in gone), tuple(cid for _, cid, *_ in gone))


def pinned(connection: apsw.Connection, files: Files) -> set[CID]:
    """Return everything that the pins of a store lead to, read through its own connection."""
    roots: Any = connection.execute("SELECT cid FROM pin").fetchall()

    def get(cid: CID) -> Block:
        found: Any = connection.execute("SELECT place, data FROM block WHERE cid = ?", (cid.bytes,)).fetchall()
        if not found or found[0][0] == schema.DROPPED:
            raise NotFound(str(cid))
        return Block(cid, found[0][1] if found[0][0] == schema.INLINE else files.read(cid))

    return reachable((unchecked(raw) for (raw,) in roots), get)


def reachable(roots: Any, get: Callable[[CID], Block]) -> set[CID]:
    """Return everything that the given CIDs lead to, as far as it is here."""
    seen: set[CID] = set()
    pending = list(roots)
    while pending:
        cid = pending.pop()
        if cid in seen:
            continue
        seen.add(cid)
        if cid.codec == "dag-cbor":
            try:
                pending.extend(links(get(cid).value()))
            except (NotFound, StoreError, OSError):
                continue
    return seen


def links(value: Ipld) -> list[CID]:
    """Return every link inside a value, and every CID that an `ipfs://` text names."""
    found: list[CID] = []
    pending = [value]
    while pending:
        current = pending.pop()
        if type(current) is CID:
            found.append(current)
        elif type(current) is dict:
            pending.extend(current.values())
        elif type(current) is list:
            pending.extend(current)
        elif type(current) is str and current.startswith("ipfs://"):
            named = CID.from_canonical(current.removeprefix("ipfs://"))
            if named is not None:
                found.append(named)
    return found
