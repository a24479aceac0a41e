"""Lists of numbers as buffers: their little-endian bytes, and the one form that each number has in a hash."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from typing import Any, Final

from ipvm_kernel.wasm import types as wit

_TYPECODE: Final = {
    wit.BOOL: "B", wit.U8: "B", wit.S8: "b", wit.U16: "H", wit.S16: "h", wit.U32: "I", wit.S32: "i",
    wit.U64: "Q", wit.S64: "q", wit.F32: "f", wit.F64: "d",
}  # fmt: skip
_CANONICAL_NAN: Final = {4: struct.pack("<I", 0x7FC00000), 8: struct.pack("<Q", 0x7FF8000000000000)}


def packed(element: wit.AnyType, numbers: list[Any]) -> bytes:
    r"""Return the little-endian bytes of a list of scalars.

    >>> packed(wit.U16, [1, 258])
    b'\\x01\\x00\\x02\\x01'
    """
    values = array(_TYPECODE[element], numbers)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def unpacked(element: wit.AnyType, data: bytes) -> list[Any]:
    r"""Return the scalars whose little-endian bytes are given.

    >>> unpacked(wit.BOOL, b"\\x01\\x00")
    [True, False]
    """
    values = array(_TYPECODE[element])
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    numbers = values.tolist()
    return [number != 0 for number in numbers] if element == wit.BOOL else numbers


def canonical_nan(element: wit.AnyType, data: bytes) -> bytes:
    """Return the bytes of a list of scalars with every NaN in its one canonical form (0x7fc00000, 0x7ff8000000000000)."""
    if not isinstance(element, wit.Float):
        return data
    width = element.bits // 8
    numbers = unpacked(element, data)
    if not any(map(math.isnan, numbers)):
        return data
    fixed, nan = bytearray(data), _CANONICAL_NAN[width]
    for i, number in enumerate(numbers):
        if number != number:  # noqa: PLR0124 - true of NaN alone
            fixed[i * width : (i + 1) * width] = nan
    return bytes(fixed)


def shortest_f32(value: float) -> float:
    """Return the float whose decimal text is the shortest that reads back to the given f32 (RULES 1).

    Homestar goes through a decimal of seven digits and loses 3.14159274, 1e-30 and -0.0; this form loses none.

    >>> shortest_f32(3883.199951171875), shortest_f32(-0.0)
    (3883.2, -0.0)
    """
    for digits in (6, 7, 8):  # six digits always survive a round trip through f32, so fewer need no attempt
        short = float(f"{value:.{digits}g}")
        try:
            if struct.unpack("<f", struct.pack("<f", short))[0] == value:
                return short
        except OverflowError:  # rounding up took it past the largest f32
            continue
    return float(f"{value:.9g}")
