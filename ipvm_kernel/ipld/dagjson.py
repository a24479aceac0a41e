"""DAG-JSON: IPLD values as text that people read, write and send.

It follows https://ipld.io/specs/codecs/dag-json/spec/: a link is `{"/": "bafy..."}`, bytes are
`{"/": {"bytes": "base64"}}`. Reading takes white space and keys in any order, since people write workflow files by
hand; writing gives the one canonical text, or the same indented.
"""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import LimitExceeded, Malformed, NonCanonical, Unencodable
from ipvm_kernel.ipld import jsonscan
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.limits import DEPTH, OWN, Limits
from ipvm_kernel.ipld.numberlist import NumberList
from ipvm_kernel.ipld.refusal import GREATEST_INTEGER, LEAST_INTEGER, explain

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from ipvm_kernel.ipld.codec import Ipld

    _Put: TypeAlias = Callable[[str], object]


def dumps(value: object, *, pretty: bool = False) -> str:
    r"""Return the DAG-JSON of an IPLD value, canonical, or indented for people.

    >>> dumps({"link": CID("bafkqabiaaebagba"), "data": b"\xa1", "float": 1.0})
    '{"data":{"/":{"bytes":"oQ"}},"float":1.0,"link":{"/":"bafkqabiaaebagba"}}'

    Raises:
        Unencodable: Some part has no IPLD form, or is a map that DAG-JSON would take for a link or for bytes.
        LimitExceeded: Lists and maps more than 128 deep.
    """
    parts: list[str] = []
    try:
        _WRITERS[type(value)](value, parts.append, DEPTH, "\n" if pretty else "")
        text = "".join(parts)
        text.encode()  # half a surrogate pair fails here
    except Unencodable:
        raise
    except (KeyError, TypeError, ValueError):
        pass
    else:
        return text
    explain(value, DEPTH)
    raise Malformed("Expected a value that stays as it is while it is written, found that it changed. Write it again.")


def loads(
    text: str | bytes,
    limits: Limits = OWN,
    *,
    large_ints_as_floats: bool = False,
    canonical: bool = False,
) -> Ipld:
    r"""Return the IPLD value that a DAG-JSON text says.

    >>> loads('{"b": {"/": {"bytes": "oQ"}}, "a": [1.0, null]}')
    {'b': b'\xa1', 'a': [1.0, None]}

    Args:
        text: The text, or its UTF-8.
        limits: What is accepted; bytes are those of UTF-8.
        large_ints_as_floats: Read numbers as Homestar does: an integer above 2^64-1 or below -2^63, and -0, is a
            64-bit float. Its workflow files need it for their published CIDs.
        canonical: Refuse a text that is not the canonical one of its value, as a block named by its CID has to be.

    Raises:
        Malformed: Not JSON, or a number, text or use of the key "/" that IPLD has no place for.
        NonCanonical: Not the canonical text, with `canonical`.
        LimitExceeded: More than `limits` allow; nothing was built.
    """
    text = _unicode(text, limits)
    deepest = _measure(text, limits)
    try:
        value: Ipld = (_AS_HOMESTAR if large_ints_as_floats else _STRICT).decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Malformed(f"Expected JSON, found at {place}: {error.msg}. Correct it there.") from None
    if deepest > limits.depth or jsonscan.MAYBE_SURROGATE.search(text):
        try:
            explain(value, limits.depth)
        except Unencodable as error:
            raise Malformed(error.message) from None
    if canonical and dumps(value) != text:
        raise NonCanonical(
            "Expected the canonical text (keys sorted by bytes, no white space, no needless escapes), found another. "
            "Write it again with ipvm's dagjson.dumps."
        )
    return value


# --- Writing ---


def _write_map(value: dict[str, object], put: _Put, depth: int, line: str) -> None:
    if not depth:
        raise ValueError
    if any(type(key) is not str for key in value):
        raise TypeError
    if not value:
        put("{}")
        return
    keys = sorted(value)  # by code point, which is the order of the bytes in UTF-8
    if keys[0] == "/" and (reason := _reserved(value)):
        raise Unencodable(f"Expected no map that DAG-JSON {reason}. Rename its key '/', or use DAG-CBOR.")
    inner = line + "  " if line else ""
    before, colon = "{" + inner, '": ' if line else '":'
    for key in keys:
        put(f"{before}{encode_basestring(key)[:-1]}{colon}")
        item = value[key]
        _WRITERS[type(item)](item, put, depth - 1, inner)
        before = "," + inner
    put(line + "}")


def _write_list(value: list[object], put: _Put, depth: int, line: str) -> None:
    if not depth:
        raise ValueError
    if not value:
        put("[]")
        return
    inner = line + "  " if line else ""
    before = "[" + inner
    for item in value:
        put(before)
        _WRITERS[type(item)](item, put, depth - 1, inner)
        before = "," + inner
    put(line + "]")


def _write_text(value: str, put: _Put, _depth: int, _line: str) -> None:
    put(encode_basestring(value))


def _write_integer(value: int, put: _Put, _depth: int, _line: str) -> None:
    if not LEAST_INTEGER <= value <= GREATEST_INTEGER:
        raise ValueError
    put(str(value))


def _write_float(value: float, put: _Put, _depth: int, _line: str) -> None:
    if value - value != 0:  # NaN and the infinities
        raise ValueError
    # The shortest digits that read back, as everywhere; the exponent without Python's leading zero, as everywhere else.
    put(repr(value).replace("e-0", "e-"))


def _write_bool(value: bool, put: _Put, _depth: int, _line: str) -> None:
    put("true" if value else "false")


def _write_null(_value: None, put: _Put, _depth: int, _line: str) -> None:
    put("null")


def _write_bytes(value: bytes, put: _Put, _depth: int, line: str) -> None:
    form = '{"/": {"bytes": "%s"}}' if line else '{"/":{"bytes":"%s"}}'
    put(form % _base64(value))


def _write_link(value: CID, put: _Put, _depth: int, line: str) -> None:
    put(f'{{"/": "{value}"}}' if line else f'{{"/":"{value}"}}')


_WRITERS: Final[dict[type, Callable[[Any, _Put, int, str], None]]] = {
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


def _base64(data: bytes) -> str:
    """Return base64 (RFC 4648 section 4) without padding."""
    return b2a_base64(data, newline=False).decode("ascii").rstrip("=")


def _reserved(value: dict[str, Any]) -> str:
    """Return how DAG-JSON would misread a map whose first key is "/" (spec, "The Reserved Namespace"), or "".

    "First" is by the canonical order, whatever the text's own: what is read can always be written.
    """
    inner = value["/"]
    if type(inner) is str:
        return "takes for a link"
    if type(inner) is dict and "bytes" in inner and min(inner) == "bytes" and type(inner["bytes"]) is str:
        return "takes for bytes"
    return ""


# --- Reading ---

_LONGEST_INTEGER: Final = 21  # characters of -2^64
_LONGEST_NUMBER: Final = 1100  # a float written out has at most 767 digits that matter, and as many zeros


def _unicode(text: str | bytes, limits: Limits) -> str:
    """Return the text, if it is text and not too long."""
    if isinstance(text, str):
        try:
            count = len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError as error:
            raise Malformed(f"Expected Unicode, found half a surrogate pair at character {error.start:,}.") from None
    else:
        count = len(text)
    if count > limits.block_bytes:
        raise LimitExceeded(f"Expected a text of at most {limits.block_bytes:,} bytes, found {count:,}.")
    if not isinstance(text, str):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            raise Malformed(
                f"Expected UTF-8 at byte {error.start:,}, found {error.reason}. Save it as UTF-8."
            ) from None
    if text[:1] == "\ufeff":
        raise Malformed("Expected JSON, found a byte order mark at its start. Save it as UTF-8 without one.")
    return text


def _measure(text: str, limits: Limits) -> int:
    """Refuse what is too deep or too much for `json`, which would recurse into it; return how deep the text is.

    Bytes take two brackets inside each other that the value does not have, so the text may be deeper than the value.
    """
    opened = text.count("[") + text.count("{")
    if opened <= limits.depth and len(text) <= limits.items:
        return opened
    bare = jsonscan.bare(text.encode())
    items = jsonscan.count(bare)
    if items > limits.items:
        raise LimitExceeded(f"Expected at most {limits.items:,} items, found {items:,}. Split it into several blocks.")
    deepest = jsonscan.deepest(bare, limits.depth + 2)
    if deepest > limits.depth + 2:
        raise LimitExceeded(
            f"Expected lists and maps at most {limits.depth} deep, found more. "
            "Put the inner part into a block of its own and link to it."
        )
    return deepest


def _map(pairs: list[tuple[str, Any]]) -> Any:
    """Return the value of `{...}`: a map, a link or bytes."""
    value = dict(pairs)
    if len(value) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in value if keys.count(key) > 1)
        raise Malformed(f"Expected each key once in a map, found {twice[:100]!r} again. Remove one of them.")
    if "/" not in value or min(value) != "/" or not (reason := _reserved(value)):
        return value
    inner = value["/"]
    if len(value) > 1 or (type(inner) is dict and len(inner) > 1):
        raise Malformed(
            f"Expected no other key beside those of a map that DAG-JSON {reason}, found {list(value)!r:.200}."
        )
    return _link(inner) if type(inner) is str else _bytes(inner["bytes"])


def _link(text: str) -> CID:
    cid = CID.from_canonical(text)
    if cid is None:
        canonical = CID.parse(text)  # says what is wrong with it
        raise Malformed(
            f"Expected a link in base32 (or a version 0 CID), found {text[:100]!r}. Write it as {canonical}."
        )
    return cid


def _bytes(text: str) -> bytes:
    try:
        data = a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError:
        data = b""
    if _base64(data) != text:
        raise Malformed(f"Expected base64 without padding, found {text[:100]!r}.")
    return data


def _integer(digits: str) -> int:
    if len(digits) <= _LONGEST_INTEGER and LEAST_INTEGER <= (value := int(digits)) <= GREATEST_INTEGER:
        return value
    raise Malformed(
        f"Expected an integer from -2^64 to 2^64-1, found {digits[:40]}. Write it with a decimal point, or as a string."
    )


def _integer_as_homestar(digits: str) -> int | float:
    # serde_json, which Homestar reads with: what fits neither u64 nor i64 is an f64, and so is -0.
    if digits == "-0":
        return -0.0
    if len(digits) <= _LONGEST_INTEGER and -(2**63) <= (value := int(digits)) <= GREATEST_INTEGER:
        return value
    return _float(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= _LONGEST_NUMBER else float("inf")
    if value - value != 0:
        raise Malformed(f"Expected a number that a 64-bit float can hold, found {digits[:40]}.")
    return value


_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_map, parse_int=_integer, parse_float=_float, parse_constant=jsonscan.no_constant
)
_AS_HOMESTAR: Final = json.JSONDecoder(
    object_pairs_hook=_map, parse_int=_integer_as_homestar, parse_float=_float, parse_constant=jsonscan.no_constant
)
