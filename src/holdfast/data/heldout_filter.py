"""The net that keeps held-out families out of training data, at the source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import read_toml
from holdfast.core.records import Example

FILE = Path(__file__).parent / "heldout.toml"


@cache
def heldout_patterns() -> Mapping[str, re.Pattern[str]]:
    """For each family, the pattern of words that belong to it alone."""
    return {family: re.compile("|".join(t["patterns"]), re.IGNORECASE) for family, t in read_toml(FILE).items()}


def heldout_in(example: Example) -> tuple[str, str] | None:
    """The held-out family an example touches and the words in which it does, or None."""
    text = example_text(example)
    for family, pattern in heldout_patterns().items():
        if match := pattern.search(text):
            return family, match[0]
    return None


def example_text(example: Example) -> str:
    """All words of an example, tool calls included, one turn or argument a line."""
    lines = [example.text] if example.text else []
    for message in example.messages:
        lines.append(message.content)
        lines += [value for call in message.tool_calls for value in call.arguments.values()]
    return "\n".join(line for line in lines if line)
