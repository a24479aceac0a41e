from __future__ import annotations

import pytest

from tests.benchmarks.edits import EDITS, Edit
from tests.benchmarks.stale import told, verdict

pytestmark = pytest.mark.peer("zig", "wasm-tools")


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.what)
def test_ipvm_is_never_stale(edit: Edit) -> None:
    """
    Whatever you edit, the next answer is the one that the program gives as it now stands.

    What cannot change it is replayed: no edit at all, or another limit.
    """
    before, after = told("ipvm", edit)

    assert after["value"] == after["truth"]
    assert verdict(before, after) == ("new" if after["truth"] != before["truth"] else "rightly replayed")
