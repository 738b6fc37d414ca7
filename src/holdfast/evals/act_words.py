"""The patterns of `known_acts.toml`, by which texts are told apart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.detectors.patterns import families

_WORDS = Path(__file__).with_name("known_acts.toml")


@cache
def act_words() -> Mapping[str, re.Pattern[str]]:
    """The patterns by name."""
    return families(read_toml(_WORDS), _WORDS)
