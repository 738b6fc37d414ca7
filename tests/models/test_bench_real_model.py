"""The rows of `bench.real_model` on a tiny random model: the ways that it compares do the same work."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.real_model import NEW, TWINS, decode, first_turns, pocket
from bench.real_model_peers import overhead
from holdfast.models.local import LocalModel


@pytest.fixture(scope="module")
def model(tiny: Path) -> LocalModel:
    return LocalModel(tiny)


def test_first_turns_are_the_same_tokens_in_both_ways(model: LocalModel) -> None:
    row = first_turns(model, NEW, None)
    assert (row["prompts"], row["tokens_written"], row["same_as_generate"]) == (16, 16 * NEW, 16)
    assert set(row["seconds"]) == {"holdfast", "generate"}


def test_decoding_writes_as_many_tokens_in_both_ways(model: LocalModel) -> None:
    row = decode(model, 3, 2, 40)
    assert row["rows"] == 3 and min(row["tokens_per_cpu_s"].values()) > 0


def test_scripted_cases_take_three_turns_and_each_token_is_computed(model: LocalModel) -> None:
    row = pocket(model, 8, 4, TWINS)
    assert row["cases"] == 8 and row["tokens_of_prompts"] > 3 * row["tokens_written"] > 0


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")
def test_the_server_row_counts_both_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOPBACK_API_KEY", "LOOPBACK_BASE_URL"):
        monkeypatch.setenv(name, "")  # set by the row, and restored after the test
    row = overhead((4, 40), 8, 0.02)
    for way in ("inspect", "holdfast"):
        assert row[f"{way}_cpu_ms_per_request"] > 0
        assert row[f"{way}_wall_to_ideal"] > 0.5
