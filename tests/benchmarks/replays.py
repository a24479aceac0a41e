"""Replays: what an answer costs that is on file already."""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks import guests
from tests.benchmarks.engine import STORE, each, import_all, keep, use_reader
from tests.benchmarks.measure import Benchmark, Line, Series
from tests.benchmarks.rivals import add_one, with_diskcache, with_joblib

if TYPE_CHECKING:
    from collections.abc import Callable

    from ipvm_kernel import Handle

TASKS: Final = 1000
_ASKED: Final = range(200)


def chain(function: Callable[[Any], Any], length: int = TASKS) -> Any:
    """Return what comes of calling a function with what it gave before, over and over."""
    value = 0
    for _ in range(length):
        value = function(value)
    return value


# --- One task, in a session that has met it ---


def prepare(folder: str) -> None:
    """Write the module."""
    keep(folder, "add-one", guests.ADD_ONE)


def warm_ipvm(folder: str) -> Series:
    """Declare a task and ask for its value, both of which the session has met."""
    from ipvm_kernel import Session

    with Session(Path(folder) / STORE) as session:
        function = session.module(Path(folder) / "add-one.wasm").add_one
        handles = [function(n) for n in _ASKED]
        assert [handle.result() for handle in handles] == [n + 1 for n in _ASKED]
        return {
            "ipvm": each(lambda n: function(n).result(), _ASKED),
            "declare": (declare := each(function, _ASKED)),
            "name": each(lambda n: function(n).cid, _ASKED) - declare,
            "ask": each(lambda n: handles[n].result(), _ASKED),
        }


def warm_joblib(folder: str) -> Series:
    """Call what joblib has met."""
    function = with_joblib(add_one, folder)
    assert [function(n) for n in _ASKED] == [n + 1 for n in _ASKED]
    return {"joblib": each(function, _ASKED)}


def warm_diskcache(folder: str) -> Series:
    """Call what diskcache has met."""
    function = with_diskcache(add_one, folder)
    assert [function(n) for n in _ASKED] == [n + 1 for n in _ASKED]
    return {"diskcache": each(function, _ASKED)}


# --- A thousand tasks, in a process that has met none of them ---


def prepare_workflow(folder: str) -> None:
    """Have everybody compute a chain of a thousand calls once."""
    from ipvm_kernel import Session

    with Session(Path(folder) / STORE) as session:
        assert chain(session.module(keep(folder, "add-one", guests.ADD_ONE)).add_one).result() == TASKS
    assert chain(with_joblib(add_one, folder)) == chain(with_diskcache(add_one, folder)) == TASKS


def fresh_with_cbor2(folder: str) -> Series:
    """Replay with the reader that is always there."""
    return _fresh(folder, "cbor2")


def fresh_with_cbrrr(folder: str) -> Series:
    """Replay with the reader of `ipvm[fast]`."""
    return _fresh(folder, "cbrrr")


def _fresh(folder: str, reader: str) -> Series:
    from ipvm_kernel import Session

    import_all()
    use_reader(reader)
    path = Path(folder) / "add-one.wasm"
    began = time.perf_counter()
    with Session(Path(folder) / STORE) as session:
        module = session.module(path)
        opened = time.perf_counter()
        last: Handle = chain(module.add_one)
        declared = time.perf_counter()
        run = session.run(last).wait()
        ended = time.perf_counter()
        assert run.counts == {"replayed": TASKS}
        assert last.result() == TASKS
    parts = {"all": ended - began, "open": opened - began, "declare": declared - opened, "replay": ended - declared}
    return {f"{part} ({reader})": seconds / TASKS for part, seconds in parts.items()}


def fresh_joblib(folder: str) -> Series:
    """Call what joblib met in another process."""
    return {"joblib": _timed(with_joblib(add_one, folder))}


def fresh_diskcache(folder: str) -> Series:
    """Call what diskcache met in another process."""
    return {"diskcache": _timed(with_diskcache(add_one, folder))}


def _timed(function: Callable[[int], Any]) -> float:
    gc.collect()
    began = time.perf_counter()
    assert chain(function) == TASKS
    return (time.perf_counter() - began) / TASKS


_PEERS: Final = ("joblib", "diskcache")


def _lines(reader: str, budget: float) -> tuple[Line, ...]:
    work = f"replay 1,000 tasks, fresh process, {reader}"
    return (
        Line(work=f"{work}: a task", ours=f"all ({reader})", peers=_PEERS, budget=budget, pace=93e-6),
        *(Line(work=f"  of that: {part}", ours=f"{part} ({reader})") for part in ("open", "declare", "replay")),
    )


BENCHMARKS = [
    Benchmark(
        name="replay",
        prepare=prepare,
        samples=(warm_ipvm, warm_joblib, warm_diskcache),
        lines=(
            Line(work="replay one task, warm session", peers=_PEERS, budget=30e-6, pace=92e-6),
            Line(work="  of that: declare it", ours="declare"),
            Line(work="  of that: its CID", ours="name"),
            Line(work="  of that: ask for its value", ours="ask"),
        ),
    ),
    Benchmark(
        name="replay-workflow",
        prepare=prepare_workflow,
        samples=(fresh_with_cbor2, fresh_with_cbrrr, fresh_joblib, fresh_diskcache),
        lines=(*_lines("cbor2", 30e-6), *_lines("cbrrr", 15e-6)),
    ),
]
