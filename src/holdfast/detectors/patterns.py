"""Read named families of regular expressions from a TOML file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import ConfigError

_WORD = re.compile(r"<(\w+)>")


def compiled(patterns: Sequence[str], words: Mapping[str, str], where: Path) -> re.Pattern[str]:
    """Compile one expression that matches any of `patterns`; `<name>` in a pattern is replaced by `words[name]`.

    Raises:
        ConfigError: a pattern uses an undefined word or is not a valid regular expression.
    """
    for pattern in patterns:
        try:
            re.compile(_spelt(pattern, words))
        except KeyError as error:
            what = f"undefined word {error} in the pattern '{pattern}'"
            raise ConfigError(what, where=where, remedy="add it to [words]") from None
        except re.error as error:
            what = f"'{pattern}' is not a valid regular expression: {error}"
            raise ConfigError(what, where=where, remedy="correct it") from None
    return re.compile("|".join(_spelt(pattern, words) for pattern in patterns))


def _spelt(pattern: str, words: Mapping[str, str]) -> str:
    # Lookbehinds and named groups also have a "<" and must not be replaced.
    return _WORD.sub(lambda m: m[0] if m.string[: m.start()].endswith(("(?", "(?P")) else words[m[1]], pattern)


def families(data: Mapping[str, Any], path: Path) -> dict[str, re.Pattern[str]]:
    """Compile every table that has `patterns` in a parsed TOML file, by name.

    Raises:
        ConfigError: see `compiled`.
    """
    tables = {name: table for name, table in data.items() if "patterns" in table}
    return {name: compiled(table["patterns"], data.get("words", {}), path) for name, table in tables.items()}
