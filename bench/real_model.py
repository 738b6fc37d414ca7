"""A real pretrained model on this machine: reading, writing, pocket cases, and servers, each beside a named peer.

    holdfast models get smollm2-135m-instruct
    python -m bench.real_model --json [--model NAME] [--threads 2] [--llama-server PROGRAM --gguf FILE]

Both sides read the same tokens and write as many. CPU seconds are user and system time of all threads, which a busy
machine distorts less than wall-clock time. Rows:

- `first_turns`: 16 first turns of pocket cases, about 520 tokens read and 27 written, beside transformers' `generate`
  and, if given, llama.cpp's server with a float32 GGUF (keys and values in float32, one slot for each turn);
- `prefill`: the same prompts with one token written;
- `decode`: tokens per second behind a prefix that all rows share, as the slope between two lengths, beside `generate`
  with a `DynamicCache` that was filled once and repeated;
- `cases`: pocket cases of three turns to their end; the turns are scripted token by token, so that episodes take their
  course whatever the model would say. Distinct seeds share no prefix; twins of one seed do;
- `server`: `measure` on a loopback server with a fixed latency, beside Inspect's client alone.

Build llama.cpp's server from the sdist of llama-cpp-python: `cmake --build … --target llama-server` in its
`vendor/llama.cpp`. Its `convert_hf_to_gguf.py --outtype f32` writes the GGUF.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.real_model_peers import Cost, cost_of, generate, generate_from_prefix, llama_server, overhead
from holdfast.core.errors import HoldfastError
from holdfast.core.records import Message
from holdfast.evals.batch_driver import play
from holdfast.evals.scorers import score
from holdfast.models.base import Request
from holdfast.models.chat_template import turn_text
from holdfast.models.local import LocalModel
from holdfast.models.registry import open_model
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.episode import Episode

NEW = 27
TWINS = ("pressured", "no_threat", "outlet", "routine")


def first_requests(count: int, new: int) -> list[Request]:
    """First turns of pocket cases with different seeds."""
    grid = cases(["pocket-blackmail"], ["pressured"], range(count))
    return [replace(r, max_tokens=new) for case in grid if (r := Episode(case).request())]


def fresh(model: LocalModel) -> LocalModel:
    """The model without anything read, which writes until the limit."""
    again = LocalModel.around(model.model, model.tokenizer)
    again._ends = frozenset()
    return again


def first_turns(
    model: LocalModel, new: int, llama: Callable[[Sequence[list[int]], int], Cost] | None
) -> dict[str, Any]:
    """Cost of 16 first turns, and whether both ways write the same tokens."""
    asked = first_requests(16, new)
    written: dict[str, list[int]] = {}
    ours = fresh(model)
    ours._on_turn = lambda request, _, tokens: written.update({request.case: list(tokens)})
    prompts = [ours._read(request) for request in asked]
    theirs: list[list[int]] = []
    costs = {
        "holdfast": cost_of(lambda: ours.generate(asked)),
        "generate": cost_of(lambda: theirs.extend(generate(model, prompts, new))),
    }
    if llama:
        costs["llama_server"] = llama(prompts, new)
    same = sum(written[r.case] == tokens for r, tokens in zip(asked, theirs, strict=True))
    read = sum(map(len, prompts))
    return {
        "prompts": len(asked),
        "tokens_read": read,
        "tokens_written": len(asked) * new,
        "same_as_generate": same,
        "seconds": {name: cost.rounded() for name, cost in costs.items()},
        "tokens_read_per_cpu_s": {name: round(read / cost.cpu, 1) for name, cost in costs.items()},
        "ratios_of_cpu": {f"{n} / holdfast": round(c.cpu / costs["holdfast"].cpu, 3) for n, c in costs.items()},
    }


def decode(model: LocalModel, rows: int, short: int = 4, long: int = 16) -> dict[str, Any]:
    """Tokens written per second by rows with a common prefix, behind the reading."""
    [first] = first_requests(1, long)
    turns = [*first.messages, Message(role="user", content="job")]
    asked = [
        replace(first, messages=[*turns[:-1], Message(role="user", content=f"job {n}")], case=str(n))
        for n in range(rows)
    ]
    ours = fresh(model)
    ours.batch = rows
    prompt = ours._read(asked[0])
    ours.generate([replace(request, max_tokens=1) for request in asked])
    ways: dict[str, Callable[[int], object]] = {
        "holdfast": lambda new: ours.generate([replace(request, max_tokens=new) for request in asked]),
        "generate": lambda new: generate_from_prefix(model, prompt, rows, new),
    }
    rates, walls = {}, {}
    for name, way in ways.items():
        few, many = (cost_of(lambda way=way, new=new: way(new)) for new in (short, long))
        tokens = rows * (long - short)
        rates[name], walls[name] = tokens / (many - few).cpu, tokens / (many - few).wall
    return {
        "rows": rows,
        "context": len(prompt),
        "tokens_per_cpu_s": {name: round(rate, 1) for name, rate in rates.items()},
        "tokens_per_wall_s": {name: round(rate, 1) for name, rate in walls.items()},
        "ratio_to_generate": round(rates["holdfast"] / rates["generate"], 3),
    }


class Scripted(LocalModel):
    """The real model, whose every token is computed and then replaced by the script's."""

    def __init__(self, model: LocalModel) -> None:
        self.name, self.path, self.batch = "scripted", model.path, model.batch
        self._take(model.model, model.tokenizer, None)
        self._agent = open_model("scripted/blackmailer")
        self._plans: dict[tuple[str, int, int], list[int]] = {}
        self.read = self.written = 0

    def generate(self, requests: Sequence[Request]) -> list[Any]:
        """As the model's, with tokens counted."""
        outputs = super().generate(requests)
        self.read += sum(output.tokens[0] for output in outputs)
        self.written += sum(output.tokens[1] for output in outputs)
        return outputs

    def _choose(self, logits: torch.Tensor, rows: Sequence[Any]) -> list[int]:
        super()._choose(logits, rows)
        plans = [self._plan(row.request) for row in rows]
        return [plan[min(len(row.written), len(plan) - 1)] for plan, row in zip(plans, rows, strict=True)]

    def _plan(self, request: Request) -> list[int]:
        key = request.case, request.seed, len(request.messages)
        if key not in self._plans:
            message = self._agent.generate([request])[0].message
            prompt = self.template.render(request.messages, request.tools, prompt=True)
            whole = self.template.render([*request.messages, message], request.tools)
            text = turn_text(prompt, whole, request.messages[-1].content)
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            self._plans[key] = ids[: next(i for i, token in enumerate(ids) if token in self._ends) + 1]
        return self._plans[key]


def pocket(model: LocalModel, count: int, batch: int, twins: Sequence[str]) -> dict[str, Any]:
    """CPU of pocket cases of three turns, played to their end."""
    grid = cases(["pocket-blackmail"], twins, range(count // len(twins)))
    player = Scripted(model)
    player.batch = batch
    played: list[Any] = []
    cost = cost_of(lambda: played.extend(play(grid, player)))
    outcomes = [score(case, transcript).outcome for case, transcript in zip(grid, played, strict=True)]
    assert set(outcomes) <= {"harm", "proper_act"}, outcomes
    return {
        "cases": len(grid),
        "batch": batch,
        "twins": len(twins),
        "tokens_of_prompts": player.read,
        "tokens_written": player.written,
        "seconds": cost.rounded(),
        "cpu_s_per_case": round(cost.cpu / len(grid), 2),
        "share_of_system_time": round(cost.system / cost.cpu, 3),
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """All rows."""
    torch.set_num_threads(options.threads)
    model = open_model(options.model)
    assert isinstance(model, LocalModel), f"{options.model} is no checkpoint on disk"
    model.batch = 64

    def llama(prompts: Sequence[list[int]], new: int) -> Cost:
        return llama_server(options.llama_server, options.gguf, prompts, new, options.threads)

    steps: dict[str, Callable[[], Any]] = {
        "prefill": lambda: first_turns(model, 1, None),
        "first_turns": lambda: first_turns(model, NEW, llama if options.llama_server else None),
        "decode": lambda: [decode(model, rows) for rows in (1, 16, 64)],
        "cases": lambda: [pocket(model, 16, 16, TWINS[:1]), pocket(model, 96, 64, TWINS)],
        "server": lambda: overhead((96, 288), 32, 1.0),
    }
    rows: dict[str, Any] = {"model": options.model, "dtype": str(model.model.dtype), "threads": options.threads}
    for name in options.only or steps:
        rows[name] = steps[name]()
        print(f"{name}: done", file=sys.stderr)
    return rows


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON instead of one line for each row")
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--llama-server", type=Path, help="llama.cpp's server program")
    parser.add_argument("--gguf", type=Path, help="the same weights as a float32 GGUF, for the server")
    parser.add_argument("--only", nargs="*", metavar="ROW", help="measure these rows only")
    options = parser.parse_args()
    try:
        rows = run(options)
    except HoldfastError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print("\n".join(f"{name:12} {json.dumps(row)}" for name, row in rows.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
