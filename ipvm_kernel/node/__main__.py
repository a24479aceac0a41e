"""The process of a node: `python -m ipvm_kernel.node [--settings FILE] [--port N] [--open]`, on the store in `$IPVM_HOME`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import TYPE_CHECKING

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.node import settings as settings_
from ipvm_kernel.node.place import Place, Word

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """Serve until told to stop, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ipvm_kernel.node", description=__doc__)
    parser.add_argument("--settings", help="a TOML file")
    parser.add_argument("--port", type=int, help="the first port that is tried; 0 takes any")
    parser.add_argument("--open", action="store_true", help="serve clients of this machine that show no token")
    given = parser.parse_args(words)
    try:
        return run(given.settings, port=given.port, open_=given.open)
    except IpvmError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def run(settings: str | None = None, *, port: int | None = None, open_: bool = False) -> int:
    """Serve the default session until told to stop.

    Raises:
        StoreBusy: A node runs on this store already.
        BadInput: The settings are not what they should be.
    """
    web: dict[str, object] = {}
    if port is not None:
        web["port"] = port
    if open_:
        web["token"] = False
    chosen = settings_.load(settings, network={"webserver": web})
    from ipvm_kernel.session import Session, caps_from_environment, home_folder

    place = Place(home_folder())
    place.claim()
    try:
        from ipvm_kernel.node.server import Server

        with Session(home_folder(), limits=caps_from_environment()) as session:
            server = Server(session, chosen, place.token())
            server.join()  # what cannot be is said before the word is given
            place.tell(
                Word(
                    pid=os.getpid(),
                    host=server.host,
                    port=server.port,
                    started=time.time(),
                    version=server.service.version,
                    open=not chosen.network.webserver.token,
                )
            )
            print(f"ipvm node on {', '.join(server.service.addresses)}, store {session.store.where}", flush=True)
            server.serve()
            for notice in session.take_notices():
                print(notice, file=sys.stderr)
    finally:
        place.release()
    return 0


if __name__ == "__main__":
    sys.exit(main())
