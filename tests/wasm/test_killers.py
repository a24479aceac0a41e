"""The ways in which a guest, or how it is called, could end this process: each is tried in a process of its own.

A crash of the child is what each of these tests would see; so is a hang.
"""

from __future__ import annotations

import pytest

from ipvm_kernel.wasm import machine
from tests.wasm.child import in_a_child

SPIN = """(module (func (export "f") (loop br 0)))"""
DEEP = """(module (func $f (export "f") (param i64 i64 i64 i64) (call $f (local.get 0) (local.get 1) (local.get 2) (local.get 3))))"""
LOG = "from tests.wasm.worlds import log_guest, random_guest\n"


def test_interrupt_while_the_host_is_asked() -> None:
    """
    Ctrl-C while a guest talks to its host is a KeyboardInterrupt, wherever in the conversation it comes.
    """
    printed = in_a_child(
        LOG
        + """
talking, seen = loaded(log_guest()), 0
for attempt in range(12):
    threading.Timer(0.02 + attempt * 0.0007, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        run(talking, "many", "x", 2**32 - 1)
    except KeyboardInterrupt:
        seen += 1
print(seen)
"""
    )

    assert printed == "12\n"


def test_interrupt_while_a_guest_spins() -> None:
    """
    Ctrl-C ends a guest that spins on the main thread, within 200 ms, and the next call runs.
    """
    printed = in_a_child(f"""
    spinning, fine = loaded({SPIN!r}), loaded('(module (func (export "f") (result i32) i32.const 7))')
    for _ in range(3):
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        try:
            run(spinning, "f")
        except KeyboardInterrupt:
            print(time.monotonic() - began < 0.3, run(fine, "f"))
    """)

    assert printed == "True 7\n" * 3


def test_python_ends_while_guests_run() -> None:
    """
    A notebook that is closed while guests spin and talk ends like any other.
    """
    snippet = (
        LOG
        + f"""
spinning, talking = loaded({SPIN!r}), loaded(log_guest())
def call(module, name, *values):
    try:
        run(module, name, *values, limits=Limits(time=30.0))
    except Failure:
        pass
for module, name, *values in [(spinning, "f"), (talking, "many", "x", 2**32 - 1), (talking, "many", "y", 2**32 - 1)]:
    threading.Thread(target=call, args=(module, name, *values), daemon=True).start()
time.sleep(0.2)
"""
    )

    assert [in_a_child(snippet) for _ in range(3)] == [""] * 3


def test_characters_that_are_none() -> None:
    """
    A lone surrogate where a character is expected is an error of Python's.
    """
    printed = in_a_child("""
    from ipvm_kernel.errors import BadArgument
    from ipvm_kernel.wasm.lowering import lower
    module = loaded(echoes(wit.CHAR, wit.List(wit.CHAR), wit.STRING))
    for try_ in (lambda: lower(wit.CHAR, "\\ud800", None), lambda: lower(wit.STRING, "\\udfff", None),
                 lambda: run(module, "e0", ("\\ud800", *[0] * 17)), lambda: run(module, "e1", (["\\udfff"], *[0] * 17)),
                 lambda: run(module, "e2", ("\\udfff", *[0] * 17))):
        try:
            try_()
        except (BadArgument, ValueError) as error:
            print(type(error).__name__)
    """)

    assert printed.split() == ["BadArgument", "BadArgument", "ValueError", "ValueError", "UnicodeEncodeError"]


def test_wasi_has_a_context() -> None:
    """
    A guest that uses WASI finds one, whatever it calls first.
    """
    printed = in_a_child(
        LOG
        + """
from tests.wasm.worlds import counting
module = loaded(counting("wasi:cli/environment@0.2.0", "get-environment", "(tuple string string)"))
print([run(module, "f") for _ in range(3)])
"""
    )

    assert printed == "[0, 0, 0]\n"


def test_many_threads_at_one_module() -> None:
    """
    Any number of threads call one module at once; each call has a store of its own.
    """
    printed = in_a_child(
        LOG
        + """
module, wrong = loaded(echoes(wit.STRING, wit.BYTES)), []
def work(name):
    for i in range(200):
        if run(module, "e0", (name, *[0] * 17))[0] != name or run(module, "e1", (name.encode(), *[0] * 17))[0] != name.encode():
            wrong.append(name)
threads = [threading.Thread(target=work, args=(f"thread {i}" * i,)) for i in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(wrong)
"""
    )

    assert printed == "[]\n"


def test_failures_of_the_host_in_many_threads() -> None:
    """
    When functions of the host fail in several threads at once, each call gets its own failure, and none is lost.
    """
    printed = in_a_child(
        LOG
        + """
module, wrong = loaded(log_guest()), []
def add(self, level, context, message):
    raise [ValueError, KeyError, KeyboardInterrupt, SystemExit][int(message)]
host.Log.add = add
def work(number, name):
    for _ in range(300):
        try:
            run(module, "f", "", str(number))
        except Failure as error:
            if error.message != f"a function of the host failed: {name}":
                wrong.append(error.message)
        else:
            wrong.append("no failure")
names = ["ValueError", "KeyError", "KeyboardInterrupt", "SystemExit"]
threads = [threading.Thread(target=work, args=pair) for pair in enumerate(names)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(wrong)
"""
    )

    assert printed == "[]\n"


def test_the_engine_is_made_with_settings_that_go_together() -> None:
    """
    The stack of a guest is far below what the engine would abort at.
    """
    assert machine.STACK_BYTES <= 1 << 20
    assert in_a_child("print(machine.engine() is machine.engine())") == "True\n"


@pytest.mark.parametrize("kilobytes", [64, 256, 1024])
def test_deep_recursion_on_a_small_stack(kilobytes: int) -> None:
    """
    A guest that calls itself for ever fails by itself, on a thread with hardly any stack as on any other.
    """
    printed = in_a_child(f"""
    module = loaded({DEEP!r})
    def work():
        try:
            run(module, "f", 1, 2, 3, 4)
        except Failure as error:
            print(error.kind)
    threading.stack_size({kilobytes} << 10)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    work()
    """)

    assert printed == "limit\nlimit\n"


def test_deep_recursion_of_python() -> None:
    """
    A guest called from the depths of Python's own recursion runs, or is a RecursionError, and never a crash.
    """
    printed = in_a_child(
        LOG
        + """
module, ends = loaded(log_guest()), set()
def down(depth):
    if depth < 1200:
        try:
            down(depth + 1)
        except RecursionError:
            pass
    try:
        run(module, "f", "a", "b")
        ends.add("ran")
    except (RecursionError, Failure):
        ends.add("too deep")
def work():
    down(0)
threading.stack_size(64 << 20)
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(sorted(ends))
"""
    )

    assert printed == "['ran', 'too deep']\n"


def test_a_fork_can_compile_and_run() -> None:
    """
    After a fork, the child runs what was compiled before, compiles anew, and keeps its deadlines and its locks.
    """
    printed = in_a_child(
        f"""
    from ipvm_kernel.wasm.library import Library
    from ipvm_kernel.ipld.unixfs import file_cid
    before, spin = loaded(echoes(wit.STRING)), loaded({SPIN!r})
    source = echoes(wit.BYTES)
    library, cid = Library(None), file_cid(source)
    threading.Thread(target=lambda: library.module(cid, lambda _: time.sleep(0.5) or source)).start()
    time.sleep(0.1)
    child = os.fork()
    if not child:
        assert run(before, "e0", ("child", *[0] * 17))[0] == "child"
        assert run(loaded(echoes(wit.U8)), "e0", (7, *[0] * 17))[0] == 7
        assert run(library.module(cid, lambda _: source), "e0", (b"x", *[0] * 17))[0] == b"x"
        try:
            run(spin, "f", limits=Limits(time=0.1))
        except Failure as error:
            assert error.message == "the time ran out: 0.1 s"
        os._exit(0)
    print(os.waitpid(child, 0)[1], run(before, "e0", ("parent", *[0] * 17))[0])
    """,
        seconds=20,
    )

    assert printed == "0 parent\n"
