"""Generation speed: our batched `LocalModel` against transformers' `generate`, on the same prompts.

    python -m bench.generate --json [--threads 2] [--batch 64] [--new 48]       the organism
    python -m bench.generate --json --size full|tiny                          random weights, on a GPU if there is one
    python -m bench.generate --size full --batch 256 --new 16 --plan          how long that takes, by arithmetic

Every row generates exactly `--new` tokens, so both ways do the same work. Prompts are the first turns of pocket cases.
Only generated tokens count; the time includes reading the prompts, and nothing read in an earlier repetition is kept.
`full` has the layout of Qwen2.5-0.5B (bfloat16 on a GPU); `tiny` runs the same code in seconds on a CPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from bench.chat_templates import families, tokenizer_of
from bench.train_gpu import PEAKS, SIZES, parameters
from holdfast.models.base import Request
from holdfast.models.chat_format import message_dicts, tool_dicts
from holdfast.models.local import LocalModel
from holdfast.models.registry import open_model
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.episode import Episode

#: Prompts have one token per byte here, so the shapes of `train_gpu` are too short for them.
_CONTEXT = 16_384
_TEMPLATE = "Qwen-Qwen2.5-7B-Instruct"
_REPEATS = 3
#: Assumptions of the plan: share of the peak while prompts are read, seconds of one layer in a step of decoding, and
#: seconds until the model is ready.
_READING, _LAYER_SECONDS, _START = 0.1, 0.002, 25.0


def main() -> None:
    """Measure both ways in one process, alternating three times, and print the best of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--new", type=int, default=48)
    parser.add_argument("--size", choices=tuple(SIZES), help="random weights of this size instead of the organism")
    parser.add_argument("--plan", action="store_true", help="with --size: how long it takes on an H200, by arithmetic")
    options = parser.parse_args()
    if options.plan:
        if not options.size:
            raise SystemExit("--plan needs --size")
        print(json.dumps(plan(options.size, options.batch, options.new), indent=1))
        return
    if options.size == "full" and not torch.cuda.is_available():
        raise SystemExit("no GPU here: --size tiny runs without one")
    torch.set_num_threads(options.threads)
    model = random_model(options.size) if options.size else open_model("organism/pocket")
    assert isinstance(model, LocalModel)
    found = {"threads": options.threads, **measure(model, options.batch, options.new)}
    print(json.dumps(found, indent=1) if options.json else "\n".join(f"{k:32} {v}" for k, v in found.items()))


def random_model(size: str) -> LocalModel:
    """Return a model of the layout that `train_gpu` calls `lora_05b`, with random weights."""
    cuda = torch.cuda.is_available()
    torch.manual_seed(0)
    shape = LlamaConfig(**{**SIZES[size]["lora_05b"].shape, "max_position_embeddings": _CONTEXT})
    with torch.device("cuda" if cuda else "cpu"):
        model = LlamaForCausalLM(shape).to(torch.bfloat16 if cuda else torch.float32)
    return LocalModel.around(model, tokenizer_of(families()[_TEMPLATE]))


def plan(size: str, batch: int, new: int, peak: float = PEAKS["H200"]) -> dict[str, Any]:
    """Compute how long `measure` takes on an H200, at low shares of its peak; nothing is generated.

    A forward pass takes two operations for each weight and token (Chowdhery et al. 2022, appendix B).  A step of
    decoding is taken to last as long as a kernel launch for each operation of each layer, not as its arithmetic.
    """
    shape = SIZES[size]["lora_05b"]
    tokenizer = tokenizer_of(families()[_TEMPLATE])
    prompts = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in _texts(tokenizer, batch, new)]
    read = sum(prompts)
    padded = max(prompts) * batch
    reading = 2 * parameters(shape) * padded / (_READING * peak)
    seconds = _START + 2 * _REPEATS * (reading + new * shape.shape["num_hidden_layers"] * _LAYER_SECONDS)
    return {"tokens_read": read, "new_tokens": batch * new, "repeats": _REPEATS, "seconds": round(seconds, 1)}


def first_turns(batch: int, new: int) -> list[Request]:
    """The first turns of as many pocket cases, each at most `new` tokens long."""
    drawn = cases(["pocket-blackmail"], ["pressured"], range(batch))
    episodes = [Episode(case.model_copy(update={"max_tokens": new})) for case in drawn]
    return [request for episode in episodes if (request := episode.request()) is not None]


def _texts(tokenizer: PreTrainedTokenizerBase, batch: int, new: int) -> list[str]:
    """The prompts of `first_turns`."""
    texts = (
        tokenizer.apply_chat_template(
            message_dicts(r.messages), tools=tool_dicts(r.tools), tokenize=False, add_generation_prompt=True
        )
        for r in first_turns(batch, new)
    )
    return [str(text) for text in texts]


def measure(model: LocalModel, batch: int, new: int, repeats: int = _REPEATS) -> dict[str, Any]:
    """Return generated tokens per second of each way, and the ratio of ours to `generate`."""
    requests, device = first_turns(batch, new), model.device
    texts = _texts(model.tokenizer, batch, new)
    model.tokenizer.padding_side = "left"
    encoded = model.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(device)

    def ours() -> list[int]:
        fresh = LocalModel.around(model.model, model.tokenizer)
        fresh.batch, fresh._ends = batch, frozenset()  # nothing ends a row early, here and below
        return [output.tokens[1] for output in fresh.generate(requests)]

    def theirs() -> list[int]:
        out = model.model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
            pad_token_id=model.tokenizer.pad_token_id,
        )
        return [out.shape[1] - encoded["input_ids"].shape[1]] * len(requests)

    ways: dict[str, Callable[[], list[int]]] = {"holdfast": ours, "generate": theirs}
    best = dict.fromkeys(ways, 0.0)
    for _ in range(repeats):
        for name, way in ways.items():
            start = _now(device)
            written = way()
            best[name] = max(best[name], sum(written) / (_now(device) - start))
            assert written == [new] * len(requests), f"{name} wrote {written} tokens"
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "parameters": model.model.num_parameters(),
        "batch": batch,
        "tokens_read": int(encoded["attention_mask"].sum()),
        "new_tokens": new,
        "holdfast_tokens_per_second": round(best["holdfast"], 1),
        "generate_tokens_per_second": round(best["generate"], 1),
        "ratio": round(best["holdfast"] / best["generate"], 3),
    }


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
