"""DAG-CBOR: IPLD values to bytes and back, each value in exactly one form.

It follows https://ipld.io/specs/codecs/dag-cbor/spec/. Writing is our own: what DAG-CBOR leaves of CBOR takes a page,
and the page is twice as fast as sorting every map for cbor2 and having it encode the copy (5 and 9 us for a
receipt); `cbor2.dumps(canonical=True)` would shrink floats. cbrrr writes faster still, but holds borrowed references
while it calls back into Python, and never ends on a list that contains itself.

Reading is cbor2's. It accepts more than DAG-CBOR has, so what it read is written again and must give the same bytes.
Where cbrrr is installed it reads instead: it is as strict by itself, and several times faster. It knows no limits, so
whatever could be too deep for it is scanned first. Both are given the same answers: `scan` explains every refusal.
"""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

from ipvm_kernel.errors import LimitExceeded, Malformed
from ipvm_kernel.ipld.cid import CID, USUAL, unchecked
from ipvm_kernel.ipld.limits import DEPTH, OWN, Limits
from ipvm_kernel.ipld.numberlist import NumberList
from ipvm_kernel.ipld.refusal import explain
from ipvm_kernel.ipld.scan import scan

if TYPE_CHECKING:
    from collections.abc import Callable

    Ipld: TypeAlias = bool | int | float | str | bytes | CID | list["Ipld"] | dict[str, "Ipld"] | None
    _Put: TypeAlias = Callable[[bytes], object]
else:
    # msgspec reads the annotations of nodes, and has no union that a class of ours is part of.
    Ipld = Any


def encode(value: object) -> bytes:
    """Return the DAG-CBOR of an IPLD value: None, bool, int, float, str, bytes, CID, or a list or dict of these.

    >>> encode({"bb": 1, "a": [True, -0.0]}).hex()
    'a2616182f5fb800000000000000062626201'

    Raises:
        Unencodable: Some part has no IPLD form; the message names the place.
        LimitExceeded: Lists and maps more than 128 deep.
    """
    try:
        return _encoded(value, DEPTH)
    except _REFUSED:
        pass
    explain(value, DEPTH)
    raise Malformed("Expected a value that stays as it is while it is encoded, found that it changed. Encode it again.")


def decode(data: bytes, limits: Limits = OWN) -> Ipld:
    """Return the IPLD value that `data` encodes, whoever it came from.

    >>> decode(encode({"b": 1, "a": [True]}))
    {'a': [True], 'b': 1}

    Raises:
        NonCanonical: CBOR, but not in the one form that DAG-CBOR has for it.
        BadCID, HashNotAllowed: A link that is no CID.
        Malformed: Not CBOR.
        LimitExceeded: More bytes, items or depth than `limits` allow; nothing was built.
    """
    if type(data) is not bytes:
        raise Malformed(f"Expected the bytes of a DAG-CBOR block, found {type(data).__name__}. Give bytes(x).")
    if len(data) > limits.block_bytes:
        raise LimitExceeded(f"Expected a block of at most {limits.block_bytes:,} bytes, found {len(data):,}.")
    if len(data) > limits.items or (_reader.boundless and _could_be_deep(data, limits)):
        scan(data, limits)
    try:
        return _reader.strict(data, limits)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a reader of hostile bytes raises, the scan says better
        refused = error
    scan(data, limits)
    raise Malformed(f"Expected DAG-CBOR, found something that is not: {refused}.") from refused


def decode_trusted(data: bytes) -> Ipld:
    """Return the value of a block that `decode` once accepted and whose CID has just been checked.

    Strictness is checked when a block enters our store; a read of it checks the CID alone. Of other bytes this makes
    what it can.

    Raises:
        Malformed: Not even CBOR.
    """
    try:
        return _reader.trusting(data)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        raise Malformed(f"Expected a block of our own store, found something else: {error}.") from error


# --- Writing ---


def _heads(major: int) -> list[bytes]:
    """Return the heads (RFC 8949 section 3) of the arguments 0 to 255."""
    return [bytes([major << 5 | n]) if n < 24 else bytes([major << 5 | 24, n]) for n in range(256)]


def _head(major: int, argument: int) -> bytes:
    """Return the head of an argument above 255."""
    if argument < 2**16:
        return struct.pack(">BH", major << 5 | 25, argument)
    if argument < 2**32:
        return struct.pack(">BI", major << 5 | 26, argument)
    return struct.pack(">BQ", major << 5 | 27, argument)


_POSITIVE, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP = (_heads(major) for major in range(6))
_LINK: Final = b"\xd8\x2a"
_USUAL_LINK: Final = b"\xd8\x2a\x58\x25\x00"  # before the 36 bytes of nearly every CID
_DOUBLE: Final = struct.Struct(">Bd").pack
_INFINITY: Final = float("inf")

# Keys come again and again; each is encoded once. Bounded, since a guest's keys are the guest's choice.
_KEYS: Final[dict[str, bytes]] = {}
_KEYS_KEPT: Final = 4096
_KEY_BYTES_KEPT: Final = 64

_first: Final = itemgetter(0)
_REFUSED: Final = (KeyError, ValueError, OverflowError, struct.error)


def _encoded(value: object, depth: int) -> bytes:
    parts: list[bytes] = []
    _WRITERS[type(value)](value, parts.append, depth)
    return b"".join(parts)


def _key(key: str) -> bytes:
    if type(key) is not str:
        raise ValueError
    raw = key.encode()
    encoded = (_TEXT[len(raw)] if len(raw) < 256 else _head(3, len(raw))) + raw
    if len(raw) <= _KEY_BYTES_KEPT and len(_KEYS) < _KEYS_KEPT:
        _KEYS[key] = encoded
    return encoded


def _write_text(value: str, put: _Put, _depth: int) -> None:
    raw = value.encode()
    size = len(raw)
    put((_TEXT[size] if size < 256 else _head(3, size)) + raw)


def _write_link(value: CID, put: _Put, _depth: int) -> None:
    raw = value.bytes
    size = len(raw)
    put(_USUAL_LINK + raw if size == 36 else _LINK + _BYTES[size + 1] + b"\0" + raw)


def _write_map(value: dict[str, object], put: _Put, depth: int) -> None:
    if not depth:
        raise ValueError
    size = len(value)
    put(_MAP[size] if size < 256 else _head(5, size))
    rows = [((type(key) is str and _KEYS.get(key)) or _key(key), item) for key, item in value.items()]
    if size > 1:
        rows.sort(key=_first)  # encoded keys order as the spec asks: the length stands first
    for key, item in rows:
        put(key)
        _WRITERS[type(item)](item, put, depth - 1)


def _write_list(value: list[object], put: _Put, depth: int) -> None:
    if not depth:
        raise ValueError
    size = len(value)
    put(_LIST[size] if size < 256 else _head(4, size))
    for item in value:
        _WRITERS[type(item)](item, put, depth - 1)


def _write_integer(value: int, put: _Put, _depth: int) -> None:
    if 0 <= value < 256:
        put(_POSITIVE[value])
    elif value > 0:
        put(_head(0, value))
    elif value >= -256:
        put(_NEGATIVE[~value])
    else:
        put(_head(1, ~value))


def _write_bytes(value: bytes, put: _Put, _depth: int) -> None:
    size = len(value)
    put(_BYTES[size] if size < 256 else _head(2, size))
    put(value)


def _write_float(value: float, put: _Put, _depth: int) -> None:
    if not -_INFINITY < value < _INFINITY:
        raise ValueError
    put(_DOUBLE(0xFB, value))


def _write_bool(value: bool, put: _Put, _depth: int) -> None:
    put(b"\xf5" if value else b"\xf4")


def _write_null(_value: None, put: _Put, _depth: int) -> None:
    put(b"\xf6")


# By exact type: an IntEnum or a numpy float would come back as something else than it was.
_WRITERS: Final[dict[type, Callable[[Any, _Put, int], None]]] = {
    str: _write_text,
    CID: _write_link,
    dict: _write_map,
    list: _write_list,
    NumberList: _write_list,
    int: _write_integer,
    type(None): _write_null,
    bytes: _write_bytes,
    float: _write_float,
    bool: _write_bool,
}


# --- Reading ---

_USUAL_LINKS: Final = frozenset(b"\0" + prefix for prefix in USUAL)
_NO_CONTAINERS: Final = bytes(byte for byte in range(256) if not 0x80 <= byte < 0xC0)  # heads of no list and no map
_BYTES_UNSCANNED: Final = 16_384


class Reader(NamedTuple):
    """A library that reads CBOR.

    Attributes:
        strict: Returns the value of DAG-CBOR, and raises whatever it likes for anything else.
        trusting: Returns the value of DAG-CBOR, and whatever it likes for anything else.
        boundless: Nothing is too deep for it.
    """

    strict: Callable[[bytes, Limits], Ipld]
    trusting: Callable[[bytes], Ipld]
    boundless: bool


def cbor2_reader() -> Reader:
    """Return the reader that is always there."""
    from cbor2 import loads

    tags = _OnlyLinks({42: _link})

    def strict(data: bytes, limits: Limits) -> Ipld:
        value: Ipld = loads(
            data,
            semantic_decoders=tags,
            max_depth=limits.depth + 1,  # cbor2 counts the tag of a link as one more
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        if _encoded(value, limits.depth) != data:
            raise ValueError
        return value

    def trusting(data: bytes) -> Ipld:
        value: Ipld = loads(data, tag_hook=_trusted_link)
        return value

    return Reader(strict, trusting, boundless=False)


def cbrrr_reader() -> Reader:
    """Return the reader that is fast, if it is installed (`pip install 'ipvm[fast]'`)."""
    from cbrrr import decode_dag_cbor

    def strict(data: bytes, _limits: Limits) -> Ipld:
        return cast("Ipld", decode_dag_cbor(data, cid_ctor=CID.from_bytes))

    def trusting(data: bytes) -> Ipld:
        return cast("Ipld", decode_dag_cbor(data, cid_ctor=unchecked))

    return Reader(strict, trusting, boundless=True)


def _could_be_deep(data: bytes, limits: Limits) -> bool:
    """Return whether a reader without limits could take this block for too deep a value, or too large a list.

    cbrrr reserves room for as many items as a list claims and bytes are left, again for each list inside.
    """
    return len(data) > _BYTES_UNSCANNED or len(data.translate(None, _NO_CONTAINERS)) > limits.depth


class _OnlyLinks(dict[int, "Callable[[Any, bool], CID]"]):
    """The decoders of tags for cbor2: whatever is no link is refused, before a date or a bignum is made of it."""

    def __missing__(self, tag: int) -> Callable[[Any, bool], CID]:
        raise ValueError(tag)


def _link(value: Any, _immutable: bool) -> CID:
    if len(value) == 37 and value[:5] in _USUAL_LINKS:
        return unchecked(value[1:])
    if type(value) is not bytes or value[:1] != b"\0":
        raise ValueError
    return CID.from_bytes(value[1:])


def _trusted_link(tag: Any, _immutable: bool) -> CID:
    return unchecked(tag.value[1:])


def _best_reader() -> Reader:
    try:
        return cbrrr_reader()
    except ImportError:
        return cbor2_reader()


_reader = _best_reader()
