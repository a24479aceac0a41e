"""What a node does for its clients, without knowing how their words arrive."""

from __future__ import annotations

import asyncio
import importlib.metadata
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import Limits
from ipvm_kernel.ipld.limits import DEPTH
from ipvm_kernel.node import jsonrpc, openrpc
from ipvm_kernel.node.counts import Counts
from ipvm_kernel.node.guests import Guests
from ipvm_kernel.node.jsonrpc import DENIED, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, Request, RpcError
from ipvm_kernel.node.metrics import Metrics
from ipvm_kernel.node.peers import Peers
from ipvm_kernel.node.work import Work, asked
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.node.guests import Guest
    from ipvm_kernel.node.outbox import Outbox
    from ipvm_kernel.node.settings import Settings
    from ipvm_kernel.node.work import Asked
    from ipvm_kernel.runs import Run
    from ipvm_kernel.session import Answer, Session

_T = TypeVar("_T")

_RUN: Final = "subscribe_run_workflow"
_NETWORK: Final = "subscribe_network_events"
_SMALL: Final = 65_536  # characters that the loop itself may read; more is read in a thread
_BREATH: Final = 0.05
"""Seconds between the answer to `subscribe_run_workflow` and its first notification. Homestar's JavaScript client begins to
listen a turn of its loop after the answer, and loses what comes with it (seen); whoever asks for `events` is not waited for."""

_SUBSCRIPTIONS: Final = 1000  # of one client

_FOR_GUESTS: Final = frozenset({"health", _RUN, f"un{_RUN}", "cancel_workflow"})
"""What a guest may ask for, of runs of its own."""


class Client:
    """Whoever is at the other end.

    Attributes:
        known: True if the token was shown.
        guest: Who it is, if it came in by a grant of the owner's.
        outbox: What is to be sent there; None where nothing can be sent but the answer.
        subscriptions: What it hears of: the method, by id.
    """

    def __init__(self, *, known: bool, guest: Guest | None = None, outbox: Outbox | None = None) -> None:
        self.known = known
        self.guest = guest
        self.outbox = outbox
        self.subscriptions: dict[str, str] = {}


class Service:
    """The methods of a node.

    Args:
        session: Where workflows run.
        settings: What one client may ask for.
        stop: What ends the node.
    """

    def __init__(self, session: Session, settings: Settings, stop: Callable[[], None]) -> None:
        web = settings.network.webserver
        self.counts = Counts()
        self.settings = settings
        self.addresses: list[str] = []
        self.guests = Guests(session)
        self.peers = Peers(session, self.counts)
        self.work = Work(session, web.max_runs, self.counts, self._made)
        self.clients: set[Client] = set()
        self.version = importlib.metadata.version("ipvm")
        self._session = session
        self._stop = stop
        self._began = time.time()
        self._limits = Limits(web.max_frame, DEPTH, 1_000_000)
        self.metrics = Metrics(
            self.counts,
            Path(session.store.where),
            lambda: {"workflows_running": self.work.running, "clients": len(self.clients)},
            lambda: session.store.usage().total_bytes,
        )
        self._methods: dict[str, Callable[[Client, Ipld], Awaitable[Any]]] = {
            "rpc_discover": self._discover,
            "health": self._health,
            "metrics": self._metrics,
            "node": self._node,
            _RUN: self._run,
            f"un{_RUN}": self._unsubscribe,
            "cancel_workflow": self._cancel,
            _NETWORK: self._network,
            f"un{_NETWORK}": self._unsubscribe,
            "connect_peer": self._connect_peer,
            "publish_receipts": self._publish,
            "find_receipt": self._find,
            "stop": self._end,
        }

    # --- words in, words out ------------------------------------------------------------------------------------------

    async def receive(self, client: Client, data: str | bytes) -> str | None:
        """Do what a text asks for and return the answer, or None where none is due.

        A run that it asks for begins once the answer is in the client's outbox, if it has one.
        """
        web = self.settings.network.webserver
        try:
            given = (data, web.max_frame, web.max_batch)
            requests, batch = await asyncio.to_thread(_parse, *given) if len(data) > _SMALL else _parse(*given)
        except RpcError as wrong:
            self._refuse(wrong)
            return self._sent(client, jsonrpc.error(None, wrong))
        answers: list[str] = []
        begin: list[tuple[float, Callable[[], None]]] = []
        for request in requests:
            answer = await self._answer(client, request, begin)
            if answer is not None:
                answers.append(answer)
        told = f"[{','.join(answers)}]" if batch and answers else (answers[0] if answers else None)
        sent = self._sent(client, told)
        for delay, start in begin:
            asyncio.get_running_loop().call_later(delay, start)
        return sent

    def _sent(self, client: Client, answer: str | None) -> str | None:
        if answer is not None and client.outbox is not None:
            client.outbox.answer(answer)
        return answer

    async def _answer(
        self, client: Client, request: Request | RpcError, begin: list[tuple[float, Callable[[], None]]]
    ) -> str | None:
        self.counts.requests += 1
        if isinstance(request, RpcError):
            self._refuse(request)
            return jsonrpc.error(None, request)
        try:
            method = self._methods.get(request.method)
            if method is None:
                raise RpcError(METHOD_NOT_FOUND, f"Method not found: {printable(request.method, limit=60)!r}")
            if client.guest is not None and request.method not in _FOR_GUESTS:
                raise RpcError(DENIED, f"{request.method} is not for guests, who may run workflows", "guest")
            found = await method(client, request.params)
        except RpcError as wrong:
            self._refuse(wrong)
            return jsonrpc.error(request.ident, wrong) if request.answered else None
        except Exception as error:  # noqa: BLE001 - an error of ours is the answer to one request, and the node lives
            broken = RpcError(INTERNAL_ERROR, f"Internal error: {type(error).__name__}: {error}")
            self._refuse(broken)
            return jsonrpc.error(request.ident, broken) if request.answered else None
        if isinstance(found, tuple):
            found, delay, start = found
            begin.append((delay, start))
        return jsonrpc.result(request.ident, found) if request.answered else None

    def _refuse(self, wrong: RpcError) -> None:
        self.counts.refuse(wrong.reason or _REASONS.get(wrong.code, "other"), wrong.message)

    def gone(self, client: Client) -> None:
        """Forget a client. What it started goes on, and is on file when it asks again."""
        self.clients.discard(client)
        client.subscriptions.clear()
        if client.outbox is not None:
            client.outbox.close()

    # --- the methods --------------------------------------------------------------------------------------------------

    async def _discover(self, _client: Client, _params: Ipld) -> str:
        return openrpc.document(self.version)

    async def _health(self, _client: Client, _params: Ipld) -> dict[str, bool]:
        return {"healthy": await asyncio.to_thread(self.healthy)}

    def healthy(self) -> bool:
        """Return True if the store can be read."""
        try:
            self._session.store.pins()
        except Exception:  # noqa: BLE001 - whatever it is, the node is not well
            return False
        return True

    async def _metrics(self, _client: Client, _params: Ipld) -> dict[str, Any]:
        return await asyncio.to_thread(self.metrics.json)

    async def _node(self, _client: Client, _params: Ipld) -> dict[str, Any]:
        return await asyncio.to_thread(self.info)

    def info(self) -> dict[str, Any]:
        """Return who this node is: Homestar's fields, and under `ipvm` what it counted."""
        counts = self.counts
        return {
            **self.peers.info(),
            "ipvm": {
                "version": self.version,
                "store": self._session.store.where,
                "addresses": self.addresses,
                "seconds": round(time.time() - self._began, 1),
                "clients": len(self.clients),
                "running": self.work.running,
                "workflows": counts.workflows,
                "broken": counts.broken,
                "tasks": dict(counts.tasks),
                "requests": counts.requests,
                "notifications": counts.notified,
                "dropped": counts.dropped,
                "refused": dict(counts.refused),
                "last_refused": dict(counts.last),
            },
        }

    async def _run(self, client: Client, params: Ipld) -> tuple[str, float, Callable[[], None]]:
        if client.outbox is None:
            raise RpcError(
                METHOD_NOT_FOUND, f"Method not found: {_RUN} needs a WebSocket, over which its notifications come"
            )
        if len(client.subscriptions) >= _SUBSCRIPTIONS:
            raise RpcError(
                jsonrpc.BUSY, f"a client has at most {_SUBSCRIPTIONS:,} subscriptions; unsubscribe from some"
            )
        wanted = await asyncio.to_thread(asked, params, self._limits)
        ident, start = await asyncio.to_thread(self._begin, client, wanted)
        client.subscriptions[ident] = _RUN
        return ident, 0.0 if wanted.events else _BREATH, start

    def _begin(self, client: Client, wanted: Asked) -> tuple[str, Callable[[], None]]:
        """Prepare a run, if the client may have it."""
        guest = client.guest
        if guest is not None:
            try:
                self.guests.check(guest, wanted.workflow)
            except IpvmError as error:
                raise RpcError(DENIED, error.message, "guest") from None
        return self.work.start(
            wanted, lambda key, value: self._tell(client, key, value), "" if guest is None else guest.did
        )

    def _tell(self, client: Client, ident: str, value: Ipld) -> None:
        """Send a notification, unless nobody listens any more; None ends the subscription. Any thread."""
        if value is None:
            client.subscriptions.pop(ident, None)
            return
        method = client.subscriptions.get(ident)
        if method is None or client.outbox is None:
            return
        sent = client.outbox.notify(jsonrpc.notification(method, ident, value))
        self.counts.notified += sent
        self.counts.dropped += not sent

    async def _unsubscribe(self, client: Client, params: Ipld) -> bool:
        return client.subscriptions.pop(_one_text(params), None) is not None

    async def _cancel(self, client: Client, params: Ipld) -> bool:
        return self.work.cancel(_one_text(params), "" if client.guest is None else client.guest.did) > 0

    async def _network(self, client: Client, _params: Ipld) -> str:
        if client.outbox is None:
            raise RpcError(METHOD_NOT_FOUND, f"Method not found: {_NETWORK} needs a WebSocket")
        ident = secrets.token_hex(8)
        client.subscriptions[ident] = _NETWORK
        return ident

    def network_event(self, kind: str, fields: dict[str, Ipld]) -> None:
        """Tell whoever subscribed of something that happened among peers. Any thread but the server's loop."""
        for client in list(self.clients):
            for ident, method in list(client.subscriptions.items()):
                if method == _NETWORK:
                    self._tell(client, ident, {kind: fields})

    def _made(self, run: Run, answer: Answer) -> None:
        """Tell the peers of what was computed, if the settings say so."""
        if self.settings.network.libp2p.pubsub.publish:
            self.peers.publish_quietly(run, answer.instruction)

    async def _connect_peer(self, client: Client, params: Ipld) -> dict[str, Any]:
        _check_known(client, "calling a peer")
        address = _one_text(params)
        return {"peer_id": await asyncio.to_thread(_refusing, self.peers.connect, address)}

    async def _publish(self, client: Client, params: Ipld) -> dict[str, Any]:
        _check_known(client, "publishing")
        return await asyncio.to_thread(_refusing, self.peers.publish, _one_text(params))

    async def _find(self, client: Client, params: Ipld) -> list[dict[str, str]]:
        _check_known(client, "asking peers")
        return await asyncio.to_thread(_refusing, self.peers.find, _one_text(params))

    async def _end(self, client: Client, _params: Ipld) -> bool:
        _check_known(client, "stopping a node")
        self._stop()
        return True


_REASONS: Final = {
    jsonrpc.PARSE_ERROR: "malformed", jsonrpc.INVALID_REQUEST: "invalid request", METHOD_NOT_FOUND: "unknown method",
    INVALID_PARAMS: "invalid params", jsonrpc.BUSY: "not run", jsonrpc.TOO_LARGE: "too large", DENIED: "no token",
    INTERNAL_ERROR: "internal error",
}  # fmt: skip


def _parse(data: str | bytes, max_bytes: int, max_batch: int) -> tuple[list[Request | RpcError], bool]:
    return jsonrpc.parse(data, max_bytes=max_bytes, max_batch=max_batch)


def _check_known(client: Client, what: str) -> None:
    if not client.known:
        raise RpcError(DENIED, f"{what} needs the node's token")


def _refusing(work: Callable[[str], _T], text: str) -> _T:
    """Do something, and let what it raises be the answer of the one request."""
    try:
        return work(text)
    except IpvmError as error:
        raise RpcError(jsonrpc.BUSY, error.message) from None


def _one_text(params: Ipld) -> str:
    if type(params) is not list or len(params) != 1 or type(params[0]) is not str:
        raise RpcError(INVALID_PARAMS, "Invalid params: expected [id]")
    return params[0]
