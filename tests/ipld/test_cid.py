from __future__ import annotations

import copy
import hashlib
import pickle
import random
import string
from typing import Any

import multiformats
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiformats import multibase

from ipvm_kernel.errors import BadCID, HashNotAllowed, Mismatch
from ipvm_kernel.ipld import CID
from ipvm_kernel.ipld.bases import to_varint, varint
from tests.ipld.values import LINK, cids

RECEIPT = "bafyrmif2bvl7l5keg4tt42f7rpmfj7wdhint6spkohhlrogdlzftpkuxau"
FILE = "bafybeibk42jwhq7w2zcpe6q3wgtleugp3ymfs3pa5gerjmnakqihhqx4zq"
LEAF = "bafkreiegvlhjstbyt2q3wvxkbs3q25v74bfor3x67iwp6gdeoakgw3kune"
BEEP = "bafkr4ickinozehpaz72vtgpbhhqpf6v2fi67rvr6uis52bwsesoss6vinq"  # blake3 of b"beep boop"
V0 = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"  # of the empty dag-pb node
V0_AS_1 = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"

DIGEST = bytes(range(32))


def v1(codec: int, function: int, digest: bytes) -> bytes:
    return b"\x01" + to_varint(codec) + to_varint(function) + to_varint(len(digest)) + digest


@pytest.mark.parametrize(
    ("text", "version", "codec", "function", "short"),
    [
        (RECEIPT, 1, "dag-cbor", "sha3-256", "f2bvl7l5"),
        (FILE, 1, "dag-pb", "sha2-256", "bk42jwhq"),
        (LEAF, 1, "raw", "sha2-256", "egvlhjst"),
        (BEEP, 1, "raw", "blake3", "ckinozeh"),
        (V0, 0, "dag-pb", "sha2-256", "dfTbBqBP"),
        ("bafkqabiaaebagba", 1, "raw", "identity", "iaaebagb"),
        ("baguqeeraaoewnxu7nonjagzawtdmvczkiyaj73v6amn2xscc2q3jbqf4eivq", 1, "dag-json", "sha2-256", "aoewnxu7"),
        ("baf4bcfgio3hovkftaer3yx6jsnm6navhg4yimwi", 1, "git-raw", "sha1", "gio3hovk"),
        ("bagyacvradn6dsgl6sw2jwoh7s3d37hq5wsu7g22wtdwnmaaaaaaaaaaaaaaa", 1, "0xb0", "0x56", "dn6dsgl6"),
    ],
)
def test_what_a_cid_says(text: str, version: int, codec: str, function: str, short: str) -> None:
    """
    Version, codec, hash function and the part that people tell CIDs apart by can be read off any CID.
    """
    cid = CID.parse(text)

    assert (cid.version, cid.codec, cid.hash, cid.short) == (version, codec, function, short)
    assert str(cid) == text == str(CID.from_bytes(cid.bytes))
    assert repr(cid) == f"CID('{text}')"
    assert CID(text) == cid
    assert cid.bytes.endswith(cid.digest)


@given(cid=cids)
def test_a_cid_has_one_spelling(cid: CID) -> None:
    """
    Text and bytes of a CID lead back to it, by way of files, messages and other processes.
    """
    assert CID.parse(str(cid)) == CID.from_bytes(cid.bytes) == cid
    assert hash(CID.parse(str(cid))) == hash(cid)
    assert CID.from_canonical(str(cid)) == cid
    assert pickle.loads(pickle.dumps(cid)) == cid
    assert copy.deepcopy([cid])[0] is cid


@given(cid=st.builds(CID.of, st.binary(max_size=9), st.sampled_from(["raw", "dag-cbor", "dag-pb", "dag-json"])))
def test_others_spell_it_the_same(cid: CID) -> None:
    """
    The text is what every other implementation shows.
    """
    assert multiformats.CID.decode(cid.bytes).encode("base32") == str(cid)
    assert bytes(multiformats.CID.decode(str(cid))) == cid.bytes


@pytest.mark.parametrize("base", ["base16", "base16upper", "base32upper", "base36", "base58btc", "base64", "base64url"])
def test_other_bases_are_read(base: str) -> None:
    """
    A CID that somebody copied in another base is the same CID, and is shown in base32.
    """
    text = multibase.get(base).encode(LINK.bytes)

    assert str(CID.parse(text)) == str(LINK)
    assert CID.from_canonical(text) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 characters"),
        ("b", "base32"),
        ("ba", "last character|varint|varint at byte 0"),
        ("Q", "1 characters"),
        ("hello", "found 'hello'. A CID of today begins with"),
        ("B" + RECEIPT[1:], "found 'Bafyrmi"),
        ("b" + RECEIPT[1:].upper(), "lower-case base32 without padding"),
        (RECEIPT[:-1] + "A", "lower-case base32"),
        (RECEIPT + "======", "lower-case base32 without padding"),
        (RECEIPT[:20] + "_" + RECEIPT[20:], "lower-case base32"),
        (RECEIPT[:20] + " " + RECEIPT[20:], "lower-case base32"),
        (" " + RECEIPT, "begins with"),
        (RECEIPT + "\n", "lower-case base32"),
        (RECEIPT[:-1] + "1", "lower-case base32"),
        (RECEIPT[:-1] + "0", "lower-case base32"),
        (RECEIPT[:-1] + "é", "lower-case base32"),
        (RECEIPT[:-1] + "v", "last character is not one that base32 ends with"),
        (RECEIPT[:-1] + "b", "last character"),
        (RECEIPT[:-1], "last character|bytes of sha3-256 digest"),
        (RECEIPT[:-2], "bytes of sha3-256 digest|last character"),
        (RECEIPT + "a", "last character|found 33"),
        (RECEIPT + "aa", "found 33"),
        (V0[:-1], "found '" + V0[:-1]),
        (V0 + "1", "begins with"),
        (V0[:-1] + "0", "base58.*'0' is no letter"),
        (V0[:-1] + "l", "'l' is no letter"),
        ("z" + V0, "version 0, which has no multibase prefix"),
        ("b" + "ci" + "q" + "a" * 54, "version 0, which has no multibase prefix|last character"),
        ("z0", "base58"),
        ("z", "1 characters"),
        ("f01", "varint"),
        ("f0g", "begins with"),
        ("F01551220" + DIGEST.hex(), "found 'F01551220"),
        ("mAXESIA==", "found 'mAXESIA=="),
        ("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN", "begins with"),
        ("ipfs://" + RECEIPT, "found the address .* Give the CID inside it"),
        ("/ipfs/" + RECEIPT, "found the address"),
        ("b" + "a" * 100_000, "100,001 characters"),
        ("z" + "1" * 100_000, "100,001 characters"),
        ("Qm" + "\N{GREEK SMALL LETTER ALPHA}" * 44, "base58"),
        ("\ud800", "begins with|1 characters"),
        ("b\ud800", "base32"),
        ("b\x00", "base32"),
    ],
)
def test_what_is_no_cid(text: str, words: str) -> None:
    """
    Text that nearly is a CID is refused, not read as one: each CID is compared by its text somewhere.
    """
    with pytest.raises(BadCID, match=words) as refused:
        CID.parse(text)
    assert refused.value.message.isprintable()
    assert CID.from_canonical(text) is None


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", BadCID, "varint at byte 0"),
        (b"\x01", BadCID, "varint at byte 1"),
        (b"\x01\x71\x16", BadCID, "varint at byte 3"),
        (b"\x01\x71\x16\x20", BadCID, "32 bytes of sha3-256 digest at byte 4 of the CID, found 0"),
        (v1(0x71, 0x16, DIGEST) + b"\0", BadCID, "found 33"),
        (v1(0x71, 0x16, DIGEST)[:-1], BadCID, "found 31"),
        (b"\x00\x71\x16\x20" + DIGEST, BadCID, "version 0 in"),
        (b"\x02\x71\x16\x20" + DIGEST, BadCID, "version 2"),
        (b"\x03\x71\x16\x20" + DIGEST, BadCID, "version 3"),
        (b"\x12\x20" + DIGEST + b"\0", BadCID, "version 18"),
        (b"\x12\x20" + DIGEST[:-1], BadCID, "version 18"),
        (b"\x81\x00\x71\x16\x20" + DIGEST, BadCID, "shortest form of the varint at byte 0"),
        (b"\x01\xf1\x00\x16\x20" + DIGEST, BadCID, "shortest form of the varint at byte 1"),
        (b"\x01\x71\x96\x00\x20" + DIGEST, BadCID, "shortest form of the varint at byte 2"),
        (b"\x01\x71\x16\xa0\x00" + DIGEST, BadCID, "shortest form of the varint at byte 3"),
        (b"\x01" + b"\xff" * 9 + b"\x01\x16\x20" + DIGEST, BadCID, "within nine bytes"),
        (b"\xff" * 40, BadCID, "varint at byte 0"),
        (v1(0x71, 0x12, b"1234"), HashNotAllowed, "sha2-256 digest of 32 bytes, found one of 4"),
        (v1(0x71, 0x12, DIGEST[:31]), HashNotAllowed, "found one of 31"),
        (v1(0x71, 0x16, DIGEST + b"\0"), HashNotAllowed, "sha3-256 digest of 32 bytes, found one of 33"),
        (v1(0x71, 0x13, DIGEST), HashNotAllowed, "sha2-512 digest of 64 bytes"),
        (v1(0x71, 0x1E, DIGEST[:16]), HashNotAllowed, "blake3 digest of 32 bytes"),
        (v1(0x71, 0xB220, DIGEST[:20]), HashNotAllowed, "blake2b-256 digest of 32 bytes"),
        (v1(0x55, 0x11, DIGEST), HashNotAllowed, "sha1 digest of 20 bytes"),
        (v1(0x55, 0xD5, DIGEST), HashNotAllowed, "md5 digest of 16 bytes"),
        (v1(0x55, 0x00, bytes(129)), HashNotAllowed, "at most 128 bytes, found 129 of identity"),
        (v1(0x55, 0x00, bytes(2**20)), HashNotAllowed, "at most 160 bytes, found 1,048,58"),
        (v1(0x55, 0x1012, bytes(129)), HashNotAllowed, "at most 128 bytes, found 129 of 0x1012"),
    ],
)
def test_bytes_that_are_no_cid(data: bytes, error: type[Exception], words: str) -> None:
    """
    A CID in bytes has one form and a whole digest.
    """
    with pytest.raises(error, match=words):
        CID.from_bytes(data)


@pytest.mark.parametrize("given", [None, 7, RECEIPT, bytearray(36), memoryview(bytes(36)), LINK])
def test_bytes_are_bytes(given: Any) -> None:
    """
    A CID cannot change, so it is not made of what can.
    """
    with pytest.raises(BadCID, match="Expected the bytes of a CID, found"):
        CID.from_bytes(given)


@pytest.mark.parametrize("given", [None, 7, b"bafy", LINK])
def test_text_is_text(given: Any) -> None:
    """
    Giving bytes where text belongs is answered with where they belong.
    """
    with pytest.raises(BadCID, match="Expected the text of a CID, found"):
        CID.parse(given)


@pytest.mark.parametrize(
    ("function", "code", "digest"),
    [
        ("sha2-256", 0x12, hashlib.sha256),
        ("sha2-512", 0x13, hashlib.sha512),
        ("sha3-256", 0x16, hashlib.sha3_256),
        ("blake2b-256", 0xB220, lambda data: hashlib.blake2b(data, digest_size=32)),
    ],
)
@pytest.mark.parametrize(("codec", "number"), [("raw", 0x55), ("dag-cbor", 0x71), ("dag-json", 0x129)])
def test_content_is_named_and_checked(function: str, code: int, digest: Any, codec: str, number: int) -> None:
    """
    What was named can be checked, and anything else under the same name is caught.
    """
    cid = CID.of(b"content", codec, function)

    assert cid.bytes == v1(number, code, digest(b"content").digest())
    cid.check(b"content")
    cid.check(memoryview(b"content"))
    with pytest.raises(Mismatch, match=f"7 bytes to hash to {cid}"):
        cid.check(b"Content")
    with pytest.raises(Mismatch):
        cid.check(b"")


def test_version_0_is_checked() -> None:
    """
    Files under an old CID are checked like those under a new one.
    """
    CID.parse(V0).check(b"")
    CID.parse(V0_AS_1).check(b"")
    assert CID.parse(V0) != CID.parse(V0_AS_1)
    with pytest.raises(Mismatch):
        CID.parse(V0).check(b"x")


def test_an_identity_holds_its_content() -> None:
    """
    An identity CID is checked too: it names what it holds, at most 128 bytes of it.
    """
    held = CID.from_bytes(v1(0x55, 0, bytes(128)))

    held.check(bytes(128))
    assert held.digest == bytes(128)
    with pytest.raises(Mismatch):
        held.check(bytes(127))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (v1(0x55, 0x11, DIGEST[:20]), "sha1"),
        (v1(0x55, 0xD5, DIGEST[:16]), "md5"),
        (v1(0x55, 0x1E, DIGEST), "blake3"),
        (v1(0x55, 0x1B, DIGEST), "keccak-256"),
        (v1(0x55, 0x1012, DIGEST), "0x1012"),
        (v1(0x55, 0x1230, b""), "0x1230"),
    ],
)
def test_a_name_by_an_unsafe_hash_checks_nothing(data: bytes, name: str) -> None:
    """
    A link by a hash function that is broken or not known here may stand in a value, and vouches for nothing.
    """
    cid = CID.from_bytes(data)

    assert cid.hash == name
    with pytest.raises(HashNotAllowed, match=f"found {name}, by which nothing is checked here"):
        cid.check(b"anything")


@pytest.mark.parametrize("function", ["sha1", "md5", "identity", "blake3", "sha2-224", ""])
def test_nothing_is_named_by_an_unsafe_hash(function: str) -> None:
    """
    Whatever is named here can be checked by everybody.
    """
    with pytest.raises(HashNotAllowed, match="Expected a hash function of sha2-256"):
        CID.of(b"x", "raw", function)
    with pytest.raises(BadCID, match="Expected a codec of cbor, raw"):
        CID.of(b"x", "dag-yaml")


def test_a_cid_does_not_change() -> None:
    """
    A CID is a value: it can be a key, and nobody changes it under another's hands.
    """
    cid: Any = CID.parse(RECEIPT)

    for name in ("bytes", "codec", "hash", "version", "anything"):
        with pytest.raises(AttributeError):
            setattr(cid, name, b"")
    assert {cid: 1}[CID.parse(RECEIPT)] == 1
    assert cid != RECEIPT
    assert cid != cid.bytes
    assert len({cid, CID.parse(RECEIPT), LINK}) == 2


@pytest.mark.parametrize(
    "text", ["banana", "blur", "ba", "bafy", "QmNotACidAtAll", "", "null", FILE.upper(), "/ipfs/" + FILE, V0[:-1] + "l"]
)
def test_text_that_is_no_canonical_cid_stays_text(text: str) -> None:
    """
    A string becomes a link only where reading the link back gives the very same string.
    """
    assert CID.from_canonical(text) is None
    assert CID.from_canonical(FILE) == CID.parse(FILE)
    assert CID.from_canonical(V0) == CID.parse(V0)


def test_damage_is_noticed() -> None:
    """
    Of the texts that differ from a CID in one character, those that are read are read as another CID.
    """
    chance = random.Random(1)
    for _ in range(2_000):
        at = chance.randrange(len(RECEIPT))
        text = RECEIPT[:at] + chance.choice(string.printable) + RECEIPT[at + 1 :]
        try:
            cid = CID.parse(text)
        except (BadCID, HashNotAllowed):
            continue
        assert str(cid) == text
        assert (cid == CID.parse(RECEIPT)) == (text == RECEIPT)


@given(number=st.integers(0, 2**63 - 1), before=st.binary(max_size=3), after=st.binary(max_size=3))
def test_varints(number: int, before: bytes, after: bytes) -> None:
    """
    Every number below 2^63 has one varint, at most nine bytes long.
    """
    written = to_varint(number)

    assert varint(before + written + after, len(before)) == (number, len(before) + len(written))
    assert len(written) <= 9
    for cut in range(len(written)):
        with pytest.raises(BadCID, match="varint"):
            varint(written[:cut], 0)
