"""The tree of keys and values: what it finds, what it removes when memory is short, and which prefixes are shared."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from holdfast.models.free_memory import free_bytes
from holdfast.models.prefix_tree import PrefixTree, shared_prefixes

if TYPE_CHECKING:
    from holdfast.models.prefix_tree import Layers

TOKEN_BYTES = 2 * 4 * 2  # keys and values, two heads of width 1 in float32


def of(ids: Sequence[int], start: int = 0) -> Layers:
    """Keys that tell which tokens they stand for, and values that are their negatives."""
    keys = torch.tensor([ids[start:]] * 2, dtype=torch.float32)[:, :, None]
    return [(keys, -keys)]


def put(tree: PrefixTree, ids: list[int]) -> bool:
    return tree.put(ids, TOKEN_BYTES, lambda start: of(ids, start))


def stored(tree: PrefixTree, ids: list[int]) -> list[int]:
    """The tokens that the tree has keys and values of; checks that they are the right ones."""
    prefix = tree.match(ids, len(ids))
    found = list(prefix.tensors(0))
    tokens = [int(token) for keys, _ in found for token in keys[0, :, 0]]
    assert tokens == ids[: prefix.length]
    assert [-int(token) for _, values in found for token in values[1, :, 0]] == tokens
    return tokens


def test_sequences_share_what_they_begin_with() -> None:
    tree = PrefixTree(10_000)
    assert put(tree, [1, 2, 3, 4]) and put(tree, [1, 2, 7, 8, 9]) and put(tree, [1, 2, 3, 4, 5])
    assert tree.held == TOKEN_BYTES * len([1, 2, 3, 4, 7, 8, 9, 5])
    assert stored(tree, [1, 2, 7, 8, 0]) == [1, 2, 7, 8]
    assert stored(tree, [1, 2, 3, 4, 5, 6]) == [1, 2, 3, 4, 5]
    assert stored(tree, [2, 3]) == []
    assert tree.match([1, 2, 3, 4], 3).length == 3


def test_random_sequences_are_found_as_a_plain_search_finds_them() -> None:
    rng, tree, known = random.Random(1), PrefixTree(10**6), []
    for _ in range(200):
        ids = [rng.randrange(3) for _ in range(rng.randrange(1, 12))]
        best = max((agreeing(ids, other) for other in known), default=0)
        assert len(stored(tree, ids)) == best
        put(tree, ids)
        known.append(ids)
        assert tree.held == TOKEN_BYTES * len({tuple(k[: i + 1]) for k in known for i in range(len(k))})


def agreeing(first: list[int], second: list[int]) -> int:
    return sum(first[:n] == second[:n] for n in range(1, min(len(first), len(second)) + 1))


def test_what_earlier_rounds_used_goes_first_and_this_round_loses_nothing() -> None:
    tree = PrefixTree(0)
    limit = 12 * TOKEN_BYTES
    tree.begin_round(limit)
    assert put(tree, [1, 1, 1, 1]) and put(tree, [2, 2, 2, 2]) and put(tree, [3, 3, 3, 3])
    # Removing the oldest of the round would keep none of a round that does not fit.
    assert not put(tree, [4, 4, 4, 4])
    assert [len(stored(tree, [n] * 4)) for n in (1, 2, 3, 4)] == [4, 4, 4, 0]
    tree.begin_round(limit)
    assert len(stored(tree, [2, 2, 2, 2])) == 4
    assert put(tree, [4, 4, 4, 4])
    assert [len(stored(tree, [n] * 4)) for n in (2, 4)] == [4, 4]
    assert sorted(len(stored(tree, [n] * 4)) for n in (1, 3)) == [0, 4]
    assert tree.held <= limit


def test_an_ended_episode_goes_before_others_and_a_lower_limit_takes_effect_at_once() -> None:
    tree = PrefixTree(0)
    tree.begin_round(8 * TOKEN_BYTES)
    put(tree, [1, 1, 1, 1])
    put(tree, [2, 2, 2, 2])
    tree.release([2, 2, 2, 2])
    assert put(tree, [3, 3, 3, 3])
    assert [len(stored(tree, [n] * 4)) for n in (1, 2, 3)] == [4, 0, 4]
    tree.begin_round(4 * TOKEN_BYTES)
    assert tree.held <= 4 * TOKEN_BYTES
    tree.begin_round(0)
    assert tree.held == 0 and not put(tree, [5])


def test_shared_prefixes_are_branching_points_far_enough_apart() -> None:
    system, tools = list(range(20)), list(range(100, 120))
    rows = [[*system, *tools, 1, 5], [*system, *tools, 2, 5], [*system, 3, 5], [*system, *tools, 1, 5], [7, 8]]
    assert shared_prefixes(rows, 16) == [[system], [[*system, *tools]]]
    assert shared_prefixes(rows, 21) == [[[*system, *tools]]]
    assert shared_prefixes(rows, 42) == []
    # The last token is always left to read, so equal rows share all but that.
    assert shared_prefixes([system, system], 16) == [[system[:-1]]]
    assert shared_prefixes([system], 1) == [] == shared_prefixes([[1], [1]], 1)


def test_random_rows_share_each_prefix_once() -> None:
    rng = random.Random(2)
    for _ in range(50):
        rows = [[rng.randrange(2) for _ in range(rng.randrange(1, 14))] for _ in range(rng.randrange(1, 9))]
        levels = shared_prefixes(rows, 2)
        prefixes = [tuple(prefix) for level in levels for prefix in level]
        assert len(set(prefixes)) == len(prefixes)
        for prefix in prefixes:
            assert sum(tuple(row[:-1][: len(prefix)]) == prefix for row in rows) >= 2
        for depth, level in enumerate(levels[1:]):
            assert all(any(prefix[: len(up)] == up for up in levels[depth]) for prefix in level)


@pytest.mark.parametrize(
    ("limit", "use", "stat", "expected"),
    [
        ("max", "5", "inactive_file 0", None),
        ("1000", "900", "anon 1\ninactive_file 50", 150),
        ("1000", "1500", "inactive_file 0", 0),
        ("9" * 18, "0", "inactive_file 0", None),
    ],
)
def test_a_container_has_what_its_limit_leaves(
    tmp_path: Path, limit: str, use: str, stat: str, expected: int | None
) -> None:
    whole = free_bytes(tmp_path)
    assert whole > 2**20
    for name, text in (("max", limit), ("current", use), ("stat", stat)):
        (tmp_path / f"memory.{name}").write_text(text + "\n")
    if expected is None:
        assert abs(free_bytes(tmp_path) - whole) < 0.5 * whole
    else:
        assert free_bytes(tmp_path) == expected
