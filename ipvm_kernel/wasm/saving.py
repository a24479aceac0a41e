"""Values out of ipvm: to a file, or as an object of numpy, pandas or PIL."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import IpvmError, Unencodable
from ipvm_kernel.ipld import NumberList, dagjson
from ipvm_kernel.wasm import types as wit

if TYPE_CHECKING:
    from ipvm_kernel.wasm.types import Signature

_DTYPES: Final = {
    wit.BOOL: "?", wit.U8: "u1", wit.S8: "i1", wit.U16: "<u2", wit.S16: "<i2", wit.U32: "<u4", wit.S32: "<i4",
    wit.U64: "<u8", wit.S64: "<i8", wit.F32: "<f4", wit.F64: "<f8",
}  # fmt: skip


def save(value: Any, path: str | Path) -> Path:
    """Write a value to a file: bytes as bytes, text as text, anything else as DAG-JSON."""
    target = Path(path).expanduser()
    match value:
        case bytes():
            target.write_bytes(value)
        case str():
            target.write_text(value, encoding="utf-8")
        case _:
            target.write_text(dagjson.dumps(_listed(value), pretty=True) + "\n", encoding="utf-8")
    return target


def _listed(value: Any) -> Any:
    """Return a value whose tuples and sets are lists."""
    if isinstance(value, list | tuple | NumberList):
        return [_listed(item) for item in value]
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value


def _need(name: str, what: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise IpvmError(f"{what} needs {name.partition('.')[0]}, which is not installed") from None


def to_numpy(value: Any, signature: Signature | None) -> Any:
    """Return a list of numbers, or bytes, as a numpy array of the type that its WIT type says."""
    numpy = _need("numpy", "to_numpy()")
    kind = signature.result if signature is not None else None
    if isinstance(kind, wit.Result):
        kind = kind.ok
    dtype = _DTYPES.get(kind.element) if isinstance(kind, wit.List) else None
    if isinstance(value, bytes):
        return numpy.frombuffer(value, dtype="u1")
    return numpy.asarray(value, dtype=dtype)


def to_pandas(value: Any) -> Any:
    """Return a list of records, or a record of lists, as a DataFrame; any other list as a Series."""
    pandas = _need("pandas", "to_pandas()")
    if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        table = (
            value
            if not isinstance(value, dict) or any(isinstance(v, list | NumberList) for v in value.values())
            else [value]
        )
        return pandas.DataFrame(table)
    if isinstance(value, list | NumberList):
        return pandas.Series(memoryview(value) if isinstance(value, NumberList) else value)
    raise Unencodable(f"to_pandas() takes a list or records; the value is a {type(value).__name__}")


def to_image(value: Any) -> Any:
    """Return the bytes of a picture as a PIL image."""
    image = _need("PIL.Image", "to_image()")
    if not isinstance(value, bytes):
        raise Unencodable(f"to_image() takes the bytes of a picture; the value is a {type(value).__name__}")
    return image.open(io.BytesIO(value))
