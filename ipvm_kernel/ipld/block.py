"""Blocks: bytes together with the CID that names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, final

import msgspec

from ipvm_kernel.errors import BadInput
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.codec import Ipld, decode, decode_trusted, encode
from ipvm_kernel.ipld.limits import OWN
from ipvm_kernel.printable import size

if TYPE_CHECKING:
    from ipvm_kernel.ipld.limits import Limits


@final
class Block(msgspec.Struct, frozen=True):
    """Some bytes and their CID. `Block(cid, data)` takes both on trust; the other ways to make one do not.

    >>> block = Block.of({"hello": "world"})
    >>> block
    Block(CID('bafyrmidyqnbqbeh5lmkwavjizfmsz6ezwvjleweh5frwk56akfyugoio2e'), 13 B)
    >>> block.value()
    {'hello': 'world'}
    """

    cid: CID
    data: bytes

    @classmethod
    def of(cls, value: object) -> Self:
        """Return the block of an IPLD value: dag-cbor, named by sha3-256, as everything in the model is.

        Raises:
            Unencodable, LimitExceeded: As `encode` does.
        """
        data = encode(value)
        return cls(CID.of(data), data)

    @classmethod
    def raw(cls, data: bytes) -> Self:
        """Return the block of plain bytes: raw, named by sha2-256, as IPFS names a leaf of a file."""
        return cls(CID.of(data, "raw", "sha2-256"), data)

    @classmethod
    def checked(cls, cid: CID, data: bytes) -> Self:
        """Return the block of bytes that came under this CID.

        Raises:
            Mismatch: They are not what it names.
            HashNotAllowed: By a hash function that says nothing here.
        """
        cid.check(data)
        return cls(cid, data)

    def value(self, limits: Limits = OWN) -> Ipld:
        """Return what the bytes say, read by the CID's own codec and strictly.

        Raises:
            Malformed, LimitExceeded: As `decode` does.
            BadInput: The codec (dag-pb, say) is not one of IPLD values.
        """
        match self.cid.codec:
            case "dag-cbor":
                return decode(self.data, limits)
            case "raw":
                return self.data
            case "dag-json":
                from ipvm_kernel.ipld import dagjson

                return dagjson.loads(self.data, limits, canonical=True)
            case "dag-pb":
                raise BadInput(f"Expected a block with a value, found {self.cid}, a part of a file. Read it as a file.")
            case other:
                raise BadInput(f"Expected a block of dag-cbor, dag-json or raw, found {self.cid} of {other}.")

    def trusted_value(self) -> Ipld:
        """Return what the bytes of a dag-cbor block say that our own store kept, where only strict ones enter.

        Raises:
            Malformed: Not even CBOR.
        """
        return decode_trusted(self.data)

    def links(self, limits: Limits = OWN) -> list[CID]:
        """Return every link in the value, in the order of the bytes; of a part of a file or folder, those to its parts.

        Raises:
            As `value` does.
        """
        if self.cid.codec == "dag-pb":
            from ipvm_kernel.ipld.dagpb import links_of

            return links_of(self.data)
        found: list[CID] = []
        pending = [self.value(limits)]
        while pending:
            current = pending.pop()
            if type(current) is CID:
                found.append(current)
            elif type(current) is list:
                pending.extend(reversed(current))
            elif type(current) is dict:
                pending.extend(reversed(current.values()))
        return found

    def __repr__(self) -> str:
        return f"Block({self.cid!r}, {size(len(self.data))})"

    def __hash__(self) -> int:
        return hash(self.cid)
