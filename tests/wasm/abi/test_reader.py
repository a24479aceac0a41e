"""The reader of components: what it can drive, what it leaves to the engine, and what it refuses."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wasmtime

from ipvm_kernel.errors import BadModule
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.abi.component import Component, read
from ipvm_kernel.wasm.abi.wiring import Way
from tests.wasm.abi.twins import probes
from tests.wasm.child import in_a_child
from tests.wasm.guests import MEMORY, component, echoes, lifted, loaded, run
from tests.wasm.worlds import log_guest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel.wasm.module import Module

RECORD = wit.Record((wit.Field("a", wit.U8), wit.Field("b", wit.List(wit.STRING))))
VARIANT = wit.Variant((wit.Case("x", RECORD), wit.Case("y", None), wit.Case("z", wit.F64)))


def made(text: bytes | str) -> bytes:
    """Return the binary of a component."""
    return bytes(wasmtime.wat2wasm(text if isinstance(text, str) else text.decode()))


SAMPLES = {
    "types": probes([VARIANT, wit.Option(wit.Flags(("a", "b"))), wit.Result(None, wit.Enum(("e", "f")))]),
    "imports": made(log_guest()),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_component_that_is_cut_short(name: str) -> None:
    """
    A component that ends anywhere but where it should is refused, or left to the engine, which refuses it.
    """
    data = SAMPLES[name]
    assert isinstance(read(data), Component)

    for end in range(len(data)):
        shorter, said = reading(data[:end])
        assert "\n" not in said
        if isinstance(shorter, Component):  # cut between two sections, it is a component that has less
            assert end in section_ends(data)


def reading(data: bytes) -> tuple[Component | None, str]:
    """Return what is read of a binary, or what is said instead."""
    try:
        found = read(data)
    except BadModule as error:
        return None, error.message
    return (None, found) if isinstance(found, str) else (found, "")


def section_ends(data: bytes) -> set[int]:
    """Return where the sections of a binary end."""
    at, ends = 8, {8}
    while at < len(data):
        at += 1
        length = shift = 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        at += length
        ends.add(at)
    return ends


@pytest.mark.parametrize("name", SAMPLES)
def test_a_component_that_is_altered_anywhere(name: str) -> None:
    """
    Whichever byte is altered, to whatever, the reader says in one line what is wrong, or why the engine is asked, or reads it.
    """
    data, dice = SAMPLES[name], random.Random(7)
    for at in range(len(data)):
        for value in {0, 0x7F, 0x80, 0xFF, data[at] ^ 1, dice.randrange(256)} - {data[at]}:
            altered = bytearray(data)
            altered[at] = value
            assert "\n" not in reading(bytes(altered))[1]


def test_noise_after_a_header() -> None:
    """
    Nor does noise that begins like a component do more.
    """
    dice = random.Random(11)
    for _ in range(3_000):
        noise = bytes(
            dice.choice((0, 1, 2, 3, 7, 8, 10, 11, 0x40, 0x7F, 0x80, 0xFF)) for _ in range(dice.randrange(60))
        )
        assert "\n" not in reading(b"\0asm\x0d\0\x01\0" + noise)[1]


def altering(count: int, seed: int) -> str:
    """Alter a component many times in a process of its own; return how many were taken and how many refused."""
    return in_a_child(
        f"""
    import random
    from tests.wasm.abi.test_reader import SAMPLES
    from tests.wasm.abi.twins import end
    dice, taken, refused = random.Random({seed}), 0, 0
    for _ in range({count}):
        data = bytearray(dice.choice(list(SAMPLES.values())))
        for _ in range(dice.choice((1, 1, 2, 5))):
            data[dice.randrange(len(data))] = dice.choice((0, 1, 2, 0x7F, 0xFF, dice.randrange(256)))
        found = []
        for straight in (True, False):
            try:
                found.append(loaded(bytes(data), straight=straight))
            except BadModule as error:
                assert "\\n" not in error.message
                found.append(None)
        mine, theirs = found
        assert (mine is None) == (theirs is None), (mine, theirs, bytes(data).hex())
        if mine is None:
            refused += 1
            continue
        taken += 1
        assert mine.interface.functions == theirs.interface.functions
        for signature in mine.interface.functions:
            values = [ZERO[type(param.type)] for param in signature.params if type(param.type) in ZERO]
            if len(values) == len(signature.params):
                limits = Limits(fuel=100_000)
                assert end(mine, signature.name, *values, limits=limits) == end(theirs, signature.name, *values, limits=limits)
    print(taken, refused)
    """.replace(
            "dice, taken", "ZERO = {wit.String: 'abc', wit.Int: 1, wit.Bool: True, wit.Float: 0.5}\n    dice, taken", 1
        ),
        seconds=600,
    )


def test_altered_components_run_as_in_the_engine() -> None:
    """
    What we take of altered components is what the engine takes, and a call of one ends in the same way.
    """
    taken, refused = map(int, altering(250, seed=1).split())

    assert taken > 10
    assert refused > 10


@pytest.mark.torture
def test_very_many_altered_components() -> None:
    """
    As above, longer.
    """
    assert sum(map(int, altering(8_000, seed=2).split())) == 8_000


# --- what goes which way ----------------------------------------------------------------------------------------------

ADD = '(core module $m (func (export "f") (result i32) (i32.const 7))) (core instance $i (instantiate $m))'
LIFT = '(func (export "f") (result u32) (canon lift (core func $i "f")))'

LEFT = {
    "a nested component": (
        f'(component (component $c {ADD} {LIFT}) (instance $n (instantiate $c)) (export "f" (func $n "f")))',
        "it has a nested component",
    ),
    "a resource of its own": (
        f"(component (type $r (resource (rep i32))) (core func $new (canon resource.new $r)) {ADD} {LIFT})",
        "it defines resources",
    ),
    "a resource of the host": (
        (
            '(component (import "wasi:io/error@0.2.0" (instance $h (export "error" (type (sub resource)))))'
            f'(alias export $h "error" (type $e)) (core func $drop (canon resource.drop $e)) {ADD} {LIFT})'
        ),
        "it uses the resource 'error' of wasi:io/error@0.2.0",
    ),
    "a function of WASI itself": (
        (
            '(component (import "wasi:cli/environment@0.2.0" (instance $h (export "get-arguments" (func (result (list string))))))'
            f'(core module $libc {MEMORY}) (core instance $libc (instantiate $libc)) (core func $a (canon lower (func $h "get-arguments")'
            f' (memory (core memory $libc "memory")) (realloc (core func $libc "realloc")))) {ADD} {LIFT})'
        ),
        "it imports 'get-arguments' of wasi:cli/environment@0.2.0, which WASI itself serves",
    ),
    "two passes": (
        (
            f'(component {ADD} (func $f (result u32) (canon lift (core func $i "f"))) (core func $l (canon lower (func $f)))'
            f'(export "f" (func $f)))'
        ),
        "it calls a function that it exports as if it were imported",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_to_the_engine(name: str) -> None:
    """
    What cannot be driven straight runs through the engine, and says why.
    """
    source, why = LEFT[name]
    module = loaded(source)

    assert module.straight is None
    assert module.interface.way == f"values go through the engine's own: {why}"
    assert run(module, "f") == 7


def test_what_is_driven_straight() -> None:
    """
    A component of core modules is driven straight, and so says.
    """
    assert loaded(echoes(VARIANT)).interface.way == "values go straight into its memory and out of it"
    assert loaded('(module (func (export "f")))').interface.way == "numbers are passed as they are"


def test_homestars_components(homestar_module: Callable[[str], Module]) -> None:
    """
    Of Homestar's components, those that use files of WASI go through the engine, and all others straight.
    """
    folder = Path(os.environ["IPVM_HOMESTAR_FIXTURES"])
    files = {"example_test_wasi_component.wasm", "example_test_cargo_component_wasi.wasm"}
    names = [path.name for path in folder.glob("*component*.wasm")]

    assert {name for name in names if homestar_module(name).straight is None} == files


def test_a_wiring_is_kept_and_read_again() -> None:
    """
    What was read of a component is kept as text, and read again as it was; the text of another version is not.
    """
    found = read(component(MEMORY + '(func (export "f"))', lifted("f", "")))
    assert isinstance(found, Component)
    text = Way(found.wiring).to_bytes()

    kept = Way.from_bytes(text)

    assert kept is not None
    assert kept.wiring == found.wiring
    assert Way.from_bytes(text.replace(b'"form":1', b'"form":0')) is None
    assert Way.from_bytes(b"{") is None
