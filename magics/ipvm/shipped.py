"""What comes with the package: notebooks, their modules with build receipts, their data, and the kernel's spec."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipvm_kernel import CID, Receipt, Task, dagjson
from ipvm_kernel.errors import NotFound

if TYPE_CHECKING:
    from ipvm_kernel import Session

BUILDS = "modules/builds.json"
"""The builds of the notebooks' modules: `[{"task": ..., "receipt": ...}]` as DAG-JSON, the modules beside it."""


def notebooks() -> Path:
    """Return the folder of the notebooks: in the package, or in the checkout of an editable install."""
    inside = Path(__file__).parent / "notebooks"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "notebooks"


def kernelspec() -> Path:
    """Return the folder of the kernel's spec and logos.

    Raises:
        NotFound: It is not where a wheel or a checkout has it.
    """
    for root in (Path(__file__).parents[2], Path(sys.prefix), Path(sys.base_prefix)):
        folder = root / "share" / "jupyter" / "kernels" / "ipvm"
        if (folder / "kernel.json").is_file():
            return folder
    raise NotFound(f"the kernel's spec is not under {sys.prefix}: install ipvm again with pip")


def unpack(target: Path) -> list[str]:
    """Copy what is not there yet to a folder, and return the names of what was written."""
    written = []
    source = notebooks()
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_dir() or any(part.startswith((".", "__")) for part in name.parts):
            continue
        copy = target / name
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            written.append(str(name))
    return written


def builds() -> list[tuple[Task, Receipt]]:
    """Return the builds that came with the package."""
    path = notebooks() / BUILDS
    if not path.is_file():
        return []
    listed: Any = dagjson.loads(path.read_bytes())
    return [(Task.from_ipld(entry["task"]), Receipt.from_ipld(entry["receipt"])) for entry in listed]


def admit_builds(session: Session) -> int:
    """Put the builds that came with the package on file, as if made here (RULES 10), and return how many there are."""
    modules = {}
    for path in (notebooks() / BUILDS).parent.glob("*.wasm"):
        cid = session.store.put_file(path, "module")
        modules[cid] = path
    count = 0
    for task, receipt in builds():
        if isinstance(receipt.value, CID) and receipt.value in modules:
            session.admit(task, receipt)
            count += 1
    session.store.sync()
    return count
