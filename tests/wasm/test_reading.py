"""From the wire into a guest: every row of what `homestar-wasm/src/wasmtime/ipld.rs` reads, and the strict reading."""

from __future__ import annotations

from typing import Any

import pytest

from ipvm_kernel.errors import BadArgument, BrokenPromise
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Awaited
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.lowering import lower, unwrap
from ipvm_kernel.wasm.scalars import packed
from tests.wasm.generated import BLAKE3, CIDV0, LINK
from tests.wasm.guests import Files

PAIRS = wit.List(wit.Tuple((wit.STRING, wit.STRING)))
COUNTS = wit.List(wit.Tuple((wit.STRING, wit.U32)))
PAIR = wit.Tuple((wit.S32, wit.STRING))
RECORD = wit.Record((wit.Field("foo-bar-baz", wit.S32), wit.Field("b", wit.STRING)))
MAYBE = wit.Record((wit.Field("a", wit.Option(wit.U32)),))
VARIANT = wit.Variant((wit.Case("foo-bar-baz", wit.S32), wit.Case("B", wit.U32), wit.Case("C", None)))
ENUM = wit.Enum(("foo-bar-baz", "b"))
FLAGS = wit.Flags(("foo-bar-baz", "B", "C"))
TEXT = wit.Option(wit.STRING)
NEST = wit.Option(wit.Option(wit.U32))
EITHER = wit.Result(wit.U32, wit.STRING)
BARE = wit.Result(None, None)
OK_ONLY = wit.Result(wit.STRING, None)
ERR_ONLY = wit.Result(None, wit.STRING)
FALLIBLE = wit.Result(wit.Option(wit.U32), wit.Option(wit.U32))

# Read the same whether they are literals or awaited.
BOTH: list[tuple[wit.AnyType, Any, Any]] = [
    (wit.BOOL, False, False),
    (wit.U8, 8, 8),
    (wit.U16, 8829, 8829),
    (wit.U64, 2**64 - 1, 2**64 - 1),
    (wit.S8, -128, -128),
    (wit.S64, -(2**63), -(2**63)),
    (wit.U8, 5.0, 5),
    (wit.F32, 3883.2, 3883.199951171875),
    (wit.F32, 3.4028235e38, 3.4028234663852886e38),
    (wit.F32, 5, 5.0),
    (wit.F64, 5, 5.0),
    (wit.F64, -0.0, -0.0),
    (wit.CHAR, "!", "!"),
    (wit.CHAR, "\U0001f600", "\U0001f600"),
    (wit.STRING, "Hello!", "Hello!"),
    (wit.STRING, None, "null"),
    (wit.STRING, b"hell0", "aGVsbDA"),
    (wit.STRING, LINK, LINK),
    (ENUM, "b", 1),
    (FLAGS, ["C", "foo-bar-baz"], 0b101),
    (FLAGS, [], 0),
    (wit.BYTES, b"hell0", b"hell0"),
    (wit.BYTES, [104, 101, 108, 108, 48], b"hell0"),
    (wit.BYTES, [], b""),
    (wit.List(wit.S64), [22, 32], packed(wit.S64, [22, 32])),
    (wit.List(wit.F64), [1, 2.5], packed(wit.F64, [1.0, 2.5])),
    (wit.List(wit.BOOL), [True, False], b"\1\0"),
    (wit.List(wit.List(wit.STRING)), [["a"], ["b"]], [["a"], ["b"]]),
    (wit.Tuple((wit.S32, wit.STRING, wit.BOOL)), [22, "Hello!", True], (22, "Hello!", True)),
    (TEXT, None, None),
    (TEXT, "Hello!", ("Hello!",)),
    (TEXT, "null", ("null",)),
    (NEST, None, None),
    (NEST, {"some": None}, (None,)),
    (NEST, 5, ((5,),)),
    (EITHER, [7, None], (0, 7)),
    (EITHER, [None, "bad stuff"], (1, "bad stuff")),
    (BARE, [1, None], (0, None)),
    (BARE, [None, 1], (1, None)),
    (OK_ONLY, ["Hello!", None], (0, "Hello!")),
    (OK_ONLY, [None, 1], (1, None)),
    (ERR_ONLY, [1, None], (0, None)),
    (ERR_ONLY, [None, "Hello!"], (1, "Hello!")),
    (FALLIBLE, {"ok": None}, (0, None)),
    (FALLIBLE, {"err": None}, (1, None)),
    (FALLIBLE, [3, None], (0, (3,))),
    (RECORD, {"foo-bar-baz": -22, "b": "Hello!"}, (-22, "Hello!")),
    (MAYBE, {"a": None}, (None,)),
    (VARIANT, {"B": 22}, (1, 22)),
    (VARIANT, {"foo-bar-baz": -22}, (0, -22)),
    (VARIANT, {"C": None}, (2, None)),
    (PAIRS, {"test": "Hello!", "test1": "Hello!"}, [("test", "Hello!"), ("test1", "Hello!")]),
    (PAIRS, {}, []),
    (PAIRS, [["b", "1"], ["a", "2"], ["a", "3"]], [("b", "1"), ("a", "2"), ("a", "3")]),
    (COUNTS, {"b": 2, "a": 1}, [("a", 1), ("b", 2)]),  # Homestar reads values by the type of keys, and fails
    (wit.List(wit.Tuple((wit.U8, wit.U8))), {}, []),  # its form of an empty list of any tuples
]

# A literal is read as Homestar reads it; an awaited value that would lose something is an error.
LITERAL: list[tuple[wit.AnyType, Any, Any]] = [
    (wit.S32, 1.9, 1),
    (wit.S32, -1.9, -1),
    (wit.U8, 300.5, 255),
    (wit.U8, -3.5, 0),
    (wit.U64, 1e30, 2**64 - 1),
    (wit.S8, 1e9, 127),
    (wit.F32, 2**63 + 1, 9223372036854775808.0),
    (wit.F64, 2**63 + 1, 9223372036854775808.0),
    (PAIR, [1, "a", True], (1, "a")),
    (RECORD, {"foo-bar-baz": 1, "b": "c", "more": 1}, (1, "c")),
    (VARIANT, {"C": 1}, (2, None)),
    (VARIANT, {"C": None, "B": 1}, (1, 1)),  # the first key of the sorted map
    (wit.S32, [5, "x"], 5),
    (wit.S32, [[5]], 5),
    (wit.STRING, [None], "null"),
    (wit.BOOL, [], False),
    (wit.BOOL, [True, False], True),
    (ENUM, ["b"], 1),
    (RECORD, [{"foo-bar-baz": 1, "b": "c"}], (1, "c")),
    (wit.Option(wit.S32), [7], (7,)),
    (FALLIBLE, [None, None], (0, None)),  # which Homestar writes for both, and reads as ok
    (OK_ONLY, [None, None], (0, "null")),
    (ERR_ONLY, [None, None], (1, "null")),
    (BARE, [None, None], (0, None)),
    (ERR_ONLY, [5, None], (0, None)),
]

REFUSED: list[tuple[wit.AnyType, Any]] = [
    (wit.BOOL, 1),
    (wit.BOOL, "true"),
    (wit.BOOL, None),
    (wit.S32, True),
    (wit.S32, 2**40),
    (wit.S32, "1"),
    (wit.S32, None),
    (wit.U8, -1),
    (wit.U64, 2**64),
    (wit.S64, 1.5),  # alone among the integers, Homestar casts no float to it
    (wit.F64, "1.0"),
    (wit.F64, True),
    (wit.F32, 1e300),
    (wit.F32, 3.5e38),
    (wit.CHAR, ""),
    (wit.CHAR, "ab"),
    (wit.CHAR, "\ud800"),
    (wit.STRING, 5),
    (wit.STRING, "\udfff"),
    (wit.STRING, {"a": 1}),
    (ENUM, "c"),
    (ENUM, 0),
    (FLAGS, ["C", "nope"]),
    (FLAGS, "C"),
    (wit.BYTES, "hell0"),
    (wit.BYTES, [256]),
    (wit.BYTES, [1.5, "a"]),
    (wit.List(wit.S8), b"bytes"),
    (wit.List(wit.STRING), "text"),
    (wit.List(wit.STRING), {"a": "b"}),
    (PAIR, [1]),
    (PAIR, {"a": 1}),
    (RECORD, {"b": "x"}),
    (RECORD, 5),
    (MAYBE, {}),  # an option of a record is not left out on the wire
    (VARIANT, {}),
    (VARIANT, {"D": 1}),
    (VARIANT, "C"),
    (EITHER, [1, 2]),
    (EITHER, [1]),
    (EITHER, 5),
    (EITHER, [None, 1]),  # as Homestar, whose own err(none) does not go through this type
    (wit.Opaque("own"), 1),
    (wit.List(wit.Tuple((wit.U8, wit.U8))), {"a": 1}),
]


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(("kind", "wire", "value"), BOTH)
def test_reading(kind: wit.AnyType, wire: Any, value: Any, awaited: bool) -> None:
    """
    A value on the wire means to a guest what it means to Homestar's.
    """
    found = lower(kind, wire, Files().load, awaited=awaited)

    assert repr(found) == repr(value)


@pytest.mark.parametrize(("kind", "wire", "value"), LITERAL)
def test_literals_bend_as_in_homestar(kind: wit.AnyType, wire: Any, value: Any) -> None:
    """
    A workflow file that came from elsewhere runs as it does on a Homestar node, casts and all.
    """
    found = lower(kind, wire, Files().load)

    assert repr(found) == repr(value)


@pytest.mark.parametrize(("kind", "wire"), [(kind, wire) for kind, wire, _ in LITERAL])
def test_awaited_values_never_bend(kind: wit.AnyType, wire: Any) -> None:
    """
    What one task hands to the next is not cut, rounded or dropped behind anybody's back.
    """
    with pytest.raises(BadArgument):
        lower(kind, wire, Files().load, awaited=True)


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(("kind", "wire"), REFUSED)
def test_refused(kind: wit.AnyType, wire: Any, awaited: bool) -> None:
    """
    What does not fit is refused, and the message says what was expected.
    """
    with pytest.raises(BadArgument, match="expected"):
        lower(kind, wire, Files().load, awaited=awaited)


@pytest.mark.parametrize(
    ("kind", "wire", "message"),
    [
        (wit.S32, 2**40, "expected s32, found an integer 1099511627776"),
        (wit.List(wit.U8), [1, 2, 999], "[2]: expected u8, found an integer 999"),
        (wit.List(RECORD), [{"foo-bar-baz": True, "b": ""}], "[0].foo-bar-baz: expected s32, found a bool True"),
        (wit.Option(EITHER), [5, None, 1], f".some: expected {EITHER}, found a list"),
        (EITHER, ["x", None], ".ok: expected u32, found text 'x'"),
        (VARIANT, {"B": "\x1b[31m"}, ".B: expected u32, found text '\\x1b[31m'"),
        (RECORD, {"b": "x"}, f"expected {RECORD}, found a map without 'foo-bar-baz'"),
        (PAIRS, {"k": 5}, ".k[1]: expected string, found an integer 5"),
    ],
)
def test_messages_name_the_place(kind: wit.AnyType, wire: Any, message: str) -> None:
    """
    An error inside a value says where, and shows nothing that a terminal would act on.
    """
    with pytest.raises(BadArgument) as caught:
        lower(kind, wire, Files().load)

    assert caught.value.message == message


def test_long_texts_are_cut_in_messages() -> None:
    """
    A megabyte in the wrong place does not become a megabyte of message.
    """
    with pytest.raises(BadArgument) as caught:
        lower(wit.S32, "x" * 1_000_000, Files().load)

    assert len(caught.value.message) < 150


# --- links ------------------------------------------------------------------------------------------------------------


def test_a_literal_link_means_its_content() -> None:
    """
    A link among the arguments stands for what it leads to: bytes as bytes, as base64 where text is taken, a value as itself.
    """
    files, value = Files(), CID.parse(LINK)
    data = files.keep(b"hell0")
    files.kept[value] = {"foo-bar-baz": 3, "b": "c"}

    assert lower(wit.BYTES, data, files.load) == b"hell0"
    assert lower(wit.STRING, data, files.load) == "aGVsbDA"
    assert lower(wit.Option(wit.STRING), data, files.load) == ("aGVsbDA",)
    assert lower(wit.List(wit.STRING), [data, "x"], files.load) == ["aGVsbDA", "x"]
    assert lower(RECORD, value, files.load) == (3, "c")


@pytest.mark.parametrize("text", [LINK, CIDV0, BLAKE3])
def test_an_awaited_link_stays_a_link(text: str) -> None:
    """
    A task that answers with the text of a CID hands on that text, not what it names.
    """
    assert lower(wit.STRING, CID.parse(text), Files().load, awaited=True) == text
    assert lower(wit.STRING, Awaited(CID.parse(text)), Files().load) == text


@pytest.mark.parametrize("awaited", [False, True])
def test_a_link_for_numbers_is_their_bytes(awaited: bool) -> None:
    """
    Large arrays travel as links to raw little-endian bytes, as literals and between tasks.
    """
    files = Files()
    data = packed(wit.F64, [1.0, 2.5])

    assert lower(wit.List(wit.F64), files.keep(data), files.load, awaited=awaited) == data
    assert lower(wit.Option(wit.List(wit.F64)), files.keep(data), files.load, awaited=awaited) == (data,)


@pytest.mark.parametrize(
    ("element", "data", "words"), [(wit.F64, b"1234567", "8 bytes an element"), (wit.BOOL, b"\0\2", "bytes of 0 and 1")]
)
def test_bytes_that_are_no_such_numbers(element: wit.AnyType, data: bytes, words: str) -> None:
    """
    A file whose bytes cannot be the numbers that a function takes is refused, and the message says why.
    """
    files = Files()

    with pytest.raises(BadArgument, match=words):
        lower(wit.List(element), files.keep(data), files.load)


# --- promises ---------------------------------------------------------------------------------------------------------


def test_a_result_is_unwrapped_for_its_consumer() -> None:
    """
    A pipeline goes through functions that may fail: the consumer gets the value, or the whole pair if it takes a result.
    """
    promised = Awaited([7, None], "ok", fallible=True)

    assert unwrap(wit.U32, promised) == 7
    assert unwrap(EITHER, promised) == [7, None]
    assert lower(EITHER, promised, Files().load) == (0, 7)
    assert lower(wit.Option(wit.U32), Awaited({"ok": None}, "ok", fallible=True), Files().load) is None


def test_an_err_breaks_the_promise() -> None:
    """
    A consumer of the ok value of a function that answered `err` does not run.
    """
    with pytest.raises(BrokenPromise) as caught:
        unwrap(wit.U32, Awaited([None, "bad stuff"], "ok", fallible=True))

    assert caught.value.error == "bad stuff"


@pytest.mark.parametrize(
    ("kind", "payload", "wire"),
    [
        (wit.STRING, {"kind": "trap", "message": "gave up"}, "gave up"),
        (wit.STRING, "bad stuff", "bad stuff"),
        (wit.Record((wit.Field("kind", wit.STRING),)), {"kind": "x"}, {"kind": "x"}),
        (wit.U32, 5, 5),
    ],
)
def test_an_awaited_error(kind: wit.AnyType, payload: Any, wire: Any) -> None:
    """
    Whoever takes the error of a task gets its message as text, or its payload as it is.
    """
    assert unwrap(kind, Awaited(payload, "error")) == wire


@pytest.mark.parametrize(
    ("kind", "promised", "value"),
    [
        (EITHER, ["ok", 7], (0, 7)),
        (EITHER, ["error", {"kind": "trap", "message": "gave up"}], (1, "gave up")),
        (wit.Result(wit.Option(wit.U32), wit.STRING), ["ok", None], (0, None)),
        (wit.Result(wit.STRING, None), ["ok", None], (0, "null")),
        (BARE, ["ok", 7], (0, None)),
        (BARE, ["error", {"message": "x"}], (1, None)),
        (wit.Tuple((wit.STRING, wit.U32)), ["ok", 7], ("ok", 7)),
    ],
)
def test_an_awaited_outcome(kind: wit.AnyType, promised: Any, value: Any) -> None:
    """
    Whoever takes a task's outcome as a result gets ok and error as its two sides.
    """
    assert lower(kind, Awaited(promised, "*"), Files().load) == value
