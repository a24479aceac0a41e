from __future__ import annotations

from typing import TYPE_CHECKING

import ipvm
from ipvm_kernel.ipld import Block
from ipvm_kernel.store import Entry, Received
from ipvm_kernel.testing import filing, task
from tests.magics.test_verbs import shell
from tests.picture.inert import inert

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.session import Session
    from tests.magics.conftest import Notebook


def test_a_receipt_is_taken_apart(notebook: Notebook, session: Session) -> None:
    """
    Codec, size, state, who attests it, function, instruction, workflow, value, content with links in place, and lineage.
    """
    notebook.run("a = demo.add(1, 2)\nb = demo.add(a, 40)")
    notebook.run("run = ipvm.run(b, name='story').wait()")
    handle, run = notebook.shell.user_ns["b"], notebook.shell.user_ns["run"]
    told = notebook.run(f"%ipvm show {handle.receipt.cid}")

    text = str(told.value)
    for said in (
        "codec: dag-cbor", "hash: sha3-256", "state: verified: made here", "attested by: nobody yet", "checked: its bytes",
        f"instruction: {handle.cid}", f"workflow: {run.workflow.cid} (story)", "lineage  2 tasks", "ran: invocation",
        "await/ok: instruction", '"ran": {', "declared in: cell",
    ):  # fmt: skip
        assert said in text, said
    reader = inert(told.value._repr_html_())
    assert str(handle.cid) in "".join(reader.said)
    assert told.value.data[0]["state"] == "verified: made here"


def test_one_page_to_be_read_offline(notebook: Notebook, tmp_path: Path, session: Session) -> None:
    """
    `--html` writes a page that holds all it shows, and fetches and runs nothing.
    """
    notebook.run("x = demo.add(1, 2)\nx.result()")
    handle = notebook.shell.user_ns["x"]
    status, out, _ = shell("show", handle.receipt.cid.short, "--html", str(tmp_path / "page.html"))

    assert status == 0
    assert "page.html written" in out
    page = (tmp_path / "page.html").read_text()
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    assert str(handle.cid) in page


def test_a_page_in_the_browser_runs_and_fetches_nothing() -> None:
    """
    The policy of a page is in its head, before anything that it shows.
    """
    from ipvm_kernel.picture.page import page

    made = page("<b>", "<div>x</div>")

    assert made.index("Content-Security-Policy") < made.index("<title>") < made.index("<div>x")
    assert "<b>" not in made


def test_a_receipt_from_elsewhere(session: Session) -> None:
    """
    A receipt whose task is not here is shown with what it says itself, and that it is never used.
    """
    made = filing(task(1, func="far"), 5)
    entry = Entry(instruction=made.task.run.cid, func="far", rsc="", how="loaded", receipt=made.receipt.cid)
    session.store.file(Received(made.receipt, entry))

    text = str(ipvm.show(made.receipt.cid))

    assert "never used" in text
    assert "far, as it says: its task is not here" in text
    assert "ran: " in text
    assert "not here" in text


def test_links_are_followed_in_place_and_not_for_ever(session: Session) -> None:
    """
    A chain of blocks is followed a few links deep; then it says how to go on.
    """
    cid = Block.of("end").cid
    session.store.put(Block.of("end"))
    for n in range(20):
        block = Block.of({"n": n, "next": cid})
        cid = session.store.put(block)

    text = str(ipvm.show(cid))

    assert text.count("next: value") == 3
    assert "`ipvm show" in text


def test_files_by_media_type_and_name(session: Session, tmp_path: Path) -> None:
    """
    Text is shown as text, bytes by their first, each under the name that it had; a module with its functions.
    """
    (tmp_path / "notes.txt").write_text("a line\nanother\n")
    text = str(ipvm.show(session.file(tmp_path / "notes.txt").cid))
    raw = str(ipvm.show(session.put(bytes(range(200))).cid))

    assert "called: " in text
    assert "notes.txt" in text
    assert "media type: text" in text
    assert "another" in text
    assert "00 01 02" in raw


def test_a_share_is_shown_in_a_few_lines(session: Session) -> None:
    """
    What was shared is told by what it is, what goes along, who signed and what to type, not block by block.
    """
    from ipvm_kernel.session import shares

    handle = session.module(b'(module (func (export "one") (result i32) i32.const 1))').one()
    handle.result()
    made = shares.seal(session, shares.prepare(session, handle.cid))
    text = str(ipvm.show(made.cid))

    assert text.startswith(f"{made.cid}: a shared receipt, one ")
    assert "1 receipt" in text
    assert "module" in text
    assert f"ipvm check {made.cid.short}" in text
    assert len(text.splitlines()) < 12
