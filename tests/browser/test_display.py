from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from tests.picture.inert import HOSTILE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.lab import Lab
    from tests.browser.server import Server

SETUP = """\
import struct, zlib
from IPython import get_ipython
from ipvm import display
from ipvm_kernel.session import Session
display.register(get_ipython())

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

def png(width, height):
    rows = b"".join(
        b"\\0" + bytes(c for x in range(width) for c in (40 + 150 * x // width, 120, 60 + 150 * y // height))
        for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))

def octets(data):
    return "".join(f"\\\\{byte:02x}" for byte in data)

PICTURE = png(240, 150)
DEMO = b'''(module
  (func (export "add") (param i64 i64) (result i64) local.get 0 local.get 1 i64.add)
  (func (export "div") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s))'''
PHOTO = f'''(component
  (core module $m
    (memory (export "memory") 8)
    (data (i32.const 0) "{octets(struct.pack('<II', 8, len(PICTURE)) + PICTURE)}")
    (func (export "photo") (result i32) i32.const 0))
  (core instance $i (instantiate $m))
  (func (export "photo") (result (list u8)) (canon lift (core func $i "photo") (memory (core memory $i "memory")))))'''
session = Session(None)
demo = session.module(DEMO, "demo")
photo = session.module(PHOTO.encode(), "photo").photo()
photo.result() == PICTURE
"""

RUN = """\
three = demo.add(1, 2)
ten = demo.add(three, 7)
wrong = demo.div(1, 0)
after = demo.div(wrong, 2)
told = demo.div(demo.div(8, 2), 2)
session.run([ten, after, told], name="nightly").wait()
"""

CELLS = (SETUP, RUN, "photo", "ten.receipt", "demo", "demo.add(ten, three)")
SHOWN = ("nightly", "PNG image", "receipt", "core module", "not run")


def _write(server: Server, name: str) -> str:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, server.work / name)
    return name


def _seen(lab: Lab) -> list[dict[str, Any]]:
    """Return, for each cell, its text and the pictures that the browser has really drawn."""
    return [
        {
            "text": lab.text(n).split(),
            "images": lab.outputs(n).evaluate_all(
                "nodes => nodes.flatMap(n => [...n.querySelectorAll('img')])"
                ".map(i => [i.src, i.alt, i.naturalWidth, i.getBoundingClientRect().width])"
            ),
            "styles": lab.outputs(n).evaluate_all(
                "nodes => nodes.flatMap(n => [...n.querySelectorAll('[style]')]).map(n => [n.tagName, n.style.cssText])"
            ),
        }
        for n in range(len(CELLS))
    ]


def test_a_stranger_sees_what_the_author_saw(lab: Lab, server: Server, tmp_path: Path) -> None:
    """
    A run, a picture, a receipt, a module and a handle look the same, to the last margin, in a notebook that is not trusted.
    """
    name = _write(server, "shown.ipynb")
    lab.open(name)
    lab.run_all()
    theirs = _seen(lab)
    lab.save()
    for theme in ("Light", "Dark"):
        lab.theme(theme)
        for n in range(1, len(CELLS)):
            lab.screenshot(tmp_path / f"{theme}-{n}.png", cell=n)
    lab.theme("Light")
    lab.close()
    server.distrust(name)
    lab.open(name)
    ours = _seen(lab)

    for word, cell in zip(SHOWN, theirs[1:], strict=True):
        assert word in " ".join(cell["text"])
    assert ours == theirs
    images = [image for cell in ours for image in cell["images"]]
    assert len(images) > 10
    assert all(source.startswith("data:image/") and drawn > 0 for source, _, drawn, _ in images)
    assert lab.outside == []


BAD = """\
import json
from IPython.display import HTML, display
from ipvm_kernel.picture import FileView, FunctionView, HandleView, Link, ModuleView, ReceiptView, Scene, TaskView, html

def shown(said):
    task = TaskView(cid="b", short="b", func=said, module=said, value=said, log=said, receipt="r", receipt_short="r")
    wrong = TaskView(cid="b", short="b", func=said, state="failed", error=said, receipt="r", receipt_short="r")
    scene = Scene(title=said, total=2, tasks=(task, wrong), links=(Link(0, 1, "error"),))
    function = FunctionView(name=said, signature=said, where=said)
    yield html.run(scene)
    yield html.workflow(scene)
    yield html.handle(HandleView(task=task, signature=said))
    yield html.handle(HandleView(task=TaskView(cid="b", short="b", func="f", value=[{said: said}], receipt="r")))
    yield html.handle(HandleView(task=TaskView(cid="b", short="b", func="f", value={said: [said]}, receipt="r")))
    yield html.receipt(ReceiptView(cid="b", func=said, ok=False, ran="b", out={said: said}, meta=said, iss=said))
    yield html.module(ModuleView(name=said, cid="b", about="module", size=1, functions=(function,)))
    yield html.file(FileView(name=said, cid="b"))

for pages in zip(*map(shown, json.load(open("bad.json")))):
    display(HTML("".join(pages)))
"""


def test_words_of_strangers_do_nothing_in_a_browser(lab: Lab, server: Server) -> None:
    """
    Eight displays of each bad word, in a notebook that is trusted: no script runs, and nothing is asked of anybody.
    """
    said: list[str] = []
    lab.page.on("dialog", lambda dialog: said.append(dialog.message))
    (server.work / "bad.json").write_text(json.dumps(HOSTILE))
    lab.open(server.write("bad.ipynb", BAD))
    lab.run_all(within=180)

    assert lab.outputs(0).count() == 8
    assert lab.outputs(0).locator("img").count() > len(HOSTILE)
    assert said == []
    assert lab.outside == []
    assert (
        lab.outputs(0).locator("script, svg, iframe, form, button, input, a[href], [onclick], [onerror]").count() == 0
    )


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_text_is_told_from_its_ground(lab: Lab, server: Server, theme: str) -> None:
    """
    What is written in a display has a contrast of 4.5 or more with what is behind it, in light and in dark.
    """
    lab.open(_write(server, f"contrast-{theme}.ipynb"))
    lab.theme(theme)  # type: ignore[arg-type]
    lab.run_all()
    found = [item for n in range(1, len(CELLS)) for item in lab.outputs(n).evaluate_all(CONTRASTS)]
    lab.theme("Light")

    assert len(found) > 30
    assert [item for item in found if item[1] < 4.5] == []


CONTRASTS = """nodes => {
  const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
                       return .2126 * r + .7152 * g + .0722 * b; };
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return {rgb: n.slice(0, 3), a: n.length > 3 ? n[3] : 1}; };
  const over = (top, a, under) => top.map((v, i) => v * a + under[i] * (1 - a));
  const found = [];
  for (const root of nodes) {
    for (const node of root.querySelectorAll('*')) {
      const text = [...node.childNodes].filter(c => c.nodeType === 3).map(c => c.data.trim()).join('');
      if (!text) continue;
      let ground = [255, 255, 255], opacity = 1;
      const chain = [];
      for (let n = node; n; n = n.parentElement) { chain.push(n); opacity *= Number(getComputedStyle(n).opacity); }
      for (const n of chain.reverse()) { const c = parse(getComputedStyle(n).backgroundColor); ground = over(c.rgb, c.a, ground); }
      const ink = parse(getComputedStyle(node).color);
      const shown = over(ink.rgb, ink.a * opacity, ground);
      const [a, b] = [light(shown), light(ground)].sort((x, y) => y - x);
      found.push([text, (a + .05) / (b + .05)]);
    }
  }
  return found;
}"""
