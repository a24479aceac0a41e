"""What is wrong with a block, and where: a strict reader of DAG-CBOR that builds nothing.

Decoding a good block never comes here. A block that was refused does, to learn why; and so does one that is large
enough to hold more items, or deeper ones, than its limits allow, before anything is built from it. It follows
https://ipld.io/specs/codecs/dag-cbor/spec/ (section "Strictness") and counts without recursion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import BadCID, HashNotAllowed, LimitExceeded, Malformed, NonCanonical
from ipvm_kernel.ipld.cid import CID

if TYPE_CHECKING:
    from ipvm_kernel.ipld.limits import Limits

_KINDS: Final = (
    "an integer", "a negative integer", "bytes", "text", "a list", "a map", "a tag", "a simple value"
)  # fmt: skip
_BYTES, _TEXT, _LIST, _MAP, _TAG, _SIMPLE = 2, 3, 4, 5, 6, 7
_FLOAT_HEAD: Final = 0xFB
_AGAIN: Final = "Encode it again with ipvm.encode, or ask for it elsewhere."

# What the argument of a head has to exceed to need 1, 2, 4 or 8 bytes of its own.
_LEAST: Final = {1: 24, 2: 2**8, 4: 2**16, 8: 2**32}


def scan(data: bytes, limits: Limits) -> None:
    """Raise unless `data` is one DAG-CBOR block within `limits`.

    Raises:
        LimitExceeded: Too many items, or too deep.
        NonCanonical: CBOR, but not in the one form that DAG-CBOR has for it.
        BadCID, HashNotAllowed: A link that is no CID.
        Malformed: Not CBOR.
    """
    end = len(data)
    at = 0
    left = 1  # items that the container at hand still owes; in a map, keys and values
    in_map = False
    previous = b""  # the key before, encoded: its bytes order as the spec orders keys, length first
    outer: list[tuple[int, bool, bytes]] = []
    announced, seen = 1, 0
    while True:
        while not left:
            if not outer:
                if at != end:
                    raise NonCanonical(f"Expected the end of the block at byte {at:,}, found more. {_AGAIN}")
                return
            left, in_map, previous = outer.pop()
        start = at
        major, size, at = _head(data, at, end)
        left -= 1
        seen += 1
        if in_map and left & 1:
            if major != _TEXT:
                raise NonCanonical(f"Expected a map key (text) at byte {start:,}, found {_KINDS[major]}. {_AGAIN}")
            at = _text(data, at, size, end)
            previous = _ordered(previous, data[start:at], start)
        elif major == _TEXT:
            at = _text(data, at, size, end)
        elif major == _BYTES:
            at = _through(at, size, end, "bytes")
        elif major in {_LIST, _MAP}:
            announced += size * 2 if major == _MAP else size
            if announced - seen > end - at:
                raise Malformed(
                    f"Expected the {size:,} items of {_KINDS[major]} at byte {start:,}, found {end - at:,} bytes: "
                    "fewer than items are still to come. The block is cut off, or lies."
                )
            if announced > limits.items:
                raise LimitExceeded(
                    f"Expected at most {limits.items:,} items in a block, found more at byte {start:,}. "
                    "Split it into blocks that link to each other, or keep lists of numbers as bytes."
                )
            if len(outer) >= limits.depth:
                raise LimitExceeded(
                    f"Expected lists and maps at most {limits.depth} deep, found one deeper at byte {start:,}. "
                    "Put the inner part into a block of its own and link to it."
                )
            outer.append((left, in_map, previous))
            left, in_map, previous = (size * 2, True, b"") if major == _MAP else (size, False, b"")
        elif major == _TAG:
            at = _link(data, at, size, end)
        elif major == _SIMPLE:
            _simple(data, start, size)


def _head(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return the major type, the argument and where the head ends (RFC 8949 section 3), in its shortest form."""
    if at >= end:
        raise Malformed(f"Expected another item at byte {at:,}, found the end of the block. It is cut off.")
    head = data[at]
    major, argument = head >> 5, head & 31
    if argument < 24:
        return major, argument, at + 1
    if argument > 27:
        if argument == 31 and major in {_BYTES, _TEXT, _LIST, _MAP}:
            raise NonCanonical(f"Expected {_KINDS[major]} of a stated length at byte {at:,}, found none. {_AGAIN}")
        raise Malformed(f"Expected an item at byte {at:,}, found 0x{head:02x}, which begins none.")
    width = 1 << argument - 24
    if at + width >= end:
        raise Malformed(f"Expected {width} more bytes of the head at byte {at:,}, found {end - at - 1}. It is cut off.")
    value = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    if major == _SIMPLE:
        if head != _FLOAT_HEAD:
            found = "a simple value" if width == 1 else f"a float of {8 * width} bits"
            raise NonCanonical(f"Expected true, false, null or a 64-bit float at byte {at:,}, found {found}. {_AGAIN}")
    elif value < _LEAST[width]:
        raise NonCanonical(f"Expected the shortest form of {value:,} at byte {at:,}, found {width + 1} bytes. {_AGAIN}")
    return major, value, at + 1 + width


def _through(at: int, size: int, end: int, kind: str) -> int:
    """Return where a string ends that starts at `at`."""
    if size > end - at:
        raise Malformed(
            f"Expected {size:,} bytes of {kind} at byte {at:,}, found {end - at:,}. It is cut off, or lies."
        )
    return at + size


def _text(data: bytes, at: int, size: int, end: int) -> int:
    stop = _through(at, size, end, "text")
    try:
        data[at:stop].decode()
    except UnicodeDecodeError as error:
        raise Malformed(
            f"Expected UTF-8 at byte {at + error.start:,}, found {error.reason}. Keep it as bytes."
        ) from None
    return stop


def _ordered(previous: bytes, key: bytes, at: int) -> bytes:
    """Return the key, if it may follow the one before."""
    if key > previous:
        return key
    shown = _key(key)
    if key == previous:
        raise NonCanonical(f"Expected each key once in a map, found {shown!r} again at byte {at:,}. {_AGAIN}")
    raise NonCanonical(
        f"Expected map keys sorted by length, then bytes; found {shown!r} after {_key(previous)!r} at byte {at:,}. {_AGAIN}"
    )


def _key(encoded: bytes) -> str:
    return encoded[_head(encoded, 0, len(encoded))[2] :].decode()[:100]


def _link(data: bytes, at: int, tag: int, end: int) -> int:
    """Return where the link ends whose tag ends at `at`."""
    if tag != 42:
        raise NonCanonical(f"Expected no tag but 42, a link, before byte {at:,}, found {tag}. {_AGAIN}")
    major, size, at = _head(data, at, end)
    if major != _BYTES:
        raise BadCID(f"Expected the bytes of a CID before byte {at:,}, found {_KINDS[major]}.")
    stop = _through(at, size, end, "CID")
    if data[at : at + 1] != b"\0" or not size:
        raise BadCID(
            f"Expected a zero byte before the CID at byte {at:,}, found {data[at:stop][:1].hex() or 'nothing'}."
        )
    try:
        CID.from_bytes(data[at + 1 : stop])
    except (BadCID, HashNotAllowed) as error:
        raise type(error)(f"In the link at byte {at:,}: {error.message}") from None
    return stop


def _simple(data: bytes, at: int, value: int) -> None:
    if data[at] == _FLOAT_HEAD:
        if value >> 52 & 0x7FF == 0x7FF:
            raise NonCanonical(f"Expected a finite float at byte {at:,}, found NaN or infinity. Write null instead.")
    elif value not in {20, 21, 22}:
        found = "undefined" if value == 23 else f"simple value {value}"
        raise NonCanonical(f"Expected true, false, null or a 64-bit float at byte {at:,}, found {found}. {_AGAIN}")
