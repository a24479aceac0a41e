"""Lists of numbers as buffers: their little-endian bytes, and the one form that each number has in a hash."""

from __future__ import annotations

import math
import struct
import sys
from array import array
from typing import Any, Final

from ipvm_kernel.ipld import FileBytes, NumberList
from ipvm_kernel.wasm import types as wit

_TYPECODE: Final = {
    wit.BOOL: "B", wit.U8: "B", wit.S8: "b", wit.U16: "H", wit.S16: "h", wit.U32: "I", wit.S32: "i",
    wit.U64: "Q", wit.S64: "q", wit.F32: "f", wit.F64: "d",
}  # fmt: skip
_CANONICAL_NAN: Final = {4: struct.pack("<I", 0x7FC00000), 8: struct.pack("<Q", 0x7FF8000000000000)}

_PART_BYTES: Final = 1 << 16  # a multiple of every width, and small enough to be in the cache

_F32: Final = struct.Struct("<f")
_NORMAL_F32: Final = 2.0**-126
# Below a power of two the next f32 is half as far as above it. So for three of them the shortest decimal that reads back
# is not the nearest of its length; no other f32 is like that.
_OUTWARD: Final = {2.0**-96: 1.2621775e-29, 2.0**87: 1.5474251e26, 2.0**90: 1.2379401e27}


def packed(element: wit.AnyType, numbers: list[Any]) -> bytes:
    r"""Return the little-endian bytes of a list of scalars.

    >>> packed(wit.U16, [1, 258])
    b'\x01\x00\x02\x01'

    Raises:
        OverflowError: One of them does not fit.
    """
    values = array(_TYPECODE[element], numbers)
    if element == wit.F32 and sum(map(math.isinf, values)) != sum(map(math.isinf, numbers)):
        raise OverflowError("a number is beyond the largest f32")
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def unpacked(element: wit.AnyType, data: bytes | memoryview) -> list[Any]:
    r"""Return the scalars whose little-endian bytes are given.

    >>> unpacked(wit.BOOL, b"\x01\x00")
    [True, False]
    """
    if element == wit.BOOL:
        return [byte != 0 for byte in data]
    values = array(_TYPECODE[element])
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def numbers(element: wit.AnyType, data: bytes | FileBytes) -> NumberList | list[Any]:
    """Return the scalars whose little-endian bytes are given, side by side in memory; bools are a list."""
    if element == wit.BOOL:
        return unpacked(element, data.read() if isinstance(data, FileBytes) else data)
    found = NumberList(_TYPECODE[element])
    if isinstance(data, FileBytes):
        found.frombytes(bytes(found.itemsize))
        found *= len(data) // found.itemsize  # room for all of them, and no more
        data.into(memoryview(found).cast("B") if len(found) else bytearray())
    else:
        found.frombytes(data)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def canonical_nan(element: wit.AnyType, data: bytes | memoryview) -> bytes | memoryview:
    """Return the bytes of a list of scalars with every NaN in its one canonical form (0x7fc00000, 0x7ff8000000000000).

    They are `data` itself where it has no other. A number that is NaN, infinite or nearly so ends in 0x7f or 0xff, sign
    apart: where no number of a part does, and that is one look at each, nothing more is asked.
    """
    if not isinstance(element, wit.Float):
        return data
    width, fixed = element.bits // 8, None
    for start in range(0, len(data), _PART_BYTES):
        part = bytes(data[start : start + _PART_BYTES])
        last = part[width - 1 :: width]
        if b"\x7f" not in last and b"\xff" not in last:
            continue
        mended = _mended(element, part)
        if mended != part:
            fixed = bytearray(data) if fixed is None else fixed
            fixed[start : start + len(part)] = mended
    return data if fixed is None else bytes(fixed)


def _mended(element: wit.Float, data: bytes) -> bytes:
    width = element.bits // 8
    mended, nan = bytearray(data), _CANONICAL_NAN[width]
    for i, number in enumerate(unpacked(element, data)):
        if number != number:  # noqa: PLR0124 - true of NaN alone
            mended[i * width : (i + 1) * width] = nan
    return bytes(mended)


def f32(value: float) -> float:
    """Return the f32 that is nearest to a float.

    Raises:
        OverflowError: It is beyond the largest.
    """
    nearest: float = _F32.unpack(_F32.pack(value))[0]
    return nearest


def shortest_f32(value: float) -> float:
    """Return the float whose decimal text is the shortest that reads back to the given f32 (RULES 1).

    Of several it is the nearest. Homestar goes through a decimal of seven digits and loses 3.14159274, 1e-30 and -0.0; this
    form loses none.

    >>> shortest_f32(3883.199951171875), shortest_f32(-0.0)
    (3883.2, -0.0)
    """
    if abs(value) in _OUTWARD:
        return math.copysign(_OUTWARD[abs(value)], value)
    first = 6 if abs(value) >= _NORMAL_F32 or not value else 1  # six digits survive f32, but not in subnormal numbers
    for digits in range(first, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if f32(short) == value:
                return short
        except OverflowError:  # rounding took it past the largest f32
            continue
    return float(f"{value:.9g}")
