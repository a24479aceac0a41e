"""The policy: receipts of one's own, and of peers that the user trusts. Everything else is shown, and never used.

It is one small file beside the store, written whole and renamed, so that several kernels may read it at any time.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.errors import BadInput, Malformed, StoreReadOnly
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PEER: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{40,64}\Z")  # base58btc, as libp2p writes a peer's id
_MOST: Final = 10_000


class Trusted(msgspec.Struct, frozen=True):
    """A peer that is trusted.

    Attributes:
        since: Since when, in seconds since 1970. What it sent before counts too.
    """

    since: float


class _File(msgspec.Struct, forbid_unknown_fields=True):
    peers: dict[str, Trusted] = msgspec.field(default_factory=dict)


class Policy:
    """Who is trusted.

    Args:
        path: The file; None for a policy that ends with the session.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._own = _File()
        self._lock = threading.Lock()
        self._read: tuple[int, _File] | None = None

    @property
    def peers(self) -> Mapping[str, Trusted]:
        """The peers that are trusted, by id.

        Raises:
            Malformed: The file is not what was written: nobody is trusted until it is mended.
        """
        return self._load().peers

    def trusts(self, peer: str) -> bool:
        """Return True if the receipts that a peer signed or gave may be used."""
        return peer in self.peers

    def trust(self, peer: str) -> bool:
        """Trust a peer, and return True if it was not trusted before.

        Raises:
            BadInput: This is no peer's id.
            StoreReadOnly: The file cannot be written.
        """
        if not _PEER.match(peer):
            raise BadInput(
                f"expected the id of a peer, such as 12D3KooW…, found {printable(peer, limit=80)!r}. %ipvm peer lists those "
                "that are connected"
            )
        with self._lock:
            made = self._load()
            if peer in made.peers:
                return False
            if len(made.peers) >= _MOST:
                raise BadInput(f"{_MOST:,} peers are trusted already: take some away with --remove")
            self._save({**made.peers, peer: Trusted(time.time())})
            return True

    def distrust(self, peer: str) -> bool:
        """Trust a peer no longer, and return True if it was trusted. What it gave before stays as it is."""
        with self._lock:
            rest = dict(self._load().peers)
            if rest.pop(peer, None) is None:
                return False
            self._save(rest)
            return True

    def _load(self) -> _File:
        if self._path is None:
            return self._own
        try:
            stamp = self._path.stat().st_mtime_ns
            if self._read is None or self._read[0] != stamp:
                found: Any = json.loads(self._path.read_bytes())
                self._read = (stamp, msgspec.convert(found, _File))
        except FileNotFoundError:
            return _File()
        except (OSError, ValueError) as error:
            raise Malformed(
                f"{self._path} cannot be read: {printable(str(error), limit=200)}. It says who is trusted: mend or remove it"
            ) from None
        return self._read[1]

    def _save(self, peers: dict[str, Trusted]) -> None:
        if self._path is None:
            self._own = _File(peers)
            return
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(json.dumps(msgspec.to_builtins(_File(peers)), indent=1).encode())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise StoreReadOnly(f"{self._path} cannot be written: {error.strerror}") from None
        self._read = None
