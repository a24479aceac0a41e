"""Alice's archive, which `07-share.ipynb` opens, against the program as it is now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.session import Session, shares
from tests.notebooks import alice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipvm_kernel.sharing.unpacking import Arrival


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """
    Somebody who trusts nobody.
    """
    with Session(tmp_path_factory.mktemp("reader") / "home") as session:
        yield session


def arrived(session: Session, archive: Path) -> Arrival:
    """Bring an archive in, and return what came."""
    _, arrival = shares.arrive(session, archive)
    assert arrival is not None
    return arrival


def test_the_archive_that_is_shipped(reader: Session) -> None:
    """
    Every receipt is intact and signed by the one whom the notebook and the README name, and none is used unasked.
    """
    checked = shares.check(reader, alice.ARCHIVE)
    signers = {did for dids in checked.signed.values() for did in dids}
    named = alice.DID.findall(alice.READER.read_text())

    assert not checked.failed
    assert len(checked.receipts) == 5
    assert all(checked.signed[instruction] for instruction in checked.receipts)
    assert signers == set(named) == set(alice.DID.findall(alice.ABOUT.read_text()))
    assert len(named) == 2  # added, and removed
    assert f"{alice.ARCHIVE.stat().st_size:,} bytes" in alice.ABOUT.read_text()
    assert alice.ARCHIVE.stat().st_size < 300_000


def test_what_the_archive_says_is_so(reader: Session) -> None:
    """
    Her tasks give the same again, all but the build, which needs her compiler.
    """
    again = shares.check(reader, alice.ARCHIVE, rerun=1.0)
    verdicts = {again.funcs[instruction]: one.verdict for instruction, one in again.again.items()}

    assert verdicts.items() >= {"grayscale": "same", "blur": "same", "rotate90": "same"}.items()
    assert not again.failed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets that nbclient leaves behind
def test_the_archive_can_be_made_anew(reader: Session, tmp_path: Path) -> None:
    """
    Whoever makes her archive anew gets the same receipts, files and sources; only the key and the moment differ.
    """
    made, did = alice.make(tmp_path)
    shipped, fresh = arrived(reader, alice.ARCHIVE), arrived(reader, made)
    assert shipped.opened is not None
    assert fresh.opened is not None
    sources = [[cell.source for cell in shares.notebook_of(reader, arrival.root).cells] for arrival in (shipped, fresh)]

    assert {one[:2] for one in fresh.receipts} == {one[:2] for one in shipped.receipts}
    assert fresh.opened.share.files == shipped.opened.share.files
    assert {one.cid for one in fresh.opened.content} == {one.cid for one in shipped.opened.content}
    assert sources[0] == sources[1]
    assert set(fresh.issuers) == {did} != set(shipped.issuers)


def test_the_archive_tells_nothing_of_where_it_was_made(reader: Session) -> None:
    """
    No path, user or host of whoever made the archive is in its notebook.
    """
    notebook = shares.notebook_of(reader, arrived(reader, alice.ARCHIVE).root)
    told = json.dumps(notebook.raw)

    for word in ("/tmp", "/home", "/root", "/work", "/Users"):
        assert word not in told
