"""What a binary says of itself, and binaries that are broken."""

from __future__ import annotations

import random
import subprocess
from typing import TYPE_CHECKING

import pytest
import wasmtime

from ipvm_kernel.errors import BadModule
from ipvm_kernel.wasm import binary
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.machine import engine
from tests.peers import needs
from tests.wasm.child import in_a_child
from tests.wasm.guests import echoes

if TYPE_CHECKING:
    from pathlib import Path

GROW = "(drop (memory.grow (i32.const 1)))"
ZERO = "(v128.const i64x2 0 0)"
SHUFFLE = f"(drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 {ZERO} {ZERO}))"


def module(body: str, *, params: str = "", memory: str = "(memory 1)") -> bytes:
    """Return a module with one function."""
    return bytes(wasmtime.wat2wasm(f'(module {memory} (table 1 funcref) (func (export "f") {params} {body}))'))


GROWS = [
    GROW,
    f"(if (i32.const 0) (then unreachable)) {GROW}",
    f"(block (block (br_table 0 1 0 (i32.const 0)))) {GROW}",
    f"(drop (f64.const 2.5)) {GROW}",
    f"(drop (v128.const i64x2 64 64)) {SHUFFLE} {GROW}",
    f"(drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 0))) {GROW}",
    f"(drop (i32.load offset=64 (i32.const 0))) (memory.copy (i32.const 0) (i32.const 0) (i32.const 1)) {GROW}",
    f"(call_indirect (type 0) (i32.const 0)) {GROW}",
    f"(drop (ref.null func)) (drop (ref.is_null (ref.null func))) {GROW}",
]

# Bytes 40 00 that are no memory.grow.
NO_GROWS = [
    "",
    "(if (i32.const 0) (then unreachable))",
    "(block unreachable)",
    "(loop unreachable)",
    "(block (block (br_table 0 1 0 (i32.const 0)))) (if (i32.const 0) (then unreachable))",
    "(drop (i64.const 64))",
    "(drop (i32.const 64))",
    "(drop (f64.const 32))",  # 00 00 00 00 00 00 40 40, and 00 after it
    "(drop (f64.reinterpret_i64 (i64.const 0x0040004000400040)))",
    "(drop (f32.const 2.0000076))",
    "(drop (v128.const i64x2 0x0040004000400040 0x4000))",
    "(drop (v128.load offset=64 (i32.const 0)))",
    "(drop (v128.load8_lane offset=64 0 (i32.const 0) (v128.const i64x2 0 0)))",
    "(drop (i8x16.extract_lane_s 0 (v128.const i64x2 64 0)))",
    "(drop (i32.load8_u offset=64 (i32.const 0)))",
    "(drop (memory.size)) (if (i32.const 0) (then unreachable))",
    "(drop (i32.trunc_sat_f64_s (f64.const 2))) (if (i32.const 0) (then unreachable))",
    "(memory.fill (i32.const 0) (i32.const 64) (i32.const 0)) (if (i32.const 0) (then unreachable))",
    "(drop (table.grow 0 (ref.null func) (i32.const 64))) (if (i32.const 0) (then unreachable))",
    "(local i64 f64 v128 funcref) (if (i32.const 0) (then unreachable))",
    "(drop (select (result i32) (i32.const 64) (i32.const 0) (i32.const 0))) (block unreachable)",
]


@pytest.mark.parametrize("body", GROWS)
def test_memory_grow_is_found(body: str) -> None:
    """
    A function that can ask for more memory is known as one, whatever stands before the instruction.
    """
    assert binary.grows_memory(module(body))


@pytest.mark.parametrize("body", NO_GROWS)
def test_what_only_looks_like_memory_grow(body: str) -> None:
    """
    A function that cannot ask for memory keeps its answers under a limit, whatever bytes it holds.
    """
    assert not binary.grows_memory(module(body))


def test_typed_references_are_read_past() -> None:
    """
    A type of more than one byte does not hide what comes after it.
    """
    data = bytes(
        wasmtime.wat2wasm(
            f"(module (type $t (func)) (memory 1) (func (local (ref null $t)) (block (result (ref null $t)) "
            f"(ref.null $t)) (drop) (drop (br_on_null 0 (ref.null $t))) {GROW}))"
        )
    )
    without = data.replace(b"\x41\x01\x40\x00\x1a", b"\x41\x01\x45\x01\x1a")

    assert binary.grows_memory(data)
    assert not binary.grows_memory(without)


def test_an_unknown_instruction_counts_as_growing() -> None:
    """
    Where this reader does not understand a function, it says the careful thing.
    """
    data = module("(drop (i64.const 64)) unreachable (block unreachable)").replace(b"\x42\xc0\x00", b"\xfe\x03\x00")

    assert binary.grows_memory(data)


def test_components_are_looked_into() -> None:
    """
    Modules inside a component, at any depth, are read like a module by itself.
    """
    inside = f"(core module (memory 1) (func {GROW}))"
    outer = bytes(wasmtime.wat2wasm(f"(component (component (component {inside} (core module (memory 2)))))"))
    still = bytes(wasmtime.wat2wasm("(component (component (core module (func (block unreachable)))))"))

    assert binary.grows_memory(outer)
    assert binary.memories(outer) == 2
    assert not binary.grows_memory(still)
    assert len(list(binary.core_modules(outer))) == 2


def _generated(tool: Path, seed: int) -> tuple[bytes, str]:
    """Return a random valid module and its text."""
    source = random.Random(seed).randbytes(4000)
    made = subprocess.run([tool, "smith", "--ensure-termination"], input=source, capture_output=True, check=True).stdout
    text = subprocess.run([tool, "print", "-"], input=made, capture_output=True, check=True).stdout
    return made, text.decode("utf-8", "replace")


def _disagreement(tool: Path, seed: int) -> str | None:
    made, text = _generated(tool, seed)
    grows = "memory.grow" in text
    if grows and not binary.grows_memory(made):
        return f"{seed}: a memory.grow was missed"
    try:
        wasmtime.Module.validate(engine(), made)
    except wasmtime.WasmtimeError:
        return None  # it uses what is off here, and is refused
    return None if grows == binary.grows_memory(made) else f"{seed}: there is no memory.grow"


def test_random_modules() -> None:
    """
    Random modules of every instruction are read as wasm-tools reads them.
    """
    tool = needs("wasm-tools")

    assert [found for seed in range(25) if (found := _disagreement(tool, seed))] == []


@pytest.mark.torture
def test_very_many_random_modules() -> None:
    """
    As above, for thousands.
    """
    tool = needs("wasm-tools")

    assert [found for seed in range(100, 1500) if (found := _disagreement(tool, seed))] == []


# --- broken ones ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "found nothing"),
        (b"\x7fELF\x02\x01\x01\x00", "found 7f 45 4c 46"),
        (b"<html>", "not Wasm"),
        (b"\0asm", "the header is 00 61 73 6d"),
        (b"\0asm\x02\0\0\0", "not a Wasm version"),
        (b"\xef\xbb\xbf(module)", "not Wasm"),
    ],
)
def test_not_wasm(data: bytes, words: str) -> None:
    """
    Bytes that are no Wasm are refused, and the message shows how they begin.
    """
    with pytest.raises(BadModule, match=words):
        binary.kind_of(data)


@pytest.mark.parametrize(
    "text", [b"(module)", b"  \n(component)", b";; note\n(module)", b"(; a (;b;) ;)\n;; c\n (module)"]
)
def test_text_is_told_from_binary(text: bytes) -> None:
    """
    WAT is known by its first bracket, after any comments.
    """
    assert binary.is_text(text)
    assert not binary.is_text(b"\0asm(module)")


def test_sections_that_run_past_the_end() -> None:
    """
    A length that leads nowhere is an error, not a crash and not a read beyond.
    """
    with pytest.raises(BadModule, match="cut short"):
        binary.has_component_type(b"\0asm\x01\0\0\0\x00\xff\xff\xff\xff\x0f")
    with pytest.raises(BadModule, match="no number ends"):
        binary.has_component_type(b"\0asm\x01\0\0\0\x00" + b"\xff" * 20)
    with pytest.raises(BadModule, match="no number ends"):
        binary.grows_memory(b"\0asm\x01\0\0\0\x0a\x06\x01\x04\x40\x00\xff\xff")


SWEEP = """
    data = bytes.fromhex({data!r})
    seen = {{"loaded": 0, "refused": 0}}
    def look(changed):
        try:
            loaded(changed)
            seen["loaded"] += 1
        except BadModule as error:
            assert len(error.message) < 2500 and error.message.isprintable() or "\\n" in error.message
            seen["refused"] += 1
        for ask in (binary.memories, binary.grows_memory, binary.has_component_type):
            try:
                ask(changed)
            except BadModule:
                pass
    from ipvm_kernel.wasm import binary
    for at in range(len(data)):
        look(data[:at])
        for flip in {flips!r}:
            look(data[:at] + bytes([data[at] ^ flip]) + data[at + 1:])
    print(min(seen.values()) > 0)
"""


@pytest.mark.parametrize("kind", ["module", "component"])
def test_every_byte_cut_or_changed(kind: str) -> None:
    """
    A module cut short anywhere, or changed at any byte, loads or is refused; nothing else happens.
    """
    small = module(f"(if (local.get 0) (then {GROW}))", params="(param i32)")
    data = small if kind == "module" else echoes(wit.Option(wit.STRING))

    assert in_a_child(SWEEP.format(data=data.hex(), flips=[0x01, 0x80] if kind == "module" else [0x41])) == "True\n"


@pytest.mark.torture
@pytest.mark.parametrize("kind", ["module", "component"])
def test_every_byte_changed_in_every_way(kind: str) -> None:
    """
    As above, with all values, or many.
    """
    small = module(f"(if (local.get 0) (then {GROW}))", params="(param i32)")
    data = small if kind == "module" else echoes(wit.Option(wit.STRING))
    flips = list(range(1, 256, 1 if kind == "module" else 8))

    assert in_a_child(SWEEP.format(data=data.hex(), flips=flips), seconds=1200) == "True\n"
