"""Zig: a cell of plain functions becomes a component of a few hundred bytes, in a tenth of a second.

Zig is the toolchain that ipvm shows first because its compiler is one Python package, gives the same bytes for the same
source on every machine, and needs no library for Wasm: the glue (`glue_zig`) is all that stands around a cell.

    zig build-exe ... -Mroot=root.zig     core module; names are fixed and the folder is new, so no path gets in
    wasm-tools component embed            the core module with its WIT beside it, which Homestar runs too
    wasm-tools component new              the component

Small is also what makes it reproducible: `ReleaseSmall` holds no trace of source places, while the safe modes keep
file names for their messages. Arithmetic that overflows is therefore not caught; `@setRuntimeSafety(true)` in a
function turns the checks on there, and a failed one is a trap.
"""

from __future__ import annotations

import re
from typing import Final

from ipvm_kernel.errors import BuildFailed
from ipvm_kernel.toolchains import abi, glue_zig
from ipvm_kernel.toolchains import world as worlds
from ipvm_kernel.toolchains.component import componentize
from ipvm_kernel.toolchains.diagnostics import Fault, faults, told
from ipvm_kernel.toolchains.programs import DEADLINE, ZIG, Workshop, version

__all__ = ["build", "version"]

STACK: Final = 1024 * 1024
"""Bytes of the stack. It lies below all data, so that an overflow traps and overwrites nothing."""

_CELL: Final = "cell.zig"
_ALLOWED: Final = re.compile(r"-OReleaseFast|-OReleaseSmall|-mcpu=(?!native)[a-z0-9_+-]+")


def build(source: str, world: str, *, flags: tuple[str, ...] = (), deadline: float = DEADLINE) -> bytes:
    """Return the component that a cell's source becomes for this world, or raise BuildFailed.

    The message shows line, column and a caret in `source`. `flags` may choose `-OReleaseFast` and `-mcpu=...`.
    """
    text, lines = worlds.extract(source, "//")
    promised = worlds.parse(world, lines=lines if text.strip() == world.strip() else ())
    chosen = _options(flags)
    glue = glue_zig.files(promised)
    with Workshop.open({**glue, _CELL: source, "world.wit": promised.text}, deadline=deadline) as workshop:
        ended = workshop.run(
            ZIG,
            "build-exe",
            "-target",
            "wasm32-freestanding",
            *chosen,
            "-fstrip",
            *("--dep", "abi", "--dep", "cell", "--dep", "ipvm", "-Mroot=root.zig"),
            *("--dep", "ipvm", f"-Mcell={_CELL}"),
            *("--dep", "abi", "-Mipvm=ipvm.zig"),
            "-Mabi=abi.zig",
            "-fno-entry",
            *(f"--export={name}" for name in _exports(promised)),
            "--stack",
            str(STACK),
            "-freference-trace=64",
            "--cache-dir",
            "zig-cache",
            "-femit-bin=core.wasm",
        )
        if ended.code:
            found = [_in_cell(fault, source) for fault in faults(ended.output, _CELL)]
            raise BuildFailed(told(found, source, cell=_CELL) or f"The Zig compiler ended with code {ended.code}.")
        return componentize(workshop, promised)


def _options(flags: tuple[str, ...]) -> list[str]:
    for flag in flags:
        if not _ALLOWED.fullmatch(flag):
            raise BuildFailed(
                f"{flag} is no flag for a Zig cell. There are -OReleaseFast, -OReleaseSmall and -mcpu=..."
            )
    return [*flags] if any(flag.startswith("-O") for flag in flags) else ["-OReleaseSmall", *flags]


def _exports(world: worlds.World) -> list[str]:
    names = [function.name for function in world.functions]
    return [*names, "cabi_realloc"] if any(map(abi.allocates, world.functions)) else names


def _in_cell(fault: Fault, source: str) -> Fault:
    """Give a complaint of the glue its place in the cell: the line that declares the function."""
    if "'posix.system" in fault.text:  # std.debug.print says so, about a cell's first line of Zig
        fault.text = "a cell has no files, clock or terminal; ipvm.log writes a line, if the world imports the log"
    said = re.fullmatch(r"world:(\w+): (.*)", fault.text)
    if not said:
        return fault
    declared = re.search(rf"\bfn\s+@?\"?({re.escape(said[1])})\b", source)
    if not declared:
        return Fault(f"{said[2]}, and the cell has no such function.")
    line = source.count("\n", 0, declared.start(1)) + 1
    start = source.rfind("\n", 0, declared.start(1)) + 1
    return Fault(f"{said[2]}.", _CELL, line, len(source[start : declared.start(1)].encode()) + 1)
