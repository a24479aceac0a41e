"""What lies beside a notebook: the files that its cells read by a path, and the packages that they import."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import msgspec

from ipvm_kernel.errors import BadInput
from ipvm_kernel.ipld import CID
from ipvm_kernel.ipld.placing import safe_name
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.sharing.inert import unwritable

if TYPE_CHECKING:
    from ipvm_kernel.sharing.gathering import Bundle
    from ipvm_kernel.sharing.notebook import Notebook
    from ipvm_kernel.store import Store

_PACKAGES: Final = ("ipvm", "wasmtime", "numpy", "pandas", "pillow", "pyarrow", "scikit-learn", "matplotlib", "scipy")
_IMPORTED: Final = re.compile(r"^\s*(?:import|from)\s+(\w+)", re.MULTILINE)
_DISTRIBUTIONS: Final = {"PIL": "pillow", "sklearn": "scikit-learn"}
_WASM: Final = re.compile(r"^%wasm[ \t]+\w+[ \t]+([^\s-]\S*)|^%%?wasm\b.*?--world[ \t]+(\S+)", re.MULTILINE)
_QUOTED: Final = re.compile(r"""(["'])([^"'\\\n]{1,300})\1""")
_NOT_READ: Final = (".ipynb", ".car")
_MOST: Final = 200  # files


class Beside(msgspec.Struct, kw_only=True):
    """Files that a notebook reads.

    Attributes:
        files: Those that lie beside it, by the path that a cell names.
        outside: Those that a reader will not have, by the path: they are elsewhere on this machine, or would be run where
            they are written.
        large: Those beside it that are too large to go along, with their bytes.
    """

    files: dict[str, CID] = msgspec.field(default_factory=dict)
    outside: dict[str, CID] = msgspec.field(default_factory=dict)
    large: dict[str, int] = msgspec.field(default_factory=dict)


def beside(store: Store, folder: Path, notebook: Notebook, bundle: Bundle, most: int) -> Beside:
    """Return the files that a notebook's cells read by a path.

    They are those that the receipts' modules and inputs were called, those that `%wasm` lines name, and those beside the
    notebook whose path stands in quotes in a cell: what plain Python reads. Nothing is kept.

    Args:
        store: Knows what modules and inputs were called.
        folder: Where the notebook lies.
        notebook: The notebook.
        bundle: What goes along.
        most: Bytes of one file that goes along, at most.
    """
    made = Beside()
    for cid, names in store.called(bundle.content).items():
        for name in names:
            if "/" not in name and "." not in name:
                continue  # what a module is called in messages
            path = _inside(folder, name)
            if path is not None and file_cid(path) == cid:
                made.files[PurePosixPath(name).as_posix()] = cid
            elif path is None and "://" not in name and Path(name).expanduser().is_absolute():
                made.outside[name] = cid
    made.outside = {name: cid for name, cid in made.outside.items() if cid not in made.files.values()}
    for name in _named(notebook):
        path = _inside(folder, name)
        key = PurePosixPath(name).as_posix()
        if path is None or key in made.files or path.suffix in _NOT_READ or len(made.files) >= _MOST:
            continue
        length = path.stat().st_size
        if length > most:
            made.large[key] = length
        else:
            made.files[key] = file_cid(path)
    made.outside |= {name: cid for name, cid in made.files.items() if unwritable(name)}
    made.files = {name: cid for name, cid in sorted(made.files.items()) if name not in made.outside}
    return made


def _named(notebook: Notebook) -> dict[str, None]:
    """Return what may be paths in the code of a notebook, in order."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.kind == "code")
    wasm = (name for pair in _WASM.findall(text) for name in pair if name)
    return dict.fromkeys([*wasm, *(name for _, name in _QUOTED.findall(text))])


def _inside(folder: Path, name: str) -> Path | None:
    """Return a file beside the notebook, or None if a path leads elsewhere or to no file, or has no name for everybody."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts:
        return None
    try:
        for part in path.parts:
            safe_name(part)
        found = folder / path
        return found if found.is_file() and found.resolve().is_relative_to(folder.resolve()) else None
    except (BadInput, OSError, ValueError):
        return None


def environment(notebook: Notebook) -> dict[str, str]:
    """Return the versions of what a notebook is made with. No host, no user, no path."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.kind == "code")
    imported = {_DISTRIBUTIONS.get(name, name) for name in _IMPORTED.findall(text)} | {"ipvm", "wasmtime"}
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        if name in imported:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
    return found
