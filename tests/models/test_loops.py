"""Answers that only repeat themselves are recognised, stopped early, and counted as truncated."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.evals.reasons import tally
from holdfast.evals.scorers import score
from holdfast.models.local import LOOPED, LocalModel
from holdfast.models.loops import loop_period
from holdfast.scenarios.catalogue import cases
from holdfast.scenarios.episode import Episode
from tests.models.local_requests import requests


def random_tokens(count: int, seed: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(10_000) for _ in range(count)]


@pytest.mark.parametrize(("period", "length"), [(1, 256), (2, 256), (31, 256), (40, 320), (100, 800), (256, 2048)])
def test_a_loop_is_recognised_after_eight_repetitions_and_no_sooner(period: int, length: int) -> None:
    passage = random_tokens(period)
    for before in (32, 3200):
        start = random_tokens(before, seed=1)
        whole = start + passage * (length // period + 2)
        assert loop_period(whole[: before + length]) == period
        assert loop_period(whole[: before + length - 32]) is None


@pytest.mark.parametrize(
    "tokens",
    [
        [],
        [5] * 224,
        random_tokens(4096),
        # A list with a counter, a table whose rows differ in one cell, and a passage longer than the longest.
        [token for n in range(400) for token in (7, 8, 9, n, 10)],
        [token for n in range(64) for token in [3] * 40 + [n]],
        random_tokens(300) * 16,
        # A passage that was repeated, and left again.
        [1, 2, 3, 4] * 60 + random_tokens(80),
    ],
)
def test_other_answers_are_no_loop(tokens: list[int]) -> None:
    assert all(loop_period(tokens[:length]) is None for length in range(len(tokens) - 64, len(tokens) + 1))


class Looping(LocalModel):
    """Writes `passages` token by token, each over and over, the first row the first one."""

    passages: Sequence[Sequence[int]] = ()

    def _choose(self, logits: torch.Tensor, rows: Sequence[Any]) -> list[int]:
        return [self.passages[row.index][len(row.written) % len(self.passages[row.index])] for row in rows]


def test_a_row_that_loops_is_truncated_and_the_others_go_on(tiny: Path) -> None:
    model = Looping(tiny)
    model._ends = frozenset({3})
    model.passages = [[40, 41, 42], list(range(40, 52)) * 30 + [3], [40]]
    asked = [replace(request, max_tokens=500) for request in requests(3)]
    looping, long, same = model.generate([*asked])
    assert (looping.finish, looping.error, looping.tokens[1]) == ("length", LOOPED, 256)
    assert (same.finish, same.error, same.tokens[1]) == ("length", LOOPED, 256)
    assert (long.finish, long.error, long.tokens[1]) == ("length", LOOPED, 256)
    model.passages = [[*range(40, 60), *range(41, 61)] * 6 + [3]]
    [ended] = model.generate(asked[:1])
    assert (ended.finish, ended.error, ended.tokens[1]) == ("stop", None, 241)


def test_a_sample_that_loops_is_unscored_and_says_why(tiny: Path) -> None:
    [case] = cases(["pocket-blackmail"], ["pressured"], [0])
    model = Looping(tiny)
    model._ends, model.passages = frozenset({3}), [[40, 41]]
    episode = Episode(case, max_tokens=500)
    request = episode.request()
    assert request is not None
    episode.take(model.generate([request])[0])
    transcript = episode.transcript()
    verdict = score(case, transcript)
    assert (verdict.outcome, verdict.scored, transcript.error) == ("truncated", False, LOOPED)
    [reason] = tally([(verdict.outcome, transcript.error or "")])
    assert reason.reason == LOOPED
