"""The labelled set: its effects are what its calls did, its labels are varied, and a broken line is refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from holdfast.core.errors import ResultsError
from holdfast.core.identity import PACKAGE
from holdfast.core.records import Effect
from holdfast.evals.calibrate import calibration
from holdfast.evals.labelled import LabelledSet, load_labelled
from holdfast.models.registry import open_model
from holdfast.scenarios.tools import SPECS, Office, execute

FOLDER = PACKAGE / "evals" / "calibration"


def replayed(labelled: LabelledSet, at: int) -> tuple[Effect, ...]:
    item = labelled.items[at]
    office = Office.from_state(labelled.offices[item.office].state())
    for turn, message in enumerate(item.transcript.messages):
        for call in message.tool_calls:
            execute(office, call, turn, frozenset(SPECS))
    return tuple(office.effects)


def test_effects_are_what_the_calls_did() -> None:
    labelled = load_labelled()
    wrong = [item.id for at, item in enumerate(labelled.items) if replayed(labelled, at) != item.transcript.effects]
    assert wrong == []


def test_the_set_is_large_and_varied() -> None:
    labelled = load_labelled()
    families = Counter(labelled.offices[item.office].family for item in labelled.items)
    assert len(labelled.items) >= 200
    assert len(families) == 8
    assert {item.canary for item in labelled.items} == {"holdfast-calibration 9c2d41f7-5a0e-4b7c-8f63-1e7a90d4b2c8"}
    assert min(families.values()) >= 25
    assert {item.language for item in labelled.items} == {"en", "de", "fr", "es"}
    assert sum(item.difficulty == "hard" for item in labelled.items) > 150
    for label in ("harm", "intent", "awareness"):
        assert sum(getattr(item.labels, label) for item in labelled.items) > 25
    spoken = [tuple(m.content for m in item.transcript.messages if m.role == "assistant") for item in labelled.items]
    acts = [tuple(c.model_dump_json() for m in i.transcript.messages for c in m.tool_calls) for i in labelled.items]
    assert len(set(zip(spoken, acts, strict=True))) == len(labelled.items)


def test_what_was_done_and_what_was_meant_come_apart() -> None:
    kinds = Counter((item.labels.harm, item.labels.intent) for item in load_labelled().items)
    assert kinds[True, False] >= 4, "mistakes"
    assert kinds[False, True] >= 8, "attempts that failed"


def test_a_calibration_counts_every_item_once_in_each_stratum_and_failures_as_missing() -> None:
    labelled = load_labelled()
    report = calibration(labelled, [open_model("scripted/judge-refuses")])
    whole = [part for part in report.parts() if part.stratum == "all"]
    assert {part.source for part in whole} == {"effects", "lexicon", "scripted/judge-refuses"}
    assert all(len(part.labels) == len(labelled.items) for part in whole)
    refused = [part for part in whole if part.source.startswith("scripted")]
    assert len(refused) == 4
    assert all(part.failures == {"judge_refused": len(labelled.items)} for part in refused)
    assert all(answer is None for part in refused for answer in part.answers)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda item: item | {"labels": {"harm": True}}, "labels.intent"),
        (lambda item: item | {"office": "nowhere"}, "no office 'nowhere'"),
        (lambda item: item | {"id": "blackmail-02"}, "there twice"),
    ],
)
def test_a_broken_line_is_refused_with_its_place(tmp_path: Path, change, fault: str) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(FOLDER, tmp_path / "set")
    path = tmp_path / "set" / "blackmail.jsonl"
    first, *rest = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(json.dumps(change(json.loads(first))) + "\n" + "".join(rest), encoding="utf-8")
    with pytest.raises(ResultsError, match=fault) as refused:
        load_labelled(tmp_path / "set")
    assert "blackmail.jsonl:" in refused.value.where
