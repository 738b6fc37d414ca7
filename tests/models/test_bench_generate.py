"""The generation row of `bench.generate` on random weights: both ways write the same number of tokens."""

import pytest

from bench import generate
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
