"""A node from outside: start it, ask it, stop it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import IpvmError, NotFound, StoreBusy
from ipvm_kernel.node.place import Place, Word
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_STARTS_WITHIN: Final = 60.0
_DIES_WITHIN: Final = 0.25
_ANSWERS_WITHIN: Final = 10.0


class NodeSilent(IpvmError):
    """The node lives and does not answer."""


def start(home: Path, options: Sequence[str] = ()) -> Word:
    """Start a node in a process of its own, and return where it listens once it does.

    Args:
        home: The folder of the store.
        options: What `python -m ipvm_kernel.node` takes.

    Raises:
        StoreBusy: There is one already.
        IpvmError: It did not begin; the message is what it said.
    """
    place = Place(home)
    if place.alive():
        place.claim()  # says where it is
        place.release()
    place.token()
    with os.fdopen(os.open(place.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
        process = subprocess.Popen(  # noqa: S603 - this Python, this package
            [sys.executable, "-m", "ipvm_kernel.node", *options],
            env={**os.environ, "IPVM_HOME": str(home.absolute())},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _STARTS_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = place.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise IpvmError(f"the node did not begin: {printable(said[-1] if said else 'it said nothing', limit=500)}")
        try:
            there = place.find()
        except NotFound:
            time.sleep(0.02)
            continue
        if there.pid == process.pid:
            process.returncode = 0  # it is on its own from here: no warning that nobody waited for it
            return there
        process.wait(_STARTS_WITHIN)  # it finds the same, and ends
        raise StoreBusy(f"another node was faster: it is at {there.host}:{there.port} (process {there.pid})")
    raise IpvmError(f"the node did not begin within {_STARTS_WITHIN:g} s; see {place.log}")


def ask(home: Path, method: str, *params: str) -> Any:
    """Return what the node answers to a method.

    Raises:
        NotFound: No node runs on this store.
        NodeSilent: It does not answer.
    """
    place = Place(home)
    there = place.find()
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    headers = {"Authorization": f"Bearer {place.token()}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(there.host, there.port, timeout=_ANSWERS_WITHIN)
    try:
        connection.request("POST", "/", body, headers)
        response = connection.getresponse()
        text = response.read(16 * 2**20)
        told = json.loads(text) if response.status == http.client.OK else {"error": {"message": text.decode()}}
    except (OSError, http.client.HTTPException, ValueError) as error:
        time.sleep(_DIES_WITHIN if isinstance(error, ConnectionError) else 0)
        place.find()  # says so if it is gone: a process that was killed closes its socket a moment before its lock
        raise NodeSilent(
            f"the node at {there.host}:{there.port} (process {there.pid}) does not answer: {error}; see {place.log}"
        ) from None
    finally:
        connection.close()
    if "error" in told:
        raise IpvmError(f"the node refused {method}: {printable(str(told['error'].get('message')), limit=300)}")
    return told["result"]


def lives(home: Path) -> bool:
    """Return True if a node runs on this store."""
    return Place(home).alive()


def ping(home: Path) -> tuple[Word, float]:
    """Return the word of the node and the seconds that its answer took."""
    there = Place(home).find()
    began = time.perf_counter()
    ask(home, "health")
    return there, time.perf_counter() - began


def stop(home: Path, within: float = 30.0) -> Word:
    """Stop the node, and return what it was once it is gone. What it computed is on file.

    Raises:
        NotFound: No node runs on this store.
        NodeSilent: It did not end in time.
    """
    place = Place(home)
    there = place.find()
    ask(home, "stop")
    deadline = time.monotonic() + within
    while place.alive():
        if time.monotonic() > deadline:
            raise NodeSilent(f"process {there.pid} was told to stop and still runs after {within:g} s; see {place.log}")
        time.sleep(0.02)
    return there
