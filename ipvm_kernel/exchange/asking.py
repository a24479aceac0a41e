"""Asking for blocks that belong together: whoever may have them, in order, each block checked before it is used.

A source that sends archives is asked for one, so that a file of a thousand blocks is one request. What an archive does not
bring is asked for block by block, and what one source does not give, the next one is asked for; nothing that came is asked
for twice.
"""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

import msgspec

from ipvm_kernel.errors import HashNotAllowed, IpvmError, LimitExceeded, Malformed, Mismatch, NotFound
from ipvm_kernel.exchange.ahead import Ahead
from ipvm_kernel.ipld import CID
from ipvm_kernel.ipld.dagpb import links_of
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld.car import Piece

_IN_MEMORY: Final = 8 << 20  # bytes of a file that are gathered before they go to disk
_LATEST: Final = 4 << 20  # bytes of blocks that were used, and may be needed again: an archive has each once
_WITHOUT: Final = frozenset({404, 410})  # statuses of a source that is well and does not have it
_REASON: Final = 300


class Source(Protocol):
    """Somebody who may have blocks.

    One that sends archives has a method `car` with the arguments of `block`, which yields the bytes of an archive of
    everything that the CID reaches, parents before children. `at_once`, if it has that, says how many blocks it may be
    asked for at once; any number of threads may ask.
    """

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


class _Asking:
    """One source, and what has been asked of it so far."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.gave = False  # a block: it is alive, and has some of it
        self.archives = hasattr(source, "car")
        self.begun: set[CID] = set()
        self.coming: Coming | None = None
        self.ahead: Ahead | None = None


class Coming:
    """An archive on its way: its blocks, checked, as they come."""

    def __init__(self, source: Source, cid: CID, deadline: Deadline) -> None:
        from ipvm_kernel.exchange.http import Deadline

        self.brought = 0
        self._deadline = Deadline(deadline.allowed, deadline)  # for each block anew, within the time of all
        self._bytes: Iterator[bytes] = source.car(cid, self._deadline)  # type: ignore[attr-defined]
        self._pieces: Iterator[Piece] | None = None

    def __iter__(self) -> Iterator[Piece]:
        """Give the blocks that have not been given yet. Raises as `Source.block` and `car.Archive` do."""
        if self._pieces is None:
            from ipvm_kernel.ipld.car import Archive

            self._pieces = iter(Archive(self._bytes, duplicates=True, partial=True))
        for piece in self._pieces:
            self.brought += 1
            self._deadline.again()
            yield piece

    def close(self) -> None:
        """Hang up."""
        close = getattr(self._bytes, "close", None)
        if close is not None:
            close()


class Asked:
    """Whoever may have blocks that belong together, asked in order. Who sent something else is not asked again.

    Args:
        root: What they belong to.
        sources: Who may be asked.
        deadline: When all of it must be done.
        told: How far it is.
        tell: Called with that and the number of bytes that are there.
        archives: Bytes that may come by archives; 0 if none are to be asked for.
        size: Returns how many bytes a block has that is here, and need not be asked for ahead; else None.
    """

    def __init__(
        self,
        root: CID | str,
        sources: Sequence[Source],
        deadline: Deadline,
        told: Fetching,
        tell: Callable[[Fetching, int], None],
        *,
        archives: int = 0,
        size: Callable[[CID], int | None] | None = None,
    ) -> None:
        from ipvm_kernel.exchange.stash import Stash

        self.stash = Stash(2 * archives)  # all that is needed, and as much that nobody asked for
        self._root = root
        self._archives = archives
        self._names = [source.name for source in sources]
        self._left = [_Asking(source) for source in sources]
        self._deadline = deadline
        self._tell = tell
        self._told = told
        self._done = 0
        self._said: dict[str, str] = {}
        self._wrong = False
        self._whole = False  # an archive of the root has come, at least in part
        self._latest: dict[CID, bytes] = {}
        self._latest_bytes = 0
        self._parent: CID | None = None  # the latest node of a file
        self._next: list[CID] = []  # and what it links to
        self._size = size
        self._known: set[CID] = set()  # what need not be asked for ahead

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for asking in self._left:
            _hang_up(asking)
        self.stash.close()

    def block(self, cid: CID, after: Sequence[CID] = ()) -> bytes:
        """Return the bytes that a CID names, checked.

        Args:
            cid: The block.
            after: What will be asked for after it, as far as that is known; of a file it is known here.

        Raises:
            NotFound, Mismatch: Nobody gave them.
            HashNotAllowed: By its hash function nothing can be checked.
        """
        if cid.hash == "identity":
            return cid.digest
        data = self._latest.get(cid)
        if data is None:
            data = self.stash.get(cid)
        if data is None:
            data = self._from_somebody(cid, after or self._next)
        if self._archives:
            self._remember(cid, data)
        return data

    def _remember(self, cid: CID, data: bytes) -> None:
        self._known.add(cid)
        if cid.codec == "dag-pb":
            self._parent = cid
            with contextlib.suppress(Malformed, HashNotAllowed):
                self._next = links_of(data)
        if cid in self._latest or len(data) > _LATEST:
            return
        self._latest[cid] = data
        self._latest_bytes += len(data)
        while self._latest_bytes > _LATEST:
            self._latest_bytes -= len(self._latest.pop(next(iter(self._latest))))

    def _from_somebody(self, cid: CID, after: Sequence[CID]) -> bytes:
        """Return a block that one of the sources gives: each is asked at most once, and then goes or steps back."""
        from ipvm_kernel.exchange.http import Over, Refused, Unreachable

        for _ in range(len(self._left)):
            asking = self._left[0]
            self._told.source = asking.source.name
            try:
                return self._of(asking, cid, after)
            except Mismatch:
                self._wrong = True
                self._note(asking, f"sent other bytes than {cid} names; they were dropped")
            except Refused as error:
                self._deadline.left()
                self._note(asking, error.message)
                if error.status in _WITHOUT:
                    self._left.append(self._left.pop(0))
                    continue
            except (Over, Unreachable, LimitExceeded, Malformed) as error:
                self._deadline.left()
                self._note(asking, error.message)
            _hang_up(self._left.pop(0))
        raise self.nobody(cid)

    def _of(self, asking: _Asking, cid: CID, after: Sequence[CID]) -> bytes:
        """Return a block that one source gives, out of an archive or by itself; then those after it are asked for too."""
        if asking.coming is None:
            target = self._target(asking, cid)
            if target is not None:
                asking.begun.add(target)
                asking.coming = Coming(asking.source, target, self._share())
        if asking.coming is not None:
            data = self._awaited(asking, asking.coming, cid)
            if data is not None:
                return data
        if self._archives and asking.gave:
            data = self._with_others(asking, cid, after)
        else:
            data = asking.source.block(cid, self._share(), lambda count: self._tell(self._told, self._done + count))
            cid.check(data)
        asking.gave = True
        self._came(data)
        return data

    def _with_others(self, asking: _Asking, cid: CID, after: Sequence[CID]) -> bytes:
        """Return a block that one source gives, while it is asked for what comes after it."""
        if asking.ahead is None:
            asking.ahead = Ahead(asking.source, self._deadline)
        ahead = asking.ahead
        ahead.ask(cid)
        for other in after:
            if ahead.full(self._known):
                break
            if other in self._known or other in ahead or other.hash == "identity" or other in self.stash:
                continue
            if self._size is not None and self._size(other) is not None:
                self._known.add(other)
            else:
                ahead.ask(other)
        return ahead.take(cid, self._share())

    def _target(self, asking: _Asking, cid: CID) -> CID | None:
        """Return what to ask a source for an archive of, if for any, so that a block comes with its neighbours."""
        if not (self._archives and asking.archives and asking.gave and type(self._root) is CID):
            return None
        target = self._root if not self._whole else cid if cid.codec != "raw" else self._parent
        return None if target in asking.begun else target

    def _awaited(self, asking: _Asking, coming: Coming, cid: CID) -> bytes | None:
        """Return a block that an archive brings, or None if it ends before that; what comes before is kept."""
        try:
            for piece in coming:
                if piece.cid == cid:
                    self._came(piece.data)
                    self._whole = True
                    return piece.data
                if piece.cid not in self._latest:
                    self._came(piece.data)
                    self.stash.keep(piece.cid, piece.data)
        except Mismatch:
            raise
        except IpvmError as error:
            self._deadline.left()
            self._note(asking, error.message)
            asking.archives = False  # it does not send them, or not well; it may still have blocks
        if coming.brought < 2:
            asking.archives = False
        _hang_up(asking)
        return None

    def _came(self, data: bytes) -> None:
        self._done += len(data)
        self._tell(self._told, self._done)

    def _share(self) -> Deadline:
        """Return the time that the first source may take, so that the others have theirs."""
        from ipvm_kernel.exchange.http import Deadline

        return Deadline(self._deadline.left() / len(self._left), self._deadline)

    def _note(self, asking: _Asking, said: str) -> None:
        name = asking.source.name
        self._said[name] = printable(said.removeprefix(name).lstrip(": "), limit=_REASON)

    def nobody(self, cid: CID, path: str = "") -> IpvmError:
        """Return the error that says who was asked for a block, what came of it, and what to do next.

        Args:
            cid: The block.
            path: The way to it from the root, if it is not the root.
        """
        asked = ", ".join(
            ["the store", *(f"{name} ({self._said[name]})" if name in self._said else name for name in self._names)]
        )
        if not self._names:
            asked = "the store alone: no Kubo and no gateway may be asked (IPVM_KUBO_API, IPVM_GATEWAY)"
        what = f"{self._root} is not here" if not path else f"{cid} is missing, at {path} in {self._root}"
        return (Mismatch if self._wrong else NotFound)(
            f"{what}: looked in {asked}; ask the sender for the .car file or to run `ipvm share --ipfs`. "
            "`ipvm doctor` shows what may be asked"
        )


def _hang_up(asking: _Asking) -> None:
    if asking.coming is not None:
        asking.coming.close()
        asking.coming = None
    if asking.ahead is not None:
        asking.ahead.close()
        asking.ahead = None


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
