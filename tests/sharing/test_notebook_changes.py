from __future__ import annotations

from typing import Any

from ipvm_kernel.ipld import CID
from ipvm_kernel.sharing.notebook import compared, read
from tests.sharing.samples import INSTRUCTION, OTHER, RECEIPT, WORKFLOW, about, code, good, notebook, shown


def _both(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[str]:
    return [change.text for change in compared(read(notebook(*first)), read(notebook(*second)))]


def test_equal_notebooks_are_the_same_cell_by_cell() -> None:
    """
    Comparing a notebook with itself says "same" for each cell.
    """
    found = read(good())

    assert all(change.same for change in compared(found, found))
    assert compared(found, found)[2].text == "cell 3, f(1): same, 1 receipt"


def test_receipts_that_changed_are_named() -> None:
    """
    A task that both answer with other receipts, one that is new and one that is gone are told apart.
    """
    third = CID.of(b"\xa5")
    before = code("f(1)", shown({}, about((INSTRUCTION, RECEIPT), (OTHER, RECEIPT))))
    after = code("f(1)", shown({}, about((INSTRUCTION, WORKFLOW), (third, RECEIPT))))
    change = compared(read(notebook(before)), read(notebook(after)))[0]

    assert change.receipts == {INSTRUCTION: (RECEIPT, WORKFLOW), OTHER: (RECEIPT, None), third: (None, RECEIPT)}
    assert change.divergent == [INSTRUCTION]
    assert change.text.splitlines() == [
        "cell 1, f(1): 3 receipts changed, 0 the same",
        f"  task {INSTRUCTION.short}: receipt {RECEIPT.short} became {WORKFLOW.short}",
        f"  task {OTHER.short}: receipt {RECEIPT.short} is gone",
        f"  task {third.short}: receipt {RECEIPT.short} is new",
    ]


def test_a_changed_source_is_shown() -> None:
    """
    The lines that differ are shown, first what was and then what is.
    """
    told = _both([code("a = 1\nb = 2\nc = 3")], [code("a = 1\nb = \x1b[31m4\nc = 3")])

    assert told == ["cell 1, a = 1: source changed\n  -b = 2\n  +b = \\x1b[31m4"]


def test_cells_without_a_common_id_are_matched_by_source_and_place() -> None:
    """
    Equal sources are one cell wherever they stand; what lies between them is matched by its place.
    """
    first = [code(s, ident=f"a{n}") for n, s in enumerate(["one", "two", "three"])]
    second = [code(s, ident=f"b{n}") for n, s in enumerate(["zero", "one", "2", "three"])]

    assert _both(first, second) == [
        "cell 1, zero: only in the second",
        "cell 1 (cell 2 in the second), one: same",
        "cell 2 (cell 3 in the second), 2: source changed\n  -two\n  +2",
        "cell 3 (cell 4 in the second), three: same",
    ]


def test_cells_that_are_gone_stand_where_they_were() -> None:
    """
    A cell that only the first has is told before the one that followed it.
    """
    cells = [code(name, ident=name) for name in ("a", "b", "c")]

    assert [line.split(":")[0] for line in _both(cells, [cells[0], cells[2]])] == [
        "cell 1, a",
        "cell 2, b",
        "cell 3 (cell 2 in the second), c",
    ]


def test_many_equal_cells_are_compared_at_once() -> None:
    """
    Notebooks of thousands of cells that share no id are compared without looking at each pair.
    """
    first = notebook(*(code("x", ident=f"a{n}") for n in range(3_000)))
    second = notebook(*(code("x", ident=f"b{n}") for n in range(2_999)), code("y", ident="y"))
    found = compared(read(first), read(second))

    assert sum(change.same for change in found) == 2_999
    assert {change.where for change in found} == {"both", "first", "second"}
