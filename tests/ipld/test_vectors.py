"""Test vectors of the IPLD project and of Homestar. `IPVM_VECTORS` names their folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import Malformed, NonCanonical
from ipvm_kernel.ipld import CID, Block, decode, decode_trusted, encode
from ipvm_kernel.ipld.dagjson import dumps, loads
from tests.ipld.values import same

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_ipld_fixtures(vectors: Path, reader: str) -> None:
    """
    Each value of the IPLD project's fixtures has their bytes, their text and their CIDs, and is read from both.
    """
    fixtures = load(vectors, "ipld/codec-fixtures.json")["fixtures"]
    for fixture in fixtures:
        data, text = bytes.fromhex(fixture["dag_cbor"]["hex"]), fixture["dag_json"]["text"]
        value = decode(data)

        assert encode(value) == data, fixture["name"]
        assert same(decode_trusted(data), value), fixture["name"]
        assert same(loads(text, canonical=True), value), fixture["name"]
        assert dumps(value) == text, fixture["name"]
        assert str(CID.of(data, "dag-cbor", "sha2-256")) == fixture["dag_cbor"]["cid"]
        assert str(CID.of(text.encode(), "dag-json", "sha2-256")) == fixture["dag_json"]["cid"]
        CID.parse(fixture["dag_cbor"]["cid"]).check(data)
    assert len(fixtures) >= 128


def test_ipld_refusals(vectors: Path, reader: str) -> None:
    """
    What the IPLD project says must be refused is refused.
    """
    for case in load(vectors, "ipld/negative-dag-cbor.json"):
        with pytest.raises(NonCanonical):
            decode(bytes.fromhex(case["hex"]))
    for case in load(vectors, "ipld/negative-dag-json.json"):
        with pytest.raises(Malformed):
            loads(bytes.fromhex(case["hex"]))


def test_homestar_primitives(vectors: Path) -> None:
    """
    The smallest values have the CIDs that Homestar gives them.
    """
    rows = load(vectors, "homestar/expected.json")["primitives"]
    for row in rows:
        value = loads(row["value"])

        assert encode(value).hex() == row["dag_cbor_hex"]
        assert str(Block.of(value).cid) == row["cid"]
    assert len(rows) >= 7


def test_homestar_workflows(vectors: Path) -> None:
    """
    The workflow files of Homestar's examples have the CIDs that Homestar shows for them, and so has each task in them.
    """
    expected = load(vectors, "homestar/expected.json")["workflows"]
    for name, cids in expected.items():
        text = (vectors / "homestar" / name).read_text(encoding="utf-8")
        workflow: Any = loads(text, large_ints_as_floats=True)
        block = Block.of(workflow)

        assert (str(block.cid), len(block.data)) == (cids["workflow"], cids["dag_cbor_bytes"]), name
        for task, task_cids in zip(workflow["tasks"], cids["tasks"], strict=True):
            named = {"nnc": "", **task["run"]}
            assert str(Block.of(named).cid) == task_cids["instruction"]
            assert str(Block.of({**task, "run": named}).cid) == task_cids["task"]
            assert str(Block.of({"task": {**task, "run": named}}).cid) == task_cids["invocation"]
    assert len(expected) >= 8


def test_homestar_receipts(vectors: Path) -> None:
    """
    The receipts that were seen on a running Homestar have the same CIDs here.
    """
    rows = load(vectors, "homestar/expected.json")["golden_receipts"]["rows"]
    for row in rows:
        receipt = {
            "ran": CID.parse(row["invocation"]),
            "out": loads(json.dumps(row["out"])),
            "meta": {"op": row["func"]},
            "iss": None,
            "prf": [],
        }

        assert str(Block.of(receipt).cid) == row["receipt"], row
    assert rows
