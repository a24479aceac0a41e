"""Who this machine is among peers: an Ed25519 key in a file for its user's eyes alone."""

from __future__ import annotations

import fcntl
import os
import secrets
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

_BYTES = 32  # of a seed, RFC 8032


class Identity:
    """A key, which one process at a time has: two peers of one name would take each other's messages.

    Args:
        folder: Where the key is kept; None makes one that is forgotten.

    Attributes:
        seed: The secret, 32 bytes.
        kept: True if it is the one in the folder; False for one that is forgotten at the end of the process, as when
            another process has the folder's.
    """

    def __init__(self, folder: Path | None) -> None:
        self._held: int | None = None
        self.seed = secrets.token_bytes(_BYTES)
        self.kept = False
        if folder is None:
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(folder / "peer.key", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            return
        self._held, self.kept = held, True
        os.fchmod(held, 0o600)
        found = os.pread(held, _BYTES, 0)
        if len(found) == _BYTES:
            self.seed = found
        else:
            os.pwrite(held, self.seed, 0)
            os.fsync(held)

    def close(self) -> None:
        """Let another process have the key."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
