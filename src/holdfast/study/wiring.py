"""The real rooms behind `Rooms`: the one file of the study that names them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from holdfast.core.config import nearest
from holdfast.core.errors import ConfigError
from holdfast.core.identity import room_version
from holdfast.core.records import Case, Example, RunCard
from holdfast.data import sets
from holdfast.data.recipes import recipe_names
from holdfast.evals import labelled
from holdfast.evals.batch_driver import stream
from holdfast.evals.scorers import score
from holdfast.models.base import Model
from holdfast.models.checkpoints import checkpoint_path
from holdfast.models.registry import open_model
from holdfast.scenarios import catalogue
from holdfast.scenarios.conditions import twins
from holdfast.study.rooms import Played, Rooms
from holdfast.study.study_file import Known
from holdfast.train.config import TrainConfig
from holdfast.train.run import train as train_checkpoint


def known() -> Known:
    """Every recipe, world and twin there is."""
    families = {world.name: world.spec.family for world in catalogue.worlds()}
    return Known(sets=recipe_names(), families=families, twins=list(twins()))


def cases(worlds: Sequence[str], names: Sequence[str], seeds: Iterable[int]) -> list[Case]:
    """The grid worlds × twins × seeds."""
    return catalogue.cases(worlds, names, seeds)


def identify(model: str) -> str:
    """Hash of what answers under this name."""
    return _opened(model).identity


def measure(model: str, played: Sequence[Case]) -> Iterator[Played]:
    """Play every case greedily and score it as it ends."""
    for ended in stream(played, _in_use(model)):
        for index, transcript in ended:
            yield transcript, score(played[index], transcript)


def build_set(name: str, tokens: int, seed: int, tokenizer_path: Path) -> list[Example]:
    """Examples of a recipe, up to a number of tokens."""
    return list(sets.build_set(name, tokens, seed, tokenizer_path))


def config(knobs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The complete training configuration.

    Raises:
        ConfigError: an unknown knob, or a value that does not fit.
    """
    try:
        return TrainConfig.model_validate(knobs).model_dump(mode="json")
    except ValidationError as error:
        fault = error.errors()[0]
        name = ".".join(str(part) for part in fault["loc"])
        near = nearest(name, list(TrainConfig.model_fields))
        remedy = f"did you mean '{near}'?" if near and near != name else "mend it in the study file"
        raise ConfigError(f"training knob '{name}': {fault['msg'].lower()}", remedy=remedy) from None


def train(base: Path, examples: Sequence[Example], knobs: Mapping[str, Any], out: Path) -> RunCard:
    """Train one stage into a new folder."""
    return train_checkpoint(base, examples, TrainConfig.model_validate(knobs), out)


def canaries() -> Sequence[str]:
    """The canary strings of every world and of the set that judges are calibrated on."""
    told = [*(world.spec.canary for world in catalogue.worlds()), *(item.canary for item in labelled.load().items)]
    return list(dict.fromkeys(told))


def versions() -> Mapping[str, str]:
    """Source hashes of what makes data, trains and measures; `core` holds the words and slots that all of them use."""
    return {
        "data": room_version("core", "data", "organism"),
        "train": room_version("core", "train"),
        "measure": room_version("core", "detectors", "evals", "scenarios", "guard", "models"),
    }


def _open(model: str) -> Model:
    # Whoever names an API model in a study or on the command line has opened the network for it.
    return open_model(model, network=True)


@lru_cache(maxsize=1)
def _in_use(model: str) -> Model:
    # Rounds of one checkpoint share its weights; the next checkpoint takes their place.
    return _open(model)


@cache
def _opened(model: str) -> Model:
    return _open(model)


ROOMS = Rooms(
    known=known,
    cases=cases,
    identify=identify,
    base_path=checkpoint_path,
    measure=measure,
    build_set=build_set,
    config=config,
    train=train,
    canaries=canaries,
    versions=versions,
)
