"""Shares of strangers arrive whole and checked, or not at all."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvm_kernel.errors import BadInput, HashNotAllowed, IpvmError, LimitExceeded, Malformed, Mismatch, NotFound
from ipvm_kernel.homestar import capsules
from ipvm_kernel.ipld import CID, Block, car, encode
from ipvm_kernel.ipld.bases import to_varint
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.session import bringing, shares
from ipvm_kernel.session.arriving import is_here
from ipvm_kernel.trust import Key
from tests.peers import needs
from tests.sharing.forger import EMPTY, Forger, answer, lie, word
from tests.sharing.people import Person, outputs, people
from tests.sharing.samples import code, notebook, printed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipvm_kernel.model import Receipt, Task
    from tests.daemons import Kubo

ELSEWHERE: Final = Block.of("is not in the archive").cid
BYTES: Final = CID.of(b"is not in the archive either", "raw", "sha2-256")
EVIL: Final = "\x1b]0;pwned\x07\u202e<img src=x onerror=alert(1)>\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Person, Path]]:
    """
    Somebody who shared a notebook, and its archive.
    """
    with people(tmp_path_factory.mktemp("people"), "alice") as (alice,):
        numbers = alice.numbers()
        first = numbers.add(1, 2)
        yield alice, alice.share(alice.notebook([first, numbers.add(first, 4)], numbers.add.map(range(5), 7)))


# --- As it should be ---


def test_a_notebook_is_opened_from_its_archive_and_nothing_runs(shared: tuple[Person, Path], bob: Person) -> None:
    """
    Who has the archive alone sees every output, and nothing was run to show it; check says who signed.
    """
    alice, archive = shared
    opened = bob.open(archive)
    checked = shares.check(bob.session, archive)

    assert outputs(opened) == ["2 tasks", "5 tasks", "three\n"]
    assert bob.ran() == 0
    assert not checked.failed
    assert len(checked.receipts) == 7
    assert set(map(tuple, checked.signed.values())) == {(alice.key.did,)}
    assert [(cell.index, cell.outputs) for cell in checked.cells] == [(1, (1, 0)), (2, (1, 0)), (3, (0, 1))]


def test_an_opened_notebook_says_where_it_came_from(shared: tuple[Person, Path], bob: Person) -> None:
    """
    A reader finds the CID in the notebook, asks any Jupyter for its Python, and is asked to trust nothing.
    """
    opened = bob.open(shared[1])
    raw = json.loads(opened.read_bytes())
    root, _ = shares.arrive(bob.session, shared[1])

    assert raw["metadata"]["kernelspec"]["name"] == "python3"
    assert not any(cell["metadata"].get("trusted") for cell in raw["cells"])
    assert is_here(bob.session, root)


def test_opening_again_takes_another_folder(
    shared: tuple[Person, Path], bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What a reader has written in an opened notebook is never overwritten.
    """
    monkeypatch.chdir(bob.folder)
    root, _ = shares.arrive(bob.session, shared[1])
    first = shares.write_notebook(bob.session, root).notebook
    second = shares.write_notebook(bob.session, root).notebook

    assert first != second
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(IpvmError, match="Name another one"):
        shares.write_notebook(bob.session, root, first.parent)


def test_an_archive_that_comes_again_changes_nothing(shared: tuple[Person, Path], bob: Person) -> None:
    """
    Loading an archive twice is loading it once.
    """
    first = bob.load(shared[1])
    before = bob.held()
    second = bob.load(shared[1])

    assert first.new == 7
    assert second.new == 0
    assert bob.held() == before


def test_what_came_by_hand_is_found_by_its_cid(shared: tuple[Person, Path], bob: Person) -> None:
    """
    Once an archive is here, its CID is enough, and nobody is asked; before, the message says what to ask for.
    """
    root = car.Archive(shared[1].read_bytes()).roots[0]
    with pytest.raises(NotFound, match="sender"):
        shares.arrive(bob.session, str(root))
    bob.load(shared[1])

    assert shares.arrive(bob.session, str(root)) == (root, None)
    assert shares.arrive(bob.session, root.short) == (root, None)
    assert shares.arrive(bob.session, "study.ipynb@" + root.short) == (root, None)


def test_an_author_is_told_which_files_a_reader_will_not_get(bob: Person) -> None:
    """
    A file that would not be written beside the opened notebook does not go along; the author is told before it leaves.
    """
    for name in ("helper.py", "table.csv"):
        (bob.folder / name).write_text("x = 1")
    path = bob.folder / "study.ipynb"
    path.write_bytes(notebook(code("open('table.csv').read(); exec(open('helper.py').read())")))
    offer = shares.prepare(bob.session, path)

    assert list(offer.files) == ["table.csv"]
    assert offer.outside == ["helper.py"]


# --- Archives of others ---


def test_an_archive_of_values_is_kept(bob: Person, tmp_path: Path) -> None:
    """
    Any DAG of values comes in as it is, and answers nothing.
    """
    leaf = Block.of([1, 2, 3])
    top = Block.of({"leaf": leaf.cid, "deep": {"b": [leaf.cid]}})
    path = tmp_path / "dag.car"
    with path.open("wb") as file:
        car.write(file, [top.cid], [(block.cid, block.data) for block in (top, leaf)])
    arrival = bob.load(path)

    assert arrival.opened is None
    assert bob.session.store.get(top.cid).value() == top.value()
    with pytest.raises(BadInput, match="another archive"):
        shares.arrive(bob.session, path)


def test_receipts_in_an_archive_of_others_are_on_file_and_not_used(bob: Person, tmp_path: Path) -> None:
    """
    A receipt in any archive is found with its task, and is as unverified as all others.
    """
    handle = bob.numbers().add(1, 2)
    receipt = answer(handle.task, 666)
    broken = Block.of({**receipt.to_ipld(), "ran": ELSEWHERE})
    bare = Block.of({"ran": handle.task.invocation.cid, "out": ["ok", 5], "meta": 1, "iss": 7, "prf": []})
    path = tmp_path / "receipts.car"
    with path.open("wb") as file:
        blocks = [receipt.block, handle.task.invocation.block, broken, bare]
        car.write(file, [receipt.cid], [(block.cid, block.data) for block in blocks])
    arrival = bob.load(path)

    assert [one.receipt for one in arrival.receipts] == [receipt.cid]
    assert len(arrival.refused) == 2
    assert all("no receipt on file" in line and "\n" not in line for line in arrival.refused)
    assert handle.result() == 3


def archive_of(path: Path, task: Task, receipts: list[Receipt], *more: Block) -> Path:
    """Write an archive, which is no share, of receipts of one task."""
    with path.open("wb") as file:
        blocks = [task.invocation.block, *(receipt.block for receipt in receipts), *more]
        car.write(file, [receipts[0].cid], [(block.cid, block.data) for block in blocks])
    return path


@pytest.mark.parametrize("count", [64, 65])
def test_a_task_has_at_most_64_receipts_in_an_archive(bob: Person, tmp_path: Path, count: int) -> None:
    """
    An archive of many receipts of one task, each of which would be read and kept with the task, is refused whole.
    """
    task = bob.numbers().add(1, 2).task
    archive = archive_of(tmp_path / "x.car", task, [answer(task, number) for number in range(count)])
    before = bob.held()
    if count > 64:
        with pytest.raises(LimitExceeded, match="at most 64 receipts of one task"):
            bob.load(archive)
        assert bob.held() == before
    else:
        assert len(bob.load(archive).receipts) == 64


def test_a_few_signatures_of_each_receipt_are_looked_at(bob: Person, tmp_path: Path) -> None:
    """
    Of a receipt with very many signatures the first sixteen are taken, in whatever archive; the rest is told in one line, and
    not one of it is verified. Of a share that lists more than its receipts could need nothing is taken.
    """
    task = bob.numbers().add(1, 2).task
    receipt = answer(task, 3)
    words = [word(Key(bytes([number]) * 32), receipt.cid, task.run.cid) for number in range(1, 21)]
    arrival = bob.load(archive_of(tmp_path / "x.car", task, [receipt], *words))

    assert len(arrival.signed[receipt.cid]) == 16
    assert arrival.refused == [f"signatures of the receipt {receipt.cid} beyond the first 16"]
    before = bob.held()
    with pytest.raises(LimitExceeded, match="at most 16 statements a receipt"):
        bob.load(Forger().task(task, receipt, *words).archive(tmp_path / "share.car"))
    assert bob.held() == before


def test_a_receipt_that_a_peer_gave_before_keeps_no_task_out(
    shared: tuple[Person, Path], bob: Person, tmp_path: Path
) -> None:
    """
    A receipt that came without its task, from whomever, is put on file with its task as soon as a share has it: then it is
    replayed for who trusts its signer, checked by its CID, and passed on.
    """
    alice, archive = shared
    task = alice.numbers().add(1, 2)
    receipt = alice.session.known(task.cid)
    assert receipt is not None
    bringing.keep(bob.session.store, capsules.Stored(task.cid, receipt), engine="peer", trusted=False)
    bob.session.store.sync()
    arrival = bob.load(archive)
    bob.policy.trust_key(alice.key.did)

    assert arrival.new == 7
    assert is_here(bob.session, arrival.root)
    assert bob.run(bob.numbers().add(1, 2)) == {"replayed": 1}
    assert not shares.check(bob.session, arrival.root).failed


def test_a_trusted_archive_of_others_is_used(bob: Person, tmp_path: Path) -> None:
    """
    `load --trust` is the user's own word, for any archive.
    """
    handle = bob.numbers().add(1, 2)
    receipt = answer(handle.task, 666)
    path = tmp_path / "receipts.car"
    with path.open("wb") as file:
        car.write(file, [receipt.cid], [(b.cid, b.data) for b in (receipt.block, handle.task.invocation.block)])
    bob.load(path, trust=True)

    assert bob.run(handle) == {"replayed": 1}
    assert handle.result() == 666


def test_an_archive_of_nothing_says_so(bob: Person, tmp_path: Path) -> None:
    """
    An archive without roots and blocks is refused, or brings nothing: never half of something.
    """
    path = tmp_path / "empty.car"
    with path.open("wb") as file:
        car.write(file, [], [])
    before = bob.held()
    with pytest.raises(Malformed, match="no block"):
        bob.load(path)

    assert bob.held() == before


@pytest.mark.peer("kubo")
def test_what_kubo_exports_comes_in(tmp_path: Path, kubo: Kubo) -> None:
    """
    `ipfs dag export` of a folder and of a DAG of values comes in: files by their CIDs, values as they are.
    """
    large = b"row\n" * 200_000
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "README.md").write_bytes(b"# Read me")
    (tmp_path / "folder" / "deep" / "table.csv").write_bytes(large)
    held = kubo.command(needs("kubo"), "add", "-r", "-Q", "--cid-version=1", tmp_path / "folder").decode().strip()
    leaf = Block.of([1, 2])
    kubo.add_block(leaf.data, "dag-cbor", "sha3-256")
    top = kubo.add_block(encode({"leaf": leaf.cid, "table": file_cid(large)}), "dag-cbor", "sha3-256")
    for number, cid in enumerate((held, top)):
        with people(tmp_path / str(number), "reader") as (reader,):
            (tmp_path / f"{number}.car").write_bytes(kubo.rpc("dag/export", arg=cid))
            arrival = reader.load(tmp_path / f"{number}.car")

            assert arrival.opened is None
            assert arrival.receipts == []
            assert reader.session.store.read(file_cid(large)) == large
            if cid == top:
                assert reader.session.store.get(CID.parse(top)).value() == {"leaf": leaf.cid, "table": file_cid(large)}
            else:
                assert reader.session.store.read(file_cid(b"# Read me")) == b"# Read me"


# --- One byte ---


@given(data=st.data())
def test_no_byte_of_an_archive_can_be_changed(
    tmp_path_factory: pytest.TempPathFactory, shared: tuple[Person, Path], data: st.DataObject
) -> None:
    """
    Whatever byte of an archive is another one: it is refused, and the store is as it was.
    """
    whole = bytearray(shared[1].read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    folder = tmp_path_factory.mktemp("tampered")
    (folder / "x.car").write_bytes(whole)
    with people(folder, "bob") as (bob,):
        before = bob.held()
        with pytest.raises(IpvmError) as caught:
            bob.load(folder / "x.car")

        assert isinstance(caught.value, Mismatch | BadInput | NotFound)
        assert "\n" not in caught.value.message
        assert bob.held() == before


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_an_archive_that_is_cut_off_brings_nothing(
    bob: Person, tmp_path: Path, shared: tuple[Person, Path], kept: float
) -> None:
    """
    Half an archive is none.
    """
    whole = shared[1].read_bytes()
    (tmp_path / "cut.car").write_bytes(whole[: int(len(whole) * kept)])
    before = bob.held()
    with pytest.raises(IpvmError):
        bob.load(tmp_path / "cut.car")

    assert bob.held() == before


def test_a_block_under_another_name_is_named_with_its_place(
    bob: Person, tmp_path: Path, shared: tuple[Person, Path]
) -> None:
    """
    The message of a block that was changed has its CID and the byte of the archive.
    """
    whole = bytearray(shared[1].read_bytes())
    piece = list(car.Archive(bytes(whole)))[3]
    whole[piece.offset + 45] ^= 1
    (tmp_path / "x.car").write_bytes(whole)
    with pytest.raises(Mismatch) as caught:
        bob.load(tmp_path / "x.car")

    assert str(piece.cid) in caught.value.message
    assert f"byte {piece.offset:,} of the archive" in caught.value.message


def test_a_hash_by_which_nothing_can_be_checked_is_refused(bob: Person, tmp_path: Path) -> None:
    """
    A block named by a hash that is broken is as good as any block.
    """
    forger = Forger()
    cid = CID.from_bytes(b"\x01\x71\x11\x14" + hashlib.sha1(b"\x01", usedforsecurity=False).digest())
    forger.content = [[forger.put(Block(cid, b"\x01")), "input", 1, ""]]
    with pytest.raises(HashNotAllowed, match="byte"):
        bob.load(forger.archive(tmp_path / "x.car"))


def test_a_block_of_three_megabytes_is_refused(bob: Person, tmp_path: Path) -> None:
    """
    What peers would not pass on does not come in by an archive either.
    """
    block = Block.raw(b"x" * 3_000_000)
    path = tmp_path / "x.car"
    root = Forger().root()
    header = encode({"roots": [root.cid], "version": 1})
    body = block.cid.bytes + block.data
    path.write_bytes(to_varint(len(header)) + header + to_varint(len(body)) + body)
    with pytest.raises(LimitExceeded, match="3,000,000"):
        bob.load(path)


def test_a_lie_is_on_file_as_a_lie_and_answers_nothing(bob: Person, tmp_path: Path) -> None:
    """
    A share that is well formed and false comes in, is shown as unverified, and changes no answer.
    """
    handle = bob.numbers().add(1, 2)
    arrival = bob.load(lie(handle, 666, None).archive(tmp_path / "x.car"))

    assert len(arrival.receipts) == 1
    assert bob.session.why(handle).verdict == "unverified"
    assert handle.result() == 3


def test_an_opened_notebook_keeps_what_python_printed(bob: Person, tmp_path: Path) -> None:
    """
    Ordinary outputs are seen, and counted as what nobody can check.
    """
    about = notebook(code("print(1)", printed("1\n")))
    archive = Forger(about).archive(tmp_path / "x.car")
    checked = shares.check(bob.session, archive)

    assert outputs(bob.open(archive)) == ["1\n"]
    assert [cell.outputs for cell in checked.cells] == [(0, 1)]


def test_the_empty_notebook_is_shared_as_well(bob: Person, tmp_path: Path) -> None:
    """
    Nothing is a notebook too.
    """
    archive = Forger(EMPTY).archive(tmp_path / "x.car")

    assert outputs(bob.open(archive)) == []
    assert shares.check(bob.session, archive).cells == []


def test_a_statement_about_something_else_is_dropped_and_told(bob: Person, tmp_path: Path) -> None:
    """
    A statement that is not about a receipt of this share is no reason to refuse it, and is not kept.
    """
    handle = bob.numbers().add(1, 2)
    receipt = answer(handle.task, 3)
    other = word(bob.key, ELSEWHERE, handle.cid)
    arrival = bob.load(Forger().task(handle.task, receipt, other).archive(tmp_path / "x.car"))

    assert arrival.signed == {}
    assert len(arrival.refused) == 1
    assert str(other.cid) in arrival.refused[0]
    assert bob.session.store.attestations([receipt.cid, ELSEWHERE]) == {}
