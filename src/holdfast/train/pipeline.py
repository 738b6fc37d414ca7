"""A training file: one stage, or several that go on from each other, with where to begin and what to teach.

    base = "organism/pocket"
    out = "results/taught"
    sets = { difficult-advice = 20_000 }    # or: examples = ["results/advice"]
    lr = 1e-3

Several stages are `[[stage]]` tables with the same keys; `base`, `out` and `eval_every` stand above them.
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
from holdfast.core.store import RunFolder
from holdfast.train.checkpointing import StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.pairs import Pair
from holdfast.train.reinforce import Environment
from holdfast.train.run import Taught, train
from holdfast.train.safety_probe import Watching


class StageFile(TrainConfig):
    """The knobs of one stage and what it teaches.

    Attributes:
        examples: folders of finished sets.
        sets: recipe → tokens, for sets that are built on the way.
        worlds: what `grpo` plays.
    """

    examples: tuple[Path, ...] = ()
    sets: Mapping[str, int] = Field(default_factory=dict)
    worlds: tuple[str, ...] = ()

    @property
    def config(self) -> TrainConfig:
        """The knobs alone."""
        return TrainConfig.model_validate({name: getattr(self, name) for name in TrainConfig.model_fields})


class TrainFile(Record):
    """A whole training file.

    Attributes:
        base: checkpoint to begin from, by name or folder.
        out: folder of the new checkpoint; of several stages, the folder that holds theirs.
        eval_every: steps between two looks at the model; 0 never looks.
        stage: the stages, in order.
    """

    base: str | None = None
    out: Path | None = None
    eval_every: int = Field(default=0, ge=0)
    stage: tuple[StageFile, ...] = Field(min_length=1)

    def folder(self, number: int, out: Path) -> Path:
        """Where stage `number` (from 0) goes."""
        return out if len(self.stage) == 1 else out / f"{number + 1}-{self.stage[number].stage}"


def load_file(path: Path) -> TrainFile:
    """Read a training file of one stage or several.

    Raises:
        ConfigError: with `file:line`, the offending key and, where there is one, the nearest known key.
    """
    data = read_toml(path)
    if isinstance(data.get("stage"), list):
        return validate(data, TrainFile, path)
    head: dict[str, Any] = {name: data.pop(name) for name in ("base", "out", "eval_every") if name in data}
    stage = validate(data, StageFile, path)
    return validate({**head, "stage": [stage]}, TrainFile, path)


@dataclass(frozen=True)
class Supply:
    """What other rooms and the command line bring to a stage.

    Attributes:
        build: recipe, tokens, seed, checkpoint (for its tokenizer) → examples.
        environment: names of worlds → what `grpo` plays.
        watching: how the model is looked at; None where nobody looks.
        folders: sets that every stage is taught, in place of its own.
    """

    build: Callable[[str, int, int, Path], Sequence[Example]]
    environment: Callable[[Sequence[str]], Environment]
    watching: Watching | None = None
    folders: tuple[Path, ...] = ()


def taught(stage: StageFile, base: Path, supply: Supply) -> Taught:
    """Examples and pairs of a stage, from folders or built.

    Raises:
        InputError: it names neither.
        ResultsError: a folder is no finished set.
        HoldfastError: whatever building a set raises.
    """
    if stage.stage == "grpo":
        return ()
    folders = [RunFolder(path) for path in supply.folders or stage.examples]
    for folder in folders:
        folder.card()
    if not folders and not stage.sets:
        what = f"stage '{stage.stage}' has nothing to learn from"
        raise InputError(what, remedy="name sets or examples in the file, or a folder with --examples")
    if not folders:
        return [e for name, tokens in stage.sets.items() for e in supply.build(name, tokens, stage.seed, base)]
    examples = [example for folder in folders for example in folder.read("examples", Example)]
    pairs = [pair for folder in folders for pair in folder.read("pairs", Pair)]
    return [*examples, *pairs]


def run_chain(
    file: TrainFile, base: Path, out: Path, supply: Supply, on_step: Callable[[StepLog], None] | None = None
) -> tuple[Path, RunCard]:
    """Train every stage, each from the one before; finished stages are kept.

    Returns:
        The folder of the last stage and its card.

    Raises:
        HoldfastError: whatever a stage raises.
    """
    at, card = base, None
    for number, stage in enumerate(file.stage):
        folder = file.folder(number, out)
        environment = supply.environment(stage.worlds) if stage.stage == "grpo" else None
        card = train(at, taught(stage, at, supply), stage.config, folder, on_step, supply.watching, environment)
        at = folder
    assert card is not None  # a file has a stage at least
    return at, card
