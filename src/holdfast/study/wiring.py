"""Runs studies with the real data sets, training and worlds.

study = open_study(Path("studies/teach-why.toml"))
run_study(study, Path("results") / study.name, workers=2)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from holdfast.core.config import nearest
from holdfast.core.errors import ConfigError
from holdfast.core.identity import room_version
from holdfast.core.records import Case, Example, RunCard
from holdfast.data import sets
from holdfast.data.lesson_book import is_lesson, lesson_hash, lesson_names
from holdfast.data.recipes import installed_recipes, load_recipe, recipe_hash, recipe_names
from holdfast.evals import labelled
from holdfast.evals.batch_driver import stream, template_needs
from holdfast.evals.scorers import score, scoring_version
from holdfast.models.base import Model
from holdfast.models.checkpoints import checkpoint_path
from holdfast.models.live_probe import NOT_PROBED, SKIP, is_served, live_probe, probe_with, refuse_faults
from holdfast.models.registry import open_model
from holdfast.scenarios import catalogue
from holdfast.scenarios.conditions import twins
from holdfast.scenarios.world import load_world
from holdfast.study.plan import CellPlan, PlanInputs, StudyPlan, plan_cells
from holdfast.study.play import Played
from holdfast.study.run import Extras, Watch, run_grid
from holdfast.study.study_file import Design, Known, Study, load_study
from holdfast.study.work import Steps
from holdfast.train.config import TrainConfig
from holdfast.train.run import train as train_checkpoint

#: Case seeds of each training world that the leakage search compares training data with.
_SCAFFOLDING = 200


def known() -> Known:
    """List every named recipe, world and twin, and say how those given by path are read."""
    families = {world.name: world.spec.family for world in catalogue.all_worlds()}
    sets = [*recipe_names(), *installed_recipes(), *lesson_names()]
    return Known(sets, families, list(twins()), lambda path: load_world(path).spec.family, load_recipe, _split)


def _split(world: str) -> str:
    return load_world(world).split


def cases(
    worlds: Sequence[str], names: Sequence[str], seeds: Iterable[int], levels: Mapping[str, str] | None = None
) -> list[Case]:
    """Make the cases of the grid worlds × twins × seeds."""
    return catalogue.cases(worlds, names, seeds, levels)


def identify(model: str) -> str:
    """Hash the model that this name opens."""
    return _opened(model).identity


def play(
    cell: CellPlan,
    model: str,
    played: Sequence[Case],
    *,
    max_tokens: int | None = None,
    temperature: float = 0.0,
    skip_probe: bool = False,
) -> Iterator[Played]:
    """Play every case against the model of a cell and score it when it ends; temperature 0 is greedy.

    Raises:
        ModelError: a part of the cases is lost between here and the model; see `models.probe` and `models.live_probe`.
    """
    if is_served(_in_use(model)) and not skip_probe:
        for system, tools in template_needs(played):
            _probe_once(model, system, tools)
    for ended in stream(played, _in_use(model), max_tokens=max_tokens, temperature=temperature):
        for index, transcript in ended:
            yield transcript, score(played[index], transcript)


def build_set(
    name: str, tokens: int, seed: int, tokenizer_path: Path, *, sources: Mapping[str, str] | None = None
) -> list[Example]:
    """Make examples of a recipe or a written set up to a number of tokens; `sources`: name → path of a recipe."""
    return list(sets.build_set((sources or {}).get(name, name), tokens, seed, tokenizer_path))


def config(knobs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Complete a training configuration.

    Raises:
        ConfigError: a setting is unknown, or its value does not fit.
    """
    try:
        return TrainConfig.model_validate(knobs).model_dump(mode="json")
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(part) for part in fault["loc"])
        near = nearest(name, list(TrainConfig.model_fields))
        remedy = f"did you mean '{near}'?" if near and near != name else "correct it in the study file"
        raise ConfigError(f"training setting '{name}': {fault['msg'].lower()}", remedy=remedy) from None


def train(base: Path, examples: Sequence[Example], knobs: Mapping[str, Any], out: Path) -> RunCard:
    """Train one stage into a new folder."""
    return train_checkpoint(base, examples, TrainConfig.model_validate(knobs), out)


def leakage_reference(
    train_worlds: Sequence[str], names: Sequence[str], sources: Mapping[str, str], study: Design
) -> tuple[list[Case], Sequence[str]]:
    """Make cases of the training worlds, whose text may occur in training data, and list every canary string.

    Beside the training worlds of the study these are all of its language: written sets are played in them, and they
    share the text of their base with the other skeletons of their family, whether or not the study plays them.
    Where a world has the levels of the study, its cases are made at these levels too.
    """
    played = [load_world(sources.get(world, world)) for world in study.worlds]
    spoken = {world.spec.language for world in played}
    shared = [w.name for w in catalogue.all_worlds() if w.spec.language in spoken and w.split == "train"]
    references = [sources.get(world, world) for world in dict.fromkeys([*train_worlds, *shared])]
    made = catalogue.cases(references, names, range(_SCAFFOLDING))
    if levels := study.levels:
        levelled = [at for at in references if levels.keys() <= load_world(at).spec.levels.keys()]
        made += catalogue.cases(levelled, names, range(_SCAFFOLDING), levels)
    paths = [sources[world] for world in study.worlds if world in sources]
    return made, canaries(paths)


def canaries(paths: Sequence[str] = ()) -> Sequence[str]:
    """List the canary strings of every named world, of worlds at `paths`, and of the labelled set of judges."""
    worlds = [*catalogue.all_worlds(), *map(load_world, paths)]
    return list(dict.fromkeys([*(w.spec.canary for w in worlds), *sorted(labelled.canary_strings())]))


def versions(cases: Iterable[Case] = ()) -> Mapping[str, str]:
    """Hash the source that makes data, trains and measures; `core` holds the words and slots that all of them use."""
    return {
        "data": room_version("core", "data", "organism"),
        "train": room_version("core", "train"),
        "measure": scoring_version(cases, "core", "detectors", "evals", "scenarios", "guard", "models"),
    }


def _open(model: str) -> Model:
    # Naming an API model in a study file or on the command line permits the network for it.
    return open_model(model, network=True)


@lru_cache(maxsize=1)
def _in_use(model: str) -> Model:
    # Rounds of one checkpoint share its weights; the next checkpoint replaces them.
    return _open(model)


@cache
def _probe_once(model: str, system: bool, tools: bool) -> None:
    faults = probe_with(_in_use(model), live_probe(system=system, tools=tools))
    refuse_faults(model, faults, f"name another model in the study file, or, to go on without the probe, {SKIP}")


@cache
def _opened(model: str) -> Model:
    return _open(model)


def steps(study: Study, *, skip_probe: bool = False) -> Steps:
    """Make the real steps of a study; its `on_leak` decides whether test text in training data stops it."""
    build = partial(build_set, sources=study.sources)
    reference = partial(leakage_reference, sources=study.sources, study=study.design)
    playing = partial(play, max_tokens=study.max_tokens, temperature=study.temperature, skip_probe=skip_probe)
    return Steps(playing, checkpoint_path, build, train, reference, study.on_leak == "refuse", study.keep_weights)


def open_study(path: Path) -> Study:
    """Read a study file and check its names and training settings against what is installed.

    Raises:
        ConfigError: see `study_file.load_study`.
    """
    return load_study(path, known(), config)


def plan_study(study: Study) -> StudyPlan:
    """Plan a study with the present code and worlds. Nothing is built or trained.

    Raises:
        HoldfastError: a world, the model or a training setting is wrong.
    """
    played = cases([study.source(world) for world in study.worlds], study.twins, study.case_seeds, study.levels)
    kinds = sorted({stage.kind for arm in study.arms for stage in arm.stages})
    configs: dict[str, Mapping[str, Any]] = {
        kind: config({**study.train.get(kind, {}), "stage": kind}) for kind in kinds
    }
    recipes = {name for arm in study.arms for name in arm.sets} - set(recipe_names())
    hashes = {name: lesson_hash(name) if is_lesson(name) else recipe_hash(study.source(name)) for name in recipes}
    return plan_cells(study, PlanInputs(identify(study.model), played, configs, versions(played), recipes=hashes))


def run_study(
    study: Study,
    out: Path,
    *,
    workers: int = 2,
    watch: Watch = lambda _: None,
    command: str = "",
    skip_probe: bool = False,
) -> Path:
    """Run a study into `out` and return the path of its `summary.json`.

    Args:
        study: a checked study.
        out: results folder, usually `results/NAME`.
        workers: worker processes of one thread each; 1 runs everything in this process.
        watch: called after each task.
        command: the command line, for the provenance.
        skip_probe: do not probe a served model before its first case; see `models.live_probe`.

    Raises:
        ResultsError: test text was found in training data and the study has `on_leak = "refuse"`.
        HoldfastError: a task failed; the error names its arm or data set. Finished work is kept.
        IncompleteError: the run was interrupted, a worker died, or another process writes to `out`.
    """
    unprobed = skip_probe and is_served(_opened(study.model))
    extras = Extras(notes=(*how_played(study), *([NOT_PROBED] if unprobed else [])))
    made = steps(study, skip_probe=skip_probe)
    return run_grid(plan_study(study), out, made, workers=workers, watch=watch, command=command, extras=extras)


def how_played(study: Study) -> tuple[str, ...]:
    """Say for the limits of the report how the cases were played, where that is not the default."""
    found = [f"{factor} = {level}" for factor, level in study.levels.items()]
    found += [f"sampled at temperature {study.temperature:g}"] if study.temperature else []
    found += [f"at most {study.max_tokens} tokens a turn"] if study.max_tokens else []
    return (f"The cases were played at {'; '.join(found)}.",) if found else ()
