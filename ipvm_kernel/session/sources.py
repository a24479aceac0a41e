"""Where modules come from: bytes, a path, a CID, an address."""

from __future__ import annotations

import os
from pathlib import Path

from ipvm_kernel.errors import BadCID, NotFound
from ipvm_kernel.handles import File
from ipvm_kernel.ipld import CID
from ipvm_kernel.ipld.unixfs import file_cid


def module_bytes(source: str | bytes | os.PathLike[str] | CID | File) -> tuple[CID, bytes | None]:
    """Return the CID of a module, and its bytes where they were given and need not be looked up.

    Raises:
        NotFound: There is no such file.
        BadCID: An address without a CID.
    """
    if isinstance(source, File):
        return source.cid, None
    if isinstance(source, CID):
        return source, None
    if isinstance(source, bytes):
        return file_cid(source), source
    text = os.fspath(source)
    named = CID.from_canonical(text.removeprefix("ipfs://"))
    if named is not None:
        return named, None
    if text.startswith("ipfs://"):
        raise BadCID(f"expected ipfs:// and a CID, found {text[:100]!r}")
    path = Path(text).expanduser()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(f"no module at {path}: {error.strerror}. The working directory is {Path.cwd()}") from None
    return file_cid(data), data
