"""A server of uvicorn's on sockets that listen already: run here until the process is told to end, or in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    import uvicorn


class Background:
    """A server in a thread of its own.

    Args:
        server: What is served.
        sockets: Where it listens.
        name: How the thread is called.
    """

    def __init__(self, server: uvicorn.Server, sockets: Sequence[socket.socket], name: str) -> None:
        self._server, self._sockets = server, list(sockets)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._failed: BaseException | None = None

    def start(self) -> None:
        """Start it, and return when it answers. What it fails with before that is raised here."""
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            self._thread.join(0.005)
        if self._failed is not None:
            raise self._failed

    def join(self, seconds: float) -> None:
        """Wait for its end, if it was started, for so long."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=self._sockets))
        except BaseException as error:  # noqa: BLE001 - raised by whoever started it
            self._failed = error


@contextlib.contextmanager
def told_to_end() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end uvicorn and nothing else, while this lasts.

    Uvicorn raises a signal again when it is done; then there is a store to be closed.
    """
    main = threading.current_thread() is threading.main_thread()  # nobody else may say what a signal does
    before = {one: signal.signal(one, _heard) for one in (signal.SIGINT, signal.SIGTERM) if main}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _heard(_signal: int, _frame: object) -> None:
    """Do nothing."""
