"""Guests for the tests: components and core modules, written as WAT and made by the engine's own assembler.

A component that echoes values of any type needs no code for that type. Beyond sixteen flat parameters the canonical ABI
passes all of them in memory, and it gives back more than one flat result in memory: so a function that takes and gives a
tuple of one value and seventeen numbers is, inside, a function that returns the pointer it was given.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import pytest
import wasmtime

from ipvm_kernel.ipld import CID
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.cache import CodeCache
from ipvm_kernel.wasm.limits import Limits, Report
from ipvm_kernel.wasm.module import load
from ipvm_kernel.wasm.named import Named
from ipvm_kernel.wasm.runtime import Failure, call
from ipvm_kernel.wasm.stop import Stop

if TYPE_CHECKING:
    import os

    from ipvm_kernel.wasm.module import Module

MEMORY: Final = """
(memory (export "memory") 1)
(global $heap (mut i32) (i32.const 4096))
(func (export "realloc") (param i32 i32 i32 i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
  (global.set $heap (i32.add (local.get $at) (local.get 3)))
  (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
    (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1)
        (i32.div_u (i32.sub (global.get $heap) (i32.mul (memory.size) (i32.const 65536))) (i32.const 65536)))))
      (then unreachable))))
  (local.get $at))
"""
"""A memory and a `realloc` that only goes up: an instance lives for one call."""

PADDING: Final = 17


class Wit:
    """WIT types as the text of a component, in which records and their kind must have names."""

    def __init__(self) -> None:
        self.definitions: list[str] = []
        self._names: dict[wit.AnyType, str] = {}

    def __call__(self, kind: wit.AnyType) -> str:
        """Return the text of a type, defining what it needs."""
        match kind:
            case wit.List(element=element):
                return f"(list {self(element)})"
            case wit.Option(payload=payload):
                return f"(option {self(payload)})"
            case wit.Tuple(items=items):
                return f"(tuple {' '.join(map(self, items))})"
            case wit.Result(ok=ok, err=err):
                return f"(result{f' {self(ok)}' if ok else ''}{f' (error {self(err)})' if err else ''})"
            case wit.Record(fields=fields):
                return self._named(kind, "record " + " ".join(f'(field "{f.name}" {self(f.type)})' for f in fields))
            case wit.Variant(cases=cases):
                parts = (f'(case "{c.name}"{f" {self(c.payload)}" if c.payload else ""})' for c in cases)
                return self._named(kind, "variant " + " ".join(parts))
            case wit.Enum(names=names):
                return self._named(kind, "enum " + " ".join(f'"{name}"' for name in names))
            case wit.Flags(names=names):
                return self._named(kind, "flags " + " ".join(f'"{name}"' for name in names))
            case _:
                return str(kind)

    def _named(self, kind: wit.AnyType, text: str) -> str:
        if kind not in self._names:
            name = f"t{len(self._names)}"
            self._names[kind] = f"${name}-out"
            self.definitions.append(f'(type ${name} ({text})) (export ${name}-out "{name}" (type ${name}))')
        return self._names[kind]


def component(core: str, *functions: str, types: str = "", imports: str = "", given: str = "") -> bytes:
    """Return a component of one core module and the functions that are lifted from it."""
    return bytes(
        wasmtime.wat2wasm(
            f"(component {imports} (core module $m {core}) (core instance $i (instantiate $m {given})) {types} "
            f"{' '.join(functions)})"
        )
    )


def lifted(name: str, signature: str, core: str = "", *, memory: bool = True) -> str:
    """Return an exported function of a component, over the core function `core`, or the one of its own name."""
    options = '(memory (core memory $i "memory")) (realloc (core func $i "realloc"))' if memory else ""
    return f'(func (export "{name}") {signature} (canon lift (core func $i "{core or name}") {options}))'


def padded(kind: wit.AnyType) -> wit.Tuple:
    """Return the type that an echo takes and gives: the value, and numbers enough to have it passed in memory."""
    return wit.Tuple((kind, *[wit.U64] * PADDING))


def echoes(*kinds: wit.AnyType) -> bytes:
    """Return a component with a function `e0`, `e1`, ... for each type, which returns what it is given."""
    text = Wit()
    whole = [text(padded(kind)) for kind in kinds]
    functions = [lifted(f"e{i}", f'(param "x" {kind}) (result {kind})', "same") for i, kind in enumerate(whole)]
    same = '(func (export "same") (param i32) (result i32) local.get 0)'
    return component(MEMORY + same, *functions, types=" ".join(text.definitions))


_count: Final = itertools.count()


class Forgetful(CodeCache):
    """A place for compiled code that keeps nothing."""

    def keep_code(self, name: str, body: bytes) -> None:
        """Keep nothing."""

    def keep_interface(self, name: str, text: bytes) -> None:
        """Keep nothing."""


@functools.cache
def code_cache() -> CodeCache:
    """Return the place where the guests of tests are not kept."""
    return Forgetful(None)


def loaded(data: bytes | str, *, straight: bool = True) -> Module:
    """Return a module ready to run, compiled anew; a component not driven straight goes through the engine's values."""
    wasm = data.encode() if isinstance(data, str) else data
    if straight:
        return load(f"test{next(_count)}", wasm, code_cache())
    with mock.patch("ipvm_kernel.wasm.module.read", return_value="a test asks for it"):
        return load(f"test{next(_count)}", wasm, code_cache())


def run(
    module: Module,
    name: str,
    *values: wit.Value,
    limits: Limits | None = None,
    seed: bytes = b"seed",
    stop: Stop | None = None,
    report: Report | None = None,
) -> wit.Value:
    """Call a function with despecialised values."""
    return call(
        module,
        module.interface.find(name),
        values,
        limits=limits or Limits(),
        seed=seed,
        stop=stop or Stop(),
        report=report or Report(),
    )


class Files:
    """Where large values go in a test, in one dict. It is a scope for `author` too."""

    def __init__(self) -> None:
        self.kept: dict[CID, Any] = {}
        self.named = Named()

    def keep(self, data: bytes | memoryview) -> CID:
        """Keep bytes as a file."""
        cid = file_cid(data)
        self.kept[cid] = bytes(data)
        return cid

    def load(self, cid: Any) -> Any:
        """Return what a link means."""
        return self.kept[cid]

    def keep_file(self, path: os.PathLike[str]) -> CID:
        """Keep a file's bytes."""
        return self.keep(Path(path).read_bytes())

    def reference(self, value: object) -> Any:
        """Return the wire form of what stands for another value."""
        match value:
            case CID():
                return value
            case Promised(wire=wire):
                return wire
            case _:
                return None


class Promised:
    """Stands for a handle in a test of authoring."""

    def __init__(self, wire: Any) -> None:
        self.wire = wire


def failure(source: bytes | str, name: str = "f", *values: Any, **options: Any) -> Failure:
    """Return how a call fails."""
    with pytest.raises(Failure) as caught:
        run(loaded(source), name, *values, **options)
    return caught.value


def core(body: str, before: str = "") -> str:
    """Return a module whose function `f` has this body."""
    return f'(module {before} (func (export "f") {body}))'


def temporary() -> Path:
    """Return a new folder."""
    return Path(tempfile.mkdtemp(prefix="ipvm-test-"))
