"""What a guest may ask of its host: a log, a clock that stands still, and random bytes that its task decides.

A pure task must give the same answer everywhere, so nothing here comes from the machine. WASI 0.2 is linked whole, with
no arguments, no environment, no folders and no network, but its clocks and its randomness are replaced. Where a module
asks for a part of those that only the real WASI could serve, it is refused by the name of that import.
"""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wasmtime.component import ComponentInstanceType, FuncType, Linker

from ipvm_kernel.errors import BadModule
from ipvm_kernel.printable import plural, printable
from ipvm_kernel.wasm import capi, native
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.interface import component_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import wasmtime
    from wasmtime.component import Component, LinkerInstance

LOG_BYTES: Final = 1 << 20
"""A call's log keeps this much text; what comes after is counted."""

RANDOM_BYTES: Final = 8 << 20
"""A guest gets at most this many random bytes at once: each takes 32 on its way."""

_LEVELS: Final = ("trace", "debug", "info", "warn", "error", "critical")


class Log:
    """What a guest said, bounded."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._bytes = 0
        self._dropped = 0

    def add(self, level: str, context: str, message: str) -> None:
        """Keep one message, unless there was no room for one before."""
        room = LOG_BYTES - self._bytes
        if not self._dropped and len(context) + len(message) < room:
            line = f"{level} {context}: {message}" if context else f"{level} {message}"
            line = printable(line, limit=room, keep="\n\t")
            if len(line) <= room:
                self._bytes += len(line)
                self.lines.append(line)
                return
        self._dropped += 1

    def text(self) -> str:
        """Return the log as lines of text, and say what was dropped."""
        tail = [f"… {plural(self._dropped, 'more message')} dropped"] if self._dropped else []
        return "\n".join(self.lines + tail)


class TooMuchRandom(Exception):
    """More than `RANDOM_BYTES` were asked for at once."""


class Host:
    """What one call sees of its host.

    Attributes:
        log: What the guest said.
        seed: Bytes that the task's own identity decides; all randomness follows from them.
        failed: What a function of the host raised, which ended the call.
    """

    def __init__(self, seed: bytes) -> None:
        self.seed = seed
        self.log = Log()
        self.failed: BaseException | None = None
        self._drawn = 0

    def random_bytes(self, count: int) -> bytes:
        """Return the next bytes of the task's own stream (SHAKE-256 of the seed and a counter)."""
        if count > RANDOM_BYTES:
            raise TooMuchRandom
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


def fail(error: BaseException) -> None:
    """Say that a function of the host raised this, which ends the call."""
    here = getattr(_call, "host", None)
    if here is not None:
        here.failed = error


@dataclass(frozen=True)
class Served:
    """A function of the host: what it takes and gives, and what it does with the host of the call.

    A parameter is a type, or `wit.Enum` for any enum, of which it gets the name.
    """

    takes: tuple[wit.AnyType | type[wit.Enum], ...]
    gives: wit.AnyType | None
    does: Callable[..., Any]

    def fits(self, signature: wit.Signature) -> bool:
        """Return True if a module asks for this function by its own type."""
        kinds = [param.type for param in signature.params]
        return (
            len(kinds) == len(self.takes)
            and all(
                isinstance(kind, wit.Enum) if taken is wit.Enum else kind == taken
                for kind, taken in zip(kinds, self.takes, strict=True)
            )
            and signature.result == self.gives
        )

    def answer(self, kinds: Sequence[wit.AnyType], values: Sequence[wit.Value]) -> wit.Value:
        """Return what the host of the call on this thread answers to values of these types."""
        named = [kind.names[v] if isinstance(kind, wit.Enum) else v for kind, v in zip(kinds, values, strict=True)]
        return self.does(_host(), *named)

    def __str__(self) -> str:
        takes = ", ".join("enum" if taken is wit.Enum else str(taken) for taken in self.takes)
        return f"func({takes}){'' if self.gives is None else f' -> {self.gives}'}"


def _fields(**kinds: wit.AnyType) -> wit.Record:
    return wit.Record(tuple(wit.Field(name, kind) for name, kind in kinds.items()))


_TIME: Final = _fields(seconds=wit.U64, milliseconds=wit.U32, nanoseconds=wit.U32)
_DATETIME: Final = _fields(seconds=wit.U64, nanoseconds=wit.U32)
_BYTES: Final = Served((wit.U64,), wit.BYTES, Host.random_bytes)
_U64: Final = Served((), wit.U64, Host.random_u64)

_INTERFACES: Final[Mapping[str, Mapping[str, Served]]] = {
    "wasi:logging/logging": {
        "log": Served((wit.Enum, wit.STRING, wit.STRING), None, lambda host, *said: host.log.add(*said)),
    },
    "homestar:host/helpers": {
        "get-current-time": Served((), _TIME, lambda _: (0, 0, 0)),
        "print": Served((wit.STRING,), None, lambda host, text: host.log.add("info", "", text)),
    },
    "wasi:clocks/wall-clock": {
        "now": Served((), _DATETIME, lambda _: (0, 0)),
        "resolution": Served((), _DATETIME, lambda _: (1, 0)),
    },
    "wasi:clocks/monotonic-clock": {
        "now": Served((), wit.U64, lambda _: 0),
        "resolution": Served((), wit.U64, lambda _: 1),
    },
    "wasi:random/random": {"get-random-bytes": _BYTES, "get-random-u64": _U64},
    "wasi:random/insecure": {"get-insecure-random-bytes": _BYTES, "get-insecure-random-u64": _U64},
    "wasi:random/insecure-seed": {
        "insecure-seed": Served((), wit.Tuple((wit.U64, wit.U64)), lambda host: (host.random_u64(), host.random_u64())),
    },
}

_WASI: Final = re.compile(
    r"wasi:(?:cli/(?:environment|exit|stdin|stdout|stderr|terminal-(?:input|output|stdin|stdout|stderr))"
    r"|clocks/(?:wall-clock|monotonic-clock)|filesystem/(?:types|preopens)|io/(?:error|poll|streams)"
    r"|random/(?:random|insecure|insecure-seed)"
    r"|sockets/(?:network|instance-network|ip-name-lookup|(?:tcp|udp)(?:-create-socket)?))@0\.2\.\d+"
)
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
    wasi = any(_WASI.fullmatch(name) for name in imports)
    if wasi:
        linker.add_wasip2()
    with linker.root() as root:
        for name, extern in imports.items():
            kind, functions = extern.ty, _interface(name)
            if not isinstance(kind, ComponentInstanceType) or not (functions or _WASI.fullmatch(name)):
                raise BadModule(
                    f"the module imports {printable(name, limit=200)!r}, which nobody serves. ipvm serves {SERVED}"
                )
            if functions:
                _serve(engine, root, name, functions, kind)
    return linker, wasi


def _interface(name: str) -> Mapping[str, Served]:
    """Return the functions that are served under the name of an interface, which may have a version."""
    base, _, version = name.partition("@")
    return {} if base == "homestar:host/helpers" and version not in _HELPERS else _INTERFACES.get(base, {})


def served(interface: str, signature: wit.Signature) -> Served | None:
    """Return the function of the host that a component asks for by this type, or None if there is none."""
    found = _interface(interface).get(signature.name)
    return found if found is not None and found.fits(signature) else None


def _serve(
    engine: wasmtime.Engine,
    root: LinkerInstance,
    name: str,
    functions: Mapping[str, Served],
    kind: ComponentInstanceType,
) -> None:
    """Define an imported interface with our own functions, if those are all that the module asks of it."""
    asked = {item: extern.ty for item, extern in kind.exports(engine).items() if isinstance(extern.ty, FuncType)}
    if not asked:  # types alone, which WASI itself defines
        return
    with root.add_instance(name) as instance:
        for item, type_ in asked.items():
            where = f"{printable(item, limit=100)!r} of {printable(name, limit=100)!r}"
            served = functions.get(item)
            if served is None:
                raise BadModule(
                    f"the module imports {where}, which a pure task cannot have: its answer would depend on the machine"
                )
            signature = component_signature(item, type_)
            if not served.fits(signature):
                raise BadModule(f"the module imports {where} as {signature}; ipvm serves it as {served}")
            _define(instance, item, served, signature)


# --- the way in -------------------------------------------------------------------------------------------------------

# What the engine calls by number: the function, and the types of its parameters. They are as many as there are interfaces
# in the world, so they stay.
_defined: Final[list[tuple[Served, tuple[wit.AnyType, ...]]]] = []
_numbers: Final[dict[tuple[Served, tuple[wit.AnyType, ...]], int]] = {}
_defining: Final = threading.Lock()


def _define(instance: LinkerInstance, name: str, served: Served, signature: wit.Signature) -> None:
    entry = (served, tuple(param.type for param in signature.params))
    with _defining:
        number = _numbers.setdefault(entry, len(_defined))
        if number == len(_defined):
            _defined.append(entry)
    data = name.encode()
    native.check(native.component_add_func(native.address(instance.ptr()), data, len(data), _ON_IMPORT, number, None))


@native.Callback  # type: ignore[untyped-decorator]
def _on_import(
    number: int | None, _context: object, _type: object, args: int | None, _count: int, results: int | None, _given: int
) -> int:
    """Answer a guest. Whatever is raised ends its call, and goes no further: through the engine it would end the process."""
    try:
        served, kinds = _defined[number or 0]
        answer = served.answer(kinds, capi.arguments(kinds, args or 0) if kinds else [])
        if served.gives is not None:
            capi.give(served.gives, answer, results or 0)
    except BaseException as error:  # noqa: BLE001 - see above
        fail(error)
        return int(native.error_new(b"a function of the host failed"))
    return 0


_ON_IMPORT: Final = native.address(_on_import)
