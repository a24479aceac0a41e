"""Unpacking: what an archive holds becomes one parcel for the store, checked as it is walked; nothing of it is used yet.

Blocks come checked against their CIDs. Here it is checked what they say of each other: that a receipt answers the
invocation it names, and the invocation the instruction it is listed under; that a statement was made by who is said to
have made it. What does not fit refuses the whole; a statement that is forged is dropped alone, since without it a receipt
is merely unverified.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import msgspec

from ipvm_kernel.errors import BadInput, Forged, IpvmError, LimitExceeded, Malformed, NotFound
from ipvm_kernel.ipld import CID, PEER, Block, decode, encode
from ipvm_kernel.ipld.unixfs import read
from ipvm_kernel.model import Invocation, Receipt
from ipvm_kernel.printable import printable
from ipvm_kernel.sharing.manifest import Answered, Content, Opened, opened
from ipvm_kernel.store import Entry, Filing, Parcel
from ipvm_kernel.trust.attestation import LIMITS, TAG, Attestation
from ipvm_kernel.trust.attestation import read as read_statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ipvm_kernel.store import OnFile, Role, Store

_ROLES: Final[dict[str, Role]] = {"module": "module", "input": "input", "output": "value", "file": "input"}
_STEP: Final = 256

ANSWERS: Final = 64
"""Receipts of one task in an archive, at most: each is read with its task."""

SIGNATURES: Final = 16
"""Statements about one receipt that are looked at; it is checked of each whether its issuer signed it."""

T = TypeVar("T", Receipt, Invocation)


class Blocks(Protocol):
    """Where blocks are: the index of an archive."""

    def get(self, cid: CID) -> bytes:
        """Return the bytes under a CID, checked. Raises NotFound."""

    def __contains__(self, cid: object) -> bool: ...

    def __iter__(self) -> Iterator[CID]: ...


class Signed(msgspec.Struct, frozen=True):
    """A statement that came along.

    Attributes:
        block: It as it came.
        made: What it says.
    """

    block: Block
    made: Attestation


class Arrival(msgspec.Struct, kw_only=True):
    """What came in an archive.

    Attributes:
        root: What it is about: a share, or the root of another archive.
        opened: The share, or None.
        receipts: Which receipts answer which instructions.
        new: How many of them were not here.
        signed: Statements, by receipt.
        refused: What was dropped, and why, one line each.
        absent: Content that should have come along and did not.
        trusted: The user said that they may be used.
    """

    root: CID
    opened: Opened | None = None
    receipts: list[Answered] = msgspec.field(default_factory=list)
    new: int = 0
    signed: dict[CID, list[Signed]] = msgspec.field(default_factory=dict)
    refused: list[str] = msgspec.field(default_factory=list)
    absent: list[Content] = msgspec.field(default_factory=list)
    trusted: bool = False

    @property
    def issuers(self) -> dict[str, int]:
        """How many receipts each signer vouches for."""
        counts: dict[str, int] = {}
        for signed in self.signed.values():
            for issuer in {one.made.issuer for one in signed}:
                counts[issuer] = counts.get(issuer, 0) + 1
        return counts


def pin_of(share_name: str, root: CID) -> str:
    """Return the name of the pin that keeps a share."""
    return f"share/{printable(share_name, limit=100)}@{root.short}"


def unpack(blocks: Blocks, root: CID, store: Store, *, trust: bool = False, max_bytes: int) -> tuple[Parcel, Arrival]:
    """Return a parcel of all that a share holds, and what can be said of it before it is brought in.

    The parcel is walked while it is brought in, and raises what is wrong with it then.

    Args:
        blocks: The blocks of the archive.
        root: The CID of the share.
        store: Where it will go; asked what is there already.
        trust: The receipts may be replayed.
        max_bytes: Bytes of one file, at most.

    Raises:
        Malformed: It is no share, or contradicts itself.
        NotFound: A part of it that must be there is not.
    """
    made = opened(root, lambda cid: Block(cid, blocks.get(cid)))
    share = made.share
    arrival = Arrival(root=root, opened=made, receipts=made.receipts, trusted=trust)
    _statements(blocks, made, arrival)
    here: list[tuple[CID, Role]] = [(share.about, "input")] if share.about.codec in {"raw", "dag-pb"} else []
    here += [(cid, "input") for cid in share.files.values()]
    for one in made.content:
        if one.cid in blocks:
            here.append((one.cid, _ROLES[one.part]))
        elif store.size(one.cid) is None:
            arrival.absent.append(one)
    wanted = dict.fromkeys(cid for cid, _ in here)
    roles = dict(reversed(here))
    files = [cid for cid in wanted if cid.codec in {"raw", "dag-pb"}]
    plain = [
        root, *share.receipts, *share.statements, *share.content, *share.left, *share.workflows,
        *(cid for cid in wanted if cid.codec not in {"raw", "dag-pb"}),
    ]  # fmt: skip
    parcel = Parcel(
        files=((cid, read(cid, blocks.get, max_bytes=max_bytes), roles[cid]) for cid in files),
        blocks=(Block(cid, blocks.get(cid)) for cid in dict.fromkeys(plain)),
        filings=_filings(blocks, made.receipts, store, arrival),
        attestations=((cid, one.block) for cid, signed in arrival.signed.items() for one in signed),
        pins={pin_of(share.name, root): root},
        names=((one.cid, one.name) for one in made.content if one.name and one.cid in wanted),
    )
    return parcel, arrival


def _statements(blocks: Blocks, made: Opened, arrival: Arrival) -> None:
    """Read the statements of a share; what is forged or about something else is dropped and told.

    Raises:
        LimitExceeded: There are more than any receipts could need.
    """
    most = SIGNATURES * len(made.receipts)
    if len(made.statements) > most:
        raise LimitExceeded(
            f"expected at most {SIGNATURES} statements a receipt, {most:,} in all, found {len(made.statements):,} in the "
            f"share {arrival.root}: nothing was taken"
        )
    read_signatures(blocks, made.statements, {one.receipt: one.instruction for one in made.receipts}, arrival)


def read_signatures(
    blocks: Blocks, statements: Iterable[CID], about: Mapping[CID, CID | None], arrival: Arrival
) -> None:
    """Read statements about some receipts; what is forged, too many or about something else is dropped and told.

    What a statement is about is looked at before its signature is, which takes longer.

    Args:
        blocks: Where they are.
        statements: Their CIDs.
        about: The receipts that came along, and the instruction of each, or None where that is not known yet.
        arrival: Where they are noted.
    """
    counts: dict[CID, int] = {}
    for cid in dict.fromkeys(statements):
        try:
            block = Block(cid, blocks.get(cid))
            receipt = _subject(block)
            if receipt not in about or receipt not in blocks:
                raise Forged(f"the statement {cid} is about no receipt that came along")
            counts[receipt] = counts.get(receipt, 0) + 1
            if counts[receipt] > SIGNATURES:
                if counts[receipt] == SIGNATURES + 1:
                    arrival.refused.append(f"signatures of the receipt {receipt} beyond the first {SIGNATURES}")
                continue
            statement = read_statement(block)
            if about[receipt] not in {None, statement.instruction}:
                raise Forged(f"the statement {cid} is about a receipt of this share, and about another task")
        except IpvmError as error:
            arrival.refused.append(f"a signature, without which its receipt stays: {error.message}")
        else:
            arrival.signed.setdefault(statement.receipt, []).append(Signed(block, statement))


def _subject(block: Block) -> CID:
    """Return the receipt that a statement says it is about, whoever signed it: nothing of it is checked yet."""
    match decode(block.data, LIMITS):
        case [_, dict() as signed] if (
            type(said := signed.get(TAG)) is dict and type(receipt := said.get("receipt")) is CID
        ):
            return receipt
    raise Malformed(f"expected a statement that names a receipt, found another value: {block.cid}")


def _filings(blocks: Blocks, receipts: list[Answered], store: Store, arrival: Arrival) -> Iterator[Filing]:
    """Yield what is to be put on file: each receipt with its task, unless it is on file already."""
    now = time.time()
    for start in range(0, len(receipts), _STEP):
        chunk = receipts[start : start + _STEP]
        on_file = store.on_file([one.instruction for one in chunk])
        for one in chunk:
            filing = filing_of(blocks, one, arrival.signed.get(one.receipt, ()), trust=arrival.trusted, at=now)
            known = _known(on_file.get(one.instruction), one, store)
            if known is None:
                arrival.new += 1
            if known is None or (arrival.trusted and not known.admitted):
                yield filing


def _known(found: OnFile | None, one: Answered, store: Store) -> OnFile | None:
    """Return how a receipt is on file with its task, or None: also where it is there and what explains it is not."""
    if found is not None and found.cid != one.receipt:
        found = next((other for other in store.receipts_of(one.instruction) if other.cid == one.receipt), None)
    return found if found is not None and _explained(found, store) else None


def _explained(found: OnFile, store: Store) -> bool:
    """Return True if a receipt on file is here with the blocks of its task: one that a peer gave comes without them."""
    return (
        found.here
        and found.ran is not None
        and store.size(found.instruction) is not None
        and store.size(found.ran) is not None
    )


def filing_of(
    blocks: Blocks,
    one: Answered,
    signed: Iterable[Signed],
    *,
    trust: bool,
    at: float,
    invocation: Invocation | None = None,
) -> Filing:
    """Return how a receipt from elsewhere is put on file with its task.

    Args:
        blocks: Where receipt and invocation are.
        one: Which receipt, of which instruction.
        signed: Statements about it.
        trust: It may be replayed.
        at: When it came, in seconds since 1970.
        invocation: The invocation that it names, if it was read before.

    Raises:
        Malformed: It is no receipt, or answers something else than it is said to.
        NotFound: A part of it is not there.
    """
    receipt = _node(Receipt, one.receipt, blocks)
    if invocation is None:
        invocation = invocation_of(blocks, receipt.ran)
    task = invocation.task
    if task.run.cid != one.instruction:
        raise Malformed(
            f"expected the receipt {one.receipt} to answer {one.instruction}, as it is listed, found that its invocation "
            f"{receipt.ran} is of {task.run.cid}: nothing was taken"
        )
    if task.invocation.cid != receipt.ran:
        raise Malformed(f"expected an invocation in its one form, found {receipt.ran} in another: nothing was taken")
    if encode(receipt.to_ipld()) != receipt.block.data:  # a field that is left out, say: the store reads them all
        raise Malformed(f"expected a receipt with all its fields, found {one.receipt} without some: nothing was taken")
    makers = [f"{one.made.engine} of {one.made.issuer}" for one in signed]
    entry = Entry(
        instruction=one.instruction,
        func=printable(task.run.func, limit=200),
        rsc=printable(task.run.rsc, limit=500),
        how="loaded",
        receipt=one.receipt,
        at=at,
        seconds=one.took / 1000,
        engine=printable(makers[0] if makers else "an archive that nobody signed", limit=300),
    )
    return Filing(task, receipt, None, entry, own=False, admitted=trust)


def invocation_of(blocks: Blocks, cid: CID) -> Invocation:
    """Return an invocation in an archive.

    Raises:
        Malformed: It is none.
        NotFound: It is not there.
    """
    return _node(Invocation, cid, blocks)


def _node(kind: type[T], cid: CID, blocks: Blocks) -> T:
    if cid.codec != "dag-cbor" or cid.hash not in {"sha3-256", "sha2-256"}:
        raise Malformed(f"expected a {kind.__name__.lower()} in dag-cbor, found {cid.codec} by {cid.hash}: {cid}")
    try:
        data = blocks.get(cid)
    except NotFound:
        raise NotFound(
            f"the {kind.__name__.lower()} {cid} is missing from the archive: nothing was taken. Ask for it to be exported again"
        ) from None
    try:
        block = Block(cid, data)
        made = kind.from_ipld(block.value(PEER))
    except BadInput as error:
        raise type(error)(f"{error.message.removesuffix('.')}: in {cid}. Nothing was taken") from None
    made.__dict__["block"] = block
    return made
