"""One component twice: driven straight by our own canonical ABI, and through the engine's values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ipvm_kernel.wasm.abi import layout
from ipvm_kernel.wasm.limits import Limits, Report
from ipvm_kernel.wasm.runtime import Failure
from tests.wasm.guests import MEMORY, PADDING, Wit, component, loaded, padded, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipvm_kernel.wasm import types as wit
    from ipvm_kernel.wasm.module import Module

ZEROS = (0,) * PADDING

_BITS = {
    "i32": "(i64.extend_i32_u (local.get {0}))",
    "i64": "(local.get {0})",
    "f32": "(i64.extend_i32_u (i32.reinterpret_f32 (local.get {0})))",
    "f64": "(i64.reinterpret_f64 (local.get {0}))",
}
_MEMORY = MEMORY.replace(
    "  (local.get $at))",
    """  (memory.copy (local.get $at) (local.get 0)
    (select (local.get 1) (local.get 3) (i32.lt_u (local.get 1) (local.get 3))))
  (local.get $at))""",
)
"""As `MEMORY`, and what is given more or less room keeps what it held."""

_SHARED = """
(func (export "same") (param i32) (result i32) local.get 0)
(func (export "image") (param i32) (result i32)
  (i32.store (i32.const 16) (i32.const 4096))
  (i32.store (i32.const 20) (i32.sub (global.get $heap) (i32.const 4096)))
  (i32.const 16))"""


class End(NamedTuple):
    """How a call ended: its value as text, or its failure; what it said; and the fuel that it took."""

    value: str
    fuel: int
    log: str


def end(module: Module, name: str, *values: Any, limits: Limits | None = None) -> End:
    """Call a function, and return how it ended."""
    report = Report()
    try:
        shown = repr(run(module, name, *values, limits=limits, report=report))
    except Failure as failure:
        shown = f"{failure.kind}, {'own' if failure.own else 'not own'}: {failure.message}"
    return End(shown, report.fuel, report.log)


class Twins:
    """A component, loaded both ways."""

    def __init__(self, data: bytes | str) -> None:
        """Load it.

        Raises:
            AssertionError: It cannot be driven straight.
        """
        self.straight, self.engine = loaded(data), loaded(data, straight=False)
        assert self.straight.straight is not None, self.straight.interface.way

    def end(self, name: str, *values: Any, limits: Limits | None = None) -> End:
        """Return how a call ends, both ways; it must end in the same way, say the same and take the same fuel."""
        mine, theirs = (end(module, name, *values, limits=limits) for module in (self.straight, self.engine))
        assert mine == theirs, f"straight {mine}, engine {theirs}"
        return mine


def probes(kinds: Sequence[wit.AnyType], encoding: str = "utf8") -> bytes:
    """Return a component that shows how values of some types arrive.

    For the type of number N it has the functions `same-N`, which gives back what it is given through memory; `image-N`,
    which gives back all memory that was asked for to pass it; `core-N`, which gives the bits of the core values, if the
    type has at most sixteen; and `flat-N`, which gives back its only core value, if it has only one.
    """
    text, functions, cores = Wit(), [], [_SHARED]
    options = f'(memory (core memory $i "memory")) (realloc (core func $i "realloc")) string-encoding={encoding}'

    def lift(name: str, core: str, takes: str, gives: str) -> None:
        functions.append(
            f'(func (export "{name}") (param "x" {takes}) (result {gives}) (canon lift (core func $i "{core}") {options}))'
        )

    for number, kind in enumerate(kinds):
        whole, one, flat = text(padded(kind)), text(kind), layout.flatten(kind)
        lift(f"same-{number}", "same", whole, whole)
        lift(f"image-{number}", "image", whole, "(list u8)")
        if len(flat) == 1:
            lift(f"flat-{number}", f"flat-{number}", one, one)
            cores.append(f'(func (export "flat-{number}") (param {flat[0]}) (result {flat[0]}) local.get 0)')
        if len(flat) <= layout.FLAT_PARAMS:
            bits = [_BITS[core].format(i) for i, core in enumerate(flat)]
            if len(flat) == 1:
                result, body = "i64", bits[0]
            else:
                stores = (f"(i64.store offset={16 + 8 * i} (i32.const 0) {bit})" for i, bit in enumerate(bits))
                result, body = "i32", " ".join(stores) + " (i32.const 16)"
            lift(f"core-{number}", f"core-{number}", one, f"(tuple {' u64' * len(flat)})")
            cores.append(f'(func (export "core-{number}") (param {" ".join(flat)}) (result {result}) {body})')
    return component(_MEMORY + "".join(cores), *functions, types=" ".join(text.definitions))
