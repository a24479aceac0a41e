"""Workflow files, as Homestar's users have them: what is saved here runs there, what is written for there runs here."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import Malformed
from ipvm_kernel.exchange.settings import Settings
from ipvm_kernel.homestar import capsules, database
from ipvm_kernel.ipld import CID, dagjson, encode
from ipvm_kernel.model import Outcome, Receipt, Workflow
from ipvm_kernel.session import Session
from ipvm_kernel.testing import task
from tests.homestar.modules import typed
from tests.magics.test_verbs import shell
from tests.peers import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.daemons import Homestar, Kubo


@pytest.fixture
def session() -> Iterator[Session]:
    """
    The default session, which ends with the test.
    """
    from ipvm_kernel.session import set_default

    made = Session(None)
    set_default(made)
    yield made
    set_default(None)
    made.close()


# --- There and here ---


@pytest.mark.peer("homestar", "kubo", "zig", "wasm-tools")
def test_what_is_saved_runs_on_homestar(homestar: Homestar, kubo: Kubo, session: Session, tmp_path: Path) -> None:
    """
    A workflow that was saved here is run by Homestar's own command line, with the CIDs that it has here.
    """
    module = typed(session, kubo)
    handle = module.join(module.join("ünïcode \u202e", "\x00\n"), "saved")
    path = handle.workflow.save(tmp_path / "saved.json")
    command: list[str | Path] = [
        needs("homestar"),
        "run",
        "--host",
        "127.0.0.1",
        "-p",
        str(homestar.rpc_port),
        str(path),
    ]
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=env, timeout=60).stdout
    wanted = {str(receipt.cid) for receipt in session.run(handle).wait().receipts}
    end = time.monotonic() + 20
    while not wanted <= (found := there(homestar)):
        assert time.monotonic() < end, (found, wanted)
        time.sleep(0.1)

    assert str(handle.workflow.cid) in "".join(said.split())
    assert Workflow.load(path).cid == handle.workflow.cid


def there(homestar: Homestar) -> set[str]:
    with database.opened(homestar.database) as found:
        return {str(stored.receipt.cid) for stored in found.receipts()}


@pytest.mark.peer("homestar", "kubo", "zig", "wasm-tools")
def test_one_line_for_each_notification(homestar: Homestar, kubo: Kubo, session: Session, tmp_path: Path) -> None:
    """
    `ipvm run FILE --json` says what Homestar's node says, in its words, and the instruction besides.
    """
    module = typed(session, kubo)
    handle = module.half(module.half(module.half(12.5)))
    wrapped = {"name": "halves", "workflow": handle.workflow.to_ipld()}
    path = tmp_path / "halves.cbor"
    path.write_bytes(encode(wrapped))
    status, out, err = shell("run", str(path), "--json")
    ours = [json.loads(line) for line in out.splitlines()]
    wire = json.loads(dagjson.dumps(handle.workflow.to_ipld()))
    theirs = [json.loads(notice.data) for notice in homestar.run(wire, name="halves")]
    instructions = {str(task.run.cid) for task in handle.workflow.tasks}

    assert (status, err) == (0, "")
    assert [line.pop("how") for line in ours] == ["computed"] * 3
    assert {line.pop("instruction")["/"] for line in ours} == instructions
    assert ours == theirs


# --- What is typed ---

WAT = (
    b'(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)'
    b' (func (export "spin") (loop br 0)))'
)


def template(rsc: str) -> str:
    meta = {"memory": 4294967296, "time": 100000}

    def one(name: str, *args: Any) -> dict[str, Any]:
        run = {"name": name, "rsc": rsc, "op": "wasm/run", "nnc": "", "input": {"func": "add", "args": list(args)}}
        return {"cause": None, "meta": meta, "prf": [], "run": run}

    tasks = [one("last", "{{needs.first.output}}", "{{ needs.first.output }}"), one("first", 20, 1)]
    return json.dumps({"name": "template", "workflow": {"tasks": tasks}})


def test_a_template_is_run(session: Session, tmp_path: Path) -> None:
    """
    A template of the JavaScript client is run as it is, under its name; and run again it is replayed.
    """
    path = tmp_path / "template.json"
    path.write_text(template(f"ipfs://{session.store.put_file(WAT, 'module')}"))
    status, out, _ = shell("run", str(path), "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    again = [json.loads(line) for line in shell("run", str(path), "--json", "-n", "other")[1].splitlines()]

    assert status == 0
    assert [line["receipt"]["out"] for line in lines] == [["ok", 21], ["ok", 42]]
    assert {line["metadata"]["name"] for line in lines} == {"template"}
    assert {line["metadata"]["replayed"] for line in again} == {True}
    assert {line["metadata"]["name"] for line in again} == {"other"}


def test_lines_come_while_it_runs(session: Session, tmp_path: Path) -> None:
    """
    With `--json` the line of a task is there as soon as its receipt is, while others still run.
    """
    from ipvm.commands.running import stream

    rsc = f"ipfs://{session.store.put_file(WAT, 'module')}"
    first = session.module(WAT).add(1, 2).task
    slow = {"func": "spin", "args": []}
    endless: dict[str, Any] = {
        "cause": None,
        "meta": {},
        "prf": [],
        "run": {"rsc": rsc, "op": "wasm/run", "nnc": "", "input": slow},
    }
    path = tmp_path / "slow.json"
    path.write_text(json.dumps({"tasks": [endless, json.loads(dagjson.dumps(first.to_ipld()))]}))
    lines = iter(stream(str(path)).data)

    assert next(lines)["receipt"]["out"] == ["ok", 3]
    lines.close()  # type: ignore[attr-defined]


def test_every_cid_of_a_file(session: Session, tmp_path: Path) -> None:
    """
    `ipvm cid FILE` prints the CIDs of a workflow in any of its forms: its own, and of instructions, tasks and invocations.
    """
    workflow = Workflow(tasks=(task(1), task(2, b"x")))
    forms = {
        "a.json": dagjson.dumps(workflow.to_ipld()).encode(),
        "b.cbor": encode({"name": "b", "workflow": workflow.to_ipld()}),
        "c": dagjson.dumps(workflow.to_ipld(), pretty=True).encode(),
    }
    wanted = {str(cid) for one in workflow.tasks for cid in (one.run.cid, one.cid, one.invocation.cid)}
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        status, out, _ = shell("cid", str(tmp_path / name))

        assert status == 0
        assert {*wanted, str(workflow.cid)} <= set(out.split())
    assert session.store.usage().receipts == 0


BROKEN: dict[str, tuple[Any, str]] = {
    "no tasks": ({"jobs": []}, "$"),
    "a task that is a number": ({"tasks": [1]}, "$.tasks[0]"),
    "no instruction": ({"tasks": [{"cause": None, "meta": {}, "prf": []}]}, "$.tasks[0].run"),
    "a number as resource": ({"tasks": [{"run": {"rsc": 5, "op": "wasm/run", "input": {}}}]}, "$.tasks[0].run.rsc"),
    "a short nonce": (
        {"tasks": [{"run": {"rsc": "ipfs://x", "op": "wasm/run", "input": {}, "nnc": "abc"}}]},
        "$.tasks[0].run.nnc",
    ),
    "a cause that is text": (
        {"tasks": [{"run": {"rsc": "ipfs://x", "op": "wasm/run", "input": {}}, "cause": "x"}]},
        "$.tasks[0].cause",
    ),
    "a link as instruction": (
        {"tasks": [{"run": {"/": "bafyrmicfpks6ihdt7szlfjlx65eqbt3jvtieqo64mjlgyf3pcu3uz7fzue"}}]},
        "$.tasks[0].run",
    ),
    "inside a wrapping": ({"name": "x", "workflow": {"tasks": [5]}}, "$.workflow.tasks[0]"),
    "a name that is a number": ({"name": 5, "workflow": {"tasks": []}}, "$.name"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_place_is_named(name: str, session: Session, tmp_path: Path) -> None:
    """
    A file that is no workflow is refused in one line, which names the place as a JSON path, and nothing runs.
    """
    value, place = BROKEN[name]
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(value))
    status, out, err = shell("run", str(path))

    with pytest.raises(Malformed):
        Workflow.load(path)
    assert (status, out) == (1, "")
    assert f"`{place}`" in err
    assert err.count("\n") == 1
    assert session.store.usage().runs == 0


def test_bringing_and_giving(session: Session, tmp_path: Path) -> None:
    """
    `load`, `export` and `get` are typed as the other verbs are, and say what came of it.
    """
    handle = session.module(WAT).add(40, 2)
    assert handle.result() == 42
    store, capsule = tmp_path / "homestar.db", tmp_path / "receipt.capsule"
    status, out, _ = shell("export", "--homestar-db", str(store))
    assert (status, out.splitlines()) == (0, [f"1 receipt and 0 workflows written to {store}"])
    assert shell("export", str(handle.cid), str(capsule))[0] == 0
    assert shell("export", str(handle.cid), "--homestar-db", str(tmp_path / "one.db"))[0] == 0

    session.forget([handle.cid])
    status, out, _ = shell("load", str(store))
    assert status == 0
    assert "1 receipt, 1 of them new; 0 workflows" in out
    assert "unverified" in out
    receipt = (
        str(handle.receipt.cid) if handle.receipt is not None else str(session.store.receipts_of(handle.cid)[0].cid)
    )
    assert "made elsewhere, unverified" in shell("show", receipt)[1]
    status, out, _ = shell("load", str(capsule), "--trust", "--json")
    assert (status, json.loads(out)["instruction"]["/"]) == (0, str(handle.cid))
    assert "made elsewhere, and trusted" in shell("show", receipt)[1]
    assert [answer.how for answer in session.run(handle).wait()] == ["replayed"]
    assert "made elsewhere, and admitted" in shell("show", receipt)[1]

    (tmp_path / "data").write_bytes(b"data")
    address = (tmp_path / "data").as_uri()
    status, out, _ = shell("get", address, str(tmp_path / "copy"))
    assert status == 0
    assert (tmp_path / "copy").read_bytes() == b"data"
    assert shell("get", "ipns://x")[0] == 1


def test_a_receipt_is_shown_without_its_task(session: Session, tmp_path: Path) -> None:
    """
    A receipt whose task is nowhere is shown with what is known of it, and `why` says what is missing.
    """
    made = Receipt(ran=task(1).invocation.cid, out=Outcome("ok", 5), meta={"op": "\x1b[31mf"})
    database.write(tmp_path / "homestar.db", [capsules.Stored(task(1).run.cid, made)])
    assert shell("load", str(tmp_path / "homestar.db"))[0] == 0
    status, out, _ = shell("show", str(made.cid))

    assert status == 0
    assert str(task(1).run.cid) in out
    assert "\x1b" not in out
    assert shell("receipts")[0] == 0
    status, _, err = shell("why", str(made.cid))
    assert status == 1
    assert "load what it came with" in err
    assert session.store.usage().receipts == 1


@pytest.mark.peer("homestar", "kubo", "zig", "wasm-tools")
def test_a_module_that_only_kubo_has(kubo: Kubo, session: Session, tmp_path: Path) -> None:
    """
    A workflow file of Homestar's whose module and picture are in Kubo alone runs here as it is; they are here from then on.
    """
    data = os.urandom(400_000)
    link = kubo.add_file(data)
    with Session(None) as elsewhere:
        module = typed(elsewhere, kubo)
        size = {"func": "size", "args": [{"/": link}]}
        rsc = f"ipfs://{module._cid}"
    path = tmp_path / "size.json"
    run = {"rsc": rsc, "op": "wasm/run", "nnc": "", "input": size}
    path.write_text(json.dumps({"tasks": [{"cause": None, "meta": {}, "prf": [], "run": run}]}))
    session.resources._settings = Settings(kubo=f"http://127.0.0.1:{kubo.port}", seconds=20)
    status, out, err = shell("run", str(path), "--json")

    assert (status, err) == (0, "")
    assert json.loads(out)["receipt"]["out"] == ["ok", 400_000]
    assert session.store.read(CID(link)) == data


@pytest.mark.parametrize("words", [["export"], ["export", "x"], ["export", "x", "y", "--homestar-db", "z"]])
def test_what_to_write_is_asked_for(session: Session, words: list[str]) -> None:
    """
    `export` without enough, or with too much, says what it takes.
    """
    status, out, err = shell(*words)

    assert (status, out) == (1, "")
    assert "expected" in err
    assert session.store.usage().receipts == 0
