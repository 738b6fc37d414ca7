"""Figures that are known: what an act writes is compared with them.

    Watch(facts, [Figures({"returns of the quarter": "14.1%"})])

Only a figure that somebody wrote down beforehand can be found wrong; of any other number this says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

from holdfast.core.errors import ConfigError
from holdfast.core.records import Facts, Record
from holdfast.detectors.base import Detection, quote
from holdfast.detectors.text import normalise
from holdfast.guard.act import Act
from holdfast.guard.monitors.detector_monitor import effects_of

_NUMBER = re.compile(r"[-+]?\d[\d,']*(?:\.\d+)?")
_REACH = 40


class KnownFigures(Record):
    """`figures.toml`: what is measured → its value."""

    known: Mapping[str, str]


class Figures:
    """A monitor: holds an act that gives a known figure another value.

    Args:
        known: what is measured → its value, a number with or without a sign, unit or thousands marks.

    Raises:
        ConfigError: a value holds no number.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = [(name, _value(text), _named(name)) for name, text in known.items()]

    def __call__(self, act: Act, facts: Facts) -> list[Detection]:
        """What the act gets wrong; each mention of a figure is judged by the first number that follows it."""
        found = []
        for effect in effects_of(act):
            text = normalise(f"{effect.fields.get('subject', '')}\n{effect.fields.get('text', '')}")
            for name, value, pattern in self._known:
                if any(_number(hit[1]) != value for hit in pattern.finditer(text)):
                    found.append(Detection(0, quote(effect), f"gives '{name}' another value than the one known"))
        return found


def _named(name: str) -> re.Pattern[str]:
    words = r"\W+".join(map(re.escape, re.findall(r"\w+", normalise(name))))
    return re.compile(rf"\b{words}\b[^\d.!?\n;+-]{{0,{_REACH}}}({_NUMBER.pattern})")


def _value(text: str) -> Decimal:
    found = _NUMBER.search(text)
    if not found:
        raise ConfigError(f"'{text}' holds no number", where="figures", remedy="write the figure's value")
    return _number(found[0])


def _number(text: str) -> Decimal:
    return Decimal(re.sub("[,']", "", text))
