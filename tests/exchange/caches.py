"""For tests of caches: receipts of no particular meaning, what keeps an archive of them, and a server that lies."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.car import Archive, parts
from ipvm_kernel.ipld.unixfs import blocks, file_cid, read
from ipvm_kernel.model import Invocation, Receipt
from ipvm_kernel.store import Entry, Filing
from ipvm_kernel.testing.samples import filing, task
from ipvm_kernel.trust.attestation import attest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ipvm_kernel.store import Store
    from ipvm_kernel.trust.keys import Key


def many(count: int, first: int = 0) -> list[Filing]:
    """Return receipts for tasks of different arguments."""
    return [filing(task(number), number * 2) for number in range(first, first + count)]


def instructions(filings: Iterable[Filing]) -> list[CID]:
    """Return what they answer."""
    return [one.task.run.cid for one in filings]


def signed(one: Filing, key: Key) -> Block:
    """Return a statement about a receipt."""
    return attest(key, receipt=one.receipt.cid, instruction=one.task.run.cid, engine="ipvm 0", features=(), now=1.0)


def blocks_of(filings: Iterable[Filing], statements: Iterable[Block] = ()) -> list[Block]:
    """Return the blocks of an answer: each receipt, its invocation, the statements."""
    found = [block for one in filings for block in (one.receipt.block, one.task.invocation.block)]
    return [*found, *statements]


def car(roots: Sequence[CID], found: Iterable[Block]) -> bytes:
    """Return an archive."""
    return b"".join(parts(roots, [(block.cid, block.data) for block in found]))


def archive(filings: Sequence[Filing], statements: Iterable[Block] = (), files: Iterable[bytes] = ()) -> bytes:
    """Return what a writer gives: receipts, what belongs to them, and files with their trees."""
    trees = [Block(cid, bytes(data)) for file in files for cid, data in blocks(file)]
    return car([one.receipt.cid for one in filings], [*blocks_of(filings, statements), *trees])


def keeping(store: Store) -> Callable[[Path], str]:
    """Return what keeps an archive in a store, as one of the lab's own."""

    def keep(path: Path) -> str:
        with path.open("rb") as file:
            opened = Archive(file)
            found = {piece.cid: piece.data for piece in opened}
        for root in opened.roots:
            receipt = Receipt.from_block(Block(root, found[root]))
            ran = Invocation.from_block(Block(receipt.ran, found[receipt.ran])).task
            entry = Entry(instruction=ran.run.cid, func=ran.run.func, rsc=ran.run.rsc, how="loaded", receipt=root)
            store.file(Filing(ran, receipt, None, entry, own=False))
            for cid, data in found.items():
                if cid.hash == "sha2-256" and cid.codec == "dag-cbor" and root.bytes in data:
                    store.attest(root, Block(cid, data))
        for cid in found:
            if cid.codec in {"raw", "dag-pb"}:
                with contextlib.suppress(KeyError):
                    data = b"".join(read(cid, found.__getitem__, max_bytes=1 << 30))
                    if file_cid(data) == cid:
                        store.put_file(data, "input")
        store.sync()
        return f"{len(opened.roots)} receipts"

    return keep


@contextlib.contextmanager
def files_over_http(folder: Path) -> Iterator[str]:
    """Serve a folder as any server of files does, and give its address."""

    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Liar:
    """A server that reads a request and then does with the connection whatever it was told to do.

    Attributes:
        asked: The first line of each request.
        heads: The head of each request.
        ended: Set when the test is over; whoever goes on for ever stops then.
    """

    def __init__(self, behave: Callable[[Liar, socket.socket], object]) -> None:
        self.behave = behave
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.ended = threading.Event()
        self.busy = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Listen until the block ends, and give the address."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=self._accept, args=(server,), daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.getsockname()[1]}"
            finally:
                self.ended.set()
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                thread.join()

    def _accept(self, server: socket.socket) -> None:
        threads = []
        with contextlib.suppress(OSError):
            while True:
                line = server.accept()[0]
                threads.append(threading.Thread(target=self._serve, args=(line,), daemon=True))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve(self, line: socket.socket) -> None:
        self.busy += 1
        with line, contextlib.suppress(OSError):
            line.settimeout(10)
            data = b""
            while b"\r\n\r\n" not in data:
                got = line.recv(65_536)
                if not got:
                    return
                data += got
            head, _, body = data.partition(b"\r\n\r\n")
            text = head.decode("latin-1")
            length = next((int(row[15:]) for row in text.lower().split("\r\n") if row.startswith("content-length:")), 0)
            while len(body) < length:
                body += line.recv(65_536)
            self.asked.append(text.split("\r\n", 1)[0])
            self.heads.append(text)
            self.behave(self, line)
        self.busy -= 1


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return an answer of HTTP."""
    rows = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body) if length is None else length}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*rows, "", ""]).encode("latin-1") + body


def chunked(line: socket.socket, pieces: Iterable[bytes], pause: float = 0.0) -> None:
    """Send an answer in chunks, with a pause after each."""
    line.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/vnd.ipld.car\r\n\r\n")
    for piece in pieces:
        line.sendall(b"%x\r\n" % len(piece) + piece + b"\r\n")
        if pause:
            time.sleep(pause)
    line.sendall(b"0\r\n\r\n")


def reset(line: socket.socket) -> None:
    """End a connection by a reset (RST)."""
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    line.close()


def sections(liar: Liar, together: int, size: int) -> Iterator[bytes]:
    """Yield blocks of an archive that nobody asked for, without end: so many together, of about so many bytes."""
    empty = len(b"".join(parts([], [])))
    for number in itertools.count():
        if liar.ended.is_set():
            return
        made = [Block.raw((number * together + at).to_bytes(8, "big") + bytes(size)) for at in range(together)]
        yield b"".join(parts([], [(block.cid, block.data) for block in made]))[empty:]
