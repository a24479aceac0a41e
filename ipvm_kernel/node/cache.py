"""A lab's cache: receipts and content of one store, over HTTP, for notebooks that ask before they run.

What is asked and answered is said in `exchange.caches.base`. Nobody needs to trust this server: whoever asks checks what
comes against its CIDs, and uses a receipt only if a policy of his own admits it. Who runs it sees which tasks and which
content its readers are interested in; readers see whatever of the store they know the CID of.

It is read-only unless it has a token for writers. Bodies, batches, clients and time are bounded.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final, Self

import uvicorn
from starlette.applications import Starlette

from ipvm_kernel.errors import BadInput
from ipvm_kernel.node.cache_door import Door, Patient
from ipvm_kernel.node.cache_routes import Bounds, Routes
from ipvm_kernel.node.cache_shelf import Shelf
from ipvm_kernel.node.counts import Counts
from ipvm_kernel.node.listening import Background, told_to_end
from ipvm_kernel.node.place import Place
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from ipvm_kernel.ipld import CID, Block
    from ipvm_kernel.store import OnFile, Store

PORT: Final = 1336
"""Where a cache listens, unless it is told otherwise: before the ports that a node looks through."""


def token_of(home: Path) -> str:
    """Return the token of the writers of a cache, made when it is first asked for: `cache/token` beside the store, 0600."""
    place = Place(home)
    place.folder = home / "cache"
    return place.token()


def serve(
    store: Store,
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    token: str | None = None,
    keep: Callable[[Path], str] | None = None,
    statements: Callable[[Sequence[OnFile]], Iterable[Block]] | None = None,
    ready: Callable[[str], object] | None = None,
    **more: Any,
) -> None:
    """Serve a cache until the process is told to end (Ctrl-C, SIGTERM).

    Args:
        store: What is served.
        host: Where to listen.
        port: The port; 0 takes any.
        token: What writers show, or None if nothing can be written.
        keep: Keeps an archive whose blocks were checked, whole or not at all, and returns in one line what that was.
        statements: Returns signed statements about receipts that are being asked for.
        ready: Called with the address once it is served.
        more: `look`, `bounds` and `names`, as `CacheServer` takes them.

    Raises:
        BadInput: It cannot listen there.
    """
    server = CacheServer(store, host=host, port=port, token=token, keep=keep, statements=statements, **more)
    if ready is not None:
        ready(server.address)
    server.serve()


class CacheServer:
    """A cache that listens.

    Use it as a context manager, which runs it in a thread; or call `serve`, which runs it here until it is stopped.

    Args:
        store: What is served. It stays open when the server ends.
        host: Where to listen.
        port: The port; 0 takes any.
        token: What writers show, or None if nothing can be written.
        keep: Keeps an archive whose blocks were checked, whole or not at all, and returns in one line what that was.
        statements: Returns signed statements about receipts that are being asked for.
        look: Returns the receipts that may be given for some instructions; those that may be replayed, unless given.
        bounds: What one client may ask for.
        names: Names by which it is called, if it listens beyond loopback.

    Attributes:
        host: Where it listens.
        port: Its port.
        counts: What it did and refused.

    Raises:
        BadInput: It cannot listen there.
    """

    def __init__(
        self,
        store: Store,
        *,
        host: str = "127.0.0.1",
        port: int = PORT,
        token: str | None = None,
        keep: Callable[[Path], str] | None = None,
        statements: Callable[[Sequence[OnFile]], Iterable[Block]] | None = None,
        look: Callable[[Sequence[CID]], Iterable[OnFile]] | None = None,
        bounds: Bounds | None = None,
        names: Iterable[str] = (),
    ) -> None:
        self.counts = Counts()
        bounds = bounds or Bounds()
        routes = Routes(Shelf(store, statements, look), keep if token else None, bounds, self.counts)
        self._socket = _listening(host, port)
        self.host: str = self._socket.getsockname()[0]
        self.port: int = self._socket.getsockname()[1]
        self._called = host
        beyond = not _is_loopback(self.host)
        known = {host, socket.gethostname(), *names} if beyond else set()
        app = Starlette(routes=list(routes))
        app.router.redirect_slashes = False
        door = Door(app, token, known, self.counts)
        config = uvicorn.Config(
            door,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            backlog=128,
            limit_concurrency=bounds.clients,
            timeout_graceful_shutdown=5,
        )
        self._uvicorn = routes.server = Patient(config, bounds.patience, self.counts)
        self._background = Background(self._uvicorn, [self._socket], "ipvm-cache")

    @property
    def address(self) -> str:
        """The address to give to `ipvm cache add`."""
        host = self._called if self.host not in {"0.0.0.0", "::"} else socket.gethostname()  # noqa: S104 - a comparison
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    # --- its life -----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serve until `stop` is called or the process is told to end."""
        with told_to_end():
            try:
                self._uvicorn.run(sockets=[self._socket])
            finally:
                self._socket.close()

    def stop(self) -> None:
        """Ask the server to end. Any thread."""
        self._uvicorn.should_exit = True

    def __enter__(self) -> Self:
        self._background.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._background.join(10)
        self._socket.close()


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens."""
    if not 0 <= port < 65_536:
        raise BadInput(f"expected a port between 0 and 65535, found {port}")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise BadInput(f"cannot listen on {printable(host, limit=100)}: {error.strerror}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen(128)
    except OSError as error:
        made.close()
        raise BadInput(
            f"cannot listen on {printable(host, limit=100)}:{port}: {error.strerror}. Take another --port"
        ) from None
    return made
