"""The form of a notebook: bytes of anybody in, JSON values out that are nbformat 4.5 in all that is relied on here.

Each refusal names the place. nbformat's own validator has the last word; what it says of a file of 60 MB helps nobody, so
what can be said better is said before.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.errors import LimitExceeded, Malformed, NotFound
from ipvm_kernel.printable import printable, size
from ipvm_kernel.sharing.notebook import jsontext

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_CELLS: Final = 10_000
MOST_OUTPUTS: Final = 100_000

_CELL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_CLEAR: Final = "Clear large outputs (in JupyterLab: Edit, Clear Outputs of All Cells), or put data into files."


def bytes_of(path: Path, most: int) -> bytes:
    """Return the bytes of a file that is not too large."""
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


def checked(data: bytes, most: int) -> dict[str, Any]:
    """Return a notebook as JSON values at nbformat 4.5."""
    if len(data) > most:
        raise LimitExceeded(f"Expected a notebook of at most {size(most)}, found {size(len(data))}. {_CLEAR}")
    raw: dict[str, Any] = jsontext.loads(data)
    _version(raw)
    _form(raw)
    _upgrade(raw)
    _validate(raw)
    return raw


def joined(text: Any) -> str:
    """Return text that nbformat keeps as one string or as a list of lines."""
    return text if isinstance(text, str) else "".join(text)


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
            if not isinstance(ident, str) or not _CELL_ID.fullmatch(ident):
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
    """Let nbformat say whether it is valid. Fields that a later 4.x added are allowed, and go when it is written."""
    newer, raw["nbformat_minor"] = raw["nbformat_minor"] > 5, 5
    if _is_valid(raw, newer):
        return
    from nbformat.validator import iter_validate  # which takes 0.7 s to load, and says where and why

    error: Any = next(iter(iter_validate(raw, version=4, version_minor=5, relax_add_props=newer)), None)
    if error is not None:
        steps = list(error.relative_path)
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
        said = printable(error.message.split("\n")[0], limit=200)
        raise Malformed(
            f"Expected nbformat 4.5 at ${printable(path, limit=200)}, found: {said}. "
            "Open and save it in JupyterLab, or remove the cell."
        )


def _is_valid(raw: dict[str, Any], newer: bool) -> bool:
    """Return True if nbformat's own schema says that a notebook is valid; False too where that cannot be asked by itself."""
    check = _schema(newer)
    if check is None:
        return False
    try:
        check(raw)
    except ValueError:  # that of fastjsonschema is one
        return False
    return True


@functools.cache
def _schema(relaxed: bool) -> Callable[[Any], object] | None:
    """Return what holds a notebook against the schema that nbformat comes with, by the validator that nbformat uses.

    nbformat itself is not loaded for that. None if its schema does not lie where it did.
    """
    try:
        import fastjsonschema

        found = importlib.util.find_spec("nbformat")
        assert found is not None
        assert found.origin is not None
        schema = json.loads(Path(found.origin).with_name("v4").joinpath("nbformat.v4.5.schema.json").read_bytes())
        if relaxed:
            _relax(schema)
        made: Callable[[Any], object] = fastjsonschema.compile(schema)
    except (ImportError, OSError, ValueError, AssertionError):
        return None
    return made


def _relax(schema: Any) -> None:
    """Allow fields that a schema does not know, wherever it forbids them."""
    pending = [schema]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            if "additionalProperties" in current:
                current["additionalProperties"] = True
            pending += current.values()
        elif isinstance(current, list):
            pending += current
