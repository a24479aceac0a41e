from __future__ import annotations

import pickle
from typing import Any

import pytest

from ipvm_kernel.errors import BadInput, HashNotAllowed, LimitExceeded, Mismatch, NonCanonical
from ipvm_kernel.ipld import CID, PEER, Block, encode, unixfs
from tests.ipld.values import LINK


def test_a_block_is_made_opened_and_checked() -> None:
    """
    A value becomes bytes with a name; whoever has the name can check the bytes and get the value.
    """
    block = Block.of({"a": [1, LINK]})

    assert (block.cid.codec, block.cid.hash) == ("dag-cbor", "sha3-256")
    assert block.value() == block.trusted_value() == {"a": [1, LINK]}
    assert Block.checked(block.cid, block.data) == block
    assert pickle.loads(pickle.dumps(block)) == block
    assert {block: 1}[Block.of({"a": [1, LINK]})] == 1
    with pytest.raises(Mismatch):
        Block.checked(block.cid, block.data + b"\0")
    with pytest.raises(Mismatch):
        Block.checked(LINK, block.data)


def test_plain_bytes() -> None:
    """
    Bytes without structure have the name that IPFS gives them.
    """
    block = Block.raw(b"hello")

    assert str(block.cid) == "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"
    assert block.value() == b"hello"


def test_the_codec_of_the_cid_decides() -> None:
    """
    The same bytes under another codec are something else: nothing is read as what it is not named as.
    """
    text = b'{"a":1}'

    assert Block(CID.of(text, "dag-json"), text).value() == {"a": 1}
    with pytest.raises(NonCanonical):
        Block(CID.of(b'{"a": 1}', "dag-json"), b'{"a": 1}').value()
    with pytest.raises(BadInput):
        Block(CID.of(text), text).value()
    with pytest.raises(BadInput, match=r"a part of a file\. Read it as a file"):
        Block(CID.of(b"", "dag-pb"), b"").value()
    with pytest.raises(BadInput, match="of cbor"):
        Block(CID.of(b"\xf6", "cbor"), b"\xf6").value()


def test_limits_apply_to_what_comes_from_others() -> None:
    """
    A block of our own may be large; one from a peer may not.
    """
    block = Block.of([0] * 200_000)

    assert block.value() == [0] * 200_000
    with pytest.raises(LimitExceeded, match="at most 100,000 items"):
        block.value(PEER)


def test_a_block_cannot_be_checked_by_an_unsafe_hash() -> None:
    """
    A name that vouches for nothing admits nothing.
    """
    sha1 = CID.from_bytes(b"\x01\x55\x11\x14" + bytes(20))

    with pytest.raises(HashNotAllowed):
        Block.checked(sha1, b"x")


def test_a_block_is_shown_without_its_bytes() -> None:
    """
    A block of a gigabyte can be printed.
    """
    block: Any = Block.raw(bytes(1_500))

    assert repr(block) == f"Block({block.cid!r}, 1.5 kB)"
    with pytest.raises(AttributeError):
        block.data = b""
    assert repr(Block.of(None)).endswith("1 B)")
    assert encode(None) == Block.of(None).data


def test_the_links_of_a_block_are_found_at_any_depth() -> None:
    """
    Every link of a value is found, in the order in which it is written, also in a part of a file.
    """
    a, b, c = (CID.of(name) for name in (b"a", b"b", b"c"))
    block = Block.of({"x": [a, {"y": b}], "longer": [[[c]]], "text": str(a)})
    (root, data), *_ = reversed([*unixfs.blocks(bytes(600_000))])

    assert block.links() == [a, b, c]
    assert Block.raw(a.bytes).links() == []
    assert len(Block(root, data).links()) == 3
