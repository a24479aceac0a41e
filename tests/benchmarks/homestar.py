"""Homestar beside ipvm: the same module, the same workflows, from the text of the file to the last receipt on disk.

Homestar is asked through its JSON-RPC, as its JavaScript client asks it; here the file is run in the process. Its node and
its Kubo are started anew for every sample, and that is not counted. It is done when 98 of 100 receipts are there, since
it loses one now and then; where more are lost, the round has no time for it. A replay there is a second later than the
run, since a node that has just ended a workflow answers nothing for it.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.benchmarks.measure import Benchmark, Line, Series

if TYPE_CHECKING:
    from collections.abc import Mapping

TASKS = 100
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def prepare(folder: str) -> None:
    """Write the module and the workflows."""
    from ipvm_kernel.session import Session, gather
    from tests.homestar.modules import typed

    place = Path(folder)
    with Session(None) as session:
        module = typed(session)
        (place / "typed.wasm").write_bytes(session.store.read(module._cid))
        end = module.add_one(0)
        for _ in range(TASKS - 1):
            end = module.add_one(end)
        end.workflow.save(place / "chain.json")
        fan = [module.add_one(1_000_000 + n) for n in range(TASKS)]
        assert len(gather(*fan)) == TASKS
        from ipvm_kernel.model import Workflow

        Workflow.of(handle.task for handle in fan).save(place / "fan.json")
        imgops = session.build(plain_imgops(), lang="zig", name="imgops")
        (place / "imgops.wasm").write_bytes(session.store.read(imgops._cid))
        photo = session.file(NOTEBOOKS / "data" / "photo.png")
        crop = imgops.crop(photo, x=150, y=60, width=300, height=300)
        imgops.grayscale(imgops.rotate90(crop)).workflow.save(place / "pipeline.json")


def plain_imgops() -> str:
    """Return the notebooks' image functions without their errors: Homestar cannot pass a result on to the next task."""
    source = (NOTEBOOKS / "modules" / "imgops.zig").read_text().replace("result<list<u8>, string>", "list<u8>")

    def without(found: re.Match[str]) -> str:
        name, params = found[1], found[2]
        names = ", ".join(param.split(":")[0] for param in params.split(", "))
        call = f'return {name}_or_not({names}) catch @panic("no picture");'
        return f"pub fn {name}({params}) []const u8 {{ {call} }}\nfn {name}_or_not({params}) ![]const u8 {{"

    return re.sub(r"pub fn (\w+)\((.*)\) !\[\]const u8 \{", without, source)


def on_homestar(folder: str) -> Series:
    """Run each workflow on a new node, and again."""
    from tests.daemons import Homestar, Kubo
    from tests.peers import needs

    try:
        kubo_program, homestar_program = needs("kubo"), needs("homestar")
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        raise RuntimeError(str(missing)) from None
    place = Path(folder)
    with tempfile.TemporaryDirectory() as beside:
        (kubo_folder := Path(beside) / "kubo").mkdir()
        (node_folder := Path(beside) / "node").mkdir()
        with (
            Kubo.start(kubo_program, kubo_folder) as kubo,
            Homestar.start(homestar_program, node_folder, ipfs=kubo.port) as node,
        ):
            for path in (place / "typed.wasm", place / "imgops.wasm", NOTEBOOKS / "data" / "photo.png"):
                kubo.add_file(path.read_bytes())

            def run(name: str) -> float | None:
                text = (place / f"{name}.json").read_text()
                count = len(json.loads(text)["tasks"])
                enough = count - count // 50
                began = time.perf_counter()
                told = node.run(json.loads(text), receipts=enough, timeout=60)
                took = time.perf_counter() - began
                return took if len(told) >= enough else None

            cold = {name: run(name) for name in ("chain", "fan", "pipeline")}
            time.sleep(1)
            return _series("Homestar", cold, {name: run(name) for name in ("chain", "fan")})


def on_ipvm(folder: str) -> Series:
    """Run each workflow in a new store, and again in a new session."""
    from ipvm_kernel.model import Workflow
    from ipvm_kernel.session import Session
    from tests.benchmarks.engine import import_all

    import_all()  # as the node is started there
    place = Path(folder)

    def timed(session: Session, name: str) -> float:
        text = (place / f"{name}.json").read_bytes()
        began = time.perf_counter()
        run = session.run(Workflow.parse(text)).wait()
        took = time.perf_counter() - began
        assert run.failures == []
        return took

    with tempfile.TemporaryDirectory(dir=folder) as empty:
        with Session(empty) as session:
            _know(session, place)
            cold = {name: timed(session, name) for name in ("chain", "fan", "pipeline")}
        with Session(empty) as session:
            return _series("ipvm", cold, {name: timed(session, name) for name in ("chain", "fan")})


def _know(session: Any, place: Path) -> None:
    """Have the modules and the picture in the store, as Kubo has them."""
    session.store.put_file(place / "typed.wasm", "module")
    session.store.put_file(place / "imgops.wasm", "module")
    session.store.put_file(NOTEBOOKS / "data" / "photo.png", "input")


def _series(who: str, cold: Mapping[str, float | None], again: Mapping[str, float | None]) -> Series:
    found = {f"{who}, cold {name}": took / (TASKS if name != "pipeline" else 1) for name, took in cold.items() if took}
    return found | {f"{who}, replayed {name}": took / TASKS for name, took in again.items() if took}


def _line(work: str, series: str) -> Line:
    return Line(work=work, ours=f"ipvm, {series}", peers=(f"Homestar, {series}",))


BENCHMARKS = [
    Benchmark(
        name="homestar",
        prepare=prepare,
        samples=(on_ipvm, on_homestar),
        rounds=3,
        patience=400,
        lines=(
            _line("a workflow file, cold chain of 100: a task", "cold chain"),
            _line("  cold fan of 100: a task", "cold fan"),
            _line("  image pipeline of 3, cold: all of it", "cold pipeline"),
            _line("  replay of 100 known tasks, a chain: a task", "replayed chain"),
            _line("  replay of 100 known tasks, a fan: a task", "replayed fan"),
        ),
    ),
]
