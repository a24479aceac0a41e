"""Why a Python value has no IPLD form, and where in it: what the encoders call once they have given up."""

from __future__ import annotations

from typing import Any, Final

from ipvm_kernel.errors import LimitExceeded, Unencodable
from ipvm_kernel.ipld.cid import CID
from ipvm_kernel.ipld.numberlist import NumberList

LEAST_INTEGER: Final = -(2**64)
GREATEST_INTEGER: Final = 2**64 - 1
"""What fits a head of CBOR."""

_ADVICE: Final[dict[type, str]] = {
    tuple: "Give list(x).",
    set: "Give sorted(x).",
    frozenset: "Give sorted(x).",
    bytearray: "Give bytes(x).",
    memoryview: "Give bytes(x).",
    complex: "Give [x.real, x.imag].",
}
_PLAIN: Final = (bool, int, float, str, bytes, list, dict)


def explain(value: object, depth: int) -> None:
    """Raise for the first part of `value` that cannot be encoded; return if there is none.

    The types are exact: a subclass (an IntEnum, a numpy float) would come back as something else than it was.

    Raises:
        Unencodable: The message names type and place, such as `$.args[3]`.
        LimitExceeded: Lists and maps more than `depth` deep, as in one that contains itself.
    """
    _explain(value, "$", depth)


def _explain(value: Any, path: str, depth: int) -> None:
    kind = type(value)
    if value is None or kind is bool or kind is bytes or kind is CID:
        return
    if kind is str:
        _text(value, path)
    elif kind is int:
        if not LEAST_INTEGER <= value <= GREATEST_INTEGER:
            found = f"one of {value.bit_length():,} bits"
            raise Unencodable(f"Expected an integer from -2^64 to 2^64-1 at {path}, found {found}. Give text or bytes.")
    elif kind is float:
        if value - value != 0:  # true of NaN and of both infinities, and of nothing else
            raise Unencodable(f"Expected a finite float at {path}, found {value}. Give None where there is no number.")
    elif kind is list or kind is NumberList:
        _deeper(path, depth)
        for index, item in enumerate(value):
            _explain(item, f"{path}[{index}]", depth - 1)
    elif kind is dict:
        _deeper(path, depth)
        for key, item in value.items():
            if type(key) is not str:
                raise Unencodable(
                    f"Expected keys of type str in the map at {path}, found {_named(key)}. Give str(key)."
                )
            _text(key, f"a key of {path}")
            _explain(item, f"{path}.{key}" if key.isidentifier() else f"{path}[{key!r:.100}]", depth - 1)
    else:
        raise Unencodable(
            f"Expected None, bool, int, float, str, bytes, CID, list or dict at {path}, found {_named(value)}. "
            + _advice(value, kind)
        )


def _text(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"half a surrogate pair at character {error.start:,}"
        raise Unencodable(f"Expected text that UTF-8 can hold at {path}, found {found}. Give bytes.") from None


def _deeper(path: str, depth: int) -> None:
    if not depth:
        raise LimitExceeded(
            f"Expected lists and maps no deeper than that at {path[:100]}..., found another inside. "
            "If it does not contain itself, put the inner part into a block of its own and link to it."
        )


def _named(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _advice(value: Any, kind: type) -> str:
    if kind in _ADVICE:
        return _ADVICE[kind]
    if kind.__module__ == "numpy":
        return "Give x.item() of a scalar, x.tolist() of an array."
    plain = next((plain for plain in _PLAIN if isinstance(value, plain)), None)
    return f"Give {plain.__name__}(x)." if plain else "Make one of them of it first."
