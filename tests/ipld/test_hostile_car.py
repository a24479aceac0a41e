"""Archives that lie, break off or go on without end: each refused by name or place, before anything of it is given out."""

from __future__ import annotations

import hashlib
import io
import re
import tracemalloc
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import pytest

from ipvm_kernel.errors import (
    BadCID,
    HashNotAllowed,
    IpvmError,
    LimitExceeded,
    Malformed,
    Mismatch,
    NonCanonical,
)
from ipvm_kernel.ipld import CID, encode
from ipvm_kernel.ipld.bases import to_varint
from ipvm_kernel.ipld.car import Archive, Piece
from tests.ipld.archives import PRAGMA, Trickle, car, car2, cbor, header, pieces, raw, section

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD, DATA = raw(b"good")
OTHER = raw(b"other")[0]
FIRST = car((GOOD, DATA))  # a good archive, that others begin with
END = len(FIRST)
HEAD = header()
AT = len(HEAD)
PAYLOAD = car((GOOD, DATA), roots=(GOOD,))
SHA1 = b"\x01\x55\x11\x14" + hashlib.sha1(DATA).digest()
MD5 = b"\x01\x55\xd5\x01\x10" + hashlib.md5(DATA).digest()
CUT = b"\x01\x55\x12\x04" + hashlib.sha256(DATA).digest()[:4]
LIE = b"\x01\x55\x12\x20" + hashlib.sha256(DATA).digest()[:4]  # says 32 bytes, has 4


class Bad(NamedTuple):
    """An archive, and how it is refused."""

    data: bytes
    error: type[IpvmError]
    words: str
    given: int = 0  # good blocks that come before


def long(value: int) -> bytes:
    """Return a varint with a byte more than it needs."""
    short = bytearray(to_varint(value))
    short[-1] |= 0x80
    return bytes(short) + b"\x00"


def claims(length: int, rest: bytes = b"") -> bytes:
    return to_varint(length) + rest


def cut_head(data: bytes) -> bytes:
    return to_varint(len(data)) + data


# The eleven of which the best-known reader in Python takes nine.
ELEVEN = {
    "wrong bytes under a CID": Bad(HEAD + section(GOOD, b"bad!"), Mismatch, rf"hash to {GOOD}.* at byte {AT} of"),
    "a root that is not there": Bad(
        car((GOOD, DATA), roots=(OTHER,)), Malformed, rf"block of each root, found none of {OTHER}", given=1
    ),
    "a length that is not the shortest": Bad(
        FIRST + long(40) + GOOD.bytes + DATA, Malformed, rf"shortest form.* section at byte {END} of", given=1
    ),
    "a length of ten bytes": Bad(
        FIRST + b"\x80" * 9 + b"\x01", Malformed, rf"within nine bytes.* section at byte {END} of", given=1
    ),
    "a section of 2^62 bytes": Bad(
        FIRST + claims(2**62, OTHER.bytes + b"x"),
        LimitExceeded,
        rf"found 4,611,686,018,427,387,868: {OTHER} at byte {END} of",
        given=1,
    ),
    "a header of 2^40 bytes": Bad(
        claims(2**40, HEAD), LimitExceeded, r"header of at most 1,048,576 bytes at byte 0 of"
    ),
    "SHA-1": Bad(
        HEAD + section(SHA1, DATA), HashNotAllowed, rf"found sha1.*bafkrc\w+ is in the section at byte {AT} of"
    ),
    "a digest of four bytes": Bad(
        HEAD + section(CUT, DATA), HashNotAllowed, rf"sha2-256 digest of 32 bytes, found one of 4.*at byte {AT} of"
    ),
    "an identity of other bytes": Bad(
        HEAD + section(b"\x01\x55\x00\x04good", b"evil"), Mismatch, rf"hash to bafkqabdhn5xwi.*at byte {AT} of"
    ),
    "a section of no bytes": Bad(
        FIRST + b"\x00", Malformed, rf"a block at byte {END} of .* section of no bytes", given=1
    ),
    "cut off in a block": Bad(
        FIRST[:-1], Malformed, rf"4 bytes of {GOOD} at byte {AT} of the archive, found 3\. It is cut off"
    ),
}

HEADERS = {
    "nothing": Bad(b"", Malformed, "Expected an archive, found no header at byte 0"),
    "a header of no bytes": Bad(b"\x00" + FIRST, Malformed, "block at byte 0"),
    "a header that is cut off": Bad(HEAD[:-1], Malformed, r"17 bytes of header at byte 1 of the archive, found 16"),
    "a header length that is cut off": Bad(b"\x80", Malformed, "section at byte 0"),
    "a header length of ten bytes": Bad(b"\xff" * 9 + b"\x01", Malformed, "within nine bytes"),
    "a header length that is not the shortest": Bad(long(17) + HEAD[1:], Malformed, "shortest form"),
    "a header just too long": Bad(claims(2**20 + 1, bytes(100)), LimitExceeded, "found 1,048,577"),
    "a header of a megabyte that never comes": Bad(claims(2**20, b"\xa2"), Malformed, "1,048,576 bytes of header"),
    "a header of zeros": Bad(
        claims(17, bytes(17)), NonCanonical, "header of a CAR archive at byte 1.*end of the block at byte 1"
    ),
    "a page of HTML": Bad(
        b"<!doctype html><html><body>404</body></html>" * 3, NonCanonical, "header of a CAR archive at byte 1"
    ),
    "a ZIP file": Bad(b"PK\x03\x04" + bytes(100), NonCanonical, "header of a CAR archive at byte 1"),
    "a version of 42": Bad(header(version=42), Malformed, "version 1 or 2, found version 42 at byte 0"),
    "a version of 0": Bad(header(version=0), Malformed, "found version 0"),
    "a version that is true": Bad(header(version=True), Malformed, "header of version and roots"),
    "a version that is 1.0": Bad(header(version=1.0), Malformed, "header of version and roots"),
    "a version as text": Bad(header(version="1"), Malformed, "header of version and roots"),
    "no version": Bad(cut_head(encode({"roots": []})), Malformed, "header of version and roots"),
    "no roots": Bad(cut_head(encode({"version": 1})), Malformed, "header of version and roots"),
    "null for roots": Bad(header(roots=None), Malformed, "header of version and roots"),
    "a number among the roots": Bad(header(roots=[1]), Malformed, "header of version and roots"),
    "a text for a root": Bad(header(roots=[str(GOOD)]), Malformed, "header of version and roots"),
    "something else beside them": Bad(header(more=1), Malformed, "header of version and roots"),
    "a header that is a list": Bad(cut_head(encode([1, []])), Malformed, "header of version and roots"),
    "a header of a deep list": Bad(header(roots=[[[[1]]]]), LimitExceeded, "header of a CAR archive at byte 1"),
    "keys in another order": Bad(
        cut_head(b"\xa2\x67version\x01\x65roots\x80"),
        NonCanonical,
        "header of a CAR archive at byte 1.*after 'version'",
    ),
    "roots twice": Bad(
        cut_head(b"\xa3\x65roots\x80\x65roots\x80\x67version\x01"),
        NonCanonical,
        "header of a CAR archive at byte .*'roots' again",
    ),
    "roots without a length": Bad(
        cut_head(b"\xa2\x65roots\x9f\xff\x67version\x01"),
        NonCanonical,
        "header of a CAR archive at byte .*a stated length",
    ),
    "roots of 2^60": Bad(
        cut_head(b"\xa2\x65roots\x9b\x10" + bytes(7) + b"\x67version\x01"),
        Malformed,
        "header of a CAR archive at byte .*items of a list",
    ),
    "a root that is no CID": Bad(
        cut_head(b"\xa2\x65roots\x81\xd8\x2a\x43\x00\x01\x55\x67version\x01"),
        BadCID,
        "header of a CAR archive at byte .*varint",
    ),
    "a root with a digest of four bytes": Bad(
        cut_head(b"\xa2\x65roots\x81\xd8\x2a\x49\x00" + CUT + b"\x67version\x01"),
        HashNotAllowed,
        "header of a CAR archive at byte .*one of 4",
    ),
    "too many roots": Bad(
        header(roots=tuple([GOOD] * 10_001)), LimitExceeded, "header of a CAR archive at byte 3.*items"
    ),
    "bytes after the header's map": Bad(
        cut_head(HEAD[1:] + b"\x00"), NonCanonical, "header of a CAR archive at byte .*found more"
    ),
}

SECTIONS = {
    "cut off in a length": Bad(FIRST + b"\x80", Malformed, rf"within nine bytes.*section at byte {END} of", 1),
    "cut off after a length": Bad(FIRST + b"\x28", BadCID, rf"varint.*The CID is in the section at byte {END} of", 1),
    "cut off in a CID": Bad(FIRST + b"\x28" + GOOD.bytes[:20], BadCID, rf"32 bytes of sha2-256.*at byte {END} of", 1),
    "cut off after a CID": Bad(
        FIRST + b"\x29" + OTHER.bytes, Malformed, rf"5 bytes of {OTHER} at byte {END} of the archive, found 0", 1
    ),
    "a length of 2^63-1": Bad(
        FIRST + claims(2**63 - 1, OTHER.bytes), LimitExceeded, rf"9,223,372,036,854,775,771: {OTHER} at byte {END}", 1
    ),
    "a length of all ones": Bad(FIRST + b"\xff" * 20, Malformed, rf"within nine bytes.*section at byte {END}", 1),
    "a block just too large": Bad(
        HEAD + section(raw(bytes(2**21 + 1))[0], bytes(2**21 + 1)),
        LimitExceeded,
        rf"2,097,153: bafkrei\w+ at byte {AT}",
    ),
    "a section that ends inside its CID": Bad(
        FIRST + b"\x14" + GOOD.bytes + DATA, Malformed, rf"CID in the section at byte {END} of .* after 20 bytes", 1
    ),
    "a section of one byte": Bad(FIRST + b"\x01\x01" + bytes(60), Malformed, rf"at byte {END} of .* after 1 byte", 1),
    "a section of zeros": Bad(
        FIRST + b"\x28" + bytes(40), BadCID, rf"version 0 or 1, found version 0.*at byte {END}", 1
    ),
    "padding of zeros": Bad(FIRST + bytes(512), Malformed, rf"at byte {END} of .* no bytes", 1),
    "a CID of version 2": Bad(HEAD + section(b"\x02" + GOOD.bytes[1:], DATA), BadCID, rf"version 2.*at byte {AT}"),
    "a CID of version 0 with a codec": Bad(HEAD + section(b"\x00\x70" + GOOD.bytes[2:], DATA), BadCID, rf"byte {AT}"),
    "a CID in text": Bad(HEAD + section(str(GOOD).encode(), DATA), BadCID, rf"found version 98.*at byte {AT}"),
    "a codec in two bytes that fits one": Bad(
        HEAD + section(b"\x01\xd5\x00\x12\x20" + GOOD.digest, DATA), BadCID, rf"shortest form.*section at byte {AT}"
    ),
    "a codec of ten bytes": Bad(
        HEAD + section(b"\x01" + b"\x80" * 9 + b"\x01\x12\x20" + GOOD.digest, DATA), BadCID, rf"nine bytes.*byte {AT}"
    ),
    "MD5": Bad(HEAD + section(MD5, DATA), HashNotAllowed, rf"found md5.*bafk\w+ is in the section at byte {AT}"),
    "BLAKE3, which nothing here checks": Bad(
        HEAD + section(b"\x01\x55\x1e\x20" + bytes(32), DATA), HashNotAllowed, rf"found blake3.*at byte {AT}"
    ),
    "a hash that nobody knows": Bad(
        HEAD + section(b"\x01\x55\xb0\x24\x20" + bytes(32), DATA), HashNotAllowed, rf"found 0x1230.*at byte {AT}"
    ),
    "SHA-1 cut to four bytes": Bad(
        HEAD + section(b"\x01\x55\x11\x04" + SHA1[4:8], DATA), HashNotAllowed, rf"sha1 digest of 20.*at byte {AT}"
    ),
    "SHA2-512 cut to 32 bytes": Bad(
        HEAD + section(b"\x01\x55\x13\x20" + hashlib.sha512(DATA).digest()[:32], DATA),
        HashNotAllowed,
        rf"sha2-512 digest of 64.*at byte {AT}",
    ),
    "a digest of no bytes": Bad(HEAD + section(b"\x01\x55\x12\x00", DATA), HashNotAllowed, rf"one of 0.*at byte {AT}"),
    "a digest of 2^62 bytes": Bad(
        HEAD + section(b"\x01\x55\xb0\x24" + to_varint(2**62), DATA),
        HashNotAllowed,
        rf"at most 128 bytes.*at byte {AT}",
    ),
    "a digest that is said to be longer": Bad(
        HEAD + claims(len(LIE), LIE), BadCID, rf"32 bytes of sha2-256 digest .*found 4.*at byte {AT}"
    ),
    "a digest that reaches into the block after it": Bad(
        HEAD + claims(len(LIE), LIE) + section(GOOD, DATA), Malformed, rf"CID in the section at byte {AT} of"
    ),
    "an identity of 129 bytes": Bad(
        HEAD + section(b"\x01\x55\x00\x81\x01" + bytes(129), bytes(129)), HashNotAllowed, rf"found 129.*at byte {AT}"
    ),
    "an identity of a megabyte": Bad(
        HEAD + section(b"\x01\x55\x00" + to_varint(2**20) + bytes(2**20), b""),
        HashNotAllowed,
        rf"at most 160 bytes.*byte {AT}",
    ),
    "an identity of fewer bytes": Bad(HEAD + section(b"\x01\x55\x00\x02go", DATA), Mismatch, rf"at byte {AT}"),
    "another codec's name for other bytes": Bad(
        HEAD + section(CID.of(DATA, "dag-cbor", "sha2-256"), b"evil"), Mismatch, rf"hash to bafyrei\w+.*at byte {AT}"
    ),
    "a version 0 name for other bytes": Bad(
        HEAD + section(b"\x12\x20" + bytes(32), DATA), Mismatch, rf"to Qm.*byte {AT}"
    ),
    "bytes of the block before": Bad(FIRST + section(OTHER, DATA), Mismatch, rf"hash to {OTHER}.*at byte {END}", 1),
    "a block longer than its content": Bad(HEAD + section(GOOD, DATA + b"\x00"), Mismatch, rf"the 5 bytes .*{GOOD}"),
    "a block twice": Bad(FIRST + section(GOOD, DATA), Malformed, rf"once, found {GOOD} again at byte {END}", 1),
    "a second archive after the first": Bad(FIRST + FIRST, BadCID, rf"in the section at byte {END}", 1),
    "more after the last block": Bad(FIRST + b"trailing", BadCID, rf"at byte {END}", 1),
    "a block without bytes under another's name": Bad(HEAD + section(GOOD), Mismatch, rf"0 bytes to hash to {GOOD}"),
}

VERSION_2 = {
    "only a pragma": Bad(PRAGMA, Malformed, r"header of 40 bytes at byte 11 of the archive, found 0\. It is cut off"),
    "a header that is cut off": Bad(car2(PAYLOAD)[:50], Malformed, "found 39"),
    "a pragma of version 3": Bad(PRAGMA[:-1] + b"\x03" + car2(PAYLOAD)[11:], Malformed, "found version 3"),
    "a pragma with a longer number": Bad(
        b"\x0b" + PRAGMA[1:-1] + b"\x18\x02" + bytes(40), NonCanonical, "shortest form"
    ),
    "a pragma that is damaged": Bad(b"\x0a\xa1\x67versjon\x02" + bytes(40), Malformed, "header of version and roots"),
    "characteristics nobody knows": Bad(car2(PAYLOAD, about=b"\x01" + bytes(15)), Malformed, "no characteristics but"),
    "characteristics in the last bit": Bad(
        car2(PAYLOAD, about=bytes(15) + b"\x01"), Malformed, "no characteristics but"
    ),
    "fully indexed without an index": Bad(
        car2(PAYLOAD, about=b"\x80" + bytes(15)), Malformed, "at byte 43, found none"
    ),
    "a payload at byte 0": Bad(car2(PAYLOAD, begin=0), Malformed, "after its header of 51 bytes, found it at byte 0"),
    "a payload inside the header": Bad(car2(PAYLOAD, begin=50), Malformed, "found it at byte 50"),
    "a payload that begins after the end": Bad(car2(PAYLOAD, begin=10_000), Malformed, "found|cut off"),
    "a payload at 2^63": Bad(car2(PAYLOAD, begin=2**63), Malformed, "9,223,372,036,854,"),
    "a payload at 2^64-1": Bad(car2(PAYLOAD, begin=2**64 - 1), Malformed, "18,446,744,073,709,"),
    "a payload of no bytes": Bad(car2(PAYLOAD, size=0), Malformed, "header at byte 52"),
    "a payload of 2^63 bytes": Bad(car2(PAYLOAD, size=2**63), Malformed, "9,223,372,036,854,775,859"),
    "a payload that ends in its header": Bad(car2(PAYLOAD, size=10), Malformed, "bytes of header at byte 52"),
    "a payload that ends in a block": Bad(
        car2(PAYLOAD, size=len(PAYLOAD) - 1), Malformed, f"end at byte {50 + len(PAYLOAD)} of .*{GOOD} at byte"
    ),
    "a payload longer than the file": Bad(car2(PAYLOAD, size=len(PAYLOAD) + 1), Malformed, "end"),
    "an index inside the payload": Bad(car2(PAYLOAD, index_at=60), Malformed, "found it at 60"),
    "an index inside the header": Bad(car2(PAYLOAD, index_at=1), Malformed, "found it at 1"),
    "an index after the end": Bad(car2(PAYLOAD, index_at=10_000), Malformed, "10,00"),
    "an index that is nothing": Bad(car2(PAYLOAD, index_at=51 + len(PAYLOAD)), Malformed, "index"),
    "an index at 2^64-1": Bad(car2(PAYLOAD, index_at=2**64 - 1), Malformed, "18,446,744,073,709,551,61"),
    "version 2 inside version 2": Bad(car2(car2(PAYLOAD)), Malformed, "header of version and roots|version 2"),
    "a payload of zeros": Bad(car2(bytes(100)), Malformed, "at byte 51"),
    "a bad block in a payload": Bad(car2(HEAD + section(GOOD, b"bad!")), Mismatch, rf"{GOOD}.* at byte {51 + AT} of"),
}

ALL = [
    pytest.param(bad, id=f"{kind}: {name}")
    for kind, table in (("eleven", ELEVEN), ("header", HEADERS), ("section", SECTIONS), ("version 2", VERSION_2))
    for name, bad in table.items()
]


def sources(data: bytes) -> Iterator[Any]:
    yield io.BytesIO(data)
    yield Trickle(data)
    yield pieces(data, 13)


def outcome(source: Any) -> tuple[list[Piece], Iterator[Piece], IpvmError | None]:
    """Return what an archive gave, what it could still give, and the error that it ended in."""
    given: list[Piece] = []
    reading: Iterator[Piece] = iter(())
    try:
        reading = iter(Archive(source))
        given.extend(reading)
    except IpvmError as error:
        return given, reading, error
    return given, reading, None


@pytest.mark.parametrize("bad", ALL)
def test_hostile_archives(bad: Bad) -> None:
    """
    A hostile archive is refused in one line that names the CID or the byte, from every source, and gives nothing after that.
    """
    for source in sources(bad.data):
        given, reading, error = outcome(source)
        assert type(error) is bad.error
        message = error.message
        late = bad.data.startswith(PRAGMA)  # of a stream, the end is seen when it comes

        assert re.search(bad.words, message) or (late and re.search("cut off|end of|the end", message)), message
        assert re.search(r"byte \d|at \d", message)
        assert "\n" not in message
        assert all(piece == (GOOD, DATA, piece.offset) for piece in given)
        assert len(given) == bad.given or (late and len(given) <= 1)
        assert list(reading) == []


@pytest.mark.parametrize("bad", ALL)
def test_nothing_is_reserved_that_is_only_claimed(bad: Bad) -> None:
    """
    An archive that claims to be large takes no more memory than it has bytes, nor are more bytes asked for than fit a block.
    """
    stream = Trickle(bad.data, most=1_000)
    tracemalloc.start()
    try:
        with pytest.raises(IpvmError):
            list(Archive(cast("BinaryIO", stream)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 12 * len(bad.data) + 400_000
    assert stream.largest <= 2**20


def test_a_large_claim_reads_no_further() -> None:
    """
    A section that claims too much is refused at its head; what follows is left where it is.
    """
    stream = Trickle(FIRST + claims(2**40, OTHER.bytes) + bytes(10_000_000), most=65_536)

    with pytest.raises(LimitExceeded, match=f"{OTHER}"):
        list(Archive(cast("BinaryIO", stream)))
    assert stream.taken <= 2 * 65_536


def test_a_million_tiny_blocks() -> None:
    """
    An archive of very many blocks is refused at the one that is too many.
    """
    made = 0

    def body() -> Iterator[bytes]:
        nonlocal made
        yield HEAD
        for made in range(10**6):
            yield section(*raw(b"%d" % made))

    with pytest.raises(LimitExceeded, match="at most 3,000 blocks in an archive, found another: bafkrei"):
        list(Archive(body(), most=3_000))
    assert made < 4_000


def test_names_that_could_be_taken_for_each_other() -> None:
    """
    The same digest under another codec or version is another block: it does not stand for a root, nor come twice.
    """
    block = cbor({"a": 1})[1]
    as_cbor, as_raw = CID.of(block, "dag-cbor", "sha2-256"), CID.of(block, "raw", "sha2-256")

    with pytest.raises(Malformed, match=f"none of {as_cbor}"):
        list(Archive(car((as_raw, block), roots=(as_cbor,))))
    assert len(list(Archive(car((as_raw, block), (as_cbor, block), roots=(as_cbor,))))) == 2


def test_there_are_enough() -> None:
    """
    The tables hold what was found in the field, and twice as much again.
    """
    assert len(ELEVEN) == 11
    assert len(ALL) >= 11 + 20
