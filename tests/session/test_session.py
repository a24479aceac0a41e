from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel import CID, Session
from ipvm_kernel.errors import BadCID, BadInput, BadModule, NotFound, Unencodable
from ipvm_kernel.session import caps_from_environment, defaults, home_folder
from tests.guests import NUMBERS, ROOMY

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.session import Module


# --- what is given to a session ---------------------------------------------------------------------------------------


def test_modules_from_anywhere(session: Session, tmp_path: Path) -> None:
    """
    A module is given by its bytes, a path, its CID or an address; it is the same module.
    """
    (tmp_path / "numbers.wat").write_bytes(NUMBERS)
    module = session.module(NUMBERS)
    cid = CID.parse(repr(module).rpartition(" ")[2].rstrip(">"))

    for source in (tmp_path / "numbers.wat", str(tmp_path / "numbers.wat"), cid, str(cid), f"ipfs://{cid}"):
        assert session.module(source).add_one(1) == module.add_one(1)
    assert repr(session.module(tmp_path / "numbers.wat")).startswith("<module numbers: core module, 8 functions, 673 B")
    assert session.module(session.file(tmp_path / "numbers.wat")).add_one(1).result() == 2


def test_modules_that_are_none(session: Session, tmp_path: Path) -> None:
    """
    What is no module, is not there or has no CID is refused in one line.
    """
    with pytest.raises(NotFound, match=r"no module at .*absent\.wasm: .* working directory"):
        session.module(tmp_path / "absent.wasm")
    with pytest.raises(BadModule):
        session.module(b"(module (nonsense))")
    with pytest.raises(BadModule):
        session.module(b"\x00asm\x01\x00\x00\x00broken")
    with pytest.raises(BadCID, match="expected a CID in 'ipfs://nonsense'"):
        session.module("ipfs://nonsense")
    with pytest.raises(NotFound):
        session.module(CID.of(b"nowhere", "raw", "sha2-256"))


def test_files(session: Session, tmp_path: Path) -> None:
    """
    A file is a link to its bytes, hashed now: a file replaced by one of the same size and date is another link.
    """
    path = tmp_path / "data"
    path.write_bytes(b"a" * 100_000)
    os.utime(path, (1000, 1000))
    first = session.file(path)
    path.write_bytes(b"b" * 100_000)
    os.utime(path, (1000, 1000))
    second = session.file(path)

    assert first != second
    assert session.load(first.cid) == b"a" * 100_000
    assert (second.name, second.size) == ("data", 100_000)
    with pytest.raises(NotFound, match="no file at"):
        session.file(tmp_path / "absent")
    with pytest.raises(NotFound, match="no regular file"):
        session.file(tmp_path)
    with pytest.raises(NotFound, match="no regular file"):
        session.file("/dev/zero")


def test_values(session: Session) -> None:
    """
    A value is put as a link: bytes as a file, anything else that IPLD has as a block.
    """
    assert session.load(session.put(b"abc").cid) == b"abc"
    assert session.load(session.put(bytearray(b"abc")).cid) == b"abc"
    assert session.load(session.put({"a": [1, None]}).cid) == {"a": [1, None]}
    with pytest.raises(Unencodable):
        session.put(object())


def test_a_value_by_its_link(session: Session, typed: Module) -> None:
    """
    A link to a value is that value where it is an argument.
    """
    assert typed.total(session.put([1, 2, 3])).result() == 6
    assert typed.maybe(session.put(5)).result() == 5


# --- two sessions -----------------------------------------------------------------------------------------------------


def test_two_sessions_share_a_store(tmp_path: Path) -> None:
    """
    What one session ran, another replays, at once and for ever; modules, files and receipts are common.
    """
    with Session(tmp_path / "store") as one, Session(tmp_path / "store") as other:
        handle = one.module(NUMBERS).add_one(1)
        assert handle.result() == 2
        assert other.handle(handle.cid).result() == 2
        assert other.run(other.module(NUMBERS).add_one(1)).wait().counts == {"replayed": 1}
        assert other.module(f"ipfs://{handle.instruction.module}").add_one(5).result() == 6
        assert one.module(NUMBERS).add_one(5).done()
    with Session(tmp_path / "store") as third:
        assert third.run(third.module(NUMBERS).add_one(1)).wait().counts == {"replayed": 1}


def test_forgetting(tmp_path: Path) -> None:
    """
    What is forgotten runs again.
    """
    with Session(tmp_path / "store") as session:
        handle = session.module(NUMBERS).add_one(1)
        handle.result()

        assert session.forget([handle.cid]) == 1
        assert handle.receipt is None
        assert session.run(handle).wait().counts == {"computed": 1}
        assert session.forget([session.module(NUMBERS).add_one(77).cid]) == 0


def test_a_replay_needs_no_engine(tmp_path: Path) -> None:
    """
    A session that only replays never imports wasmtime.
    """
    with Session(tmp_path / "store") as session:
        handle = session.module(NUMBERS).add_one(session.module(NUMBERS).add_one(1))
        handle.result()
        path = handle.workflow.save(tmp_path / "workflow.json")
    program = """
import sys
from ipvm_kernel import Session, Workflow

with Session(sys.argv[1]) as session:
    run = session.run(Workflow.load(sys.argv[2])).wait()
    print(run.counts, "wasmtime" in sys.modules, "numpy" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "store"), str(path)], capture_output=True, text=True, check=True
    )

    assert done.stdout == "{'replayed': 2} False False\n"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork(tmp_path: Path) -> None:
    """
    The child of a process that has used a session can use it too: what it runs is there for its parent.
    """
    with Session(tmp_path / "store") as session:
        module = session.module(NUMBERS)
        assert module.add_one(1).result() == 2
        child = os.fork()
        if not child:
            failed = 1
            try:
                assert session.run([module.add_one(1), module.add_one(2)]).wait().counts == {
                    "replayed": 1,
                    "computed": 1,
                }
                session.close()
                failed = 0
            finally:
                os._exit(failed)

        assert os.waitpid(child, 0)[1] == 0
        assert session.run(module.add_one(2)).wait().counts == {"replayed": 1}
        assert module.add_one(3).result() == 4


# --- what is said -----------------------------------------------------------------------------------------------------


def test_the_tally(session: Session, numbers: Module, typed: Module) -> None:
    """
    The tally counts what happened since it was last taken, for the line under a cell.
    """
    numbers.add_one(1).result()
    _ = session.run([numbers.add_one(1), numbers.trap(1), numbers.add_one(numbers.trap(1))]).wait()

    tally = session.take_tally()
    assert tally.counts == {"computed": 1, "replayed": 1, "failed": 1, "blocked": 1}
    assert tally.receipts[str(numbers.add_one(1).cid)] == str(numbers.add_one(1).receipt.cid)  # type: ignore[union-attr]
    assert len(tally.workflows) == 1
    assert session.take_tally().counts == {}


def test_a_session_shows_where_it_is(session: Session, tmp_path: Path) -> None:
    """
    A session shows its store.
    """
    assert repr(session) == "<Session on memory>"
    with Session(tmp_path / "store") as other:
        assert repr(other) == f"<Session on {tmp_path / 'store'}>"


# --- the default session ----------------------------------------------------------------------------------------------


def test_where_home_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    The default session lives in `$IPVM_HOME`, or where the platform keeps a user's data.
    """
    monkeypatch.setenv("IPVM_HOME", str(tmp_path / "home"))
    assert home_folder() == tmp_path / "home"
    monkeypatch.delenv("IPVM_HOME")
    assert home_folder().name == "ipvm"


def test_the_default_session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """
    There is one default session, opened when it is first asked for.
    """
    monkeypatch.setenv("IPVM_HOME", str(tmp_path / "home"))
    defaults.set_default(None)
    try:
        assert defaults.current() is None
        assert defaults.default() is defaults.default() is defaults.current()
        assert defaults.default().store.where == str(tmp_path / "home")
        defaults.default().close()
    finally:
        defaults.set_default(None)


def test_limits_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A hub sets limits in the environment; what is no number is refused by name.
    """
    monkeypatch.setenv("IPVM_MAX_FUEL", "1e6")
    monkeypatch.setenv("IPVM_MAX_MEMORY", "1 MiB")
    monkeypatch.setenv("IPVM_MAX_TIME", "2.5")
    caps = caps_from_environment()

    assert (caps.fuel, caps.memory, caps.time) == (1_000_000, 1 << 20, 2.5)
    with Session(limits=caps) as session:
        assert session.module(ROOMY).roomy().result() == 7
    monkeypatch.setenv("IPVM_MAX_TIME", "soon")
    with pytest.raises(BadInput, match="IPVM_MAX_TIME"):
        caps_from_environment()
