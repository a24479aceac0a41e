"""JSON of strangers: read within bounds, in one meaning, and written in one way.

RFC 8259, held more strictly than it asks: UTF-8 without a mark, each key once, no NaN, no half of a surrogate pair. Depth
and number of values are counted in the text before anything is built, since `json` recurses and 64 MB of brackets are
gigabytes of lists.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import LimitExceeded, Malformed
from ipvm_kernel.ipld import jsonscan

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTH: Final = 64
"""Lists and maps inside each other. A notebook has 6 of its own; the data of an output may be deeper."""

VALUES: Final = 4_000_000
"""Values and keys of one text."""

_LONGEST_NUMBER: Final = 400


def loads(data: bytes, *, depth: int = DEPTH, values: int = VALUES) -> Any:
    """Return what a JSON text says.

    Raises:
        Malformed: Not UTF-8, not JSON, a key twice, a number that is none, half a surrogate pair; with the place.
        LimitExceeded: Deeper or more than was allowed; nothing was built.
    """
    if data[:3] == b"\xef\xbb\xbf":
        raise Malformed("Expected JSON, found a byte order mark at byte 0. Save it as UTF-8 without one.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"Expected UTF-8 at byte {error.start:,}, found {error.reason}. Save it as UTF-8.") from None
    _measure(data, depth, values)
    try:
        value = _READER.decode(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno:,}, column {error.colno:,}"
        raise Malformed(
            f"Expected JSON, found at {place}: {error.msg}. Correct it there, or ask for it again."
        ) from None
    if jsonscan.MAYBE_SURROGATE.search(text):
        for path, said in texts(value):
            try:
                said.encode()
            except UnicodeEncodeError as error:
                found = f"half a surrogate pair at character {error.start:,} of {path}"
                raise Malformed(f"Expected Unicode, found {found}. Save it as UTF-8.") from None
    return value


def dumps(value: Any) -> bytes:
    """Return the one text of a value here: keys sorted, indented by 1, a newline at its end. As Jupyter itself writes."""
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True, separators=(",", ": "), allow_nan=False)
    return f"{text}\n".encode()


def texts(value: Any, place: str = "$") -> Iterator[tuple[str, str]]:
    """Yield each text and each key of a value with its place, such as `$.cells[3].source`. Nothing recurses."""
    waiting: list[tuple[str, Any]] = [(place, value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, str):
            yield path, item
        elif isinstance(item, list):
            waiting.extend((f"{path}[{n}]", inner) for n, inner in enumerate(item))
        elif isinstance(item, dict):
            for key, inner in item.items():
                yield f"a key of {path}", key
                waiting.append((f"{path}.{key[:60]}", inner))


def _measure(data: bytes, depth: int, values: int) -> None:
    """Refuse what is too deep or too much."""
    bare = jsonscan.bare(data)
    count = jsonscan.count(bare)
    if count > values:
        raise LimitExceeded(f"Expected at most {values:,} values in the JSON, found {count:,}. Take large outputs out.")
    if jsonscan.deepest(bare, depth) > depth:
        raise LimitExceeded(f"Expected JSON at most {depth} deep, found more. Take the output that is so deep out.")


def _map(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise Malformed(f"Expected each key once in a map of the JSON, found {key[:100]!r} again. Remove one.")
            seen.add(key)
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20:
        raise Malformed(f"Expected an integer of at most 20 characters, found {digits[:40]}. Write it as text.")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits) if len(digits) <= _LONGEST_NUMBER else float("inf")
    if value - value != 0:
        raise Malformed(f"Expected a number that a 64-bit float can hold, found {digits[:40]}. Write null instead.")
    return value


_READER: Final = json.JSONDecoder(
    object_pairs_hook=_map, parse_int=_integer, parse_float=_float, parse_constant=jsonscan.no_constant
)
