"""HTTP as it is safe to speak with strangers: bounded in bytes and time, tried again where that helps, nothing decoded.

The one door to urllib3, which is loaded when something has to be fetched. Answers are read piece by piece; no cookies are
kept, no credentials are sent, no redirect is followed, no compression is undone. `Server.ask` is for answers that are read
whole and may be asked for again; `Server.stream` is for archives, which pass through piece by piece, both ways.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError

from ipvm_kernel.errors import IpvmError, LimitExceeded
from ipvm_kernel.printable import printable, seconds, size

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

TRIES: Final = 4
"""How often a request is made at most."""

SILENCE: Final = 20.0
"""Seconds that it may take until the next byte of an answer."""

T = TypeVar("T")

_CONNECT: Final = 5.0
_POOL: Final = 32  # connections that are kept open
_PIECE: Final = 65_536
_SAID: Final = 300  # characters of what a server says about a failure
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_GATHERED: Final = 262_144  # bytes of a body that are sent together


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

    Args:
        allowed: Seconds.
        within: The deadline of something larger, which this one is a part of.

    Attributes:
        over: True once nobody waits any more.
    """

    def __init__(self, allowed: float, within: Deadline | None = None) -> None:
        self.allowed = allowed
        self.over = False
        self._end = time.monotonic() + allowed
        self._within = within

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            Over: None are.
        """
        rest = self._end - time.monotonic()
        if self.over or rest <= 0:
            raise Over(f"not done in {seconds(self.allowed)}")
        return rest if self._within is None else min(rest, self._within.left())

    def again(self) -> None:
        """Begin anew with the time allowed, since something has come; what it is a part of goes on."""
        self._end = time.monotonic() + self.allowed


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
    body: bytes | Iterator[bytes] | None
    progress: Callable[[int], None] | None
    redirects: bool = False
    settled: Container[int] = ()
    silence: float = SILENCE


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
        self._pool = pool or urllib3.connection_from_url(f"{parts.scheme}://{parts.netloc}", maxsize=_POOL, block=False)

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
        settled: Container[int] = (),
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
            settled: Statuses of failures that will not pass; they are refusals then.

        Raises:
            Unreachable: It did not answer, each time.
            Refused: It said no.
            LimitExceeded: The body is longer than `max_bytes`; the rest was not read.
            Over: The time is over.
        """
        request = _Request(method, path, deadline, max_bytes, headers or {}, body, progress, redirects, settled)
        return self._tried(request, tries, lambda: self._once(request))

    def stream(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
        tries: int = TRIES,
        progress: Callable[[int], None] | None = None,
        silence: float = SILENCE,
        settled: Container[int] = (),
    ) -> Iterator[bytes]:
        """Make a request and yield the body of the answer as it comes. Nothing is sent before the first is asked for.

        A request may be made again until an answer has begun, and never after that; nor is one whose body is an iterable,
        which is sent in pieces as they are made. Whoever stops in the middle closes the iterator, or lets it go, and the
        connection is closed.

        Args:
            method: `GET` or `POST`.
            path: The path and query.
            deadline: When all of it must be done.
            max_bytes: How long the body of the answer may be.
            headers: More of them.
            body: What to send: bytes, or pieces as they are made.
            tries: How often at most.
            progress: Told how many bytes of the answer are there.
            silence: Seconds that it may take until the next byte.
            settled: As for `ask`.

        Raises:
            As `ask` does; `Unreachable` also where the answer breaks off in the middle.
        """
        sent: bytes | Iterator[bytes] | None = body if body is None or isinstance(body, bytes) else iter(body)
        if sent is not None and not isinstance(sent, bytes):
            tries = 1
        request = _Request(
            method, path, deadline, max_bytes, headers or {}, sent, progress, settled=settled, silence=silence
        )
        response = self._tried(request, tries, lambda: self._begun(request))
        yield from self._read(response, request)

    def _tried(self, request: _Request, tries: int, attempt: Callable[[], T]) -> T:
        """Return what an attempt gives; failures that may pass are tried again."""
        deadline, pause = request.deadline, self._pause
        for number in range(1, tries + 1):
            try:
                return attempt()
            except Unreachable as error:
                absent = isinstance(error.__cause__, NewConnectionError)
                if number == tries or absent:  # where nobody listens, nobody will in half a second
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
        response = self._begun(request)
        data = b"".join(self._read(response, request))
        return Answer(response.status, response.headers, data)

    def _read(self, response: urllib3.BaseHTTPResponse, request: _Request) -> Iterator[bytes]:
        """Yield the body of an answer, and give its connection back, or close it where not all was read."""
        done = False
        try:
            yield from self._pieces(response, request)
            done = True
        except (HTTPError, OSError) as error:
            raise Unreachable(f"{self.name} broke off: {_brief(error)}") from error
        finally:
            _end(response, done=done)

    def _begun(self, request: _Request) -> urllib3.BaseHTTPResponse:
        """Make a request once, and return the answer, none of its body read, if it is not a refusal."""
        left = request.deadline.left()
        body = request.body
        whole = body is None or isinstance(body, bytes)
        sent = None if isinstance(body, bytes) or body is None else _Sent(body, request)
        try:
            response = self._pool.urlopen(
                request.method,
                self._before + request.path,
                body=body if sent is None else sent,
                headers={"Accept-Encoding": "identity", "User-Agent": "ipvm", **request.headers},
                retries=False,
                redirect=False,
                assert_same_host=False,
                # What is sent in pieces may have to wait for a disk, and waits as long as it takes to connect.
                timeout=urllib3.Timeout(
                    connect=min(_CONNECT if whole else SILENCE, left), read=min(request.silence, left)
                ),
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError) as error:
            if sent is not None and sent.failed is not None:
                raise sent.failed from None  # what makes the body broke, and not the server
            raise Unreachable(f"{self.name} does not answer: {_brief(error)}") from error
        if response.status >= 300 and not (response.status < 400 and request.redirects):
            raise self._refusal(response, request)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise Refused(f"{self.name} sent an encoding that was not asked for", response.status)
        return response

    def _refusal(self, response: urllib3.BaseHTTPResponse, request: _Request) -> Unreachable | Refused:
        """Return what a server says instead of giving what it was asked for."""
        data = b""
        done = False
        try:
            while len(data) < _SAID * 4 and (piece := response.read1(_PIECE)):
                request.deadline.left()
                data += piece
            done = not piece
        except (HTTPError, OSError) as error:
            return Unreachable(f"{self.name} broke off: {_brief(error)}")
        finally:
            _end(response, done=done)
        if response.status < 400:
            return Refused(f"{self.name} sends elsewhere ({response.status}), and is not followed", response.status)
        text = _told(data)
        said = f"{self.name} answered {response.status} ({printable(text, limit=_SAID)})"
        if response.status in _AGAIN and response.status not in request.settled:
            return Unreachable(said)
        return Refused(said, response.status)

    def _pieces(self, response: urllib3.BaseHTTPResponse, request: _Request) -> Iterator[bytes]:
        """Yield the body of an answer as it comes, bounded in bytes and time."""
        claimed = response.headers.get("Content-Length", "")
        if claimed.isdigit() and int(claimed) > request.max_bytes:
            raise LimitExceeded(f"{self.name}: expected at most {size(request.max_bytes)}, found {size(int(claimed))}")
        count = 0
        while piece := response.read1(_PIECE):
            request.deadline.left()
            count += len(piece)
            if count > request.max_bytes:
                raise LimitExceeded(f"{self.name}: expected at most {size(request.max_bytes)}, found more")
            if request.progress is not None:
                request.progress(count)
            yield piece
        if claimed.isdigit() and count < int(claimed):
            raise ProtocolError(f"{int(claimed) - count} bytes are missing")

    def close(self) -> None:
        """Close its connections."""
        self._pool.close()


class _Sent:
    """The body of a request that is made while it is sent: small pieces together, with an eye on the time.

    Attributes:
        failed: What went wrong where the body is made, or None. urllib3 would take an `OSError` there for the server's.
    """

    def __init__(self, pieces: Iterator[bytes], request: _Request) -> None:
        self.failed: BaseException | None = None
        self._pieces = pieces
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        waiting: list[bytes] = []
        count = 0
        try:
            for piece in self._pieces:
                self._request.deadline.left()
                waiting.append(piece)
                count += len(piece)
                if count >= _GATHERED:
                    yield b"".join(waiting)
                    waiting.clear()
                    count = 0
        except Exception as error:
            self.failed = error
            raise
        if waiting:
            yield b"".join(waiting)


def _told(data: bytes) -> str:
    """Return what a server says about a failure: the message in an object of JSON, as Kubo sends one, or all of it."""
    text = data.decode("utf-8", "replace").strip()
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(text)
        if type(found) is dict and type(found.get("Message")) is str:
            return str(found["Message"])
    return text


def _end(response: urllib3.BaseHTTPResponse, *, done: bool) -> None:
    """Give a connection back if all of the answer was read, else close it."""
    if done:
        response.release_conn()
    else:
        response.close()


def _brief(error: BaseException) -> str:
    """Return what went wrong in a few words: the innermost reason, without addresses of objects."""
    inner: BaseException = error
    while inner.__cause__ is not None or inner.__context__ is not None:
        inner = inner.__cause__ or inner.__context__ or inner
    text = str(getattr(inner, "strerror", None) or inner) or type(inner).__name__
    return printable(text, limit=200)
