from __future__ import annotations

from typing import Final

import pytest

from ipvm_kernel.sharing.notebook import prose, static
from tests.sharing.samples import as_image, png, svg

HTML_REFUSED: Final = [
    *("<script>1</script>", "<b onclick=x>1</b>", '<b onclick="x">1</b>', "<a href='x'>1</a>", '<b id="x">1</b>', '<p name="x">1</p>'),
    *("<b", "<b <i>", "<b>1", "1</b>", "</b><b>", "<b></i></b>", "<b/>", "<br/", "<B>1</B>", "<b\x00>1</b>", "<\u2028b>", "<!-- x -->"),
    *("<!DOCTYPE html>", "<?x?>", "<![CDATA[x]]>", "<!>", "</>", "</ b>", "<svg></svg>", "<math></math>", "<style>b{}</style>"),
    *('<img alt="" src="x.png">', '<img alt="" src="//e/x.png">', '<img alt="" src="https://e/x.png">', '<img src=" data:image/png;base64,">'),
    *('<img src="data:text/html;base64,PGI+">', '<img src="data:image/png,x">', '<img src="data:image/png;base64,!">', '<img srcset="x">'),
    *('<p style="background:url(x)">1</p>', '<p style="position:fixed">1</p>', '<p style="margin:-9px">1</p>', '<p style="margin:0 -9px">1</p>'),
    *('<p style="color:expression(1)">1</p>', '<p style="width:calc(1px)">1</p>', '<p style="color:\\72 ed">1</p>', '<p style="--x:1">1</p>'),
    *('<p style="color:var(--x)">1</p>', '<p style="color:red/**/">1</p>', '<p style="content:attr(x)">1</p>', '<p style="float:left">1</p>'),
    *('<p class="jp-Dialog">1</p>', '<p style="color:red" style="color:red">1</p>', '<p title="&#x202e;">1</p>', "<p contenteditable>1</p>"),
    *('<p title="a>b">1</p>', "<p title=`x`>1</p>", '<p/title="x">1</p>', '<p title="x"dir="y">1</p>', "<details open=x ontoggle>1</details>"),
    *("<textarea></textarea>", "<title></title>", "<xmp></xmp>", "<plaintext>", "<noscript></noscript>", "<template></template>", "<select></select>"),
    *("<b>" * 65 + "</b>" * 65, "<br>" * 50_001, "x" * (4 * 2**20 + 1), "\u202e", "<x-y></x-y>", "<b:c></b:c>"),
]  # fmt: skip


@pytest.mark.parametrize("page", HTML_REFUSED, ids=lambda page: page[:40])
def test_html_that_could_do_something_is_refused(page: str) -> None:
    """
    What is not on the lists, and what two readers could take for two things, is refused.
    """
    with pytest.raises(static.NotStatic):
        static.html(page)


@pytest.mark.parametrize(
    "page",
    [
        "",
        "a &lt; b &amp; c &unknown; & d",
        "1 < 2 and 2 > 1",
        '<table border="1" class="dataframe"><tr style="text-align: right;"><th></th><td colspan=2>x</td></tr></table>',
        "<p>x<br>y<br/>z<hr></p>",
        f'<img alt="a" src="data:image/png;base64,{png()}" width="40">',
        as_image(
            svg('<path d="M0 0h9"/><style>path{fill:red}@media(prefers-color-scheme:dark){path{fill:blue}}</style>')
        ),
        '<details open><summary style="cursor:pointer">x</summary>y</details>',
        "<b>" * 64 + "</b>" * 64,
    ],
)
def test_html_that_only_shows_is_kept(page: str) -> None:
    """
    Text, tables, pictures that hold themselves, and style of the tag.
    """
    static.html(page)


USE = '<defs><g id="a"><use href="#b"/></g><g id="b"><path d="M0 0"/></g></defs><use href="#a"/>'
SVG_REFUSED: Final = [
    svg("<script>1</script>"),
    svg("", before='<!DOCTYPE svg [<!ENTITY a "b">]>'),
    svg("&a;", before='<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
    svg("", before="<?xml-stylesheet href='x.css'?>"),
    svg('<g onload="x"/>'),
    svg('<a href="x"><text>x</text></a>'),
    svg('<use href="https://e/x#y"/>'),
    svg('<use href="data:image/svg+xml,x#y"/>'),
    svg('<image href="https://e/x.png"/>'),
    svg('<image xmlns:x="http://www.w3.org/1999/xlink" x:href="//e/x.png"/>'),
    svg('<image href="data:image/svg+xml;base64,PHN2Zy8+"/>'),
    svg("<foreignObject><b>x</b></foreignObject>"),
    svg('<animate attributeName="x"/>'),
    svg('<set attributeName="href" to="x"/>'),
    svg("<style>@import url(x)</style>"),
    svg("<style>@im<!-- -->port 'x'</style>"),
    svg("<style>@font-face{src:local(x)}</style>"),
    svg("<style>a{background:u\\72l(x)}</style>"),
    svg('<rect style="fill:url(https://e/x)"/>'),
    svg('<rect fill="url(https://e/x#a)"/>'),
    svg('<rect fill="url(&#34;https://e/x&#34;)"/>'),
    svg('<script xmlns="http://www.w3.org/1999/xhtml">1</script>'),
    svg('<metadata><script xmlns="http://www.w3.org/1999/xhtml">1</script></metadata>'),
    svg("<metadata><script>1</script></metadata>"),
    svg('<g xml:base="https://e/"/>'),
    svg(USE),
    svg("<g>" * 70 + "</g>" * 70),
    svg("<g/>" * 50_001),
    svg("x" * (2 * 2**20)),
    svg("<path"),
    "<svg></svg>",
    '<g xmlns="http://www.w3.org/2000/svg"/>',
    "",
]


@pytest.mark.parametrize("drawn", SVG_REFUSED, ids=lambda drawn: drawn[:60] + drawn[-40:])
def test_an_svg_that_could_do_something_is_refused(drawn: str) -> None:
    """
    Scripts, events, links, entities, style from elsewhere, and shapes by the million.
    """
    with pytest.raises(static.NotStatic):
        static.svg(drawn.encode())


@pytest.mark.parametrize(
    "drawn",
    [
        svg('<g id="a"><path d="M0 0"/></g><use href="#a"/><rect fill="url(#a)" style="clip-path:url(#b)"/>'),
        svg(
            '<metadata><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><x:y xmlns:x="y"/></rdf:RDF></metadata>',
            before='<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">',
        ),
        svg(f'<image href="data:image/png;base64,{png()}"/>'),
    ],
    ids=["parts", "a plot of matplotlib", "pixels"],
)
def test_an_svg_that_only_draws_is_kept(drawn: str) -> None:
    """
    Shapes that are used again, the head that matplotlib writes, and pixels inside.
    """
    static.svg(drawn.encode())


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("# Plain\n\n*a* `b` [c](https://example.org) <https://example.org?a=b> $x<y$ a<b", None),
        ('![f](attachment:f.png) ![g](figures/g.png "t") ![h](data:image/png;base64,' + png() + ")", None),
        ('<div align="center"><b>x</b></div> `#include <stdio.h>` `Vec<T>` <br/>', None),
        ("```mermaid\nflowchart LR\n a --> b\n```", None),
        ("![x](https://e/x.png)", "picture: [x](https://e/x.png)"),
        ("[![x](https://e/x.png)](https://e)", "[picture: [x](https://e/x.png)](https://e)"),
        ("![x](data:image/png;base64,AAAA)", "picture: [x](data:image/png;base64,AAAA)"),
        ("!![x](https://e/x.png)", "!picture: [x](https://e/x.png)"),
        ("![x][y]", "!\\[x][y]"),
        ("![a](/logout)", "picture: [a](/logout)"),
        ("![a](../x.png)", "picture: [a](../x.png)"),
        ("<img src=x>", "&lt;img src=x>"),
        ('<img src="figures/x.png">', '&lt;img src="figures/x.png">'),
        ('<b title="x" onclick=y>', '&lt;b title="x" onclick=y>'),
        ("<p\nstyle=x", "&lt;p\nstyle=x"),
        ("<a href=javascript:alert(1)>x</a>", "&lt;a href=javascript:alert(1)>x</a>"),
        ("<script>x</script>", "&lt;script>x&lt;/script>"),
        ('<img ">" src=x>', '&lt;img ">" src=x>'),
        ('```mermaid\nflowchart LR\n a@{ img: "https://e/x.png" }\n```', '```text mermaid\nflowchart LR\n a@{ img: "https://e/x.png" }\n```'),
        ("~~~ Mermaid\n%%{init: {}}%%\n~~~", "~~~ text mermaid\n%%{init: {}}%%\n~~~"),
    ],
)  # fmt: skip
def test_prose_keeps_what_asks_nobody(said: str, kept: str | None) -> None:
    """
    Markdown stays as it was written, but for pictures from elsewhere, HTML with attributes, and drawings that reach out.
    """
    safe, told = prose.markdown(said)

    assert safe == (said if kept is None else kept)
    assert bool(told) == (kept is not None)
    assert prose.markdown(safe) == (safe, [])
