"""The other programs that tests meet: where each one is, how to get it, and whether a missing one is a failure.

A test says `needs("kubo")` and is given the path. Where the program is missing, the test is skipped and says how to get
it; but if `IPVM_REQUIRE` is `all`, or a list that names it (`zig,kubo`), the test fails. `.ci/run` requires all, so that
nothing is ever green because it was not there.

A path of your own goes into `IPVM_` and the name: `IPVM_CHROMIUM=/opt/chrome`, `IPVM_WASM_TOOLS=...`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


def on_path(*names: str) -> Path | None:
    """Return the first of these programs that the shell or this environment has."""
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return next((Path(found) for name in names if (found := shutil.which(name, path=folders))), None)


def in_package(module: str, inner: str = "") -> Path | None:
    """Return the place of a file that an installed Python package brings along, or of the package itself."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    place = Path(spec.origin).parent / inner if inner else Path(spec.origin)
    return place if place.exists() else None


@dataclass(frozen=True)
class Peer:
    """A program or a set of files: how it is looked for, and the sentence that says how to get it."""

    find: Callable[[], Path | None]
    how: str


PEERS: Final = {
    "axe": Peer(
        lambda: None,
        "Run: npm install axe-core; the file is node_modules/axe-core/axe.min.js. It finds what keeps people out.",
    ),
    "chromium": Peer(
        partial(on_path, "chromium", "chromium-browser", "google-chrome", "chrome"),
        "On Debian: apt-get install chromium fonts-dejavu-core.",
    ),
    "homestar": Peer(
        partial(on_path, "homestar-native"),  # npm's `homestar` is a wrapper: stopping it would not stop the node
        "Run: npm install homestar-runtime@0.3.0; the program is node_modules/homestar-linux-x64/bin/homestar.",
    ),
    "homestar-js": Peer(
        lambda: None,
        "Run: npm install --ignore-scripts @fission-codes/homestar@2.4.0; its folder is the one with node_modules.",
    ),
    "kubo": Peer(partial(on_path, "ipfs"), "`.ci/run` builds the version that the tests were written for."),
    "zig": Peer(partial(in_package, "ziglang", "zig"), "Run: pip install 'ipvm[build]'."),
    "wasm-tools": Peer(partial(on_path, "wasm-tools"), "Run: pip install 'ipvm[build]'."),
    "cbrrr": Peer(partial(in_package, "cbrrr"), "Run: pip install 'ipvm[fast]'; it needs a C compiler."),
    "ipfshttpclient": Peer(partial(in_package, "ipfshttpclient"), "Run: pip install 'ipvm[ipfs]'."),
    "libp2p": Peer(
        partial(in_package, "libp2p"), "Run: pip install 'ipvm[p2p]'; it needs a C compiler and GMP (libgmp-dev)."
    ),
    "vectors": Peer(lambda: None, "Test vectors of the IPLD and Homestar projects, in folders `ipld` and `homestar`."),
}


def variable(name: str) -> str:
    """Return the environment variable that holds a peer's path.

    >>> variable("wasm-tools")
    'IPVM_WASM_TOOLS'
    """
    return "IPVM_" + name.upper().replace("-", "_")


def required(name: str) -> bool:
    """Return whether the absence of this peer is a failure here."""
    asked = {word.strip() for word in os.environ.get("IPVM_REQUIRE", "").split(",")} - {""}
    if unknown := asked - PEERS.keys() - {"all"}:
        raise pytest.UsageError(f"IPVM_REQUIRE names {sorted(unknown)}; it is 'all' or a list of {sorted(PEERS)}.")
    return bool(asked & {"all", name})


def missing(name: str, why: str) -> NoReturn:
    """End the test: a failure where the peer is required, a skip with the same words elsewhere."""
    message = f"{name} is not here: {why}"
    if required(name):
        pytest.fail(f"{message} (IPVM_REQUIRE={os.environ['IPVM_REQUIRE']})", pytrace=False)
    pytest.skip(message)


def needs(name: str) -> Path:
    """Return where a peer is, or end the test."""
    peer = PEERS[name]
    given = os.environ.get(variable(name))
    if given:
        if not Path(given).exists():
            pytest.fail(f"{variable(name)} is {given!r}, and there is nothing. Correct or unset it.", pytrace=False)
        return Path(given).resolve()
    return peer.find() or missing(name, f"{peer.how} Or set {variable(name)} to its path.")
