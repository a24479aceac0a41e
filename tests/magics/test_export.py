from __future__ import annotations

import json
import xml.etree.ElementTree as ET
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

import ipvm
from ipvm_kernel.errors import BadInput
from ipvm_kernel.ipld import CID
from ipvm_kernel.model import Workflow
from ipvm_kernel.notebook import Cell, in_cell
from tests.magics.conftest import WAT
from tests.magics.test_verbs import shell

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.session import Session


@pytest.fixture
def made(session: Session, tmp_path: Path) -> ipvm.Handle:
    """
    A value made by three tasks, one of which failed and is asked for its error, declared in two cells of a saved notebook.
    """
    notebook = tmp_path / "story.ipynb"
    notebook.write_text("{}")
    demo = session.module(WAT.encode(), "demo")
    with in_cell(Cell.of("a = demo.add(1, 2)", ident="c1", count=1, notebook=str(notebook))):
        a = demo.add(1, 2)
    with in_cell(Cell.of("b = demo.add(a, 3)", ident="c2", count=2, notebook=str(notebook))):
        b = demo.add(a, 3)
        assert demo.add(b, 4).result() == 10
        return demo.add(b, 4)


@pytest.mark.parametrize("name", ["a.dot", "a.mmd", "a.svg", "a.png"])
def test_a_graph_as_text_and_picture(made: ipvm.Handle, tmp_path: Path, name: str) -> None:
    """
    The ending of the file says the form; each has three boxes and two arrows.
    """
    path = tmp_path / name
    status, out, err = shell("export", str(made.receipt.cid), str(path))  # type: ignore[union-attr]

    assert (status, err) == (0, "")
    assert str(path) in out
    data = path.read_bytes()
    match name:
        case "a.dot":
            assert data.count(b"->") == 2
        case "a.mmd":
            assert data.startswith(b"flowchart LR\n")
            assert data.count(b"-->") == 2
            assert data.count(b"<br/>") == 3
        case "a.svg":
            assert ET.fromstring(data).tag.endswith("svg")
        case _:
            assert data.startswith(b"\x89PNG\r\n\x1a\n")


def test_w3c_prov(made: ipvm.Handle, tmp_path: Path) -> None:
    """
    PROV-JSON that the library reads back: tasks used and generated, by an engine, from cells of a saved notebook.
    """
    from prov.model import ProvDocument

    ipvm.export(made, tmp_path / "a.prov.json")
    value = json.loads((tmp_path / "a.prov.json").read_text())

    assert ProvDocument.deserialize(tmp_path / "a.prov.json").get_records()
    assert len(value["activity"]) == 3
    assert f"ipfs:{made.cid}" in value["activity"]
    assert len(value["wasGeneratedBy"]) == 3
    assert len(value["wasInformedBy"]) == 2
    assert {one["prov:role"] for one in value["used"].values()} == {"module", "await/ok", "declaration"}
    assert next(iter(value["agent"].values()))["prov:label"].startswith("wasmtime")
    assert sum(name.startswith("ipvm:cell-") for name in value["entity"]) == 2
    assert len(value["hadMember"]) == 2


def test_an_ro_crate(made: ipvm.Handle, tmp_path: Path) -> None:
    """
    The entities that the profile Workflow Run Crate 0.5 requires, and every file that they name, and no other.
    """
    ipvm.export(made, tmp_path / "crate", format="crate")
    graph = json.loads((tmp_path / "crate" / "ro-crate-metadata.json").read_text())["@graph"]
    found: dict[str, dict[str, Any]] = {one["@id"]: one for one in graph}

    root = found["./"]
    profiles = {one["@id"] for one in root["conformsTo"]}
    assert {f"https://w3id.org/ro/wfrun/{name}/0.5" for name in ("process", "workflow")} < profiles
    assert {"name", "description", "license", "datePublished", "mainEntity", "hasPart", "mentions"} <= root.keys()
    workflow = found[root["mainEntity"]["@id"]]
    assert set(workflow["@type"]) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    assert found[workflow["programmingLanguage"]["@id"]]["@type"] == "ComputerLanguage"
    parameters = [found[one["@id"]] for way in ("input", "output") for one in _many(workflow[way])]
    assert {one["@type"] for one in parameters} == {"FormalParameter"}
    run = found["#run"]
    assert run["instrument"]["@id"] == workflow["@id"]
    assert run["actionStatus"].endswith("CompletedActionStatus")
    assert run["startTime"] < run["endTime"]
    assert all("exampleOfWork" in found[one["@id"]] for one in _many(run["object"]))
    actions = [found[one["@id"]] for one in root["mentions"]]
    assert [one["@type"] for one in actions] == ["CreateAction"] * 4
    assert all("SoftwareApplication" in found[one["instrument"]["@id"]]["@type"] for one in actions[1:])

    files = {str(path.relative_to(tmp_path / "crate")) for path in (tmp_path / "crate").rglob("*") if path.is_file()}
    assert files - {"ro-crate-metadata.json"} == {one["@id"] for one in _many(root["hasPart"])}
    assert sorted(path.split("/")[0] for path in files if "/" in path) == ["modules", "outputs", *["receipts"] * 3]
    assert Workflow.load(tmp_path / "crate" / "workflow.json").by_instruction().keys() >= {made.cid}
    (module,) = (tmp_path / "crate" / "modules").iterdir()
    assert made.instruction.module == CID.of(module.read_bytes(), "raw", "sha2-256")


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_a_crate_in_a_file_and_never_over_another(made: ipvm.Handle, tmp_path: Path) -> None:
    """
    A name that ends in `.zip` gives one file; what is there already is left alone.
    """
    ipvm.export(made, tmp_path / "crate.zip")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x")

    with zipfile.ZipFile(tmp_path / "crate.zip") as archive:
        assert "ro-crate-metadata.json" in archive.namelist()
    for taken in ("crate.zip", "full"):
        with pytest.raises(BadInput, match="is there already"):
            ipvm.export(made, tmp_path / taken, format="crate")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.svg", "--format", "gif"], "expected a format among capsule, dot"),
        (["absent/a.svg"], "cannot be written: No such file"),
    ],
)
def test_what_cannot_be_exported(
    made: ipvm.Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    """
    One line says what was expected and what was found.
    """
    monkeypatch.chdir(tmp_path)
    made.result()
    status, out, err = shell("export", str(made.cid), *words)

    assert (status, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1


def test_data_that_no_task_made_has_no_graph(session: Session, tmp_path: Path) -> None:
    """
    A file that was given is not the end of any workflow.
    """
    with pytest.raises(BadInput, match="no task led to"):
        ipvm.export(session.put(b"x"), tmp_path / "a.svg")


def test_a_picture_without_anything_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where nothing that draws is installed, one line says what would.
    """
    from ipvm_kernel.errors import IpvmError
    from ipvm_kernel.picture import png

    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: None)

    with pytest.raises(IpvmError, match="pip install 'ipvm\\[png\\]'"):
        png.png("<svg/>")
