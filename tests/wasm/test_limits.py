"""What a call may use, what it used, and how it ends when it asks for more."""

from __future__ import annotations

import threading
import time

import pytest

from ipvm_kernel.wasm.limits import MEMORY_BYTES, Limits, Report
from ipvm_kernel.wasm.machine import machine
from ipvm_kernel.wasm.runtime import Failure
from ipvm_kernel.wasm.stop import Stop
from tests.wasm.guests import component, core, failure, lifted, loaded, run

PAGE = 65_536
SPIN = '(module (func (export "f") (result i32) (loop br 0) unreachable))'
SPINS = component('(func (export "f") (loop br 0))', lifted("f", "", memory=False))
FIB = """(module (func $fib (export "fib") (param i32) (result i32)
  (if (result i32) (i32.lt_s (local.get 0) (i32.const 2)) (then (local.get 0)) (else (i32.add
    (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2))))))))"""
GROWS = """(module (memory 1) (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "size") (result i32) memory.size))"""


# --- fuel -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [SPIN, SPINS])
def test_fuel_runs_out(source: str | bytes) -> None:
    """
    A guest that spins ends when its fuel does, and that is never filed.
    """
    report = Report()
    found = failure(source, limits=Limits(fuel=100_000), report=report)

    assert (found.kind, found.own, found.message) == ("limit", False, "the fuel ran out: 100,000")
    assert report.fuel == pytest.approx(100_000, abs=10)


def test_fuel_is_deterministic() -> None:
    """
    The same call takes the same steps, and so much fuel is enough for it.
    """
    module, used = loaded(FIB), []
    for _ in range(3):
        report = Report()
        assert run(module, "fib", 15, report=report) == 610
        used.append(report.fuel)

    assert len(set(used)) == 1
    assert run(module, "fib", 15, limits=Limits(fuel=used[0])) == 610
    assert failure(FIB, "fib", 15, limits=Limits(fuel=used[0] // 2)).kind == "limit"


def test_no_fuel_at_all() -> None:
    """
    A call without fuel does nothing.
    """
    assert failure(FIB, "fib", 1, limits=Limits(fuel=0)).message == "the fuel ran out: 0"


# --- memory -----------------------------------------------------------------------------------------------------------


def test_memory_above_the_limit_is_refused() -> None:
    """
    A module that needs more memory than it may have does not start, and that is not filed.
    """
    found = failure(core("", "(memory 100)"), limits=Limits(memory=99 * PAGE))

    assert (found.kind, found.own) == ("limit", False)
    assert found.message == "the guest needs more than its limit of 6,488,064 bytes of memory"
    run(loaded(core("", "(memory 100)")), "f", limits=Limits(memory=100 * PAGE))


def test_growing_beyond_the_limit() -> None:
    """
    A guest that asks for too much is told so, and its answer is marked: another limit might have given another.
    """
    module, free, capped = loaded(GROWS), Report(), Report()

    assert run(module, "grow", 100, report=free) == 1
    assert run(module, "grow", 100, limits=Limits(memory=50 * PAGE), report=capped) == -1
    assert (free.capped, capped.capped) == (False, True)


def test_a_limit_changes_nothing_for_who_never_asks() -> None:
    """
    The answer of a module that cannot grow its memory is filed under any limit.
    """
    report = Report()
    run(loaded(FIB), "fib", 5, limits=Limits(memory=PAGE), report=report)

    assert not report.capped


def test_a_limit_of_four_gibibytes_is_none() -> None:
    """
    Homestar's usual limit is all that a guest can have anyway.
    """
    report = Report()
    run(loaded(GROWS), "size", limits=Limits(memory=MEMORY_BYTES), report=report)

    assert not report.capped


def test_the_limit_is_for_all_memories_together() -> None:
    """
    A component of two modules with a memory each has one limit, which they share.
    """
    one = '(core module $a{0} (memory 1) (func (export "g") (result i32) (memory.grow (i32.const 60))))'
    source = (
        f"(component {one.format(1)} {one.format(2)} (core instance $i (instantiate $a1)) (core instance $j (instantiate $a2))"
        '(func (export "f") (result s32) (canon lift (core func $i "g"))) (func (export "h") (result s32) (canon lift (core func $j "g"))))'
    )
    module = loaded(source)

    assert run(module, "f") == 1
    whole = Report()
    assert run(module, "f", limits=Limits(memory=MEMORY_BYTES), report=whole) == 1
    assert not whole.capped
    assert run(module, "f", limits=Limits(memory=200 * PAGE)) == 1
    assert run(module, "f", limits=Limits(memory=100 * PAGE)) == -1


def test_a_module_may_be_used_twice() -> None:
    """
    A component that makes two instances of one module runs where no limit is set, and is refused where one could not hold.
    """
    source = (
        '(component (core module $m (memory 1) (func (export "g") (result i32) i32.const 7))'
        "(core instance (instantiate $m)) (core instance $j (instantiate $m))"
        '(func (export "f") (result s32) (canon lift (core func $j "g"))))'
    )

    assert run(loaded(source), "f") == 7
    assert failure(source, limits=Limits(memory=10 * PAGE)).kind == "limit"


def test_tables_are_bounded() -> None:
    """
    A table of a hundred million elements is refused.
    """
    assert failure(core("", "(table 100000000 funcref)")).kind == "limit"


# --- stack and time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", ['(func $f (export "f") call $f)', '(func $f (export "f") (param i64) local.get 0 call $f)']
)
def test_endless_recursion(body: str) -> None:
    """
    A guest that calls itself for ever meets the end of its stack: a limit, never filed.
    """
    values = [1] if "param" in body else []
    found = failure(f"(module {body})", "f", *values)

    assert (found.kind, found.own) == ("limit", False)
    assert found.message == "the guest's calls went too deep for its stack"


@pytest.mark.parametrize("source", [SPIN, SPINS, core("", "(func $s (loop br 0)) (start $s)")])
def test_time_runs_out(source: str | bytes) -> None:
    """
    A guest that spins, in a call or while it starts, ends when its time is over.
    """
    module = loaded(source)
    began = time.monotonic()
    with pytest.raises(Failure) as caught:
        run(module, "f", limits=Limits(time=0.1))
    took = time.monotonic() - began

    assert (caught.value.kind, caught.value.own, caught.value.message) == ("limit", False, "the time ran out: 0.1 s")
    assert 0.1 <= took < 0.6


def test_time_goes_by_for_each_call_alone() -> None:
    """
    Of several guests that spin, each ends at its own time, and one without a limit goes on.
    """
    module = loaded(SPIN)
    ended: dict[str, tuple[str, float]] = {}

    def spin(name: str, seconds: float | None, stop: Stop) -> None:
        with pytest.raises(Failure) as caught:
            run(module, "f", limits=Limits(time=seconds), stop=stop)
        ended[name] = (caught.value.kind, time.monotonic() - began)

    stops = [Stop() for _ in range(3)]
    began = time.monotonic()
    threads = [
        threading.Thread(target=spin, args=args)
        for args in (("short", 0.05, stops[0]), ("long", 0.35, stops[1]), ("free", None, stops[2]))
    ]
    for thread in threads:
        thread.start()
    threads[1].join()
    assert "free" not in ended
    stops[2].interrupt()
    threads[2].join()
    threads[0].join()

    assert [ended[name][0] for name in ("short", "long", "free")] == ["limit", "limit", "cancelled"]
    assert ended["short"][1] < 0.3 < ended["long"][1]


@pytest.mark.parametrize("source", [SPIN, SPINS])
def test_interrupting_from_another_thread(source: str | bytes) -> None:
    """
    Stop a guest that spins, and it ends within 200 ms.
    """
    module, stop, ended = loaded(source), Stop(), []

    def spin() -> None:
        with pytest.raises(Failure) as caught:
            run(module, "f", stop=stop)
        ended.append((caught.value.kind, time.monotonic()))

    thread = threading.Thread(target=spin)
    thread.start()
    time.sleep(0.05)
    asked = time.monotonic()
    stop.interrupt()
    thread.join()

    assert ended[0][0] == "cancelled"
    assert ended[0][1] - asked < 0.2


def test_interrupted_before_it_began() -> None:
    """
    A call that was stopped before it began does not begin.
    """
    stop = Stop()
    stop.interrupt()

    assert failure(SPIN, stop=stop).message == "interrupted"


def test_deadlines_do_not_pile_up() -> None:
    """
    Ten thousand short calls with a distant deadline leave a handful of deadlines behind.
    """
    module = loaded(FIB)

    def calls() -> None:
        for _ in range(2000):
            run(module, "fib", 1, limits=Limits(time=30.0))

    before = len(machine()._due)
    thread = threading.Thread(target=calls)
    thread.start()
    thread.join()

    assert len(machine()._due) - before < 300
