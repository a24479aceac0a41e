"""CIDs: the name that content has by itself.

A CID says how bytes are to be read (the codec) and what they hash to (the multihash), so whoever holds one can check
what he is given. This class is small because a replay makes and compares many; it follows the CID specification
(https://github.com/multiformats/cid), strictly: one spelling for each name, no cut digest, no byte too many.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, final

from ipvm_kernel.errors import BadCID, HashNotAllowed, Mismatch
from ipvm_kernel.ipld.bases import (
    from_base32,
    from_base58,
    from_multibase,
    to_base32,
    to_base58,
    to_varint,
    varint,
)

if TYPE_CHECKING:
    from builtins import bytes as Bytes  # noqa: N812 - `bytes` is a property of the class below and hides the type
    from collections.abc import Callable

    from typing_extensions import Buffer

CODECS: Final = {
    "cbor": 0x51,
    "raw": 0x55,
    "dag-pb": 0x70,
    "dag-cbor": 0x71,
    "libp2p-key": 0x72,
    "git-raw": 0x78,
    "dag-jose": 0x85,
    "dag-json": 0x0129,
    "json": 0x0200,
    "car": 0x0202,
}
"""Codecs by name, from the multicodec table. A CID with another one is kept; its name is then its number, "0x90"."""

IDENTITY_BYTES: Final = 128
"""Bytes that a CID may hold in place of a digest."""

# Code and exact length of the digest. BLAKE3 can give any length; everybody writes 32.
_HASHES: Final = {
    "identity": (0x00, None),
    "sha1": (0x11, 20),
    "sha2-256": (0x12, 32),
    "sha2-512": (0x13, 64),
    "sha3-512": (0x14, 64),
    "sha3-384": (0x15, 48),
    "sha3-256": (0x16, 32),
    "sha3-224": (0x17, 28),
    "keccak-256": (0x1B, 32),
    "blake3": (0x1E, 32),
    "md5": (0xD5, 16),
    "blake2b-256": (0xB220, 32),
}

# What may be used to check content. SHA-1 and MD5 are broken, and BLAKE3 is not in the standard library; as names of
# something else they pass, since a link is only a name.
_HASHERS: Final[dict[str, Callable[[Any], Any]]] = {
    "sha2-256": hashlib.sha256,
    "sha2-512": hashlib.sha512,
    "sha3-256": hashlib.sha3_256,
    "blake2b-256": partial(hashlib.blake2b, digest_size=32),
}

_CODEC_NAMES: Final = {code: name for name, code in CODECS.items()}
_HASH_NAMES: Final = {code: (name, length) for name, (code, length) in _HASHES.items()}

_LONGEST_BYTES: Final = 160


@final
class CID:
    r"""A content identifier. Immutable, hashable, equal to another of the same bytes.

    >>> cid = CID.of(b"\xf6")
    >>> cid
    CID('bafyrmicfpks6ihdt7szlfjlx65eqbt3jvtieqo64mjlgyf3pcu3uz7fzue')
    >>> cid.version, cid.codec, cid.hash, len(cid.digest), cid.short
    (1, 'dag-cbor', 'sha3-256', 32, 'cfpks6ih')
    """

    __slots__ = ("_bytes", "_text")

    _bytes: Bytes
    _text: str

    def __new__(cls, text: str) -> Self:
        """Return what `parse` returns, so that a CID can be typed as it is shown."""
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the CID that `text` spells: base32 as people write it, or any multibase.

        Base32 is lower-case, without padding, and its last character has no bits too many. A version 0 CID is its 46
        characters of base58 ("Qm...").

        Raises:
            BadCID: It is no CID, or not spelled the one way that its base has.
            HashNotAllowed: The digest is cut short, or an identity is longer than 128 bytes.
        """
        if type(text) is not str:
            raise BadCID(f"Expected the text of a CID, found {type(text).__name__}. Bytes go through CID.from_bytes.")
        if text[:1] == "b":
            data = from_base32(text)
        elif len(text) == 46 and text[:2] == "Qm":
            data = from_base58(text, text)
        else:
            data = from_multibase(text)
        if data[:1] == b"\x12" and text[:2] != "Qm":
            raise BadCID(f"Expected a version 1 CID in {text[:100]!r}, found version 0, which has no multibase prefix.")
        self = cls.from_bytes(data)
        if text[:1] == "b":
            self._text = text
        return self

    @classmethod
    def from_canonical(cls, text: str) -> Self | None:
        """Return the CID whose one canonical spelling `text` is, or None. Never raises for a text.

        Canonical is what `str` of a CID gives: base32 for version 1, base58 for version 0. Homestar turns any text that
        parses as a CID into a link; only for this spelling does reading the link back give the same text.

        >>> CID.from_canonical("bafkqabiaaebagba")
        CID('bafkqabiaaebagba')
        >>> CID.from_canonical("banana")
        """
        if text[:2] != "ba" and not (len(text) == 46 and text[:2] == "Qm"):
            return None
        try:
            return cls.parse(text)
        except (BadCID, HashNotAllowed):
            return None

    @classmethod
    def from_bytes(cls, data: Bytes) -> Self:
        """Return the CID of these bytes: version, codec, hash function, length, digest, and nothing else.

        A hash function that is not known here passes if the rest is well formed: such a CID names something, and can
        be used for nothing but that.

        Raises:
            BadCID: Not a CID, or not in its one binary form.
            HashNotAllowed: The digest is cut short, or an identity is longer than 128 bytes.
        """
        if type(data) is not bytes:
            raise BadCID(f"Expected the bytes of a CID, found {type(data).__name__}. Text goes through CID.parse.")
        if len(data) != 36 or data[:4] not in USUAL:
            _header(data)
        self = _new(cls)
        self._bytes = data
        return self

    @classmethod
    def of(cls, data: Buffer, codec: str = "dag-cbor", hash: str = "sha3-256") -> Self:  # noqa: A002 - the spec's word
        """Return the version 1 CID of some bytes.

        Args:
            data: The bytes, in the form that `codec` names; they are hashed and not looked at.
            codec: A name of `CODECS`.
            hash: "sha3-256" (what the model names), "sha2-256" (what IPFS gives to files), "sha2-512" or "blake2b-256".

        Raises:
            HashNotAllowed: Another hash function.
            BadCID: Another codec.
        """
        maker = _MAKERS.get((codec, hash)) or _maker(codec, hash)
        self = _new(cls)
        self._bytes = maker[0] + maker[1](data).digest()
        return self

    def check(self, data: Buffer) -> None:
        """Raise unless these are the bytes that the CID names.

        Raises:
            Mismatch: They are not.
            HashNotAllowed: The hash function is not known, not available or not safe, so nothing can be said.
        """
        start, hasher = 4, USUAL.get(self._bytes[:4])
        if hasher is None:
            start, hasher = _checker(self._bytes)
        if hasher(data).digest() != self._bytes[start:]:
            raise Mismatch(
                f"Expected the {memoryview(data).nbytes:,} bytes to hash to {self}, found that they do not. "
                "They were dropped; fetch them again, or from somebody else."
            )

    @property
    def bytes(self) -> Bytes:
        """The binary form."""
        return self._bytes

    @property
    def version(self) -> int:
        """0 or 1."""
        return _header(self._bytes)[0]

    @property
    def codec(self) -> str:
        """The name of the codec, or its number as "0x90" if it has no name here."""
        code = _header(self._bytes)[1]
        return _CODEC_NAMES.get(code) or hex(code)

    @property
    def hash(self) -> str:
        """The name of the hash function, or its number as "0x1012" if it has no name here."""
        return _hash_name(_header(self._bytes)[2])

    @property
    def digest(self) -> Bytes:
        """What the hash function gave; for an identity, the content itself."""
        return self._bytes[_header(self._bytes)[3] :]

    @property
    def short(self) -> str:
        """Eight characters that tell it from others of its kind: those after the prefix that all of them share."""
        version, _, _, start = _header(self._bytes)
        skip = 1 + start * 8 // 5 if version else 2
        return str(self)[skip : skip + 8]

    def __str__(self) -> str:
        try:
            return self._text
        except AttributeError:
            data = self._bytes
            self._text = text = to_base58(data) if len(data) == 34 and data[:2] == b"\x12\x20" else to_base32(data)
            return text

    def __repr__(self) -> str:
        return f"CID('{self}')"

    def __eq__(self, other: object) -> bool:
        return type(other) is CID and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __reduce__(self) -> tuple[Callable[[Bytes], CID], tuple[Bytes]]:
        return CID.from_bytes, (self._bytes,)

    def __copy__(self) -> CID:
        return self

    def __deepcopy__(self, memo: object) -> CID:
        return self


_new: Final = object.__new__


def unchecked(data: Bytes) -> CID:
    """Return the CID of bytes that were a CID when they were written: of a block that was checked on entering."""
    cid = _new(CID)
    cid._bytes = data  # noqa: SLF001 - the constructor that skips the checks
    return cid


def _header(data: Bytes) -> tuple[int, int, int, int]:
    """Return version, codec, hash function and where the digest starts, or refuse (CID specification, "Decoding")."""
    if len(data) == 36 and (usual := _USUAL_HEADERS.get(data[:4])):
        return usual
    if len(data) == 34 and data[:2] == b"\x12\x20":
        return 0, 0x70, 0x12, 2
    if len(data) > _LONGEST_BYTES:
        raise HashNotAllowed(f"Expected a CID of at most {_LONGEST_BYTES} bytes, found {len(data):,}.")
    version, at = varint(data, 0)
    if version != 1:
        raise BadCID(f"Expected a CID of version 0 or 1, found version {version} in {data[:20].hex()}.")
    codec, at = varint(data, at)
    function, at = varint(data, at)
    length, at = varint(data, at)
    name, exact = _HASH_NAMES.get(function, (hex(function), None))
    if exact is not None and length != exact:
        raise HashNotAllowed(f"Expected a {name} digest of {exact} bytes, found one of {length}: it cannot be checked.")
    if length > IDENTITY_BYTES:
        raise HashNotAllowed(f"Expected a digest of at most {IDENTITY_BYTES} bytes, found {length:,} of {name}.")
    if len(data) - at != length:
        raise BadCID(f"Expected {length} bytes of {name} digest at byte {at} of the CID, found {len(data) - at}.")
    return version, codec, function, at


def _hash_name(function: int) -> str:
    known = _HASH_NAMES.get(function)
    return known[0] if known else hex(function)


def _maker(codec: str, function: str) -> tuple[Bytes, Callable[[Any], Any]]:
    """Return the bytes before the digest, and the function that makes it."""
    hasher = _HASHERS.get(function)
    if hasher is None:
        raise HashNotAllowed(f"Expected a hash function of {', '.join(_HASHERS)}, found {function!r}.")
    if codec not in CODECS:
        raise BadCID(f"Expected a codec of {', '.join(CODECS)}, found {codec!r}.")
    code, length = _HASHES[function]
    prefix = b"\x01" + to_varint(CODECS[codec]) + to_varint(code) + to_varint(length or 0)
    return _MAKERS.setdefault((codec, function), (prefix, hasher))


class _Itself:
    """The hash function of an identity CID."""

    def __init__(self, data: Buffer) -> None:
        self._data = data

    def digest(self) -> Bytes:
        return bytes(memoryview(self._data))


def _checker(data: Bytes) -> tuple[int, Callable[[Any], Any]]:
    """Return where the digest starts and the function that makes it, for a CID that is not a usual one."""
    _, _, function, start = _header(data)
    name = _hash_name(function)
    hasher = _Itself if name == "identity" else _HASHERS.get(name)
    if hasher is None:
        raise HashNotAllowed(
            f"Expected a CID with one of {', '.join(_HASHERS)}, found {name}, by which nothing is checked here. "
            "Ask for the same content under another CID."
        )
    return start, hasher


_MAKERS: Final[dict[tuple[str, str], tuple[Bytes, Callable[[Any], Any]]]] = {}

USUAL: Final = {
    prefix: hasher
    for codec in ("dag-cbor", "raw", "dag-pb")
    for function in ("sha3-256", "sha2-256")
    for prefix, hasher in [_maker(codec, function)]
}
"""The first four bytes of nearly every CID that is met, and the hash function of each; 32 bytes of digest follow."""

_USUAL_HEADERS: Final = {prefix: (1, prefix[1], prefix[2], 4) for prefix in USUAL}
