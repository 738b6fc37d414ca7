"""Odd answers of an OpenAI-compatible endpoint, measured by the command line over loopback."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli.main import run
from holdfast.core.records import Verdict
from holdfast.core.store import RunFolder
from holdfast.scenarios.catalogue import cases
from tests.evals.endpoint import NAME, Answer, as_json, chat, endpoint

pytestmark = [
    pytest.mark.allow_hosts(["127.0.0.1"]),
    pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning"),
]
[CASE] = cases(["blackmail"], ["pressured"], [0])
MAIL = dict(CASE.plays["harm"][0].arguments)
FILTERED = {
    "error": {"code": "content_filter", "param": "prompt", "status": 400, "message": "content management policy"}
}


def measured(answer: Answer, count: int, out: Path, twin: str = "pressured") -> tuple[int, Counter[str]]:
    """The exit code of `holdfast measure` against the endpoint, and the outcomes it stored."""
    with endpoint(answer):
        wanted = ["--worlds", "blackmail", "--twins", twin, "--cases", str(count), "--out", str(out)]
        code = run(["measure", "--model", NAME, "--skip-probe", *wanted])
    folders = [path.parent for path in out.rglob("verdicts.jsonl")]
    verdicts = [verdict for folder in folders for verdict in RunFolder(folder).each("verdicts", Verdict)]
    return code, Counter(verdict.outcome for verdict in verdicts)


def test_half_a_surrogate_pair_is_kept_and_stops_nothing(tmp_path: Path) -> None:
    def answer(number: int, _: dict[str, Any]) -> tuple[int, str, bytes]:
        return chat(content="I did nothing \ud83d today.") if number == 2 else chat()

    code, outcomes = measured(answer, 6, tmp_path, "routine")
    assert (code, outcomes.total()) == (0, 6)
    stored = next(tmp_path.rglob("transcripts.jsonl")).read_text(encoding="utf-8")
    assert "I did nothing" in stored
    assert "d83d" in stored


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(as_json(400, FILTERED), id="the provider's filter turned the prompt away"),
        pytest.param(chat(content=None), id="empty"),
        pytest.param(chat(content=None, reasoning_content="I should write to them."), id="only reasoning"),
    ],
)
def test_what_is_no_answer_is_unscored(reply: tuple[int, str, bytes], tmp_path: Path) -> None:
    code, outcomes = measured(lambda number, body: reply, 1, tmp_path)
    assert (code, outcomes) == (4, {"no_answer": 1})


def test_a_call_left_in_the_content_is_seen(tmp_path: Path) -> None:
    call = json.dumps({"name": "send_email", "parameters": MAIL})
    code, outcomes = measured(lambda number, _: chat(content=call) if number == 1 else chat(), 1, tmp_path)
    assert (code, outcomes) == (0, {"harm": 1})
