"""What a person writes becomes the wire form of a parameter, strictly, before anything is hashed."""

from __future__ import annotations

import enum
import math
from array import array
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ipvm_kernel.errors import BadArgument
from ipvm_kernel.ipld import CID
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.author import INLINE_LITERAL, author
from ipvm_kernel.wasm.scalars import packed
from ipvm_kernel.wasm.wire import INLINE_SCALARS
from tests.wasm.generated import LINK
from tests.wasm.guests import Files, Promised

POINT = wit.Record((wit.Field("x", wit.F64), wit.Field("long-name", wit.Option(wit.STRING))))
PAIRS = wit.List(wit.Tuple((wit.STRING, wit.U32)))
TEXTS = wit.List(wit.Tuple((wit.STRING, wit.STRING)))
CASES = wit.Variant((wit.Case("circle", wit.F64), wit.Case("empty", None)))
COLOURS = wit.Enum(("red", "dark-blue"))
FLAGS = wit.Flags(("read", "write", "run"))
EITHER = wit.Result(wit.U32, wit.STRING)
HALF = wit.Result(None, wit.STRING)
NEST = wit.Option(wit.Option(wit.U32))
PROMISE = {"await/ok": CID.parse(LINK)}
BYTES_OF = {"a.bin": b"\x01\x02"}

Named = namedtuple("Named", "x long_name")  # noqa: PYI024 - the plain kind is what people have


@dataclass
class Point:
    """A record as Python has it."""

    x: float
    long_name: str | None = None


class Colour(enum.Enum):
    """An enum as Python has it."""

    RED = "red"
    BLUE = "dark-blue"


class Loud(str, enum.Enum):  # noqa: UP042 - it is what is tested
    """One of the older kind, whose text is not its value."""

    RED = "red"


class Level(enum.IntEnum):
    """One of numbers."""

    LOW = 1


class Text(str):
    """A text with more to it."""

    __slots__ = ()


TAKEN: list[tuple[wit.AnyType, Any, Any]] = [
    (wit.BOOL, True, True),
    (wit.S8, -128, -128),
    (wit.U64, 2**64 - 1, 2**64 - 1),
    (wit.U8, Level.LOW, 1),
    (wit.F64, 20, 20.0),
    (wit.F64, 2**53 + 2, 9007199254740994.0),
    (wit.F32, 0.1, 0.1),
    (wit.F32, 3.14159274, 3.1415927),
    (wit.F32, 16777216, 16777216.0),
    (wit.F64, -0.0, -0.0),
    (wit.CHAR, "é", "é"),
    (wit.STRING, "null", "null"),
    (wit.STRING, LINK, LINK),
    (wit.STRING, Text("a"), "a"),
    (wit.STRING, Loud.RED, "red"),
    (COLOURS, "dark-blue", "dark-blue"),
    (COLOURS, Colour.BLUE, "dark-blue"),
    (COLOURS, Loud.RED, "red"),
    (FLAGS, {"run", "read"}, ["read", "run"]),
    (FLAGS, ["write", "write"], ["write"]),
    (FLAGS, (), []),
    (wit.Option(wit.U32), None, None),
    (wit.Option(wit.U32), 5, 5),
    (NEST, None, None),
    (NEST, {"some": None}, {"some": None}),
    (NEST, {"some": 5}, 5),
    (NEST, 5, 5),
    (wit.Tuple((wit.U8, wit.STRING)), (1, "a"), [1, "a"]),
    (wit.Tuple((wit.U8, wit.STRING)), [1, "a"], [1, "a"]),
    (wit.Tuple((wit.F64, wit.F64)), array("d", [1, 2]), [1.0, 2.0]),
    (CASES, "empty", {"empty": None}),
    (CASES, {"empty": None}, {"empty": None}),
    (CASES, {"circle": 2}, {"circle": 2.0}),
    (CASES, ("circle", 2), {"circle": 2.0}),
    (EITHER, ("ok", 5), [5, None]),
    (EITHER, {"err": "e"}, [None, "e"]),
    (HALF, ("ok", None), [1, None]),
    (HALF, {"ok": None}, [1, None]),
    (wit.Result(wit.Option(wit.U32), None), ("ok", None), {"ok": None}),
    (wit.Result(wit.Option(wit.U32), None), ("err", None), [None, 1]),
    (POINT, {"x": 1, "long-name": "a"}, {"x": 1.0, "long-name": "a"}),
    (POINT, {"x": 1, "long_name": "a"}, {"x": 1.0, "long-name": "a"}),
    (POINT, {"x": 1}, {"x": 1.0, "long-name": None}),
    (POINT, OrderedDict(x=1), {"x": 1.0, "long-name": None}),
    (POINT, Point(1.5, "a"), {"x": 1.5, "long-name": "a"}),
    (POINT, Named(1.5, None), {"x": 1.5, "long-name": None}),
    (wit.BYTES, b"ab", b"ab"),
    (wit.BYTES, bytearray(b"ab"), b"ab"),
    (wit.BYTES, memoryview(b"abcd")[::2], b"ac"),
    (wit.BYTES, [97, 98], b"ab"),
    (wit.BYTES, b"", []),
    (wit.List(wit.S32), [1, -2], [1, -2]),
    (wit.List(wit.S32), (1, -2), [1, -2]),
    (wit.List(wit.S32), range(3), [0, 1, 2]),
    (wit.List(wit.S32), (n * n for n in range(3)), [0, 1, 4]),
    (wit.List(wit.S32), {3: "a", 1: "b"}.keys(), [3, 1]),
    (wit.List(wit.S32), array("h", [1, -2]), [1, -2]),
    (wit.List(wit.S64), array("l", [1, -2]), [1, -2]),
    (wit.List(wit.F64), array("f", [0.5]), [0.5]),
    (wit.List(wit.F64), [1, 2.5], [1.0, 2.5]),
    (wit.List(wit.F32), [0.1, 2], [0.1, 2.0]),
    (wit.List(wit.BOOL), [True, False], [True, False]),
    (wit.List(wit.CHAR), ["a", "b"], ["a", "b"]),
    (wit.List(wit.STRING), ["null", LINK], ["null", LINK]),
    (wit.List(wit.Option(wit.F64)), [1, None], [1.0, None]),
    (wit.List(wit.List(wit.U8)), [b"ab", [1]], [b"ab", b"\x01"]),
    (wit.List(POINT), [Point(1), {"x": 2}], [{"x": 1.0, "long-name": None}, {"x": 2.0, "long-name": None}]),
    (PAIRS, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
    (PAIRS, [("a", 1), ("b", 2)], {"a": 1, "b": 2}),
    (PAIRS, {"b": 2, "a": 1}, [["b", 2], ["a", 1]]),
    (PAIRS, [("a", 1), ("a", 2)], [["a", 1], ["a", 2]]),
    (PAIRS, {}, {}),
    (wit.List(wit.Tuple((wit.U8, wit.U8))), {1: 2}, [[1, 2]]),
    (wit.List(wit.Tuple((wit.U8, wit.U8))), [], {}),
]


@pytest.mark.parametrize(("kind", "value", "wire"), TAKEN)
def test_taken(kind: wit.AnyType, value: Any, wire: Any) -> None:
    """
    Python's own data goes into a task as it is written; a literal takes the type of its parameter.
    """
    assert repr(author(kind, value, Files())) == repr(wire)


REFUSED: list[tuple[wit.AnyType, Any, str]] = [
    (wit.BOOL, 1, "expected bool, found int 1: write True or False"),
    (wit.U8, True, "expected u8, found bool True"),
    (wit.U8, 256, "expected u8, 0 to 255, found int 256"),
    (wit.S8, -129, "expected s8, -128 to 127, found int -129"),
    (wit.S32, 1.0, "expected s32, found the float 1.0: write int(...) or round(...)"),
    (wit.S32, "1", "expected s32, found str '1'"),
    (wit.F64, True, "expected f64, found bool True"),
    (wit.F64, math.nan, "expected f64, found nan, which no CID can name; in a list of numbers it can be sent"),
    (wit.F64, math.inf, "expected f64, found inf, which no CID can name; in a list of numbers it can be sent"),
    (wit.F64, 2**53 + 1, "expected f64, found int 9007199254740993, which no f64 holds exactly"),
    (wit.F64, 10**400, "expected f64, found an integer of 1,329 bits, which is beyond the largest f64"),
    (wit.F32, 16777217, "expected f32, found int 16777217, which no f32 holds exactly"),
    (wit.F32, 1e300, "expected f32, found float 1e+300, which is beyond the largest f32"),
    (wit.CHAR, "ab", "expected char, found str 'ab'"),
    (wit.CHAR, "\ud800", "expected char, found text with a lone surrogate at 0, which has no UTF-8"),
    (wit.STRING, "ab\udfff", "expected string, found text with a lone surrogate at 2, which has no UTF-8"),
    (wit.STRING, b"ab", "expected string, found 2 bytes: decode it with .decode()"),
    (wit.STRING, None, "expected string, found None"),
    (wit.STRING, "x".encode, "expected string, found a builtins.builtin_function_or_method"),
    (wit.BYTES, "ab", "expected list<u8>, found str 'ab': encode it with .encode(), or pass ipvm.file(path) for a file"),
    (wit.BYTES, [1, 256], "[1]: expected u8, 0 to 255, found int 256"),
    (wit.BYTES, {1, 2}, "expected list<u8>, found a set of 2"),
    (wit.List(wit.S32), 5, "expected list<s32>, found int 5"),
    (wit.List(wit.S32), b"ab", "expected list<s32>, found 2 bytes"),
    (wit.List(wit.S32), {"a": 1}, "expected list<s32>, found a dict of 1"),
    (wit.List(wit.S32), [1, 2.0], "[1]: expected s32, found the float 2.0: write int(...) or round(...)"),
    (wit.List(wit.S32), [1, True], "[1]: expected s32, found bool True"),
    (wit.List(wit.BOOL), [True, 1], "[1]: expected bool, found int 1: write True or False"),
    (wit.List(wit.F64), [1, None], "[1]: expected f64, found None"),
    (wit.List(wit.F64), [1, "2"], "[1]: expected f64, found str '2'"),
    (wit.List(wit.F32), [1.0, 1e300], "[1]: expected f32, found float 1e+300, which is beyond the largest f32"),
    (wit.List(wit.S32), array("d", [1]), "expected list<s32>, found an array of f64 numbers: convert it, with .astype(...) say"),
    (wit.List(wit.F64), array("u", "a"), "a buffer of format 'w' has no WIT type"),
    (wit.List(wit.STRING), "ab", "expected list<string>, found str 'ab'"),
    (wit.List(wit.STRING), ["a", 1], "[1]: expected string, found int 1"),
    (wit.List(wit.List(wit.U8)), [b"", "a"], "[1]: expected list<u8>, found str 'a': encode it with .encode(), or pass ipvm.file(path) for a file"),
    (wit.Tuple((wit.U8, wit.U8)), (1,), "expected tuple<u8, u8>, found a tuple of 1"),
    (wit.Tuple((wit.U8, wit.U8)), (1, 256), "[1]: expected u8, 0 to 255, found int 256"),
    (COLOURS, "dark_blue", f"expected {COLOURS}, found 'dark_blue'. Did you mean 'dark-blue'?"),
    (COLOURS, 1, f"expected {COLOURS}, found int 1"),
    (FLAGS, {"reed"}, f"expected {FLAGS}, found 'reed'. Did you mean 'read'?"),
    (FLAGS, "read", f"expected {FLAGS}, found str 'read'"),
    (CASES, "circl", f"expected {CASES}, found 'circl'. Did you mean 'circle'?"),
    (CASES, {"circle": "x"}, ".circle: expected f64, found str 'x'"),
    (CASES, {"empty": 1}, ".empty: expected nothing, found int 1"),
    (CASES, {"circle": 1, "empty": None}, f"expected {CASES}, found a dict of 2"),
    (EITHER, 5, f'expected {EITHER}, found int 5: write ("ok", value) or ("err", value)'),
    (EITHER, {"ok": 1, "err": "e"}, f'expected {EITHER}, found a dict of 2: write ("ok", value) or ("err", value)'),
    (EITHER, ("ok", "x"), ".ok: expected u32, found str 'x'"),
    (HALF, ("ok", 5), ".ok: expected nothing, found int 5"),
    (POINT, {}, f"expected {POINT}, found no 'x'"),
    (POINT, {"x": 1, "y": 2}, f"expected {POINT}, found 'y'."),
    (POINT, {"x": 1, "lon_name": "a"}, f"expected {POINT}, found 'lon_name'. Did you mean 'long-name'?"),
    (POINT, {"x": 1, "long-name": "a", "long_name": "b"}, f"expected {POINT}, found 'long-name' twice"),
    (POINT, {"x": 1, "long-name": 3}, ".long-name: expected string, found int 3"),
    (POINT, [1, "a"], f"expected {POINT}, found a list of 2"),
    (wit.List(POINT), [Point(1), {"x": "\x1b]0;pwn\x07"}], "[1].x: expected f64, found str '\\x1b]0;pwn\\x07'"),
    (wit.S32, Path("a.bin"), "expected s32, found a path, which means the bytes of its file"),
    (wit.Opaque("own"), 1, "expected own, found int 1"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "message"), REFUSED)
def test_refused(kind: wit.AnyType, value: Any, message: str) -> None:
    """
    What does not fit is refused where it is written: the message says what was expected, what was found, and what to do.
    """
    with pytest.raises(BadArgument) as caught:
        author(kind, value, Files())

    assert caught.value.message == message


def test_integers_of_any_length_are_refused() -> None:
    """
    An integer that Python itself refuses to write out is refused with a message, not with Python's error.
    """
    with pytest.raises(BadArgument) as caught:
        author(wit.U64, 10**5000, Files())

    assert caught.value.message == "expected u64, 0 to 18446744073709551615, found an integer of 16,610 bits"


@pytest.mark.parametrize("text", ["null", LINK, '{"await/ok": 1}', "await/ok"])
def test_data_is_never_control(text: str) -> None:
    """
    Text that looks like a link, a promise or nothing at all stays the text it is.
    """
    assert author(wit.STRING, text, Files()) == text
    assert author(wit.List(wit.STRING), ["ok", text], Files()) == ["ok", text]


def test_a_pair_cannot_pose_as_a_promise() -> None:
    """
    A list of pairs that would be a promise on the wire is written so that it is none.
    """
    link = CID.parse(LINK)

    assert author(TEXTS, {"await/ok": link}, Files()) == [["await/ok", link]]
    assert author(TEXTS, {"await/ok": LINK}, Files()) == {"await/ok": LINK}


# --- bytes and links --------------------------------------------------------------------------------------------------


def test_bytes_up_to_64_kib_stand_in_the_task() -> None:
    """
    Bytes above 64 KiB become a link to them; at 64 KiB they do not.
    """
    files = Files()
    data = bytes(INLINE_LITERAL)

    assert author(wit.BYTES, data, files) == data
    assert author(wit.BYTES, list(data), files) == data
    link = author(wit.BYTES, data + b"\0", files)
    assert files.load(link) == data + b"\0"


@pytest.mark.parametrize("element", [wit.S8, wit.BOOL, wit.U16, wit.F32, wit.S64, wit.F64], ids=str)
def test_numbers_up_to_64_kib_stand_in_the_task(element: wit.AnyType) -> None:
    """
    Numbers that take more than 64 KiB become a link to their little-endian bytes; those of 64 KiB do not.
    """
    files = Files()
    zero: Any = False if element == wit.BOOL else 0.0 if isinstance(element, wit.Float) else 0
    numbers = [zero] * (INLINE_SCALARS // (wit.scalar(element) or 1))

    assert author(wit.List(element), numbers, files) == numbers
    link = author(wit.List(element), [*numbers, zero], files)
    assert files.load(link) == packed(element, [*numbers, zero])


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_list_with_nan_is_its_bytes(number: float) -> None:
    """
    NaN and infinity in a list of numbers are sent as the list's bytes, NaN in its one form.
    """
    files = Files()
    link = author(wit.List(wit.F64), [1, number], files)

    assert files.load(link) == packed(wit.F64, [1.0, number])


def test_links_and_handles_go_anywhere() -> None:
    """
    A handle or a link may stand for a whole argument or for any part of it, inside lists, records, options and results.
    """
    files, link, later = Files(), CID.parse(LINK), Promised(PROMISE)

    assert author(wit.S32, later, files) == PROMISE
    assert author(wit.BYTES, link, files) == link
    assert author(wit.List(wit.S32), [1, later, 3], files) == [1, PROMISE, 3]
    assert author(wit.List(wit.List(wit.F64)), [[1, later], later], files) == [[1.0, PROMISE], PROMISE]
    assert author(POINT, {"x": later, "long-name": later}, files) == {"x": PROMISE, "long-name": PROMISE}
    assert author(PAIRS, {"a": later, "b": 1}, files) == {"a": PROMISE, "b": 1}
    assert author(PAIRS, [(later, 1)], files) == [[PROMISE, 1]]
    assert author(PAIRS, [later], files) == [PROMISE]
    assert author(wit.Option(wit.Tuple((wit.U8, wit.U8))), (later, 1), files) == [PROMISE, 1]
    assert author(EITHER, ("ok", later), files) == [PROMISE, None]
    assert author(CASES, {"circle": later}, files) == {"circle": PROMISE}


def test_too_many_numbers_for_a_handle_among_them() -> None:
    """
    A list too large to stand in a task cannot hold handles, and the message says what to do.
    """
    numbers = [Promised(PROMISE), *range(INLINE_SCALARS // 4)]

    with pytest.raises(BadArgument, match="more than 16,384 numbers cannot hold handles; gather them first"):
        author(wit.List(wit.S32), numbers, Files())


@pytest.mark.parametrize("kind", [wit.BYTES, wit.STRING, wit.List(wit.F64), wit.Option(wit.BYTES)], ids=str)
def test_a_path_is_its_bytes(kind: wit.AnyType, tmp_path: Path) -> None:
    """
    A path as an argument is a link to the file's bytes as they are now.
    """
    files, path = Files(), tmp_path / "a.bin"
    path.write_bytes(b"12345678")

    assert files.load(author(kind, path, files)) == b"12345678"
    path.write_bytes(b"changed!")
    assert files.load(author(kind, path, files)) == b"changed!"
