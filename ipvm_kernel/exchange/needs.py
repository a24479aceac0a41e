"""What an instruction needs: the links among its arguments, and a module that is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from ipvm_kernel.errors import BadInput
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Promise
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.ipld import Ipld

_MODULES: Final = (b"\0asm", b"(")  # how Wasm and its text begin

Use = Literal["module", "input"]


def links_in(value: Ipld) -> Iterator[CID]:
    """Yield the links in an input that mean their content: all but those of promises."""
    pending = [value]
    while pending:
        current = pending.pop()
        if type(current) is CID:
            yield current
        elif type(current) is list:
            pending.extend(reversed(current))
        elif type(current) is dict and Promise.of(current) is None:
            pending.extend(reversed(current.values()))


def check_use(data: bytes, text: str, use: Use) -> None:
    """Refuse what cannot be a module, before it is recorded as one: the page of a portal, say, or a file of secrets."""
    if use == "module" and not data.lstrip().startswith(_MODULES):
        raise BadInput(f"expected Wasm at {printable(text, limit=300)}, found something else: nothing of it was kept")
