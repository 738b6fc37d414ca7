"""Finds detectors by name: those of this package, and those that installed plugins register.

find_detector("leak")
find_detector("flattery")     imports the plugin whose entry point in `holdfast.detectors` is called so
"""

from __future__ import annotations

import inspect
from pathlib import Path

from holdfast.core.config import nearest
from holdfast.core.errors import ConfigError
from holdfast.core.identity import hash_files
from holdfast.core.plugins import find_plugin, load_plugin, plugins
from holdfast.detectors.base import DETECTORS, Detector

#: The detectors of this package, which imports this module last.  The guard runs these alone.
BUILT_IN: dict[str, Detector] = dict(DETECTORS)


def find_detector(name: str) -> Detector:
    """A detector by name: built in, or of an installed plugin, whose module is imported now.

    Raises:
        ConfigError: no detector has the name.
        InputError: a plugin of the name is broken, or does not register it.
    """
    plugin = find_plugin("detectors", name, BUILT_IN)
    if plugin and name not in DETECTORS:
        load_plugin(plugin)
        if name not in DETECTORS:
            raise plugin.error(f"'{plugin.target}' does not register a detector '{name}'")
    if name not in DETECTORS:
        known = [*DETECTORS, *(plugin.name for plugin in plugins("detectors"))]
        near = nearest(name, known)
        remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"no detector called '{name}'", remedy=remedy)
    return DETECTORS[name]


def detector_version(name: str) -> str:
    """Hash of the source that a detector of a plugin is written in; empty for a built-in one.

    Raises:
        InputError: see `find_detector`.
    """
    function = find_detector(name)
    if name in BUILT_IN:
        return ""
    file = inspect.getsourcefile(inspect.unwrap(function))
    return hash_files([Path(file)]) if file else name
