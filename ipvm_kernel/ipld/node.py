"""Nodes: typed values that declare their wire form as annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from ipvm_kernel.errors import Malformed
from ipvm_kernel.ipld.block import Block
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.once import once

if TYPE_CHECKING:
    from ipvm_kernel.ipld.codec import Ipld


# All classes of nodes. `isinstance(x, Node)` asks a metaclass, ten times as slow as looking here.
_NODES: Final[set[type]] = set()


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A frozen record with one wire form, checked where it enters.

        class Receipt(Node, frozen=True, kw_only=True):
            ran: CID
            out: tuple[str, Ipld]
            meta: dict[str, Ipld] = {}

    Every field is written, one with its default too; a field that is `msgspec.UNSET` is left out. Tuples are written as
    lists. `msgspec.field(name=...)` gives a field another name on the wire. A union may hold `CID` and None but nothing
    else beside a `CID`; annotate such a field `Ipld` and look at it in the class's own `from_ipld`. msgspec would take an
    integer for a `float`: annotate numbers of which both exist `Ipld` as well.

    Nodes are equal if their CIDs are. `1`, `True` and `1.0` are equal in Python and different on the wire.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        _NODES.add(cls)

    @classmethod
    def from_ipld(cls, value: Ipld) -> Self:
        """Return the node that an IPLD value is.

        Raises:
            Malformed: It has another shape; the message names the place, as in "at `$.ran`".
        """
        try:
            return msgspec.convert(value, cls, builtin_types=_NATIVE)
        except msgspec.ValidationError as error:
            name = cls.__name__.lower()
            raise Malformed(f"not {'an' if name[0] in 'aeiou' else 'a'} {name}: {error}") from None

    @classmethod
    def from_block(cls, block: Block, *, trusted: bool = False) -> Self:
        """Return the node that a block holds. It keeps the block, and so the CID that it was read by.

        Args:
            block: A dag-cbor block.
            trusted: It is from our own store, where only strict ones enter.

        Raises:
            Malformed, LimitExceeded: As `Block.value` and `from_ipld` do.
        """
        node = cls.from_ipld(block.trusted_value() if trusted else block.value())
        node.__dict__["block"] = block
        return node

    def to_ipld(self) -> dict[str, Ipld]:
        """Return the wire form. It shares what is inside with the node: do not change it."""
        names, values = self.__struct_encode_fields__, msgspec.structs.astuple(self)
        return {
            name: value if type(value) in _LEAVES else _lowered(value)
            for name, value in zip(names, values, strict=True)
            if value is not msgspec.UNSET
        }

    @once
    def block(self) -> Block:
        """The block of the wire form, made once.

        Raises:
            Unencodable, LimitExceeded: As `encode` does.
        """
        return Block.of(self.to_ipld())

    @once
    def cid(self) -> CID:
        """The CID of the wire form."""
        return self.block.cid

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and type(self) is type(other) and self.cid == other.cid

    def __hash__(self) -> int:
        return hash(self.cid)


_LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes, CID})

# Without it msgspec takes text for base64 where a field is `bytes`.
_NATIVE: Final = (bytes,)


def _lowered(value: Any) -> Any:
    """Return a value with the nodes in it, or in the list or map that it is, as their wire forms."""
    kind = type(value)
    if kind in _NODES:
        return value.to_ipld()
    if kind is list or kind is tuple:
        return [item.to_ipld() if type(item) in _NODES else item for item in value]
    if kind is dict:
        return {key: item.to_ipld() if type(item) in _NODES else item for key, item in value.items()}
    return value
