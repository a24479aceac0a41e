"""Resources: what a task needs, brought into the store before it runs: from the store, then Kubo, then a gateway.

A file comes as an archive or block by block, and each block is checked against its CID before anything is done with it, so
whoever sends can at most refuse. Content by `file:` and `https:` has no CID in its address: the CID of what was found is recorded,
as a pin named by the address, and what is found later must have it. Nothing is fetched that is on file, and nothing at
all until something needs it.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from ipvm_kernel.errors import BadInput, IpvmError, LimitExceeded, Mismatch, NotFound
from ipvm_kernel.exchange.asking import Asked, Fetching, Source, gathered
from ipvm_kernel.exchange.flights import Flight, Flights
from ipvm_kernel.exchange.needs import Use, check_use, links_in
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.unixfs import entry, read
from ipvm_kernel.model import address
from ipvm_kernel.printable import printable, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ipvm_kernel.exchange.dags import Spare
    from ipvm_kernel.exchange.settings import Settings
    from ipvm_kernel.ipld import FileBytes
    from ipvm_kernel.model import Instruction
    from ipvm_kernel.store import Store
    from ipvm_kernel.wasm.stop import Stop

_PIECE: Final = 1 << 20  # bytes of a file that are read at once

T = TypeVar("T")


class Resources:
    """What tasks need, from the store or from elsewhere.

    Args:
        store: Where it is kept.
        settings: Where it may come from; what the environment says, read when it is first needed, unless given.
        alone: Nobody is asked, no file and no place is looked at: what is not in the store is not there.

    Attributes:
        watch: Told of each step of a fetch, in whichever thread makes it.
        more: Gives who else may be asked, after Kubo and the gateway.
    """

    def __init__(self, store: Store, settings: Settings | None = None, *, alone: bool = False) -> None:
        self.watch: Callable[[Fetching], None] | None = None
        self.more: Callable[[], Sequence[Source]] | None = None
        self._store = store
        self._settings = settings
        self._alone = alone
        self._sources: list[Source] | None = None
        self._flights = Flights()
        self._modules: set[CID] = set()

    # --- what is here -------------------------------------------------------------------------------------------------

    def read(self, cid: CID) -> bytes:
        """Return the bytes of a file or raw block that is here. Raises as `Store.read` does."""
        return self._found(cid, self._store.read)

    def open(self, cid: CID) -> bytes | FileBytes:
        """Return the bytes of a file or raw block that is here, large ones as a file. Raises as `Store.open` does."""
        return self._found(cid, self._store.open)

    def _found(self, cid: CID, look: Callable[[CID], T]) -> T:
        """Return what looking a CID up gives, or another CID of the same content that is cut in another way."""
        try:
            return look(cid)
        except NotFound:
            other = self._store.pins().get(f"ipfs://{cid}")
            if other is None:
                raise
            return look(other)

    def module(self, instruction: Instruction) -> CID | None:
        """Return the CID of the module of an instruction, also where its address is of a place, or None."""
        known = instruction.module
        if known is not None:
            return known
        try:
            place = address.parse(instruction.rsc)
        except BadInput:
            return None  # a pin of the user's may be called so, and is none of a workflow's business
        return self._store.pins().get(place.text)

    def has(self, cid: CID) -> bool:
        """Return True if content is here, under its own CID or cut in another way."""
        return self._store.size(cid) is not None or (
            cid.codec in {"raw", "dag-pb"} and f"ipfs://{cid}" in self._store.pins()
        )

    # --- what is not --------------------------------------------------------------------------------------------------

    def provide(self, instruction: Instruction, stop: Stop | None = None) -> None:
        """Bring in what an instruction needs: its module, and the content of the links in its arguments.

        Raises:
            NotFound: Nobody has it, or nobody can be asked; the message says who was asked and what came of it.
            Mismatch: What came is not what was asked for, or not what was there before.
            LimitExceeded: It is larger than allowed.
            BadInput: Its address is none that can be fetched.
            Cancelled: It was stopped.
        """
        cid = instruction.module
        if cid is None:
            self.obtain(instruction.rsc, "module", stop)
        elif cid not in self._modules:
            self.fetch(cid, "module", stop)
            self._modules.add(cid)  # modules are never dropped to make room
        for link in links_in(instruction.input):
            if not self.has(link):
                self.fetch(link, "input", stop)

    def fetch(self, cid: CID, use: Use = "input", stop: Stop | None = None) -> CID:
        """Bring in the content of a CID, and return the CID that it is kept under.

        That is another one where its author cut the file in another way than `ipfs add --cid-version=1` does.

        Raises:
            As `provide` does.
        """
        if self.has(cid):
            return self._store.pins().get(f"ipfs://{cid}", cid) if self._store.size(cid) is None else cid
        self._may_ask(str(cid))
        return self._wait(str(cid), stop, lambda flight: self._bring(cid, use, flight))

    def obtain(self, text: str, use: Use = "input", stop: Stop | None = None) -> CID:
        """Bring in what an address names, and return the CID that it is kept under.

        What came from a place is recorded. A file is looked at each time; what is on the web is fetched once, and from
        then on answered from the store.

        Raises:
            As `provide` does.
        """
        place = address.parse(text)
        if place.kind == "content" and place.cid is not None:
            return self.fetch(place.cid, use, stop)
        self._may_ask(text)
        before = self._store.pins().get(text)
        if before is not None and self._store.size(before) is not None:
            if place.kind != "file" or not Path(place.path).is_file():
                return before
        elif place.kind == "inside":
            return self._wait(text, stop, lambda flight: self._inside(place, use, flight))
        elif place.kind == "web":
            return self._wait(text, stop, lambda flight: self._download(text, use, before, flight))
        return self._local(text, Path(place.path), use, before)

    def check(self, text: str, stop: Stop | None = None) -> CID:
        """Look at an address again, whatever is on file, and return the CID of what is there now.

        Raises:
            Mismatch: It is not what it was.
            As `provide` does.
        """
        place = address.parse(text)
        if place.kind != "web" or self._alone:
            return self.obtain(text, "input", stop)
        before = self._store.pins().get(text)
        return self._wait(text, stop, lambda flight: self._download(text, "input", before, flight))

    def _may_ask(self, text: str) -> None:
        if self._alone:
            raise NotFound(f"{printable(text, limit=300)} did not come along, and nobody else is asked for it")

    # --- places -------------------------------------------------------------------------------------------------------

    def _local(self, text: str, path: Path, use: Use, before: CID | None) -> CID:
        try:
            if not path.is_file():
                raise NotFound(
                    f"no file at {printable(str(path), limit=300)}, which {printable(text, limit=300)} names"
                )
            count = path.stat().st_size
            if count > self.settings.max_bytes:
                raise LimitExceeded(f"expected at most {size(self.settings.max_bytes)}, found {size(count)}: {path}")
            with path.open("rb") as file:
                check_use(file.read(16), text, use)
            cid = self._store.put_file(path, use)
        except OSError as error:
            raise NotFound(f"{printable(str(path), limit=300)} cannot be read: {error.strerror}") from None
        return self._record(text, cid, before)

    def _download(self, text: str, use: Use, before: CID | None, flight: Flight[CID]) -> CID:
        from ipvm_kernel.exchange import web

        data = web.fetch(
            text,
            flight.deadline,
            max_bytes=self.settings.max_bytes,
            pause=self.settings.pause,
            progress=lambda count: self._tell(flight.told, count),
        )
        check_use(data, text, use)
        return self._record(text, self._store.put_file(data, use), before)

    def _record(self, text: str, cid: CID, before: CID | None) -> CID:
        if before is not None and before != cid:
            raise Mismatch(
                f"{printable(text, limit=300)} is not what it was: expected {before}, which is on file for it, found {cid}. To "
                "take what is there now, unpin the address: ipvm unpin ADDRESS"
            )
        if before is None:
            self._store.pin(text, cid)
        return cid

    # --- content ------------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """Where content may come from, and how much of it."""
        if self._settings is None:
            from ipvm_kernel.exchange.settings import from_environment

            self._settings = from_environment()
        return self._settings

    @property
    def sources(self) -> list[Source]:
        """Who may be asked, in order."""
        if self._sources is None:
            from ipvm_kernel.exchange.gateway import Gateway
            from ipvm_kernel.exchange.kubo import Kubo

            found: list[Source] = []
            if self.settings.kubo:
                found.append(Kubo(self.settings.kubo, self.settings.pause))
            if self.settings.gateway:
                found.append(Gateway(self.settings.gateway, self.settings.pause))
            self._sources = found
        return self._sources

    def kubo_version(self) -> str:
        """Return which version of Kubo answers, or "" if none does. It is asked once, and not for long."""
        from ipvm_kernel.exchange.http import Deadline
        from ipvm_kernel.exchange.kubo import Kubo

        kubo = next((source for source in self.sources if isinstance(source, Kubo)), None)
        if kubo is None:
            return ""
        try:
            return kubo.version(Deadline(2))
        except IpvmError:
            return ""

    def _inside(self, place: address.Address, use: Use, flight: Flight[CID]) -> CID:
        """Fetch a file in a folder, each folder on the way checked, and record which one it is."""
        found = place.cid
        with self._asked(place.text, flight, archives=False) as asked:
            for name in place.path.split("/"):
                assert found is not None
                folder, found = found, entry(found, asked.block(found), name)
                if found is None:
                    raise NotFound(f"the folder {folder} has no {printable(name, limit=100)!r}")
        assert found is not None
        kept = self.fetch(found, use) if self.has(found) else self._bring(found, use, flight)
        return self._record(place.text, kept, None)

    @property
    def fetching(self) -> list[Fetching]:
        """What is fetched at this moment, and how far it is."""
        return self._flights.told

    def _asked(
        self,
        root: CID | str,
        flight: Flight[T],
        *,
        archives: bool = True,
        tell: Callable[[Fetching, int], None] | None = None,
    ) -> Asked:
        sources = [*self.sources, *(self.more() if self.more is not None else ())]
        most = self.settings.max_bytes if archives else 0
        there = self._store.size
        return Asked(root, sources, flight.deadline, flight.told, tell or self._tell, archives=most, size=there)

    def _bring(self, cid: CID, use: Use, flight: Flight[CID]) -> CID:
        """Fetch the content of a CID, whole, and keep it."""
        with self._asked(cid, flight) as asked:
            if cid.codec not in {"raw", "dag-pb"}:
                return self._store.put(Block(cid, asked.block(cid)))
            return self._keep(cid, use, asked)

    def _keep(self, cid: CID, use: Use, asked: Asked) -> CID:
        pieces = read(cid, asked.block, max_bytes=self.settings.max_bytes)
        with gathered(pieces) as whole:
            kept = self._store.put_file(whole, use)
        if kept != cid:
            self._store.pin(f"ipfs://{cid}", kept)
        return kept

    # --- more than one file -------------------------------------------------------------------------------------------

    def fetch_dag(
        self,
        root: CID,
        *,
        stop: Stop | None = None,
        progress: Callable[[Fetching], None] | None = None,
        spare: Spare | None = None,
    ) -> Path:
        """Return the path of a new temporary file: an archive of everything that a root reaches by links.

        Each block was checked, and comes once, parents before children. What is in the store is taken from there. The
        store is not changed, and whoever asked removes the file.

        Args:
            root: Where it begins: dag-cbor, dag-json or dag-pb; a raw block is its own archive.
            stop: Says when to wait no longer.
            progress: Told of each step, in the thread that makes it.
            spare: Is shown each block as it comes, parents first, and returns what its sender left out, which is not
                looked for.

        Raises:
            NotFound, Mismatch: Something of it is nowhere; the message says what, the way to it from the root, who was
                asked, and what to ask the sender for.
            LimitExceeded: It is more than the settings allow (`IPVM_FETCH_BYTES`), or of more than 500,000 blocks.
            Malformed, HashNotAllowed: A block that was sent is what its CID says, and not what its codec says.
            Cancelled: It was stopped.
        """
        descriptor, name = tempfile.mkstemp(prefix="ipvm-", suffix=".car")
        path = Path(name)

        def work(flight: Flight[Path]) -> Path:
            from ipvm_kernel.exchange import dags

            def tell(told: Fetching, count: int) -> None:
                self._tell(told, count)
                if progress is not None:
                    progress(told)

            with os.fdopen(descriptor, "wb") as file, self._asked(root, flight, tell=tell) as asked:
                most = self.settings.max_bytes
                dags.write(root, self._store, asked, file, max_bytes=most, spare=spare)
            return path

        try:
            return self._wait(str(root), stop, work, alone=True)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def unpack(self, cid: CID, target: Path, stop: Stop | None = None) -> list[Path]:
        """Write a folder of IPFS as a new folder, and return the files in it. They are kept in the store, too.

        Nothing is left at `target` unless all of it came.

        Args:
            cid: The folder.
            target: Where it will stand. Nothing is there yet, or an empty folder.
            stop: Says when to wait no longer.

        Raises:
            BadInput: It is no folder; a name in it is not safe everywhere.
            NotAllowed: Something else is at `target`.
            As `provide` does.
        """

        def work(flight: Flight[list[Path]]) -> list[Path]:
            from ipvm_kernel.exchange import folders

            most = self.settings.max_bytes
            with self._asked(cid, flight) as asked:
                get, content = asked.block, partial(self._content, asked)
                return folders.unpack(cid, target, get, content, flight.deadline, max_bytes=most)

        return self._wait(str(cid), stop, work, alone=True)

    def _content(self, asked: Asked, cid: CID) -> Iterator[bytes]:
        """Yield the content of a file; it is brought in first if it is not here."""
        content = self.open(cid if self.has(cid) else self._keep(cid, "input", asked))
        yield from [content] if isinstance(content, bytes) else content.pieces(_PIECE)

    def _tell(self, told: Fetching, count: int) -> None:
        told.done = count
        if self.watch is not None:
            self.watch(told)

    def _wait(self, name: str, stop: Stop | None, work: Callable[[Flight[T]], T], *, alone: bool = False) -> T:
        return self._flights.wait(name, self.settings.seconds, stop, work, alone=alone)
