"""A Kubo and a gateway that do as they are told: answer, say nothing, break off, lie. They listen on loopback."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from ipvm_kernel.exchange.dags import links
from ipvm_kernel.ipld import CID, Block, encode
from ipvm_kernel.ipld.bases import to_varint
from ipvm_kernel.ipld.unixfs import blocks

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

Mood = Literal["well", "silent", "slow", "dying", "lying", "busy", "huge", "garbage", "gone", "zipped"]
Archives = Literal[
    "well", "short", "hung", "dying", "lying", "busy", "junk", "endless", "portal", "shuffled", "repeated"
]

_BREATH: Final = 0.02


class Fake:
    """A server with blocks, which can be in any mood.

    Attributes:
        mood: What it does with the next requests.
        blocks: What it has, by CID.
        asked: The CIDs and paths that it was asked for, in order.
        failing: How many requests it still answers by `mood`; then it is well. None for all.
        archives: What the archives are like that it sends; None if it sends none.
        sent: How many blocks of an archive it sends before it is as `archives` says.
        says: What it answers to a call of Kubo's RPC, by path: status, body and headers, or None for nothing, ever. The
            body comes byte by byte if its mood is slow.
        heard: The bodies that came with such calls.
    """

    def __init__(self) -> None:
        self.mood: Mood = "well"
        self.archives: Archives | Literal[True] | None = None
        self.sent = 2
        self.says: dict[str, tuple[int, bytes, dict[str, str]] | None] = {}
        self.heard: list[bytes] = []
        self.failing: int | None = None
        self.blocks: dict[str, bytes] = {}
        self.pages: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.ended = threading.Event()

    def add(self, data: bytes) -> CID:
        """Have a file, and return its CID."""
        root = None
        for root, block in blocks(data):
            self.blocks[str(root)] = block
        assert root is not None
        return root

    def have(self, *blocks: Block) -> CID:
        """Have blocks, and return the CID of the last."""
        self.blocks |= {str(block.cid): block.data for block in blocks}
        return blocks[-1].cid

    def reach(self, root: str) -> list[tuple[CID, bytes]]:
        """Return what a root reaches, as far as it is here: in depth first, each once."""
        pending, found = [CID.parse(root)], dict[CID, bytes]()
        while pending:
            cid = pending.pop()
            data = cid.digest if cid.hash == "identity" else self.blocks.get(str(cid))
            if cid not in found and data is not None:
                found[cid] = data
                pending.extend(child for _, child in reversed(links(cid, data)))
        return [(cid, data) for cid, data in found.items() if cid.hash != "identity"]

    def take_mood(self) -> Mood:
        """Return the mood for one request."""
        if self.failing is None:
            return self.mood
        if self.failing > 0:
            self.failing -= 1
            return self.mood
        return "well"

    @contextlib.contextmanager
    def running(self, context: ssl.SSLContext | None = None) -> Iterator[str]:
        """Listen until the block ends, and give the address."""
        fake = self

        class Handler(_Handler):
            server_fake = fake

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        finally:
            self.ended.set()
            server.shutdown()
            server.server_close()
            thread.join()


def section(cid: CID, data: bytes) -> bytes:
    """Return a section of an archive (CARv1, "Data"), whatever its bytes are."""
    return to_varint(len(cid.bytes) + len(data)) + cid.bytes + data


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_fake: Fake
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
        pass

    def handle(self) -> None:
        """Answer until whoever asks hangs up, in whatever way."""
        with contextlib.suppress(ConnectionResetError):
            super().handle()

    def do_POST(self) -> None:
        """Answer as Kubo does."""
        parts = urlsplit(self.path)
        fields = parse_qs(parts.query)
        body = self._body()
        if parts.path in self.server_fake.says:
            self._say(self.server_fake.says[parts.path], body)
            return
        match parts.path:
            case "/api/v0/dag/export" if self.server_fake.archives:
                self._archive(fields["arg"][0])
            case "/api/v0/block/get":
                self._block(fields["arg"][0], kubo=True)
            case "/api/v0/block/put":
                data = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0]
                (codec,), (hashed,) = fields["cid-codec"], fields["mhtype"]
                cid = CID.of(data, codec, hashed)
                self.server_fake.blocks[str(cid)] = data
                self._send(200, json.dumps({"Key": str(cid), "Size": len(data)}).encode())
            case "/api/v0/version":
                self._send(200, b'{"Version":"0.43.0"}')
            case "/api/v0/id":
                self._send(200, b'{"ID":"12D3KooWFake"}')
            case _:
                self._send(404, b"404 page not found")

    def do_GET(self) -> None:
        """Answer as a trustless gateway does, or with a page."""
        fake = self.server_fake
        path = unquote(urlsplit(self.path).path)
        if path in fake.pages:
            fake.asked.append(path)
            fake.headers.append(dict(self.headers.items()))
            status, headers, body = fake.pages[path]
            self._send(status, body, headers)
        elif path.startswith("/ipfs/") and "format=car" in self.path:
            if fake.archives:
                self._archive(path[6:])
            else:
                self._send(400, b"no archives here")
        elif path.startswith("/ipfs/"):
            self._block(path[6:], kubo=False)
        else:
            self._send(404, b"404 page not found")

    def _block(self, cid: str, *, kubo: bool) -> None:
        fake = self.server_fake
        fake.asked.append(cid)
        fake.headers.append(dict(self.headers.items()))
        data = fake.blocks.get(cid)
        mood = fake.take_mood()
        if mood == "silent":
            fake.ended.wait(60)
            self.close_connection = True
        elif mood == "gone":
            self.close_connection = True
        elif mood == "busy":
            self._send(503, b"come back later")
        elif mood == "garbage":
            self.wfile.write(b"\x00\xff not HTTP at all\r\n\r\n")
            self.close_connection = True
        elif data is None:
            missing = b'{"Message":"block was not found locally (offline): ipld: could not find ","Code":0}'
            self._send(500 if kubo else 404, missing)
        elif mood == "lying":
            self._send(200, data[:-1] + bytes([data[-1] ^ 1]))
        elif mood == "huge":
            self._send(200, b"\0" * (3 << 20))
        elif mood == "zipped":
            self._send(200, data, {"Content-Encoding": "gzip"})
        elif mood == "dying":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif mood == "slow":
            self._slowly(data)
        else:
            self._send(200, data)

    def _say(self, answer: tuple[int, bytes, dict[str, str]] | None, heard: bytes) -> None:
        fake = self.server_fake
        fake.heard.append(heard)
        fake.headers.append(dict(self.headers.items()))
        if answer is None:
            fake.ended.wait(60)
            self.close_connection = True
        elif fake.mood == "slow":
            self._slowly(answer[1])
        else:
            self._send(*answer)

    def _slowly(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(OSError):
            for byte in data:
                self.wfile.write(bytes([byte]))
                time.sleep(_BREATH)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while count := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(count))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _archive(self, cid: str) -> None:
        fake = self.server_fake
        fake.asked.append(f"car {cid}")
        fake.headers.append(dict(self.headers.items()))
        found, mood = fake.reach(cid), fake.archives
        if mood == "busy":
            self._send(503, b"come back later")
        elif mood == "portal":
            self._send(200, b"<!doctype html><title>Welcome</title>")
        elif not found:
            self._send(404, b"not found")
        else:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            with contextlib.suppress(OSError):
                for piece in self._sections(CID.parse(cid), found, mood):
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                if mood == "dying":
                    self.close_connection = True
                else:
                    self.wfile.write(b"0\r\n\r\n")

    def _sections(self, root: CID, found: list[tuple[CID, bytes]], mood: object) -> Iterator[bytes]:
        """Yield an archive of what was found, which is as the mood is."""
        fake = self.server_fake
        head = encode({"roots": [root], "version": 1})
        yield to_varint(len(head)) + head
        if mood == "shuffled":
            found.reverse()
        for at, (cid, data) in enumerate(found):
            if at == fake.sent and mood in {"short", "dying"}:
                return
            if at == fake.sent and mood == "hung":
                fake.ended.wait(60)
                return
            if at == fake.sent and mood == "lying":
                data = data[:-1] + bytes([data[-1] ^ 1])  # noqa: PLW2901 - what is sent instead
            if at == fake.sent and mood in {"junk", "endless"}:
                for number in itertools.count():
                    other = Block.raw(number.to_bytes(8) * 131_072)
                    yield section(other.cid, other.data)
                    if number == 8 and mood == "junk":
                        break
            for _ in range(3 if mood == "repeated" else 1):
                yield section(cid, data)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
