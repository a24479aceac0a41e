"""Checking what somebody shared: by whom, intact, and the same again; and two of them beside each other."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.engine.build import Build
from ipvm_kernel.errors import BadInput, IpvmError, NotFound
from ipvm_kernel.exchange.caches.folder import FolderCache
from ipvm_kernel.exchange.http import Deadline
from ipvm_kernel.ipld import CID, car
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.model import WASM_RUN, Instruction, Receipt, Task
from ipvm_kernel.model.receipt import Outcome
from ipvm_kernel.session import Limits, Session, rerunning, shares
from ipvm_kernel.trust import Key
from tests.guests import NUMBERS
from tests.sharing.forger import Forger, answer, lie, word
from tests.sharing.people import Person, named
from tests.sharing.samples import about, code, notebook, printed, shown

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.handles import Handle

WHY = "the check never runs the Python of a notebook"


def study(alice: Person) -> Path:
    """Return a notebook of a chain and a map, seven tasks in two cells."""
    numbers = alice.numbers()
    first = numbers.add(1, 2)
    return alice.notebook([first, numbers.add(first, 4)], numbers.add.map(range(5), 7))


def told_of(task: Handle, receipt: CID) -> bytes:
    """Return a notebook whose one output names a receipt of a task."""
    return notebook(code("%%ipvm", shown({"text/plain": "3"}, about((task.cid, receipt), workflows=[]))))


# --- Intact, and by whom ---


def test_a_notebook_an_archive_and_a_cid_are_checked_alike(alice: Person, bob: Person) -> None:
    """
    A reader checks what they have: the archive, the CID of what is here, or the notebook that they opened. All say the
    same of each cell.
    """
    archive = alice.share(study(alice))
    opened = bob.open(archive)
    root = car.Archive(archive.read_bytes()).roots[0]
    found = [shares.check(bob.session, what) for what in (archive, root, opened)]

    for checked in found:
        assert not checked.failed
        assert len(checked.receipts) == 7
        assert [len(cell.receipts) for cell in checked.cells if cell.receipts] == [2, 5]
        assert set(map(tuple, checked.signed.values())) == {(alice.key.did,)}
        assert set(checked.funcs.values()) == {"add"}
    assert bob.ran() == 0


def test_ones_own_notebook_is_checked_before_it_is_shared(alice: Person) -> None:
    """
    What was made here and signed by nobody yet says so; once it is shared it is signed by its author.
    """
    path = study(alice)
    before = shares.check(alice.session, path)
    alice.share(path)
    after = shares.check(alice.session, path)

    assert set(map(tuple, before.signed.values())) == {("here",)}
    assert set(map(tuple, after.signed.values())) == {(alice.key.did,)}


def test_a_check_leaves_no_trace(alice: Person, bob: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A check of an archive, with a rerun, changes nothing in the store and leaves nothing in the folder for what is temporary.
    """
    archive = alice.share(study(alice))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = bob.held()
    shares.check(bob.session, archive, rerun=1.0)

    assert bob.held() == before
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_output_that_names_another_receipt_is_told(alice: Person, bob: Person, tmp_path: Path) -> None:
    """
    A notebook that claims a receipt which the share does not have, or has otherwise, is not intact, and the cell is named.
    """
    task = bob.numbers().add(1, 2)
    honest, other = answer(task.task, 3), answer(task.task, 4)
    absent = shares.check(bob.session, Forger(told_of(task, honest.cid)).archive(tmp_path / "a.car"))
    made = Forger(told_of(task, other.cid)).task(task.task, honest, word(alice.key, honest.cid, task.cid))
    swapped = shares.check(bob.session, made.archive(tmp_path / "b.car"))

    assert absent.failed
    assert swapped.failed
    assert absent.cells[0].broken == {task.cid: "its receipt did not come along"}
    assert str(other.cid) in swapped.cells[0].broken[task.cid]
    assert str(honest.cid) in swapped.cells[0].broken[task.cid]


def test_a_notebook_that_names_receipts_which_are_not_here_is_told(bob: Person) -> None:
    """
    A notebook alone proves nothing: without its receipts each is told as missing, in one line.
    """
    task = bob.numbers().add(1, 2)
    path = bob.folder / "alone.ipynb"
    path.write_bytes(told_of(task, answer(task.task, 3).cid))
    checked = shares.check(bob.session, path)

    assert checked.failed
    assert checked.receipts == {}
    assert all("\n" not in why for why in checked.cells[0].broken.values())


def test_receipts_that_no_cell_names_are_checked_too(bob: Person, tmp_path: Path) -> None:
    """
    What goes along for the sake of others has a row of its own.
    """
    task = bob.numbers().add(1, 2)
    checked = shares.check(bob.session, Forger().task(task.task, answer(task.task, 3)).archive(tmp_path / "x.car"))

    assert [(cell.index, cell.heading) for cell in checked.cells] == [(None, "awaited by others")]
    assert checked.signed == {task.cid: []}


def test_forged_statements_are_told_and_count_for_nobody(bob: Person, tmp_path: Path) -> None:
    """
    A statement that does not hold is named with its reason, and its issuer is not said to have signed.
    """
    task = bob.numbers().add(1, 2)
    receipt = answer(task.task, 3)
    wrong = word(bob.key, answer(task.task, 4).cid, task.cid)
    checked = shares.check(bob.session, Forger().task(task.task, receipt, wrong).archive(tmp_path / "x.car"))

    assert checked.signed == {task.cid: []}
    assert len(checked.refused) == 1
    assert str(wrong.cid) in checked.refused[0]


def test_archives_of_others_are_checked(alice: Person, bob: Person, tmp_path: Path) -> None:
    """
    An archive without a share is checked receipt by receipt.
    """
    task = bob.numbers().add(1, 2)
    receipt = answer(task.task, 3)
    path = tmp_path / "x.car"
    with path.open("wb") as file:
        blocks = [receipt.block, task.task.invocation.block, word(alice.key, receipt.cid, task.cid)]
        car.write(file, [receipt.cid], [(block.cid, block.data) for block in blocks])
    checked = shares.check(bob.session, path)

    assert checked.receipts == {task.cid: receipt.cid}
    assert checked.signed == {task.cid: [alice.key.did]}


@pytest.mark.parametrize("data", [b"", b"text", b"\x00asm", b"{}"])
def test_what_is_neither_says_so(bob: Person, data: bytes) -> None:
    """
    A file that is no notebook and no archive is refused in one line.
    """
    path = bob.folder / "x.car"
    path.write_bytes(data)
    with pytest.raises(IpvmError) as caught:
        shares.check(bob.session, path)

    assert "\n" not in caught.value.message


# --- Run again ---


def test_all_of_it_is_run_again_and_is_the_same(alice: Person, bob: Person) -> None:
    """
    `--rerun all` runs every task, in an order that its promises ask for, says how far it is, and finds all equal.
    """
    said: list[str] = []
    archive = alice.share(study(alice))
    checked = shares.check(bob.session, archive, rerun=1.0, told=said.append)

    assert {one.verdict for one in checked.again.values()} == {"same"}
    assert len(checked.again) == 7
    assert not checked.failed
    assert said[-1].startswith("7 of 7 run again")


@pytest.mark.parametrize(("part", "count"), [(0.01, 1), (0.3, 2), (0.5, 4), (1.0, 7)])
def test_a_part_of_it_is_run_again(alice: Person, bob: Person, part: float, count: int) -> None:
    """
    A part is at least one task, and as many as the part says.
    """
    checked = shares.check(bob.session, alice.share(study(alice)), rerun=part)

    assert len(checked.again) == count
    assert not checked.failed


def test_a_lie_is_found_by_running_it_again(alice: Person, bob: Person, tmp_path: Path) -> None:
    """
    A receipt that does not come out again is `different`, names the receipt that came, and the check fails. Whom the reader
    trusts is for the reader to change: the check says who signed.
    """
    task = bob.numbers().add(1, 2)
    forger = lie(task, 666, alice.key)
    forger.content = [[forger.file(module_of(bob, task)), "module", 5, "numbers"]]
    checked = shares.check(bob.session, forger.archive(tmp_path / "x.car"), rerun=1.0)

    assert checked.failed
    assert checked.again[task.cid].verdict == "different"
    assert str(answer(task.task, 3).cid) in checked.again[task.cid].told
    assert checked.signed[task.cid] == [alice.key.did]
    assert bob.policy.quarantined == {}


@pytest.mark.parametrize("part", [1.0, 0.5, 0.45, 0.4])
def test_whoever_is_right_is_not_blamed_for_another(bob: Person, tmp_path: Path, part: float) -> None:
    """
    Of a chain only the link that lies is different, also where only the honest one after it was drawn: then what it awaits
    is run again as well.
    """
    numbers = bob.numbers()
    first = numbers.add(1, 2)
    second = numbers.add(first, 10)
    honest, mallory = Key(b"\x01" * 32), Key(b"\x02" * 32)
    lied, true = answer(first.task, 666), answer(second.task, 13)
    forger = Forger().task(first.task, lied, word(mallory, lied.cid, first.cid))
    forger.task(second.task, true, word(honest, true.cid, second.cid))
    forger.content = [[forger.file(module_of(bob, first)), "module", 5, "numbers"]]
    checked = shares.check(bob.session, forger.archive(tmp_path / "x.car"), rerun=part)

    assert checked.failed
    assert checked.again[first.cid].verdict == "different"
    assert second.cid not in checked.again or checked.again[second.cid].verdict == "same"
    assert checked.signed[first.cid] == [mallory.did]


def module_of(bob: Person, task: Handle) -> bytes:
    """Return the bytes of a task's module."""
    module = task.instruction.module
    assert module is not None
    return bob.session.store.read(module)


def test_a_module_that_did_not_come_along_is_told(alice: Person, bob: Person) -> None:
    """
    Without its module a task cannot be run again: it says which is missing, and nobody is called a liar.
    """
    archive = alice.share(study(alice), parts={"input", "output"})
    checked = shares.check(bob.session, archive, rerun=1.0)

    assert {one.verdict for one in checked.again.values()} == {"failed"}
    assert not checked.failed
    assert any("module" in line for line in checked.left)
    assert all(one.told for one in checked.again.values())


def test_a_limit_of_the_reader_is_told(alice: Person, tmp_path: Path) -> None:
    """
    A reader whose machine allows less than a task needs learns that, and nobody is called a liar.
    """
    archive = alice.share(study(alice))
    with Session(tmp_path / "small", limits=Limits(fuel=1)) as session:
        checked = shares.check(session, archive, rerun=1.0)

    assert {one.verdict for one in checked.again.values()} == {"failed"}
    assert {one.told.partition(":")[0] for one in checked.again.values()} == {"the fuel ran out", "not run"}
    assert not checked.failed


def test_large_inputs_and_outputs_are_run_again(alice: Person, bob: Person, component: bytes) -> None:
    """
    Values that are files of two megabytes are met byte by byte.
    """
    typed = alice.session.module(component, "typed")
    filled = typed.fill(2_000_000)
    path = alice.notebook([filled, typed["echo-bytes"](filled)])
    checked = shares.check(bob.session, alice.share(path), rerun=1.0)

    assert [one.verdict for one in checked.again.values()] == ["same", "same"]


def test_the_python_of_a_notebook_is_never_run(alice: Person, bob: Person) -> None:
    """
    Whatever its cells would do, a check does nothing of it.
    """
    numbers = alice.numbers()
    run = alice.session.run([numbers.add(1, 2)]).wait()
    mark = bob.folder / "was-run"
    source = f"open({str(mark)!r}, 'w').write('x')"
    path = alice.folder / "evil.ipynb"
    path.write_bytes(
        notebook(code(source, printed("x")), code("%%ipvm", shown({"text/plain": "3"}, named(run)), ident="b"))
    )
    archive = alice.share(path)
    shares.check(bob.session, archive, rerun=1.0)
    bob.open(archive)

    assert not mark.exists(), WHY


@pytest.mark.parametrize(
    ("text", "part"), [("all", 1.0), ("ALL", 1.0), ("5%", 0.05), ("5", 0.05), (" 100 % ", 1.0), ("0.5%", 0.005)]
)
def test_a_part_is_said_in_percent(text: str, part: float) -> None:
    """
    A part is "all", or percent, with or without the sign.
    """
    assert shares.share_from_text(text) == pytest.approx(part)


@pytest.mark.parametrize("text", ["", "0", "0%", "-5%", "101%", "half", "nan", "inf", "1e9", "5%%"])
def test_what_is_no_part_is_refused(text: str) -> None:
    """
    Anything else is refused in one line that shows how to say it.
    """
    with pytest.raises(BadInput, match="such as 5%"):
        shares.share_from_text(text)


def module_along(bob: Person, forger: Forger, task: Handle) -> Forger:
    """Let a module go along with a share."""
    forger.content.append([forger.file(module_of(bob, task)), "module", 5, "numbers"])
    return forger


def test_nobody_else_is_believed_or_asked(
    bob: Person, alice: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A cache that lies about what a share leaves out makes nothing the same: what a forged task awaits is run from its own
    instruction, which came along, and the forgery is different.
    """
    numbers = bob.numbers()
    first = numbers.add(1, 2)
    second = numbers.add(first, 10)
    lied, forged = answer(first.task, 666), answer(second.task, 676)
    statement = word(alice.key, lied.cid, first.cid)
    cache = FolderCache(str(tmp_path / "cache"), write=True)
    blocks = [lied.block, first.task.invocation.block, statement]
    cache.give(car.parts([lied.cid], [(block.cid, block.data) for block in blocks]), Deadline(10))
    monkeypatch.setenv("IPVM_CACHES", str(tmp_path / "cache"))
    forger = module_along(bob, Forger().task(second.task, forged, word(alice.key, forged.cid, second.cid)), first)
    forger.content.append([forger.put(first.instruction.block), "input", 5, ""])
    checked = shares.check(bob.session, forger.archive(tmp_path / "x.car"), rerun=1.0)

    assert checked.again[second.cid].verdict == "different"


@pytest.mark.parametrize("rsc", ["file://{}", "https://127.0.0.1:9/m.wasm"])
def test_no_file_and_no_place_of_the_reader_is_looked_at(bob: Person, tmp_path: Path, rsc: str) -> None:
    """
    A stranger's task whose module is a file of this machine, or an address, is not run in a check, and says why.
    """
    path = tmp_path / "mine.wasm"
    path.write_bytes(NUMBERS)
    task = Task(run=Instruction(rsc=rsc.format(path), op=WASM_RUN, input={"func": "add", "args": [1, 2]}))
    archive = Forger().task(task, answer(task, 3)).archive(tmp_path / "x.car")
    checked = shares.check(bob.session, archive, rerun=1.0)

    assert checked.again[task.run.cid].verdict == "failed"
    assert "did not come along" in checked.again[task.run.cid].told
    assert checked.unshown == 1


def test_with_everything_run_again_no_receipt_is_believed(bob: Person, tmp_path: Path) -> None:
    """
    Of a chain whose first task cannot be run again the second is not shown either, though its receipt fits the first one's
    lie; of a part, what is not drawn is taken for what it says.
    """
    numbers = bob.numbers()
    stray = Task(
        run=Instruction(rsc=f"ipfs://{file_cid(b'nowhere')}", op=WASM_RUN, input={"func": "add", "args": [1, 2]})
    )
    second = Task(
        run=Instruction(
            rsc=numbers.add(1, 2).instruction.rsc, op=WASM_RUN,
            input={"func": "add", "args": [{"await/ok": stray.run.cid}, 10]},
        )
    )  # fmt: skip
    forger = Forger().task(stray, answer(stray, 666)).task(second, answer(second, 676))
    archive = module_along(bob, forger, numbers.add(1, 2)).archive(tmp_path / "x.car")
    checked = shares.check(bob.session, archive, rerun=1.0)

    assert {one.verdict for one in checked.again.values()} == {"failed"}
    assert checked.unshown == 2
    assert not checked.failed


@pytest.mark.parametrize("own", [None, b"\0asm\x01\0\0\0", b"another module"])
def test_a_build_is_not_done_in_a_check(
    alice: Person, bob: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bytes | None
) -> None:
    """
    No compiler is started for a stranger's source: a build is told as not run. If the reader made it before, the receipt is
    held against that one.
    """
    task = bob.session.build_task("(module)", lang="wat").task
    module = file_cid(b"\0asm\x01\0\0\0")
    archive = Forger().task(task, answer(task, module)).archive(tmp_path / "x.car")
    if own is not None:
        bob.session.admit(task, answer(task, file_cid(own)))
    monkeypatch.setattr(Build, "perform", lambda *_, **__: pytest.fail("a compiler was started"))
    checked = shares.check(bob.session, archive, rerun=1.0)
    part = shares.check(bob.session, archive, rerun=0.5)

    expected = "failed" if own is None else "same" if file_cid(own) == module else "different"
    assert checked.again[task.run.cid].verdict == expected
    assert checked.unshown == (own is None)
    assert ("not sandboxed" in checked.again[task.run.cid].told) == (own is None)
    assert part.again == {}


def test_a_task_that_does_not_end_is_stopped(bob: Person, tmp_path: Path) -> None:
    """
    A task that loops for ever is stopped after the time that the reader gives each, and it is said how to give more; the
    reader's own limits hold besides.
    """
    loop = bob.session.module(b'(module (func (export "f") (result i32) (loop br 0) (i32.const 1)))', "loop").f()
    archive = module_along(bob, Forger().task(loop.task, answer(loop.task, 1)), loop).archive(tmp_path / "x.car")
    checked = shares.check(bob.session, archive, rerun=1.0, seconds=0.05)

    assert checked.again[loop.cid].verdict == "failed"
    assert checked.again[loop.cid].told == "the time ran out: 0.05 s; to give each task more: --time SECONDS"
    with rerunning.scratch(bob.session) as made:
        assert made.limits == Limits(time=60.0, memory=4 << 30)
    with Session(limits=Limits(time=5.0, memory=1000, fuel=9)) as session, rerunning.scratch(session, 600) as made:
        assert made.limits == Limits(time=5.0, memory=1000, fuel=9)


def test_what_a_killed_check_left_is_swept(bob: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The folder of a check that was killed goes with the next one; that of one which is running, of others, or a link, stays.
    """
    place = tmp_path / "temporary"
    for name in ("ipvm-check-killed", "ipvm-check-young", "ipvm-check-old", "other"):
        (place / name).mkdir(parents=True)
        (place / name / "store").write_text("x")
    (place / "ipvm-check-killed" / "lock").touch()
    (place / "ipvm-check-link").symlink_to(place / "other")
    os.utime(place / "ipvm-check-old", (1000, 1000))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with rerunning.folder() as running, rerunning.folder() as other:
        left = {path.name for path in place.iterdir()}
        assert (running / "lock").exists()

    assert left == {"ipvm-check-young", "ipvm-check-link", "other", running.name, other.name}
    assert (place / "other" / "store").exists()


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "long", "1e12"])
def test_a_time_is_said_in_seconds(text: str) -> None:
    """
    How long a task may run is a number of seconds; anything else is refused in one line that shows how to say it.
    """
    assert shares.seconds_from_text("600") == shares.seconds_from_text(" 600s") == 600.0
    with pytest.raises(BadInput, match="such as 600"):
        shares.seconds_from_text(text)


# --- Whose word ---


def test_a_word_that_does_not_hold_is_told_as_such(bob: Person, tmp_path: Path) -> None:
    """
    Who signed is named together with why their word does not hold now: expired, revoked, put aside. One that holds is enough.
    """
    task = bob.numbers().add(1, 2)
    receipt = answer(task.task, 3)
    keys = [Key(bytes([number]) * 32) for number in (1, 2, 3, 4)]
    said = [
        word(keys[0], receipt.cid, task.cid, now=1000, ends=2000),
        word(keys[0], receipt.cid, task.cid),
        word(keys[1], receipt.cid, task.cid, now=1000, ends=2000),
        word(keys[2], receipt.cid, task.cid),
        word(keys[3], receipt.cid, task.cid),
    ]
    bob.policy.revoke(said[3].cid)
    bob.policy.quarantine(keys[3].did, "lied")
    archive = Forger().task(task.task, receipt, *said).archive(tmp_path / "x.car")
    for what in (archive, bob.load(archive).root):
        checked = shares.check(bob.session, what)
        assert checked.signed == {task.cid: [key.did for key in keys]}
        assert checked.lapsed == {
            task.cid: {keys[1].did: "expired", keys[2].did: "revoked", keys[3].did: "in quarantine"}
        }


@pytest.mark.parametrize(("values", "broken"), [((3, 3), False), ((3, 666), True)])
def test_an_archive_that_answers_a_task_twice(
    bob: Person, tmp_path: Path, values: tuple[int, int], broken: bool
) -> None:
    """
    Two receipts of one task in an archive that is no share are both looked at: if they differ, that is told with both.
    """
    task = bob.numbers().add(1, 2)
    receipts = [
        Receipt(ran=task.task.invocation.cid, out=Outcome("ok", value), meta={"op": "add", "n": number})
        for number, value in enumerate(values)
    ]
    path = tmp_path / "x.car"
    with path.open("wb") as file:
        blocks = [task.task.invocation.block, *(receipt.block for receipt in receipts)]
        car.write(file, [receipts[0].cid], [(block.cid, block.data) for block in blocks])
    checked = shares.check(bob.session, path)

    assert checked.failed == broken
    assert all(str(receipt.cid) in checked.cells[0].broken[task.cid] for receipt in receipts) if broken else True


# --- Two of them ---


def test_two_shares_are_compared_by_receipts(alice: Person, bob: Person) -> None:
    """
    Equal tasks are counted, others are named; a notebook, an archive and a CID are compared with each other.
    """
    numbers = alice.numbers()
    first = alice.notebook([numbers.add(1, 2), numbers.add(3, 4)], name="first.ipynb")
    second = alice.notebook([numbers.add(1, 2), numbers.add(5, 6)], name="second.ipynb")
    archives = [alice.share(first), alice.share(second)]
    bob.load(archives[1])
    root = car.Archive(archives[1].read_bytes()).roots[0]
    for one, other in ((archives[0], archives[1]), (first, second), (archives[0], root)):
        found = shares.compare(bob.session, one, other)
        assert (found.equal, len(found.changed), len(found.gone), len(found.new)) == (1, 0, 1, 1)
        assert not all(cell.same for cell in found.cells)


def test_a_share_is_equal_to_itself(alice: Person, bob: Person) -> None:
    """
    Nothing is found where nothing differs, and nothing is brought in by comparing archives.
    """
    archive = alice.share(study(alice))
    before = bob.held()
    found = shares.compare(bob.session, archive, archive)

    assert (found.equal, found.changed, found.gone, found.new) == (7, {}, {}, {})
    assert all(cell.same for cell in found.cells)
    assert bob.held() == before


def test_two_answers_to_one_task_are_named(bob: Person, tmp_path: Path) -> None:
    """
    Where two shares disagree both receipts are named.
    """
    task = bob.numbers().add(1, 2)
    paths = [lie(task, value, None).archive(tmp_path / f"{value}.car") for value in (3, 666)]
    found = shares.compare(bob.session, *paths)

    assert found.changed == {task.cid: (answer(task.task, 3).cid, answer(task.task, 666).cid)}


@pytest.mark.parametrize("kind", ["no share", "no roots", "a receipt"])
def test_what_is_no_notebook_is_not_compared(alice: Person, bob: Person, kind: str) -> None:
    """
    An archive of something else is refused in one line, on either side.
    """
    good = alice.share(study(alice))
    task = alice.numbers().add(1, 2)
    other: Any = alice.folder / "x.car"
    receipt = answer(task.task, 3)
    with other.open("wb") as file:
        car.write(file, [receipt.cid] if kind == "no share" else [], [(receipt.cid, receipt.block.data)])
    if kind == "a receipt":
        other = alice.share(task.cid) if task.result() else None
    for pair in ((good, other), (other, good)):
        with pytest.raises(IpvmError) as caught:
            shares.compare(bob.session, *pair)
        assert "\n" not in caught.value.message


def test_a_cid_that_nobody_has_is_told(bob: Person) -> None:
    """
    A check of a CID says where it was looked for, and what to ask the sender.
    """
    with pytest.raises(NotFound, match="sender"):
        shares.check(bob.session, CID.of(b"\xa0"))
