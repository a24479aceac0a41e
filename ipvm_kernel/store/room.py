"""Making room: the values of pure tasks go first, the least recently used before others; nothing else ever goes.

What goes leaves its CID and size behind, and the receipts that lead to it go with it, so that working it out again must
meet the same receipt (RULES 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.errors import IpvmError, NotFound
from ipvm_kernel.ipld import CID, Block, Ipld, encode
from ipvm_kernel.ipld.cid import unchecked
from ipvm_kernel.ipld.codec import decode_trusted
from ipvm_kernel.store import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import apsw

    from ipvm_kernel.store.files import Files

WORTH_BYTES: Final = 1024
"""A value smaller than this is not worth dropping: the row that remembers it is as large."""

_INSTRUCTION: Final = {"rsc", "op", "input", "nnc"}


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


def find(connection: apsw.Connection, files: Files, *, target: int, older: float | None = None) -> Dropped:
    """Return the values to drop until the store holds `target` bytes, but nothing that a pin leads to.

    Args:
        connection: The database.
        files: The files beside it.
        target: Bytes that the store may hold.
        older: Only what was not used for this many seconds.
    """
    total = held_bytes(connection)
    horizon = "" if older is None else f" AND used <= unixepoch() - {int(older)}"
    candidates: Any = connection.execute(
        f"SELECT cid, size FROM block WHERE role = 'value' AND place IN (0, 1) AND size >= {WORTH_BYTES}{horizon} "  # noqa: S608 - numbers
        "ORDER BY used, id"
    ).fetchall()
    kept = pinned(connection, files) if candidates else set()
    gone: dict[CID, int] = {}
    for raw, size in candidates:
        if total <= target:
            break
        cid = unchecked(raw)
        if cid not in kept:
            gone[cid] = size
            total -= size
    return Dropped(len(gone), sum(gone.values()), tuple(gone))


def drop(connection: apsw.Connection, files: Files, cids: Iterable[CID]) -> None:
    """Mark values as dropped, and with them the receipts that link to them. Their files go once this is durable."""
    going = set(cids)
    linked = {cid for cid in going if cid.codec != "dag-cbor"}  # files; nothing links to a receipt
    receipts: Any = linked and connection.execute(
        "SELECT cid, place, data FROM block WHERE place IN (0, 1) AND cid IN (SELECT cid FROM receipt)"
    )
    for raw, place, data in receipts or ():
        cid = unchecked(raw)
        if not linked.isdisjoint(links(decode_trusted(data if place == schema.INLINE else files.read(cid)))):
            going.add(cid)
    connection.executemany(
        f"UPDATE block SET place = {schema.DROPPED}, data = NULL WHERE cid = ?",  # noqa: S608 - a number
        [(cid.bytes,) for cid in going],
    )


def pinned(connection: apsw.Connection, files: Files) -> set[CID]:
    """Return everything that the pins of a store lead to, read through its own connection."""
    roots: Any = connection.execute("SELECT cid FROM pin").fetchall()

    def get(cid: CID) -> Block:
        found: Any = connection.execute("SELECT place, data FROM block WHERE cid = ?", (cid.bytes,)).fetchall()
        if not found or found[0][0] == schema.DROPPED:
            raise NotFound(str(cid))
        return Block(cid, found[0][1] if found[0][0] == schema.INLINE else files.read(cid))

    def receipts(cid: CID) -> list[CID]:
        found: Any = connection.execute("SELECT cid FROM receipt WHERE instruction = ?", (cid.bytes,)).fetchall()
        return [unchecked(raw) for (raw,) in found]

    return reachable((unchecked(raw) for (raw,) in roots), get, receipts)


def reachable(roots: Iterable[CID], get: Callable[[CID], Block], receipts: Callable[[CID], list[CID]]) -> set[CID]:
    """Return everything that the given CIDs lead to, as far as it is here: by links, and from a task to its receipts."""
    seen: set[CID] = set()
    pending = list(roots)
    while pending:
        cid = pending.pop()
        if cid in seen:
            continue
        seen.add(cid)
        if cid.codec == "dag-cbor":
            pending.extend(receipts(cid))
            try:
                pending.extend(links(get(cid).value()))
            except (IpvmError, OSError):
                continue
    return seen


def links(value: Ipld) -> list[CID]:
    """Return every link inside a value, every CID that an `ipfs://` text names, and that of every instruction."""
    found: list[CID] = []
    pending = [value]
    while pending:
        current = pending.pop()
        if type(current) is CID:
            found.append(current)
        elif type(current) is dict:
            if current.keys() == _INSTRUCTION:
                found.append(CID.of(encode(current)))
            pending.extend(current.values())
        elif type(current) is list:
            pending.extend(current)
        elif type(current) is str and current.startswith("ipfs://"):
            named = CID.from_canonical(current.removeprefix("ipfs://"))
            if named is not None:
                found.append(named)
    return found
