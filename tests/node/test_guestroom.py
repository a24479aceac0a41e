"""What is secret is not there for guests: neither itself, nor what came of it, by whatever way they ask."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import NotFound
from ipvm_kernel.ipld import CID, Block, encode
from ipvm_kernel.node.guestroom import GuestRoom, Screened
from ipvm_kernel.session import Session, shares
from ipvm_kernel.store import MemoryStore
from ipvm_kernel.testing.samples import filing, task
from tests.guests import component, componentized
from tests.node.guesting import GUEST, owning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipvm_kernel.handles import Handle
    from ipvm_kernel.session import Module
    from tests.node.guesting import Owned

__all__ = ["component"]

pytestmark = pytest.mark.peer("wasm-tools")

SECRET = b"the combination is 12345"
OPEN = b"what anybody may read"


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Owned]:
    """
    A node whose owner has a secret, and something that is none.
    """
    with owning(tmp_path / "home") as made:
        session = made.node.session
        shares.secret(session, session.put(SECRET).cid, "safe")
        session.put(OPEN)
        yield made


@pytest.fixture
def typed(owned: Owned, component: bytes) -> Module:
    """
    Functions of bytes and text.
    """
    return owned.node.session.module(component, "typed")


def of(data: bytes) -> CID:
    """Return the CID of some bytes."""
    return CID.of(data, "raw", "sha2-256")


def told(owned: Owned, handle: Handle) -> list[Any]:
    """Return what a guest hears of a pipeline: how each task ended, and what came of it."""
    workflow = handle.workflow
    with owned.guest(workflow) as peer:
        peer.run(workflow)
        found = [peer.next(timeout=30) for _ in workflow.tasks]
    return [(notice["how"], notice["receipt"]["out"]) for notice in found]


def file(session: Session, data: bytes) -> Any:
    """Return a link to bytes, whether they are here or not."""
    from ipvm_kernel.handles import File

    return File(of(data), "", len(data))


def test_what_is_no_secret_is_read(owned: Owned, typed: Module) -> None:
    """
    Who knows the CID of something in the store has it read by a task: that is what naming it means.
    """
    assert told(owned, typed["echo-bytes"](file(owned.node.session, OPEN))) == [("computed", ["ok", OPEN])]


def test_a_secret_is_answered_as_what_was_never_here(owned: Owned, typed: Module) -> None:
    """
    A guest that names the secret, or guessed it, hears what it hears of bytes that nobody has: not even that it is here.
    """
    [(how, out)] = told(owned, typed["echo-bytes"](file(owned.node.session, SECRET)))
    [(other_how, other)] = told(owned, typed["echo-bytes"](file(owned.node.session, b"nobody has this")))

    assert how == other_how == "failed"
    assert out[1]["kind"] == "missing"
    assert out[1]["message"].replace(str(of(SECRET)), "X") == other[1]["message"].replace(
        str(of(b"nobody has this")), "X"
    )
    assert SECRET not in str(out).encode()


def test_what_came_of_a_secret_is_not_replayed(owned: Owned, typed: Module) -> None:
    """
    The owner computed it, and gets it from file; a guest that writes the same task down does not.
    """
    echo = typed["echo-bytes"](file(owned.node.session, SECRET))
    later = typed["echo-bytes"](echo)
    later.result()
    found = told(owned, later)

    assert owned.node.session.count_known([echo.cid, later.cid]) == 2
    assert [how for how, _ in found] == ["failed", "blocked"]
    assert "12345" not in str(found)


_NAMING = """
package test:naming;

world naming { export name: func() -> string; }
"""


def naming(folder: Path, cid: CID) -> bytes:
    """Return a module whose function gives the text of a CID."""
    text = str(cid)
    core = f"""
    (module
      (memory (export "memory") 1)
      (data (i32.const 64) "{text}")
      (data (i32.const 16) "\\40\\00\\00\\00\\{len(text):02x}\\00\\00\\00")
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
      (func (export "name") (result i32) (i32.const 16)))
    """
    return componentized(folder, _NAMING, core.encode())


@pytest.mark.parametrize("before", [False, True])
def test_a_link_that_a_task_makes_up_opens_no_secret(
    owned: Owned, typed: Module, tmp_path: Path, *, before: bool
) -> None:
    """
    A module of the guest's gives the CID of the secret as text, which is a link on the wire; the next task asks for its
    bytes. What is not secret comes that way; the secret does not, nor the outcome that the owner has of the same.
    """
    session = owned.node.session
    echo = typed["echo-bytes"]
    if before:
        assert bytes(echo(file(session, SECRET)).result()) == SECRET
    got = {}
    for data in (OPEN, SECRET):
        name = session.module(naming(tmp_path, of(data)), "naming").name()
        got[data] = told(owned, echo(name))

    assert [how for how, _ in got[OPEN]] == ["computed", "computed"]
    assert got[OPEN][1][1] == ["ok", OPEN]
    assert [how for how, _ in got[SECRET]] == ["computed", "failed"]
    assert "12345" not in str(got[SECRET])


def test_a_value_with_the_link_in_it_opens_no_secret(owned: Owned, typed: Module) -> None:
    """
    A block of the guest's that holds the link is no way round either.
    """
    session = owned.node.session
    value = session.put([of(SECRET)])
    [(how, out)] = told(owned, typed["echo-bytes"](value))

    assert how == "failed"
    assert SECRET not in str(out).encode()


def test_a_secret_cut_in_another_way_is_the_same_secret(owned: Owned, typed: Module) -> None:
    """
    Under the CID that its author's cut gave it, a secret is not there either, nor is it said what it is called here.
    """
    session = owned.node.session
    other = of(b"as if it were the root of another cut")
    session.store.pin(f"ipfs://{other}", of(SECRET))
    from ipvm_kernel.handles import File

    [(how, out)] = told(owned, typed["echo-bytes"](File(other, "", 10)))

    assert (how, out[1]["kind"]) == ("failed", "missing")
    assert str(of(SECRET)) not in str(out)


def test_a_secret_module_is_not_run(owned: Owned, component: bytes) -> None:
    """
    A module that is marked is not there for guests, although the owner has just run it.
    """
    session = owned.node.session
    typed = session.module(component, "typed")
    typed.twice(4).result()
    shares.secret(session, typed._cid, "module")
    [(how, out)] = told(owned, typed.twice(5))

    assert (how, out[1]["kind"]) == ("failed", "missing")


def test_what_is_marked_now_is_hidden_from_the_next_run(owned: Owned, typed: Module) -> None:
    """
    The mark holds at once for the runs that begin after it, and goes with the pin.
    """
    session = owned.node.session
    link = file(session, OPEN)
    first = told(owned, typed["echo-bytes"](link))
    shares.secret(session, of(OPEN), "open")
    second = told(owned, typed["echo-bytes"](link))
    session.store.unpin("secret/open")
    third = told(owned, typed["echo-bytes"](link))

    assert [found[0][0] for found in (first, second, third)] == ["computed", "failed", "replayed"]


def test_an_outcome_of_a_secret_is_not_shared() -> None:
    """
    An equal task under another instruction does not get the outcome, even if the owner made it a moment ago.
    """
    store = MemoryStore()
    one, other = filing(task(of(SECRET))), filing(task(2))
    screened = Screened(store)
    assert not screened.hides(one.task.run.cid)
    store.pin("secret/safe", of(SECRET))
    store.file(one)
    store.file(other)
    assert one.key is not None
    assert other.key is not None

    assert screened.outcome(one.key) is None
    assert screened.outcome(other.key) is not None
    assert screened.outcome(b"?" * 32) is None
    assert list(screened.on_file([one.task.run.cid, other.task.run.cid])) == [other.task.run.cid]
    assert screened.receipts_of(one.task.run.cid) == []


def test_what_read_the_secret_through_a_value_is_not_there() -> None:
    """
    A task whose argument is a value that links to the secret came of it too: no receipt of it, and no outcome, is for guests.
    """
    store = MemoryStore()
    data = encode({"inside": [of(SECRET)]})
    value = store.put(Block(CID.of(data), data))
    one = filing(task(value))
    store.pin("secret/safe", of(SECRET))
    store.file(one)
    screened = Screened(store)
    assert one.key is not None

    assert screened.on_file([one.task.run.cid]) == {}
    assert screened.outcome(one.key) is None
    assert screened.size(value) is None
    assert store.on_file([one.task.run.cid])


def test_a_screened_store_is_the_store_without_what_is_hidden() -> None:
    """
    Blocks, files, sizes and pins of what is hidden are not there; everything else is, and what is put goes to the store.
    """
    store = MemoryStore()
    hidden, seen = store.put_file(SECRET, "input"), store.put_file(OPEN, "input")
    store.pin("secret/safe", hidden)
    store.pin("mine", seen)
    screened = Screened(store)

    for look in (screened.get, screened.read, screened.open):
        with pytest.raises(NotFound):
            look(hidden)
        assert look(seen)
    assert (screened.size(hidden), screened.size(seen)) == (None, len(OPEN))
    assert screened.pins() == {"mine": seen}
    assert store.size(screened.put_file(b"new", "value")) == 3


def test_a_run_of_a_guest_is_a_run(owned: Owned) -> None:
    """
    It can be waited for and cancelled as any, its answers are those of the owner's session, and the room closes twice.
    """
    room = GuestRoom(owned.node.session)
    m = owned.node.numbers
    done = room.run(m.add_one(1).workflow, name="one", did=GUEST.did).wait(10)
    spinning = room.run(m.spin(1).workflow, name="two", did=GUEST.did)
    spinning.start()
    deadline = time.monotonic() + 10
    while spinning.counts.get("running") != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    spinning.cancel()
    assert spinning.wait(10) is spinning
    room.close()
    room.close()

    assert [receipt.value for receipt in done.receipts] == [2]
    assert owned.node.session.count_known([m.add_one(1).cid]) == 1
    assert spinning.counts == {"cancelled": 1}
