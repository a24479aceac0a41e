"""Lists of numbers as a line about them and a small picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ipvm_kernel.printable import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHOLE: Final = 1_000_000  # numbers that are all looked at; of more, evenly spaced ones are
_SAMPLE: Final = 100_000
_BARS: Final = 32
_POINTS: Final = 160
_WIDTH: Final = 340.0
_HEIGHT: Final = 64.0
_INK: Final = "#3a7bbf"


class Numbers(msgspec.Struct, frozen=True):
    """What a list of numbers is like.

    Attributes:
        count: How many there are.
        low: The smallest.
        mean: The mean.
        high: The largest.
        strange: How many are no number or infinite, among those looked at.
        looked: At how many it was looked.
        values: Those that were looked at and are finite.
    """

    count: int
    low: float
    mean: float
    high: float
    strange: int
    looked: int
    values: list[float]

    def __str__(self) -> str:
        parts = [plural(self.count, "number")]
        if self.values:
            parts.append(f"min {short(self.low)} · mean {short(self.mean)} · max {short(self.high)}")
        if self.strange:
            parts.append(f"{self.strange:,} not finite")
        if self.looked < self.count:
            parts.append(f"from {self.looked:,} of them")
        return " · ".join(parts)


def numbers_of(value: Sequence[Any]) -> Numbers | None:
    """Return what a list of numbers is like, or None if it is no such list."""
    count = len(value)
    if not count or type(value[0]) not in {int, float} or type(value[-1]) not in {int, float}:
        return None
    step = 1 if count <= _WHOLE else -(-count // _SAMPLE)
    looked = value if step == 1 else value[::step]
    if not set(map(type, looked)) <= {int, float}:
        return None
    try:
        finite = [number for number in looked if math.isfinite(number)]
        if not finite:
            return Numbers(count, 0, 0, 0, len(looked), len(looked), [])
        low, high = min(finite), max(finite)
        mean = math.fsum(finite) / len(finite) if isinstance(low + high, float) else sum(finite) / len(finite)
    except OverflowError:  # an integer beyond what a float can hold: no picture of it is of use
        return None
    return Numbers(count, low, mean, high, len(looked) - len(finite), len(looked), finite)


def short(number: float) -> str:
    """Return a number in a few digits.

    >>> short(3), short(0.123456), short(1e9), short(10**12)
    ('3', '0.1235', '1e+09', '1,000,000,000,000')
    """
    return f"{number:,}" if isinstance(number, int) else f"{number:.4g}"


def first(values: Sequence[Any], limit: int = 96) -> str:
    """Return the first of some numbers, in a few digits each.

    >>> first([1, 2.5, 1 / 3])
    '[1, 2.5, 0.3333]'
    """
    written = ""
    for n, value in enumerate(values):
        part = f"{', ' if n else ''}{short(value)}"
        if len(written) + len(part) > limit:
            return f"[{written}, …]"
        written += part
    return f"[{written}]"


def plot(numbers: Numbers) -> str:
    """Return a picture of a list of numbers as SVG: bars for a few, a line between smallest and largest for many."""
    values = numbers.values
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    # One common divisor first, so that nothing overflows between the ends of what a float can hold.
    scale = max(abs(low), abs(high)) or 1.0
    scaled = [value / scale for value in values]
    bottom, top = min(low / scale, 0.0) if len(values) <= _BARS else low / scale, high / scale
    if len(values) <= _BARS:
        top = max(top, 0.0)
    span = (top - bottom) or 1.0

    def y(value: float) -> float:
        return _HEIGHT - 3 - (value - bottom) / span * (_HEIGHT - 6)

    body = _bars(scaled, y) if len(values) <= _BARS else _line(scaled, y)
    width = len(values) * 11.0 + 2 if len(values) <= _BARS else _WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{_HEIGHT:.0f}" '
        f'viewBox="0 0 {width:.0f} {_HEIGHT:.0f}">{body}</svg>'
    )


def _bars(values: list[float], y: Any) -> str:
    zero = y(0.0)
    bars = [f'<path stroke="#8a939f" stroke-opacity=".7" d="M0 {zero:.1f}h{len(values) * 11 + 2}"/>']
    for n, value in enumerate(values):
        end = y(value)
        top, tall = min(end, zero), max(abs(end - zero), 0.8)
        bars.append(f'<rect fill="{_INK}" x="{2 + n * 11}" y="{top:.1f}" width="8" height="{tall:.1f}" rx="1.5"/>')
    return "".join(bars)


def _line(values: list[float], y: Any) -> str:
    count = min(_POINTS, len(values))
    parts = [values[n * len(values) // count : (n + 1) * len(values) // count] for n in range(count)]
    step = _WIDTH / (count - 1)
    upper = [f"{n * step:.1f} {y(max(part)):.1f}" for n, part in enumerate(parts)]
    lower = [f"{n * step:.1f} {y(min(part)):.1f}" for n, part in enumerate(parts)]
    middle = [f"{n * step:.1f} {y(math.fsum(part) / len(part)):.1f}" for n, part in enumerate(parts)]
    band = f'<path fill="{_INK}" fill-opacity=".22" d="M{"L".join([*upper, *reversed(lower)])}z"/>'
    ground = f'<path fill="{_INK}" fill-opacity=".10" d="M0 {_HEIGHT:g}L{"L".join(middle)}L{_WIDTH:g} {_HEIGHT:g}z"/>'
    line = f'<path fill="none" stroke="{_INK}" stroke-width="1.5" stroke-linejoin="round" d="M{"L".join(middle)}"/>'
    return (band if len(values) > count else ground) + line
