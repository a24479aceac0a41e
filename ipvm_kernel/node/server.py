"""The server of a node: JSON-RPC over WebSocket and HTTP on loopback, as Homestar serves it.

Source: Homestar 0.3.0, `homestar-runtime/src/network/webserver/`. The socket is uvicorn's, the routes are Starlette's; what
is done for a client is in `service`, and who may come in is decided in `gate`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING, Final, Self

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request  # noqa: TC002 - Starlette looks at the annotations of an endpoint
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ipvm_kernel.errors import BadInput, IpvmError
from ipvm_kernel.node import openrpc
from ipvm_kernel.node.gate import Gate
from ipvm_kernel.node.listening import Background, told_to_end
from ipvm_kernel.node.metrics import CONTENT_TYPE
from ipvm_kernel.node.outbox import Outbox
from ipvm_kernel.node.service import Client, Service
from ipvm_kernel.node.work import share_of_guests

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.node.settings import Settings, Webserver
    from ipvm_kernel.session import Session

_SEARCHED: Final = 1000  # ports, from the one in the settings on


class Server:
    """A node that listens.

    Use it as a context manager, which runs it in a thread; or call `serve`, which runs it here until it is stopped.

    Args:
        session: Where workflows run. It stays open when the server ends.
        settings: What is served.
        token: What clients show.

    Attributes:
        service: What it does for clients.
        host: Where it listens.
        port: Its port.
    """

    def __init__(self, session: Session, settings: Settings, token: str) -> None:
        web = settings.network.webserver
        self.service = Service(session, settings, self.stop)
        self._settings = settings
        self._sockets = _bound(web)
        self.host: str = self._sockets[0].getsockname()[0]
        self.port: int = self._sockets[0].getsockname()[1]
        self.service.addresses = [_address(one) for one in self._sockets]
        app = CORSMiddleware(
            Starlette(routes=list(self._routes())),
            allow_origins=web.origins,
            allow_methods=("GET", "POST"),
            allow_headers=("authorization", "content-type"),
        )
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                Gate(app, web, token, self.service.counts, self.service.guests.admit),
                http="h11",
                ws="websockets-sansio",
                ws_max_size=web.max_frame,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=128,
                timeout_graceful_shutdown=max(1, round(settings.shutdown_timeout)),
            )
        )
        self._background = Background(self._uvicorn, self._sockets, "ipvm-node")

    # --- its life -----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Serve until `stop` is called or the process is told to end. Receipts of what runs then are kept."""
        with told_to_end():
            try:
                self.join()
                self._uvicorn.run(sockets=self._sockets)
            finally:
                self._end()

    def join(self) -> None:
        """Join the peers of the settings, if there are any; `serve` does it otherwise.

        Raises:
            ToolchainMissing: The extra `p2p` is not installed.
            Unreachable: The network cannot be joined.
        """
        try:
            self.service.peers.join(self._settings.network.libp2p, self.service.network_event)
        except BaseException:
            self._end()
            raise

    def stop(self) -> None:
        """Ask the server to end. Any thread."""
        self._uvicorn.should_exit = True

    def _end(self) -> None:
        self.service.work.close(self._settings.shutdown_timeout)
        self.service.peers.leave()
        for one in self._sockets:
            one.close()

    def __enter__(self) -> Self:
        self.join()
        self._background.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.service.work.close(self._settings.shutdown_timeout)
        self._background.join(self._settings.shutdown_timeout + 5)
        self._end()

    # --- the routes ---------------------------------------------------------------------------------------------------

    def _routes(self) -> Iterator[Route | WebSocketRoute]:
        yield Route("/", self._post, methods=["POST"])
        yield WebSocketRoute("/", self._websocket)
        yield Route("/health", self._health)
        yield Route("/metrics", self._metrics)
        yield Route("/node", self._node)
        yield Route("/rpc_discover", self._discover)

    async def _health(self, _request: Request) -> Response:
        healthy = await asyncio.to_thread(self.service.healthy)
        return JSONResponse({"healthy": healthy}, 200 if healthy else 500)

    async def _metrics(self, request: Request) -> Response:
        """Answer Prometheus with its text, and whoever asks for JSON with Homestar's."""
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse(await asyncio.to_thread(self.service.metrics.json))
        return Response(await asyncio.to_thread(self.service.metrics.text), media_type=CONTENT_TYPE)

    async def _node(self, _request: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(self.service.info))

    async def _discover(self, _request: Request) -> Response:
        return JSONResponse(openrpc.document(self.service.version))

    async def _post(self, request: Request) -> Response:
        web = self._settings.network.webserver
        try:
            body = await asyncio.wait_for(_body(request, web.max_frame), web.timeout)
        except TimeoutError:
            self.service.counts.refuse("too slow", f"a request took more than {web.timeout:g} s to arrive")
            return PlainTextResponse("the request took too long to arrive\n", 408)
        if body is None:
            line = f"a request has at most {web.max_frame:,} bytes"
            self.service.counts.refuse("too large", line)
            return PlainTextResponse(f"{line}\n", 413)
        answer = await self.service.receive(Client(known=request.state.known, guest=request.state.guest), body)
        return Response(answer, media_type="application/json") if answer is not None else Response(status_code=204)

    async def _websocket(self, socket_: WebSocket) -> None:
        web, service = self._settings.network.webserver, self.service
        line = self._full(guest=socket_.state.guest is not None)
        if line:
            service.counts.refuse("too many clients", line)
            await socket_.send_denial_response(PlainTextResponse(f"{line}\n", 503))
            return
        await socket_.accept()
        outbox = Outbox(web.websocket_capacity, asyncio.get_running_loop())
        client = Client(known=socket_.state.known, guest=socket_.state.guest, outbox=outbox)
        service.clients.add(client)
        sender = asyncio.create_task(self._send(socket_, outbox))
        try:
            await self._read(socket_, client, outbox, sender)
        finally:
            service.gone(client)
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender

    def _full(self, *, guest: bool) -> str:
        """Return why no other client may come in, or "". Guests leave room for the owner's own."""
        most, clients = self._settings.network.webserver.max_connections, self.service.clients
        if len(clients) >= most:
            return f"{most} clients are here already"
        if guest and sum(client.guest is not None for client in clients) >= share_of_guests(most):
            return f"{share_of_guests(most)} guests are here already"
        return ""

    async def _read(self, socket_: WebSocket, client: Client, outbox: Outbox, sender: asyncio.Task[None]) -> None:
        while not sender.done():
            try:
                message = await socket_.receive()
            except WebSocketDisconnect:
                return
            if message["type"] == "websocket.disconnect":
                if message.get("code") == _TOO_LARGE:
                    most = self._settings.network.webserver.max_frame
                    self.service.counts.refuse("too large", f"a frame has at most {most:,} bytes")
                return
            given = message.get("text")
            await self.service.receive(client, message["bytes"] if given is None else given)
            await outbox.settled()

    async def _send(self, socket_: WebSocket, outbox: Outbox) -> None:
        patience = self._settings.network.webserver.websocket_sender_timeout / 1000
        while (frame := await outbox.take()) is not None:
            try:
                await asyncio.wait_for(socket_.send_text(frame), patience)
            except TimeoutError:
                self.service.counts.refuse("too slow", f"a client took no frame for {patience:g} s, and was left")
                break
            except (WebSocketDisconnect, RuntimeError):  # it is gone
                break
        outbox.close()


_TOO_LARGE: Final = 1009  # RFC 6455 section 7.4.1


async def _body(request: Request, most: int) -> bytes | None:
    """Return the body of a request, or None if it is larger than `most` bytes; no more than that is read."""
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > most:
            return None
    return bytes(parts)


# --- sockets ----------------------------------------------------------------------------------------------------------


def _bound(web: Webserver) -> list[socket.socket]:
    """Return sockets on loopback, of both families where there are two, on one port.

    Raises:
        BadInput: No port of those searched is free.
    """
    for port in range(web.port, min(web.port + _SEARCHED, 65_536)) if web.port else [0] * 20:
        try:
            first = _listening(socket.AF_INET, web.v4_host, port)
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise IpvmError(f"cannot listen on {web.v4_host}:{port}: {error.strerror}") from None
            continue
        try:
            second = _listening(socket.AF_INET6, web.v6_host.strip("[]"), first.getsockname()[1])
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return [first]  # a machine without IPv6
            first.close()
            continue
        return [first, second]
    raise BadInput(f"no free port from {web.port} on, of {_SEARCHED:,}: set network.webserver.port to another, or to 0")


def _listening(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
        made.listen(128)
    except OSError:
        made.close()
        raise
    return made


def _address(one: socket.socket) -> str:
    host, port = one.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
