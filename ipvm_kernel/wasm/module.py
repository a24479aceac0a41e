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
from ipvm_kernel.wasm.interface import component_interface, known_interface, module_interface
from ipvm_kernel.wasm.machine import FINGERPRINT, machine

if TYPE_CHECKING:
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
        code: The compiled code.
        machine: The machine that it was compiled for, and runs on.
        wasi: True if its stores need a WASI context.
        code_address: Where the compiled code is.
        linker_address: For a component, where the linker is that serves its imports; 0 for a core module.
    """

    def __init__(self, interface: Interface, code: wc.Component | wasmtime.Module, machine: Machine) -> None:
        self.interface = interface
        self.code = code
        self.machine = machine
        self.wasi = False
        self._exports: dict[str, int] = {}
        self.code_address = native.address(code.ptr())
        self.linker_address = 0
        self._kept: list[object] = []  # what those addresses lead to
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
    wasm = binary_of(data)
    is_component = binary.kind_of(wasm) == "component" or binary.has_component_type(wasm)
    entry = f"{name}-{_ENGINE}"
    here = machine()
    path = cache.code(entry)
    code = _open(path, here, is_component) if path is not None else None
    if code is None:
        if is_component and binary.kind_of(wasm) == "module":
            wasm = _componentize(wasm)
        code, body = _compile(wasm, here, is_component)
        cache.keep_code(entry, body)
    interface = known_interface(name, cache)
    if interface is not None:
        return Module(interface, code, here)
    if isinstance(code, wc.Component):
        interface = component_interface(here.engine, code, wasm)
    else:
        interface = module_interface(code, wasm)
    module = Module(interface, code, here)  # which refuses imports that nobody serves
    cache.keep_interface(name, interface.to_bytes())
    return module


def _kind(is_component: bool) -> type[wc.Component | wasmtime.Module]:
    return wc.Component if is_component else wasmtime.Module


def _open(path: Path, here: Machine, is_component: bool) -> wc.Component | wasmtime.Module | None:
    """Map compiled code, or return None if this engine does not take it."""
    try:
        return _kind(is_component).deserialize_file(here.engine, str(path))
    except wasmtime.WasmtimeError:
        return None


def _compile(wasm: bytes, here: Machine, is_component: bool) -> tuple[wc.Component | wasmtime.Module, bytes]:
    """Compile, and return what to run and what to keep."""
    if len(wasm) > APART_BYTES:
        body = _compile_apart(wasm, is_component)
        return _kind(is_component).deserialize(here.engine, body), body
    code = compile_here(wasm, is_component)
    return code, bytes(code.serialize())


def compile_here(wasm: bytes, is_component: bool) -> wc.Component | wasmtime.Module:
    """Compile in this process.

    Raises:
        BadModule: The engine refuses it.
    """
    try:
        return _kind(is_component)(machine().engine, wasm)
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
