"""Functions of the host as core functions: what `host` serves, lowered for one component.

Source: component model `CanonicalABI.md`, section "`canon lower`".
"""

from __future__ import annotations

import ctypes
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

import wasmtime

from ipvm_kernel.wasm import host, native
from ipvm_kernel.wasm.abi import bound, items, layout
from ipvm_kernel.wasm.abi.guest import Broken, Call, Guest, MayNotLeave, Room, TooMuch
from ipvm_kernel.wasm.abi.shapes import shape

if TYPE_CHECKING:
    from ipvm_kernel.wasm.abi.wiring import Asked

_VALUES: Final = {
    "i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64, "f32": wasmtime.ValType.f32, "f64": wasmtime.ValType.f64,
}  # fmt: skip
_POINTER: Final = ctypes.c_uint32


class Caller(Protocol):
    """The component that calls."""

    call: Call

    def guest(self, room: Room) -> Guest:
        """Return the memory that a function's values are in."""


class Import:
    """One function of the host, as one component lowers it.

    Attributes:
        room: The numbers of the memory that its values are in, and of `realloc`.
        type: The address of its core type.
    """

    def __init__(self, asked: Asked, room: Room) -> None:
        params, encoding = asked.signature.params, asked.options.encoding
        self.room = room
        served = host.served(asked.interface, asked.signature)
        assert served is not None  # of which whoever loads a component makes sure
        self._served = served
        self._kinds = [param.type for param in params]
        self._spilled = layout.spills(params)
        self._takes = items.row([shape(kind, encoding, flat=not self._spilled) for kind in self._kinds])
        self._slots = 1 if self._spilled else self._takes.size // bound.RAW_BYTES
        gives = asked.signature.result
        self._stored = len(layout.flatten(gives)) > layout.FLAT_RESULTS
        self._gives = None if gives is None else shape(gives, encoding, flat=not self._stored)
        core = layout.lowered_type(params, gives)
        self._type = wasmtime.FuncType(*([_VALUES[name]() for name in names] for names in core))
        self.type = native.address(self._type.ptr())

    def answer(self, live: Caller, args: int) -> None:
        """Lift the arguments that a guest left at an address, do what it asks for, and lower the answer."""
        if not live.call.may_leave:
            raise MayNotLeave
        guest = live.guest(self.room)
        raw = ctypes.string_at(args, (self._slots + self._stored) * bound.RAW_BYTES)
        takes = self._takes
        if self._spilled:
            at = int.from_bytes(raw[:4], "little")
            guest.within(at, takes.size, takes.align)
            given = takes.struct.unpack_from(guest.memory, at)
        else:
            given = takes.struct.unpack_from(raw)
        answer = self._served.answer(self._kinds, takes.gather(given, 0, guest))
        gives = self._gives
        if gives is None:
            return
        out: list[Any] = []
        if self._stored:
            at = int.from_bytes(raw[self._slots * bound.RAW_BYTES :][:4], "little")
            guest.place(at, gives.size, gives.align)
            gives.spread(answer, out, guest)
            gives.struct.pack_into(guest.memory, at, *out)
        else:
            gives.spread(answer, out, guest)
            ctypes.memmove(args, gives.struct.pack(*out), gives.size)


class _Now(threading.local):
    """What the guest on this thread may call."""

    live: Caller | None = None
    imports: tuple[Import, ...] = ()


_now: Final = _Now()


def enter(live: Caller | None, imports: tuple[Import, ...] = ()) -> None:
    """Say which component runs on this thread, and what it may call."""
    _now.live, _now.imports = live, imports


@bound.Callback  # type: ignore[untyped-decorator]
def _on_call(number: int | None, _caller: int | None, args: int | None, _slots: int) -> int:
    """Answer a guest. Whatever is raised ends its call, and goes no further: through the engine it could end the process."""
    live = _now.live
    try:
        if live is not None:
            _now.imports[number or 0].answer(live, args or 0)
            return 0
    except (Broken, MayNotLeave, TooMuch, wasmtime.Trap, wasmtime.WasmtimeError) as error:
        if live is not None:
            live.call.failed = error
    except BaseException as error:  # noqa: BLE001 - see above
        host.fail(error)
    return int(bound.trap_new(_STOPPED, len(_STOPPED)))


_STOPPED: Final = b"a function of the host failed"
_ON_CALL: Final = native.address(_on_call)


def define(context: int, kind: int, number: int, extern: ctypes.Array[ctypes.c_char]) -> None:
    """Make the core function of this number, as an import of a core module."""
    extern[0] = b"\0"  # the kind of a function
    bound.func_new_unchecked(context, kind, _ON_CALL, number, None, ctypes.addressof(extern) + bound.EXTERN_OF)
