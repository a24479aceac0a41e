"""C: a cell of plain functions becomes a component, by the compiler inside the Zig package.

`zig build-exe` takes C as well as Zig, and unlike `zig cc -nostdlib` it links Zig's compiler-rt: memcpy, which the
compiler calls on its own, and exp, log, sin and the like. There is no C library otherwise, for what would `printf`
print to? `ipvm.h` (see `glue_c`) holds the types and functions of the world.
"""

from __future__ import annotations

import re
from typing import Final

from ipvm_kernel.errors import BuildFailed
from ipvm_kernel.toolchains import abi, glue_c
from ipvm_kernel.toolchains import world as worlds
from ipvm_kernel.toolchains.component import componentize
from ipvm_kernel.toolchains.diagnostics import Fault, faults, told
from ipvm_kernel.toolchains.programs import DEADLINE, ZIG, Workshop, version
from ipvm_kernel.toolchains.zig import STACK

__all__ = ["build", "version"]

_CELL: Final = "cell.c"
_ALLOWED: Final = re.compile(r"-D[A-Za-z_]\w*(=[\w.+-]*)?|-std=(c|gnu)\d\d|-O[123s]|-ffast-math|-m[a-z0-9-]+")


def build(source: str, world: str, *, flags: tuple[str, ...] = (), deadline: float = DEADLINE) -> bytes:
    """Return the component that a cell's source becomes for this world, or raise BuildFailed.

    The message shows line, column and a caret in `source`. `flags` may hold -D, -std=, -O1 to -O3, -ffast-math, -m...
    """
    text, lines = worlds.extract(source, "//")
    promised = worlds.parse(world, lines=lines if text.strip() == world.strip() else ())
    for flag in flags:
        if not _ALLOWED.fullmatch(flag):
            raise BuildFailed(f"{flag} is no flag for a C cell. There are -DNAME=VALUE, -std=, -O1 to -O3, -Os, -m...")
    glue = glue_c.files(promised)
    exports = ["cabi_realloc"] if any(map(abi.allocates, promised.functions)) else []
    with Workshop.open({**glue, _CELL: source, "world.wit": promised.text}, deadline=deadline) as workshop:
        ended = workshop.run(
            ZIG,
            "build-exe",
            *("-target", "wasm32-freestanding", "-OReleaseSmall", "-fstrip", "-fno-entry"),
            *(f"--export={name}" for name in exports),
            *("--stack", str(STACK), "--cache-dir", "zig-cache", "-femit-bin=core.wasm"),
            *("-cflags", "-std=gnu23", "-I.", *flags, "--", _CELL, "glue.c", "heap.c"),
        )
        if ended.code:
            found = [_explained(fault, source, glue, promised) for fault in faults(ended.output, _CELL)]
            raise BuildFailed(told(found, source, cell=_CELL) or f"The C compiler ended with code {ended.code}.")
        return componentize(workshop, promised)


def _explained(fault: Fault, source: str, glue: dict[str, str], world: worlds.World) -> Fault:
    """Say what the compiler cannot know: what the world wants, and that there is no C library."""
    for note in fault.notes:
        if note.file == "ipvm.h":
            fault.text += f"; ipvm.h says: {glue['ipvm.h'].splitlines()[note.line - 1].strip()}"
    missing = re.search(r"undefined symbol: (\S+)$", fault.text)
    if not missing:
        return fault
    for function in world.functions:
        if glue_c.name(function.name) == missing[1]:
            return Fault(f"the world wants `{glue_c.signature(function)}`, and the cell has no such function.")
    word = rf"\b{re.escape(missing[1])}\b"
    used = re.search(rf"^[ \t].*?{word}", source, re.MULTILINE) or re.search(word, source)  # indented: no declaration
    text = f"{missing[1]} is defined nowhere. A cell has no C library beyond ipvm's <math.h> and <string.h>."
    if not used:
        return Fault(text)
    place = used.end() - len(missing[1])
    before = source[source.rfind("\n", 0, place) + 1 : place]
    return Fault(text, _CELL, source.count("\n", 0, place) + 1, len(before.encode()) + 1)
