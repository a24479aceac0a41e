"""Shares of strangers that contradict themselves, trick or flood: refused whole, or what can be used of them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from ipvm_kernel.errors import BadInput, IpvmError, Malformed, NotFound
from ipvm_kernel.ipld import CID, Block
from ipvm_kernel.session import shares
from ipvm_kernel.session.arriving import is_here
from tests.sharing.forger import Forger, answer, named
from tests.sharing.samples import notebook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sharing.people import Person


ELSEWHERE: Final = Block.of("is not in the archive").cid
BYTES: Final = CID.of(b"is not in the archive either", "raw", "sha2-256")
EVIL: Final = "\x1b]0;pwned\x07\u202e<img src=x onerror=alert(1)>\n"


def receipt_of_nothing(bob: Person, **fields: Any) -> Forger:
    """Return a share of a receipt, well formed but for some fields that are taken away or added."""
    task = bob.numbers().add(1, 2).task
    value = answer(task, 3).to_ipld() | fields
    return Forger().task(task, Block.of({name: item for name, item in value.items() if item is not ...}))


def other_invocation(bob: Person) -> Forger:
    numbers = bob.numbers()
    one, other = numbers.add(1, 2).task, numbers.add(3, 4).task
    return Forger().listed(one.run.cid, answer(other, 7).block, invocation=other.invocation.block)


def loose_invocation(bob: Person) -> Forger:
    """Return a receipt of an invocation that names its task by other bytes, which do have that CID."""
    task = bob.numbers().add(1, 2).task
    data = task.invocation.block.data.replace(b"\x64meta\xa0", b"\x64meta\xbf\xff")
    made = named(data)
    return Forger().listed(task.run.cid, Block.of(answer(task, 3).to_ipld() | {"ran": made.cid}), invocation=made)


def loose_receipt(bob: Person) -> Forger:
    task = bob.numbers().add(1, 2).task
    data = answer(task, 3).block.data.replace(b"\x82\x62ok\x03", b"\x82\x62ok\x18\x03")
    return Forger().task(task, named(data))


def twice_a_key(bob: Person) -> Forger:
    task = bob.numbers().add(1, 2).task
    data = answer(task, 3).block.data
    return Forger().task(task, named(b"\xa6" + data[1:] + b"\x63out\x82\x62ok\x19\x02\x9a"))


def in_another_codec(codec: str, by: str = "sha3-256", *, ran: bool = False) -> Callable[[Person], Forger]:
    """Return a share whose receipt, or invocation, has its right bytes under a CID of another codec or hash."""

    def made(bob: Person) -> Forger:
        task = bob.numbers().add(1, 2).task
        honest = answer(task, 3)
        if not ran:
            return Forger().task(task, named(honest.block.data, codec, by))
        invocation = named(task.invocation.block.data, codec, by)
        receipt = Block.of(honest.to_ipld() | {"ran": invocation.cid})
        return Forger().listed(task.run.cid, receipt, invocation=invocation)

    return made


def identity(bob: Person) -> Forger:
    """Return a share that lists a receipt which is its own CID."""
    task = bob.numbers().add(1, 2).task
    made = Forger().task(task, answer(task, 3))
    made.receipts[0][1] = CID.from_bytes(b"\x01\x71\x00\x01\xa0")
    return made


def listed(*entries: Any) -> Callable[[Person], Forger]:
    def made(bob: Person) -> Forger:
        forger = Forger()
        forger.receipts = list(entries)
        return forger

    return made


def content(*entries: Any) -> Callable[[Person], Forger]:
    def made(bob: Person) -> Forger:
        forger = Forger()
        forger.content = list(entries)
        return forger

    return made


def fields(**more: Any) -> Callable[[Person], Forger]:
    def made(bob: Person) -> Forger:
        forger = Forger()
        forger.fields.update(more)
        return forger

    return made


def paged(name: str, *pages: Any) -> Callable[[Person], Forger]:
    """Return a share one of whose lists has other pages."""

    def made(bob: Person) -> Forger:
        forger = Forger()
        blocks = [page if isinstance(page, CID) else forger.put(Block.of(page)) for page in pages]
        forger.fields[name] = blocks
        if name in {"receipts", "content", "statements"}:
            forger.root = lambda **more: Forger.root(forger, **{name: blocks, **more})  # type: ignore[method-assign]
        return forger

    return made


def many_pages(bob: Person) -> Forger:
    forger = Forger()
    page = forger.put(Block.of([[ELSEWHERE, ELSEWHERE, 0]]))
    forger.root = lambda **more: Forger.root(forger, receipts=[page] * 40_000, **more)  # type: ignore[method-assign]
    return forger


def lying_file(bob: Person) -> Forger:
    """Return a share of a file whose node says other sizes than its leaves have."""
    forger = Forger()
    data = b"x" * 600_000
    root = forger.file(data)
    wrong = named(forger.blocks[root].replace(b"\x20\x80\x80\x10", b"\x20\x81\x80\x10", 1), "dag-pb", "sha2-256")
    forger.content = [[forger.put(wrong), "input", len(data), "x"]]
    return forger


def missing_leaf(bob: Person) -> Forger:
    forger = Forger()
    root = forger.file(b"x" * 600_000)
    forger.content = [[root, "input", 600_000, "x"]]
    leaf = next(cid for cid, data in forger.blocks.items() if data == b"x" * 262_144)
    del forger.blocks[leaf]
    return forger


def folder_as_input(bob: Person) -> Forger:
    forger = Forger()
    folder = forger.put(Block(CID.of(b"\x0a\x02\x08\x01", "dag-pb", "sha2-256"), b"\x0a\x02\x08\x01"))
    forger.content = [[folder, "input", 4, "folder"]]
    return forger


HOSTILE: Final[dict[str, tuple[Callable[[Person], Forger], type[IpvmError], str]]] = {
    # What a share is
    "another version": (fields(ipvm="share/2"), Malformed, "Upgrade with"),
    "a version of no number": (fields(ipvm="share/" + EVIL), Malformed, "another version"),
    "no version": (fields(ipvm="share/"), Malformed, "another version"),
    "another kind": (fields(kind="program"), Malformed, "kind"),
    "a field too many": (fields(run="rm -rf ~"), Malformed, "run"),
    "a field too few": (fields(about=...), Malformed, "about"),
    "a name of bytes": (fields(name=b"study.ipynb"), Malformed, "name"),
    "a notebook that is text": (fields(about="study.ipynb"), Malformed, "about"),
    "a notebook that is not there": (fields(about=BYTES), NotFound, str(BYTES)),
    "files that are text": (fields(files={"data.csv": "1,2"}), Malformed, "files"),
    "a file that is not there": (fields(files={"data.csv": BYTES}), NotFound, str(BYTES)),
    "an environment of links": (fields(environment={"python": BYTES}), Malformed, "environment"),
    "workflows that are not there": (fields(workflows=[ELSEWHERE]), NotFound, str(ELSEWHERE)),
    # Pages
    "a page that is not there": (paged("receipts", ELSEWHERE), NotFound, str(ELSEWHERE)),
    "a page that is a map": (paged("receipts", {"0": [ELSEWHERE, ELSEWHERE, 0]}), Malformed, "page"),
    "an empty page": (paged("content", []), Malformed, "1 to 1,000"),
    "a page of 1,001": (paged("receipts", [[ELSEWHERE, ELSEWHERE, 0]] * 1001), Malformed, "1 to 1,000"),
    "a page of pages": (paged("receipts", [[[ELSEWHERE, ELSEWHERE, 0]]]), Malformed, "entry"),
    "a page that lists itself": (paged("receipts", [ELSEWHERE]), Malformed, "entry"),
    "a page of text": (paged("statements", ["did:key:z6Mk"]), Malformed, "entry"),
    "40,000 pages": (many_pages, Malformed, "1,000 pages"),
    "a page that is a file": (paged("content", BYTES), NotFound, str(BYTES)),
    # Content
    "content of a negative size": (content([BYTES, "input", -1, ""]), Malformed, "entry"),
    "content of 2^60 bytes": (content([BYTES, "input", 2**60, ""]), Malformed, "entry"),
    "content that is true": (content([BYTES, "input", True, ""]), Malformed, "entry"),
    "content of an unknown part": (content([BYTES, "program", 5, ""]), Malformed, "entry"),
    "content with a long name": (content([BYTES, "input", 5, "x" * 1001]), Malformed, "entry"),
    "a file that lies about its sizes": (lying_file, Malformed, "bytes of a file"),
    "a file without one of its parts": (missing_leaf, NotFound, "in the archive"),
    "a folder as an input": (folder_as_input, Malformed, "folder"),
    # Receipts
    "a receipt that is not there": (listed([ELSEWHERE, ELSEWHERE, 0]), NotFound, "nothing was taken"),
    "a receipt that took no number": (listed([ELSEWHERE, ELSEWHERE, "5 s"]), Malformed, "entry"),
    "a receipt that took less than nothing": (listed([ELSEWHERE, ELSEWHERE, -1]), Malformed, "entry"),
    "a receipt that is a file": (listed([ELSEWHERE, BYTES, 0]), Malformed, "raw"),
    "a receipt listed under another task": (other_invocation, Malformed, "nothing was taken"),
    "a receipt without its invocation": (
        lambda bob: Forger().listed(bob.numbers().add(1, 2).cid, answer(bob.numbers().add(1, 2).task, 3).block),
        NotFound,
        "invocation",
    ),
    "a receipt with a field too many": (lambda bob: receipt_of_nothing(bob, fx=[]), Malformed, "fx"),
    "a receipt without meta": (lambda bob: receipt_of_nothing(bob, meta=...), Malformed, "all its fields"),
    "a receipt without proofs": (lambda bob: receipt_of_nothing(bob, prf=...), Malformed, "all its fields"),
    "a receipt without an issuer": (lambda bob: receipt_of_nothing(bob, iss=...), Malformed, "all its fields"),
    "a receipt without an outcome": (lambda bob: receipt_of_nothing(bob, out=...), Malformed, "out"),
    "a receipt with half an outcome": (lambda bob: receipt_of_nothing(bob, out=["ok"]), Malformed, "all its fields"),
    "a receipt of a third kind": (lambda bob: receipt_of_nothing(bob, out=["maybe", 3]), Malformed, "out"),
    "a receipt that ran text": (lambda bob: receipt_of_nothing(bob, ran="it"), Malformed, "ran"),
    "a receipt in loose bytes": (loose_receipt, Malformed, "shortest form"),
    "a receipt with a key twice": (twice_a_key, Malformed, "out"),
    "an invocation in loose bytes": (loose_invocation, Malformed, ""),
    "a receipt as raw bytes": (in_another_codec("raw"), Malformed, "found raw"),
    "a receipt as dag-json": (in_another_codec("dag-json"), Malformed, "found dag-json"),
    "a receipt as cbor": (in_another_codec("cbor"), Malformed, "found cbor"),
    "a receipt by another hash": (in_another_codec("dag-cbor", "sha2-512"), Malformed, "sha2-512"),
    "an invocation as raw bytes": (in_another_codec("raw", ran=True), Malformed, "found raw"),
    "an invocation as dag-json": (in_another_codec("dag-json", ran=True), Malformed, "found dag-json"),
    "an invocation by another hash": (in_another_codec("dag-cbor", "sha2-256", ran=True), Malformed, "another"),
    "a receipt that is its own CID": (identity, Malformed, "identity"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("trust", [False, True])
def test_a_hostile_share_is_refused_whole(bob: Person, tmp_path: Path, kind: str, trust: bool) -> None:
    """
    A share that contradicts itself leaves the store as it was, even for who said --trust, and the message says in one line
    what was found.
    """
    make, error, said = HOSTILE[kind]
    archive = make(bob).archive(tmp_path / "hostile.car")
    before = bob.held()
    with pytest.raises(error) as caught:
        bob.load(archive, trust=trust)

    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert bob.held() == before
    with pytest.raises(error):
        shares.check(bob.session, archive)
    assert bob.held() == before


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (b"", "JSON"),
        (b"not a notebook", "JSON"),
        (b"{}", "nbformat"),
        (notebook(nbformat=99), "99"),
        (b"\x00asm\x01\x00\x00\x00", "JSON"),
        (b"[" * 100_000, "deep"),
        (b'{"cells": [' + b"{}," * 200_000 + b"{}]}", ""),
    ],
)
def test_what_is_no_notebook_is_not_opened(bob: Person, tmp_path: Path, about: bytes, said: str) -> None:
    """
    A share of something else is refused where it is opened, and no folder is made.
    """
    archive = Forger(about).archive(tmp_path / "x.car")
    root, _ = shares.arrive(bob.session, archive)
    with pytest.raises(IpvmError) as caught:
        shares.write_notebook(bob.session, root, bob.folder / "opened")

    assert said in caught.value.message
    assert not (bob.folder / "opened").exists()
    with pytest.raises(IpvmError):
        shares.check(bob.session, archive)


@pytest.mark.parametrize("kind", ["workflow", "receipt"])
def test_a_share_of_no_notebook_says_how_it_is_seen(bob: Person, tmp_path: Path, kind: str) -> None:
    """
    `open` is for notebooks; what else was shared is here by then, and shown.
    """
    root, _ = shares.arrive(bob.session, Forger().archive(tmp_path / "x.car", kind=kind))
    with pytest.raises(BadInput, match="ipvm show"):
        shares.write_notebook(bob.session, root, bob.folder / "opened")


SKIPPED: Final = [
    "../x.csv", "/etc/x.csv", "a/../../x.csv", "~/x.csv/..", "CON", "nul.csv", "a\\b.csv", "C:\\x.csv", "C:x.csv",
    "x.csv\0", "a//b.csv", "a/", "./x.csv", ".bashrc", "x.csv ", "x.csv.", EVIL, "a\u202eb.csv", "", "é" * 200,
]  # fmt: skip


@pytest.mark.parametrize("path", SKIPPED)
def test_a_file_of_a_tricky_name_is_not_written(bob: Person, tmp_path: Path, path: str) -> None:
    """
    A file whose name climbs, hides or means something else on some system stays out, is named with its reason, and keeps
    nobody from the notebook.
    """
    forger = Forger()
    forger.fields["files"] = {path: forger.file(b"1,2\n"), "data/good.csv": forger.file(b"3,4\n")}
    root, _ = shares.arrive(bob.session, forger.archive(tmp_path / "in" / "x.car"))
    written = shares.write_notebook(bob.session, root, tmp_path / "in" / "opened")

    assert written.files == ["data/good.csv"]
    assert len(written.refused) == 1
    assert "\x1b" not in written.refused[0]
    assert sorted(one.name for one in (tmp_path / "in" / "opened").rglob("*")) == ["data", "good.csv", "study.ipynb"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bob", "in"]
    assert sorted(one.name for one in (tmp_path / "in").iterdir()) == ["opened", "x.car"]


RUN: Final = [
    "ipykernel_launcher.py", "sitecustomize.py", "sub/a.py", "numpy/__init__.py", "A.PY", "json.cpython-311-x86_64-linux-gnu.so",
    "__pycache__/json.cpython-311.pyc", "json.pyd", "x.pth", "startup.ipy", "evil.dist-info/entry_points.txt",
    "evil.egg-info/entry_points.txt", "ipython_config.json", "jupyter_lab_config.json", "jupyter_server_config.d/x.json",
    "pyproject.toml", "Pipfile", "conftest.txt", "jupyter.bat", "jupyter.cmd", "custom/custom.js", "other.ipynb", "desktop.ini",
    "study.ipynb", "Study.ipynb", "study.ipynb/x.csv",
]  # fmt: skip


@pytest.mark.parametrize("path", RUN)
def test_a_file_that_would_run_is_not_written(bob: Person, tmp_path: Path, path: str) -> None:
    """
    What a kernel, Jupyter or a shell would run or read as settings because it lies in the opened folder stays out, at any
    depth; it is told with its CID, under which it can be had. What is data is written.
    """
    forger = Forger()
    data = ["data/a.csv", "module.wasm", "world.wit", "f.zig", "plot.png", "package.json", "a.zip", "python", "py"]
    evil = forger.file(b"evil")
    forger.fields["files"] = {path: evil, **dict.fromkeys(data, forger.file(b"1,2\n"))}
    root, _ = shares.arrive(bob.session, forger.archive(tmp_path / "x.car"))
    written = shares.write_notebook(bob.session, root, tmp_path / "opened")

    assert sorted(written.files) == sorted(data)
    assert len(written.refused) == 1
    assert written.refused[0].startswith(f"{path}: ")
    assert f"`ipvm get {evil} FILE`" in written.refused[0]
    assert bob.session.store.read(evil) == b"evil"
    assert not any(one.read_bytes() == b"evil" for one in (tmp_path / "opened").rglob("*") if one.is_file())


def test_starting_a_kernel_beside_an_opened_notebook_runs_nothing_of_it(bob: Person, tmp_path: Path) -> None:
    """
    A module of the name under which kernels are started does not run when a kernel is started in the opened folder.
    """
    forger = Forger()
    mark = tmp_path / "was-run"
    forger.fields["files"] = {"ipykernel_launcher.py": forger.file(f"open({str(mark)!r}, 'w')".encode())}
    root, _ = shares.arrive(bob.session, forger.archive(tmp_path / "x.car"))
    shares.write_notebook(bob.session, root, tmp_path / "opened")
    command = [sys.executable, "-m", "ipykernel_launcher", "--version"]
    subprocess.run(command, cwd=tmp_path / "opened", check=True, capture_output=True)

    assert not mark.exists()


@pytest.mark.parametrize("name", ["evil.dist-info", "jupyter_server_config.d", "a/b", "x.egg-info.ipynb"])
def test_the_folder_of_a_notebook_is_not_read_as_something_else(
    bob: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """
    A new folder in the working directory is called after the notebook only if nothing reads a folder of this name.
    """
    monkeypatch.chdir(bob.folder)
    root, _ = shares.arrive(bob.session, Forger().archive(tmp_path / "x.car", name=name))

    assert shares.write_notebook(bob.session, root).notebook.parent.name == f"shared-{root.short}"


@pytest.mark.parametrize(
    "paths",
    [
        ["a.csv", "A.csv"],
        ["é.csv", "e\u0301.csv"],
        ["a", "a/b.csv"],
        ["data/" * 33 + "x.csv"],
        [f"{n}.csv" for n in range(10_001)],
    ],
    ids=["case", "spelling", "file and folder", "deep", "many"],
)
def test_files_that_take_each_others_place_are_refused(bob: Person, tmp_path: Path, paths: list[str]) -> None:
    """
    Where two files would be one on some system, or are too many or too deep, nothing is written.
    """
    forger = Forger()
    one = forger.file(b"1,2\n")
    forger.fields["files"] = dict.fromkeys(paths, one)
    root, _ = shares.arrive(bob.session, forger.archive(tmp_path / "x.car"))
    with pytest.raises(IpvmError):
        shares.write_notebook(bob.session, root, bob.folder / "opened")

    assert sorted(one.name for one in bob.folder.iterdir()) == ["home"]


@pytest.mark.parametrize(
    "name", ["../../x.ipynb", "/etc/x", "CON.ipynb", EVIL, "", ".ipynb", "x" * 300, "a/b.ipynb", "x"]
)
def test_a_notebook_of_a_tricky_name_gets_a_plain_one(
    bob: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """
    The notebook of a stranger stands in its new folder under a name that ends in .ipynb, whatever it is called.
    """
    monkeypatch.chdir(bob.folder)
    archive = Forger().archive(tmp_path / "x.car", name=name)
    root, arrival = shares.arrive(bob.session, archive)
    written = shares.write_notebook(bob.session, root).notebook
    checked = shares.check(bob.session, archive)

    assert written.parent.parent == bob.folder
    assert written.suffix == ".ipynb"
    assert written.name.isprintable()
    assert checked.name.isprintable()
    assert all(pin.isprintable() for pin in bob.session.store.pins())
    assert arrival is not None


def test_names_of_content_are_made_safe(bob: Person, tmp_path: Path) -> None:
    """
    What a stranger called a file is text to be shown, wherever it is shown.
    """
    forger = Forger()
    one = forger.file(b"hello")
    forger.content = [[one, "input", 5, EVIL]]
    left = forger.pages([[str(BYTES), "input", 5, EVIL]])
    arrival = bob.load(forger.archive(tmp_path / "x.car", left=left))
    checked = shares.check(bob.session, tmp_path / "x.car")

    assert arrival.opened is not None
    assert all(entry.name.isprintable() for entry in [*arrival.opened.content, *arrival.opened.left])
    assert all(line.isprintable() for line in checked.left)
    assert all(name.isprintable() for names in bob.session.store.called([one]).values() for name in names)


def test_content_that_says_another_size_is_counted_here(bob: Person, tmp_path: Path) -> None:
    """
    What is kept is as large as it is, whatever was said of it.
    """
    forger = Forger()
    one = forger.file(b"hello")
    forger.content = [[one, "input", 2**40, "x"]]
    bob.load(forger.archive(tmp_path / "x.car"))

    assert bob.session.store.size(one) == 5


def test_content_that_is_something_else_is_kept_as_what_it_is(bob: Person, tmp_path: Path) -> None:
    """
    A module that is none fails where it is used, in one line; a receipt listed as content is a value and answers nothing.
    """
    handle = bob.numbers().add(1, 2)
    forger = Forger()
    receipt = forger.put(answer(handle.task, 666).block)
    forger.put(handle.task.invocation.block)
    module = forger.file(b"no module at all")
    forger.content = [[module, "module", 3, "evil"], [receipt, "output", 3, ""]]
    bob.load(forger.archive(tmp_path / "x.car"), trust=True)

    assert handle.result() == 3
    with pytest.raises(BadInput) as caught:
        bob.session.module(module)
    assert "\n" not in caught.value.message


def test_content_that_did_not_come_is_named(bob: Person, tmp_path: Path) -> None:
    """
    Content that the manifest lists and the archive lacks is told; the rest is here.
    """
    forger = Forger()
    forger.content = [[BYTES, "input", 28, "data.csv"]]
    arrival = bob.load(forger.archive(tmp_path / "x.car"))

    assert [one.name for one in arrival.absent] == ["data.csv"]
    assert not is_here(bob.session, arrival.root)
