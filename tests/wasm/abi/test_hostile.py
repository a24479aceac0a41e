"""Guests that lie to the canonical ABI: each has trapped, in one line, as it has through the engine; the kernel lives."""

from __future__ import annotations

import ast
from typing import NamedTuple

import pytest

from ipvm_kernel.wasm.limits import Limits
from tests.wasm.abi.twins import Twins, end
from tests.wasm.child import in_a_child
from tests.wasm.guests import MEMORY, component, lifted, loaded
from tests.wasm.worlds import HELPERS, RANDOM, guest, log_guest

FORBIDDEN = "trap, own: the guest answered with a value that its own type does not allow"
GAVE_UP = "trap, own: the guest gave up: it reached an `unreachable` instruction"
BEYOND = "trap, own: the guest reached beyond its memory"
UNKNOWN = "trap, not own: the guest did what the engine does not allow"
STARVED = "limit, not own: the fuel ran out: 100,000"

TOP = 0xFFFF_FFFF
PAGE = 0x1_0000
TYPES = (
    '(type $e (enum "a" "b")) (export $enum "t-e" (type $e))'
    '(type $v (variant (case "a" u32) (case "b"))) (export $variant "t-v" (type $v))'
    '(type $f (flags "a" "b" "c")) (export $flags "t-f" (type $f))'
    '(type $r (record (field "a" u8) (field "b" u64))) (export $record "t-r" (type $r))'
    f"(type $w (enum {' '.join(f'{chr(34)}c{i}{chr(34)}' for i in range(300))}))"
    ' (export $wide "t-w" (type $w))'
)


class Lie(NamedTuple):
    """What a guest does, and how its call ends.

    Attributes:
        gives: The type of its answer.
        body: The code of its function.
        ends: How the call ends.
        data: What lies in its memory.
        encoding: How its texts are encoded.
    """

    gives: str
    body: str
    ends: str = FORBIDDEN
    data: str = ""
    encoding: str = "utf8"


def at(place: int, length: int, where: int = 16) -> str:
    """Return code that answers with a list or text that is said to be at a place and of a length."""
    return (
        f"(i32.store (i32.const {where}) (i32.const {place})) "
        f"(i32.store offset=4 (i32.const {where}) (i32.const {length})) (i32.const {where})"
    )


def answers(value: int) -> str:
    """Return code that answers with a number."""
    return f"(i32.const {value})"


def byte(value: int) -> str:
    """Return code that answers with a place at which there is a byte."""
    return f"(i32.store8 (i32.const 16) (i32.const {value})) (i32.const 16)"


LIES = {
    # a list or text that is not there
    "list at the top": Lie("(list u8)", at(TOP, 1)),
    "list of the top": Lie("(list u8)", at(0, TOP)),
    "list around the top": Lie("(list u8)", at(TOP, TOP)),
    "list across the end": Lie("(list u8)", at(PAGE - 1, 2)),
    "nothing at the end": Lie("(list u8)", at(PAGE, 0), "b''"),
    "nothing past the end": Lie("(list u8)", at(PAGE + 1, 0)),
    "nothing at the top": Lie("(list u8)", at(TOP, 0)),
    "nothing at zero": Lie("(list u8)", at(0, 0), "b''"),
    "list at zero": Lie("(list u8)", at(0, 4), "b'\\x00\\x00\\x00\\x00'"),
    "list as large as all memory": Lie("(list u64)", at(0, PAGE // 8 + 1)),
    "list whose bytes pass 32 bits": Lie("(list u64)", at(0, 1 << 29)),
    "list whose bytes come to nothing": Lie("(list u64)", at(8, 1 << 30)),
    "list of records whose bytes pass 32 bits": Lie("(list $record)", at(0, 1 << 28)),
    "text across the end": Lie("string", at(PAGE - 1, 2)),
    "text at the top": Lie("string", at(TOP, TOP)),
    "list of texts, the last not there": Lie(
        "(list string)", at(64, 2), data=r'(data (i32.const 64) "\00\00\00\00\01\00\00\00\ff\ff\ff\ff\01\00\00\00")'
    ),
    "list of lists, one of the top": Lie(
        "(list (list u8))", at(64, 2), data=r'(data (i32.const 64) "\00\00\00\00\01\00\00\00\00\00\00\00\ff\ff\ff\ff")'
    ),
    "list that holds itself": Lie(
        "(list (list u8))",
        at(64, 2),
        "[b'@\\x00\\x00\\x00\\x08\\x00\\x00\\x00', b'@']",
        data=r'(data (i32.const 64) "\40\00\00\00\08\00\00\00\40\00\00\00\01\00\00\00")',
    ),
    # what is not aligned
    "list of u16 at an odd place": Lie("(list u16)", at(65, 2)),
    "list of u64 at a place of u32": Lie("(list u64)", at(68, 1)),
    "empty list at an odd place": Lie("(list u64)", at(1, 0)),
    "list of records at an odd place": Lie("(list $record)", at(68, 1)),
    "list of texts at an odd place": Lie("(list string)", at(66, 1)),
    "chars at an odd place": Lie("(list char)", at(66, 1)),
    # a return area that is none
    "answer at the top": Lie("string", answers(TOP)),
    "answer past the end": Lie("string", answers(PAGE)),
    "answer across the end": Lie("string", answers(PAGE - 4)),
    "answer at an odd place": Lie("string", answers(17)),
    "answer at a place of u32": Lie("$record", answers(20)),
    "answer at zero": Lie("string", answers(0), "''"),
    # texts that are none
    "no UTF-8": Lie("string", at(64, 2), data=r'(data (i32.const 64) "\ff\fe")'),
    "UTF-8 cut short": Lie("string", at(64, 2), data=r'(data (i32.const 64) "\e2\82\ac")'),
    "UTF-8 of a surrogate": Lie("string", at(64, 3), data=r'(data (i32.const 64) "\ed\a0\80")'),
    "UTF-8 too long": Lie("string", at(64, 2), data=r'(data (i32.const 64) "\c0\80")'),
    "texts of which one is no UTF-8": Lie(
        "(list string)",
        at(64, 2),
        data=r'(data (i32.const 64) "\60\00\00\00\01\00\00\00\61\00\00\00\01\00\00\00") (data (i32.const 96) "a\ff")',
    ),
    "lone surrogate in UTF-16": Lie("string", at(64, 1), data=r'(data (i32.const 64) "\00\d8")', encoding="utf16"),
    "UTF-16 at an odd place": Lie("string", at(65, 1), encoding="utf16"),
    "UTF-16 whose bytes pass 32 bits": Lie("string", at(0, 1 << 31), encoding="utf16"),
    "UTF-16 of the top": Lie("string", at(0, TOP), encoding="utf16"),
    "compact text, tagged, at an odd place": Lie("string", at(65, 0x8000_0001), encoding="latin1+utf16"),
    "compact text, tagged, with a lone surrogate": Lie(
        "string", at(64, 0x8000_0001), data=r'(data (i32.const 64) "\00\dc")', encoding="latin1+utf16"
    ),
    "compact text of the top": Lie("string", at(0, TOP), encoding="latin1+utf16"),
    "compact text at an odd place": Lie("string", at(65, 1), encoding="latin1+utf16"),
    "compact text that is Latin-1": Lie("string", at(64, 1), "'ÿ'", r'(data (i32.const 64) "\ff")', "latin1+utf16"),
    # characters and cases that are none
    "char of a surrogate": Lie("char", answers(0xD800)),
    "char beyond the last": Lie("char", answers(0x11_0000)),
    "char of the top": Lie("char", answers(TOP)),
    "chars of which one is a surrogate": Lie(
        "(list char)", at(64, 2), data=r'(data (i32.const 64) "a\00\00\00\ff\df\00\00")'
    ),
    "enum of the next case": Lie("$enum", answers(2)),
    "enum of the top": Lie("$enum", answers(TOP)),
    "wide enum of the next case": Lie(
        "(option $wide)", "(i32.store (i32.const 16) (i32.const 0x012c0001)) (i32.const 16)"
    ),
    "variant of the next case": Lie("$variant", byte(2)),
    "variant of the top": Lie("$variant", byte(255)),
    "option of the next case": Lie("(option u8)", byte(2)),
    "result of the next case": Lie("(result u8)", byte(2)),
    "result of the top": Lie("(result)", answers(TOP)),
    "payload of another case": Lie("(result string)", byte(1), "(1, None)"),
    # what only looks wrong
    "bool of the top": Lie("bool", answers(TOP), "True"),
    "byte of the top": Lie("u8", answers(TOP), "255"),
    "signed byte of 128": Lie("s8", answers(128), "-128"),
    "flags of the top": Lie("$flags", answers(TOP), "7"),
    "bools of 255": Lie("(list bool)", at(64, 2), r"b'\x01\x00'", r'(data (i32.const 64) "\ff\00")'),
    # memory that grows in the middle
    "memory that grows before the answer": Lie(
        "(list u8)", f"(drop (memory.grow (i32.const 3))) {at(4 * PAGE - 2, 2)}", r"b'\x00\x00'"
    ),
    "memory that does not grow as it says": Lie(
        "(list u8)", f"(drop (memory.grow (i32.const 3))) {at(4 * PAGE - 1, 2)}"
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_an_answer_that_lies(name: str) -> None:
    """
    An answer that is no value of its type is a trap, whatever is wrong with it, and what only looks wrong is a value.
    """
    lie = LIES[name]
    twins = Twins(
        component(
            f'{MEMORY} {lie.data} (func (export "f") (result i32) {lie.body})',
            f'(func (export "f") (result {lie.gives}) (canon lift (core func $i "f") (memory (core memory $i "memory")) '
            f'(realloc (core func $i "realloc")) string-encoding={lie.encoding}))',
            types=TYPES,
        )
    )

    assert twins.end("f").value == lie.ends


# --- room -------------------------------------------------------------------------------------------------------------

ROOM = {
    "at the top": ("(i32.const -1)", FORBIDDEN),
    "past the end": (f"(i32.const {PAGE})", FORBIDDEN),
    "across the end": (f"(i32.const {PAGE - 8})", FORBIDDEN),
    "at an odd place": ("(i32.const 3)", FORBIDDEN),
    "nowhere: it gives up": ("unreachable", GAVE_UP),
    "nowhere: it reads past the end": ("(i32.load (i32.const 70000))", BEYOND),
    "nowhere: it spins": ("(loop (br 0)) unreachable", STARVED),
    "nowhere: it calls itself for ever": (
        "(call $r (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))",
        "limit, not own: the guest's calls went too deep for its stack",
    ),
    "at zero": ("(i32.const 0)", "7"),
    "where memory just grew": ("(i32.mul (i32.const 65536) (memory.grow (i32.const 1)))", "7"),
}
TAKES = {
    "numbers": ("(list u32)", bytes(400)),
    "text": ("string", "a" * 400),
    "texts": ("(list string)", ["abc"] * 200),
}


@pytest.mark.parametrize("takes", TAKES)
@pytest.mark.parametrize("room", ROOM)
def test_room_that_is_none(room: str, takes: str) -> None:
    """
    A guest that gives no room for its argument has trapped; one that gives any room at all is called.
    """
    realloc, ends = ROOM[room]
    kind, value = TAKES[takes]
    twins = Twins(
        component(
            f'(memory (export "memory") 1) (func $r (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})'
            '(func (export "f") (param i32 i32) (result i32) (i32.const 7))',
            lifted("f", f'(param "a" {kind}) (result u32)'),
        )
    )
    limits = Limits(fuel=100_000 if "spins" in room else 10_000_000)
    if takes == "text" and room == "at an odd place":
        ends = "7"  # text may stand anywhere
    if takes == "texts" and room == "where memory just grew":
        limits = Limits(fuel=10_000_000, memory=64 << 20)

    assert twins.end("f", value, limits=limits).value == ends


def test_room_for_many_arguments_that_is_none() -> None:
    """
    Nor is a guest called that gives no room for arguments too many for registers.
    """
    for place in (TOP, PAGE - 8, 4):
        twins = Twins(
            component(
                '(memory (export "memory") 1)'
                f'(func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const {place}))'
                '(func (export "f") (param i32))',
                lifted("f", " ".join(f'(param "p{i}" u64)' for i in range(17))),
            )
        )

        assert twins.end("f", *range(17)).value == FORBIDDEN


def test_overlapping_room() -> None:
    """
    A guest that gives the same room twice gets what it asked for: a value of the right type, and nothing of the host's.
    """
    module = loaded(
        component(
            '(memory (export "memory") 1) (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))'
            '(func (export "f") (param i32 i32) (result i32) (i32.store (i32.const 16) (local.get 0)) '
            "(i32.store (i32.const 20) (local.get 1)) (i32.const 16))",
            lifted("f", '(param "a" (list string)) (result (list u64))'),
        )
    )

    for count in (1, 31, 32, 500):
        shown = end(module, "f", ["x" * i for i in range(count)]).value
        assert len(ast.literal_eval(shown)) == 8 * count


# --- after the answer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "ends"),
    [
        ("unreachable", GAVE_UP),
        ("(loop (br 0))", STARVED),
        ("(drop (i32.load (i32.const 70000)))", BEYOND),
        ("(drop (memory.grow (i32.const 1)))", "'abc'"),
    ],
)
def test_what_a_guest_does_after_its_answer(body: str, ends: str) -> None:
    """
    A guest that traps while it tidies up has trapped, though its answer was read before.
    """
    twins = Twins(
        component(
            f'{MEMORY} (data (i32.const 64) "abc") (func (export "f") (result i32) {at(64, 3)})'
            f'(func (export "after") (param i32) {body})',
            '(func (export "f") (result string) (canon lift (core func $i "f") (memory (core memory $i "memory"))'
            ' (realloc (core func $i "realloc")) (post-return (core func $i "after"))))',
        )
    )

    assert twins.end("f", limits=Limits(fuel=100_000)).value == ends


def leaving(where: str) -> bytes:
    """Return a component that calls its host out of its `realloc`, or while it tidies up."""
    log = "(call $log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))"
    code = (
        f'(func (export "room") (param i32 i32 i32 i32) (result i32) {log if where == "realloc" else ""} (i32.const 64))'
        f'(func (export "after") (param i32) {log}) (func (export "g") (param i32 i32) (result i32) (i32.const 16)) '
    )
    after = '(post-return (core func $i "after"))' if where == "post-return" else ""
    text = log_guest().decode().replace('(func (export "f") (param i32', f'{code} (func (export "f") (param i32', 1)
    return (
        f'{text.rsplit(")", 1)[0]} (func (export "g") (param "a" string) (result string) (canon lift (core func $i "g") '
        f'(memory (core memory $libc "memory")) (realloc (core func $i "room")) {after})))'
    ).encode()


@pytest.mark.parametrize("where", ["realloc", "post-return"])
def test_a_guest_that_calls_its_host_when_it_must_not(where: str) -> None:
    """
    A guest that calls its host while it gives room, or tidies up, has trapped.
    """
    assert Twins(leaving(where)).end("g", "abc").value == UNKNOWN


# --- what a guest asks its host ---------------------------------------------------------------------------------------


def asking(interface: str, items: str, name: str, kind: str, body: str) -> bytes:
    """Return a component that asks its host for something, and then is done."""
    return guest(
        interface, items, f'(func (export "f") {body})', '(func (export "f") (canon lift (core func $i "f")))',
        lowers={name: kind},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("args", "ends"),
    [
        ((6, 0, 0, 0, 0), FORBIDDEN),
        ((TOP, 0, 0, 0, 0), FORBIDDEN),
        ((0, TOP, 1, 0, 0), FORBIDDEN),
        ((0, 0, 0, PAGE - 1, 2), FORBIDDEN),
        ((0, 0, TOP, 0, TOP), FORBIDDEN),
        ((0, PAGE, 0, PAGE, 0), "None"),
    ],
)
def test_what_a_guest_says_that_is_not_there(args: tuple[int, ...], ends: str) -> None:
    """
    A guest that passes its host what is no value has trapped.
    """
    calls = " ".join(f"(i32.const {arg})" for arg in args)
    source = log_guest().decode().replace(
        '(func (export "many")', f'(func (export "g") (call $log {calls})) (func (export "many")', 1
    )  # fmt: skip
    source = source.rsplit(")", 1)[0] + ' (func (export "g") (canon lift (core func $i "g"))))'

    assert Twins(source).end("g").value == ends


@pytest.mark.parametrize(
    ("place", "ends"), [(16, "None"), (20, FORBIDDEN), (PAGE - 8, FORBIDDEN), (TOP, FORBIDDEN), (PAGE - 16, "None")]
)
def test_where_an_answer_cannot_go(place: int, ends: str) -> None:
    """
    A guest that has no place for its host's answer has trapped.
    """
    body = f"(call $get-current-time (i32.const {place}))"
    source = asking("homestar:host/helpers@0.1.1", HELPERS, "get-current-time", "(param i32)", body)

    assert Twins(source).end("f").value == ends


@pytest.mark.parametrize(
    ("count", "place", "ends"),
    [
        (16, 16, "None"),
        (16, TOP, FORBIDDEN),
        (16, 18, FORBIDDEN),
        (TOP, 16, "limit, not own: the guest asked for more than 8,388,608 random bytes at once"),
        (1 << 63, 16, "limit, not own: the guest asked for more than 8,388,608 random bytes at once"),
    ],
)
def test_bytes_that_have_no_room(count: int, place: int, ends: str) -> None:
    """
    Nor does it get bytes for which it has none.
    """
    body = f"(call $get-random-bytes (i64.const {count}) (i32.const {place}))"
    source = asking("wasi:random/random@0.2.0", RANDOM, "get-random-bytes", "(param i64 i32)", body)

    assert Twins(source).end("f").value == ends


# --- and the kernel lives ---------------------------------------------------------------------------------------------


def test_the_kernel_lives() -> None:
    """
    After all of these guests, in one process, the next call is right.
    """
    printed = in_a_child(
        """
    from tests.wasm.abi.test_hostile import LIES, MEMORY, TYPES, leaving
    from tests.wasm.abi.twins import end
    good = loaded(echoes(wit.STRING))
    for lie in LIES.values():
        bad = loaded(component(f'{MEMORY} {lie.data} (func (export "f") (result i32) {lie.body})',
            f'(func (export "f") (result {lie.gives}) (canon lift (core func $i "f") (memory (core memory $i "memory")) '
            f'(realloc (core func $i "realloc")) string-encoding={lie.encoding}))', types=TYPES))
        for _ in range(20):
            assert end(bad, "f").value == lie.ends
            assert run(good, "e0", ("abc", *[0] * 17))[0] == "abc"
    for where in ("realloc", "post-return"):
        bad = loaded(leaving(where))
        for _ in range(100):
            assert end(bad, "g", "abc").value.startswith("trap")
            assert run(good, "e0", ("abc", *[0] * 17))[0] == "abc"
    print("lives")
    """
    )

    assert printed == "lives\n"
