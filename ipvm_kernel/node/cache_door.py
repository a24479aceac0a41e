"""The door of a cache: who may come in, and who is shown out for being slow.

Reading is open to whoever can reach the server, and writing asks for a token. Web pages come in neither way: their
`Origin` is refused, and so is the name of a page that was bound to this address (see `gate`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import uvicorn

from ipvm_kernel.node.gate import Gate
from ipvm_kernel.node.settings import Webserver
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Receive, Scope, Send

    from ipvm_kernel.node.counts import Counts

_OPEN: Final = Webserver(token=False)


class Door(Gate):
    """The gate of a node, for a server that others of the lab may reach.

    Args:
        app: What is let through to.
        token: What writers show, or None if nothing can be written.
        names: Names that the server has besides those of loopback, if it listens beyond that; else empty.
        counts: Where refusals are counted.
    """

    def __init__(self, app: ASGIApp, token: str | None, names: Collection[str], counts: Counts) -> None:
        super().__init__(app, _OPEN, token or secrets.token_urlsafe(32), counts)
        self._names = frozenset(name.lower() for name in names)

    def _wrong(self, scope: Scope, headers: Headers, *, known: bool) -> tuple[int, str, str] | None:
        site = headers.get("sec-fetch-site", "none")
        if site not in {"none", "same-origin"}:  # which browsers send with what they load for a page, without an Origin
            return 403, "foreign origin", f"pages of elsewhere ({printable(site, limit=20)}) may not ask this cache"
        hosts = headers.getlist("host")
        if not self._names or len(hosts) != 1 or not self._is_ours(hosts[0]):
            return super()._wrong(scope, headers, known=known)
        origins = headers.getlist("origin")
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            return 403, "foreign origin", f"pages of {printable(', '.join(origins), limit=80)} may not ask this cache"
        return None

    def _is_ours(self, host: str) -> bool:
        """Return True for a name of this machine, or an address: no page of elsewhere is called by an address."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class Patient(uvicorn.Server):
    """A server whose patience ends: connections that ask nothing, and readers who do not read, are cut.

    Args:
        config: Of uvicorn.
        patience: Seconds.
        counts: Where they are counted.
    """

    def __init__(self, config: uvicorn.Config, patience: float, counts: Counts) -> None:
        super().__init__(config)
        self.patience = patience
        self._counts = counts
        self._since: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections, ten times a second as uvicorn does."""
        now = time.monotonic()
        for line in self._lines():
            cycle = line.cycle
            busy = cycle is not None and not cycle.response_complete
            if busy or line.timeout_keep_alive_task is not None:  # uvicorn itself ends those that ask no more
                self._since.pop(line, None)
            elif now - self._since.setdefault(line, now) > self.patience:
                self._counts.refuse("too slow", f"a client asked nothing for {self.patience:g} s")
                line.transport.abort()
        return await super().on_tick(counter)

    def _lines(self) -> list[Any]:
        return [line for line in self.server_state.connections if hasattr(line, "cycle")]

    def line(self, scope: Scope) -> Any:
        """Return the connection that a request came by, or None if it is gone."""
        client = tuple(scope.get("client") or ())
        for line in self._lines():
            if line.client == client:
                return line
        return None


class Sending:
    """A response that is sent piece by piece to somebody who takes them; whoever does not is cut off.

    Args:
        server: Whose connection it is.
        pieces: The body.
        headers: Its headers.
        pace: Bytes a second that a reader takes on average, once the server's patience has passed.
        counts: Where slow readers are counted.
        done: Called when it is over, in whatever way.
    """

    def __init__(
        self,
        server: Patient,
        pieces: AsyncIterator[bytes],
        headers: dict[str, str],
        *,
        pace: float,
        counts: Counts,
        done: Callable[[], object] = lambda: None,
    ) -> None:
        self._server, self._pieces, self._headers = server, pieces, headers
        self._pace, self._counts, self._done = pace, counts, done

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await self._send(scope, send)
        finally:
            self._done()

    async def _send(self, scope: Scope, send: Send) -> None:
        line, patience = self._server.line(scope), self._server.patience
        headers = [(name.lower().encode(), value.encode()) for name, value in self._headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        began, sent = time.monotonic(), 0
        async for piece in self._pieces:
            if line is None or line.transport.is_closing():
                return
            if scope["method"] == "HEAD":
                break
            body = {"type": "http.response.body", "body": piece, "more_body": True}
            try:
                await asyncio.wait_for(send(body), patience)
            except TimeoutError:
                slow = True
            else:
                sent += len(piece)
                slow = sent < (time.monotonic() - began - patience) * self._pace
            if slow:
                self._counts.refuse("too slow", f"a client took {sent:,} bytes in {time.monotonic() - began:.0f} s")
                line.transport.abort()
                await asyncio.sleep(0.01)  # until uvicorn knows
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})
