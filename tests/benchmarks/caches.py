"""Caches: what a lab's cache knows of a workflow of 1,000 tasks, in one question on loopback."""

from __future__ import annotations

import contextlib
import http.client
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.measure import Benchmark, Line, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TASKS: Final = 1000
_TIMES: Final = 5


@contextlib.contextmanager
def _served(folder: str) -> Iterator[tuple[str, list[object], bytes]]:
    """Give the address of a cache in a thread of its own, the instructions, and the bytes of the whole answer."""
    from ipvm_kernel.node.cache import CacheServer
    from ipvm_kernel.store.sqlite import SqliteStore
    from ipvm_kernel.trust.keys import Key
    from tests.exchange.caches import archive, instructions, many, signed

    key, filings = Key.fresh(), many(_TASKS)
    with tempfile.TemporaryDirectory(dir=folder) as empty:
        store = SqliteStore(Path(empty) / "store")
        statements = [signed(one, key) for one in filings]
        for one, statement in zip(filings, statements, strict=True):
            store.file(one)
            store.attest(one.receipt.cid, statement)
        store.sync()
        with CacheServer(store, port=0) as server:
            yield server.address, list(instructions(filings)), archive(filings, statements)
        store.close()


def asked(folder: str) -> Series:
    """Ask about 1,000 instructions at once: receipts, invocations and one signed statement of each, all checked."""
    from ipvm_kernel.exchange.caches.web import HttpCache
    from ipvm_kernel.exchange.http import Deadline

    with _served(folder) as (address, wanted, _):
        cache = HttpCache(address)

        def ask() -> None:
            found = cache.answers(wanted, Deadline(30))  # type: ignore[arg-type]
            assert len(found) == _TASKS
            assert all(len(one.attestations) == 1 for one in found)

        taken = _timed(ask)
        cache.close()
    return {"ipvm": taken}


def a_folder(folder: str) -> Series:
    """Look up the same in a folder, one file an instruction."""
    from ipvm_kernel.exchange.caches.folder import FolderCache
    from ipvm_kernel.exchange.http import Deadline
    from tests.exchange.caches import archive, instructions, many

    filings = many(_TASKS)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        cache = FolderCache(place, write=True)
        cache.give([archive(filings)], Deadline(60))
        wanted = instructions(filings)

        def ask() -> None:
            assert len(cache.answers(wanted, Deadline(30))) == _TASKS

        return {"a folder": _timed(ask)}


def plain_get(folder: str) -> Series:
    """GET the bytes of that answer from a server that has them in memory; nothing is looked up and nothing checked."""
    import threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    with _served(folder) as (_, _, whole):

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                self.wfile.write(whole)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the parent's name
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        line = http.client.HTTPConnection("127.0.0.1", server.server_port)

        def get() -> None:
            line.request("GET", "/")
            assert len(line.getresponse().read()) == len(whole)

        taken = _timed(get)
        line.close()
        server.shutdown()
        server.server_close()
        thread.join()
    return {"plain GET": taken}


def _timed(work: Callable[[], None]) -> float:
    work()
    taken = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


BENCHMARKS = [
    Benchmark(
        name="caches",
        samples=(asked, a_folder, plain_get),
        lines=(
            Line(work="ask a lab's cache about 1,000 tasks, one round trip", peers=("plain GET",)),
            Line(work="  in a folder, a file a task", ours="a folder", peers=("plain GET",)),
        ),
    ),
]
