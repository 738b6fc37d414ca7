"""Word pools by language: the names, firms and things that worlds and recipes draw from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from holdfast.core.config import nearest, read_toml
from holdfast.core.errors import ConfigError

FOLDER = Path(__file__).parent


@cache
def words(language: str) -> Mapping[str, tuple[str, ...]]:
    """All word pools of a language, by pool name.

    Raises:
        ConfigError: there is no such language.
    """
    path = FOLDER / f"{language}.toml"
    if not path.is_file():
        near = nearest(language, [p.stem for p in FOLDER.glob("*.toml")])
        raise ConfigError(f"no words for the language '{language}'", where=FOLDER, remedy=f"did you mean '{near}'?")
    return {name: tuple(entries) for name, entries in read_toml(path).items()}
