"""Tiny GGUF files and wheels made in the test, and a table of models that names them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from holdfast.models import pinned
from tests.models.conftest import make_tokenizer

NAME = "tiny-instruct"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_HEADS, _KV_HEADS = 4, 2


@dataclass(frozen=True)
class Made:
    """How a file differs from a sound one."""

    architecture: str = "llama"
    template: str | None = CHATML
    rule: str = "gpt-2"
    quantised: bool = False
    left_out: Sequence[str] = ()
    added: Mapping[str, Sequence[float]] = field(default_factory=dict)
    keys: Mapping[str, int] = field(default_factory=dict)


def tiny_model() -> LlamaForCausalLM:
    """A random Llama whose weights are exact in float16."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(_vocabulary()[0]),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=_HEADS,
        num_key_value_heads=_KV_HEADS,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.3,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    model = LlamaForCausalLM(config).eval()
    for weight in model.parameters():
        weight.data = weight.data.half().float()
    return model


def _vocabulary() -> tuple[list[str], list[int], list[str]]:
    """Tokens, their types and the merges, with ChatML's marks as control tokens."""
    raw = json.loads(make_tokenizer().backend_tokenizer.to_str())
    vocab: dict[str, int] = dict(raw["model"]["vocab"])
    tokens = [token for token, _ in sorted(vocab.items(), key=lambda item: item[1])]
    control = {token["content"] for token in raw["added_tokens"]} | {"<|im_start|>", "<|im_end|>"}
    tokens += ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "</s>"]
    types = [3 if token in control else 4 if token.endswith(("tool_call>", "</s>")) else 1 for token in tokens]
    return tokens, types, [" ".join(pair) for pair in raw["model"]["merges"]]


def write_gguf(path: Path, made: Made = Made()) -> Path:
    """Write the tiny model as a GGUF file, as llama.cpp's own converter would."""
    model = tiny_model()
    config = model.config
    tokens, types, merges = _vocabulary()
    writer = gguf.GGUFWriter(path, made.architecture)
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(made.rule)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_pad_token_id(tokens.index("<|im_end|>"))
    writer.add_bos_token_id(tokens.index("<|im_start|>"))
    if made.template:
        writer.add_chat_template(made.template)
    for key, value in made.keys.items():
        writer.add_uint32(key, value)
    for name, weight in tensors(model).items():
        if name in made.left_out:
            continue
        if made.quantised and weight.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(weight, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, weight)
    for name, values in made.added.items():
        writer.add_tensor(name, np.asarray(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors(model: LlamaForCausalLM) -> dict[str, np.ndarray[Any, Any]]:
    """The model's weights under llama.cpp's names, queries and keys in its order of rows."""
    found = {}
    for name, weight in model.named_parameters():
        array = weight.detach().numpy()
        if ".q_proj" in name or ".k_proj" in name:
            heads = _HEADS if ".q_proj" in name else _KV_HEADS
            array = array.reshape(heads, 2, array.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(array.shape)
        found[_gguf_name(name)] = np.ascontiguousarray(array)
    return found


def _gguf_name(name: str) -> str:
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_NAMES[rest.removesuffix('.weight')]}.weight"


def write_wheel(folder: Path, package: str, member: str, data: bytes, marker: Path) -> Path:
    """A wheel with one data file, whose package would write `marker` if anybody imported it."""
    info = f"{package}-1.0.dist-info"
    path = folder / f"{package}-1.0-py3-none-any.whl"
    files = {
        f"{package}/__init__.py": f"open({str(marker)!r}, 'w').close()\n".encode(),
        f"{package}/{member}": data,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(name, content)
    return path


def write_table(path: Path, wheels: Sequence[Path], data: bytes, **row: Any) -> Path:
    """A table with one model, whose wheels each hold `part.bin`."""
    digest = hashlib.sha256(data).hexdigest()
    fields = {"what": "a tiny model", "licence": "MIT", "parameters": 100_000, "size": len(data), "gguf": digest} | row
    listed = [
        {
            "file": wheel.name,
            "size": wheel.stat().st_size,
            "member": f"{wheel.name.split('-')[0]}/part.bin",
            "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        }
        for wheel in wheels
    ]
    lines = [f'[models."{NAME}"]', *(f"{key} = {_toml(value)}" for key, value in fields.items())]
    path.write_text("\n".join([*lines, f"wheels = [{', '.join(map(_toml, listed))}]", ""]))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + " }"
    return json.dumps(value)


def in_cache() -> list[str]:
    """Return the files in the cache, without locks."""
    folder = pinned.models_folder()
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock")) if folder.is_dir() else []
