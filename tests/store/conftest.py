from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from ipvm_kernel.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A place for a store."""
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[SqliteStore]:
    """An empty store on disk."""
    opened = SqliteStore(folder)
    yield opened
    opened.close()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mount a small file system in memory: `mounted("size=1m")`. Only root may, and not in every container."""
    places: list[Path] = []

    def mount(options: str, place: Path | None = None) -> Path:
        target = place or tmp_path / f"mount-{len(places)}"
        target.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "ipvm-test", str(target)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no file system can be mounted here: a full disk and a read-only folder are not tried")
        if place is None:
            places.append(target)
        return target

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=False)
