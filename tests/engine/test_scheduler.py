"""Order, stopping, and what stays when somebody leaves."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel import Session
from ipvm_kernel.engine.executors import InlineExecutor, ThreadExecutor
from ipvm_kernel.engine.ops import Performed, Prepared
from ipvm_kernel.errors import Cancelled
from ipvm_kernel.model import Instruction, Outcome, Promise, Task, Workflow, failure
from ipvm_kernel.wasm.limits import Limits, Report
from tests.guests import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ipvm_kernel.engine.executors import Executor
    from ipvm_kernel.session import Module
    from ipvm_kernel.wasm.stop import Stop

SECONDS = 30.0


class Gate:
    """An operation that waits until it is let through, and counts. Its input is `[name, ...]`."""

    name = "test/gate"

    def __init__(self) -> None:
        self.open: dict[str, threading.Event] = {}
        self.begun: dict[str, threading.Event] = {}
        self.calls: list[str] = []
        self.lock = threading.Lock()

    def events(self, name: str) -> tuple[threading.Event, threading.Event]:
        with self.lock:
            return self.begun.setdefault(name, threading.Event()), self.open.setdefault(name, threading.Event())

    def fallible(self, instruction: Instruction) -> bool | None:
        return False

    def prepare(self, instruction: Instruction, tree: Any) -> Prepared:
        return Prepared(instruction, tree, instruction.cid.bytes[-32:])

    def perform(self, prepared: Prepared, limits: Limits, stop: Stop) -> Performed:
        name = prepared.tree[0]
        begun, opened = self.events(name)
        self.calls.append(name)
        begun.set()
        while not opened.wait(0.005):
            if stop.check() is not None:
                return Performed(failure("cancelled", "stopped"), filed=False, report=Report())
        return Performed(Outcome("ok", name), filed=True, report=Report())


def gated(name: str, *awaits: Task) -> Task:
    promises = [Promise("ok", task.run.cid).to_ipld() for task in awaits]
    return Task(run=Instruction(rsc="ipvm:test", op="test/gate", input=[name, *promises]))


@pytest.fixture
def gate(session: Session) -> Gate:
    """The operation, in the session."""
    made = Gate()
    session.ops._made["test/gate"] = made
    return made


# --- order ------------------------------------------------------------------------------------------------------------


def test_a_task_starts_when_its_own_inputs_are_there(session: Session, gate: Gate) -> None:
    """
    A task does not wait for its neighbours: the end of one branch is there while another has not begun to move.
    """
    slow, fast = gated("slow"), gated("fast")
    end = gated("end", fast)
    gate.events("fast")[1].set()
    gate.events("end")[1].set()

    run = session.run(Workflow(tasks=(slow, gated("after slow", slow), fast, end)))
    answers = iter(run)
    first, second = next(answers), next(answers)

    assert [first.instruction, second.instruction] == [fast.run.cid, end.run.cid]
    assert run.progress.state(slow.run.cid) == "running"
    assert run.progress.states[gated("after slow", slow).run.cid] == "pending"
    gate.events("slow")[1].set()
    gate.events("after slow")[1].set()
    assert [answer.how for answer in answers] == ["computed", "computed"]


def test_what_is_on_file_comes_first(session: Session, numbers: Module) -> None:
    """
    Replays are given out before anything is waited for.
    """
    known = [numbers.add_one(n) for n in range(5)]
    _ = session.run(known).wait()

    run = session.run([numbers.add(1, 2), *known, numbers.add(3, 4)])

    assert [answer.how for answer in run] == ["replayed"] * 5 + ["computed"] * 2


@pytest.mark.parametrize("make", [ThreadExecutor, InlineExecutor])
def test_a_long_chain(make: Callable[[], Executor]) -> None:
    """
    A chain of thousands of tasks is planned, run and replayed without recursion.
    """
    with Session(executor=make()) as session:
        add_one = session.module(NUMBERS).add_one
        # One guest is enough to see the order; the rest of the chain hangs from values, each known from the last.
        session.ops._made["test/count"] = Counting()
        tasks = [counted(0)]
        for _ in range(5000):
            tasks.append(counted(Promise("ok", tasks[-1].run.cid).to_ipld()))

        run = session.run(Workflow(tasks=tuple(tasks))).wait()
        again = session.run(Workflow(tasks=(tasks[-1],))).wait()

        assert run.counts == {"computed": 5001}
        assert run.answer(tasks[-1].run.cid).receipt.value == 5001  # type: ignore[union-attr]
        assert again.counts == {"replayed": 1}
        assert add_one(1).result() == 2


def test_one_task_is_cancelled_and_the_others_go_on(session: Session, gate: Gate) -> None:
    """
    A task that runs, and one that has not begun, are cancelled alone: what awaits them is blocked, the rest is computed.
    """
    slow, first, other = gated("slow"), gated("first"), gated("other")
    later = gated("later", first)
    run = session.run(Workflow(tasks=(slow, gated("after", slow), first, later, other)))
    run.start()
    gate.events("slow")[0].wait(SECONDS)
    run.cancel(later.run.cid)
    run.cancel(slow.run.cid)
    for name in ("first", "other"):
        gate.events(name)[1].set()
    _ = run.wait(SECONDS)

    assert run.counts == {"computed": 2, "blocked": 1, "cancelled": 2}
    assert "later" not in gate.calls


@pytest.mark.torture
def test_a_hundred_thousand_links(tmp_path: Path) -> None:
    """
    A chain of 100,000 tasks of a real guest, on disk; and its replay in a new session.
    """
    with Session(tmp_path / "store") as session:
        handle = session.module(NUMBERS).add_one(0)
        for _ in range(99_999):
            handle = session.module(NUMBERS).add_one(handle)
        assert handle.result() == 100_000
        workflow = handle.workflow
    with Session(tmp_path / "store") as session:
        run = session.run(workflow).wait()
        assert run.counts == {"replayed": 100_000}


class Counting:
    """An operation that adds one, without a guest."""

    name = "test/count"

    def fallible(self, instruction: Instruction) -> bool | None:
        return False

    def prepare(self, instruction: Instruction, tree: Any) -> Prepared:
        value = tree if isinstance(tree, int) else tree.value
        return Prepared(instruction, value, value.to_bytes(32, "little"))

    def perform(self, prepared: Prepared, limits: Limits, stop: Stop) -> Performed:
        return Performed(Outcome("ok", prepared.tree + 1), filed=True, report=Report())


def counted(value: Any) -> Task:
    return Task(run=Instruction(rsc="ipvm:test", op="test/count", input=value))


def test_wide(session: Session, numbers: Module) -> None:
    """
    A task that awaits a thousand others, and a thousand that await one.
    """
    start = numbers.add_one(0)
    wide = [numbers.add(start, n) for n in range(1000)]
    session.ops._made["test/sum"] = Summing()
    end = Task(
        run=Instruction(rsc="ipvm:test", op="test/sum", input=[Promise("ok", one.cid).to_ipld() for one in wide])
    )

    run = session.run(Workflow(tasks=(start.task, *(one.task for one in wide), end))).wait()

    assert run.answer(end.run.cid).receipt.value == sum(range(1, 1001))  # type: ignore[union-attr]


class Summing(Counting):
    """An operation that adds up."""

    name = "test/sum"

    def prepare(self, instruction: Instruction, tree: Any) -> Prepared:
        return Prepared(instruction, sum(item.value for item in tree) - 1, bytes(32))


def test_slow_observers_are_waited_for(numbers: Module) -> None:
    """
    Work does not run ahead of whoever iterates without bound: what he has not taken is not piled up in memory.
    """
    with Session(executor=ThreadExecutor(2)) as session:
        session.ops._made["test/count"] = counting = Counted()
        answers = iter(session.run(Workflow(tasks=tuple(counted(n) for n in range(2000)))))
        next(answers)
        while len(counting.calls) < 50:  # it has begun, and goes on until enough is waiting to be seen
            pass

        assert len(counting.calls) < 200
        assert sum(1 for _ in answers) == 1999


class Counted(Counting):
    """The same, counting its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def perform(self, prepared: Prepared, limits: Limits, stop: Stop) -> Performed:
        self.calls.append(prepared.tree)
        return super().perform(prepared, limits, stop)


# --- stopping ---------------------------------------------------------------------------------------------------------


def test_cancelling(session: Session, gate: Gate) -> None:
    """
    A cancelled run ends at once: what had ended is on file, what runs is stopped, what waits is not begun.
    """
    done, running = gated("done"), gated("running")
    after = gated("after", running)
    gate.events("done")[1].set()
    run = session.run(Workflow(tasks=(done, running, after)))
    run.start()
    assert gate.events("running")[0].wait(SECONDS)
    run.cancel()

    assert run.wait(SECONDS).counts == {"computed": 1, "cancelled": 2}
    assert set(session.store.on_file([done.run.cid, running.run.cid])) == {done.run.cid}
    gate.events("running")[1].set()
    gate.events("after")[1].set()
    assert session.run(run.workflow).wait().counts == {"replayed": 1, "computed": 2}
    assert gate.calls.count("running") == 2


def test_cancelling_a_spinning_guest(session: Session, numbers: Module) -> None:
    """
    A guest that spins is stopped, and the session goes on.
    """
    spin = numbers.spin(1)
    run = session.run([spin, numbers.add_one(spin)])
    run.start()
    while run.progress.state(spin.cid) != "running":
        pass
    assert spin.cancel()

    assert run.wait(SECONDS).counts == {"cancelled": 2}
    assert not spin.cancel()
    assert numbers.add_one(1).result() == 2


def test_leaving_the_loop(session: Session, gate: Gate) -> None:
    """
    Whoever leaves the loop over a run stops it: what had ended is on file, and the tasks can be run again.
    """
    first, second = gated("first"), gated("second")
    gate.events("first")[1].set()
    run = session.run(Workflow(tasks=(first, second)))
    for answer in run:
        assert answer.instruction == first.run.cid
        assert gate.events("second")[0].wait(SECONDS)
        break

    assert run.done()
    assert run.counts == {"computed": 1, "cancelled": 1}
    assert [answer.how for answer in run.answers] == ["computed"]
    assert run.wait() is run
    gate.events("second")[1].set()
    assert session.run(run.workflow).wait().counts == {"replayed": 1, "computed": 1}


def test_an_error_in_the_loop(session: Session, gate: Gate) -> None:
    """
    An exception in the body of the loop stops the run and keeps what had ended; nothing stays claimed.
    """
    first, second = gated("first"), gated("second")
    gate.events("first")[1].set()

    def look() -> None:
        for _ in session.run(Workflow(tasks=(first, second))):
            assert gate.events("second")[0].wait(SECONDS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look()
    gate.events("second")[1].set()
    assert session.run(Workflow(tasks=(first, second))).wait().counts == {"replayed": 1, "computed": 1}


def test_what_ends_while_one_leaves_is_kept(session: Session, gate: Gate) -> None:
    """
    A task that ends just as the observer leaves is on file: its work is not done twice.
    """
    first, second = gated("first"), gated("second")
    gate.events("first")[1].set()
    for _ in session.run(Workflow(tasks=(first, second))):
        assert gate.events("second")[0].wait(SECONDS)
        gate.events("second")[1].set()
        while second.run.cid not in session.store.on_file([second.run.cid]):
            pass
        break

    assert session.run(Workflow(tasks=(second,))).wait().counts == {"replayed": 1}
    assert gate.calls == ["first", "second"]


def test_ctrl_c(session: Session, gate: Gate) -> None:
    """
    KeyboardInterrupt, again and again, in the middle of a workflow: finished tasks keep their receipts, the rest runs
    when it is asked for again, and the session stays usable.
    """
    first, second = gated("first"), gated("second")
    gate.events("first")[1].set()
    workflow = Workflow(tasks=(first, second))

    def interrupted(stream: Iterator[Any]) -> None:
        for answer in stream:
            if answer.how in ("computed", "replayed"):
                assert gate.events("second")[0].wait(SECONDS)
                raise KeyboardInterrupt

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            interrupted(iter(session.run(workflow)))
    gate.events("second")[1].set()

    assert session.run(workflow).wait().counts == {"replayed": 1, "computed": 1}
    assert gate.calls.count("first") == 1


def test_sigint_in_a_spinning_guest(tmp_path: Path) -> None:
    """
    Ctrl-C reaches a process whose guest spins: the guest is stopped, what was done is on file, and the session goes on.
    """
    program = """
import os, signal, sys, threading
from ipvm_kernel import Session

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
with Session(sys.argv[1]) as session:
    module = session.module(sys.argv[2].encode())
    for number in range(3):
        done, spin = module.add_one(number), module.spin(number)
        run = session.run([done, spin])

        def interrupt():
            while run.progress.state(spin.cid) != "running" or run.progress.state(done.cid) != "computed":
                pass
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        try:
            _ = run.wait()
        except KeyboardInterrupt:
            print("interrupted", run.counts, flush=True)
    print(sorted(session.run([module.add_one(number) for number in range(4)]).wait().counts.items()))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store"), NUMBERS.decode()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.splitlines() == [
        *["interrupted {'computed': 1, 'cancelled': 1}"] * 3,
        "[('computed', 1), ('replayed', 3)]",
    ]


def test_python_ends_although_a_guest_spins() -> None:
    """
    A guest that spins in the background does not keep Python from ending.
    """
    program = """
import sys
from ipvm_kernel import Session

session = Session()
spin = session.module(sys.argv[1].encode()).spin(1)
run = session.run(spin)
run.start()
while run.progress.state(spin.cid) != "running":
    pass
print("leaving")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, NUMBERS.decode()], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "leaving\n"


def test_stopped_before_it_began(session: Session, gate: Gate) -> None:
    """
    A run that is cancelled before it begins runs nothing.
    """
    run = session.run(Workflow(tasks=(gated("a"), gated("b"))))
    run.cancel()

    assert run.wait().counts == {"cancelled": 2}
    assert gate.calls == []
    handle = session.module(NUMBERS).add_one(1)
    stopped = session.run(handle)
    stopped.cancel()
    assert stopped.wait().counts == {"cancelled": 1}
    with pytest.raises(Cancelled, match="Ask again"):
        handle._value(stopped.answers[0])


def test_closing_a_session_that_works(gate: Gate) -> None:
    """
    Closing a session stops what runs in it; whoever waits is told, and nothing hangs.
    """
    session = Session()
    session.ops._made["test/gate"] = gate
    run = session.run(Workflow(tasks=tuple(gated(str(n)) for n in range(10))))
    run.start()
    assert gate.events("0")[0].wait(SECONDS)
    session.close()

    assert run.wait(SECONDS).counts == {"cancelled": 10}


# --- executors --------------------------------------------------------------------------------------------------------


class Losing:
    """An executor whose worker dies with the call."""

    slots = 2

    def submit(
        self, fn: Callable[..., Any], *args: Any, key: str | None = None, resources: Mapping[str, float] | None = None
    ) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(EOFError(f"the worker of {key and key.partition('-')[0]} died"))
        return future

    def close(self) -> None:
        pass


def test_an_executor_that_fails(session: Session, numbers: Module) -> None:
    """
    What breaks the executor itself is raised where the run is waited for, and the session stays usable.
    """
    with pytest.raises(EOFError, match="the worker of add_one died"):
        _ = session.run([numbers.add_one(n) for n in range(5)], executor=Losing()).wait()
    assert session.run([numbers.add_one(n) for n in range(5)]).wait().counts == {"computed": 5}


def test_two_runs_of_one_task_at_once(session: Session, gate: Gate) -> None:
    """
    Two runs in one session that need the same task at the same time run it once.
    """
    runs = [session.run(Workflow(tasks=(gated("shared"),))) for _ in range(3)]
    for run in runs:
        run.start()
    assert gate.events("shared")[0].wait(SECONDS)
    gate.events("shared")[1].set()

    ended = [run.wait(SECONDS).counts for run in runs]
    assert sorted(map(str, ended)) == ["{'computed': 1}", "{'replayed': 1}", "{'replayed': 1}"]
    assert gate.calls == ["shared"]


def test_whoever_waits_runs_what_the_other_could_not(session: Session, gate: Gate) -> None:
    """
    If the run that has the task files nothing, one that waits runs it.
    """
    one, other = (session.run(Workflow(tasks=(gated("shared"),))) for _ in range(2))
    one.start()
    assert gate.events("shared")[0].wait(SECONDS)
    other.start()
    gate.begun["shared"].clear()
    one.cancel()
    assert gate.events("shared")[0].wait(SECONDS)
    gate.events("shared")[1].set()

    assert one.wait(SECONDS).counts == {"cancelled": 1}
    assert other.wait(SECONDS).counts == {"computed": 1}
