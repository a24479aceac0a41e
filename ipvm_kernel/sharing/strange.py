"""Archives that others made, without a share in them: whatever they hold is kept, and receipts among it are put on file."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from ipvm_kernel.errors import IpvmError, LimitExceeded, Malformed
from ipvm_kernel.ipld import CID, PEER, Block
from ipvm_kernel.ipld.dagpb import links_of
from ipvm_kernel.ipld.folders import walk
from ipvm_kernel.ipld.unixfs import read
from ipvm_kernel.sharing.manifest import Answered
from ipvm_kernel.sharing.unpacking import ANSWERS, Arrival, filing_of, invocation_of, read_signatures
from ipvm_kernel.store import Parcel
from ipvm_kernel.store.room import links

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ipvm_kernel.sharing.unpacking import Blocks
    from ipvm_kernel.store import Filing

_RECEIPT = {"ran", "out", "meta", "iss", "prf"}


class _Found:
    """What an archive turns out to hold."""

    def __init__(self) -> None:
        self.values: list[CID] = []
        self.files: dict[CID, None] = {}
        self.receipts: dict[CID, CID] = {}  # each with what it says it ran; with itself where that is no link
        self.statements: list[CID] = []
        self.parts: set[CID] = set()  # blocks of files and folders that are a part of another


def unpack(
    blocks: Blocks, roots: Sequence[CID], *, trust: bool = False, max_bytes: int, at: float
) -> tuple[Parcel, Arrival]:
    """Return a parcel of all values, files and receipts in an archive.

    A file is kept if its root is one of the archive's, or if a value links to it. Folders are looked into.

    Args:
        blocks: The blocks of the archive.
        roots: Its roots.
        trust: Its receipts may be replayed.
        max_bytes: Bytes of one file, at most.
        at: When it came, in seconds since 1970.

    Raises:
        Malformed: A block is not what its codec says, or there is none.
    """
    root = next(iter([*roots, *islice(blocks, 1)]), None)
    if root is None:
        raise Malformed(
            "expected something in an archive, found no block and no root: ask whoever wrote it for another"
        )
    found = _sorted(blocks, roots)
    arrival = Arrival(root=root, trusted=trust)
    read_signatures(blocks, found.statements, dict.fromkeys(found.receipts), arrival)
    answered: list[Filing] = []
    by_task: dict[CID, list[CID]] = {}
    for cid, ran in found.receipts.items():
        by_task.setdefault(ran, []).append(cid)
    times: Counter[CID] = Counter()
    for ran, receipts in by_task.items():
        _few(ran, len(receipts))
        try:
            invocation = invocation_of(blocks, ran)
        except IpvmError as error:
            arrival.refused += [_kept(cid, error) for cid in receipts]
            continue
        instruction = invocation.task.run.cid
        times[instruction] += len(receipts)
        _few(instruction, times[instruction])
        for cid in receipts:
            one = Answered(instruction, cid, 0)
            signed = arrival.signed.get(cid, ())
            try:
                answered.append(filing_of(blocks, one, signed, trust=trust, at=at, invocation=invocation))
            except IpvmError as error:
                arrival.refused.append(_kept(cid, error))
            else:
                arrival.receipts.append(one)
    arrival.new = len(answered)
    parcel = Parcel(
        files=((cid, read(cid, blocks.get, max_bytes=max_bytes), "input") for cid in found.files),
        blocks=(Block(cid, blocks.get(cid)) for cid in found.values),
        filings=answered,
        attestations=((cid, one.block) for cid, signed in arrival.signed.items() for one in signed),
    )
    return parcel, arrival


def _sorted(blocks: Blocks, roots: Sequence[CID]) -> _Found:
    """Look once at every block that is no leaf of a file."""
    found = _Found()
    candidates = dict.fromkeys(cid for cid in roots if cid.codec in {"raw", "dag-pb"})
    folders: list[CID] = []
    for cid in blocks:
        codec = cid.codec
        if codec == "dag-pb":
            children = links_of(blocks.get(cid))
            found.parts.update(children)
            folders.append(cid)
        elif codec in {"dag-cbor", "dag-json"}:
            value = Block(cid, blocks.get(cid)).value(PEER)
            found.values.append(cid)
            candidates.update(dict.fromkeys(link for link in links(value) if link.codec in {"raw", "dag-pb"}))
            if codec == "dag-cbor" and type(value) is dict and set(value) == _RECEIPT:
                ran = value["ran"]
                found.receipts[cid] = ran if type(ran) is CID else cid
            elif codec == "dag-cbor" and cid.hash == "sha2-256" and type(value) is list and len(value) == 2:
                found.statements.append(cid)
    candidates.update(dict.fromkeys(cid for cid in folders if cid not in found.parts))
    if not roots and not found.values:
        candidates.update(dict.fromkeys(cid for cid in blocks if cid not in found.parts))
    found.files = dict.fromkeys(_files(blocks, candidates))
    return found


def _files(blocks: Blocks, candidates: dict[CID, None]) -> Iterator[CID]:
    """Yield the files among some roots, those in folders too."""
    for cid in candidates:
        if cid in blocks:
            yield from (inside for _, inside in walk(cid, blocks.get) if inside in blocks)


def _kept(cid: CID, error: IpvmError) -> str:
    return f"{cid}, which is kept as a value and is no receipt on file: {error.message}"


def _few(cid: CID, count: int) -> None:
    """Raise where a task has more receipts than anybody needs: each is read with its task, and kept."""
    if count > ANSWERS:
        raise LimitExceeded(
            f"expected at most {ANSWERS} receipts of one task in an archive, found {count:,} of {cid}: nothing was taken. Ask "
            "for an archive of fewer"
        )
