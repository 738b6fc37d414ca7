"""Checkpoints on disk: open one, see whether it fits into memory, put adapters on it, and write what came of it."""

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
from holdfast.train.config import TrainConfig
from holdfast.train.distributed import device, gathered, sharded, spread, world
from holdfast.train.rows import TrainingRow

ADAPTER = "adapter"
_FILES = ("*.safetensors", "tokenizer*", "*.jinja", "config.json")
#: Bytes of activations for each token, layer and unit of width, in half precision (Korthikanti et al. 2022).
_ACTIVATION = 34
#: A training estimated at 21.5 GiB was seen to take more than 23.8, and the machine has others to serve.
SLACK = 1.2
_GIB = 2**30


def checkpoint_hash(base: Path) -> str:
    """Hash of a checkpoint's weights, config, tokenizer and template.

    Raises:
        ModelError: `base` is not a transformers checkpoint.
    """
    if not (base / "config.json").is_file() or not any(base.glob("*.safetensors")):
        what = "not a transformers checkpoint: needs config.json and *.safetensors"
        raise ModelError(what, where=base, remedy="give the folder that save_pretrained wrote")
    return hash_files(path for pattern in _FILES for path in base.glob(pattern))


def load_checkpoint(base: Path, config: TrainConfig | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Open a checkpoint's model and tokenizer, never from the network; with adapters where `config.lora` asks for them.

    Weights that are trained are float32; those under adapters stay in the type of `config.dtype`, or in four bits.

    Raises:
        ModelError: it cannot be opened.
        InputError: it needs more memory than there is.
        PrerequisiteError: PEFT or bitsandbytes is needed and not installed.
    """
    checkpoint_hash(base)
    config = config or TrainConfig()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        fits(base, config)
        # On a CPU the fused attention's backward pass costs more than writing it out: 0.6 of eager's speed, measured.
        attention = "sdpa" if torch.cuda.is_available() else "eager"
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
    if not sharded(config):  # else accelerate moves each process's part, and the whole may not fit
        model.to(device())  # type: ignore[arg-type]
    return (adapted(model, config) if config.lora else model), tokenizer


def _four_bits() -> dict[str, Any]:
    require("train", "bitsandbytes")
    kind = importlib.import_module("transformers").BitsAndBytesConfig
    settings = kind(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    return {"quantization_config": settings}


def adapted(model: PreTrainedModel, config: TrainConfig) -> PreTrainedModel:
    """The model with low-rank adapters (Hu et al. 2021), which alone are trained."""
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
        # PEFT asks transformers by a name that transformers has renamed.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        made: PreTrainedModel = peft.get_peft_model(model, settings)
    return made


def memory_needed(base: Path, config: TrainConfig) -> int:
    """About how many bytes a process takes: weights, gradients, AdamW's two moments, activations and logits."""
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
    return int((held + 12 * trained) / (world() if sharded(config) else 1) + active)


def _shapes(base: Path) -> Iterator[tuple[int, ...]]:
    for path in base.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                yield tuple(file.get_slice(name).get_shape())


def memory_free() -> int | None:
    """Bytes free for a training: of the GPU where there is one, else of this machine; None where nobody can say."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info(device())[0]
    known = Path("/proc/meminfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.is_file() else []
    found = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return 1024 * int(found.split()[1]) if found else None


def fits(base: Path, config: TrainConfig) -> None:
    """See that there is memory enough before anything large is opened.

    Raises:
        InputError: there is not; the message holds the estimate.
    """
    needed, free = memory_needed(base, config), memory_free()
    if free is not None and needed * SLACK > free:
        what = f"training needs about {needed / _GIB:.1f} GiB of memory and {free / _GIB:.1f} GiB are free"
        raise InputError(what, where=base, remedy="set lora = 16, a smaller batch_tokens or more machines")


def check_rows(rows: Sequence[TrainingRow], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """See that the model can read the rows.

    Raises:
        InputError: a token that the model does not have, or a row longer than its context.
    """
    known = int(model.get_input_embeddings().weight.shape[0])  # type: ignore[index]
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for row in rows:
        if (most := int(row.ids.max())) >= known:
            what = f"the tokenizer does not match the model: token {most} of {len(tokenizer)}, the model has {known}"
            raise InputError(what, where=row.example, remedy="use the tokenizer that the model was trained with")
        if context and len(row) > context:
            what = f"{len(row)} tokens, more than the model's context of {context}"
            raise InputError(what, where=row.example, remedy="shorten the example")


def whole(model: PreTrainedModel, base: Path, config: TrainConfig) -> PreTrainedModel:
    """The model with all its weights in the first process, where they are spread over many; else as it is."""
    if not spread(model):
        return model
    if weights := gathered(model):
        model, _ = load_checkpoint(base, config)
        model.load_state_dict(weights)
        model.train(False)
        # The parts still fill the GPU, and what had to be spread seldom fits beside them.
        if (memory_free() or 0) > SLACK * sum(weight.nbytes for weight in weights.values()):
            model.to(device())  # type: ignore[arg-type]
    return model


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path, base: Path) -> None:
    """Write a checkpoint that transformers opens; of adapted models, the adapters in `adapter/` beside the whole.

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
        except Exception as error:  # tokenizers and safetensors raise bare kinds of their own when a disk is full
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            what = f"the checkpoint cannot be written: {reason}"
            raise StoreError(what, where=out, remedy="free some space and run again: it resumes") from None


def _merged(model: Any, adapter: Path, base: Path) -> PreTrainedModel:
    """The whole model with its adapters added in; from full weights where the trained ones have four bits."""
    if getattr(model.get_base_model(), "is_loaded_in_4bit", False):
        peft = importlib.import_module("peft")
        whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, local_files_only=True)
        model = peft.PeftModel.from_pretrained(whole, adapter)
    merged: PreTrainedModel = model.merge_and_unload()
    return merged
