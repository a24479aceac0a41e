"""The README does not drift from what it describes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ipvm import verbs
from ipvm_kernel.session import Session

README = Path(__file__).parents[1] / "README.md"


def test_the_table_of_verbs_is_that_of_the_program() -> None:
    """
    Every verb is in the README, with what it does.
    """
    text = README.read_text(encoding="utf-8")
    listed = re.search(r"<!-- verbs -->\n(.*?)<!-- /verbs -->", text, re.DOTALL)
    expected = "".join(f"| `{name}` | {verb.summary} |\n" for name, verb in verbs.VERBS.items())

    assert listed is not None
    assert listed[1] == expected, "put this between the marks:\n" + expected


@pytest.mark.peer("zig", "wasm-tools")
def test_the_cell_in_the_readme_works() -> None:
    """
    What the README shows in a cell gives what it says.
    """
    source = re.search(r"%%wasm tools --lang zig\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert source is not None
    with Session(None) as session:
        tools = session.build(source[1], lang="zig")

        assert tools.shout("it runs once").result() == "IT RUNS ONCE"
