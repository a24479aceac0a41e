"""Sharing as people type it: what is said, in text and as JSON, what it ends with, and what is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from ipvm import verbs
from ipvm_kernel.ipld import CID, Block, car, dagjson
from ipvm_kernel.session import set_default, shares
from tests.magics.conftest import WAT
from tests.magics.test_verbs import shell
from tests.sharing.forger import Forger, answer, lie, word
from tests.sharing.people import Person, named, people
from tests.sharing.samples import code, shown
from tests.sharing.samples import notebook as notebook_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipvm_kernel.session import Session
    from tests.magics.conftest import Notebook

EVIL = "\x1b]0;pwned\x07\u202e<img src=x onerror=alert(1)>\n"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Typist:
    """Somebody at a shell."""

    def __init__(self, person: Person, patch: pytest.MonkeyPatch) -> None:
        self.person, self._patch = person, patch

    def types(self, *words: object) -> tuple[int, str, str]:
        """Type a command in one's own home and folder."""
        set_default(self.person.session)
        self._patch.chdir(self.person.folder)
        self._patch.setenv("IPVM_HOME", str(self.person.folder / "home"))
        return shell(*map(str, words))

    def says(self, *words: object) -> str:
        """Type a command that ends well, and return what it says."""
        status, out, err = self.types(*words)
        assert status == 0, err
        return out

    def tells(self, *words: object) -> list[Any]:
        """Type a command with --json, and return its lines as values."""
        return [dagjson.loads(line.encode()) for line in self.says(*words, "--json").splitlines()]


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Typist, Typist]]:
    """
    Two people, each with a home and a shell.
    """
    with people(tmp_path, "alice", "bob") as (alice, bob):
        yield Typist(alice, monkeypatch), Typist(bob, monkeypatch)
        set_default(None)


def study(alice: Person) -> Path:
    """Return a notebook of a chain and a map."""
    numbers = alice.numbers()
    first = numbers.add(1, 2)
    return alice.notebook([first, numbers.add(first, 4)], numbers.add.map(range(5), 7))


def root_of(archive: Path) -> CID:
    """Return what an archive is about."""
    return car.Archive(archive.read_bytes()).roots[0]


# --- The story ---


def test_a_study_goes_from_hand_to_hand(two: tuple[Typist, Typist]) -> None:
    """
    Share, open, check, run again, trust, replay: each says what came of it, and what to type next.
    """
    alice, bob = two
    path = study(alice.person)
    status, shared, listed = alice.types("share", path)
    archive = alice.person.folder / "study.car"
    root = root_of(archive)

    assert status == 0
    assert "7 receipts" in listed
    assert "3 outputs: 2 backed by receipts, 1 of ordinary Python" in listed
    assert [line.split()[0] for line in listed.splitlines()[3:6]] == ["2", "3", "4"]
    assert f"shared study.ipynb as {root}" in shared
    assert "ipvm open study.car" in shared

    opened = bob.says("open", archive)
    did = alice.person.key.did
    assert "nothing was run, nothing is trusted" in opened
    assert f"7 of 7 receipts signed by {did}, whom you do not know" in opened
    assert f"ipvm trust add {did}" in opened
    assert f"ipvm check {root.short}" in opened
    assert (bob.person.folder / "study" / "study.ipynb").is_file()

    assert "7 receipts intact, 0 not" in bob.says("check", root.short)
    assert "7 same, 0 different" in bob.says("check", archive, "--rerun", "all")
    assert bob.person.ran() == 0

    task = bob.person.numbers().add(1, 2)
    assert "not listed" in bob.says("why", task.cid)
    assert "is trusted for all modules" in bob.says("trust", "add", did, "--name", "Alice")
    assert "signed by Alice" in bob.says("why", task.cid)
    assert bob.person.run(task) == {"replayed": 1}
    assert "Alice" in bob.says("trust")
    assert "whom you trust" in bob.says("open", archive, "-o", "again")
    assert "trusted no longer" in bob.says("trust", "remove", did)
    assert bob.person.run(task) == {"computed": 1}

    assert "6 receipts of others that came with it taken off file" in bob.says("forget", root)
    assert "is pinned no longer" in alice.says("share", "--undo", root)


def test_what_is_listed_is_what_leaves(two: tuple[Typist, Typist]) -> None:
    """
    The bytes that are listed before anything leaves are those of the archive, less 3 % at most: tasks and workflows are
    counted too. The archive goes where -o says, into a folder or under a name.
    """
    alice, _ = two
    path = alice.person.notebook(alice.person.numbers().add.map(range(300), 7))
    (told,) = alice.tells("share", path, "--dry-run")
    assert not (alice.person.folder / "new").exists()
    alice.says("share", path, "--unsigned", "-o", "new/folder")
    archive = alice.person.folder / "new" / "folder" / "study.car"

    assert 0.97 * archive.stat().st_size < told["bytes"] < archive.stat().st_size
    assert "300 receipts with their tasks" in alice.types("share", path, "-o", "new/mine.car")[2]
    assert (alice.person.folder / "new" / "mine.car").is_file()


def test_a_difference_ends_in_error(two: tuple[Typist, Typist], tmp_path: Path) -> None:
    """
    A check that finds a lie ends with 1, names the task and who signed, and what to type to use that word no more. It changes
    nothing by itself.
    """
    alice, bob = two
    task = bob.person.numbers().add(1, 2)
    forger = lie(task, 666, alice.person.key)
    module = task.instruction.module
    assert module is not None
    forger.content = [[forger.file(bob.person.session.store.read(module)), "module", 5, "numbers"]]
    archive = forger.archive(tmp_path / "x.car")
    status, out, _ = bob.types("check", archive, "--rerun", "all")

    assert status == 1
    assert "0 same, 1 different" in out
    assert f"add ({task.cid.short}): different" in out
    assert f"1 different signed by {alice.person.key.did}, whom you do not trust" in out
    assert bob.types("check", archive)[0] == 0
    bob.says("trust", "add", alice.person.key.did, "--name", "Alice")
    _, out, _ = bob.types("check", archive, "--rerun", "all")
    assert f"1 different signed by Alice: to use its word no more: ipvm trust remove {alice.person.key.did}" in out
    assert "put aside" not in bob.says("trust")


def test_a_word_that_does_not_hold_is_shown_as_such(two: tuple[Typist, Typist], tmp_path: Path) -> None:
    """
    Whoever signed and whose statement has expired is said to have signed what does not hold: by load, open and check.
    """
    alice, bob = two
    task = bob.person.numbers().add(1, 2)
    key = alice.person.key
    archive = lie(task, 3, key, now=1000, ends=2000).archive(tmp_path / "x.car")
    bob.person.policy.trust_key(key.did, name="Alice")

    for words in (("load", archive), ("open", archive)):
        told = bob.says(*words)
        assert f"1 of 1 receipt signed by Alice ({key.did}), whose word for them does not hold: expired" in told
        assert "whom you trust" not in told
    told = bob.says("check", archive)
    assert "Alice (expired)" in told
    assert "the word of Alice for 1 receipt does not hold: expired" in told
    assert "what it shows is not compared" not in told
    assert bob.tells("check", archive)[1]["lapsed"] == {key.did: "expired"}


def test_what_was_dropped_says_what_stays(two: tuple[Typist, Typist], tmp_path: Path) -> None:
    """
    A signature that is not taken is said to be one, and that its receipt stays; a notebook that is none is said to be the
    shared one.
    """
    _, bob = two
    task = bob.person.numbers().add(1, 2)
    receipt = answer(task.task, 3)
    wrong = word(bob.person.key, answer(task.task, 4).cid, task.cid)
    archive = Forger(b"no notebook").task(task.task, receipt, wrong).archive(tmp_path / "x.car")
    status, told, _ = bob.types("load", archive)

    assert status == 1
    assert "1 receipt, not here before; every block was checked" in told
    assert (
        f"not taken: a signature, without which its receipt stays: the statement {wrong.cid} is about no receipt"
        in told
    )
    assert "1 receipt, here before" in bob.types("load", archive)[1]
    for verb in ("open", "check"):
        status, _, err = bob.types(verb, archive)
        assert status == 1
        assert "the shared notebook bafk" in err


def test_what_is_not_intact_ends_in_error(two: tuple[Typist, Typist]) -> None:
    """
    A notebook whose receipts are not here is checked with 1.
    """
    alice, bob = two
    status, out, _ = bob.types("check", study(alice.person))

    assert status == 1
    assert "0 receipts intact, 7 not" in out


def test_diff_names_the_cells_that_changed(two: tuple[Typist, Typist]) -> None:
    """
    Two notebooks are compared by path, archive or CID.
    """
    alice, bob = two
    numbers = alice.person.numbers()
    first = alice.person.share(alice.person.notebook([numbers.add(1, 2)], name="a.ipynb"))
    second = alice.person.share(alice.person.notebook([numbers.add(1, 3)], name="b.ipynb"))
    told = bob.says("diff", first, second)

    assert "0 tasks with the same receipt, 0 with another, 1 only in A, 1 only in B" in told
    assert "cell 2" in told
    assert "their cells are the same" in bob.says("diff", first, first)
    assert bob.tells("diff", first, second)[0]["equal"] == 0


# --- As JSON ---


def test_every_line_of_json_holds_what_the_text_holds(two: tuple[Typist, Typist]) -> None:
    """
    With --json each line is one DAG-JSON value, with CIDs as links, and says what the text says.
    """
    alice, bob = two
    path = study(alice.person)
    did = alice.person.key.did
    (listed,) = alice.tells("share", path, "--dry-run")
    (shared,) = alice.tells("share", path)
    archive = alice.person.folder / "study.car"
    root = root_of(archive)
    (opened,) = bob.tells("open", archive)
    (loaded,) = bob.tells("load", archive)
    about, *receipts = bob.tells("check", archive, "--rerun", "all")
    (who,) = alice.tells("id")
    (added,) = bob.tells("trust", "add", did)
    (trusted,) = bob.tells("trust")

    assert listed["receipts"] == 7
    assert [row["cell"] for row in listed["cells"]] == ["2", "3", "4"]
    assert "cid" not in listed
    assert (shared["cid"], shared["bytes"]) == (root, archive.stat().st_size)
    assert (opened["cid"], opened["receipts"], opened["signed"]) == (root, 7, {did: 7})
    assert (opened["outputs"], opened["backed"], opened["refused"], opened["left"]) == (3, 2, [], [])
    assert (loaded["root"], loaded["name"], loaded["new"], loaded["trusted"]) == (root, "study.ipynb", 0, False)
    assert (about["name"], about["intact"], about["broken"]) == ("study.ipynb", 7, 0)
    assert {type(row["receipt"]) for row in receipts} == {CID}
    assert {(row["intact"], row["again"], *row["signed"]) for row in receipts} == {(True, "same", did)}
    assert who == {"did": did}
    assert added["did"] == trusted["did"] == did


# --- What is refused ---


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["share"], 1, "ipvm share NOTEBOOK.ipynb"),
        (["share", "nosuch.ipynb"], 1, "no notebook at nosuch.ipynb"),
        (["share", "nosuch"], 1, "nothing here is called"),
        (["share", "STUDY", "--with", "cats"], 1, "modules, inputs, outputs, files"),
        (["share", "STUDY", "--limit", "many"], 1, "expected a size"),
        (["share", "STUDY", "-o", "text.car/nowhere"], 1, "expected a folder"),
        (["share", "STUDY", "--ipfs"], 1, "archive is written"),
        (["share", "STUDY", "--colour"], 2, "Usage"),
        (["share", "--undo"], 1, "share --undo CID"),
        (["share", "--undo", "nosuch"], 1, "nothing here is called"),
        (["share", "--undo", "NOBODY"], 1, "nothing is shared as"),
        (["open"], 2, "Usage"),
        (["open", "nosuch.car"], 1, "no file at nosuch.car"),
        (["open", "STUDY"], 1, "opened in Jupyter"),
        (["open", "NOBODY"], 1, "sender"),
        (["open", "CAR", "-o", "."], 1, "Name another one"),
        (["open", "CAR", "-o", "no/where"], 1, "found none"),
        (["check", "nosuch"], 1, "nothing here is called"),
        (["check", "CAR", "--rerun", "200%"], 1, "such as 5%"),
        (["check", "CAR", "--rerun"], 2, "Usage"),
        (["check", "TEXT"], 1, "JSON"),
        (["load", "nosuch.car"], 1, "no file at"),
        (["load", "HALF"], 1, "get it again"),
        (["diff", "CAR", "nosuch.ipynb"], 1, "no file at"),
        (["trust", "add"], 1, "a DID"),
        (["trust", "add", "did:key:z6MkNobody"], 1, "did:key"),
        (["trust", "believe", "everybody"], 1, "add, remove"),
        (["trust", "quorum", "two"], 1, "a number"),
        (["trust", "quorum", "0"], 1, "1 to 1,000"),
        (["trust", "optimistic", "maybe"], 1, "on or off"),
        (["trust", "optimistic", "on", "--sample", "none"], 1, "such as 5%"),
        (["trust", "revoke", "nosuch"], 1, "nothing here is called"),
        (["trust", "add", "DID", "--for", "nosuch"], 1, "nothing here is called"),
        (["export", "nosuch", "x.car"], 1, "nothing here is called"),
        (["export", "STUDY", "no/where/x.car"], 1, "cannot be written"),
        (["forget", "nosuch"], 1, "nothing here is called"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said_in_one_line(
    two: tuple[Typist, Typist], words: list[str], status: int, said: str
) -> None:
    """
    A command that is refused ends with 1, or 2 if it is none, and its last line says what was expected, or what to do.
    """
    alice, bob = two
    path = study(alice.person)
    archive = alice.person.share(path)
    (bob.person.folder / "text.car").write_text("no archive")
    (bob.person.folder / "half.car").write_bytes(archive.read_bytes()[:3000])
    mine = study(bob.person)
    names = {
        "STUDY": mine, "CAR": archive, "NOBODY": Block.of("nobody has this").cid, "TEXT": "text.car", "HALF": "half.car",
        "DID": alice.person.key.did,
    }  # fmt: skip
    ended, out, err = bob.types(*(names.get(word, word) for word in words))
    *_, last = err.splitlines()

    assert ended == status
    assert out == ""
    assert said in last
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1 or "--ipfs" in words  # what would leave is listed before it is sent
    assert not list(bob.person.folder.rglob("*.part"))


def test_a_bad_archive_ends_in_one_line_with_cid_and_byte(two: tuple[Typist, Typist]) -> None:
    """
    One byte changed: load, open, check and diff refuse it, naming the block and its place, and keep nothing.
    """
    alice, bob = two
    archive = alice.person.share(study(alice.person))
    data = bytearray(archive.read_bytes())
    piece = list(car.Archive(bytes(data)))[5]
    data[piece.offset + 50] ^= 1
    bad = bob.person.folder / "bad.car"
    bad.write_bytes(data)
    before = bob.person.held()
    for words in (("load", bad), ("open", bad), ("check", bad), ("diff", bad, archive)):
        status, out, err = bob.types(*words)
        assert (status, out) == (1, "")
        assert err.count("\n") == 1
        assert str(piece.cid) in err
        assert f"byte {piece.offset:,} of the archive" in err

    assert bob.person.held() == before
    assert sorted(one.name for one in bob.person.folder.iterdir()) == ["bad.car", "home"]


def test_words_of_strangers_are_inert(two: tuple[Typist, Typist], tmp_path: Path) -> None:
    """
    Names of shares, files, content, versions and functions that hold escapes are shown as text, in every command that shows
    them, and so is the HTML of each.
    """
    _, bob = two
    task = bob.person.numbers().add(1, 2).task
    forger = Forger()
    receipt = Block.of(answer(task, 3).to_ipld() | {"meta": {"op": EVIL}, "iss": EVIL})
    forger.task(task, receipt)
    forger.content = [[forger.file(b"hello"), "input", 5, EVIL]]
    forger.fields |= {"name": EVIL, "environment": {EVIL: EVIL}, "files": {EVIL: forger.file(b"1")}}
    left = forger.pages([[str(CID.of(b"x", "raw", "sha2-256")), "input", 5, EVIL]])
    archive = forger.archive(tmp_path / "x.car", left=left)
    root = root_of(archive)
    for words in (
        ("load", archive), ("open", archive), ("check", archive), ("diff", archive, archive), ("show", root), ("receipts",),
        ("why", task.run.cid), ("store",), ("inputs", task.run.cid), ("forget", root), ("trust",),
    ):  # fmt: skip
        _, out, err = bob.types(*words)
        assert not CONTROL.search(out + err), words
        view, _ = verbs.perform([*map(str, words)])
        page = getattr(view, "html", "")
        assert "<img src=x" not in page, words
        assert not CONTROL.search(page.replace("\n", "")), words


# --- Archives of anything ---


def test_whatever_has_receipts_is_exported_and_loaded(two: tuple[Typist, Typist]) -> None:
    """
    `export X out.car` takes a task, a receipt, a workflow, a pin, a notebook and a share; the other side has all of it.
    """
    alice, bob = two
    numbers = alice.person.numbers()
    first = numbers.add(1, 2)
    tasks = [first, numbers.add(first, 4)]
    run = alice.person.session.run(tasks).wait()
    receipt = run.receipt_cids[tasks[1].cid]
    alice.says("pin", receipt, "the-result")
    path = alice.person.notebook(tasks)
    root = root_of(alice.person.share(path))
    bob.person.policy.trust_key(alice.person.key.did)
    for number, what in enumerate((tasks[1].cid, receipt, run.workflow.cid, "the-result", path, root, root.short)):
        told = alice.says("export", what, f"{number}.car")
        assert f"ipvm load {number}.car" in told
        assert "2 receipts" in bob.says("load", alice.person.folder / f"{number}.car")

    theirs = bob.person.numbers()
    other = theirs.add(1, 2)
    assert bob.person.run(other, theirs.add(other, 4)) == {"replayed": 2}


def test_a_part_of_the_content_is_exported(two: tuple[Typist, Typist]) -> None:
    """
    `--with` leaves out what it does not name, and the reader learns what did not come along. A check that was to run all of it
    again and could not ends with 1, and says that not all was shown; one of a part does not.
    """
    alice, bob = two
    path = study(alice.person)
    alice.says("export", path, "x.car", "--with", "outputs")
    status, told, _ = bob.types("check", alice.person.folder / "x.car", "--rerun", "all")
    bob.says("check", alice.person.folder / "x.car", "--rerun", "50%")

    assert status == 1
    assert "not all was shown: of 7 tasks there is only the word of who signed" in told
    assert "0 same, 0 different, 7 could not be run" in told
    assert "did not come along: module numbers" in told


# --- In a notebook ---


def test_a_cell_says_what_came_along_and_was_not_used(notebook: Notebook, tmp_path: Path) -> None:
    """
    The line under a cell says that receipts which came along were not used, that they came out equal, and what admits them.
    """
    with people(tmp_path, "alice") as (alice,):
        demo = alice.session.module(WAT.encode(), "demo")
        archive = alice.share(alice.notebook([demo.add(1, 2), demo.add(3, 4)]))
        loaded = notebook.run(f"%ipvm load {archive}")
        told = notebook.run("%%ipvm\ndemo.add(1, 2), demo.add(3, 4)")
        trusted = notebook.run(f"%ipvm trust add {alice.key.did} --for demo")
        did = alice.key.did
    text = "\n".join([told.out, *told.texts])

    assert loaded.error is None
    assert told.error is None
    assert "2 receipts that came along not used, but worked out again: all equal" in text
    assert f"%ipvm trust add {did}" in text
    assert trusted.error is None
    assert "for the module" in repr(trusted.value)


def test_a_notebook_shares_itself(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: Session
) -> None:
    """
    `%ipvm share` without a name takes the notebook that it stands in, as it was saved last; a handle is shared as one.
    """
    monkeypatch.chdir(tmp_path)
    run = session.run([notebook.shell.user_ns["demo"].add(1, 2)]).wait()
    path = tmp_path / "mine.ipynb"
    path.write_bytes(notebook_of(code("%%ipvm", shown({"text/plain": "3"}, named(run)))))
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    itself = notebook.run("%ipvm share --unsigned")
    notebook.run("x = demo.add(1, 2)")
    handle = notebook.run("%ipvm share x --unsigned -o .")

    assert itself.error is None
    assert (tmp_path / "mine.car").is_file()
    assert "shared mine.ipynb as" in repr(itself.value)
    assert handle.error is None
    assert len(list(tmp_path.glob("*.car"))) == 2


def test_a_secret_in_a_notebook_stays(
    notebook: Notebook, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What the user marked is refused, with the tasks' names, and nothing is written; what has nothing to do with it is not.
    """
    monkeypatch.chdir(tmp_path)
    notebook.run("x = demo.add(1, 2)\ny = demo.add(x, 1)\ny.result()\nz = demo.add(5, 5)\nz.result()")
    shares.secret(session, notebook.shell.user_ns["x"].cid, "salaries")
    marked = notebook.run("ipvm.secret(b'a key', 'salaries')")
    told = notebook.run("%ipvm share y --unsigned")
    other = notebook.run("%ipvm share z --unsigned")

    assert "another secret is called" in str(marked.error)
    assert "came of a secret: add (" in str(told.error)
    assert other.error is None
    assert len(list(tmp_path.glob("*.car"))) == 1
