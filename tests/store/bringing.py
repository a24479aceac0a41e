"""Bring a parcel into a store, to be killed or refused at some call of the system meanwhile. Run as a program.

python -m tests.store.bringing FOLDER
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from ipvm_kernel.errors import IpvmError
from ipvm_kernel.ipld import Block
from ipvm_kernel.store.sqlite import SqliteStore
from ipvm_kernel.store.verify import verify
from ipvm_kernel.testing import filing, task
from ipvm_kernel.testing.parcels import sample, seen

ROOT: Final = Path(__file__).parents[2]

CALLS: Final = ("pwrite64", "write", "fsync", "fdatasync", "rename", "unlink", "mkdir", "rmdir", "ftruncate", "openat")
"""What a store asks of the system to write."""

BEFORE: Final = range(10, 14)


def prepare(folder: Path) -> None:
    """Make a store with something in it that must stay."""
    store = SqliteStore(folder)
    for number in BEFORE:
        store.file(filing(task(number), bytes([number]) * 100_000))
    store.pin("mine", task(10).run.cid)
    store.close()


def main(folder: Path) -> None:
    """Put something, have it acknowledged, and bring a parcel; print how each ended."""
    store = SqliteStore(folder)
    store.put(Block.of("acknowledged"))
    store.sync()
    os.write(1, b"acknowledged\n")
    try:
        store.bring(sample())
        os.write(1, b"brought\n")
    except IpvmError as error:
        os.write(1, f"{type(error).__name__}: {error}\n".encode())
    store.close()


def under(folder: Path, *injected: str) -> list[str]:
    """Run this program under strace, with faults, and return what it said."""
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", *injected]
    command += [sys.executable, "-m", "tests.store.bringing", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def calls(folder: Path) -> list[tuple[str, int, str]]:
    """Return the calls that bringing makes after the acknowledgement: name, which of its kind each is, and what it is about."""
    prepare(folder)
    log = folder.parent / "calls"
    under(folder, "-y", "-o", str(log), "-e", f"trace={','.join(CALLS)}")
    counts: dict[str, int] = {}
    found: list[tuple[str, int, str]] = []
    lines = [line.split(maxsplit=1) for line in log.read_text(errors="replace").splitlines()]
    main_thread, begun = lines[0][0], False
    for thread, line in lines:
        name = line.partition("(")[0]
        if thread != main_thread or name not in CALLS:
            continue
        counts[name] = counts.get(name, 0) + 1
        begun = begun or '"acknowledged' in line
        if begun and str(folder) in line:
            found.append((name, counts[name], line))
    return found


def half(folder: Path, said: list[str], tmp: Path) -> list[str]:
    """Return what is wrong with a store into which a parcel was brought, or not, or half."""
    wrong: list[str] = []
    store = SqliteStore(folder)
    found, without, whole = parcel_in(store), *states(tmp)
    if found not in (without, whole):
        wrong.append("the parcel is half there")
    if "brought" in said and found != whole:
        wrong.append("what was brought is lost")
    if "acknowledged" in said and store.size(Block.of("acknowledged").cid) is None:
        wrong.append("what was acknowledged is lost")
    on_file = store.on_file([task(number).run.cid for number in BEFORE])
    if [one.receipt is not None and one.receipt.ok for one in on_file.values()] != [True] * len(BEFORE):
        wrong.append("what was there before is lost")
    for path in (folder / "files").rglob("*"):
        os.utime(path, (1000, 1000))
    store.gc(to=10**12)
    left = {path.name for path in (folder / "files").rglob("*") if path.is_file()}
    known = {str(cid) for cid in store.cids()}
    wrong += [f"{name} is left over" for name in left - known]
    *_, verified = verify(store)
    wrong += [f"{cid} is bad" for cid in verified.bad]
    store.bring(sample())
    if parcel_in(store)["cids"] != whole["cids"]:
        wrong.append("the parcel cannot be brought once more")
    store.close()
    return wrong


def states(tmp: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is to be seen of a store before and after the parcel was brought."""
    if tmp not in _states:
        prepare(tmp / "reference")
        with contextlib.closing(SqliteStore(tmp / "reference")) as store:
            before = parcel_in(store)
            store.bring(sample())
            _states[tmp] = (before, parcel_in(store))
    return _states[tmp]


def parcel_in(store: SqliteStore) -> dict[str, Any]:
    """Return what is to be seen of the parcel, whatever else was put."""
    found = seen(store)
    found["cids"].discard(Block.of("acknowledged").cid)
    return found


_states: Final[dict[Path, tuple[dict[str, Any], dict[str, Any]]]] = {}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
