"""Where a node leaves word of itself: a folder beside the store, for its user's eyes alone.

`lock` is held while the node lives, by the system: it is free the moment its process ends, however it ends. `token` is the
secret of its clients, `node.json` says where it listens, `log` what it printed.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.errors import NotFound, StoreBusy

if TYPE_CHECKING:
    from pathlib import Path

_TRIES: Final = 4


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What a node says of itself.

    Attributes:
        pid: Its process.
        host: Where it listens.
        port: Its port.
        started: Since when, in seconds since 1970.
        version: Its version of ipvm.
        open: True if it asks for no token.
    """

    pid: int
    host: str
    port: int
    started: float
    version: str
    open: bool = False


class Place:
    """The folder of a node, made if need be.

    Args:
        home: The folder of the store.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / "node"
        self._held: int | None = None

    @property
    def log(self) -> Path:
        """What the node printed."""
        return self.folder / "log"

    @property
    def key(self) -> Path:
        """The key that names the node among its peers."""
        return self.folder / "key"

    def token(self) -> str:
        """Return the token of this node's clients, made when it is first asked for."""
        path = self._make() / "token"
        try:
            made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
            token = path.read_text(encoding="ascii").strip()
            if token:
                return token
            path.unlink()
            return self.token()
        with os.fdopen(made, "w", encoding="ascii") as file:
            token = secrets.token_urlsafe(32)
            file.write(token)
        return token

    def claim(self) -> None:
        """Become the node of this folder, until `release` or the end of the process.

        Raises:
            StoreBusy: There is one already; the message says where.
        """
        held = os.open(self._make() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for rest in range(_TRIES, -1, -1):
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if rest:
                    time.sleep(0.05)  # somebody may only be looking whether a node lives
                    continue
            os.close(held)
            there = self._read()
            where = f"at {there.host}:{there.port} (process {there.pid})" if there is not None else "starting just now"
            raise StoreBusy(
                f"expected no node on {self.folder.parent}, found one {where}. Use it, or stop it with: ipvm node stop"
            ) from None
        self._held = held
        (self.folder / "node.json").unlink(missing_ok=True)  # of a node that could not take its leave

    def tell(self, word: Word) -> None:
        """Leave word of the node."""
        fresh = self.folder / f"node.json.{os.getpid()}"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(msgspec.to_builtins(word), file)
        fresh.replace(self.folder / "node.json")

    def release(self) -> None:
        """Take the word back and let the next node come."""
        if self._held is not None:
            (self.folder / "node.json").unlink(missing_ok=True)
            os.close(self._held)
            self._held = None

    def alive(self) -> bool:
        """Return True if a node lives here."""
        try:
            held = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(held)

    def find(self) -> Word:
        """Return the word of the node that lives here.

        Raises:
            NotFound: None does.
        """
        there = self._read() if self.alive() else None
        if there is None:
            raise NotFound(f"no node runs on {self.folder.parent}. Start one with: ipvm node start")
        return there

    def _read(self) -> Word | None:
        try:
            found: Any = json.loads((self.folder / "node.json").read_bytes())
            return msgspec.convert(found, Word)
        except (OSError, ValueError):
            return None

    def _make(self) -> Path:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.folder.stat().st_mode & 0o077:
            self.folder.chmod(0o700)
        return self.folder
