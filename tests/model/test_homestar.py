"""What Homestar computes for its own files, and what ours must be equal to. `IPVM_VECTORS` names their folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.ipld import CID, dagjson
from ipvm_kernel.model import Instruction, Outcome, Receipt, Task, Workflow

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(vectors: Path) -> Path:
    """Homestar's workflow files."""
    return vectors / "homestar"


@pytest.fixture
def expected(folder: Path) -> dict[str, Any]:
    """What Homestar computes for them."""
    found: dict[str, Any] = json.loads((folder / "expected.json").read_text())
    return found


def test_workflow_files(folder: Path, expected: dict[str, Any]) -> None:
    """
    Each of Homestar's workflow files has the CIDs that Homestar gives to it, its instructions, tasks and invocations.
    """
    for name, cids in expected["workflows"].items():
        workflow = Workflow.load(folder / name)

        assert str(workflow.cid) == cids["workflow"], name
        assert len(workflow.block.data) == cids["dag_cbor_bytes"]
        found = [
            {
                "func": task.run.func,
                "instruction": str(task.run.cid),
                "task": str(task.cid),
                "invocation": str(task.invocation.cid),
            }
            for task in workflow.tasks
        ]
        assert found == cids["tasks"], name
    assert len(expected["workflows"]) == 8


def test_golden_receipts(expected: dict[str, Any]) -> None:
    """
    The receipts that were seen on a running Homestar come out of our own model, CID for CID.
    """
    rows = expected["golden_receipts"]["rows"]
    for row in rows:
        args: Any = dagjson.loads(json.dumps(row["args"]), large_ints_as_floats=True)
        task = Task(
            run=Instruction(rsc=row["rsc"], op="wasm/run", input={"func": row["func"], "args": args}), meta=row["meta"]
        )
        out: Any = dagjson.loads(json.dumps(row["out"]))
        receipt = Receipt(ran=task.invocation.cid, out=Outcome(*out), meta={"op": row["func"]})

        assert str(task.run.cid) == row["instruction"], row
        assert str(task.invocation.cid) == row["invocation"], row
        assert str(receipt.cid) == row["receipt"], row
        assert Receipt.from_block(receipt.block) == receipt
        assert Receipt.trusted(receipt.block) == receipt
    assert len(rows) == 22


def test_saved_files_stay_themselves(folder: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    """
    A workflow that is read, written and read again keeps its CID, integers that became floats included.
    """
    for name, cids in expected["workflows"].items():
        path = Workflow.load(folder / name).save(tmp_path / name)

        assert str(Workflow.load(path).cid) == cids["workflow"]
        assert Workflow.parse(Workflow.load(path).block.data).cid == CID.parse(cids["workflow"])


def test_who_awaits_whom(folder: Path) -> None:
    """
    The graph of a workflow follows from its promises, also those of tasks that are elsewhere.
    """
    pipeline = Workflow.load(folder / "test-workflow-image-pipeline.json")
    elsewhere = Workflow.load(folder / "test-workflow-add-one-part-two.json")

    crop, rotate, grey = (task.run.cid for task in pipeline.tasks)
    ((other,),) = elsewhere.awaits().values()
    assert pipeline.awaits() == {crop: (), rotate: (crop,), grey: (rotate,)}
    assert set(pipeline.by_instruction()) == {crop, rotate, grey}
    assert other not in elsewhere.by_instruction()
    assert len(pipeline) == 3
