"""Load TOML files into frozen records. Errors name the line and suggest the closest known key."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from holdfast.core.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file.

    Raises:
        ConfigError: the file is missing, cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("no such file", where=path, remedy="check the path") from None
    except OSError as error:
        what = f"cannot read the file: {error.strerror}"
        raise ConfigError(what, where=path, remedy="give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        line = re.search(r"line (\d+)", str(error))
        where = f"{path}:{line.group(1)}" if line else str(path)
        raise ConfigError(f"not valid TOML: {error}", where=where, remedy="correct the syntax") from None


def load_toml(path: Path, model: type[M]) -> M:
    """Parse `path` and validate it as `model`. Unknown keys raise an error.

    Raises:
        ConfigError: with `file:line`, the key at fault and, if one is close, the known key that was probably meant.
    """
    return validate(read_toml(path), model, path)


def validate(data: dict[str, Any], model: type[M], path: Path) -> M:
    """Validate parsed TOML against `model`; errors point to `path`.

    Raises:
        ConfigError: see `load_toml`.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = error.errors()
        # A misspelt key also counts as a missing one: report what was written rather than what was not.
        first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
        keys = [str(part) for part in first["loc"]]
        where = f"{path}:{line_of(path, keys)}"
        name = ".".join(keys)
        if first["type"] == "extra_forbidden":
            near = nearest(keys[-1], _known_keys(model))
            remedy = f"did you mean '{near}'?" if near else "remove it"
            raise ConfigError(f"unknown key '{name}'", where=where, remedy=remedy) from None
        if first["type"] == "missing":
            # A missing key has no line of its own, so point to its table.
            where = f"{path}:{line_of(path, keys[:-1])}"
            raise ConfigError(f"missing key '{name}'", where=where, remedy="add it") from None
        message = first["msg"].removeprefix("Value error, ")
        what = f"key '{name}': {message.lower()}" if keys else message
        raise ConfigError(what, where=where, remedy="correct the value") from None


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str | None:
    """The known name closest in spelling to `name`, or None if none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def _known_keys(model: type[BaseModel]) -> list[str]:
    keys: list[str] = []
    seen: set[type[BaseModel]] = set()
    todo: list[type[BaseModel]] = [model]
    while todo:
        current = todo.pop()
        if current in seen:
            continue
        seen.add(current)
        for name, field in current.model_fields.items():
            keys.append(field.alias or name)
            todo += _models_in(field.annotation)
    return keys


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def line_of(path: Path, keys: list[str]) -> int:
    """The line (from 1) on which a key path most likely stands; 1 if it is not found.

    tomllib reports no positions. Each name of the path is therefore searched below the one before it, and a number in
    the path selects among repeated headers of the same name.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    at = 0
    for position, key in enumerate(keys):
        if key.isdigit():
            continue
        header = re.compile(rf"^\s*\[.*\b{re.escape(key)}\b.*\]\s*(#.*)?$|^\s*\"?{re.escape(key)}\"?\s*=")
        hits = [i for i in range(at, len(lines)) if header.match(lines[i])]
        following = keys[position + 1] if position + 1 < len(keys) else ""
        nth = int(following) if following.isdigit() else 0
        if nth < len(hits):
            at = hits[nth]
    return at + 1
