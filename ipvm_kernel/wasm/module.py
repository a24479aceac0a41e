"""Modules: Wasm bytes made ready to run, once.

The bytes may be a component, a core module with a `component-type` section (made a component by `wasm-tools`), a plain
core module, or the WAT text of either. Compiled code and the functions' signatures are kept in a `CodeCache`, so that a
second session neither compiles nor asks the engine.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import wasmtime
from wasmtime import component as wc

from ipvm_kernel.errors import BadModule, ToolchainMissing
from ipvm_kernel.printable import printable, seconds, size
from ipvm_kernel.wasm import binary, host, native
from ipvm_kernel.wasm.abi.component import read
from ipvm_kernel.wasm.abi.straight import Straight, agree
from ipvm_kernel.wasm.abi.wiring import Way
from ipvm_kernel.wasm.interface import component_interface, known_interface, module_interface
from ipvm_kernel.wasm.machine import FINGERPRINT, machine

if TYPE_CHECKING:
    from ipvm_kernel.wasm.abi.component import Component
    from ipvm_kernel.wasm.cache import CodeCache
    from ipvm_kernel.wasm.interface import Interface
    from ipvm_kernel.wasm.machine import Machine

MODULE_BYTES: Final = 256 << 20
"""A module larger than this is refused before anything looks at it."""

APART_BYTES: Final = 1 << 20
"""A module larger than this compiles in a process of its own, which is ended at `COMPILE_SECONDS`."""

COMPILE_SECONDS: Final = 60.0

_ENGINE: Final = hashlib.sha256(FINGERPRINT.encode()).hexdigest()[:12]


class Module:
    """A module ready to run.

    Attributes:
        interface: What it says of itself.
        machine: The machine that it was compiled for, and runs on.
        straight: A component that is driven through its core modules, or None.
        code: The compiled code, None if it is in `straight`.
        wasi: True if its stores need a WASI context.
        code_address: Where the compiled code is.
        linker_address: For a component, where the linker is that serves its imports; 0 for a core module.
    """

    def __init__(self, interface: Interface, code: wc.Component | wasmtime.Module | Straight, machine: Machine) -> None:
        self.interface = interface
        self.machine = machine
        self.wasi = False
        self._exports: dict[str, int] = {}
        self.linker_address = 0
        self._kept: list[object] = []  # what those addresses lead to
        self.straight = code if isinstance(code, Straight) else None
        self.code = None if isinstance(code, Straight) else code
        self.code_address = 0 if self.code is None else native.address(self.code.ptr())
        if isinstance(code, wc.Component):
            linker, self.wasi = host.link(machine.engine, code)
            self.linker_address = native.address(linker.ptr())
            self._kept.append(linker)

    def export(self, name: str) -> int:
        """Return the address of where a function of a component is, or 0 if there is none of this name."""
        found = self._exports.get(name)
        if found is None:
            assert isinstance(self.code, wc.Component)
            index = self.code.get_export_index(name)
            found = 0 if index is None else native.address(index.ptr())
            self._kept.append(index)
            self._exports[name] = found
        return found


def binary_of(data: bytes) -> bytes:
    """Return the Wasm binary that `data` is or, if it is WAT text, means.

    Raises:
        BadModule: It is neither, or the text has an error; the message shows where.
    """
    if len(data) > MODULE_BYTES:
        raise BadModule(f"the module has {size(len(data))}; the limit is {size(MODULE_BYTES)}")
    if not binary.is_text(data):
        binary.kind_of(data)
        return data
    try:
        return bytes(wasmtime.wat2wasm(data))
    except wasmtime.WasmtimeError as error:
        raise BadModule(f"the WAT text has an error: {printable(str(error), keep=chr(10))}") from None


def load(name: str, data: bytes, cache: CodeCache) -> Module:
    """Return the module whose bytes are `data`, compiled now or before.

    Args:
        name: What the bytes are called: the text of their CID.
        data: The bytes as they were given.
        cache: Where compiled code is kept.

    Raises:
        BadModule: The bytes are not Wasm that ipvm can run; the message says why.
        ToolchainMissing: A core module with a `component-type` section, and `wasm-tools` is not installed.
    """
    wasm, here = binary_of(data), machine()
    is_component = binary.kind_of(wasm) == "component" or binary.has_component_type(wasm)
    interface = known_interface(name, cache)
    if not is_component:
        code = _core_module(f"{name}-{_ENGINE}", wasm, here, cache)
        if interface is None:
            interface = module_interface(code, wasm)
            cache.keep_interface(name, interface.to_bytes())
        return Module(interface, code, here)
    way = Way.from_bytes(cache.interface(f"{name}-way") or b"")
    if interface is not None and way is not None:
        known = _known_component(name, way, here, cache)
        if known is not None:
            return Module(interface, known, here)
    if binary.kind_of(wasm) == "module":
        wasm = _componentize(wasm)
    module, way = _component(name, wasm, here, cache)
    cache.keep_interface(name, module.interface.to_bytes())
    cache.keep_interface(f"{name}-way", way.to_bytes())
    return module


def _known_component(name: str, way: Way, here: Machine, cache: CodeCache) -> wc.Component | Straight | None:
    """Return a component that was loaded before, if all of its code is still there."""
    entry = f"{name}-{_ENGINE}"
    if way.wiring is None:
        code = _open(cache.code(entry), here, wc.Component)
        return code if isinstance(code, wc.Component) else None
    codes = [_open(cache.code(f"{entry}-{i}"), here, wasmtime.Module) for i in range(len(way.wiring.modules))]
    found = [code for code in codes if isinstance(code, wasmtime.Module)]
    return Straight(here, way.wiring, found) if len(found) == len(codes) else None


def _component(name: str, wasm: bytes, here: Machine, cache: CodeCache) -> tuple[Module, Way]:
    """Return a component that is new here: driven straight if that can be, and through the engine otherwise."""
    entry = f"{name}-{_ENGINE}"
    frame = read(wasm)
    stand_in = None if isinstance(frame, str) else _stand_in(frame)
    if isinstance(frame, str) or isinstance(stand_in, str) or stand_in is None:
        why = frame if isinstance(frame, str) else str(stand_in)
        code = _open(cache.code(entry), here, wc.Component) or _compile(entry, wasm, here, wc.Component, cache)
        assert isinstance(code, wc.Component)
        return Module(component_interface(here.engine, code, wasm, why), code, here), Way(None)
    interface = component_interface(here.engine, stand_in, wasm)
    host.link(here.engine, stand_in)  # which refuses imports that nobody serves
    codes = [
        _core_module(f"{entry}-{i}", wasm[start:end], here, cache)
        for i, (start, end) in enumerate(frame.wiring.modules)
    ]
    if not agree(frame.wiring, codes):  # pragma: no cover - the engine and we read one binary by one specification
        raise BadModule("the module's code has other functions than its component says")
    return Module(interface, Straight(here, frame.wiring, codes), here), Way(frame.wiring)


def _stand_in(frame: Component) -> wc.Component | str:
    """Return a component without its code, as the engine reads it, or why the engine must have it whole."""
    for asked in frame.wiring.asked:
        if host.served(asked.interface, asked.signature) is None:
            what = f"{asked.signature.name!r} of {asked.interface}"
            return f"it imports {printable(what, limit=200)}, which WASI itself serves"
    wasm = frame.stand_in()
    if len(wasm) > APART_BYTES:
        return f"its types and names take more than {size(APART_BYTES)}"
    try:
        code = wc.Component(machine().engine, wasm)
    except wasmtime.WasmtimeError:  # the whole one is refused too, with words that fit it
        return "the engine does not take it"
    read_there = component_interface(machine().engine, code, wasm).functions
    return (
        code if read_there == tuple(lifted.signature for lifted in frame.wiring.functions) else "its types are unusual"
    )


def _core_module(entry: str, wasm: bytes, here: Machine, cache: CodeCache) -> wasmtime.Module:
    code = _open(cache.code(entry), here, wasmtime.Module) or _compile(entry, wasm, here, wasmtime.Module, cache)
    assert isinstance(code, wasmtime.Module)
    return code


Code = wc.Component | wasmtime.Module


def _open(path: Path | None, here: Machine, kind: type[Code]) -> Code | None:
    """Map compiled code, or return None if there is none or this engine does not take it."""
    try:
        return None if path is None else kind.deserialize_file(here.engine, str(path))
    except wasmtime.WasmtimeError:
        return None


def _compile(entry: str, wasm: bytes, here: Machine, kind: type[Code], cache: CodeCache) -> Code:
    """Compile, and keep the code."""
    if len(wasm) > APART_BYTES:
        body = _compile_apart(wasm, kind is wc.Component)
        code = kind.deserialize(here.engine, body)
    else:
        code = compile_here(wasm, kind is wc.Component)
        body = bytes(code.serialize())
    cache.keep_code(entry, body)
    return code


def compile_here(wasm: bytes, is_component: bool) -> Code:
    """Compile in this process.

    Raises:
        BadModule: The engine refuses it.
    """
    try:
        return (wc.Component if is_component else wasmtime.Module)(machine().engine, wasm)
    except wasmtime.WasmtimeError as error:
        raise BadModule(f"the module cannot be compiled: {_reason(str(error))}") from None


def _compile_apart(wasm: bytes, is_component: bool) -> bytes:
    """Compile in a process of its own, so that a module made to be slow to compile can be ended."""
    with tempfile.TemporaryDirectory(prefix="ipvm-compile-") as folder:
        source, target = Path(folder, "in.wasm"), Path(folder, "out.cwasm")
        source.write_bytes(wasm)
        # -P: the working folder is a notebook's, and nothing in it is to be imported.
        compiler = [sys.executable, "-P", "-X", "utf8", "-m", "ipvm_kernel.wasm.apart"]
        command = [*compiler, str(source), str(target), str(int(is_component))]
        try:
            done = subprocess.run(command, capture_output=True, timeout=COMPILE_SECONDS, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise BadModule(
                f"the module of {size(len(wasm))} was still compiling after {seconds(COMPILE_SECONDS)} and was stopped"
            ) from None
        if done.returncode:
            why = done.stdout.decode("utf-8", "replace").strip()
            raise BadModule(why or f"the compiler ended with {done.returncode}")
        return target.read_bytes()


def _componentize(wasm: bytes) -> bytes:
    """Return the component that a core module with a `component-type` section describes.

    Raises:
        ToolchainMissing: `wasm-tools` is not installed.
        BadModule: It refuses the module.
    """
    tool = wasm_tools()
    if tool is None:
        raise ToolchainMissing(
            'this core module describes a component; making it one takes wasm-tools: pip install "ipvm[build]"'
        )
    try:
        done = subprocess.run([tool, "component", "new", "-"], input=wasm, capture_output=True, timeout=60, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise BadModule("wasm-tools did not make a component of the module within 60 s") from None
    if done.returncode:
        raise BadModule(f"the module cannot be made a component: {_reason(done.stderr.decode('utf-8', 'replace'))}")
    return done.stdout


def wasm_tools() -> str | None:
    """Return the path of `wasm-tools`: the one installed beside this Python, or the first on the PATH."""
    beside = shutil.which(
        "wasm-tools", path=os.pathsep.join({sysconfig.get_path("scripts"), str(Path(sys.executable).parent)})
    )
    return beside or shutil.which("wasm-tools")


_FEATURES: Final = {
    "threads": "threads",
    "shared": "threads",
    "relaxed SIMD": "relaxed SIMD",
    "multi-memory": "multiple memories",
    "multiple memories": "multiple memories",
    "memory64": "64-bit memories",
    "exceptions": "exceptions",
    "gc": "garbage-collected types",
    "function references": "typed function references",
    "wide arithmetic": "wide arithmetic",
    "stack switching": "stack switching",
    "custom page sizes": "custom page sizes",
    "component model async": "asynchronous components",
}


def _reason(text: str) -> str:
    """Return the last cause of an engine's error on one line, and name the feature that is off if that is why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cause = next((line for line in reversed(lines) if not line.startswith(("Caused by", "note:"))), "no reason given")
    cause = printable(re.sub(r"^\d+: ", "", cause), limit=300)
    for mark, feature in _FEATURES.items():
        if mark in cause and any(word in cause for word in ("enabled", "disabled", "require", "support", "multiple")):
            return f"it uses {feature}, which ipvm turns off so that answers are equal on every machine ({cause})"
    return cause
