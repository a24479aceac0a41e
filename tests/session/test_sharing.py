"""Sharing: what leaves is what was listed, all that it needs, nothing that is secret, and the same each time."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadInput, IpvmError, NotAllowed, NotFound
from ipvm_kernel.ipld import CID, car
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.session import Session, shares
from ipvm_kernel.session.arriving import is_here
from ipvm_kernel.store.layered import opened
from ipvm_kernel.store.sqlite import SqliteStore
from tests.guests import NUMBERS
from tests.sharing.forger import lie
from tests.sharing.people import Person, named, people
from tests.sharing.samples import code, notebook, shown

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.handles import Handle
    from ipvm_kernel.session import Module

OTHER = b'(module (func (export "triple") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3))))'


def study(numbers: Module) -> list[Handle]:
    """Return the tasks of a small study."""
    first = numbers.add(1, 2)
    return [first, numbers.add(first, 4), *numbers.add.map(range(5), first)]


def root_of(archive: Path) -> CID:
    """Return what an archive is about."""
    return car.Archive(archive.read_bytes()).roots[0]


# --- One CID ---


def test_sharing_twice_gives_one_cid(alice: Person) -> None:
    """
    The same notebook with the same receipts is the same share, byte by byte, also in another session.
    """
    path = alice.notebook(study(alice.numbers()))
    first = alice.share(path).read_bytes()
    second = alice.share(path).read_bytes()
    alice.session.close()
    with people(alice.folder.parent, "alice") as (again,):
        third = again.share(path).read_bytes()

    assert first == second == third


def test_an_opened_notebook_is_shared_as_what_it_was(alice: Person, bob: Person) -> None:
    """
    A reader who shares what they opened shares the same notebook; what the author signed goes along, beside their own word.
    """
    archive = alice.share(alice.notebook(study(alice.numbers())))
    bob.policy.trust_key(alice.key.did)
    again = bob.share(bob.open(archive))
    (one, other) = (shares.share_of(p.session, root_of(a)) for p, a in ((alice, archive), (bob, again)))

    assert one.share.about == other.share.about
    assert {r[:2] for r in one.receipts} == {r[:2] for r in other.receipts}
    assert set(one.statements) == set(other.statements)


def test_what_is_not_admitted_is_not_passed_on(alice: Person, bob: Person, tmp_path: Path) -> None:
    """
    Nobody spreads what they do not use themselves: it is named, and stays.
    """
    bob.load(alice.share(alice.notebook(study(alice.numbers()))))
    task = bob.numbers().add(1, 2)
    path = tmp_path / "x.ipynb"
    path.write_bytes((tmp_path / "alice" / "study.ipynb").read_bytes())
    offer = shares.prepare(bob.session, path)

    assert offer.bundle.receipts == {}
    assert len(offer.bundle.missing) == 7
    assert all("not admitted" in line for line in offer.bundle.missing)
    with pytest.raises(NotFound, match="run it first"):
        shares.prepare(bob.session, task.cid)


def test_nothing_of_the_authors_machine_leaves(alice: Person) -> None:
    """
    No path, host or user is in an archive.
    """
    data = alice.share(alice.notebook(study(alice.numbers()))).read_bytes()

    assert str(alice.folder).encode() not in data
    assert alice.folder.parent.name.encode() not in data
    for name in (socket.gethostname(), getpass.getuser()):
        assert len(name) < 6 or name.encode() not in data  # a short one may be a part of any word


# --- All that it needs ---


def test_an_archive_alone_is_enough(
    alice: Person, bob: Person, component: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Modules, inputs, outputs, files beside the notebook, workflows and statements: who loads the archive lacks nothing.
    """
    (alice.folder / "data").mkdir()
    (alice.folder / "data" / "bytes.bin").write_bytes(b"\x05" * 300_000)
    typed = alice.session.module(component, "typed")
    monkeypatch.chdir(alice.folder)
    echoed = typed["echo-bytes"](alice.session.file("data/bytes.bin"))
    archive = alice.share(alice.notebook([echoed, typed.fill(2_000_000)], study(alice.numbers())))
    arrival = bob.load(archive)

    assert arrival.absent == []
    assert is_here(bob.session, arrival.root)
    assert bob.open(archive).parent.joinpath("data/bytes.bin").read_bytes() == b"\x05" * 300_000
    bob.policy.trust_key(alice.key.did)
    again = bob.session.module(component, "typed")
    assert bob.run(
        again["echo-bytes"](bob.session.file(bob.folder / "opened/data/bytes.bin")), again.fill(2_000_000)
    ) == {"replayed": 2}
    assert bob.ran() == 0


def test_what_an_output_awaits_goes_along(alice: Person, bob: Person) -> None:
    """
    A notebook that names the end of a chain takes the whole chain along.
    """
    numbers = alice.numbers()
    chain = [numbers.add(1, 1)]
    for _ in range(20):
        chain.append(numbers.add(chain[-1], 1))
    alice.run(*chain)
    run = alice.session.run([chain[-1]]).wait()
    last = {str(chain[-1].cid): str(run.receipt_cids[chain[-1].cid])}
    path = alice.folder / "end.ipynb"
    about = {"ipvm": {"cell": "", "workflows": [], "receipts": last}}
    path.write_bytes(notebook(code("%%ipvm", shown({"text/plain": "22"}, about))))

    assert len(bob.load(alice.share(path)).receipts) == 21


@pytest.mark.parametrize(
    ("parts", "went"),
    [
        ({"module", "input", "output", "file"}, {"module", "input", "output"}),
        ({"module"}, {"module"}),
        ({"input", "output"}, {"input", "output"}),
        (set(), set()),
    ],
)
def test_parts_of_the_content_are_chosen(alice: Person, component: bytes, parts: set[Any], went: set[str]) -> None:
    """
    `--with` takes the parts that it names; what stays is named with its size, and what a reader then lacks is known there.
    """
    typed = alice.session.module(component, "typed")
    path = alice.notebook([typed["echo-bytes"](b"\x01" * 300_000), typed.fill(1_200_000)])
    offer = shares.prepare(alice.session, path, parts=parts)
    everything = shares.prepare(alice.session, path)

    assert {one.part for one in offer.bundle.content.values()} == went
    assert {**offer.bundle.content, **offer.bundle.left}.keys() == everything.bundle.content.keys()
    assert everything.bundle.left == {}


def test_what_is_too_large_is_left_out_and_named(alice: Person, bob: Person, component: bytes) -> None:
    """
    Above the limit an input or output stays, by name and size; a module never does; the reader learns what is missing.
    """
    typed = alice.session.module(component, "typed")
    path = alice.notebook([typed.fill(2_000_000)])
    offer = shares.prepare(alice.session, path, most=1_999_999)
    arrival = bob.load(alice.share(path, most=1_999_999))

    assert [(one.part, one.size) for one in offer.bundle.left.values()] == [("output", 2_000_000)]
    assert {one.part for one in offer.bundle.content.values()} == {"module"}
    assert arrival.opened is not None
    assert [one.size for one in arrival.opened.left if one.part == "output"] == [2_000_000]
    assert shares.prepare(alice.session, path, most=2_000_000).bundle.left == {}


def test_what_has_no_receipt_is_named(alice: Person) -> None:
    """
    Tasks that were never run here, or were forgotten, go without a receipt, with what to do.
    """
    task = alice.numbers().add(1, 2)
    path = alice.notebook([task])
    alice.session.forget([task.cid])
    offer = shares.prepare(alice.session, path)

    assert offer.bundle.receipts == {}
    assert len(offer.bundle.missing) == 1
    assert offer.bundle.missing[0].endswith("run its cell")


def test_more_receipts_than_a_page_or_an_output_names(alice: Person, bob: Person) -> None:
    """
    A notebook of 1,001 tasks is shared, opened, checked and replayed like any other: its lists go on another page, and what
    the output has no room to name is found by its workflow.
    """
    path = alice.notebook([*alice.numbers().add.map(range(1_001), 1)])
    archive = alice.share(path)
    arrival = bob.load(archive)
    bob.open(archive)
    checked = shares.check(bob.session, archive)
    bob.policy.trust_key(alice.key.did)

    assert arrival.opened is not None
    assert len(arrival.opened.share.receipts) == 2
    assert len(checked.receipts) == 1_001
    assert not checked.failed
    assert bob.run(*bob.numbers().add.map(range(1_001), 1)) == {"replayed": 1_001}


# --- Other things than notebooks ---


def test_a_workflow_a_receipt_and_a_task_are_shared(alice: Person, bob: Person) -> None:
    """
    Whatever names tasks can be shared; a reader who trusts its signer runs nothing.
    """
    tasks = study(alice.numbers())
    run = alice.session.run(tasks).wait()
    receipt = run.receipt_cids[tasks[1].cid]
    for what, count in ((run.workflow.cid, 7), (receipt, 2), (tasks[1].cid, 2), (tasks[0].cid, 1)):
        arrival = bob.load(alice.share(what))
        assert len(arrival.receipts) == count
        assert arrival.opened is not None
        assert arrival.opened.share.kind == ("workflow" if what == run.workflow.cid else "receipt")
    bob.policy.trust_key(alice.key.did)

    assert bob.run(*study(bob.numbers())) == {"replayed": 7}


def test_what_is_no_such_thing_is_refused(alice: Person) -> None:
    """
    A file, a value or a CID that is not here is refused in one line.
    """
    file = alice.session.store.put_file(b"data", "input")
    value = alice.session.put({"a": 1}).cid
    for what, error in ((file, BadInput), (value, BadInput), (CID.of(b"\xa0\xa0"), NotFound)):
        with pytest.raises(error) as caught:
            shares.prepare(alice.session, what)
        assert "\n" not in caught.value.message


# --- Signatures ---


def test_only_what_was_made_here_is_signed(alice: Person, bob: Person, tmp_path: Path) -> None:
    """
    A user's key vouches for what was worked out here from the beginning; of others it passes on what those signed. What was
    worked out from their answers goes unsigned, until those were worked out here too.
    """
    bob.load(alice.share(alice.notebook(study(alice.numbers()))))
    bob.policy.trust_key(alice.key.did)
    numbers = bob.numbers()
    mine = numbers.add(study(numbers)[1], 100)
    before = signers(bob.share(bob.notebook([mine])), tmp_path / "before")
    assert bob.session.run([mine], rerun=True).wait().progress.ended == 3
    after = signers(bob.share(bob.notebook([mine])), tmp_path / "after")

    assert before[mine.cid] == []
    assert [dids for cid, dids in before.items() if cid != mine.cid] == [[alice.key.did]] * 2
    assert after[mine.cid] == [bob.key.did]
    assert [set(dids) for cid, dids in after.items() if cid != mine.cid] == [{alice.key.did, bob.key.did}] * 2


def signers(archive: Path, home: Path) -> dict[CID, list[str]]:
    """Return who signed each receipt of an archive."""
    with people(home, "carol") as (carol,):
        arrival = carol.load(archive)
        return {
            one.instruction: [said.made.issuer for said in arrival.signed.get(one.receipt, ())]
            for one in arrival.receipts
        }


def test_what_a_layer_lent_is_not_signed(alice: Person, bob: Person) -> None:
    """
    A reader of a prepared store shares what it answered, and signs what was worked out here alone: in a share, in a cache.
    """
    first, *_ = study(alice.numbers())
    alice.run(first)
    alice.session.close()
    home = alice.folder / "home"
    for path in [*home.rglob("*"), home]:
        path.chmod(path.stat().st_mode & ~0o222)
    bob.session.close()
    with Session(opened(SqliteStore(bob.folder / "home"), str(home))) as session:
        numbers = session.module(NUMBERS, "numbers")
        lent, mine = numbers.add(1, 2), numbers.add(numbers.add(1, 2), 4)
        assert session.run([lent, mine]).wait().progress.counts == {"replayed": 1, "computed": 1}
        key = shares.identity(session, create=True)
        assert key is not None
        shelved = shares.shelved(session)
        found = list(shelved.look([lent.cid, mine.cid]))
        served = shelved.statements(found)
        offer = shares.prepare(session, mine.cid)
        shares.seal(session, offer)
        statements = session.admission.statements.about([one.receipt for one in offer.bundle.receipts.values()])

    receipt = offer.bundle.receipts[mine.cid].receipt
    assert {one.instruction for one in found} == offer.bundle.receipts.keys() == {lent.cid, mine.cid}
    assert {cid: [made.issuer for made in signed] for cid, signed in statements.items()} == {receipt: [key.did]}
    assert len(served) == offer.statements == 1


def test_a_share_may_go_unsigned(alice: Person, bob: Person) -> None:
    """
    Who says so signs nothing, and no key is made.
    """
    arrival = bob.load(alice.share(alice.notebook(study(alice.numbers())), signed=False))

    assert arrival.signed == {}
    assert shares.identity(alice.session) is None


# --- What stays ---


def test_a_listing_changes_nothing(alice: Person) -> None:
    """
    To look at what would leave writes nothing and signs nothing.
    """
    path = alice.notebook(study(alice.numbers()))
    before = alice.held()
    offer = shares.prepare(alice.session, path)

    assert len(offer.bundle.receipts) == 7
    assert shares.identity(alice.session) is None
    assert alice.held() == before


@pytest.mark.parametrize("way", ["directly", "chain", "map", "module", "value"])
def test_what_came_of_a_secret_does_not_leave(alice: Person, way: str) -> None:
    """
    A secret, and all that came of it, through a chain, a map, as an argument or as the module itself: nothing is shared, and
    the tasks are named.
    """
    numbers = alice.numbers()
    first = numbers.add(20_26, 11)
    tasks = {
        "directly": [first],
        "chain": [numbers.add(numbers.add(first, 1), 1)],
        "map": [*numbers.add.map(range(3), first)],
        "module": [alice.session.module(OTHER, "other").triple(5)],
        "value": [numbers.add(1, 2), first],
    }[way]
    path = alice.notebook([first], tasks)
    secret = file_cid(OTHER) if way == "module" else first.cid
    label = shares.secret(alice.session, secret, "salaries")
    with pytest.raises(NotAllowed) as caught:
        shares.prepare(alice.session, path)

    assert "came of a secret" in caught.value.message
    assert ("triple (" if way == "module" else "add (") in caught.value.message
    assert "\n" not in caught.value.message
    alice.session.store.unpin(label)
    assert shares.prepare(alice.session, path).bundle.receipts


def test_a_secret_file_taints_what_reads_it(alice: Person, component: bytes) -> None:
    """
    What was worked out of a secret file is as secret as the file.
    """
    typed = alice.session.module(component, "typed")
    data = alice.session.put(b"\x01" * 100_000)
    echoed = typed["echo-bytes"](data)
    path = alice.notebook([typed["echo-bytes"](echoed)])
    shares.secret(alice.session, data.cid, "data")
    with pytest.raises(NotAllowed, match="echo-bytes"):
        shares.prepare(alice.session, path)
    for what in (echoed.cid, alice.session.run([echoed]).wait().receipt_cids[echoed.cid]):
        with pytest.raises(NotAllowed):
            shares.prepare(alice.session, what)


def test_a_share_is_taken_back(alice: Person, component: bytes) -> None:
    """
    What a share needs survives the making of room while it is shared, and may go once it was taken back.
    """
    typed = alice.session.module(component, "typed")
    archive = alice.share(alice.notebook([typed.fill(2_000_000)]))
    root = root_of(archive)
    value = file_cid(b"\x07" * 2_000_000)
    kept: Any = alice.session.store
    kept.gc()
    during = kept.size(value)
    shares.write_archive(alice.session, root, alice.folder / "again.car")
    names = shares.undo(alice.session, root)
    kept.gc()

    assert during == 2_000_000
    assert (alice.folder / "again.car").read_bytes() == archive.read_bytes()
    assert len(names) == 1
    assert kept.size(value) is None
    assert shares.undo(alice.session, root) == []


def test_what_was_dropped_since_is_told(alice: Person, component: bytes) -> None:
    """
    An archive of a share whose parts are not here any more is not written, not even in part.
    """
    typed = alice.session.module(component, "typed")
    root = root_of(alice.share(alice.notebook([typed.fill(2_000_000)])))
    shares.undo(alice.session, root)
    kept: Any = alice.session.store
    kept.gc()
    with pytest.raises(NotFound):
        shares.write_archive(alice.session, root, alice.folder / "again.car")

    assert not [path for path in alice.folder.iterdir() if "again" in path.name]


def test_a_folder_that_cannot_be_written_is_told(alice: Person) -> None:
    """
    An archive that cannot be written says so in one line.
    """
    root = root_of(alice.share(alice.notebook(study(alice.numbers()))))
    with pytest.raises(BadInput, match="cannot be written") as caught:
        shares.write_archive(alice.session, root, alice.folder / "nowhere" / "x.car")

    assert "\n" not in caught.value.message


def test_a_share_is_forgotten(alice: Person, bob: Person) -> None:
    """
    `forget` takes what came with a share off file: receipts of others go, those made here stay.
    """
    archive = alice.share(alice.notebook(study(alice.numbers())))
    bob.load(archive)
    tasks = study(bob.numbers())
    bob.run(tasks[0])
    count = shares.forget(bob.session, root_of(archive))

    assert count == 6
    assert bob.session.why(tasks[0]).verdict == "hit"
    assert bob.session.why(tasks[1]).reasons[-1] == "what was forgotten is run again"
    assert not any(name.startswith("share/") for name in bob.session.store.pins())


def test_a_name_that_two_shares_have_is_told_with_both(alice: Person) -> None:
    """
    A share is found by its name, and if several have it their CIDs are listed.
    """
    first = root_of(alice.share(alice.notebook(study(alice.numbers()))))
    assert shares.share_named(alice.session, "study.ipynb") == first
    second = root_of(alice.share(alice.notebook([alice.numbers().add(9, 9)])))
    with pytest.raises(NotFound) as caught:
        shares.share_named(alice.session, "study.ipynb")

    assert str(first) in caught.value.message
    assert str(second) in caught.value.message


def test_a_lie_that_is_trusted_is_signed_by_nobody_here(bob: Person, tmp_path: Path) -> None:
    """
    What came from elsewhere is never signed with one's own key, whoever trusts it.
    """
    task = bob.numbers().add(1, 2)
    bob.load(lie(task, 666, None).archive(tmp_path / "x.car"), trust=True)
    run = bob.session.run([task]).wait()
    path = bob.folder / "x.ipynb"
    path.write_bytes(notebook(code("%%ipvm", shown({"text/plain": "666"}, named(run)))))
    offer = shares.prepare(bob.session, path)
    shares.seal(bob.session, offer)

    assert len(offer.bundle.receipts) == 1
    assert offer.statements == 0


def test_a_path_that_is_no_notebook_is_told(alice: Person) -> None:
    """
    What cannot be read as a notebook is refused in one line.
    """
    path = alice.folder / "x.ipynb"
    path.write_text("no notebook")
    with pytest.raises(IpvmError) as caught:
        shares.prepare(alice.session, path)

    assert "\n" not in caught.value.message
