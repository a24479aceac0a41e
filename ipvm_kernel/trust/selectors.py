"""Selectors: a path into the arguments of a command, in UCAN's small part of jq.

The syntax is that of https://github.com/ucan-wg/delegation, section "Selectors": "." is all of it, ".to[0]" the first of
a list, '.["a key"]?' a value or null. A selector has as many parts as it has, and takes a step for each.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ipvm_kernel.errors import LimitExceeded, Malformed
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

SELECTOR_CHARS: Final = 1024
"""Characters of a selector, at most."""

_PART: Final = re.compile(
    r"""
    (?: \.(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | \.?\[ (?: (?P<key>"(?:[^"\\]|\\.)*")
                | (?P<index>-?[0-9]{1,9})
                | (?P<start>-?[0-9]{1,9})?(?P<slice>:)(?P<end>-?[0-9]{1,9})?
                | (?P<all>)
              ) \]
    ) (?P<optional>\?*)
    """,
    re.VERBOSE,
)


class Part(NamedTuple):
    """One step of a selector.

    Attributes:
        of: A key of a map, an index of a list, a slice of one, or None for all values of a map or list.
        optional: Whether null stands for what is not there.
    """

    of: str | int | slice | None
    optional: bool


Selector: TypeAlias = tuple[Part, ...]


class NotThere(Exception):
    """A selector leads nowhere in this value: what is said of it is false."""


def parsed(text: object) -> Selector:
    """Return the steps of a selector.

    >>> parsed(".")
    ()
    >>> parsed('.to["a b"][-1]?')[1:]
    (Part(of='a b', optional=False), Part(of=-1, optional=True))

    Raises:
        Malformed: It is none.
        LimitExceeded: It is longer than 1,024 characters.
    """
    if type(text) is not str or text[:1] != ".":
        shown = printable(text, limit=80) if type(text) is str else type(text).__name__
        raise Malformed(f"Expected a selector that begins with a dot, such as .rsc, found {shown!r}.")
    if len(text) > SELECTOR_CHARS:
        raise LimitExceeded(f"Expected a selector of at most {SELECTOR_CHARS:,} characters, found {len(text):,}.")
    parts: list[Part] = []
    at = 0 if text != "." else 1
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            raise Malformed(f"Expected a selector such as .to[0], found {printable(text, limit=80)!r}, wrong at {at}.")
        parts.append(Part(_meant(match, text), bool(match["optional"])))
        at = match.end()
    return tuple(parts)


def _meant(match: re.Match[str], text: str) -> str | int | slice | None:
    if match["name"] is not None:
        return match["name"]
    if match["key"] is not None:
        try:
            key = json.loads(match["key"])
        except ValueError:
            raise Malformed(f"Expected a key in quotes, found {printable(text, limit=80)!r}.") from None
        return str(key)
    if match["index"] is not None:
        return int(match["index"])
    if match["slice"]:
        start, end = match["start"], match["end"]
        return slice(None if start is None else int(start), None if end is None else int(end))
    return None


def select(value: Any, selector: Selector, spend: Callable[[int], None]) -> Any:
    """Return what a selector leads to.

    Args:
        value: The arguments, or a part of them.
        selector: What `parsed` returned.
        spend: Is told what a step costs.

    Raises:
        NotThere: It leads nowhere.
    """
    for part in selector:
        spend(1)
        try:
            value = _step(value, part.of, spend)
        except NotThere:
            if not part.optional:
                raise
            value = None
    return value


def _step(value: Any, of: str | int | slice | None, spend: Callable[[int], None]) -> Any:
    match of, value:
        case str(), dict():
            return value.get(of)  # a key that is missing is null; a step further is then nowhere
        case int(), list() | bytes():
            if -len(value) <= of < len(value):
                return value[of]
        case slice(), list() | bytes():
            spend(len(value))
            return value[of]
        case None, list() | bytes():
            return value
        case None, dict():
            spend(len(value))
            return list(value.values())
        case _:
            pass
    raise NotThere
