"""Promises: where the answer of another instruction will go.

Source: UCAN Promise 1.0.0-rc.1; on the wire as Homestar writes it, `{"await/ok" | "await/error" | "await/*": CID}`.
A promise may stand at any depth of an instruction's input. Nothing else is one: `{"any": link}` is a map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ipvm_kernel.ipld import CID, Ipld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Branch = Literal["ok", "error", "*"]

_KEYS: Final[dict[str, Branch]] = {"await/ok": "ok", "await/error": "error", "await/*": "*"}


class Promise(msgspec.Struct, frozen=True):
    """The branch of an instruction's outcome that somebody waits for."""

    branch: Branch
    instruction: CID

    @classmethod
    def of(cls, value: Ipld) -> Promise | None:
        """Return the promise that a value is, or None.

        >>> Promise.of({"await/ok": "not a link"}) is None
        True
        """
        if type(value) is dict and len(value) == 1:
            ((key, target),) = value.items()
            branch = _KEYS.get(key)
            if branch is not None and type(target) is CID:
                return cls(branch, target)
        return None

    def to_ipld(self) -> dict[str, Ipld]:
        """Return the wire form."""
        return {f"await/{self.branch}": self.instruction}


class Awaited(msgspec.Struct, frozen=True):
    """A value that took the place of a promise.

    A link in it stays a link, where a literal link means its content.

    Attributes:
        value: What was promised: a value, an error's payload, or `[tag, either]` for both branches.
        branch: The branch that was awaited.
        fallible: True if the value is that of a function typed `result<T, E>`, which is unwrapped unless a result is
            what the consumer takes (RULES 4).
        instruction: Whose answer it is, for messages.
    """

    value: Any
    branch: Branch = "ok"
    fallible: bool = False
    instruction: CID | None = None


def promises(value: Ipld) -> Iterator[Promise]:
    """Yield every promise inside a value, in order."""
    pending = [value]
    while pending:
        current = pending.pop()
        if type(current) is dict:
            found = Promise.of(current)
            if found is not None:
                yield found
            else:
                pending.extend(reversed(current.values()))
        elif type(current) is list:
            pending.extend(reversed(current))


def resolve(value: Any, answer: Callable[[Promise], Awaited]) -> Any:
    """Return `value` with each promise replaced by its answer.

    The depth of a value is bounded where it is decoded, so this recurses.
    """
    if type(value) is dict:
        found = Promise.of(value)
        if found is not None:
            return answer(found)
        return {key: resolve(item, answer) for key, item in value.items()}
    if type(value) is list:
        return [resolve(item, answer) for item in value]
    return value
