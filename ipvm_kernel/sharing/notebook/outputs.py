"""Outputs as they leave and as they arrive: text, pictures and HTML that only shows, each in one form.

What an output loses is told. The same rules hold for an author and for a reader, so what is shared is what is seen, and a
notebook that was opened and is shared again is the one that came.
"""

from __future__ import annotations

import base64
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.printable import plural, printable, size
from ipvm_kernel.sharing.notebook import prose, static
from ipvm_kernel.sharing.notebook.cells import about_of
from ipvm_kernel.sharing.notebook.forms import joined

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_ATTACHMENTS: Final = 32 * 2**20
"""Characters of base64 of the attachments of one cell."""

_KINDS: Final = 200


class Told:
    """What was left out or escaped, each kind once, with its number and the place of the first."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._places: dict[str, str] = {}

    def add(self, what: str, where: str, count: int = 1) -> None:
        """Note that something was left out."""
        if what not in self._places and len(self._places) == _KINDS:
            what, where = "and more kinds of things", "the notebook"
        self._counts[what] += count
        self._places.setdefault(what, where)

    def lines(self) -> list[str]:
        """Return one line for each kind."""
        return [
            f"{what} ({self._places[what]})"
            if count == 1
            else f"{what} ({plural(count, 'time')}, first in {self._places[what]})"
            for what, count in self._counts.items()
        ]


# --- text -------------------------------------------------------------------------------------------------------------

_ESCAPES: Final = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]{0,60}m)"
    r"|(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]"  # CSI: cursor, screen, questions
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90-\x9f]*+(?:\x07|\x9c|\x1b\\)"  # OSC, DCS, SOS, PM, APC
    r"|\x1b[ -/]*+[0-~]?"
    r"|(?P<control>[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069])",
    re.DOTALL,
)


def text(said: str) -> tuple[str, int]:
    """Return text of an output, and how many characters or sequences in it were changed.

    Colours stay (`ESC [ ... m`), and so do tabs, line ends and what a progress bar goes back with. Other sequences are taken
    out: a terminal would move its cursor, answer, or write to the clipboard. Other control characters, and those that turn
    the direction of text around, are written as escapes.
    """
    count = 0

    def one(found: re.Match[str]) -> str:
        nonlocal count
        if found["colour"]:
            return found[0]
        count += 1
        return printable(found[0]) if found["control"] else ""

    return _ESCAPES.sub(one, said), count


# --- outputs ----------------------------------------------------------------------------------------------------------

_PANDAS: Final = re.compile(
    r"<style scoped>\s*(?:\.dataframe [a-z: -]{1,60}\{\s*(?:vertical-align|text-align): [a-z]{1,12};\s*\}\s*){1,8}</style>\s*"
)
_UNSHOWN: Final = re.compile(r"<[\w.]{1,120} (?:object|at 0x[0-9a-f]+|object at 0x[0-9a-f]+)>")
_LATEX: Final = re.compile(
    r"\\(?:href|url|class|cssId|style|require|data|html|def|let|newcommand|renewcommand|include|unicode)"
)
_MOST_LATEX: Final = 100_000
_MOST_SIDE: Final = 20_000  # pixels that a picture may be said to be wide or high


def cleaned(outputs: Iterable[dict[str, Any]], where: str, told: Told) -> list[dict[str, Any]]:
    """Return outputs that only show.

    Args:
        outputs: Outputs of a cell, as nbformat 4 has them.
        where: What the cell is called where it is told.
        told: What is left out is noted here.
    """
    return [made for output in outputs if (made := _output(output, where, told)) is not None]


def _output(output: dict[str, Any], where: str, told: Told) -> dict[str, Any] | None:
    match output["output_type"]:
        case "stream":
            name = output.get("name")
            said = lines(_text(joined(output["text"]), where, told))
            return {"output_type": "stream", "name": name if name == "stderr" else "stdout", "text": said}
        case "error":
            return {
                "output_type": "error",
                "ename": _text(output["ename"], where, told),
                "evalue": _text(output["evalue"], where, told),
                "traceback": [_text(line, where, told) for line in output["traceback"]],
            }
        case kind:
            data = _bundle(output["data"], where, told)
            made = {"output_type": kind, "data": data, "metadata": _metadata(output["metadata"], data, where, told)}
            if kind == "execute_result":
                made["execution_count"] = output.get("execution_count")
            return made


def _text(said: str, where: str, told: Told) -> str:
    safe, count = text(said)
    if count:
        told.add("terminal sequences and control characters in outputs", where, count)
    return safe


def _bundle(bundle: dict[str, Any], where: str, told: Told) -> dict[str, Any]:
    """Return the forms of an output that only show; if none is left, a line that says what there was."""
    made: dict[str, Any] = {}
    left: list[str] = []
    for mime, data in sorted(bundle.items()):
        try:
            made[mime] = _form(mime, data, where, told)
        except static.NotStatic as reason:
            left.append(f"{printable(mime, limit=80)} ({reason})" if str(reason) else printable(mime, limit=80))
            told.add(f"{left[-1]} in an output", where)
    if "image/svg+xml" in made:
        made.setdefault("text/html", lines(made["image/svg+xml"]))
        del made["image/svg+xml"]
    plain = joined(made.get("text/plain", ""))
    if left and set(made) <= {"text/plain"} and (not plain or _UNSHOWN.fullmatch(plain.strip())):
        made["text/plain"] = lines(f"[left out: {'; '.join(left[:4])}]")
    return made


def _form(mime: str, data: Any, where: str, told: Told) -> Any:
    """Return one form of an output, as nbformat keeps it.

    Raises:
        NotStatic: It is left out; the message says why, or nothing if its type is enough.
    """
    if mime == "text/plain":
        return lines(_text(joined(data), where, told))
    if mime == "text/html":
        said = _PANDAS.sub("", joined(data))
        static.html(said)
        return lines(said)
    if mime == "text/latex":
        said = joined(data)
        if len(said) > _MOST_LATEX or _LATEX.search(said):
            raise static.NotStatic(printable(said, limit=40))
        return lines(_text(said, where, told))
    if mime == "text/markdown":
        said, escaped = prose.markdown(_text(joined(data), where, told))
        for what in escaped:
            told.add(what, where)
        return lines(said)
    if mime in static.PICTURES:
        static.picture(mime, joined(data))
        return joined(data)
    if mime == "image/svg+xml":
        drawn = joined(data).encode()
        static.svg(drawn)
        return (
            f'<img alt="SVG image" src="data:{mime};base64,{base64.b64encode(drawn).decode()}" style="max-width:100%">'
        )
    raise static.NotStatic


def _metadata(metadata: dict[str, Any], data: dict[str, Any], where: str, told: Told) -> dict[str, Any]:
    """Return what may be said beside an output: its receipts, and how large its pictures are."""
    made: dict[str, Any] = {}
    about = about_of(metadata)
    if about.ignored:
        told.add("entries that name no receipt, task or workflow", where, about.ignored)
    if about.receipts or about.workflows:
        made["ipvm"] = {
            "cell": about.cell,
            "receipts": {str(ran): str(receipt) for ran, receipt in about.receipts.items()},
            "workflows": [str(cid) for cid in about.workflows],
        }
    for mime in static.PICTURES:
        found = metadata.get(mime)
        if mime in data and isinstance(found, dict):
            sides = {side: found[side] for side in ("height", "width") if side in found}
            if sides and all(type(n) is int and 0 < n <= _MOST_SIDE for n in sides.values()):
                made[mime] = sides
    gone = len(metadata) - len(made) - (about.ignored > 0 and "ipvm" not in made)
    if gone > 0:
        told.add("metadata of outputs", where, gone)
    return made


# --- attachments ------------------------------------------------------------------------------------------------------


def attachments(bundles: dict[str, Any], where: str, told: Told) -> dict[str, Any]:
    """Return the attachments of a cell that are pictures."""
    made: dict[str, Any] = {}
    for name, bundle in sorted(bundles.items()):
        shown = printable(name, limit=60)
        kept: dict[str, str] = {}
        for mime, data in bundle.items():
            try:
                if mime not in static.PICTURES:
                    raise static.NotStatic
                static.picture(mime, joined(data))
                kept[mime] = joined(data)
            except static.NotStatic as reason:
                why = f": {reason}" if str(reason) else ""
                told.add(f"the attachment {shown} of {printable(mime, limit=60)}{why}", where)
        if kept and len(name) <= 200 and printable(name, limit=200) == name:
            made[name] = kept
        elif kept:
            told.add(f"the attachment {shown}, for its name", where)
    if sum(len(text) for bundle in made.values() for text in bundle.values()) > MOST_ATTACHMENTS:
        told.add(f"attachments of more than {size(MOST_ATTACHMENTS)}", where)
        return {}
    return made


def lines(said: str) -> list[str]:
    """Return text as Jupyter keeps it in a file."""
    return said.splitlines(keepends=True)
