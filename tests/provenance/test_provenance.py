from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ipvm_kernel import provenance
from ipvm_kernel.errors import BadInput, NotFound
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.notebook import Cell, in_cell
from ipvm_kernel.provenance.comparing import first_difference
from ipvm_kernel.session import Diff, RunDiff, Session
from ipvm_kernel.store import MemoryStore
from ipvm_kernel.testing import filing, task
from tests.magics.conftest import WAT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import ipvm


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """
    A session on disk.
    """
    with Session(tmp_path / "home") as made:
        yield made


def test_a_value_leads_to_module_literals_and_the_cells_that_declared_its_tasks(
    session: Session, tmp_path: Path
) -> None:
    """
    Each task names the cell in which it was declared, though another one ran it, and the notebook as it was saved.
    """
    demo = session.module(WAT.encode(), "demo")
    notebook = tmp_path / "story.ipynb"
    notebook.write_text("{}")
    with in_cell(Cell.of("a = demo.add(1, 2)", ident="c1", count=3, notebook=str(notebook))):
        a = demo.add(1, 2)
    with in_cell(Cell.of("b = demo.add(a, 40)", count=4, notebook=str(notebook))):
        b = demo.add(a, 40)
        assert b.result() == 43

    graph = session.trace(b)
    found = session.inputs(b)

    assert next(iter(graph.steps)) == b.cid
    places = {cid: step.place for cid, step in graph.steps.items() if step.kind == "task"}
    one, other = places[a.cid], places[b.cid]
    assert one is not None
    assert other is not None
    assert (one.cell, one.count, one.file, one.source) == ("c1", 3, "story.ipynb", "a = demo.add(1, 2)")
    assert other.cell.startswith("sha256-")
    assert one.saved == Block.raw(b"{}").cid
    assert {(one.where, one.value) for one in found.found if one.kind == "literal"} == {
        (("add", "p0"), 1), (("add", "p1"), 2), (("add", "p1"), 40),
    }  # fmt: skip
    assert [one.names for one in found.found if one.kind == "module"] == [["demo"]]
    assert found.tasks == 2


def test_what_never_ran_is_traced_from_what_it_says(session: Session) -> None:
    """
    A handle that was not run, or that failed and left no receipt, has a lineage all the same.
    """
    demo = session.module(WAT.encode(), "demo")
    spin = demo.spin.with_options(fuel=1000)()
    spin.exception()
    chain = demo.add(1, 2)
    for n in range(300):
        chain = demo.add(chain, n)

    assert len(session.trace(chain).edges) == 601
    assert session.trace(chain).tasks == 301
    assert [edge.kind for edge in session.trace(spin.cid).edges] == ["module"]
    assert session.inputs(chain).literals_cut


def test_uses_go_across_notebooks_and_sessions(tmp_path: Path) -> None:
    """
    What was made with a file is found later and elsewhere, directly or through other tasks, by notebook.
    """
    asked = []
    for name in ("one.ipynb", "two.ipynb"):
        with Session(tmp_path / "home") as session, in_cell(Cell.of(name, count=1, notebook=name)):
            demo = session.module(WAT.encode(), "demo")
            a = demo.add(1, 2)
            asked.append(a)
            demo.add(a, 5 if name == "one.ipynb" else 9).result()

    with Session(tmp_path / "home") as session:
        found = session.uses(asked[0].cid)
        by_module = session.uses(CID.parse(asked[0].instruction.rsc.removeprefix("ipfs://")))

    assert {use.func for use in found.found} == {"add"}
    assert by_module.total == 3
    assert set(by_module.notebooks) <= {"one.ipynb", "two.ipynb"}
    assert sum(by_module.notebooks.values()) == by_module.total
    assert found.direct == found.total


def test_a_circle_ends() -> None:
    """
    A task that gave back the file that it was given is told once, and says that it leads back to itself.
    """
    store = MemoryStore()
    photo = store.put_file(b"a photo", "input")
    same = task(photo, func="same")
    store.file(filing(same, photo))

    graph = provenance.trace(store, [photo])

    assert {edge.kind for edge in graph.edges} == {"value", "link", "module"}
    from ipvm import lineages
    from ipvm_kernel.picture import tree

    assert "a circle: it leads back to itself" in tree.text(lineages.tree_of(graph, {}))


def test_what_is_not_here_is_said(session: Session) -> None:
    """
    A module that is not here is a step that says so; what nobody knows is an error that names it.
    """
    made = filing(task(Block.raw(b"nowhere").cid))
    session.store.file(made)

    steps = session.trace(made.task.run.cid).steps
    from ipvm import lineages
    from ipvm_kernel.picture import tree

    assert [step.size for step in steps.values() if step.kind != "task"] == [None, None]
    assert "not here" in tree.text(lineages.tree_of(session.trace(made.task.run.cid), {}))
    with pytest.raises(NotFound, match="is not in"):
        session.trace(Block.of("nowhere").cid)
    with pytest.raises(BadInput, match="expected a handle"):
        session.trace(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        ([1, 2], [1, 3], "[1]"),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, ".a[1].b"),
        (1, 1.0, ""),
        (True, 1, ""),
        ([1], [1, 2], ""),
        ({"a": 1}, {"b": 1}, ""),
        (b"a", "a", ""),
        ([0.0], [1], "[0]"),
    ],
)
def test_the_first_place_where_two_values_differ(one: object, other: object, path: str) -> None:
    """
    Down to the element, and by type as well as by value.
    """
    found = first_difference(one, other)  # type: ignore[arg-type]

    assert found is not None
    assert found[0] == path
    assert first_difference(one, one) is None  # type: ignore[arg-type]


def test_two_tasks_differ_in_their_first_input(session: Session) -> None:
    """
    A difference is followed through promises to where it lies, with the names of the parameters on the way.
    """
    demo = session.module(WAT.encode(), "demo")
    a, b = (demo.add(demo.add(demo.add(1, n), 3), 4) for n in (2, 9))
    a.result()
    b.result()

    found = session.diff(a, b)

    assert isinstance(found, Diff)
    assert [(one.what, one.a, one.b) for one in found.inputs] == [("the argument p1", "2", "9")]
    assert len(found.inputs[0].through) == 2
    assert [(one.what, one.a, one.b) for one in found.outs] == [("the value", "10", "17")]
    assert session.diff(a.receipt, b.receipt.cid).inputs == found.inputs  # type: ignore[arg-type, union-attr]


def test_two_runs_differ_in_the_first_task_that_differs(session: Session) -> None:
    """
    Of two workflows: what they share, and the first task that differs in itself.
    """
    demo = session.module(WAT.encode(), "demo")

    def story(n: int) -> list[ipvm.Handle]:
        first = demo.add(1, 1)
        second = demo.add(first, n)
        return [demo.div(second, 2), demo.add(second, 5)]

    one, other = session.run(story(2)).wait(), session.run(story(3)).wait()

    found = session.diff(one, other)

    assert isinstance(found, RunDiff)
    assert (found.same, len(found.only_a), len(found.only_b)) == (1, 3, 3)
    assert found.first is not None
    assert [(one.what, one.a, one.b) for one in found.first.inputs] == [("the argument p1", "2", "3")]
    assert session.diff(one, one).first is None  # type: ignore[union-attr]
    with pytest.raises(BadInput, match="one of each"):
        session.diff(one, story(2)[0])


def test_why_it_ran_when_it_ran(session: Session) -> None:
    """
    Once it has a receipt, `why` still says why it ran and was not replayed: what was new, or what had failed.
    """
    demo = session.module(WAT.encode(), "demo")
    first, second = demo.add(1, 2), demo.add(1, 5)
    first.result()
    second.result()
    demo.add(7, 7).result()  # later, and no reason for anything before
    nonced = demo.add.with_options(nonce="0123456789abcdefghij")(1, 5)
    nonced.result()

    assert session.why(first).ran_because == ["no task of the function add was run before"]
    assert session.why(second).ran_because[1:] == ["the argument p1 is 5; it was 2"]
    assert any("the nonce is" in reason for reason in session.why(nonced).ran_because)
    spin = demo.spin.with_options(fuel=1000)()
    spin.exception()
    assert session.why(spin).verdict == "uncacheable"
    session.forget([second.cid])
    told = session.why(demo.add(1, 5))
    assert told.verdict == "uncacheable"
    assert "taken off file" in told.reasons[0]
