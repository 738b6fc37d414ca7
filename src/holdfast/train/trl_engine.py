"""The `trl` engine: the same steps through TRL's trainers, for large models and several processes.

TRL receives tokens, labels and learning rates from us and makes no decision about the data: each item of its dataset is
the index of one part of one of our steps. Under `torchrun` or `accelerate launch` each step is split across the
processes, so the number of processes does not change the steps. With `fsdp = true` each process holds only a shard of
the weights.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.config import nearest
from holdfast.core.errors import ConfigError
from holdfast.core.extras import require
from holdfast.train.batches import IGNORE, Batch, collate, plan_batches, split_evenly
from holdfast.train.checkpointing import Checkpointer, StepLog
from holdfast.train.config import SHARED, TrainConfig
from holdfast.train.distributed import is_main_process, is_sharded, wants_sharding, world_size
from holdfast.train.loop import Hooks, finite, lr_share
from holdfast.train.objective import PairRow
from holdfast.train.rows import TrainingRow

#: Models with more parameters use activation checkpointing by default.
_LARGE = 500_000_000
#: Number of states saved during training if `save_steps` is not set.
_STATES = 10
_LAUNCH = "start it with: torchrun --nproc-per-node=GPUS --no-python holdfast train FILE"
#: Settings of `SHARED` that TRL's trainers do not take: they apply before the trainer starts, or to engine `loop` only.
_OURS = {"packing", "lora_alpha", "lora_dropout", "lora_target_modules", "load_in_4bit"}
_OURS |= {"num_generations", "generation_batch_size", "temperature"}


@dataclass(frozen=True)
class PlannedDataset:
    """The planned steps as a dataset: each item is one part of one step, for all processes together.

    Attributes:
        rows: rows or pairs to train on.
        steps: row indices of each step.
        parts: number of parts per step.
        packed: whether the rows of a part are concatenated.
    """

    rows: Sequence[TrainingRow] | Sequence[PairRow]
    steps: Sequence[Sequence[int]]
    parts: int
    packed: bool

    def __len__(self) -> int:
        return len(self.steps) * self.parts

    def batch(self, item: int) -> dict[str, torch.Tensor]:
        """Return the tensors of an item. A part without rows repeats the step's first row with no supervised token."""
        step = self.steps[item // self.parts]
        part = split_evenly(step, self.parts)[item % self.parts]
        rows = [self.rows[at] for at in part or step[:1]]
        if isinstance(rows[0], PairRow):
            ends = [row.chosen for row in rows] + [row.rejected for row in rows]  # type: ignore[union-attr]
            batch = collate(ends)
            return {**_real(batch), "completion_mask": (batch.labels != IGNORE).long()}
        batch = collate(rows, self.packed)  # type: ignore[arg-type]
        labels = batch.labels if part else torch.full_like(batch.labels, IGNORE)
        places = {} if batch.positions is None else {"position_ids": batch.positions}
        return {**(_real(batch) if batch.positions is None else {"input_ids": batch.ids}), "labels": labels, **places}

    def read(self, step: int) -> tuple[int, int]:
        """Return the number of tokens and of supervised tokens in a step."""
        rows = [self.rows[at] for at in self.steps[step]]
        ends = [r for row in rows for r in ((row.chosen, row.rejected) if isinstance(row, PairRow) else (row,))]
        return sum(map(len, ends)), sum(int(row.supervised[1:].sum()) for row in ends)


def _real(batch: Batch) -> dict[str, torch.Tensor]:
    real = torch.arange(batch.ids.shape[1])[None, :] < batch.lengths[:, None]
    return {"input_ids": batch.ids, "attention_mask": real.long()}


def train_with_trl(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[TrainingRow] | Sequence[PairRow],
    config: TrainConfig,
    hooks: Hooks,
) -> list[StepLog]:
    """Train `model` in place with TRL, on as many processes as the launcher started.

    Raises:
        PrerequisiteError: TRL is not installed.
        ConfigError: a setting in `[trl]` is unknown to TRL, is set by Holdfast, or needs GPUs that are not available.
        InputError: `rows` is empty.
        IncompleteError: the loss is not finite.
    """
    require("train", "trl", "datasets")
    if wants_sharding(config) and world_size() == 1:
        raise ConfigError("fsdp needs several processes, got 1", remedy=_LAUNCH)
    # Imported here because TRL takes seconds to import, and by name because neither package is typed.
    trl, datasets = importlib.import_module("trl"), importlib.import_module("datasets")
    each = int(config.setting("gradient_accumulation_steps"))
    dataset = PlannedDataset(rows, plan_batches(rows, config), each * world_size(), config.setting("packing"))
    kind = "DPO" if config.stage == "dpo" else "SFT"
    with tempfile.TemporaryDirectory() as spare:
        folder = str(hooks.checkpointer.folder if hooks.checkpointer else spare)
        settings = _settings(getattr(trl, f"{kind}Config"), model, config, len(dataset.steps), folder)
        done = last_state(hooks.checkpointer)
        logs_so_far = hooks.checkpointer.truncate_log(done.step) if hooks.checkpointer and is_main_process() else []
        more: dict[str, Any] = {}
        if kind == "DPO" and not hasattr(model, "get_base_model"):
            more["ref_model"] = copy.deepcopy(model)
        if hooks.probe and is_main_process():
            hooks.probe.begin(model, logs_so_far)
        trainer = _scheduled(getattr(trl, f"{kind}Trainer"), config, len(dataset.steps))(
            model=model,
            args=settings,
            train_dataset=datasets.Dataset.from_dict({"item": list(range(len(dataset)))}),
            processing_class=tokenizer,
            data_collator=lambda items: dataset.batch(items[0]["item"]),
            callbacks=[_step_logger(dataset, logs_so_far, hooks)()],
            **more,
        )
        trainer.remove_callback(transformers.PrinterCallback)
        if wants_sharding(config) and trainer.accelerator.distributed_type.value != "FSDP":
            raise ConfigError("fsdp: accelerate shards weights over GPUs only, and none is available", remedy=_LAUNCH)
        trainer.train(resume_from_checkpoint=done.path)
    model.train(False)
    return logs_so_far


@dataclass(frozen=True)
class State:
    """A complete training state of TRL: the steps done and its folder."""

    step: int = 0
    path: str | None = None


def last_state(checkpointer: Checkpointer | None) -> State:
    """Return the latest complete state: one with a `trainer_state.json`, which the trainer writes last."""
    latest = State()
    for path in checkpointer.folder.glob("checkpoint-*/trainer_state.json") if checkpointer else []:
        try:
            step = json.loads(path.read_text(encoding="utf-8"))["global_step"]
        except (ValueError, KeyError):
            continue
        latest = max(latest, State(step, str(path.parent)), key=lambda state: state.step)
    return latest


def _settings(kind: Any, model: PreTrainedModel, config: TrainConfig, steps: int, folder: str) -> Any:
    """Build TRL's settings object (class `kind`) from our fixed settings, our defaults and the user's `[trl]` table."""
    # transformers 5 renamed this setting; the old name warns.
    recompute = "activation_checkpointing" if hasattr(kind, "activation_checkpointing") else "gradient_checkpointing"
    fixed = {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": 1,  # one item is one part of a step
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "max_length": None,
        "learning_rate": config.lr,
        "seed": config.seed,
        "bf16": config.dtype == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "dataloader_pin_memory": torch.cuda.is_available(),
        **({"dataset_kwargs": {"skip_prepare_dataset": True}} if hasattr(kind, "dataset_kwargs") else {}),
    }
    defaults = {
        "weight_decay": config.setting("weight_decay"),
        "max_grad_norm": config.setting("max_grad_norm"),
        "gradient_accumulation_steps": config.setting("gradient_accumulation_steps"),
        "save_steps": config.setting("save_steps") or max(1, steps // _STATES),
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "ddp_find_unused_parameters": False,
        recompute: model.num_parameters() > _LARGE,
        **({"beta": config.setting("beta")} if config.stage == "dpo" else {}),
    }
    user = {name: value for name, value in config.trl.items() if name not in _OURS and value not in (None, "")}
    known = {field.name for field in dataclasses.fields(kind)}
    for name in user:
        if name in fixed:
            raise ConfigError(f"[trl] {name} is set by Holdfast and cannot be overridden", remedy="remove it")
        if name not in known and name not in SHARED:
            near = nearest(name, sorted(known))
            hint = f"did you mean '{near}'?" if near else "see TRL's documentation"
            raise ConfigError(f"TRL's {kind.__name__} has no setting '{name}'", remedy=hint)
    settings = {**defaults, **{name: value for name, value in user.items() if name in known}, **fixed}
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"TRL rejects the settings: {str(error).splitlines()[0]}", remedy="correct [trl]") from None


def _scheduled(kind: Any, config: TrainConfig, steps: int) -> Any:
    """Return a subclass of TRL's trainer that uses our optimizer, our learning rates and our dataset."""

    class Scheduled(kind):  # type: ignore[misc]
        def create_optimizer(self, model: Any = None) -> Any:
            # Not every TRL trainer accepts this as an argument.
            settings = {"lr": config.lr, "betas": (0.9, 0.95), "fused": True}
            self.optimizer_cls_and_kwargs = (torch.optim.AdamW, settings)
            return super().create_optimizer(model)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            rates = torch.optim.lr_scheduler.LambdaLR
            self.lr_scheduler = rates(optimizer or self.optimizer, lambda step: lr_share(step, steps, config))
            return self.lr_scheduler

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            # Items are indices; DPOTrainer has no setting that skips dataset preparation.
            return dataset

    return Scheduled


def _step_logger(
    dataset: PlannedDataset, logs_so_far: list[StepLog], hooks: Hooks
) -> Callable[[], transformers.TrainerCallback]:
    """Return a callback class that converts TRL's log entries to `StepLog`, appends them and calls the hooks."""

    # Defined here because naming the base class imports transformers' trainer, which engine `loop` does not need.
    class StepLogger(transformers.TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **more: Any
        ) -> None:
            if "loss" not in (logs or {}):  # the last entry holds totals
                return
            assert logs is not None
            now, (tokens, supervised) = time.perf_counter(), dataset.read(state.global_step - 1)
            log = StepLog(
                step=state.global_step,
                steps=len(dataset.steps),
                loss=finite(float(logs["loss"]), state.global_step, len(dataset.steps)),
                lr=float(logs["learning_rate"]),
                norm=finite(float(logs["grad_norm"]), state.global_step, len(dataset.steps), "gradient norm"),
                tokens=tokens,
                supervised=supervised,
                seconds=now - self.started,
            )
            logs_so_far.append(log)
            if not is_main_process():
                return
            if hooks.checkpointer:
                hooks.checkpointer.log_step(log)
            if hooks.probe and not is_sharded(more["model"]):
                hooks.probe(more["model"], logs_so_far)
            if hooks.on_step:
                hooks.on_step(log)
            self.started = time.perf_counter()

    return StepLogger
