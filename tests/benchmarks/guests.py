"""The modules that the benchmarks run, in WAT: what is measured is ipvm, and no compiler is needed for that."""

from __future__ import annotations

import random
from typing import Final

ADD_ONE: Final = """
(component
  (core module $code
    (func (export "add-one") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))
  (core instance $made (instantiate $code))
  (func (export "add-one") (param "n" u32) (result u32) (canon lift (core func $made "add-one"))))
"""
"""Next to no work: what is left is what calling it costs."""

SPIN: Final = """
(component
  (core module $code (func (export "spin") (result i32) (loop (br 0)) unreachable))
  (core instance $made (instantiate $code))
  (func (export "spin") (result u32) (canon lift (core func $made "spin"))))
"""
"""Never ends."""

MEGABYTE: Final = 1_000_000

BYTES: Final = f"""
(component
  (core module $code
    (memory (export "memory") 64)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $top)
      (global.set $top (i32.and (i32.add (i32.add (global.get $top) (local.get 3)) (i32.const 7)) (i32.const -8))))
    (func $give (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16))
    (func (export "echo") (param i32 i32) (result i32) (call $give (local.get 0) (local.get 1)))
    (func (export "fill") (param i32) (result i32)
      (memory.fill (i32.const 1024) (local.get 0) (i32.const {MEGABYTE}))
      (i32.store (i32.const 1024) (local.get 0))
      (call $give (i32.const 1024) (i32.const {MEGABYTE}))))
  (core instance $made (instantiate $code))
  (func (export "echo") (param "data" (list u8)) (result (list u8))
    (canon lift (core func $made "echo") (memory (core memory $made "memory")) (realloc (core func $made "realloc"))))
  (func (export "fill") (param "seed" u32) (result (list u8))
    (canon lift (core func $made "fill") (memory (core memory $made "memory")))))
"""
"""`echo` gives back what it gets; `fill` gives a megabyte that begins with its seed."""

_MIXED: Final = (
    "u32", "string", "f64", "bool", "(option s64)", "(list u8)", "char", "$enum", "$flags", "(result u8 (error string))",
)  # fmt: skip

BULK: Final = f"""
(component
  (core module $code
    (memory (export "memory") 64)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (if (i32.gt_u (global.get $top) (i32.shl (memory.size) (i32.const 16)))
        (then (drop (memory.grow (i32.sub
          (i32.add (i32.shr_u (global.get $top) (i32.const 16)) (i32.const 1)) (memory.size))))))
      (local.get $at))
    (func (export "give") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16))
    (func (export "same") (param i32) (result i32) (local.get 0))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "sum") (param $at i32) (param $left i32) (result f64) (local $sum f64)
      (block $done (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        {"".join(f"(local.set $sum (f64.add (local.get $sum) (f64.load offset={8 * n} (local.get $at))))" for n in range(8))}
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (local.set $left (i32.sub (local.get $left) (i32.const 8)))
        (br $next)))
      (local.get $sum)))
  (core instance $made (instantiate $code))
  (type $e (enum "a" "b")) (export $enum "e" (type $e))
  (type $f (flags "a" "b")) (export $flags "f" (type $f))
  (type $r (record {" ".join(f'(field "f{n}" {kind})' for n, kind in enumerate(_MIXED * 2))}))
  (export $record "r" (type $r))
  (func (export "echo") (param "data" (list u8)) (result (list u8))
    (canon lift (core func $made "give") (memory (core memory $made "memory")) (realloc (core func $made "realloc"))))
  (func (export "texts") (param "texts" (list string)) (result (list string))
    (canon lift (core func $made "give") (memory (core memory $made "memory")) (realloc (core func $made "realloc"))))
  (func (export "sum") (param "numbers" (list f64)) (result f64)
    (canon lift (core func $made "sum") (memory (core memory $made "memory")) (realloc (core func $made "realloc"))))
  (func (export "record") (param "record" $record) (result $record)
    (canon lift (core func $made "same") (memory (core memory $made "memory")) (realloc (core func $made "realloc"))))
  (func (export "add") (param "a" s32) (param "b" s32) (result s32) (canon lift (core func $made "add"))))
"""
"""What is large, or of many parts: given back as it came, or added up, eight numbers at a time."""

_FUNCTIONS: Final = 1000
_STEPS: Final = 20  # of about 15 bytes


def large() -> str:
    """Return a component of about 300 kB: a thousand functions, none like another, and one that calls any of them."""
    chance = random.Random(300_000)
    return f"""
(component
  (core module $code
    (memory 1)
    (type $step (func (param i64) (result i64)))
    (table {_FUNCTIONS} funcref)
    (elem (i32.const 0) {" ".join(f"$f{number}" for number in range(_FUNCTIONS))})
    (func (export "pick") (param i32 i64) (result i64)
      (call_indirect (type $step) (local.get 1) (i32.rem_u (local.get 0) (i32.const {_FUNCTIONS}))))
    {"".join(_function(number, chance) for number in range(_FUNCTIONS))})
  (core instance $made (instantiate $code))
  (func (export "pick") (param "which" u32) (param "x" u64) (result u64) (canon lift (core func $made "pick"))))
"""


def _function(number: int, chance: random.Random) -> str:
    steps = "".join(_step(chance) for _ in range(_STEPS))
    return f"(func $f{number} (type $step){steps} (local.get 0))"


def _step(chance: random.Random) -> str:
    constant, place = chance.getrandbits(40), chance.randrange(0, 8000, 8)
    match chance.randrange(4):
        case 0:
            return f"(local.set 0 (i64.mul (local.get 0) (i64.const {constant})))"
        case 1:
            return f"(local.set 0 (i64.xor (i64.load (i32.const {place})) (local.get 0)))"
        case 2:
            return f"(i64.store (i32.const {place}) (i64.add (local.get 0) (i64.const {constant})))"
        case _:
            return f"(if (i64.lt_s (local.get 0) (i64.const {constant})) (then (local.set 0 (i64.rotl (local.get 0) (i64.const 7)))))"


def binary(source: str) -> bytes:
    """Return the binary that a text means, which is what a user's module is."""
    import wasmtime

    return bytes(wasmtime.wat2wasm(source))
