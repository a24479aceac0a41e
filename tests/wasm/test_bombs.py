"""Guests made to be too much: for the compiler, the memory, a list, a screen. Each is tried in a process of its own."""

from __future__ import annotations

from tests.wasm.child import in_a_child


def test_poisoned_code_is_never_loaded() -> None:
    """
    Compiled code in which a bit has changed is compiled again, whichever bit it is, and never run.
    """
    printed = in_a_child("""
    from ipvm_kernel.wasm.cache import CodeCache
    from ipvm_kernel.wasm.module import load
    folder, source = temporary(), echoes(wit.STRING)
    load("m", source, CodeCache(folder))
    (code,) = folder.glob("*.cwasm")
    good = code.read_bytes()
    for i in range(40):
        bad = bytearray(good)
        bad[(i * 7919) % len(bad)] ^= 1 << i % 8
        code.write_bytes(bytes(bad))
        assert run(load("m", source, CodeCache(folder)), "e0", ("a", *[0] * 17))[0] == "a"
        assert code.read_bytes() == good
    code.write_bytes(good[:5000])
    assert run(load("m", source, CodeCache(folder)), "e0", ("a", *[0] * 17))[0] == "a"
    print("done")
    """)

    assert printed == "done\n"


def test_a_compile_bomb() -> None:
    """
    A module made to keep the compiler busy is given up at the deadline, and the kernel answers at once.
    """
    printed = in_a_child("""
    from ipvm_kernel.wasm import module
    def leb(n):
        out = b""
        while n >= 0x80:
            out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
        return out + bytes([n])
    def section(number, body):
        return bytes([number]) + leb(len(body)) + body
    count = 40_000
    body = b"\\x00" + b"\\x20\\x00\\x41\\x07\\x6c\\x41\\x03\\x6a\\x21\\x00" * 90 + b"\\x0b"
    bomb = b"\\0asm\\x01\\0\\0\\0" + section(1, b"\\x01\\x60\\x01\\x7f\\x00") + section(3, leb(count) + bytes(count))
    bomb += section(10, leb(count) + (leb(len(body)) + body) * count)
    module.COMPILE_SECONDS = 1.0
    began = time.monotonic()
    try:
        loaded(bomb)
    except BadModule as error:
        print(error, time.monotonic() - began < 4)
    """)

    assert printed == "the module of 36.2 MB was still compiling after 1.0 s and was stopped True\n"


def test_lists_without_end() -> None:
    """
    A list too long for a call is refused by name of the limit: at once, in either direction.
    """
    printed = in_a_child("""
    big = component(MEMORY.replace('"memory") 1', '"memory") 5000') +
        '(func (export "f") (param i32) (result i32) (i32.store (i32.const 20) (local.get 0)) (i32.const 16))',
        lifted("f", '(param "n" u32) (result (list u8))'), lifted("g", '(param "n" u32) (result (list string))', "f"))
    module = loaded(big)
    print(len(run(module, "f", 2_796_203)))
    for name, count in (("f", 1 << 28), ("f", 1 << 32 - 1), ("g", 9_000_000), ("g", 1 << 25)):
        try:
            run(module, name, count)
        except Failure as error:
            print(error.kind, error.own, error.message)
    echo = loaded(echoes(wit.BYTES, wit.List(wit.List(wit.F64)), wit.List(wit.STRING)))
    for name, value in (("e0", bytes(1 << 28)), ("e1", [b""] * (17 << 20)), ("e2", ["a"] * (17 << 20))):
        began = time.monotonic()
        try:
            run(echo, name, (value, *[0] * 17))
        except Failure as error:
            print(error.kind, error.message, time.monotonic() - began < 3)
    """)

    assert printed.splitlines() == [
        "2796203",
        "limit False the guest answered with a list or text of more than 268,435,455 bytes",
        "trap True the guest answered with a value that its own type does not allow",
        "limit False the guest answered with more than 16,777,216 values, the most that one call may pass",
        "limit False the guest answered with a list or text of more than 268,435,455 bytes",
        "limit an argument holds a list or text of more than 268,435,455 bytes True",
        *["limit the arguments take more than 16,777,216 values, the most that one call may pass True"] * 2,
    ]


def test_lists_without_end_through_the_engine() -> None:
    """
    A list too long for the engine's own values is refused by name of the limit: at once, in either direction.
    """
    printed = in_a_child("""
    big = component(MEMORY.replace('"memory") 1', '"memory") 2000') +
        '(func (export "f") (param i32) (result i32) (i32.store (i32.const 20) (local.get 0)) (i32.const 16))',
        lifted("f", '(param "n" u32) (result (list u8))'), lifted("g", '(param "n" u32) (result (list string))', "f"))
    module = loaded(big, straight=False)
    print(len(run(module, "f", 2_796_202)))
    for name, count in (("f", 2_796_203), ("f", 100_000_000), ("g", 5_000_000)):
        try:
            run(module, name, count)
        except Failure as error:
            print(error.kind, error.own, "2,796,202 elements" in error.message)
    echo = loaded(echoes(wit.BYTES, wit.List(wit.List(wit.F64)), wit.List(wit.STRING)), straight=False)
    for name, value in (("e0", bytes(17 << 20)), ("e1", [bytes(70 << 20)] * 2), ("e2", ["a"] * (17 << 20))):
        began = time.monotonic()
        try:
            run(echo, name, (value, *[0] * 17))
        except Failure as error:
            print(error.kind, error.message, time.monotonic() - began < 3)
    """)

    assert printed.splitlines() == [
        "2796202",
        *["limit False True"] * 3,
        *["limit the arguments take more than 16,777,216 values, the most that one call may pass True"] * 3,
    ]


def test_one_text_many_times() -> None:
    """
    A guest that answers with one megabyte of text two thousand times over is refused.
    """
    printed = in_a_child("""
    source = component(MEMORY.replace('"memory") 1', '"memory") 100') +
        '(func (export "f") (result i32) (local $i i32) (loop $l (i32.store (i32.add (i32.const 8192) (i32.mul (local.get $i) (i32.const 8))) (i32.const 65536))'
        '(i32.store (i32.add (i32.const 8196) (i32.mul (local.get $i) (i32.const 8))) (i32.const 1048576))'
        '(local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 2000))))'
        '(i32.store (i32.const 16) (i32.const 8192)) (i32.store (i32.const 20) (i32.const 2000)) (i32.const 16))',
        lifted("f", '(result (list string))'))
    for straight in (True, False):
        try:
            run(loaded(source, straight=straight), "f")
        except Failure as error:
            print(error.kind, error.message)
    """)

    assert printed.splitlines() == [
        "limit the guest answered with parts that lie on each other: more than 134,217,728 bytes in all",
        "limit the guest answered with more than one call may pass: 2,796,202 elements of lists, or 128 MiB of text",
    ]


def test_memories_and_tables_without_end() -> None:
    """
    Ninety memories, tables of a hundred million, 4 GiB from the start and memory that grows for ever: all are bounded.
    """
    printed = in_a_child("""
    import resource
    def end(source, **limits):
        try:
            return run(loaded(source), "f", limits=Limits(**limits))
        except (Failure, BadModule) as error:
            return type(error).__name__ + " " + getattr(error, "kind", "")
    f = '(func (export "f") (result i32) i32.const 7)'
    print(end(f"(module {'(memory 1024)' * 90} {f})"))
    modules = "".join(f'(core module $m{i} (memory 1024) {f}) (core instance $i{i} (instantiate $m{i}))' for i in range(90))
    print(end(f'(component {modules} (func (export "f") (result s32) (canon lift (core func $i0 "f"))))'))
    print(end(f"(module (table 100000000 funcref) {f})"))
    print(end(f"(module {'(table 1000000 funcref)' * 90} {f})"))
    print(end(f"(module (memory 65536) {f})"))
    print(end(f"(module (memory 65536) {f})", memory=1 << 28))
    print(end(f"(module (memory 65537) {f})"))
    storm = '''(module (memory 1) (func (export "f") (result i32) (local i32)
      (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536))) memory.size))'''
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(end(storm, memory=200 << 20))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < (264 << 10))
    """)

    assert printed.splitlines() == [
        "BadModule ",
        "Failure limit",
        "Failure limit",
        "Failure limit",
        "7",
        "Failure limit",
        "BadModule ",
        "3185",
        "True",
    ]


def test_a_machine_with_little_address_space() -> None:
    """
    Where the system gives no room for a guest's memory, the call fails and the process goes on.
    """
    printed = in_a_child(
        """
    module = loaded('(module (memory 1) (func (export "f") (result i32) i32.const 7))')
    try:
        print(run(module, "f"))
    except Failure as error:
        print(error.kind, error.own)
    """,
        memory=3 << 30,
    )

    assert printed == "host False\n"


def test_a_start_function_that_spins() -> None:
    """
    A module that spins while it starts ends at its time or when its fuel does, as a component too.
    """
    printed = in_a_child("""
    body = '(func $s (loop br 0)) (start $s) (func (export "f"))'
    for source in (f"(module {body})", component(body, lifted("f", "", memory=False))):
        for limits in (Limits(time=0.1), Limits(fuel=1000)):
            try:
                run(loaded(source), "f", limits=limits)
            except Failure as error:
                print(error.message)
    """)

    assert printed == "the time ran out: 0.1 s\nthe fuel ran out: 1,000\n" * 2


def test_nothing_of_a_guests_reaches_a_screen() -> None:
    """
    Whatever names a guest has chosen, no message of ours holds them unescaped: not in traps, refusals, limits or logs.
    """
    printed = in_a_child(r"""
    evil = "\x1b]0;pwn\x07<img src=x onerror=alert(1)>\u202e\nCaused by:\n    wasm trap: integer divide by zero"
    wat = "".join(c if c.isalnum() else "".join(f"\\{byte:02x}" for byte in c.encode()) for c in evil)
    messages = []
    def note(work):
        try:
            work()
        except (Failure, IpvmError) as error:
            messages.append(error.message)
    for body in ("unreachable", "(loop br 0)", "(call $f)", "(drop (i32.load (i32.const 99999)))"):
        source = f'(memory 1) (func $f (@name "{wat}") (export "{wat}") {body})'
        note(lambda: run(loaded(f'(module (@name "{wat}") {source})'), evil, limits=Limits(fuel=10_000)))
        note(lambda: run(loaded(component(source.replace(f'(export "{wat}")', '(export "f")'), lifted("f", "", memory=False))), "f", limits=Limits(fuel=10_000)))
    note(lambda: loaded(f'(module (import "{wat}" "{wat}" (func)))'))
    note(lambda: loaded(f'(module (func (export "{wat}") (result i32)))'))
    note(lambda: loaded(f'(module (func (export "f"))) ;; {evil}'.encode()))
    note(lambda: loaded(f'(module (func (export "f"))) {evil}'.encode()))
    note(lambda: loaded(f'(module (export "{wat}" (func 0)))').interface.find("x"))
    note(lambda: loaded(f'(module (func (export "{wat}")))').interface.find("x"))
    for message in messages:
        assert not set(message) & {"\x1b", "\x07", "\u202e"}, message
        assert "wasm trap" not in message or "\\n" in message, message
    print(len(messages))
    """)

    assert int(printed) >= 13
