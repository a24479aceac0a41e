"""Guests that ask something of their host: randomness, the time, a log, WASI."""

from __future__ import annotations

from tests.wasm.guests import MEMORY

RANDOM = '(export "get-random-bytes" (func (param "len" u64) (result (list u8)))) (export "get-random-u64" (func (result u64)))'
LEVEL = '(type $l (enum "trace" "debug" "info" "warn" "error" "critical")) (export "level" (type $level (eq $l)))'
LOG = f'{LEVEL} (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))'
TIME = (
    '(type $t (record (field "seconds" u64) (field "milliseconds" u32) (field "nanoseconds" u32)))'
    '(export "time" (type $time (eq $t)))'
)
HELPERS = f'{TIME} (export "get-current-time" (func (result $time))) (export "print" (func (param "msg" string)))'
DATE = '(type $d (record (field "seconds" u64) (field "nanoseconds" u32))) (export "datetime" (type $date (eq $d)))'


def guest(interface: str, items: str, core: str, functions: str, *, lowers: dict[str, str], before: str = "") -> bytes:
    """Return a component that imports one interface.

    Args:
        interface: Its name.
        items: What the component asks of it.
        core: The code; it imports `lowers` from "h" and the memory from "libc".
        functions: What the component exports, over the core instance $i.
        lowers: The functions that the code imports, and their core types.
        before: Other imports.
    """
    options = '(memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))'
    lowered = "".join(f'(core func ${name} (canon lower (func $host "{name}") {options}))' for name in lowers)
    imported = "".join(f'(import "h" "{name}" (func ${name} {kind}))' for name, kind in lowers.items())
    given = "".join(f'(export "{name}" (func ${name}))' for name in lowers)
    return (
        f'(component {before} (import "{interface}" (instance $host {items}))'
        f"(core module $libc {MEMORY}) (core instance $libc (instantiate $libc)) {lowered}"
        f'(core module $m {imported} (import "libc" "memory" (memory 1)) {core})'
        f'(core instance $i (instantiate $m (with "h" (instance {given})) (with "libc" (instance $libc))))'
        f"{functions.replace('OPTIONS', options)})"
    ).encode()


def random_guest(interface: str = "wasi:random/random@0.2.0", prefix: str = "get-random") -> bytes:
    """Return a component that passes on random bytes and numbers."""
    return guest(
        interface,
        RANDOM.replace("get-random", prefix),
        f'(func (export "bytes") (param i64) (result i32) (call ${prefix}-bytes (local.get 0) (i32.const 16)) (i32.const 16))'
        f'(func (export "number") (result i64) (call ${prefix}-u64))',
        '(func (export "bytes") (param "len" u64) (result (list u8)) (canon lift (core func $i "bytes") OPTIONS))'
        '(func (export "number") (result u64) (canon lift (core func $i "number")))',
        lowers={f"{prefix}-bytes": "(param i64 i32)", f"{prefix}-u64": "(result i64)"},
    )


def log_guest(name: str = "wasi:logging/logging", message: str = "(local.get 2) (local.get 3)") -> bytes:
    """Return a component that logs what it is given, as a warning."""
    return guest(
        name,
        LOG,
        '(func (export "f") (param i32 i32 i32 i32) '
        f"(call $log (i32.const 3) (local.get 0) (local.get 1) {message}))"
        '(func (export "many") (param i32 i32 i32) (loop $l (call $log (i32.const 2) (i32.const 0) (i32.const 0) (local.get 0)'
        "(local.get 1)) (local.set 2 (i32.sub (local.get 2) (i32.const 1))) (br_if $l (local.get 2))))",
        '(func (export "f") (param "c" string) (param "m" string) (canon lift (core func $i "f") OPTIONS))'
        '(func (export "many") (param "m" string) (param "n" u32) (canon lift (core func $i "many") OPTIONS))',
        lowers={"log": "(param i32 i32 i32 i32 i32)"},
    )


def counting(interface: str, function: str, kind: str, *, before: str = "", items: str = "") -> bytes:
    """Return a component that counts what a WASI function lists."""
    return guest(
        interface,
        f'{items} (export "{function}" (func (result (list {kind}))))',
        f'(func (export "f") (result i32) (call ${function} (i32.const 16)) (i32.load (i32.const 20)))',
        '(func (export "f") (result u32) (canon lift (core func $i "f")))',
        lowers={function: "(param i32)"},
        before=before,
    )
