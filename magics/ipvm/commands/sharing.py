"""Sharing: one CID for a notebook with its receipts; opening one, and checking it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipvm import shared
from ipvm.commands.things import cid_of, told_on_terminal
from ipvm.views import View
from ipvm_kernel.errors import BadInput, NotFound
from ipvm_kernel.notebook import current_cell
from ipvm_kernel.printable import printable, size
from ipvm_kernel.session import bytes_of, default, shares

if TYPE_CHECKING:
    from ipvm_kernel import CID, Session

_PARTS: Final = ("modules", "inputs", "outputs", "files")


def share(
    what: Any = None,
    *,
    output: str | Path | None = None,
    ipfs: bool = False,
    dry_run: bool = False,
    limit: str | int | None = None,
    with_: str | None = None,
    unsigned: bool = False,
    undo: bool = False,
) -> View:
    """Make one CID of a notebook, workflow or receipt with all that it needs, and write its archive.

    What leaves is listed first. Nothing is sent anywhere unless `ipfs` says so.

    Args:
        what: A notebook's path; or a handle, run, workflow or receipt, or the name or CID of one. Inside a notebook, the
            notebook itself as it was saved last, if nothing is given.
        output: The archive, if it ends in .car, or the folder for it, made if it is not there; else it is in the working
            directory.
        ipfs: Give it to the Kubo of this machine, which pins it and passes it on to whoever asks for the CID.
        dry_run: Say what would leave, and share nothing.
        limit: Bytes of one input or output that goes along, at most ("100 MB").
        with_: Which content goes along: modules, inputs, outputs, files, with commas (all).
        unsigned: Do not sign for the receipts that were made here.
        undo: Take the share back: its pins here and in Kubo are taken away. What others have fetched they keep.
    """
    if undo:
        return _undone(what)
    session = default()
    thing = thing_of_share(what)
    offer = shares.prepare(
        session,
        thing,
        parts=_parts(with_),
        most=shares.MOST_BYTES if limit is None else bytes_of(limit),
    )
    listed = shared.leaving(offer)
    if dry_run:
        told = shared.lines("nothing was shared")
        return View(f"{listed.text}\n{told.text}", html=listed.html + told.html, data=[listed.data])
    target = Path(output).expanduser() if output is not None else Path.cwd()
    if target.suffix != ".car" or target.is_dir():
        target /= offer.file_name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"expected a folder for the archive, found that {printable(str(target.parent), limit=300)} is none and cannot be made: "
            f"{error.strerror}. Say another with -o FOLDER"
        ) from None
    if not current_cell():  # under a cell it stands with what came of it: what goes to stderr looks like an error there
        print(listed.text, file=sys.stderr)
        listed = shared.lines(data=listed.data)
    made = shares.seal(session, offer, signed=not unsigned)
    with told_on_terminal() as tell:
        count = shares.write_archive(session, made.cid, target, lambda done: tell(f"{size(done)} written"))
        pinned = shares.give_to_kubo(session, made.cid) if ipfs else ""
    told = shared.left(offer, target, count, pinned)
    data = {**listed.data, "cid": made.cid, "file": str(target), "bytes": count, "kubo": pinned}
    return View("\n".join(filter(None, [listed.text, told.text])), html=listed.html + told.html, data=[data])


def archive(session: Session, x: Any, target: Path, parts: str | None) -> View:
    """Write the archive of something, which is signed and pinned as if it were shared."""
    thing = thing_of_share(x)
    if isinstance(thing, Path) or not shares.is_here(session, thing):
        offer = shares.prepare(session, thing, parts=_parts(parts))
        thing = shares.seal(session, offer).cid
    with told_on_terminal() as tell:
        count = shares.write_archive(session, thing, target, lambda done: tell(f"{size(done)} written"))
    return View(
        f"{size(count)} written to {target}: {thing}. It is read with: ipvm load {target.name}",
        data=[{"file": str(target), "format": "car", "cid": thing, "bytes": count}],
    )


def thing_of_share(what: Any) -> Path | CID:
    """Return what is to be shared: the path of a notebook, or a CID."""
    if what is None:
        here = os.environ.get("JPY_SESSION_NAME", "")
        if not here.endswith(".ipynb"):
            raise BadInput("expected a notebook or a name to share, found neither: ipvm share NOTEBOOK.ipynb")
        what = Path(here)
        if not what.is_absolute():
            what = Path.cwd() / what.name
    if isinstance(what, Path) or (isinstance(what, str) and what.endswith(".ipynb")):
        path = Path(what).expanduser()
        if not path.is_file():
            raise NotFound(f"no notebook at {printable(str(path), limit=300)}. The working directory is {Path.cwd()}")
        return path.resolve()
    return cid_of(what)


def _parts(text: str | None) -> set[Any]:
    if text is None:
        return {part.removesuffix("s") for part in _PARTS}
    named = {word.strip() for word in text.split(",") if word.strip()}
    strange = named - {*_PARTS, "none", "proofs", "receipts"}
    if strange:
        raise BadInput(
            f"expected some of {', '.join(_PARTS)}, found {printable(', '.join(sorted(strange)), limit=80)!r}"
        )
    return {part.removesuffix("s") for part in named & set(_PARTS)}


def _undone(what: Any) -> View:
    session = default()
    if what is None:
        raise BadInput("expected the CID of a share: ipvm share --undo CID. `ipvm store` lists the pins")
    cid = shares.share_named(session, what if isinstance(what, str) else cid_of(what))
    names = shares.undo(session, cid)
    kubo = shares.take_from_kubo(session, cid)
    if not names and not kubo:
        raise NotFound(f"nothing is shared as {cid}. `ipvm store` lists the pins")
    places = [*(["this store"] if names else []), *([kubo] if kubo else [])]
    return View(
        f"{cid} is pinned no longer in {' and '.join(places)}; what others have fetched they keep, and `ipvm forget` takes "
        "receipts off file",
        data=[{"cid": cid, "unpinned": names, "kubo": kubo}],
    )


def open(what: str | Path, *, output: str | Path | None = None) -> View:  # noqa: A001 - what is typed
    """Write the notebook that somebody shared to a folder, every block checked, nothing run and nothing trusted.

    Args:
        what: The CID of the share, or its archive.
        output: The folder to write; it must not be there, or be empty.
    """
    session = default()
    with told_on_terminal():
        root, arrival = shares.arrive(session, what)
    written = shares.write_notebook(
        session, root, Path(output).expanduser() if output is not None else None, banner=shared.banner(root)
    )
    told = shared.opened(session, root, arrival, written)
    return View(told.text, html=told.html, data=[told.data])


def check(what: str | Path, *, rerun: str | None = None, time: str | float | None = None) -> View:
    """Check a notebook, an archive or a share: is every receipt intact, who signed it, and what does running it again give?

    Tasks are run again in a store that ends with the check, by what came along alone; builds are not. The notebook's Python
    is never run. Nothing of yours is changed: whoever signed for something else than what came out is named.

    Args:
        what: A notebook's path, an archive, or the CID of a share.
        rerun: Run a part of the tasks again, "5%" say, or "all". With "all" it is an error that one cannot be run again.
        time: Seconds that each may run; 60 if they are not given.
    """
    session = default()
    part = 0.0 if rerun is None else shares.share_from_text(str(rerun))
    limit = None if time is None else shares.seconds_from_text(str(time))
    with told_on_terminal() as tell:
        found = shares.check(session, shares.target(session, what), rerun=part, seconds=limit, told=tell)
    told = shared.checked(session, found)
    return View(told.text, html=told.html, data=told.rows, failed=found.failed or bool(found.unshown))


def id() -> View:  # noqa: A001 - what is typed
    """Show who you are to readers of what you share: your DID. The key is made when it is first needed."""
    key = shares.identity(default(), create=True)
    if key is None:
        raise NotFound(
            "this session keeps its receipts in memory, and no key: set IPVM_HOME to a folder that can be written"
        )
    where = default().store.where
    return View(f"{key.did}\nits secret is kept beside {where}, for your eyes alone", data=[{"did": key.did}])
