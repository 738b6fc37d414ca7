"""Converts GGUF files to transformers folders in the cache, and opens them.

    open_model("gguf/PATH")     converted on first use; cached by the hash of the file

transformers reads the file and dequantises its weights.  It refuses to save a model that it marks as quantised, so the
weights are copied to a new model with the same config.  The conversion fails if the folder would not be the model of
the file: if weights are missing or unused, if the tokenizer's splitting rule is unknown, or if the saved tokenizer
gives other tokens.  The card `holdfast_model.json` lists what was added or changed.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers import PreTrainedTokenizerFast as FastTokenizer

from holdfast.core.errors import ModelError, StoreError
from holdfast.core.extras import require
from holdfast.core.store import write_text
from holdfast.models.local import LocalModel, turn_ends
from holdfast.models.pinned import (
    CARD,
    FORMAT,
    FetchStep,
    GgufSource,
    ModelCard,
    OnFetch,
    fill_folder,
    locked,
    model_card,
    model_folder,
)
from holdfast.models.template import choose_template

#: Packages that transformers needs to read a GGUF file.
PACKAGES = ("gguf", "accelerate")
#: `tokenizer.ggml.pre` of byte-level vocabularies in which llama.cpp splits numbers into single digits; transformers
#: treats them like GPT-2's, which does not split numbers.
_SINGLE_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
#: Those that are split like GPT-2's, which is the fallback of transformers.
_AS_GPT2 = ("gpt-2", "phi-2", "olmo", "mpt", "jina-es", "jina-de", "roberta-bpe")
_PROBE = (
    'Mr Ó Súilbhéartaigh\'s 2,048 mails — 17:45, don\'t:\n\n\t{"a": [1.50, "x_y"]}  日本語 🙂 <tool_call>\r\n   end'
)
#: Names of the end tokens in a file's metadata: of text, turn and message.
_ENDS = ("eos", "eot", "eom")
_STEPS = 4


def open_named(rest: str) -> LocalModel:
    """Open a GGUF file.

    Raises:
        ModelError: if there is no such file, or it cannot be converted.
        PrerequisiteError: if a package for the conversion is not installed.
        StoreError: if the cache is not writable.
    """
    path = Path(rest).expanduser()
    if not path.is_file():
        raise ModelError("no such GGUF file", where=path, remedy="give the path of a .gguf file; nothing is downloaded")
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    name = f"gguf-{sha256[:16]}"
    if model_card(name) is None:
        with locked(name):
            if model_card(name) is None:
                about = GgufSource(
                    name, f"the GGUF file {path.name}", "see the file's source", f"file: {path.name}", sha256
                )
                fill_folder(name, lambda staging: convert_gguf(path, staging, about))
    return LocalModel(model_folder(name), name=f"gguf/{rest}")


def convert_gguf(source: Path, out: Path, about: GgufSource, on_step: OnFetch = lambda step: None) -> None:
    """Write the model of a GGUF file to an existing folder in transformers format, with its card.

    Raises:
        ModelError: if the file is not a complete GGUF file, or transformers cannot read it correctly.
        PrerequisiteError: if a package for the conversion is not installed.
        StoreError: if the disk is full or not writable.
    """
    require("local", *PACKAGES)
    on_step(FetchStep("convert", 0, _STEPS, "reading the file"))
    head = _head(source)
    on_step(FetchStep("convert", 1, _STEPS, "dequantising the weights"))
    model = _weights(source, head)
    on_step(FetchStep("convert", 2, _STEPS, "reading the tokenizer"))
    tokenizer = _tokenizer(source, head)
    template, origin = choose_template(tokenizer)
    tokenizer.chat_template = template
    ends = {
        head.keys[f"tokenizer.ggml.{end}_token_id"] for end in _ENDS if f"tokenizer.ggml.{end}_token_id" in head.keys
    }
    model.generation_config.eos_token_id = sorted(turn_ends(model, tokenizer) | ends)
    on_step(FetchStep("convert", 3, _STEPS, "writing the folder"))
    dtype = str(model.dtype).removeprefix("torch.")
    _write(model, tokenizer, out)
    card = ModelCard(
        format=FORMAT,
        **{key: getattr(about, key) for key in ("name", "what", "licence", "source", "gguf", "notes")},
        architecture=head.architecture,
        parameters=sum(weight.numel() for weight in model.parameters()),
        dtype=dtype,
        dtype_reason=_DTYPE_REASON[dtype],
        compute="bfloat16",
        template=origin,
        made_with={name: importlib.metadata.version(name) for name in ("transformers", "gguf")},
        files={path.name: path.stat().st_size for path in sorted(out.iterdir()) if path != source},
    )
    write_text(out / CARD, card.model_dump_json(indent=1) + "\n")
    on_step(FetchStep("convert", _STEPS, _STEPS, "done"))


_DTYPE_REASON = {
    "float16": "float16 rounds dequantised weights eight times finer than bfloat16 at the same size; the config asks "
    "for bfloat16 to compute in on a GPU, whose range no activation leaves",
    "bfloat16": "a weight is larger than float16 can hold",
}


@dataclass(frozen=True)
class _Head:
    """Metadata of a GGUF file; `numbers` is the number of elements of all its tensors."""

    architecture: str
    numbers: int
    tensors: frozenset[str]
    keys: Mapping[str, Any]


def _head(source: Path) -> _Head:
    """Read a file's metadata and check that all its tensors are present."""
    try:
        reader = importlib.import_module("gguf").GGUFReader(source)
        fields = reader.fields
        wanted = ("general.architecture", "split.count", "tokenizer.ggml.model", "tokenizer.ggml.pre")
        used = [key for key in fields if key in wanted or key.endswith(("_token_id", ".context_length"))]
        keys = {key: fields[key].contents() for key in used}
        numbers = sum(int(tensor.n_elements) for tensor in reader.tensors)
        names = frozenset(str(tensor.name) for tensor in reader.tensors)
    except Exception as error:  # the reader raises errors of numpy, struct and the text decoder
        _pass_on(error)
        what = f"not a complete GGUF file: {_line(error)}"
        raise ModelError(what, where=source, remedy="download it again; it may be truncated") from None
    if "general.architecture" not in keys or not names:
        raise ModelError("the GGUF file contains no model", where=source, remedy="give a file with weights")
    if int(keys.get("split.count", 1)) > 1:
        remedy = "join the parts first: llama-gguf-split --merge"
        raise ModelError("the file is only one part of a split GGUF file", where=source, remedy=remedy)
    return _Head(str(keys["general.architecture"]), numbers, names, keys)


def _weights(source: Path, head: _Head) -> PreTrainedModel:
    """Load the dequantised model of a file in a form that can be saved.

    Raises:
        ModelError: if transformers cannot read the file, or does not use all weights.
    """
    dequantise = getattr(transformers, "GgufConfig", None)
    extra = {"quantization_config": dequantise(dequantize=True)} if dequantise else {}
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.parent,
            gguf_file=source.name,
            dtype=torch.float32,
            output_loading_info=True,
            local_files_only=True,
            **extra,
        )
    except Exception as error:  # transformers, gguf and torch have their own exception types
        _pass_on(error)
        what = f"transformers cannot read a GGUF file of architecture '{head.architecture}': {_line(error)}"
        raise ModelError(what, where=source, remedy="use the model's own transformers folder: hf/PATH") from None
    read, info = loaded
    lost = [*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])]
    numbers = sum(weight.numel() for weight in read.parameters())
    if lost or numbers != head.numbers:
        named = f", without {', '.join(sorted(map(str, lost))[:3])}" if lost else ""
        what = f"the file has {head.numbers} weights, but the model that transformers loads has {numbers}{named}"
        raise ModelError(what, where=source, remedy="use the model's own transformers folder: hf/PATH")
    return _saveable(read)


def _saveable(read: PreTrainedModel) -> PreTrainedModel:
    """Copy the weights in 16 bits to a new model with the same config, without its quantisation."""
    config = copy.deepcopy(read.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    largest = max(float(weight.detach().abs().max()) for weight in read.parameters())
    dtype = torch.float16 if largest < torch.finfo(torch.float16).max else torch.bfloat16
    with torch.device("meta"):
        copied = AutoModelForCausalLM.from_config(config, dtype=dtype)
    copied.load_state_dict({name: weight.to(dtype) for name, weight in read.state_dict().items()}, assign=True)
    copied.tie_weights()
    copied.generation_config = copy.deepcopy(read.generation_config)
    model: PreTrainedModel = copied.eval()
    return model


def _tokenizer(source: Path, head: _Head) -> FastTokenizer:
    """Load the file's tokenizer, with every control token marked as special.

    Raises:
        ModelError: if transformers cannot build it, or would split text differently than in the model's training.
    """
    remedy = "use the model's own transformers folder: hf/PATH"
    try:
        read = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    except Exception as error:  # transformers and tokenizers have their own exception types
        _pass_on(error)
        raise ModelError(f"the tokenizer cannot be read: {_line(error)}", where=source, remedy=remedy) from None
    backend, rule = read.backend_tokenizer, str(head.keys.get("tokenizer.ggml.pre", ""))
    if head.keys.get("tokenizer.ggml.model") == "gpt2":
        if rule in _SINGLE_DIGITS:
            backend.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            )
        elif rule not in (*_AS_GPT2, *_known_rules()):
            what = f"transformers does not know the tokenizer's splitting rule '{rule}'"
            raise ModelError(what, where=source, remedy=remedy)
    context = head.keys.get(f"{head.architecture}.context_length")
    named = {key: getattr(read, key) for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
    special = [token.content for token in read.added_tokens_decoder.values() if token.special]
    tokenizer = FastTokenizer(
        tokenizer_object=backend,
        **{key: str(token) for key, token in named.items() if token is not None},
        extra_special_tokens=[token for token in special if token not in named.values()],
        chat_template=read.chat_template,
        clean_up_tokenization_spaces=False,
        **({"model_max_length": int(context)} if context else {}),
    )
    for key in ("bos_token", "eos_token"):
        # Without this, transformers sets a default token that the file does not have.
        if named[key] is None:
            setattr(tokenizer, key, None)
    return tokenizer


def _known_rules() -> Sequence[str]:
    """Return the splitting rules of byte-level vocabularies that the installed transformers supports."""
    try:
        module = importlib.import_module("transformers.integrations.gguf.gguf_tokenizer_mapping")
    except ModuleNotFoundError:
        return ("qwen2", "llama-bpe")
    return tuple(getattr(module, "GGUF_PRE_TOKENIZER_SPLITS", ()))


def _write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Save both, then check that the saved tokenizer gives the same tokens.

    Raises:
        StoreError: if the disk is full.
        ModelError: if the saved tokenizer gives other tokens.
    """
    try:
        model.save_pretrained(out)
        # The config names the number format for computing; the weights file records its own.
        config = copy.deepcopy(model.config)
        config.dtype = torch.bfloat16
        config.save_pretrained(out)
        tokenizer.save_pretrained(out)
    except Exception as error:  # tokenizers and safetensors raise their own exception types if the disk is full
        _pass_on(error)
        what = f"the model cannot be written: {_line(error)}"
        raise StoreError(what, where=out, remedy="free some space and run again") from None
    saved = AutoTokenizer.from_pretrained(out, local_files_only=True)
    if any(_ids(saved, text) != _ids(tokenizer, text) for text in (_PROBE, "".join(tokenizer.all_special_tokens))):
        remedy = "use the model's own transformers folder: hf/PATH"
        raise ModelError("the tokenizer gives other tokens after it is saved", where=out, remedy=remedy)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _pass_on(error: Exception) -> None:
    """Raise errors of the operating system again; OSErrors of transformers have no errno."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def _line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return "".join(char for char in line if char.isprintable())[:300]
