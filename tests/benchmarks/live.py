"""The live graph: what it costs a run to be watched, what its layout takes, and how large the picture is that stays."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.measure import Benchmark, Line, Series

if TYPE_CHECKING:
    from ipvm_kernel.picture.graph import Shape

TASKS: Final = 1_000
_PATIENCE: Final = 90.0
_WAT: Final = """(module
  (func (export "work") (param $value i32) (param $steps i32) (result i32)
    (loop (local.set $steps (i32.sub (local.get $steps) (i32.const 1)))
      (br_if 0 (i32.gt_s (local.get $steps) (i32.const 0))))
    local.get $value))"""

# The widget is made once before, since its import is not what is measured; then the guest is timed, to take 5 ms.
_SETUP: Final = f"""
%load_ext ipvm
import time, ipvm, ipvm.widgets
from ipvm_kernel.session import Session, set_default
def anew():
    global guest
    set_default(Session(None))
    guest = ipvm.module(b'''{_WAT}''', "guest")
    guest.work(0, 2).result()
anew()
ipvm.widgets.Live(ipvm.graphs.Graph.of_run(ipvm.run([guest.work(0, 1)]))).close()
began = time.process_time()
guest.work(0, 20_000_000).result()
steps = int(20_000_000 * 0.005 / (time.process_time() - began))
"""
_RUN: Final = (
    "%%ipvm {option} watched\nbegan = time.process_time()\nends = [guest.work(n, steps + n) for n in range({tasks})]"
)


def watched(folder: str) -> Series:
    """Run 1,000 tasks of 5 ms in a kernel, with a line and with the live graph, in turns."""
    del folder
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        _done(client, _SETUP)
        taken: dict[str, list[float]] = {"--line": [], "": []}
        spent: dict[str, list[float]] = {"--line": [], "": []}
        for turn in range(4):
            for option in sorted(taken, reverse=bool(turn % 2)):
                _done(client, "anew()")  # nothing is on file
                sent = _done(client, _RUN.format(option=option, tasks=TASKS))
                assert any("widget-view" in kind for kind in sent) == (not option)
                taken[option].append(float(_told(client, "watched.elapsed")))
                spent[option].append(float(_told(client, "time.process_time() - began")))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return {
        "ipvm": min(taken[""]),
        "line": min(taken["--line"]),
        "processor": min(spent[""]),
        "line's processor": min(spent["--line"]),
    }


def _done(client: Any, code: str) -> set[str]:
    """Run a cell, and return the media types of what it showed."""
    shown: set[str] = set()

    def hear(message: Any) -> None:
        assert message["msg_type"] != "error", message["content"]["evalue"]
        shown.update(message["content"].get("data", {}) if message["msg_type"] == "display_data" else {})

    client.execute_interactive(code, timeout=_PATIENCE, output_hook=hear)
    return shown


def _told(client: Any, expression: str) -> str:
    reply = client.execute_interactive(
        "", user_expressions={"it": expression}, timeout=_PATIENCE, output_hook=lambda _: None
    )
    return str(reply["content"]["user_expressions"]["it"]["data"]["text/plain"])


def _shape(count: int) -> Shape:
    from ipvm_kernel.picture.graph import Shape
    from ipvm_kernel.picture.scene import Draft

    chosen = random.Random(1)
    return Shape([
        Draft(
            f"f{at * 20 // count}",
            "m",
            "pending",
            tuple((chosen.randrange(max(0, at - 60), at), "ok") for _ in range(2)) if at else (),
        )
        for at in range(count)
    ])  # fmt: skip


def layouts(folder: str) -> Series:
    """Lay out graphs of 1,000 and 10,000 tasks: as they are first seen, with all open, and with a card for each task."""
    del folder
    from ipvm_kernel.picture.graph import arranged
    from ipvm_kernel.picture.layout import lay_out

    taken: Series = {}
    for count in (TASKS, 10 * TASKS):
        shape = _shape(count)
        edges = [(source, at) for at, draft in enumerate(shape.drafts) for source, _ in draft.awaits]
        works: dict[str, Any] = {
            "closed": lambda shape=shape: arranged(shape, set()),
            "open": lambda shape=shape: arranged(shape, set(range(20))),
            "cards": lambda count=count, edges=edges: lay_out(count, edges),
        }
        for name, work in works.items():
            began = time.perf_counter()
            work()
            taken[f"{name} {count:,}"] = time.perf_counter() - began
    return taken


def bundle(folder: str) -> Series:
    """Make what stays in a notebook of a run of 100 tasks."""
    del folder
    from ipvm import display
    from ipvm_kernel import Session

    with Session(None) as session:
        guest = session.module(_WAT.encode(), "guest")
        run = session.run([guest.work(guest.work(n, 1), 2) for n in range(50)], name="hundred").wait()
        assert len(run.answers) == 100
        return {"bundle": float(sum(len(part.encode()) for part in display.mimebundle(run).values()))}


BENCHMARKS = [
    Benchmark(
        name="live",
        samples=(watched,),
        rounds=3,
        lines=(
            Line(work="watch 1,000 tasks of 5 ms: their run", beyond="line", peers=("line",), budget=0.125),
            Line(
                work="  time of the processors",  # a busy machine changes this the least
                ours="processor",
                beyond="line's processor",
                peers=("line's processor",),
                budget=0.25,
            ),
        ),
        patience=400.0,
    ),
    Benchmark(
        name="layout",
        samples=(layouts, bundle),
        lines=(
            Line(work="lay out 1,000 tasks, as first seen", ours="closed 1,000", budget=0.05),
            Line(work="  all functions open", ours="open 1,000", budget=0.05),
            Line(work="  a card for each task", ours="cards 1,000", budget=0.05),
            Line(work="lay out 10,000 tasks, as first seen", ours="closed 10,000", budget=1.0),
            Line(work="  a card for each task", ours="cards 10,000", budget=1.0),
            Line(work="picture of a run of 100 tasks in a notebook", ours="bundle", budget=60_000, unit="B"),
        ),
    ),
]
