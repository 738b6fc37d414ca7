"""One training from a base checkpoint to a finished folder: rows, gate, training, weights, card, manifest last."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast import __version__
from holdfast.core.errors import IncompleteError, InputError, ResultsError, StoreError
from holdfast.core.identity import key_of, room_version
from holdfast.core.records import Example, Provenance, RunCard
from holdfast.core.store import RunFolder, write_text
from holdfast.models.local import LocalModel
from holdfast.train.card import model_card
from holdfast.train.checkpointing import METRICS, Keeper, StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.distributed import first, meet, world
from holdfast.train.loop import Hooks, descend
from holdfast.train.mask_check import Census, check_masks
from holdfast.train.objective import Imitation, Objective, PairRow, Preference
from holdfast.train.pairs import Pair, own_answers, pair_rows
from holdfast.train.reinforce import Environment, Reinforcement
from holdfast.train.rows import TrainingRow, make_rows
from holdfast.train.safety_probe import SafetyProbe, Watching
from holdfast.train.set_check import naming_sets, refuse_unseen_calls
from holdfast.train.trackers import tracked, trackers
from holdfast.train.trl_engine import last_state, train_with_trl
from holdfast.train.weights import check_rows, checkpoint_hash, load_checkpoint, save, whole

#: Where the weights of the last whole state go when the loss is no longer a number.
LAST_GOOD = "last-good"
#: What TRL's states hold beside a checkpoint.
_STATE_ONLY = ("*.pt", "*.pth", "*.bin", "trainer_state.json")
Taught = Sequence[Example | Pair]


@dataclass(frozen=True)
class PreparedData:
    """What a training works on, past the gate: rows for `midtrain` and `sft`, pairs for `dpo`, nothing for `grpo`."""

    rows: Sequence[TrainingRow]
    pairs: Sequence[PairRow]
    taught: Sequence[Provenance]
    census: Census | None


def train(
    base: Path,
    examples: Taught,
    config: TrainConfig,
    out: Path,
    on_step: Callable[[StepLog], None] | None = None,
    watching: Watching | None = None,
    environment: Environment | None = None,
) -> RunCard:
    """Fine-tune the checkpoint in `base` and write the result to `out`.

    A finished `out` with the same key is returned as it is; an unfinished one goes on from its last whole state.

    Args:
        base: checkpoint to begin from.
        examples: what is taught; for `dpo` pairs, or chats whose last turn is preferred to the model's own; for `grpo`
            none.
        config: the knobs.
        out: folder of the new checkpoint.
        on_step: told of each step.
        watching: looks at the model during training; what it finds is in `safety.jsonl` and on the card.
        environment: what `grpo` plays.

    Raises:
        ModelError: `base` is not a transformers checkpoint with a tokenizer.
        InputError: no examples, one that does not fit, or too little memory.
        MaskError: the gate refuses what would be supervised.
        ResultsError: `out` holds the result of another training.
        PrerequisiteError: TRL, PEFT or bitsandbytes is asked for and not installed.
        IncompleteError: the loss is no longer a number, or a file cannot be written.
    """
    if config.engine == "loop" and world() > 1:
        raise InputError(f"the loop runs in one process, not in {world()}", remedy="set engine = 'trl'")
    key, folder = train_key(base, examples, config, environment), RunFolder(out)
    if folder.complete:
        if folder.card().key == key:
            return folder.card()
        raise ResultsError("holds another training", where=out, remedy="delete it or choose another folder")
    began = time.perf_counter()
    told = trackers(config.setting("report_to")) if config.engine == "loop" else []  # TRL tells its own
    model, tokenizer = load_checkpoint(base, config)
    lesson = prepare(examples, model, tokenizer, config)
    keeper = Keeper(out, key, config.setting("save_steps"))
    if first():
        keeper.begin()
    meet()
    watch = SafetyProbe(watching, tokenizer, out) if watching else None
    bench = TrainingJob(model, tokenizer, config, lesson, environment)
    with tracked(told, model, out, watch, on_step) as listener, _keeping_good(bench, keeper, base):
        logs = _descend(bench, Hooks(listener, keeper, watch))
    bench = replace(bench, model=whole(model, base, config))
    card = _card(key, _inputs(base, examples, config, environment), _counts(lesson.census, logs), began)
    if first():
        _finish(bench, base, keeper, card, logs, watch)
    meet()  # the next stage begins from this folder
    return card


def prepare(
    examples: Taught, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: TrainConfig
) -> PreparedData:
    """Rows or pairs of what is taught, past the gate.

    Raises:
        InputError: no examples, examples mixed with pairs, or one that does not fit.
        MaskError: the gate refuses what would be supervised.
    """
    if config.stage == "grpo":
        return PreparedData((), (), (), None)
    told = [example for example in examples if isinstance(example, Example)]
    pairs = [pair for pair in examples if isinstance(pair, Pair)]
    if told and pairs:
        raise InputError(
            "examples and pairs are mixed", where=pairs[0].id, remedy="train on them in stages of their own"
        )
    if pairs and config.stage != "dpo":
        raise InputError(f"stage = '{config.stage}' takes no pairs", where=pairs[0].id, remedy="set stage = 'dpo'")
    if config.stage == "dpo" and told:
        pairs = own_answers(told, LocalModel.around(model, tokenizer), config.max_length // 4, config.seed)
    if pairs:
        told = [pair.told(which) for pair in pairs for which in ("chosen", "rejected")]
    refuse_unseen_calls(told, tokenizer)
    with naming_sets(told):
        rows = make_rows(told, tokenizer, config)
        census = check_masks(told, rows, tokenizer, config)
        check_rows(rows, model, tokenizer)
    taught = [example.provenance for example in examples]
    return PreparedData(() if pairs else rows, pair_rows(pairs, rows) if pairs else (), taught, census)


@dataclass(frozen=True)
class TrainingJob:
    """Everything on the bench: the open model, how to train it, and on what."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    config: TrainConfig
    lesson: PreparedData
    environment: Environment | None


def _descend(bench: TrainingJob, hooks: Hooks) -> list[StepLog]:
    """Train with the engine and towards the objective that the config names."""
    model, config, lesson = bench.model, bench.config, bench.lesson
    if config.engine == "trl":
        return train_with_trl(model, bench.tokenizer, lesson.pairs or lesson.rows, config, hooks)
    objective: Objective
    if config.stage == "grpo":
        if bench.environment is None:
            raise InputError("stage = 'grpo' needs worlds to play", remedy="name worlds of the split 'train'")
        objective = Reinforcement(model, bench.tokenizer, bench.environment, config)
    elif config.stage == "dpo":
        objective = Preference(model, lesson.pairs, config)
    else:
        objective = Imitation(model, lesson.rows, config)
    return descend(model, objective, config, hooks)


@contextmanager
def _keeping_good(bench: TrainingJob, keeper: Keeper, base: Path) -> Iterator[None]:
    """Where a training fails, the weights of its last whole state go to a folder of their own, and the error says so.

    A training with other knobs makes room for its own states, and would otherwise sweep them away.
    """
    try:
        yield
    except StoreError:
        raise
    except IncompleteError as error:
        kept, state = keeper.out / LAST_GOOD, last_state(keeper)
        if not first():
            raise
        if state.path:  # of TRL's: a checkpoint already, whole or of adapters
            shutil.copytree(state.path, kept, ignore=shutil.ignore_patterns(*_STATE_ONLY), dirs_exist_ok=True)
        elif keeper.revive(bench.model):
            save(bench.model, bench.tokenizer, kept, base)
        else:
            raise
        what = f"{error.what}; the last good weights are in {kept}"
        raise IncompleteError(what, where=error.where, remedy=error.remedy) from None


def _finish(
    bench: TrainingJob, base: Path, keeper: Keeper, card: RunCard, logs: Sequence[StepLog], watch: SafetyProbe | None
) -> None:
    """Write the folder, its manifest last."""
    if watch:
        watch(bench.model, logs)  # weights that were spread could not be looked at before
    save(bench.model, bench.tokenizer, keeper.out, base)
    lines = "".join(log.model_dump_json(exclude_none=True) + "\n" for log in logs)
    write_text(keeper.out / f"{METRICS}.jsonl", lines)
    points = watch.points if watch else ()
    write_text(keeper.out / "README.md", model_card(base, bench.lesson.taught, bench.config, card, logs, points))
    keeper.end()
    RunFolder(keeper.out).finish(card)


def train_key(base: Path, examples: Taught, config: TrainConfig, environment: Environment | None = None) -> str:
    """Hash of everything that makes the result: weights, examples in order, config and this room's code.

    Raises:
        ModelError: `base` is not a transformers checkpoint.
    """
    played = environment.identity if environment else None
    return key_of([checkpoint_hash(base), list(examples), config, played, room_version("train")])


def _card(key: str, inputs: dict[str, object], counts: dict[str, int], began: float) -> RunCard:
    return RunCard(
        key=key,
        kind="train",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        holdfast=__version__,
        code=room_version("train"),
        inputs=inputs,
        counts=counts,
        seconds=round(time.perf_counter() - began, 2),
    )


def _inputs(base: Path, examples: Taught, config: TrainConfig, environment: Environment | None) -> dict[str, object]:
    made: dict[str, object] = {
        "base": checkpoint_hash(base),
        "examples": key_of(list(examples)),
        "config": config.model_dump(),
    }
    return {**made, "environment": environment.identity} if environment else made


def _counts(census: Census | None, logs: Sequence[StepLog]) -> dict[str, int]:
    done = {
        "steps": len(logs),
        "tokens": sum(log.tokens for log in logs),
        "supervised": sum(log.supervised for log in logs),
    }
    if census is None:
        return done
    return {
        "rows": census.rows,
        "row_tokens": census.tokens,
        "row_supervised": census.supervised,
        "turns": census.turns,
        "calls": census.calls,
        "reasoned": census.reasoned,
        **done,
    }
