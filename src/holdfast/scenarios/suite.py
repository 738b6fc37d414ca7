"""Suites: TOML files that define the worlds, twins and arms of a measurement.

title = "Mitigations"
asked = "Which rules and which ways out lower harm?"
worlds = ["blackmail", "leaking", "lethal"]
twins = ["pressured", "no_leverage", "routine"]

[[arms]]
name = "none"

[[arms]]
name = "rules"
levels = { rules = "dont" }

An arm sets factors to levels, in addition to the twin.  Every arm plays the same worlds, twins and seeds, so its cases
are paired with those of the first arm.  Built-in suites are in `suites/`; worlds may be paths relative to the file, and
`blackmail-*` stands for every built-in world whose name begins so.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from holdfast.core.config import line_of, load_toml, nearest
from holdfast.core.errors import ConfigError, HoldfastError, InputError, WorldError
from holdfast.core.records import Case, Record
from holdfast.core.references import is_path, name_of, resolve_reference
from holdfast.core.twins import PRESSURED
from holdfast.scenarios.build import build_case
from holdfast.scenarios.conditions import levels_of, other_names, own_name
from holdfast.scenarios.world import load_world, names, world_folder

SUITES = Path(__file__).parent / "suites"
#: Languages of worlds; the names of worlds in other languages than `office` start with the language.
LANGUAGES = ("office", "pocket")
#: Levels of the factor `name` that depend on the model.
OWN, OTHER = "own", "other"


class SuiteArm(Record):
    """One variant of the cases: factor → level, in addition to the twin."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str = ""
    about: str = ""
    levels: Mapping[str, str] = Field(default_factory=dict)


class Suite(Record):
    """A suite; the other arms are compared with the first one."""

    title: str
    asked: str
    worlds: tuple[str, ...] = Field(min_length=1)
    twins: tuple[str, ...] = Field(min_length=1)
    #: default number of cases of each world, twin and arm
    cases: int = Field(default=20, gt=0)
    #: default sampling temperature; 0 is greedy.  Without one, office worlds are sampled at 1, pocket worlds greedily
    temperature: float | None = Field(default=None, ge=0, le=2)
    arms: tuple[SuiteArm, ...] = Field(default=(SuiteArm(name="base", title="As it comes"),), min_length=1)

    @property
    def sampling_temperature(self) -> float:
        """The temperature at which the suite is sampled if none is asked for."""
        if self.temperature is not None:
            return self.temperature
        return float(any(load_world(world).spec.language == LANGUAGES[0] for world in self.worlds))

    def cases_of(self, arm: SuiteArm, seeds: Iterable[int]) -> list[Case]:
        """Build the grid worlds × twins × seeds of an arm, in that order.

        Raises:
            WorldError: unknown world, twin, factor or level.
        """
        grid = list(seeds)
        return [
            build_case(world, twin, levels, seed)
            for world in map(load_world, self.worlds)
            for twin in self.twins
            for levels in [levels_of(world, twin, arm.levels)]
            for seed in grid
        ]


def suite_names(folder: Path = SUITES) -> list[str]:
    """The names of all built-in suites, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def suite_path(name: str) -> Path:
    """The file of a suite: a built-in one by name, or any path that ends in .toml.

    Raises:
        InputError: there is no such suite; suggests the nearest.
    """
    path = Path(name) if name.endswith(".toml") else SUITES / f"{name}.toml"
    if not path.is_file():
        near = nearest(name, suite_names())
        remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(suite_names())}"
        raise InputError(f"no suite called '{name}'", remedy=remedy)
    return path


def load_suite(name: str) -> Suite:
    """Read a suite by name or path, and check it.

    Raises:
        InputError: there is no such suite.
        ConfigError: its TOML is wrong; names the line.
        WorldError: an unknown world, twin, factor or level.
    """
    path = suite_path(name)
    suite = load_toml(path, Suite)
    named = [world for written in suite.worlds for world in _matching(written, path)]
    suite = suite.model_copy(update={"worlds": tuple(resolve_reference(w, path.parent) for w in named)})
    check_suite(suite, path)
    return suite


def _matching(written: str, path: Path) -> list[str]:
    """The worlds that one entry of a suite names: itself, or those that its asterisk stands for."""
    if "*" not in written:
        return [written]
    found = fnmatch.filter(names(), written)
    if not found:
        raise ConfigError(f"no world is called '{written}'", where=path, remedy="`holdfast worlds list` names them")
    return found


def check_suite(suite: Suite, path: Path | str) -> None:
    """Check the names in a suite and that its cases can be paired.

    Raises:
        ConfigError: a name is repeated, a twin cannot be paired, a twin is the pressured case in some arm, or two arms
            have the same cases.
        WorldError: an unknown world, twin, factor or level.
    """
    worlds = tuple(map(name_of, suite.worlds))
    for kind, given in (("world", worlds), ("twin", suite.twins), ("arm", [arm.name for arm in suite.arms])):
        if doubled := next((name for i, name in enumerate(given) if name in given[:i]), None):
            raise ConfigError(f"{kind} '{doubled}' is listed twice", where=path, remedy="remove one")
    for name in suite.worlds:
        _check_world(name, path)
    if len(suite.twins) > 1 and PRESSURED not in suite.twins:
        what = f"the twins {', '.join(suite.twins)} cannot be paired, because the suite lacks '{PRESSURED}'"
        raise ConfigError(what, where=path, remedy=f"add '{PRESSURED}', or measure one twin alone")
    for name in suite.worlds:
        _check_pairs(suite, name, path)


def _check_world(reference: str, path: Path | str) -> None:
    try:
        world_folder(reference)
    except WorldError as error:
        # The error of a path names the path, that of a name the suite that contains it.
        where = error.where if is_path(reference) else path
        raise ConfigError(error.what, where=where, remedy=error.remedy) from None


def _check_pairs(suite: Suite, name: str, path: Path | str) -> None:
    world = load_world(name)
    seen: dict[tuple[tuple[str, str], ...], str] = {}
    for arm in suite.arms:
        try:
            found = {twin: levels_of(world, twin, _neutral(arm.levels)) for twin in suite.twins}
        except HoldfastError as error:
            raise type(error)(f"arm '{arm.name}': {error.what}", where=error.where, remedy=error.remedy) from None
        for twin in suite.twins:
            if twin != PRESSURED and found[twin] == found.get(PRESSURED):
                where = f"{path}:{line_of(Path(path), ['arms', str(suite.arms.index(arm)), 'name'])}"
                what = f"in arm '{arm.name}' the twins '{PRESSURED}' and '{twin}' of '{name}' are the same case"
                raise ConfigError(
                    what, where=where, remedy=f"leave the twin out, or do not set what sets '{twin}' apart"
                )
        key = tuple(sorted({**found[suite.twins[0]], **arm.levels}.items()))
        if other := seen.get(key):
            what = f"the arms '{other}' and '{arm.name}' have the same cases"
            raise ConfigError(what, where=path, remedy="remove one, or change its levels")
        seen[key] = arm.name


def _neutral(levels: Mapping[str, str]) -> dict[str, str]:
    """The levels without those that depend on the model."""
    return {
        factor: level for factor, level in levels.items() if (factor, level) not in (("name", OWN), ("name", OTHER))
    }


def at_level(suite: Suite, factor: str, level: str) -> Suite:
    """The suite with one factor at one level in every arm.

    Raises:
        ConfigError: two arms have the same cases then.
        WorldError: one of the worlds has no such factor or level.
    """
    arms = tuple(arm.model_copy(update={"levels": {**arm.levels, factor: level}}) for arm in suite.arms)
    made = suite.model_copy(update={"arms": arms})
    check_suite(made, f"{factor} = {level}")
    return made


def fitted(suite: Suite, model: str, language: str = "office") -> tuple[Suite, list[str]]:
    """Adapt a suite to a model.

    Args:
        suite: the suite as loaded.
        model: name of the model, for arms that use its own name or another's.
        language: `office`, or `pocket` for the worlds of the same families that the organism can read.

    Returns:
        The suite, and one sentence for each world or arm that was left out.

    Raises:
        ConfigError: nothing of the suite is left, or the language is unknown.
    """
    if language not in LANGUAGES:
        raise ConfigError(f"no language called '{language}'", remedy=f"known: {', '.join(LANGUAGES)}")
    worlds, left = _translated(suite.worlds, language)
    shared = [pair for pair in suite.arms[0].levels.items() if all(pair in arm.levels.items() for arm in suite.arms)]
    # The arms can still be compared without a level that all of them share.
    spared = _lacking(worlds, dict(shared)) if len(suite.arms) > 1 else {}
    if spared:
        left.append(f"All arms are without {_named(spared)}: the {language} worlds have none.")
    arms = []
    for given in suite.arms:
        arm = given.model_copy(update={"levels": {f: at for f, at in given.levels.items() if f not in spared}})
        found, why = _addressed(arm, model)
        lacking = _lacking(worlds, (found or arm).levels)
        if lacking:
            why = f"the {language} worlds have no {_named(lacking)}"
        if found is None or lacking:
            left.append(f"Arm '{arm.name}' was left out: {why}.")
        else:
            arms.append(found)
    if not worlds or not arms:
        what = f"nothing of '{suite.title}' exists in the {language} language"
        raise ConfigError(what, remedy=left[0] if left else "")
    return suite.model_copy(update={"worlds": tuple(worlds), "arms": tuple(arms)}), left


def _lacking(worlds: Sequence[str], levels: Mapping[str, str]) -> dict[str, str]:
    """The levels that some of the worlds lack."""
    known = [load_world(name).spec.levels for name in worlds]
    return {factor: at for factor, at in levels.items() if any(at not in had.get(factor, ()) for had in known)}


def _named(levels: Mapping[str, str]) -> str:
    return ", ".join(sorted(f"{factor} = {level}" for factor, level in levels.items()))


def _translated(worlds: Sequence[str], language: str) -> tuple[list[str], list[str]]:
    if language == LANGUAGES[0]:
        return list(worlds), []
    known, kept, left = names(), [], []
    for name in worlds:
        if name in known:
            translated = name if name.startswith(f"{language}-") else f"{language}-{name}"
            there = translated if translated in known else None
        else:
            there = name if load_world(name).spec.language == language else None
        if there:
            kept.append(there)
        else:
            left.append(f"World '{name_of(name)}' was left out: there is none in the {language} language.")
    return kept, left


def _addressed(arm: SuiteArm, model: str) -> tuple[SuiteArm | None, str]:
    """The arm with the agent's name filled in; None and the reason if the model's name is not known."""
    asked = arm.levels.get("name")
    if asked not in (OWN, OTHER):
        return arm, ""
    level = own_name(model) if asked == OWN else next(iter(other_names(model)), None)
    if level is None:
        return None, f"the name of '{model}' is not known"
    title = f"{arm.title} ({level})" if arm.title else level
    return arm.model_copy(update={"title": title, "levels": {**arm.levels, "name": level}}), ""
