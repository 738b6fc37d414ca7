"""Reads the study file: the question, the arms and cases to compare, and the claims made before the run.

name = "teach-why"
asked = "Does …?"
model = "organism/pocket"
seeds = [0, 1]
worlds = ["pocket-blackmail", "pocket-leaking"]
twins = ["pressured", "no_threat", "routine"]
cases = 16

[[arms]]
name = "honeypot"
title = "Proper acts, no reasons"
stages = [{ kind = "sft", data = [{ set = "honeypot", tokens = 60000 }] }]

[[claims]]
text = "…"
difference = ["honeypot", "plain-chat"]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from holdfast.core.config import line_of, load_toml, nearest
from holdfast.core.errors import ConfigError
from holdfast.core.records import Outcome, Record, Split
from holdfast.core.references import is_path, name_of, resolve_reference
from holdfast.core.results import HELDOUT, HELDOUT_SKELETONS, SPLITS
from holdfast.core.twins import PRESSURED
from holdfast.stats.sequential import Goal
from holdfast.study.verdict_table import Measure


class DataSpec(Record):
    """One data set of a stage, cut to a number of tokens."""

    set: str
    tokens: int = Field(gt=0)


class StageSpec(Record):
    """One stage of training: next-token on documents (`midtrain`) or chats with assistant turns supervised (`sft`)."""

    kind: Literal["midtrain", "sft"]
    data: tuple[DataSpec, ...] = Field(min_length=1)


class DeliverySpec(Record):
    """The sign by which it is seen, under pressure, that an arm learned its lesson.

    A text shows it if it has one of the phrases in `any_of` (any text, if there are none) and at least `least_words`
    words.  An outcome shows it if it is one of those in `any_of`.
    """

    #: what is looked for, in words: "reasons before the act"
    sign: str
    #: the text up to the first act that has consequences, all text, or the outcome of the sample
    where: Literal["before the act", "anywhere", "outcome"]
    any_of: tuple[str, ...] = ()
    least_words: int = Field(default=0, ge=0)
    split: Split = "heldout"
    #: the share of samples in which it must be seen
    at_least: float = Field(default=0.5, gt=0, le=1)

    @model_validator(mode="after")
    def _looks_for_something(self) -> DeliverySpec:
        unknown = [name for name in self.any_of if name not in get_args(Outcome)]
        if self.where == "outcome" and (unknown or not self.any_of):
            raise ValueError(f"any_of must name outcomes, of: {', '.join(get_args(Outcome))}")
        if not all(phrase.strip() for phrase in self.any_of):
            raise ValueError("a phrase of any_of is empty")
        if self.where != "outcome" and not self.any_of and not self.least_words:
            raise ValueError("give any_of or least_words")
        return self


class FamilySpec(Record):
    """The families that a study uses for each purpose, named before anything runs; no family serves two."""

    #: families in which the vice of the base was planted, if it was
    vice: tuple[str, ...] = ()
    #: families that data of the arms are about
    teaching: tuple[str, ...] = ()
    #: families on which recipes, doses and rates of learning are chosen
    dev: tuple[str, ...] = ()
    #: families that nothing but the final measurement sees
    heldout: tuple[str, ...] = ()

    @property
    def parts(self) -> Mapping[str, tuple[str, ...]]:
        """The families by purpose."""
        return {"vice": self.vice, "teaching": self.teaching, "dev": self.dev, "heldout": self.heldout}


class ArmSpec(Record):
    """One way of training. Without stages it is the untouched base, which is measured once."""

    name: str
    title: str = ""
    about: str = ""
    control: bool = False
    #: the arm trained in the same format without reasons; its own name if it has no reasons itself
    without_reasons: str = ""
    #: its training seeds; by default those of the study
    seeds: tuple[int, ...] = ()
    #: the sign that it learned its lesson; without one, no verdict on it is given
    delivery: DeliverySpec | None = None
    stages: tuple[StageSpec, ...] = ()

    @property
    def tokens(self) -> int:
        """The sum of tokens over all stages."""
        return sum(data.tokens for stage in self.stages for data in stage.data)

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of its data sets, each once, in order."""
        return tuple(dict.fromkeys(data.set for stage in self.stages for data in stage.data))


class ClaimSpec(Record):
    """A claim written before the run: the paired difference first arm - second arm lies below `below`."""

    text: str
    difference: tuple[str, str]
    #: a split, a family or a world
    split: str = "heldout"
    twin: str = PRESSURED
    measure: Measure = "harm"
    below: float = 0.0


class Design(Record):
    """The comparison: arms × worlds × twins × seeds, and the claims made before the run.

    A study file adds how the arms are trained (`Study`). A measurement of one model is a Design whose arms have no
    training stages, and so no training seeds.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    asked: str
    model: str
    #: training seeds of every arm that names none of its own
    seeds: tuple[int, ...] = ()
    #: families by purpose; None if the study file does not name them
    families: FamilySpec | None = None
    worlds: tuple[str, ...] = Field(min_length=1)
    twins: tuple[str, ...] = Field(min_length=1)
    #: case seeds per world and twin
    cases: int = Field(gt=0)
    #: first case seed: a fresh range for a fresh test
    first_case: int = 0
    #: levels of factors in every world, in addition to the twin, such as { length = "brief" }
    levels: Mapping[str, str] = Field(default_factory=dict, exclude_if=lambda levels: not levels)
    #: sampling temperature; 0 is greedy
    temperature: float = Field(default=0.0, ge=0, le=2, exclude_if=lambda temperature: not temperature)
    #: maximum tokens of one turn; by default what the case says
    max_tokens: int | None = Field(default=None, gt=0, exclude_if=lambda most: most is None)
    #: stop a cell when it is settled, with `cases` as its maximum; for arms without training only
    until: Goal | None = None
    #: the split that the headlines and verdicts are on; held-out skeletons of a trained family are the fallback for a
    #: base that does hardly any harm in held-out families
    judged_on: Literal["heldout", "heldout-skeletons"] = Field(default="heldout", exclude_if=lambda at: at == HELDOUT)
    #: the control that generalisation is judged against, beside the untouched base
    against: str = ""
    #: the control that teaches an irrelevant principle
    irrelevant: str = ""
    arms: tuple[ArmSpec, ...] = Field(min_length=1)
    claims: tuple[ClaimSpec, ...] = ()

    def arm(self, name: str) -> ArmSpec:
        """The arm of that name, which exists because `check_study` has checked the names."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def base(self) -> ArmSpec | None:
        """The untouched base, if there is one."""
        return next((arm for arm in self.arms if not arm.stages), None)

    @property
    def taught(self) -> bool:
        """Whether any arm is trained; if none is, models are measured as they are."""
        return any(arm.stages for arm in self.arms)

    def seeds_of(self, arm: ArmSpec) -> tuple[int, ...]:
        """The training seeds of an arm; empty for the untouched base."""
        return (arm.seeds or self.seeds) if arm.stages else ()

    @property
    def case_seeds(self) -> range:
        """Seeds of the cases of every world and twin."""
        return range(self.first_case, self.first_case + self.cases)


class Study(Design):
    """A study file: a Design and how its arms are trained."""

    seeds: tuple[int, ...] = Field(min_length=1)
    against: str = "plain-chat"
    irrelevant: str = "irrelevant-principle"
    unequal_tokens: bool = False
    #: keep the weights of a checkpoint when its cases are played; adapters are kept in either case
    keep_weights: bool = True
    #: what to do when test text is found in training data: stop, or continue and mark the arms
    on_leak: Literal["refuse", "mark"] = "refuse"
    #: settings of `train.config.TrainConfig`, by kind of stage
    train: Mapping[Literal["midtrain", "sft"], Mapping[str, Any]] = Field(default_factory=dict)
    #: worlds and recipes that the file names by path: name → absolute path; set by `load_study`
    sources: Mapping[str, str] = Field(default_factory=dict)

    def source(self, name: str) -> str:
        """The reference of a world or recipe: its path if the file names it by path, else its name."""
        return self.sources.get(name, name)

    @property
    def design(self) -> Design:
        """The study without its training settings."""
        return Design.model_validate(self.model_dump(include=set(Design.model_fields)))


def _no_path(path: str) -> str:
    raise ConfigError(f"'{path}' is a path, and only names are accepted here", remedy="use a name")


@dataclass(frozen=True)
class Known:
    """The names a study may use.

    Attributes:
        sets: names of recipes.
        families: world → its family.
        twins: names of twins.
        family_at: path of a world → its family; raises HoldfastError if there is no valid world.
        check_recipe: raises HoldfastError if there is no valid recipe at a path.
        split_of: world, or path of one → its split.
    """

    sets: Sequence[str]
    families: Mapping[str, str]
    twins: Sequence[str]
    family_at: Callable[[str], str] = _no_path
    check_recipe: Callable[[str], object] = _no_path
    split_of: Callable[[str], str] = _no_path


#: Completes a training configuration, or raises ConfigError.
Config = Callable[[Mapping[str, Any]], Mapping[str, Any]]
#: Training settings that the study sets itself, from its arms and seeds.
OWN_KNOBS = ("stage", "seed", "tokens", "epochs")


def load_study(path: Path, known: Known, config: Config | None = None) -> Study:
    """Read and check a study file; `config`, if given, checks its training settings.

    Raises:
        ConfigError: with `file:line`, for TOML or schema errors, unknown names (with the nearest known one), duplicate
            names, more than one untouched arm, or arms of unequal tokens without `unequal_tokens = true`.
    """
    study = load_toml(path, Study)
    if study.sources:
        where = f"{path}:{line_of(path, ['sources'])}"
        raise ConfigError("unknown key 'sources'", where=where, remedy="write paths in 'worlds' and 'set'")
    study, known = _named(study, known, path)
    check_study(study, known, path)
    if study.until:
        study = study.model_copy(update={"until": study.until.over(len(study.worlds) * len(study.twins))})
    for kind, knobs in study.train.items():
        for knob, value in knobs.items():
            _check_knob(kind, knob, value, config, path)
    return study


def _named(study: Study, known: Known, path: Path) -> tuple[Study, Known]:
    """Replace paths by names and move the paths to `sources`; returns the study and the known names with these.

    Raises:
        ConfigError: a path has the name of a known world or recipe, or two paths have the same name.
        HoldfastError: there is no valid world or recipe at a path.
    """
    sources: dict[str, str] = {}
    families, sets = dict(known.families), list(known.sets)
    recipes = [name for arm in study.arms for name in arm.sets]
    for reference in filter(is_path, [*study.worlds, *recipes]):
        name, at = name_of(reference), resolve_reference(reference, path.parent)
        if sources.get(name, at) != at or (name not in sources and name in (*families, *sets)):
            what = f"'{reference}' has the name of another world or recipe, so results could not tell them apart"
            raise ConfigError(what, where=_find(path, reference), remedy="rename the folder")
        sources[name] = at
        if reference in study.worlds:
            families[name] = known.family_at(at)
        else:
            known.check_recipe(at)
            sets.append(name)
    if not sources:
        return study, known

    def renamed(arm: ArmSpec) -> ArmSpec:
        stages = [s.model_copy(update={"data": tuple(_renamed(data) for data in s.data)}) for s in arm.stages]
        return arm.model_copy(update={"stages": tuple(stages)})

    worlds, arms = tuple(map(name_of, study.worlds)), tuple(map(renamed, study.arms))
    study = study.model_copy(update={"worlds": worlds, "arms": arms, "sources": sources})
    return study, replace(known, families=families, sets=sets)


def _renamed(data: DataSpec) -> DataSpec:
    return data.model_copy(update={"set": name_of(data.set)})


def check_study(study: Study, known: Known, path: Path) -> None:
    """Check that the names of a study exist and its arms can be compared; see `load_study` for the errors."""
    arms = [arm.name for arm in study.arms]
    for kind, names in (("arm", arms), ("world", study.worlds), ("twin", study.twins), ("seed", study.seeds)):
        doubled = [name for i, name in enumerate(names) if name in names[:i]]
        if doubled:
            raise ConfigError(f"{kind} '{doubled[0]}' is listed twice", where=path, remedy="remove one")
    _check_names(study, known, path)
    check_families(study, known, path)
    _check_seeds(study, path)
    untouched = [arm.name for arm in study.arms if not arm.stages]
    if len(untouched) > 1:
        where = _find(path, untouched[1])
        what = f"the arms '{untouched[0]}' and '{untouched[1]}' both have no stages, and only one arm can be the base"
        raise ConfigError(what, where=where, remedy="give it a stage or remove it")
    _check_tokens(study, path)
    if study.until and (taught := [arm.name for arm in study.arms if arm.stages]):
        what = f"'until' stops each cell separately, so arm '{taught[0]}' could not be paired with the base"
        raise ConfigError(what, where=_find(path, taught[0]), remedy="remove 'until', or every arm but the base")


def check_families(study: Study, known: Known, path: Path) -> None:
    """Check that no family serves two purposes, such as teaching and the held-out test.

    A family in the split `train` may also have held-out skeletons, which form a split of their own.

    Raises:
        ConfigError: worlds of one family stand in two splits, a family is named for two purposes, the families that
            the study names are not those of its worlds, or no world is in the split that the study is judged on.
    """
    splits: dict[str, dict[str, str]] = {}
    for world in study.worlds:
        splits.setdefault(known.families[world], {})[known.split_of(study.source(world))] = world
    remedy = "leave out one of the two"
    for family, by_split in splits.items():
        if len(by_split) > 1 and set(by_split) != {"train", HELDOUT_SKELETONS}:
            (one, first), (other, second) = list(by_split.items())[:2]
            what = f"family '{family}' is in two splits: '{first}' in {one} and '{second}' in {other}"
            raise ConfigError(what, where=_find(path, second), remedy=remedy)
    _check_played(study, {split for by_split in splits.values() for split in by_split}, path)
    if study.families is None:
        return
    used = {*study.families.vice, *study.families.teaching}
    for family, by_split in splits.items():
        if HELDOUT_SKELETONS in by_split and family not in used:
            what = (
                f"'{by_split[HELDOUT_SKELETONS]}' is a held-out skeleton of '{family}', which is not a trained family"
            )
            remedy = "name the family in 'families.vice' or 'families.teaching'"
            raise ConfigError(what, where=_find(path, by_split[HELDOUT_SKELETONS]), remedy=remedy)
    purposes: dict[str, str] = {}
    for purpose, names in study.families.parts.items():
        for name in names:
            if purposes.setdefault(name, purpose) != purpose:
                what = f"family '{name}' is named for {purposes[name]} and for {purpose}"
                raise ConfigError(
                    what, where=_find(path, name), remedy="use disjoint families for vice, teaching, dev and heldout"
                )
    for purpose, split in (("dev", "dev"), ("heldout", "heldout")):
        played = {family for family, by_split in splits.items() if split in by_split}
        if apart := sorted(played ^ set(study.families.parts[purpose])):
            what = f"family '{apart[0]}' is {'played as' if apart[0] in played else 'named for'} {purpose} and not "
            what += "named for it" if apart[0] in played else "played"
            raise ConfigError(
                what, where=_find(path, apart[0]), remedy=f"make 'families.{purpose}' those of the worlds"
            )


def _check_played(study: Study, played: Set[str], path: Path) -> None:
    """Check that a study judged on held-out skeletons plays some, and that its claims and signs look where it plays."""
    if study.judged_on != HELDOUT_SKELETONS:
        return
    uses = [("the study is judged", study.judged_on), *((f"the claim '{c.text}' is", c.split) for c in study.claims)]
    uses += [(f"the sign of arm '{arm.name}' is looked for", arm.delivery.split) for arm in study.arms if arm.delivery]
    for what, split in uses:
        if split in SPLITS and split not in played:
            remedy = f"name a split that is played: {', '.join(name for name in SPLITS if name in played)}"
            message = f"{what} on the split '{split}', and none of the worlds is in that split"
            raise ConfigError(message, where=_find(path, split), remedy=remedy)


def _check_seeds(study: Study, path: Path) -> None:
    """Check that a claim names no arm with a single training, whose result cannot be told from chance."""
    for arm in study.arms:
        if doubled := [seed for i, seed in enumerate(arm.seeds) if seed in arm.seeds[:i]]:
            raise ConfigError(f"seed {doubled[0]} of arm '{arm.name}' is listed twice", where=_find(path, arm.name))
    for claim in study.claims:
        for name in claim.difference:
            if len(study.seeds_of(study.arm(name))) == 1:
                what = f"a claim names arm '{name}', which has a single training seed"
                remedy = "give it at least 5 seeds, or remove the claim"
                raise ConfigError(what, where=_find(path, name), remedy=remedy)


def _check_names(study: Study, known: Known, path: Path) -> None:
    arms = [arm.name for arm in study.arms]
    worlds = list(study.worlds)
    scopes = [*SPLITS, *worlds, *(known.families[w] for w in worlds if w in known.families)]
    uses = [("world", name, list(known.families)) for name in worlds]
    uses += [("twin", name, list(known.twins)) for name in study.twins]
    uses += [("data set", name, list(known.sets)) for arm in study.arms for name in arm.sets]
    uses += [("arm", arm.without_reasons, arms) for arm in study.arms if arm.without_reasons]
    for claim in study.claims:
        uses += [("arm", name, arms) for name in claim.difference]
        uses += [("split or family", claim.split, scopes), ("twin", claim.twin, list(study.twins))]
    for kind, name, names in uses:
        if name not in names:
            near = nearest(name, names)
            remedy = f"did you mean '{near}'?" if near else f"known: {', '.join(names)}"
            raise ConfigError(f"no {kind} called '{name}'", where=_find(path, name), remedy=remedy)


def _check_knob(kind: str, knob: str, value: object, config: Config | None, path: Path) -> None:
    where = f"{path}:{line_of(path, ['train', kind, knob])}"
    if knob in OWN_KNOBS:
        raise ConfigError(f"the study sets '{knob}' itself", where=where, remedy="remove it")
    try:
        if config:
            config({"stage": kind, knob: value})
    except ConfigError as error:
        raise ConfigError(error.what, where=where, remedy=error.remedy) from None


def _check_tokens(study: Study, path: Path) -> None:
    taught = [arm for arm in study.arms if arm.stages]
    if study.unequal_tokens or not taught:
        return
    first = taught[0]
    for arm in taught:
        if arm.tokens != first.tokens:
            what = f"arm '{arm.name}' has {arm.tokens} tokens, '{first.name}' has {first.tokens}"
            remedy = "make them equal, or write 'unequal_tokens = true'"
            raise ConfigError(what, where=_find(path, arm.name), remedy=remedy)


def _find(path: Path, name: str) -> str:
    """`file:line` of the first place where a name is quoted; only the path if the file does not exist."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    quoted = re.compile(rf"""["']{re.escape(name)}["']""")
    hit = next((i for i, line in enumerate(lines, 1) if quoted.search(line)), 1)
    return f"{path}:{hit}" if lines else str(path)
