"""What a guest may ask of its host: the same answers everywhere, and a refusal by name for the rest."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest

from ipvm_kernel.errors import BadModule
from ipvm_kernel.wasm import host
from ipvm_kernel.wasm.limits import Limits, Report
from ipvm_kernel.wasm.runtime import Failure
from tests.wasm.guests import loaded, run
from tests.wasm.worlds import DATE, HELPERS, counting, guest, log_guest, random_guest

# --- randomness and clocks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interface", "prefix"),
    [
        ("wasi:random/random@0.2.0", "get-random"),
        ("wasi:random/random@0.2.6", "get-random"),
        ("wasi:random/insecure@0.2.3", "get-insecure-random"),
    ],
)
def test_randomness_follows_from_the_task(interface: str, prefix: str) -> None:
    """
    Random numbers are the same each time that the same task runs, and others for another task.
    """
    module = loaded(random_guest(interface, prefix))

    first = run(module, "bytes", 40, seed=b"one")

    assert first == run(module, "bytes", 40, seed=b"one")
    assert first == hashlib.shake_256(b"one" + (1).to_bytes(8, "little")).digest(40)
    assert first != run(module, "bytes", 40, seed=b"two")
    assert run(module, "number", seed=b"one") == int.from_bytes(first[:8], "little")
    assert run(module, "bytes", 0) == b""


def test_a_million_random_bytes() -> None:
    """
    A guest may ask for many random bytes, and for too many it is told so.
    """
    module = loaded(random_guest())

    assert len(set(run(module, "bytes", 1_000_000))) == 256
    for count in (host.RANDOM_BYTES + 1, 2**63, 2**64 - 1):
        with pytest.raises(Failure, match="the guest asked for more than 8,388,608 random bytes") as caught:
            run(module, "bytes", count)
        assert (caught.value.kind, caught.value.own) == ("limit", False)


def test_the_seed_of_hash_tables() -> None:
    """
    The seed that languages take for their hash tables follows from the task too.
    """
    module = loaded(
        guest(
            "wasi:random/insecure-seed@0.2.0",
            '(export "insecure-seed" (func (result (tuple u64 u64))))',
            '(func (export "f") (result i32) (call $insecure-seed (i32.const 16)) (i32.const 16))',
            '(func (export "f") (result (tuple u64 u64)) (canon lift (core func $i "f") OPTIONS))',
            lowers={"insecure-seed": "(param i32)"},
        )
    )

    assert run(module, "f", seed=b"one") == run(module, "f", seed=b"one") != run(module, "f", seed=b"two")


def test_clocks_stand_still() -> None:
    """
    It is always midnight of the first of January 1970, and no time goes by.
    """
    wall = loaded(
        guest(
            "wasi:clocks/wall-clock@0.2.0",
            f'{DATE} (export "now" (func (result $date))) (export "resolution" (func (result $date)))',
            '(func (export "f") (result i32) (call $now (i32.const 16)) (i32.const 16))'
            '(func (export "g") (result i32) (call $resolution (i32.const 16)) (i32.const 16))',
            '(func (export "f") (result (tuple u64 u32)) (canon lift (core func $i "f") OPTIONS))'
            '(func (export "g") (result (tuple u64 u32)) (canon lift (core func $i "g") OPTIONS))',
            lowers={"now": "(param i32)", "resolution": "(param i32)"},
        )
    )
    steady = loaded(
        guest(
            "wasi:clocks/monotonic-clock@0.2.0",
            '(export "now" (func (result u64))) (export "resolution" (func (result u64)))',
            '(func (export "f") (result i64) (call $now)) (func (export "g") (result i64) (call $resolution))',
            '(func (export "f") (result u64) (canon lift (core func $i "f")))'
            '(func (export "g") (result u64) (canon lift (core func $i "g")))',
            lowers={"now": "(result i64)", "resolution": "(result i64)"},
        )
    )

    assert (run(wall, "f"), run(wall, "g")) == ((0, 0), (1, 0))
    assert (run(steady, "f"), run(steady, "g")) == (0, 1)


@pytest.mark.parametrize("version", ["0.0.1", "0.1.1"])
def test_homestars_helpers(version: str) -> None:
    """
    Homestar's helpers are there in both versions: a time that stands still, and a way to print.
    """
    module, report = (
        loaded(
            guest(
                f"homestar:host/helpers@{version}",
                HELPERS,
                '(func (export "f") (result i32) (call $get-current-time (i32.const 16)) (i32.const 16))'
                '(func (export "say") (param i32 i32) (call $print (local.get 0) (local.get 1)))',
                '(func (export "f") (result (tuple u64 u32 u32)) (canon lift (core func $i "f") OPTIONS))'
                '(func (export "say") (param "m" string) (canon lift (core func $i "say") OPTIONS))',
                lowers={"get-current-time": "(param i32)", "print": "(param i32 i32)"},
            )
        ),
        Report(),
    )
    run(module, "say", "hello", report=report)

    assert run(module, "f") == (0, 0, 0)
    assert report.log == "info hello"


# --- the log ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wasi:logging/logging", "wasi:logging/logging@0.1.0-draft"])
def test_what_a_guest_says_is_kept(name: str) -> None:
    """
    What a guest logs is kept beside its answer, with level and context, and nothing in it acts on a terminal.
    """
    module, report = loaded(log_guest(name)), Report()
    run(module, "f", "ctx", "a\x1b]0;pwn\x07\n<img src=x>\u202e", report=report)

    assert report.log == "warn ctx: a\\x1b]0;pwn\\x07\n<img src=x>\\u202e"


def test_a_flood_of_messages_is_bounded() -> None:
    """
    A guest that logs without end fills a megabyte, and the rest is counted.
    """
    module, report = loaded(log_guest()), Report()
    run(module, "many", "\x1b" * 1000, 2000, report=report)

    assert len(report.log) < 1.01 * host.LOG_BYTES
    lines = report.log.splitlines()
    assert lines[-1] == f"… {2000 - (len(lines) - 1):,} more messages dropped"


def test_one_enormous_message() -> None:
    """
    A message that is larger than the log is dropped as a whole.
    """
    module, report = loaded(log_guest()), Report()
    run(module, "f", "c", "x" * (host.LOG_BYTES + 1), report=report)

    assert report.log == "… 1 more message dropped"


def test_a_log_survives_a_trap() -> None:
    """
    What a guest said before it failed is there when one looks for the reason.
    """
    trapping = log_guest().replace(b"(local.get 2) (local.get 3)))", b"(local.get 2) (local.get 3)) unreachable)", 1)
    module, report = loaded(trapping), Report()
    with pytest.raises(Failure):
        run(module, "f", "", "so far", report=report)

    assert report.log == "warn so far"


def test_each_call_has_its_own_host() -> None:
    """
    Calls at the same time in many threads never see each other's log or randomness.
    """
    module, numbers, wrong = loaded(log_guest()), loaded(random_guest()), []

    def work(name: str) -> None:
        expected = run(numbers, "number", seed=name.encode())
        for _ in range(50):
            report = Report()
            run(module, "f", "", name, report=report)
            if report.log != f"warn {name}" or run(numbers, "number", seed=name.encode()) != expected:
                wrong.append((name, report.log))

    threads = [threading.Thread(target=work, args=(f"thread {i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_bytes_that_are_no_text() -> None:
    """
    A guest that logs bytes which are no UTF-8 has trapped, and the host goes on.
    """
    module = loaded(log_guest(message="(i32.const 4096) (i32.const 1)").replace(
        b'(import "libc" "memory" (memory 1))', b'(import "libc" "memory" (memory 1)) (data (i32.const 4096) "\\ff")'
    ))  # fmt: skip
    with pytest.raises(Failure) as caught:
        run(module, "f", "", "")

    assert (caught.value.kind, caught.value.own) == ("trap", True)


# --- WASI 0.2 ---------------------------------------------------------------------------------------------------------


def test_wasi_gives_nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A guest finds no environment, no arguments and no folders, whatever this process has.
    """
    monkeypatch.setenv("SECRET", "swordfish")
    environment = counting("wasi:cli/environment@0.2.0", "get-environment", "(tuple string string)")
    arguments = counting("wasi:cli/environment@0.2.0", "get-arguments", "string")
    folders = counting(
        "wasi:filesystem/preopens@0.2.0",
        "get-directories",
        "(tuple (own $own) string)",
        before='(import "wasi:filesystem/types@0.2.0" (instance $types (export "descriptor" (type (sub resource)))))'
        '(alias export $types "descriptor" (type $descriptor))',
        items='(alias outer 1 $descriptor (type $outer)) (export "descriptor" (type $own (eq $outer)))',
    )

    assert [run(loaded(source), "f") for source in (environment, arguments, folders)] == [0, 0, 0]


@pytest.mark.parametrize(("status", "code"), [(0, 0), (1, 1)])
def test_a_guest_that_exits(status: int, code: int) -> None:
    """
    A guest that exits ends its call with its status, and never this process.
    """
    module = loaded(
        guest(
            "wasi:cli/exit@0.2.0",
            '(export "exit" (func (param "status" (result))))',
            f'(func (export "f") (call $exit (i32.const {status})))',
            '(func (export "f") (canon lift (core func $i "f")))',
            lowers={"exit": "(param i32)"},
        )
    )
    with pytest.raises(Failure) as caught:
        run(module, "f")

    assert (caught.value.kind, caught.value.own, caught.value.message) == (
        "trap", True, f"the guest exited with status {code}",
    )  # fmt: skip


# --- refusals ---------------------------------------------------------------------------------------------------------


def importing(name: str, items: str) -> bytes:
    """Return a component that imports an interface and does nothing."""
    return f'(component (import "{name}" (instance {items})))'.encode()


NOBODY = [
    ("wasi:http/outgoing-handler@0.2.0", '(export "handle" (func))'),
    ("wasi:http/types@0.2.0", '(export "f" (func))'),
    ("wasi:keyvalue/store@0.2.0", '(export "open" (func))'),
    ("wasi:cli/stdout@0.3.0", '(export "f" (func))'),
    ("wasi:clocks/timezone@0.2.0", '(export "display" (func))'),
    ("homestar:host/helpers@9.9.9", '(export "print" (func (param "msg" string)))'),
    ("mine:own/thing", '(export "f" (func))'),
]


@pytest.mark.parametrize(("name", "items"), NOBODY)
def test_imports_that_nobody_serves(name: str, items: str) -> None:
    """
    A module that asks for what is not served is refused when it is loaded, by the name of what it asks for.
    """
    with pytest.raises(BadModule) as caught:
        loaded(importing(name, items))

    assert f"the module imports {name!r}, which nobody serves. ipvm serves wasi:logging/logging" in caught.value.message


def test_an_imported_function_by_itself() -> None:
    """
    A function that is imported outside an interface is refused the same way.
    """
    with pytest.raises(BadModule, match="the module imports 'now', which nobody serves"):
        loaded('(component (import "now" (func (result u64))))')


@pytest.mark.parametrize("function", ["subscribe-instant", "subscribe-duration"])
def test_waiting_for_a_clock_is_refused(function: str) -> None:
    """
    A module that would wait for time to go by is refused, since in a pure task none does.
    """
    types = '(export "pollable" (type $p (sub resource)))'
    name = "wasi:clocks/monotonic-clock@0.2.0"
    with pytest.raises(BadModule) as caught:
        loaded(importing(name, f'{types} (export "{function}" (func (param "when" u64) (result (own $p))))'))

    assert caught.value.message == (
        f"the module imports {function!r} of {name!r}, which a pure task cannot have: its answer would depend on the machine"
    )


@pytest.mark.parametrize(
    ("name", "items", "kind"),
    [
        ("wasi:random/random@0.2.0", '(export "get-random-u64" (func (result u32)))', "func() -> u64"),
        ("wasi:clocks/wall-clock@0.2.0", '(export "now" (func (result string)))', "func() -> record"),
        ("wasi:logging/logging", '(export "log" (func (param "m" string)))', "func(enum, string, string)"),
        ("homestar:host/helpers@0.1.1", '(export "print" (func (param "m" u8)))', "func(string)"),
    ],
)
def test_imports_of_another_type(name: str, items: str, kind: str) -> None:
    """
    A module that asks for a known function by a strange type is refused, and sees what the type is here.
    """
    with pytest.raises(BadModule) as caught:
        loaded(importing(name, items))

    assert f"of {name!r} as func(" in caught.value.message
    assert f"ipvm serves it as {kind}" in caught.value.message


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, MemoryError, RecursionError, ValueError])
def test_a_host_function_that_fails(raised: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever goes wrong in a function of the host ends that call, as a failure of the host that is not filed.
    """
    module = loaded(log_guest())

    def fail(*_: Any) -> None:
        raise raised("\x1b[31msecret")

    monkeypatch.setattr(host.Log, "add", fail)
    with pytest.raises(Failure) as caught:
        run(module, "f", "a", "b")

    assert (caught.value.kind, caught.value.own) == ("host", False)
    assert caught.value.message == f"a function of the host failed: {raised.__name__}"


def test_time_runs_out_in_a_guest_that_talks() -> None:
    """
    A guest that does nothing but call its host ends at its time all the same.
    """
    module = loaded(log_guest())
    with pytest.raises(Failure, match="the time ran out"):
        run(module, "many", "x", 2**32 - 1, limits=Limits(time=0.2))
