"""Asking caches: all at once, within one time, and never in the way of the work.

A cache that is late, silent or lying is left alone for a minute, and told once in one line until it is well again. What is
not answered is worked out here.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import IpvmError, Mismatch
from ipvm_kernel.exchange.caches.base import Answered, Answers, Cache
from ipvm_kernel.exchange.http import Deadline, Unreachable
from ipvm_kernel.printable import plural, printable, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ipvm_kernel.exchange.caches.listed import Known
    from ipvm_kernel.ipld import CID

REST: Final = 60.0
"""Seconds that a cache is left alone after it failed."""

_GRACE: Final = 0.1  # of the time is left to hand over what came in time


class Caches:
    """The caches of a session. Any thread may ask.

    Args:
        caches: Who is asked.
        writers: Those of them that are given what is made here.
        seconds: How long a question may take in all.
        tell: Called with one line when a cache does not do what it should.
        rest: Seconds that such a one is left alone.
        clock: Seconds, rising.
    """

    def __init__(
        self,
        caches: Sequence[Cache],
        *,
        writers: Sequence[Cache] = (),
        seconds: float = 2.0,
        tell: Callable[[str], object] | None = None,
        rest: float = REST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.caches = list(caches)
        self.writers = list(writers)
        self._seconds = seconds
        self._tell = tell or (lambda _line: None)
        self._rest = rest
        self._clock = clock
        self._until: dict[int, float] = {}  # when a cache may be asked again, by its place in the list
        self._told: set[int] = set()
        self._lock = threading.Lock()

    def answers(self, instructions: Iterable[CID]) -> list[Answered]:
        """Ask every cache that is well for the receipts of some instructions, and return all that came in time.

        One receipt may come several times, with statements of several signers. Nothing is raised: a cache that fails costs
        the time of one question, and a line.
        """
        wanted = list(dict.fromkeys(instructions))
        asked = [(at, cache) for at, cache in enumerate(self.caches) if self._well(at)] if wanted else []
        if not asked:
            return []
        deadline = Deadline(self._seconds * (1 - _GRACE))
        found: dict[int, Answers] = {}

        def ask(at: int, cache: Cache) -> None:
            try:
                found[at] = cache.answers(wanted, deadline)
            except Exception as error:  # noqa: BLE001 - a cache may be a plug-in; it never stops the work
                said = error.message if isinstance(error, IpvmError) else f"{type(error).__name__}: {error}"
                found[at] = Answers(trouble=printable(said, limit=300))

        threads = [threading.Thread(target=ask, args=one, name="ipvm-cache", daemon=True) for one in asked]
        end = time.monotonic() + self._seconds
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        deadline.over = True  # who is late ends by itself
        late = f"it did not answer within {seconds(self._seconds)}"
        made: list[Answered] = []
        for at, cache in asked:
            answers = found.get(at)
            if answers is None:
                answers = Answers(trouble=late)
            made.extend(answers)
            self._judge(at, cache, answers)
        return made

    def give(self, make: Callable[[], Iterable[bytes]], allowed: float = 60.0) -> list[str]:
        """Give an archive of receipts to each cache that takes what is made here; return a line for each that took it.

        Whatever is in the archive leaves this machine. A cache that does not take it is told like one that does not answer.

        Args:
            make: Makes the archive, anew for each.
            allowed: Seconds for each.
        """
        lines = []
        for at, cache in enumerate(self.caches):
            if cache not in self.writers or not self._well(at):
                continue
            try:
                lines.append(f"{cache.name} took {cache.give(make(), Deadline(allowed))}")
            except IpvmError as error:
                self._judge(at, cache, Answers(trouble=error.message), "stays here")
        return lines

    def sources(self) -> list[Lender]:
        """Return the caches that may be asked for content now."""

        def failed(at: int, cache: Cache) -> Callable[[IpvmError], None]:
            return lambda error: self._judge(
                at, cache, Answers(trouble=error.message, lied=isinstance(error, Mismatch)), "is looked for elsewhere"
            )

        return [Lender(cache, failed(at, cache)) for at, cache in enumerate(self.caches) if self._well(at)]

    def close(self) -> None:
        """Let go of connections and files."""
        for cache in self.caches:
            cache.close()

    def _well(self, at: int) -> bool:
        with self._lock:
            return self._until.get(at, 0.0) <= self._clock()

    def _judge(self, at: int, cache: Cache, answers: Answers, rest: str = "is worked out here") -> None:
        with self._lock:
            if not answers.trouble:
                self._until.pop(at, None)
                self._told.discard(at)
                return
            self._until[at] = self._clock() + self._rest
            tell = at not in self._told
            self._told.add(at)
        if tell:
            self._tell(_line(cache, answers, self._rest, rest))


class Lender:
    """A cache as a `Source` of content (see `exchange.asking`). If it fails as such, it is left alone as well.

    Args:
        cache: The cache.
        failed: Told of what it did wrong.
    """

    def __init__(self, cache: Cache, failed: Callable[[IpvmError], object]) -> None:
        self.name = cache.name
        self._cache, self._failed = cache, failed

    def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
        """Return the bytes that it has under a CID; as `Cache.block` does."""
        try:
            return self._cache.block(cid, deadline, progress)
        except (Unreachable, Mismatch) as error:
            self._failed(error)
            raise

    def car(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
        """Yield an archive with a file and its tree, unchecked; as `Cache.car` does."""
        try:
            yield from self._cache.car(cid, deadline, progress)
        except (Unreachable, Mismatch) as error:
            self._failed(error)
            raise


def _line(cache: Cache, answers: Answers, rest: float, then: str) -> str:
    again = "a minute" if rest == REST else seconds(rest)
    why = answers.trouble.removeprefix(cache.name).lstrip(" :")
    absent = "does not answer"
    if answers.lied:
        what = "sent what was not asked for, or does not hold"
    elif why.startswith(absent):
        what, why = absent, why.removeprefix(absent).lstrip(" :")
    else:
        what = "did not answer as it should"
    so_far = f"{plural(len(answers), 'receipt')} came before, the rest" if answers else "everything"
    return printable(f"{cache.name} {what} ({why}): asked again in {again}; {so_far} {then}", limit=600)


def opened(known: Known) -> Cache:
    """Return the cache at an address. Nobody is asked yet.

    Raises:
        BadInput, ToolchainMissing: As `FolderCache` does.
    """
    if known.url.startswith(("http://", "https://")):
        from ipvm_kernel.exchange.caches.web import HttpCache

        return HttpCache(known.url, known.token if known.write else None)
    from ipvm_kernel.exchange.caches.folder import FolderCache

    return FolderCache(known.url, write=known.write)
