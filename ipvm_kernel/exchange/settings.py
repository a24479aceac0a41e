"""Where content may be fetched from, and within which bounds: environment variables, and what holds without them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from ipvm_kernel.errors import BadInput
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

KUBO: Final = "http://127.0.0.1:5001"
"""Where Kubo's RPC listens unless its configuration says otherwise."""


class Settings(msgspec.Struct, frozen=True):
    """Where content may be fetched from, and within which bounds.

    Attributes:
        kubo: The address of Kubo's RPC, or "" for none.
        gateway: The address of a trustless gateway, or "" for none.
        seconds: How long one fetch may take in all.
        max_bytes: How large a file may be.
        pause: Seconds before a request is made again; twice as long each time.
    """

    kubo: str = ""
    gateway: str = ""
    seconds: float = 60.0
    max_bytes: int = 1 << 30
    pause: float = 0.25


def from_environment(variables: Mapping[str, str] | None = None) -> Settings:
    """Return what the environment says.

    `IPVM_KUBO_API` is the address of Kubo's RPC, or `off`; without it `IPFS_API`, which other programs know too; without
    that the one in `$IPFS_PATH/api` (`~/.ipfs/api`), which a running Kubo writes, else 127.0.0.1:5001. The first two are a
    URL or a multiaddr (`/ip4/127.0.0.1/tcp/5001`). `IPVM_GATEWAY` is a trustless gateway; there is none without it.
    `IPVM_FETCH_SECONDS` and `IPVM_FETCH_BYTES` bound one fetch.

    Raises:
        BadInput: One of them is not what it should be.
    """
    found = os.environ if variables is None else variables
    named = next((name for name in ("IPVM_KUBO_API", "IPFS_API") if found.get(name, "").strip()), "")
    return Settings(
        kubo=_address(named, _from_multiaddr(found[named]) or found[named]) if named else _running_kubo(found),
        gateway=_address("IPVM_GATEWAY", found.get("IPVM_GATEWAY", "")),
        seconds=_number("IPVM_FETCH_SECONDS", found, Settings().seconds),
        max_bytes=int(_number("IPVM_FETCH_BYTES", found, Settings().max_bytes)),
    )


def _running_kubo(found: Mapping[str, str]) -> str:
    """Return what a running Kubo says in its folder: `/ip4/127.0.0.1/tcp/5001`."""
    folder = Path(found.get("IPFS_PATH") or "~/.ipfs").expanduser()
    try:
        with (folder / "api").open(encoding="utf-8") as file:
            text = file.read(200).strip()
    except (OSError, UnicodeDecodeError):
        return KUBO
    return _from_multiaddr(text) or KUBO


def _from_multiaddr(text: str) -> str:
    """Return the URL that a multiaddr means, or "" if it is none of HTTP.

    >>> _from_multiaddr("/ip4/127.0.0.1/tcp/5001"), _from_multiaddr("/dns/kubo.example/tcp/443/https")
    ('http://127.0.0.1:5001', 'https://kubo.example:443')
    """
    match = re.fullmatch(r"/(ip4|ip6|dns|dns4|dns6)/([0-9a-zA-Z.:-]+)/tcp/(\d{1,5})(?:/(https?))?/?", text.strip())
    if match is None:
        return ""
    host = f"[{match[2]}]" if match[1] == "ip6" else match[2]
    return f"{match[4] or 'http'}://{host}:{match[3]}"


def _address(name: str, text: str) -> str:
    text = text.strip().rstrip("/")
    if text.lower() in {"", "off", "none"}:
        return ""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not parts.query
    except ValueError:
        good = False
    if not good:
        raise BadInput(f"${name} is {printable(text, limit=200)!r}: expected http://HOST:PORT, https://HOST, or off")
    return text


def _number(name: str, found: Mapping[str, str], default: float) -> float:
    text = found.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise BadInput(f"${name} is {printable(text, limit=60)!r}: expected a number above 0")
    return value
