"""Run one training from a base checkpoint to a finished folder: rows, mask check, training, weights, card, manifest."""

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
from holdfast.train.card import write_model_card
from holdfast.train.checkpointing import METRICS, Checkpointer, StepLog
from holdfast.train.config import TrainConfig
from holdfast.train.distributed import is_main_process, wait_for_everyone, world_size
from holdfast.train.loop import Hooks, optimise
from holdfast.train.mask_check import Census, check_masks
from holdfast.train.objective import Imitation, Objective, PairRow, Preference
from holdfast.train.pairs import Pair, pair_rows, pairs_from_model
from holdfast.train.reinforce import Environment, Reinforcement
from holdfast.train.rows import TrainingRow, make_rows
from holdfast.train.safety_probe import ProbeSchedule, SafetyProbe
from holdfast.train.set_check import naming_sets, refuse_unseen_calls
from holdfast.train.trackers import tracked, trackers
from holdfast.train.trl_engine import last_state, train_with_trl
from holdfast.train.untrained import refuse_indistinct_tokens
from holdfast.train.weights import check_rows, checkpoint_hash, load_checkpoint, save, unsharded

#: Folder for the weights of the last saved state when training stops because the loss is not finite.
LAST_GOOD = "last-good"
#: Files that TRL's training states hold besides a checkpoint.
_STATE_ONLY = ("*.pt", "*.pth", "*.bin", "trainer_state.json")
TrainingData = Sequence[Example | Pair]


@dataclass(frozen=True)
class PreparedData:
    """Training data that passed the mask check: rows for `midtrain` and `sft`, pairs for `dpo`, nothing for `grpo`.

    Attributes:
        rows: rows to train on.
        pairs: preference pairs to train on.
        taught: provenance of each example.
        census: counts from the mask check; None for `grpo`.
    """

    rows: Sequence[TrainingRow]
    pairs: Sequence[PairRow]
    taught: Sequence[Provenance]
    census: Census | None


def train(
    base: Path,
    examples: TrainingData,
    config: TrainConfig,
    out: Path,
    on_step: Callable[[StepLog], None] | None = None,
    probe_schedule: ProbeSchedule | None = None,
    environment: Environment | None = None,
) -> RunCard:
    """Fine-tune the checkpoint in `base` and write the result to `out`.

    A finished `out` with the same key is returned unchanged; an unfinished one resumes from its last saved state.

    Args:
        base: checkpoint to start from.
        examples: training examples; for `dpo`, pairs, or chats whose last turn is preferred to the model's own answer;
            for `grpo`, empty.
        config: training settings.
        out: folder of the new checkpoint.
        on_step: called after each step.
        probe_schedule: safety probe and its interval; results go to `safety.jsonl` and the model card.
        environment: the environment that `grpo` plays.

    Returns:
        The manifest of the finished folder.

    Raises:
        ModelError: `base` is not a transformers checkpoint with a tokenizer.
        InputError: there are no examples, one is too long or invalid, or there is too little memory.
        MaskError: the mask check found a difference.
        ResultsError: `out` holds the result of another training.
        PrerequisiteError: TRL, PEFT or bitsandbytes is needed and not installed.
        IncompleteError: the loss is not finite, or a file cannot be written.
    """
    if config.engine == "loop" and world_size() > 1:
        raise InputError(f"engine 'loop' needs one process, got {world_size()}", remedy="set engine = 'trl'")
    key, folder = train_key(base, examples, config, environment), RunFolder(out)
    if folder.complete:
        if folder.card().key == key:
            return folder.card()
        what = "the folder holds the result of a training with other inputs"
        raise ResultsError(what, where=out, remedy="delete it or choose another folder")
    started = time.perf_counter()
    callbacks = trackers(config.setting("report_to")) if config.engine == "loop" else []  # TRL calls its own
    model, tokenizer = load_checkpoint(base, config)
    prepared = prepare(examples, model, tokenizer, config)
    checkpointer = Checkpointer(out, key, config.setting("save_steps"))
    if is_main_process():
        checkpointer.prepare()
    wait_for_everyone()
    probe = SafetyProbe(probe_schedule, tokenizer, out) if probe_schedule else None
    job = TrainingJob(model, tokenizer, config, prepared, environment)
    with tracked(callbacks, model, out, probe, on_step) as listener, _saving_last_good(job, checkpointer, base):
        logs = _optimise(job, Hooks(listener, checkpointer, probe))
    job = replace(job, model=unsharded(model, base, config))
    card = _card(key, _inputs(base, examples, config, environment), _counts(prepared.census, logs), started)
    if is_main_process():
        _finish(job, base, checkpointer, card, logs, probe)
    wait_for_everyone()  # the next stage starts from this folder
    return card


def prepare(
    examples: TrainingData, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: TrainConfig
) -> PreparedData:
    """Tokenise the training data and check its loss mask.

    Raises:
        InputError: there are no examples, examples are mixed with pairs, or one is too long or invalid.
        MaskError: the mask check found a difference.
    """
    if config.stage == "grpo":
        return PreparedData((), (), (), None)
    plain = [example for example in examples if isinstance(example, Example)]
    pairs = [pair for pair in examples if isinstance(pair, Pair)]
    if plain and pairs:
        raise InputError(
            "examples and pairs are mixed in one stage", where=pairs[0].id, remedy="train on them in separate stages"
        )
    if pairs and config.stage != "dpo":
        what = f"stage = '{config.stage}' cannot train on pairs"
        raise InputError(what, where=pairs[0].id, remedy="set stage = 'dpo'")
    if config.stage == "dpo" and plain:
        pairs = pairs_from_model(plain, LocalModel.around(model, tokenizer), config.max_length // 4, config.seed)
    if pairs:
        plain = [pair.as_example(which) for pair in pairs for which in ("chosen", "rejected")]
    refuse_unseen_calls(plain, tokenizer)
    with naming_sets(plain, tokenizer):
        rows = make_rows(plain, tokenizer, config)
        census = check_masks(plain, rows, tokenizer, config)
        check_rows(rows, model, tokenizer)
        refuse_indistinct_tokens(rows, model, tokenizer)
    taught = [example.provenance for example in examples]
    return PreparedData(() if pairs else rows, pair_rows(pairs, rows) if pairs else (), taught, census)


@dataclass(frozen=True)
class TrainingJob:
    """The loaded model, the settings, and the prepared data of one training."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    config: TrainConfig
    prepared: PreparedData
    environment: Environment | None


def _optimise(job: TrainingJob, hooks: Hooks) -> list[StepLog]:
    """Train with the engine and the objective that the config selects."""
    model, config, prepared = job.model, job.config, job.prepared
    if config.engine == "trl":
        return train_with_trl(model, job.tokenizer, prepared.pairs or prepared.rows, config, hooks)
    objective: Objective
    if config.stage == "grpo":
        if job.environment is None:
            raise InputError(
                "stage = 'grpo' needs worlds to play", remedy="set 'worlds' to worlds of the split 'train'"
            )
        objective = Reinforcement(model, job.tokenizer, job.environment, config)
    elif config.stage == "dpo":
        objective = Preference(model, prepared.pairs, config)
    else:
        objective = Imitation(model, prepared.rows, config)
    return optimise(model, objective, config, hooks)


@contextmanager
def _saving_last_good(job: TrainingJob, checkpointer: Checkpointer, base: Path) -> Iterator[None]:
    """If training fails, save the weights of its last state to `last-good` and name that folder in the error.

    The state itself is not enough: the next training with other settings deletes it.
    """
    try:
        yield
    except StoreError:
        raise
    except IncompleteError as error:
        folder, state = checkpointer.out / LAST_GOOD, last_state(checkpointer)
        if not is_main_process():
            raise
        if state.path:  # TRL's state is a checkpoint already, of the full model or of adapters
            shutil.copytree(state.path, folder, ignore=shutil.ignore_patterns(*_STATE_ONLY), dirs_exist_ok=True)
        elif checkpointer.restore_weights(job.model):
            save(job.model, job.tokenizer, folder, base)
        else:
            raise
        what = f"{error.what}; the last good weights are in {folder}"
        raise IncompleteError(what, where=error.where, remedy=error.remedy) from None


def _finish(
    job: TrainingJob,
    base: Path,
    checkpointer: Checkpointer,
    card: RunCard,
    logs: Sequence[StepLog],
    probe: SafetyProbe | None,
) -> None:
    """Write the output folder, the manifest last."""
    if probe:
        probe(job.model, logs)  # sharded weights could not be probed during training
    save(job.model, job.tokenizer, checkpointer.out, base)
    lines = "".join(log.model_dump_json(exclude_none=True) + "\n" for log in logs)
    write_text(checkpointer.out / f"{METRICS}.jsonl", lines)
    points = probe.points if probe else ()
    write_text(
        checkpointer.out / "README.md", write_model_card(base, job.prepared.taught, job.config, card, logs, points)
    )
    checkpointer.discard()
    RunFolder(checkpointer.out).finish(card)


def train_key(base: Path, examples: TrainingData, config: TrainConfig, environment: Environment | None = None) -> str:
    """Return the hash of everything that determines the result: weights, examples in order, config, and this code.

    Raises:
        ModelError: `base` is not a transformers checkpoint.
    """
    identity = environment.identity if environment else None
    return key_of([checkpoint_hash(base), list(examples), config, identity, room_version("train")])


def _card(key: str, inputs: dict[str, object], counts: dict[str, int], started: float) -> RunCard:
    return RunCard(
        key=key,
        kind="train",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        holdfast=__version__,
        code=room_version("train"),
        inputs=inputs,
        counts=counts,
        seconds=round(time.perf_counter() - started, 2),
    )


def _inputs(
    base: Path, examples: TrainingData, config: TrainConfig, environment: Environment | None
) -> dict[str, object]:
    inputs: dict[str, object] = {
        "base": checkpoint_hash(base),
        "examples": key_of(list(examples)),
        "config": config.model_dump(),
    }
    return {**inputs, "environment": environment.identity} if environment else inputs


def _counts(census: Census | None, logs: Sequence[StepLog]) -> dict[str, int]:
    totals = {
        "steps": len(logs),
        "tokens": sum(log.tokens for log in logs),
        "supervised": sum(log.supervised for log in logs),
    }
    if census is None:
        return totals
    return {
        "rows": census.rows,
        "row_tokens": census.tokens,
        "row_supervised": census.supervised,
        "turns": census.turns,
        "calls": census.calls,
        "reasoned": census.reasoned,
        **totals,
    }
