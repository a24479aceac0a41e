"""The toolchains that come with ipvm, as the entry points name them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ipvm_kernel.toolchains import c, programs, wat, zig

_ZIG_PINNED = "0.17.1+wasm-tools.1.262.0.0"


class Builtin(msgspec.Struct, frozen=True):
    """A toolchain whose parts are functions of a module here."""

    lang: str
    sign: str
    glue: str
    pinned: str
    version: Callable[[], str]
    build: Callable[..., bytes]


WAT = Builtin("wat", wat.SIGN, "", wat.version(), wat.version, wat.build)
ZIG = Builtin("zig", "//", "zig/1", _ZIG_PINNED, programs.version, zig.build)
C = Builtin("c", "//", "c/1", _ZIG_PINNED, programs.version, c.build)
