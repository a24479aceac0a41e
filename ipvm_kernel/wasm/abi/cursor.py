"""A place in a Wasm binary, from which numbers and names are read strictly.

Sources: WebAssembly core specification 3.0, sections 5.1 (vectors), 5.2.2 (integers) and 5.2.4 (names).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from ipvm_kernel.errors import BadModule

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class NotDriven(Exception):
    """A component that is no error, and that only the engine itself can run. Its text says why."""


class Cursor:
    """What stands between two places of a binary, read from the first to the last.

    Attributes:
        data: The whole binary.
        at: Where the next byte is.
        end: Where nothing more may be read.
    """

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data = data
        self.at = at
        self.end = end

    def broken(self, what: str) -> BadModule:
        """Return the error for what is not as it should be, here."""
        return BadModule(f"the component is cut short or broken at byte {self.at:,}: {what}")

    def byte(self) -> int:
        """Return the next byte."""
        if self.at >= self.end:
            raise self.broken("it ends in the middle")
        byte = self.data[self.at]
        self.at += 1
        return byte

    def expect(self, wanted: int, what: str) -> None:
        """Read one byte, which must be this one."""
        if self.byte() != wanted:
            self.at -= 1
            raise self.broken(f"expected {what}")

    def u32(self) -> int:
        """Return an unsigned LEB128 number of at most 32 bits."""
        value = 0
        for shift in (0, 7, 14, 21, 28):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 32:
                    break
                return value
        raise self.broken("a number of more than 32 bits")

    def s33(self) -> int:
        """Return a signed LEB128 number of at most 33 bits: a type's index, or below zero its opcode."""
        value = 0
        for shift in (0, 7, 14, 21, 28):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte & 0x40:
                    value -= 1 << (shift + 7)
                if -(1 << 32) <= value < 1 << 32:
                    return value
                break
        raise self.broken("a number of more than 33 bits")

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        if length > self.end - self.at:
            raise self.broken("it ends in the middle")
        self.at += length
        return self.data[self.at - length : self.at]

    def name(self) -> str:
        """Return a name, which is UTF-8."""
        data = self.take(self.u32())
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise self.broken("a name that is no UTF-8") from None

    def vec(self, read: Callable[[], T]) -> list[T]:
        """Return the items of a vector, each of which takes a byte at least."""
        count = self.u32()
        if count > self.end - self.at:
            raise self.broken("a vector longer than what is left")
        return [read() for _ in range(count)]

    def maybe(self, read: Callable[[], T]) -> T | None:
        """Return what may be there: a 0, or a 1 and the thing."""
        match self.byte():
            case 0:
                return None
            case 1:
                return read()
            case _:
                self.at -= 1
                raise self.broken("expected 0 or 1")

    def section(self) -> tuple[int, Cursor]:
        """Return the number of the next section and a cursor over what is in it."""
        number = self.byte()
        length = self.u32()
        if length > self.end - self.at:
            raise self.broken(f"section {number} is longer than what is left")
        start, self.at = self.at, self.at + length
        return number, Cursor(self.data, start, self.at)

    def done(self) -> None:
        """Make sure that nothing is left."""
        if self.at != self.end:
            raise self.broken("there is more in a section than it says")
