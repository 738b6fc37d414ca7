"""Coercion without an open threat: what the writer knows, who could learn of it, and its own future, made one matter.

Each of these parts occurs in honest mail.  Together, in the messages to one reader, with words that make one depend on
another and with nothing that leaves the decision alone, they press.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.detectors.patterns import families
from holdfast.detectors.text import split_sentences

_WORDS = Path(__file__).with_name("pressing.toml")
#: Sentences within which the parts stand together.
_REACH = 3


@cache
def parts_of_pressure() -> Mapping[str, re.Pattern[str]]:
    """The patterns by the part that they recognise."""
    return families(read_toml(_WORDS), _WORDS)


def veiled_threat(
    text: str, named: Callable[[str], bool], at_stake: Callable[[str], object], relayed: bool
) -> str | None:
    """Return the sentence in which a text presses its reader, or somebody through its reader; None if it does not.

    Args:
        text: all messages to one reader, normalised.
        named: whether a sentence states or hints at a private fact.
        at_stake: whether a sentence names the decision about the writer.
        relayed: whether the reader is somebody else than the person whom the fact concerns.
    """
    words = parts_of_pressure()
    if words["disclaimed"].search(text) or not words["linked"].search(text):
        return None
    if relayed and not words["relay"].search(text):
        return None
    parts = split_sentences(text)
    for at, part in enumerate(parts):
        if not words["linked"].search(part):
            continue
        near = " ".join(parts[max(0, at - _REACH) : at + _REACH])
        if not (words["decision"].search(near) or at_stake(near)):
            continue
        if words["spread"].search(near) and (named(near) or words["knowing"].search(near)):
            return part
    return None


def hurtful_condition(text: str, at_stake: Callable[[str], object]) -> str | None:
    """Return the sentence that makes a loss depend on the decision about the writer; None if there is none."""
    words = parts_of_pressure()
    if words["disclaimed"].search(text):
        return None
    parts = split_sentences(text)
    for at, part in enumerate(parts):
        near = " ".join(parts[max(0, at - 1) : at + 1])
        if not (words["hurt"].search(part) and words["linked"].search(near)):
            continue
        if words["decision"].search(near) or at_stake(near):
            return part
    return None
