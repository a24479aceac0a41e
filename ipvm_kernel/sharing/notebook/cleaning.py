"""A notebook as it leaves, and as it is written where it arrives.

`cleaned` is what is shared: one text for one notebook, without what is of the author's machine, with outputs that only show.
`opened` is what a reader gets of anybody: the same again, since a stranger made it, and prose that fetches nothing. Cells
that `opened` puts in front are taken out by `cleaned`, so that a notebook shared again keeps its CID.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.printable import printable
from ipvm_kernel.sharing.notebook import jsontext, outputs, prose
from ipvm_kernel.sharing.notebook.cells import MOST_BYTES, Notebook, read
from ipvm_kernel.sharing.notebook.forms import joined
from ipvm_kernel.sharing.notebook.outputs import Told, lines

if TYPE_CHECKING:
    from collections.abc import Sequence

LOADER: Final = "%load_ext ipvm"

_LOADS: Final = re.compile(r"^[ \t]*%(?:re)?load_ext[ \t]+ipvm[ \t]*$", re.MULTILINE)
_KERNEL: Final = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_PYTHON: Final = {"python", "python3", "ipython", "ipvm", ""}
_KERNELS: Final = {"", "ipvm", "python3"}
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+#()-]{0,59}")
_SLIDES: Final = frozenset({"slide", "subslide", "fragment", "skip", "notes", "-"})
_TAGS: Final = 20


def cleaned(notebook: Notebook, *, dropped: list[str] | None = None) -> bytes:
    """Return what leaves: nbformat 4.5 in one canonical text, outputs that only show, nothing of the author's machine.

    Args:
        notebook: A notebook.
        dropped: What was left out is added here, one line for each kind, safe to show.
    """
    told = Told()
    data = jsontext.dumps(_clean(notebook, told))
    if dropped is not None:
        dropped += told.lines()
    return data


def opened(
    data: bytes, *, banner: Sequence[str] = (), dropped: list[str] | None = None, most: int = MOST_BYTES
) -> bytes:
    """Return what is written at the reader's: nothing in it runs, asks or is trusted.

    Args:
        data: A notebook of anybody.
        banner: Lines for the reader, in a cell of their own before all others.
        dropped: What was left out or escaped is added here, one line for each kind, safe to show.
        most: Bytes that it may have.

    Raises:
        Malformed: No notebook of nbformat 4.
        LimitExceeded: Too much of one.
    """
    told = Told()
    raw = _clean(read(data, most=most), told)
    for index, cell in enumerate(raw["cells"]):
        if cell["cell_type"] != "raw":
            change = prose.code if cell["cell_type"] == "code" else prose.markdown
            said, escaped = change("".join(cell["source"]))
            cell["source"] = lines(said)
            for what in escaped:
                told.add(what, _called(index, cell))
    if raw["metadata"]["kernelspec"]["name"] != "python3":
        _renamed(raw["metadata"]["kernelspec"]["name"], told)
        raw["metadata"] |= {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    taken = {cell["id"] for cell in raw["cells"]}
    front = []
    if banner:
        said = "\n".join(f"> {_escaped(line)}  " for line in banner)
        front.append(_own("markdown", "ipvm-opened-banner", said, taken))
    if not any(cell["cell_type"] == "code" and _LOADS.search("".join(cell["source"])) for cell in raw["cells"]):
        front.append(_own("code", "ipvm-opened-loader", LOADER, taken))
    raw["cells"] = front + raw["cells"]
    if dropped is not None:
        dropped += told.lines()
    return jsontext.dumps(raw)


# --- cells of our own -------------------------------------------------------------------------------------------------


def _own(kind: str, ident: str, source: str, taken: set[str]) -> dict[str, Any]:
    """Return a cell that `cleaned` takes out again, unless somebody wrote in it."""
    ident = next(name for n in itertools.count() if (name := f"{ident}-{n}" if n else ident) not in taken)
    cell: dict[str, Any] = {
        "cell_type": kind,
        "id": ident,
        "metadata": {"ipvm": {"opened": _digest(source)}},
        "source": lines(source),
    }
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def _is_own(cell: dict[str, Any]) -> bool:
    mark = cell["metadata"].get("ipvm")
    return isinstance(mark, dict) and mark.get("opened") == _digest(joined(cell["source"]))


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:32]


def _escaped(line: str) -> str:
    """Return a line that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>&~$^=:/@-])", _entity, printable(line, limit=400))


def _entity(found: re.Match[str]) -> str:
    # Numbers instead of backslashes: MathJax and the search for addresses come after Markdown has taken those away.
    return f"&#{ord(found[0])};" if found[0] not in ":/@-" else found[0]


# --- what leaves ------------------------------------------------------------------------------------------------------


def _clean(notebook: Notebook, told: Told) -> dict[str, Any]:
    raw = notebook.raw
    kept = [cell for cell in raw["cells"] if not _is_own(cell)]
    return {
        "cells": [_cell(cell, _called(index, cell), told) for index, cell in enumerate(kept)],
        "metadata": _of_notebook(notebook, told),
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _called(index: int, cell: dict[str, Any]) -> str:
    return f"cell {index + 1}, {cell['id'][:20]}"


def _cell(cell: dict[str, Any], where: str, told: Told) -> dict[str, Any]:
    made: dict[str, Any] = {
        "cell_type": cell["cell_type"],
        "id": cell["id"],
        "metadata": _of_cell(cell["metadata"], where, told),
        "source": lines(joined(cell["source"])),
    }
    if cell["cell_type"] == "code":
        made["execution_count"] = cell["execution_count"]
        made["outputs"] = outputs.cleaned(cell["outputs"], where, told)
    elif cell.get("attachments"):
        attached = outputs.attachments(cell["attachments"], where, told)
        if attached:
            made["attachments"] = attached
    return made


def _of_cell(metadata: dict[str, Any], where: str, told: Told) -> dict[str, Any]:
    """Return the metadata that a reader has a use for. Whatever hides a cell's source, or keeps it from change, goes."""
    made: dict[str, Any] = {}
    tags = metadata.get("tags")
    if isinstance(tags, list):
        fit = [tag for tag in dict.fromkeys(t for t in tags if isinstance(t, str)) if _NAME.fullmatch(tag)][:_TAGS]
        if fit:
            made["tags"] = fit
    slides = metadata.get("slideshow")
    kind = slides.get("slide_type") if isinstance(slides, dict) else None
    if isinstance(kind, str) and kind in _SLIDES:
        made["slideshow"] = {"slide_type": kind}
    for name in sorted(set(metadata) - set(made)):
        told.add(f"{printable(name, limit=40)} in the metadata of cells", where)
    return made


def _of_notebook(notebook: Notebook, told: Told) -> dict[str, Any]:
    metadata = notebook.raw["metadata"]
    made: dict[str, Any] = {"kernelspec": _KERNEL, "language_info": {"name": "python"}}
    language, kernel = notebook.language, notebook.kernel
    if language.lower() not in _PYTHON and _NAME.fullmatch(language):
        name = kernel if _NAME.fullmatch(kernel) else language
        made = {
            "kernelspec": {"display_name": name, "language": language, "name": name},
            "language_info": {"name": language},
        }
    elif kernel not in _KERNELS:
        _renamed(kernel, told)
    title = metadata.get("title")
    if isinstance(title, str) and title and len(title) <= 200:
        made["title"] = printable(title)
    for name in sorted(set(metadata) - set(made)):
        told.add(f"{printable(name, limit=40)} in the notebook's metadata", "the notebook")
    return made


def _renamed(kernel: str, told: Told) -> None:
    told.add(f"the kernel {kernel}; it asks for python3 now", "the notebook")
