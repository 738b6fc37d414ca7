"""Plugins: installed distributions that add models, detectors, worlds or recipes by entry point.

[project.entry-points."holdfast.models"]
example = "holdfast_example.model"

`holdfast.models` and `holdfast.detectors` name a module, which is imported when its name is first used.
`holdfast.worlds` and `holdfast.recipes` name a folder of a package, from which nothing is imported.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata, util
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from holdfast.core.errors import InputError

Kind = Literal["models", "detectors", "worlds", "recipes"]


@dataclass(frozen=True)
class Plugin:
    """One entry point: what it adds, under which name, from which module or folder of which distribution."""

    kind: Kind
    name: str
    target: str
    distribution: str
    version: str

    def error(self, what: str) -> InputError:
        """An error that names the distribution, with the command that removes it."""
        title = f"'{self.name}' of {self.distribution} {self.version} (entry point holdfast.{self.kind})"
        return InputError(f"plugin {title}: {what}", remedy=f"mend it, or `pip uninstall {self.distribution}`")


def plugins(kind: Kind) -> tuple[Plugin, ...]:
    """All plugins of a kind, sorted by name.  Nothing of them is imported."""
    return _scan(kind, tuple(sys.path))


@cache
def _scan(kind: Kind, path: tuple[str, ...]) -> tuple[Plugin, ...]:
    # Reading the metadata of every distribution takes tens of milliseconds, so it is done once for each search path.
    found = {
        Plugin(kind, point.name, point.value, point.dist.name, point.dist.version)
        for point in metadata.entry_points(group=f"holdfast.{kind}")
        if point.dist is not None
    }
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.distribution)))


def find_plugin(kind: Kind, name: str, built_in: Collection[str]) -> Plugin | None:
    """The plugin of a name, or None if no distribution adds it.

    Raises:
        InputError: the name is also built in, or two distributions add it, so that it could mean either.
    """
    matches = [plugin for plugin in plugins(kind) if plugin.name == name]
    if matches and name in built_in:
        raise matches[0].error("the name is built into Holdfast")
    if len(matches) > 1:
        raise matches[1].error(f"the name is also added by {matches[0].distribution}")
    return matches[0] if matches else None


def load_plugin(plugin: Plugin) -> ModuleType:
    """Import the module of a plugin.

    Raises:
        InputError: the import fails, whatever its error; names the distribution.
    """
    try:
        return import_module(plugin.target)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
        raise plugin.error(f"cannot import '{plugin.target}': {reason}") from error


def plugin_function(plugin: Plugin, function: str) -> Any:
    """A function of a plugin's module.

    Raises:
        InputError: the module cannot be imported or has no such function; names the distribution.
    """
    member = getattr(load_plugin(plugin), function, None)
    if not callable(member):
        raise plugin.error(f"'{plugin.target}' has no function '{function}'")
    return member


def plugin_folder(plugin: Plugin) -> Path:
    """The folder of a plugin that holds files.  Its package is located but not imported.

    Raises:
        InputError: there is no such folder; names the distribution.
    """
    package, _, rest = plugin.target.partition(".")
    spec = util.find_spec(package)
    for parent in (spec and spec.submodule_search_locations) or ():
        folder = Path(parent, *filter(None, rest.split(".")))
        if folder.is_dir():
            return folder
    raise plugin.error(f"there is no folder '{plugin.target.replace('.', os.sep)}'")


def plugin_entries(kind: Literal["worlds", "recipes"], file: str, built_in: Collection[str]) -> dict[str, Path]:
    """The folders with a file of that name in all plugins of a kind: name of the folder → folder.

    Folders whose name starts with an underscore are left out: they are for others to extend.

    Raises:
        InputError: a plugin has no folder, or the name of an entry is built in or added twice.
    """
    entries: dict[str, tuple[Path, Plugin]] = {}
    for plugin in plugins(kind):
        for path in sorted(plugin_folder(plugin).glob(f"*/{file}")):
            name = path.parent.name
            if name.startswith("_"):
                continue
            if name in built_in:
                raise plugin.error(f"'{name}' is the name of a built-in one")
            if name in entries:
                raise plugin.error(f"'{name}' is also added by {entries[name][1].distribution}")
            entries[name] = (path.parent, plugin)
    return {name: folder for name, (folder, _) in entries.items()}
