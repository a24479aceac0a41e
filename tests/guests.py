"""Guests: small modules that the tests of the engine run.

Scalars are core modules in WAT; what needs types of WIT is one component, made by `wasm-tools` from a world and WAT.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from ipvm_kernel import Session
from tests.peers import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipvm_kernel.handles import Handle
    from ipvm_kernel.model import Receipt
    from ipvm_kernel.session import Module

NUMBERS: Final = b"""
(module
  (func (export "add_one") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "half") (param f64) (result f64) (f64.mul (local.get 0) (f64.const 0.5)))
  (func (export "nan") (result f64) (f64.div (f64.const 0) (f64.const 0)))
  (func (export "trap") (param i32) (result i32) unreachable)
  (func (export "spin") (param i32) (result i32) (loop (br 0)) unreachable)
  (func (export "both") (param i32) (result i32 i32) (local.get 0) (local.get 0)))
"""
"""Functions of scalars."""

ROOMY: Final = b"""
(module
  (memory (export "memory") 1)
  (func (export "roomy") (result i32)
    (if (result i32) (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then (i32.const 7)) (else (i32.const 42)))))
"""
"""A module that gives 7 where it is refused memory, and 42 where it is not."""

_WORLD: Final = """
package test:guest;

world guest {
  record point { x: f64, y: f64 }
  variant shape { dot, circle(s32) }

  export div: func(a: s32, b: s32) -> result<s32, string>;
  export settle: func(pair: result<s32, string>) -> s32;
  export explain: func(message: string) -> string;
  export echo-bytes: func(data: list<u8>) -> list<u8>;
  export fill: func(count: u32) -> list<u8>;
  export total: func(numbers: list<s32>) -> s32;
  export radius: func(of: shape) -> s32;
  export maybe: func(number: option<s32>) -> s32;
  export middle: func() -> point;
  export twice: func(number: s32) -> s32;
}
"""

_CORE: Final = b"""
(module
  (memory (export "memory") 2)
  (data (i32.const 16) "division by zero")
  (data (i32.const 48) "because: ")
  (global $next (mut i32) (i32.const 1024))

  (func $new (param $size i32) (result i32) (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
    (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get $size) (i32.const 16)))))
        (then unreachable))))
    (local.get $at))

  (func (export "cabi_realloc") (param $old i32) (param $was i32) (param i32) (param $size i32) (result i32) (local $at i32)
    (local.set $at (call $new (local.get $size)))
    (memory.copy (local.get $at) (local.get $old) (local.get $was))
    (local.get $at))

  (func $pair (param $at i32) (param $length i32) (result i32) (local $pair i32)
    (local.set $pair (call $new (i32.const 8)))
    (i32.store (local.get $pair) (local.get $at))
    (i32.store offset=4 (local.get $pair) (local.get $length))
    (local.get $pair))

  (func (export "div") (param $a i32) (param $b i32) (result i32) (local $result i32)
    (local.set $result (call $new (i32.const 12)))
    (if (local.get $b)
      (then
        (i32.store8 (local.get $result) (i32.const 0))
        (i32.store offset=4 (local.get $result) (i32.div_s (local.get $a) (local.get $b))))
      (else
        (i32.store8 (local.get $result) (i32.const 1))
        (i32.store offset=4 (local.get $result) (i32.const 16))
        (i32.store offset=8 (local.get $result) (i32.const 16))))
    (local.get $result))

  (func (export "settle") (param $err i32) (param $value i32) (param i32) (result i32)
    (if (result i32) (local.get $err) (then (i32.const -1)) (else (local.get $value))))

  (func (export "explain") (param $at i32) (param $length i32) (result i32) (local $text i32)
    (local.set $text (call $new (i32.add (local.get $length) (i32.const 9))))
    (memory.copy (local.get $text) (i32.const 48) (i32.const 9))
    (memory.copy (i32.add (local.get $text) (i32.const 9)) (local.get $at) (local.get $length))
    (call $pair (local.get $text) (i32.add (local.get $length) (i32.const 9))))

  (func (export "echo-bytes") (param $at i32) (param $length i32) (result i32)
    (call $pair (local.get $at) (local.get $length)))

  (func (export "fill") (param $count i32) (result i32) (local $at i32)
    (local.set $at (call $new (local.get $count)))
    (memory.fill (local.get $at) (i32.const 7) (local.get $count))
    (call $pair (local.get $at) (local.get $count)))

  (func (export "total") (param $at i32) (param $count i32) (result i32) (local $sum i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next)))
    (local.get $sum))

  (func (export "radius") (param $case i32) (param $value i32) (result i32) (local.get $value))

  (func (export "maybe") (param $some i32) (param $value i32) (result i32)
    (if (result i32) (local.get $some) (then (local.get $value)) (else (i32.const -1))))

  (func (export "middle") (result i32) (local $at i32)
    (local.set $at (call $new (i32.const 16)))
    (f64.store offset=8 (local.get $at) (f64.div (f64.const 0) (f64.const 0)))
    (local.get $at))

  (func (export "twice") (param $number i32) (result i32) (i32.mul (local.get $number) (i32.const 2))))
"""


def componentized(folder: Path, world: str, core: bytes) -> bytes:
    """Return the component of a world and of WAT that implements it."""
    tool = needs("wasm-tools")
    (folder / "world.wit").write_text(world)
    (folder / "core.wat").write_bytes(core)
    subprocess.run([tool, "component", "embed", "world.wit", "core.wat", "-o", "embedded.wasm"], cwd=folder, check=True)
    subprocess.run([tool, "component", "new", "embedded.wasm", "-o", "component.wasm"], cwd=folder, check=True)
    return (folder / "component.wasm").read_bytes()


def filed(handle: Handle) -> Receipt:
    """Return the receipt of a task that was run."""
    found = handle.receipt
    assert found is not None
    return found


@pytest.fixture
def session() -> Iterator[Session]:
    """A session in memory."""
    with Session() as session:
        yield session


@pytest.fixture
def numbers(session: Session) -> Module:
    """Functions of scalars."""
    return session.module(NUMBERS, "numbers")


@pytest.fixture
def typed(session: Session, component: bytes) -> Module:
    """Functions of results, text, bytes, lists, variants and options."""
    return session.module(component, "typed")


@pytest.fixture(scope="session")
def component(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a component with functions of results, text, bytes, lists, variants and options."""
    return componentized(tmp_path_factory.mktemp("guest"), _WORLD, _CORE)
