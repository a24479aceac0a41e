"""What a cache is, where things are in one, and how much of it is accepted.

An HTTP server, a folder and a bucket have the same layout, so that each can be copied into another:

    receipts/<last two characters>/<CID of an instruction>.car     its receipts (the roots), their invocations, statements
    content/<last two characters>/<CID of a file or block>.car     a file with its tree, or one block

A server of ipvm takes many instructions in one `POST /receipts` (DAG-CBOR: a list of links) and answers with one archive. It
gives content as a trustless gateway does: `/ipfs/<CID>?format=raw` and `?format=car`.
Sources: https://ipld.io/specs/transport/car/carv1/, https://specs.ipfs.tech/http-gateways/trustless-gateway/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld import CID, Block

BATCH: Final = 4096
"""Instructions in one question, at most."""

RECEIPTS: Final = 16
"""Receipts for one instruction, at most; more of them are not looked at."""

STATEMENTS: Final = 16
"""Statements about one receipt, at most; more of them are not looked at."""

ANSWER_BYTES: Final = 64 << 20
"""Bytes of one answer, at most. Our own server stops at a quarter of it, and says how far it came (`REACHED`)."""

REACHED: Final = "reached"
"""The key of a block `{"reached": number}` in an answer that was cut: it is about so many instructions, from the first on."""

CAR: Final = "application/vnd.ipld.car"
RAW: Final = "application/vnd.ipld.raw"


class Answered(NamedTuple):
    """One receipt that a cache has for an instruction. All of it hashes to its CIDs, and belongs together.

    Attributes:
        instruction: What was asked for.
        receipt: The receipt; its `ran` is the invocation.
        invocation: The invocation; its task runs the instruction.
        attestations: Statements that name the receipt. Nobody has looked who made them, or whether they hold.
    """

    instruction: CID
    receipt: Block
    invocation: Block
    attestations: list[Block]


class Answers(list[Answered]):
    """What a cache answered, in the order in which it was asked; and what was wrong with it.

    Attributes:
        trouble: Why this is not all of it, in one line; "" if it is.
        lied: True if what came was not what it said it was, rather than late or missing.
    """

    def __init__(self, found: Iterable[Answered] = (), trouble: str = "", *, lied: bool = False) -> None:
        super().__init__(found)
        self.trouble = trouble
        self.lied = lied


class Cache(Protocol):
    """Somebody who may have receipts, and content: it is a `Source` (see `exchange.asking`) as well.

    Whoever is asked learns which tasks, and which content, interest you.
    """

    name: str

    def answers(self, instructions: Sequence[CID], deadline: Deadline) -> Answers:
        """Return the receipts that it has for some instructions, checked; never raises for what it does wrong."""

    def block(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> bytes:
        """Return the bytes that a CID names. Raises `Unreachable`, `Refused`, `LimitExceeded`, `Mismatch` or `Over`."""

    def car(self, cid: CID, deadline: Deadline, progress: Callable[[int], None] | None = None) -> Iterator[bytes]:
        """Yield an archive with a file and its tree, or with one block, unchecked. Raises as `block` does."""

    def give(self, pieces: Iterable[bytes], deadline: Deadline) -> str:
        """Give an archive of receipts (its roots) and what belongs to them; return in one line what was kept.

        Raises:
            BadInput, Mismatch: It is no such archive.
            Unreachable, Refused, Over: It was not taken.
            NotAllowed: Nothing may be written there.
        """

    def close(self) -> None:
        """Let go of connections and files."""


def receipts_at(instruction: CID) -> str:
    """Return where the receipts for an instruction are, from the root of a cache."""
    return _at("receipts", instruction)


def content_at(cid: CID) -> str:
    """Return where the content of a CID is, from the root of a cache."""
    return _at("content", cid)


def _at(kind: str, cid: CID) -> str:
    name = str(cid)
    return f"{kind}/{name[-2:]}/{name}.car"
