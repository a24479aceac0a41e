"""Small files beside the store: written whole, by one process at a time, and for their user's eyes alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import LimitExceeded, NotAllowed, StoreBusy, StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE: Final = 10.0  # seconds: a change takes milliseconds
_PRIVATE: Final = 0o600


@contextlib.contextmanager
def changing(path: Path) -> Iterator[None]:
    """Keep every other process and thread from changing a file for the length of the block; readers go on.

    The lock is on a file beside it, since the file itself is replaced by each change. The system lets go of it when the
    process ends.

    Raises:
        StoreBusy: Somebody else holds it, and did not let go within 10 seconds.
        StoreReadOnly: The folder cannot be written.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _PRIVATE)
    except OSError as error:
        raise StoreReadOnly(f"{lock} cannot be written: {error.strerror}") from None
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise StoreBusy(
                        f"another process has been changing {path} for {_PATIENCE:.0f} s: try again"
                    ) from None
                time.sleep(0.002)
            except OSError as error:
                raise StoreReadOnly(f"{lock} cannot be locked: {error.strerror}") from None
        yield
    finally:
        os.close(held)


def write(path: Path, data: bytes) -> None:
    """Put a file in the place of the one that is there, durably. To be called inside `changing`.

    Its time of change is later than that of the file before it, so that a reader who compares times misses none.

    Raises:
        StoreReadOnly: It cannot be written.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)  # of a process that ended half way
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE), "wb") as file:
            os.fchmod(file.fileno(), _PRIVATE)  # whatever the umask took
            file.write(data)
            file.flush()
            with contextlib.suppress(FileNotFoundError):
                before = path.stat(follow_symlinks=False).st_mtime_ns
                if os.fstat(file.fileno()).st_mtime_ns <= before:
                    os.utime(file.fileno(), ns=(before + 1, before + 1))
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreReadOnly(f"{path} cannot be written: {error.strerror}") from None


def read(path: Path, *, most: int, secret: bool) -> bytes | None:
    """Return what a file holds, or None if there is none.

    Args:
        path: The file.
        most: Bytes that it may have.
        secret: Whether it is refused if anybody but its user can read it.

    Raises:
        NotAllowed: It is a link, no file, another user's, or open to others.
        LimitExceeded: It has more bytes.
        StoreReadOnly: It cannot be read.
    """
    try:
        # Not blocking, so that a pipe that somebody put there holds up nobody.
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if secret else 0))
    except FileNotFoundError:
        return None
    except OSError as error:
        if path.is_symlink() and secret:
            raise NotAllowed(
                f"Expected a file at {path}, found a link. Put the file there, or remove the link."
            ) from None
        raise StoreReadOnly(f"{path} cannot be read: {error.strerror}") from None
    try:
        state = os.fstat(opened)
        if not stat.S_ISREG(state.st_mode):
            raise NotAllowed(f"Expected a file at {path}, found something else. Remove it.")
        if state.st_uid not in (os.geteuid(), 0):
            raise NotAllowed(f"Expected {path} to be yours, found that user {state.st_uid} owns it. Remove it.")
        if state.st_mode & (0o077 if secret else 0o002):
            who = "read by you alone" if secret else "written by you alone"
            raise NotAllowed(
                f"Expected {path} to be {who}, found mode {stat.S_IMODE(state.st_mode):o}. Say chmod 600 {path}, "
                "unless somebody may have used it: then remove it."
            )
        with os.fdopen(opened, "rb", closefd=False) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise StoreReadOnly(f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(opened)
    if len(data) > most:
        raise LimitExceeded(f"Expected at most {most:,} bytes in {path}, found more. Mend or remove it.")
    return data
