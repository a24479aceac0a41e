"""Placing: files of strangers, written into a new folder and nowhere else.

A name from outside may climb out of its folder, name a device, or be another spelling of a name that is there. Names
are refused unless they mean the same one file on Linux, macOS and Windows. Files are opened relative to folders that are
held open, links are never followed, and the folder appears under its name when all of it is on the disk.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, Self

from ipvm_kernel.errors import BadInput, LimitExceeded, NotAllowed, NotFound
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

FILES: Final = 10_000
"""Files and folders that a place takes, at most."""

FILE_BYTES: Final = 2**30
"""Bytes of all files of a place, at most, unless its maker says another number."""

NAME_BYTES: Final = 255
"""Bytes of one name in UTF-8, at most."""

PATH_BYTES: Final = 1_000
"""Bytes of a relative path in UTF-8, at most."""

DEPTH: Final = 32
"""Names in a relative path, at most."""

_JOINERS: Final = "\u200c\u200d"  # some scripts and emoji are spelled with them; some systems do not see them
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # acted on by a terminal, or seen by nobody
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}
)


def safe_name(text: str) -> None:
    """Raise unless a text is a name that a file or a folder can have on any system.

    Raises:
        BadInput: It is no such name; the message says why.
        LimitExceeded: It is longer than 255 bytes.
    """
    if type(text) is not str:
        raise BadInput(f"Expected a file name as text, found {type(text).__name__}.")
    if not text:
        _refuse(text, "an empty one")
    if text.startswith("."):
        _refuse(text, "one that begins with a dot: it would be hidden, or lead elsewhere")
    for char in text:
        if char in "/\\:":
            _refuse(text, f"{char!r} in it, which separates folders, drives or streams")
        if unicodedata.category(char) in _UNSAFE and char not in _JOINERS:
            _refuse(text, f"the character U+{ord(char):04X} in it, which cannot be seen")
    if text[-1] == "." or text[-1].isspace():
        _refuse(text, "one that ends with a dot or a space, which Windows leaves out")
    if text.partition(".")[0].rstrip(" ").casefold() in _DEVICES:
        _refuse(text, "the name of a device of Windows")
    if len(text.encode()) > NAME_BYTES:
        raise LimitExceeded(f"Expected a file name of at most {NAME_BYTES} bytes, found {len(text.encode()):,}.")


def _refuse(text: str, found: str) -> NoReturn:
    raise BadInput(f"Expected a file name that is safe everywhere, found {found}: '{printable(text, limit=100)}'.")


def _same(name: str) -> str:
    """Return what all spellings of a name share that some file system takes for one."""
    bare = "".join(char for char in name if char not in _JOINERS)
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", bare).casefold())
    return unicodedata.normalize("NFC", folded)


class _Known(NamedTuple):
    name: str
    is_folder: bool


class Place:
    """A new folder that is filled, and then appears whole.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "shared"
    >>> with Place(folder) as place:
    ...     _ = place.add("data/numbers.csv", [b"1,2", b",3"])
    >>> (folder / "data" / "numbers.csv").read_bytes()
    b'1,2,3'

    Until the `with` block ends well, all stands beside it under a name of its own, and goes away if the block ends in an
    error. After a refused file nothing more is taken.
    """

    def __init__(self, folder: Path, *, max_bytes: int = FILE_BYTES) -> None:
        """Say where.

        Args:
            folder: What is made. Nothing is there yet, or an empty folder; its parent is there.
            max_bytes: Bytes of all files together, at most.

        Raises:
            NotAllowed: Something is there already.
            NotFound: Its parent is not there.
        """
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100 - `resolve` would follow a link that stands there
        self._room = max_bytes
        self._max_bytes = max_bytes
        self._known: dict[str, _Known] = {}  # by path, each name of it as `_same` has it
        self._open = False
        self._check_free()

    def _check_free(self) -> None:
        try:
            mode = os.lstat(self.folder).st_mode
        except FileNotFoundError:
            if not self.folder.parent.is_dir():
                raise NotFound(
                    f"Expected a folder to make {self.folder.name} in, found none: {self.folder.parent}."
                ) from None
            return
        if not stat.S_ISDIR(mode) or any(self.folder.iterdir()):
            raise NotAllowed(
                f"Expected a place for a new folder, found something there: {self.folder}. Name another one."
            )

    def __enter__(self) -> Self:
        self._parent = os.open(self.folder.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._name = f".{os.urandom(8).hex()}.part"
        try:
            os.mkdir(self._name, 0o700, dir_fd=self._parent)
            self._root = _enter(self._name, self._parent)
        except BaseException:
            with suppress(OSError):
                os.rmdir(self._name, dir_fd=self._parent)
            os.close(self._parent)
            raise
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._appear()
        finally:
            self._discard()
            os.close(self._root)
            os.close(self._parent)

    def _appear(self) -> None:
        if not self._open:
            raise BadInput(f"Expected every file to be taken, found one refused. Nothing was made: {self.folder}.")
        os.fsync(self._root)
        try:
            os.rename(self._name, self.folder.name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        except OSError as why:
            raise NotAllowed(
                f"Expected a place for a new folder, found something there by now: {self.folder} ({why.strerror})."
            ) from None
        self._open = False
        os.fsync(self._parent)

    def add(self, name: str, pieces: Iterable[bytes]) -> Path:
        """Write a file and return where it will stand.

        Args:
            name: A relative path, its names parted by "/".
            pieces: The content.

        Raises:
            BadInput: The name is not safe, or is another spelling of one that is there.
            LimitExceeded: Too many files, too many bytes, a path that is too long or too deep.
        """
        if not self._open:
            raise BadInput(
                f"Expected a place that is being filled, found none: {self.folder}. Use it in a `with` block."
            )
        try:
            names = self._register(name)
            self._write(names, pieces)
        except BaseException:
            self._discard()
            raise
        return self.folder.joinpath(*names)

    def _register(self, name: str) -> list[str]:
        """Return the names of a path that is safe and new."""
        if type(name) is not str:
            safe_name(name)
        shown = printable(name, limit=100)
        if len(name.encode(errors="replace")) > PATH_BYTES:
            raise LimitExceeded(f"Expected a path of at most {PATH_BYTES:,} bytes, found more: '{shown}'.")
        names = name.split("/")
        if len(names) > DEPTH:
            raise LimitExceeded(f"Expected a path of at most {DEPTH} names, found {len(names)}: '{shown}'.")
        path = ""
        for at, part in enumerate(names):
            safe_name(part)
            path = f"{path}/{_same(part)}"
            new = _Known(part, is_folder=at < len(names) - 1)
            known = self._known.setdefault(path, new)
            if known is new:
                continue
            if known.name != part:
                raise BadInput(
                    f"Expected names that no system takes for one, found '{printable(known.name)}' and "
                    f"'{printable(part)}' in one folder: '{shown}'."
                )
            if not (known.is_folder and new.is_folder):
                there = "a folder" if known.is_folder else "a file"
                raise BadInput(f"Expected each path once, found {there} of this name before: '{shown}'.")
        if len(self._known) > FILES:
            raise LimitExceeded(f"Expected at most {FILES:,} files and folders, found another: '{shown}'.")
        return names

    def _write(self, names: list[str], pieces: Iterable[bytes]) -> None:
        folders = [self._root]
        try:
            for name in names[:-1]:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=folders[-1])
                folders.append(_enter(name, folders[-1]))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(names[-1], flags, 0o600, dir_fd=folders[-1]), "wb") as file:  # noqa: PTH123 - it is open
                for piece in pieces:
                    self._room -= len(piece)
                    if self._room < 0:
                        raise LimitExceeded(
                            f"Expected files of at most {self._max_bytes:,} bytes in all, found more: '{'/'.join(names)}'."
                        )
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            for folder in folders:
                os.fsync(folder)
        finally:
            for folder in folders[1:]:
                os.close(folder)

    def _discard(self) -> None:
        """Take away what was made, unless it is in its place."""
        if self._open:
            import shutil

            self._open = False
            shutil.rmtree(self._name, dir_fd=self._parent, ignore_errors=True)


def _enter(name: str, parent: int) -> int:
    """Open a folder for what is in it; a link is not followed."""
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
