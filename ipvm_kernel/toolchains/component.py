"""The last step of each build: a core module and a world become a component."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ipvm_kernel.errors import BuildFailed
from ipvm_kernel.toolchains.programs import WASM_TOOLS

if TYPE_CHECKING:
    from ipvm_kernel.toolchains.programs import Workshop
    from ipvm_kernel.toolchains.world import World


def componentize(workshop: Workshop, world: World) -> bytes:
    """Return the component made of `core.wasm` and `world.wit` in the workshop.

    What lies between, `embedded.wasm`, is the core module with its types in a custom section. Homestar runs it as well
    as the component.
    """
    _pack(workshop, "embed", "--world", world.name, "world.wit", "core.wasm", "-o", "embedded.wasm")
    _pack(workshop, "new", "embedded.wasm", "-o", "component.wasm")
    return workshop.read("component.wasm")


def _pack(workshop: Workshop, step: str, *arguments: str) -> None:
    ended = workshop.run(WASM_TOOLS, "component", step, *arguments)
    if not ended.code:
        return
    if asked := re.search(r"failed to resolve import `(.+?)::(.+?)`", ended.output):
        raise BuildFailed(
            f"The cell calls {asked[2]} and does not define it; the host has only wasi:logging/logging, where the world"
            " imports it."
        )
    said = " ".join(line.strip() for line in ended.output.splitlines() if line.strip())
    raise BuildFailed(f"wasm-tools component {step} refused the module (exit code {ended.code}): {said}")
