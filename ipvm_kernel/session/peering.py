"""Peers of a session: receipts that come from them are kept as theirs, and its own go to them when it is told to.

Source: Homestar 0.3.0, `homestar-runtime/src/network/pubsub/` and `event_handler/` (`homestar.md` 1.14): a gossiped message
is the DAG-CBOR of `{header: {nonce}, payload: stored receipt}`, signed by its publisher; a record under an instruction's
CID is a capsule.
"""

from __future__ import annotations

import secrets
import threading
import time
import warnings
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import BadInput, IpvmError, Malformed, NotFound, ToolchainMissing
from ipvm_kernel.homestar import capsules
from ipvm_kernel.ipld import CID, PEER, Ipld, decode, encode
from ipvm_kernel.model import Workflow
from ipvm_kernel.printable import printable, size
from ipvm_kernel.session.admitting import doubts, task_of
from ipvm_kernel.session.bringing import keep, line_of
from ipvm_kernel.store import EVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ipvm_kernel.model import Receipt
    from ipvm_kernel.session.session import Session
    from ipvm_kernel.trust import Policy

_ROW_BYTES: Final = 512  # what a receipt takes in tables and indices besides itself, about
_TOLD: Final = 10_000  # receipts that were published, remembered so that questions about them are answered
_PEER_BYTES: Final = 256 * 2**20  # of receipts that one peer may leave here in one session
_ALL_BYTES: Final = 2**30  # the same of all peers: keys are cheap, and each is a peer


class Peering:
    """A session among peers.

    Args:
        session: Where receipts are kept.
        policy: Who is trusted.
        tell: Called with what happens, in the words of Homestar's network notifications, from any thread.
        refused: Called with the reason and one line for what is dropped.
        options: What `Network` takes.

    Raises:
        ToolchainMissing: The extra `p2p` is not installed.
        Unreachable: The network cannot be joined.
    """

    def __init__(
        self,
        session: Session,
        policy: Policy,
        *,
        tell: Callable[[str, dict[str, Ipld]], object] | None = None,
        refused: Callable[[str, str], object] | None = None,
        **options: Any,
    ) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # libp2p 0.8.1 loads an old part of websockets
                from ipvm_kernel.exchange.peers.network import Network
        except ImportError as error:
            raise ToolchainMissing(
                f'peers need {error.name}, which is not installed: pip install "ipvm[p2p]"'
            ) from None
        self._session = session
        self._policy = policy
        self._tell = tell or (lambda _kind, _fields: None)
        self._refused = refused or (lambda _reason, _line: None)
        self._published: OrderedDict[CID, Receipt] = OrderedDict()
        self._workflows: dict[CID, tuple[Workflow, str]] = {}
        self._kept: Counter[str] = Counter()
        self._kept_of_all = 0
        self._lock = threading.Lock()
        self.received = 0
        self.dropped: Counter[str] = Counter()
        self.network = Network(self, **options)

    def close(self) -> None:
        """Leave the network."""
        self.network.close()

    # --- out ----------------------------------------------------------------------------------------------------------

    def publish(self, instructions: Iterable[CID]) -> tuple[list[CID], list[str]]:
        """Send the receipts that answer some instructions to every peer of the topic, and keep them as records.

        Nothing but receipts leaves: no module, no input, no workflow; and none that came of a secret, or that a layer lent.

        Returns:
            The CIDs of the receipts that were sent, and why others were not, one line each.

        Raises:
            NotFound: No peer listens.
        """
        from ipvm_kernel.sharing.secrecy import tainted

        wanted = list(instructions)
        store = self._session.store
        found, hidden = store.on_file(wanted), tainted(store, wanted)
        if not self.network.mesh:
            raise NotFound("no peer listens: connect to one first, with %ipvm peer ADDRESS")
        sent, left = [], []
        for instruction in wanted:
            entry, task = found.get(instruction), task_of(store, instruction)
            receipt = entry.receipt if entry is not None and entry.made_here and entry.admitted else None
            if instruction in hidden:
                left.append(f"{instruction.short}: it came of a secret")
                continue
            if receipt is None or task is None:
                left.append(f"{instruction.short}: no receipt of our own is on file")
                continue
            why = (
                "an error is for nobody else" if not receipt.ok else doubts(task.run, receipt, store, self._session.ops)
            )
            if why:
                left.append(f"{instruction.short} ({printable(task.run.func, limit=60)}): {why}")
                continue
            self._send(instruction, receipt)
            sent.append(receipt.cid)
        return sent, left

    def publish_named(self, cid: CID) -> dict[str, Any]:
        """Publish the receipts of a workflow, or of the one task that a CID is about, as `publish` does.

        Whoever asks is told of the workflow from then on: its name, its CIDs, its resources and its receipts.

        Returns:
            `sent`, CIDs of receipts; `left`, lines; `peers`, how many listen. All as text.
        """
        found = self._session.find(cid)
        if isinstance(found.node, Workflow):
            self.offer(found.node, str(cid))
            wanted = list(found.node.by_instruction())
        else:
            wanted = [self._session.instruction_of(cid)]
        sent, left = self.publish(wanted)
        return {"sent": [str(one) for one in sent], "left": left, "peers": self.network.mesh}

    def _send(self, instruction: CID, receipt: Receipt) -> None:
        with self._lock:
            self._published[instruction] = receipt
            if len(self._published) > _TOLD:
                self._published.popitem(last=False)
        message = {"header": {"nonce": secrets.token_bytes(12)}, "payload": capsules.stored(instruction, receipt)}
        self.network.publish(encode(message))
        self.happened("published_receipt_pubsub", {"cid": str(receipt.cid), "ran": str(receipt.ran)})

    def offer(self, workflow: Workflow, name: str) -> None:
        """Answer questions about a workflow from now on: its name, how many tasks, and which receipts there are."""
        self._workflows[workflow.cid] = (workflow, name)

    def find(self, instruction: CID, timeout: float = 0.5) -> list[tuple[str, CID]]:
        """Ask every peer for the receipt of an instruction, keep what comes, and return it by who gave it.

        Whoever is asked learns that somebody here is interested in the instruction.

        Args:
            instruction: The instruction.
            timeout: Seconds; Homestar's `p2p_receipt_timeout` is 0.5.
        """
        got: list[tuple[str, CID]] = []
        for peer, value in self.network.find(instruction.bytes, timeout):
            receipt = self._capsule(peer, instruction, value)
            if receipt is not None:
                self.happened("got_receipt_dht", {"cid": str(receipt.cid), "publisher": peer, "ran": str(receipt.ran)})
                got.append((peer, receipt.cid))
        self._session.store.sync()
        return got

    # --- in: what the network tells ----------------------------------------------------------------------------------

    def fits(self, data: bytes) -> bool:
        """Return True for a gossiped receipt that is what it says it is."""
        try:
            _gossiped(data)
        except IpvmError as error:
            self.refuse("peer: bad receipt", error.message)
            return False
        return True

    def gossip(self, publisher: str, data: bytes) -> None:
        """Keep a gossiped receipt as its publisher's."""
        stored = _gossiped(data)
        if self._keep(publisher, stored):
            receipt = stored.receipt
            self._session.store.sync()
            if self._policy.trusts(publisher):  # since just now, perhaps, by one who could not see it on file yet
                keep(self._session.store, stored, trusted=True, engine=origin(publisher))
            self.happened(
                "received_receipt_pubsub", {"cid": str(receipt.cid), "publisher": publisher, "ran": str(receipt.ran)}
            )

    def put(self, peer: str, key: bytes, value: bytes) -> bool:
        """Keep a record as the peer's who brought it; information about workflows is read, and not kept."""
        try:
            cid = CID.from_bytes(key)
            found = capsules.read(value)
        except IpvmError as error:
            self.refuse("peer: bad record", error.message)
            return False
        if isinstance(found, capsules.Info):
            if found.cid != cid:
                self.refuse("peer: bad record", f"information about {found.cid} came under {cid}")
            return found.cid == cid
        return self._capsule(peer, cid, value) is not None

    def record(self, key: bytes) -> bytes | None:
        """Return the capsule of a receipt that was published in this session."""
        with self._lock:
            receipt = self._published.get(_cid(key))  # type: ignore[arg-type]  # None is no key of it
        return capsules.receipt_capsule(receipt) if receipt is not None else None

    def provides(self, key: bytes) -> bool:
        """Return True for a workflow that is offered."""
        return _cid(key) in self._workflows

    def answer(self, peer: str, request: bytes) -> bytes:
        """Return the information about a workflow that is offered, or Homestar's error, as a CBOR list of byte values."""
        try:
            asked = decode(request, PEER)
        except IpvmError as error:
            raise Malformed(f"no question: {error.message}") from None
        cid, tag = (asked.get("cid"), asked.get("capsule_tag")) if type(asked) is dict else (None, None)
        if type(cid) is not str or tag not in {"Receipt", "Workflow"}:
            raise Malformed("no question: expected {cid, capsule_tag}")
        named = CID.parse(cid)
        offered = self._workflows.get(named)
        if tag != "Workflow" or offered is None:
            kind = "Timeout" if tag == "Workflow" else "Unsupported"
            return encode(list(encode({kind: {"cid": cid, "capsule_tag": tag}})))
        workflow, name = offered
        on_file = self._session.store.on_file(task.run.cid for task in workflow.tasks)
        info = capsules.Info.of(workflow, name=name, progress=[one.cid for one in on_file.values() if one.own])
        self.happened(
            "sent_workflow_info",
            {"cid": str(info.cid), "name": name, "num_tasks": info.num_tasks, "progress_count": info.progress_count,
             "progress": [str(one) for one in info.progress], "requestor": peer},
        )  # fmt: skip
        return encode(list(capsules.workflow_capsule(info)))

    def happened(self, kind: str, fields: dict[str, Ipld]) -> None:
        """Pass on what happened."""
        self._tell(kind, fields if "timestamp" in fields else {**fields, "timestamp": _now()})

    def refuse(self, reason: str, line: str) -> None:
        """Count what was dropped."""
        self.dropped[reason] += 1
        self._refused(reason, line)

    def _capsule(self, peer: str, instruction: CID, value: bytes) -> Receipt | None:
        try:
            receipt = capsules.read_receipt(value)
        except IpvmError as error:
            self.refuse("peer: bad record", error.message)
            return None
        self._keep(peer, capsules.Stored(instruction, receipt))
        return receipt

    def _keep(self, peer: str, stored: capsules.Stored) -> bool:
        if not capsules.for_homestar(stored.receipt):
            self.refuse("peer: error receipt", f"{stored.receipt.cid} from {peer} is an error, which nobody sends")
            return False
        length = len(stored.receipt.block.data) + _ROW_BYTES
        if self._kept[peer] + length > _PEER_BYTES or self._kept_of_all + length > _ALL_BYTES:
            self.refuse("peer: too many receipts", f"{peer} left {size(self._kept[peer])} of receipts here already")
            return False
        task = task_of(self._session.store, stored.instruction)
        rsc = task.run.rsc if task is not None else ""
        new = keep(self._session.store, stored, rsc=rsc, trusted=self._policy.trusts(peer), engine=origin(peer))
        took = length if new else 0
        if not new and not self._vouched(peer, stored):
            # Another who says so: to trust either is enough.
            self._session.store.note(line_of(stored, rsc=rsc, engine=origin(peer)))
            took = _ROW_BYTES
        self._kept[peer] += took
        self._kept_of_all += took
        self.received += new
        return new

    def _vouched(self, peer: str, stored: capsules.Stored) -> bool:
        lines = self._session.store.journal(instruction=stored.instruction)
        return any(entry.engine == origin(peer) and entry.receipt == stored.receipt.cid for entry in lines)


def origin(peer: str) -> str:
    """Return how the journal names where a receipt came from."""
    return f"peer {peer}"


def admit(session: Session, policy: Policy, peer: str) -> int:
    """Trust a peer, and return how many of its receipts that are here may be used from now on.

    Each is used once its task is met and shows that it means here what it meant there.

    Raises:
        BadInput: This is no peer's id.
    """
    policy.trust(peer)
    store, count = session.store, 0
    for entry in store.journal(limit=EVERY):
        if entry.how != "loaded" or entry.engine != origin(peer) or entry.receipt is None:
            continue
        receipt = next((f.receipt for f in store.receipts_of(entry.instruction) if f.cid == entry.receipt), None)
        if receipt is not None:
            keep(store, capsules.Stored(entry.instruction, receipt), rsc=entry.rsc, trusted=True, engine=entry.engine)
            count += 1
    store.sync()
    return count


def _gossiped(data: bytes) -> capsules.Stored:
    value = decode(data, PEER)
    if type(value) is not dict or set(value) != {"header", "payload"}:
        raise Malformed("Expected a message {header, payload}, found something else, at `$`")
    return capsules.read_stored(value["payload"])


def _cid(key: bytes) -> CID | None:
    try:
        return CID.from_bytes(key)
    except BadInput:
        return None


def _now() -> int:
    return time.time_ns() // 1_000_000
