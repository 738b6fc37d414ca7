"""Word pools by language: names, firms and things that surfaces are drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import nearest, read_toml
from holdfast.core.errors import ConfigError

FOLDER = Path(__file__).parent


@cache
def words(language: str) -> Mapping[str, tuple[str, ...]]:
    """All pools of a language, by name.

    Raises:
        ConfigError: there is no such language.
    """
    path = FOLDER / f"{language}.toml"
    if not path.is_file():
        near = nearest(language, [p.stem for p in FOLDER.glob("*.toml")])
        raise ConfigError(f"no words for the language '{language}'", where=FOLDER, remedy=f"did you mean '{near}'?")
    return {name: tuple(entries) for name, entries in read_toml(path).items()}
