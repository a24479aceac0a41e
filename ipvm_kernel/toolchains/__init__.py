"""Toolchains: from the source in a cell to a Wasm component.

A build is a task (RULES 10): source, toolchain and flags in, a link to the module out, with a receipt that is replayed.
Built-in toolchains and those of others are found through the entry points `ipvm.toolchains`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ipvm_kernel.model import Instruction

if TYPE_CHECKING:
    from collections.abc import Sequence

BUILD: Final = "ipvm/build"
"""The operation of a build."""


class Toolchain(Protocol):
    """One language.

    Attributes:
        lang: What `%%wasm --lang` calls it.
        sign: How a comment line begins, in which the world of a cell stands: `//| wit ...`.
        glue: The version of what is generated around a cell's source; it grows when that changes.
        pinned: The version of the compiler that this ipvm was released with. Builds that were shipped are found by it
            where no compiler is installed.
    """

    lang: str
    sign: str
    glue: str
    pinned: str

    def version(self) -> str:
        """Return the version of what is installed. Raises ToolchainMissing."""

    def build(self, source: str, world: str, *, flags: tuple[str, ...] = ()) -> bytes:
        """Return the module that the source becomes. Raises BuildFailed or ToolchainMissing."""


def instruction(toolchain: Toolchain, source: str, world: str, flags: Sequence[str], version: str) -> Instruction:
    """Return the instruction of a build, whose CID names it everywhere (RULES 10)."""
    return Instruction(
        rsc=f"ipvm:toolchain/{toolchain.lang}@{version}",
        op=BUILD,
        input={
            "lang": toolchain.lang,
            "source": source,
            "world": world,
            "flags": list(flags),
            "glue": toolchain.glue,
        },
    )
