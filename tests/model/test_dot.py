"""Workflows as Graphviz text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.model import Instruction, Task, Workflow

if TYPE_CHECKING:
    from ipvm_kernel.ipld import Ipld

MODULE = "ipfs://bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


def made(func: str, *args: Ipld) -> Task:
    return Task(run=Instruction(rsc=MODULE, op="wasm/run", input={"func": func, "args": list(args)}))


def promised(task: Task, branch: str = "ok") -> Ipld:
    return {f"await/{branch}": task.run.cid}


def pipeline(name: str = "crop") -> Workflow:
    first = made(name, 1)
    second = made("blur", promised(first), [promised(first)])
    return Workflow.of([first, second, made("explain", promised(second, "*"), promised(made("far"), "error"))])


def test_a_box_for_each_task_and_an_arrow_for_each_promise() -> None:
    """
    A workflow becomes DOT although nothing called `dot` is installed.
    """
    text = pipeline().to_dot()

    assert text.startswith("digraph ipvm {")
    assert text.count(" -> ") == 3
    assert "n0 -> n1\n" in text
    assert "n1 -> n2 [label=outcome style=dashed]" in text
    assert "n3 -> n2 [label=error style=dashed]" in text
    assert r'n3 [label="elsewhere\n' in text


def test_a_package_that_is_missing_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the package there is no traceback of ours, but what to install.
    """
    monkeypatch.setitem(sys.modules, "graphviz", None)

    with pytest.raises(IpvmError, match=r"pip install 'ipvm\[graphviz\]'"):
        pipeline().to_dot()


@pytest.mark.parametrize(
    "said", ['"', "\\", "<b>x</b>", '", URL="x', "]; n0 -> n0", "a\nb", "\x1b[31m\u202e", "\\N\\G", "x" * 10_000]
)
def test_names_stay_names(said: str) -> None:
    """
    In DOT a name neither ends its label nor becomes markup or an escape of Graphviz's, and is cut where it is long.
    """
    text = pipeline(said).to_dot()
    label = next(line for line in text.splitlines() if line.startswith("\tn0 [label="))

    assert label.startswith('\tn0 [label="')
    assert label.endswith('"]')
    assert len(label) < 300
    assert '"' not in label[len('\tn0 [label="') : -2].replace(r"\"", "")
    assert text.isprintable() or {c for c in text if not c.isprintable()} == {"\n", "\t"}
