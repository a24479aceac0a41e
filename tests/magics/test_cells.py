from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING

import pytest

from ipvm import live
from ipvm_kernel import notebook as engine_notebook
from ipvm_kernel.errors import TaskFailed
from ipvm_kernel.exchange.settings import Settings
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Instruction, Task, Workflow
from ipvm_kernel.session import Session, set_default
from tests.exchange.fakes import Fake
from tests.magics.conftest import WAT
from tests.wasm.worlds import log_guest

if TYPE_CHECKING:
    from tests.magics.conftest import Notebook


def test_all_handles_of_a_cell_are_one_run(notebook: Notebook) -> None:
    """
    Handles made in comprehensions, in helper functions and thrown away are run with the others, and the run has a name.
    """
    told = notebook.run(
        textwrap.dedent("""\
        %%ipvm chain
        firsts = [demo.add(i, 10) for i in range(3)]
        def more(handle):
            return demo.add(handle, 1)
        last = more(firsts[0])
        demo.add(100, 100)
        """)
    )

    assert told.error is None
    run = notebook.shell.user_ns["chain"]
    assert run.counts == {"computed": 5}
    assert notebook.shell.user_ns["last"].result() == 11


def test_the_cell_without_its_first_line_makes_the_same_handles(notebook: Notebook) -> None:
    """
    `%%ipvm` changes when tasks run, never what they are called.
    """
    body = "x = demo.add(demo.add(1, 2), 3)\n"
    notebook.run(f"%%ipvm\n{body}")
    with_magic = notebook.shell.user_ns["x"].cid
    notebook.run(body)

    assert with_magic == notebook.shell.user_ns["x"].cid


def test_a_failed_cell_runs_nothing_and_leaves_no_capture_open(notebook: Notebook, session: Session) -> None:
    """
    If the body raises, no task runs, Python variables stay, and the next cell starts afresh.
    """
    told = notebook.run("%%ipvm\nkept = demo.add(1, 1)\nboom = 1 / 0\n")
    after = notebook.run("kept\n")

    assert isinstance(told.error, ZeroDivisionError)
    assert session.store.journal() == []
    assert "not run" in repr(after.value)
    assert engine_notebook._made.get() is None


def test_a_failed_task_ends_the_cell_in_error_and_keeps_receipts(notebook: Notebook, session: Session) -> None:
    """
    A cell whose task fails ends in one error that names it; what else was computed is kept, and the failure is found
    again when the cell runs a second time.
    """
    code = "%%ipvm\nbroken = demo.div(1, 0)\nafter = demo.add(broken, 1)\nfine = demo.add(2, 2)\n"
    first = notebook.run(code)
    second = notebook.run(code)

    assert isinstance(first.error, TaskFailed)
    assert isinstance(second.error, TaskFailed)
    assert "div" in str(first.error)
    assert "1 task that await it did not run" in str(first.error)
    assert notebook.shell.user_ns["fine"].result() == 4
    assert len(session.store.journal()) == 2


def test_a_failure_that_somebody_takes_is_no_error_of_the_cell(notebook: Notebook) -> None:
    """
    With `--keep-going` the cell ends well although a task failed.
    """
    told = notebook.run("%%ipvm --keep-going\nbroken = demo.div(1, 0)\n")

    assert told.error is None


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("%%ipvm\nfor x in y:", "incomplete"),
        ("%%ipvm\nfor x in y:\n    z", "incomplete"),
        ("%%ipvm\nx = (1,", "incomplete"),
        ("%%ipvm\nx = 1", "complete"),
        ("%%ipvm name\nx = 1\n", "complete"),
        ("%%ipvm\nx = = 1", "invalid"),
    ],
)
def test_is_complete_is_that_of_plain_python(notebook: Notebook, code: str, status: str) -> None:
    """
    A console asks for more lines, or runs, just as for the same lines without `%%ipvm`.
    """
    assert status == notebook.shell.check_complete(code)[0]


def test_a_syntax_error_stands_in_the_users_own_line(notebook: Notebook) -> None:
    """
    The caret of a syntax error is where the user typed it.
    """
    told = notebook.run("%%ipvm\nx = 1\ny = (2 +* 3)\n")

    assert isinstance(told.error, SyntaxError)
    assert told.error.lineno == 3
    assert "y = (2 +* 3)" in told.out


def test_a_traceback_shows_the_cell_as_it_was_typed(notebook: Notebook) -> None:
    """
    No line of ours stands in a traceback.
    """
    told = notebook.run("%%ipvm\ndef f():\n    return {}['no']\nf()\n")

    assert isinstance(told.error, KeyError)
    assert "__ipvm" not in told.out
    assert "%%ipvm" in told.out


def test_the_last_expression_is_shown_after_the_run(notebook: Notebook) -> None:
    """
    A cell that ends with a handle shows its value, since it was just worked out.
    """
    told = notebook.run("%%ipvm\nx = demo.add(20, 22)\nx\n")

    assert told.error is None
    assert any("42" in text for text in told.texts)


def test_plan_shows_and_runs_nothing(notebook: Notebook, session: Session) -> None:
    """
    `--plan` says what would run.
    """
    told = notebook.run("%%ipvm --plan\nx = demo.add(1, 1)\n")

    assert told.error is None
    assert session.store.journal() == []
    assert told.shown


def test_rerun_runs_what_it_names(notebook: Notebook, session: Session) -> None:
    """
    `--rerun add` runs the tasks of that function again, and nothing else.
    """
    notebook.run("%%ipvm\nx = demo.add(1, 1)\ny = demo.div(4, 2)\n")
    told = notebook.run("%%ipvm again --rerun add\nx = demo.add(1, 1)\ny = demo.div(4, 2)\n")

    assert told.error is None
    assert notebook.shell.user_ns["again"].counts == {"replayed": 1, "computed": 1}
    assert sum(entry.func == "add" for entry in session.store.journal()) == 2


def test_limits_of_a_cell_hold_for_its_tasks(notebook: Notebook) -> None:
    """
    `--time` stops a guest that spins, and names of tasks do not change by it.
    """
    told = notebook.run("%%ipvm --time 0.1\nx = demo.spin()\n")

    assert isinstance(told.error, TaskFailed)
    assert "time ran out" in str(told.error)


@pytest.mark.parametrize("options", ["--bogus", "two words", "--rerun nothing", "'"])
def test_bad_options_are_one_line(notebook: Notebook, options: str) -> None:
    """
    What is typed wrong after `%%ipvm` is said in one line, and nothing runs.
    """
    told = notebook.run(f"%%ipvm {options}\nx = demo.add(1, 1)\n")

    assert told.error is not None
    assert "Traceback" not in told.out


def test_the_line_under_a_cell_says_what_ipvm_did(notebook: Notebook) -> None:
    """
    A cell that used ipvm without `%%ipvm` ends with one line, whose metadata names the receipts; others do not.
    """
    told = notebook.run("demo.add(1, 2).result()")
    quiet = notebook.run("1 + 1")

    (footer,) = [output for output in told.shown if output.metadata]
    assert str(footer.data["text/plain"]).startswith("1 task: 1 computed, ")
    (receipts,) = [list(footer.metadata["ipvm"]["receipts"].values())]
    assert all(cid.startswith("bafyrmi") for cid in receipts)
    assert quiet.shown == []


def test_loading_twice_does_nothing(notebook: Notebook) -> None:
    """
    A notebook may load the extension in a kernel that has it.
    """
    notebook.run("%load_ext ipvm")
    notebook.run("%reload_ext ipvm")
    told = notebook.run("%%ipvm\nx = demo.add(3, 3)\n")

    assert told.error is None
    assert sum("1 computed" in text for text in told.texts) <= 1


def test_what_a_guest_said_is_shown_on_replay_too(notebook: Notebook, session: Session) -> None:
    """
    The log of a guest stands under the cell that ran it, and under every cell, of any session, that replays it.
    """
    notebook.shell.user_ns["said"] = session.module(log_guest(), "said")
    body = "said.f('ctx', 'hello')"
    computed = notebook.run(f"%%ipvm\n{body}")
    with Session(session.store) as later:  # remembers nothing but what is on file
        set_default(later)
        notebook.shell.user_ns["said"] = later.module(log_guest(), "said")
        replayed = notebook.run(f"%%ipvm first\n{body}")
        waited = notebook.run(f"{body}.result()")
        shown = notebook.run(f"display({body})")
        html = notebook.run("display(first)")
        set_default(session)

    assert computed.texts[-1] == "f: warn ctx: hello"
    assert replayed.texts[-1] == "f: warn ctx: hello"
    assert waited.texts[-1].startswith("f: warn ctx: hello\n1 task: 1 replayed")
    assert "log of f" in str(html.texts[0])
    assert "ctx: hello" in html.shown[0].data["text/html"]
    assert "ctx: hello" in shown.shown[0].data["text/html"]


def test_an_equal_task_keeps_the_log(session: Session) -> None:
    """
    A task that takes the outcome of an equal one is shown with what was said when that ran.
    """
    said, demo = session.module(log_guest(), "said"), session.module(WAT.encode(), "demo")
    first = said.many("hello", 2)
    first.result()
    again = said.many("hello", demo.add(1, 1))
    again.result()

    assert session.store.logs([first.cid])[first.cid].log == "info hello\ninfo hello"
    assert [(entry.how, entry.log) for entry in session.store.journal(instruction=again.cid)] == [
        ("shared", "info hello\ninfo hello")
    ]


def test_a_receipt_knows_the_number_of_its_cell(notebook: Notebook, session: Session) -> None:
    """
    The journal has the execution count that the notebook shows beside the cell.
    """
    shown = notebook.shell.execution_count
    notebook.run("%%ipvm\nx = demo.add(5, 5)\n")

    assert session.store.runs()[0].count == shown


def test_a_cell_says_what_it_waits_for(notebook: Notebook, session: Session) -> None:
    """
    While a module is fetched, the line under the running cell names it.
    """
    absent = file_cid(b"absent")
    task = Task(run=Instruction(rsc=f"ipfs://{absent}", op="wasm/run", input={"func": "f", "args": []}))
    fake = Fake()
    fake.mood = "silent"
    with fake.running() as address:
        session.resources._settings = Settings(kubo=address, seconds=20)
        run = session.run(Workflow(tasks=(task,)))
        run.start()
        while not fake.asked:
            time.sleep(0.01)
        line = live.Shown(run, line=True)._said()
        run.cancel()
        list(run)

    assert line.endswith(f"1 running; fetching {absent} (0 B)")
