"""What is needed to run a component without the engine's own component code: data that can be kept beside its code.

Definitions of a component refer to each other through aliases and inline instances. Here all of that is resolved: what a
core module imports is either an export of one instantiated before it, or a function of the host.
"""

from __future__ import annotations

import contextlib
from typing import Final, Literal

import msgspec

from ipvm_kernel.wasm import types as wit

_FORM: Final = 1
"""Grows when what is read from a component changes, or what the host serves, so that what an older ipvm kept is read anew."""

Encoding = Literal["utf8", "utf16", "latin1+utf16"]


class Export(msgspec.Struct, frozen=True, tag="export"):
    """An export of a core instance, which has a number."""

    instance: int
    name: str


class Lowered(msgspec.Struct, frozen=True, tag="lowered"):
    """One of the functions that the host gives, as a core function."""

    index: int


class Options(msgspec.Struct, frozen=True):
    """How values of a function go in and out (CanonicalABI.md, "Canonical ABI Options")."""

    encoding: Encoding = "utf8"
    memory: Export | None = None
    realloc: Export | None = None
    post_return: Export | None = None


class Step(msgspec.Struct, frozen=True):
    """A core module that is instantiated, and what it imports, in its order."""

    module: int
    imports: tuple[Export | Lowered, ...]


class Lifted(msgspec.Struct, frozen=True):
    """A function that the component exports: the core function it is lifted from."""

    signature: wit.Signature
    callee: Export
    options: Options


class Asked(msgspec.Struct, frozen=True):
    """A function that the component imports, and lowers to a core function."""

    interface: str
    signature: wit.Signature
    options: Options


class Wiring(msgspec.Struct, frozen=True):
    """A component, resolved.

    Attributes:
        modules: Where the core modules begin and end in the binary.
        steps: What is instantiated, in order; a step's number is its instance's.
        functions: What the component exports at its root.
        asked: What it takes from the host.
    """

    modules: tuple[tuple[int, int], ...]
    steps: tuple[Step, ...]
    functions: tuple[Lifted, ...]
    asked: tuple[Asked, ...]


class Way(msgspec.Struct, frozen=True):
    """How a component is driven: by its wiring, or, if it has none, through the engine."""

    wiring: Wiring | None
    form: int = 0

    def to_bytes(self) -> bytes:
        """Return this as text that `from_bytes` reads."""
        return msgspec.json.encode(msgspec.structs.replace(self, form=_FORM))

    @classmethod
    def from_bytes(cls, text: bytes) -> Way | None:
        """Return what `to_bytes` wrote, or None if it is from another version."""
        with contextlib.suppress(msgspec.MsgspecError):
            found = msgspec.json.decode(text, type=cls)
            return found if found.form == _FORM else None
        return None
