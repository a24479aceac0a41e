"""A Kubo daemon: blocks, archives, pins and peers, each call made the way that the table says."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import BadCID, HashNotAllowed
from ipvm_kernel.exchange.http import Deadline, Refused, Unreachable
from ipvm_kernel.exchange.kubo.client import Client, installed
from ipvm_kernel.exchange.kubo.endpoints import ENDPOINTS
from ipvm_kernel.exchange.kubo.rpc import Rpc
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.limits import PEER
from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, LINKS
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ipvm_kernel.exchange.kubo.endpoints import Way

_PATIENCE: Final = 15.0  # seconds that Kubo may look for a block on its network
_ALLOWED: Final = 60.0  # seconds of a call that is given no deadline
_STILL: Final = 5.0  # seconds without a byte of an archive of what is there
_TOGETHER: Final = 64  # CIDs in one call, which has them in its address
_ARCHIVE: Final = 1 << 40  # bytes of an archive; whoever reads it has closer bounds
_ALL_PINS: Final = 256 << 20  # bytes of a list of them
_PEERS: Final = 20
_PINNED: Final = "already pinned recursively"
_PROVIDER: Final = 4  # the type of an event of routing that names providers


class Kubo:
    """A Kubo daemon. Calls that take a deadline last 60 s if none is given.

    Args:
        address: Where its RPC listens: `http://127.0.0.1:5001`.
        pause: Seconds before a request is made again; twice as long each time.
    """

    at_once: Final = 32
    """How many blocks it may be asked for at once."""

    def __init__(self, address: str, pause: float = 0.25) -> None:
        self.name = f"Kubo at {address}"
        self._rpc = Rpc(address, self.name, pause)
        self._client = Client(address, self.name)

    # --- blocks -------------------------------------------------------------------------------------------------------

    def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
        """Return the bytes that Kubo has, or finds, under a CID. They are not checked here.

        Raises:
            Unreachable, Refused, LimitExceeded, Over: As `Server.ask` does; a block that it cannot find is refused.
        """
        return self._rpc.call(
            "get_block",
            deadline,
            max_bytes=PEER.block_bytes,
            progress=progress,
            arg=cid,
            timeout=_patience(deadline),
        )

    def put_block(self, cid: CID, data: bytes, deadline: Deadline) -> None:
        """Give Kubo a block.

        Raises:
            Unreachable, Refused, Over: As `Server.ask` does; a block that got another CID there is refused.
        """
        answer = self._rpc.json(
            "put_block", deadline, sent=data, cid_codec=cid.codec, mhtype=cid.hash, allow_big_block=True
        )
        self._same(cid, answer.get("Key"))

    def put_node(self, cid: CID, data: bytes, deadline: Deadline, *, pin: bool = False) -> None:
        """Give Kubo a block of dag-cbor as Homestar gives it receipts: by `dag put`, named by the hash of its CID.

        Kubo reads it and writes it anew, so what is not in its one form gets another CID, and is refused.

        Raises:
            As `put_block` does.
        """
        answer = self._rpc.json(
            "put_node",
            deadline,
            sent=data,
            store_codec="dag-cbor",
            input_codec="dag-cbor",
            hash=cid.hash,
            pin=pin,
            allow_big_block=True,
        )
        self._same(cid, _linked(answer.get("Cid")))

    def _same(self, cid: CID, found: object) -> None:
        if found != str(cid):
            raise Refused(f"{self.name} keeps {cid} as {printable(str(found), limit=100)}", 200)

    def has(self, cid: CID, deadline: Deadline | None = None) -> bool:
        """Return True if Kubo has a block itself; it asks nobody.

        Raises:
            Unreachable, Refused, Over: As `Server.ask` does.
        """
        try:
            self._rpc.call("has", deadline or Deadline(_ALLOWED), arg=cid, offline=True)
        except Refused as error:
            if error.status == 404:
                return False
            raise
        return True

    def remove_block(self, cid: CID, deadline: Deadline | None = None) -> bool:
        """Have Kubo drop a block, and return True if it had it.

        Raises:
            Unreachable, Over: As `Server.ask` does.
            Refused: So does it; and a block that is pinned stays.
        """
        deadline = deadline or Deadline(_ALLOWED)
        had = self.has(cid, deadline)
        for line in self._rpc.lines("remove_block", deadline, arg=cid, force=True):
            if error := line.get("Error"):
                raise Refused(f"{self.name} keeps {cid}: {printable(str(error), limit=300)}", 500)
        return had

    # --- archives -----------------------------------------------------------------------------------------------------

    def export_car(
        self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None
    ) -> Iterator[bytes]:
        """Yield the archive (CARv1) of everything that a CID reaches, in depth first, each block once.

        Nothing is checked here, not even that it is complete: what Kubo does not find on the way is missing at its end.

        Raises:
            Unreachable, Refused, LimitExceeded, Over: As `Server.stream` does.
        """
        return self._rpc.stream("export_car", deadline, max_bytes=_ARCHIVE, progress=progress, arg=cid)

    def car(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
        """Yield the archive of what Kubo itself has of everything that a CID reaches; it asks nobody and waits for nobody.

        A Kubo before 0.43 knows no such archive, and looks for what it does not have: it is given up after 5 s of silence.

        Raises:
            As `export_car` does.
        """
        return self._rpc.stream(
            "export_car", deadline, max_bytes=_ARCHIVE, progress=progress, silence=_STILL, arg=cid, local_only=True
        )

    def import_car(
        self,
        pieces: Iterable[bytes],
        deadline: Deadline,
        progress: Callable[[int], None] | None = None,
        *,
        pin: bool,
    ) -> list[CID]:
        """Give Kubo all blocks of an archive, which is sent as it is made, and return the roots that it pinned.

        Args:
            pieces: The archive.
            deadline: When it must be done.
            progress: Told how many bytes were sent.
            pin: Pin its roots, with all that they reach; else none are, and none are returned.

        Raises:
            Unreachable, LimitExceeded, Over: As `Server.stream` does.
            Refused: Kubo takes no such archive, or could not pin a root, because something that it reaches is missing.
        """
        pinned: list[CID] = []
        ended = False
        for line in self._rpc.lines(
            "import_car",
            deadline,
            sent=pieces,
            progress=progress,
            pin_roots=pin,
            stats=True,
            timeout=f"{max(1, int(deadline.left() * 0.9))}s",  # else it looks for what is missing for ever
        ):
            ended = ended or "Stats" in line
            root = line.get("Root")
            if type(root) is not dict:
                continue
            cid = self._cid(_linked(root.get("Cid")))
            if said := root.get("PinErrorMsg"):
                raise Refused(
                    f"{self.name} has the blocks of the archive and could not pin its root {cid}: "
                    f"{printable(str(said), limit=300)}",
                    500,
                )
            pinned.append(cid)
        if not ended:
            raise Unreachable(f"{self.name} broke off before it said that all of the archive is there")
        return pinned

    # --- pins ---------------------------------------------------------------------------------------------------------

    def pin(self, cid: CID, deadline: Deadline | None = None) -> None:
        """Have Kubo keep everything that a CID reaches, and look for what it does not have.

        Raises:
            NotFound: ipfshttpclient is not installed.
            Unreachable, Refused, Over: As `Client.session` does.
        """
        deadline = deadline or Deadline(_ALLOWED)
        with self._client.session("pin", deadline) as client:
            client.pin.add(str(cid), opts={"timeout": f"{max(1, int(deadline.left()))}s"})

    def unpin(self, cid: CID, deadline: Deadline | None = None) -> bool:
        """Take a pin away; return False if there was none.

        Raises:
            As `pin` does.
        """
        with _unless("not pinned"), self._client.session("unpin", deadline or Deadline(_ALLOWED)) as client:
            client.pin.rm(str(cid))
            return True
        return False

    def pinned(self, cid: CID, deadline: Deadline | None = None) -> bool:
        """Return True if a CID is pinned with all that it reaches, itself and not through another.

        Raises:
            As `pin` does.
        """
        with _unless("not pinned"), self._client.session("pinned", deadline or Deadline(_ALLOWED)) as client:
            return str(cid) in client.pin.ls(str(cid), type="recursive").get("Keys", {})
        return False

    def pin_each(self, cids: Iterable[CID], deadline: Deadline | None = None) -> None:
        """Have Kubo keep blocks, each by itself: for a DAG of which something is left out, which cannot be pinned whole.

        Raises:
            As `pin` does.
        """
        deadline = deadline or Deadline(_ALLOWED)
        for some in _batches(cids):
            try:
                self._pin_some(some, deadline)
            except Refused as error:
                if _PINNED not in error.message:
                    raise
                for one in some:  # of which one is a root already, and kept with all below it
                    with _unless(_PINNED):
                        self._pin_some([one], deadline)

    def _pin_some(self, names: list[str], deadline: Deadline) -> None:
        with self._client.session("pin", deadline) as client:
            client.pin.add(*names, recursive=False, opts={"timeout": f"{max(1, int(deadline.left()))}s"})

    def unpin_each(self, cids: Iterable[CID], deadline: Deadline | None = None) -> int:
        """Take away pins that `pin_each` made, and return how many there were.

        Raises:
            As `pin` does.
        """
        deadline = deadline or Deadline(_ALLOWED)
        with self._client.session("pinned", deadline, max_bytes=_ALL_PINS) as client:
            there = client.pin.ls(type="direct").get("Keys", {}).keys()
        gone = 0
        for some in _batches(cid for cid in cids if str(cid) in there):
            with self._client.session("unpin", deadline) as client:
                client.pin.rm(*some, recursive=False)
            gone += len(some)
        return gone

    # --- files --------------------------------------------------------------------------------------------------------

    def add(self, source: bytes | Path, deadline: Deadline | None = None, *, pin: bool = True) -> CID:
        """Give Kubo bytes, a file or a folder, cut and named as ours are, and return its CID.

        Raises:
            As `pin` does.
        """
        what: Any = source if isinstance(source, Path) else io.BytesIO(source)
        opts = {"cid-version": 1, "raw-leaves": True, "chunker": f"size-{CHUNK_BYTES}", "max-file-links": LINKS}
        with self._client.session("add", deadline or Deadline(_ALLOWED)) as client:
            found = client.add(what, recursive=True, raw_leaves=True, pin=pin, opts=opts)
            last = found[-1] if isinstance(found, list) else found
            return self._cid(last["Hash"])

    def cat(self, cid: CID, deadline: Deadline | None = None, *, max_bytes: int = 1 << 30) -> Iterator[bytes]:
        """Yield the bytes of a file as Kubo puts it together. Nothing is checked here: `Resources.fetch` does that.

        Raises:
            As `pin` does.
            LimitExceeded: They are more than `max_bytes`.
        """
        with (
            self._client.session("cat", deadline or Deadline(_ALLOWED), max_bytes=max_bytes) as client,
            client.cat(str(cid), stream=True, opts={}) as pieces,
        ):
            yield from pieces

    # --- the daemon and its network -----------------------------------------------------------------------------------

    def version(self, deadline: Deadline) -> str:
        """Return which version it is. Raises as `Server.ask` or `Client.session` does."""
        return self._about("version", "Version", deadline)

    def id(self, deadline: Deadline) -> str:
        """Return the id of the peer that it is. Raises as `version` does."""
        return self._about("id", "ID", deadline)

    def _about(self, call: str, field: str, deadline: Deadline) -> str:
        if _way(call) == "client":
            with self._client.session(call, deadline) as client:
                found = getattr(client, call)()[field]
        else:
            found = self._rpc.json(call, deadline).get(field)
        return printable(str(found), limit=100)

    def providers(self, cid: CID, deadline: Deadline) -> list[str]:
        """Return the ids of peers that say they have a CID, as far as Kubo finds them: 20 at most.

        Raises:
            Unreachable, Refused, LimitExceeded, Over: As `Server.stream` does.
        """
        found: dict[str, None] = {}
        for line in self._rpc.lines("providers", deadline, arg=cid, num_providers=_PEERS, timeout=_patience(deadline)):
            if line.get("Type") == _PROVIDER and type(line.get("Responses")) is list:
                found |= dict.fromkeys(
                    printable(str(peer.get("ID")), limit=100) for peer in line["Responses"] if type(peer) is dict
                )
        return list(found)

    def provide(self, cid: CID, deadline: Deadline | None = None) -> None:
        """Have Kubo tell its network that it has a CID. Its own schedule does that too, a while later.

        Raises:
            Unreachable, Refused, Over: As `Server.stream` does.
        """
        for _ in self._rpc.lines("provide", deadline or Deadline(_ALLOWED), arg=cid):
            pass

    def close(self) -> None:
        """Close its connections."""
        self._rpc.close()

    def _cid(self, text: object) -> CID:
        try:
            return CID.parse(str(text))
        except (BadCID, HashNotAllowed):
            raise Unreachable(
                f"{self.name} does not speak Kubo's RPC: expected a CID, found {printable(str(text), limit=100)}"
            ) from None


def _batches(cids: Iterable[CID]) -> Iterator[list[str]]:
    names = map(str, dict.fromkeys(cids))
    while some := list(itertools.islice(names, _TOGETHER)):
        yield some


def _way(call: str) -> Way:
    """Return which way a call goes here: the table's, or the one that it has for where the client is not installed."""
    endpoint = ENDPOINTS[call]
    return endpoint.without if endpoint.without and not installed() else endpoint.way


class _unless:  # noqa: N801 - read as what it does
    """Let an answer of Kubo's pass that says something."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> bool:
        return isinstance(error, Refused) and self._words in error.message


def _linked(value: object) -> object:
    """Return the CID in a link of DAG-JSON: `{"/": "bafy..."}`."""
    return value.get("/") if type(value) is dict else None


def _patience(deadline: Deadline) -> str:
    """Return how long Kubo may look on its network, so that there is time for its answer."""
    return f"{max(1, min(int(_PATIENCE), int(deadline.left() * 0.8)))}s"
