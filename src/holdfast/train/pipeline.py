"""Training files: one or more stages, the base checkpoint, the output folder, and the training data.

    base = "organism/pocket"
    out = "results/taught"
    sets = { difficult-advice = 20_000 }    # or: examples = ["results/advice"]
    lr = 1e-3

To run several stages in sequence, write `[[stage]]` tables with the same keys, and put `base`, `out` and `eval_every`
above them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from holdfast.core.config import read_toml, validate
from holdfast.core.errors import InputError
from holdfast.core.records import Example, Record, RunCard
from holdfast.core.references import resolve_reference
from holdfast.core.store import RunFolder
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.pairs import Pair
from holdfast.train.reinforce import Environment
from holdfast.train.run import TrainingData, train
from holdfast.train.safety_probe import ProbeSchedule


class StageFile(TrainConfig):
    """Settings and training data of one stage.

    Attributes:
        examples: folders of finished sets.
        sets: recipe name → token budget, for sets that are built before the stage starts.
        worlds: worlds that `grpo` plays.
    """

    examples: tuple[Path, ...] = ()
    sets: Mapping[str, int] = Field(default_factory=dict)
    worlds: tuple[str, ...] = ()

    @property
    def config(self) -> TrainConfig:
        """The settings without the training data."""
        return TrainConfig.model_validate({name: getattr(self, name) for name in TrainConfig.model_fields})


class TrainFile(Record):
    """A training file.

    Attributes:
        base: checkpoint to start from, a name or a folder.
        out: folder of the new checkpoint; with several stages, the parent folder of theirs.
        eval_every: steps between two safety probes; 0 runs none.
        stage: the stages, in order.
    """

    base: str | None = None
    out: Path | None = None
    eval_every: int = Field(default=0, ge=0)
    stage: tuple[StageFile, ...] = Field(min_length=1)

    def folder(self, number: int, out: Path) -> Path:
        """Return the output folder of stage `number` (from 0)."""
        return out if len(self.stage) == 1 else out / f"{number + 1}-{self.stage[number].stage}"


def load_file(path: Path) -> TrainFile:
    """Read a training file.

    Raises:
        ConfigError: a key or value is invalid; the error gives `file:line`, the key and the nearest known key.
    """
    data = read_toml(path)
    if isinstance(data.get("stage"), list):
        return _resolved(validate(data, TrainFile, path), path.parent)
    head: dict[str, Any] = {name: data.pop(name) for name in ("base", "out", "eval_every") if name in data}
    stage = validate(data, StageFile, path)
    return _resolved(validate({**head, "stage": [stage]}, TrainFile, path), path.parent)


def _resolved(file: TrainFile, folder: Path) -> TrainFile:
    """Make the paths of worlds and recipes absolute; the file names them relative to its folder."""
    stages = tuple(
        stage.model_copy(
            update={
                "worlds": tuple(resolve_reference(world, folder) for world in stage.worlds),
                "sets": {resolve_reference(name, folder): tokens for name, tokens in stage.sets.items()},
            }
        )
        for stage in file.stage
    )
    return file.model_copy(update={"stage": stages})


@dataclass(frozen=True)
class StageInputs:
    """What the caller provides to the stages, so that this package does not import worlds or recipes.

    Attributes:
        build: (recipe, tokens, seed, checkpoint for its tokenizer) → examples.
        environment: names of worlds → the environment that `grpo` plays.
        probe_schedule: safety probe and its interval; None runs no probe.
        folders: folders of sets that replace the training data of every stage.
    """

    build: Callable[[str, int, int, Path], Sequence[Example]]
    environment: Callable[[Sequence[str]], Environment]
    probe_schedule: ProbeSchedule | None = None
    folders: tuple[Path, ...] = ()


def load_examples(stage: StageFile, base: Path, inputs: StageInputs) -> TrainingData:
    """Return the examples and pairs of a stage, read from folders or built from recipes.

    Raises:
        InputError: the stage has neither folders nor sets.
        ResultsError: a folder is not a finished set.
        HoldfastError: any error from building a set.
    """
    if stage.stage == "grpo":
        return ()
    folders = [RunFolder(path) for path in inputs.folders or stage.examples]
    for folder in folders:
        folder.card()
    if not folders and not stage.sets:
        what = f"stage '{stage.stage}' has no training data"
        raise InputError(what, remedy="set 'sets' or 'examples' in the file, or pass a folder with --examples")
    if not folders:
        return [e for name, tokens in stage.sets.items() for e in inputs.build(name, tokens, stage.seed, base)]
    examples = [example for folder in folders for example in folder.read("examples", Example)]
    pairs = [pair for folder in folders for pair in folder.read("pairs", Pair)]
    return [*examples, *pairs]


def run_chain(
    file: TrainFile, base: Path, out: Path, inputs: StageInputs, on_step: Callable[[StepLog], None] | None = None
) -> tuple[Path, RunCard]:
    """Train the stages in order, each from the checkpoint of the one before. Finished stages are not repeated.

    Returns:
        The folder of the last stage and its card.

    Raises:
        HoldfastError: any error from a stage.
    """
    checkpoint, card = base, None
    for number, stage in enumerate(file.stage):
        folder = file.folder(number, out)
        environment = inputs.environment(stage.worlds) if stage.stage == "grpo" else None
        data = load_examples(stage, checkpoint, inputs)
        card = train(checkpoint, data, stage.config, folder, on_step, inputs.probe_schedule, environment)
        checkpoint = folder
    assert card is not None  # TrainFile requires at least one stage
    return checkpoint, card
