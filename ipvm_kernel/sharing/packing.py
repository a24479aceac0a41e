"""Packing: a share is made of what was gathered, and its blocks are given out in order, for an archive or a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, blocks
from ipvm_kernel.sharing.manifest import Answered, Content, Kind, Share, opened, paged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ipvm_kernel.sharing.gathering import Bundle
    from ipvm_kernel.store import Store


def pack(
    store: Store,
    bundle: Bundle,
    *,
    kind: Kind,
    name: str,
    about: CID,
    statements: Iterable[CID] = (),
    workflows: Iterable[CID] = (),
    files: Mapping[str, CID] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Share:
    """Return the share of a bundle; it and its pages are put in the store.

    Equal bundles give equal shares: nothing of the moment is in one.

    Args:
        store: Where everything is.
        bundle: What goes along.
        kind: What is shared.
        name: What it is called.
        about: The notebook's file, the workflow or the receipt.
        statements: Attestations of the receipts, which are in the store.
        workflows: Workflows, which are in the store.
        files: Files that the notebook reads by a path.
        environment: Versions of what it was made with.
    """
    statements, workflows = list(dict.fromkeys(statements)), list(dict.fromkeys(workflows))
    loose = _loose(store, bundle, [about, *statements, *workflows])

    def put(entries: Iterable[Block]) -> list[CID]:
        return [store.put(page) for page in entries]

    share = Share(
        kind=kind,
        name=name,
        about=about,
        receipts=put(
            paged(Answered(one.instruction, one.receipt, round(one.seconds * 1000)) for one in bundle.receipts.values())
        ),
        statements=put(paged(statements)),
        workflows=workflows,
        content=put(paged(bundle.content.values())),
        left=put(paged([str(one.cid), *one[1:]] for one in (*bundle.left.values(), *loose.values()))),
        files=dict(files or {}),
        environment=dict(environment or {}),
    )
    store.put(share.block)
    return share


def _loose(store: Store, bundle: Bundle, others: Iterable[CID]) -> dict[CID, Content]:
    """Return what some link leads to although it neither goes along nor was left out on purpose."""
    receipts = bundle.receipts.values()
    nodes = {cid for one in receipts for cid in (one.receipt, one.invocation, one.instruction)}
    nodes.update(cid for cid in (*others, *bundle.content) if cid.codec == "dag-cbor")
    known = nodes.union(bundle.content, bundle.left, others)
    found: dict[CID, Content] = {}
    for node in nodes:
        for link in store.get(node).links():
            if link not in known and link.hash != "identity":
                found[link] = Content(link, "block", 0, "")
    return dict(sorted(found.items(), key=lambda pair: pair[0].bytes))


def contents(store: Store, root: CID) -> Iterator[tuple[CID, bytes]]:
    """Yield every block of a share that is in the store, the root first. Parts of several files come as often as they do.

    Raises:
        NotFound: One of them is not here any more.
        Malformed: It is no share.
    """
    made = opened(root, store.get)
    share = made.share
    for cid in (root, *share.receipts, *share.statements, *share.content, *share.left, *share.workflows):
        yield cid, store.get(cid).data
    for one in made.receipts:
        receipt = store.get(one.receipt)
        yield receipt.cid, receipt.data
        for cid in (invocation_of(receipt), one.instruction):  # to which promises and statements link
            yield cid, store.get(cid).data
    for cid in made.statements:
        yield cid, store.get(cid).data
    for cid in dict.fromkeys((share.about, *share.files.values(), *(content.cid for content in made.content))):
        yield from blocks_of(store, cid)


def invocation_of(receipt: Block) -> CID:
    """Return the invocation that a receipt answers."""
    value = receipt.value()
    ran = value.get("ran") if type(value) is dict else None
    assert type(ran) is CID, receipt.cid
    return ran


def blocks_of(store: Store, cid: CID) -> Iterator[tuple[CID, bytes]]:
    """Yield the blocks of a file that the store keeps whole, the root last; of anything else its one block."""
    if cid.codec in {"raw", "dag-pb"}:
        content = store.open(cid)
        yield from blocks(content if isinstance(content, bytes) else content.pieces(CHUNK_BYTES))
    else:
        yield cid, store.get(cid).data
