"""Modules: Wasm bytes made ready to run, once.

The bytes may be a component, a core module with a `component-type` section (made a component by `wasm-tools`), a plain
core module, or the WAT text of either. Compiled code and the functions' signatures are kept in a `CodeCache`, so that a
second session neither compiles nor asks the engine.
"""

from __future__ import annotations

import hashlib
import os
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
from ipvm_kernel.wasm import binary, host, machine
from ipvm_kernel.wasm.interface import component_interface, known_interface, module_interface

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipvm_kernel.wasm.cache import CodeCache
    from ipvm_kernel.wasm.interface import Interface

MODULE_BYTES: Final = 256 << 20
"""A module larger than this is refused before anything looks at it."""

APART_BYTES: Final = 1 << 20
"""A module larger than this compiles in a process of its own, which is ended at `COMPILE_SECONDS`."""

COMPILE_SECONDS: Final = 60.0

_ENGINE: Final = hashlib.sha256(machine.FINGERPRINT.encode()).hexdigest()[:12]


class Module:
    """A module ready to run.

    Attributes:
        interface: What it says of itself.
        code: The compiled code.
        wasi: True if its stores need a WASI context.
        exports: Where its functions are, for a component.
    """

    def __init__(self, interface: Interface, code: wc.Component | wasmtime.Module) -> None:
        self.interface = interface
        self.code = code
        self.wasi = False
        self.exports: Mapping[str, wc.ExportIndex] = {}
        if isinstance(code, wc.Component):
            self.linker, self.wasi = host.link(machine.engine(), code)
            found = {f.name: code.get_export_index(f.name) for f in interface.functions}
            self.exports = {name: index for name, index in found.items() if index is not None}


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
    path = cache.code(entry)
    code = _open(path, is_component) if path is not None else None
    if code is None:
        if is_component and binary.kind_of(wasm) == "module":
            wasm = _componentize(wasm)
        code, body = _compile(wasm, is_component)
        cache.keep_code(entry, body)
    interface = known_interface(name, cache)
    if interface is None:
        if isinstance(code, wc.Component):
            interface = component_interface(machine.engine(), code, wasm)
        else:
            interface = module_interface(code, wasm)
    module = Module(interface, code)  # which refuses imports that nobody serves
    cache.keep_interface(name, interface.to_bytes())
    return module


def _open(path: Path, is_component: bool) -> wc.Component | wasmtime.Module | None:
    """Map compiled code, or return None if this engine does not take it."""
    try:
        kind = wc.Component if is_component else wasmtime.Module
        return kind.deserialize_file(machine.engine(), str(path))
    except wasmtime.WasmtimeError:
        return None


def _compile(wasm: bytes, is_component: bool) -> tuple[wc.Component | wasmtime.Module, bytes]:
    """Compile, and return what to run and what to keep."""
    if len(wasm) > APART_BYTES:
        body = _compile_apart(wasm, is_component)
        kind = wc.Component if is_component else wasmtime.Module
        return kind.deserialize(machine.engine(), body), body
    code = compile_here(wasm, is_component)
    return code, bytes(code.serialize())


def compile_here(wasm: bytes, is_component: bool) -> wc.Component | wasmtime.Module:
    """Compile in this process.

    Raises:
        BadModule: The engine refuses it.
    """
    try:
        return wc.Component(machine.engine(), wasm) if is_component else wasmtime.Module(machine.engine(), wasm)
    except wasmtime.WasmtimeError as error:
        raise BadModule(f"the module cannot be compiled: {_reason(str(error))}") from None


def _compile_apart(wasm: bytes, is_component: bool) -> bytes:
    """Compile in a process of its own, so that a module made to be slow to compile can be ended."""
    with tempfile.TemporaryDirectory(prefix="ipvm-compile-") as folder:
        source, target = Path(folder, "in.wasm"), Path(folder, "out.cwasm")
        source.write_bytes(wasm)
        command = [sys.executable, "-m", "ipvm_kernel.wasm.apart", str(source), str(target), str(int(is_component))]
        try:
            done = subprocess.run(command, capture_output=True, timeout=COMPILE_SECONDS, check=False, text=True)  # noqa: S603
        except subprocess.TimeoutExpired:
            raise BadModule(
                f"the module of {size(len(wasm))} was still compiling after {seconds(COMPILE_SECONDS)} and was stopped"
            ) from None
        if done.returncode:
            why = done.stdout.strip() or f"the compiler ended with {done.returncode}"
            raise BadModule(why)
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
    "wide arithmetic": "wide arithmetic",
}


def _reason(text: str) -> str:
    """Return the last cause of an engine's error on one line, and name the feature that is off if that is why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cause = next((line for line in reversed(lines) if not line.startswith(("Caused by", "note:"))), "no reason given")
    cause = printable(cause, limit=300)
    for mark, feature in _FEATURES.items():
        if mark in cause and any(word in cause for word in ("not enabled", "disabled", "require", "support")):
            return f"it uses {feature}, which ipvm turns off so that answers are equal on every machine ({cause})"
    return cause
