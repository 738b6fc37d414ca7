"""Chat templates of real model families, each behind a small tokenizer that knows its marks.

Two sources: files in `tests/models/templates` (see the table there), and the templates that TRL ships, read from the
installed package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

FILES = Path(__file__).parent.parent / "tests" / "models" / "templates"
#: Families that only TRL's package brings.
FROM_TRL = (
    "cohere2", "diffusion_gemma", "gemma3", "gemma4", "gemma4_v2", "glm4moe", "lfm2_2_5", "lfm2_v2", "llama3",
    "llama3_1", "llama3_2", "muse_glimmer", "nemotron_3_nano", "nemotron_3_super", "phi3", "qwen3_5_nothink",
    "qwen3_6", "qwen3_instruct_2507", "qwen3_vl",
)  # fmt: skip
#: Marks in the source of a template that are tokens of their own in the model's vocabulary.
_MARKS = re.compile(
    r"<\|[^|<>\s\"'{}]{1,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?｜DSML｜|\[/?[A-Z_]{3,24}\]|\[gMASK\]|<sop>|<\|?/?(?:tool_call|tool_response|turn"
    r"|channel)\|?>|<\|\"\|>|<(?:start|end)_of_turn>|</?think>|</?tool_call>|</?tool_response>|</?seed:\w+>|<seed:[a-z]+>"
    r"|\]~!b\[|\]~b\]|\[e~\[|<minimax:tool_call>|</minimax:tool_call>|</?arg_(?:key|value)>|<SPECIAL_\d+>"
)
_TEXT = re.compile(r"</?(?:think|tool_call|tool_response|arg_key|arg_value|minimax:tool_call)>")


def trl_folder() -> Path:
    """Where the installed TRL keeps its chat templates."""
    spec = find_spec("trl")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("trl is not installed")
    return Path(spec.origin).parent / "chat_templates"


@cache
def families() -> dict[str, str]:
    """Name → template."""
    found = {path.stem: path for path in sorted(FILES.glob("*.jinja"))}
    found |= {f"trl-{name}": trl_folder() / f"{name}.jinja" for name in FROM_TRL}
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}


@cache
def _letters() -> str:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(["the lazy dog"], trainer)
    return str(raw.to_str())


def tokenizer_of(template: str, extra: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes with a template's marks as added tokens: special ones, but for XML-like tags."""
    raw = Tokenizer.from_str(_letters())
    marks = sorted({*_MARKS.findall(template), *extra, "<s>", "</s>", "<|endoftext|>"})
    plain = [mark for mark in marks if _TEXT.fullmatch(mark)]
    raw.add_special_tokens([AddedToken(m, special=True, normalized=False) for m in marks if m not in plain])
    raw.add_tokens([AddedToken(mark, normalized=False) for mark in plain])
    phi = "<|assistant|>" in template and "<|end|>" in template
    made: PreTrainedTokenizerFast = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="<|endoftext|>" if phi else "</s>",
        chat_template=template,
    )
    return made
