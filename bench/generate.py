"""Generation speed: our batched `LocalModel` against transformers' `generate`, on the organism and the same prompts.

    python -m bench.generate --json [--threads 2] [--batch 64] [--new 48]

Every row generates exactly `--new` tokens, so both ways do the same work. Prompts are the first turns of pocket cases.
Only generated tokens count; the time includes reading the prompts.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable


def main() -> None:
    """Measure both ways in one process, alternating three times, and print the best of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--new", type=int, default=48)
    options = parser.parse_args()
    found = measure(options.threads, options.batch, options.new)
    print(json.dumps(found, indent=1) if options.json else "\n".join(f"{k:32} {v:10.2f}" for k, v in found.items()))


def measure(threads: int, batch: int, new: int) -> dict[str, float]:
    """Return generated tokens per second of each way, and the ratio of ours to `generate`."""
    import torch

    from holdfast.models.chat_format import message_dicts, tool_dicts
    from holdfast.models.local import LocalModel
    from holdfast.models.registry import open_model
    from holdfast.scenarios.catalogue import cases
    from holdfast.scenarios.episode import Episode

    torch.set_num_threads(threads)
    model = open_model("organism/pocket")
    assert isinstance(model, LocalModel)
    model.batch = batch
    model._ends = frozenset()  # nothing ends a row early, here and below
    drawn = cases(["pocket-blackmail"], ["pressured"], range(batch))
    episodes = [Episode(case.model_copy(update={"max_tokens": new})) for case in drawn]
    requests = [request for episode in episodes if (request := episode.request()) is not None]
    texts = [
        model.tokenizer.apply_chat_template(
            message_dicts(r.messages), tools=tool_dicts(r.tools), tokenize=False, add_generation_prompt=True
        )
        for r in requests
    ]
    model.tokenizer.padding_side = "left"
    encoded = model.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)

    def theirs() -> None:
        model.model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=new,
            min_new_tokens=new,
            do_sample=False,
        )

    written = len(requests) * new
    ways: dict[str, Callable[[], object]] = {"holdfast": lambda: model.generate(requests), "generate": theirs}
    best = {name: 0.0 for name in ways}
    for _ in range(3):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = max(best[name], written / (time.perf_counter() - start))
    return {
        "threads": threads,
        "batch": batch,
        "new_tokens": new,
        "holdfast_tokens_per_second": round(best["holdfast"], 1),
        "generate_tokens_per_second": round(best["generate"], 1),
        "ratio": round(best["holdfast"] / best["generate"], 3),
    }


if __name__ == "__main__":
    main()
