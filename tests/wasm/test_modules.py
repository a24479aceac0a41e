"""Modules made ready to run: what they offer, how they are compiled once, and what is refused."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.errors import BadModule, ToolchainMissing, UnknownFunction
from ipvm_kernel.wasm import module
from ipvm_kernel.wasm import types as wit
from ipvm_kernel.wasm.interface import Interface
from tests.peers import needs
from tests.wasm.guests import echoes, loaded, run

if TYPE_CHECKING:
    from pathlib import Path

ADD = b'(module (func (export "add-one") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))'
WORLD = "package a:b; world w { record point { x: s32, name: option<string> } export same: func(p: point) -> point; }"
CORE = """(module (memory (export "memory") 1) (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
  (func (export "same") (param i32 i32 i32 i32) (result i32)
    (i32.store (i32.const 16) (local.get 0)) (i32.store8 (i32.const 20) (local.get 1))
    (i32.store (i32.const 24) (local.get 2)) (i32.store (i32.const 28) (local.get 3)) (i32.const 16)))"""


def described(folder: Path) -> bytes:
    """Return a core module that says in a section of its own which component it is."""
    tool = needs("wasm-tools")
    (folder / "w.wit").write_text(WORLD)
    (folder / "m.wat").write_text(CORE)
    return subprocess.run(
        [tool, "component", "embed", folder / "w.wit", folder / "m.wat"], capture_output=True, check=True
    ).stdout


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_a_core_module_that_describes_a_component(tmp_path: Path) -> None:
    """
    A core module with a description of its component runs as that component.
    """
    made = loaded(described(tmp_path))

    assert made.interface.kind == "component"
    assert str(made.interface.find("same")) == (
        "func(p: record { x: s32, name: option<string> }) -> record { x: s32, name: option<string> }"
    )
    assert run(made, "same", (-5, ("abc",))) == (-5, ("abc",))
    assert run(made, "same", (7, None)) == (7, None)


def test_without_wasm_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the tool that makes components is missing, the message says how to get it.
    """
    data = described(tmp_path)
    monkeypatch.setattr(module, "wasm_tools", lambda: None)

    with pytest.raises(ToolchainMissing, match=r'pip install "ipvm\[build\]"'):
        loaded(data)


def test_a_description_that_does_not_fit(tmp_path: Path) -> None:
    """
    A module whose description does not fit its code is refused, and the message says why.
    """
    data = described(tmp_path).replace(b"\x04same", b"\x04some", 1)

    with pytest.raises(BadModule, match="cannot be made a component"):
        loaded(data)


@pytest.mark.parametrize("source", [ADD, b"  ;; a note\n" + ADD])
def test_text_is_built(source: bytes) -> None:
    """
    The text of a module is built, and is the module.
    """
    assert run(loaded(source), "add-one", 41) == 42


def test_an_error_in_the_text_shows_where() -> None:
    """
    A mistake in WAT is shown with its line and a mark under it.
    """
    with pytest.raises(BadModule) as caught:
        loaded('(module\n  (func (export "f") (result i32) i32.cont 1))')

    assert "<anon>:2:35" in caught.value.message
    assert caught.value.message.splitlines()[-1].endswith("^")


@pytest.mark.parametrize("bomb", [b"(" * 1_000_000, b"(module " + b"x" * 300_000 + b")", b"(;" * 200_000])
def test_text_that_is_meant_to_overwhelm(bomb: bytes) -> None:
    """
    A megabyte of brackets is refused with a short message.
    """
    with pytest.raises(BadModule) as caught:
        loaded(bomb)

    assert len(caught.value.message) < 2200


def test_a_module_too_large_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A module larger than any real one is refused by its size alone.
    """
    monkeypatch.setattr(module, "MODULE_BYTES", 50)

    with pytest.raises(BadModule, match="the module has 97 B; the limit is 50 B"):
        loaded(ADD)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('(module (import "a\\1b]0;pwn\\07" "<img src=x>" (func)))', r"imports 'a\\\\x1b]0;pwn\\\\x07.<img src=x>'"),
        ('(module (import "wasi_snapshot_preview1" "fd_write" (func)))', "Build it as a component to use WASI"),
        ("(module (func (result i32)))", "cannot be compiled"),
    ],
)
def test_modules_that_cannot_run(source: str, words: str) -> None:
    """
    A module that cannot run is refused when it is loaded; what its author wrote is shown and nothing more.
    """
    with pytest.raises(BadModule, match=words) as caught:
        loaded(source)

    assert "\x1b" not in caught.value.message


# --- names of functions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("export", "name"),
    [
        ("add-one", "add_one"),
        ("add-one", "addOne"),
        ("add-one", "AddOne"),
        ("add-one", "%add-one"),
        ("add_one", "add-one"),
        ("ADD", "add"),
        ("addOne", "add-one"),
        ("AddOne", "add_one"),
        ("crop-base64", "crop_base64"),
        ("crop-base64", "cropBase64"),
        ("rotate90", "Rotate90"),
    ],
)
def test_spellings_of_a_function(export: str, name: str) -> None:
    """
    A function is found by every spelling by which Homestar finds it.
    """
    interface = Interface(kind="module", functions=(wit.Signature(export, (), None),))

    assert interface.find(name).name == export


def test_a_function_that_is_not_there() -> None:
    """
    A name that nothing answers to lists what is near and what there is; guests' names are shown safely.
    """
    odd = "\x1b]0;pwn\x07"
    names = ["add-one", odd, *(f"f{i}" for i in range(20))]
    interface = Interface(kind="module", functions=tuple(wit.Signature(name, (), None) for name in names))

    with pytest.raises(UnknownFunction) as caught:
        interface.find("add_onez")
    assert (
        "no function 'add_onez'. Did you mean 'add-one'? It has: add-one, \\x1b]0;pwn\\x07, f0" in caught.value.message
    )
    assert caught.value.message.endswith("f9, …")


def test_an_interface_outlives_its_engine() -> None:
    """
    What a module offers is kept as text and read again the same, and text of another version is no interface.
    """
    interface = loaded(echoes(wit.Result(wit.List(wit.Enum(("a",))), None))).interface

    again = Interface.from_bytes(interface.to_bytes())

    assert again is not None
    assert again.functions == interface.functions
    assert Interface.from_bytes(b"{}") is None
    assert Interface.from_bytes(interface.to_bytes().replace(b'"form":', b'"form":1')) is None


# --- apart ------------------------------------------------------------------------------------------------------------


def test_large_modules_compile_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A large module is compiled in a process of its own, and runs as any other.
    """
    monkeypatch.setattr(module, "APART_BYTES", 10)
    monkeypatch.setattr(module, "compile_here", lambda *_: pytest.fail("it compiled here"))

    assert run(loaded(ADD), "add-one", 1) == 2
    assert run(loaded(echoes(wit.STRING)), "e0", ("a", *[0] * 17))[0] == "a"


def test_what_is_refused_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A large module that cannot be compiled is refused in the same words.
    """
    monkeypatch.setattr(module, "APART_BYTES", 10)

    with pytest.raises(BadModule, match="it uses multiple memories, which ipvm turns off"):
        loaded("(module (memory 1) (memory 1))")


def test_a_compilation_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A module made to be slow to compile is given up at the deadline; the kernel goes on.
    """
    monkeypatch.setattr(module, "APART_BYTES", 10)
    monkeypatch.setattr(module, "COMPILE_SECONDS", 0.05)
    began = time.monotonic()

    with pytest.raises(BadModule, match="was still compiling after 50 ms and was stopped"):
        loaded(ADD)
    assert time.monotonic() - began < 5


def test_a_notebooks_folder_is_not_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A file called wasmtime.py beside a notebook is not run by compiling a module.
    """
    (tmp_path / "wasmtime.py").write_text("raise SystemExit('wrong one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "APART_BYTES", 10)

    assert run(loaded(ADD), "add-one", 1) == 2
