"""Parse YAML strictly: no duplicate keys, anchors, aliases or tags. Records the line of each key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from holdfast.core.errors import ConfigError

_LARGEST = 1_000_000
_DEPTH = 12
Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class ParsedYaml:
    """A parsed file: its data, and the line (from 1) of each key and value."""

    path: Path
    data: dict[str, Any]
    lines: dict[Key, int]

    def where(self, *key: str | int) -> str:
        """Return `file:line` of a key path, or of its nearest ancestor in the file."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.path}:{self.lines.get(key, 1)}"


def read_yaml(path: Path) -> ParsedYaml:
    """Parse a YAML mapping.

    Raises:
        ConfigError: the file is missing, empty, too large, not YAML or not a mapping; a key is duplicated; or the
            file uses anchors, aliases or tags, which hide the meaning of a line.
    """
    text = _text(path)
    try:
        _refuse_at_sight(text, path)
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            what = "empty" if root is None else "not a mapping of keys to values"
            raise ConfigError(what, where=f"{path}:1", remedy="start the file with 'policy: NAME'")
        lines: dict[Key, int] = {}
        return ParsedYaml(path, _mapping(loader, root, path, (), lines), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark else path
        raise ConfigError(f"not valid YAML: {error.problem}", where=where, remedy="correct the syntax") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"not valid YAML: {error}", where=path, remedy="correct the syntax") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise ConfigError(f"larger than {_LARGEST} bytes", where=path, remedy="give the path of a policy file")
        return raw.decode("utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file", where=path, remedy="check the path") from None
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where=path, remedy="give the path of a YAML file"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError("not UTF-8 text", where=path, remedy="save it as UTF-8") from None


def _refuse_at_sight(text: str, path: Path) -> None:
    """Refuse tags, anchors and deep nesting while parsing: loading a file of open brackets takes a minute."""
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH:
            where = f"{path}:{event.start_mark.line + 1}" if event.start_mark else path
            raise ConfigError(f"nested deeper than {_DEPTH} levels", where=where, remedy="flatten it")
        anchored = isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None)
        if anchored or getattr(event, "tag", None):
            where = f"{path}:{event.start_mark.line + 1}" if event.start_mark else path
            raise ConfigError("anchors, aliases and tags are not allowed", where=where, remedy="write the value out")


def _value(loader: yaml.SafeLoader, node: yaml.Node, path: Path, key: Key, lines: dict[Key, int]) -> Any:
    lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(loader, node, path, key, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, path, (*key, at), lines) for at, item in enumerate(node.value)]
    return loader.construct_object(node, deep=True)


def _mapping(
    loader: yaml.SafeLoader, node: yaml.MappingNode, path: Path, key: Key, lines: dict[Key, int]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name_node, value_node in node.value:
        line = name_node.start_mark.line + 1
        name = loader.construct_object(name_node, deep=True)
        if not isinstance(name, str):
            raise ConfigError(f"key {name!r} is not text", where=f"{path}:{line}", remedy="put it in quotes")
        if name in found:
            raise ConfigError(f"duplicate key '{name}'", where=f"{path}:{line}", remedy="keep one of them")
        lines[(*key, name)] = line
        found[name] = _value(loader, value_node, path, (*key, name), lines)
    return found
