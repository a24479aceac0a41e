"""Compiled code kept between sessions: in a private folder, and checked before it is loaded.

Compiled code is native code: whoever can write it can do anything. So the folder belongs to the user alone (0700), every
entry carries a digest keyed with a secret of that folder, and nothing here is ever shared or fetched.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

KEEP_BYTES: Final = 2 << 30
"""Compiled code above this much in all is dropped, the least recently used first."""

_DIGEST_BYTES: Final = 32


class CodeCache:
    """Compiled modules and their interfaces, by name.

    An interface is one file, `NAME.face`. Code is two, since the engine maps it: `NAME.cwasm` and `NAME.mac`. What fails
    its check is dropped and made anew; nothing is lost.
    """

    def __init__(self, folder: Path | None) -> None:
        """Open a folder, made if need be; None, or a folder that cannot be used, gives one that ends with the process."""
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        try:
            if folder is None:
                raise PermissionError
            self._folder = folder
            self._prepare()
        except OSError:
            self._temporary = tempfile.TemporaryDirectory(prefix="ipvm-code-")
            self._folder = Path(self._temporary.name)
            self._prepare()

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = self._folder.stat()
        if status.st_uid != os.getuid():
            raise PermissionError(f"{self._folder} belongs to somebody else")
        if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            self._folder.chmod(0o700)
        secret = self._folder / "key"
        try:
            self._key = secret.read_bytes()
        except FileNotFoundError:
            self._key = b""
        if len(self._key) != _DIGEST_BYTES:
            _write(secret, secrets.token_bytes(_DIGEST_BYTES))
            self._key = secret.read_bytes()  # another process may have been first; both now read the same

    @property
    def folder(self) -> Path:
        """Where the entries are."""
        return self._folder

    def interface(self, name: str) -> bytes | None:
        """Return the text of a module's interface, or None."""
        data = _read(self._folder / f"{name}.face")
        if data is None or not hmac.compare_digest(data[:_DIGEST_BYTES], self._digest(name, data[_DIGEST_BYTES:])):
            return None
        return data[_DIGEST_BYTES:]

    def keep_interface(self, name: str, text: bytes) -> None:
        """Keep the text of a module's interface."""
        with contextlib.suppress(OSError):
            _write(self._folder / f"{name}.face", self._digest(name, text) + text)

    def code(self, name: str) -> Path | None:
        """Return the file of compiled code under a name, checked just now, or None."""
        code, mac = self._folder / f"{name}.cwasm", self._folder / f"{name}.mac"
        body, digest = _read(code), _read(mac)
        if body is None or digest is None:
            return None
        if not hmac.compare_digest(digest, self._digest(name, body)):
            self.drop(name)
            return None
        with contextlib.suppress(OSError):
            os.utime(mac)
        return code

    def keep_code(self, name: str, body: bytes) -> None:
        """Keep compiled code. A folder that cannot be written keeps nothing: the next session compiles again."""
        with contextlib.suppress(OSError):
            _write(self._folder / f"{name}.cwasm", body)
            _write(self._folder / f"{name}.mac", self._digest(name, body))
            self._shrink()

    def drop(self, name: str) -> None:
        """Forget compiled code."""
        for suffix in ("cwasm", "mac"):
            with contextlib.suppress(OSError):
                (self._folder / f"{name}.{suffix}").unlink(missing_ok=True)

    def _digest(self, name: str, body: bytes) -> bytes:
        return hmac.digest(self._key, name.encode() + b"\0" + body, "sha256")

    def _shrink(self) -> None:
        used = sorted((mac.stat().st_mtime, mac.stem) for mac in self._folder.glob("*.mac"))
        sizes = {path.stem: path.stat().st_size for path in self._folder.glob("*.cwasm")}
        total = sum(sizes.values())
        for _, name in used:
            if total <= KEEP_BYTES:
                break
            total -= sizes.get(name, 0)
            self.drop(name)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, for the user's eyes only."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
