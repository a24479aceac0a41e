"""A cache over HTTP: a server of ipvm, or any server that has the files of a cache.

Whoever is asked learns which tasks, and which content, interest you. Nothing is sent but CIDs; the token goes with what
is given, to this one host, and nowhere a redirect leads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import BadInput, IpvmError, Mismatch, NotAllowed
from ipvm_kernel.exchange.caches.answers import Gathering, most_blocks
from ipvm_kernel.exchange.caches.base import ANSWER_BYTES, BATCH, CAR, RAW, Answers, content_at, receipts_at
from ipvm_kernel.exchange.caches.content import Contents
from ipvm_kernel.exchange.http import Refused, Server
from ipvm_kernel.ipld import PEER, encode
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld import CID

_NO_QUESTIONS: Final = frozenset({403, 404, 405, 410, 501})  # what servers of files say to a POST
_NOT_THERE: Final = frozenset({403, 404, 410})  # a bucket says 403 where it may not say that there is nothing
_TRIES: Final = 2
_SUMMARY: Final = 4096
_AT_ONCE: Final = 4


class HttpCache:
    """A cache over HTTP.

    Args:
        url: Its address.
        token: What a writer shows.
        pause: Seconds before a request is made again; twice as long each time.
        max_bytes: How large a file may be.
    """

    def __init__(self, url: str, token: str | None = None, *, pause: float = 0.1, max_bytes: int = 1 << 30) -> None:
        self.name = f"the cache {printable(url, limit=200)}"
        self._token = token
        self._max_bytes = max_bytes
        self._server = Server(url, self.name, pause=pause)
        self._files_only = False  # it takes no questions, so each receipt is a file
        self._contents = Contents(self.name)

    # --- receipts -----------------------------------------------------------------------------------------------------

    def answers(self, instructions: Sequence[CID], deadline: Deadline) -> Answers:
        """Return the receipts that it has for some instructions, checked, and what was wrong if something was."""
        made, rest = Answers(), list(dict.fromkeys(instructions))
        while rest and not made.trouble:
            batch = rest[:BATCH]
            found, reached = (Answers(), 0) if self._files_only else self._asked(batch, deadline)
            if self._files_only:  # which it may just have said
                found, reached = self._looked_up(batch, deadline), len(batch)
            made.extend(found)
            made.trouble, made.lied = found.trouble, found.lied
            rest = rest[reached:]
        return made

    def _asked(self, batch: list[CID], deadline: Deadline) -> tuple[Answers, int]:
        """Ask about many instructions at once; return the answers, and how many instructions they are about."""
        gathering = Gathering(batch)
        pieces = self._server.stream(
            "POST",
            "/receipts",
            deadline,
            max_bytes=ANSWER_BYTES,
            headers={"Accept": CAR, "Content-Type": "application/vnd.ipld.dag-cbor"},
            body=encode(batch),
            tries=_TRIES,
        )
        try:
            gathering.read(pieces, most_blocks(len(batch)))
        except Refused as error:
            if error.status not in _NO_QUESTIONS:
                return _trouble(gathering, error), len(batch)
            self._files_only = True
            return Answers(), 0
        except IpvmError as error:
            return _trouble(gathering, error), len(batch)
        return gathering.answers(), gathering.reached

    def _looked_up(self, batch: list[CID], deadline: Deadline) -> Answers:
        """Look for the file of each instruction."""
        from concurrent.futures import ThreadPoolExecutor

        made = Answers()
        with ThreadPoolExecutor(min(_AT_ONCE, len(batch)), "ipvm-cache") as pool:
            for found in pool.map(lambda one: self._file_of(one, deadline, made), batch):
                made.extend(found)
                if found.trouble and not made.trouble:
                    made.trouble, made.lied = found.trouble, found.lied
        return made

    def _file_of(self, instruction: CID, deadline: Deadline, so_far: Answers) -> Answers:
        if so_far.trouble:
            return Answers()
        gathering = Gathering([instruction])
        pieces = self._server.stream(
            "GET", f"/{receipts_at(instruction)}", deadline, max_bytes=ANSWER_BYTES, tries=_TRIES
        )
        try:
            gathering.read(pieces, most_blocks(1))
        except Refused as error:
            if error.status not in _NOT_THERE:
                return _trouble(gathering, error)
        except IpvmError as error:
            return _trouble(gathering, error)
        return gathering.answers()

    # --- content ------------------------------------------------------------------------------------------------------

    def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
        """Return the bytes that it has under a CID. Of a file in many blocks the whole comes at the first one."""
        found = self._contents.kept(cid)
        if found is not None:
            return found
        if cid.codec != "dag-pb" and not self._files_only:
            try:
                return self._server.ask(
                    "GET",
                    f"/ipfs/{cid}?format=raw",
                    deadline,
                    max_bytes=PEER.block_bytes,
                    headers={"Accept": RAW},
                    progress=progress,
                ).body
            except Refused as error:
                if error.status not in _NOT_THERE:
                    raise
        return self._contents.block(cid, lambda: self._car(cid, deadline, progress))

    def car(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
        """Yield an archive with a file and its tree, or with one block, unchecked."""
        kept = self._contents.archive(cid)
        yield from self._car(cid, deadline, progress) if kept is None else kept

    def _car(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None) -> Iterator[bytes]:
        places = [f"/{content_at(cid)}"]
        if not self._files_only:
            places.insert(0, f"/ipfs/{cid}?format=car")
        for place in places:
            try:
                yield from self._server.stream(
                    "GET", place, deadline, max_bytes=self._max_bytes, headers={"Accept": CAR}, progress=progress
                )
            except Refused as error:
                if error.status not in _NOT_THERE or place is places[-1]:
                    raise
            else:
                return

    # --- giving -------------------------------------------------------------------------------------------------------

    def give(self, pieces: Iterable[bytes], deadline: Deadline) -> str:
        """Give an archive of receipts and what belongs to them; return in one line what was kept."""
        if not self._token:
            raise NotAllowed(f"{self.name} takes nothing without its token: ipvm cache add URL --token TOKEN --write")
        answer = self._server.stream(
            "PUT",
            "/receipts",
            deadline,
            max_bytes=_SUMMARY,
            headers={"Content-Type": CAR, "Authorization": f"Bearer {self._token}"},
            body=pieces,
        )
        try:
            said = b"".join(answer)
        except Refused as error:
            if error.status in {401, 403, 405, 501}:
                raise NotAllowed(f"{error.message}: ask whoever runs it for its token for writers") from None
            raise
        return printable(said.decode("utf-8", "replace").strip(), limit=300)

    def close(self) -> None:
        """Close its connections."""
        self._contents.close()
        self._server.close()


def _trouble(gathering: Gathering, error: IpvmError) -> Answers:
    """Return what came before something went wrong, and what that was."""
    found = gathering.answers()
    return Answers(found, error.message, lied=found.lied or isinstance(error, BadInput | Mismatch))
