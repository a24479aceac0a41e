"""What is shared under one CID: a node that leads to everything that goes along.

A receipt does not link to its module (an address in text) nor a task to the receipts of what it awaits, so an archive of
links alone would leave half behind. A share names them all. Its lists are pages of blocks, so that no block is larger than
what peers pass on (RULES 6), however many receipts there are; what goes along is a link, so that whoever pins the share
pins all of it. What does not is named by text, and everything that some link leads to nevertheless is among it: without
any, the whole of what the share reaches is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from ipvm_kernel.errors import Malformed
from ipvm_kernel.ipld import CID, PEER, Block, Ipld, Node
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

FORMAT: Final = "share/1"
PAGE: Final = 1_000
"""Entries of a page: about 100 kB."""

_PAGES: Final = 1_000
_NAME: Final = 1_000  # characters

Kind = Literal["notebook", "workflow", "receipt"]
Part = Literal["module", "input", "output", "file", "block"]
"""What content is to what is shared: a `file` is one that the notebook reads by its name, a `block` anything else that a
link leads to, such as a task that went without a receipt."""

T = TypeVar("T")


class Answered(NamedTuple):
    """That a receipt answers an instruction.

    Attributes:
        instruction: The CID of the instruction.
        receipt: The CID of the receipt.
        took: Milliseconds that the task ran where it was run, or 0: an observation, for whoever runs it again.
    """

    instruction: CID
    receipt: CID
    took: int


class Content(NamedTuple):
    """Bytes or a value that go along, or that were left out.

    Attributes:
        cid: Their CID.
        part: What they are.
        size: How many bytes.
        name: What they were called, safe to show, or "".
    """

    cid: CID
    part: Part
    size: int
    name: str


class Share(Node, frozen=True, kw_only=True):
    """What is shared under one CID.

    Attributes:
        ipvm: Which kind of node this is, and its version.
        kind: What was shared.
        name: What it is called, without folders.
        about: The notebook's file, the workflow or the receipt.
        receipts: Pages of `[instruction, receipt, milliseconds]`.
        statements: Pages of links to attestations.
        workflows: Workflows that the receipts belong to.
        content: Pages of `[CID, part, bytes, name]`: what goes along.
        left: Pages of the same, the CIDs as text: what was left out.
        files: Files that the notebook reads by a path, by that path.
        environment: Versions of what it was made with.
    """

    ipvm: Literal["share/1"] = FORMAT
    kind: Kind
    name: str
    about: CID
    receipts: list[CID] = msgspec.field(default_factory=list)
    statements: list[CID] = msgspec.field(default_factory=list)
    workflows: list[CID] = msgspec.field(default_factory=list)
    content: list[CID] = msgspec.field(default_factory=list)
    left: list[CID] = msgspec.field(default_factory=list)
    files: dict[str, CID] = msgspec.field(default_factory=dict)
    environment: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def meant(cls, value: Ipld) -> bool:
        """Return True for a value that says it is a share, of whichever version."""
        return type(value) is dict and str(value.get("ipvm", "")).startswith("share/")


class Opened(msgspec.Struct, kw_only=True):
    """A share with its pages.

    Attributes:
        share: The share.
        receipts: Which receipt answers which instruction.
        statements: Attestations.
        content: What goes along.
        left: What was left out.
    """

    share: Share
    receipts: list[Answered]
    statements: list[CID]
    content: list[Content]
    left: list[Content]


def paged(entries: Iterable[Sequence[Ipld] | CID]) -> Iterator[Block]:
    """Yield blocks that hold some entries, in order."""
    page: list[Ipld] = []
    for entry in entries:
        page.append(entry if isinstance(entry, CID) else list(entry))
        if len(page) == PAGE:
            yield Block.of(page)
            page = []
    if page:
        yield Block.of(page)


def opened(root: CID, get: Callable[[CID], Block]) -> Opened:
    """Return the share under a CID, with its pages.

    Args:
        root: Its CID.
        get: Gives blocks, checked.

    Raises:
        Malformed: It is no share; the message says what it is instead, and where.
        NotFound: A page of it is not here.
    """
    block = get(root)
    value = block.value(PEER)
    if not Share.meant(value):
        raise Malformed(f"expected what `ipvm share` makes, found another value: {root}")
    assert type(value) is dict
    if value["ipvm"] != FORMAT:
        raise Malformed(
            f"expected {FORMAT!r}, found a share of another version: {root}. Upgrade with: pip install -U ipvm"
        )
    try:
        share = Share.from_block(block)
    except Malformed as error:
        raise Malformed(f"{error.message}: in {root}") from None
    receipts = list(_entries(share.receipts, get, _answered))
    _each_once(receipts)
    return Opened(
        share=share,
        receipts=receipts,
        statements=list(_entries(share.statements, get, _link)),
        content=list(_entries(share.content, get, _content)),
        left=list(_entries(share.left, get, left_out)),
    )


def _each_once(receipts: list[Answered]) -> None:
    """Raise if a share answers a task twice: then it contradicts itself, or says one thing many times."""
    known: dict[CID, CID] = {}
    for one in receipts:
        other = known.setdefault(one.instruction, one.receipt)
        if other is not one.receipt:
            raise Malformed(
                f"expected one receipt of each task in a share, found two of {one.instruction}: {other} and {one.receipt}. "
                "Nothing was taken"
            )


def _entries(pages: list[CID], get: Callable[[CID], Block], read: Callable[[Any], T | None]) -> Iterator[T]:
    if len(pages) > _PAGES:
        raise Malformed(f"expected at most {_PAGES:,} pages in a list of a share, found {len(pages):,}")
    for cid in pages:
        page = get(cid).value(PEER)
        if type(page) is not list or not 0 < len(page) <= PAGE:
            raise Malformed(
                f"expected a list of 1 to {PAGE:,} entries in a page of a share, found another value: {cid}"
            )
        for at, entry in enumerate(page):
            made = read(entry)
            if made is None:
                raise Malformed(f"expected an entry of a share at `$[{at}]` of {cid}, found another value")
            yield made


def _link(entry: Any) -> CID | None:
    return entry if type(entry) is CID else None


def _answered(entry: Any) -> Answered | None:
    match entry:
        case [CID() as instruction, CID() as receipt, int() as took] if type(took) is int and 0 <= took < 2**53:
            return Answered(instruction, receipt, took)
    return None


def _content(entry: Any) -> Content | None:
    match entry:
        case [CID() as cid, "module" | "input" | "output" | "file" | "block" as part, int() as size, str() as name] if (
            type(size) is int and 0 <= size < 2**53 and len(name) <= _NAME
        ):
            return Content(cid, part, size, printable(name, limit=_NAME))
    return None


def left_out(entry: Any) -> Content | None:
    """Return what an entry of a page says was left out, or None if it is none."""
    match entry:
        case [str() as text, *rest]:
            cid = CID.from_canonical(text)
            return None if cid is None else _content([cid, *rest])
    return None
