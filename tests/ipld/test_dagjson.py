from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadCID, BadInput, HashNotAllowed, LimitExceeded, Malformed, NonCanonical, Unencodable
from ipvm_kernel.ipld import OWN, PEER, Limits
from ipvm_kernel.ipld.dagjson import dumps, loads
from tests.ipld.values import LINK, same, values

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = str(LINK)


def writable(value: Any) -> bool:
    """Return whether DAG-JSON can hold a value: the key "/" is its own."""
    match value:
        case dict():
            return "/" not in value and all(map(writable, value.values()))
        case list():
            return all(map(writable, value))
        case _:
            return True


def attempt(function: Callable[[Any], Any], argument: Any) -> Any:
    """Return what a function gives, its refusal included."""
    try:
        return function(argument)
    except BadInput as refusal:
        return refusal


@given(value=values.filter(writable))
def test_what_is_written_is_read(value: Any) -> None:
    """
    A value comes back from its text as it was, compact or indented, as text or as UTF-8.
    """
    text = dumps(value)

    assert same(loads(text), value)
    assert same(loads(text.encode(), canonical=True), value)
    assert same(loads(dumps(value, pretty=True)), value)
    assert json.loads(dumps(value, pretty=True)) == json.loads(text)


@given(value=values)
def test_any_value_is_written_whole_or_refused(value: Any) -> None:
    """
    A map with the key "/" is written if it is read back as it was, and refused otherwise.
    """
    text = attempt(dumps, value)

    assert "Rename its key '/'" in text.message if isinstance(text, BadInput) else same(loads(text), value)


@given(text=st.text(st.sampled_from('[]{}",:\\/0159.-+eE tfnulrsa\ud800\u00e9b'), max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """
    No text does anything but give a value or a refusal, and a value can be written again.
    """
    value = attempt(loads, text)

    assert value.message.isprintable() if isinstance(value, BadInput) else same(loads(dumps(value)), value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": 2, "aa": 3}, '{"a":2,"aa":3,"b":1}'),
        ({"é": 1, "z": 2, "\U00010000": 3, "\uffff": 4}, '{"z":2,"é":1,"\uffff":4,"\U00010000":3}'),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (1e-7, "1e-7"),
        (-8.940696716308594e-8, "-8.940696716308594e-8"),
        (5e-324, "5e-324"),
        (1e16, "1e+16"),
        (1e-10, "1e-10"),
        (2**64 - 1, "18446744073709551615"),
        (-(2**64), "-18446744073709551616"),
        ('a"\\\b\f\n\r\t\x00\x7f/é\u2028', '"a\\"\\\\\\b\\f\\n\\r\\t\\u0000\x7f/é\u2028"'),
        (b"", '{"/":{"bytes":""}}'),
        (b"\xff\xfe\xfd", '{"/":{"bytes":"//79"}}'),
        (b"a", '{"/":{"bytes":"YQ"}}'),
        (LINK, f'{{"/":"{TEXT}"}}'),
        ([], "[]"),
        ({}, "{}"),
        ([[], {}, [None, True, False]], "[[],{},[null,true,false]]"),
        ({"/": True}, '{"/":true}'),
        ({"/": {"bytes": 1}}, '{"/":{"bytes":1}}'),
        ({"/": {"a": 1, "bytes": "YQ"}}, '{"/":{"a":1,"bytes":"YQ"}}'),
        ({"/": LINK}, f'{{"/":{{"/":"{TEXT}"}}}}'),
        ({"!": 1, "/": "text"}, '{"!":1,"/":"text"}'),
        ({"bytes": "YQ"}, '{"bytes":"YQ"}'),
    ],
)
def test_forms(value: Any, text: str) -> None:
    """
    The canonical text: keys by their bytes, no white space, floats that stay floats.
    """
    assert dumps(value) == text
    assert same(loads(text, canonical=True), value)


def test_indented_for_people() -> None:
    """
    What people are shown keeps links and bytes on one line.
    """
    shown = dumps({"ran": LINK, "out": ["ok", b"a"], "meta": {}, "prf": []}, pretty=True)

    assert shown.splitlines() == [
        "{",
        '  "meta": {},',
        '  "out": [',
        '    "ok",',
        '    {"/": {"bytes": "YQ"}}',
        "  ],",
        '  "prf": [],',
        f'  "ran": {{"/": "{TEXT}"}}',
        "}",
    ]


def test_what_people_write_is_read() -> None:
    """
    A workflow file may be indented, and its keys may stand in any order.
    """
    text = '\r\n{ "b" : [ 1 , 2.50 ,\t"\\u00e9\\/\\ud834\\udd1e" ] ,\n "a" : { "/" : { "bytes" : "YQ" } } }\n'

    assert same(loads(text), {"b": [1, 2.5, "é/\U0001d11e"], "a": b"a"})
    with pytest.raises(NonCanonical, match="Expected the canonical text"):
        loads(text, canonical=True)


@pytest.mark.parametrize(
    "text",
    [" 1", "1 ", "[1, 2]", '{"b":1,"a":2}', '"\\u0041"', '"\\/"', "1.50", "1E5", "-0", "1e1", '"\\u000A"', '{"a" :1}'],
)
def test_only_the_canonical_text_has_the_cid(text: str) -> None:
    """
    Content that is named as dag-json has one text, as it has one CID.
    """
    value = loads(text)

    with pytest.raises(NonCanonical):
        loads(text, canonical=True)
    assert same(loads(dumps(value), canonical=True), value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1, column 1"),
        ("nul", "Expecting value"),
        ("[1,]", "line 1, column 4|line 1, column 3"),
        ('{"a":1,}', "line 1"),
        ("{'a':1}", "double quotes"),
        ("{a:1}", "double quotes"),
        ("[1] [2]", "Extra data"),
        ("01", "Extra data"),
        ("+1", "Expecting value"),
        (".5", "Expecting value"),
        ("1.", "Extra data"),
        ("0x10", "Extra data"),
        ("٣", "Expecting value"),
        ("1٣", "Extra data"),
        ('"a', "Unterminated string"),
        ('"\n"', "Invalid control character"),
        ('"\\x"', "Invalid .*escape"),
        ('"\\u12g4"', "Invalid .*escape"),
        ("// comment\n1", "Expecting value"),
        ("NaN", "found NaN, which JSON does not have. Write null instead"),
        ("[Infinity]", "found Infinity"),
        ('{"a":-Infinity}', "found -Infinity"),
        ("1e999", "64-bit float can hold, found 1e999"),
        ("-1e999", "64-bit float"),
        ("18446744073709551616", r"from -2\^64 to 2\^64-1, found 18446744073709551616. Write it with a decimal point"),
        ("-18446744073709551617", "found -18446744073709551617"),
        ("9" * 5_000, "found 9999999999"),
        ("9" * 5_000 + ".5", "64-bit float"),
        ('{"a":1,"a":1}', "key once in a map, found 'a' again"),
        ('{"a":1,"b":2,"\\u0061":3}', "found 'a' again"),
        ('[{"x":{"a":1,"a":2}}]', "found 'a' again"),
        ('{"/":"' + TEXT + '","/":"' + TEXT + '"}', "found '/' again"),
        ('"\\ud800"', "half a surrogate pair at character 0"),
        ('["a","x\\udc00"]', r"at \$\[1\], found half a surrogate pair at character 1"),
        ('{"\\ud800":1}', "at a key of"),
        ('"\\udc00\\ud800"', "half a surrogate pair"),
        ('"\ud800"', "Expected Unicode, found half a surrogate pair at character 1"),
        ("\ufeff{}", "byte order mark"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("[]".encode("utf-16"), "Expected UTF-8 at byte 0"),
        (b'"\xff"', "UTF-8 at byte 1"),
        (b'"\xed\xa0\x80"', "UTF-8 at byte 1"),
        (b'"\xc0\x80"', "UTF-8 at byte 1"),
        ('{"/":"' + TEXT + '","a":1}', "no other key beside those of a map that DAG-JSON takes for a link"),
        ('{"a":1,"/":"text"}', "takes for a link"),
        ('{"/":{"bytes":"YQ","x":1}}', "takes for bytes"),
        ('{"/":{"bytes":"YQ"},"x":1}', "takes for bytes"),
        ('{"/":{"bytes":"YQ=="}}', "base64 without padding, found 'YQ=='"),
        ('{"/":{"bytes":"YR"}}', "base64 without padding"),
        ('{"/":{"bytes":"Y"}}', "base64 without padding"),
        ('{"/":{"bytes":"Y Q"}}', "base64 without padding"),
        ('{"/":{"bytes":"Y-Q_"}}', "base64 without padding"),
        ('{"/":{"bytes":"YQ\\n"}}', "base64 without padding"),
        ('{"/":{"bytes":"é"}}', "base64 without padding"),
        ('{"/":"F' + LINK.bytes.hex().upper() + '"}', f"Write it as {TEXT}"),
    ],
)
def test_what_is_no_dag_json(text: str | bytes, words: str) -> None:
    """
    Text that other programs read in different ways is refused, with the place or the words that are wrong.
    """
    with pytest.raises(Malformed, match=words) as refused:
        loads(text)
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"/":"text"}', BadCID),
        ('{"/":""}', BadCID),
        ('{"/":"' + TEXT.upper() + '"}', Malformed),
        ('{"/":"' + TEXT + '="}', BadCID),
        ('{"/":" ' + TEXT + '"}', BadCID),
        ('{"/":"bafkqbaia' + "a" * 10 + '"}', BadInput),
        ('{"/":"' + "b" + "a" * 2_000 + '"}', BadCID),
        ('{"/":"bafkreaa"}', HashNotAllowed),
    ],
)
def test_a_link_is_a_cid(text: str, error: type[Exception]) -> None:
    """
    The map with the one key "/" is a link, never a map with a text in it.
    """
    with pytest.raises(error):
        loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2.0**64),
        ("18446744073709552000", 18446744073709552000.0),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", -(2.0**63)),
        ("100000000000000000000000000", 1e26),
        ("-0", -0.0),
        ("0", 0),
        ("-1", -1),
    ],
)
def test_numbers_as_homestar_reads_them(text: str, value: float) -> None:
    """
    Homestar's workflow files keep their published CIDs: an integer that fits no 64 bits is a float there.
    """
    assert same(loads(text, large_ints_as_floats=True), value)


def test_numbers_too_large_even_for_homestar() -> None:
    """
    A number that no float can hold is refused in either way of reading.
    """
    with pytest.raises(Malformed, match="64-bit float"):
        loads("1" + "0" * 400, large_ints_as_floats=True)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ({"/": "text"}, Unencodable, "takes for a link"),
        ({"/": "text", "a": 1}, Unencodable, "takes for a link"),
        ([{"/": {"bytes": "YQ"}}], Unencodable, "takes for bytes"),
        ({"/": {"bytes": "YQ", "x": 1}, "y": 2}, Unencodable, "takes for bytes"),
        ({"a": [math.nan]}, Unencodable, r"finite float at \$\.a\[0\]"),
        ({"a": [2**64]}, Unencodable, r"at \$\.a\[0\]"),
        ({"a": (1,)}, Unencodable, r"found tuple"),
        ({1: 1}, Unencodable, r"keys of type str"),
        ({1: 1, "a": 2}, Unencodable, r"keys of type str"),
        (["\ud800"], Unencodable, "half a surrogate pair"),
        ({"\ud800": 1}, Unencodable, "half a surrogate pair"),
    ],
)
def test_what_cannot_be_written(value: Any, error: type[Exception], words: str) -> None:
    """
    A value that DAG-JSON would read as another is refused instead of written.
    """
    with pytest.raises(error, match=words):
        dumps(value)


def nested(depth: int, left: str = "[", right: str = "]") -> str:
    return left * depth + right * depth


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        (nested(129), OWN),
        (nested(100_000), OWN),
        ("[" * 3_000_000, OWN),
        (nested(100_000, '{"a":', "}"), OWN),
        ('[{"a":' * 100_000, OWN),
        (nested(131, '["]",', "]"), OWN),
        (nested(3), Limits(100, 2, 100)),
        ("[" + "{}," * 600_000 + "{}]", PEER),
        ("[" + "1," * 100_000 + "1]", PEER),
        ('"' + "x" * 2**21 + '"', PEER),
        (b'"' + b"x" * 2**21 + b'"', PEER),
        ('"' + "é" * 2**20 + '"', PEER),
    ],
    ids=range(12),
)
def test_bombs(text: str | bytes, limits: Limits) -> None:
    """
    Text that is too deep, too long or too much is refused before anything is built from it.
    """
    began = time.process_time()
    with pytest.raises(LimitExceeded):
        loads(text, limits)

    assert time.process_time() - began < 0.2


@pytest.mark.parametrize(
    "text",
    ['"' + '\\"' * 1_000_000, '"' + "\\" * 1_000_001, '["' * 500_000, "[" + '"",' * 300_000 + '"', '"' * 1_000_001],
    ids=range(5),
)
def test_unfinished_strings(text: str) -> None:
    """
    Quotes and backslashes without end cost no more than their length.
    """
    began = time.process_time()
    with pytest.raises(BadInput):
        loads("[" * 130 + text)

    assert time.process_time() - began < 0.5


def test_brackets_in_strings_are_text() -> None:
    """
    A text about JSON is a text.
    """
    texts = ["[" * 500, '"[[{' * 200, "\\" * 301 + "[" * 300, "{" * 10_000]

    assert loads(dumps(texts)) == texts
    assert same(loads(nested(128)), json.loads(nested(128)))


@pytest.mark.parametrize("innermost", [LINK, b"bytes", 1, "text"], ids=str)
def test_depth_of_what_is_written(innermost: Any) -> None:
    """
    What can be written can be read: the brackets of a link or of bytes do not count.
    """
    value = innermost
    for _ in range(128):
        value = [value]

    assert same(loads(dumps(value)), value)
    with pytest.raises(LimitExceeded, match="no deeper"):
        dumps([value])
    with pytest.raises(LimitExceeded, match=r"no deeper|128 deep"):
        loads(f"[{dumps(value)}]")
