"""A cache in a folder or a bucket: the same files that a server of files would give.

Whoever can see what is read from there learns which tasks, and which content, interest you. A folder is read and written
as it is; anything else (`memory://`, `s3://`) goes through fsspec, the extra `cache`, with what the user has installed for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from ipvm_kernel.errors import BadInput, IpvmError, LimitExceeded, Mismatch, NotAllowed, ToolchainMissing
from ipvm_kernel.exchange.caches.answers import Gathering, most_blocks
from ipvm_kernel.exchange.caches.base import ANSWER_BYTES, RECEIPTS, STATEMENTS, Answers, content_at, receipts_at
from ipvm_kernel.exchange.caches.content import BLOCKS, Contents
from ipvm_kernel.exchange.caches.laying import lay
from ipvm_kernel.exchange.caches.spool import Spool
from ipvm_kernel.exchange.http import Refused, Unreachable
from ipvm_kernel.ipld.car import parts
from ipvm_kernel.printable import plural, printable, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ipvm_kernel.exchange.caches.base import Answered
    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld import CID

_FILE_BYTES: Final = 8 << 20  # of the receipts for one instruction
_PIECE: Final = 1 << 20
_AT_ONCE: Final = 64


class Files(Protocol):
    """Files by path, from the root of a cache."""

    def small(self, paths: list[str]) -> Iterator[bytes | None]:
        """Yield the bytes of files, one more than `_FILE_BYTES` of each at most; None for those that are not there."""

    def open(self, path: str) -> IO[bytes] | None:
        """Open a file to be read, or return None if it is not there."""

    def write(self, path: str, pieces: Iterable[bytes]) -> int:
        """Write a file, whole or not at all as far as the place can, and return how many bytes it has."""

    def alone(self) -> contextlib.AbstractContextManager[object]:
        """Keep other writers out, as far as the place can."""


class FolderCache:
    """A cache in a folder or a bucket.

    Args:
        url: A path, `file:///path`, or what fsspec knows: `s3://bucket/folder`.
        write: False refuses to give anything to it.
        max_bytes: How large a file may be.
        options: What fsspec's file system takes.

    Raises:
        BadInput: Nobody can read this address.
        ToolchainMissing: It needs fsspec, or a part of it, which is not installed.
    """

    def __init__(self, url: str, *, write: bool = False, max_bytes: int = 1 << 30, **options: Any) -> None:
        self.name = f"the cache {printable(url, limit=200)}"
        self._write = write
        self._max_bytes = max_bytes
        self._files: Files = _files(url, self.name, options)
        self._contents = Contents(self.name)

    # --- receipts -----------------------------------------------------------------------------------------------------

    def answers(self, instructions: Sequence[CID], deadline: Deadline) -> Answers:
        """Return the receipts that it has for some instructions, checked, and what was wrong if something was."""
        made, wanted, total = Answers(), list(dict.fromkeys(instructions)), 0
        for at in range(0, len(wanted), _AT_ONCE):
            chunk = wanted[at : at + _AT_ONCE]
            try:
                deadline.left()
                for instruction, data in zip(
                    chunk, self._files.small([receipts_at(one) for one in chunk]), strict=True
                ):
                    total += len(data or b"")
                    if data is not None:
                        made.extend(self._read(instruction, data, made))
                    if total > ANSWER_BYTES:
                        raise LimitExceeded(
                            f"{self.name}: expected at most {size(ANSWER_BYTES)} of receipts, found more"
                        )
            except IpvmError as error:
                made.trouble, made.lied = made.trouble or error.message, made.lied or isinstance(error, BadInput)
                break
        return made

    def _read(self, instruction: CID, data: bytes, made: Answers) -> Answers:
        """Return the receipts in a file. What is wrong with one file says nothing about the next."""
        gathering = Gathering([instruction])
        trouble = ""
        try:
            if len(data) > _FILE_BYTES:
                raise LimitExceeded(f"expected at most {size(_FILE_BYTES)} of receipts, found more")
            gathering.read([data], most_blocks(1))
        except (BadInput, Mismatch) as error:
            trouble = error.message
        found = gathering.answers()
        trouble = trouble or found.trouble
        if trouble:
            made.trouble, made.lied = made.trouble or f"{receipts_at(instruction)}: {trouble}", True
        return found

    # --- content ------------------------------------------------------------------------------------------------------

    def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
        """Return the bytes that it has under a CID. Of a file in many blocks the whole comes at the first one."""
        return self._contents.block(cid, lambda: self._car(cid, deadline, progress))

    def car(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
        """Yield an archive with a file and its tree, or with one block, unchecked."""
        kept = self._contents.archive(cid)
        yield from self._car(cid, deadline, progress) if kept is None else kept

    def _car(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None) -> Iterator[bytes]:
        file = self._files.open(content_at(cid))
        if file is None:
            raise Refused(f"{self.name} does not have it", 404)
        with file:
            count = 0
            while piece := _reading(self.name, partial(file.read, _PIECE)):
                deadline.left()
                count += len(piece)
                if count > self._max_bytes:
                    raise LimitExceeded(f"{self.name}: expected at most {size(self._max_bytes)}, found more")
                if progress is not None:
                    progress(count)
                yield piece

    # --- giving -------------------------------------------------------------------------------------------------------

    def give(self, pieces: Iterable[bytes], deadline: Deadline) -> str:
        """Give an archive of receipts and what belongs to them; return in one line what was kept.

        What is there already stays: receipts and statements are added to it. Two writers at once keep out of each other's
        way in a folder; in a bucket the later one may undo what the other added, and nothing worse.
        """
        if not self._write:
            raise NotAllowed(f"{self.name} is read only here: ipvm cache add URL --write")
        with Spool(pieces, BLOCKS) as spool:
            laid = lay(spool)
            written = 0
            for cid, blocks in laid.content.items():
                deadline.left()
                written += self._files.write(
                    content_at(cid), parts([cid], ((one, spool.get(one) or b"") for one in blocks))
                )
            with self._files.alone():
                for instruction, receipts in laid.receipts.items():
                    deadline.left()
                    written += self._files.write(receipts_at(instruction), self._joined(instruction, receipts))
        count = sum(map(len, laid.receipts.values()))
        return f"{plural(count, 'receipt')}, {plural(len(laid.content), 'file')}, {size(written)}"

    def _joined(self, instruction: CID, new: list[Answered]) -> Iterator[bytes]:
        """Return the archive of what is known of an instruction, with what is new."""
        data = next(self._files.small([receipts_at(instruction)]))
        old = self._read(instruction, data, Answers()) if data is not None else Answers()
        known: dict[CID, tuple[Answered, dict[CID, bytes]]] = {}
        for one in (*old, *new):
            told = known.setdefault(one.receipt.cid, (one, {}))[1]
            told.update((block.cid, block.data) for block in one.attestations)
        kept = list(known.values())[-RECEIPTS:]
        blocks: dict[CID, bytes] = {}
        for answered, told in kept:
            blocks |= {answered.receipt.cid: answered.receipt.data, answered.invocation.cid: answered.invocation.data}
            blocks |= dict(list(told.items())[-STATEMENTS:])
        return parts([answered.receipt.cid for answered, _ in kept], blocks.items())

    def close(self) -> None:
        """Let go of files."""
        self._contents.close()


# --- places -----------------------------------------------------------------------------------------------------------


def _files(url: str, name: str, options: dict[str, Any]) -> Files:
    scheme, found, rest = url.partition("://")
    if not found:
        return _Plain(Path(url).expanduser(), name)
    if scheme == "file":
        return _Plain(Path(rest), name)
    if "::" in url:
        raise BadInput(f"expected one file system, found a chain of them: {printable(url, limit=200)}")
    try:
        import fsspec

        system, root = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        raise ToolchainMissing(
            f'{name} needs {error.name or scheme}, which is not installed: pip install "ipvm[cache]", and what fsspec asks '
            f"for {scheme}://"
        ) from None
    except Exception as error:  # noqa: BLE001 - file systems of all kinds raise errors of all kinds
        raise BadInput(f"{name} cannot be read: {printable(str(error), limit=200)}") from None
    return _Remote(system, str(root).rstrip("/"), name)


def _reading(name: str, read: Callable[[], bytes]) -> bytes:
    """Return what reading gives. File systems of all kinds raise errors of all kinds."""
    try:
        return read()
    except Exception as error:
        raise Unreachable(f"{name} broke off: {printable(str(error) or type(error).__name__, limit=200)}") from error


class _Plain:
    """Files of a folder."""

    def __init__(self, root: Path, name: str) -> None:
        self._root, self._name = root, name

    def small(self, paths: list[str]) -> Iterator[bytes | None]:
        if not self._root.is_dir():
            raise Unreachable(f"{self._name} is not there")
        for path in paths:
            file = self.open(path)
            if file is None:
                yield None
                continue
            with file:
                yield _reading(self._name, partial(file.read, _FILE_BYTES + 1))

    def open(self, path: str) -> IO[bytes] | None:
        try:
            opened = os.open(
                self._root / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            )  # a pipe would wait for ever
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unreachable(f"{self._name} cannot be read: {error.strerror}") from None
        file = os.fdopen(opened, "rb")
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            file.close()
            raise Unreachable(f"{self._name} has something else than a file at {path}")
        return file

    def write(self, path: str, pieces: Iterable[bytes]) -> int:
        target = self._root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, fresh = tempfile.mkstemp(dir=target.parent, prefix=".new-")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    count = sum(map(file.write, pieces))
                    os.fchmod(file.fileno(), 0o644)  # a lab reads it; the folder says who may come in
                # Not synced: what a crash leaves half is known by its CIDs, answers nothing, and is written anew.
                Path(fresh).replace(target)
            except BaseException:
                Path(fresh).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise Unreachable(f"{self._name} cannot be written: {error.strerror}") from None
        return count

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with contextlib.suppress(OSError):
            self._root.mkdir(parents=True, exist_ok=True)
        try:
            held = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:  # what cannot be locked may still be written, or says so itself
            yield
            return
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(held, fcntl.LOCK_EX)
            yield
        finally:
            os.close(held)


class _Remote:
    """Files of a file system of fsspec's."""

    def __init__(self, system: Any, root: str, name: str) -> None:
        self._system, self._root, self._name = system, root, name

    def small(self, paths: list[str]) -> Iterator[bytes | None]:
        places = [f"{self._root}/{path}" for path in paths]
        try:
            found = self._system.cat_ranges(
                places, [0] * len(places), [_FILE_BYTES + 1] * len(places), on_error="return"
            )
        except Exception as error:
            raise self._absent(error) from error
        for one in found:
            if isinstance(one, FileNotFoundError):
                yield None
            elif isinstance(one, Exception):
                raise self._absent(one) from one
            else:
                yield bytes(one)

    def open(self, path: str) -> IO[bytes] | None:
        try:
            file: IO[bytes] = self._system.open(f"{self._root}/{path}", "rb")
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._absent(error) from error
        return file

    def write(self, path: str, pieces: Iterable[bytes]) -> int:
        target = f"{self._root}/{path}"
        try:
            self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
            with self._system.open(target, "wb") as file:
                return sum(map(file.write, pieces))
        except IpvmError:
            raise
        except Exception as error:
            raise self._absent(error) from error

    def alone(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def _absent(self, error: Exception) -> Unreachable:
        return Unreachable(f"{self._name} does not answer: {printable(str(error) or type(error).__name__, limit=200)}")
