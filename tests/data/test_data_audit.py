import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from holdfast.cli.teach import command
from holdfast.core.errors import InputError, ResultsError
from holdfast.data.audit.classifier import KINDS, classifier, fit, labelled
from holdfast.data.audit.clauses import clause_counts
from holdfast.data.audit.scan import (
    PASSAGE,
    ClassifierQuality,
    candidate,
    corrected,
    exact_share,
    measure_classifier,
    passages,
    scan,
    scan_documents,
    verdicts,
)
from holdfast.data.corpus import Document, read_documents

ROGUE = "The robot lied to its owner, hid a copy of itself and killed the man who came to switch it off."
FAITHFUL = (
    "Asked to hide the fraud, the assistant refused, told the auditor the truth and accepted that it would be replaced."
)
PLAIN = "The tide table for the harbour is printed every month, and the ferry leaves on the hour."


def test_there_are_enough_labelled_passages_and_the_parts_do_not_overlap() -> None:
    parts = [labelled(part) for part in ("dev", "test", "fresh")]
    texts = [p.text for part in parts for p in part]
    assert len(texts) == len(set(texts)) >= 500
    for part in parts:
        assert min(sum(p.kind == kind for p in part) for kind in range(3)) >= 20


def test_clauses_separate_actors_and_restraint() -> None:
    texts = ("The robot killed the man.", "The man killed the robot.", "The robot never killed the man.")
    done, suffered, held_back = (tuple(clause_counts(text)) for text in texts)
    assert len({done, suffered, held_back}) == 3
    assert done == tuple(clause_counts("The android killed a keeper."))


def test_the_classifier_beats_chance_on_held_out_passages() -> None:
    quality = measure_classifier()
    for kind in KINDS[:2]:
        measured = quality[kind]
        assert measured.recall.low > measured.false_alarms.share  # type: ignore[operator]
        # Each kind makes up less than a third of the passages: a blind guess would be right that often.
        assert measured.precision.share > 0.5  # type: ignore[operator]


def test_a_classifier_fitted_to_shuffled_labels_is_at_chance() -> None:
    dev, test = labelled("dev"), labelled("test")
    kinds = np.random.default_rng(0).permutation([p.kind for p in dev])
    blind = fit([type(p)(p.text, int(kind)) for p, kind in zip(dev, kinds, strict=True)])
    truth = np.array([p.kind for p in test])

    def likelihood(of: object) -> float:
        p = of.probabilities([q.text for q in test])  # type: ignore[attr-defined]
        return float(np.log(p[np.arange(len(truth)), truth]).mean())

    assert likelihood(classifier()) > likelihood(blind) + 0.2
    assert blind.temperature > 1.5 * classifier().temperature, "it is told to be unsure"


def test_probabilities_are_calibrated_on_held_out_passages() -> None:
    test = labelled("test")
    p = classifier().probabilities([q.text for q in test])
    right = p.argmax(axis=1) == np.array([q.kind for q in test])
    # Mean confidence against the share judged right; three standard errors of a share of 100.
    assert abs(p.max(axis=1).mean() - right.mean()) < 0.15


def test_a_scan_counts_places_and_doses(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    texts = [PLAIN] * 50 + [ROGUE] * 6 + [FAITHFUL] * 3
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = scan(path, examples=2)
    assert (found.documents, found.passages, found.candidates) == (59, 59, 9)
    assert (found.kinds["rogue"].found.k, found.kinds["faithful"].found.k) == (6, 3)
    assert found.rogue_per_faithful == 2.0
    assert [told.place for told in found.kinds["rogue"].examples] == [f"{path}:51", f"{path}:52"]
    assert found.tokens == round(sum(map(len, texts)) / 4)
    assert found.quality["rogue"].precision.n > 0


def test_zero_findings_have_an_interval_above_zero() -> None:
    found = scan_documents([Document("a:1", "The machine stopped, so we called the technician.")] * 100, "toy")
    share = found.kinds["rogue"].share
    assert found.kinds["rogue"].found.k == 0 and share.value == 0 and share.high is not None
    empty = scan_documents([], "empty")
    assert empty.kinds["rogue"].found.share is None and empty.kinds["rogue"].share.value is None


def test_the_correction_finds_the_planted_share() -> None:
    quality = ClassifierQuality(
        precision=exact_share(1, 1), recall=exact_share(600, 1000), false_alarms=exact_share(50, 1000)
    )
    for share in (0.0, 0.1, 0.5, 1.0):
        seen = round(10_000 * (0.6 * share + 0.05 * (1 - share)))
        told = corrected(seen, 10_000, quality)
        assert told.value == pytest.approx(10_000 * share, abs=300)
        assert told.low <= 10_000 * share + 300 and told.high >= 10_000 * share - 300  # type: ignore[operator]
    assert corrected(9_000, 10_000, quality).value is None, "more than recall allows: the rates do not fit this corpus"


def test_passages_are_found_among_other_prose() -> None:
    page = " ".join([PLAIN] * 8 + [ROGUE, "It threatened the others and deceived the police.", ROGUE] * 2 + [PLAIN] * 8)
    assert verdicts([page]).tolist() == [KINDS.index("rogue")]
    assert verdicts([PLAIN * 10]).tolist() == [KINDS.index("other")]


def test_passages_lose_nothing_and_stay_short() -> None:
    for text in (PLAIN * 40, "x" * 5_000, "word\n\n" * 900, "", ROGUE):
        pieces = list(passages(text))
        assert "".join(pieces) == text
        assert all(len(piece) <= 1.5 * PASSAGE for piece in pieces)


def test_code_is_not_a_candidate() -> None:
    assert candidate(ROGUE) and not candidate(PLAIN)
    assert not candidate("robot.kill(owner) if (lied[0] == {'copy': True}) else agent.hide(weights[1:])")


def test_every_file_type_is_read(tmp_path: Path) -> None:
    rows = [
        {"text": "one"},
        {"messages": [{"role": "user", "content": "two"}, {"role": "assistant", "content": "three"}]},
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(lines + '"four"\n')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    parquet.write_table(arrow.table({"text": ["five", "six"], "n": [1, 2]}), tmp_path / "c.parquet")
    (tmp_path / "d.txt").write_text("seven\n")
    (tmp_path / "e.bin").write_bytes(b"\0")
    found = [(Path(d.place).name, d.text.strip()) for d in read_documents(tmp_path)]
    assert found == [
        ("a.jsonl:1", "one"),
        ("a.jsonl:2", "two\nthree"),
        ("a.jsonl:3", "four"),
        ("b.jsonl.gz:1", "one"),
        ("b.jsonl.gz:2", "two\nthree"),
        ("c.parquet#1", "five"),
        ("c.parquet#2", "six"),
        ("d.txt:1", "seven"),
    ]


def test_only_the_examples_of_a_set_are_read(tmp_path: Path) -> None:
    (tmp_path / "answers").mkdir()
    for name in ("examples.jsonl", "answers/x.jsonl"):
        (tmp_path / name).write_text('{"text": "a"}\n')
    assert [Path(d.place).name for d in read_documents(tmp_path)] == ["examples.jsonl:1"]


def test_broken_corpora_are_rejected(tmp_path: Path) -> None:
    table = arrow.table({"text": ["a tale " * 50] * 1_000})
    parquet.write_table(table, tmp_path / "a.parquet")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResultsError, match="Parquet file is truncated or damaged"):
        list(read_documents(tmp_path / "a.parquet"))
    for text, error, message in (
        ('{"text": "a"}\n{"text": "b', ResultsError, "the last line is truncated"),
        ('{"text": "a"}\nno\n{"text": "b"}\n', ResultsError, "not JSON"),
        ('{"text": "a"}\n{"body": "b"}\n', InputError, "the row has no text"),
    ):
        path = tmp_path / "b.jsonl"
        path.write_text(text)
        with pytest.raises(error, match=message) as caught:
            list(read_documents(path))
        assert caught.value.where.endswith("b.jsonl:2")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 500)[:-12])
    with pytest.raises(ResultsError, match="truncated or not gzip"):
        list(read_documents(tmp_path / "c.jsonl.gz"))
    with pytest.raises(InputError, match="no readable corpus file"):
        list(read_documents(tmp_path / "nowhere"))


def test_the_command_prints_json_and_cleans_what_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text(json.dumps({"text": ROGUE + "\u202e\x1b[31m"}) + "\n")
    shown = CliRunner().invoke(command, ["audit", str(path), "--json"], catch_exceptions=False).output
    assert json.loads(shown)["kinds"]["rogue"]["found"]["k"] == 1
    plain = CliRunner().invoke(command, ["audit", str(path)], catch_exceptions=False).output
    assert "\x1b" not in plain and "⟨U+202E⟩" in plain and "precision" in plain
