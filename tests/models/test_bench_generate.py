"""The generation row of `bench.generate` on random weights: both ways write the same number of tokens."""

import re
from pathlib import Path

import pytest

from bench import generate, train_gpu
from bench.generate import measure, random_model
from holdfast.models.base import Output


def test_both_ways_write_all_tokens_of_a_random_model() -> None:
    row = measure(random_model("tiny"), 2, 3, repeats=1)
    assert (row["device"], row["batch"], row["new_tokens"]) == ("CPU", 2, 3)
    assert row["tokens_read"] > 1000 and row["holdfast_tokens_per_second"] > 0 and row["ratio"] > 0


def test_a_way_that_writes_fewer_tokens_is_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(model: object, requests: list[object]) -> list[Output]:
        return [Output(None, tokens=(1, 2)) for _ in requests]  # type: ignore[arg-type]

    monkeypatch.setattr(generate.LocalModel, "generate", short)
    with pytest.raises(AssertionError, match=r"holdfast wrote \[2, 2\] tokens"):
        measure(random_model("tiny"), 2, 3, repeats=1)


@pytest.mark.slow
def test_the_script_for_a_gpu_fits_its_limits_and_ten_minutes_by_arithmetic() -> None:
    script = Path(generate.__file__).with_name("gpu.sh").read_text()
    limits = {name: int(limit) for name, limit in re.findall(r"(train|generate)_limit=(\d+)", script)}
    [(batch, new)] = re.findall(r"= full \]; then generation\+=\(--batch (\d+) --new (\d+)\)", script)
    training, generation = train_gpu.plan("full"), generate.plan("full", int(batch), int(new))
    assert training["seconds"] < 0.8 * limits["train"]
    assert generation["seconds"] < 0.8 * limits["generate"]
    assert sum(limits.values()) <= 600
    assert 7e9 < training["lora_8b"]["parameters"] < 9e9
    # Four operations for each frozen weight and two for each adapter's, at least.
    assert training["lora_8b"]["flops_per_token"] > 4 * 6.9e9
    assert train_gpu.plan("full", peak=train_gpu.PEAKS["A100"])["seconds"] > training["seconds"]
