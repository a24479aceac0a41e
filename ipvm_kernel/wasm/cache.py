"""Compiled code kept between sessions: in a private folder, and checked before it is loaded.

Compiled code is native code: whoever can write it can do anything. So the folder belongs to the user alone (0700), every
entry carries a digest keyed with a secret of that folder, and nothing here is ever shared or fetched.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import shutil
import stat
import tempfile
import time
import weakref
from pathlib import Path
from typing import Final

KEEP_BYTES: Final = 2 << 30
"""Compiled code above this much in all is dropped, the least recently used first."""

_DIGEST_BYTES: Final = 32
_UNFINISHED: Final = ".new-"
_DAY: Final = 86_400.0


class CodeCache:
    """Compiled modules and their interfaces, by name.

    An interface is one file, `NAME.face`. Code is two, since the engine maps it: `NAME.cwasm` and `NAME.mac`. What fails
    its check is dropped and made anew; nothing is lost.
    """

    def __init__(self, folder: Path | None) -> None:
        """Open a folder, made if need be; None, or a folder that cannot be used, gives one that ends with the process."""
        try:
            if folder is None:
                raise PermissionError
            self._folder = folder
            self._key = _prepare(folder)
        except OSError:
            self._folder = Path(tempfile.mkdtemp(prefix="ipvm-code-"))
            weakref.finalize(self, _discard, self._folder, os.getpid())
            self._key = _prepare(self._folder)

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
        digest = hmac.new(self._key, name.encode() + b"\0", "sha256")
        digest.update(body)
        return digest.digest()

    def _shrink(self) -> None:
        """Drop what was used least recently, and what a process left behind that died while it wrote."""
        used = {path.stem: (path.stat().st_mtime, path.stat().st_size) for path in self._folder.glob("*.cwasm")}
        for mac in self._folder.glob("*.mac"):
            if mac.stem in used:
                used[mac.stem] = (mac.stat().st_mtime, used[mac.stem][1])
        total = sum(length for _, length in used.values())
        for name in sorted(used, key=lambda name: used[name]):
            if total <= KEEP_BYTES:
                break
            total -= used[name][1]
            self.drop(name)
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            if path.stat().st_mtime < time.time() - _DAY:
                path.unlink(missing_ok=True)


def _prepare(folder: Path) -> bytes:
    """Make a folder private, and return the secret that its digests are keyed with.

    Raises:
        OSError: It is somebody else's, or cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        folder.chmod(0o700)
    secret = folder / "key"
    key = _read(secret)
    if key is not None and len(key) != _DIGEST_BYTES:
        secret.unlink(missing_ok=True)
        key = None
    if key is None:
        _write(secret, secrets.token_bytes(_DIGEST_BYTES), fresh=True)
        key = secret.read_bytes()  # another process may have been first; both now read the same
    return key


def _discard(folder: Path, pid: int) -> None:
    """Remove a temporary folder, unless this is a fork of the process whose it is."""
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(path: Path, data: bytes, *, fresh: bool = False) -> None:
    """Write a file that is there whole or not at all, for the user's eyes only; a `fresh` one unless there is one already."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=_UNFINISHED)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if fresh:
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
        else:
            Path(name).replace(path)
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink()
