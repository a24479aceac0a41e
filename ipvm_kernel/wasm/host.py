"""What a guest may ask of its host: a log, a clock that stands still, and random bytes that its task decides.

A pure task must give the same answer everywhere, so nothing here comes from the machine. WASI 0.2 is linked whole, with
no arguments, no environment, no folders and no network, but its clocks and its randomness are replaced. Where a module
asks for a part of those that only the real WASI could serve, it is refused by the name of that import.
"""

from __future__ import annotations

import hashlib
import re
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from wasmtime import WasmtimeError
from wasmtime.component import FuncType, Linker, Record

from ipvm_kernel.errors import BadModule
from ipvm_kernel.printable import plural, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import wasmtime
    from wasmtime.component import Component, ComponentInstanceType, LinkerInstance

LOG_BYTES: Final = 1 << 20
"""A call's log keeps this much text; what comes after is counted."""

_RANDOM_BYTES: Final = 64 << 20
_LEVELS: Final = ("trace", "debug", "info", "warn", "error", "critical")


class Log:
    """What a guest said, bounded."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._bytes = 0
        self._dropped = 0

    def add(self, level: str, context: str, message: str) -> None:
        """Keep one message."""
        line = f"{level} {context}: {message}" if context else f"{level} {message}"
        if self._bytes + len(line) > LOG_BYTES:
            self._dropped += 1
            return
        self._bytes += len(line)
        self.lines.append(printable(line, limit=LOG_BYTES, keep="\n\t"))

    def text(self) -> str:
        """Return the log as lines of text, and say what was dropped."""
        tail = [f"… {plural(self._dropped, 'more message')} dropped"] if self._dropped else []
        return "\n".join(self.lines + tail)


class Host:
    """What one call sees of its host.

    Attributes:
        log: What the guest said.
        seed: Bytes that the task's own identity decides; all randomness follows from them.
    """

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.log = Log()
        self._drawn = 0

    def random_bytes(self, count: int) -> bytes:
        """Return the next bytes of the task's own stream (SHAKE-256 of the seed and a counter)."""
        if count > _RANDOM_BYTES:
            raise WasmtimeError(f"more than {_RANDOM_BYTES:,} random bytes asked for at once")
        self._drawn += 1
        return hashlib.shake_256(self.seed + self._drawn.to_bytes(8, "little")).digest(count)

    def random_u64(self) -> int:
        """Return the next 64 bits of the task's own stream."""
        return int.from_bytes(self.random_bytes(8), "little")


_call = threading.local()


def enter(host: Host | None) -> None:
    """Make `host` what guests of this thread see. A linker's functions are shared by all calls of a module."""
    _call.host = host


def _host() -> Host:
    host: Host = _call.host
    return host


def _record(**fields: int) -> Record:
    record = Record()
    for name, value in fields.items():
        setattr(record, name, value)
    return record


def _log(_store: object, level: str, context: str, message: str) -> None:
    _host().log.add(level if level in _LEVELS else "info", context, message)


_INTERFACES: Final[Mapping[str, Mapping[str, Callable[..., Any]]]] = {
    "wasi:logging/logging": {"log": _log},
    "homestar:host/helpers": {
        "get-current-time": lambda _: _record(seconds=0, milliseconds=0, nanoseconds=0),
        "print": lambda _, text: _host().log.add("info", "", text),
    },
    "wasi:clocks/wall-clock": {
        "now": lambda _: _record(seconds=0, nanoseconds=0),
        "resolution": lambda _: _record(seconds=1, nanoseconds=0),
    },
    "wasi:clocks/monotonic-clock": {"now": lambda _: 0, "resolution": lambda _: 1},
    "wasi:random/random": {
        "get-random-bytes": lambda _, count: _host().random_bytes(count),
        "get-random-u64": lambda _: _host().random_u64(),
    },
    "wasi:random/insecure": {
        "get-insecure-random-bytes": lambda _, count: _host().random_bytes(count),
        "get-insecure-random-u64": lambda _: _host().random_u64(),
    },
    "wasi:random/insecure-seed": {
        "insecure-seed": lambda _: (_host().random_u64(), _host().random_u64()),
    },
}

_WASI: Final = re.compile(r"wasi:(?:cli|clocks|filesystem|io|random|sockets)/[a-z0-9-]+@0\.2\.\d+$")
_HELPERS: Final = ("0.0.1", "0.1.1")
SERVED: Final = (
    "wasi:logging/logging, homestar:host/helpers 0.0.1 and 0.1.1, and WASI 0.2 (cli, clocks, io, random, ...)"
)


def link(engine: wasmtime.Engine, component: Component) -> tuple[Linker, bool]:
    """Return a linker that serves a component's imports, and whether its stores need a WASI context.

    Raises:
        BadModule: It imports something that nobody serves, or that would make a pure task impure.
    """
    linker = Linker(engine)
    linker.allow_shadowing = True
    imports = component.type.imports(engine)
    wasi = any(_WASI.match(name) for name in imports)
    if wasi:
        linker.add_wasip2()
    with linker.root() as root:
        for name, extern in imports.items():
            base, _, version = name.partition("@")
            if base in _INTERFACES and (base != "homestar:host/helpers" or version in _HELPERS):
                _serve(engine, root, name, _INTERFACES[base], cast("ComponentInstanceType", extern.ty))
            elif not _WASI.match(name):
                raise BadModule(
                    f"the module imports {printable(name, limit=200)!r}, which nobody serves. ipvm serves {SERVED}"
                )
    return linker, wasi


def _serve(
    engine: wasmtime.Engine,
    root: LinkerInstance,
    name: str,
    functions: Mapping[str, Callable[..., Any]],
    kind: ComponentInstanceType,
) -> None:
    """Define an imported interface with our own functions, if those are all that the module asks of it."""
    asked = [item for item, extern in kind.exports(engine).items() if isinstance(extern.ty, FuncType)]
    if not asked:  # types alone, which WASI itself defines
        return
    strange = [item for item in asked if item not in functions]
    if strange:
        raise BadModule(
            f"the module imports {printable(strange[0], limit=100)!r} of {printable(name, limit=100)!r}, "
            f"which a pure task cannot have: its answer would depend on the machine"
        )
    with root.add_instance(name) as instance:
        for item in asked:
            instance.add_func(item, functions[item])
