"""The notebooks, as a newcomer runs them: from top to bottom, twice, under either kernel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import nbclient
import nbformat
import pytest

from ipvm import shipped
from ipvm_kernel.session import Session
from tests.toolchains.prebuilt import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = sorted(path.name for path in MODULES.parent.glob("*.ipynb"))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """
    The demo unpacked, with the build receipts that came along on file in a home of its own, and no compiler.
    """
    folder = tmp_path_factory.mktemp("demo")
    shipped.unpack(folder)
    home = folder / "home"
    with Session(home) as session:
        shipped.admit_builds(session)
    before = os.environ.get("IPVM_HOME")
    os.environ["IPVM_HOME"] = str(home)
    yield folder
    if before is None:
        del os.environ["IPVM_HOME"]
    else:
        os.environ["IPVM_HOME"] = before


def ran(home: Path) -> int:
    """Return how many tasks were ever run in a store."""
    with Session(home) as session:
        return sum(entry.how in {"computed", "failed"} for entry in session.store.journal(limit=100_000))


def executed(folder: Path, name: str, kernel: str) -> Any:
    """Run a notebook from top to bottom, and return it."""
    notebook = nbformat.read(folder / name, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name=kernel, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return notebook


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets that nbclient leaves behind
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_twice_and_works_once(demo: Path, name: str) -> None:
    """
    A notebook that ran under one kernel runs again under the other, and executes nothing: every task is replayed.
    """
    first = executed(demo, name, "ipvm")
    between = ran(demo / "home")
    second = executed(demo, name, "python3")
    third = executed(demo, name, "ipvm")

    assert between > 0
    assert ran(demo / "home") == between
    for notebook in (first, second, third):
        assert not [o for cell in notebook.cells for o in cell.get("outputs", ()) if o.output_type == "error"]
    assert receipts(second) == receipts(third)
    assert receipts(second).items() <= receipts(first).items()  # what leads to a value on file is not asked for


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets that nbclient leaves behind
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_needs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """
    Whoever opens any of the notebooks first, with nothing on file, can run it to its end.
    """
    shipped.unpack(tmp_path / "demo")
    monkeypatch.setenv("IPVM_HOME", str(tmp_path / "home"))
    notebook = executed(tmp_path / "demo", name, "ipvm")

    assert not [o for cell in notebook.cells for o in cell.get("outputs", ()) if o.output_type == "error"]


def receipts(notebook: Any) -> dict[str, str]:
    """Return the receipt of each instruction that a notebook's outputs name."""
    found: dict[str, str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            found |= output.get("metadata", {}).get("ipvm", {}).get("receipts", {})
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_shipped_without_outputs(name: str) -> None:
    """
    What is in the package is what was written, and every notebook loads the extension by itself.
    """
    notebook = nbformat.read(MODULES.parent / name, as_version=4)

    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    assert any("%load_ext ipvm" in cell.source for cell in notebook.cells)
