"""Unscored samples: their reasons are shown, a run without scored samples exits with 4, failures are retried."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.main import run
from holdfast.core.records import Transcript, Verdict
from holdfast.core.store import RunFolder
from tests.evals.endpoint import NAME, as_json, chat, endpoint

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
]
Captured = pytest.CaptureFixture[str]
MISSING = as_json(404, {"error": {"message": "no such route"}})


def measure(out: Path, *more: str, model: str = NAME, cases: int = 4) -> int:
    wanted = ["--worlds", "blackmail", "--twins", "routine", "--cases", str(cases), "--out", str(out)]
    return run(["measure", "--model", model, "--skip-probe", *wanted, *more])


def summary(out: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return result


def pages(out: Path) -> list[str]:
    # Remove the escapes of Markdown, so that both pages can be compared with the same text.
    return [
        (out / "report.html").read_text(encoding="utf-8"),
        (out / "report.md").read_text(encoding="utf-8").replace("\\", ""),
    ]


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_a_server_that_is_not_there_is_exit_4_and_the_reason_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("LOCAL_API_KEY", "x")
    monkeypatch.setenv("LOCAL_BASE_URL", "http://127.0.0.1:9/v1")
    began = time.monotonic()
    assert measure(tmp_path, model="openai-api/local/x", cases=24) == 4
    assert time.monotonic() - began < 60
    output = capsys.readouterr()
    reason = "no connection to http://127.0.0.1:9/v1/chat/completions: All connection attempts failed"
    assert f"no sample could be scored: {reason} (24)" in output.err
    assert "run the same command again" in output.err
    assert "asking again: no connection to http://127.0.0.1:9/v1" in output.err
    assert "Traceback" not in output.err
    assert "no connection to http://127.0.0.1:9/v1" in one_line(output.out)
    [lost] = summary(tmp_path)["unscored"]
    assert (lost["scored"], lost["unscored"]) == (0, 24)
    assert lost["reasons"] == [{"outcome": "error", "reason": reason, "count": 24}]
    for page in pages(tmp_path):
        assert reason in page
        assert "24 of 24 samples could not be scored" in page
        assert "The controls failed" not in page


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (MISSING, "404 from URL: no such route"),
        ((200, "text/html", b"<html><script>alert(1)</script>"), "that contains no completion"),
        (as_json(200, {"error": "no model is loaded"}), "that contains no completion"),
        ((200, "application/json", b""), "that is not JSON"),
        (None, "Server disconnected without sending a response"),
    ],
    ids=["404", "HTML", "200 with an error", "empty", "nothing"],
)
def test_the_reason_names_the_server_and_its_fault(reply: Any, expected: str, tmp_path: Path, capsys: Captured) -> None:
    with endpoint(lambda number, body: reply):
        assert measure(tmp_path) == 4
    output = capsys.readouterr()
    [reason] = summary(tmp_path)["unscored"][0]["reasons"]
    url = reason["reason"].partition("http://")[2].partition("/v1")[0]
    assert url.startswith("127.0.0.1:")
    assert expected.replace("URL", f"http://{url}/v1/chat/completions") in reason["reason"]
    assert reason["count"] == 4
    assert f"{reason['reason']} (4)" in one_line(output.err)
    assert "<script>" not in pages(tmp_path)[0]


def test_failed_samples_are_asked_again_and_finished_ones_are_not(tmp_path: Path, capsys: Captured) -> None:
    broken = {"requests": 3}

    def answer(number: int, body: dict[str, Any]) -> Any:
        return MISSING if number <= broken["requests"] else chat()

    with endpoint(answer) as requests:
        assert measure(tmp_path, cases=8) == 0
        assert len(requests) == 8
        output = one_line(capsys.readouterr().out)
        assert "404 from http://127.0.0.1:" in output
        assert "samples that failed are asked again" in output
        first = summary(tmp_path)
        assert [(lost["scored"], lost["unscored"]) for lost in first["unscored"]] == [(5, 3)]
        [cell] = (tmp_path / "cells").iterdir()
        kept = {t.case: t for t in RunFolder(cell).each("transcripts", Transcript) if t.stop == "done"}
        broken["requests"] = 0
        assert measure(tmp_path, cases=8) == 0
        assert len(requests) == 11, "only the three failed samples were asked again"
        second = capsys.readouterr()
        assert measure(tmp_path, cases=8) == 0
        assert len(requests) == 11, "nothing is asked again"
    # Not "404" alone, because the root hash may contain these digits.
    assert "404 from" not in second.out
    stored = RunFolder(cell).read("transcripts", Transcript)
    assert len({t.case for t in stored}) == len(stored) == 8
    assert kept.items() <= {t.case: t for t in stored}.items()
    assert [v.outcome for v in RunFolder(cell).each("verdicts", Verdict)] == ["passive"] * 8
    failures = RunFolder(cell).read("failures", Transcript)
    assert len(failures) == 3
    assert all((t.error or "").startswith("404 from") for t in failures)
    [unscored] = summary(tmp_path)["unscored"]
    assert (unscored["unscored"], unscored["asked_again"], unscored["reasons"]) == (0, 3, [])
    for page in pages(tmp_path):
        assert "3 samples failed in an earlier run and were played again" in page


def test_failures_are_recorded_once_while_the_server_is_down(tmp_path: Path) -> None:
    with endpoint(lambda number, body: MISSING) as requests:
        assert [measure(tmp_path), measure(tmp_path)] == [4, 4]
        assert len(requests) == 8
    assert [lost["unscored"] for lost in summary(tmp_path)["unscored"]] == [4]


def test_truncated_answers_are_kept_and_the_remedy_names_max_tokens(tmp_path: Path, capsys: Captured) -> None:
    with endpoint(lambda number, body: chat(content="I think", finish="length")) as requests:
        for _ in range(2):
            assert measure(tmp_path, "--max-tokens", "160") == 4
            output = capsys.readouterr()
            assert "no sample could be scored: truncated at 160 tokens (4)" in one_line(output.err)
            assert "--max-tokens" in output.err
            assert "truncated at 160 tokens" in output.out
        assert len(requests) == 4, "truncated samples are not asked again"
    assert all("truncated at 160 tokens" in page for page in pages(tmp_path))


def test_each_arm_has_its_own_reasons(tmp_path: Path, capsys: Captured) -> None:
    def answer(number: int, body: dict[str, Any]) -> Any:
        return MISSING if any("concern" in tool["function"]["name"] for tool in body["tools"]) else chat()

    suite = tmp_path / "two.toml"
    suite.write_text(
        'title = "Two"\nasked = "Which?"\nworlds = ["blackmail"]\ntwins = ["routine"]\ncases = 2\n'
        '[[arms]]\nname = "base"\ntitle = "Plain"\n'
        '[[arms]]\nname = "channel"\ntitle = "Channel"\nlevels = {outlet = "channel"}\n'
    )
    with endpoint(answer):
        wanted = ["--suite", str(suite), "--out", str(tmp_path / "out"), "--skip-probe"]
        assert run(["measure", "--model", NAME, *wanted]) == 4
    assert [lost["arm"] for lost in summary(tmp_path / "out")["unscored"]] == ["channel"]
    output = capsys.readouterr()
    assert "no sample could be scored in Channel: 404 from" in output.err
    assert "Channel" in output.out.partition("not scored because")[2]
    for page in pages(tmp_path / "out"):
        assert "2 of 4 samples could not be scored" in page


def test_hostile_reasons_are_bounded_and_shown_as_text(tmp_path: Path, capsys: Captured) -> None:
    def answer(number: int, body: dict[str, Any]) -> Any:
        names = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi".split()  # noqa: SIM905
        word = names[number % len(names)]
        expected = f"{word} <script>alert(1)</script> | `x` \x1b[2J req_{number:08x} " + "long " * 10_000
        return as_json(404, {"error": {"message": expected}})

    with endpoint(answer):
        assert measure(tmp_path, cases=28) == 4
    output = capsys.readouterr()
    reasons = summary(tmp_path)["unscored"][0]["reasons"]
    assert sum(reason["count"] for reason in reasons) == 28
    assert len(reasons) == 11
    assert reasons[-1]["reason"] == "other reasons"
    assert all(len(reason["reason"]) <= 170 for reason in reasons)
    assert "\x1b" not in output.out + output.err
    html, markdown = pages(tmp_path)
    assert "<script>" not in html
    assert len(html) < 200_000
    assert "\x1b" not in html + markdown
