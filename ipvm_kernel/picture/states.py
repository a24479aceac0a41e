"""What each state of a task looks like: a shape, a colour and a sign for text. No state is told by its colour alone."""

from __future__ import annotations

import base64
import functools
from typing import Final

import msgspec


class Mark(msgspec.Struct, frozen=True):
    """How a state is shown.

    Attributes:
        sign: One character for text.
        plain: The same for a terminal that has ASCII only.
        ink: A colour that reads on white and on black.
        light: Fill and lettering of a box where the page is light, or may be either.
        dark: The same where it is known to be dark.
        body: The icon's outline, on a field of 16 by 16.
        glyph: What stands on it in white.
        hollow: True if the outline is drawn as a line.
    """

    sign: str
    plain: str
    ink: str
    light: tuple[str, str]
    dark: tuple[str, str]
    body: str
    glyph: str
    hollow: bool = False


_DISC: Final = "M8 .5a7.5 7.5 0 1 1 0 15a7.5 7.5 0 0 1 0-15z"
_RING: Final = "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13z"
_OCTAGON: Final = "M5 .5h6l4.5 4.5v6l-4.5 4.5h-6l-4.5-4.5v-6z"
_SQUARE: Final = "M4 1h8a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3h-8a3 3 0 0 1-3-3v-8a3 3 0 0 1 3-3z"
_DIAMOND: Final = "M8 .2l7.8 7.8l-7.8 7.8l-7.8-7.8z"

_GREY: Final = (("#e3e7ec", "#475160"), ("#2a3038", "#b4bdc8"))
_BLUE: Final = (("#d5e4f4", "#1b4c82"), ("#1c3552", "#9cc6f0"))
_GREEN: Final = (("#d3e8da", "#1a5938"), ("#1a3a2b", "#93d3b0"))
_RED: Final = (("#f5d8d4", "#8a2019"), ("#4b2321", "#f3b0aa"))
_SAND: Final = (("#f1e2c6", "#66450b"), ("#41331b", "#e6c88d"))
_VIOLET: Final = (("#e0d9f4", "#48348a"), ("#322a52", "#c4b5f3"))
_YELLOW: Final = (("#f2e6b6", "#5a4808"), ("#3d3614", "#e2cf7e"))

MARKS: Final[dict[str, Mark]] = {
    "pending": Mark("○", ".", "#87909c", *_GREY, _RING, "", hollow=True),
    "ready": Mark("◎", "o", "#6d86a8", *_GREY, _RING, "M8 5.5a2.5 2.5 0 1 1 0 5a2.5 2.5 0 0 1 0-5z", hollow=True),
    "running": Mark("▸", ">", "#7e66c9", *_VIOLET, _DISC, "M6.4 4.9l4.8 3.1l-4.8 3.1z"),
    "computed": Mark("✓", "+", "#3a7bbf", *_BLUE, _DISC, "M4.5 8.3l2.5 2.5l4.6-5.2"),
    "replayed": Mark("↻", "=", "#2f8f5f", *_GREEN, _DISC, "M11.5 9.3a3.7 3.7 0 1 1-.5-3.5M11.6 3.3v2.8h-2.8"),
    "failed": Mark("✗", "!", "#d1483f", *_RED, _OCTAGON, "M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2"),
    "blocked": Mark("⊘", "x", "#ad7a24", *_SAND, _DISC, "M4.8 8h6.4"),
    "skipped": Mark("»", "-", "#77818d", *_GREY, _DISC, "M4.9 5.2l2.8 2.8l-2.8 2.8M8.7 5.2l2.8 2.8l-2.8 2.8"),
    "cancelled": Mark("■", "#", "#77818d", *_GREY, _SQUARE, "M5.4 5.4h5.2v5.2h-5.2z"),
    "unverified": Mark(
        "?", "?", "#a3821d", *_YELLOW, _DIAMOND, "M6.2 6.4a1.8 1.8 0 1 1 2.7 1.6c-.6.35-.9.7-.9 1.4M8 11.5v.1"
    ),
}
"""Every state (RULES 8), in order."""

_UNKNOWN: Final = Mark("·", ".", "#87909c", *_GREY, _RING, "", hollow=True)
_FILLED: Final = frozenset({"running", "cancelled"})


def mark(state: str) -> Mark:
    """Return how a state is shown, one that is not known too."""
    return MARKS.get(state, _UNKNOWN)


def drawn(state: str, x: float = 0, y: float = 0, size: float = 16) -> str:
    """Return the icon of a state as SVG."""
    return f'<g transform="translate({x:g} {y:g}) scale({size / 16:.4g})">{_paths(state)}</g>'


def _paths(state: str) -> str:
    """Return the icon of a state on a field of 16 by 16."""
    shown = mark(state)
    if shown.hollow:
        inner = f'<path fill="{shown.ink}" d="{shown.glyph}"/>' if shown.glyph else ""
        dashes = "" if shown.glyph else ' stroke-dasharray="2.6 2.5"'
        return f'<path fill="none" stroke="{shown.ink}" stroke-width="1.8"{dashes} d="{shown.body}"/>{inner}'
    paint = (
        'fill="#fff"'
        if state in _FILLED
        else 'fill="none" stroke="#fff" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"'
    )
    return f'<path fill="{shown.ink}" d="{shown.body}"/><path {paint} d="{shown.glyph}"/>'


@functools.lru_cache(maxsize=32)
def icon(state: str) -> str:
    """Return the icon of a state as the address of an image."""
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{_paths(state)}</svg>'  # its place has a size
    )
    return data_uri("image/svg+xml", picture.encode())


def data_uri(media: str, data: bytes) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{media};base64,{base64.b64encode(data).decode('ascii')}"


def icons() -> list[tuple[str, str, bool, bool]]:
    """Return the outline and the sign of each state's icon, whether the outline is a line, and whether the sign is filled."""
    return [(shown.body, shown.glyph, shown.hollow, state in _FILLED) for state, shown in MARKS.items()]


def style(scope: str) -> str:
    """Return a style sheet with the colours of each state: `--i` ink, `--f` fill and `--w` words of the classes s0 to s9.

    Dark where JupyterLab says that it is dark, and where there is no JupyterLab and the reader's system says so.

    Args:
        scope: The selector of what it is for.
    """
    shown = list(MARKS.values())
    light = "".join(f"--i{n}:{m.ink};--f{n}:{m.light[0]};--w{n}:{m.light[1]};" for n, m in enumerate(shown))
    dark = "".join(f"--f{n}:{m.dark[0]};--w{n}:{m.dark[1]};" for n, m in enumerate(shown))
    classes = "".join(f"{scope} .s{n}{{--i:var(--i{n});--f:var(--f{n});--w:var(--w{n})}}" for n in range(len(shown)))
    return (
        f'{scope}{{{light}}}{classes}[data-jp-theme-light="false"] {scope}{{{dark}}}'
        f"@media(prefers-color-scheme:dark){{body:not([data-jp-theme-light]) {scope}{{{dark}}}}}"
    )
