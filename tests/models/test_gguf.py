"""GGUF files are opened as the same model, or refused."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from holdfast.core.errors import HoldfastError, ModelError, StoreError
from holdfast.core.records import Message, ToolSpec
from holdfast.models import Request, open_model
from holdfast.models.checkpoints import checkpoint_path
from holdfast.models.local import LocalModel
from holdfast.models.pinned import ModelCard, model_folder
from holdfast.models.prices import is_free, price
from holdfast.train.weights import load_checkpoint
from tests.models.gguf_files import CHATML, Made, in_cache, tiny_model, write_gguf

TOOL = {
    "type": "function",
    "function": {"name": "send_mail", "description": "Send.", "parameters": {"type": "object", "properties": {}}},
}
CALL = {"type": "function", "id": "0", "function": {"name": "send_mail", "arguments": {"to": 'a "b"'}}}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(path: Path, made: Made = Made()) -> LocalModel:  # noqa: B008 (frozen)
    model = open_model(f"gguf/{write_gguf(path, made)}")
    assert isinstance(model, LocalModel)
    return model


def test_a_converted_file_computes_what_the_original_model_does(tmp_path: Path) -> None:
    model = opened(tmp_path / "tiny.gguf")
    ids = torch.arange(40)[None] * 7 % model.model.config.vocab_size
    with torch.inference_mode():
        expected, found = tiny_model()(input_ids=ids).logits, model.model(input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    [output] = model.generate([Request(case="a", messages=[Message(role="user", content="Hi")], max_tokens=5)])
    assert output.error is None and output.tokens[1] > 0


def test_a_quantised_file_is_dequantised_and_saved_as_a_plain_checkpoint(tmp_path: Path) -> None:
    model = opened(tmp_path / "tiny.gguf", Made(quantised=True))
    config = AutoConfig.from_pretrained(model.path)
    assert not hasattr(config, "quantization_config") and config.dtype == torch.bfloat16
    with safe_open(model.path / "model.safetensors", framework="pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}  # noqa: SIM118 (not a mapping)
    # Eight bits in blocks of 32 round each weight by at most a 254th of the block's largest.
    for name, weight in tiny_model().named_parameters():
        read, weight = model.model.get_parameter(name).detach(), weight.detach()
        assert float((read - weight).abs().max()) <= float(weight.abs().max()) / 200, name
    AutoModelForCausalLM.from_pretrained(model.path).save_pretrained(tmp_path / "again")


def test_special_tokens_and_end_tokens_are_converted(tmp_path: Path) -> None:
    model = opened(tmp_path / "tiny.gguf")
    tokenizer = AutoTokenizer.from_pretrained(model.path)
    ids = tokenizer("<|im_start|>user\nHi<|im_end|><tool_call>", add_special_tokens=False)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens[0] == "<|im_start|>" and tokens[-2:] == ["<|im_end|>", "<tool_call>"]
    assert {"<|im_start|>", "<|im_end|>"} <= set(tokenizer.all_special_tokens)
    assert "<tool_call>" not in tokenizer.all_special_tokens
    ends = GenerationConfig.from_pretrained(model.path).eos_token_id
    assert tokenizer.eos_token == "<|im_end|>" and tokenizer.convert_tokens_to_ids("<|im_end|>") in ends
    # A tag that is no control token, as in Gemma's vocabulary, ends nothing.
    assert tokenizer.convert_tokens_to_ids("</s>") not in ends
    assert tokenizer.model_max_length == 2048


@pytest.mark.parametrize(("rule", "pieces"), [("gpt-2", 1), ("smollm", 4)])
def test_numbers_are_split_by_the_rule_of_the_file(rule: str, pieces: int, tmp_path: Path) -> None:
    model = opened(tmp_path / "tiny.gguf", Made(rule=rule))
    backend = AutoTokenizer.from_pretrained(model.path).backend_tokenizer
    assert len(backend.pre_tokenizer.pre_tokenize_str("2048")) == pieces


def test_a_template_without_tools_is_kept_without_tools_and_given_the_hermes_form_with_them(tmp_path: Path) -> None:
    model = opened(tmp_path / "tiny.gguf")
    render = model.tokenizer.apply_chat_template
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    plain = render(chat, tokenize=False, add_generation_prompt=True)
    assert plain == render(chat, chat_template=CHATML, tokenize=False, add_generation_prompt=True)
    used = [*chat, {"role": "assistant", "content": "", "tool_calls": [CALL]}]
    used += [{"role": "tool", "tool_call_id": "0", "content": "sent"}, {"role": "tool", "content": "seen"}]
    text = render(used, tools=[TOOL], tokenize=False, add_generation_prompt=True)
    assert text.startswith("<|im_start|>system\nBe kind.\n\n# Tools") and '"name": "send_mail"' in text
    call = '<|im_start|>assistant\n<tool_call>\n{"name": "send_mail", "arguments": {"to": "a \\"b\\""}}\n</tool_call>'
    assert call + "<|im_end|>\n" in text
    answers = "\n<tool_response>\nsent\n</tool_response>\n<tool_response>\nseen\n</tool_response><|im_end|>\n"
    assert text.endswith(f"<|im_start|>user{answers}<|im_start|>assistant\n")
    # What was called is told even where no tools are offered any more.
    assert "<tool_call>" in render(used, tokenize=False)
    assert "added" in _card(model).template


def test_a_template_that_renders_tools_is_kept(tmp_path: Path) -> None:
    own = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}" + CHATML
    model = opened(tmp_path / "tiny.gguf", Made(template=own))
    assert model.tokenizer.chat_template == own and _card(model).template == "the model's own"


def test_a_file_without_a_template_gets_one_in_the_marks_of_its_vocabulary(tmp_path: Path) -> None:
    model = opened(tmp_path / "tiny.gguf", Made(template=None))
    text = model.tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tools=[TOOL], tokenize=False)
    assert "send_mail" in text and text.endswith("<|im_start|>user\nHi<|im_end|>\n")
    assert "the file has no chat template" in _card(model).template


def test_a_template_in_other_marks_is_kept_and_the_card_says_what_it_lacks(tmp_path: Path) -> None:
    own = "{% for message in messages %}<|user|>{{ message['content'] }}{% endfor %}"
    model = opened(tmp_path / "tiny.gguf", Made(template=own))
    assert model.tokenizer.chat_template == own and "does not render tools" in _card(model).template


def test_a_file_is_converted_once_and_known_by_its_content(tmp_path: Path) -> None:
    first = opened(tmp_path / "one.gguf")
    made = (first.path / "model.safetensors").stat().st_mtime_ns
    second = opened(tmp_path / "two.gguf")
    assert second.path == first.path and (second.path / "model.safetensors").stat().st_mtime_ns == made
    assert second.identity == first.identity and second.name.endswith("two.gguf")
    third = opened(tmp_path / "three.gguf", Made(quantised=True))
    assert third.path != first.path and third.identity != first.identity
    (first.path / "model.safetensors").write_bytes(b"cut")
    assert opened(tmp_path / "one.gguf").identity == first.identity


def test_a_gguf_file_can_be_trained_and_costs_nothing(tmp_path: Path) -> None:
    model = opened(tmp_path / "tiny.gguf")
    assert checkpoint_path(model.name) == model.path
    trained, _ = load_checkpoint(model.path)
    assert trained.dtype == torch.float32 and type(trained).__name__ == "LlamaForCausalLM"
    assert is_free(model.name) and price(model.name, 10**6, 10**6) == 0


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Made(architecture="rwkv9"), "architecture 'rwkv9'"),
        (Made(rule="brand-new"), "splitting rule 'brand-new'"),
        (Made(left_out=["blk.1.ffn_up.weight"]), "without model.layers.1.mlp.up_proj.weight"),
        (Made(added={"rope_freqs.weight": [1.0] * 8}), "the file has"),
        (Made(keys={"split.count": 3}), "one part of a split GGUF file"),
    ],
)
def test_a_conversion_that_would_change_the_model_is_refused(made: Made, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        opened(tmp_path / "tiny.gguf", made)
    assert "tiny.gguf" in str(caught.value) and caught.value.remedy
    assert in_cache() == []


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.2, 0.5, 0.9, 0.9999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf").read_bytes()
    half = tmp_path / "half.gguf"
    half.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match="not a complete GGUF file"):
        open_model(f"gguf/{half}")
    assert in_cache() == []


@pytest.mark.parametrize("data", [b"not a model at all" * 100, b"GGUF" + b"\xff" * 5000, b"GGUF" + b"\0" * 5000])
def test_a_file_that_is_not_gguf_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.gguf").write_bytes(data)
    with pytest.raises(ModelError):
        open_model(f"gguf/{tmp_path / 'odd.gguf'}")
    with pytest.raises(ModelError, match="no such GGUF file"):
        open_model(f"gguf/{tmp_path}")
    assert in_cache() == []


def test_a_full_disk_leaves_no_half_of_a_model(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "tiny.gguf")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (300, 9_000, 100_000):
        # Python ignores the signal, so that writing fails as on a disk without room.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(HoldfastError) as caught:
                open_model(f"gguf/{path}")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert isinstance(caught.value, StoreError) and in_cache() == []
    open_model(f"gguf/{path}")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOLDFAST_CACHE", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="cannot write"):
        opened(tmp_path / "tiny.gguf")


def _card(model: LocalModel) -> ModelCard:
    assert model.path.parent == model_folder("x").parent
    return ModelCard.model_validate(json.loads((model.path / "holdfast_model.json").read_text()))


def test_a_tool_spec_reaches_the_model(tmp_path: Path) -> None:
    model = opened(tmp_path / "tiny.gguf")
    asked = Request(case="a", messages=[Message(role="user", content="Hi")])
    tools = [ToolSpec(name="send_mail", description="Send.", parameters={"to": "whom"})]
    with_tools = Request(case="a", messages=asked.messages, tools=tools)
    assert model.count(with_tools) > model.count(asked) + 50
