"""Capsules: receipts and workflows as Homestar nodes send them to each other.

Source: Homestar 0.3.0, `homestar-runtime/src/receipt.rs` and `workflow/info.rs` (`homestar.md` 1.5, 1.12, 1.14). There are
two forms of a receipt. A *capsule* travels under its instruction's CID, a Kademlia key, and does not repeat it:
`{"ipvm/receipt": {ran, out, meta, iss, prf, version}}`. A *stored* receipt, which is gossiped and shown, does:
`{cid, instruction, ran, out, meta, iss, prf, version}`. Both are DAG-CBOR.

Whatever is read here came from somebody else: it is bounded before it is built, decoded strictly, and its CID is worked
out, never believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from ipvm_kernel.errors import Malformed, Mismatch
from ipvm_kernel.ipld import CID, Ipld, Node, decode, encode
from ipvm_kernel.ipld.limits import PEER, Limits
from ipvm_kernel.model import Receipt
from ipvm_kernel.model.instruction import within
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ipvm_kernel.model import Workflow

VERSION: Final = "0.2.0"
"""The version of UCAN Invocation that Homestar 0.3.0 writes into a receipt, and the only one that it reads."""

RECEIPT: Final = "ipvm/receipt"
WORKFLOW: Final = "ipvm/workflow"


class Stored(NamedTuple):
    """A receipt and the instruction that it answers, whose body Homestar never sends."""

    instruction: CID
    receipt: Receipt


class Info(Node, frozen=True, kw_only=True):
    """How far a workflow is, as Homestar nodes tell each other.

    Attributes:
        cid: The CID of the workflow.
        name: What the user called it.
        num_tasks: How many tasks it has.
        progress: The receipts that are there, in the order in which they came.
        progress_count: How many that are. (Homestar 0.3.0 may count one too many, `homestar.md` 1.12.)
        resources: What each instruction needs, by the text of its CID: its `rsc`, then the links among its arguments.
    """

    cid: CID
    name: str | None
    num_tasks: int
    progress: list[CID] = msgspec.field(default_factory=list)
    progress_count: int = 0
    resources: dict[str, list[Any]] = msgspec.field(default_factory=dict)  # text and links, which need `from_ipld`

    @classmethod
    def of(cls, workflow: Workflow, *, name: str | None = None, progress: Iterable[CID] = ()) -> Info:
        """Return what there is to say about a workflow.

        Args:
            workflow: The workflow.
            name: What to call it; its CID unless one is given, as Homestar's command line does.
            progress: The receipts that are there.
        """
        done = list(progress)
        return cls(
            cid=workflow.cid,
            name=str(workflow.cid) if name is None else name,
            num_tasks=len(workflow),
            progress=done,
            progress_count=len(done),
            resources=resources(workflow),
        )

    @classmethod
    def from_ipld(cls, value: Ipld) -> Info:
        """Return the information that a wire value is.

        Raises:
            Malformed: It is none; the message names the place.
        """
        made = super().from_ipld(value)
        if made.num_tasks < 0 or made.progress_count < 0:
            raise Malformed("Expected counts of 0 or more in a workflow's information, found less, at `$`")
        for name, needed in made.resources.items():
            if CID.from_canonical(name) is None:
                raise Malformed(
                    f"Expected the CID of an instruction, found {printable(name, limit=80)!r}, at `$.resources`"
                )
            if not all(type(one) in {str, CID} for one in needed):
                raise Malformed(f"Expected addresses and links, found something else, at `$.resources.{name}`")
        return made


def resources(workflow: Workflow) -> dict[str, list[Any]]:
    """Return what each instruction of a workflow needs, as Homestar indexes it: its `rsc`, then its links.

    As Homestar does, it takes only links that are arguments themselves, not those inside lists and maps.
    """
    return {
        str(task.run.cid): [task.run.rsc, *(arg for arg in task.run.args if type(arg) is CID)]
        for task in workflow.tasks
    }


# --- Writing ---


def stored(instruction: CID, receipt: Receipt) -> dict[str, Ipld]:
    """Return the form of a receipt that Homestar gossips: all of it, with its CID and that of its instruction."""
    return {**receipt.to_ipld(), "cid": receipt.cid, "instruction": instruction, "version": VERSION}


def receipt_capsule(receipt: Receipt, instruction: CID | None = None) -> bytes:
    """Return a receipt as Homestar puts it into the DHT, under its instruction's CID.

    Whether it may go there is for the caller to know: an error never does (`for_homestar`). With `instruction`, as in a
    file, which has no key, the capsule says what it answers; Homestar reads that too, and ignores it.
    """
    if instruction is not None:
        return encode({RECEIPT: stored(instruction, receipt)})
    return encode({RECEIPT: {**receipt.to_ipld(), "version": VERSION}})


def workflow_capsule(info: Info) -> bytes:
    """Return the information about a workflow as Homestar puts it into the DHT and answers requests for it."""
    return encode({WORKFLOW: info.to_ipld()})


def for_homestar(receipt: Receipt) -> bool:
    """Return True if Homestar would take a receipt for what it is.

    Homestar ignores the branch of an outcome and passes an error's payload on as if it were the value (seen), so no error
    goes to its topic, its DHT or its database (RULES 5).
    """
    return receipt.ok


# --- Reading ---


def read(data: bytes, limits: Limits = PEER) -> Receipt | Info:
    """Return what a capsule holds: a receipt, or the information about a workflow.

    Args:
        data: DAG-CBOR from a peer, a file or a DHT record.
        limits: What is accepted of it.

    Raises:
        Malformed: No capsule, or one of another version; the message names the place.
        LimitExceeded: More than `limits` allow; nothing was built.
    """
    value = decode(data, limits)
    if type(value) is not dict or len(value) != 1:
        raise Malformed(f"Expected a capsule, a map with the one key {RECEIPT!r} or {WORKFLOW!r}, at `$`")
    ((tag, inner),) = value.items()
    if tag == RECEIPT:
        try:
            if type(inner) is dict and "instruction" in inner:
                return read_stored(inner).receipt
            return _receipt(inner)
        except Malformed as error:
            raise within(f".{tag}", error) from None
    if tag == WORKFLOW:
        try:
            return Info.from_ipld(inner)
        except Malformed as error:
            raise within(f".{tag}", error) from None
    raise Malformed(f"Expected a capsule {RECEIPT!r} or {WORKFLOW!r}, found {printable(tag, limit=60)!r}, at `$`")


def read_receipt(data: bytes, limits: Limits = PEER) -> Receipt:
    """Return the receipt in a capsule. Raises as `read` does, and Malformed where it holds something else."""
    found = read(data, limits)
    if isinstance(found, Receipt):
        return found
    raise Malformed(f"Expected a capsule {RECEIPT!r}, found {WORKFLOW!r}, at `$`")


def read_info(data: bytes, limits: Limits = PEER) -> Info:
    """Return the information in a capsule. Raises as `read` does, and Malformed where it holds something else."""
    found = read(data, limits)
    if isinstance(found, Info):
        return found
    raise Malformed(f"Expected a capsule {WORKFLOW!r}, found {RECEIPT!r}, at `$`")


def read_stored(value: Ipld) -> Stored:
    """Return the receipt that a stored one is, with the instruction that it says it answers.

    Raises:
        Malformed: It is none, or of another version; the message names the place.
        Mismatch: Its CID is not that of what it holds.
    """
    if type(value) is not dict:
        raise Malformed("Expected a stored receipt, found no map, at `$`")
    claimed, instruction = value.get("cid"), value.get("instruction")
    if type(claimed) is not CID or type(instruction) is not CID:
        name, found = ("instruction", instruction) if type(claimed) is CID else ("cid", claimed)
        raise Malformed(f"Expected a link, found {type(found).__name__}, at `$.{name}`")
    receipt = _receipt({key: item for key, item in value.items() if key not in {"cid", "instruction"}})
    if receipt.cid != claimed:
        raise Mismatch(f"a receipt came as {claimed}, and is {receipt.cid}: it was dropped")
    return Stored(instruction, receipt)


def _receipt(value: Ipld) -> Receipt:
    if type(value) is not dict:
        raise Malformed(f"Expected a receipt, found {type(value).__name__}, at `$`")
    version = value.get("version")
    if version != VERSION:
        raise Malformed(
            f"Expected a receipt of version {VERSION!r}, found {printable(repr(version), limit=40)}, at `$.version`"
        )
    return Receipt.from_ipld({key: item for key, item in value.items() if key != "version"})
