from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipvm_kernel.errors import BuildFailed
from ipvm_kernel.toolchains.programs import OUTPUT_LIMIT, Program, Workshop

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Program]:
    """Make a package whose program is a shell script."""
    (tmp_path / "scripted").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(text: str) -> Program:
        path = tmp_path / "scripted" / "run"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return Program("The script", "scripted", "scripted", "run")

    return make


def alive(pid: int) -> bool:
    """Return whether a process runs (one that ended and nobody has asked about does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_flood_of_messages_is_cut(script: Callable[[str], Program]) -> None:
    """
    A compiler that prints without end of its own does not fill the memory; it runs on, and its beginning is kept.
    """
    program = script("head -c 3000000 /dev/zero | tr '\\0' x; exit 3")

    with Workshop.open({}) as workshop:
        ended = workshop.run(program)

    assert (ended.code, len(ended.output)) == (3, OUTPUT_LIMIT)


def test_what_a_program_started_ends_with_it(script: Callable[[str], Program]) -> None:
    """
    At the deadline a compiler is stopped together with the programs that it started.
    """
    program = script("sleep 60 & echo $! > child; wait")

    with Workshop.open({}, deadline=0.5) as workshop:
        with pytest.raises(BuildFailed, match=r"The script was stopped: the build took longer than 500 ms"):
            workshop.run(program)
        child = int(workshop.read("child"))

    time.sleep(0.05)
    assert not alive(child)


def test_silence_is_no_end(script: Callable[[str], Program]) -> None:
    """
    A program that closes its streams and runs on is stopped at the deadline all the same.
    """
    program = script("exec >&- 2>&-; sleep 60")

    with Workshop.open({}, deadline=0.5) as workshop, pytest.raises(BuildFailed, match="was stopped"):
        workshop.run(program)


def test_an_interrupt_stops_the_compiler(script: Callable[[str], Program]) -> None:
    """
    When the user interrupts a build, nothing of it runs on, and its folder is gone.
    """
    program = script("echo $$ > own; sleep 60")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def build() -> None:
        with Workshop.open({}) as workshop:
            seen.append(workshop.folder)
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            try:
                workshop.run(program)
            finally:
                seen.append(int(workshop.read("own")))

    seen: list[Any] = []
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            build()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    folder, own = seen
    assert not alive(own)
    assert not folder.exists()


def test_the_environment_stays_outside(script: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A compiler sees nothing of the user's environment but where it may keep a cache: no secrets, no settings.
    """
    monkeypatch.setenv("SECRET_TOKEN", "hush")
    monkeypatch.setenv("CPATH", "/tmp")

    with Workshop.open({"note": "line\n"}) as workshop:
        ended = workshop.run(script("/usr/bin/env; cat note; stat -c %a ."))
        folder = workshop.folder

    rows = ended.output.split("\n")
    assert {row.partition("=")[0] for row in rows if "=" in row} <= {
        *("HOME", "TMPDIR", "XDG_CACHE_HOME", "ZIG_GLOBAL_CACHE_DIR", "LC_ALL", "NO_COLOR"),
        *("PWD", "OLDPWD", "SHLVL", "_"),
    }
    assert rows[-3:] == ["line", "700", ""]
    assert str(folder) not in "".join(row for row in rows if not row.startswith("PWD="))
    assert not folder.exists()
