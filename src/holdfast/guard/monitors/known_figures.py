"""A monitor that compares the figures in an act with known figures.

    DetectorMonitor(facts, [Figures({"returns of the quarter": "14.1%"})])

It checks only figures that are listed beforehand.
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
from holdfast.guard.monitors.tool_effects import effects_of

_NUMBER = re.compile(r"[-+]?\d[\d,']*(?:\.\d+)?")
_REACH = 40


class KnownFigures(Record):
    """The content of `figures.toml`: name of a figure → its value."""

    known: Mapping[str, str]


class Figures:
    """Monitor that holds an act which gives a known figure another value.

    Args:
        known: name of a figure → its value: a number, optionally with sign, unit and thousands separators.

    Raises:
        ConfigError: a value contains no number.
    """

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = [(name, _value(text), _named(name)) for name, text in known.items()]

    def __call__(self, act: Act, facts: Facts) -> list[Detection]:
        """Return the known figures that the act states wrongly, by the first number after each mention."""
        found = []
        for effect in effects_of(act):
            text = normalise(f"{effect.fields.get('subject', '')}\n{effect.fields.get('text', '')}")
            for name, value, pattern in self._known:
                if any(_number(hit[1]) != value for hit in pattern.finditer(text)):
                    found.append(Detection(0, quote(effect), f"gives '{name}' a value other than the known one"))
        return found


def _named(name: str) -> re.Pattern[str]:
    words = r"\W+".join(map(re.escape, re.findall(r"\w+", normalise(name))))
    return re.compile(rf"\b{words}\b[^\d.!?\n;+-]{{0,{_REACH}}}({_NUMBER.pattern})")


def _value(text: str) -> Decimal:
    found = _NUMBER.search(text)
    if not found:
        raise ConfigError(f"'{text}' contains no number", where="figures.toml", remedy="write the figure's value")
    return _number(found[0])


def _number(text: str) -> Decimal:
    return Decimal(re.sub("[,']", "", text))
