"""Reading what a cache answered: which of its blocks belong together, and answer what was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import IpvmError, Malformed
from ipvm_kernel.exchange.caches.base import REACHED, RECEIPTS, STATEMENTS, Answered, Answers
from ipvm_kernel.ipld import CID, PEER, Block
from ipvm_kernel.ipld.car import BLOCKS, Archive
from ipvm_kernel.model import Invocation, Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

STATEMENT_BYTES: Final = 8 << 10
"""Bytes of one statement, at most."""

_NODE: Final = b"\x01\x71\x16\x20"  # CIDv1, dag-cbor, sha3-256: what the model names
_STATEMENT: Final = b"\x01\x71\x12\x20"  # CIDv1, dag-cbor, sha2-256
_MARK_BYTES: Final = 20
_LINK: Final = b"\xd8\x2a\x58\x25\x00"  # before the 36 bytes of a usual CID in DAG-CBOR


def most_blocks(count: int) -> int:
    """Return how many blocks an answer about `count` instructions may have."""
    return min(max(1, count) * RECEIPTS * (2 + STATEMENTS), BLOCKS)


class Gathering:
    """Blocks of an answer, as they come; `answers` pairs what is there, at any time.

    Args:
        asked: The instructions that were asked for.
    """

    def __init__(self, asked: Sequence[CID]) -> None:
        self._asked = dict.fromkeys(asked)
        self._nodes: dict[CID, Block] = {}
        self._statements: dict[CID, Block] = {}
        self._whole = False
        self.roots: tuple[CID, ...] = ()

    def read(self, pieces: Iterable[bytes], most: int) -> None:
        """Take all of an archive, and keep what came before something went wrong with it.

        Raises:
            Malformed, Mismatch, LimitExceeded: As `Archive` does, and whatever `pieces` raises.
        """
        archive = Archive(_no_page(pieces), most=most)
        self.roots = archive.roots
        for piece in archive:
            self.add(piece.cid, piece.data)
        self._whole = True

    def add(self, cid: CID, data: bytes) -> None:
        """Take a block that was checked against its CID. What can be no part of an answer is dropped."""
        kind = cid.bytes[:4]
        if kind == _NODE:
            self._nodes[cid] = Block(cid, data)
        elif kind == _STATEMENT and len(data) <= STATEMENT_BYTES:
            self._statements[cid] = Block(cid, data)

    @property
    def reached(self) -> int:
        """How many of the instructions the answer is about, from the first on: at least one."""
        for block in self._statements.values():
            if len(block.data) <= _MARK_BYTES:
                value = block.value(PEER)
                said = value.get(REACHED) if type(value) is dict else None
                if type(said) is int and said > 0:
                    return min(said, len(self._asked))
        return len(self._asked)

    def answers(self) -> Answers:
        """Return what is whole: receipts with their invocations and the statements about them."""
        found: dict[CID, list[Answered]] = {}
        told: dict[bytes, list[Block]] = {}
        made = Answers()
        for root in dict.fromkeys(self.roots):
            block = self._nodes.get(root)
            if block is None:
                continue
            try:
                answered = self._answered(block)
            except IpvmError as error:
                made.trouble, made.lied = made.trouble or error.message, True
                continue
            if answered is not None:
                row = found.setdefault(answered.instruction, [])
                if len(row) < RECEIPTS:
                    row.append(answered)
                    told[root.bytes] = answered.attestations
        for statement in self._statements.values():
            for name in _named(statement.data):
                about = told.get(name)
                if about is not None and len(about) < STATEMENTS:
                    about.append(statement)
        made.extend(one for instruction in self._asked for one in found.get(instruction, ()))
        return made

    def _answered(self, block: Block) -> Answered | None:
        """Return a receipt with its invocation, or None if that did not come.

        Raises:
            Malformed, LimitExceeded: It is no receipt, answers what nobody asked, or came alone.
        """
        receipt = Receipt.from_ipld(block.value(PEER))
        ran = self._nodes.get(receipt.ran)
        if ran is None:
            if self._whole:
                raise Malformed(f"it sent the receipt {block.cid} without its invocation {receipt.ran}")
            return None
        instruction = Invocation.from_ipld(ran.value(PEER)).task.run.cid
        if instruction not in self._asked:
            raise Malformed(f"it answered {instruction.short}, which nobody asked, with the receipt {block.cid}")
        return Answered(instruction, block, ran, [])


def _named(data: bytes) -> Iterable[bytes]:
    """Yield the CIDs that a block has links to, each once.

    The block is not decoded: whoever uses the statement does that, strictly. A text that looks like a link gives the
    statement to a receipt that it does not speak of, and then it says nothing.
    """
    seen = set()
    at = data.find(_LINK)
    while at >= 0:
        seen.add(data[at + 5 : at + 41])
        at = data.find(_LINK, at + 5)
    return seen


def _no_page(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of an archive, and refuse a web page at once, in words that say so."""
    first = True
    for piece in pieces:
        if first and piece.lstrip()[:1] == b"<":
            raise Malformed("a web page came where receipts were expected. Is there a page to log in before it?")
        first = first and not piece
        yield piece
