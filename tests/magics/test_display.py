from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from ipvm import display
from ipvm_kernel.engine.answers import Answer, Progress, Stopper
from ipvm_kernel.ipld import CID, Ipld
from ipvm_kernel.model import Instruction, Outcome, Receipt, Task, Workflow, failure
from ipvm_kernel.runs import Run
from tests.picture.inert import inert, inert_svg, pictures
from tests.picture.test_values import png

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

    from ipvm_kernel.session import Module, Session
    from tests.magics.conftest import Notebook

WAT = """\
(module
  (func (export "add") (param i64 i64) (result i64) local.get 0 local.get 1 i64.add)
  (func (export "div") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
  (func (export "spin") (loop br 0)))
"""


@pytest.fixture
def demo(session: Session) -> Module:
    """
    A module of three functions in the default session.
    """
    return session.module(WAT.encode(), "demo")


def said(obj: Any) -> str:
    """What a person reads of an object in a page."""
    reader = inert(display.mimebundle(obj)["text/html"])
    for picture in pictures(reader):
        inert_svg(picture)
    return " ".join(reader.said)


def test_showing_a_handle_runs_nothing(session: Session, demo: Module) -> None:
    """
    A handle that was not run says so, and is as it was afterwards.
    """
    handle = demo.add(demo.add(1, 2), demo.spin())
    shown = said(handle)

    assert shown.startswith("add not run: 3 tasks, 0 on file")
    assert display.mimebundle(handle)["text/plain"].startswith(f"<add {handle.cid.short}: not run: 3 tasks, 0 on file>")
    assert not handle.done()
    assert session.tally.counts == {}


def test_a_handle_on_file_is_its_value(demo: Module) -> None:
    """
    Once it has run, a handle shows its value, the way by which it is known, and its receipt.
    """
    handle = demo.add(20, 22)
    handle.result()

    assert said(handle).startswith(f"42 add on file task {handle.cid.short} · receipt ")
    assert display.mimebundle(handle)["text/plain"] == f"<add {handle.cid.short}: 42>"


def test_a_handle_that_failed_says_why(demo: Module) -> None:
    """
    A task that trapped shows its error where its value would be.
    """
    handle = demo.div(1, 0)

    assert handle.exception() is not None
    assert said(handle).startswith("trap: the guest divided an integer by zero div failed")


def test_a_run_shows_what_came_of_each_task(session: Session, demo: Module) -> None:
    """
    A run is a line, a picture and a table: computed, replayed, failed and blocked are told apart.
    """
    three = demo.add(1, 2)
    three.result()
    ten = demo.add(three, 7)
    never = demo.div(demo.div(1, 0), 2)
    run = session.run([ten, never], name="nightly").wait()
    shown = said(run)

    assert shown.startswith("run nightly 4 tasks 1 computed 1 replayed 1 failed 1 blocked")
    assert "trap: the guest divided an integer by zero" in shown
    assert "which it awaits, failed" in shown
    assert str(ten.cid) in shown
    assert str(run.workflow.cid) in shown
    assert "run nightly: 4 tasks" in display.mimebundle(run)["text/plain"]


def test_a_failure_that_is_replayed_is_still_a_failure(session: Session, demo: Module) -> None:
    """
    The receipt of a trap is replayed; its row says both.
    """
    wrong = demo.div(1, 0)
    session.run([wrong]).wait().done()

    assert "failed, replayed" in said(session.run([wrong]).wait())


FALLIBLE = """\
(component
  (core module $m
    (memory (export "memory") 1)
    (data (i32.const 8) "\\01\\00\\00\\00\\20\\00\\00\\00\\05\\00\\00\\00")
    (data (i32.const 32) "empty")
    (data (i32.const 64) "\\00\\00\\00\\00\\2a\\00\\00\\00\\00\\00\\00\\00")
    (func (export "no") (result i32) i32.const 8)
    (func (export "yes") (result i32) i32.const 64))
  (core instance $i (instantiate $m))
  (func (export "no") (result (result u32 (error string)))
    (canon lift (core func $i "no") (memory (core memory $i "memory"))))
  (func (export "yes") (result (result u32 (error string)))
    (canon lift (core func $i "yes") (memory (core memory $i "memory")))))
"""


def test_a_function_that_answers_err_says_so(session: Session) -> None:
    """
    What a function typed `result<T, E>` gave is taken apart: an `err` is an error, and an `ok` its value alone.
    """
    module = session.module(FALLIBLE.encode(), "fallible")
    shown = said(session.run([module.no(), module.yes()]).wait())

    assert "computed, err no err: empty" in shown
    assert "computed yes 42" in shown
    assert said(module.no()).startswith("no: empty no failed")


def test_a_run_that_has_not_begun_is_pending(session: Session, demo: Module) -> None:
    """
    A run that nobody waited for shows what it would run.
    """
    run = session.run([demo.add(1, 2), demo.add(3, 4)])

    assert "2 pending" in said(run)
    assert not run.done()


def test_handles_made_together_are_a_list(demo: Module) -> None:
    """
    The handles of a `map` are their values, drawn if they are numbers, and how many are on file.
    """
    many = demo.add.map(range(40), range(40))
    before = said(many)
    many.results()
    after = said(many)

    assert before.startswith("40 handles of add: 0 on file")
    assert "not run" in before
    assert after.startswith("40 handles of add: 40 on file 40 numbers · min 0 · mean 39 · max 78")
    assert "and 20 more" in after
    assert said(demo.add.map(range(0), range(0))) == "no handles"


def test_a_workflow_shows_what_is_on_file(session: Session, demo: Module) -> None:
    """
    A workflow is its graph; what the session has receipts of is marked.
    """
    inner = demo.add(1, 2)
    inner.result()
    shown = said(demo.add(inner, 3).workflow)

    assert shown.startswith("workflow 2 tasks 1 on file 1 not run")
    assert f"add  {inner.cid.short}" not in shown
    assert "tasks" in display.mimebundle(demo.add(inner, 3).workflow)["text/plain"]


def test_a_plan_shows_what_would_run(session: Session, demo: Module) -> None:
    """
    A plan says what is on file and what is to run, and runs nothing.
    """
    inner = demo.add(1, 2)
    inner.result()
    plan = session.plan([demo.add(inner, 3)])

    assert said(plan).startswith("plan 2 tasks 1 on file 1 to run")
    assert "to run" in repr(display.plan_view(plan))


def test_what_another_workflow_has_is_drawn_as_such(session: Session, demo: Module) -> None:
    """
    A task that awaits one of another workflow has an arrow from outside, with its CID.
    """
    there = demo.add(1, 2)
    here = demo.add(there, 3)
    reader = inert(display.mimebundle(Workflow(tasks=(here.task,)))["text/html"])
    (drawn,) = (picture for picture in pictures(reader) if "another" in picture)

    assert there.cid.short in inert_svg(drawn)


def test_modules_functions_receipts_files_and_names(session: Session, demo: Module, tmp_path: Path) -> None:
    """
    Each object that a session gives has a display of its own.
    """
    handle = demo.add(1, 2)
    handle.result()
    photo = tmp_path / "photo.png"
    photo.write_bytes(png(6, 4))
    receipt = handle.receipt
    assert receipt is not None

    assert said(demo).startswith("demo core module, 3 functions")
    assert "add func(p0: s64, p1: s64) -> s64" in said(demo)
    assert said(demo.add.with_options(time=10, memory="512 MB", fuel=1000)).endswith(
        "a function of demo · time 10.0 s · memory 512 MB · fuel 1,000"
    )
    assert f"ran {receipt.ran} meta" in said(receipt)
    assert "PNG image, 6" in said(session.file(photo))
    assert said(CID("bafkqabiaaebagba")) == "bafkqabiaaebagba raw, identity"
    assert said(handle.error) == f"<the error of add {handle.cid.short}>"


def test_a_file_of_another_session_is_a_name(session: Session) -> None:
    """
    A link whose bytes are not here shows what it is called and how long it is.
    """
    from ipvm_kernel import File

    assert said(File(CID("bafkqabiaaebagba"), "elsewhere.png", 100)) == "elsewhere.png 100 B bafkqabiaaebagba"


def test_other_objects_are_refused_by_name() -> None:
    """
    What is no object of ipvm has no picture, and the message says what it was.
    """
    with pytest.raises(TypeError, match="found list"):
        display.mimebundle([])


def test_a_shell_shows_them_and_forgets_it(shell: InteractiveShell, demo: Module) -> None:
    """
    After `register` a handle shows HTML and text; after `unregister` its `repr`, as any object's.
    """
    formatter: Any = shell.display_formatter
    handle = demo.add(1, 2)
    formatter.active_types = [*formatter.active_types, "text/html"]
    before, _ = formatter.format(handle)
    display.register(shell)
    display.register(shell)
    between, _ = formatter.format(handle)
    display.unregister(shell)
    display.unregister(shell)
    after, _ = formatter.format(handle)

    assert set(before) == set(after) == {"text/plain"}
    assert before == after == {"text/plain": repr(handle)}
    assert set(between) == {"text/plain", "text/html"}


def test_a_terminal_gets_text_alone(shell: InteractiveShell, demo: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where no HTML is shown none is made, and a terminal with ASCII only gets signs that it has.
    """
    formatter: Any = shell.display_formatter
    formatter.active_types = ["text/plain"]
    display.register(shell)
    monkeypatch.setattr(sys, "stdout", type("Old", (), {"encoding": "ascii"})())
    shown, _ = formatter.format(demo.add(demo.add(1, 2), 3))
    display.unregister(shell)

    assert set(shown) == {"text/plain"}
    assert ". not run" in shown["text/plain"]


def test_the_extension_shows_them(notebook: Notebook) -> None:
    """
    `%load_ext ipvm` is all that a notebook needs.
    """
    told = notebook.run("demo.add(1, 2)")

    assert told.error is None
    assert "not run: 1 task" in "".join([told.out, *told.texts])


def test_learning_to_show_costs_nothing() -> None:
    """
    Importing the displays, and telling a shell about them, loads neither the engine nor what draws.
    """
    code = (
        "import sys; from ipvm import display; from types import SimpleNamespace as S\n"
        "shell = S(display_formatter=S(mimebundle_formatter=S(for_type_by_name=lambda *a: None)))\n"
        "display.register(shell)\n"
        "print([name for name in sys.modules if name.startswith(('ipvm_kernel', 'msgspec', 'wasmtime', 'IPython'))])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_a_value_too_large_to_read_is_told(session: Session, demo: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A value that is a link to hundreds of megabytes shows its size; its bytes are not read.
    """
    from ipvm_kernel.handles import Handle

    link = session.put(bytes(2_000)).cid
    task = Task(run=Instruction(rsc="ipfs://bafkqabiaaebagba", op="wasm/run", input={"func": "load", "args": []}))
    receipt = Receipt(ran=task.invocation.cid, out=Outcome("ok", link), meta={"op": "load"})
    monkeypatch.setattr(session, "known", lambda *_: receipt)
    monkeypatch.setattr(type(session.store), "size", lambda *_: 300_000_000)
    monkeypatch.setattr(session, "load", lambda *_: pytest.fail("it was read"))

    assert "300 MB , not read to be shown" in said(Handle(session, task, None))


def _finished(count: int) -> Run:
    """Return a run of many tasks that is over: a chain that branches, with a failure here and there."""
    tasks: list[Task] = []
    for n in range(count):
        awaited: list[Ipld] = [{"await/ok": tasks[-1].run.cid}] if n % 10 else []
        instruction = Instruction(
            rsc="ipfs://bafkqabiaaebagba", op="wasm/run", input={"func": f"f{n % 7}", "args": [*awaited, n]}
        )
        tasks.append(Task(run=instruction))
    progress = Progress(count)

    def stream() -> Iterator[Answer]:
        for n, task in enumerate(tasks):
            cid = task.run.cid
            outcome = Outcome("ok", n) if n % 1000 else failure("trap", "the guest divided an integer by zero")
            progress.set(cid, "computed" if n % 1000 else "failed")
            yield Answer(cid, Receipt(ran=cid, out=outcome, meta={"op": "f"}), progress.state(cid) or "pending", 0.01)

    class Source:
        def receipt_at(self, cid: CID) -> Receipt:
            raise AssertionError(f"{cid} was read again")

        def fallible(self, instruction: Instruction) -> bool:
            return instruction.func == "f3"

    return Run(
        Workflow(tasks=tuple(tasks)), stream, stopper=Stopper(), progress=progress, source=Source(), name="sweep"
    ).wait()


def test_a_run_of_a_hundred_thousand_tasks_is_shown_at_once() -> None:
    """
    A run of 100,000 answers is a summary by function with its failures, in under a second and 200 kB.
    """
    run = _finished(100_000)
    spent, bundle = [], {}
    for _ in range(3):
        began = time.process_time()
        bundle = display.mimebundle(run)
        spent.append(time.process_time() - began)
    reader = inert(bundle["text/html"])
    shown = " ".join(reader.said)

    assert min(spent) < 1.5  # 0.5 s where nothing else runs
    assert len(bundle["text/html"]) < 200_000
    assert len(bundle["text/plain"]) < 10_000
    assert "100,000 tasks 99,900 computed 100 failed" in shown
    assert "24 of 100,000 tasks are listed" in shown


def test_a_pipeline_of_many_thousands_is_shown_before_it_ran(session: Session, demo: Module) -> None:
    """
    A handle at the end of 3,000 others shows how many there are, by function.
    """
    handle = demo.add(0, 1)
    for n in range(3_000):
        handle = demo.add(handle, n)

    assert said(handle).startswith("add not run: 3,001 tasks, 0 on file")
    assert "3,001" in display.mimebundle(handle)["text/plain"]
