from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from ipvm_kernel.sharing.notebook import cleaned, opened, read
from tests.browser.lab import Lab
from tests.sharing.samples import code, good, notebook, png, printed, prose, shown
from tests.sharing.test_hostile_notebooks import BUTTON, INERT, STATE, WIDGET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from tests.browser.server import Server

SCREENS: Final = os.environ.get("IPVM_SCREENS")
"""A folder for screenshots, to be looked at."""

BANNER: Final = (
    "Opened from `bafy…`: 3 receipts, **unsigned**. <b>Nothing was run.</b>",
    "Type: ipvm check study.ipynb",
)

BAIT: Final = """\
[a link](javascript:document.title='clicked') and <a href="javascript:document.title='clicked'">another</a>

![tracked](https://evil.example/1.png) [![badge](https://evil.example/2.png)](https://evil.example) ![by name][n]

<img src="https://evil.example/3.png" onerror="document.title='ran'"> <picture><source srcset="//evil.example/4.png"></picture>
<audio src="https://evil.example/5.ogg" autoplay></audio><div style="background:url(//evil.example/6.png)">grey</div>

$\\href{javascript:document.title='clicked'}{x}$ and $\\require{html}\\style{background:url(//evil.example/7.png)}{y}$

```mermaid
flowchart LR
  a@{ img: "https://evil.example/8.png", label: "x" } --> b["<img src='https://evil.example/9.png'>"]
  click b "javascript:document.title='clicked'"
```

[n]: https://evil.example/10.png
"""


@pytest.fixture
def lab(browser: Browser, server: Server) -> Iterator[Lab]:
    """
    A tab of its own for each test, tall enough for a notebook.
    """
    with Lab.tab(browser, server, height=3000) as tab:
        yield tab


def _outside(lab: Lab) -> list[str]:
    """Return what the page asked of others. `attachment:` is nobody: Lab puts such a picture in before it looks it up."""
    return [url for url in lab.outside if not url.startswith("attachment:")]


def _seen(lab: Lab, name: str) -> None:
    """Keep screenshots in light and dark, if somebody wants to look."""
    if SCREENS:
        for theme in ("Light", "Dark"):
            lab.theme(theme)
            lab.screenshot(Path(SCREENS) / f"{name}-{theme}.png")
        lab.theme("Light")


def _baited() -> bytes:
    """Return all hostile notebooks of the other tests as one, and bait that was made for a browser."""
    cells = [prose(BAIT, ident="bait"), prose(BUTTON, ident="button")]
    pages = [BUTTON, "<svg onload='document.title=1'></svg>", "<script>document.title='ran'</script>", "<b>kept</b>"]
    cells.append(
        code("display()", *(shown({"text/html": page, "text/plain": "plain text"}) for page in pages), ident="html")
    )
    cells.append(code("widget", shown({**WIDGET, "text/plain": "a widget"}), ident="widget"))
    for number, data in enumerate(INERT.values()):
        for place, cell in enumerate(json.loads(data)["cells"]):
            outputs = cell.pop("outputs", [])
            for start in range(0, len(outputs) or 1, 40):  # Lab shows 50 outputs of a cell
                more = {"outputs": outputs[start : start + 40]} if cell["cell_type"] == "code" else {}
                cells.append({**cell, **more, "id": f"c{number}-{place}-{start}"})
    return notebook(*cells, metadata={"widgets": STATE, "trusted": True})


def test_a_hostile_notebook_does_nothing_in_a_browser(lab: Lab, server: Server) -> None:
    """
    Opened in JupyterLab, a notebook of every trick that is known here runs no script and asks nobody for anything, not
    even when everything in it is clicked.
    """
    (server.work / "bait.ipynb").write_bytes(
        notebook(prose(BAIT), metadata={"kernelspec": {"name": "python3", "display_name": "x"}})
    )
    lab.open("bait.ipynb")
    lab.page.wait_for_timeout(500)
    asked = _outside(lab)
    lab.outside.clear()
    lab.close()
    said: list[str] = []
    lab.page.on("dialog", lambda dialog: said.append(dialog.message))
    (server.work / "hostile.ipynb").write_bytes(opened(_baited(), banner=BANNER))
    lab.open("hostile.ipynb")
    lab.page.locator(".jp-RenderedMarkdown mjx-container").first.wait_for()
    _seen(lab, "hostile")
    title = lab.page.title()
    body = lab.page.locator(".jp-NotebookPanel:visible .jp-Notebook")
    clicked = body.evaluate(
        """body => { let count = 0;
             for (const node of body.querySelectorAll('.jp-RenderedMarkdown *, .jp-OutputArea-output *')) {
               const event = new MouseEvent('click', {bubbles: true, cancelable: true});
               node.addEventListener('click', event => event.preventDefault(), {once: true});
               node.dispatchEvent(event); count += 1; }
             return count; }"""
    )
    lab.idle()

    assert len(asked) > 2  # the bait is good: as it came, it does ask
    assert clicked > 100
    assert lab.page.title() == title
    assert said == []
    assert body.get_by_text("Show more outputs").count() == 0
    assert _outside(lab) == []
    found = (
        "script, iframe, button, form, input, object, embed, audio, video, source, style, link, "
        "[data-commandlinker-command], [onclick], [onerror], [onload], a[href^='javascript:']"
    )
    shown_here = body.locator(".jp-RenderedMarkdown, .jp-OutputArea-output")
    assert shown_here.locator(found).evaluate_all("nodes => nodes.map(node => node.outerHTML.slice(0, 200))") == []
    assert "kept" in body.inner_text()
    assert "plain text" in body.inner_text()


def test_the_outputs_of_an_opened_notebook_are_seen(lab: Lab, server: Server) -> None:
    """
    Who opens a notebook sees its text, its runs and its pictures, though Lab does not trust it, and nothing was run.
    """
    (server.work / "study.ipynb").write_bytes(opened(cleaned(read(_study())), banner=BANNER))
    lab.open("study.ipynb")
    _seen(lab, "study")
    images = lab.page.locator(".jp-NotebookPanel:visible .jp-Notebook img")
    drawn = images.evaluate_all("nodes => nodes.map(i => i.naturalWidth > 0 && i.getBoundingClientRect().width > 0)")

    assert len(drawn) > 6
    assert all(drawn)
    assert "Nothing was run." in lab.cell(0).inner_text()
    assert "tasks" in lab.text(3)
    assert lab.text(4).split() == ["three", "3"]
    assert "ZeroDivisionError: division by zero" in lab.text(6)
    assert "alpha" in lab.text(7)
    assert lab.outputs(8).locator("img").count() == 1
    assert lab.page.locator(".jp-InputPrompt", has_text="[*]").count() == 0
    assert _outside(lab) == []
    assert [said for said in lab.errors if "ERR_UNKNOWN_URL_SCHEME" not in said] == []


def test_an_opened_notebook_that_lab_saved_is_shared_as_the_same(lab: Lab, server: Server) -> None:
    """
    Running the cell in front and saving adds what Lab adds; what is shared then has the CID that it came under.
    """
    shared = cleaned(read(_study()))
    (server.work / "again.ipynb").write_bytes(opened(shared, banner=BANNER))
    lab.open("again.ipynb")
    lab.run_cell(0)
    lab.save()
    saved = (server.work / "again.ipynb").read_bytes()

    assert saved != opened(shared, banner=BANNER)
    assert cleaned(read(saved)) == shared


def _study() -> bytes:
    """Return a notebook with one output of each kind that is kept."""
    raw = json.loads(good())
    table = (
        '<div>\n<table border="1" class="dataframe"><thead><tr style="text-align: right;"><th></th><th>name</th></tr></thead>'
        "<tbody><tr><th>0</th><td>alpha</td></tr></tbody></table>\n</div>"
    )
    plot = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="60"><path d="M5 55 L60 10 L110 40 L155 5" '
        'style="fill:none;stroke:#1f77b4;stroke-width:2"/></svg>'
    )
    raw["cells"] += [
        code("table", shown({"text/html": table, "text/plain": "alpha"}, count=4), ident="table"),
        code("plot", shown({"image/svg+xml": plot, "text/plain": "<Figure>"}), ident="plot"),
        code(
            "formula", shown({"text/latex": "$\\displaystyle x^{2}$", "text/plain": "x**2"}, count=5), ident="formula"
        ),
        code("words", shown({"text/markdown": "**bold** words", "text/plain": "words"}), ident="words"),
        code("many", printed("\x1b[32mgreen\x1b[0m \x1b[2Jwords\n"), printed("careful\n", "stderr"), ident="many"),
        code(
            "photo", shown({"image/png": png(200, 80), "text/plain": "x"}, {"image/png": {"width": 100}}), ident="photo"
        ),
    ]
    return json.dumps(raw).encode()
