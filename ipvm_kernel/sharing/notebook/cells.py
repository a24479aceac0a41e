"""A notebook of anybody, read: size, form and version checked, and what its cells say of receipts.

nbformat 4 (https://nbformat.readthedocs.io/en/latest/format_description.html). A receipt that an output names is a claim of
whoever wrote the file; `check` finds out.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ipvm_kernel.ipld import CID
from ipvm_kernel.printable import printable
from ipvm_kernel.sharing.notebook import forms
from ipvm_kernel.sharing.notebook.forms import joined

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES: Final = 64 * 2**20
"""Bytes of a notebook, unless the caller says otherwise."""

MOST_NAMED: Final = 1_000
"""Receipts, and workflows, that one output may name; `%%ipvm` names no more."""

Kind = Literal["code", "markdown", "raw"]


class About(msgspec.Struct, frozen=True):
    """What an output's metadata says of ipvm, as far as it can be true.

    Attributes:
        cell: The id or hash of the cell that made it, safe to show.
        workflows: CIDs of workflows.
        receipts: For each instruction its receipt.
        ignored: Entries that are nonsense, or more than one output may name.
    """

    cell: str = ""
    workflows: tuple[CID, ...] = ()
    receipts: dict[CID, CID] = msgspec.field(default_factory=dict)
    ignored: int = 0


class SharedCell(msgspec.Struct, frozen=True):
    """One cell.

    Attributes:
        index: Its place, from 0.
        ident: Its id.
        kind: code, markdown or raw.
        heading: Its first line, safe to show.
        source: What is in it.
        receipts: For each instruction the receipt that its outputs name.
        workflows: The workflows that its outputs name.
        outputs: How many outputs it has.
        backed: How many of them name a receipt; the others are ordinary Python's.
        output_bytes: Bytes of its outputs, as JSON.
        ignored: Entries of its outputs' metadata that are nonsense.
        attachments: Names of its attachments, safe to show.
    """

    index: int
    ident: str
    kind: Kind
    heading: str
    source: str
    receipts: dict[CID, CID]
    workflows: tuple[CID, ...]
    outputs: int
    backed: int
    output_bytes: int
    ignored: int
    attachments: tuple[str, ...]

    @property
    def ordinary(self) -> int:
        """Outputs that name no receipt: what Python printed and showed."""
        return self.outputs - self.backed


class Notebook:
    """A notebook that is well formed, with what its cells say of receipts.

    Attributes:
        raw: It as JSON values, at nbformat 4.5; not to be changed.
    """

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw

    @cached_property
    def cells(self) -> list[SharedCell]:
        """Its cells, in order."""
        return [_shared(index, cell) for index, cell in enumerate(self.raw["cells"])]

    @property
    def kernel(self) -> str:
        """The name of the kernel that it asks for, or "", safe to show."""
        return _said(self.raw["metadata"], "kernelspec", "name")

    @property
    def language(self) -> str:
        """The language of its code, or "", safe to show."""
        metadata = self.raw["metadata"]
        return _said(metadata, "language_info", "name") or _said(metadata, "kernelspec", "language")

    @property
    def receipts(self) -> dict[CID, CID]:
        """For each instruction the receipt that some output names; of several, the last."""
        return {ran: receipt for cell in self.cells for ran, receipt in cell.receipts.items()}

    @property
    def workflows(self) -> list[CID]:
        """The workflows that outputs name, each once."""
        return list(dict.fromkeys(cid for cell in self.cells for cid in cell.workflows))

    @property
    def attachments(self) -> list[str]:
        """Names of attachments, safe to show."""
        return [name for cell in self.cells for name in cell.attachments]

    @property
    def outputs(self) -> int:
        """How many outputs it has."""
        return sum(cell.outputs for cell in self.cells)

    @property
    def backed(self) -> int:
        """How many of its outputs name a receipt."""
        return sum(cell.backed for cell in self.cells)

    @property
    def ordinary(self) -> int:
        """How many of its outputs are ordinary Python's."""
        return self.outputs - self.backed

    @property
    def output_bytes(self) -> int:
        """Bytes of its outputs, as JSON."""
        return sum(cell.output_bytes for cell in self.cells)

    @property
    def ignored(self) -> int:
        """Entries of its outputs' metadata that are nonsense, and were passed over."""
        return sum(cell.ignored for cell in self.cells)


def read(source: Path | bytes, *, most: int = MOST_BYTES) -> Notebook:
    """Return a notebook from a file or its bytes. Nothing of it is run or trusted.

    Args:
        source: Where it is, or what it holds.
        most: Bytes that it may have.

    Raises:
        NotFound: No such file.
        Malformed: No notebook of nbformat 4; the message says where, and what to do.
        LimitExceeded: More bytes, cells, outputs or depth than allowed.
    """
    return Notebook(forms.checked(source if isinstance(source, bytes) else forms.bytes_of(source, most), most))


def about_of(metadata: Any) -> About:
    """Return what the metadata of an output says of ipvm; nonsense is counted and passed over, never raised."""
    found = metadata.get("ipvm") if isinstance(metadata, dict) else None
    if found is None:
        return About()
    if not isinstance(found, dict):
        return About(ignored=1)
    cell, ignored = found.get("cell", ""), 0
    if not isinstance(cell, str) or len(cell) > 128:
        cell, ignored = "", 1
    named, told = found.get("workflows", []), found.get("receipts", {})
    if not isinstance(named, list):
        named, ignored = [], ignored + 1
    if not isinstance(told, dict):
        told, ignored = {}, ignored + 1
    ignored += max(0, len(named) - MOST_NAMED) + max(0, len(told) - MOST_NAMED)
    workflows = [cid for text in named[:MOST_NAMED] if (cid := _block_of_ours(text)) is not None]
    receipts: dict[CID, CID] = {}
    first = list(told.items())[:MOST_NAMED]
    for ran, receipt in first:
        names = _block_of_ours(ran), _block_of_ours(receipt)
        if names[0] is not None and names[1] is not None:
            receipts[names[0]] = names[1]
    ignored += len(named[:MOST_NAMED]) - len(workflows) + len(first) - len(receipts)
    return About(printable(cell), tuple(dict.fromkeys(workflows)), receipts, ignored)


def _block_of_ours(text: Any) -> CID | None:
    """Return the CID that a text spells, if a task, receipt or workflow can have it."""
    cid = CID.from_canonical(text) if isinstance(text, str) and len(text) <= 128 else None
    return cid if cid is not None and cid.codec == "dag-cbor" and cid.hash in {"sha3-256", "sha2-256"} else None


def _shared(index: int, cell: dict[str, Any]) -> SharedCell:
    source = joined(cell["source"])
    outputs = cell.get("outputs", [])
    told = [about_of(output.get("metadata")) for output in outputs]
    return SharedCell(
        index=index,
        ident=cell["id"],
        kind=cell["cell_type"],
        heading=_heading(source, cell["cell_type"]),
        source=source,
        receipts={ran: receipt for about in told for ran, receipt in about.receipts.items()},
        workflows=tuple(dict.fromkeys(cid for about in told for cid in about.workflows)),
        outputs=len(outputs),
        backed=sum(bool(about.receipts) for about in told),
        output_bytes=sum(len(json.dumps(output, ensure_ascii=False).encode()) for output in outputs),
        ignored=sum(about.ignored for about in told),
        attachments=tuple(printable(name, limit=100) for name in cell.get("attachments", {})),
    )


def _heading(source: str, kind: str) -> str:
    """Return the first line that says something; the one that makes a workflow of a cell says little."""
    magic = ""
    for line in source[:4_000].splitlines():
        said = line.strip().lstrip("#").strip() if kind == "markdown" else line.strip()
        if said.startswith("%%ipvm"):
            magic = magic or said
        elif said:
            return printable(said, limit=80)
    return printable(magic, limit=80)


def _said(metadata: dict[str, Any], *path: str) -> str:
    value: Any = metadata
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return printable(value, limit=60) if isinstance(value, str) else ""
