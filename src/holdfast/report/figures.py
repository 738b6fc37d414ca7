"""Draws inline SVG in percentages of its width, so that one drawing fits screens of any width."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from holdfast.core.results import Difference
from holdfast.report.words import MINUS, point_span, points

#: The axis is fixed, so that every difference of two rates fits and two reports can be compared by eye.
TICKS = (-1.0, -0.5, 0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Strip:
    """One row of a forest plot, as a drawing and as text."""

    label: str
    svg: Markup
    estimate: str
    interval: str
    difference: Difference


def _x(value: float) -> str:
    return f"{50 + 50 * max(-1.0, min(1.0, value)):.2f}%"


def strip(label: str, difference: Difference) -> Strip:
    """Draw the row of one paired difference: its interval as a line, its estimate as a square, zero as a rule."""
    found = difference
    parts = [Markup('<line class="zero" x1="50%" x2="50%" y1="0" y2="28"/>')]
    if found.low is not None and found.high is not None:
        line = Markup('<line class="span" x1="{}" x2="{}" y1="14" y2="14"/>')
        parts.append(line.format(_x(found.low), _x(found.high)))
        parts += [
            Markup('<line class="span" x1="{0}" x2="{0}" y1="10" y2="18"/>').format(_x(end)) for end in _ends(found)
        ]
    if found.estimate is not None:
        # The group shifts the square by half its side, because `x` cannot mix percentages and pixels.
        square = Markup('<g transform="translate(-5 0)"><rect class="at" x="{}" y="9" width="10" height="10"/></g>')
        parts.append(square.format(_x(found.estimate)))
    else:
        parts.append(Markup('<text class="none" x="50%" y="18" dx="8">not measured</text>'))
    words = f"{label}: {points(found.estimate)}, {point_span(found.low, found.high)}".removesuffix(", ")
    svg = Markup('<svg class="strip" role="img" aria-label="{}" width="100%" height="28">{}</svg>')
    return Strip(label, svg.format(words, Markup("").join(parts)), points(found.estimate), _interval(found), found)


def _ends(difference: Difference) -> list[float]:
    return [end for end in (difference.low, difference.high) if end is not None]


def _interval(difference: Difference) -> str:
    return point_span(difference.low, difference.high)


def axis() -> Markup:
    """Draw the scale under the strips, in percentage points."""
    parts = [Markup('<line class="axis" x1="0%" x2="100%" y1="0.5" y2="0.5"/>')]
    for tick in TICKS:
        anchor = {-1.0: "start", 1.0: "end"}.get(tick, "middle")
        name = f"{100 * tick:+.0f}".replace("-", MINUS) if tick else "0"
        parts.append(Markup('<line class="axis" x1="{0}" x2="{0}" y1="0" y2="5"/>').format(_x(tick)))
        label = Markup('<text x="{}" y="18" text-anchor="{}">{}</text>')
        parts.append(label.format(_x(tick), anchor, name))
    svg = Markup('<svg class="scale" aria-hidden="true" width="100%" height="22">{}</svg>')
    return svg.format(Markup("").join(parts))
