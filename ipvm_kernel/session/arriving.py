"""Arriving: an archive or a CID from somebody else comes in, whole and checked, or not at all. Nothing of it is run.

What came is on file as unverified: shown, and used only as far as the user's policy admits it (RULES 11).
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ipvm_kernel.errors import BadInput, IpvmError, Malformed, NotFound
from ipvm_kernel.ipld import CID, PEER, Block, FileBytes, car
from ipvm_kernel.ipld.placing import Place, safe_name
from ipvm_kernel.ipld.unixfs import read
from ipvm_kernel.model import Receipt
from ipvm_kernel.printable import printable
from ipvm_kernel.sharing import strange, unpacking
from ipvm_kernel.sharing.inert import unwritable
from ipvm_kernel.sharing.manifest import Opened, Share, left_out, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ipvm_kernel.ipld.carindex import Index
    from ipvm_kernel.session.session import Session
    from ipvm_kernel.sharing.unpacking import Arrival
    from ipvm_kernel.store import Parcel

_NOTEBOOK_BYTES: Final = 64 << 20
_NAMES: Final = 50  # tries to find a name for a folder


class Written(msgspec.Struct, kw_only=True):
    """A notebook that was opened.

    Attributes:
        notebook: Where it was written.
        files: The files beside it, by the path that the notebook reads.
        refused: What was not written, and why, one line each.
    """

    notebook: Path
    files: list[str] = msgspec.field(default_factory=list)
    refused: list[str] = msgspec.field(default_factory=list)


def is_archive(path: Path) -> bool:
    """Return True if a file begins as an archive of either version does: a short map with the key "version"."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head.startswith(b"\x0a\xa1gversion\x02") or b"\xa2eroots" in head[:10]


def load_archive(session: Session, path: Path, *, trust: bool = False) -> Arrival:
    """Bring in what an archive holds: all of it, once every block was checked, or nothing.

    Args:
        session: Where to keep it.
        path: The archive, a file.
        trust: Its receipts may be replayed (RULES 11).

    Raises:
        Malformed, Mismatch, LimitExceeded, HashNotAllowed: It is no archive, or a block is not what it should be; the
            message names the CID and the byte.
        NotFound: A part of it that must be there is not.
        StoreError: It cannot be kept.
    """
    with indexed(path) as (archive, index):
        parcel, arrival = unpacked(session, archive, index, trust=trust)
        session.store.bring(parcel)
    return arrival


@contextlib.contextmanager
def indexed(path: Path) -> Iterator[tuple[car.Archive, Index]]:
    """Give an archive all of whose blocks were checked, and where each of them is."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise NotFound(f"{printable(str(path), limit=300)} cannot be read: {error.strerror}") from None
    with file:
        archive = car.Archive(file)
        yield archive, archive.index()


def unpacked(session: Session, archive: car.Archive, index: Index, *, trust: bool = False) -> tuple[Parcel, Arrival]:
    """Return a parcel of what an archive holds, and what can be said of it."""
    most = session.resources.settings.max_bytes
    root = share_root(archive.roots, index)
    if root is not None:
        return unpacking.unpack(index, root, session.store, trust=trust, max_bytes=most)
    return strange.unpack(index, archive.roots, trust=trust, max_bytes=most, at=time.time())


def share_root(roots: tuple[CID, ...], index: Index) -> CID | None:
    """Return the root of an archive that is a share, or None."""
    for cid in roots:
        if cid.codec == "dag-cbor" and cid in index and Share.meant(Block(cid, index.get(cid)).value(PEER)):
            return cid
    return None


def file_in(index: Index, cid: CID) -> bytes:
    """Return the bytes of a small file in an archive, such as a notebook."""
    return b"".join(read(cid, index.get, max_bytes=_NOTEBOOK_BYTES))


@contextlib.contextmanager
def about_notebook(cid: CID) -> Iterator[None]:
    """Say of what is wrong that it is in the notebook that was shared, and not in the archive."""
    try:
        yield
    except IpvmError as error:
        raise type(error)(f"the shared notebook {cid} is none that can be read: {error.message}") from None


def fetch_share(session: Session, root: CID) -> Arrival | None:
    """Bring in a share by its CID, from whoever may be asked, unless all of it is here.

    Returns:
        What came, or None if it was here.

    Raises:
        NotFound: Nobody has it; the message says who was asked, and what to ask the sender for.
    """
    if is_here(session, root):
        return None
    path = fetched(session, root)
    try:
        return load_archive(session, path)
    finally:
        path.unlink(missing_ok=True)


def fetched(session: Session, root: CID) -> Path:
    """Return a new temporary archive of a share, from whoever may be asked; whoever asked removes it.

    Raises:
        NotFound: As `fetch_share` does.
    """
    return session.resources.fetch_dag(root, spare=_spared(root))


def _spared(root: CID) -> Callable[[CID, bytes], Iterable[CID]]:
    """Return what tells, as the blocks of a share come, what was left out of it and is not to be asked for.

    The pages that say so come before everything else: their field has the first of the names.
    """
    pages: set[CID] = set()

    def spare(cid: CID, data: bytes) -> Iterable[CID]:
        if cid == root:
            with contextlib.suppress(Malformed):
                pages.update(Share.from_block(Block(cid, data)).left)
        elif cid in pages:
            entries = Block(cid, data).value(PEER)
            left = [left_out(entry) for entry in entries] if type(entries) is list else []
            return [one.cid for one in left if one is not None]
        return ()

    return spare


def is_here(session: Session, root: CID) -> bool:
    """Return True if a share is in the store with all that goes along, and the tasks of its receipts."""
    store = session.store
    try:
        made = opened(root, store.get)
    except (NotFound, Malformed):
        return False
    wanted = [made.share.about, *made.share.files.values(), *(one.cid for one in made.content)]
    for one in made.receipts:
        wanted += [one.receipt, one.instruction]
    if any(store.size(cid) is None for cid in wanted):
        return False
    found = store.on_file(one.instruction for one in made.receipts)
    for one in made.receipts:
        known = found.get(one.instruction)
        ran = known.ran if known is not None and known.cid == one.receipt else None
        if ran is None:
            ran = Receipt.trusted(store.get(one.receipt)).ran
        if store.size(ran) is None:
            return False
    return True


def share_of(session: Session, root: CID) -> Opened:
    """Return a share that is in the store.

    Raises:
        Malformed: It is no share.
        NotFound: It is not here.
    """
    return opened(root, session.store.get)


def write_notebook(session: Session, root: CID, folder: Path | None = None, *, banner: tuple[str, ...] = ()) -> Written:
    """Write the notebook of a share, and the files that it reads, to a folder of its own. Nothing is run or trusted.

    Args:
        session: Where the share is.
        root: Its CID.
        folder: Where to write; a new folder of the notebook's name in the working directory, if it is not given.
        banner: Lines about where it came from, for the notebook's metadata.

    Raises:
        BadInput: It is a share of something else, or the folder is there already and not empty.
        Malformed: What was shared is no notebook.
    """
    from ipvm_kernel.sharing import notebook as notebooks

    made = share_of(session, root)
    share = made.share
    if share.kind != "notebook":
        raise BadInput(f"expected a shared notebook, found a shared {share.kind}: `ipvm show {root}` shows it")
    name = _file_name(share.name, root)
    refused: list[str] = []
    with about_notebook(share.about):
        data = notebooks.opened(session.store.read(share.about), banner=banner, dropped=refused)
    target = folder if folder is not None else _free(Path.cwd(), name.removesuffix(".ipynb"))
    files: list[str] = []
    with Place(target) as place:
        place.add(name, [data])
        for path, cid in share.files.items():
            why = unwritable(path)
            if why:
                shown = printable(path, limit=200) or "a file without a name"
                refused.append(f"{shown}: {why}; its CID is {cid}, `ipvm get {cid} FILE` writes it")
            else:
                place.add(path, _pieces(session, cid))
                files.append(path)
    return Written(notebook=target / name, files=files, refused=refused)


def _pieces(session: Session, cid: CID) -> Iterator[bytes]:
    content = session.store.open(cid)
    return content.pieces(1 << 20) if isinstance(content, FileBytes) else iter([content])


def _file_name(name: str, root: CID) -> str:
    """Return the name under which a stranger's notebook is written. Without its ending it may be that of a folder."""
    stem = name.removesuffix(".ipynb")
    try:
        safe_name(f"{stem}.ipynb")
    except IpvmError:
        stem = ""
    return f"{stem}.ipynb" if stem and not unwritable(stem) else f"shared-{root.short}.ipynb"


def _free(folder: Path, stem: str) -> Path:
    """Return a folder that is not there yet."""
    for number in range(1, _NAMES):
        target = folder / (stem if number == 1 else f"{stem}-{number}")
        if not target.exists():
            return target
    raise BadInput(f"{folder / stem} and its like are there already: say where with -o DIR")
