"""Homestar's database: what a node has computed is here, and what was computed here is there."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from hypothesis import given

from ipvm_kernel.errors import BadInput, Malformed, NotFound, StoreError
from ipvm_kernel.homestar import capsules, database, meaning
from ipvm_kernel.ipld import CID, dagjson, encode
from ipvm_kernel.model import Outcome, Receipt, Task, Workflow, failure
from ipvm_kernel.session import Session, export_capsule, export_database, load
from ipvm_kernel.session.admitting import doubts
from ipvm_kernel.testing import task
from ipvm_kernel.wasm.types import F32, STRING, List, Signature, Tuple
from tests.daemons import Homestar
from tests.homestar.modules import typed
from tests.ipld.values import values
from tests.peers import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.daemons import Kubo


def answered(of: Task, value: Any = 1) -> capsules.Stored:
    receipt = Receipt(ran=of.invocation.cid, out=Outcome("ok", value), meta={"op": of.run.func})
    return capsules.Stored(of.run.cid, receipt)


def named(of: Task) -> tuple[CID, CID]:
    return of.run.cid, answered(of).receipt.cid


def receipts(path: Path) -> list[capsules.Stored]:
    with database.opened(path) as found:
        return list(found.receipts())


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(None) as made:
        yield made


# --- Against the real one ---


@pytest.mark.peer("homestar", "kubo", "zig", "wasm-tools")
class TestRealNode:
    """A Homestar node, its database, and ours."""

    def test_from_a_node_to_a_notebook(self, homestar: Homestar, kubo: Kubo, session: Session) -> None:
        """
        What a Homestar node has computed is loaded with its CIDs from the file that the node has open, is shown and not
        used; and once it is trusted, nothing of it runs again.
        """
        module = typed(session, kubo)
        handle = module.join(module.join("from a node", " to"), " a notebook")
        workflow = handle.workflow
        told = homestar.run(as_json(workflow))
        loaded = load(session, homestar.database)
        there = {str(named.receipt) for named in loaded.receipts}

        assert len(told) == 2
        assert {notice.cid for notice in told} <= there
        assert loaded.refused == []
        assert workflow.cid in loaded.workflows
        assert {found.how for found in session.run(workflow)} == {"computed"}

        session.forget(workflow.by_instruction())
        load(session, homestar.database, trust=True)
        run = session.run(workflow).wait()
        assert {found.how for found in run} == {"replayed"}
        assert {str(receipt.cid) for receipt in run.receipts} == {notice.cid for notice in told}
        assert session.why(handle).verdict == "hit"
        assert handle.result() == "from a node to a notebook"

    def test_from_a_notebook_to_a_node(self, kubo: Kubo, session: Session, tmp_path: Path) -> None:
        """
        A node that is started on a database of ours opens it and replays from it: the module of these tasks is nowhere that
        it could fetch it from.
        """
        module = typed(session)
        handle = module.add_one(module.add_one(module.add_one(2_000_001)))
        run = session.run(handle, name="ours").wait()
        folder = tmp_path / "node"
        folder.mkdir()
        written, workflows, left = export_database(session, folder / "homestar.db")
        with Homestar.start(needs("homestar"), folder, ipfs=kubo.port) as node:
            told = node.run(as_json(handle.workflow), timeout=5, tries=4)

        assert (written, workflows, left) == (3, 1, 1)  # the build of the module is nothing that Homestar knows
        assert [notice.replayed for notice in told] == [True] * 3
        assert {notice.cid for notice in told} == {str(receipt.cid) for receipt in run.receipts}

    def test_a_node_goes_on_from_there(self, kubo: Kubo, session: Session, tmp_path: Path) -> None:
        """
        On a database of ours that has half of a workflow, a node computes the other half.
        """
        module = typed(session, kubo)
        begun = module.add_one(module.add_one(3_000_001))
        assert session.run(begun).wait().failures == []
        folder = tmp_path / "node"
        folder.mkdir()
        export_database(session, folder / "homestar.db", set(begun.workflow.by_instruction()))
        ended = module.add_one(begun)
        with Homestar.start(needs("homestar"), folder, ipfs=kubo.port) as node:
            told = node.run(as_json(ended.workflow))
        loaded = load(session, folder / "homestar.db", trust=True)

        assert sorted(notice.replayed for notice in told) == [False, True, True]
        assert loaded.new == 1
        assert session.plan(ended).runs == []


def as_json(workflow: Workflow) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dagjson.dumps(workflow.to_ipld()))
    return found


# --- Round trips ---


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """
    Receipts and workflows come out of a database as they went in, and none of an error goes in.
    """
    ones = [task(n) for n in range(5)]
    workflow = Workflow(tasks=tuple(ones))
    given = [answered(one, {"value": [n, b"\0", None]}) for n, one in enumerate(ones)]
    wrong = task("wrong")
    bad = capsules.Stored(wrong.run.cid, Receipt(ran=wrong.invocation.cid, out=failure("trap", "unreachable")))
    path = tmp_path / "homestar.db"

    assert database.write(path, [*given, bad], [(workflow, "five")]) == (5, 1)
    with database.opened(path) as found:
        assert list(found.receipts()) == given
        assert found.homes == {stored.receipt.cid: [workflow.cid] for stored in given}
        assert found.refused == []
        known = found.workflows[workflow.cid]
    assert (known.name, known.num_tasks, known.status) == ("five", 5, "completed")
    assert known.resources == capsules.resources(workflow)
    assert abs(known.created - time.time()) < 60


def test_one_receipt_for_an_instruction(tmp_path: Path) -> None:
    """
    An instruction that has a receipt in a database keeps that one alone: two for one make Homestar hang.
    """
    path = tmp_path / "homestar.db"
    first, second = answered(task(1)), answered(task(1, meta={"fuel": 5}))

    assert first.instruction == second.instruction
    assert database.write(path, [first, second]) == (1, 0)
    assert database.write(path, [second, answered(task(2))]) == (1, 0)
    assert receipts(path) == [first, answered(task(2))]


def test_loading_again_changes_nothing(tmp_path: Path, session: Session) -> None:
    """
    A database that is loaded twice is there once, and trust that was given stays.
    """
    path = tmp_path / "homestar.db"
    database.write(path, [answered(task(1))], [(Workflow(tasks=(task(1),)), "one")])

    assert load(session, path).new == 1
    assert load(session, path, trust=True).new == 0
    assert load(session, path).new == 0
    assert session.store.usage().receipts == 1
    assert session.store.on_file([task(1).run.cid])[task(1).run.cid].trusted
    entry = session.store.journal(instruction=task(1).run.cid)[-1]
    assert (entry.how, entry.func, entry.rsc) == ("loaded", "f", task(1).run.rsc)
    assert [run.name for run in session.store.runs()] == ["one"]


def test_trust_lets_it_be_replayed(tmp_path: Path) -> None:
    """
    A receipt that was loaded without its task answers as soon as its task is met: after a restart too, and its blocks are
    then here, so that it can be explained.
    """
    path, home = tmp_path / "homestar.db", tmp_path / "home"
    workflow = Workflow(tasks=(task(1), task(2)))
    database.write(path, [answered(task(1)), answered(task(2), 7)])
    with Session(home) as session:
        load(session, path, trust=True)
    with Session(home) as session:
        assert len(session.plan(workflow).replays) == 2
        run = session.run(workflow).wait()

        assert {found.how for found in run} == {"replayed"}
        assert session.store.get(task(1).run.cid) == task(1).run.block
        assert session.known(task(2).run.cid) == answered(task(2), 7).receipt


def test_without_trust_it_is_not_used(tmp_path: Path, session: Session) -> None:
    """
    A receipt that was loaded without trust is on file as unverified, and its task would run.
    """
    database.write(tmp_path / "homestar.db", [answered(task(1))])
    load(session, tmp_path / "homestar.db")
    planned = session.plan(Workflow(tasks=(task(1),)))

    assert planned.runs == [task(1).run.cid]
    assert list(planned.unverified) == [task(1).run.cid]
    assert session.known(task(1).run.cid) is None


# --- Capsules in files ---


def test_a_capsule_in_a_file(tmp_path: Path) -> None:
    """
    A receipt goes into a file and comes out of it elsewhere, and so does the information about a workflow.
    """
    path = tmp_path / "receipt.capsule"
    with Session(None) as here:
        here.admit(task(1), answered(task(1)).receipt)
        assert export_capsule(here, task(1).run.cid, path) == answered(task(1)).receipt.cid
    with Session(None) as there:
        assert load(there, path, trust=True).new == 1
        assert {found.how for found in there.run(Workflow(tasks=(task(1),)))} == {"replayed"}

        workflow = Workflow(tasks=(task(1),))
        assert export_capsule(there, workflow.cid, path) == workflow.cid
        assert capsules.read_info(path.read_bytes()).progress == [answered(task(1)).receipt.cid]
        assert load(there, path).workflows == [workflow.cid]


def test_a_capsule_of_a_node_needs_its_workflow(tmp_path: Path, session: Session) -> None:
    """
    A capsule as Homestar's DHT holds it does not say what it answers: the workflow does, and the message says to load it.
    """
    path, told = tmp_path / "capsule", tmp_path / "workflow.json"
    path.write_bytes(capsules.receipt_capsule(answered(task(1)).receipt))
    Workflow(tasks=(task(1),)).save(told)

    with pytest.raises(NotFound, match="Load the workflow"):
        load(session, path)
    load(session, told)
    assert load(session, path).receipts == [named(task(1))]


# --- Bad input ---


def _tampered(path: Path, statement: str, *values: Any) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement, values)
    connection.close()


BAD_ROWS: dict[str, tuple[str, tuple[Any, ...], str]] = {
    "another value": ("UPDATE receipts SET out = ?", (encode(["ok", 2]),), "its content is"),
    "no DAG-CBOR": ("UPDATE receipts SET out = ?", (b"\xff\xff",), "receipt "),
    "a text for bytes": ("UPDATE receipts SET out = ?", ("text",), "expected DAG-CBOR in the column out"),
    "no CID": ("UPDATE receipts SET ran = ?", ("\x1b[31mx",), "receipt "),
    "an instruction that is no CID": ("UPDATE receipts SET instruction = ?", (b"\0",), "expected the text of a CID"),
    "another version": ("UPDATE receipts SET version = ?", ("0.1.0",), "expected version '0.2.0'"),
    "an issuer that is a number": ("UPDATE receipts SET issuer = ?", (b"\1",), "not a receipt"),
    "a deep value": ("UPDATE receipts SET out = ?", (b"\x81" * 5000 + b"\x80",), "receipt "),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_harms_nobody(name: str, tmp_path: Path, session: Session) -> None:
    """
    A row that is not what it should be is named on one printable line, and the others are loaded.
    """
    statement, values, said = BAD_ROWS[name]
    path = tmp_path / "homestar.db"
    database.write(path, [answered(task(1)), answered(task(2))])
    _tampered(path, f"{statement} WHERE instruction = '{task(1).run.cid}'", *values)
    loaded = load(session, path, trust=True)

    assert loaded.receipts == [named(task(2))]
    (line,) = loaded.refused
    assert said in line
    assert line.isprintable()
    assert line in loaded.summary()


def test_what_is_no_database_of_homestars(tmp_path: Path, session: Session) -> None:
    """
    Another program's database, a damaged one, and one whose tables are views are refused by name.
    """
    other = tmp_path / "other.db"
    _tampered(other, "CREATE TABLE receipts (cid TEXT)")
    with pytest.raises(Malformed, match="no table workflows"):
        load(session, other)
    with pytest.raises(Malformed, match="no table workflows"):
        database.write(other, [])

    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(BadInput, match="no database, or it is damaged"):
        load(session, damaged)

    views = tmp_path / "views.db"
    database.write(views, [])
    _tampered(views, "DROP TABLE workflows")
    loop = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS cid FROM n"
    _tampered(views, f"CREATE VIEW workflows AS {loop}")
    with pytest.raises(Malformed, match="no table workflows"):
        load(session, views)


def test_a_database_in_use_is_not_written(tmp_path: Path) -> None:
    """
    A database that a node is writing to is left alone, and the message says to stop the node.
    """
    path = tmp_path / "homestar.db"
    database.write(path, [])
    node = apsw.Connection(str(path))
    node.execute("BEGIN EXCLUSIVE")

    with pytest.raises(StoreError, match="Stop the Homestar node"):
        database.write(path, [answered(task(1))])
    node.execute("ROLLBACK")
    node.close()
    assert receipts(path) == []


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    """
    A new database is there whole or not at all.
    """

    def broken() -> Iterator[capsules.Stored]:
        yield answered(task(1))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.write(tmp_path / "homestar.db", broken())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="cannot be written"):
        database.write(tmp_path / "missing" / "homestar.db", [])


NO_FILES: dict[str, bytes] = {
    "nothing": b"",
    "text": b"hello",
    "a number": encode(1),
    "another map": encode({"a": 1}),
    "JSON of something": b'{"a": 1}',
    "a capsule of another version": encode({"ipvm/receipt": {"version": "9"}}),
    "noise": bytes(range(256)),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_what_cannot_be_loaded(name: str, tmp_path: Path, session: Session) -> None:
    """
    A file that is none of those that can be loaded is refused in one line, and nothing of it is kept.
    """
    path = tmp_path / "file"
    path.write_bytes(NO_FILES[name])

    with pytest.raises(BadInput) as caught:
        load(session, path, trust=True)
    assert caught.value.message.isprintable()
    assert list(session.store.cids()) == []
    with pytest.raises(NotFound, match="no file at"):
        load(session, tmp_path / "absent")


# --- What may be used ---

LINK = CID.of(b"x", "raw", "sha2-256")
VALUE = CID.of(encode(1))

BENT: dict[str, Any] = {
    "a list that looks like an outcome": ["ok", [1, 2]],
    "an error that is awaited": {"await/error": VALUE},
    "any branch that is awaited": {"await/*": VALUE},
    "a promise inside a list": [1, {"await/ok": VALUE}],
    "a map of one link": {"any": LINK},
    "a link inside a list": [LINK],
    "a link to a value": VALUE,
}


@pytest.mark.parametrize("name", BENT)
def test_what_homestar_bends_is_never_used(name: str, tmp_path: Path, session: Session) -> None:
    """
    A receipt of Homestar's for an argument that it takes for something else is never replayed, trusted or not.
    """
    bent = task(BENT[name])
    database.write(tmp_path / "homestar.db", [answered(bent)])
    load(session, tmp_path / "homestar.db", trust=True)
    session.admit(task(1), answered(task(1)).receipt)

    assert doubts(bent.run, answered(bent).receipt, session.store, session.ops)
    if not bent.run.awaits:
        assert session.plan(Workflow(tasks=(bent,))).runs == [bent.run.cid]


@given(values, values)
def test_any_receipt_is_used_or_not(arg: Any, value: Any) -> None:
    """
    Whatever the argument and the answer, there is a verdict: "" for use, else a printable reason.
    """
    one = task(arg)

    for signature in (None, Signature("f", (), STRING), Signature("f", (), List(Tuple((STRING, F32))))):
        assert meaning.doubt(one.run, answered(one, value).receipt, signature).isprintable()


def test_plain_arguments_are_used(session: Session) -> None:
    """
    Awaited ok values, links to files and plain values mean the same there and here.
    """
    for args in ([{"await/ok": VALUE}, 1], [LINK, "x", b"y"], [[1, 2], {"a": 1, "b": [2.5]}], ["ok"]):
        one = task(*args)
        assert doubts(one.run, answered(one).receipt, session.store, session.ops) == ""


@pytest.mark.peer("zig", "wasm-tools")
def test_values_that_homestar_writes_in_another_way(session: Session) -> None:
    """
    Where Homestar's form of a result may have lost what it was, its receipt is not used; elsewhere it is.
    """
    module = typed(session)

    def doubt(handle: Any, value: Any) -> str:
        tasks = {one.run.cid: one for one in handle.workflow.tasks}
        return doubts(handle.instruction, answered(handle.task, value).receipt, session.store, session.ops, tasks)

    assert "f32" in doubt(module.single(1.5), 1.5)
    assert "a link of a text" in doubt(module.join("a", "b"), LINK)
    assert "a map of a list" in doubt(module.pairs(["a"]), {"a": "a"})
    assert "a link here" in doubt(module.reversed(b"x"), b"x" * (1 << 20) + b"x")
    assert doubt(module.half(1), 0.5) == ""
    assert doubt(module.join("a", "b"), "ab") == ""
    assert doubt(module.small(1), None) == ""
    assert doubt(module.checked(1), [1, None]) == ""
    assert "alike" in doubt(module.checked(1), [None, None])
    assert "answered ok or err" in doubt(module.add_one(module.checked(1)), 2)
    assert doubt(module.add_one(module.add_one(1)), 3) == ""
    assert doubt(module.moved({"x": 1, "y": 1, "name": "n"}), {"x": 2, "y": 1.5, "name": "n"}) == ""
