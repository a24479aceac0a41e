from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm import views
from ipvm_kernel.errors import LimitExceeded, Malformed, NotFound
from ipvm_kernel.ipld import CID
from ipvm_kernel.sharing.notebook import cleaned, jsontext, leaks, opened, read, static
from tests.sharing.samples import (
    INSTRUCTION,
    OTHER,
    RECEIPT,
    WORKFLOW,
    about,
    code,
    good,
    notebook,
    png,
    printed,
    prose,
    run,
    shown,
    svg,
)

if TYPE_CHECKING:
    from pathlib import Path


def _one(output: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return an output as it leaves, and what was left out."""
    dropped: list[str] = []
    made = json.loads(cleaned(read(notebook(code("x", output))), dropped=dropped))
    return made["cells"][0]["outputs"][0], dropped


def _valid(data: bytes) -> None:
    nbformat.validate(json.loads(data))


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_notebook_says_what_is_backed_by_receipts(tmp_path: Path) -> None:
    """
    Cells name their receipts, and outputs of ordinary Python are counted apart.
    """
    path = tmp_path / "study.ipynb"
    path.write_bytes(good())
    found = read(path)
    cell = found.cells[2]

    assert (found.outputs, found.backed, found.ordinary) == (5, 1, 4)
    assert found.receipts == {INSTRUCTION: RECEIPT} == cell.receipts
    assert found.workflows == [WORKFLOW]
    assert (cell.index, cell.ident, cell.kind, cell.heading) == (2, "run", "code", "f(1)")
    assert found.cells[0].heading == "A study"
    assert (found.kernel, found.language, found.attachments) == ("ipvm", "python", ["f.png"])
    assert found.output_bytes > 10_000
    assert found.ignored == 0


def test_reading_a_notebook_needs_nothing_of_jupyter_until_it_is_read() -> None:
    """
    Importing the module loads no package of Jupyter and no schema; the first notebook does.
    """
    script = (
        "import sys; import ipvm_kernel.sharing.notebook;"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in"
        " {'nbformat', 'traitlets', 'jupyter_core', 'jsonschema', 'fastjsonschema', 'IPython', 'cryptography'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("named", "receipts", "ignored"),
    [
        ({}, 0, 0),
        ("nonsense", 0, 1),
        ({"receipts": []}, 0, 1),
        ({"workflows": "x", "cell": 3, "receipts": {"a": "b"}}, 0, 3),
        ({"receipts": {str(INSTRUCTION): str(RECEIPT), "a": str(RECEIPT), str(OTHER): None}}, 1, 2),
        ({"receipts": {str(INSTRUCTION).upper(): str(RECEIPT)}}, 0, 1),
        ({"receipts": {str(CID.of(b"x", "raw", "sha2-256")): str(RECEIPT)}}, 0, 1),
        ({"receipts": {"bafkqabiaaebagba": "bafkqabiaaebagba"}}, 0, 1),
        ({"receipts": {f"{n}": "x" for n in range(5_000)}}, 0, 5_000),
        ({"workflows": [str(WORKFLOW)] * 1_500}, 0, 500),
    ],
    ids=str,
)
def test_nonsense_in_metadata_is_counted(named: Any, receipts: int, ignored: int) -> None:
    """
    What names no receipt is passed over and counted, and raises nothing.
    """
    found = read(notebook(code("x", shown({"text/plain": "1"}, {"ipvm": named}))))

    assert (len(found.receipts), found.ignored) == (receipts, ignored)


def test_ids_are_made_from_the_notebook() -> None:
    """
    A notebook of nbformat 4.0 to 4.4 gets cell ids, and the same ones each time, so that its CID is one.
    """
    cells = [{k: v for k, v in cell.items() if k != "id"} for cell in (prose("a"), prose("a"), code("b"))]
    old = notebook(*cells, nbformat_minor=2)

    first, second = read(old), read(old)

    assert cleaned(first) == cleaned(second)
    assert len({cell.ident for cell in first.cells}) == 3
    _valid(cleaned(first))


def test_a_later_4_is_read_as_4_5() -> None:
    """
    What nbformat 4.9 may add is passed over, as nbformat 4 asks of its readers.
    """
    found = read(notebook({**code("x"), "novel": 1}, nbformat_minor=9))

    assert json.loads(cleaned(found))["nbformat_minor"] == 5
    _valid(cleaned(found))


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    """
    A path that leads nowhere, to a folder, or to a device is an error that names it.
    """
    with pytest.raises(NotFound, match=r"no\.ipynb, found no file"):
        read(tmp_path / "no.ipynb")
    with pytest.raises(Malformed, match=tmp_path.name):
        read(tmp_path)


# --- what leaves ------------------------------------------------------------------------------------------------------


def test_what_leaves_is_one_text(tmp_path: Path) -> None:
    """
    Order of keys, white space, lines as lists or as one string, and what Lab adds when it saves make no difference.
    """
    raw = json.loads(good())
    for cell in raw["cells"]:
        cell["source"] = cell["source"].splitlines(keepends=True)
        cell["metadata"] = {"trusted": True, "execution": {"iopub.status.busy": "2026-01-01"}}
    raw["metadata"] = {
        "kernelspec": {"name": "python3", "display_name": "Anna's Python", "language": "python"},
        "language_info": {"name": "python", "version": "3.13.1", "file_extension": ".py"},
        "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}}},
        "vscode": {"interpreter": {"hash": "abc"}},
        "signature": "sha256:00",
        "trusted": True,
    }
    saved = json.dumps(dict(reversed(raw.items())), indent=3, ensure_ascii=False).encode()
    dropped: list[str] = []

    assert cleaned(read(saved), dropped=dropped) == cleaned(read(good()))
    assert [line.split(" in ")[0] for line in dropped] == [
        "execution",
        "trusted",
        "signature",
        "trusted",
        "vscode",
        "widgets",
    ]
    assert b"Anna" not in cleaned(read(saved))
    _valid(cleaned(read(saved)))


def test_what_leaves_is_as_jupyter_writes_it() -> None:
    """
    A cleaned notebook that Jupyter reads and writes again has the same bytes.
    """
    data = cleaned(read(good()))

    assert f"{nbformat.writes(nbformat.reads(data.decode(), as_version=4))}\n".encode() == data


def test_cleaning_again_changes_nothing() -> None:
    """
    What is clean stays as it is, and nothing is said to be left out.
    """
    dropped: list[str] = []
    once = cleaned(read(good()))

    assert cleaned(read(once), dropped=dropped) == once
    assert dropped == []


def test_outputs_keep_what_only_shows() -> None:
    """
    Runs, text, pictures and errors stay; the traceback keeps its colours.
    """
    cells = json.loads(cleaned(read(good())))["cells"]

    assert "".join(cells[2]["outputs"][0]["data"]["text/html"]) == run()["data"]["text/html"]
    assert cells[2]["outputs"][0]["metadata"] == about()
    assert cells[3]["outputs"][0]["text"] == ["three\n"]
    assert cells[4]["outputs"][0]["data"]["image/png"].strip() == png()
    assert cells[5]["outputs"][0]["traceback"] == ["\x1b[31mZeroDivisionError\x1b[39m: division by zero"]
    assert cells[0]["attachments"] == {"f.png": {"image/png": png()}}


def test_our_own_html_only_shows() -> None:
    """
    Whatever ipvm shows passes its own lists: runs, tables of verbs, the line under a cell.
    """
    static.html(run()["data"]["text/html"])
    static.html(views.View("a <b>").html)
    static.html(views.table_html([["a", "<1>"]], ["name", "count"]))
    static.html('<div style="opacity:0.7;font-size:90%;white-space:pre-wrap">2 tasks</div>')


def test_a_table_of_pandas_stays() -> None:
    """
    A data frame is shown, without the style sheet that it brings along.
    """
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"name": ["a<", "b"], "count": [1, 2]})
    output, dropped = _one(shown({"text/html": frame._repr_html_(), "text/plain": repr(frame)}))

    assert "<style" not in "".join(output["data"]["text/html"])
    assert "<td>a&lt;</td>" in "".join(output["data"]["text/html"])
    assert dropped == []


def test_an_svg_becomes_the_source_of_an_image() -> None:
    """
    A plot as SVG is seen by readers who do not trust the notebook; as an output of its own it is not.
    """
    output, _ = _one(shown({"image/svg+xml": svg('<path d="M0 0h9" style="stroke:url(#a)"/>'), "text/plain": "plot"}))
    page = "".join(output["data"]["text/html"])
    static.html(page)

    assert page.startswith('<img alt="SVG image" src="data:image/svg+xml;base64,')
    assert set(output["data"]) == {"text/html", "text/plain"}


def test_an_output_that_is_all_script_leaves_a_line() -> None:
    """
    Where nothing is left to see, the reader reads what there was.
    """
    data = {"application/javascript": "alert(1)", "text/plain": "<IPython.core.display.Javascript object>"}
    output, dropped = _one(shown(data))

    assert output["data"] == {"text/plain": ["[left out: application/javascript]"]}
    assert dropped == ["application/javascript in an output (cell 1, made)"]


def test_another_language_keeps_its_kernel_until_it_is_opened() -> None:
    """
    A notebook of Julia is shared as one of Julia; opened, it asks for python3, and that is said.
    """
    named = {"kernelspec": {"name": "julia-1.10", "display_name": "Julia", "language": "julia"}}
    data = cleaned(read(notebook(code("x"), metadata=named)))
    dropped: list[str] = []
    raw = json.loads(opened(data, dropped=dropped))

    assert json.loads(data)["metadata"]["kernelspec"]["name"] == "julia-1.10"
    assert raw["metadata"]["kernelspec"]["name"] == "python3"
    assert dropped == ["the kernel julia-1.10; it asks for python3 now (the notebook)"]


# --- leaks ------------------------------------------------------------------------------------------------------------

SECRETS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "github_pat_" + "x" * 30,
    "glpat-" + "x" * 20,
    "sk-proj-" + "x" * 30,
    "xoxb-1234567890-abc",
    "AIza" + "x" * 35,
    "hf_" + "x" * 34,
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc",
    "Authorization: Bearer abcdefghijklmnopqrstuvwxyz",
    "postgres://anna:hunter22@db/x",
    'password = "correct horse"'.replace(" horse", "-horse"),
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_key_is_told_and_not_repeated(secret: str) -> None:
    """
    A key in a source or in an output is named by its kind and its first characters.
    """
    cells = notebook(code(secret), code("x", printed(secret), ident="b"), code("y", ident="c"))
    told = leaks(read(cells))

    assert [line.split(":")[0].split(" (")[0] for line in told] == ["cell 1", "cell 2"]
    assert all(secret not in line for line in told)


def test_paths_of_a_home_are_told(tmp_path: Path) -> None:
    """
    Tracebacks, text, HTML and drawings are searched; pixels are not, and what merely looks similar is passed by.
    """
    drawing = base64.b64encode(svg("<text>/home/anna/x</text>").encode()).decode()
    html = f'<img alt="" src="data:image/svg+xml;base64,{drawing}">'
    error = {"output_type": "error", "ename": "E", "evalue": "", "traceback": ["File /Users/anna/x.py"]}
    found = read(
        notebook(
            code("open('/home/anna/data.csv')"),
            code("x", error, ident="b"),
            code("y", shown({"text/html": html}), ident="c"),
            code(f"'{tmp_path}/x'", ident="d"),
            code("a = '/homely/x/root/y'", shown({"image/png": png()}), ident="e"),
        )
    )
    told = leaks(found, home=tmp_path)

    assert [line.split(":")[0].split(" (")[0] for line in told] == ["cell 1", "cell 2", "cell 3", "cell 4"]
    assert "/home/anna" in told[0]


# --- opening ----------------------------------------------------------------------------------------------------------


def test_opening_and_sharing_again_gives_the_same_notebook() -> None:
    """
    The cells that were put in front are taken out again, also after they were run and saved.
    """
    for source in (good(), notebook(code("x = 1")), notebook(prose("# Only words")), notebook()):
        shared = cleaned(read(source))
        raw = json.loads(opened(shared, banner=["Signed by *nobody*.", "Type `ipvm check`"]))
        for cell in raw["cells"]:
            if cell["cell_type"] == "code":
                cell["execution_count"], cell["metadata"]["trusted"] = 9, False
                cell["outputs"] = cell["outputs"] or [] if cell["id"] != "ipvm-opened-loader" else [printed("loaded")]
        for cell, before in zip(
            raw["cells"][-len(json.loads(shared)["cells"]) :], json.loads(shared)["cells"], strict=False
        ):
            if "execution_count" in before:
                cell["execution_count"] = before["execution_count"]

        assert cleaned(read(json.dumps(raw).encode())) == shared


def test_a_cell_in_front_that_somebody_wrote_in_stays() -> None:
    """
    What a reader writes into the cell in front is theirs.
    """
    raw = json.loads(opened(notebook(code("x"))))
    raw["cells"][0]["source"] = "%load_ext ipvm\nimport ipvm"

    assert [cell.heading for cell in read(cleaned(read(json.dumps(raw).encode()))).cells] == ["%load_ext ipvm", "x"]


@pytest.mark.parametrize(
    ("source", "added"),
    [
        ("%load_ext ipvm", 0),
        ("import os\n  %load_ext ipvm \nx = 1", 0),
        ("%reload_ext ipvm", 0),
        ("%load_ext ipvm_other", 1),
        ("# %load_ext ipvm", 1),
        ("print('%load_ext ipvm')", 1),
    ],
)
def test_the_extension_is_loaded_once(source: str, added: int) -> None:
    """
    A first cell that loads ipvm is put before the others only if none does.
    """
    cells = json.loads(opened(notebook(code(source))))["cells"]

    assert len(cells) == 1 + added
    if added:
        assert "".join(cells[0]["source"]) == "%load_ext ipvm"


def test_the_banner_is_text() -> None:
    """
    Names of strangers in the lines for the reader are shown as they are, and are neither links nor HTML nor formulas.
    """
    said = "<b>x</b> [a](https://evil.example) `c` $y$ ![z](q) \u202e | &amp;"
    cell = json.loads(opened(notebook(), banner=[said]))["cells"][0]
    source = "".join(cell["source"])

    assert cell["cell_type"] == "markdown"
    assert not set("<[]`$!&|").intersection(source.replace("&#", ""))
    assert "\u202e" not in source


def test_a_notebook_that_has_our_ids_is_opened() -> None:
    """
    A cell of a stranger with the id of a cell of ours keeps it, and ours takes another.
    """
    cells = [code("x", ident="ipvm-opened-loader"), code("y", ident="ipvm-opened-loader-1")]
    data = opened(notebook(*cells))

    assert read(data).cells[0].ident == "ipvm-opened-loader-2"
    _valid(data)


def _tried(data: bytes) -> bytes | str:
    """Return the opened notebook, or what was said."""
    try:
        return opened(data)
    except (Malformed, LimitExceeded) as error:
        return error.message


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_a_notebook_or_an_error(data: bytes) -> None:
    """
    Bytes of any kind raise what is said they raise.
    """
    found = _tried(data)

    assert isinstance(found, bytes) or "\n" not in found


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["cells", "metadata", "nbformat", "nbformat_minor", "id", "source", "outputs", "data", "text", "attachments"]
)


@given(JSON, st.lists(st.one_of(KEYS, st.integers(0, 5)), max_size=5))
def test_a_part_that_is_anything_is_an_error_or_harmless(value: Any, path: list[Any]) -> None:
    """
    A good notebook with any one part replaced by anything is refused with its place, or opened as a valid one.
    """
    raw: Any = json.loads(good())
    spot: Any = raw
    for step in path[:-1]:
        if (isinstance(spot, dict) and step in spot) or (
            isinstance(spot, list) and isinstance(step, int) and step < len(spot)
        ):
            spot = spot[step]
    if path and isinstance(spot, dict):
        spot[str(path[-1])] = value
    elif spot and isinstance(spot, list):
        spot[0] = value
    found = _tried(json.dumps(raw).encode())
    if isinstance(found, bytes):
        _valid(found)

        assert opened(found) == found
    else:
        assert "Expected" in found


@given(st.text(max_size=200))
def test_text_of_outputs_is_safe_for_a_terminal(said: str) -> None:
    """
    Whatever a cell printed, what leaves has colours and line ends and no other control, and cleaning it again changes nothing.
    """
    output, _ = _one(printed(said))
    kept = "".join(output["text"])
    bare = re.sub(r"\x1b\[[0-9;:]*m", "", kept)

    assert not set(bare) & {
        chr(n) for n in (*range(8), 11, 12, *range(14, 32), *range(127, 160), *range(0x202A, 0x202F))
    }
    assert _one(printed(kept))[0] == output


# --- JSON -------------------------------------------------------------------------------------------------------------


@given(JSON)
def test_json_is_read_as_json_reads_it(value: Any) -> None:
    """
    What Python writes is read back, and what is written here is one text.
    """
    assert jsontext.loads(json.dumps(value).encode()) == value
    assert jsontext.loads(jsontext.dumps(value)) == value
