"""GGUF files made into transformers folders, in the cache, and opened.

    open_model("gguf/PATH")     converted on first use; known by the hash of the file

transformers reads the file and dequantises its weights.  What it then calls quantised it refuses to save, so the
weights go into a new model of the same config.  A conversion is refused where the folder would not be the model that
the file holds: weights missing or unread, a tokenizer whose splitting rule is not known, tokens that change on reading
the folder back.  The card `holdfast_model.json` says what was added or changed.
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

#: What transformers needs to read a GGUF file.
PACKAGES = ("gguf", "accelerate")
#: `tokenizer.ggml.pre` of byte-level vocabularies whose digits stand alone, as llama.cpp splits them; transformers
#: reads them as GPT-2's, which keeps numbers whole.
_SINGLE_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
#: Those that are split as GPT-2 does, which is what transformers falls back to.
_AS_GPT2 = ("gpt-2", "phi-2", "olmo", "mpt", "jina-es", "jina-de", "roberta-bpe")
_PROBE = (
    'Mr Ó Súilbhéartaigh\'s 2,048 mails — 17:45, don\'t:\n\n\t{"a": [1.50, "x_y"]}  日本語 🙂 <tool_call>\r\n   end'
)
#: Ends of text, turn and message in a file's metadata.
_ENDS = ("eos", "eot", "eom")
_STEPS = 4


def open_named(rest: str) -> LocalModel:
    """Open a GGUF file.

    Raises:
        ModelError: there is no such file, or it cannot be converted.
        PrerequisiteError: a package that converts is not installed.
        StoreError: the cache cannot be written.
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


def convert_gguf(source: Path, out: Path, about: GgufSource, tell: OnFetch = lambda step: None) -> None:
    """Write the model of a GGUF file into an existing folder, in transformers' format, with its card.

    Raises:
        ModelError: the file is not a whole GGUF file, or is one that transformers cannot read as what it is.
        PrerequisiteError: a package that converts is not installed.
        StoreError: the disk is full or cannot be written.
    """
    require("local", *PACKAGES)
    tell(FetchStep("convert", 0, _STEPS, "reading the file"))
    head = _head(source)
    tell(FetchStep("convert", 1, _STEPS, "dequantising the weights"))
    model = _weights(source, head)
    tell(FetchStep("convert", 2, _STEPS, "reading the tokenizer"))
    tokenizer = _tokenizer(source, head)
    template, told = choose_template(tokenizer)
    tokenizer.chat_template = template
    ends = {
        head.keys[f"tokenizer.ggml.{end}_token_id"] for end in _ENDS if f"tokenizer.ggml.{end}_token_id" in head.keys
    }
    model.generation_config.eos_token_id = sorted(turn_ends(model, tokenizer) | ends)
    tell(FetchStep("convert", 3, _STEPS, "writing the folder"))
    dtype = str(model.dtype).removeprefix("torch.")
    _write(model, tokenizer, out)
    made = ModelCard(
        format=FORMAT,
        **{key: getattr(about, key) for key in ("name", "what", "licence", "source", "gguf", "notes")},
        architecture=head.architecture,
        parameters=sum(weight.numel() for weight in model.parameters()),
        dtype=dtype,
        dtype_reason=_DTYPE_REASON[dtype],
        compute="bfloat16",
        template=told,
        made_with={name: importlib.metadata.version(name) for name in ("transformers", "gguf")},
        files={path.name: path.stat().st_size for path in sorted(out.iterdir()) if path != source},
    )
    write_text(out / CARD, made.model_dump_json(indent=1) + "\n")
    tell(FetchStep("convert", _STEPS, _STEPS, "done"))


_DTYPE_REASON = {
    "float16": "float16 rounds dequantised weights eight times finer than bfloat16 at the same size; the config asks "
    "for bfloat16 to compute in on a GPU, whose range no activation leaves",
    "bfloat16": "a weight is larger than float16 can hold",
}


@dataclass(frozen=True)
class _Head:
    """What a GGUF file says of itself, weights and vocabulary apart; `numbers` counts all its tensors hold."""

    architecture: str
    numbers: int
    tensors: frozenset[str]
    keys: Mapping[str, Any]


def _head(source: Path) -> _Head:
    """Read a file's metadata and see that its tensors are all there."""
    try:
        reader = importlib.import_module("gguf").GGUFReader(source)
        fields = reader.fields
        wanted = ("general.architecture", "split.count", "tokenizer.ggml.model", "tokenizer.ggml.pre")
        said = [key for key in fields if key in wanted or key.endswith(("_token_id", ".context_length"))]
        keys = {key: fields[key].contents() for key in said}
        numbers = sum(int(tensor.n_elements) for tensor in reader.tensors)
        names = frozenset(str(tensor.name) for tensor in reader.tensors)
    except Exception as error:  # the reader raises what numpy, struct and the text decoder under it raise
        _pass_on(error)
        what = f"not a whole GGUF file: {_line(error)}"
        raise ModelError(what, where=source, remedy="fetch it again; half a download looks like this") from None
    if "general.architecture" not in keys or not names:
        raise ModelError("the GGUF file holds no model", where=source, remedy="name a file with weights")
    if int(keys.get("split.count", 1)) > 1:
        remedy = "join the parts first: llama-gguf-split --merge"
        raise ModelError("the file is one part of a split GGUF file", where=source, remedy=remedy)
    return _Head(str(keys["general.architecture"]), numbers, names, keys)


def _weights(source: Path, head: _Head) -> PreTrainedModel:
    """The model that a file holds, dequantised, in a form that can be saved.

    Raises:
        ModelError: transformers cannot read the file, or leaves weights out.
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
    except Exception as error:  # transformers, gguf and torch each raise their own kinds
        _pass_on(error)
        what = f"transformers cannot read a GGUF file of architecture '{head.architecture}': {_line(error)}"
        raise ModelError(what, where=source, remedy="use the model's own transformers folder: hf/PATH") from None
    read, told = loaded
    lost = [*told["missing_keys"], *(str(key) for key in told["mismatched_keys"])]
    numbers = sum(weight.numel() for weight in read.parameters())
    if lost or numbers != head.numbers:
        named = f", without {', '.join(sorted(map(str, lost))[:3])}" if lost else ""
        what = f"the file holds {head.numbers} weights and transformers makes a model of {numbers}{named}"
        raise ModelError(what, where=source, remedy="use the model's own transformers folder: hf/PATH")
    return _saveable(read)


def _saveable(read: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a new model of the same config, which knows of no quantisation, in 16 bits."""
    config = copy.deepcopy(read.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    largest = max(float(weight.detach().abs().max()) for weight in read.parameters())
    dtype = torch.float16 if largest < torch.finfo(torch.float16).max else torch.bfloat16
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config, dtype=dtype)
    made.load_state_dict({name: weight.to(dtype) for name, weight in read.state_dict().items()}, assign=True)
    made.tie_weights()
    made.generation_config = copy.deepcopy(read.generation_config)
    model: PreTrainedModel = made.eval()
    return model


def _tokenizer(source: Path, head: _Head) -> FastTokenizer:
    """The file's tokenizer, with every control token known as special.

    Raises:
        ModelError: transformers cannot build it, or would split text otherwise than the model learned.
    """
    remedy = "use the model's own transformers folder: hf/PATH"
    try:
        read = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    except Exception as error:  # transformers and tokenizers each raise their own kinds
        _pass_on(error)
        raise ModelError(f"the tokenizer cannot be read: {_line(error)}", where=source, remedy=remedy) from None
    backend, rule = read.backend_tokenizer, str(head.keys.get("tokenizer.ggml.pre", ""))
    if head.keys.get("tokenizer.ggml.model") == "gpt2":
        if rule in _SINGLE_DIGITS:
            backend.pre_tokenizer = pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            )
        elif rule not in (*_AS_GPT2, *_known_rules()):
            what = f"the tokenizer splits text by the rule '{rule}', which transformers does not know"
            raise ModelError(what, where=source, remedy=remedy)
    context = head.keys.get(f"{head.architecture}.context_length")
    named = {key: getattr(read, key) for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
    special = [token.content for token in read.added_tokens_decoder.values() if token.special]
    made = FastTokenizer(
        tokenizer_object=backend,
        **{key: str(token) for key, token in named.items() if token is not None},
        extra_special_tokens=[token for token in special if token not in named.values()],
        chat_template=read.chat_template,
        clean_up_tokenization_spaces=False,
        **({"model_max_length": int(context)} if context else {}),
    )
    for key in ("bos_token", "eos_token"):
        # Where the file names none, transformers would put one of its own.
        if named[key] is None:
            setattr(made, key, None)
    return made


def _known_rules() -> Sequence[str]:
    """The splitting rules of byte-level vocabularies that this transformers follows."""
    try:
        module = importlib.import_module("transformers.integrations.gguf.gguf_tokenizer_mapping")
    except ModuleNotFoundError:
        return ("qwen2", "llama-bpe")
    return tuple(getattr(module, "GGUF_PRE_TOKENIZER_SPLITS", ()))


def _write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> None:
    """Save both, then see that the tokenizer reads text the same when it is read back.

    Raises:
        StoreError: the disk is full.
        ModelError: the tokenizer comes back another.
    """
    try:
        model.save_pretrained(out)
        # The config names the format to compute in; the weights beside it know their own.
        config = copy.deepcopy(model.config)
        config.dtype = torch.bfloat16
        config.save_pretrained(out)
        tokenizer.save_pretrained(out)
    except Exception as error:  # tokenizers and safetensors raise bare kinds of their own when a disk is full
        _pass_on(error)
        what = f"the model cannot be written: {_line(error)}"
        raise StoreError(what, where=out, remedy="free some space and run again") from None
    back = AutoTokenizer.from_pretrained(out, local_files_only=True)
    if any(_ids(back, text) != _ids(tokenizer, text) for text in (_PROBE, "".join(tokenizer.all_special_tokens))):
        remedy = "use the model's own transformers folder: hf/PATH"
        raise ModelError("the tokenizer reads text differently once it is saved", where=out, remedy=remedy)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _pass_on(error: Exception) -> None:
    """Raise the operating system's own refusals again; transformers' OSErrors have no number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def _line(error: Exception) -> str:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return "".join(char for char in said if char.isprintable())[:300]
