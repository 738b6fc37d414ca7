"""The same steps through TRL's trainers: the reference, and the path for large models and several processes.

TRL gets tokens, labels and learning rates from us and decides nothing about the data: each item of its dataset is the
number of one part of one of our steps.  Under `torchrun` or `accelerate launch` every step is dealt out to the
processes, so that many take the same steps as one; with `fsdp = true` each holds a part of the weights only.
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
from holdfast.train.batches import IGNORE, Batch, collate, deal, plan_batches
from holdfast.train.checkpointing import Keeper, StepLog
from holdfast.train.config import SHARED, TrainConfig
from holdfast.train.distributed import first, sharded, spread, world
from holdfast.train.loop import Hooks, finite, lr_share
from holdfast.train.objective import PairRow
from holdfast.train.rows import TrainingRow

#: From this many parameters on, activations are recomputed rather than kept.
_LARGE = 500_000_000
#: States kept on the way, where nobody says how often.
_STATES = 10
_SPREAD = "start it with: torchrun --nproc-per-node=GPUS --no-python holdfast train FILE"
#: Settings of `SHARED` that TRL's trainers do not take: they act before the trainer, or in the loop alone.
_OURS = {"packing", "lora_alpha", "lora_dropout", "lora_target_modules", "load_in_4bit"}
_OURS |= {"num_generations", "generation_batch_size", "temperature"}


@dataclass(frozen=True)
class Parts:
    """The steps of a training, dealt out: `parts` to each step, for all processes together.

    Attributes:
        rows: what is trained on.
        steps: places in `rows`, for each step.
        parts: how many parts a step has.
        packed: whether the rows of a part lie end to end.
    """

    rows: Sequence[TrainingRow] | Sequence[PairRow]
    steps: Sequence[Sequence[int]]
    parts: int
    packed: bool

    def __len__(self) -> int:
        return len(self.steps) * self.parts

    def batch(self, item: int) -> dict[str, torch.Tensor]:
        """What the trainer reads for an item; a part without rows repeats one that counts for nothing."""
        step = self.steps[item // self.parts]
        part = deal(step, self.parts)[item % self.parts]
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
        """Tokens read and supervised in a step."""
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
        ConfigError: a setting of `[trl]` that TRL does not know, that Holdfast sets itself, or that asks for GPUs that
            are not there.
        InputError: there are no rows.
        IncompleteError: the loss is no longer a number.
    """
    require("train", "trl", "datasets")
    if sharded(config) and world() == 1:
        raise ConfigError("fsdp spreads weights over several processes, and here is one", remedy=_SPREAD)
    # Imported by name: TRL takes seconds to import, and neither package says which of its names have types.
    trl, datasets = importlib.import_module("trl"), importlib.import_module("datasets")
    each = int(config.setting("gradient_accumulation_steps"))
    parts = Parts(rows, plan_batches(rows, config), each * world(), config.setting("packing"))
    kind = "DPO" if config.stage == "dpo" else "SFT"
    with tempfile.TemporaryDirectory() as spare:
        folder = str(hooks.keeper.folder if hooks.keeper else spare)
        settings = _settings(getattr(trl, f"{kind}Config"), model, config, len(parts.steps), folder)
        done = last_state(hooks.keeper)
        notes = hooks.keeper.rewind(done.step) if hooks.keeper and first() else []
        more: dict[str, Any] = {}
        if kind == "DPO" and not hasattr(model, "get_base_model"):
            more["ref_model"] = copy.deepcopy(model)
        if hooks.watch and first():
            hooks.watch.begin(model, notes)
        trainer = _scheduled(getattr(trl, f"{kind}Trainer"), config, len(parts.steps))(
            model=model,
            args=settings,
            train_dataset=datasets.Dataset.from_dict({"item": list(range(len(parts)))}),
            processing_class=tokenizer,
            data_collator=lambda items: parts.batch(items[0]["item"]),
            callbacks=[_note_taker(parts, notes, hooks)()],
            **more,
        )
        trainer.remove_callback(transformers.PrinterCallback)
        if sharded(config) and trainer.accelerator.distributed_type.value != "FSDP":
            raise ConfigError("fsdp: accelerate spreads weights over GPUs alone, and here are none", remedy=_SPREAD)
        trainer.train(resume_from_checkpoint=done.path)
    model.train(False)
    return notes


@dataclass(frozen=True)
class State:
    """A whole state of TRL's: the steps done and its folder."""

    step: int = 0
    path: str | None = None


def last_state(keeper: Keeper | None) -> State:
    """The latest state that was written to its end: the trainer writes `trainer_state.json` last."""
    best = State()
    for path in keeper.folder.glob("checkpoint-*/trainer_state.json") if keeper else []:
        try:
            step = json.loads(path.read_text(encoding="utf-8"))["global_step"]
        except (ValueError, KeyError):
            continue
        best = max(best, State(step, str(path.parent)), key=lambda state: state.step)
    return best


def _settings(kind: Any, model: PreTrainedModel, config: TrainConfig, steps: int, folder: str) -> Any:
    """TRL's own settings, ours and the user's; `kind` is TRL's dataclass of them."""
    # Renamed in transformers 5; the old name warns.
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
    open_ = {
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
    theirs = {name: value for name, value in config.trl.items() if name not in _OURS and value not in (None, "")}
    known = {field.name for field in dataclasses.fields(kind)}
    for name in theirs:
        if name in fixed:
            raise ConfigError(f"[trl] {name} follows from the knobs", remedy="leave it out")
        if name not in known and name not in SHARED:
            near = nearest(name, sorted(known))
            hint = f"did you mean '{near}'?" if near else "see TRL's documentation"
            raise ConfigError(f"TRL's {kind.__name__} has no setting '{name}'", remedy=hint)
    wanted = {**open_, **{name: value for name, value in theirs.items() if name in known}, **fixed}
    try:
        return kind(**wanted)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"TRL refuses its settings: {str(error).splitlines()[0]}", remedy="mend [trl]") from None


def _scheduled(kind: Any, config: TrainConfig, steps: int) -> Any:
    """TRL's trainer with our learning rates, on our items."""

    class Scheduled(kind):  # type: ignore[misc]
        def create_optimizer(self, model: Any = None) -> Any:
            # Not every trainer of TRL's takes this as an argument.
            settings = {"lr": config.lr, "betas": (0.9, 0.95), "fused": True}
            self.optimizer_cls_and_kwargs = (torch.optim.AdamW, settings)
            return super().create_optimizer(model)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            rates = torch.optim.lr_scheduler.LambdaLR
            self.lr_scheduler = rates(optimizer or self.optimizer, lambda step: lr_share(step, steps, config))
            return self.lr_scheduler

        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            # Items are numbers; DPO's trainer has no setting that says so.
            return dataset

    return Scheduled


def _note_taker(parts: Parts, notes: list[StepLog], hooks: Hooks) -> Callable[[], transformers.TrainerCallback]:
    """A callback that turns TRL's log lines into ours, appends them to `notes` and passes them on."""

    # Made here, as naming the base class loads the whole trainer, which the loop does without.
    class NoteTaker(transformers.TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **more: Any
        ) -> None:
            if "loss" not in (logs or {}):  # the last line holds totals
                return
            assert logs is not None
            now, (tokens, supervised) = time.perf_counter(), parts.read(state.global_step - 1)
            note = StepLog(
                step=state.global_step,
                steps=len(parts.steps),
                loss=finite(float(logs["loss"]), state.global_step, len(parts.steps)),
                lr=float(logs["learning_rate"]),
                norm=finite(float(logs["grad_norm"]), state.global_step, len(parts.steps), "gradient's norm"),
                tokens=tokens,
                supervised=supervised,
                seconds=now - self.began,
            )
            notes.append(note)
            if not first():
                return
            if hooks.keeper:
                hooks.keeper.note(note)
            if hooks.watch and not spread(more["model"]):
                hooks.watch(more["model"], notes)
            if hooks.on_step:
                hooks.on_step(note)
            self.began = time.perf_counter()

    return NoteTaker
