"""The face of sharing: what the verbs `share`, `open`, `check`, `load` and `get` ask for. Loaded by who uses them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ipvm_kernel.errors import BadInput, IpvmError, NotFound
from ipvm_kernel.exchange.caches import Listed
from ipvm_kernel.exchange.http import Deadline
from ipvm_kernel.ipld import CID, car
from ipvm_kernel.ipld.folders import path_cid
from ipvm_kernel.printable import printable
from ipvm_kernel.session.arriving import (
    Written,
    fetch_share,
    is_archive,
    is_here,
    load_archive,
    share_of,
    write_notebook,
)
from ipvm_kernel.session.checking import Again, Checked, CheckedCell, check, seconds_from_text, share_from_text
from ipvm_kernel.session.comparing import SharesDiff, compare
from ipvm_kernel.session.serving import Shelved, lend
from ipvm_kernel.session.sharing import Offer, prepare, seal, secret, undo, write_archive
from ipvm_kernel.session.signing import identity, name_of
from ipvm_kernel.sharing import notebook as notebooks
from ipvm_kernel.sharing import packing
from ipvm_kernel.sharing.gathering import MOST_BYTES
from ipvm_kernel.sharing.manifest import Share
from ipvm_kernel.sharing.notebook import Notebook
from ipvm_kernel.sharing.unpacking import Arrival
from ipvm_kernel.trust.attestation import Attestation

if TYPE_CHECKING:
    from ipvm_kernel.exchange.kubo import Kubo
    from ipvm_kernel.session.session import Session


def target(session: Session, what: str | Path | CID) -> Path | CID:
    """Return what somebody named: the path of a notebook or archive, or the CID of a share.

    Raises:
        NotFound: It is neither.
    """
    if isinstance(what, CID):
        return what
    if isinstance(what, Path) or what.endswith((".ipynb", ".car")) or Path(what).expanduser().is_file():
        path = Path(what).expanduser()
        if not path.is_file():
            raise NotFound(f"no file at {printable(str(path), limit=300)}. The working directory is {Path.cwd()}")
        return path
    return share_named(session, what)


def share_named(session: Session, text: str | CID) -> CID:
    """Return the CID of a share by its CID, the short form of one, or the name under which it was shared.

    Raises:
        NotFound: Nothing is shared under this name, or several are.
    """
    if isinstance(text, CID):
        return text
    pins = {name.removeprefix("share/"): cid for name, cid in session.store.pins().items() if name.startswith("share/")}
    named = {cid for name, cid in pins.items() if text in {name, name.rpartition("@")[0]}}
    if len(named) == 1:
        return named.pop()
    if named:
        listed = ", ".join(str(cid) for cid in sorted(named, key=str))
        raise NotFound(f"{printable(text, limit=100)} was shared {len(named)} times: {listed}. Give one of these CIDs")
    return session.resolve(text)


def arrive(session: Session, what: str | Path | CID) -> tuple[CID, Arrival | None]:
    """Bring in a share, by its CID or from its archive, and return its root and what came; None if all was here.

    Raises:
        NotFound: It is not here, and nobody has it.
        Malformed, Mismatch: It is not what it is said to be; nothing was taken.
        BadInput: It is an archive of something else.
    """
    named = target(session, what)
    if isinstance(named, CID):
        return named, fetch_share(session, named)
    if not is_archive(named):
        raise BadInput(
            f"expected a CID or an archive (.car), found another file: {printable(str(named), limit=300)}. A notebook is "
            "opened in Jupyter"
        )
    arrival = load_archive(session, named)
    if arrival.opened is None:
        raise BadInput(
            f"expected what `ipvm share` makes, found another archive: its {len(arrival.receipts)} receipts are kept"
        )
    return arrival.root, arrival


# --- Kubo ---


def kubo_of(session: Session) -> Kubo | None:
    """Return the Kubo that this session may speak with, or None."""
    from ipvm_kernel.exchange.kubo import Kubo

    return next((source for source in session.resources.sources if isinstance(source, Kubo)), None)


def caches_of(home: Path) -> Listed:
    """Return the caches that are asked, as they lie beside the store in a folder."""
    return Listed(home)


def shelved(session: Session) -> Shelved:
    """Return a session as a cache serves it."""
    return Shelved(session)


def forget(session: Session, root: CID) -> int:
    """Take a share's pins away, and the receipts of others that came with it off file; return how many those are."""
    undo(session, root)
    answered = {one.instruction: one.receipt for one in share_of(session, root).receipts}
    found = session.store.on_file(answered)
    foreign = [cid for cid, one in found.items() if not one.own and one.cid == answered[cid]]
    count = session.forget(foreign)
    session.store.sync()
    return count


def notebook_of(session: Session, root: CID) -> Notebook:
    """Return the notebook of a share that is in the store.

    Raises:
        Malformed: It is no notebook.
    """
    return notebooks.read(session.store.read(share_of(session, root).share.about))


def give_to_kubo(session: Session, root: CID) -> str:
    """Give a share to the Kubo of this machine, pinned, and return its name.

    Raises:
        NotFound: No Kubo may be asked, or none answers; the message says what to do.
    """
    kubo = kubo_of(session)
    if kubo is None:
        raise NotFound("no Kubo may be asked (IPVM_KUBO_API is off): the archive is written, and can be sent as a file")
    deadline = Deadline(session.resources.settings.seconds * 10)
    store = session.store
    try:
        kubo.import_car(car.parts([root], packing.contents(store, root)), deadline, pin=_whole(session, root))
        if not _whole(session, root):
            kubo.pin_each((cid for cid, _ in packing.contents(store, root)), deadline)
    except IpvmError as error:
        raise NotFound(
            f"{error.message}: the archive is written, and nothing was sent. Start Kubo (`ipfs daemon`) and share again"
        ) from None
    session.store.pin(f"kubo/{root}", root)
    session.store.sync()
    return kubo.name


def _whole(session: Session, root: CID) -> bool:
    """Return True if everything that a share reaches goes along, so that it can be pinned as one."""
    return not share_of(session, root).left


def take_from_kubo(session: Session, root: CID) -> str:
    """Take the pin of a share away in Kubo, if it was given to one, and return its name or "".

    Raises:
        NotFound: It was given to a Kubo that does not answer.
    """
    if f"kubo/{root}" not in session.store.pins():
        return ""
    kubo = kubo_of(session)
    if kubo is None:
        raise NotFound("no Kubo may be asked (IPVM_KUBO_API is off), and this share was given to one: ask it")
    try:
        deadline = Deadline(session.resources.settings.seconds)
        if _whole(session, root):
            kubo.unpin(root, deadline)
        else:
            kubo.unpin_each((cid for cid, _ in packing.contents(session.store, root)), deadline)
    except IpvmError as error:
        raise NotFound(f"{error.message}: its pin there is as it was") from None
    session.store.unpin(f"kubo/{root}")
    session.store.sync()
    return kubo.name


__all__ = [
    "MOST_BYTES",
    "Again",
    "Arrival",
    "Attestation",
    "Checked",
    "CheckedCell",
    "Listed",
    "Notebook",
    "Offer",
    "Share",
    "SharesDiff",
    "Shelved",
    "Written",
    "arrive",
    "caches_of",
    "check",
    "compare",
    "forget",
    "give_to_kubo",
    "identity",
    "is_archive",
    "is_here",
    "lend",
    "load_archive",
    "name_of",
    "notebook_of",
    "path_cid",
    "prepare",
    "seal",
    "seconds_from_text",
    "secret",
    "share_from_text",
    "share_named",
    "share_of",
    "shelved",
    "take_from_kubo",
    "target",
    "undo",
    "write_archive",
    "write_notebook",
]  # fmt: skip
