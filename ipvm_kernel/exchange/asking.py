"""Asking for the blocks of one file: whoever may have them, in order, each block checked before it is used."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from ipvm_kernel.errors import IpvmError, LimitExceeded, Mismatch, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld import CID

_IN_MEMORY: Final = 8 << 20  # bytes of a file that are gathered before they go to disk


class Source(Protocol):
    """Somebody who may have blocks."""

    name: str

    def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
        """Return what it has under a CID, unchecked. Raises `Unreachable`, `Refused`, `LimitExceeded` or `Over`."""


class Fetching(msgspec.Struct):
    """How far a fetch is.

    Attributes:
        name: The address or CID.
        done: Bytes that are there.
        source: Who is asked.
    """

    name: str
    done: int = 0
    source: str = ""


class Asked:
    """Whoever may have the blocks of one file, asked in order. Who sent something else is not asked again."""

    def __init__(
        self,
        root: CID | str,
        sources: list[Source],
        deadline: Deadline,
        told: Fetching,
        tell: Callable[[Fetching, int], None],
    ) -> None:
        self._root = root
        self._sources = list(sources)
        self._deadline = deadline
        self._tell = tell
        self._told = told
        self._done = 0
        self._said: list[str] = []
        self._wrong = False

    def block(self, cid: CID) -> bytes:
        """Return the bytes that a CID names, checked.

        Raises:
            NotFound, Mismatch: Nobody gave them.
        """
        from ipvm_kernel.exchange.http import Over, Refused, Unreachable

        if cid.hash == "identity":
            return cid.digest
        while self._sources:
            source = self._sources[0]
            self._told.source = source.name
            try:
                data = source.block(cid, self._share(), lambda count: self._tell(self._told, self._done + count))
                cid.check(data)
            except Mismatch:
                self._wrong = True
                self._said.append(f"{source.name} sent other bytes than {cid} names; they were dropped")
            except (Over, Refused, Unreachable, LimitExceeded) as error:
                self._deadline.left()
                self._said.append(error.message)
            else:
                self._done += len(data)
                return data
            del self._sources[0]
        raise self._nobody()

    def _share(self) -> Deadline:
        """Return the time that the first source may take, so that the others have theirs."""
        if len(self._sources) == 1:
            return self._deadline
        from ipvm_kernel.exchange.http import Deadline

        return Deadline(self._deadline.left() / len(self._sources))

    def _nobody(self) -> IpvmError:
        told = "; ".join(self._said)
        if not told:
            told = "no Kubo and no gateway may be asked (IPVM_KUBO_API, IPVM_GATEWAY)"
        kind = Mismatch if self._wrong else NotFound
        return kind(f"{self._root} is not here, and nobody gave it: {told}. `ipvm doctor` shows what may be asked")


@contextlib.contextmanager
def gathered(pieces: Iterator[bytes]) -> Iterator[bytes | Path]:
    """Give the content of a file: its bytes, or the path of a temporary one if it is large."""
    parts: list[bytes] = []
    count = 0
    for piece in pieces:
        parts.append(piece)
        count += len(piece)
        if count > _IN_MEMORY:
            break
    else:
        yield b"".join(parts)
        return
    with tempfile.TemporaryDirectory(prefix="ipvm-") as folder:
        path = Path(folder) / "file"
        with path.open("wb") as file:
            file.writelines(parts)
            parts.clear()
            file.writelines(pieces)
        yield path
