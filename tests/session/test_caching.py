"""A lab's cache as a session meets it: asked before anything runs, believed as far as the policy says, and never needed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel import Session
from ipvm_kernel.errors import NotAllowed, NotFound
from ipvm_kernel.exchange.caches import Listed
from ipvm_kernel.session import shares
from tests.guests import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

served = pytest.importorskip("ipvm_kernel.node.cache", reason="the extra `node` is not installed")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Session]:
    """
    A session whose store is served.
    """
    with Session(tmp_path / "lab") as session:
        yield session


@contextlib.contextmanager
def serving(session: Session, **options: object) -> Iterator[str]:
    """
    Serve a session's store, and give the address.
    """
    shelved = shares.shelved(session)
    options = {"keep": shelved.keep, "statements": shelved.statements, "look": shelved.look, **options}
    with served.CacheServer(shelved.store, port=0, **options) as server:
        yield server.address


@contextlib.contextmanager
def reading(home: Path, *urls: str, **options: str | bool) -> Iterator[Session]:
    """
    Open a session that asks some caches.
    """
    home.mkdir(mode=0o700, exist_ok=True)
    for url in urls:
        Listed(home).add(url, **options)  # type: ignore[arg-type]
    with Session(home) as session:
        yield session


def test_what_a_colleague_ran_is_not_run_again(lab: Session, tmp_path: Path) -> None:
    """
    A task that is in the cache, signed by somebody who is trusted, is replayed; one that is not in it is computed.
    """
    numbers = lab.module(NUMBERS)
    assert lab.run([numbers.add_one(n) for n in range(20)]).wait().progress.ended == 20

    with serving(lab) as url, reading(tmp_path / "reader", url) as reader:
        reader.policy.trust_key(shares.identity(lab, create=True).did)  # type: ignore[union-attr]
        function = reader.module(NUMBERS).add_one
        counts = reader.run([function(n) for n in range(25)]).wait().progress.counts

    assert counts == {"replayed": 20, "computed": 5}


def test_a_cache_is_not_believed_by_itself(lab: Session, tmp_path: Path) -> None:
    """
    What a cache gives is worked out again until its signer is trusted, and that the answers were equal is known.
    """
    lab.module(NUMBERS).add_one(1).result()

    with serving(lab) as url, reading(tmp_path / "reader", url) as reader:
        function = reader.module(NUMBERS).add_one
        counts = reader.run([function(1)]).wait().progress.counts
        told = reader.admission.divergences.told(reader.tally.compared)

    assert counts == {"computed": 1}
    assert "worked out again: equal" in told
    assert "%ipvm trust add did:key:" in told


def test_values_that_are_links_come_along(lab: Session, tmp_path: Path) -> None:
    """
    A result that is kept as a file is fetched from the cache when its receipt is used, and checked.
    """
    data = bytes(range(256)) * 8192
    handle = lab.build_task("(module)", lang="wat")
    module = lab.built(handle)
    big = lab.put(data)

    with serving(lab) as url, reading(tmp_path / "reader", url) as reader:
        reader.policy.trust_key(shares.identity(lab, create=True).did)  # type: ignore[union-attr]
        again = reader.build_task("(module)", lang="wat")
        run = reader.run([again]).wait()
        assert run.progress.counts == {"replayed": 1}
        assert reader.store.size(module) == lab.store.size(module)
        assert reader.store.read(reader.resources.fetch(big.cid)) == data


def test_a_cache_that_is_gone_costs_a_line(lab: Session, tmp_path: Path) -> None:
    """
    Without the cache everything is worked out here, and one line says so, once.
    """
    with serving(lab) as url:
        pass
    with reading(tmp_path / "reader", url) as reader:
        numbers = reader.module(NUMBERS)
        values = [numbers.add_one(n).result() for n in range(3)]
        notices = reader.take_notices()

    assert values == [1, 2, 3]
    assert len(notices) == 1
    assert "asked again in a minute" in notices[0]


def test_what_came_of_a_secret_is_not_served(lab: Session, tmp_path: Path) -> None:
    """
    A value that is marked as secret is in no answer, nor is a task that came of it, whoever knows their CIDs.
    """
    kept = lab.put(b"a password that nobody guesses")
    shares.secret(lab, kept.cid, "password")
    numbers = lab.module(NUMBERS)
    numbers.add_one(1).result()
    shares.secret(lab, numbers.add_one(2).cid, "two")
    numbers.add_one(2).result()

    with serving(lab) as url, reading(tmp_path / "reader", url) as reader:
        reader.policy.trust_key(shares.identity(lab, create=True).did)  # type: ignore[union-attr]
        function = reader.module(NUMBERS).add_one
        counts = reader.run([function(1), function(2)]).wait().progress.counts
        assert reader.lending.caches is not None
        with pytest.raises(NotFound):
            reader.resources.fetch(kept.cid)

    assert counts == {"replayed": 1, "computed": 1}


def test_a_writer_gives_and_others_read(lab: Session, tmp_path: Path) -> None:
    """
    Who has the token gives receipts to the cache; a third person uses them if the writer is trusted. Without it, no.
    """
    token = served.token_of(tmp_path / "lab")
    with (
        serving(lab, token=token) as url,
        reading(tmp_path / "writer", url, token=token, write=True) as writer,
        reading(tmp_path / "reader", url) as reader,
    ):
        handle = writer.module(NUMBERS).add_one(7)
        handle.result()
        told = shares.lend(writer, shares.prepare(writer, handle.cid))
        with pytest.raises(NotAllowed, match="no cache takes"):
            shares.lend(reader, shares.prepare(writer, handle.cid))
        reader.policy.trust_key(shares.identity(writer, create=True).did)  # type: ignore[union-attr]
        counts = reader.run([reader.module(NUMBERS).add_one(7)]).wait().progress.counts

    assert "1 receipt" in told[0]
    assert counts == {"replayed": 1}


def test_a_folder_serves_as_well(lab: Session, tmp_path: Path) -> None:
    """
    A folder that everybody can read is a cache without any server.
    """
    folder = tmp_path / "shared"
    folder.mkdir()
    with reading(tmp_path / "writer", str(folder), write=True) as writer:
        handle = writer.module(NUMBERS).add_one(7)
        handle.result()
        shares.lend(writer, shares.prepare(writer, handle.cid))
        signer = shares.identity(writer)
        assert signer is not None

    with reading(tmp_path / "reader", str(folder)) as reader:
        reader.policy.trust_key(signer.did)
        counts = reader.run([reader.module(NUMBERS).add_one(7)]).wait().progress.counts

    assert counts == {"replayed": 1}


def test_without_a_cache_nothing_is_loaded(tmp_path: Path) -> None:
    """
    A session without caches asks nobody.
    """
    with Session(tmp_path / "home") as session:
        session.module(NUMBERS).add_one(1).result()

        assert session.lending.caches is None


@pytest.mark.parametrize(
    ("variables", "file", "said"),
    [
        ({}, "{oops", "caches.json cannot be read"),
        ({"IPVM_CACHES": "http://user:pw@lab/"}, "", "an address without a password"),
        ({"IPVM_CACHES": "/tmp/x", "IPVM_CACHE_SECONDS": "abc"}, "", "IPVM_CACHE_SECONDS is 'abc'"),
    ],
)
def test_settings_that_cannot_be_read_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], file: str, said: str
) -> None:
    """
    With broken settings no cache is asked: one line says so, everything is worked out here, and pushing says it too.
    """
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if file:
        (home / "caches.json").write_text(file)
    with Session(home) as session:
        numbers = session.module(NUMBERS)
        values = [numbers.add_one(n).result() for n in range(3)]
        notices = session.take_notices()
        handle = numbers.add_one(0)
        with pytest.raises(NotAllowed) as caught:
            shares.lend(session, shares.prepare(session, handle.cid))
        assert session.take_notices() == []
        assert said in session.lending.wrong

    assert values == [1, 2, 3]
    assert len(notices) == 1
    assert notices[0].startswith("no cache is asked")
    assert said in notices[0]
    assert said in caught.value.message
    assert "pw" not in notices[0]
