"""Spellings of CIDs: their bytes as the letters of a base, and numbers as bytes of seven bits.

It follows https://github.com/multiformats/multibase and https://github.com/multiformats/unsigned-varint, where each
byte string has one spelling in each base; whatever else would read as the same bytes is refused.
"""

from __future__ import annotations

from typing import Final

from ipvm_kernel.errors import BadCID

_ALPHABET32: Final = b"abcdefghijklmnopqrstuvwxyz234567"
_ALPHABET58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES58: Final = {char: value for value, char in enumerate(_ALPHABET58)}

# `int(digits, 32)` reads five bits a character in C, once the letters of base32 are those that Python counts with.
# Whatever is no letter of base32 becomes a zero byte, which `int` refuses: it would let blanks, underscores and
# capitals pass.
_TO_DIGITS: Final = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[_ALPHABET32.index(code)] if code in _ALPHABET32 else 0 for code in range(256)
)

# Two characters for each ten bits.
_PAIRS: Final = [chr(high) + chr(low) for high in _ALPHABET32 for low in _ALPHABET32]

_LONGEST_TEXT: Final = 1200  # 128 bytes and a header, in base2


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned varint that stands at `at`, and where it ends.

    It follows https://github.com/multiformats/unsigned-varint: at most nine bytes, and no byte more than needed.

    Raises:
        BadCID: It is longer, ends too early, or has a shorter form.
    """
    value = 0
    for shift, byte in zip(range(0, 63, 7), data[at : at + 9], strict=False):
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                raise BadCID(f"Expected the shortest form of the varint at byte {at} of {data[:20].hex()}.")
            return value, at + shift // 7 + 1
    raise BadCID(f"Expected the end of the varint at byte {at} of {data[:20].hex()}, within nine bytes.")


def to_varint(value: int) -> bytes:
    """Return a number below 2^63 as an unsigned varint.

    >>> to_varint(0x0129).hex()
    'a902'
    """
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def from_base32(text: str) -> bytes:
    """Return the bytes of multibase "b": RFC 4648 section 6, lower-case, without padding."""
    if len(text) > _LONGEST_TEXT:
        raise BadCID(f"Expected a CID, found a text of {len(text):,} characters.")
    bits = 5 * (len(text) - 1)
    spare = bits & 7
    try:
        number = int(text[1:].encode("ascii").translate(_TO_DIGITS), 32)
    except ValueError:
        raise BadCID(f"Expected a CID in lower-case base32 without padding, found {text[:100]!r}.") from None
    if spare > 4 or number & ((1 << spare) - 1):
        raise BadCID(
            f"Expected a whole CID, found {text[:100]!r}, whose last character is not one that base32 ends with."
        )
    return (number >> spare).to_bytes(bits >> 3, "big")


def to_base32(data: bytes) -> str:
    """Return the multibase "b" of some bytes."""
    bits = 8 * len(data)
    number = int.from_bytes(data, "big") << (-bits % 10)
    pairs = [_PAIRS[number >> shift & 1023] for shift in range(bits + -bits % 10 - 10, -1, -10)]
    return "b" + "".join(pairs)[: (bits + 4) // 5]


def from_base58(digits: str, text: str) -> bytes:
    """Return the bytes of base58btc; each leading "1" is a zero byte."""
    number = 0
    try:
        for char in digits:
            number = number * 58 + _VALUES58[char]
    except KeyError as error:
        raise BadCID(
            f"Expected a CID in base58, found {text[:100]!r}, where {error.args[0]!r} is no letter of it."
        ) from None
    zeros = len(digits) - len(digits.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def to_base58(data: bytes) -> str:
    """Return the base58btc of some bytes, without a multibase prefix."""
    number = int.from_bytes(data, "big")
    chars = []
    while number:
        number, rest = divmod(number, 58)
        chars.append(_ALPHABET58[rest])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(chars))


def from_multibase(text: str) -> bytes:
    """Return the bytes of a text in any other base, if it is the spelling that this base gives them."""
    if text.startswith(("ipfs://", "/ipfs/")):
        raise BadCID(f"Expected a CID, found the address {text[:100]!r}. Give the CID inside it.")
    if not 2 <= len(text) <= _LONGEST_TEXT:
        raise BadCID(f"Expected a CID, found a text of {len(text):,} characters.")
    if text[0] == "z":
        return from_base58(text[1:], text)
    # Imported here: it costs 50 ms, and a CID in another base is met once in a while.
    from multiformats import multibase

    try:
        base = multibase.from_str(text)
        data: bytes = base.decode(text)
        exact = base.encode(data) == text
    except Exception:  # noqa: BLE001 - it parses what anybody sent, and raises of many kinds
        raise BadCID(f"Expected a CID, found {text[:100]!r}. A CID of today begins with 'baf' or 'Qm'.") from None
    if not exact:
        raise BadCID(f"Expected the one spelling that {base.name} has, found {text[:100]!r}.")
    return data
