"""What strangers choose, in everything that ipvm prints: verbs as text and HTML, exports, the line under a cell."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pytest

import ipvm
from ipvm import stale
from ipvm_kernel import dagjson
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.model import Workflow
from ipvm_kernel.store import CellRecord, Entry, MemoryStore, Received, RunRecord
from ipvm_kernel.testing import filing, task
from tests.picture.inert import HOSTILE, inert, inert_svg, plain

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm.views import View
    from ipvm_kernel.ipld import Ipld
    from ipvm_kernel.model import Task
    from ipvm_kernel.session import Session

_EVERY: list[Any] = [pytest.param(said, id=str(n)) for n, said in enumerate(HOSTILE)]


def wire(said: str) -> str:
    """Return a text as it can stand in a block: UTF-8."""
    return said.encode("utf-8", "replace").decode()


def full(session: Session, said: str) -> dict[str, Any]:
    """Put words of strangers wherever a store has words, and return what may be asked about."""
    store = session.store
    assert isinstance(store, MemoryStore)
    clean = wire(said)
    photo = store.put_file(clean.encode(), "input")
    workflow_run = RunRecord(name=said, cell=said, source=said, count=3, notebook=said, session=said)
    store.declare(CellRecord(ident=9, cell=said, source=said, count=2, notebook=said, saved=photo, session=said))
    store.call(photo, said)
    crop = task(photo, clean, {clean: [clean, {clean: clean}]}, func=clean)
    grey = task({"await/ok": crop.run.cid}, clean + "!", func=clean)
    failed = task(clean, func=clean + "?")
    workflow = Workflow.of([crop, grey])
    workflow_run.workflow = store.put(workflow.block)
    run = store.begin(workflow_run)
    receipts = []
    values: list[tuple[Task, Ipld]] = [(crop, clean), (grey, {clean: [photo, clean]})]
    for one, value in values:
        made = filing(one, value, run=run)
        made.entry.engine, made.entry.log, made.entry.declared = said, said, 9
        store.file(made)
        receipts.append(made.receipt.cid)
    store.put(failed.run.block)
    store.put(failed.invocation.block)
    store.note(
        Entry(instruction=failed.run.cid, func=clean, rsc=said, how="failed", error=f"limit: {said}", declared=9)
    )
    strange = filing(task(clean, 7, func=clean), clean)
    store.file(Received(strange.receipt, Entry(instruction=strange.task.run.cid, func=clean, rsc=said, how="loaded")))
    store.pin(said, photo)
    loose = store.put(Block.of({clean: [Block.of("nowhere").cid, photo, clean, workflow.cid]}))
    return {
        "crop": crop.run.cid, "grey": grey.run.cid, "receipt": receipts[1], "photo": photo, "workflow": workflow.cid,
        "failed": failed.run.cid, "strange": strange.receipt.cid, "loose": loose, "task": store.put(crop.block),
        "ran": crop.invocation.cid,
    }  # fmt: skip


def views(things: dict[str, Any]) -> list[View]:
    """Return what every verb that looks says."""
    shown: list[Any] = [ipvm.show(cid) for cid in things.values()]
    shown += [ipvm.show(str(things["receipt"])), ipvm.receipts(), ipvm.status(), ipvm.store()]
    shown += [ipvm.why(things[name]) for name in ("crop", "grey", "failed")]
    shown += [
        verb(things[name]) for verb in (ipvm.trace, ipvm.inputs) for name in ("grey", "receipt", "workflow", "photo")
    ]
    shown += [ipvm.uses(things[name]) for name in ("photo", "crop")]
    shown += [ipvm.diff(things["crop"], things["grey"]), ipvm.diff(things["grey"], things["failed"])]
    shown += [ipvm.diff(things["workflow"], things["workflow"])]
    return shown


@pytest.mark.parametrize("said", _EVERY)
def test_no_word_of_a_stranger_acts_in_what_a_verb_says(session: Session, said: str) -> None:
    """
    Names of functions, cells, notebooks, runs, engines, files and pins; arguments, values, errors and logs: words, and no more.
    """
    things = full(session, said)
    for view in views(things):
        plain(str(view), keep="\n\t")
        inert(view._repr_html_())
        for value in view.data:
            dagjson.dumps(value)


@pytest.mark.parametrize("said", _EVERY[::3])
def test_no_word_of_a_stranger_acts_in_what_is_written_for_others(session: Session, said: str, tmp_path: Path) -> None:
    """
    Graphs, pages and provenance: Mermaid without directives, SVG that only draws, JSON that is read back, paths that stay.
    """
    things = full(session, said)
    ipvm.export(things["grey"], tmp_path / "graph.mmd")
    ipvm.export(things["grey"], tmp_path / "graph.svg")
    ipvm.export(things["grey"], tmp_path / "graph.dot")
    ipvm.show(things["receipt"], html=tmp_path / "page.html")

    mermaid = (tmp_path / "graph.mmd").read_text()
    plain(mermaid)
    assert all("<" not in line.replace("<br/>", "") for line in mermaid.splitlines())
    assert "%%" not in mermaid
    inert_svg((tmp_path / "graph.svg").read_text())
    plain((tmp_path / "graph.dot").read_text(), keep="\n\t")
    page = (tmp_path / "page.html").read_text()
    plain(page)
    assert "<script" not in page
    inert(page[page.index("</h1>") + 5 : page.index("</body>")])


@pytest.mark.parametrize("said", _EVERY[::16])
def test_no_word_of_a_stranger_leaves_its_place_in_prov_and_crates(session: Session, said: str, tmp_path: Path) -> None:
    """
    In PROV-JSON and an RO-Crate names are texts; files of a crate stay in it, under names of our own letters.
    """
    pytest.importorskip("prov")
    pytest.importorskip("rocrate")
    things = full(session, said)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        ipvm.export(things["grey"], tmp_path / "a.prov.json")
        ipvm.export(things["grey"], tmp_path / "crate", format="crate")

    plain((tmp_path / "a.prov.json").read_text())
    for path in (tmp_path / "crate").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "crate")
        assert path.name.replace("-", "").replace(".", "").isalnum()
        assert path.name.isascii()


@pytest.mark.parametrize("said", _EVERY[:60:6])
def test_names_of_users_are_names(session: Session, said: str) -> None:
    """
    What is said of stale handles names what Python can name, and nothing else.
    """
    scope: dict[str, Any] = {said: session.put(b"x")}
    names = stale.Names(scope)
    names.note()

    assert names.all() == {}


def test_a_hundred_megabytes_are_a_summary(session: Session) -> None:
    """
    A value of 100 MB is told by its size: as bytes, as a file, as text and as a list of numbers.
    """
    file = session.store.put_file(bytes(100_000_000), "value")
    made = filing(task(func="big"), file)
    session.store.file(made)
    inline = filing(task(func="inline"), bytes(100_000_000))
    session.store.file(inline)

    for cid in (file, made.receipt.cid, made.task.run.cid, inline.receipt.cid):
        view = ipvm.show(cid)

        assert len(str(view)) < 20_000
        assert len(view._repr_html_()) < 100_000
        assert cid == made.task.run.cid or "100 MB" in str(view)
    assert len(str(ipvm.receipts())) < 20_000
    assert len(str(ipvm.trace(made.receipt.cid))) < 20_000


def test_a_link_that_leads_nowhere_or_back_says_so(session: Session) -> None:
    """
    A missing link and a circle of a value through the task that gave it are told in place.
    """
    absent = Block.of("nowhere").cid
    loose = session.store.put(Block.of({"a": absent, "b": [absent]}))
    photo = session.store.put_file(b"a photo", "input")
    session.store.file(filing(task(photo, func="same"), photo))

    assert str(ipvm.show(loose)).count("not here") >= 2
    assert "a circle: it leads back to itself" in str(ipvm.show(photo))
    assert isinstance(absent, CID)
