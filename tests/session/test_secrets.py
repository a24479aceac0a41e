"""Secrets: what is marked stays, and so does all that came of it, by whatever way it came and by whatever door it would leave."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import ipvm
from ipvm_kernel.errors import NotAllowed, NotFound
from ipvm_kernel.ipld import CID, encode
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import Instruction, Receipt, Task, Workflow
from ipvm_kernel.model.receipt import Outcome
from ipvm_kernel.session import set_default, shares
from ipvm_kernel.sharing.secrecy import tainted
from ipvm_kernel.store import Parcel
from tests.sharing.people import Person, named, people
from tests.sharing.samples import code, notebook, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.ipld import Ipld

SECRET = b"the combination of the safe is 12345"
OUTCOME = "opened with a combination that nobody should see"


@pytest.fixture
def alice(tmp_path: Path) -> Iterator[Person]:
    """
    Somebody who has a secret.
    """
    with people(tmp_path, "alice") as (made,):
        shares.secret(made.session, made.session.put(SECRET).cid, "safe")
        yield made


SAFE = file_cid(SECRET)


def did(alice: Person, *args: Ipld, out: Ipld = OUTCOME, rsc: str = "", func: str = "open") -> tuple[CID, CID]:
    """Put a task with some arguments on file as run here, and return its instruction and receipt."""
    module = alice.session.store.put_file(b"a module", "module")
    run = Instruction(rsc=rsc or f"ipfs://{module}", op="wasm/run", input={"func": func, "args": [*args]})
    task = Task(run=run)
    receipt = Receipt(ran=task.invocation.cid, out=Outcome("ok", out), meta={"op": func})
    alice.session.admit(task, receipt)
    alice.session.store.sync()
    return run.cid, receipt.cid


def page(alice: Person, *pairs: tuple[CID, CID], source: str = "open(safe)") -> Path:
    """Return a notebook that shows what came of some tasks."""
    about = {"ipvm": {"cell": "", "workflows": [], "receipts": {str(one): str(other) for one, other in pairs}}}
    path = alice.folder / "safe.ipynb"
    path.write_bytes(notebook(code(source, shown({"text/plain": OUTCOME}, about))))
    return path


def refused(alice: Person, what: Path | CID, **options: Any) -> str:
    """Return why something does not leave."""
    with pytest.raises(NotAllowed) as caught:
        shares.prepare(alice.session, what, **options)
    assert "\n" not in caught.value.message
    return caught.value.message


def linked(alice: Person, depth: int) -> CID:
    """Return a value that links to a value that links to the secret, and so on."""
    link = SAFE
    for _ in range(depth):
        link = alice.session.put({"inside": [link], "pad": "x"}).cid
    return link


@pytest.mark.parametrize("options", [{}, {"parts": {"module", "output"}}, {"most": 1}])
@pytest.mark.parametrize("depth", [1, 3])
def test_a_link_inside_a_value_is_a_way_too(alice: Person, depth: int, options: dict[str, Any]) -> None:
    """
    A value that links to the secret, however deep, taints the task that reads it: also if the value itself stays here.
    """
    instruction, receipt = did(alice, linked(alice, depth))

    for what in (receipt, instruction, page(alice, (instruction, receipt))):
        assert "open (" in refused(alice, what, **options)


def test_a_value_that_came_from_elsewhere_is_looked_into(alice: Person) -> None:
    """
    It does not matter who put a value with the link in it here: a share may have brought it.
    """
    from ipvm_kernel.ipld import Block

    data = encode({"theirs": SAFE})
    alice.session.store.bring(Parcel(blocks=[Block(CID.of(data), data)]))

    assert "open (" in refused(alice, did(alice, CID.of(data))[1])


@pytest.mark.parametrize("argument", [[[SAFE]], {"user": "me", "key": SAFE}, [{"deep": [{"x": SAFE}]}], SECRET])
def test_a_secret_inside_an_argument(alice: Person, argument: Ipld) -> None:
    """
    In a list, in a record, deep in both, or typed as it is: the task came of it.
    """
    instruction, receipt = did(alice, argument)

    refused(alice, receipt)
    refused(alice, page(alice, (instruction, receipt)))


def test_what_has_no_receipt_to_pass_on_still_counts(alice: Person) -> None:
    """
    A task whose receipt is too large for peers, was forgotten or never was: its outcome may stand in an output all the same.
    """
    large = did(alice, SAFE, out="s" * (3 << 20), func="large")
    forgotten = did(alice, SAFE, func="forgotten")
    alice.session.forget([forgotten[0]])
    run = Instruction(rsc=f"ipfs://{SAFE}", op="wasm/run", input={"func": "never", "args": []})
    alice.session.keep_tasks([Task(run=run)])

    assert "large (" in refused(alice, page(alice, large))
    assert "forgotten (" in refused(alice, page(alice, forgotten))
    assert run.cid.short in refused(alice, page(alice, (run.cid, run.cid)))


def test_what_awaits_a_secret_without_a_receipt(alice: Person) -> None:
    """
    The end of a chain whose beginning was forgotten came of the secret as well; so did a workflow with such a task in it.
    """
    first, _ = did(alice, SAFE, func="first")
    end = did(alice, {"await/ok": first}, func="end")
    alice.session.forget([first])

    assert "end (" in refused(alice, end[1])
    run = Instruction(rsc=f"ipfs://{SAFE}", op="wasm/run", input={"func": "f", "args": [1]})
    workflow = Workflow(tasks=(Task(run=run), alice.numbers().add(1, 2).task))
    alice.run(alice.numbers().add(1, 2))
    alice.session.keep_tasks(workflow.tasks)
    alice.session.store.put(workflow.block)
    assert run.cid.short in refused(alice, workflow.cid)


def test_a_module_and_its_secret_source(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A module that was built from a secret source, and what was run in it, came of it; the source itself stays as well.
    """
    source = '(module (func (export "answer") (result i32) (i32.const 42)))'
    (alice.folder / "algo.wat").write_text(source)
    monkeypatch.chdir(alice.folder)
    shares.secret(alice.session, alice.session.file("algo.wat").cid, "algorithm")
    handle = alice.session.build(source, lang="wat", name="algo").answer()
    run = alice.session.run([handle]).wait()
    pages = [notebook(code("%%ipvm", shown({"text/plain": "42"}, named(run)))), notebook(code("%wasm algo algo.wat"))]
    for data in pages:
        (alice.folder / "n.ipynb").write_bytes(data)
        message = refused(alice, alice.folder / "n.ipynb")
        assert "answer (" in message or "algo.wat" in message


@pytest.mark.parametrize("secret", [SECRET, 'a "quoted"\nline, and ä second', {"key": 1}])
def test_a_secret_in_a_cell_stays(alice: Person, secret: Any) -> None:
    """
    A notebook that holds the secret itself, in a cell or an output, does not leave; the message says which it is.
    """
    text = secret.decode() if isinstance(secret, bytes) else str(secret)
    if secret != SECRET:
        shares.secret(alice.session, alice.session.put(secret).cid, "other")
    path = alice.folder / "n.ipynb"
    path.write_bytes(notebook(code("1", shown({"text/plain": f"it was {text}"}))))
    if isinstance(secret, dict):
        assert shares.prepare(alice.session, path).bundle.receipts == {}  # no text that could be found
    else:
        message = refused(alice, path)
        assert ("secret/safe" if secret == SECRET else "secret/other") in message
        assert text not in message


def test_nothing_else_is_refused(alice: Person) -> None:
    """
    What did not come of the secret leaves as before, with neither the secret, nor the name of its mark, nor a path of its
    author's in the archive.
    """
    (alice.folder / "data").mkdir()
    (alice.folder / "data" / "open.bin").write_bytes(b"\x05" * 300_000)
    file = alice.session.file(alice.folder / "data" / "open.bin")
    alice.session.store.call(file.cid, "https://example.org/signed/open.bin?token=OF-THE-AUTHOR#part")
    did(alice, SAFE)
    good = did(alice, file.cid, out="harmless", func="measure")
    archive = alice.share(page(alice, good, source="measure('data/open.bin')")).read_bytes()

    assert b"measure" in archive
    assert b"open.bin" in archive
    for word in (SECRET, b"secret/", b"OF-THE-AUTHOR", str(alice.folder).encode(), str(Path.home()).encode() + b"/"):
        assert word not in archive


# --- Marks ---


@pytest.fixture
def typing(alice: Person) -> Iterator[Person]:
    """
    The session in which `ipvm.secret` marks.
    """
    set_default(alice.session)
    yield alice
    set_default(None)


def test_a_handle_is_marked(typing: Person) -> None:
    """
    `ipvm.secret(handle)` marks what the task gives: it and what comes of it stay, what went into it does not.
    """
    numbers = typing.numbers()
    before = numbers.add(1, 2)
    marked = ipvm.secret(numbers.add(before, 39), "answer")
    after = numbers.add(marked, 1)

    assert marked.result() == 42
    assert "add (" in refused(typing, typing.notebook([after]))
    refused(typing, marked.cid)
    assert len(shares.prepare(typing.session, typing.notebook([before])).bundle.receipts) == 1


def test_a_file_is_marked(typing: Person, tmp_path: Path) -> None:
    """
    `ipvm.secret(ipvm.file(path))` marks the file, and gives it back.
    """
    path = tmp_path / "wages.csv"
    path.write_bytes(b"name,wage\n")
    file = ipvm.file(path)

    assert ipvm.secret(file, "wages") is file
    assert typing.session.store.pins()["secret/wages"] == file.cid
    refused(typing, did(typing, file.cid)[1])
    with pytest.raises(NotAllowed, match="another secret is called"):
        ipvm.secret(b"others", "wages")


# --- Other doors ---


def test_no_cache_serves_what_came_of_a_secret(alice: Person) -> None:
    """
    A cache gives out neither the value that links to the secret, nor the receipt, invocation or statement of what read it.
    """
    value = linked(alice, 2)
    instruction, receipt = did(alice, value)
    other, harmless = did(alice, 1, out="harmless")
    invocation = Receipt.trusted(alice.session.store.get(receipt)).ran
    shelved = shares.shelved(alice.session)

    assert list(shelved.look([instruction])) == []
    assert [one.cid for one in shelved.look([instruction, other])] == [harmless]
    for cid in (SAFE, value, instruction, invocation, receipt):
        assert shelved.store.size(cid) is None
        with pytest.raises(NotFound):
            shelved.store.get(cid)
    assert shelved.store.get(harmless)


def test_a_mark_holds_for_what_was_looked_at_before(alice: Person) -> None:
    """
    Nothing is remembered across a mark: what was free is tainted with it, and free again without.
    """
    file = alice.session.put(b"no secret yet").cid
    instruction, receipt = did(alice, alice.session.put([file]).cid)
    asked = [instruction, receipt, file]

    assert tainted(alice.session.store, asked) == set()
    label = shares.secret(alice.session, file, "later")
    assert tainted(alice.session.store, asked) == set(asked)
    alice.session.store.unpin(label)
    assert tainted(alice.session.store, asked) == set()


def test_the_same_file_cut_in_another_way_is_the_same_secret(alice: Person) -> None:
    """
    Neither another cut of a secret file nor the address that it came from is a way round the mark.
    """
    cut = CID.of(b"as if it were the root of another cut")
    alice.session.store.pin(f"ipfs://{cut}", SAFE)
    alice.session.store.pin("https://example.org/safe.wasm", SAFE)

    refused(alice, did(alice, cut)[1])
    refused(alice, did(alice, 1, rsc="https://example.org/safe.wasm")[1])
