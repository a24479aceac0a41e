"""HTTP as it is safe to speak with strangers: bounded in bytes and time, tried again where that helps, nothing decoded.

The one door to urllib3, which is loaded when something has to be fetched. Answers are read piece by piece; no cookies are
kept, no credentials are sent, no redirect is followed, no compression is undone.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError

from ipvm_kernel.errors import IpvmError, LimitExceeded
from ipvm_kernel.printable import printable, seconds, size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TRIES: Final = 4
"""How often a request is made at most."""

_CONNECT: Final = 5.0
_READ: Final = 20.0  # without a byte
_PIECE: Final = 65_536
_SAID: Final = 300  # characters of what a server says about a failure
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Unreachable(IpvmError):
    """A server did not answer, or not as it should; another one may."""


class Refused(IpvmError):
    """A server answered, and what it said is no: asking it again is no use.

    Attributes:
        status: The status of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Over(IpvmError):
    """The time for a fetch is over, or nobody waits for it any more."""


class Deadline:
    """The time that one fetch has in all, however many requests it makes.

    Attributes:
        over: True once nobody waits any more.
    """

    def __init__(self, allowed: float) -> None:
        self.allowed = allowed
        self.over = False
        self._end = time.monotonic() + allowed

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            Over: None are.
        """
        rest = self._end - time.monotonic()
        if self.over or rest <= 0:
            raise Over(f"not done in {seconds(self.allowed)}")
        return rest


class Answer:
    """What a server answered, with all of its body."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class _Request(NamedTuple):
    """A request, which may be made several times."""

    method: str
    path: str
    deadline: Deadline
    max_bytes: int
    headers: Mapping[str, str]
    body: bytes | None
    progress: Callable[[int], None] | None
    redirects: bool


class Server:
    """One server, its connections kept open.

    Args:
        url: Its address, with a path before all paths if it has one.
        name: What to call it in messages.
        pause: Seconds before a request is made again; twice as long each time, and a random part of it more.
        pool: How to connect, if not as the address says.
    """

    def __init__(
        self, url: str, name: str, *, pause: float = 0.25, pool: urllib3.HTTPConnectionPool | None = None
    ) -> None:
        parts = urlsplit(url)
        self.name = name
        self._pause = pause
        self._before = parts.path.rstrip("/")
        self._pool = pool or urllib3.connection_from_url(f"{parts.scheme}://{parts.netloc}", maxsize=4, block=False)

    def ask(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        tries: int = TRIES,
        progress: Callable[[int], None] | None = None,
        redirects: bool = False,
    ) -> Answer:
        """Make a request and return the answer; failures that may pass are tried again, with pauses that grow.

        Args:
            method: `GET` or `POST`.
            path: The path and query.
            deadline: When all of it must be done.
            max_bytes: How long the body may be.
            headers: More of them.
            body: What to send.
            tries: How often at most.
            progress: Told how many bytes are there.
            redirects: A redirect is an answer too, which the caller looks at; else it is a refusal.

        Raises:
            Unreachable: It did not answer, each time.
            Refused: It said no.
            LimitExceeded: The body is longer than `max_bytes`; the rest was not read.
            Over: The time is over.
        """
        request = _Request(method, path, deadline, max_bytes, headers or {}, body, progress, redirects)
        pause = self._pause
        for attempt in range(1, tries + 1):
            try:
                return self._once(request)
            except Unreachable as error:
                absent = isinstance(error.__cause__, NewConnectionError)
                if attempt == tries or absent:  # where nobody listens, nobody will in half a second
                    raise
            self._wait(min(pause * (1 + random.random()), deadline.left()), deadline)  # noqa: S311 - to spread, not to hide
            pause *= 2
        raise AssertionError

    @staticmethod
    def _wait(pause: float, deadline: Deadline) -> None:
        end = time.monotonic() + pause
        while (rest := end - time.monotonic()) > 0:
            deadline.left()
            time.sleep(min(rest, 0.05))

    def _once(self, request: _Request) -> Answer:
        left = request.deadline.left()
        try:
            response = self._pool.urlopen(
                request.method,
                self._before + request.path,
                body=request.body,
                headers={"Accept-Encoding": "identity", "User-Agent": "ipvm", **request.headers},
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=urllib3.Timeout(connect=min(_CONNECT, left), read=min(_READ, left)),
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            raise Unreachable(f"{self.name} does not answer: {_brief(error)}") from error
        done = False
        try:
            data = self._body(response, request)
            done = True
        except (HTTPError, OSError) as error:
            raise Unreachable(f"{self.name} broke off: {_brief(error)}") from error
        finally:
            if done:
                response.release_conn()
            else:
                response.close()
        if response.status in _AGAIN:
            said = printable(data[:_SAID].decode("utf-8", "replace").strip(), limit=_SAID)
            raise Unreachable(f"{self.name} answered {response.status} ({said})")
        if response.status >= 400:
            said = printable(data[:_SAID].decode("utf-8", "replace").strip(), limit=_SAID)
            raise Refused(f"{self.name} answered {response.status} ({said})", response.status)
        if response.status >= 300 and not request.redirects:
            raise Refused(f"{self.name} sends elsewhere ({response.status}), and is not followed", response.status)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Refused(f"{self.name} sent an encoding that was not asked for", response.status)
        return Answer(response.status, response.headers, data)

    def _body(self, response: urllib3.BaseHTTPResponse, request: _Request) -> bytes:
        claimed = response.headers.get("Content-Length", "")
        failed = response.status >= 400
        max_bytes = _SAID * 4 if failed else request.max_bytes
        if claimed.isdigit() and int(claimed) > max_bytes and not failed:
            raise LimitExceeded(f"{self.name}: expected at most {size(max_bytes)}, found {size(int(claimed))}")
        parts, count = [], 0
        while piece := response.read1(_PIECE):
            request.deadline.left()
            count += len(piece)
            if count > max_bytes:
                if failed:
                    break
                raise LimitExceeded(f"{self.name}: expected at most {size(max_bytes)}, found more")
            parts.append(piece)
            if request.progress is not None:
                request.progress(count)
        data = b"".join(parts)
        if claimed.isdigit() and len(data) < int(claimed) and not failed:
            raise ProtocolError(f"{int(claimed) - len(data)} bytes are missing")
        return data

    def close(self) -> None:
        """Close its connections."""
        self._pool.close()


def _brief(error: BaseException) -> str:
    """Return what went wrong in a few words: the innermost reason, without addresses of objects."""
    inner: BaseException = error
    while inner.__cause__ is not None or inner.__context__ is not None:
        inner = inner.__cause__ or inner.__context__ or inner
    text = str(getattr(inner, "strerror", None) or inner) or type(inner).__name__
    return printable(text, limit=200)
