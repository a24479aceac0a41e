from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from ipvm_kernel.errors import LimitExceeded, Malformed, NonCanonical, Unencodable
from ipvm_kernel.ipld import CID, Block, Ipld, Node, decode, encode
from tests.ipld.values import LINK


class Receipt(Node, frozen=True, kw_only=True):
    """The answer to an instruction, as the model has it."""

    ran: CID
    out: tuple[str, Ipld]
    meta: dict[str, Ipld] = msgspec.field(default_factory=dict)
    iss: str | None = None
    prf: tuple[CID, ...] = ()


class Step(Node, frozen=True, kw_only=True):
    """A node with a name of its own on the wire, bytes, and a field that may be left out."""

    name: str = msgspec.field(name="ipvm/name")
    data: bytes = b""
    note: str | msgspec.UnsetType = msgspec.UNSET


class Plan(Node, frozen=True, kw_only=True):
    """A node of nodes."""

    first: Step
    rest: tuple[Step, ...] = ()
    named: dict[str, Step] = msgspec.field(default_factory=dict)


RECEIPT: dict[str, Any] = {"ran": LINK, "out": ["ok", 1], "meta": {"op": "add"}, "iss": None, "prf": [LINK]}


def test_a_node_is_its_wire_form() -> None:
    """
    What was read from a block is written as the same block, with the same CID.
    """
    receipt = Receipt.from_ipld(RECEIPT)

    assert receipt.ran is LINK
    assert receipt.out == ("ok", 1)
    assert receipt.to_ipld() == RECEIPT
    assert receipt.cid == CID.of(encode(RECEIPT))
    assert receipt.block.value() == RECEIPT
    assert receipt.block is receipt.block


def test_every_field_is_on_the_wire() -> None:
    """
    A default is written like any other value: equal nodes have one CID, however they were made.
    """
    brief = Receipt(ran=LINK, out=("ok", 1))

    assert brief.to_ipld() == {"ran": LINK, "out": ["ok", 1], "meta": {}, "iss": None, "prf": []}
    assert brief == Receipt(ran=LINK, out=("ok", 1), meta={}, iss=None, prf=())


def test_nodes_inside_nodes() -> None:
    """
    Nodes are written wherever they stand; a field that is not set is left out; names may be others on the wire.
    """
    plan = Plan(first=Step(name="a", data=b"x"), rest=(Step(name="b", note="!"),), named={"c": Step(name="c")})
    wire = {
        "first": {"ipvm/name": "a", "data": b"x"},
        "rest": [{"ipvm/name": "b", "data": b"", "note": "!"}],
        "named": {"c": {"ipvm/name": "c", "data": b""}},
    }

    assert plan.to_ipld() == wire
    assert Plan.from_ipld(decode(encode(wire))) == plan


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({**RECEIPT, "ran": str(LINK)}, r"^not a receipt: Expected `CID`, got `str` - at `\$\.ran`$"),
        ({**RECEIPT, "ran": LINK.bytes}, r"got `bytes` - at `\$\.ran`"),
        ({**RECEIPT, "ran": {"/": str(LINK)}}, r"got `dict` - at `\$\.ran`"),
        ({**RECEIPT, "ran": None}, r"at `\$\.ran`"),
        ({**RECEIPT, "prf": [LINK, "x"]}, r"Expected `CID`, got `str` - at `\$\.prf\[1\]`"),
        ({**RECEIPT, "iss": 1}, r"Expected `str \| null`, got `int` - at `\$\.iss`"),
        ({**RECEIPT, "out": ["ok"]}, r"at `\$\.out`"),
        ({**RECEIPT, "out": ["ok", 1, 2]}, r"at `\$\.out`"),
        ({**RECEIPT, "out": [b"ok", 1]}, r"at `\$\.out\[0\]`"),
        ({**RECEIPT, "fx": []}, r"unknown field `fx`"),
        ({"out": ["ok", 1]}, r"missing required field `ran`"),
        ([LINK], r"Expected `object`, got `array`"),
        (None, r"Expected `object`, got `null`"),
        ("text", r"Expected `object`, got `str`"),
    ],
)
def test_another_shape_is_refused_with_its_place(value: Any, words: str) -> None:
    """
    Whoever sends something else than a receipt is told which field is wrong.
    """
    with pytest.raises(Malformed, match=words):
        Receipt.from_ipld(value)


def test_bytes_are_not_read_out_of_text() -> None:
    """
    A text that happens to be base64 is a text, and no field of bytes.
    """
    with pytest.raises(Malformed, match=r"Expected `bytes`, got `str` - at `\$\.data`"):
        Step.from_ipld({"ipvm/name": "a", "data": "aGk="})


def test_nodes_are_equal_if_their_cids_are() -> None:
    """
    1, 1.0 and True are one number in Python and three values on the wire: three nodes.
    """
    nodes = [Receipt(ran=LINK, out=("ok", value)) for value in (1, 1.0, True, 0.0, -0.0)]

    assert len(set(nodes)) == 5
    assert nodes[0] != nodes[1]
    assert nodes[0] == Receipt(ran=LINK, out=("ok", 1))
    assert nodes[0] != RECEIPT
    assert Step(name="a") != Plan(first=Step(name="a"))


def test_a_node_keeps_the_block_it_was_read_from() -> None:
    """
    The CID of what was read is the CID it was read by; nothing is hashed again.
    """
    block = Block.of(RECEIPT)
    receipt = Receipt.from_block(block)

    assert receipt.block is block
    assert Receipt.from_block(block, trusted=True) == receipt
    loose = bytes.fromhex("a2616201616102")
    with pytest.raises(NonCanonical):
        Step.from_block(Block(CID.of(loose), loose))


def test_a_node_does_not_change() -> None:
    """
    A node is frozen, and travels to other processes as what it is.
    """
    receipt: Any = Receipt.from_ipld(RECEIPT)
    cid = receipt.cid

    with pytest.raises(AttributeError):
        receipt.ran = cid
    assert pickle.loads(pickle.dumps(receipt)).cid == cid


def test_what_has_no_form_is_refused_when_it_is_named() -> None:
    """
    A node with a value that cannot be kept says so, with the place.
    """
    odd: Any = {1}
    with pytest.raises(Unencodable, match=r"at \$\.out\[1\], found set"):
        _ = Receipt(ran=LINK, out=("ok", odd)).cid
    deep: Any = 1
    for _ in range(128):
        deep = [deep]
    with pytest.raises(LimitExceeded):
        _ = Receipt(ran=LINK, out=("ok", deep)).cid
