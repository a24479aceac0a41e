"""What a notebook shows that its author may not want to show: paths of a home, and text that looks like a key.

A help, no guard: it is told before sharing, and nobody is held up. The forms of keys are those that their issuers publish
for this use (GitHub's "Secret scanning patterns" lists them).
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipvm_kernel.printable import printable
from ipvm_kernel.sharing.notebook import jsontext

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipvm_kernel.sharing.notebook.cells import Notebook

# What it is, words of which one has to be there (looked for first, since that is fast), and its form.
_KEYS: Final = tuple(
    (name, words, re.compile(form))
    for name, words, form in (
        ("a key of AWS", ("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
        ("a token of GitHub", ("gh", "github_pat_"), r"\b(?:gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_\w{20,255})"),
        ("a token of GitLab", ("glpat-",), r"\bglpat-[\w-]{20,100}"),
        ("a key of OpenAI or Anthropic", ("sk-",), r"\bsk-[A-Za-z0-9_-]{20,200}"),
        ("a token of Slack", ("xox",), r"\bxox[abprs]-[A-Za-z0-9-]{10,200}"),
        ("a key of Google", ("AIza",), r"\bAIza[\w-]{35}"),
        ("a token of Hugging Face", ("hf_",), r"\bhf_[A-Za-z0-9]{30,100}"),
        ("a private key", ("PRIVATE KEY",), r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"),
        ("a JSON web token", (".eyJ",), r"\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\."),
        ("a bearer token", ("earer",), r"\b[Bb]earer\s{1,4}[\w.~+/-]{20,2000}"),
        ("a password in an address", ("://",), r"://[^/\s:@'\"<>]{1,100}:[^/\s@'\"<>]{3,100}@"),
        (
            "a password or a token",
            ("passw", "secret", "token", "api_key", "apikey"),
            r"(?i:passw(?:or)?d|secret|token|api_?key)[\"']?\s{0,4}[=:]\s{0,4}[\"'][^\"'\s]{8,200}[\"']",
        ),
    )
)
_HOMES: Final = ("/home/", "/Users/", "Users\\", "/root/")
_HOME: Final = re.compile(r"(?:/home/|/Users/|\b[A-Za-z]:\\{1,2}Users\\{1,2})[^/\\\s'\"<>:]{1,64}|(?<![\w.])/root(?=/)")
_BINARY: Final = ("image/", "audio/", "video/", "application/pdf")
_DRAWING: Final = re.compile(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]{1,2000000})")
_OTHER_DATA: Final = re.compile(r"data:[a-z]+/[a-z0-9.+-]{1,60};base64,[A-Za-z0-9+/=]*+")
_SHOWN: Final = 4


def leaks(notebook: Notebook, *, home: Path | None = None) -> list[str]:
    """Return one line for each cell that shows a path of a home or what looks like a key. Too much is better than too little.

    Args:
        notebook: What is to be shared.
        home: The user's home, if it is another than that of this process.
    """
    own = str(home if home is not None else Path.home())
    told = []
    for cell, raw in zip(notebook.cells, notebook.raw["cells"], strict=True):
        found: dict[str, None] = {}
        for said in _said(raw):
            found.update((f"{name} ({start}…)", None) for name, start in _keys(said))
            paths = [match[0] for match in _HOME.finditer(said)] if any(name in said for name in _HOMES) else []
            if len(own) > 3 and own in said:
                paths.append(own)
            found.update((f"the path {printable(path, limit=80)}", None) for path in paths)
        if found:
            shown = list(found)[:_SHOWN]
            more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
            name = f" ({cell.heading[:40]})" if cell.heading and not any(_keys(cell.source)) else ""
            told.append(f"cell {cell.index + 1}{name}: {', '.join(shown)}{more}")
    return told


def _keys(said: str) -> Iterator[tuple[str, str]]:
    """Yield what looks like a key: its kind, and its first characters."""
    lower = said.lower()
    for name, words, form in _KEYS:
        if any(word in said or word in lower for word in words):
            for match in form.finditer(said):
                yield name, printable(match[0][:8])


def _said(cell: dict[str, Any]) -> Iterator[str]:
    """Yield what a cell shows: its source, and its outputs without what is in pixels."""
    yield _plain(cell["source"])
    for output in cell.get("outputs", ()):
        for name, value in output.items():
            if name == "data":
                for mime, data in value.items():
                    if mime == "image/svg+xml" or not mime.startswith(_BINARY):
                        yield from _texts(data)
            elif name in {"text", "evalue", "traceback"}:
                yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value)):
        said = _plain(value)
        for drawing in _DRAWING.finditer(said):
            try:
                yield base64.b64decode(drawing[1]).decode("utf-8", "replace")
            except ValueError:
                continue
        yield _OTHER_DATA.sub("", said)
    else:
        yield from (said for _, said in jsontext.texts(value))


def _plain(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)
