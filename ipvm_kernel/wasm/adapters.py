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
from ipvm_kernel.wasm.wire import placed


class Buffer(msgspec.Struct, frozen=True):
    """Numbers side by side in memory.

    Attributes:
        code: Their type, as `array.array` spells it, or "?" for bools.
        data: Their little-endian bytes, in order; where they lie so already, those of the user's own object.
        array: The array of numpy that they are, which can tell fast whether one of them is NaN.
    """

    code: str
    data: bytes | memoryview
    array: Any = None

    def clean(self, data: bytes | memoryview) -> bool:
        """Return True if it is known that none of the numbers is NaN whose bytes are these, or a copy of these."""
        if self.array is None:
            return False
        numpy = sys.modules["numpy"]
        return not numpy.isnan(numpy.frombuffer(data, self.array.dtype)).any()


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
        lists = [_as_list(name, column) for name, column in self.columns.items()]
        return [dict(zip(names, row, strict=True)) for row in zip(*lists, strict=True)]


# The types of numbers, as numpy and `memoryview` name them, in the codes of `array.array`.
_NUMPY_CODES: Final = {
    "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q", "f4": "f", "f8": "d", "b1": "?",
}  # fmt: skip
_VIEW_KINDS: Final = (
    dict.fromkeys("bhilqn", "i") | dict.fromkeys("BHILQNc", "u") | dict.fromkeys("fd", "f") | {"?": "b"}
)

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict, range})
_PACKAGES: Final = frozenset({"numpy", "pandas", "pyarrow", "PIL"})


def plain_data(value: Any) -> Any:
    """Return `value` as plain Python, bytes, a `Buffer`, a `Column`, a `Table`, or itself if it is none of these."""
    if type(value) in _PLAIN:
        return value
    match value:
        case enum.Enum():
            return plain_data(value.value)
        case str():
            return str.__str__(value)
        case bytes() | bytearray():
            return bytes(value)
        case int():
            return int(value)
        case float():
            return float(value)  # of numpy too, whose float64 is a float
        case Buffer() | Array() | Column() | Table() | list() | tuple() | dict():
            return value
        case memoryview() | array():
            return _from_view(memoryview(value))
    names = {base.__name__ for base in type(value).__mro__}
    match next((p for base in type(value).__mro__ if (p := base.__module__.partition(".")[0]) in _PACKAGES), None):
        case "numpy":
            return _from_numpy(value, names)
        case "pandas":
            return _from_pandas(value, names)
        case "pyarrow":
            return _from_arrow(value)
        case "PIL" if hasattr(value, "save"):
            return _png(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value


def octets(value: Any) -> Any:
    """Return `value` as `plain_data` does, where bytes are wanted: a bytearray or a view of bytes is not copied."""
    if isinstance(value, bytearray | memoryview):
        view = memoryview(value)
        if view.ndim == 1 and view.format in ("B", "c"):
            return Buffer("B", side_by_side(view))
    return plain_data(value)


def _from_view(view: memoryview) -> Any:
    if view.ndim != 1:
        raise BadArgument(f"expected one dimension, found a buffer of shape {view.shape}: flatten it first")
    if view.format in ("B", "c"):
        return view.tobytes()
    kind = _VIEW_KINDS.get(view.format.lstrip("@=<" if sys.byteorder == "little" else "<"))
    code = _NUMPY_CODES.get(f"{kind}{view.itemsize}")
    if code is None:
        raise BadArgument(f"a buffer of format {printable(view.format, limit=20)!r} has no WIT type")
    return Buffer(code, side_by_side(view))


def side_by_side(view: memoryview) -> bytes | memoryview:
    """Return the bytes of a buffer, which are copied only if they do not lie together."""
    return view.cast("B") if view.c_contiguous and view.nbytes else view.tobytes()


def _from_numpy(value: Any, names: set[str]) -> Any:
    if "ndarray" not in names:  # a scalar of numpy, or something that has no WIT type
        return value.item() if getattr(getattr(value, "dtype", None), "kind", "") in {"i", "u", "f", "b"} else value
    if "MaskedArray" in names:
        gaps = value.mask
        if gaps.any() if hasattr(gaps, "any") else gaps:
            return _column(value.tolist(), value.mask.tolist()) if value.ndim == 1 else value.tolist()
        value = value.data
    if value.ndim == 0:
        return plain_data(value[()])
    kind = value.dtype
    if kind.kind in "OUST":
        return value.tolist()
    if kind.str[1:] == "f2":
        value = value.astype("<f4")  # which holds all of them
    code = _NUMPY_CODES.get(value.dtype.str[1:])
    if code is None:
        raise BadArgument(f"a numpy array of {kind} has no WIT type: convert it, with .astype('float64') say")
    if value.ndim != 1:
        return [plain_data(row) for row in value]  # a list of lists, if the type asks for that
    if value.dtype.str[0] == ">":
        value = value.astype(value.dtype.newbyteorder("<"))
    return Buffer(code, side_by_side(memoryview(value)), value)


def _from_pandas(value: Any, names: set[str]) -> Any:
    if "DataFrame" in names:
        return _table([str(name) for name in value.columns], [value.iloc[:, i] for i in range(value.shape[1])])
    if not names.isdisjoint({"NAType", "NaTType"}):
        return None
    if "MultiIndex" in names:
        return value.tolist()
    if not hasattr(value, "isna"):
        return value.isoformat() if hasattr(value, "isoformat") else value
    gaps = value.isna()
    if bool(gaps.any()):
        return _column(value.tolist(), gaps.tolist())
    if str(value.dtype) in {"object", "category", "string", "str"}:
        return [plain_data(item) for item in value.tolist()]
    return plain_data(value.to_numpy())


def _from_arrow(value: Any) -> Any:
    if hasattr(value, "column_names"):
        return _table(list(value.column_names), list(value.columns))
    if hasattr(value, "as_py"):
        return value.as_py()  # a scalar
    if getattr(value, "null_count", 0):
        values = value.to_pylist()
        return _column(values, [item is None for item in values])
    return plain_data(value.to_numpy(zero_copy_only=False)) if hasattr(value, "null_count") else value


def _column(values: list[Any], gaps: list[bool]) -> Column:
    """Return a column whose missing values are None, and which knows where they are."""
    return Column(
        [None if gone else plain_data(item) for item, gone in zip(values, gaps, strict=True)],
        [i for i, gone in enumerate(gaps) if gone],
    )


def _table(names: list[str], columns: list[Any]) -> Table:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise BadArgument(f"a table with two columns called {printable(twice, limit=60)!r}: rename one of them")
    return Table(dict(zip(names, columns, strict=True)))


def _png(image: Any) -> bytes:
    """Return the PNG of a PIL image, which is the same for the same pixels and the same Pillow."""
    file = io.BytesIO()
    try:
        image.save(file, format="PNG")
    except (OSError, ValueError) as error:
        raise BadArgument(f"a picture that PNG cannot hold: {error}. Convert it, with .convert('RGB') say") from None
    return file.getvalue()


def _as_list(name: str, column: Any) -> list[Any]:
    try:
        data = plain_data(column)
    except BadArgument as error:
        raise placed(f"the column {printable(name, limit=60)!r}", error) from None
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


def missing(column: Column, numbers: bool) -> BadArgument:
    """Return the error that says where values are missing and what can be done: `numbers` may be sent as NaN."""
    where = ", ".join(map(str, column.missing[:5])) + (", …" if len(column.missing) > 5 else "")
    ways = "pass ipvm.array(x) to send them as NaN" if numbers else "fill them with .fillna(...)"
    return BadArgument(
        f"{plural(len(column.missing), 'value is', 'values are')} missing, at position {where} of "
        f"{len(column.values):,}: drop them with .dropna(), or {ways}"
    )
