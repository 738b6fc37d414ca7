"""One training from a base checkpoint to a finished folder: rows, gate, training, weights, card, manifest last."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from holdfast import __version__
from holdfast.core.errors import ModelError, ResultsError, StoreError
from holdfast.core.identity import hash_files, key_of, room_version
from holdfast.core.records import Example, RunCard
from holdfast.core.store import RunFolder, write_text, writing
from holdfast.train.config import TrainConfig
from holdfast.train.gate import Census, check
from holdfast.train.loop import StepLog, train_rows
from holdfast.train.rows import make_rows
from holdfast.train.trl_path import train_with_trl

_WEIGHTS = ("*.safetensors", "tokenizer*", "*.jinja", "config.json")


def train(
    base: Path,
    examples: Sequence[Example],
    config: TrainConfig,
    out: Path,
    on_step: Callable[[StepLog], None] | None = None,
) -> RunCard:
    """Fine-tune the checkpoint in `base` on `examples` and write the result to `out`.

    A finished `out` with the same key is returned as it is; an unfinished one is trained again from the start.

    Raises:
        ModelError: `base` is not a transformers checkpoint with a tokenizer.
        InputError: no examples, or one that does not fit.
        MaskError: the gate refuses what would be supervised.
        ResultsError: `out` holds the result of another training.
        PrerequisiteError: TRL is asked for and not installed.
        IncompleteError: the loss is no longer a number, or a file cannot be written.
    """
    key, folder = train_key(base, examples, config), RunFolder(out)
    if folder.complete:
        if folder.card().key == key:
            return folder.card()
        raise ResultsError("holds another training", where=out, remedy="delete it or choose another folder")
    began = time.perf_counter()
    model, tokenizer = load(base)
    rows = make_rows(examples, tokenizer, config)
    census = check(examples, rows, tokenizer, config)
    if config.engine == "trl":
        logs = train_with_trl(model, tokenizer, rows, config, on_step)
    else:
        logs = train_rows(model, rows, config, on_step)
    card = RunCard(
        key=key,
        kind="train",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        holdfast=__version__,
        code=room_version("train"),
        inputs={"base": checkpoint_hash(base), "examples": key_of(list(examples)), "config": config.model_dump()},
        counts=_counts(census, logs),
        seconds=round(time.perf_counter() - began, 2),
    )
    _save(folder, model, tokenizer, logs)
    write_text(out / "README.md", model_card(base, examples, config, card, logs))
    folder.finish(card)
    return card


def train_key(base: Path, examples: Sequence[Example], config: TrainConfig) -> str:
    """Hash of everything that makes the result: weights, examples in order, config and this room's code.

    Raises:
        ModelError: `base` is not a transformers checkpoint.
    """
    return key_of([checkpoint_hash(base), list(examples), config, room_version("train")])


def checkpoint_hash(base: Path) -> str:
    """Hash of a checkpoint's weights, config, tokenizer and template.

    Raises:
        ModelError: `base` is not a transformers checkpoint.
    """
    if not (base / "config.json").is_file() or not any(base.glob("*.safetensors")):
        what = "not a transformers checkpoint: needs config.json and *.safetensors"
        raise ModelError(what, where=base, remedy="give the folder that save_pretrained wrote")
    return hash_files(path for pattern in _WEIGHTS for path in base.glob(pattern))


def load(base: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Open a checkpoint's model, in float32, and its tokenizer; never from the network.

    Raises:
        ModelError: it cannot be opened.
    """
    checkpoint_hash(base)
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        # On a CPU the fused attention's backward pass costs more than writing it out: 0.6 of eager's speed, measured.
        attention = "sdpa" if torch.cuda.is_available() else "eager"
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, attn_implementation=attention, local_files_only=True
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the checkpoint cannot be opened: {reason}", where=base, remedy="check its files") from None
    return model, tokenizer


def model_card(
    base: Path, examples: Sequence[Example], config: TrainConfig, card: RunCard, logs: Sequence[StepLog]
) -> str:
    """The README of a trained checkpoint, in Markdown."""
    recipes = Counter((_plain(e.provenance.recipe), _plain(e.provenance.teacher)) for e in examples)
    taught = [f"| `{recipe}` | `{teacher}` | {n} |" for (recipe, teacher), n in sorted(recipes.items())]
    knobs = [f"| {name} | {value} |" for name, value in config.model_dump().items()]
    counts = [f"| {name} | {value:,} |" for name, value in card.counts.items()]
    lines = [
        f"# {_plain(base.name)}, fine-tuned",
        "",
        f"Made by holdfast {card.holdfast} from the checkpoint `{_plain(base.name)}` (hash `{card.inputs['base']}`).",
        f"Loss in nats per supervised token: {logs[0].loss:.4f} at the first step, {logs[-1].loss:.4f} at the last.",
        f"Each step's figures are in `metrics.jsonl`; key `{card.key}`.",
        "",
        *("## Taught from", "", "| recipe | teacher | examples |", "|---|---|---|", *taught, ""),
        *("## Counts", "", "| what | how many |", "|---|---|", *counts, ""),
        *("## Settings", "", "| knob | value |", "|---|---|", *knobs, ""),
    ]
    return "\n".join(lines)


def _counts(census: Census, logs: Sequence[StepLog]) -> dict[str, int]:
    return {
        "rows": census.rows,
        "row_tokens": census.tokens,
        "row_supervised": census.supervised,
        "turns": census.turns,
        "calls": census.calls,
        "reasoned": census.reasoned,
        "steps": len(logs),
        "tokens": sum(log.tokens for log in logs),
        "supervised": sum(log.supervised for log in logs),
    }


def _save(
    folder: RunFolder, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, logs: Sequence[StepLog]
) -> None:
    with writing(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
        (folder.path / "metrics.jsonl").unlink(missing_ok=True)
        tokenizer.save_pretrained(folder.path)
        try:
            model.save_pretrained(folder.path)
        except SafetensorError as error:
            what = f"the weights cannot be written: {error}"
            raise StoreError(what, where=folder.path, remedy="free some space and run again") from None
    folder.append("metrics", logs)


def _plain(name: str) -> str:
    """A name safe inside a Markdown table and code span, whoever chose it."""
    return "".join(mark for mark in name if mark.isalnum() or mark in " -_./:,")[:80]
