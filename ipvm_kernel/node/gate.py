"""The gate of a node: who may come in, decided from the headers, before anything is read.

A web page can send requests to loopback from its reader's browser. Two things keep it out: the name it called (`Host`)
must be one of loopback's own, so that a name of the page's own that was bound to 127.0.0.1 later (DNS rebinding) opens
nothing; and its `Origin`, which browsers send and pages cannot forge, must be on the list. Other users of the machine are
kept out by the token, or come in as guests by a token of their own that leads back to the owner (`guests`).
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from ipvm_kernel.node.counts import Counts
    from ipvm_kernel.node.guests import Guest
    from ipvm_kernel.node.settings import Webserver

_FREE: Final = frozenset({"/health"})
"""What is told without a token: that the node lives."""

_GUESTS: Final = "/"
"""Where guests may ask."""

_LONGEST: Final = 100
"""Characters of what may be this node's own token, mistyped; a guest's has more."""


class Gate:
    """An ASGI application that lets some requests through to another; `scope["state"]` says whose they are.

    Its `known` is True if they had the token, and `guest` is who else came in, or None.

    Args:
        app: The other.
        settings: Which origins may come in, and whether a token is asked for.
        token: The token.
        counts: Where refusals are counted.
        admit: Returns the guest who showed a token, or raises; None where there are no guests.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Webserver,
        token: str,
        counts: Counts,
        admit: Callable[[str], Guest] | None = None,
    ) -> None:
        self._app = app
        self._admit = admit
        self._origins = frozenset(settings.origins)
        self._asks = settings.token
        self._token = token.encode()
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with 401 or 403 and one line."""
        if scope["type"] not in {"http", "websocket"}:
            return
        headers = Headers(scope=scope)
        given = _given(scope, headers)
        known = any(hmac.compare_digest(text.encode("utf-8", "replace"), self._token) for text in given)
        wrong = self._wrong(scope, headers, known=known)
        guest = None
        if wrong is not None and wrong[0] == 401 and self._admit is not None and scope["path"] == _GUESTS:
            token = next((text for text in given if len(text) > _LONGEST), None)
            if token is not None:
                try:
                    guest, wrong = await asyncio.to_thread(self._admit, token), None
                except IpvmError as error:
                    wrong = 401, "guest", error.message
        if wrong is None:
            scope.setdefault("state", {}).update(known=known, guest=guest)
            await self._app(scope, receive, send)
            return
        status, reason, line = wrong
        self._counts.refuse(reason, line)
        response = PlainTextResponse(f"{line}\n", status, {"WWW-Authenticate": "Bearer"} if status == 401 else None)
        if scope["type"] == "websocket":
            await _deny(response, send)
        else:
            await response(scope, receive, send)

    def _wrong(self, scope: Scope, headers: Headers, *, known: bool) -> tuple[int, str, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not _is_loopback(hosts[0]):
            found = printable(", ".join(hosts), limit=80) or "none"
            return 403, "foreign host", f"Host must be a name of loopback (127.0.0.1, [::1], localhost), found {found}"
        origins = headers.getlist("origin")
        if origins and not all(origin in self._origins or _same(origin, hosts[0]) for origin in origins):
            found = printable(", ".join(origins), limit=80)
            return 403, "foreign origin", f"pages of {found} may not ask this node; its setting `origins` lists who may"
        preflight = scope["type"] == "http" and scope["method"] == "OPTIONS"
        if self._asks and not known and not preflight and scope["path"] not in _FREE:
            return 401, "no token", "expected the token of this node: `Authorization: Bearer TOKEN`, or `?token=TOKEN`"
        return None


def _given(scope: Scope, headers: Headers) -> list[str]:
    """Return the tokens that a request shows."""
    kind, _, shown = headers.get("authorization", "").partition(" ")
    given = [shown.strip()] if kind.lower() == "bearer" else []
    return given + parse_qs(scope["query_string"].decode("latin-1")).get("token", [])


async def _deny(response: PlainTextResponse, send: Send) -> None:
    """Answer a WebSocket handshake with a status and a body."""
    start: dict[str, Any] = {
        "type": "websocket.http.response.start",
        "status": response.status_code,
        "headers": response.raw_headers,
    }
    await send(start)
    await send({"type": "websocket.http.response.body", "body": response.body})


def _is_loopback(host: str) -> bool:
    """Return True for a Host header that names loopback, whatever the port: a tunnel may end at another.

    >>> [_is_loopback(host) for host in ("127.0.0.1:1337", "[::1]", "localhost:80", "evil.example:1337", "10.0.0.1", "")]
    [True, True, True, False, False, False]
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _same(origin: str, host: str) -> bool:
    """Return True for a page that this node itself served."""
    return origin == f"http://{host}"
