"""Patterns as data: named families of regular expressions in a TOML file, one expression to a line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import ConfigError

_WORD = re.compile(r"<(\w+)>")


def compiled(patterns: Sequence[str], words: Mapping[str, str], where: Path) -> re.Pattern[str]:
    """One expression that matches what any of `patterns` does; `<name>` in them stands for `words[name]`.

    Raises:
        ConfigError: a pattern names a word that does not exist, or is no regular expression.
    """
    for pattern in patterns:
        try:
            re.compile(_spelt(pattern, words))
        except KeyError as error:
            raise ConfigError(f"no word {error} for '{pattern}'", where=where, remedy="add it to [words]") from None
        except re.error as error:
            raise ConfigError(f"'{pattern}' is no pattern: {error}", where=where, remedy="mend it") from None
    return re.compile("|".join(_spelt(pattern, words) for pattern in patterns))


def _spelt(pattern: str, words: Mapping[str, str]) -> str:
    # A lookbehind or a named group also has a "<": only what stands by itself between the brackets is a word.
    return _WORD.sub(lambda m: m[0] if m.string[: m.start()].endswith(("(?", "(?P")) else words[m[1]], pattern)


def families(data: Mapping[str, Any], path: Path) -> dict[str, re.Pattern[str]]:
    """Every table of a parsed TOML file that has `patterns`, compiled, by name.

    Raises:
        ConfigError: see `compiled`.
    """
    tables = {name: table for name, table in data.items() if "patterns" in table}
    return {name: compiled(table["patterns"], data.get("words", {}), path) for name, table in tables.items()}
