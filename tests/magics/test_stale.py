from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipvm import stale
from ipvm_kernel.ipld import CID

if TYPE_CHECKING:
    from pathlib import Path

    from tests.magics.conftest import Notebook, Told


def cell(notebook: Notebook, code: str, ident: str) -> Told:
    """Run a cell that has an id, as JupyterLab's have."""
    from IPython.utils.capture import capture_output

    from tests.magics.conftest import Told

    with capture_output() as captured:
        result = notebook.shell.run_cell(code, store_history=True, cell_id=ident)
    return Told(result.result, result.error_in_exec, captured.stdout + captured.stderr, captured.outputs)


def test_what_was_made_from_a_handle_that_changed_says_so(notebook: Notebook) -> None:
    """
    A cell is edited and run again: what others made of its old handle shows both CIDs, under the cell and where it is shown,
    and `%ipvm status` lists it. Running the cells below again makes all well.
    """
    cell(notebook, "crop = demo.add(1, 2)", "c1")
    cell(notebook, "grey = demo.add(crop, 10)", "c2")
    cell(notebook, "soft = demo.add(grey, 10)\nsoft.result()", "c3")
    was = notebook.shell.user_ns["crop"].cid
    edited = cell(notebook, "crop = demo.add(1, 3)", "c1")
    now = notebook.shell.user_ns["crop"].cid
    shown = cell(notebook, "soft", "c4")
    status = cell(notebook, "%ipvm status", "c5")

    assert "grey, soft were made from a different input: crop" in "".join(edited.texts)
    text = notebook.shell.display_formatter.format(notebook.shell.user_ns["soft"])[0]  # type: ignore[union-attr]
    assert f"made from a different input: crop was {was}, and is {now} now" in text["text/plain"]
    assert str(was) in text["text/html"]
    assert shown.error is None
    assert str(was) in str(status.value)
    assert {one["name"] for one in status.value.data[0]["stale"]} == {"grey", "soft"}

    cell(notebook, "grey = demo.add(crop, 10)", "c2")
    again = cell(notebook, "soft = demo.add(grey, 10)", "c3")
    assert "different input" not in "".join(again.texts)
    assert "stale" not in cell(notebook, "%ipvm status", "c5").value.data[0]


@pytest.mark.parametrize(
    "cells",
    [
        {"c1": "x = demo.add(1, 2)", "c2": "x = demo.add(x, 1)", "c3": "x = demo.add(x, 2)"},
        {"c1": "a = demo.add(1, 2)\nb = demo.add(a, 1)", "c2": "a = demo.add(9, 9)"},
        {"c1": "a = demo.add(1, 2)\nb = demo.add(a, 1)\na = 5"},
        {"c1": "a = demo.add(1, 2)\nb = demo.add(a, 1)", "c2": "c = a", "c3": "a = demo.add(1, 7)"},
    ],
    ids=["x = f(x)", "another cell's name", "no handle", "another name"],
)
def test_names_may_be_used_again(notebook: Notebook, cells: dict[str, str]) -> None:
    """
    A name that another cell gives to something else, or to what was made of it, makes nothing stale.
    """
    for ident, code in cells.items():
        cell(notebook, code, ident)

    names = stale.current()
    assert names is not None
    assert names.all() == {}


def test_a_file_that_changed(notebook: Notebook, tmp_path: Path) -> None:
    """
    A file that is linked again and has other bytes, and a module that was built anew, make stale what took the old ones.
    """
    photo = tmp_path / "photo.txt"
    photo.write_bytes(b"one")
    notebook.run(f"photo = ipvm.file({str(photo)!r})\nhandle = demo.add(1, 2)")
    old = notebook.shell.user_ns["demo"]._cid
    notebook.run('%%wasm demo --lang wat\n(module (func (export "add") (param i32 i32) (result i32) i32.const 7))')

    names = stale.current()
    assert names is not None
    ((name, (_, why)),) = names.all().items()
    assert (name, why[0].name, why[0].was) == ("handle", "demo", old)
    assert isinstance(why[0].now, CID)


def test_a_cell_is_known_by_the_number_that_stands_beside_it(notebook: Notebook) -> None:
    """
    What declared a task is remembered with the number that the notebook shows, in every version of IPython.
    """
    notebook.run("1")
    notebook.run("crop = demo.add(1, 2)\nnumber = get_ipython().history_manager.input_hist_raw")
    counted = len(notebook.shell.history_manager.input_hist_raw) - 1  # type: ignore[union-attr]
    notebook.run("crop.result()")

    assert notebook.shell.user_ns["crop"].cell.count == counted
    assert notebook.shell.user_ns["crop"].cell.count == notebook.shell.execution_count - 2
