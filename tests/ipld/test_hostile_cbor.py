"""Bytes that are no DAG-CBOR: each refused in the same words by each reader, with what, where and what to do."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.errors import BadCID, BadInput, HashNotAllowed, LimitExceeded, Malformed, NonCanonical
from ipvm_kernel.ipld import OWN, PEER, Limits, decode
from tests.ipld.values import LINK

if TYPE_CHECKING:
    from collections.abc import Callable

CID36 = LINK.bytes.hex()

NOT_CANONICAL = {
    "0 in two bytes": ("1800", r"shortest form of 0 at byte 0"),
    "23 in two bytes": ("1817", r"shortest form of 23 at byte 0"),
    "255 in three bytes": ("1900ff", r"shortest form of 255"),
    "65535 in five bytes": ("1a0000ffff", r"shortest form of 65,535"),
    "2^32-1 in nine bytes": ("1b00000000ffffffff", r"shortest form of 4,294,967,295 at byte 0, found 9 bytes"),
    "-1 in two bytes": ("3800", r"shortest form"),
    "-24 in two bytes": ("3817", r"shortest form"),
    "-256 in three bytes": ("3900ff", r"shortest form"),
    "text length in two bytes": ("780161", r"shortest form of 1 at byte 0"),
    "bytes length in two bytes": ("580161", r"shortest form of 1"),
    "list length in two bytes": ("980101", r"shortest form of 1"),
    "map length in two bytes": ("b801616101", r"shortest form of 1"),
    "key length in two bytes": ("a178016101", r"shortest form of 1 at byte 1"),
    "tag 42 in three bytes": ("d9002a582500" + CID36, r"shortest form of 42 at byte 0"),
    "link length in three bytes": ("d82a59002500" + CID36, r"shortest form of 37 at byte 2"),
    "float of 16 bits": ("f93c00", r"64-bit float at byte 0, found a float of 16 bits"),
    "float of 32 bits": ("fa3f800000", r"found a float of 32 bits"),
    "NaN": ("fb7ff8000000000000", r"finite float at byte 0, found NaN or infinity. Write null"),
    "NaN with a payload": ("fb7ff800000000beef", r"finite float"),
    "signalling NaN": ("fb7ff0000000000001", r"finite float"),
    "infinity": ("fb7ff0000000000000", r"finite float"),
    "minus infinity": ("81fbfff0000000000000", r"finite float at byte 1"),
    "NaN of 16 bits": ("f97e00", r"found a float of 16 bits"),
    "undefined": ("f7", r"found undefined"),
    "simple value 0": ("e0", r"found simple value 0"),
    "simple value 19": ("f3", r"found simple value 19"),
    "simple value 255": ("f8ff", r"found a simple value"),
    "false in two bytes": ("f814", r"found a simple value"),
    "list without a length": ("9f01ff", r"a list of a stated length at byte 0"),
    "map without a length": ("bf616101ff", r"a map of a stated length at byte 0"),
    "text without a length": ("7f6161ff", r"text of a stated length at byte 0"),
    "bytes without a length": ("5f4161ff", r"bytes of a stated length at byte 0"),
    "list without a length, inside": ("829f01ff02", r"at byte 1"),
    "trailing byte": ("0100", r"end of the block at byte 1, found more"),
    "two objects": ("a0a0", r"end of the block at byte 1"),
    "keys by alphabet": ("a2626161016162" + "02", r"found 'b' after 'aa' at byte 5"),
    "keys of one length unsorted": ("a2616201616102", r"found 'a' after 'b' at byte 4"),
    "keys unsorted, inside": ("81a2616201616102", r"found 'a' after 'b' at byte 5"),
    "key twice": ("a2616101616102", r"found 'a' again at byte 4"),
    "empty key twice": ("a260016002", r"found '' again at byte 3"),
    "key twice, apart": ("a3616101616201616102", r"found 'a' after 'b'"),
    "integer key": ("a10101", r"map key \(text\) at byte 1, found an integer"),
    "negative key": ("a12001", r"found a negative integer"),
    "bytes key": ("a1416101", r"found bytes"),
    "list key": ("a18001", r"found a list"),
    "map key": ("a1a001", r"found a map"),
    "null key": ("a1f601", r"found a simple value"),
    "link key": ("a1d82a582500" + CID36 + "01", r"found a tag"),
    "date": ("c074323031332d30332d32315432303a30343a30305a", r"no tag but 42, a link, before byte 1, found 0"),
    "time": ("c11a514b67b0", r"found 1"),
    "bignum": ("c249010000000000000000", r"found 2"),
    "decimal": ("c48221196ab3", r"found 4"),
    "bigfloat of 2^63 bits": ("c5821b7fffffffffffffff01", r"found 5"),
    "string reference": ("d9010082616161d81900", r"found 256"),
    "shared list": ("d81c80", r"found 28"),
    "rational": ("d81e820103", r"found 30"),
    "regular expression": ("d8236461282a29", r"found 35"),
    "uuid": ("d82550" + "00" * 16, r"found 37"),
    "address": ("d83444c0a80001", r"found 52"),
    "set": ("d9010280", r"found 258"),
    "CBOR itself": ("d9d9f700", r"found 55799"),
    "tag nobody knows": ("da7fffffff00", r"found 2147483647"),
    "largest tag": ("dbffffffffffffffff00", r"found 18446744073709551615"),
}

NOT_CBOR = {
    "nothing": ("", r"another item at byte 0, found the end"),
    "cut head": ("18", r"1 more bytes of the head at byte 0, found 0"),
    "cut long head": ("1b00000000000000", r"8 more bytes of the head at byte 0, found 7"),
    "cut text": ("626161"[:4], r"2 bytes of text at byte 1, found 1"),
    "cut bytes": ("4301", r"3 bytes of bytes at byte 1, found 1"),
    "cut list": ("8201", r"another item at byte 2|2 items"),
    "cut map": ("a1", r"1 items of a map at byte 0, found 0 bytes"),
    "map without a value": ("a16161", r"another item at byte 3"),
    "cut float": ("fb3ff00000", r"8 more bytes"),
    "cut tag": ("d82a", r"another item at byte 2"),
    "break alone": ("ff", r"found 0xff, which begins none"),
    "break in a list": ("81ff", r"an item at byte 1, found 0xff"),
    "reserved head 28": ("1c", r"found 0x1c"),
    "reserved head 30": ("5e", r"found 0x5e"),
    "reserved head 29 of a tag": ("dd00", r"found 0xdd"),
    "integer without end": ("1f", r"found 0x1f"),
    "list of 2^32 and no body": ("9b0000000100000000", r"4,294,967,296 items of a list at byte 0, found 0 bytes"),
    "list of 2^63": ("9b7fffffffffffffff", r"items of a list"),
    "list of 2^64-1": ("9bffffffffffffffff", r"items of a list"),
    "map of 2^63": ("bb7fffffffffffffff", r"items of a map"),
    "map of half its bytes": ("a3616101616202", r"3 items of a map at byte 0|another item"),
    "bytes of 2^63": ("5b7fffffffffffffff", r"bytes of bytes"),
    "text of 2^64-1": ("7bffffffffffffffff", r"bytes of text"),
    "text that is no UTF-8": ("61ff", r"UTF-8 at byte 1"),
    "overlong UTF-8": ("62c080", r"UTF-8 at byte 1"),
    "surrogate in UTF-8": ("63eda080", r"UTF-8 at byte 1"),
    "key that is no UTF-8": ("a161ff01", r"UTF-8 at byte 2"),
}

NO_LINK = {
    "tag 42 of text": ("d82a6161", BadCID, r"bytes of a CID before byte 3, found text"),
    "tag 42 of a number": ("d82a00", BadCID, r"found an integer"),
    "tag 42 of a link": ("d82ad82a582500" + CID36, BadCID, r"found a tag"),
    "tag 42 of a list": ("d82a80", BadCID, r"found a list"),
    "tag 42 of no bytes": ("d82a40", BadCID, r"zero byte before the CID at byte 3, found nothing"),
    "no zero byte": ("d82a5824" + CID36, BadCID, r"zero byte before the CID at byte 4, found 01"),
    "multibase letter for the zero byte": ("d82a582562" + CID36, BadCID, r"found 62"),
    "only the zero byte": ("d82a4100", BadCID, r"varint at byte 0"),
    "shorter than its digest": ("d82a582400" + CID36[:-2], BadCID, r"32 bytes of sha3-256 digest at byte 4 of the CID"),
    "longer than its digest": ("d82a582600" + CID36 + "00", BadCID, r"found 33"),
    "version 2": ("d82a58250002" + CID36[2:], BadCID, r"found version 2"),
    "version 0 with a codec": ("d82a58250000" + CID36[2:], BadCID, r"found version 0"),
    "version 0, cut": ("d82a582200" + "1220" + "00" * 31, BadCID, r"found version 18"),
    "cut sha2-256": (
        "d82a4900015512" + "04" + "00" * 4,
        HashNotAllowed,
        r"sha2-256 digest of 32 bytes, found one of 4",
    ),
    "cut sha3-256": ("d82a570001711612" + "00" * 18, HashNotAllowed, r"sha3-256 digest of 32 bytes, found one of 18"),
    "codec in two bytes": ("d82a58260001f1001620" + "00" * 32, BadCID, r"shortest form of the varint at byte 1"),
    "varint of ten bytes": ("d82a4d0001" + "80" * 10 + "01", BadCID, r"within nine bytes"),
    "identity of 129 bytes": ("d82a5887000155008101" + "00" * 129, HashNotAllowed, r"at most 128 bytes, found 129"),
}


@pytest.mark.parametrize("name", NOT_CANONICAL)
def test_loose_cbor(reader: str, name: str) -> None:
    """
    CBOR that is written loosely has another CID than its value, and is refused.
    """
    wire, words = NOT_CANONICAL[name]
    with pytest.raises(NonCanonical, match=words):
        decode(bytes.fromhex(wire))


@pytest.mark.parametrize("name", NOT_CBOR)
def test_broken_cbor(reader: str, name: str) -> None:
    """
    Bytes that are cut off or no CBOR at all are refused with the place where it shows.
    """
    wire, words = NOT_CBOR[name]
    with pytest.raises(Malformed, match=words) as refused:
        decode(bytes.fromhex(wire))
    assert type(refused.value) is Malformed


@pytest.mark.parametrize("name", NO_LINK)
def test_links_that_are_none(reader: str, name: str) -> None:
    """
    A link is a whole CID in its one form, or the block is refused.
    """
    wire, error, words = NO_LINK[name]
    with pytest.raises(error, match=words):
        decode(bytes.fromhex(wire))


def test_no_tag_but_links(reader: str) -> None:
    """
    Nothing is built for any other tag, whatever a CBOR library would make of it.
    """
    for tag in [*range(42), *range(43, 300), 1004, 1040, 43_000, 55_799, 65_535, 65_536]:
        width = next(width for width in (1, 2, 4) if tag < 2 ** (8 * width))
        head = (
            bytes([0xC0 + tag]) if tag < 24 else bytes([0xD7 + {1: 1, 2: 2, 4: 3}[width]]) + tag.to_bytes(width, "big")
        )
        for inner in (b"\x00", b"\x40", b"\x60", b"\x80", b"\x82\x00\x00", b"\xa0", b"\xf6"):
            with pytest.raises(NonCanonical, match=f"found {tag}\\."):
                decode(head + inner)


def test_every_message_is_one_line_that_can_be_shown(reader: str) -> None:
    """
    What a hostile block holds never reaches the screen as it is.
    """
    key = "\x1b[31m\n\u202e"
    raw = key.encode()
    wire = b"\xa2" + (bytes([0x60 + len(raw)]) + raw + b"\x01") * 2

    with pytest.raises(NonCanonical) as refused:
        decode(wire)

    assert refused.value.message.isprintable()
    assert len(refused.value.message) < 2048


def nested_claims(size: int) -> bytes:
    """Return lists inside each other that each claim to fill the rest of the block."""
    code, width = (b"\x99", 2) if size < 65_536 else (b"\x9a", 4)
    heads = [code + (size - (width + 1) * (n + 1)).to_bytes(width, "big") for n in range(127)]
    return b"".join(heads) + bytes(size - len(heads) * (width + 1))


BOMBS: dict[str, tuple[Callable[[], bytes], Limits, type[BadInput], str]] = {
    "lists 100,000 deep": (lambda: b"\x81" * 100_000 + b"\x00", OWN, LimitExceeded, "at most 128 deep"),
    "lists 10,000,000 deep": (lambda: b"\x81" * 10_000_000 + b"\x00", OWN, LimitExceeded, "at most 128 deep"),
    "maps 1,000,000 deep": (lambda: b"\xa1\x61a" * 1_000_000 + b"\x00", OWN, LimitExceeded, "at most 128 deep"),
    "tags 1,000,000 deep": (lambda: b"\xd8\x2a" * 1_000_000 + b"\x00", OWN, BadCID, "found a tag"),
    "lists 2,000,000 deep, from a peer": (lambda: b"\x81" * 2_000_000, PEER, LimitExceeded, "at most 128 deep"),
    "2,000,000 empty maps, from a peer": (
        lambda: b"\x9a\x00\x1e\x84\x80" + b"\xa0" * 2_000_000,
        PEER,
        LimitExceeded,
        "at most 100,000 items in a block, found more at byte 0",
    ),
    "1,700,000 empty maps in small lists": (
        lambda: b"\x9a\x00\x01\x13\x88" + (b"\x98\x18" + b"\xa0" * 24) * 70_536,
        PEER,
        LimitExceeded,
        "at most 100,000 items",
    ),
    "8,000,000 empty maps": (
        lambda: b"\x9a\x00\x7a\x12\x00" + b"\xa0" * 8_000_000,
        Limits(2**30, 128, 1_000_000),
        LimitExceeded,
        "at most 1,000,000 items",
    ),
    "3 MiB from a peer": (lambda: bytes(3 * 2**20), PEER, LimitExceeded, "at most 2,097,152 bytes, found 3,145,728"),
    "lists that claim the rest of a small block": (lambda: nested_claims(10_000), OWN, Malformed, "still to come"),
    "lists that claim the rest of 2 MB": (
        lambda: nested_claims(2_000_000),
        PEER,
        LimitExceeded,
        "at most 100,000 items",
    ),
    "list of 2^40": (lambda: b"\x9b\x00\x00\x01\x00\x00\x00\x00\x00", OWN, Malformed, "items of a list"),
    "map of 2^40": (lambda: b"\xbb\x00\x00\x01\x00\x00\x00\x00\x00", OWN, Malformed, "items of a map"),
    "bytes of 2^40": (lambda: b"\x5b\x00\x00\x01\x00\x00\x00\x00\x00", OWN, Malformed, "bytes of bytes"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(reader: str, name: str) -> None:
    """
    Whatever a block claims to hold, refusing it takes a blink and no memory to speak of.
    """
    make, limits, error, words = BOMBS[name]
    data = make()
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(error, match=words):
            decode(data, limits)
        took, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert took < 0.5  # tracemalloc slows it several times over; without it all stay below 0.1 s
    assert peak < 16_000_000


def test_limits_count_what_they_say(reader: str) -> None:
    """
    The limit is the last that passes: items count values and keys, and a link once.
    """
    data = bytes.fromhex("a2616182000161" + "62" + "d82a582500" + CID36)  # {"a": [0, 1], "b": link}: 7 items

    assert decode(data, Limits(len(data), 2, 7)) == {"a": [0, 1], "b": LINK}
    with pytest.raises(LimitExceeded, match="at most 6 items"):
        decode(data, Limits(len(data), 2, 6))
    with pytest.raises(LimitExceeded, match=f"at most {len(data) - 1} bytes"):
        decode(data, Limits(len(data) - 1, 2, 7))
    with pytest.raises(LimitExceeded, match="at most 1 deep"):
        decode(data, Limits(len(data), 1, 7))
