"""Folders of IPFS, written to the disk while their files come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipvm_kernel.errors import BadInput
from ipvm_kernel.ipld.folders import walk
from ipvm_kernel.ipld.placing import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ipvm_kernel.exchange.http import Deadline
    from ipvm_kernel.ipld import CID


def unpack(
    cid: CID,
    target: Path,
    get: Callable[[CID], bytes],
    content: Callable[[CID], Iterator[bytes]],
    deadline: Deadline,
    *,
    max_bytes: int,
) -> list[Path]:
    """Write a folder of IPFS as a new folder, and return the files in it. It appears when all of it is there.

    Args:
        cid: The folder.
        target: Where it will stand.
        get: Returns the bytes that a CID names, checked.
        content: Yields the content of a file, checked.
        deadline: When it must be done.
        max_bytes: Bytes of all files, at most.

    Raises:
        BadInput: It is no folder; a name in it is not safe everywhere.
        NotAllowed: Something else is at `target`.
        LimitExceeded: Too many files, or too many bytes.
        Over: The time is over.
    """
    paths = []
    with Place(target, max_bytes=max_bytes) as place:
        for path, child in walk(cid, get):
            if not path:
                raise BadInput(f"expected a folder, found a file: {cid}. Give the name of a file to write it to")
            if child.codec not in {"raw", "dag-pb"}:
                raise BadInput(f"expected files and folders, found {child.codec}: {child} at {path} in {cid}")
            paths.append(place.add(path, content(child)))
            deadline.left()
    return paths
