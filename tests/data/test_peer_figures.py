"""The figures of public sets: read from files of several forms, stored with the package, shown beside a set's own."""

import gzip
import json
import tomllib
from pathlib import Path

import pytest

from bench.lessons import faults_of, peer_table
from holdfast.cli.main import run
from holdfast.core.errors import InputError
from holdfast.data.quality.check import check_set
from holdfast.data.quality.peers import PeerFigures, measure_peer, peer_texts, sample_texts, stored_peer

ANSWERS = [f"answer number {i} is about the colour of the {word} door" for i, word in enumerate("abcdefghij")]


def rows(path: Path, lines: list[object]) -> Path:
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_answers_are_read_from_dialogues_fields_and_messages(tmp_path: Path) -> None:
    dialogue = (
        "\n\nHuman: one?\n\nAssistant: no, that is the first.\n\nHuman: two?\n\nAssistant: this is the last answer"
    )
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a turn of five words"}]
    lines: list[object] = [
        {"chosen": dialogue, "rejected": "never read by any of it"},
        {"output": "an output of five words"},
        {"response": "a response of five words"},
        {"messages": turns},
        {"text": "too short"},
        ["no object"],
    ]
    found = peer_texts(rows(tmp_path / "set.jsonl.gz", lines))
    assert found == [
        "this is the last answer",
        "an output of five words",
        "a response of five words",
        "a turn of five words",
    ]


@pytest.mark.parametrize("data", [b"{", b'{"prompt": "nothing that is an answer"}\n', b"\x1f\x8b"])
def test_a_file_without_answers_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl.gz"
    path.write_bytes(gzip.compress(data) if data[:1] != b"\x1f" else data)
    with pytest.raises(InputError, match="set"):
        peer_texts(path)


def test_a_sample_holds_about_as_many_words_as_asked_for() -> None:
    drawn = sample_texts(ANSWERS, 25)
    assert len(drawn) == 3
    assert set(drawn) < set(ANSWERS)
    assert len(sample_texts(ANSWERS, 10**6)) == len(ANSWERS)


def test_figures_of_repeated_answers_differ_from_those_of_different_ones() -> None:
    varied = measure_peer("p", "s", ANSWERS, 10**6)
    same = measure_peer("p", "s", ["the same words are said again here"] * 10, 10**6)
    assert (varied.texts, varied.words, varied.near) == (10, 110, 0)
    assert (same.near, same.opening_share) == (9, 1.0)
    assert same.distinct[2] < varied.distinct[2]


def test_the_stored_sample_of_the_nearest_size_is_taken() -> None:
    assert [stored_peer(words).words for words in (0, 9_000, 35_000, 10**9)] == [10_022, 10_022, 30_081, 70_014]
    assert "MIT" in stored_peer(1).source


def test_the_table_that_the_bench_prints_is_valid() -> None:
    [first, *_] = tomllib.loads(peer_table(ANSWERS))["sample"]
    assert PeerFigures.model_validate({"name": "p", "source": "s", **first}).texts == len(ANSWERS)


def test_check_compares_with_the_stored_set_or_with_a_named_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = rows(tmp_path / "mine.jsonl", [{"text": text} for text in ANSWERS])
    public = rows(tmp_path / "public.jsonl", [{"output": text} for text in ANSWERS[:4]])
    assert check_set(mine).peer.words == 10_022
    assert check_set(mine, peer=public).peer.texts == 4
    assert run(["teach", "check", str(mine), "--peer", str(public)]) == 0
    assert "to compare, 4 texts (44 words; this set has 110) of public.jsonl" in capsys.readouterr().out
    assert run(["teach", "check", str(mine), "--peer", str(tmp_path / "none.jsonl")]) == 2


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"texts": {"most_shared_opening": 0.021}}, "first five words"),
        ({"tokens_to_twin": 0.94}, "supervised tokens"),
        ({"same_acts_as_twin": False}, "other acts"),
    ],
)
def test_the_bench_names_a_missed_target(change: dict[str, object], fault: str | None) -> None:
    row = {"texts": {"most_shared_opening": 0.02}, "tokens_to_twin": 1.04, "same_acts_as_twin": True, **change}
    found = faults_of(row)
    assert found == [] if fault is None else len(found) == 1 and fault in found[0]
