"""Kubo's RPC through our own session: what is asked often, what streams, and what ipfshttpclient lacks or breaks.

https://docs.ipfs.tech/reference/kubo/rpc/. Kubo says 500 for everything that fails, also for a block that it does not
have; what it says then is its answer.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from ipvm_kernel.exchange.http import SILENCE, Refused, Server, Unreachable
from ipvm_kernel.exchange.kubo.endpoints import ENDPOINTS
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ipvm_kernel.exchange.http import Deadline

_SMALL: Final = 65_536  # bytes of an answer that is JSON
_LINES: Final = 4 << 20  # and of one that is a line for each root, or each peer
_SETTLED: Final = frozenset({500})  # what Kubo itself fails at: asked again, it says the same
_LACKS: Final = ("not found", "could not find", "deadline exceeded", "does not have")


class Rpc:
    """Kubo's RPC through our own session.

    Args:
        address: Where it listens: `http://127.0.0.1:5001`.
        name: What to call the daemon in messages.
        pause: Seconds before a request is made again; twice as long each time.
    """

    def __init__(self, address: str, name: str, pause: float) -> None:
        self.name = name
        self._server = Server(address, name, pause=pause)

    def call(
        self,
        name: str,
        deadline: Deadline,
        *,
        max_bytes: int = _SMALL,
        sent: bytes | None = None,
        progress: Callable[[int], None] | None = None,
        **options: object,
    ) -> bytes:
        """Make a call and return all of the answer.

        Args:
            name: Which, of `ENDPOINTS`.
            deadline: When it must be done.
            max_bytes: How long the answer may be.
            sent: What to send, as the one file of a form.
            progress: Told how many bytes of the answer are there.
            options: Those of the call; underscores are sent as dashes.

        Raises:
            Unreachable, Refused, LimitExceeded, Over: As `Server.ask` does; what Kubo does not have is refused.
        """
        headers: dict[str, str] = {}
        body = None
        if sent is not None:
            headers, head, tail = _form()
            body = b"".join((head, sent, tail))
        try:
            return self._server.ask(
                "POST",
                _path(name, options),
                deadline,
                max_bytes=max_bytes,
                body=body,
                headers=headers,
                progress=progress,
                settled=_SETTLED,
            ).body
        except Refused as error:
            if error.status == 500 and _lacks(error.message):
                raise Refused(f"{self.name} does not have it", 404) from None
            raise

    def json(self, name: str, deadline: Deadline, **options: Any) -> dict[str, Any]:
        """Make a call whose answer is a JSON object. Raises as `call` does."""
        return self._object(self.call(name, deadline, **options))

    def stream(
        self,
        name: str,
        deadline: Deadline,
        *,
        max_bytes: int,
        progress: Callable[[int], None] | None = None,
        silence: float = SILENCE,
        **options: object,
    ) -> Iterator[bytes]:
        """Make a call and yield its answer as it comes. Raises as `Server.stream` does."""
        return self._server.stream(
            "POST",
            _path(name, options),
            deadline,
            max_bytes=max_bytes,
            progress=progress,
            silence=silence,
            settled=_SETTLED,
        )

    def lines(
        self,
        name: str,
        deadline: Deadline,
        *,
        sent: Iterable[bytes] | None = None,
        progress: Callable[[int], None] | None = None,
        **options: object,
    ) -> Iterator[dict[str, Any]]:
        """Make a call and yield its answer, which is JSON objects in lines.

        Args:
            name: Which, of `ENDPOINTS`.
            deadline: When it must be done.
            sent: What to send, as the one file of a form; it is sent as it is made.
            progress: Told how many bytes were sent.
            options: Those of the call.

        Raises:
            Unreachable, Refused, LimitExceeded, Over: As `Server.stream` does; every 500 is refused here.
        """
        headers: dict[str, str] = {}
        body = None
        if sent is not None:
            headers, head, tail = _form()
            body = _counted(head, sent, tail, progress)
        rest = b""
        pieces = self._server.stream(
            "POST",
            _path(name, options),
            deadline,
            max_bytes=_LINES,
            headers=headers,
            body=body,
            silence=deadline.allowed,  # Kubo says nothing while it pins
            settled=_SETTLED,
        )
        for piece in pieces:
            *whole, rest = (rest + piece).split(b"\n")
            yield from (self._object(line) for line in whole if line.strip())
        if rest.strip():
            yield self._object(rest)

    def _object(self, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if type(found) is not dict:
            raise Unreachable(
                f"{self.name} does not speak Kubo's RPC: expected JSON, found {printable(repr(data[:60]))}"
            )
        return found

    def close(self) -> None:
        """Close its connections."""
        self._server.close()


def _path(name: str, options: dict[str, object]) -> str:
    words = {
        key.replace("_", "-"): str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in options.items()
    }
    return f"/api/v0/{ENDPOINTS[name].path}?{urlencode(words, quote_via=quote)}"


def _form() -> tuple[dict[str, str], bytes, bytes]:
    """Return the headers of a form of one file, and what stands before and after the file (RFC 7578)."""
    border = uuid.uuid4().hex
    head = (
        f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={border}"}
    return headers, head.encode(), f"\r\n--{border}--\r\n".encode()


def _counted(
    head: bytes, pieces: Iterable[bytes], tail: bytes, progress: Callable[[int], None] | None
) -> Iterator[bytes]:
    yield head
    count = 0
    for piece in pieces:
        yield piece
        count += len(piece)
        if progress is not None:
            progress(count)
    yield tail


def _lacks(said: str) -> bool:
    """Return True if Kubo's answer says that it has looked for a block and has none."""
    return any(words in said for words in _LACKS)
