"""Plug-ins: what another package offers by an entry point is used by its name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel import plugins
from ipvm_kernel.engine.ops import WasmRun
from ipvm_kernel.errors import NotFound
from ipvm_kernel.model import Instruction, Task, Workflow
from ipvm_kernel.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = """
from ipvm_kernel.engine.ops import Performed, Prepared, Report
from ipvm_kernel.model import Outcome


class Shout:
    name = "demo/shout"

    def __init__(self, means):
        pass

    def fallible(self, instruction):
        return False

    def prepare(self, instruction, tree):
        return Prepared(instruction, tree, b"shout" + instruction.cid.bytes)

    def perform(self, prepared, limits, stop):
        return Performed(Outcome("ok", prepared.tree["args"][0].upper()), True, Report())
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """
    An installed package with an operation of its own.
    """
    info = tmp_path / "ipvm_shout-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ipvm-shout\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ipvm.ops]\ndemo/shout = ipvm_shout:Shout\n")
    (tmp_path / "ipvm_shout.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    plugins._points.cache_clear()
    yield
    plugins._points.cache_clear()
    sys.modules.pop("ipvm_shout", None)


@pytest.mark.usefixtures("package")
def test_an_operation_of_another_package() -> None:
    """
    An operation that is installed runs, gives receipts and is replayed as the built-in ones are.
    """
    run = Instruction(rsc="ipfs://bafkqaaa", op="demo/shout", input={"func": "shout", "args": ["hello"]})
    workflow = Workflow.of([Task(run=run)])
    with Session(None) as session:
        first, second = session.run(workflow).wait(), session.run(workflow).wait()

    assert [answer.receipt.value for answer in first.answers if answer.receipt] == ["HELLO"]
    assert first.counts == {"computed": 1}
    assert second.counts == {"replayed": 1}
    assert ("demo/shout", "ipvm-shout") in {(found.name, found.package) for found in plugins.installed()}


def test_what_is_built_in_registers_the_same_way() -> None:
    """
    Nothing is built in that an entry point could not give: the table of plug-ins names all of it.
    """
    assert plugins.load("ops", "wasm/run") is WasmRun
    assert {"ipvm/build", "wasm/run"} <= set(plugins.names("ops"))
    assert {"threads", "inline"} <= set(plugins.names("executors"))
    assert {"memory", "folder"} <= set(plugins.names("stores"))
    assert {"wat", "zig", "c"} <= set(plugins.names("toolchains"))


def test_a_name_that_nobody_has() -> None:
    """
    A slip of the finger is answered with a near name, and with all there are.
    """
    with pytest.raises(NotFound, match=r"no executor is called 'thread'\. Did you mean 'threads'\? Installed: "):
        plugins.load("executors", "thread")
