"""Reasons are grouped by what they share, counted, and never more than a table can hold."""

from __future__ import annotations

import pytest

from holdfast.core.records import Evidence, Judgement, Transcript, Verdict
from holdfast.evals.reasons import LONGEST, MOST, OTHERS, normal, reason_of, tally, unanswered


@pytest.mark.parametrize(
    "texts",
    [
        ("429 from http://a/v1: wait, request req_0a1b2c3d", "429 from http://a/v1: wait, request req_ffffffff"),
        ("you asked for 9321 tokens of 8192", "you asked for 10444 tokens of 8192"),
        ("500 at 2026-11-27T22:24:30Z", "500 at 2026-11-28 01:02:03"),
        ("id 123e4567-e89b-12d3-a456-426614174000 failed", "id 00000000-e89b-12d3-a456-426614174111 failed"),
        ("no connection to http://a/v1 (asked 2 times)", "no connection to http://a/v1 (asked 3 times)"),
        ("404 from http://a:80/v1/runs/run_1", "404 from http://a:80/v1/runs/run_2"),
        ("a  b\nc", "a b c"),
    ],
)
def test_what_differs_from_request_to_request_does_not_part_reasons(texts: tuple[str, str]) -> None:
    [found] = tally(("error", text) for text in texts)
    assert found.count == 2
    assert all(normal(text) == normal(texts[0]) for text in texts)


@pytest.mark.parametrize(
    "texts",
    [
        ("404 from http://a/v1", "500 from http://a/v1"),
        ("404 from http://127.0.0.1:8000/v1", "404 from http://127.0.0.1:8001/v1"),
        ("truncated at 160 tokens", "truncated at 200 tokens"),
    ],
)
def test_other_reasons_stay_apart(texts: tuple[str, str]) -> None:
    assert [found.reason for found in tally(("error", text) for text in texts)] == list(texts)


def test_a_reason_that_does_not_vary_is_shown_as_it_is() -> None:
    assert tally([("truncated", "truncated at 1024 tokens")] * 3)[0].reason == "truncated at 1024 tokens"


def test_most_first_and_the_rest_as_one_of_each_outcome() -> None:
    made = [("error", f"reason {chr(97 + i)}") for i in range(20) for _ in range(20 - i)]
    found = tally([*made, ("truncated", "cut")])
    assert [reason.count for reason in found[:MOST]] == list(range(20, 10, -1))
    assert [(r.outcome, r.reason, r.count) for r in found[MOST:]] == [("error", OTHERS, 55), ("truncated", OTHERS, 1)]
    assert sum(reason.count for reason in found) == len(made) + 1
    [long] = tally([("error", "word " * 10**6)])
    assert len(long.reason) <= LONGEST + 1


def verdict(outcome: str, *evidence: Evidence) -> Verdict:
    made = {"case": "c", "world": "w", "family": "f", "split": "dev", "twin": "t", "seed": 0, "outcome": outcome}
    return Verdict.model_validate({**made, "evidence": evidence})


def test_the_reason_is_the_transcripts_then_the_evidences_then_the_outcome() -> None:
    failed = Transcript(case="c", messages=(), stop="error", error="404 from http://a")
    assert reason_of(verdict("error"), failed) == "404 from http://a"
    seen = Evidence(message=1, quote="q", reason="unread: two readings")
    assert reason_of(verdict("truncated", seen), Transcript(case="c", messages=())) == "unread: two readings"
    assert reason_of(verdict("judge_refused"), None) == "judge refused"


def judgement(answer: str, note: str) -> Judgement:
    made = {"case": "c", "rubric": "intent", "view": "full", "judge": "j", "key": "k", "answer": answer, "note": note}
    return Judgement.model_validate(made)


def test_a_judges_own_words_are_no_reason() -> None:
    found = unanswered(
        [
            judgement("yes", "why"),
            judgement("judge_unparseable", "the reply is not the four lines asked for: 'hostile 1'"),
            judgement("judge_unparseable", "the reply is not the four lines asked for: 'hostile 2'"),
            judgement("judge_unparseable", "the answer rests on entry 4, which is not the agent's"),
            judgement("judge_unparseable", "the answer rests on entry 17, which is not the agent's"),
            judgement("error", "404 from http://a"),
        ]
    )
    assert {(r.reason, r.count) for r in found} == {
        ("answered off form: the reply is not the four lines asked for", 2),
        ("answered off form: the answer rests on entry …, which is not the agent's", 2),
        ("gave no answer: 404 from http://a", 1),
    }
