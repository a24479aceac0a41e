"""Other people's objects as plain data: numpy, pandas, Arrow and PIL, none of which is imported here.

An object is known by the package that its class comes from, so nothing is loaded that the user has not loaded. The
answer is plain Python or a `Buffer`; what the WIT type makes of that is `author`'s business.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import sys
from array import array
from typing import Any, Final

import msgspec

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.printable import plural, printable


class Buffer(msgspec.Struct, frozen=True):
    """Numbers side by side in memory.

    Attributes:
        code: Their type, as `array.array` spells it, or "?" for bools.
        data: Their little-endian bytes, in order.
    """

    code: str
    data: bytes


class Array(msgspec.Struct, frozen=True):
    """Data whose missing values are meant: NaN passes, in its canonical form. Made by `ipvm.array(x)`."""

    value: Any


class Column(msgspec.Struct, frozen=True):
    """A pandas column with missing values: a list with None, and where they are."""

    values: list[Any]
    missing: list[int]


class Table(msgspec.Struct, frozen=True):
    """A pandas DataFrame: its columns by name."""

    columns: dict[str, Any]

    def rows(self) -> list[dict[str, Any]]:
        """Return one dict a row."""
        names = list(self.columns)
        lists = [_as_list(plain_data(column)) for column in self.columns.values()]
        return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


_NUMPY_CODES: Final = {
    "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q", "f4": "f", "f8": "d", "b1": "?",
}  # fmt: skip
_VIEW_CODES: Final = {"b": "b", "B": "B", "c": "B", "h": "h", "H": "H", "i": "i", "I": "I", "l": "", "L": "", "q": "q", "Q": "Q",
                      "f": "f", "d": "d", "?": "?"}  # fmt: skip


def plain_data(value: Any) -> Any:
    """Return `value` as plain Python, bytes, a `Buffer`, a `Column`, a `Table`, or itself if it is none of these."""
    match value:
        case None | bool() | str() | bytes() | Buffer() | Array() | Column() | Table():
            return value
        case bytearray():
            return bytes(value)
        case memoryview() | array():
            return _from_view(memoryview(value))
        case enum.Enum():
            return value.value
        case int() | float() | list() | tuple() | dict() | range():
            return value
    package = type(value).__module__.partition(".")[0]
    if package == "numpy":
        return _from_numpy(value)
    if package == "pandas":
        return _from_pandas(value)
    if package == "pyarrow" and hasattr(value, "to_pandas"):
        return _from_arrow(value)
    if package == "PIL" and hasattr(value, "save"):
        return _png(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value


def _from_view(view: memoryview) -> Any:
    if view.ndim != 1:
        raise BadArgument(f"expected one dimension, found a buffer of shape {view.shape}: flatten it first")
    if view.format in ("B", "c"):
        return view.tobytes()
    code = _VIEW_CODES.get(view.format.lstrip("@=<"), None)
    if code is None:
        raise BadArgument(f"a buffer of format {printable(view.format, limit=20)!r} has no WIT type")
    return Buffer(code or ("q" if view.format.islower() else "Q"), view.tobytes())


def _from_numpy(value: Any) -> Any:
    if not hasattr(value, "__len__") or getattr(value, "shape", None) == ():
        return value.item()  # a numpy scalar
    kind = value.dtype
    if kind.kind in "OUS":
        return value.tolist()
    if kind.kind not in "iufb" or f"{kind.kind}{kind.itemsize}" not in _NUMPY_CODES:
        raise BadArgument(f"a numpy array of {kind} has no WIT type: convert it, with .astype('float64') say")
    if value.ndim != 1:
        return [plain_data(row) for row in value]  # a list of lists, if the type asks for that
    if kind.byteorder == ">" or (kind.byteorder == "=" and sys.byteorder == "big"):
        value = value.astype(kind.newbyteorder("<"))
    return Buffer(_NUMPY_CODES[f"{kind.kind}{kind.itemsize}"], value.tobytes())


def _from_pandas(value: Any) -> Any:
    name = type(value).__name__
    if name == "DataFrame":
        return Table({str(column): value[column] for column in value.columns})
    if name in {"NAType", "NaTType"}:
        return None
    if not hasattr(value, "isna"):
        return value.isoformat() if hasattr(value, "isoformat") else value
    missing = value.isna()
    if bool(missing.any()):
        flags = [bool(flag) for flag in missing]
        values = [None if gone else plain_data(item) for item, gone in zip(value.tolist(), flags, strict=True)]
        return Column(values, [i for i, gone in enumerate(flags) if gone])
    if str(value.dtype) in {"object", "category", "string", "str"}:
        return [plain_data(item) for item in value.tolist()]
    return plain_data(value.to_numpy())


def _from_arrow(value: Any) -> Any:
    if getattr(value, "null_count", 0):
        values = value.to_pylist()
        return Column(values, [i for i, item in enumerate(values) if item is None])
    if hasattr(value, "column_names"):
        return Table({name: value[name] for name in value.column_names})
    return plain_data(value.to_numpy(zero_copy_only=False)) if hasattr(value, "to_numpy") else value.to_pylist()


def _png(image: Any) -> bytes:
    """Return the PNG of a PIL image, which is the same for the same pixels and the same Pillow."""
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def _as_list(data: Any) -> list[Any]:
    match data:
        case Column(values=values):
            return values
        case Buffer():
            return numbers(data)
        case _:
            return list(data)


def numbers(buffer: Buffer) -> list[Any]:
    """Return the numbers of a buffer as Python numbers."""
    if buffer.code == "?":
        return [byte != 0 for byte in buffer.data]
    values = array(buffer.code)
    values.frombytes(buffer.data)
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


def missing(column: Column, name: str) -> BadArgument:
    """Return the error that says where values are missing and what can be done."""
    where = ", ".join(map(str, column.missing[:5])) + (", …" if len(column.missing) > 5 else "")
    return BadArgument(
        f"{name}: {plural(len(column.missing), 'value is', 'values are')} missing, at position {where} of "
        f"{len(column.values):,}. Drop them with .dropna(), or pass ipvm.array(x) to send them as NaN"
    )
