"""Kubo, the IPFS daemon, through its RPC: https://docs.ipfs.tech/reference/kubo/rpc/.

Every call is a POST. Which way each call goes, and why, stands in one table. What comes back is checked by whoever asked:
a daemon that somebody else runs, or that is broken, must not be able to put other bytes under a CID.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple
from urllib.parse import quote, urlencode

from ipvm_kernel.exchange.http import Refused, Server, Unreachable
from ipvm_kernel.ipld.limits import PEER
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld.cid import CID

_SMALL: Final = 65_536  # bytes of an answer that is JSON
_PATIENCE: Final = 15.0  # seconds that Kubo may look for a block on its network


class Endpoint(NamedTuple):
    """How one call is made.

    Attributes:
        path: Its path below `/api/v0/`.
        way: `http` for our own session.
        why: The reason for that way.
    """

    path: str
    way: Literal["http"]
    why: str


ENDPOINTS: Final[dict[str, Endpoint]] = {
    "get_block": Endpoint(
        "block/get", "http", "one call a block of a task's resource: 0.1 ms here, 0.85 ms by the client"
    ),
    "put_block": Endpoint("block/put", "http", "the client names no codec but raw and dag-pb"),
    "version": Endpoint("version", "http", "the client refuses every Kubo since 0.8"),
    "id": Endpoint("id", "http", "asked together with `version`"),
}


class Kubo:
    """A Kubo daemon.

    Args:
        address: Where its RPC listens: `http://127.0.0.1:5001`.
        pause: Seconds before a request is made again; twice as long each time.
    """

    def __init__(self, address: str, pause: float = 0.25) -> None:
        self.name = f"Kubo at {address}"
        self._server = Server(address, self.name, pause=pause)

    def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
        """Return the bytes that Kubo has, or finds, under a CID. They are not checked here.

        Raises:
            Unreachable, Refused, LimitExceeded, Over: As `Server.ask` does; a block that it cannot find is refused.
        """
        patience = max(1, min(int(_PATIENCE), int(deadline.left() * 0.8)))
        return self._call(
            "get_block",
            deadline,
            max_bytes=PEER.block_bytes,
            progress=progress,
            options={"arg": str(cid), "timeout": f"{patience}s"},
        )

    def put_block(self, cid: CID, data: bytes, deadline: Deadline) -> None:
        """Give Kubo a block.

        Raises:
            Unreachable, Refused, Over: As `Server.ask` does; a block that got another CID there is refused.
        """
        border = uuid.uuid4().hex
        head = (
            f'--{border}\r\nContent-Disposition: form-data; name="data"; filename="data"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = b"".join((head.encode(), data, f"\r\n--{border}--\r\n".encode()))
        answer = self._json(
            self._call(
                "put_block",
                deadline,
                body=body,
                headers={"Content-Type": f"multipart/form-data; boundary={border}"},
                options={"cid-codec": cid.codec, "mhtype": cid.hash, "allow-big-block": "true"},
            )
        )
        if answer.get("Key") != str(cid):
            raise Refused(f"{self.name} keeps {cid} as {printable(str(answer.get('Key')), limit=100)}", 200)

    def version(self, deadline: Deadline) -> str:
        """Return which version it is."""
        return printable(str(self._json(self._call("version", deadline)).get("Version")), limit=60)

    def id(self, deadline: Deadline) -> str:
        """Return the id of the peer that it is."""
        return printable(str(self._json(self._call("id", deadline)).get("ID")), limit=100)

    def close(self) -> None:
        """Close its connections."""
        self._server.close()

    def _call(
        self,
        name: str,
        deadline: Deadline,
        *,
        max_bytes: int = _SMALL,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        progress: Callable[[int], None] | None = None,
        options: dict[str, str] | None = None,
    ) -> bytes:
        path = f"/api/v0/{ENDPOINTS[name].path}?{urlencode(options or {}, quote_via=quote)}"
        try:
            answer = self._server.ask(
                "POST", path, deadline, max_bytes=max_bytes, body=body, headers=headers, progress=progress
            )
        except Unreachable as error:
            # Kubo says 500 for everything, also for a block that it does not have; that is an answer.
            if " answered 500 (" in error.message and _lacks(error.message):
                raise Refused(f"{self.name} does not have it", 404) from None
            raise
        return answer.body

    def _json(self, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = None
        if type(found) is not dict:
            raise Unreachable(
                f"{self.name} does not speak Kubo's RPC: expected JSON, found {printable(repr(data[:60]))}"
            )
        return found


def _lacks(said: str) -> bool:
    """Return True if Kubo's answer says that it has looked for a block and has none."""
    return any(words in said for words in ("not found", "could not find", "deadline exceeded"))
