"""Values through real guests: in, echoed, and out again, by our call and by wasmtime's own."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
import wasmtime
from hypothesis import HealthCheck, given, settings
from wasmtime import component as wc

from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.machine import engine
from ipvm_kernel.wasm.scalars import packed, unpacked
from tests.wasm.generated import LEAVES, LINK, typed
from tests.wasm.guests import MEMORY, PADDING, component, echoes, lifted, loaded, run

Typed = tuple[wit.AnyType, Any]
ZEROS = (0,) * PADDING

# Values at the edges of each leaf, all of which must come back as they went in.
EDGES: dict[wit.AnyType, list[Any]] = {
    wit.BOOL: [True, False],
    **{kind: [kind.low, 0, kind.high] for kind in LEAVES if isinstance(kind, wit.Int)},
    wit.F32: [0.5, -0.0, 3.4028234663852886e38, 1.401298464324817e-45],
    wit.F64: [0.1, -0.0, 5e-324, 1.7976931348623157e308],
    wit.CHAR: ["a", "\0", "\ud7ff", "\ue000", "\U0010ffff"],
    wit.STRING: ["", "null", LINK, "a\0b", "\U0001f600é", "x" * 100_000],
}


@pytest.mark.parametrize("kind", EDGES, ids=str)
def test_edges_of_every_leaf(kind: wit.AnyType) -> None:
    """
    Every number, character and text that a type can hold goes into a guest and comes back, alone and in a list.
    """
    module = loaded(echoes(kind, wit.List(kind), wit.Option(kind), wit.Result(kind, kind)))
    values = EDGES[kind]
    many = packed(kind, values) if wit.scalar(kind) else values

    assert [repr(run(module, "e0", (value, *ZEROS))[0]) for value in values] == [repr(value) for value in values]
    assert repr(run(module, "e1", (many, *ZEROS))[0]) == repr(many)
    assert run(module, "e1", (many[:0], *ZEROS))[0] == many[:0]
    assert run(module, "e2", (None, *ZEROS))[0] is None
    assert repr(run(module, "e2", ((values[-1],), *ZEROS))[0]) == repr((values[-1],))
    assert run(module, "e3", ((1, values[0]), *ZEROS))[0] == (1, values[0])


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(typed())
def test_any_value_through_a_guest(given_value: Typed) -> None:
    """
    Whatever a function's type, its arguments arrive as they were and its answer comes back as it is.
    """
    kind, value = given_value
    module = loaded(echoes(kind))

    assert repr(run(module, "e0", (value, *ZEROS))[0]) == repr(value)


@pytest.mark.torture
@settings(max_examples=3_000, suppress_health_check=[HealthCheck.too_slow])
@given(typed())
def test_very_many_values_through_guests(given_value: Typed) -> None:
    """
    As above, longer.
    """
    kind, value = given_value
    module = loaded(echoes(kind))

    assert repr(run(module, "e0", (value, *ZEROS))[0]) == repr(value)


# --- beside wasmtime's own --------------------------------------------------------------------------------------------


def stock(kind: wit.AnyType, own: Any, value: Any) -> Any:
    """Return a despecialised value as wasmtime-py has it, where `own` is its type; its variants may have no tags."""
    match kind:
        case wit.List(element=wit.Int(bits=8, signed=False)):
            return value
        case wit.List(element=element) if wit.scalar(element):
            return unpacked(element, value)
        case wit.List(element=element):
            return [stock(element, own.element, item) for item in value]
        case wit.Tuple(items=items):
            return tuple(stock(k, o, v) for k, o, v in zip(items, own.elements, value, strict=True))
        case wit.Record(fields=fields):
            record = wc.Record()
            for field, (name, inner), item in zip(fields, own.fields, value, strict=True):
                setattr(record, name, stock(field.type, inner, item))
            return record
        case wit.Enum(names=names):
            return names[value]
        case wit.Flags(names=names):
            return {name for bit, name in enumerate(names) if value >> bit & 1}
        case wit.Option(payload=payload):
            chosen, inner = ("none", None) if value is None else ("some", stock(payload, own.payload, value[0]))
        case wit.Result(ok=ok, err=err):
            side, item = value
            part = err if side else ok
            chosen = "err" if side else "ok"
            inner = None if part is None else stock(part, own.err if side else own.ok, item)
        case wit.Variant(cases=cases):
            case = cases[value[0]]
            chosen = case.name
            inner = None if case.payload is None else stock(case.payload, dict(own.cases)[case.name], value[1])
        case _:
            return value
    return wc.Variant(chosen, inner) if own._tagged() else inner


def called_by_wasmtime(data: bytes, name: str, kind: wit.AnyType, value: Any) -> tuple[Any, Any]:
    """Call a component's function through wasmtime-py; return its answer, and what the argument looked like."""
    store = wasmtime.Store(engine())
    store.set_fuel(10**9)
    store.set_epoch_deadline(10**6)
    instance = wc.Linker(engine()).instantiate(store, wc.Component(engine(), data))
    function = instance.get_func(store, name)
    assert function is not None
    ((_, own),) = function.type(store).params
    argument = stock(kind, own, value)
    return function(store, argument), argument


def same(left: Any, right: Any) -> bool:
    """Return whether two values of wasmtime-py are the same to the bit."""
    match left:
        case float():
            return struct.pack("<d", left) == struct.pack("<d", right) or (math.isnan(left) and math.isnan(right))
        case list() | tuple():
            return len(left) == len(right) and all(map(same, left, right))
        case wc.Record():
            return vars(left).keys() == vars(right).keys() and same(
                list(vars(left).values()), list(vars(right).values())
            )
        case wc.Variant(tag=tag, payload=payload):
            return tag == right.tag and same(payload, right.payload)
        case _:
            return bool(type(left) is type(right) and left == right)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(typed())
def test_our_call_is_wasmtimes_call(given_value: Typed) -> None:
    """
    The short way into the engine gives what the engine's own way gives.
    """
    kind, value = given_value
    data = echoes(kind)
    whole = wit.Tuple((kind, *[wit.U64] * PADDING))
    ours = run(loaded(data), "e0", (value, *ZEROS))
    theirs, argument = called_by_wasmtime(data, "e0", whole, (value, *ZEROS))

    assert repr(ours[0]) == repr(value)
    assert same(theirs, argument)


# --- parameters in registers ------------------------------------------------------------------------------------------

FLAT = """
(func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
(func (export "mix") (param i32 i64 f32 f64 i32 i32) (result f64)
  (f64.add (local.get 3) (f64.add (f64.promote_f32 (local.get 2)) (f64.convert_i64_s (local.get 1)))))
(func (export "nothing"))
(func (export "length") (param i32 i32) (result i32) local.get 1)
(func (export "side") (param i32 i32) (result i32) local.get 0)
(func (export "bits") (param i32) (result i32) local.get 0)
"""
KINDS = (
    '(type $f (flags "a" "b" "c")) (export $f-out "f" (type $f)) (type $e (enum "x" "y")) (export $e-out "e" (type $e))'
)


def test_parameters_in_registers() -> None:
    """
    Small parameters, which travel in registers, arrive too.
    """
    module = loaded(
        component(
            MEMORY + FLAT,
            lifted("add", '(param "a" s32) (param "b" s32) (result s32)'),
            lifted(
                "mix",
                '(param "a" bool) (param "b" s64) (param "c" f32) (param "d" f64) (param "e" string) (result f64)',
            ),
            lifted("nothing", ""),
            lifted("length", '(param "a" (list string)) (result u32)'),
            lifted("side", '(param "a" (result u8 (error s32))) (result u32)'),
            lifted("bits", '(param "a" $f-out) (result $f-out)'),
            lifted("next", '(param "a" $e-out) (result $e-out)', "bits"),
            types=KINDS,
        )
    )

    assert run(module, "add", 2**31 - 1, 1) == -(2**31)
    assert run(module, "mix", True, -3, 0.5, 0.25, "abc") == -2.25
    assert run(module, "nothing") is None
    assert run(module, "length", ["a", "b", "c"]) == 3
    assert run(module, "side", (1, -7)) == 1
    assert run(module, "bits", 0b101) == 0b101
    assert run(module, "next", 1) == 1


def test_core_modules() -> None:
    """
    A plain core module's functions take and give numbers, signed; several results are a tuple.
    """
    module = loaded(
        """(module
          (func (export "sub") (param i32 i32) (result i32) (i32.sub (local.get 0) (local.get 1)))
          (func (export "wide") (param i64) (result i64) local.get 0)
          (func (export "floats") (param f32 f64) (result f64) (f64.add (f64.promote_f32 (local.get 0)) (local.get 1)))
          (func (export "swap") (param i32 f64) (result f64 i32) local.get 1 local.get 0)
          (func (export "none"))
          (func (export "odd \\1b[31m name") (result i32) i32.const 7))"""
    )
    swap = module.interface.find("swap")

    assert run(module, "sub", 1, 2) == -1
    assert run(module, "wide", -(2**63)) == -(2**63)
    assert run(module, "floats", 0.5, 0.25) == 0.75
    assert run(module, "swap", 5, 2.5) == (2.5, 5)
    assert run(module, "none") is None
    assert run(module, "odd \x1b[31m name") == 7
    assert str(swap) == "func(p0: s32, p1: f64) -> tuple<f64, s32>"


@pytest.mark.parametrize("kind", [wit.BYTES, wit.List(wit.F64), wit.List(wit.STRING)], ids=str)
def test_a_hundred_thousand_elements(kind: wit.List) -> None:
    """
    Long lists go through whole.
    """
    module = loaded(echoes(kind))
    count = 100_000
    value: Any = (
        ["abc"] * count
        if kind.element == wit.STRING
        else bytes(range(8)) * (count // 8) * (wit.scalar(kind.element) or 1)
    )

    assert run(module, "e0", (value, *ZEROS))[0] == value
