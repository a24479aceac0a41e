"""Markdown and code of strangers, so that opening them asks nobody for anything and a click starts nothing.

JupyterLab renders Markdown through a sanitiser. That lets three things pass which this does not: pictures from elsewhere
(asking for them says who reads what, and when), buttons with `data-commandlinker-command` (a click runs a command of Lab's,
"run all cells" among them), and Mermaid (which may fetch pictures and style). What is taken away is put as text, so the
reader sees that it was there.

This is no reader of Markdown, and does not have to be: every `![` and every `<` of a tag is looked at, wherever it stands, in
code too. What is not of the few forms that are known to be harmless is escaped.
"""

from __future__ import annotations

import re
from typing import Final

from ipvm_kernel.printable import printable
from ipvm_kernel.sharing.notebook import static

_PICTURE: Final = re.compile(r"!(?=\[)")
_HERE: Final = re.compile(
    r"!\[[^\[\]\n]{0,500}\]\((?:attachment:[^\s()<>\"'\\&]{1,300}|data:(?P<mime>image/(?:png|jpeg|gif|webp));base64,(?P<data>[A-Za-z0-9+/=]+)"
    r"|[A-Za-z0-9_][A-Za-z0-9_ .-]{0,100}(?:/[A-Za-z0-9_][A-Za-z0-9_ .-]{0,100}){0,8})(?:\s+\"[^\"\\<>&\n]{0,200}\")?\)"
)
_ELSEWHERE: Final = re.compile(r"!(?=\[[^\[\]\n]{0,500}\]\()")

_TAG: Final = re.compile(r"<(?=[A-Za-z/])")
_KNOWN: Final = re.compile(
    r"</?(?:b|blockquote|br|center|code|dd|del|details|div|dl|dt|em|h[1-6]|hr|i|ins|kbd|li|mark|ol|p|pre|s|samp|small|span|"
    r"strong|sub|summary|sup|table|tbody|td|th|thead|tr|u|ul|var)"
    r"(?:\s+(?:align|valign|colspan|rowspan|title|dir|lang)=(?:\"[\w .,#%-]{0,100}\"|'[\w .,#%-]{0,100}'))*\s*/?>"
    r"|<https?://[^\s<>\"'`]{1,500}>|<[\w.+-]{1,100}@[\w.-]{1,100}>",
    re.IGNORECASE,
)
_LONGEST_TAG: Final = 2_000
_HEAVY: Final = re.compile(
    r"</?(?:script|style|iframe|frame|frameset|object|embed|applet|link|meta|base|form|button|input|select|textarea|svg|math|"
    r"template|noscript|noembed|noframes|xmp|plaintext|title|img|image|picture|source|video|audio|track|canvas|body|html|head|"
    r"portal|dialog|map|area)\b",
    re.IGNORECASE,
)
_FENCES: Final = ("```", "~~~")
_DRAWING: Final = re.compile("mermaid", re.IGNORECASE)
_REACHES: Final = re.compile(r"@|//|%%\{|<|&|\\|url|config|img|image", re.IGNORECASE)

_TURNS: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def markdown(text: str) -> tuple[str, list[str]]:
    """Return Markdown that fetches nothing and whose HTML does nothing, and what was escaped in it."""
    told: list[str] = []
    safe = _pictures(text, told)
    safe = _tags(safe, told)
    if _DRAWING.search(safe) and _REACHES.search(safe):
        safe = "".join(_undrawn(line, told) for line in safe.splitlines(keepends=True))
    return safe, told


def _undrawn(line: str, told: list[str]) -> str:
    """Return a line that does not say that a Mermaid drawing begins. Lab draws what is called that and nothing more."""
    if not _DRAWING.search(line) or not any(fence in line for fence in _FENCES) or "text mermaid" in line:
        return line
    told.append("a Mermaid drawing, shown as text")
    return _DRAWING.sub("text mermaid", line)


def code(text: str) -> tuple[str, list[str]]:
    """Return code in which what is read is what runs: characters that turn the direction of text stand as escapes.

    Source: "Trojan Source", https://trojansource.codes, section IV; CVE-2021-42574.
    """
    safe, count = _TURNS.subn(lambda found: printable(found[0]), text)
    return safe, ["characters that turn the direction of code"] if count else []


def _pictures(text: str, told: list[str]) -> str:
    parts: list[str] = []
    at = 0
    for found in _PICTURE.finditer(text):
        start = found.start()
        if start < at:
            continue
        parts.append(text[at:start])
        here = _HERE.match(text, start)
        if here is not None and _holds(here):
            parts.append(here[0])
            at = here.end()
            continue
        # A space before the bracket: a "!" in front of it cannot make a picture of it again.
        parts.append("picture: " if _ELSEWHERE.match(text, start) else "!\\")
        told.append("a picture from elsewhere, shown as its address")
        at = start + 1
    parts.append(text[at:])
    return "".join(parts)


def _holds(here: re.Match[str]) -> bool:
    """Return whether a picture that holds its own bytes is one, and not there to fill the reader's memory."""
    if here["mime"] is None:
        return True
    try:
        static.picture(here["mime"], here["data"])
    except static.NotStatic:
        return False
    return True


def _tags(text: str, told: list[str]) -> str:
    parts: list[str] = []
    at = 0
    for found in _TAG.finditer(text):
        start = found.start()
        if start < at:
            continue
        parts.append(text[at:start])
        known = _KNOWN.match(text, start)
        if known is not None:
            parts.append(known[0])
            at = known.end()
            continue
        # Without "=" there is no value of an attribute, and a quote before ">" means nothing: the tag ends there.
        end = text.find(">", start, start + _LONGEST_TAG)
        inside = text[start : end if end >= 0 else start + _LONGEST_TAG]
        if "=" in inside or (end < 0 and len(inside) == _LONGEST_TAG) or _HEAVY.match(inside):
            parts.append("&lt;")
            told.append("HTML that could do something, shown as text")
            at = start + 1
        else:
            parts.append("<")
            at = start + 1
    parts.append(text[at:])
    return "".join(parts)
