"""Where modules and files come from: bytes, a path, a CID, an address."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ipvm_kernel.errors import NotFound
from ipvm_kernel.handles import File
from ipvm_kernel.ipld import CID
from ipvm_kernel.ipld.unixfs import file_cid
from ipvm_kernel.printable import printable

if TYPE_CHECKING:
    from ipvm_kernel.exchange.resources import Resources
    from ipvm_kernel.store import Store


def module_bytes(source: str | bytes | os.PathLike[str] | CID | File, resources: Resources) -> tuple[CID, bytes | None]:
    """Return the CID of a module, and its bytes where they were given and need not be looked up.

    Raises:
        NotFound: There is no such file, or nobody has what a CID or an address names.
        BadInput: An address that cannot be fetched.
    """
    if isinstance(source, File):
        return source.cid, None
    if isinstance(source, CID):
        return resources.fetch(source, "module"), None
    if isinstance(source, bytes):
        return file_cid(source), source
    text = os.fspath(source)
    named = CID.from_canonical(text)
    if named is not None:
        return resources.fetch(named, "module"), None
    if isinstance(source, str) and "://" in text:
        return resources.obtain(text, "module"), None
    path = Path(text).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(f"no module at {path}: {error.strerror}. The working directory is {Path.cwd()}") from None
    return file_cid(data), data


def file_bytes(path: str | os.PathLike[str], store: Store, resources: Resources) -> tuple[CID, str]:
    """Return the CID and the name of a file, which is in the store from then on.

    Raises:
        NotFound: There is no such file, it cannot be read, or nobody has what an address names.
        BadInput: An address that cannot be fetched.
    """
    if isinstance(path, str) and "://" in path:
        return resources.obtain(path, "input"), printable(path.rstrip("/").rpartition("/")[2], limit=100)
    target = Path(path).expanduser()
    try:
        if not stat.S_ISREG(target.stat().st_mode):
            raise NotFound(f"{target} is no regular file, and only files can be links to bytes")
        cid = store.put_file(target, "input")
    except OSError as error:
        raise NotFound(f"no file at {target}: {error.strerror}. The working directory is {Path.cwd()}") from None
    return cid, target.name


def typed_path(source: object) -> str:
    """Return the path that a person gave for a module, as it was typed, or "" for anything else."""
    text = os.fspath(source) if isinstance(source, str | os.PathLike) else ""
    return text if isinstance(text, str) and "://" not in text and CID.from_canonical(text) is None else ""
