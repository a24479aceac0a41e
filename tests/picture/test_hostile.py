from __future__ import annotations

from typing import Any

import pytest

from ipvm_kernel.picture import (
    CidView,
    FileView,
    FunctionView,
    Group,
    HandleView,
    Link,
    ListView,
    ModuleView,
    ReceiptView,
    Scene,
    html,
    page,
    svg,
    text,
    tree,
)
from ipvm_kernel.picture.tree import Branch
from tests.picture.inert import HOSTILE, inert, inert_svg, pictures, plain
from tests.picture.samples import pipeline, task

CID = "bafkqabiaaebagba"


def _shown(said: str) -> list[tuple[str, Any]]:
    """Return every kind of picture, with `said` wherever a guest, a file or a peer could have put it."""
    view = task(0, said, module=said, value=said, log=said)
    function = FunctionView(name=said, signature=f"func({said}: string)", where=said, options=((said, said),))
    grouped = Scene(
        title=said,
        total=200,
        counts={"computed": 199, said: 1},
        words={"computed": said[:40]},
        tasks=(view,),
        groups=(Group(said, said, {"computed": 199, said: 1}), Group("other", "", {"failed": 1})),
        links=(Link(0, 1, "error", 20), Link(0, 0, "ok", 3), Link(1, 0, said)),
    )
    return [
        ("run", pipeline(said)),
        ("run", grouped),
        ("workflow", pipeline(said)),
        ("plan", grouped),
        ("handle", HandleView(task=view, signature=said)),
        ("handle", HandleView(task=task(0, said, state="failed", error=said))),
        ("handle", HandleView(task=task(0, said, receipt="", value=None), note=said, scene=pipeline(said))),
        ("handle", HandleView(task=task(value=[{said: said}, {said: 1}]))),
        ("handle", HandleView(task=task(value={said: {said: [said]}}))),
        ("handle", HandleView(task=task(value={"a": [said, said], said: [1, 2]}))),
        ("handle", HandleView(task=task(value=[[said, said], [said, said]]))),
        ("handle", HandleView(task=task(value={said, "b"}))),
        ("handle", HandleView(task=task(value=said.encode("utf-8", "replace")))),
        ("handles", ListView(note=said, tasks=(view, view), total=5, scene=pipeline(said))),
        ("receipt", ReceiptView(cid=CID, func=said, ok=True, ran=CID, out=said, meta={said: said}, iss=said)),
        (
            "receipt",
            ReceiptView(cid=CID, func=said, ok=False, ran=CID, out={"kind": said, "message": said, "detail": said}),
        ),
        ("receipt", ReceiptView(cid=CID, func=said, ok=False, ran=CID, out=[said, {said: said}], prf=(CID,))),
        ("module", ModuleView(name=said, cid=CID, about="component", size=5, functions=(function,) * 70)),
        ("function", function),
        ("file", FileView(name=said, cid=CID, size=3)),
        ("cid", CidView(cid=CID, codec="raw", hash="identity")),
        ("promise", said),
        ("handle", HandleView(task=view, stale=(said, said))),
    ]


def _tree(said: str) -> Branch:
    """Return a tree with `said` wherever there is a text, with a branch in every level that there may be."""
    root = leaf = Branch(title=said, role=said, state=said, code=said, cid=said, note=said, value=said)
    for _ in range(30):
        below = Branch(title=said, role=said, facts=[(said, said), (said, [said, {said: said}])], shut=True)
        leaf.children = [below, Branch(title=said, value=said.encode("utf-8", "replace"))]
        leaf = below
    return root


@pytest.mark.parametrize("said", HOSTILE, ids=range(len(HOSTILE)))
def test_words_of_strangers_in_a_tree_and_on_a_page(said: str) -> None:
    """
    Lineages, inspected CIDs, tables and whole pages are as inert as the rest.
    """
    shape = _tree(said)
    lines, table = tree.grid([said, "b"], [[said, said]] * 3, said)

    for shown in (tree.html(shape), table):
        inert(shown)
    for shown in (tree.text(shape), tree.text(shape, ascii_only=True), lines):
        plain(shown, keep="\n\t")
        assert len(shown) < 400_000
    made = page.page(said, tree.html(shape))
    assert made.count("<script") == 0
    assert made.count("<title>") == made.count("</h1>") == 1


@pytest.mark.parametrize("said", HOSTILE, ids=range(len(HOSTILE)))
def test_words_of_strangers_are_only_words(said: str) -> None:
    """
    Whatever a guest calls its functions, fails with, logs or returns: no tag, attribute, style or control comes out.
    """
    for kind, view in _shown(said):
        reader = inert(getattr(html, kind)(view))
        for picture in pictures(reader):
            if picture.startswith(said[:60]):
                continue  # a value that is an SVG is shown as an image, where it cannot act; see below
            inert_svg(picture)


@pytest.mark.parametrize("said", HOSTILE, ids=range(len(HOSTILE)))
def test_words_of_strangers_cannot_drive_a_terminal(said: str) -> None:
    """
    In plain text there is no escape sequence, no direction override, and no more than a few screens.
    """
    for kind, view in _shown(said):
        for ascii_only in (False, True):
            shown = getattr(text, kind)(view, 100, ascii_only=ascii_only)
            plain(shown, keep="\n\t")
            assert len(shown) < (100_000 if ascii_only else 40_000)  # an escape is ten characters
            assert not ascii_only or shown.isascii()


def test_an_svg_of_a_guest_is_an_image_and_nothing_else() -> None:
    """
    SVG that a guest returns is never part of the page: as the source of an image its scripts and links are dead.
    """
    said = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    reader = inert(html.handle(HandleView(task=task(value=said))))

    assert said in pictures(reader)
    assert "alert" not in "".join(reader.said)


def test_a_large_svg_of_a_guest_is_text() -> None:
    """
    SVG too large to be put into a notebook is shown as the text that it is, cut.
    """
    said = f'<svg xmlns="http://www.w3.org/2000/svg">{"<g/>" * 50_000}</svg>'
    reader = inert(html.handle(HandleView(task=task(value=said))))

    assert said[:50] in "".join(reader.said)
    assert all("<g/>" not in picture for picture in pictures(reader))


def test_what_is_drawn_is_described_without_being_seen() -> None:
    """
    The picture of a graph has words for whoever does not see it: functions, states, and what awaits what.
    """
    described = svg.described(pipeline("crop"))

    assert "crop (computed)" in described
    assert "awaits crop" in described
