"""Resources: what a task needs comes from wherever it is, is what it should be, or the task says why not."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BadCID, BadInput, Cancelled, IpvmError, LimitExceeded, Mismatch, NotFound
from ipvm_kernel.exchange.resources import Resources
from ipvm_kernel.exchange.settings import KUBO, Settings, from_environment
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.ipld.unixfs import CHUNK_BYTES, file_cid
from ipvm_kernel.model import Instruction, Task, Workflow
from ipvm_kernel.session import Session
from ipvm_kernel.store import MemoryStore
from ipvm_kernel.wasm.stop import Stop
from tests.exchange.fakes import Fake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ipvm_kernel.exchange.asking import Fetching
    from tests.daemons import Kubo
    from tests.exchange.fakes import Mood

WAT = b'(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))'
PICTURE = b"".join(bytes([n]) * CHUNK_BYTES for n in range(4))  # four leaves


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def address(fake: Fake) -> Iterator[str]:
    with fake.running() as found:
        yield found


@pytest.fixture
def nowhere() -> str:
    """
    An address where nobody listens.
    """
    with Fake().running() as found:
        pass
    return found


def resources(**settings: Any) -> Resources:
    return Resources(MemoryStore(), Settings(**settings, pause=0.01))


def task(rsc: str, *args: Any) -> Task:
    return Task(run=Instruction(rsc=rsc, op="wasm/run", input={"func": "add", "args": list(args)}))


# --- In good weather ---


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 4 * CHUNK_BYTES, 10 << 20])
def test_a_file_of_any_size(fake: Fake, address: str, size: int) -> None:
    """
    A file comes from Kubo block by block, is what its CID names, and is not fetched again.
    """
    data = os.urandom(size)
    cid = fake.add(data)
    here = resources(kubo=address)

    assert here.fetch(cid) == cid
    assert here.read(cid) == data
    count = len(fake.asked)
    assert here.fetch(cid) == cid
    assert len(fake.asked) == count


def test_a_value(fake: Fake, address: str) -> None:
    """
    A link to a value brings its block.
    """
    block = Block.of({"a": [1, b"x"]})
    fake.blocks[str(block.cid)] = block.data
    here = resources(kubo=address)

    assert here.fetch(block.cid) == block.cid
    assert here._store.get(block.cid) == block


def test_a_gateway_by_its_own_protocol(fake: Fake, address: str) -> None:
    """
    A gateway is asked for blocks and archives, which can be checked, and never for a file as such.
    """
    cid = fake.add(PICTURE)
    fake.archives = True
    here = resources(gateway=address)
    here.fetch(cid)

    assert here.read(cid) == PICTURE
    assert [headers["Accept"] for headers in fake.headers] == [
        "application/vnd.ipld.raw",
        "application/vnd.ipld.car; version=1; order=dfs; dups=n",
    ]


def test_a_portals_page_for_a_block(fake: Fake, address: str) -> None:
    """
    The page that a hotel's portal shows instead of a block is dropped, and nothing of it is kept.
    """
    cid = file_cid(b"x")
    fake.pages[f"/ipfs/{cid}"] = (200, {"Content-Type": "text/html"}, b"<!doctype html><title>Welcome</title>")
    here = resources(gateway=address)

    with pytest.raises(Mismatch, match="sent other bytes"):
        here.fetch(cid)
    assert list(here._store.cids()) == []


def test_a_gateway_that_sends_elsewhere(fake: Fake, address: str) -> None:
    """
    A gateway that redirects is not followed, and is told from one that lies.
    """
    cid = file_cid(b"x")
    fake.pages[f"/ipfs/{cid}"] = (301, {"Location": f"http://{cid}.ipfs.localhost/"}, b"")

    with pytest.raises(NotFound, match="sends elsewhere"):
        resources(gateway=address).fetch(cid)


def test_a_file_that_was_cut_in_another_way(fake: Fake, address: str) -> None:
    """
    A file whose author cut it in another way than we do is kept, under a CID of its own, and is found by the one it has.
    """
    from ipvm_kernel.ipld.bases import to_varint

    leaves = [Block.raw(PICTURE[:1000]), Block.raw(PICTURE[1000:3000])]

    def sized(data: bytes) -> bytes:
        return to_varint(len(data)) + data

    links = b"".join(
        b"\x12" + sized(b"\x0a" + sized(leaf.cid.bytes) + b"\x12\x00\x18" + to_varint(len(leaf.data)))
        for leaf in leaves
    )
    sizes = b"".join(b"\x20" + to_varint(len(leaf.data)) for leaf in leaves)
    root = links + b"\x0a" + sized(b"\x08\x02\x18" + to_varint(3000) + sizes)
    cid = CID.of(root, "dag-pb", "sha2-256")
    fake.blocks |= {str(leaf.cid): leaf.data for leaf in leaves} | {str(cid): root}
    here = resources(kubo=address)

    assert here.fetch(cid) == file_cid(PICTURE[:3000]) != cid
    assert here.read(cid) == PICTURE[:3000]
    assert here.has(cid)
    assert here.fetch(cid) == file_cid(PICTURE[:3000])


def test_a_module_that_was_cut_in_another_way(fake: Fake, address: str) -> None:
    """
    A module by a version 0 CID, as `ipfs add` gives one, runs like any other.
    """
    from ipvm_kernel.ipld.bases import to_varint

    about = b"\x08\x02\x12" + to_varint(len(WAT)) + WAT + b"\x18" + to_varint(len(WAT))
    root = b"\x0a" + to_varint(len(about)) + about
    cid = CID.from_bytes(CID.of(root, "dag-pb", "sha2-256").bytes[2:])
    fake.blocks[str(cid)] = root
    with Session(None) as session:
        resources_of(session, address)

        assert str(cid).startswith("Qm")
        assert [r.value for r in session.run(Workflow(tasks=(task(f"ipfs://{cid}", 2, 3),))).wait().receipts] == [5]
        assert session.module(cid).add(2, 4).result() == 6
        assert session.module(f"https://ipfs.io/ipfs/{cid}").add(2, 5).result() == 7
    assert fake.asked == [str(cid)]


@pytest.mark.peer("kubo")
def test_the_real_kubo(kubo: Kubo) -> None:
    """
    A file that was added to a real Kubo comes from it, and what it does not have is said in a moment.
    """
    data = os.urandom(600_000)
    cid = CID.parse(kubo.add_file(data))
    here = resources(kubo=f"http://127.0.0.1:{kubo.port}", seconds=10)

    assert here.fetch(cid) == cid
    assert here.read(cid) == data
    with pytest.raises(NotFound, match=r"does not have it|nobody answered|not done in"):
        Resources(MemoryStore(), Settings(kubo=f"http://127.0.0.1:{kubo.port}", seconds=3)).fetch(file_cid(b"nowhere"))


def folder(fake: Fake, entries: dict[str, CID]) -> CID:
    """
    Have a folder, and return its CID.
    """
    from ipvm_kernel.ipld.bases import to_varint

    def sized(data: bytes) -> bytes:
        return to_varint(len(data)) + data

    links = [b"\x0a" + sized(cid.bytes) + b"\x12" + sized(name.encode()) + b"\x18\x00" for name, cid in entries.items()]
    data = b"".join(b"\x12" + sized(link) for link in links) + b"\x0a\x02\x08\x01"
    cid = CID.of(data, "dag-pb", "sha2-256")
    fake.blocks[str(cid)] = data
    return cid


def test_a_file_in_a_folder(fake: Fake, address: str) -> None:
    """
    A module by a path in a folder is found, folder by folder, each checked; and from then on it is here.
    """
    inner = folder(fake, {"add one.wat": fake.add(WAT), "other": fake.add(b"x")})
    root = folder(fake, {"modules": inner})
    with Session(None) as session:
        resources_of(session, address)
        for form in ("ipfs://{}/modules/add%20one.wat", "https://ipfs.io/ipfs/{}/modules/add%20one.wat"):
            run = session.run(Workflow(tasks=(task(form.format(root), 1, 2),))).wait()
            assert [receipt.value for receipt in run.receipts] == [3]
        assert fake.asked.count(str(file_cid(WAT))) == 1
        fake.asked.clear()
        assert session.module(f"ipfs://{root}/modules/add%20one.wat").add(3, 4).result() == 7
        with pytest.raises(NotFound, match="has no 'absent'"):
            session.module(f"ipfs://{root}/modules/absent")
        with pytest.raises(BadInput, match="Expected a folder, found a file"):
            session.module(f"ipfs://{root}/modules/other/more")
    assert str(file_cid(WAT)) not in fake.asked


@pytest.mark.peer("kubo")
def test_a_folder_of_the_real_kubo(kubo: Kubo) -> None:
    """
    A folder that a real Kubo made is read like ours.
    """
    import json

    answer = kubo.rpc("add", body=WAT, cid_version=1, raw_leaves=True, wrap_with_directory=True)
    *_, root = [json.loads(line)["Hash"] for line in answer.splitlines()]
    here = resources(kubo=f"http://127.0.0.1:{kubo.port}", seconds=10)

    assert here.obtain(f"ipfs://{root}/data", "module") == file_cid(WAT)
    assert here.read(file_cid(WAT)) == WAT


# --- Tasks ---

ADDRESSES = [
    "ipfs://{}",
    "{}",
    "https://ipfs.io/ipfs/{}",
    "https://{}.ipfs.dweb.link/",
    "http://localhost:8080/ipfs/{}",
]


@pytest.mark.parametrize("form", ADDRESSES)
def test_a_module_by_any_address(fake: Fake, address: str, form: str) -> None:
    """
    A workflow names its module by `ipfs://`, a CID or the URL of a gateway; its bytes come from Kubo, and not from there.
    """
    rsc = form.format(fake.add(WAT))
    with Session(None) as session:
        resources_of(session, address)
        run = session.run(Workflow(tasks=(task(rsc, 1, 2),))).wait()

        assert [receipt.value for receipt in run.receipts] == [3]
        assert session.store.get(task(rsc, 1, 2).run.cid) == task(rsc, 1, 2).run.block


def resources_of(session: Session, address: str = "", **settings: Any) -> Resources:
    """
    Let a session fetch from an address.
    """
    session.resources._settings = Settings(kubo=address, **settings)
    return session.resources


def test_one_module_by_two_addresses_runs_once(fake: Fake, address: str) -> None:
    """
    Tasks that differ in how they write the address of one module share an outcome, each with a receipt of its own.
    """
    cid = fake.add(WAT)
    ones = [task(form.format(cid), 20, 22) for form in ADDRESSES]
    with Session(None) as session:
        resources_of(session, address)
        runs = [session.run(Workflow(tasks=(one,))).wait() for one in ones]

        assert [answer.how for run in runs for answer in run] == ["computed", *["replayed"] * 4]
        assert len({receipt.cid for run in runs for receipt in run.receipts}) == 5


@pytest.mark.peer("wasm-tools")
def test_links_among_the_arguments(fake: Fake, address: str, component: bytes) -> None:
    """
    A link among the arguments is fetched before the task runs; a task that is on file fetches nothing, wherever it is.
    """
    picture, module = fake.add(PICTURE), fake.add(component)
    run = Instruction(rsc=f"ipfs://{module}", op="wasm/run", input={"func": "echo-bytes", "args": [picture]})
    workflow = Workflow(tasks=(Task(run=run),))
    with Session(None) as session:
        resources_of(session, address)
        (receipt,) = session.run(workflow).wait().receipts
        assert receipt.value == PICTURE

        receipts = {run.cid: receipt}
        with Session(None) as other:
            resources_of(other, address)
            other.admit(Task(run=run), receipts[run.cid])
            fake.asked.clear()
            assert [answer.how for answer in other.run(workflow).wait()] == ["replayed"]
    assert fake.asked == []


def test_one_fetch_for_many(fake: Fake, address: str) -> None:
    """
    Tasks that run side by side and need the same module fetch it once.
    """
    cid = fake.add(WAT)
    fake.mood = "slow"
    with Session(None) as session:
        resources_of(session, address)
        run = session.run(Workflow(tasks=tuple(task(f"ipfs://{cid}", n, n) for n in range(8)))).wait()

        assert len(run.receipts) == 8
        assert run.failures == []
    assert fake.asked == [str(cid)]


def test_others_go_on(fake: Fake, address: str) -> None:
    """
    Tasks whose module is here do not wait for one whose module never comes; that one ends, with the reason.
    """
    fake.mood = "silent"
    with Session(None) as session:
        resources_of(session, address, seconds=1.0)
        here = session.module(WAT).add(1, 2)
        absent = task(f"ipfs://{file_cid(b'absent')}", 1)
        began = time.monotonic()
        took = {}
        for answer in session.run(Workflow(tasks=(absent, here.task))):
            took[answer.instruction] = (answer, time.monotonic() - began)

        assert took[here.cid][0].how == "computed"
        failed = took[absent.run.cid][0]
        assert failed.how == "failed"
        assert failed.receipt is not None
        assert not failed.filed
        assert isinstance(failed.receipt.error, dict)
        assert failed.receipt.error["kind"] == "missing"
        assert "was not fetched" in str(failed.receipt.error["message"])


def test_stopped(fake: Fake, address: str) -> None:
    """
    A run that waits for a server that says nothing ends as soon as it is cancelled.
    """
    fake.mood = "silent"
    with Session(None) as session:
        resources_of(session, address)
        run = session.run(Workflow(tasks=(task(f"ipfs://{file_cid(b'absent')}", 1),)))
        threading.Timer(0.2, run.cancel).start()
        began = time.monotonic()

        assert [answer.how for answer in run] == ["cancelled"]
        assert time.monotonic() - began < 5


# --- In bad weather (rows 38 and 39 of the list of ways to fail) ---


def test_nobody_listens(nowhere: str) -> None:
    """
    A Kubo that is not there is said at once, and by name.
    """
    began = time.monotonic()

    with pytest.raises(NotFound, match=rf"Kubo at {nowhere} \(does not answer.*doctor"):
        resources(kubo=nowhere).fetch(file_cid(b"x"))
    assert time.monotonic() - began < 5


def test_nobody_may_be_asked() -> None:
    """
    Where nothing is configured, the message says what can be.
    """
    with pytest.raises(NotFound, match="IPVM_KUBO_API, IPVM_GATEWAY"):
        resources().fetch(file_cid(b"x"))


PASSING: list[Mood] = ["busy", "gone", "dying", "garbage"]


@pytest.mark.parametrize("mood", PASSING)
def test_it_is_tried_again(fake: Fake, address: str, mood: Mood) -> None:
    """
    A server that is busy, hangs up, breaks off in the middle or talks nonsense is asked again, and what is there is kept.
    """
    cid = fake.add(PICTURE)
    fake.mood, fake.failing = mood, 2
    here = resources(kubo=address)
    here.fetch(cid)

    assert here.read(cid) == PICTURE
    assert fake.asked.count(str(cid)) == 3


FAILING: dict[Mood, type[IpvmError]] = {
    "busy": NotFound,
    "gone": NotFound,
    "dying": NotFound,
    "garbage": NotFound,
    "silent": NotFound,
    "zipped": NotFound,
    "lying": Mismatch,
    "huge": NotFound,
}


@pytest.mark.parametrize("mood", FAILING)
def test_it_ends_and_keeps_nothing(fake: Fake, address: str, mood: Mood) -> None:
    """
    Whatever a server does, a fetch ends in its time with one printable line that names the server, and nothing is kept.
    """
    cid = fake.add(PICTURE)
    fake.mood = mood
    here = resources(kubo=address, seconds=1)
    began = time.monotonic()

    with pytest.raises(FAILING[mood]) as caught:
        here.fetch(cid)
    assert time.monotonic() - began < 5
    assert caught.value.message.isprintable()
    assert str(cid) in caught.value.message
    assert list(here._store.cids()) == []
    assert here._store.pins() == {}


@pytest.mark.parametrize("mood", FAILING)
def test_the_next_one_is_asked(fake: Fake, address: str, mood: Mood) -> None:
    """
    Where Kubo is ill, lies or says nothing, the gateway gives what is asked for, in the time that there is.
    """
    cid = fake.add(PICTURE)
    fake.mood = mood
    well = Fake()
    well.add(PICTURE)
    with well.running() as gateway:
        here = resources(kubo=address, gateway=gateway, seconds=2)
        here.fetch(cid)

    assert here.read(cid) == PICTURE
    assert well.asked


def test_blocks_that_are_there_stay(fake: Fake, address: str) -> None:
    """
    A Kubo that dies between two blocks of a file costs nothing that had come: the gateway gives the rest.
    """
    cid = fake.add(PICTURE)
    leaves = [name for name in fake.blocks if name != str(cid)]
    for name in leaves[2:]:
        del fake.blocks[name]
    well = Fake()
    well.add(PICTURE)
    with well.running() as gateway:
        here = resources(kubo=address, gateway=gateway, seconds=5)
        here.fetch(cid)

    assert here.read(cid) == PICTURE
    assert str(cid) not in well.asked


def test_slow_is_not_too_slow(fake: Fake, address: str) -> None:
    """
    A server that gives a byte now and then is not waited for beyond the deadline.
    """
    cid = fake.add(os.urandom(5000))
    fake.mood = "slow"
    began = time.monotonic()

    with pytest.raises(NotFound):
        resources(kubo=address, seconds=1).fetch(cid)
    assert time.monotonic() - began < 5


def test_a_file_that_is_too_large(fake: Fake, address: str) -> None:
    """
    A file above the limit is refused when its root says so, before its content comes.
    """
    cid = fake.add(PICTURE)

    with pytest.raises(LimitExceeded, match="1,048,576"):
        resources(kubo=address, max_bytes=1_000_000).fetch(cid)
    assert fake.asked == [str(cid)]


def test_a_folder(fake: Fake, address: str) -> None:
    """
    A folder is no content, and is refused by that name.
    """
    data = b"\x0a\x02\x08\x01"  # an empty UnixFS folder
    cid = CID.of(data, "dag-pb", "sha2-256")
    fake.blocks[str(cid)] = data

    with pytest.raises(BadInput, match="found a folder"):
        resources(kubo=address).fetch(cid)


def test_the_fetch_is_watched(fake: Fake, address: str) -> None:
    """
    Whoever watches sees how many bytes are there, and who gives them.
    """
    cid = fake.add(PICTURE)
    seen: list[tuple[int, str]] = []

    def watch(told: Fetching) -> None:
        seen.append((told.done, told.source))

    here = resources(kubo=address)
    here.watch = watch
    here.fetch(cid)

    counts = [count for count, _ in seen]
    assert counts == sorted(counts)
    assert counts[-1] >= len(PICTURE)
    assert {source for _, source in seen} == {f"Kubo at {address}"}
    assert here.fetching == []


def test_stopping_one_leaves_the_other(fake: Fake, address: str) -> None:
    """
    Of two who wait for one fetch, the one who is stopped goes, and the other gets it.
    """
    cid = fake.add(os.urandom(30))
    fake.mood = "slow"
    here = resources(kubo=address)
    got: list[CID] = []
    other = threading.Thread(target=lambda: got.append(here.fetch(cid)))
    other.start()
    while not here.fetching:
        time.sleep(0.01)
    assert [told.name for told in here.fetching] == [str(cid)]
    stop = Stop()
    threading.Timer(0.1, stop.interrupt).start()

    with pytest.raises(Cancelled):
        here.fetch(cid, "input", stop)
    other.join()
    assert got == [cid]
    assert fake.asked == [str(cid)]


# --- Settings ---


def test_settings_from_the_environment(tmp_path: Path) -> None:
    """
    The environment says where content may come from; a running Kubo says itself where it is; and `off` is off.
    """
    repo = tmp_path / "repo"
    repo.mkdir()
    base = {"IPFS_PATH": str(repo)}

    assert from_environment(base) == Settings(kubo=KUBO)
    (repo / "api").write_text("/ip4/127.0.0.1/tcp/5011\n")
    assert from_environment(base).kubo == "http://127.0.0.1:5011"
    (repo / "api").write_text("/ip6/::1/tcp/5012")
    assert from_environment(base).kubo == "http://[::1]:5012"
    assert from_environment({**base, "IPVM_KUBO_API": "off"}).kubo == ""
    named = {**base, "IPFS_API": "/ip4/10.0.0.8/tcp/5003/https"}
    assert from_environment(named).kubo == "https://10.0.0.8:5003"
    assert from_environment({**named, "IPFS_API": "http://kubo.lab:5004/"}).kubo == "http://kubo.lab:5004"
    assert from_environment({**named, "IPVM_KUBO_API": "off"}).kubo == ""
    assert from_environment({**named, "IPVM_KUBO_API": "/dns/kubo.lab/tcp/5005"}).kubo == "http://kubo.lab:5005"
    found = from_environment(
        {
            "IPVM_KUBO_API": "http://10.0.0.7:5001/",
            "IPVM_GATEWAY": "https://trustless-gateway.link",
            "IPVM_FETCH_SECONDS": "5",
            "IPVM_FETCH_BYTES": "1e6",
        }
    )
    assert found == Settings("http://10.0.0.7:5001", "https://trustless-gateway.link", 5.0, 1_000_000)


BAD_SETTINGS = [
    ("IPVM_KUBO_API", "ftp://x"), ("IPFS_API", "/ip4/127.0.0.1/udp/4001/quic-v1"), ("IPFS_API", "/ip4/::1/tcp/5001 x"), ("IPVM_KUBO_API", "nonsense"), ("IPVM_GATEWAY", "http://[::1"), ("IPVM_FETCH_SECONDS", "soon"),
    ("IPVM_FETCH_BYTES", "-1"), ("IPVM_FETCH_SECONDS", "inf"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_SETTINGS)
def test_bad_settings(name: str, value: str) -> None:
    """
    A setting that is not what it should be is named, with what was expected.
    """
    with pytest.raises(BadInput, match=f"{name}.*expected"):
        from_environment({name: value})


# --- Addresses that are none ---

NO_ADDRESSES = [
    "ipns://docs.ipfs.tech", "https://ipfs.io/ipns/docs.ipfs.tech", "https://docs-ipfs-tech.ipns.dweb.link/",
    "ipfs://bafkqabiaaebagba?x", "https://ipfs.io/ipfs/bafkqabiaaebagba/../x", "data:application/wasm;base64,AA",
    "http://example.com/x.wasm", "https://user:secret@example.com/x.wasm", "https:///x", "file://server/x.wasm", "ftp://x/y",
    "https://[::1", "https://x:99999/", "javascript:alert(1)",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_ADDRESSES)
def test_what_cannot_be_an_address(text: str) -> None:
    """
    An address that cannot be fetched is refused in one line that says what to write, and no password is repeated.
    """
    with pytest.raises(BadInput, match="expected") as caught:
        resources().obtain(text)
    assert "secret" not in caught.value.message


def test_no_cid() -> None:
    """
    An address with something else where its CID should be says so.
    """
    with pytest.raises(BadCID, match="expected a CID in"):
        resources().obtain("https://ipfs.io/ipfs/nonsense")
