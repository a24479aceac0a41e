"""A guest's memory while a call lasts: where values are written, read, and given room.

The memory is the guest's: it may grow or move whenever guest code runs, so it is looked at anew after each such step, and
every place that a guest names is checked before it is used. (CanonicalABI.md, "Lifting and Lowering Context".)
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Final

from ipvm_kernel.wasm import native
from ipvm_kernel.wasm.abi import bound, pages

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.wasm import types as wit
    from ipvm_kernel.wasm.abi.batch import Batch
    from ipvm_kernel.wasm.stop import Stop

LIST_BYTES: Final = (1 << 28) - 1
"""A list or a string has at most so many bytes ("Loading", `MAX_LIST_BYTE_LENGTH` and `MAX_STRING_BYTE_LENGTH`)."""

VALUES: Final = 1 << 24
"""Values in lists that are more than numbers, and so Python objects: at most so many in one call, each way."""

OVERLAP_BYTES: Final = 128 << 20
"""A guest may answer with so many bytes however small its memory is: parts of an answer may lie on each other."""

_REALLOC: Final = struct.Struct("<I12xI12xI12xI12x")
_Args: Final = ctypes.c_char * _REALLOC.size
_pack: Final = _REALLOC.pack_into
_unpack: Final = struct.Struct("<I").unpack_from


Room = tuple[int, int]
"""A memory and the `realloc` that goes with it, by the numbers that a component's parts have."""


class Broken(Exception):
    """A guest gave something that the canonical ABI forbids: it has trapped."""


class MayNotLeave(Exception):
    """A guest called its host out of `realloc` or a post-return function: it has trapped."""


class TooMuch(Exception):
    """More than a limit of this way allows; the text says which."""


def fits(length: int) -> int:
    """Return the bytes of a list or string that is about to be lowered.

    Raises:
        TooMuch: They are more than one may have.
    """
    if length > LIST_BYTES:
        raise TooMuch(f"an argument holds a list or text of more than {LIST_BYTES:,} bytes")
    return length


class Call:
    """One call of one component, whatever of its memories is used.

    Attributes:
        context: The address of the store's context.
        large: What becomes of a large list of numbers in the result, or None; set once the result is read.
        may_leave: False while `realloc` or a post-return function runs, which must not call the host.
        failed: Why the guest must be stopped, if a function of the host found that out.
        args: Room for arguments and results of core functions.
        where: Where that is.
        trap: Where a trap is left.
        batch: What asks for room many times at once.
    """

    __slots__ = (
        "_lifted",
        "_lowered",
        "_stop",
        "_trap",
        "args",
        "batch",
        "context",
        "failed",
        "large",
        "may_leave",
        "trap",
        "where",
    )

    def __init__(self, context: int, stop: Stop, slots: int, batch: Callable[[], Batch]) -> None:
        self.context = context
        self.batch = batch
        self.may_leave = True
        self.large: wit.Large | None = None
        self.failed: BaseException | None = None
        self.args = (ctypes.c_char * (slots * bound.RAW_BYTES))()
        self.where: int = ctypes.addressof(self.args)
        self._trap = ctypes.c_void_p()
        self.trap: int = ctypes.addressof(self._trap)
        self._stop = stop
        self._lowered = self._lifted = VALUES

    def enter(self, func: int, where: int, slots: int) -> None:
        """Call a core function, whose arguments are in place and whose results come there.

        Raises:
            WasmtimeError, Trap: It did not come back.
        """
        error = bound.call_unchecked(self.context, func, where, slots, self.trap)
        if error or self._trap.value:
            self.check(error)

    def check(self, error: int | None) -> None:
        """Raise what a C function left behind: why the host stopped the guest if it did, else the error or trap."""
        try:
            native.check(error)
            native.check_trap(self._trap)
        except Exception:
            self._trap.value = None
            if self.failed is not None:
                raise self.failed from None
            raise

    def put(self, values: int) -> None:
        """Take note of so many values in lists, which are about to be lowered.

        Raises:
            TooMuch: They are too many, or the call was stopped.
        """
        self._lowered -= values
        if self._lowered < 0:
            raise TooMuch(f"the arguments take more than {VALUES:,} values, the most that one call may pass")
        self._go_on()

    def got(self, values: int) -> None:
        """Take note of so many values in lists, which are about to be lifted.

        Raises:
            TooMuch: They are too many, or the call was stopped.
        """
        self._lifted -= values
        if self._lifted < 0:
            raise TooMuch(f"the guest answered with more than {VALUES:,} values, the most that one call may pass")
        self._go_on()

    def _go_on(self) -> None:
        if self._stop.check() is not None:
            raise TooMuch("stopped")


class Guest:
    """A memory and the `realloc` that goes with it.

    Attributes:
        call: The call that this is part of.
        memory: A view of the memory, until guest code runs again.
        size: Its bytes.
    """

    __slots__ = ("_args", "_base", "_each", "_left", "_memory", "_realloc", "_where", "call", "memory", "size")

    def __init__(self, call: Call, memory: int, realloc: int) -> None:
        self.call = call
        self._memory = memory
        self._realloc = realloc
        self._args = _Args()
        self._where = ctypes.addressof(self._args)
        self._base: int | None = None
        self._left: int | None = None
        self._each: Callable[[int, int, int, int], None] | None = None
        self.size = -1
        self.memory = memoryview(b"")
        if memory:
            self.look()

    def look(self) -> None:
        """See where the memory is now, and how large."""
        context, memory = self.call.context, self._memory
        size = bound.memory_size(context, memory)
        if size != self.size:  # it moves only when it grows
            base = bound.memory_data(context, memory)
            self._base, self.size = base, size
            self.memory = bound.view(base, size, bound.WRITE) if size else memoryview(bytearray())

    def allocate(self, align: int, length: int) -> int:
        """Return where the guest has so much room, aligned."""
        return self.reallocate(0, 0, align, length)

    def reallocate(self, old: int, was: int, align: int, length: int) -> int:
        """Return where the guest has so much room, with what was in the old one.

        Raises:
            Broken: It answered with a place that is not aligned, or not there.
        """
        call = self.call
        _pack(self._args, 0, old, was, align, length)
        call.may_leave = False
        call.enter(self._realloc, self._where, 4)
        call.may_leave = True
        if bound.memory_size(call.context, self._memory) != self.size:
            self.look()
        at: int = _unpack(self._args)[0]
        if at % align or at + length > self.size:
            raise Broken
        if length >= pages.LEAST_BYTES and self._base:
            pages.ready(self._base, self.size, at, length)
        return at

    def allocate_each(self, at: int, count: int, width: int, align: int) -> None:
        """Fill in the places of lists or strings whose lengths, of so wide parts, already stand in a list of them at `at`.

        Each is asked for as `allocate` would, in the same order. What the guest answers is checked by whoever writes there.
        """
        if self._each is None:
            self._each = self.call.batch().bind(self.call, self._memory, self._realloc)
        self.call.may_leave = False
        self._each(at, count, width, align)
        self.call.may_leave = True
        self.look()

    def place(self, at: int, length: int, align: int) -> None:
        """Make sure that a place that the guest names is in its memory and aligned.

        Raises:
            Broken: It is not.
        """
        if at % align or at + length > self.size:
            raise Broken

    def within(self, at: int, length: int, align: int) -> None:
        """Make sure of a place as `place` does, and take note that it is read.

        Raises:
            Broken: It is not there.
            TooMuch: It is larger than a list may be, or all of the answer is more than there is memory.
        """
        self.place(at, length, align)
        if length > LIST_BYTES:
            raise TooMuch(f"the guest answered with a list or text of more than {LIST_BYTES:,} bytes")
        self.read(length)

    def read(self, length: int) -> None:
        """Take note of so many bytes of an answer, which are about to be read.

        Raises:
            TooMuch: All of it is more than there is memory, since parts lie on each other.
        """
        left = self._left
        if left is None:
            left = max(self.size, OVERLAP_BYTES)
        self._left = left = left - length
        if left < 0:
            raise TooMuch(
                f"the guest answered with parts that lie on each other: more than {OVERLAP_BYTES:,} bytes in all"
            )

    def close(self) -> None:
        """Forget the memory, which ends with its store."""
        self.memory.release()
        self.memory = memoryview(b"")
