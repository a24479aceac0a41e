"""What a cache answers: the routes of its server, each bounded in bytes and time."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import msgspec
from starlette.requests import Request  # noqa: TC002 - Starlette looks at the annotations of an endpoint
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ipvm_kernel.errors import BadInput, IpvmError, LimitExceeded, Malformed, NotAllowed, NotFound, StoreFull
from ipvm_kernel.exchange.caches.base import BATCH, CAR, RAW, content_at, receipts_at
from ipvm_kernel.ipld import CID, Limits, decode
from ipvm_kernel.ipld.car import Archive
from ipvm_kernel.node.cache_door import Sending
from ipvm_kernel.printable import printable, seconds, size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from starlette.types import ASGIApp

    from ipvm_kernel.node.cache_door import Patient
    from ipvm_kernel.node.cache_shelf import Shelf
    from ipvm_kernel.node.counts import Counts

_QUESTION: Final = Limits(block_bytes=BATCH * 50, depth=1, items=BATCH + 1)
_GATHERED: Final = 512 * 1024
_AT_ONCE: Final = 16  # answers about receipts that are in memory
_FOREVER: Final = {"Cache-Control": "public, max-age=29030400, immutable"}  # what a CID names never changes
_SAFE: Final = {"X-Content-Type-Options": "nosniff", "Content-Disposition": "attachment"}


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may ask for.

    Attributes:
        answer: Bytes of one answer about receipts, about.
        upload: Bytes that a writer may send at once.
        clients: Connections at once.
        patience: Seconds that a question may take to arrive, and a piece of an answer to leave.
        upload_time: Seconds that an upload may take to arrive.
        pace: Bytes a second that a reader takes, on average.
        answer_pace: The same of answers about receipts, which are in memory until they are taken.
    """

    answer: int = 16 << 20
    upload: int = 256 << 20
    clients: int = 256
    patience: float = 10.0
    upload_time: float = 300.0
    pace: float = 65_536.0
    answer_pace: float = 1_048_576.0


class Routes:
    """The routes of a cache.

    Args:
        shelf: What is given out.
        keep: Keeps an archive whose blocks were checked; None if nothing can be written.
        bounds: What one client may ask for.
        counts: What was done and refused.

    Attributes:
        server: Who serves them; set before the first request.
    """

    server: Patient

    def __init__(self, shelf: Shelf, keep: Callable[[Path], str] | None, bounds: Bounds, counts: Counts) -> None:
        self._shelf = shelf
        self._keep = keep
        self._bounds = bounds
        self._counts = counts
        self._gathering = asyncio.Semaphore(_AT_ONCE)
        self._writing = asyncio.Lock()

    def __iter__(self) -> Iterator[Route]:
        for path, answer, methods in (
            ("/receipts", self._question, ["POST"]),
            ("/receipts", self._upload, ["PUT"]),
            ("/receipts/{folder}/{file}", self._file, ["GET"]),
            ("/content/{folder}/{file}", self._content_file, ["GET"]),
            ("/ipfs/{cid}", self._content, ["GET"]),
            ("/health", self._health, ["GET"]),
        ):
            yield Route(path, self._told(answer), methods=methods)

    def _told(self, answer: Callable[[Request], Awaitable[ASGIApp]]) -> Callable[[Request], Awaitable[ASGIApp]]:
        """Return an endpoint that says in one line what was wrong."""

        async def endpoint(request: Request) -> ASGIApp:
            self._counts.requests += 1
            try:
                return await answer(request)
            except IpvmError as error:
                status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
                if status != 404:
                    self._counts.refuse(_REASONS.get(status, "wrong"), error.message)
                return PlainTextResponse(f"{error.message}\n", status)

        return endpoint

    async def _health(self, _request: Request) -> Response:
        return JSONResponse(
            {"healthy": True, "writable": self._keep is not None, "refused": dict(self._counts.refused)}
        )

    async def _question(self, request: Request) -> Sending:
        """Answer for many instructions at once."""
        body = await self._body(request, _QUESTION.block_bytes)
        value = decode(body, _QUESTION)
        if type(value) is not list or not all(type(one) is CID for one in value):
            raise Malformed("expected the DAG-CBOR of a list of links to instructions, found something else")
        if len(value) > BATCH:
            raise LimitExceeded(
                f"expected at most {BATCH:,} instructions, found {len(value):,}: ask about them in several turns"
            )
        return await self._receipts(list(dict.fromkeys(cast("list[CID]", value))))

    async def _file(self, request: Request) -> Response | Sending:
        cid = _named(request, receipts_at)
        return await self._receipts([cid], empty=False)

    async def _receipts(self, asked: list[CID], *, empty: bool = True) -> Sending:
        await self._gathering.acquire()
        try:
            told = await asyncio.to_thread(self._shelf.told, asked, self._bounds.answer)
            if not told.roots and not empty:
                raise NotFound(f"no receipt for {asked[0]} is here")
        except BaseException:
            self._gathering.release()
            raise
        return self._sending(told.archive(len(asked)), CAR, {}, self._gathering.release)

    async def _content(self, request: Request) -> Response | Sending:
        """Answer as a trustless gateway: one block, or a file with its tree."""
        cid = CID.parse(request.path_params["cid"])
        accepts = request.headers.get("accept", "")
        form = request.query_params.get("format") or ("car" if CAR in accepts else "raw" if RAW in accepts else "")
        match form:
            case "raw":
                data = await asyncio.to_thread(self._shelf.block, cid)
                return Response(data, media_type=RAW, headers={**_FOREVER, **_SAFE})
            case "car":
                return await self._archive(cid)
        raise BadInput("expected ?format=raw or ?format=car: what is shown to people is not served here")

    async def _content_file(self, request: Request) -> Sending:
        return await self._archive(_named(request, content_at))

    async def _archive(self, cid: CID) -> Sending:
        return self._sending(await asyncio.to_thread(self._shelf.archive, cid), CAR, _FOREVER)

    def _sending(
        self, pieces: Iterator[bytes], kind: str, headers: dict[str, str], done: Callable[[], object] | None = None
    ) -> Sending:
        return Sending(
            self.server,
            _in_threads(pieces),
            {"Content-Type": kind, **headers, **_SAFE},
            pace=self._bounds.answer_pace if done is not None else self._bounds.pace,
            counts=self._counts,
            done=done or (lambda: None),
        )

    # --- writers ------------------------------------------------------------------------------------------------------

    async def _upload(self, request: Request) -> Response:
        """Keep an archive: received whole, then every block checked, then kept by whoever knows how."""
        keep = self._keep
        if keep is None:
            raise NotAllowed("this cache is read only: it is served with --writable to be written to")
        if not request.state.known:
            line = "expected the token for writers: Authorization: Bearer TOKEN"
            self._counts.refuse("no token", line)
            return PlainTextResponse(f"{line}\n", 401, {"WWW-Authenticate": "Bearer"})
        with tempfile.TemporaryDirectory(prefix="ipvm-") as folder:
            path = Path(folder) / "upload.car"
            await self._spool(request, path)
            async with self._writing:
                told = await asyncio.to_thread(_checked, path, keep)
        return PlainTextResponse(f"{told}\n")

    async def _spool(self, request: Request, path: Path) -> None:
        try:
            with path.open("wb") as file:
                async with asyncio.timeout(self._bounds.upload_time):
                    async for part in self._parts(request, self._bounds.upload):
                        file.write(part)
        except TimeoutError:
            raise TooSlow(f"the upload took more than {seconds(self._bounds.upload_time)} to arrive") from None
        except OSError as error:
            raise StoreFull(f"the upload cannot be received: {error.strerror}") from None

    async def _body(self, request: Request, most: int) -> bytes:
        try:
            async with asyncio.timeout(self._bounds.patience):
                return b"".join([part async for part in self._parts(request, most)])
        except TimeoutError:
            raise TooSlow(f"the request took more than {seconds(self._bounds.patience)} to arrive") from None

    @staticmethod
    async def _parts(request: Request, most: int) -> AsyncIterator[bytes]:
        said = request.headers.get("content-length", "")
        if said.isdigit() and int(said) > most:
            raise LimitExceeded(f"expected at most {size(most)}, found {size(int(said))}")
        count = 0
        async for part in request.stream():
            count += len(part)
            if count > most:
                raise LimitExceeded(f"expected at most {size(most)}, found more")
            yield part


class TooSlow(IpvmError):
    """A client that took too long."""


_STATUS: Final[dict[type[IpvmError], int]] = {
    NotFound: 404,
    NotAllowed: 403,
    TooSlow: 408,
    LimitExceeded: 413,
    StoreFull: 507,
    BadInput: 400,
    IpvmError: 422,
}
_REASONS: Final = {403: "read only", 408: "too slow", 413: "too large", 507: "no room"}


def _checked(path: Path, keep: Callable[[Path], str]) -> str:
    """Look at every block of an archive, and then keep it."""
    with path.open("rb") as file:
        for _ in Archive(file):
            pass
    return printable(keep(path), limit=300)


def _named(request: Request, place: Callable[[CID], str]) -> CID:
    """Return the CID that a path is of, if it is the one path that it has."""
    name = str(request.path_params["file"])
    if not name.endswith(".car"):
        raise NotFound("what is here ends in .car")
    cid = CID.parse(name[:-4])
    if f"/{place(cid)}" != request.scope["path"]:
        raise NotFound(f"{cid} is at /{place(cid)}")
    return cid


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield pieces that a thread makes, small ones together."""

    def more() -> bytes:
        found: list[bytes] = []
        count = 0
        for piece in pieces:
            found.append(piece)
            count += len(piece)
            if count >= _GATHERED:
                break
        return b"".join(found)

    while piece := await asyncio.to_thread(more):
        yield piece
