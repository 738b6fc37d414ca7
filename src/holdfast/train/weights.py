"""Checkpoint files: load a model, check the memory it needs, add LoRA adapters, and save the result."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from holdfast.core.errors import InputError, ModelError, StoreError
from holdfast.core.extras import require
from holdfast.core.identity import hash_files
from holdfast.core.store import writing
from holdfast.models.free_memory import free_bytes
from holdfast.train.config import TrainConfig
from holdfast.train.distributed import device, gather_weights, is_sharded, wants_sharding, world_size
from holdfast.train.rows import TrainingRow

ADAPTER = "adapter"
_FILES = ("*.safetensors", "tokenizer*", "*.jinja", "config.json")
#: Bytes of activations for each token, layer and unit of width, in half precision (Korthikanti et al. 2022).
_ACTIVATION = 34
#: Safety factor on the memory estimate: a training estimated at 21.5 GiB took more than 23.8 GiB when measured.
SLACK = 1.2
_GIB = 2**30
#: Settings with a larger `max_length` are taken to have long rows.
_LONG = 1024


def checkpoint_hash(base: Path) -> str:
    """Return the hash of a checkpoint's weights, config, tokenizer and chat template.

    Raises:
        ModelError: `base` is not a transformers checkpoint.
    """
    if not (base / "config.json").is_file() or not any(base.glob("*.safetensors")):
        what = "not a transformers checkpoint: needs config.json and *.safetensors"
        raise ModelError(what, where=base, remedy="pass a folder that save_pretrained wrote")
    return hash_files(path for pattern in _FILES for path in base.glob(pattern))


def load_checkpoint(base: Path, config: TrainConfig | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a checkpoint's model and tokenizer from local files; add LoRA adapters if `config.lora` is not 0.

    Trained weights are float32. Frozen weights under adapters have the type `config.dtype`, or 4 bits.

    Raises:
        ModelError: the checkpoint cannot be opened.
        InputError: training needs more memory than is free.
        PrerequisiteError: PEFT or bitsandbytes is needed and not installed.
    """
    checkpoint_hash(base)
    config = config or TrainConfig()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        check_memory(base, config)
        # On a CPU the backward pass of fused attention ran at 0.6 of the speed of eager attention with rows of 100 to
        # 400 tokens.  With rows of 1200 fused attention took 8.0 CPU seconds, eager 10.4 (SmolLM2-135M, bfloat16).
        long = config.max_length > _LONG
        attention = "sdpa" if torch.cuda.is_available() or long else "eager"
        frozen = config.lora and config.dtype == "bfloat16"
        model = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=torch.bfloat16 if frozen else torch.float32,
            attn_implementation=attention,
            local_files_only=True,
            **(_four_bits() if config.setting("load_in_4bit") else {}),
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the checkpoint cannot be opened: {reason}", where=base, remedy="check its files") from None
    if not wants_sharding(config):  # with FSDP, accelerate moves each shard; the full model may not fit
        model.to(device())  # type: ignore[arg-type]
    return (adapted(model, config) if config.lora else model), tokenizer


def _four_bits() -> dict[str, Any]:
    require("train", "bitsandbytes")
    kind = importlib.import_module("transformers").BitsAndBytesConfig
    settings = kind(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    return {"quantization_config": settings}


def adapted(model: PreTrainedModel, config: TrainConfig) -> PreTrainedModel:
    """Return the model with LoRA adapters (Hu et al. 2021); only the adapters are trained.

    Raises:
        PrerequisiteError: PEFT is not installed.
    """
    require("train", "peft")
    peft = importlib.import_module("peft")
    torch.manual_seed(config.seed)
    settings = peft.LoraConfig(
        r=config.lora,
        lora_alpha=config.setting("lora_alpha") or 2 * config.lora,
        lora_dropout=config.setting("lora_dropout"),
        target_modules=config.setting("lora_target_modules"),
        task_type="CAUSAL_LM",
    )
    if config.setting("load_in_4bit"):
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    with warnings.catch_warnings():
        # PEFT uses an attribute that transformers has renamed.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        with_adapters: PreTrainedModel = peft.get_peft_model(model, settings)
    return with_adapters


def memory_needed(base: Path, config: TrainConfig) -> int:
    """Estimate the bytes one process needs: weights, gradients, AdamW's two moments, activations and logits."""
    shapes = list(_shapes(base))
    weights = sum(prod(shape) for shape in shapes)
    shape = AutoConfig.from_pretrained(base, local_files_only=True).get_text_config()
    if config.lora:
        trained = sum(config.lora * sum(s) for s in shapes if len(s) == 2 and shape.vocab_size not in s)
        held = weights * (0.6 if config.setting("load_in_4bit") else 2 if config.dtype == "bfloat16" else 4)
        held += 4 * trained
    else:
        trained, held = weights, 4 * weights
    tokens = config.batch_tokens // max(1, config.setting("gradient_accumulation_steps"))
    wide = 1 if config.dtype == "bfloat16" else 2
    active = tokens * (_ACTIVATION * wide * shape.hidden_size * shape.num_hidden_layers + 8 * shape.vocab_size)
    return int((held + 12 * trained) / (world_size() if wants_sharding(config) else 1) + active)


def _shapes(base: Path) -> Iterator[tuple[int, ...]]:
    for path in base.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                yield tuple(file.get_slice(name).get_shape())


def memory_free() -> int:
    """Return the free bytes of the GPU if there is one, else of main memory within the limit of a container."""
    return torch.cuda.mem_get_info(device())[0] if torch.cuda.is_available() else free_bytes()


def check_memory(base: Path, config: TrainConfig) -> None:
    """Check that there is enough free memory, before the weights are loaded.

    Raises:
        InputError: there is too little; the message gives the estimate.
    """
    needed, free = memory_needed(base, config), memory_free()
    if needed * SLACK > free:
        what = f"training needs about {needed / _GIB:.1f} GiB of memory and {free / _GIB:.1f} GiB are free"
        raise InputError(what, where=base, remedy="set lora = 16, lower batch_tokens or use more machines")


def check_rows(rows: Sequence[TrainingRow], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that the rows fit the model's vocabulary and context length.

    Raises:
        InputError: a token id is outside the vocabulary, or a row is longer than the context.
    """
    vocabulary = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for row in rows:
        if (largest := int(row.ids.max())) >= vocabulary:
            what = (
                f"the tokenizer does not match the model: token id {largest}, but the model's vocabulary has "
                f"{vocabulary} tokens (the tokenizer's has {len(tokenizer)})"
            )
            raise InputError(what, where=row.example, remedy="use the tokenizer that the model was trained with")
        if context and len(row) > context:
            what = f"the example has {len(row)} tokens, more than the model's context of {context}"
            raise InputError(what, where=row.example, remedy="shorten the example")


def unsharded(model: PreTrainedModel, base: Path, config: TrainConfig) -> PreTrainedModel:
    """Return a model with full weights in the main process if `model` is sharded, else `model` unchanged."""
    if not is_sharded(model):
        return model
    if weights := gather_weights(model):
        model, _ = load_checkpoint(base, config)
        model.load_state_dict(weights)
        model.train(False)
        # The shards still fill the GPU, and a model that had to be spread seldom fits beside them.
        if memory_free() > SLACK * sum(weight.nbytes for weight in weights.values()):
            model.to(device())  # type: ignore[arg-type]
    return model


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path, base: Path) -> None:
    """Save a checkpoint that transformers can load; for LoRA, the merged model, and the adapters in `adapter/`.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            tokenizer.save_pretrained(out)
            if hasattr(model, "merge_and_unload"):
                model.save_pretrained(out / ADAPTER)
                model = _merged(model, out / ADAPTER, base)
            model.save_pretrained(out)
        except OSError:
            raise
        except Exception as error:  # tokenizers and safetensors raise their own exception types if the disk is full
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            what = f"the checkpoint cannot be written: {reason}"
            raise StoreError(what, where=out, remedy="free disk space and run again; the training resumes") from None


def _merged(model: Any, adapter: Path, base: Path) -> PreTrainedModel:
    """Merge the adapters into the model; if the model is loaded in 4 bits, merge into the base's full weights."""
    if getattr(model.get_base_model(), "is_loaded_in_4bit", False):
        peft = importlib.import_module("peft")
        full = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, local_files_only=True)
        model = peft.PeftModel.from_pretrained(full, adapter)
    merged: PreTrainedModel = model.merge_and_unload()
    return merged
