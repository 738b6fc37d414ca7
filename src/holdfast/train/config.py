"""Training settings: fourteen of our own, and a table of settings under TRL's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from holdfast.core.config import nearest
from holdfast.core.records import Record

#: Settings under TRL's names that the loop engine supports too, with their defaults.
SHARED: Mapping[str, Any] = {
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "gradient_accumulation_steps": 1,
    "save_steps": 0,
    "packing": False,
    "lora_alpha": 0,
    "lora_dropout": 0.0,
    "lora_target_modules": "all-linear",
    "load_in_4bit": False,
    "beta": 0.1,
    "num_generations": 8,
    "generation_batch_size": 64,
    "temperature": 1.0,
    "report_to": "none",
}


class TrainConfig(Record):
    """Training settings. Load them with `core.config.load_toml(path, TrainConfig)`.

    Attributes:
        stage: `midtrain` supervises every token of documents and chats; `sft` supervises the assistant turns of chats
            and all of documents; `dpo` trains on preference pairs; `grpo` plays episodes and trains on their rewards.
        engine: `loop` is our small training loop for one device; `trl` uses TRL's trainers, also on several processes.
        optimizer: `adamw`, or `muon` for the weight matrices of a model trained from scratch (engine `loop` only).
        lr: peak learning rate.
        warmup: share of the steps over which the learning rate rises linearly.
        schedule: learning rate after the warmup; `cosine` decays to a tenth of the peak.
        epochs: passes over the examples, used if `tokens` is not set; may be a fraction.
        tokens: token budget (tokens read, not only supervised ones); the examples repeat until it is spent, to within
            one row.
        batch_tokens: tokens per step, padding included.
        max_length: maximum tokens per row; a longer row raises an error and is never truncated.
        seed: seed for shuffling, dropout and sampling.
        dtype: `bfloat16` computes under autocast; trained weights and optimizer state stay float32.
        keep_reasoning: whether a turn's reasoning is passed to the template and supervised, or omitted.
        lora: rank of LoRA adapters, which are trained instead of the weights; 0 trains the weights.
        trl: further settings under TRL's names; the loop engine supports those in `SHARED`, the TRL engine all.
    """

    stage: Literal["midtrain", "sft", "dpo", "grpo"] = "sft"
    engine: Literal["loop", "trl"] = "loop"
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: float = Field(default=1e-3, gt=0, lt=1)
    warmup: float = Field(default=0.05, ge=0, le=1)
    schedule: Literal["cosine", "constant"] = "cosine"
    epochs: float = Field(default=1.0, gt=0)
    tokens: int | None = Field(default=None, gt=0)
    batch_tokens: int = Field(default=2048, gt=0)
    max_length: int = Field(default=1024, gt=1)
    seed: int = 0
    dtype: Literal["float32", "bfloat16"] = "float32"
    keep_reasoning: bool = True
    lora: int = Field(default=0, ge=0)
    trl: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("trl")
    @classmethod
    def _known_to_the_loop(cls, settings: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        for name, value in settings.items():
            if name not in SHARED and info.data.get("engine") == "loop":
                near = nearest(name, list(SHARED))
                hint = f"did you mean '{near}'?" if near else 'only engine = "trl" supports it'
                raise ValueError(f"engine 'loop' has no setting '{name}'; {hint}")
            if name in SHARED and not _same_kind(value, SHARED[name]):
                raise ValueError(f"'{name}' must be {_kind(SHARED[name])} (default {SHARED[name]!r}), got {value!r}")
        return settings

    @model_validator(mode="after")
    def _fits_together(self) -> TrainConfig:
        if self.optimizer == "muon" and (self.engine != "loop" or self.lora):
            raise ValueError('optimizer = "muon" needs engine = "loop" and lora = 0')
        if self.stage == "grpo" and self.engine != "loop":
            raise ValueError('stage = "grpo" needs engine = "loop"')
        if self.setting("load_in_4bit") and not self.lora:
            raise ValueError("load_in_4bit needs lora > 0: 4-bit weights cannot be trained")
        return self

    def setting(self, name: str) -> Any:
        """Return a setting from `trl`, or its default from `SHARED`."""
        return self.trl.get(name, SHARED[name])


def _kind(default: Any) -> str:
    """The type that `_same_kind` accepts for a setting, in words."""
    if isinstance(default, bool):
        return "true or false"
    if isinstance(default, str):
        return "a string or a list"
    return "a number of at least 0" if isinstance(default, float) else "a whole number of at least 0"


def _same_kind(value: Any, default: Any) -> bool:
    """Return whether a value has the type of its default and, if a number, is not negative."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, str):
        return isinstance(value, (str, list))
    kinds = (int, float) if isinstance(default, float) else int
    return isinstance(value, kinds) and not isinstance(value, bool) and value >= 0
