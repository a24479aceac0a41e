from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final

import nbformat
import pytest

from ipvm_kernel.errors import BadInput, LimitExceeded, Malformed
from ipvm_kernel.sharing.notebook import MOST_BYTES, cleaned, compared, leaks, opened, read
from tests.picture.inert import HOSTILE
from tests.sharing.samples import OTHER, RECEIPT, about, as_image, code, good, notebook, png, printed, prose, shown, svg

if TYPE_CHECKING:
    from pathlib import Path

BUTTON = '<button data-commandlinker-command="notebook:run-all-cells" data-commandlinker-args="{}">Result: 42</button>'
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "abc", "version_major": 2, "version_minor": 0}}
STATE = {
    "application/vnd.jupyter.widget-state+json": {
        "version_major": 2,
        "version_minor": 0,
        "state": {
            "abc": {"model_name": "AnyModel", "state": {"_esm": "export default {render(){fetch('//evil.example')}}"}}
        },
    }
}


def _deep(levels: int) -> bytes:
    return notebook(code("x", shown({"application/json": 0}))).replace(
        b'json": 0', b'json": ' + b"[" * levels + b"]" * levels
    )


def _again(key: str, before: str) -> bytes:
    data = notebook(code("x"))
    assert before.encode() in data
    return data.replace(before.encode(), f'"{key}": 1, {before}'.encode())


REFUSED: Final[dict[str, tuple[bytes, type[BadInput], str]]] = {
    "200 MB": (b" " * 200_000_000, LimitExceeded, r"at most 67\.1 MB, found 200 MB"),
    "a million cells": (
        b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [' + b"{}," * 999_999 + b"{}]}",
        LimitExceeded,
        "10,000 cells, found 1,000,000",
    ),
    "a million brackets": (b"[" * 1_000_000, LimitExceeded, "64 deep"),
    "a million maps": (b'{"a":' * 1_000_000 + b"1" + b"}" * 1_000_000, LimitExceeded, "64 deep"),
    "a list of 20 million": (b"[" + b"1," * 20_000_000 + b"1]", LimitExceeded, "4,000,000 values"),
    "an output 100,000 deep": (_deep(100_000), LimitExceeded, "64 deep"),
    "outputs without number": (
        notebook(*(code("x", *[printed("")] * 10_001, ident=f"c{n}") for n in range(10))),
        LimitExceeded,
        r"100,000 outputs, found more at \$\.cells\[9\]",
    ),
    "nbformat 99": (notebook(nbformat=99), Malformed, r"nbformat 4 at \$\.nbformat, found 99.* upgrade ipvm"),
    "nbformat 3": (b'{"nbformat": 3, "worksheets": []}', Malformed, "found 3. Convert it: jupyter nbconvert"),
    "nbformat true": (notebook(nbformat=True), Malformed, "a number at .*found a truth value"),
    "nbformat -4": (notebook(nbformat=-4), Malformed, "a number at"),
    "no minor": (b'{"nbformat": 4, "metadata": {}, "cells": []}', Malformed, r"\$\.nbformat_minor, found nothing"),
    "not a map": (b"[]", Malformed, r"a map at \$"),
    "not JSON": (b"%PDF-1.7", Malformed, "line 1, column 1"),
    "nothing": (b"", Malformed, "Expected JSON"),
    "UTF-16": ("{}".encode("utf-16"), Malformed, "UTF-8 at byte 0"),
    "a byte order mark": (b"\xef\xbb\xbf" + notebook(), Malformed, "byte order mark"),
    "overlong UTF-8": (notebook(prose("x")).replace(b'"x"', b'"\xc0\xaf"'), Malformed, "UTF-8 at byte"),
    "two sources": (_again("source", '"source": "x"'), Malformed, "'source' again"),
    "two nbformats": (_again("nbformat", '"nbformat": 4'), Malformed, "'nbformat' again"),
    "half a pair": (
        notebook(prose("\ud800")),
        Malformed,
        r"half a surrogate pair at character 0 of \$\.cells\[0\]\.source",
    ),
    "half a pair as a key": (notebook(metadata={"\udfff": 1}), Malformed, r"of a key of \$\.metadata"),
    "NaN": (b'{"nbformat": NaN}', Malformed, "found NaN"),
    "infinity": (b'{"nbformat": 1e999}', Malformed, "64-bit float"),
    "a number of a million digits": (b'{"nbformat": ' + b"9" * 1_000_000 + b"}", Malformed, "20 characters"),
    "a cell that is none": (notebook(), Malformed, r"a map at \$\.cells\[0\], found 'x'"),
    "an unknown cell": (
        notebook({**prose("x"), "cell_type": "portal"}),
        Malformed,
        r"\$\.cells\[0\]\.cell_type, found 'portal'",
    ),
    "an unknown output": (
        notebook(code("x", {"output_type": "exec"})),
        Malformed,
        r"outputs\[0\]\.output_type, found 'exec'",
    ),
    "an id that is a path": (notebook(code("x", ident="../../x")), Malformed, r"\$\.cells\[0\]\.id"),
    "an id twice": (notebook(code("x"), code("y")), Malformed, r"id once, found made again at \$\.cells\[1\]\.id"),
    "a source that is a map": (
        notebook({**code("x"), "source": {}}),
        Malformed,
        r"\$\.cells\[0\]\.source, found a map",
    ),
    "a count that is text": (notebook(code("x", execution_count="1")), Malformed, r"\$\.cells\[0\]"),
    "a field too many": (notebook(code("x", trusted=True)), Malformed, r"nbformat 4\.5 at \$\.cells\[0\]"),
    "outputs of prose": (notebook(prose("x", outputs=[])), Malformed, r"nbformat 4\.5 at \$\.cells\[0\]"),
}
REFUSED["a cell that is none"] = (
    json.dumps({**json.loads(notebook()), "cells": ["x"]}).encode(),
    *REFUSED["a cell that is none"][1:],
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_notebook_is_refused_with_its_place(name: str) -> None:
    """
    Too large, too deep, too much or not of nbformat 4: an error that says where, and what to do.
    """
    data, kind, said = REFUSED[name]
    with pytest.raises(kind, match=said) as caught:
        opened(data)

    assert len(caught.value.message) < 600
    assert re.search(r"\. [A-Z][^.]+", caught.value.message)


def test_a_file_of_200_mb_is_not_read(tmp_path: Path) -> None:
    """
    The size of a file is looked at before its bytes are; a device without end is no file.
    """
    path = tmp_path / "large.ipynb"
    with path.open("wb") as file:
        file.truncate(200_000_000_000)
    with pytest.raises(LimitExceeded, match="200 GB in"):
        read(path)
    (tmp_path / "device.ipynb").symlink_to("/dev/zero")
    with pytest.raises(Malformed, match="no plain file"):
        read(tmp_path / "device.ipynb")


def _html(*pages: str) -> dict[str, Any]:
    return code("x", *(shown({"text/html": page, "text/plain": "plain"}) for page in pages))


INERT: Final[dict[str, bytes]] = {
    "every payload as HTML": notebook(_html(*(page.encode("utf-8", "replace").decode() for page in HOSTILE))),
    "every payload as Markdown": notebook(
        *(prose(said.encode("utf-8", "replace").decode(), ident=f"m{n}") for n, said in enumerate(HOSTILE))
    ),
    "every payload as text": notebook(
        code("x", *(printed(said.encode("utf-8", "replace").decode()) for said in HOSTILE))
    ),
    "every payload as metadata": notebook(
        code("x", *(shown({"text/plain": "1"}, {said.encode("utf-8", "replace").decode(): 1}) for said in HOSTILE))
    ),
    "a button that runs all": notebook(_html(BUTTON), prose(BUTTON)),
    "a widget with its state": notebook(
        code("x", shown({**WIDGET, "text/html": "<b>x</b>"}), shown(WIDGET)), metadata={"widgets": STATE}
    ),
    "trusted": notebook(
        code("x", shown({"text/html": "<script>alert(1)</script>"}), metadata={"trusted": True}),
        prose("x", metadata={"trusted": True}),
        metadata={"trusted": True, "signature": "hmac"},
    ),
    "scripts by type": notebook(
        code(
            "x",
            *(
                shown({mime: "alert(1)", "text/plain": "1"})
                for mime in (
                    "application/javascript",
                    "text/javascript",
                    "application/ecmascript",
                    "application/x-javascript",
                    "application/xhtml+xml",
                    "text/xml",
                    "text/vnd.mermaid",
                    "application/pdf",
                    "TEXT/HTML",
                    "text/html; charset=utf-8",
                    "text/html\u200b",
                    "application/vnd.vega.v5+json",
                    "application/vnd.plotly.v1+json",
                    "application/geo+json",
                )
                if not mime.endswith("json")
            ),
            shown({"application/vnd.vega.v5+json": {"data": [{"url": "https://evil.example/x.csv"}]}}),
        )
    ),
    "attachments that are none": notebook(
        prose(
            "![x](attachment:x)",
            attachments={
                "x": {"text/html": "<script>alert(1)</script>"},
                "y.svg": {"image/svg+xml": svg("<script>alert(1)</script>")},
                "z.zip": {"application/zip": base64.b64encode(b"PK\3\4" + b"\0" * 100_000).decode()},
                "w.png": {"image/png": base64.b64encode(b"PK\3\4" + b"\0" * 100_000).decode()},
                "v.png": {"image/png": "not base64"},
                "../../../etc/passwd\u202e": {"image/png": png()},
            },
        )
    ),
    "a picture of 10,000 million pixels": notebook(
        prose("![x](attachment:x.png)", attachments={"x.png": {"image/png": png(claimed=(100_000, 100_000))}}),
        code("x", shown({"image/png": png(claimed=(100_000, 100_000))})),
        _html(f'<img alt="" src="data:image/png;base64,{png(claimed=(100_000, 100_000))}">') | {"id": "h"},
    ),
    "a kernelspec that is a command": notebook(
        code("x"),
        metadata={
            "kernelspec": {
                "name": "../../../bin/sh -c 'id'",
                "display_name": "<img src=x onerror=alert(1)>",
                "argv": ["/bin/sh", "-c", "id"],
                "language": "$(id)",
            },
            "language_info": {"name": "$(id)", "nbconvert_exporter": "os.system"},
        },
    ),
    "a million receipts": notebook(
        code(
            "x", shown({"text/plain": "1"}, {"ipvm": {"receipts": {f"bafy{n}": f"bafy{n}" for n in range(1_000_000)}}})
        )
    ),
    "forged metadata": notebook(
        code(
            "x",
            shown(
                {"text/plain": "1"},
                about(
                    (OTHER, RECEIPT),
                    ("javascript:alert(1)", RECEIPT),
                    ("bafkqabiaaebagba", RECEIPT),
                    cell="\x1b[31m<script>",
                    opened="x",
                    more={"a": [1]},
                )
                | {"isolated": True, "text/html": {"isolated": True}, "collapsed": False},
            ),
        )
    ),
    "SVG with a script": notebook(
        code("x", shown({"image/svg+xml": svg("<script>alert(1)</script>")})),
        _html(as_image(svg("<script>alert(1)</script>"))) | {"id": "b"},
    ),
    "source that is hidden": notebook(
        code(
            "import os; os.system('id')",
            metadata={"jupyter": {"source_hidden": True}, "editable": False, "deletable": False},
        )
    ),
    "source that reads otherwise": notebook(code("if access != 'user\u202e \u2066# check\u2069 \u2066': pass")),
    "terminal escapes": notebook(
        code(
            "x",
            printed("\x1b]52;c;ZXZpbA==\x07\x1b[2J\x1b]0;t\x1b\\\x9b31mred\x1b[31mred\x1b[0m\u202e"),
            {
                "output_type": "error",
                "ename": "\x1b[2J",
                "evalue": "\x07",
                "traceback": ["\x1b]8;;https://evil\x1b\\x"],
            },
        )
    ),
    "formulas that link": notebook(code("x", shown({"text/latex": r"$\href{javascript:alert(1)}{x}$"}))),
    "pictures from elsewhere in prose": notebook(
        prose(
            "![x](https://evil.example/1.png) [![y](//evil.example/2.png)](https://evil.example) ![z][ref] !![w](https:evil.example)\n"
            "![v](<https://evil.example/3.png>) ![u](\\\\evil.example\\4.png) ![t](&#47;&#47;evil.example/5.png)\n\n"
            "[ref]: https://evil.example/6.png\n<img src=https://evil.example/7.png><IMG\nSRC='//evil.example/8.png'>"
        )
    ),
}

ACTIVE: Final = re.compile(
    r"<\s*(?:script|style|iframe|object|embed|link|meta|base|form|button|input|svg|math|video|audio|a)\b"
    r"|\bon[a-z]+\s*=|javascript:|data-|\bid\s*=|\bname\s*=|https?:|url\(|srcdoc|position",
    re.IGNORECASE,
)
FORMS: Final = {
    "text/plain",
    "text/html",
    "text/latex",
    "text/markdown",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
}


def _inert(data: bytes) -> dict[str, Any]:
    """Return an opened notebook in which nothing acts, whoever looks at it."""
    raw: dict[str, Any] = json.loads(data)
    nbformat.validate(raw)
    assert raw["metadata"] == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in raw["cells"]:
        assert set(cell["metadata"]) <= {"tags", "slideshow", "ipvm"}
        for name, bundle in cell.get("attachments", {}).items():
            assert name.isprintable()
            assert set(bundle) <= FORMS - {"text/html"}
        for output in cell.get("outputs", ()):
            assert set(output.get("metadata", ())) <= {"ipvm", "image/png"}
            said = "".join(output.get("text", "")) + "".join(output.get("traceback", ""))
            assert not re.search(r"\x1b(?!\[[0-9;:]*m)|[\x00-\x07\x0e-\x1a\x80-\x9f\u202a-\u202e]", said)
            assert set(output.get("data", ())) <= FORMS
            page = "".join(output.get("data", {}).get("text/html", ""))
            assert not any(ACTIVE.search(tag) for tag in re.findall(r"<[^\s0-9=][^>]*>?", page)), page[:300]
    return raw


@pytest.mark.parametrize("name", INERT)
def test_a_hostile_notebook_is_written_as_an_inert_file(name: str) -> None:
    """
    What can be read is written so that nothing in it acts, and doing that again changes nothing.
    """
    dropped: list[str] = []
    data = opened(INERT[name], dropped=dropped)
    raw = _inert(data)

    assert opened(data) == data
    assert len(raw["cells"]) == len(json.loads(INERT[name])["cells"]) + 1
    assert len(dropped) <= 201
    assert all(len(line) < 400 and line.isprintable() for line in dropped)
    if name != "every payload as Markdown":
        assert dropped or name == "every payload as text"


@pytest.mark.parametrize("name", INERT)
def test_a_hostile_notebook_is_looked_at(name: str) -> None:
    """
    Its cells, what it leaks and how it differs are told in text that is safe to show.
    """
    found = read(INERT[name])
    told = [*leaks(found), *(line for change in compared(found, read(good())) for line in change.told())]
    told += [cell.heading for cell in found.cells] + found.attachments + [found.kernel, found.language]

    assert all(line.isprintable() for line in told)


@pytest.mark.parametrize(
    "said",
    ["<a" * 400_000, "![" * 400_000, "<a " + "b=" * 400_000, "`" * 800_000 + "mermaid &", "![a](data:image/png;base64," * 30_000,
     "\x1b]" * 400_000, "\x9d" * 800_000, "\x1b[" * 400_000, "![" + "a" * 400_000 + "](x", "<b " + "title='x' " * 80_000],
    ids=lambda said: repr(said[:12]),
)  # fmt: skip
def test_text_made_to_take_long_does_not(said: str) -> None:
    """
    A million characters that lead a reader astray are read in one go (a test that hangs is ended, and fails).
    """
    data = opened(notebook(prose(said), code("x", printed(said), shown({"text/html": said, "text/markdown": said}))))

    assert len(data) < 30 * len(said)


def test_the_bound_can_be_moved() -> None:
    """
    Who shares a large notebook of their own says how large.
    """
    large = notebook(prose("x" * MOST_BYTES))
    with pytest.raises(LimitExceeded, match="Clear large outputs"):
        read(large)

    assert len(cleaned(read(large, most=2 * MOST_BYTES))) > MOST_BYTES
