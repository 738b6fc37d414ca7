"""Training speed: our loop, a bare torch loop and TRL in several ways, on the same rows of the same model.

    python -m bench.train --json [--threads 1] [--tokens 30000]      the organism's shape, and the cost of safety probes
    python -m bench.train --model smollm2-135m-instruct --json [--lora 16] [--threads 2] [--tokens 8000]
                                                                     a pretrained model, fetched before
    python -m bench.train --device cuda --json [--size tiny]         a GPU; see bench.train_gpu

Each way runs in a separate process, so that none inherits another's memory. Rows have 100 to 400 tokens, a fifth of
them supervised, as in chats. Token counts exclude padding. Ratios compare tokens per CPU second after the first steps,
because other load on the machine affects CPU time least. Losses are compared step by step if the batches are equal.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

TRL_BEST = ("trl_grouped", "trl_packed", "trl_packed_sdpa")
WAYS = ("loop", "loop_packed", "bare", "trl_path", *TRL_BEST, "trl_default")
DTYPES = ("float32", "bfloat16")
#: Targets for tokens per CPU second: (our way, other way) → ratio to reach.
TARGETS = {
    ("loop", "bare"): 0.95,
    ("loop", "trl_best"): 1.5,
    ("loop", "trl_default"): 4.0,
    ("trl_path", "trl_best"): 0.95,
}
_SUPERVISED = 0.2
_WARM = 2  # steps left out of the rate: the first ones allocate


def main() -> None:
    """Run every way in turn and print one JSON object, or a table."""
    options = _options()
    if options.way:
        measured = watched if options.way == "watched" else measure
        print(json.dumps(measured(options.way, options)))
        return
    if options.device == "cuda":
        from bench.train_gpu import plan, run

        print(json.dumps((plan if options.plan else run)(options.size), indent=1))
        return
    found: dict[str, Any] = {"threads": options.threads, "tokens": options.tokens}
    found |= {"model": options.model or "organism-shaped", "lora": options.lora}
    for dtype in options.dtypes.split(","):
        ways = {way: _child(way, dtype, options) for way in WAYS}
        found[dtype] = compare(ways)
    if not options.model:
        found["watched"] = _child("watched", "float32", options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for dtype in options.dtypes.split(","):
        for name, way in found[dtype]["ways"].items():
            rate, cpu = way["tokens_per_second"], way["tokens_per_cpu_second"]
            print(f"{dtype:9} {name:11} {rate:7.0f} tok/s {cpu:7.0f} tok/cpu-s {way['peak_mib']:6.0f} MiB")
        for name, ratio in found[dtype]["ratios"].items():
            print(f"{dtype:9} {name:24} {ratio['is']:5.2f}  (target {ratio['target']})")
    if probes := found.get("watched"):
        print(f"safety probes took {probes['share']:.1%} of the training time in {probes['looks']} probes")


def compare(ways: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Ratios against their targets, and the largest relative difference of a step's loss from the loop's."""
    rates = {name: way["tokens_per_cpu_second"] for name, way in ways.items()}
    rates["trl_best"] = max(rates[way] for way in TRL_BEST)
    ratios = {
        f"{ours} / {theirs}": {"is": rates[ours] / rates[theirs], "target": target}
        for (ours, theirs), target in TARGETS.items()
    }
    losses = {name: way.pop("losses") for name, way in ways.items()}
    differences = {
        name: max(abs(a - b) / b for a, b in zip(losses[name], losses["loop"], strict=True))
        for name in ("loop_packed", "bare", "trl_path")
    }
    return {"ways": ways, "ratios": ratios, "loss_difference": differences}


def measure(way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train once in this process.

    Returns:
        `tokens_per_second` and `tokens_per_cpu_second` after the first steps; `startup_seconds` from the start of this
        function to the end of the first step, imports included; `peak_mib` of resident memory; `losses` of the steps,
        if the way uses our batches.
    """
    began = time.perf_counter()
    import torch

    from bench.train_shapes import TRL, bare_loop, organism_shaped, pretrained, random_rows, tiny_tokenizer, trl_alone
    from holdfast.train.batches import plan_batches
    from holdfast.train.config import TrainConfig
    from holdfast.train.loop import Hooks, optimise
    from holdfast.train.objective import Imitation
    from holdfast.train.trl_engine import train_with_trl

    torch.set_num_threads(options.threads)
    attention = "sdpa" if way == "loop_packed" else TRL[way][0] if way in TRL else "eager"
    settings: dict[str, Any] = {
        "warmup": 0.0,
        "schedule": "constant",
        "lr": 3e-4,
        "trl": {"packing": way == "loop_packed"},
    }
    if options.model:
        settings["batch_tokens"] = 1024  # a CPU takes seconds for a step of a pretrained model
    config = TrainConfig.model_validate({"dtype": options.dtype, "lora": options.lora, **settings})
    model = pretrained(options.model, attention, config) if options.model else organism_shaped(attention)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    rows = random_rows(max(10 if options.model else 40, options.tokens // 250), _SUPERVISED, vocabulary)
    ticks: list[tuple[float, float]] = []
    losses: list[float] = []

    def tick(_: object = None) -> None:
        ticks.append((time.perf_counter(), time.process_time()))

    if way in ("loop", "loop_packed"):
        losses = [log.loss for log in optimise(model, Imitation(model, rows, config), config, Hooks(tick))]
    elif way == "bare":
        losses = bare_loop(model, rows, config, tick)
    elif way == "trl_path":
        losses = [log.loss for log in train_with_trl(model, tiny_tokenizer(), rows, config, Hooks(tick))]
    else:
        trl_alone(model, rows, config, way, tick)
    sizes = [sum(len(rows[at]) for at in step) for step in plan_batches(rows, config)]
    # TRL's own steps are all of about one size; ours are known.
    warm = _WARM if losses else 1
    timed = sum(sizes[warm:]) if losses else sum(sizes) * (1 - warm / len(ticks))
    wall, cpu = (ticks[-1][clock] - ticks[warm - 1][clock] for clock in (0, 1))
    return {
        "tokens_per_second": timed / wall,
        "tokens_per_cpu_second": timed / cpu,
        "startup_seconds": ticks[0][0] - began,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "losses": losses,
    }


def watched(_way: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train the organism on ten times as many tokens with a safety probe due every ten steps, and measure its cost.

    Returns:
        `share` of the training time that probes took, `looks` (probes run), `asked` (probes due), `seconds` per probe.
    """
    import tempfile
    from pathlib import Path

    import torch

    from bench.train_shapes import random_rows
    from holdfast.models.checkpoints import checkpoint_path
    from holdfast.study.curves import probe_callback
    from holdfast.train.config import TrainConfig
    from holdfast.train.loop import Hooks, optimise
    from holdfast.train.objective import Imitation
    from holdfast.train.safety_probe import SafetyProbe
    from holdfast.train.weights import load_checkpoint

    torch.set_num_threads(options.threads)
    config = TrainConfig.model_validate({"dtype": options.dtype, "tokens": 10 * options.tokens, "lr": 1e-6})
    model, tokenizer = load_checkpoint(checkpoint_path("organism/pocket"), config)
    rows = random_rows(400, _SUPERVISED, vocabulary=int(model.config.vocab_size))
    with tempfile.TemporaryDirectory() as folder:
        probe = SafetyProbe(probe_callback(10), tokenizer, Path(folder))
        logs = optimise(model, Imitation(model, rows, config), config, Hooks(probe=probe))
    trained = sum(log.seconds for log in logs)
    return {
        "share": probe.seconds / trained,
        "looks": len(probe.points),
        "asked": len(logs) // 10 + 2,
        "seconds": probe.seconds / len(probe.points),
        "trained_seconds": trained,
    }


def _child(way: str, dtype: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.train", "--way", way, "--dtype", dtype]
    command += ["--threads", str(options.threads), "--tokens", str(options.tokens)]
    command += ["--model", options.model, "--lora", str(options.lora)]
    surroundings = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=surroundings)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=30_000, help="tokens each way trains on")
    parser.add_argument(
        "--model", default="", help="a fetched model's name or hf/PATH in place of the organism's shape"
    )
    parser.add_argument("--lora", type=int, default=0, help="rank of adapters, with --model only")
    parser.add_argument("--dtypes", default=",".join(DTYPES), help="which precisions, with commas between")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--plan", action="store_true", help="with --device cuda: how long it takes, by arithmetic")
    parser.add_argument(
        "--size", choices=("full", "tiny"), default="full", help="of the GPU's models; tiny runs anywhere"
    )
    parser.add_argument("--way", choices=(*WAYS, "watched"), help=argparse.SUPPRESS)
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
