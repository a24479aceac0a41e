"""A lab's caches: serve one, ask one before anything runs, give to one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipvm.views import View, table
from ipvm_kernel.errors import BadInput, NotFound, ToolchainMissing
from ipvm_kernel.printable import printable
from ipvm_kernel.session import default, home_folder, shares

if TYPE_CHECKING:
    from collections.abc import Callable

_ACTIONS = ("serve", "add", "remove", "list", "push")


def cache(
    action: str = "list",
    what: Any = None,
    url: str | None = None,
    *,
    token: str | None = None,
    write: bool = False,
    writable: bool = False,
    host: str = "127.0.0.1",
    port: int | None = None,
) -> View:
    """Serve this store as a lab's cache, or ask a cache for receipts before anything runs.

    Nobody can poison a cache: what comes is checked against its CIDs, and a receipt is used only if you trust who signed it
    (`trust add DID`). Whoever keeps a cache learns which tasks you ask for. Without an answer in time all is worked out here.

    Args:
        action: `serve` this store; `add` or `remove` a cache that is asked, by its address or folder; `list` them; `push`
            the receipts of something to those that take them.
        what: The address or folder of a cache; for `push` a name, CID or notebook.
        url: For `push`, the one cache to give to.
        token: What the cache's keeper gave you, to write to it.
        write: Give what is pushed to this cache.
        writable: Serve for writing too, for whoever shows the token.
        host: Where to serve; this machine alone (127.0.0.1) unless you say otherwise.
        port: The port to serve on (1336); 0 takes any.
    """
    match action:
        case "serve":
            return _serve(host, port, writable=writable)
        case "list":
            return _listed()
        case "add" | "remove":
            if not isinstance(what, str | Path):
                raise BadInput(f"expected the address or folder of a cache: ipvm cache {action} URL")
            return _add(str(what), token, write=write) if action == "add" else _remove(str(what))
        case "push":
            return _push(what, url)
    raise BadInput(f"expected one of {', '.join(_ACTIONS)}, found {printable(str(action), limit=40)!r}")


def _known() -> Any:
    return shares.caches_of(home_folder())


def _add(url: str, token: str | None, *, write: bool) -> View:
    made = _known().add(url, token, write=write or token is not None)
    default().lending.again()
    told = f"{made.url} is asked before anything runs; its keeper learns which tasks you ask for"
    if made.write:
        told += ". `ipvm cache push X` gives to it"
    if made.in_clear:
        told += ". Its token goes over http:, which others on the network can read"
    return View(told, data=[{"url": made.url, "write": made.write}])


def _remove(url: str) -> View:
    gone = _known().remove(url)
    if not gone:
        raise NotFound(f"no cache {printable(url, limit=200)} is asked. `ipvm cache list` lists those that are")
    default().lending.again()
    return View(f"{printable(url, limit=200)} is asked no longer", data=[{"removed": url}])


def _listed() -> View:
    listed = _known()
    known = listed.list()
    if not known:
        return View("no cache is asked: ipvm cache add URL, or IPVM_CACHES")
    rows = [
        [one.url, "asked, and given what is pushed" if one.write else "asked", "IPVM_CACHES" if one.named else "added"]
        for one in known
    ]
    data = [{"url": one.url, "write": one.write, "named": one.named} for one in known]
    text = table(rows, ["cache", "what for", "from"])
    try:
        _ = listed.seconds
    except BadInput as error:
        return View(f"{text}\nnone of them is asked: {error.message}", data=data, failed=True)
    return View(text, data=data)


def _push(what: Any, url: str | None) -> View:
    from ipvm.commands.sharing import thing_of_share

    session = default()
    if what is None:
        raise BadInput("expected what to give: ipvm cache push X [URL]")
    told = shares.lend(session, shares.prepare(session, thing_of_share(what)), url)
    return View("\n".join(told), data=[{"cache": line} for line in told])


def _serve(host: str, port: int | None, *, writable: bool) -> View:
    try:
        from ipvm_kernel.node import cache as served
    except ImportError as error:
        raise ToolchainMissing(
            f'a server needs {error.name}, which is not installed: pip install "ipvm[node]"'
        ) from None
    session = default()
    shelved = shares.shelved(session)
    token = served.token_of(home_folder()) if writable else None
    served.serve(
        shelved.store,
        host,
        served.PORT if port is None else port,
        token=token,
        keep=shelved.keep,
        statements=shelved.statements,
        look=shelved.look,
        ready=_ready(token),
    )
    return View("stopped")


def _ready(token: str | None) -> Callable[[str], None]:
    def ready(address: str) -> None:
        print(f"serving {default().store.where} at {address} until Ctrl-C", file=sys.stderr)
        print(f"a reader types: ipvm cache add {address}", file=sys.stderr)
        if token is not None:
            where = home_folder() / "cache" / "token"
            print(f"a writer types: ipvm cache add {address} --token TOKEN   (it is in {where})", file=sys.stderr)

    return ready
