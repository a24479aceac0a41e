from __future__ import annotations

import asyncio
import copy
import math
import operator
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel import Handle, Session
from ipvm_kernel.errors import Cancelled, HandleUsedAsValue, IpvmError, NotFound, TaskFailed
from ipvm_kernel.handles import File, lineage
from ipvm_kernel.session import defaults
from ipvm_kernel.testing import task
from tests.guests import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ipvm_kernel.session import Module


# --- what a handle is -------------------------------------------------------------------------------------------------


def test_making_a_handle_runs_nothing(session: Session, numbers: Module) -> None:
    """
    A handle is a promise: making it, showing it, naming it and asking what is known of it runs nothing.
    """
    handle = numbers.add_one(numbers.add_one(numbers.spin(1)))

    assert repr(handle) == f"<add_one {handle.cid.short}: not run: 3 tasks, 0 on file>"
    assert str(handle) == f"{handle}" == repr(handle)
    assert handle.receipt is None
    assert not handle.done()
    assert repr(handle.error) == f"<the error of add_one {handle.cid.short}>"
    assert repr(handle.outcome) == f"<the outcome of add_one {handle.cid.short}>"
    assert len(handle.workflow) == 3
    assert set(session.plan(handle).runs) == {parent.cid for parent in lineage([handle])}
    assert session.tally.counts == {}
    assert session.store.journal() == []


def test_a_handle_shows_what_is_known(numbers: Module, typed: Module) -> None:
    """
    Once there is an answer a handle shows it: the value, shortened, or the failure.
    """
    handles = [
        numbers.add_one(1),
        numbers.trap(1),
        typed.div(1, 0),
        typed.fill(5000),
        numbers.spin.with_options(fuel=9)(1),
    ]
    for handle in handles:
        handle.exception()

    shown = [repr(handle).partition(": ")[2] for handle in handles]
    assert shown[0] == "2>"
    assert shown[1].startswith("failed: trap (")
    assert shown[2] == "failed: div: division by zero>"
    assert shown[3] == "5 kB of bytes>"
    assert "the fuel ran out" in shown[4]
    assert all(handle.done() for handle in handles)


def test_what_a_handle_knows_of_itself(numbers: Module) -> None:
    """
    A handle has its instruction, its CID, its signature and the workflow that leads to it.
    """
    first = numbers.add_one(1)
    handle = numbers.add(first, 2)

    assert handle.cid == handle.instruction.cid
    assert str(handle.signature) == "func(p0: s32, p1: s32) -> s32"
    assert [one.run.cid for one in handle.workflow.tasks] == [first.cid, handle.cid]
    assert numbers.add_one(1) == first
    assert hash(numbers.add_one(1)) == hash(first)
    assert first != handle
    assert first != first.cid


# --- values -----------------------------------------------------------------------------------------------------------


def test_asking_twice_runs_once(session: Session, numbers: Module) -> None:
    """
    A value is worked out once, however often and in whichever way it is asked for.
    """
    handle = numbers.add_one(1)

    async def ask() -> int:
        value: int = await handle
        return value

    assert handle.result() == asyncio.run(ask()) == handle.result(timeout=5) == numbers.add_one(1).result() == 2
    assert len(session.store.journal(instruction=handle.cid)) == 1
    assert session.take_tally().counts == {"computed": 1, "replayed": 3}


def test_waiting_no_longer_than(session: Session, numbers: Module) -> None:
    """
    `result(timeout=...)` gives up waiting, and the task goes on until it is cancelled.
    """
    spin = numbers.spin(1)

    with pytest.raises(TimeoutError, match="not done after 50 ms; it goes on"):
        spin.result(timeout=0.05)
    assert spin.cancel()
    assert numbers.add_one(1).result(timeout=30) == 2


def test_awaiting(session: Session, numbers: Module, typed: Module) -> None:
    """
    `await` gives values and raises failures as `result` does, many at once.
    """

    async def ask() -> list[Any]:
        chain = numbers.add_one(numbers.add_one(1))
        return list(await asyncio.gather(_awaited(chain), _awaited(typed.div(1, 0)), _awaited(numbers.trap(1))))

    value, err, trap = asyncio.run(ask())
    assert value == 3
    assert [type(error).__name__ for error in (err, trap)] == ["GuestError", "GuestTrap"]


async def _awaited(handle: Handle) -> Any:
    try:
        return await handle
    except TaskFailed as error:
        return error


def test_a_cancelled_await_stops_the_guest(session: Session, numbers: Module) -> None:
    """
    Cancelling what awaits a handle stops the guest; the session goes on.
    """
    spin = numbers.spin(1)

    async def ask() -> None:
        waiting = asyncio.ensure_future(_awaited(spin))
        while session._runner._running.get(spin.cid) is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(ask())
    while session._runner._running:
        pass
    assert numbers.add_one(1).result() == 2


def test_values_in_threads(session: Session, numbers: Module) -> None:
    """
    A session may be used from many threads at once.
    """
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: numbers.add_one(numbers.add_one(n % 10)).result(), range(100)))

    assert found == [n % 10 + 2 for n in range(100)]
    computed = [entry for entry in session.store.journal(limit=1000) if entry.how == "computed"]
    assert len(computed) == 11


def test_a_session_in_a_thread(tmp_path: Path) -> None:
    """
    A session may be opened, used and closed in a thread that is not the main one.
    """
    found: list[Any] = []

    def work() -> None:
        with Session(tmp_path / "store") as session:
            found.append(session.module(NUMBERS).add_one(1).result())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [2]


# --- no value ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def handle(numbers: Module) -> Handle:
    """A handle that nobody asked for."""
    return numbers.add_one(1)


MISUSES: dict[str, Callable[[Any], Any]] = {
    "cannot test": bool,
    "cannot take the length of": len,
    "cannot iterate": iter,
    "cannot iterate ": lambda handle: [*handle],
    "cannot look into": lambda handle: 5 in handle,
    "cannot index": lambda handle: handle[0],
    "cannot convert": float,
    "cannot convert ": int,
    "cannot index with": lambda handle: [1, 2][handle],
    "cannot index with ": range,
    "cannot format": lambda handle: f"{handle:.2f}",
    "cannot calculate with": lambda handle: handle + 1,
    "cannot calculate with ": lambda handle: 1 + handle,
    "cannot calculate with  ": operator.neg,
    "cannot calculate with   ": lambda handle: handle < 5,
    "cannot calculate with    ": lambda handle: handle @ handle,
    "cannot convert  ": math.sqrt,
}


@pytest.mark.parametrize("what", MISUSES)
def test_a_handle_is_no_value(handle: Handle, what: str) -> None:
    """
    A handle where its value is needed is a TypeError that says how to get it.
    """
    with pytest.raises(HandleUsedAsValue, match=rf"{what.strip()} a handle: add_one .* write \.result\(\)") as caught:
        MISUSES[what](handle)
    assert isinstance(caught.value, TypeError)
    assert handle.receipt is None


def test_a_handle_is_no_array(handle: Handle) -> None:
    """
    An array library is told the same, from either side of an operator.
    """
    numpy = pytest.importorskip("numpy")

    for misuse in (numpy.asarray, numpy.array, lambda h: numpy.ones(3) + h, lambda h: h * numpy.ones(3)):
        with pytest.raises(HandleUsedAsValue):
            misuse(handle)
    with pytest.raises(TypeError):
        numpy.sum(handle)


def test_attributes_of_the_value(handle: Handle) -> None:
    """
    An attribute that a handle does not have is an AttributeError that says where it may be.
    """
    with pytest.raises(AttributeError, match=r"handle\.result\(\)\.shape"):
        _ = handle.shape
    assert not hasattr(handle, "__array_interface__")
    assert not hasattr(handle, "_repr_html_")


# --- elsewhere --------------------------------------------------------------------------------------------------------


@pytest.fixture
def as_default(session: Session) -> Iterator[Session]:
    """The session, as the default one."""
    defaults.set_default(session)
    yield session
    defaults.set_default(None)


def test_a_pickled_handle_is_its_cid(as_default: Session, handle: Handle, numbers: Module) -> None:
    """
    A handle pickles as its CID, with all that leads to it in the store: whoever reads it has the same task.
    """
    end = numbers.add_one(handle)

    data = pickle.dumps(end)
    back = pickle.loads(data)

    assert len(data) < 200
    assert str(end.cid).encode() in data
    assert back == end
    assert back.result() == 3


def test_a_handle_in_another_process(tmp_path: Path) -> None:
    """
    A pickled handle can be read at once by another process that shares the store.
    """
    with Session(tmp_path / "store") as session:
        handle = session.module(NUMBERS).add_one(session.module(NUMBERS).add_one(1))
        data = pickle.dumps(handle)
        program = "import pickle, sys, ipvm_kernel.session; print(pickle.loads(bytes.fromhex(sys.argv[1])).result())"
        done = subprocess.run(
            [sys.executable, "-c", program, data.hex()],
            env={"IPVM_HOME": str(tmp_path / "store"), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout == "3\n"
        assert session.run(handle).wait().counts == {"replayed": 2}


def test_copies(handle: Handle) -> None:
    """
    A copy of a handle is the handle: it stays in its session.
    """
    assert copy.copy(handle) is handle
    assert copy.deepcopy([handle])[0] is handle


def test_a_handle_by_its_cid(session: Session, numbers: Module) -> None:
    """
    The handle of an instruction in the store is had by its CID; anything else is refused.
    """
    handle = numbers.add_one(1)
    handle.result()

    assert session.handle(str(handle.cid)) == session.handle(handle.cid) == handle
    assert session.handle(handle.cid).result() == 2
    assert str(session.handle(handle.cid).signature) == "func(p0: s32) -> s32"
    with pytest.raises(NotFound):
        _ = session.handle(task(5).run.cid)
    with pytest.raises(IpvmError):
        _ = session.handle(session.put([1]).cid)


def test_handles_of_other_sessions(session: Session, numbers: Module) -> None:
    """
    A handle may be passed to a function of another session, which then runs all that leads to it, if it has the modules.
    """
    with Session() as other:
        theirs = other.module(NUMBERS)
        assert theirs.add_one(numbers.add_one(1)).result() == 3
        assert session.store.journal() == []


def test_lineage_of_a_lattice(numbers: Module) -> None:
    """
    What leads to a handle is each task once, those awaited first, in a graph with more paths than atoms.
    """
    handle = numbers.add_one(0)
    for _ in range(200):
        handle = numbers.add(handle, handle)

    order = lineage([handle, handle])

    assert len(order) == 201
    assert order[-1] is handle
    assert order[0].instruction.func == "add_one"


def test_files() -> None:
    """
    A link to bytes is its CID.
    """
    with Session() as session:
        one, other = session.put(b"abc"), session.put(b"abc")

        assert one == other
        assert hash(one) == hash(other)
        assert isinstance(one, File)
        assert repr(one) == f"<File 3 B, {one.cid}>"


def test_what_was_stopped(session: Session, numbers: Module) -> None:
    """
    A handle whose run was stopped says so; asking again goes on.
    """
    spin = numbers.spin(1)
    threading.Thread(target=_stop_when_running, args=(session, spin)).start()

    with pytest.raises(Cancelled, match=r"stopped before it ended\. Ask again"):
        spin.result()


def _stop_when_running(session: Session, handle: Handle) -> None:
    while not session.cancel(handle.cid):
        pass
