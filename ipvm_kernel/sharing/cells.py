"""A notebook of anybody, read: size, form and version checked, and what its cells say of receipts.

nbformat 4 (https://nbformat.readthedocs.io/en/latest/format_description.html). A receipt that an output names is a claim of
whoever wrote the file; `check` finds out.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from ipvm_kernel.errors import LimitExceeded, Malformed, NotFound
from ipvm_kernel.ipld import CID
from ipvm_kernel.printable import printable, size
from ipvm_kernel.sharing import jsontext

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES: Final = 64 * 2**20
"""Bytes of a notebook, unless the caller says otherwise."""

MOST_CELLS: Final = 10_000
MOST_OUTPUTS: Final = 100_000
MOST_NAMED: Final = 1_000
"""Receipts, and workflows, that one output may name; `%%ipvm` names no more."""

CELL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")

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
    data = source if isinstance(source, bytes) else _bytes_of(source, most)
    if len(data) > most:
        raise LimitExceeded(f"Expected a notebook of at most {size(most)}, found {size(len(data))}. {_CLEAR}")
    raw = jsontext.loads(data)
    _version(raw)
    _form(raw)
    _upgrade(raw)
    _validate(raw)
    return Notebook(raw)


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


def joined(text: Any) -> str:
    """Return text that nbformat keeps as one string or as a list of lines."""
    return text if isinstance(text, str) else "".join(text)


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
    """Return the first line that says something."""
    for line in source[:4_000].splitlines():
        said = line.strip().lstrip("#").strip() if kind == "markdown" else line.strip()
        if said:
            return printable(said, limit=80)
    return ""


def _said(metadata: dict[str, Any], *path: str) -> str:
    value: Any = metadata
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return printable(value, limit=60) if isinstance(value, str) else ""


# --- reading ----------------------------------------------------------------------------------------------------------

_CLEAR: Final = "Clear large outputs (in JupyterLab: Edit, Clear Outputs of All Cells), or put data into files."


def _bytes_of(path: Path, most: int) -> bytes:
    shown = printable(str(path), limit=300)
    try:
        with path.open("rb", buffering=0) as file:
            about = path.stat()
            if not stat.S_ISREG(about.st_mode):
                raise Malformed(
                    f"Expected a notebook, found that {shown} is no plain file. Give the path of an .ipynb."
                )
            if about.st_size > most:
                found = f"{size(about.st_size)} in {shown}"
                raise LimitExceeded(f"Expected a notebook of at most {size(most)}, found {found}. {_CLEAR}")
            return file.read(most + 1)
    except FileNotFoundError:
        raise NotFound(f"Expected a notebook at {shown}, found no file. Check the path.") from None
    except OSError as error:
        raise Malformed(
            f"Expected a notebook at {shown}, found: {error.strerror}. Give the path of an .ipynb."
        ) from None


def _version(raw: Any) -> None:
    if not isinstance(raw, dict):
        raise Malformed(f"Expected a map at $ (a notebook), found {_kind(raw)}. Give an .ipynb file.")
    major: Any = raw.get("nbformat")
    if not _count(major):
        raise Malformed(f"Expected a number at $.nbformat, found {_kind(major)}. Give an .ipynb file.")
    if major < 4:
        raise Malformed(
            f"Expected nbformat 4 at $.nbformat, found {major}. Convert it: jupyter nbconvert --to notebook FILE."
        )
    if major > 4:
        raise Malformed(
            f"Expected nbformat 4 at $.nbformat, found {major}, which is not known here. "
            "Save it as nbformat 4 where it was made, or upgrade ipvm."
        )
    if not _count(raw.get("nbformat_minor")):
        found = _kind(raw.get("nbformat_minor"))
        raise Malformed(f"Expected a number at $.nbformat_minor, found {found}. Open and save it in JupyterLab.")


def _form(raw: dict[str, Any]) -> None:
    """Check what everything here relies on, and say where it is not so, better than a schema can."""
    cells = _expect(raw.get("cells"), list, "$.cells")
    _expect(raw.get("metadata"), dict, "$.metadata")
    if len(cells) > MOST_CELLS:
        raise LimitExceeded(f"Expected at most {MOST_CELLS:,} cells, found {len(cells):,}. Split the notebook.")
    count, seen = 0, set[str]()
    for index, cell in enumerate(cells):
        place = f"$.cells[{index}]"
        _expect(cell, dict, place)
        if cell.get("cell_type") not in {"code", "markdown", "raw"}:
            raise _wrong(cell.get("cell_type"), "code, markdown or raw", f"{place}.cell_type")
        _expect(cell.get("metadata"), dict, f"{place}.metadata")
        _text(cell.get("source"), f"{place}.source")
        if "id" in cell:
            ident = cell["id"]
            if not isinstance(ident, str) or not CELL_ID.fullmatch(ident):
                raise _wrong(ident, "an id of 1 to 64 of a-z, A-Z, 0-9, - and _", f"{place}.id")
            if ident in seen:
                raise Malformed(
                    f"Expected each cell id once, found {ident} again at {place}.id. Save it in JupyterLab."
                )
            seen.add(ident)
        attachments = _expect(cell.get("attachments", {}), dict, f"{place}.attachments")
        for name, bundle in attachments.items():
            _bundle(bundle, f"{place}.attachments.{name[:60]}")
        if cell["cell_type"] == "code":
            outputs = _expect(cell.get("outputs"), list, f"{place}.outputs")
            count += len(outputs)
            if count > MOST_OUTPUTS:
                raise LimitExceeded(f"Expected at most {MOST_OUTPUTS:,} outputs, found more at {place}. {_CLEAR}")
            for number, output in enumerate(outputs):
                _output(output, f"{place}.outputs[{number}]")


def _output(output: Any, place: str) -> None:
    kind = _expect(output, dict, place).get("output_type")
    if kind == "stream":
        _text(output.get("text"), f"{place}.text")
    elif kind == "error":
        for line in _expect(output.get("traceback"), list, f"{place}.traceback"):
            _expect(line, str, f"{place}.traceback")
    elif kind in {"display_data", "execute_result"}:
        _bundle(output.get("data"), f"{place}.data")
        _expect(output.get("metadata"), dict, f"{place}.metadata")
    else:
        raise _wrong(kind, "stream, error, display_data or execute_result", f"{place}.output_type")


def _bundle(bundle: Any, place: str) -> None:
    """Check a mimebundle: text by media type, or any JSON where the type is JSON."""
    for mime, data in _expect(bundle, dict, place).items():
        if not (mime == "application/json" or mime.endswith("+json")):
            _text(data, f"{place}[{mime[:60]!r}]")


def _text(value: Any, place: str) -> None:
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(line, str) for line in value)):
        raise _wrong(value, "text, or a list of lines,", place)


_KINDS: Final[dict[type, str]] = {
    type(None): "nothing",
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a map",
}


def _expect(value: Any, kind: type, place: str) -> Any:
    if not isinstance(value, kind):
        raise _wrong(value, _KINDS[kind], place)
    return value


def _wrong(value: Any, expected: str, place: str) -> Malformed:
    found = printable(repr(value), limit=60) if isinstance(value, str) else _kind(value)
    return Malformed(
        f"Expected {expected} at {place}, found {found}. Open and save it in JupyterLab, or remove the cell."
    )


def _kind(value: Any) -> str:
    return _KINDS[type(value)]


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _upgrade(raw: dict[str, Any]) -> None:
    """Make it nbformat 4.5. Ids that are new in it are made from place and source: the same notebook gets the same ones."""
    taken = {cell["id"] for cell in raw["cells"] if "id" in cell}
    for index, cell in enumerate(raw["cells"]):
        if "id" not in cell:
            source = joined(cell["source"]).encode()
            ident = hashlib.sha256(b"%d %s" % (index, source)).hexdigest()[:16]
            while ident in taken:
                ident = hashlib.sha256(ident.encode()).hexdigest()[:16]
            taken.add(ident)
            cell["id"] = ident
        if cell["cell_type"] == "code":
            cell.setdefault("execution_count", None)


def _validate(raw: dict[str, Any]) -> None:
    """Let nbformat itself say whether it is valid. Fields that a later 4.x added are allowed, and go when it is written."""
    from nbformat.validator import iter_validate

    newer, raw["nbformat_minor"] = raw["nbformat_minor"] > 5, 5
    error: Any = next(iter(iter_validate(raw, version=4, version_minor=5, relax_add_props=newer)), None)
    if error is not None:
        steps = list(error.relative_path)
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        said = printable(error.message.split("\n")[0], limit=200)
        raise Malformed(
            f"Expected nbformat 4.5 at ${printable(path, limit=200)}, found: {said}. "
            "Open and save it in JupyterLab, or remove the cell."
        )
