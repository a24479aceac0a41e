from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wasmtime.component import Variant

from ipvm_kernel.toolchains import c, glue_c, glue_zig, world, zig
from tests.toolchains.guest import Guest, plain, record

pytestmark = pytest.mark.peer("zig", "wasm-tools")

DECLARED = """
enum colour { red, dark-blue, error }
record point { x: f64, y: f32 }
record one { value: s8 }
record shape { name: string, filled: bool, corners: list<point>, colour: option<colour>, %list: list<u16>, id: u64 }
"""

INTEGERS = {f"{sign}{bits}": (sign, bits) for sign in "su" for bits in (8, 16, 32, 64)}


def extremes(kind: str) -> list[int]:
    sign, bits = INTEGERS[kind]
    return [0, 1, -(2 ** (bits - 1)), -1, 2 ** (bits - 1) - 1] if sign == "s" else [0, 1, 2 ** (bits - 1), 2**bits - 1]


POINT = record(x=1.5, y=-0.25)
SHAPE = record(
    name="häuser 🏠",
    filled=True,
    corners=[POINT, record(x=-0.0, y=3.0)],
    colour="dark-blue",
    list=[1, 65535],
    id=2**64 - 1,
)
BARE = record(name="", filled=False, corners=[], colour=None, list=[], id=0)

# WIT type: values that must come back as they went in.
ECHOES: dict[str, list[Any]] = {
    **{kind: [*extremes(kind)] for kind in INTEGERS},
    "f32": [0.0, 1.5, -math.inf, 3.4028234663852886e38, 1.401298464324817e-45],
    "f64": [0.0, -0.1, math.inf, 5e-324, 1.7976931348623157e308],
    "bool": [True, False],
    "char": ["a", "é", "🏠", "\0", "\U0010ffff"],
    "string": ["", "plain", "häuser 🏠", "a\0b", "x" * 100_000],
    "list<u8>": [b"", b"\0\xff", bytes(range(256)) * 4],
    **{f"list<{kind}>": [[], extremes(kind)] for kind in INTEGERS if kind != "u8"},
    "list<f32>": [[], [0.5, -2.0]],
    "list<f64>": [[], [0.1, -1e300, 2.0]],
    "list<bool>": [[], [True, False, True]],
    "list<char>": [[], ["a", "🏠"]],
    "list<string>": [[], ["", "one", "zwölf"]],
    "list<list<u16>>": [[], [[]], [[1, 2, 3], [], [65535]]],
    "list<colour>": [[], ["error", "red", "dark-blue"]],
    "list<point>": [[], [POINT, POINT]],
    "list<shape>": [[SHAPE, BARE]],
    "list<option<string>>": [[None, "", "x"]],
    "list<tuple<u8, string>>": [[(1, "a"), (2, "")]],
    "colour": ["red", "dark-blue", "error"],
    "point": [POINT],
    "one": [record(value=-128)],
    "shape": [SHAPE, BARE],
    "option<u8>": [None, 0, 255],
    "option<f64>": [None, -0.5],
    "option<bool>": [None, False, True],
    "option<string>": [None, "", "x"],
    "option<list<f64>>": [None, [], [1.0]],
    "option<point>": [None, POINT],
    "option<colour>": [None, "red"],
    "result<u32, string>": [7, "no"],
    "result<string, u32>": ["yes", 7],
    "result<f32, u64>": [1.5, 2**64 - 1],
    "result<f64, f32>": [Variant("ok", -2.5), Variant("err", 1.25)],
    "result<s8, s64>": [Variant("ok", -128), Variant("err", -(2**63))],
    "result<point, colour>": [POINT, "error"],
    "result<list<u8>, string>": [b"\1\2", "no"],
    "result<u8>": [7, None],
    "result<_, string>": [None, "no"],
    "result": [Variant("ok"), Variant("err")],
    "tuple<u8>": [(255,)],
    "tuple<u8, f64, string>": [(1, 2.5, "x")],
    "tuple<tuple<u8, bool>, char>": [((1, True), "a")],
}

NAMES = {kind: f"echo{number}" for number, kind in enumerate(ECHOES)}

WIT = DECLARED + "".join(f"export {name}: func(value: {kind}) -> {kind};\n" for kind, name in NAMES.items())
WIT += """
export nothing: func();
export many: func(a: u8, b: string, c: f32, d: list<u8>, e: option<u64>, f: bool, g: s64, h: f64) -> string;
export too-many: func(
    a: u8, b: string, c: f32, d: shape, e: option<u64>, f: bool, g: s64, h: f64, i: list<string>, j: char
) -> shape;
"""

MANY_ZIG = """
pub fn nothing() void {}
pub fn many(a: u8, b: []const u8, c: f32, d: []const u8, e: ?u64, f: bool, g: i64, h: f64) []const u8 {
    return std.fmt.allocPrint(
        ipvm.allocator,
        "{d} {s} {d} {any} {?d} {} {d} {d}",
        .{ a, b, c, d, e, f, g, h },
    ) catch @panic("memory");
}
pub fn too_many(
    a: u8, b: []const u8, c: f32, d: ipvm.Shape, e: ?u64, f: bool, g: i64, h: f64, i: []const []const u8, j: u21,
) ipvm.Shape {
    var changed = d;
    changed.id = a + b.len + e.? + @as(u64, @intCast(g)) + @as(u64, @intFromFloat(c + h)) + i.len + i[1].len + j;
    changed.filled = f;
    return changed;
}
"""

MANY_C = """
void nothing(void) {}
ipvm_str many(
    uint8_t a, ipvm_str b, float c, ipvm_bytes d, ipvm_option_u64 e, bool f, int64_t g, double h
) {
    bool right = a == 1 && b.len == 2 && c == 1.5 && d.len == 2 && d.ptr[1] == 9 && e.some && e.value == 5 && f
        && g == -1 && h == 0.25;
    return right ? IPVM_TEXT("1 hi 1.5 { 8, 9 } 5 true -1 0.25") : IPVM_TEXT("wrong");
}
ipvm_shape too_many(
    uint8_t a, ipvm_str b, float c, ipvm_shape d, ipvm_option_u64 e, bool f, int64_t g, double h,
    ipvm_list_str i, uint32_t j
) {
    d.id = a + b.len + e.value + g + (uint64_t)(c + h) + i.len + i.ptr[1].len + j;
    d.filled = f;
    return d;
}
"""


def zig_echoes() -> str:
    head = 'const std = @import("std");\nconst ipvm = @import("ipvm");\n'
    kinds = [function.result for function in world.parse(WIT).functions[: len(NAMES)]]
    return (
        head
        + MANY_ZIG
        + "".join(
            f"pub fn {name}(value: {glue_zig.spelled(kind)}) {glue_zig.spelled(kind)} {{ return value; }}\n"
            for name, kind in zip(NAMES.values(), kinds, strict=True)
        )
    )


def c_echoes() -> str:
    kinds = [function.result for function in world.parse(WIT).functions[: len(NAMES)]]
    return (
        '#include "ipvm.h"\n'
        + MANY_C
        + "".join(
            f"{glue_c.spelled(kind)} {name}({glue_c.spelled(kind)} value) {{ return value; }}\n"
            for name, kind in zip(NAMES.values(), kinds, strict=True)
        )
    )


@pytest.fixture(scope="module")
def zig_guest() -> Guest:
    return Guest(zig.build(zig_echoes(), WIT))


@pytest.fixture(scope="module")
def c_guest() -> Guest:
    return Guest(c.build(c_echoes(), WIT))


@pytest.fixture(params=["zig", "c"])
def guest(request: pytest.FixtureRequest) -> Guest:
    made = request.getfixturevalue(f"{request.param}_guest")
    assert isinstance(made, Guest)
    return made


@pytest.mark.parametrize("kind", ECHOES)
def test_a_value_comes_back_as_it_went_in(guest: Guest, kind: str) -> None:
    """
    Each type that a world may name passes into a cell and out of it unchanged, at its extremes too.
    """
    for value in ECHOES[kind]:
        answer = guest.call(NAMES[kind], value)

        assert type(answer) is type(value)
        assert plain(answer) == plain(value)
        if isinstance(value, float):
            assert struct.pack("<d", answer) == struct.pack("<d", value)


def test_negative_zero_and_nan_keep_their_meaning(guest: Guest) -> None:
    """
    -0.0 stays negative, and NaN stays NaN.
    """
    assert math.copysign(1, guest.call(NAMES["f64"], -0.0)) == -1
    assert math.isnan(guest.call(NAMES["f32"], math.nan))


def test_parameters_keep_their_order(guest: Guest) -> None:
    """
    A function of many parameters gets each of them in its place.
    """
    answer = guest.call("many", 1, "hi", 1.5, b"\x08\x09", 5, True, -1, 0.25)

    assert answer == "1 hi 1.5 { 8, 9 } 5 true -1 0.25"


def test_more_parameters_than_core_functions_have(guest: Guest) -> None:
    """
    Beyond sixteen core values the parameters come in memory; a cell does not see the difference.
    """
    answer = guest.call("too-many", 1, "two", 0.5, BARE, 100, True, 1000, 2.0, ["", "four"], "A")

    assert plain(answer) == {**plain(BARE), "id": 1 + 3 + 100 + 1000 + 2 + 2 + 4 + 65, "filled": True}


def test_a_function_of_nothing(guest: Guest) -> None:
    """
    Neither parameters nor a result are needed.
    """
    assert guest.call("nothing") is None


@given(st.lists(st.text(max_size=20), max_size=8))
def test_any_text(zig_guest: Guest, c_guest: Guest, texts: list[str]) -> None:
    """
    No text is too strange to pass.
    """
    assert zig_guest.call(NAMES["list<string>"], texts) == texts
    assert c_guest.call(NAMES["list<string>"], texts) == texts


@given(st.lists(st.lists(st.integers(0, 65535), max_size=6), max_size=6))
def test_any_lists_of_lists(zig_guest: Guest, c_guest: Guest, lists: list[list[int]]) -> None:
    """
    Lists may hold lists.
    """
    assert zig_guest.call(NAMES["list<list<u16>>"], lists) == lists
    assert c_guest.call(NAMES["list<list<u16>>"], lists) == lists


def test_a_module_asks_for_nothing(guest: Guest) -> None:
    """
    A cell that does not log needs nothing from its host.
    """
    assert guest.imports == []


def test_names_that_the_languages_keep_for_themselves() -> None:
    """
    Functions, parameters and fields may be called what a language keeps for itself; the signature says how to write it.
    """
    wit = """
    record default { error: u8, int: u8 }
    export fn: func(var: default, int: u8, %u8: u8) -> u8;
    export main: func() -> u8;
    """
    fn, main = world.parse(wit).functions
    in_zig = Guest(
        zig.build(
            f'const ipvm = @import("ipvm");\n{glue_zig.signature(fn)} {{ return @"var".@"error" + int + @"u8"; }}\n'
            f"{glue_zig.signature(main)} {{ return 7; }}\n",
            wit,
        )
    )
    in_c = Guest(
        c.build(
            f'#include "ipvm.h"\n{glue_c.signature(fn)} {{ return var.error + int_ + u8; }}\n'
            f"{glue_c.signature(main)} {{ return 7; }}\n",
            wit,
        )
    )

    assert in_zig.call("fn", record(error=1, int=0), 2, 3) == in_c.call("fn", record(error=1, int=0), 2, 3) == 6
    assert in_zig.call("main") == in_c.call("main") == 7


@pytest.mark.parametrize("name", ["std", "panic", "abi", "cell", "start", "memcpy", "exp"])
def test_names_that_the_glue_uses_too(name: str) -> None:
    """
    A function may be called like something inside the glue or the compiler's library.
    """
    wit = f"export {name}: func(x: f64) -> f64;"
    in_zig = Guest(zig.build(f"pub fn {name}(x: f64) f64 {{ return x + 1; }}", wit))
    in_c = Guest(c.build(f'#include "ipvm.h"\ndouble {name}(double x) {{ return x + 1; }}', wit))

    assert in_zig.call(name, 1.5) == in_c.call(name, 1.5) == 2.5


def test_types_that_c_could_not_tell_apart_are_refused() -> None:
    """
    Where two types would have one name in C, the world is refused instead of mixed up.
    """
    wit = "record u8-x { a: u8 } record x { b: u8 } record y-u8 { c: u8 }\n"
    wit += "export f: func(a: tuple<y-u8, x>);\nrecord y { d: u8 }\nexport g: func(a: tuple<y, u8-x>);"

    with pytest.raises(Exception, match="would both be ipvm_tuple2_y_u8_x in C"):
        c.build("", wit)
