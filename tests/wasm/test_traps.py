"""How a guest fails by its own steps, and what becomes of that."""

from __future__ import annotations

from typing import Any

import pytest

from ipvm_kernel.errors import BadModule
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.limits import Limits, Report
from ipvm_kernel.wasm.perform import perform
from ipvm_kernel.wasm.stop import Stop
from tests.wasm.guests import MEMORY, Files, component, core, failure, lifted, loaded, run

SPIN = '(module (func (export "f") (loop br 0)))'

TRAPS = [
    (core("unreachable"), "it reached an `unreachable` instruction"),
    (core("(drop (i32.div_s (i32.const 1) (i32.const 0)))"), "divided an integer by zero"),
    (core("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))"), "overflowed an integer division"),
    (core("(drop (i32.trunc_f64_s (f64.const nan)))"), "converted a float that fits no integer"),
    (core("(drop (i32.load (i32.const 70000)))", "(memory 1)"), "reached beyond its memory"),
    (core("(memory.fill (i32.const 70000) (i32.const 0) (i32.const 1))", "(memory 1)"), "reached beyond its memory"),
    (core("(drop (table.get 0 (i32.const 9)))", "(table 1 funcref)"), "reached beyond its table"),
    (core("(call_indirect (i32.const 0))", "(table 1 funcref)"), "called a function that is not there"),
    (core("(call_indirect (i32.const 9))", "(table 1 funcref)"), "reached beyond its table"),
    (
        core("(call_indirect (i32.const 0))", "(table 1 funcref) (elem (i32.const 0) $g) (func $g (param i32))"),
        "called a function by the wrong type",
    ),
    (core("", '(memory 1) (data (i32.const 70000) "a")'), "reached beyond its memory"),
    (core("", "(func $s unreachable) (start $s)"), "it reached an `unreachable` instruction"),
]


@pytest.mark.parametrize(("source", "words"), TRAPS)
def test_traps_are_the_guests_own(source: str, words: str) -> None:
    """
    A trap that lies in the guest's own steps is said in words, and may be filed, since every machine would meet it.
    """
    found = failure(source)

    assert (found.kind, found.own) == ("trap", True)
    assert words in found.message


@pytest.mark.parametrize(("source", "words"), TRAPS[:5])
def test_traps_of_components(source: str, words: str) -> None:
    """
    So is one inside a component.
    """
    body = source.removeprefix("(module ").removesuffix(")")
    found = failure(component(body, lifted("f", "", memory=False)))

    assert (found.kind, found.own) == ("trap", True)
    assert words in found.message


ANSWERS = [
    ("(result char)", "(result i32) (i32.const 0x110000)"),
    ("(result char)", "(result i32) (i32.const 0xd800)"),
    ("(result $e)", "(result i32) (i32.const 7)"),
    ("(result (option u32))", "(result i32) (i32.store8 (i32.const 16) (i32.const 9)) (i32.const 16)"),
    ("(result string)", "(result i32) (i32.store (i32.const 16) (i32.const 900000)) (i32.store (i32.const 20) (i32.const 9)) (i32.const 16)"),
    ("(result string)", "(result i32) (i32.store (i32.const 16) (i32.const 64)) (i32.store (i32.const 20) (i32.const 2)) (i32.const 16)"),
    ("(result (list u32))", "(result i32) (i32.store (i32.const 16) (i32.const 900000)) (i32.store (i32.const 20) (i32.const 9)) (i32.const 16)"),
    ("(result (list u32))", "(result i32) (i32.store (i32.const 16) (i32.const 65)) (i32.store (i32.const 20) (i32.const 2)) (i32.const 16)"),
    ("(result string)", "(result i32) (i32.const 17)"),
    ("(result string)", "(result i32) (i32.const 900000)"),
]  # fmt: skip


@pytest.mark.parametrize(("gives", "body"), ANSWERS)
def test_answers_that_the_type_forbids(gives: str, body: str) -> None:
    """
    A guest whose answer is no value of its type has trapped: its bytes mean nothing.
    """
    types = '(type $t (enum "a" "b")) (export $e "t" (type $t))'
    data = r'(data (i32.const 64) "\ff\fe")'
    found = failure(component(MEMORY + data + f'(func (export "f") {body})', lifted("f", gives), types=types))

    assert (found.kind, found.own) == ("trap", True)
    assert found.message == "the guest answered with a value that its own type does not allow"


@pytest.mark.parametrize("realloc", ["(i32.const 900000)", "(i32.const 3)", "unreachable"])
def test_a_guest_that_has_no_room_for_its_argument(realloc: str) -> None:
    """
    A guest whose `realloc` lies or gives up has trapped.
    """
    source = component(
        f'(memory (export "memory") 1) (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})'
        '(func (export "f") (param i32 i32))',
        lifted("f", '(param "a" (list u32))'),
    )
    found = failure(source, "f", bytes(400))

    assert (found.kind, found.own) == ("trap", True)


def test_a_guests_names_cannot_pose_as_causes() -> None:
    """
    A function whose name reads like a trap does not make a limit look like one, so nothing false is filed.
    """
    name = r"x\1b]0;pwn\07<img src=x>\nCaused by:\n    wasm trap: integer divide by zero".replace(r"\n", r"\0a")
    source = f'(module (func (@name "{name}") (export "f") (loop br 0)))'
    found = failure(source, limits=Limits(fuel=1000))
    inside = failure(
        component(source.removeprefix("(module ").removesuffix(")"), lifted("f", "", memory=False)),
        limits=Limits(fuel=1000),
    )

    assert (found.kind, found.own, found.message) == ("limit", False, "the fuel ran out: 1,000")
    assert (inside.kind, inside.own, inside.message) == ("limit", False, "the fuel ran out: 1,000")


# --- determinism ------------------------------------------------------------------------------------------------------


def test_nan_is_canonical() -> None:
    """
    A NaN that a guest computes has the same bits on every machine.
    """
    module = loaded(
        """(module
          (func (export "f64") (param f64) (result i64) (i64.reinterpret_f64 (f64.sub (local.get 0) (local.get 0))))
          (func (export "f32") (param f32) (result i32) (i32.reinterpret_f32 (f32.div (local.get 0) (local.get 0))))
          (func (export "neg") (result i64)
            (i64.reinterpret_f64 (f64.add (f64.const -nan:0x8000000000123) (f64.const 1)))))"""
    )

    assert run(module, "f64", float("inf")) == 0x7FF8000000000000
    assert run(module, "f32", 0.0) == 0x7FC00000
    assert run(module, "neg") == 0x7FF8000000000000


@pytest.mark.parametrize(
    ("source", "feature"),
    [
        ("(module (memory 1 2 shared))", "threads"),
        ("(module (func (atomic.fence)))", "threads"),
        ("(module (type $f (func)) (type $k (cont $f)))", "stack switching"),
        ("(module (memory 1 (pagesize 1)))", "custom page sizes"),
        ('(component (import "f" (func async)))', "asynchronous components"),
        ("(module (memory 1) (memory 1))", "multiple memories"),
        ("(module (memory i64 1))", "64-bit memories"),
        ("(module (func (result v128) (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))", "relaxed SIMD"),
        ("(module (tag))", "exceptions"),
        ("(module (type (struct)))", "garbage-collected types"),
        ("(module (type $f (func)) (func (param (ref null $f))))", "typed function references"),
        ("(module (func (result i64 i64) (i64.add128 (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0))))", "wide arithmetic"),
    ],
)  # fmt: skip
def test_features_that_are_off(source: str, feature: str) -> None:
    """
    A module that uses what could differ between machines is refused, and the message names it.
    """
    with pytest.raises(BadModule, match=f"it uses {feature}, which ipvm turns off"):
        loaded(source)


# --- as an outcome ----------------------------------------------------------------------------------------------------


def outcome(source: bytes | str, name: str = "f", *values: Any, limits: Limits | None = None) -> Any:
    """Return how performing a function ends."""
    module, files = loaded(source), Files()
    return perform(
        module, module.interface.find(name), values,
        limits=limits or Limits(), seed=b"", stop=Stop(), report=Report(), keep=files.keep,
    )  # fmt: skip


def test_a_failure_is_an_outcome() -> None:
    """
    Whatever a guest does comes back as an answer: its kind, one line, and whether every machine would give it.
    """
    trapped, starved = outcome(core("unreachable")), outcome(SPIN, limits=Limits(fuel=10))

    assert trapped.outcome.tag == "error"
    assert trapped.outcome.value == {
        "kind": "trap",
        "message": "the guest gave up: it reached an `unreachable` instruction",
    }
    assert (trapped.own, starved.own) == (True, False)
    assert starved.outcome.value["kind"] == "limit"


def test_nothing_is_an_answer() -> None:
    """
    A function without a result answers null.
    """
    assert outcome(core("")).outcome.to_ipld() == ["ok", None]


def test_a_nan_can_still_be_read() -> None:
    """
    An answer that no CID can name is an error that says so, with the value beside it for this session.
    """
    ended = outcome('(module (func (export "f") (result f64 i32) f64.const nan i32.const 7))')

    assert ended.outcome.value["kind"] == "unencodable"
    assert ended.outcome.value["message"].startswith("the result[0] is nan")
    assert repr(ended.value) == "(nan, 7)"
    assert not ended.own


def test_a_resource_is_no_answer() -> None:
    """
    A function that gives a resource is refused before it runs, when a file asks for it.
    """
    source = (
        '(component (type $r (resource (rep i32))) (export $q "r" (type $r)) (core func $new (canon resource.new $r))'
        '(core module $m (import "" "new" (func $n (param i32) (result i32)))'
        '(func (export "f") (result i32) (call $n (i32.const 1))))'
        '(core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))'
        '(func (export "f") (result (own $q)) (canon lift (core func $i "f"))))'
    )
    ended = outcome(source)

    assert ended.outcome.value["kind"] == "conversion"
    assert "own" in ended.outcome.value["message"]


def test_meta_says_what_a_task_may_use() -> None:
    """
    A task's `meta` holds fuel, bytes and milliseconds; what is no number there asks for nothing.
    """
    assert Limits.of_meta({"fuel": 5, "memory": 2**20, "time": 1500}) == Limits(5, 2**20, 1.5)
    assert Limits.of_meta({"fuel": True, "memory": "1", "time": -1, "x": 1}) == Limits()
    assert Limits.of_meta({"time": float("inf")}) == Limits()
    assert Limits(5, None, 2.0).within(Limits(None, 7, 1.0)) == Limits(5, 7, 1.0)


def test_wit_kinds_are_told() -> None:
    """
    What cannot be data is found at any depth of a type.
    """
    deep = wit.Result(
        None, wit.Variant((wit.Case("a", wit.Record((wit.Field("x", wit.Tuple((wit.Opaque("own"),))),))),))
    )

    assert wit.opaque_in(wit.List(wit.Option(deep))) == wit.Opaque("own")
    assert wit.opaque_in(wit.List(wit.STRING)) is None
