"""A shell with the extension loaded, and a session of its own."""

from __future__ import annotations

import atexit
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from ipvm_kernel.session import Session, set_default

if TYPE_CHECKING:
    from collections.abc import Iterator

WAT = """\
(module
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "div") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
  (func (export "spin") (loop br 0)))
"""


@dataclass
class Told:
    """What a cell gave, said and showed."""

    value: Any
    error: BaseException | None
    out: str
    shown: list[Any]

    @property
    def texts(self) -> list[str]:
        """The plain text of what was shown, in order."""
        return [str(output.data.get("text/plain", "")) for output in self.shown]


class Notebook:
    """A shell that runs cells as a kernel does."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell

    def run(self, code: str) -> Told:
        """Run a cell."""
        with capture_output() as captured:
            result = self.shell.run_cell(code, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        return Told(result.result, error, captured.stdout + captured.stderr, captured.outputs)


@pytest.fixture
def session() -> Iterator[Session]:
    """
    A default session that ends with the test.
    """
    made = Session(None)
    set_default(made)
    yield made
    set_default(None)
    made.close()


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """
    A shell that knows nothing of ipvm yet.
    """
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=Config(HistoryManager={"hist_file": ":memory:"}))
    yield made
    atexit.unregister(made.atexit_operations)  # which collects garbage: a minute for the shells of all tests
    InteractiveShell.clear_instance()


@pytest.fixture
def notebook(session: Session, shell: InteractiveShell) -> Iterator[Notebook]:
    """
    A shell with `%load_ext ipvm`, `ipvm` imported, and a module `demo` of three functions.
    """
    made = Notebook(shell)
    made.run("%load_ext ipvm")
    made.run("import ipvm")
    shell.user_ns["demo"] = session.module(WAT.encode(), "demo")
    yield made
    shell.run_line_magic("unload_ext", "ipvm")
