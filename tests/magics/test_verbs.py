from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import pytest
from wasmtime import wat2wasm

import ipvm
from ipvm import cli, verbs
from ipvm.views import View
from ipvm_kernel.errors import IpvmError, StoreFull
from tests.magics.conftest import WAT

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.session import Session
    from tests.magics.conftest import Notebook


def shell(*words: str) -> tuple[int, str, str]:
    """Do what a command line says, and return its exit status, output and messages."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = cli.main(list(words))
    return status, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("name", sorted(verbs.VERBS))
def test_each_verb_is_a_command_a_magic_and_a_function(notebook: Notebook, name: str) -> None:
    """
    What can be typed in one place can be typed in all three, and says what it is for.
    """
    status, out, _ = shell("help", name)
    told = notebook.run(f"%ipvm help {name}")

    assert callable(getattr(ipvm, name))
    assert name in dir(ipvm)
    assert status == 0
    assert verbs.VERBS[name].summary.split()[0] in out
    assert told.error is None
    assert getattr(ipvm, name).__doc__


def test_the_arguments_of_a_verb_are_those_of_its_function() -> None:
    """
    The table and the functions do not drift apart.
    """
    import inspect

    for verb in verbs.VERBS.values():
        parameters = set(inspect.signature(verb.function()).parameters)

        assert {argument.key for argument in verb.arguments} == parameters, verb.name


def test_an_unknown_verb_is_answered_with_a_near_one() -> None:
    """
    A slip of the finger costs one line.
    """
    status, out, err = shell("whi", "x")

    assert status == 2
    assert out == ""
    assert "Did you mean 'why'" in err
    assert err.count("\n") == 1


def test_why_says_hit_miss_and_what_changed(notebook: Notebook) -> None:
    """
    `why` names the argument that is new, and the cell that the last one came from.
    """
    notebook.run("x = demo.add(1, 2)\nx.result()")
    hit = notebook.run("%ipvm why x")
    notebook.run("y = demo.add(1, 5)")
    miss = notebook.run("%ipvm why y")

    assert "hit: replayed" in str(hit.value)
    assert "miss: it will run" in str(miss.value)
    assert "the argument p1 is 5; it was 2" in str(miss.value)
    assert "x = demo.add(1, 2)" in str(miss.value)


def test_why_follows_a_promise_to_the_input_that_changed(notebook: Notebook) -> None:
    """
    If what is awaited differs, the reason is given where it lies, however far up.
    """
    notebook.run("a = demo.add(demo.add(demo.add(1, 2), 3), 4)\na.result()")
    notebook.run("b = demo.add(demo.add(demo.add(1, 9), 3), 4)")
    told = notebook.run("%ipvm why b")

    assert "the argument p1 is 9; it was 2" in str(told.value)


def test_why_says_that_a_limit_is_no_part_of_the_name(notebook: Notebook) -> None:
    """
    The same task with other limits is replayed, and `why` says that this is right.
    """
    notebook.run("demo.add(1, 2).result()")
    notebook.run("z = demo.add.with_options(fuel=1000)(1, 2)")
    told = notebook.run("%ipvm why z")

    assert "hit: replayed" in str(told.value)
    assert "limits are no part" in str(told.value)


def test_why_says_that_a_failure_is_tried_again(notebook: Notebook) -> None:
    """
    What ran out of fuel is not kept, and why is said.
    """
    notebook.run("s = demo.spin.with_options(fuel=1000)()\ns.exception()")
    told = notebook.run("%ipvm why s")

    assert "uncacheable" in str(told.value)
    assert "fuel" in str(told.value)


def test_things_are_named_by_variable_short_form_cid_and_receipt(notebook: Notebook) -> None:
    """
    Whatever is at hand names a task.
    """
    notebook.run("x = demo.add(1, 2)\nx.result()")
    handle = notebook.shell.user_ns["x"]
    told = [
        str(ipvm.why(name)) for name in (handle, handle.cid, str(handle.cid), handle.cid.short, str(handle.receipt.cid))
    ]

    assert len({text.splitlines()[0] for text in told}) == 1


def test_an_ambiguous_short_form_lists_its_candidates(notebook: Notebook, session: Session) -> None:
    """
    As with git, what fits several things names them.
    """
    notebook.run("for i in range(40): demo.add(i, i).result()")

    with pytest.raises(IpvmError, match=r"is not enough: .*, …"):
        session.resolve("bafyrmi")


def test_forget_makes_a_task_run_again(notebook: Notebook, session: Session) -> None:
    """
    A forgotten task has no receipt until it is asked for again.
    """
    notebook.run("x = demo.add(1, 2)\nx.result()")
    told = notebook.run("%ipvm forget x")
    before = notebook.shell.user_ns["x"].done()
    notebook.run("x.result()")

    assert "1 receipt" in str(told.value)
    assert not before
    assert len(session.store.journal()) == 2


def test_pins_come_and_go(notebook: Notebook) -> None:
    """
    A pin has a name, which names what it holds.
    """
    notebook.run("x = demo.add(1, 2)\nx.result()")
    notebook.run("%ipvm pin x mine")
    shown = notebook.run("%ipvm why mine")
    notebook.run("%ipvm unpin mine")
    gone = notebook.run("%ipvm unpin mine")

    assert "hit" in str(shown.value)
    assert "no pin is called 'mine'" in str(gone.error)


def test_a_module_shows_its_functions_and_how_values_go_in(session: Session) -> None:
    """
    `ipvm show MODULE` lists what can be called, and says how values go into the guest, and why not straight.
    """
    core = '(core module $m (func (export "f") (result i32) (i32.const 7))) (core instance $i (instantiate $m))'
    lift = '(func (export "f") (result u32) (canon lift (core func $i "f")))'
    texts = (f"(component {core} {lift})", f"(component (component {core} {lift}) {core} {lift})")
    straight, nested = (session.module(bytes(wat2wasm(text)))._cid for text in texts)

    plain, left = str(ipvm.show(str(straight))), str(ipvm.show(str(nested)))
    status, out, _ = shell("show", str(nested), "--json")

    assert "f  func() -> u32" in plain
    assert "values go straight into its memory and out of it" in plain
    assert "values go through the engine's own: it has a nested component" in left
    assert status == 0
    assert json.loads(out)["kind"] == "module"


def test_json_is_one_value_a_line(notebook: Notebook) -> None:
    """
    `--json` is for programs: each line is DAG-JSON.
    """
    notebook.run("demo.add(1, 2).result()\ndemo.add(3, 4).result()")
    _, out, _ = shell("receipts", "--json")

    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["func"] for row in rows] == ["add", "add"]
    assert set(rows[0]["instruction"]) == {"/"}


def test_a_workflow_file_runs_and_replays(notebook: Notebook, tmp_path: Path) -> None:
    """
    `ipvm run FILE` runs a file that Homestar could run, and replays it the second time.
    """
    notebook.run("x = demo.add(demo.add(1, 2), 3)")
    path = notebook.shell.user_ns["x"].workflow.save(tmp_path / "workflow.json")
    first = shell("run", str(path))
    second = shell("run", str(path))

    assert first[0] == second[0] == 0
    assert "2 computed" in first[1]
    assert "2 replayed" in second[1]


def test_a_failed_workflow_file_is_an_error_of_the_command(notebook: Notebook, tmp_path: Path) -> None:
    """
    The exit status tells that a task failed; its line tells why.
    """
    notebook.run("x = demo.div(1, 0)")
    path = notebook.shell.user_ns["x"].workflow.save(tmp_path / "workflow.json")
    status, out, _ = shell("run", str(path))

    assert status == 1
    assert "divided an integer by zero" in out


@pytest.mark.parametrize(
    "words", [("run", "nowhere.json"), ("show", "nothing-like-it"), ("why", "zz"), ("gc", "--to", "lots")]
)
def test_what_cannot_be_done_is_one_line(session: Session, words: tuple[str, ...]) -> None:
    """
    A command that fails says why in one line, and never shows a traceback.
    """
    status, out, err = shell(*words)

    assert status == 1
    assert out == ""
    assert err.count("\n") == 1


def test_doctor_says_what_is_here() -> None:
    """
    Versions against their floors, folders, limits: all in one look.
    """
    status, out, _ = shell("doctor")

    assert status == 0
    assert "wasmtime 50" in out
    assert "all is well" in out


def test_a_view_shows_guest_text_as_text() -> None:
    """
    What a guest chose is inert in a notebook.
    """
    assert "<script>" not in View("<script>alert(1)</script>")._repr_html_()


def test_a_command_whose_receipts_could_not_be_kept_fails(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A command ends with its process: if the disk refused its receipts, it says so once and its status is 1.
    """
    demo = session.module(WAT.encode(), "demo")
    file = session.run([demo.add(20, 22)]).workflow.save(tmp_path / "workflow.json")

    def full() -> None:
        raise StoreFull("no space is left for the receipts of this session")

    monkeypatch.setattr(session.store, "sync", full)
    status, out, err = shell("run", str(file))

    assert status == 1
    assert "1 computed" in out
    assert err == "no space is left for the receipts of this session\n"


def test_a_reader_that_has_had_enough() -> None:
    """
    `ipvm help | head -1` ends quietly, with status 0.
    """
    command = [sys.executable, "-m", "ipvm.cli", "help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""

    assert process.returncode == 0
