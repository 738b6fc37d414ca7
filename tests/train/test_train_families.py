"""Each model family: the exact supervised text, and errors for what its template does not support."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from train_families import FAMILIES, family_tokenizer, write_family
from train_toys import CALL, READ, chat, turn
from transformers import AutoConfig
from transformers.models.auto import AutoModelForCausalLM

from holdfast.core.errors import MaskError
from holdfast.core.records import Example
from holdfast.models.base import Request
from holdfast.models.registry import open_model
from holdfast.train.config import TrainConfig
from holdfast.train.mask_check import check_masks
from holdfast.train.rows import make_rows
from holdfast.train.run import train

TALK = chat(
    turn("system", "You help Anna."),
    turn("user", "the dog?"),
    turn("assistant", "lazy"),
    turn("user", "the fox?"),
    turn("assistant", "quick"),
    name="talk",
)
WORK = chat(
    turn("user", "the mail?"),
    turn("assistant", tool_calls=(CALL,)),
    turn("tool", "The fox jumps.", tool_call_id="c1"),
    turn("assistant", "It jumps."),
    name="work",
    tools=(READ,),
)
THOUGHT = chat(turn("user", "the dog?"), turn("assistant", "lazy", reasoning="It sleeps."), name="thought")
CONFIG = TrainConfig()
ARGUMENTS = '{"number": "1 or \\"two\\""}'

#: The text that each family's assistant must generate.
GOLDEN = {
    ("llama", "talk"): ["lazy<|eot_id|>quick<|eot_id|>"],
    ("llama", "work"): [f'{{"name": "read_mail", "parameters": {ARGUMENTS}}}<|eot_id|>It jumps.<|eot_id|>'],
    # An earlier turn loses its think block, so each turn needs a separate row; the empty block is not supervised.
    ("qwen3", "talk"): ["lazy<|im_end|>", "quick<|im_end|>"],
    ("qwen3", "work"): [
        f'<tool_call>\n{{"name": "read_mail", "arguments": {ARGUMENTS}}}\n</tool_call><|im_end|>',
        "It jumps.<|im_end|>",
    ],
    ("qwen3", "thought"): ["<think>\nIt sleeps.\n</think>\n\nlazy<|im_end|>"],
    ("gemma", "talk"): ["lazy<end_of_turn>quick<end_of_turn>"],
    ("mistral", "talk"): [" lazy</s> quick</s>"],
    # This template needs call ids of nine characters, so ours are converted.
    ("mistral", "work"): [
        f'[TOOL_CALLS] [{{"name": "read_mail", "arguments": {ARGUMENTS}, "id": "d0f631ca1"}}]</s> It jumps.</s>'
    ],
    ("olmo", "talk"): ["lazy<|endoftext|>quick<|endoftext|>"],
}
EXAMPLES = {example.id: example for example in (TALK, WORK, THOUGHT)}


def supervised(name: str, example: Example) -> list[str]:
    words = family_tokenizer(name)
    rows = make_rows([example], words, CONFIG)
    check_masks([example], rows, words, CONFIG)
    return [str(words.decode(row.ids[row.supervised].tolist())) for row in rows]


@pytest.mark.parametrize(("name", "example"), GOLDEN)
def test_the_supervised_text_is_exact(name: str, example: str) -> None:
    assert supervised(name, EXAMPLES[example]) == GOLDEN[name, example]


@pytest.mark.parametrize(
    ("name", "example", "message"),
    [
        ("gemma", "work", "only user and model may speak"),
        ("olmo", "work", "drops the tool call|drops or cuts turn"),
        ("llama", "thought", "drops the reasoning"),
        ("gemma", "thought", "drops the reasoning"),
        ("mistral", "thought", "drops the reasoning"),
        ("olmo", "thought", "drops the reasoning"),
    ],
)
def test_what_a_template_drops_is_rejected(name: str, example: str, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        supervised(name, EXAMPLES[example])


def test_llamas_template_drops_text_before_a_call() -> None:
    both = chat(turn("user", "?"), turn("assistant", "I look.", tool_calls=(CALL,)), tools=(READ,))
    with pytest.raises(MaskError, match="drops or cuts turn 1"):
        supervised("llama", both)


def servable(folder: Path, architecture: str) -> None:
    """Check what vLLM needs: a known architecture, no custom code, complete weights, tokenizer and end token."""
    config, tokens, ends = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("config.json", "tokenizer_config.json", "generation_config.json")
    )
    assert config["architectures"] == [architecture]
    assert "auto_map" not in config and "quantization_config" not in config
    assert not list(folder.glob("*.py"))
    assert (folder / "tokenizer.json").is_file() and (folder / "chat_template.jinja").is_file()
    assert config["eos_token_id"] == ends["eos_token_id"] and tokens["eos_token"]
    with torch.device("meta"):
        wanted = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).state_dict()
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        held = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        assert file.metadata() == {"format": "pt"}
    tied = {"lm_head.weight"} if config["tie_word_embeddings"] else set()
    assert set(wanted) - tied <= set(held) <= set(wanted)
    assert all(tuple(wanted[name].shape) == shape for name, shape in held.items())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_trained_and_answers(name: str, tmp_path: Path) -> None:
    base = write_family(name, tmp_path / name)
    taught = [TALK, WORK] if FAMILIES[name].tools else [TALK]
    config = TrainConfig(epochs=3, batch_tokens=256, lr=1e-2)
    card = train(base, taught, config, tmp_path / "out")
    assert card.counts["calls"] == len(taught) - 1
    servable(tmp_path / "out", FAMILIES[name].config.__name__.replace("Config", "ForCausalLM"))
    [output] = open_model(f"hf/{tmp_path / 'out'}").generate([Request("one", TALK.messages[:2], max_tokens=4)])
    assert output.finish in ("stop", "length")
