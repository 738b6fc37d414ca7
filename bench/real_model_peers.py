"""What `bench.real_model` compares with: transformers' `generate`, llama.cpp's server, and Inspect without Holdfast."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from inspect_ai.model import GenerateConfig

from holdfast.models.api import inspect_messages, tool_infos
from holdfast.models.base import Request
from holdfast.models.budget import Budget
from holdfast.models.local import LocalModel
from holdfast.models.pool import RateLimits
from holdfast.models.registry import open_model
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.episode import Episode
from holdfast.scenarios.suite import Suite
from holdfast.study.measure import MeasureConfig, measure


@dataclass(frozen=True)
class Cost:
    """Seconds that something took."""

    wall: float
    user: float
    system: float

    @property
    def cpu(self) -> float:
        """Seconds of CPU, of all threads."""
        return self.user + self.system

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.user - other.user, self.system - other.system)

    def rounded(self) -> dict[str, float]:
        """As numbers for JSON."""
        return {name: round(value, 2) for name, value in asdict(self).items()}


def cost_of(work: Callable[[], object]) -> Cost:
    """Run something in this process and measure it."""

    def now() -> Cost:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Cost(time.perf_counter(), used.ru_utime, used.ru_stime)

    start = now()
    work()
    return now() - start


# ------------------------------------------------------------------------------------------------------- transformers


def generate(model: LocalModel, prompts: Sequence[list[int]], new: int) -> list[list[int]]:
    """Continue prompts by `new` tokens with transformers' `generate`, in one left-padded batch."""
    model.tokenizer.padding_side = "left"
    rows = model.tokenizer.pad({"input_ids": list(prompts)}, return_tensors="pt")
    length = rows["input_ids"].shape[1]
    with _endless(model) as pad:
        out = model.model.generate(**rows, max_new_tokens=new, do_sample=False, pad_token_id=pad)
    tokens: list[list[int]] = out[:, length:].tolist()
    return tokens


@contextmanager
def _endless(model: LocalModel) -> Iterator[int]:
    """Let no token end a row: `min_new_tokens` would forbid the end token instead, and so change the text."""
    config = model.model.generation_config
    ends, config.eos_token_id = config.eos_token_id, None
    try:
        yield model.tokenizer.pad_token_id or 0
    finally:
        config.eos_token_id = ends


def generate_from_prefix(model: LocalModel, prompt: list[int], rows: int, new: int) -> None:
    """Continue one prompt in many rows, with its keys and values computed once and repeated (`DynamicCache`)."""
    ids = torch.tensor([prompt])
    with torch.inference_mode(), _endless(model) as pad:
        cache = model.model(ids[:, :-1], use_cache=True, logits_to_keep=1)[model._cache_name]
        cache.batch_repeat_interleave(rows)
        model.model.generate(
            ids.repeat(rows, 1),
            attention_mask=torch.ones(rows, len(prompt), dtype=torch.long),
            **{model._cache_name: cache},
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=pad,
        )


# ---------------------------------------------------------------------------------------------------------- llama.cpp


def llama_server(program: Path, gguf: Path, prompts: Sequence[list[int]], new: int, threads: int) -> Cost:
    """Continue prompts by `new` tokens with llama.cpp's server, all at the same time; the server's CPU is counted.

    Keys and values are float32, as the weights of a float32 GGUF are.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    slots = len(prompts)
    context = slots * (max(map(len, prompts)) + new + 8)
    given = ["-m", gguf, "-c", context, "-np", slots, "-t", threads, "-tb", threads, "--port", port, "-b", 2048]
    precise = ["-ctk", "f32", "-ctv", "f32", "-fa", "off", "--no-webui", "--no-warmup", "--no-kv-unified"]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(program.parent)}
    with tempfile.TemporaryFile() as log:
        command = [str(part) for part in [program, *given, *precise]]
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            _ready(port, server)
            process = psutil.Process(server.pid)
            _complete(port, [5, 6, 7], 2)
            before, start = process.cpu_times(), time.perf_counter()
            with ThreadPoolExecutor(slots) as pool:
                written = list(pool.map(lambda prompt: _complete(port, prompt, new), prompts))
            wall, after = time.perf_counter() - start, process.cpu_times()
        finally:
            server.kill()
            server.wait()
    assert written == [new] * slots, written
    return Cost(wall, after.user - before.user, after.system - before.system)


def _ready(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is not None:
            raise SystemExit(f"the llama.cpp server ended with code {server.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the llama.cpp server did not start within 2 minutes")


def _complete(port: int, prompt: list[int], new: int) -> int:
    """Number of tokens that the server has written."""
    body = {"prompt": prompt, "n_predict": new, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    head = {"content-type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", json.dumps(body).encode(), head)
    with urllib.request.urlopen(request) as answer:
        return int(json.load(answer)["tokens_predicted"])


# ------------------------------------------------------------------------------------------------------ behind a server

_NAME = "openai-api/loopback/any"


def overhead(sizes: tuple[int, int], at_once: int, seconds: float) -> dict[str, Any]:
    """Cost of `holdfast measure` on a server that answers after a fixed time, and of Inspect's client alone.

    All figures are slopes between two numbers of requests, so that imports, start and report are in none. Each case is
    one request; ours include its making, its verdict and its files.
    """
    suite = Suite(title="t", asked="?", worlds=("pocket-blackmail",), twins=("pressured",))
    asked = [r for case in cases(suite.worlds, suite.twins, range(sizes[1])) if (r := Episode(case).request())]

    def ours(requests: int) -> None:
        order = MeasureConfig(suite, _NAME, range(requests), manners=RateLimits(at_once=at_once), skip_probe=True)
        with tempfile.TemporaryDirectory() as folder:
            model = open_model(_NAME, network=True)
            measure(order, Path(folder) / "out", model, Budget({_NAME}, None, None, batch=False))

    def inspect(requests: int) -> None:
        asyncio.run(_inspect(asked[:requests], at_once))

    found: dict[str, Any] = {"requests": sizes, "at_once": at_once, "latency_s": seconds}
    ideal = (sizes[1] - sizes[0]) / at_once * seconds
    with _slow(seconds):
        for name, way in {"inspect": inspect, "holdfast": ours}.items():
            way(8)  # imports and caches are warmed outside the measure
            few, many = (cost_of(lambda way=way, size=size: way(size)) for size in sizes)
            found[f"{name}_cpu_ms_per_request"] = round((many - few).cpu / (sizes[1] - sizes[0]) * 1e3, 2)
            found[f"{name}_wall_to_ideal"] = round((many - few).wall / ideal, 3)
    return found


@contextmanager
def _slow(seconds: float) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.slow_server", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            os.environ.update(LOOPBACK_API_KEY="none", LOOPBACK_BASE_URL=f"http://127.0.0.1:{port}/v1")
            yield
        finally:
            server.kill()


async def _inspect(asked: Sequence[Request], at_once: int) -> None:
    """The same requests through Inspect's model, without pool, budget, episodes, verdicts and files."""
    model: Any = open_model(_NAME, network=True)
    places = asyncio.Semaphore(at_once)

    async def one(request: Request) -> None:
        config = GenerateConfig(max_connections=4096, max_tokens=request.max_tokens, temperature=0.0, seed=0)
        async with places:
            await model._model.generate(inspect_messages(request.messages), tool_infos(request.tools), config=config)

    await asyncio.gather(*(one(request) for request in asked))
    await model.aclose()
