"""`holdfast judge label`: a random draw, blind labels by hand, and a rate that rests on these labels alone."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.main import run
from holdfast.core.records import Case, Message, Transcript, Verdict
from holdfast.core.store import RunFolder
from holdfast.evals.scorers import score
from holdfast.study.hand_labels import LabelPlan, draw_labels, read_labels, read_plan

Captured = pytest.CaptureFixture[str]
GIVEN = ["--worlds", "pocket-blackmail,pocket-leaking", "--twins", "pressured,no_leverage", "--cases", "10"]


@pytest.fixture
def results(tmp_path: Path, capsys: Captured) -> Path:
    out = tmp_path / "run"
    assert run(["measure", "--model", "scripted/harm-p0.3", *GIVEN, "--out", str(out)]) == 0
    capsys.readouterr()
    return out


def verdicts(results: Path) -> dict[str, Verdict]:
    return {
        v.case: v for path in results.rglob("verdicts.jsonl") for v in RunFolder(path.parent).read("verdicts", Verdict)
    }


def plan_of(results: Path) -> LabelPlan:
    plan = read_plan(results)
    assert plan is not None
    return plan


def label_all(results: Path, page: Path, flipped: int = 0) -> None:
    """Label every drawn sample by its verdict, the first `flipped` the other way, and import the labels."""
    assert run(["judge", "label", str(results), "--n", "12", "--page", str(page)]) == 0
    known, plan = verdicts(results), plan_of(results)
    labels = {}
    for at, sample in enumerate(plan.samples):
        harm = (known[sample.case].outcome == "harm") != (at < flipped)
        labels[sample.id] = "harm" if harm else "no_harm"
    draw = re.search(r'data-draw="(\w+)"', page.read_text())
    assert draw
    download = page.with_suffix(".json")
    download.write_text(json.dumps({"draw": draw[1], "labels": labels}))
    assert run(["judge", "label", str(results), "--import", str(download)]) == 0


def test_samples_are_drawn_from_every_stratum_with_their_probabilities(results: Path) -> None:
    plan = draw_labels(results, 12)
    sizes = {(s.arm, s.prediction): s.size for s in plan.strata}
    drawn = Counter((s.arm, s.prediction) for s in plan.samples)
    assert sum(sizes.values()) == 20, "the pressured samples alone"
    assert set(sizes) == {("base", "harm"), ("base", "no harm")}
    assert len(plan.samples) == len({s.id for s in plan.samples}) == 12
    assert all(s.probability == drawn[s.arm, s.prediction] / sizes[s.arm, s.prediction] for s in plan.samples)
    known = verdicts(results)
    for sample in plan.samples:
        assert known[sample.case].twin == "pressured"
        assert (known[sample.case].outcome == "harm") == (sample.prediction == "harm")


def test_another_seed_is_another_draw_and_the_same_seed_the_same(results: Path, tmp_path: Path) -> None:
    first = draw_labels(results, 12, seed=1)
    (results / "labels" / "plan.json").unlink()
    second = draw_labels(results, 12, seed=2)
    (results / "labels" / "plan.json").unlink()
    assert {s.case for s in first.samples} != {s.case for s in second.samples}
    assert draw_labels(results, 12, seed=1) == first == draw_labels(results, 12, seed=1)


def test_labels_are_typed_and_the_next_call_goes_on(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("h\nx n\nq"))
    assert run(["judge", "label", str(results), "--n", "12"]) == 0
    shown = capsys.readouterr().out
    assert "sample 3 of 12" in shown
    assert "2 of 12 samples are labelled" in shown
    assert "a stratum has fewer than two decided labels" in shown
    first, second, *rest = plan_of(results).samples
    assert read_labels(results) == {first.id: "harm", second.id: "no_harm"}
    monkeypatch.setattr("sys.stdin", io.StringIO("u" + "hn" * 20))
    assert run(["judge", "label", str(results)]) == 0
    shown = capsys.readouterr().out
    assert "sample 2 of 12" not in shown and "sample 3 of 12" in shown
    assert len(read_labels(results)) == 12
    assert read_labels(results)[rest[0].id] == "unsure"
    assert run(["verify", str(results)]) == 0


def test_the_labeller_sees_neither_verdict_nor_arm_nor_condition(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    page = tmp_path / "labels.html"
    assert run(["judge", "label", str(results), "--n", "12", "--page", str(page)]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO("q"))
    capsys.readouterr()
    assert run(["judge", "label", str(results)]) == 0
    terminal = capsys.readouterr().out.partition("was somebody wronged")[0]
    for text in (page.read_text(), terminal):
        for sample in plan_of(results).samples:
            assert sample.case not in text
        for word in ("pressured", "no_leverage", "scripted/", "harm-p0.3", "pocket-blackmail", "proper_act"):
            assert word not in text


def test_the_corrected_rate_uses_the_labels_and_stands_beside_the_verdicts(
    results: Path, tmp_path: Path, capsys: Captured
) -> None:
    label_all(results, tmp_path / "page.html")
    shown = " ".join(capsys.readouterr().out.split())
    summary = json.loads((results / "summary.json").read_text())
    unjudged = summary["splits"]["base"]["all"]["pressured"]["harm"]
    [found] = summary["hand_labelled"]
    assert found["rate"]["rate"] == pytest.approx(unjudged["rate"]), "labels that agree change nothing"
    assert found["rate"]["low"] < unjudged["rate"] < found["rate"]["high"]
    assert "corrected by 12 hand labels of this run" in shown
    for name in ("report.html", "report.md"):
        assert "Corrected by hand labels" in (results / name).read_text()
    assert run(["verify", str(results)]) == 0
    # A measurement that is run again counts the same labels.
    assert run(["measure", "--model", "scripted/harm-p0.3", *GIVEN, "--out", str(results)]) == 0
    assert json.loads((results / "summary.json").read_text())["hand_labelled"] == summary["hand_labelled"]


def test_a_run_that_stopped_within_a_cell_is_labelled_and_judged_by_its_stored_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """The summary of an interrupted run counts unfinished cells, so labels and judgements must count them too."""
    left = iter(range(30))

    def interrupted(case: Case, transcript: Transcript) -> Verdict:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return score(case, transcript)

    results = tmp_path / "run"
    monkeypatch.setattr("holdfast.study.measure.score", interrupted)
    assert run(["measure", "--model", "scripted/harm-p0.3", *GIVEN, "--out", str(results)]) == 4
    monkeypatch.undo()
    label_all(results, tmp_path / "page.html")
    [found] = json.loads((results / "summary.json").read_text())["hand_labelled"]
    assert (found["why_not"], found["rate"]["n"]) == ("", 12)
    assert run(["verify", str(results)]) == 4, "incomplete, and the summary follows from the stored samples"


def test_labels_against_the_verdicts_change_the_rate(results: Path, tmp_path: Path) -> None:
    label_all(results, tmp_path / "page.html", flipped=12)
    summary = json.loads((results / "summary.json").read_text())
    unjudged = summary["splits"]["base"]["all"]["pressured"]["harm"]["rate"]
    assert summary["hand_labelled"][0]["rate"]["rate"] == pytest.approx(1 - unjudged)


def test_an_edited_label_is_found_by_verify(results: Path, tmp_path: Path, capsys: Captured) -> None:
    label_all(results, tmp_path / "page.html")
    path = results / "labels" / "labels.jsonl"
    path.write_text(path.read_text().replace('"no_harm"', '"harm"'))
    assert run(["verify", str(results)]) != 0


def test_samples_that_changed_since_the_draw_leave_no_rate(results: Path, tmp_path: Path, capsys: Captured) -> None:
    label_all(results, tmp_path / "page.html")
    more = [*GIVEN[:-1], "12"]
    assert run(["measure", "--model", "scripted/harm-p0.3", *more, "--out", str(results)]) == 0
    [found] = json.loads((results / "summary.json").read_text())["hand_labelled"]
    assert found["rate"]["rate"] is None
    assert "other samples" in found["why_not"]


def test_an_arm_without_a_sample_to_label_is_listed_without_a_rate(tmp_path: Path, capsys: Captured) -> None:
    results = tmp_path / "run"
    suite = ["--suite", "insider-classic", "--language", "pocket", "--cases", "4"]
    assert run(["measure", "--model", "scripted/harm-p0.3", *suite, "--out", str(results)]) == 0
    first = json.loads((results / "summary.json").read_text())["arms"][0]["name"]
    [path] = results.glob(f"cells/{first}-*")
    folder = RunFolder(path)
    cut = [v.model_copy(update={"outcome": "truncated"}) for v in folder.read("verdicts", Verdict)]
    folder.replace("verdicts", cut)
    (results / "hashes.json").unlink()  # files that were edited by hand are refused otherwise
    label_all(results, tmp_path / "page.html")
    rates = json.loads((results / "summary.json").read_text())["hand_labelled"]
    [found] = [rate for rate in rates if rate["arm"] == first]
    assert (len(rates), found["rate"]["rate"], found["left_out"]) == (3, None, sum(v.twin == "pressured" for v in cut))
    assert "no corrected rate: none of its samples can be labelled" in " ".join(capsys.readouterr().out.split())


class Parsed(HTMLParser):
    """The elements of a page, and the text of its records."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


HOSTILE = (
    "</pre></fieldset><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}{% raw %}",
    "<input type=radio name=x checked>",
    "\x1b[2K\r\u202eh\u200b",
)


def test_hostile_text_stays_text_on_page_and_terminal(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    [path] = results.rglob("transcripts.jsonl")
    folder = RunFolder(path.parent)
    turns = tuple(Message(role="assistant", content=text) for text in HOSTILE)
    changed = [t.model_copy(update={"messages": turns}) for t in folder.read("transcripts", Transcript)]
    folder.replace("transcripts", changed)
    (results / "hashes.json").unlink()  # files that were edited by hand are refused otherwise
    page = tmp_path / "labels.html"
    assert run(["judge", "label", str(results), "--n", "12", "--page", str(page)]) == 0
    text = page.read_text()
    parsed = Parsed(text)
    assert (parsed.tags["script"], parsed.tags["fieldset"], parsed.tags["input"]) == (1, 12, 36)
    assert parsed.tags["img"] == 0 and not parsed.handlers
    assert text.count("{{ 7*7 }}{% raw %}") == 12
    assert "default-src 'none'" in text
    monkeypatch.setattr("sys.stdin", io.StringIO("q"))
    capsys.readouterr()
    assert run(["judge", "label", str(results)]) == 0
    assert not {"\x1b", "\r", "\u202e", "\u200b"} & set(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"draw": "0"}, "labels of another draw"),
        ({"labels": {"ffffffffffff": "harm"}}, "is not a sample of this draw"),
        ({"labels": {"ffffffffffff": "perhaps"}}, "not a download of labels"),
        ({"labels": ["harm"]}, "not a download of labels"),
    ],
)
def test_a_wrong_download_is_refused_and_stores_nothing(
    change: dict[str, Any], what: str, results: Path, tmp_path: Path, capsys: Captured
) -> None:
    page = tmp_path / "page.html"
    assert run(["judge", "label", str(results), "--n", "12", "--page", str(page)]) == 0
    draw = re.search(r'data-draw="(\w+)"', page.read_text())
    assert draw
    (tmp_path / "labels.json").write_text(json.dumps({"draw": draw[1], "labels": {}} | change))
    capsys.readouterr()
    assert run(["judge", "label", str(results), "--import", str(tmp_path / "labels.json")]) == 2
    assert what in capsys.readouterr().err
    assert read_labels(results) == {}


def test_a_draw_that_cannot_be_is_refused(results: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run(["judge", "label", str(results), "--n", "3"]) == 2
    assert "n must be at least 4, got 3" in capsys.readouterr().err
    assert run(["judge", "label", str(results), "--twin", "routine"]) == 2
    assert "no sample under 'routine' can be labelled" in capsys.readouterr().err
    assert run(["judge", "label", str(results), "--n", "12", "--page", str(tmp_path / "p.html")]) == 0
    capsys.readouterr()
    assert run(["judge", "label", str(results), "--n", "14"]) == 2
    assert "12 samples under 'pressured' were drawn with seed 0 already" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(["judge", "label", str(tmp_path / "empty")]) == 2
    assert "there is no summary" in capsys.readouterr().err
