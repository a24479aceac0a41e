"""Compiled code, kept: once for all sessions, in a private place, and never run unless it is what was kept."""

from __future__ import annotations

import hmac
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import NotFound
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.wasm import cache, module
from ipvm_kernel.wasm.cache import CodeCache
from ipvm_kernel.wasm.library import KEPT_MODULES, Library
from ipvm_kernel.wasm.module import load
from tests.wasm.child import in_a_child
from tests.wasm.guests import run

if TYPE_CHECKING:
    from pathlib import Path

    from ipvm_kernel.ipld import CID

ADD = b'(module (func (export "add-one") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))'


# --- the cache --------------------------------------------------------------------------------------------------------


def test_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A second session compiles nothing.
    """
    load("m", ADD, CodeCache(tmp_path))
    monkeypatch.setattr(module, "compile_here", lambda *_: pytest.fail("it compiled again"))

    assert run(load("m", ADD, CodeCache(tmp_path)), "add-one", 1) == 2


def test_the_folder_is_private(tmp_path: Path) -> None:
    """
    Compiled code lies where nobody else can write it, or read it.
    """
    folder = tmp_path / "code"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    load("m", ADD, CodeCache(folder))

    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def _entries(folder: Path) -> tuple[Path, Path]:
    (code,) = folder.glob("*.cwasm")
    return code, code.with_suffix(".mac")


@pytest.mark.parametrize("which", ["code", "mac", "face", "key"])
def test_whatever_was_tampered_with_is_made_anew(tmp_path: Path, which: str) -> None:
    """
    Change a bit of compiled code, of its digest or of the key, and it is compiled again; a wrong interface is read anew.
    """
    load("m", ADD, CodeCache(tmp_path))
    code, mac = _entries(tmp_path)
    file = {"code": code, "mac": mac, "face": tmp_path / "m.face", "key": tmp_path / "key"}[which]
    good, data = code.read_bytes(), bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))

    assert run(load("m", ADD, CodeCache(tmp_path)), "add-one", 1) == 2
    assert code.read_bytes() == good
    assert CodeCache(tmp_path).code(code.stem) == code


@pytest.mark.parametrize("length", [0, 5, 31, 33])
def test_a_broken_key_is_replaced(tmp_path: Path, length: int) -> None:
    """
    A key that was cut short costs one compilation and nothing else.
    """
    load("m", ADD, CodeCache(tmp_path))
    (tmp_path / "key").write_bytes(b"x" * length)

    assert run(load("m", ADD, CodeCache(tmp_path)), "add-one", 1) == 2
    assert len((tmp_path / "key").read_bytes()) == 32


def test_code_of_another_name_is_not_taken(tmp_path: Path) -> None:
    """
    Code that was compiled for one module cannot be given out as another's.
    """
    store = CodeCache(tmp_path)
    store.keep_code("one", b"native")
    for suffix in ("cwasm", "mac"):
        (tmp_path / f"one.{suffix}").rename(tmp_path / f"two.{suffix}")

    assert store.code("two") is None
    assert not (tmp_path / "two.cwasm").exists()


def test_code_of_another_engine_is_not_taken(tmp_path: Path) -> None:
    """
    Code that this engine does not know, though it is ours, is compiled again.
    """
    store = CodeCache(tmp_path)
    load("m", ADD, store)
    code, _ = _entries(tmp_path)
    store.keep_code(code.stem, b"\x7fELF" + bytes(100))

    assert run(load("m", ADD, store), "add-one", 1) == 2


def test_processes_share_one_key(tmp_path: Path) -> None:
    """
    Kernels that start at the same time agree on the key, so that each takes the other's code.
    """
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(CodeCache(tmp_path)._key)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(found) == {(tmp_path / "key").read_bytes()}
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_the_least_used_code_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The cache stays below its size: what was used longest ago goes, and so does what a dying process left.
    """
    monkeypatch.setattr(cache, "KEEP_BYTES", 250)
    store = CodeCache(tmp_path)
    (tmp_path / ".new-left").write_bytes(b"")
    os.utime(tmp_path / ".new-left", (0, 0))
    (tmp_path / "orphan.cwasm").write_bytes(bytes(100))
    os.utime(tmp_path / "orphan.cwasm", (0, 0))
    for i, name in enumerate(("a", "b")):
        store.keep_code(name, bytes(100))
        os.utime(tmp_path / f"{name}.mac", (i + 1, i + 1))
    assert store.code("a") is not None  # used just now
    store.keep_code("c", bytes(100))

    assert {path.stem for path in tmp_path.glob("*.cwasm")} == {"a", "c"}
    assert not (tmp_path / ".new-left").exists()


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """
    Where code cannot be kept, modules run all the same.
    """
    file = tmp_path / "file"
    file.write_bytes(b"")
    store = CodeCache(file / "code")

    assert run(load("m", ADD, store), "add-one", 1) == 2
    assert store.folder.is_dir()


def test_a_temporary_folder_goes_with_its_cache() -> None:
    """
    Nothing stays in the temporary folder when a session ends, nor when it is forgotten.
    """
    printed = in_a_child(
        """
        first, second = CodeCache(None), CodeCache(None)
        print(first.folder)
        print(second.folder)
        folder = first.folder
        del first
        gc.collect()
        assert not folder.exists() and second.folder.exists()
        if not os.fork():
            sys.exit()
        os.wait()
        assert second.folder.exists()
        """
    )

    assert not any(os.path.exists(line) for line in printed.split())  # noqa: PTH110


def test_digests_are_keyed(tmp_path: Path) -> None:
    """
    A digest that was made without the key of the folder is not believed.
    """
    store = CodeCache(tmp_path)
    store.keep_interface("m", b"{}")
    (tmp_path / "m.face").write_bytes(hmac.digest(b"", b"m\0{}", "sha256") + b"{}")

    assert store.interface("m") is None


# --- the library ------------------------------------------------------------------------------------------------------


def _reader(*sources: bytes) -> tuple[list[CID], Any, list[CID]]:
    held = {file_cid(source): source for source in sources}
    asked: list[CID] = []

    def read(cid: CID) -> bytes:
        asked.append(cid)
        if cid not in held:
            raise NotFound(f"no {cid}")
        return held[cid]

    return list(held), read, asked


def test_a_module_is_loaded_once(tmp_path: Path) -> None:
    """
    However many threads ask for a module, its bytes are read once and compiled once.
    """
    (cid,), read, asked = _reader(ADD)
    library, found = Library(tmp_path), []
    threads = [threading.Thread(target=lambda: found.append(library.module(cid, read))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert asked == [cid]
    assert all(made is found[0] for made in found)


def test_what_a_module_offers_takes_no_engine(tmp_path: Path) -> None:
    """
    A session that only replays knows a module's functions without reading it, and without the engine.
    """
    (cid,), read, asked = _reader(ADD)
    Library(tmp_path).module(cid, read)
    asked.clear()
    code = (
        "import sys; from pathlib import Path; from ipvm_kernel.wasm.library import Library; from ipvm_kernel.ipld import CID;"
        f"print(Library(Path({str(tmp_path)!r})).interface(CID({str(cid)!r}), None).find('add_one'), 'wasmtime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "func(p0: s32) -> s32 False\n"
    assert Library(tmp_path).interface(cid, read).find("add-one").required == 1
    assert asked == []


def test_modules_kept_ready_are_bounded(tmp_path: Path) -> None:
    """
    A session that uses hundreds of modules keeps the ones it used last.
    """
    sources = [b"(module (global i32 (i32.const %d)))" % i for i in range(KEPT_MODULES + 3)]
    cids, read, asked = _reader(*sources)
    library = Library(tmp_path)
    for cid in cids:
        library.module(cid, read)
    asked.clear()

    library.module(cids[-1], read)
    library.module(cids[0], read)
    assert asked == [cids[0]]


def test_a_module_that_is_not_there(tmp_path: Path) -> None:
    """
    A module whose bytes are missing is looked for again the next time.
    """
    _, read, asked = _reader()
    library, cid = Library(tmp_path), file_cid(ADD)
    for _ in range(2):
        with pytest.raises(NotFound):
            library.interface(cid, read)

    assert asked == [cid, cid]
