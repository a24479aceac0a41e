"""What only shows: whether HTML or SVG of a stranger can do anything but be looked at. It is read, never mended.

An output stays in a notebook that is shared or opened if all of it is on these lists. No script and no event, nothing that
a click starts (JupyterLab runs the command that `data-commandlinker-command` of a button names), nothing that is fetched, no
ids and names that stand for others, no style that could lay one thing over another. Pictures are `data:`; an SVG is one in
an `<img>`, where a browser runs no script and fetches nothing, and has to pass all the same.

Two readers must not understand a text in two ways. So each tag has to have the one plain spelling that leaves nothing to
guess (`_TAG`), before `html.parser` says what is in it; SVG goes through expat, which reads XML as a browser does.
"""

from __future__ import annotations

import re
from binascii import Error as BadBase64
from binascii import a2b_base64
from html.parser import HTMLParser
from typing import Final
from xml.parsers import expat

from ipvm_kernel.picture import media
from ipvm_kernel.printable import printable, size

MOST_HTML: Final = 4 * 2**20
MOST_SVG: Final = 2 * 2**20
MOST_PICTURE: Final = 16 * 2**20
MOST_PIXELS: Final = 40_000_000
"""More than that, from few bytes, is there to fill the reader's memory."""

_DEEPEST: Final = 64
_MOST_TAGS: Final = 50_000

PICTURES: Final = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WebP"}
"""Pictures made of pixels, and how `media` calls them."""


class NotStatic(Exception):
    """It could do something; the message says what, in a few words that are safe to show."""


# --- HTML -------------------------------------------------------------------------------------------------------------

_PLAIN: Final = frozenset[str]()
_CELL: Final = frozenset({"align", "colspan", "rowspan", "scope", "valign"})
_TAGS: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(
        "b blockquote br caption code dd del div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr i ins kbd li mark ol p "  # noqa: SIM905
        "pre s samp small span strong sub summary sup tbody tfoot thead tr tt u ul var".split(),
        _PLAIN,
    ),
    "col": frozenset({"span", "width"}),
    "colgroup": frozenset({"span", "width"}),
    "details": frozenset({"open"}),
    "img": frozenset({"alt", "height", "src", "width"}),
    "table": frozenset({"align", "border", "cellpadding", "cellspacing", "class"}),
    "td": _CELL,
    "th": _CELL,
    "tr": frozenset({"align", "valign"}),
}
_EVERYWHERE: Final = frozenset({"dir", "lang", "style", "title"})
_VOID: Final = frozenset({"br", "col", "hr", "img"})
_CLASSES: Final = frozenset({"dataframe"})

_TAG: Final = re.compile(
    r"""<(?:/[a-z][a-z0-9]*+\s*+
         |[a-z][a-z0-9]*+(?:\s++[a-z][a-z-]*+(?:=(?:"[^"<>]*+"|'[^'<>]*+'|[a-zA-Z0-9]++))?+)*+\s*+/?
        )>|<(?=[\s0-9=])""",
    re.VERBOSE | re.ASCII,
)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_STYLES: Final = re.compile(
    r"background-color|border(?:-(?:top|right|bottom|left))?(?:-(?:color|style|width))?|border-(?:collapse|radius|spacing)|"
    r"caption-side|color|cursor|display|font(?:-(?:family|size|style|variant|weight))?|height|letter-spacing|line-height|"
    r"list-style-type|(?:margin|padding)(?:-(?:top|right|bottom|left))?|max-(?:height|width)|min-(?:height|width)|opacity|"
    r"overflow(?:-[xy])?|overflow-wrap|table-layout|text-align|text-decoration|vertical-align|white-space|width|word-break|"
    r"word-wrap"
)
_VALUE: Final = re.compile(r"(?:(?:rgb|rgba|hsl|hsla)\([0-9 .,%/]*+\)|[a-zA-Z0-9 .,%#-])++")
_NEGATIVE: Final = re.compile(r"(?:^|[\s,])-")


def html(text: str) -> None:
    """Return if HTML only shows.

    Raises:
        NotStatic: It does not, or is too much to say so.
    """
    if len(text) > MOST_HTML:
        raise NotStatic(f"{size(len(text))} of HTML")
    if _CONTROLS.search(text):
        raise NotStatic("characters that cannot be seen")
    count, at = 0, text.find("<")
    while at >= 0:
        count += 1
        found = _TAG.match(text, at)
        if found is None:
            raise NotStatic(f"{printable(text[at : at + 24])!r}")
        if count > _MOST_TAGS:
            raise NotStatic(f"more than {_MOST_TAGS:,} tags")
        at = text.find("<", found.end())
    reader = _Reader()
    reader.feed(text)
    reader.close()
    if reader.opened:
        raise NotStatic(f"a <{reader.opened[-1]}> that is not closed")


class _Reader(HTMLParser):
    """Reads HTML, and refuses what is not on the lists."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.opened: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        allowed = _TAGS.get(tag)
        if allowed is None:
            raise NotStatic(f"<{printable(tag, limit=30)}>")
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            raise NotStatic(f"an attribute twice in <{tag}>")
        for name, value in attrs:
            if name not in allowed and name not in _EVERYWHERE:
                raise NotStatic(f"{printable(name, limit=40)} in <{tag}>")
            _attribute(name, value or "")
        if tag not in _VOID:
            self.opened.append(tag)
            if len(self.opened) > _DEEPEST:
                raise NotStatic(f"tags more than {_DEEPEST} deep")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _VOID:
            raise NotStatic(f"<{printable(tag, limit=30)}/>")
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.opened or self.opened.pop() != tag:
            raise NotStatic(f"</{printable(tag, limit=30)}> where it closes nothing")

    def handle_comment(self, data: str) -> None:
        raise NotStatic(f"a comment of {size(len(data))}")

    def handle_decl(self, decl: str) -> None:
        raise NotStatic(f"a declaration of {size(len(decl))}")

    def handle_pi(self, data: str) -> None:
        raise NotStatic(f"an instruction of {size(len(data))}")

    def unknown_decl(self, data: str) -> None:
        raise NotStatic(f"a declaration of {size(len(data))}")


def _attribute(name: str, value: str) -> None:
    if _CONTROLS.search(value):
        raise NotStatic(f"characters that cannot be seen in {name}")
    if name == "style":
        style(value)
    elif name == "src":
        _source(value)
    elif name == "class" and value not in _CLASSES:
        raise NotStatic(f"the class {printable(value, limit=40)!r}")


def style(text: str) -> None:
    """Return if the text of a style attribute only sets colours, sizes and the like."""
    for part in text.split(";"):
        name, colon, value = (piece.strip().lower() for piece in part.partition(":"))
        if not name and not colon:
            continue
        if not _STYLES.fullmatch(name) or not _VALUE.fullmatch(value):
            raise NotStatic(f"the style {printable(part.strip(), limit=60)!r}")
        if name.startswith("margin") and _NEGATIVE.search(value):
            raise NotStatic(f"the style {printable(part.strip(), limit=60)!r}")


def _source(address: str) -> None:
    """Return if the address of a picture holds the picture itself."""
    head, comma, body = address.partition(",")
    mime = head.removeprefix("data:").removesuffix(";base64")
    if not comma or head != f"data:{mime};base64" or mime not in {*PICTURES, "image/svg+xml"}:
        raise NotStatic(f"a picture from {printable(address, limit=60)!r}")
    if mime == "image/svg+xml":
        svg(_decoded(body))
    else:
        picture(mime, body)


def picture(mime: str, text: str) -> bytes:
    """Return the bytes of a picture made of pixels, from base64.

    Raises:
        NotStatic: They are no such picture, or too many, or too many pixels.
    """
    if len(text) > MOST_PICTURE:
        raise NotStatic(f"{size(len(text))} of {PICTURES[mime]}")
    data = _decoded("".join(text.split()))
    found = media.media_of(data)
    if found.name != PICTURES[mime]:
        raise NotStatic(f"{mime} that is none")
    if not 0 < found.width * found.height <= MOST_PIXELS:
        raise NotStatic(f"{found.width:,} times {found.height:,} pixels")
    return data


def _decoded(text: str) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except (BadBase64, ValueError):
        raise NotStatic("base64 that is none") from None


# --- SVG --------------------------------------------------------------------------------------------------------------

_SVG: Final = "http://www.w3.org/2000/svg"
_XLINK: Final = "http://www.w3.org/1999/xlink"
_DRAWN: Final = frozenset(
    "circle clipPath defs desc ellipse g image line linearGradient metadata path polygon polyline radialGradient rect stop "  # noqa: SIM905
    "style svg text title tspan use".split()
)
_INNER: Final = re.compile(r"#[A-Za-z_][\w.:-]*")
_URL: Final = re.compile(r"url\s*\(\s*(['\"]?)#[\w.:-]+\1\s*\)")
_CSS_ACTS: Final = re.compile(r"url|@(?!media\b)|\\|expression|src\s*\(|image", re.IGNORECASE)


def svg(data: bytes) -> None:
    """Return if an SVG only draws: no script, no event, nothing from elsewhere.

    Raises:
        NotStatic: It does not, or is too much, or is no XML.
    """
    if len(data) > MOST_SVG:
        raise NotStatic(f"{size(len(data))} of SVG")
    reader = expat.ParserCreate("UTF-8", " ")
    seen = _Drawn()
    reader.StartElementHandler = seen.start
    reader.EndElementHandler = seen.end
    reader.CharacterDataHandler = seen.text
    reader.StartDoctypeDeclHandler = seen.doctype
    reader.EntityDeclHandler = seen.entity
    reader.ProcessingInstructionHandler = seen.instruction
    try:
        reader.Parse(data, True)  # noqa: FBT003 - "this is all", in expat's words
    except expat.ExpatError as error:
        raise NotStatic(f"an SVG that is no XML in line {error.lineno}") from None
    seen.finish()


class _Drawn:
    """Reads SVG, and refuses what is not on the list."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._aside = 0  # elements inside <metadata>, which are not drawn and may be of any name space
        self._style: list[str] = []
        self._count = 0
        self._names: list[str] = []  # the ids of what is open
        self._used: set[str] = set()
        self._users: set[str] = set()  # ids of what has a <use> inside

    def start(self, full: str, attributes: dict[str, str]) -> None:
        space, _, name = full.rpartition(" ")
        self._count += 1
        if self._count > _MOST_TAGS or len(self._open) >= _DEEPEST:
            raise NotStatic("an SVG of too many tags")
        if self._aside and space in {_SVG, "http://www.w3.org/1999/xhtml", ""}:
            raise NotStatic(f"<{printable(name, limit=30)}> in the metadata of an SVG")
        if not self._aside and (space != _SVG or name not in _DRAWN or (not self._open and name != "svg")):
            raise NotStatic(f"<{printable(name, limit=30)}> in an SVG")
        for attribute, value in attributes.items():
            self._attribute(attribute, value, name)
        self._names.append(attributes.get("id", ""))
        if name == "use" and not self._aside:
            self._users.update(self._names)
            self._used.update(value[1:] for key, value in attributes.items() if key.endswith("href"))
        self._open.append(name)
        self._aside += self._aside > 0 or name == "metadata"
        self._style.clear()

    def _attribute(self, full: str, value: str, tag: str) -> None:
        space, _, name = full.rpartition(" ")
        if name.lower().startswith("on") or "base" in name.lower():
            raise NotStatic(f"{printable(name, limit=40)} in an SVG")
        if self._aside:
            return
        if name.lower() in {"href", "src"}:
            if tag == "image":
                _pixels("".join(value.split()))
            elif space not in {"", _XLINK} or not _INNER.fullmatch(value):
                raise NotStatic(f"a link to {printable(value, limit=60)!r} in an SVG")
        elif name == "style" or "(" in value:
            _css(value)

    def end(self, _full: str) -> None:
        if self._open[-1] == "style":
            _css("".join(self._style))
        self._open.pop()
        self._names.pop()
        self._aside -= self._aside > 0
        self._style.clear()

    def finish(self) -> None:
        """Refuse a <use> of what uses something itself: thirty of those are a million million million shapes."""
        if self._used & (self._users - {""}):
            raise NotStatic("a <use> of a <use> in an SVG")

    def text(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self._style.append(data)

    def doctype(self, _name: str, _system: str | None, _public: str | None, internal: int) -> None:
        if internal:
            raise NotStatic("entities in an SVG")

    def entity(self, *_: object) -> None:
        raise NotStatic("entities in an SVG")

    def instruction(self, target: str, _data: str) -> None:
        raise NotStatic(f"<?{printable(target, limit=30)}?> in an SVG")


def _pixels(address: str) -> None:
    head, _, body = address.partition(";base64,")
    mime = head.removeprefix("data:")
    if head != f"data:{mime}" or mime not in PICTURES:
        raise NotStatic(f"a picture from {printable(address, limit=60)!r} in an SVG")
    picture(mime, body)


def _css(text: str) -> None:
    """Return if style in an SVG points at nothing but its own parts."""
    found = _CSS_ACTS.search(_URL.sub("", text))
    if found:
        raise NotStatic(f"{printable(text[max(0, found.start() - 20) :][:60])!r} in the style of an SVG")
