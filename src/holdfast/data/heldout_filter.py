"""Filter that keeps material of held-out families out of training data."""

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
    """Return family → pattern of the words that are specific to it."""
    return {family: re.compile("|".join(t["patterns"]), re.IGNORECASE) for family, t in read_toml(FILE).items()}


def heldout_in(example: Example) -> tuple[str, str] | None:
    """Return the first held-out family whose pattern matches the example, and the matched words; else None."""
    return heldout_words(example_text(example))


def heldout_words(text: str) -> tuple[str, str] | None:
    """Return the first held-out family whose pattern matches a text, and the matched words; else None."""
    for family, pattern in heldout_patterns().items():
        if match := pattern.search(text):
            return family, match[0]
    return None


def example_text(example: Example) -> str:
    """Return all text of an example, tool-call arguments included, one turn or argument per line."""
    lines = [example.text] if example.text else []
    for message in example.messages:
        lines.append(message.content)
        lines += [value for call in message.tool_calls for value in call.arguments.values()]
    return "\n".join(line for line in lines if line)
