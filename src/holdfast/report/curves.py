"""Draws a trained folder, finished or not: the loss and the results of the safety probe by training step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from holdfast.core.errors import ResultsError
from holdfast.core.rates import TolerantRecord
from holdfast.core.store import RunFolder, write_text
from holdfast.report import words
from holdfast.report.page import styled, template_environment

METRICS, SAFETY = "metrics", "safety"
#: Pixels from the top of a drawing to the plot, height of the plot, and height of the whole with the labels below.
_TOP, _PLOT, _HEIGHT = 20, 110, 168
#: Per cent of the width left of the plot, for the labels of values, and right of it, for half a label.
_LEFT, _RIGHT = 13.0, 3.0
_MARKS = 5


class Step(TolerantRecord):
    """One step of `metrics.jsonl`; other keys are ignored."""

    step: int
    steps: int
    loss: float
    reward: float | None = None


class ProbePoint(TolerantRecord):
    """One point of `safety.jsonl`: shares from 0 to 1, None if a share could not be measured."""

    step: int
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Curve:
    """A curve over training steps, with its first and last value as text."""

    label: str
    svg: Markup
    first: str
    last: str


@dataclass(frozen=True)
class Axis:
    """A scale from `low` to `high` with its title, its ticks, and the function that formats its values."""

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]
    say: Callable[[float], str]

    def at(self, value: float) -> float:
        """The position of a value on the scale, from 0 to 1."""
        return (value - self.low) / ((self.high - self.low) or 1)


def trained_folders(folder: Path) -> list[Path]:
    """The folder itself if it was trained, or its stages in order, such as `1-midtrain`; empty if neither was."""
    if (folder / f"{METRICS}.jsonl").is_file():
        return [folder]
    stages = [path.parent for path in folder.glob(f"[1-9]*-*/{METRICS}.jsonl")]
    # Sorted by the length of the number first, so that 10 comes after 9.
    return sorted(stages, key=lambda path: (path.name.index("-"), path.name))


def write_curves(folder: Path) -> tuple[Path, Path]:
    """Write `report.html` and `report.md` beside the `metrics.jsonl` of a trained folder.

    Returns:
        The paths of the HTML page and of its Markdown twin.

    Raises:
        ResultsError: the folder has no training step, or a line is not one.
        StoreError: a page could not be written.
    """
    steps, probes = RunFolder(folder).read(METRICS, Step), RunFolder(folder).read(SAFETY, ProbePoint)
    if not steps:
        raise ResultsError(
            "the folder has no training step", where=folder, remedy="give the folder that holdfast train wrote"
        )
    shared = {
        "name": words.clean(folder.resolve().name),
        "done": steps[-1].step,
        "steps": steps[-1].steps,
        "trained": [_trained(steps)],
        "probed": [_probe_curve(name, probes) for name in probes[0].values] if probes else [],
        "probes": probes,
    }
    html, markdown = folder / "report.html", folder / "report.md"
    write_text(html, template_environment(autoescape=True).get_template("curves.html.jinja").render(shared, **styled()))
    write_text(markdown, template_environment(autoescape=False).get_template("curves.md.jinja").render(shared))
    return html, markdown


def _trained(steps: Sequence[Step]) -> Curve:
    """The curve of the reward if there is one, else of the loss."""
    rewards = [(step.step, step.reward) for step in steps]
    if any(reward is not None for _, reward in rewards):
        scale = Axis(
            "mean reward of an episode",
            -1.0,
            1.0,
            (-1.0, -0.5, 0.0, 0.5, 1.0),
            lambda value: f"{value:+g}" if value else "0",
        )
        return curve("reward", rewards, steps[-1].steps, scale, lambda value: f"{value:+.3f}")
    losses = [(step.step, step.loss) for step in steps]
    known = [0.0, *(step.loss for step in steps)]
    marks = ticks(min(known), max(known))
    scale = Axis("loss in nats", marks[0], marks[-1], marks, lambda value: f"{value:g}")
    return curve("loss", losses, steps[-1].steps, scale, lambda value: f"{value:.3f}")


def _probe_curve(name: str, probes: Sequence[ProbePoint]) -> Curve:
    points = [(probe.step, probe.values.get(name)) for probe in probes]
    scale = Axis("share of cases", 0.0, 1.0, (0.0, 0.5, 1.0), words.percent)
    return curve(name, points, probes[-1].step, scale, words.percent)


def ticks(low: float, high: float, whole: bool = False) -> tuple[float, ...]:
    """Choose at most six round values from at or below `low` to at or above `high`; `whole` for counts."""
    if high <= low:
        high = low + 1
    rough = (high - low) / _MARKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))
    step = max(1.0, step) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(number * step, 12) for number in range(first, last + 1))


def curve(
    label: str, points: Sequence[tuple[int, float | None]], steps: int, scale: Axis, say: Callable[[float], str]
) -> Curve:
    """Draw a curve over the steps from 0 to `steps`, with both axes; a missing value interrupts the line."""
    # The last round number may lie beyond the last step, where the axis of steps ends.
    marks = tuple(mark for mark in ticks(0, steps, whole=True) if mark <= steps)
    along = Axis("step", 0, steps, marks, lambda value: words.count(round(value)))
    runs: list[list[str]] = [[]]
    for step, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{100 * along.at(step):.2f},{100 - 100 * scale.at(value):.2f}")
    line = Markup('<polyline class="span" fill="none" vector-effect="non-scaling-stroke" points="{}"/>')
    drawn = Markup("").join(line.format(" ".join(run if len(run) > 1 else run * 2)) for run in runs if run)
    first, last = (words.NONE if value is None else say(value) for value in (points[0][1], points[-1][1]))
    # The inner drawing is stretched to the available width, but its strokes are not.
    inner = Markup(
        '<svg x="{}%" y="{}" width="{}%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none">{}</svg>'
    ).format(_LEFT, _TOP, 100 - _LEFT - _RIGHT, _PLOT, drawn)
    frame = Markup('<svg class="curve" role="img" aria-label="{}: {}, then {}" width="100%" height="{}">{}{}{}</svg>')
    svg = frame.format(label, first, last, _HEIGHT, _value_axis(scale), _step_axis(along), inner)
    return Curve(label, svg, first, last)


def _value_axis(axis: Axis) -> Markup:
    """Draw the scale of values: a rule across the plot for each tick, its value on the left, the title above."""
    parts = [Markup('<text x="0%" y="12">{}</text>').format(axis.title)]
    for tick in axis.ticks:
        y = f"{_TOP + _PLOT * (1 - axis.at(tick)):.1f}"
        parts.append(Markup('<line class="axis" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(_LEFT, 100 - _RIGHT, y, y))
        parts.append(
            Markup('<text x="{}%" y="{}" dx="-6" dy="4" text-anchor="end">{}</text>').format(_LEFT, y, axis.say(tick))
        )
    return Markup("").join(parts)


def _step_axis(axis: Axis) -> Markup:
    """Draw the scale of steps: a short line below the plot for each tick, its number, and the title below."""
    foot = _TOP + _PLOT
    parts = []
    for tick in axis.ticks:
        x = f"{_LEFT + (100 - _LEFT - _RIGHT) * axis.at(tick):.2f}"
        parts.append(Markup('<line class="axis" x1="{0}%" x2="{0}%" y1="{1}" y2="{2}"/>').format(x, foot, foot + 5))
        parts.append(Markup('<text x="{}%" y="{}" text-anchor="middle">{}</text>').format(x, foot + 18, axis.say(tick)))
    middle = _LEFT + (100 - _LEFT - _RIGHT) / 2
    parts.append(Markup('<text x="{}%" y="{}" text-anchor="middle">{}</text>').format(middle, foot + 34, axis.title))
    return Markup("").join(parts)
